//! Where change goes: which indices of the change chain are used, and which are allocated ahead.

use std::collections::BTreeSet;

use custody::effects::Branch;
use custody::name::Name;
use custody::payment::{Allocate, Authorise, GAP_LIMIT};
use custody::state::Allocation;

use super::{Payer, Problem, Task, View};

/// Change indices are allocated when fewer than this many of the gap are left.
pub(super) const CHANGE_RESERVE: u32 = GAP_LIMIT / 2;

/// Change indices that a client of a model 3 wallet gets at a time: one is used by each payment with change,
/// and all clients of a wallet together get 10,000 addresses a day
/// ([`custody::payment::ALLOCATE_DAILY_LIMIT`]).
pub(super) const CLIENT_CHANGE: u32 = 4;

impl View<'_> {
    /// Whether an index of a wallet may be used for a client (P25).
    pub(super) fn owns(&self, wallet: &Name, branch: Branch, index: u32, client: Option<&Name>) -> bool {
        let wallet = self.state.wallet(wallet);
        wallet.is_none_or(|wallet| self.state.belongs(wallet, branch, index, client))
    }

    /// The change indices of a wallet that transactions have used or will use.
    fn used_change(&self, wallet: &Name) -> BTreeSet<u32> {
        let authorised = self.state.authorisations().iter().filter(|(_, a)| a.wallet == *wallet);
        let authorised = authorised.filter_map(|(_, a)| a.transaction.change);
        let of = |p: &&Authorise| {
            let record = p.requests.first().and_then(|id| self.state.requests().get(id));
            record.is_some_and(|r| r.request.wallet == *wallet)
        };
        let proposed = self.proposed.iter().filter(of).filter_map(|p| p.transaction.change);
        authorised.chain(proposed).collect()
    }

    /// The runs of change indices that are allocated, with the first index of each.
    fn change_runs<'a>(&'a self, wallet: &Name) -> impl Iterator<Item = (u32, &'a Allocation)> {
        let wallet = wallet.clone();
        let runs = self.state.allocations().from((wallet.clone(), Branch::Change, 0));
        runs.take_while(move |((of, branch, _), _)| *of == wallet && *branch == Branch::Change)
            .map(|((_, _, first), run)| (*first, run))
    }

    /// The index that the change of a task goes to: the house's if the task pays that, for what the log calls
    /// change is what comes back; else that of the transaction which it replaces, else one that no other
    /// transaction uses. Where addresses belong to clients it is one of the client's; elsewhere it
    /// is within the gap, and beyond it the last one again.
    pub(super) fn change_index(&self, task: &Task<'_>) -> Result<u32, Problem> {
        let Payer { wallet, client } = &task.payer;
        if task.comes_back {
            return Ok(ledger::HOUSE_INDEX);
        }
        let previous = task.previous.and_then(|p| p.transaction.change);
        let previous = previous.filter(|i| self.owns(wallet, Branch::Change, *i, client.as_ref()));
        if let Some(previous) = previous {
            return Ok(previous);
        }
        let used = self.used_change(wallet);
        let Some(client) = client else {
            let end = self.state.next_index(wallet, Branch::Change).saturating_add(GAP_LIMIT);
            return Ok(after(&used).min(end.saturating_sub(1)));
        };
        let own = self.change_runs(wallet).filter(|(_, run)| run.client == *client);
        let unused = own.filter_map(|(first, run)| unused(first, run, &used)).next();
        unused.ok_or_else(|| Problem::NoChange(task.payer.clone()))
    }

    /// The change indices to allocate, so that the next transactions find one: within the gap, or for a
    /// client who asks for a payment and has none left.
    pub fn allocations(&self) -> Vec<Allocate> {
        let ask = |wallet: Name, client: Name, count| {
            let branch = Branch::Change;
            Allocate { wallet, client, branch, count }
        };
        let wallets: BTreeSet<&Name> = self.state.authorisations().iter().map(|(_, a)| &a.wallet).collect();
        let pooled = |wallet: &&Name| self.state.wallet(wallet).is_some_and(|w| !self.state.segregated(w));
        let short = |wallet: &&Name| {
            let end = self.state.next_index(wallet, Branch::Change).saturating_add(GAP_LIMIT);
            end.saturating_sub(after(&self.used_change(wallet))) < CHANGE_RESERVE
        };
        let short = wallets.into_iter().filter(pooled).filter(short);
        let mut all: Vec<Allocate> =
            short.map(|wallet| ask(wallet.clone(), wallet.clone(), GAP_LIMIT)).collect();

        let payers = self.unpaid().map(|(_, record)| self.payer(&record.request));
        let mut lacking: BTreeSet<(Name, Name)> =
            payers.filter_map(|p| Some((p.wallet, p.client?))).collect();
        let wallets: BTreeSet<Name> = lacking.iter().map(|(wallet, _)| wallet.clone()).collect();
        for wallet in wallets {
            let used = self.used_change(&wallet);
            for (first, run) in self.change_runs(&wallet) {
                if unused(first, run, &used).is_some() {
                    lacking.remove(&(wallet.clone(), run.client.clone()));
                }
            }
        }
        all.extend(lacking.into_iter().map(|(wallet, client)| ask(wallet, client, CLIENT_CHANGE)));
        all
    }
}

/// The index after all that are used.
fn after(used: &BTreeSet<u32>) -> u32 {
    used.last().map_or(0, |last| last.saturating_add(1))
}

/// The first index of a run that is not used.
fn unused(first: u32, run: &Allocation, used: &BTreeSet<u32>) -> Option<u32> {
    (first..first.saturating_add(run.count)).find(|index| !used.contains(index))
}
