//! The counter: what the REST interface needs of the server, and where its questions are answered.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use api::{ChainStatus, House, NotTaken, Recovery};
use chain::BitcoinDecoder;
use custody::Hash;
use custody::name::Label;
use custody::payment::Allocate;
use custody::state::State;
use custody::statement::{Body, Envelope};
use deposits::Own;
use ledger::{Books, Reconciliation};
use serde_json::Value;

use crate::desk::{Core, Desk, now_s};
use crate::due::due;
use crate::shelf::Shelf;

/// How long somebody who asks for a reconciliation waits for the clerk, who looks once a second when it is not
/// busy with a block.
const RECONCILE_WAIT: Duration = Duration::from_secs(10);

/// The server behind the interface.
#[derive(Debug)]
pub(crate) struct Counter {
    desk: Arc<Desk>,
    books: Books,
    own: Arc<Own>,
    shelf: Arc<Shelf>,
}

impl Counter {
    /// With the clerk's index of own scripts, and its register.
    pub(crate) fn new(desk: Arc<Desk>, books: Books, own: Arc<Own>, shelf: Arc<Shelf>) -> Self {
        Self { desk, books, own, shelf }
    }

    fn state(&self) -> State {
        self.desk.core().replica.state().clone()
    }
}

impl House for Counter {
    fn books(&self) -> &Books {
        &self.books
    }

    fn look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder)) {
        let core = self.desk.core();
        look(core.replica.state(), core.replica.decoder());
    }

    fn try_look(&self, look: &mut dyn FnMut(&State, &BitcoinDecoder)) -> bool {
        let core = self.desk.try_core();
        core.map(|core| look(core.replica.state(), core.replica.decoder())).is_some()
    }

    fn own(&self) -> Arc<Own> {
        Arc::clone(&self.own)
    }

    fn label(&self, commitment: &Hash) -> Option<String> {
        self.desk.core().labels.get(commitment).map(|label| label.text.clone())
    }

    fn submit(&self, envelope: &Envelope, labels: Vec<Label>) -> Result<(), String> {
        let statement = envelope.unverified().map_err(|refusal| refusal.to_string())?;
        let mut core = self.desk.core();
        core.keep_labels(&statement, labels);
        // What is over cannot come any more; the log has it, or never will.
        let time = core.replica.state().clock().time;
        if statement.not_after.is_some_and(|end| end < time) {
            return Ok(());
        }
        self.desk.submit(&mut core, envelope, statement).map_err(|error| error.to_string())?;
        self.desk.wake_clerk(&mut core);
        Ok(())
    }

    fn allocate(&self, allocate: Allocate) -> Result<Hash, String> {
        self.desk.submit_if_admitted(Body::Allocate(allocate))
    }

    fn chain(&self) -> ChainStatus {
        let unknown =
            || ChainStatus { height: None, node: "the node was not asked yet".into(), following: false };
        self.desk.core().published.followed.clone().unwrap_or_else(unknown)
    }

    fn due(&self) -> Vec<String> {
        let (state, balances) = {
            let core = self.desk.core();
            (core.replica.state().clone(), core.published.balances.clone())
        };
        due(&state, &balances, now_s())
    }

    fn reconcile(&self) -> Result<Vec<Reconciliation>, String> {
        let mut core = self.desk.core();
        let question = core.published.compared.asked.saturating_add(1);
        core.published.compared.asked = question;
        self.desk.wake_clerk(&mut core);
        let waits = |core: &mut Core| core.published.compared.answered < question;
        let waited = self.desk.news.wait_timeout_while(core, RECONCILE_WAIT, waits);
        let (core, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let compared = &core.published.compared;
        match &compared.result {
            Some(result) if compared.answered >= question || result.is_err() => {
                result.clone().map_err(|why| format!("{why}: ask again in a minute"))
            }
            _ => Err("books and network are not at the same block yet: ask again in a minute".into()),
        }
    }

    fn recovery(&self) -> Result<Recovery, NotTaken> {
        self.shelf.look(&self.state(), now_s())
    }

    fn publish(&self, entries: &[Value]) -> Result<Recovery, NotTaken> {
        let published = self.shelf.publish(&self.state(), now_s(), entries)?;
        self.desk.wake_clerk(&mut self.desk.core());
        Ok(published)
    }

    fn now(&self) -> u64 {
        now_s()
    }
}
