//! The index of own scripts for several threads: for who follows the chain, and for who is asked whose an address is.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bitcoin::Script;
use custody::effects::Decoder;
use custody::state::State;

use crate::derived::{KeyFiles, derive_all};
use crate::watched::{Address, WatchError, Watched};

/// The index of own scripts, its files of derived keys, and the height of the log that it follows. Nobody derives what
/// another thread has derived already.
#[derive(Debug, Default)]
pub struct Own {
    inner: RwLock<Inner>,
    /// What was found to be wrong by who was only asked.
    wrong: Mutex<Option<WatchError>>,
}

#[derive(Debug, Default)]
struct Inner {
    watched: Watched,
    files: Option<KeyFiles>,
    height: Option<u64>,
}

/// The index, while nobody changes it.
#[derive(Debug)]
pub struct Reading<'a>(RwLockReadGuard<'a, Inner>);

impl std::ops::Deref for Reading<'_> {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.0.watched
    }
}

impl Own {
    /// Keys are read from files and kept there; without files each process derives them anew, on all processors.
    pub fn new(files: Option<KeyFiles>) -> Self {
        Self { inner: RwLock::new(Inner { files, ..Inner::default() }), wrong: Mutex::default() }
    }

    /// Takes in what the log has allocated up to a state, unless that was done. A state that is older than the newest
    /// one changes nothing: what was allocated stays allocated.
    ///
    /// # Errors
    /// As [`Watched::follow`].
    pub fn follow(&self, state: &State, decoder: &(dyn Decoder + Sync)) -> Result<(), WatchError> {
        let height = Some(state.clock().height);
        if self.read().0.height >= height {
            return Ok(());
        }
        let mut inner = self.write();
        let Inner { watched, files, height: followed } = &mut *inner;
        // Another thread may have been faster.
        if *followed < height {
            watched.follow_with(state, |account, branch, indices| match files {
                Some(files) => files.keys(decoder, account, branch, indices),
                None => derive_all(decoder, account, branch, indices),
            })?;
            *followed = height;
        }
        Ok(())
    }

    /// The own address that a script pays, if the log of a state has allocated it. Takes in what that state has and
    /// the index does not, so an address is known from the moment on that it is in the log, whatever files lack. What
    /// is found is derived once more. Only somebody who writes another key under a right digest into a file, past the
    /// keys that are tried, can hide an address.
    ///
    /// # Errors
    /// As [`Own::follow`]; [`WatchError::Wrong`] for a script that is in a file and not own.
    pub fn find(
        &self,
        state: &State,
        decoder: &(dyn Decoder + Sync),
        script: &[u8],
    ) -> Result<Option<Address>, WatchError> {
        let script = Script::from_bytes(script);
        let watched = loop {
            self.follow(state, decoder)?;
            let reading = self.read();
            // It may have been forgotten in between.
            if reading.0.height >= Some(state.clock().height) {
                break reading;
            }
        };
        if let Err(error) = watched.prove(decoder, script) {
            *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            return Err(error);
        }
        let allocated = |own: &Address| own.index < state.next_index(&own.wallet, own.branch);
        Ok(watched.find(script).filter(allocated))
    }

    /// The index as it is.
    pub fn read(&self) -> Reading<'_> {
        Reading(self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes an address out of use; see [`Watched::retire`].
    pub fn retire(&self, script: &Script) -> bool {
        self.write().watched.retire(script)
    }

    /// Watches a key that the caller derived; see [`Watched::insert`].
    ///
    /// # Errors
    /// Limits.
    pub fn insert(&self, key: crate::OutputKey, address: &Address) -> Result<(), WatchError> {
        self.write().watched.insert(key, address)
    }

    /// Goes on without the files, and says why, if they could not be read or written.
    pub fn give_up_files(&self) -> Option<String> {
        let known = |inner: &Inner| inner.files.as_ref().and_then(KeyFiles::problem).map(ToString::to_string);
        let problem = known(&self.read().0)?;
        self.write().files = None;
        Some(problem)
    }

    /// What [`Own::find`] found to be wrong since this was asked last: time to [`Own::forget`].
    pub fn take_wrong(&self) -> Option<WatchError> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Forgets everything, the files as well: something in them was found to be wrong. Whoever looks into
    /// [`Own::read`] calls [`Own::follow`] first.
    pub fn forget(&self) {
        let mut inner = self.write();
        inner.files.take_if(|files| files.forget().is_err());
        (inner.watched, inner.height) = (Watched::default(), None);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        // A thread that ended early left the height as it was: what is missing is taken in again.
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}
