//! What refuses a request that is no matter of the policy: freezes, wallets, leases, destinations. Custody is asked;
//! nothing of it is decided here.

use custody::Hash;
use custody::decide::Ask;
use custody::document::{Document, Kind};
use custody::effects::Sats;
use custody::name::Name;
use custody::policy::Path;
use custody::records::ThirdParty;

use super::Look;
use crate::words;

impl Look<'_> {
    /// Why it is over: nobody can change that.
    pub(super) fn over(&self) -> Vec<String> {
        let Self { state, record, now, .. } = *self;
        let mut over = Vec::new();
        if self.id.is_some_and(|id| !state.in_line(id, record)) {
            over.push("another request took its place, or it was withdrawn".to_owned());
        }
        if state.has_lapsed(record) {
            over.push(format!("it lapsed with rule set {}: renew it", record.rules));
        }
        if record.request.end < now {
            over.push(format!("it ended at {}: renew it", words::time(record.request.end)));
        }
        over
    }

    /// What refuses it until people change that.
    pub(super) fn barred(&self, ask: &Ask) -> Vec<String> {
        let Self { state, record, decoder, now, .. } = *self;
        let request = &record.request;
        let key = state.check_key(request, &record.requester, now).err();
        let used_up = || state.check_uses(&[record], state.wallet(&request.wallet)?).err();
        let paid = state.check_paid(request, now, decoder).err();
        let changed = || {
            let ids: Vec<Hash> = self.id.into_iter().copied().collect();
            state.asks(&ids, Sats(0), now, decoder).err()
        };
        let refusals = [key.or_else(used_up), paid.or_else(changed)];
        let refusals = refusals.into_iter().flatten().map(|no| no.to_string());
        refusals.chain(self.frozen(ask)).collect()
    }

    /// The freezes that stop it, if it is stopped.
    fn frozen(&self, ask: &Ask) -> Vec<String> {
        let Self { state, record, book, .. } = *self;
        if state.check_frozen(record, ask, book.policy()).is_ok() {
            return Vec::new();
        }
        let stops = state.stopping(&record.request, &record.requester);
        let word = |(id, freeze): (&Hash, &custody::state::FreezeRecord)| {
            let despite = record.request.despite.contains(id);
            let but = if despite { "; leaves despite it once who can resume approved this" } else { "" };
            format!("frozen by {} at {} (freeze {id}){but}", freeze.by, words::time(freeze.at))
        };
        stops.map(word).collect()
    }

    /// The paths that let a cancel leave despite a freeze, while they are not filled.
    pub(super) fn despite(&self, ask: &Ask) -> Option<&[Path]> {
        let policy = self.book.policy();
        let request = &self.record.request;
        let asks = request.is_cancel() && !request.despite.is_empty();
        let stopped = asks && self.state.check_frozen(self.record, ask, policy).is_err();
        let resume = policy.governance.get(&Kind::Resume).filter(|_| stopped)?;
        Some(&resume.approvals)
    }

    /// Who holds its destinations for the institution.
    fn parties(&self) -> impl Iterator<Item = &ThirdParty> {
        let state = self.state;
        let held = |to: &Name| state.destination(to)?.third_party.as_ref();
        let held = self.record.request.outputs.iter().filter_map(move |output| held(&output.destination));
        held.filter_map(move |id| match &state.document(Kind::ThirdParty, id.as_str())?.document {
            Document::ThirdParty(party) => Some(party),
            _ => None,
        })
    }

    /// The last second at which it could leave: it ends, or the lease or an attestation that it needs and that holds
    /// now does.
    pub(super) fn last(&self) -> u64 {
        let request = &self.record.request;
        let leased = self.state.wallet(&request.wallet).filter(|_| !request.is_cancel());
        let leased = leased.filter(|wallet| wallet.tier.is_leased());
        let lease = leased.and_then(|wallet| self.state.lease(&wallet.id)).map(|(lease, _)| lease.until);
        let attested = self.parties().map(|party| party.until.saturating_sub(1));
        let holds = attested.chain(lease).filter(|until| *until >= self.now);
        holds.fold(request.end, u64::min)
    }
}
