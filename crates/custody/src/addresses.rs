//! Addresses: which indices are allocated, whose they are, and what they may be used for (P25).

use crate::apply::Fault;
use crate::document::{Grant, Model, Wallet};
use crate::effects::Branch;
use crate::name::Name;
use crate::payment::{ALLOCATE_DAILY_LIMIT, ALLOCATE_LIMIT, Allocate, GAP_LIMIT, Request, TypedTransaction};
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{Allocation, Owner, RequestRecord, State};

impl State {
    /// The client that an index was allocated to.
    pub fn client_of(&self, wallet: &Name, branch: Branch, index: u32) -> Option<&Name> {
        let ((w, b, first), run) = self.allocations.up_to((wallet.clone(), branch, index))?;
        let within = w == wallet && *b == branch && index < first.saturating_add(run.count);
        within.then_some(&run.client)
    }

    /// An index may be used when it is allocated, or at most [`GAP_LIMIT`] above.
    pub(crate) fn within_gap(&self, wallet: &Wallet, branch: Branch, index: u32) -> bool {
        index < self.next_index(&wallet.id, branch).saturating_add(GAP_LIMIT)
    }

    /// Whether each address of the wallet belongs to one client; rule set 1 did not ask.
    pub fn segregated(&self, wallet: &Wallet) -> bool {
        self.clock.rules >= 2 && wallet.model == Model::Three
    }

    /// Whether an index may be used for a client: where addresses belong to clients it was allocated to
    /// that one, and no gap counts.
    pub fn belongs(&self, wallet: &Wallet, branch: Branch, index: u32, client: Option<&Name>) -> bool {
        !self.segregated(wallet) || (client.is_some() && self.client_of(&wallet.id, branch, index) == client)
    }

    /// A request names its client where it must, and a renewal keeps the client of what it renews.
    pub(crate) fn check_client_named(&self, request: &Request) -> Result<(), Refusal> {
        let named = |holds: bool, why: &str| ensure(holds, Rule::Client, || why.into());
        let must = self.wallet(&request.wallet).is_some_and(|wallet| self.segregated(wallet));
        named(
            !must || request.client.is_some(),
            "the wallet is of model 3: name the client whose coins move",
        )?;
        let old = request.renews.and_then(|old| self.requests.get(&old));
        let kept = old.is_none_or(|old| old.request.client.is_none() || old.request.client == request.client);
        named(kept, "a renewal keeps the client of the request that it renews")
    }

    /// Where addresses belong to clients, a transaction is of one client, inputs and change.
    pub(crate) fn check_client(
        &self,
        records: &[&RequestRecord],
        transaction: &TypedTransaction,
        wallet: &Wallet,
    ) -> Result<(), Refusal> {
        let its = |holds: bool, why: &str| ensure(holds, Rule::Client, || why.into());
        let client = records.first().and_then(|r| r.request.client.as_ref());
        let one = records.iter().all(|r| r.request.client.as_ref() == client);
        its(one || !self.segregated(wallet), "one transaction of a model 3 wallet pays for one client")?;
        let inputs = transaction.inputs.iter().all(|i| self.belongs(wallet, i.branch, i.index, client));
        its(inputs, "an input's address was not allocated to the client of the requests")?;
        let change = transaction.change;
        let change = change.is_none_or(|index| self.belongs(wallet, Branch::Change, index, client));
        its(change, "the change address was not allocated to the client of the requests: allocate one first")
    }

    pub(crate) fn allocate(&mut self, ask: &Allocate, owner: Owner) -> Result<(), Fault> {
        let unknown = |what: String| Fault::Invalid(Refusal::new(Rule::Reference, what));
        let wallet = self.wallet(&ask.wallet);
        let wallet = wallet.ok_or_else(|| unknown(format!("there is no wallet {}", ask.wallet)))?;
        if self.segregated(wallet) && self.client(&ask.client).is_none() {
            return Err(unknown(format!("there is no client {}", ask.client)));
        }
        ensure(wallet.state.is_none(), Rule::KeyState, || {
            format!("wallet {} is not active: it gives out no addresses", wallet.id)
        })
        .map_err(Fault::Rejected)?;
        let person = matches!(owner, Owner::Person(_));
        ensure(person || self.granted(&owner, Grant::Allocate), Rule::Grant, || {
            format!("{owner} is not enrolled to allocate addresses")
        })
        .map_err(Fault::Rejected)?;
        let limit =
            |holds: bool, why: &str| ensure(holds, Rule::Allocation, || why.into()).map_err(Fault::Rejected);
        limit((1..=ALLOCATE_LIMIT).contains(&ask.count), "allocate 1 to 1,000 addresses at a time")?;
        let day = self.clock.time.saturating_sub(24 * 3600);
        let today = |((wallet, _, _), run): (&(_, Branch, u32), &Allocation)| {
            if *wallet == ask.wallet && run.at > day { run.count } else { 0 }
        };
        let sum = self.allocations.iter().map(today).fold(0u32, u32::saturating_add);
        limit(
            sum.saturating_add(ask.count) <= ALLOCATE_DAILY_LIMIT,
            "over 10,000 addresses in a day: go on tomorrow",
        )?;
        let first = self.next_index(&ask.wallet, ask.branch);
        let next = first.saturating_add(ask.count);
        limit(next < (1 << 31), "the chain has no more indices: open another wallet")?;
        let run = Allocation { client: ask.client.clone(), count: ask.count, at: self.clock.time };
        self.allocations.put(&mut self.facts, (ask.wallet.clone(), ask.branch, first), run);
        self.next_index.put(&mut self.facts, (ask.wallet.clone(), ask.branch), next);
        Ok(())
    }
}
