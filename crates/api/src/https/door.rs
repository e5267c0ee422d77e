//! Who is let in at the same time.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Limits;

/// Handshakes in progress, the oldest first.
#[derive(Default)]
pub(super) struct Handshakes(Arc<Mutex<Queue>>);

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<(u64, oneshot::Sender<Infallible>)>,
}

/// The place of one handshake, given back when dropped.
pub(super) struct Place {
    queue: Arc<Mutex<Queue>>,
    id: u64,
    /// Ends when the other end is taken out of the queue.
    taken: oneshot::Receiver<Infallible>,
}

impl Handshakes {
    /// Takes a place; when all are taken, the one of the oldest.
    pub(super) fn enter(&self, limit: usize) -> Place {
        let (sender, taken) = oneshot::channel();
        let mut queue = lock(&self.0);
        if queue.waiting.len() >= limit {
            queue.waiting.pop_front();
        }
        let id = queue.next;
        queue.next = id.wrapping_add(1);
        queue.waiting.push_back((id, sender));
        Place { queue: self.0.clone(), id, taken }
    }
}

impl Place {
    /// Waits until somebody else takes this place.
    pub(super) async fn taken(&mut self) {
        let _ = (&mut self.taken).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.queue).waiting.retain(|(other, _)| *other != self.id);
    }
}

/// How many connections are open, by key.
#[derive(Default)]
pub(super) struct Slots(Arc<Mutex<HashMap<[u8; 32], usize>>>);

/// The right of one connection to be open, given back when dropped.
pub(super) struct Slot {
    open: Arc<Mutex<HashMap<[u8; 32], usize>>>,
    key: [u8; 32],
}

impl Slots {
    pub(super) fn take(&self, key: [u8; 32], limits: &Limits) -> Option<Slot> {
        let mut open = lock(&self.0);
        let all: usize = open.values().sum();
        let own = open.get(&key).copied().unwrap_or(0);
        if all >= limits.connections || own >= limits.connections_per_key {
            return None;
        }
        open.insert(key, own.saturating_add(1));
        Some(Slot { open: self.0.clone(), key })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        match open.get_mut(&self.key) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            _ => drop(open.remove(&self.key)),
        }
    }
}

/// Locks what stays consistent even if a task died while holding it: plain counters and lists.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
