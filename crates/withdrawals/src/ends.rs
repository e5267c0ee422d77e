//! When a reservation may end without a payment: the argument of the [invariant](crate), from the log.
//!
//! A payment leaves only by a transaction in a final, allowed `Authorise` (P14, P20). So a reservation may end
//! when the log excludes that one ever comes, and the chain excludes those that came. Each function here is
//! one such reason; [`is_over`] puts them together.

use crate::seen::{Asked, Fate, Paid, Seen};

/// The log has no such request and will never have it, so nothing can be authorised for it.
///
/// *Rejected*: its id is consumed, and no batch may hold a consumed id (P2, P5) until the statement's
/// `not_after` has passed. *Late*: no batch may hold a statement after its `not_after`, log time never goes
/// back (P13), and the final log up to that time does not have it; or the key that signed it was revoked, which
/// is for ever: a revoked key is never enrolled again, and what it signed gets into no batch (P1, P16).
pub fn never_asked(seen: &Seen) -> bool {
    matches!(seen.fate, Fate::Rejected(_) | Fate::Late)
}

/// A transaction may still be authorised for a request of the lineage. If not, that is for ever:
///
/// - *ended*: an `Authorise` is refused after the request's end, and log time never goes back (P13, P19);
/// - *lapsed*: it is refused under another rule set than the request's, and versions only rise (P29);
/// - *withdrawn, superseded*: it is refused for a request that is not the one authorised last or a renewal
///   of it. What is authorised next is a renewal of that in turn, so whoever is out of line stays out; and
///   what was withdrawn never returns (P23);
/// - *anchors gone*: every further transaction spends all anchors of the lineage (P21), and one of them was
///   spent at depth by a transaction that is none of its own. A quorum may bind it to others (P22): then it
///   is reserved for anew, before anything is proposed.
///
/// A renewal that comes later is another request: it is reserved for anew.
pub fn may_be_authorised(seen: &Seen, asked: &Asked) -> bool {
    asked.gone.is_none() && !seen.anchors_gone
}

/// A transaction that was authorised may be in a block, or come into one: whether it is signed is not
/// known to anybody but the signers, one of whom may hide it (P23). It cannot when another transaction
/// spends one of its inputs at depth, or when a quorum showed the log as much (P22).
pub fn may_confirm(paid: &Paid) -> bool {
    paid.confirmations > 0 || !(paid.excluded || paid.overtaken)
}

/// Nothing can leave for the withdrawal any more, but by a new request: what is reserved for it may end.
pub fn is_over(seen: &Seen) -> bool {
    match seen.fate {
        Fate::Waiting => false,
        Fate::Rejected(_) | Fate::Late => never_asked(seen),
        Fate::Asked => {
            !seen.more
                && !seen.requests.iter().any(|asked| may_be_authorised(seen, asked))
                && !seen.paid.iter().any(may_confirm)
        }
    }
}
