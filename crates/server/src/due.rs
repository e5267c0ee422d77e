//! What people have to renew, from the log and the clock: reviews, attestations, calendars, rates, leases, and hot wallets that
//! hold more than they should. Signers refuse what has ended; this says so while there is time to adopt what follows.

use api::rfc3339;
use custody::document::{Document, Kind, Wallet};
use custody::name::Name;
use custody::records::REVIEW_VALID_S;
use custody::state::State;

/// How long before its end a thing is told, in seconds (30 days): a review or an attestation takes weeks.
const NOTICE_S: u64 = 30 * 24 * 3600;

/// How long before rates would have to be adopted they are told, in seconds (an hour): many deployments adopt them
/// every day.
const RATES_NOTICE_S: u64 = 3_600;

/// How long before its end a lease is told that can still be used, in seconds (a day): who relies on it asks in time for
/// another one. What a lease was for is over with it, so its end is no alarm.
const LEASE_NOTICE_S: u64 = 24 * 3600;

/// What is due soon or over at `now`, with the confirmed balances in satoshi by wallet.
pub(crate) fn due(state: &State, balances: &[(Name, String)], now: u64) -> Vec<String> {
    let wallets: Vec<&Wallet> = state
        .documents()
        .filter_map(|found| match &found.document {
            Document::Wallet(wallet) if wallet.state.is_none() => Some(wallet),
            _ => None,
        })
        .collect();
    let policy = state.policy().map(|(policy, _)| policy);
    // What follows has to be approved, and to wait for its delay, before this one ends.
    let delay_s = |kind: Kind| policy.and_then(|p| p.governance.get(&kind)).map_or(0, |g| g.delay_s);
    let in_time = |what: &str, end: u64, kind: Kind| {
        let notice_s = if kind == Kind::Rates { RATES_NOTICE_S } else { NOTICE_S };
        ends(what, end, notice_s.saturating_add(delay_s(kind)), now)
    };
    let relied_on = |party: &Name| {
        state.documents().any(|found| match &found.document {
            Document::Destination(destination) => destination.third_party.as_ref() == Some(party),
            _ => false,
        })
    };
    let one = |document: &Document| match document {
        Document::Review(review) => {
            let used = wallets.iter().any(|wallet| wallet.model == review.model);
            let end = review.reviewed_at.saturating_add(REVIEW_VALID_S);
            let what = format!("the review of custody model {} (DACS MOD-03)", review.model.word());
            used.then(|| in_time(&what, end, Kind::Review)).flatten()
        }
        Document::ThirdParty(party) if relied_on(&party.id) => {
            let what = format!("the attestation of third party {} (DACS MOD-02)", party.id);
            in_time(&what, party.until, Kind::ThirdParty)
        }
        Document::Rates(rates) if policy.and_then(|p| p.currency.as_ref()) == Some(&rates.currency) => {
            in_time(&format!("the rates in {}", rates.currency), rates.until, Kind::Rates)
        }
        Document::Lease(lease) => {
            let used = state.lease(&lease.wallet).map_or(0, |(_, used)| used);
            let left = lease.uses.saturating_sub(used);
            let soon = (1..=LEASE_NOTICE_S).contains(&lease.until.saturating_sub(now));
            (soon && left > 0).then(|| {
                let (wallet, end) = (&lease.wallet, rfc3339(lease.until));
                format!("the lease of wallet {wallet} ends at {end}, {left} uses are left: adopt another one if needed")
            })
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
    let calendars = policy.into_iter().flat_map(|policy| &policy.calendars);
    let calendars = calendars.filter_map(|(id, calendar)| {
        in_time(&format!("calendar {id} of the policy"), calendar.until, Kind::Policy)
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
    use custody::document::{Destination, DestinationKind, Model, Tier};
    use custody::effects::{Branch, Sats};
    use custody::genesis::Genesis;
    use custody::payment::Request;
    use custody::rates::{Rate, Rates, Value};
    use custody::records::{Float, ThirdParty};
    use fixtures::samples::lease;
    use fixtures::{Account, DAY, World, full_policy, name, newest, review};

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
        world.adopt(Document::ThirdParty(party.clone()));
        // Nobody relies on this one, and no policy counts in that currency.
        world.adopt(Document::ThirdParty(ThirdParty { id: name("left"), ..party }));
        let Document::Destination(vault) = fixtures::destination("vault") else { unreachable!() };
        let vault = Destination { kind: DestinationKind::Own, third_party: Some(name("bank")), ..vault };
        world.adopt_as("dave", Document::Destination(vault), &["alice", "bob"]);
        let rate = Rate { per: Value(1), value: Value(1) };
        let rates = std::collections::BTreeMap::from([(world.state.genesis().asset(), rate)]);
        let until = now + 2 * DAY;
        world.adopt(Document::Rates(Rates { currency: name("usd"), until, rates: rates.clone() }));
        world.adopt(Document::Rates(Rates { currency: name("chf"), until, rates }));
        told(&world, &[], now + REVIEW_VALID_S - NOTICE_S, "model 1 (DACS MOD-03) ends at");
        told(&world, &[], now + REVIEW_VALID_S, "model 1 (DACS MOD-03) ended at");
        told(&world, &[], now + 60 * DAY, "third party bank");
        told(&world, &[], until - RATES_NOTICE_S, "the rates in chf ends at");
        let end = world.state.policy().unwrap().0.calendars[&name("office")].until;
        told(&world, &[], end - NOTICE_S, "calendar office");
        assert!(
            due(&world.state, &[], now + 400 * DAY)
                .iter()
                .all(|one| { !one.contains("model 3") && !one.contains("left") && !one.contains("usd") })
        );
    }

    /// With a delay of a day rates are told a day earlier: what follows them has to wait for as long.
    #[test]
    fn what_has_to_wait_is_told_as_much_earlier() {
        let mut world = World::open(Genesis { policy: full_policy(0), ..newest() });
        let (until, rate) = (world.time + 3 * DAY, Rate { per: Value(1), value: Value(1) });
        let rates = [(world.state.genesis().asset(), rate)].into();
        world.adopt(Document::Rates(Rates { currency: name("chf"), until, rates }));
        world.adopt(Document::Policy(full_policy(DAY)));
        told(&world, &[], until - DAY - RATES_NOTICE_S, "the rates in chf ends at");
    }

    #[test]
    fn a_lease_is_told_for_a_day_while_it_can_be_used() {
        let mut world = World::open(newest());
        let ceremony = world.state.wallet(&name("main")).unwrap().ceremony;
        world.activate_all(ceremony, 1, &Account::new(1));
        world.adopt(Document::Wallet(Wallet::new(name("cool"), ceremony, 1, Tier::Warm, Model::One)));
        let until = world.time + 3 * DAY;
        world.adopt(lease("cool", &["carol"], until, 1));
        let words = "the lease of wallet cool ends at";
        told(&world, &[], until - LEASE_NOTICE_S, words);
        let count =
            |world: &World, now| due(&world.state, &[], now).iter().filter(|one| one.contains(words)).count();
        assert_eq!((count(&world, until - 1), count(&world, until)), (1, 0));
        // It was for one transaction.
        let coin = world.coin_of(1, Branch::Receive, 0, 1_000_000);
        let ask = Request { wallet: name("cool"), ..world.request(&[("acme", 100_000)]) };
        let request = world.asked(ask);
        let draft = world.draft_of(1, &[request], &[coin], 1_000);
        world.pay(&[request], &draft).unwrap();
        assert_eq!(count(&world, until - 1), 0);
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
