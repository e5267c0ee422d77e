//! What payments are charged, kept for as long as a window may look back, and which requests wait for the
//! delay clock (P13, P24, since rule set 3).

use std::collections::BTreeSet;

use crate::bytes::Hash;
use crate::effects::Sats;
use crate::payment::{Allowed, Authorise};
use crate::policy::WINDOW_LIMIT_S;
use crate::state::State;

impl State {
    /// Charges an allowed transaction: each of its requests for what it pays, once, and for the highest fee per
    /// anchor, so a bump is charged what it adds.
    pub(crate) fn spend(&mut self, id: Hash, authorise: &Authorise, allowed: &Allowed) {
        if self.clock.rules < 3 {
            return;
        }
        let before = self.highest_fee(authorise);
        let added = u128::from(allowed.fee.minus(before).unwrap_or_default().0);
        let whole = u128::from(allowed.fee.0.max(1));
        for ((charge, request), i) in allowed.charges.iter().zip(&authorise.requests).zip(0u32..) {
            let mut charge = charge.clone();
            let fee = u128::from(charge.fee.0).saturating_mul(added).div_ceil(whole);
            charge.fee = Sats(u64::try_from(fee).unwrap_or(u64::MAX));
            // A renewal is another request, with other words: it is charged whole (P24).
            if self.is_bump(request) {
                charge.count = 0;
                charge.paid.clear();
            }
            if charge.count > 0 || charge.total() > 0 {
                self.spent.put(&mut self.facts, (self.clock.time, id, i), charge);
            }
        }
        let kept = self.clock.time.saturating_sub(WINDOW_LIMIT_S);
        let old: Vec<_> = self.spent.iter().map(|(k, _)| *k).take_while(|(at, ..)| *at < kept).collect();
        for key in old {
            self.spent.take(&mut self.facts, &key);
        }
    }

    /// Whether something was authorised for this very request before.
    pub(crate) fn is_bump(&self, request: &Hash) -> bool {
        self.requests.get(request).is_some_and(|record| !record.authorised.is_empty())
    }

    /// The highest fee of a transaction that spent one of the anchors of these requests.
    pub(crate) fn highest_fee(&self, authorise: &Authorise) -> Sats {
        let lineages = authorise.requests.iter().filter_map(|r| self.requests.get(r)).map(|r| r.lineage);
        let lineages: BTreeSet<Hash> = lineages.collect();
        let anchors = lineages.iter().filter_map(|l| self.lineages.get(l)).flat_map(|l| &l.anchors);
        anchors.filter_map(|a| self.anchors.get(a)).map(|a| a.fee).max().unwrap_or_default()
    }

    /// Notes until when a request waits for the delay clock, so that Ticks go on until then (P13).
    pub(crate) fn ripen(&mut self, id: &Hash) {
        let Some((record, book)) = self.requests.get(id).zip(self.rulebook()) else { return };
        let wait = book.waits_s(&self.ask_of(record, Sats(0), self.clock.time), self);
        if wait > 0 && self.clock.rules >= 3 {
            let due = self.clock.delay.saturating_add(wait);
            self.ripening.put(&mut self.facts, (due, *id), ());
        }
    }

    /// What has waited long enough waits no more.
    pub(crate) fn forget_ripe(&mut self) {
        let now = self.clock.delay;
        let ripe: Vec<_> =
            self.ripening.iter().map(|(k, ())| *k).take_while(|(due, _)| *due <= now).collect();
        for key in ripe {
            self.ripening.take(&mut self.facts, &key);
        }
    }
}
