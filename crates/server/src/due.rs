//! What people have to renew, from the log and the clock: reviews, attestations, calendars, rates, and hot wallets that
//! hold more than they should. Signers refuse what has ended; this says so in time.

use api::rfc3339;
use custody::document::{Document, Wallet};
use custody::name::Name;
use custody::records::REVIEW_VALID_S;
use custody::state::State;

/// How long before its end a thing is told, in seconds (30 days): a review or an attestation takes weeks.
const NOTICE_S: u64 = 30 * 24 * 3600;

/// How long before their end rates are told, in seconds (an hour): many deployments adopt them every day.
const RATES_NOTICE_S: u64 = 3_600;

/// What is due soon or over at `now`, with the confirmed balances in satoshi by wallet.
pub(crate) fn due(state: &State, balances: &[(Name, String)], now: u64) -> Vec<String> {
    let wallets: Vec<&Wallet> = state
        .documents()
        .filter_map(|found| match &found.document {
            Document::Wallet(wallet) if wallet.state.is_none() => Some(wallet),
            _ => None,
        })
        .collect();
    let one = |document: &Document| match document {
        Document::Review(review) => {
            let used = wallets.iter().any(|wallet| wallet.model == review.model);
            let end = review.reviewed_at.saturating_add(REVIEW_VALID_S);
            let what = format!("the review of custody model {} (DACS MOD-03)", review.model.word());
            used.then(|| ends(&what, end, NOTICE_S, now)).flatten()
        }
        Document::ThirdParty(party) => {
            let what = format!("the attestation of third party {} (DACS MOD-02)", party.id);
            ends(&what, party.until, NOTICE_S, now)
        }
        Document::Rates(rates) => {
            ends(&format!("the rates in {}", rates.currency), rates.until, RATES_NOTICE_S, now)
        }
        Document::Float(float) => {
            let held = balances.iter().find(|(wallet, _)| *wallet == float.wallet);
            let held: u64 = held.and_then(|(_, sat)| sat.parse().ok())?;
            let (wallet, most) = (&float.wallet, float.amount_max);
            (held > most.0).then(|| {
                format!("wallet {wallet} holds {held} sat, more than its float of {most}: sweep the rest")
            })
        }
        _ => None,
    };
    let documents = state.documents().filter_map(|found| one(&found.document));
    let policy = state.policy().map(|(policy, _)| policy);
    let calendars = policy.into_iter().flat_map(|policy| &policy.calendars);
    let calendars = calendars.filter_map(|(id, calendar)| {
        ends(&format!("calendar {id} of the policy"), calendar.until, NOTICE_S, now)
    });
    documents.chain(calendars).collect()
}

fn ends(what: &str, end: u64, notice_s: u64, now: u64) -> Option<String> {
    if now >= end {
        return Some(format!("{what} ended at {}: adopt a later one", rfc3339(end)));
    }
    let soon = end.saturating_sub(now) <= notice_s;
    soon.then(|| format!("{what} ends at {}: adopt a later one", rfc3339(end)))
}

#[cfg(test)]
mod tests {
    use custody::Hash;
    use custody::document::Model;
    use custody::effects::Sats;
    use custody::genesis::Genesis;
    use custody::rates::{Rate, Rates, Value};
    use custody::records::{Float, ThirdParty};
    use fixtures::{DAY, World, full_policy, name, newest, review};

    use super::*;

    /// What is told `before` and from the second on at which it should be.
    fn told(world: &World, balances: &[(Name, String)], from: u64, words: &str) {
        let all = |now| due(&world.state, balances, now);
        let about = |now: u64| all(now).into_iter().filter(|one| one.contains(words)).count();
        assert_eq!((about(from - 1), about(from)), (0, 1), "{:?}", all(from));
    }

    #[test]
    fn what_ends_is_told_in_time() {
        let mut world = World::open(Genesis { policy: full_policy(0), ..newest() });
        let now = world.time;
        // Of a model that no wallet has nothing is told.
        world.adopt(review(Model::Three, now));
        let party = ThirdParty {
            id: name("bank"),
            label: fixtures::label("bank").commitment(),
            attestation: Hash::sha256(b"attestation"),
            until: now + 90 * DAY,
        };
        world.adopt(Document::ThirdParty(party));
        let rate = Rate { per: Value(1), value: Value(1) };
        let rates = [(world.state.genesis().asset(), rate)].into();
        let until = now + 2 * DAY;
        world.adopt(Document::Rates(Rates { currency: name("chf"), until, rates }));
        told(&world, &[], now + REVIEW_VALID_S - NOTICE_S, "model 1 (DACS MOD-03) ends at");
        told(&world, &[], now + REVIEW_VALID_S, "model 1 (DACS MOD-03) ended at");
        told(&world, &[], now + 60 * DAY, "third party bank");
        told(&world, &[], until - RATES_NOTICE_S, "the rates in chf ends at");
        let end = world.state.policy().unwrap().0.calendars[&name("office")].until;
        told(&world, &[], end - NOTICE_S, "calendar office");
        assert!(due(&world.state, &[], now + 400 * DAY).iter().all(|one| !one.contains("model 3")));
    }

    #[test]
    fn a_float_is_told_from_one_satoshi_more_on() {
        let mut world = World::open(newest());
        world.adopt(Document::Float(Float { wallet: name("main"), amount_max: Sats(1_000) }));
        let with = |sat: u64| due(&world.state, &[(name("main"), sat.to_string())], world.time);
        assert!(with(1_000).is_empty());
        assert_eq!(
            with(1_001),
            ["wallet main holds 1001 sat, more than its float of 1000 sat: sweep the rest"]
        );
        assert!(due(&world.state, &[], world.time).is_empty(), "nobody knows yet");
    }
}
