//! Tables of facts. Each row is also a leaf of the state's Merkle map, so that the state hash covers
//! every fact and a short proof shows one of them. Clones share their rows.

use std::fmt;

use rpds::RedBlackTreeMapSync;
use serde::Serialize;

use crate::bytes::Hash;
use crate::canon;
use crate::map::MerkleMap;

/// A named, ordered table. Rows change only together with their leaf in the Merkle map.
#[derive(Clone)]
pub struct Table<K: Ord, V> {
    name: &'static str,
    rows: RedBlackTreeMapSync<K, V>,
}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.rows.iter()).finish()
    }
}

/// The key of a fact in the Merkle map.
pub fn fact_key<K: Serialize>(table: &str, key: &K) -> Hash {
    let bytes = canon::encode(&(table, key)).unwrap_or_default();
    Hash::of("keyward/fact-key/v1", &bytes)
}

/// The value of a fact in the Merkle map.
pub fn fact_value<V: Serialize>(value: &V) -> Hash {
    Hash::of("keyward/fact-value/v1", &canon::encode(value).unwrap_or_default())
}

impl<K: Ord + Clone + Serialize, V: Clone + Serialize> Table<K, V> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rows: RedBlackTreeMapSync::new_sync() }
    }

    /// The row of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    /// All rows in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The rows from `key` on.
    pub fn from(&self, key: K) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(key..)
    }

    /// The last row whose key is not above `key`.
    pub fn up_to(&self, key: K) -> Option<(&K, &V)> {
        self.rows.range(..=key).next_back()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.size()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn put(&mut self, facts: &mut MerkleMap, key: K, value: V) {
        facts.insert(fact_key(self.name, &key), fact_value(&value));
        self.rows.insert_mut(key, value);
    }

    pub(crate) fn take(&mut self, facts: &mut MerkleMap, key: &K) {
        facts.remove(&fact_key(self.name, key));
        self.rows.remove_mut(key);
    }
}
