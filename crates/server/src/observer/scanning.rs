//! A scan of the node's set of unspent outputs, in a thread of its own. With a million addresses the node takes two
//! minutes for it, in which all else goes on.

use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use custody::effects::AccountKey;
use custody::name::Name;

use super::coins::{Reach, Scope};
use crate::node::{Client, NodeError, Scan};

/// What the node is asked for, and by whom the answer is understood.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) scope: Scope,
    pub(super) reach: Reach,
    /// The wallets, in the order of their numbers in the descriptors.
    pub(super) wallets: Vec<(Name, AccountKey)>,
}

/// A scan that was begun.
#[derive(Debug)]
pub(super) struct Scanning {
    pub(super) question: Question,
    answer: Receiver<Result<Scan, NodeError>>,
}

impl Scanning {
    /// Asks the node for the unspent outputs of descriptors; `wake` is called when there is an answer.
    pub(super) fn begin(
        node: &Client,
        question: Question,
        ranges: Vec<(String, RangeInclusive<u32>)>,
        wake: impl FnOnce() + Send + 'static,
    ) -> Result<Self, NodeError> {
        let (sender, answer) = sync_channel(1);
        let node = Client::new(node.address(), node.cookie_file());
        let ask = move || {
            // Who is gone needs no answer.
            let _ = sender.send(node.scan_ranges(&ranges));
            wake();
        };
        let thread = thread::Builder::new().name("scan".to_owned()).spawn(ask);
        thread.map_err(|source| NodeError::Thread { source })?;
        Ok(Self { question, answer })
    }

    /// The answer; nothing while the node is busy with it.
    pub(super) fn answer(&self) -> Option<Result<Scan, NodeError>> {
        match self.answer.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(NodeError::Malformed { what: "no end of a scan" })),
        }
    }
}
