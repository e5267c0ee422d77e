//! Strict JSON: what two readers could understand differently is refused.
//!
//! serde alone accepts an object with the same key twice and lets the last one win inside a map
//! (RFC 8259 §4 leaves it open). An approver that reads the first and a signer that reads the last
//! would see two payments in one message. So each message is walked once before it is read.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{MAX_FRAME_BYTES, WireError};

/// Arrays and objects inside each other, counted from the outermost. Our messages need fewer than
/// ten; the bound keeps the stack of a reader small whatever arrives.
pub const MAX_JSON_DEPTH: usize = 32;

/// Reads a message. Refuses more than [`MAX_FRAME_BYTES`], nesting beyond [`MAX_JSON_DEPTH`], a key
/// twice in one object at any level (compared after unescaping), and anything after the value.
/// Whether unknown fields are refused is for `T` to say (`deny_unknown_fields`).
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(WireError::FrameTooLong(bytes.len()));
    }
    let refuse = |error: serde_json::Error| WireError::Decode(error.to_string());
    let mut walk = serde_json::Deserializer::from_slice(bytes);
    Strict { depth_left: MAX_JSON_DEPTH }.deserialize(&mut walk).map_err(refuse)?;
    serde_json::from_slice(bytes).map_err(refuse)
}

/// Writes a message, compact.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, WireError> {
    serde_json::to_vec(value).map_err(|error| WireError::Encode(error.to_string()))
}

/// Walks over any JSON value, keeps nothing, and checks depth and keys.
#[derive(Clone, Copy)]
struct Strict {
    depth_left: usize,
}

impl Strict {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| E::custom(format_args!("nested deeper than {MAX_JSON_DEPTH} levels")))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut keys = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("the same key twice in one object"));
            }
            entries.next_value_seed(inside)?;
        }
        Ok(())
    }
}
