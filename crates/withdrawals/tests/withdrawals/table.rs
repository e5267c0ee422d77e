//! Every state × what may be seen.

use custody::Hash;
use fixtures::name;
use ledger::{Amount, Owner};
use withdrawals::{
    APPROVALS_LIMIT, Asked, Asking, EVENTS_LIMIT, Fate, Frozen, Gone, Hold, NOTE_LIMIT, Paid, RENEWALS_LIMIT,
    Seen, State, Withdrawal, begin, step, step_without,
};

use crate::play::{asset, request, sats, world};

const REQUEST: Hash = Hash([1; 32]);

/// A withdrawal of 1,000,000 with a fee of at most 50,000 that is asked for.
fn begun() -> Withdrawal {
    let world = world();
    let request = request(&world, Some("north"), &[("acme", 1_000_000)]);
    let requester = custody::state::Owner::Person(name("carol"));
    let not_after = Some(world.time + 60);
    let asking = Asking { id: REQUEST, request: &request, requester: &requester, envelope: None, not_after };
    let (withdrawal, _) = begin(&world.state, &world.decoder, &asking, &asset(&world), world.time).unwrap();
    Withdrawal { height: 5, ..withdrawal }
}

/// Asked for in the log.
fn asked() -> Asked {
    let Withdrawal { outputs, fee_max, end, owner, .. } = begun();
    Asked {
        id: REQUEST,
        by: "person:carol".into(),
        at: 1,
        payer: Some(owner),
        outputs,
        returns: Amount::ZERO,
        fee_max,
        end,
        approvals: Vec::new(),
        approved: false,
        waits_for: None,
        frozen: None,
        gone: None,
    }
}

fn seen() -> Seen {
    Seen {
        now: 7,
        height: 10,
        fate: Fate::Asked,
        requests: vec![asked()],
        more: false,
        latest: None,
        paid: Vec::new(),
        anchors_gone: false,
        following: true,
    }
}

fn paid() -> Paid {
    Paid {
        authorisation: Hash([2; 32]),
        request: REQUEST,
        txid: Hash([3; 32]),
        amount: sats(1_000_000),
        fee: sats(2_000),
        at: 6,
        height: 9,
        signed: false,
        broadcast: false,
        confirmations: 0,
        excluded: false,
        overtaken: false,
    }
}

fn with(change: impl FnOnce(&mut Seen)) -> Seen {
    let mut seen = seen();
    change(&mut seen);
    seen
}

/// Authorised, and more.
fn authorised(change: impl FnOnce(&mut Seen)) -> Seen {
    with(|seen| {
        (seen.latest, seen.paid) = (Some(REQUEST), vec![paid()]);
        change(seen);
    })
}

fn frozen(seen: &mut Seen) {
    seen.requests[0].frozen = Some(Frozen { freeze: Hash([8; 32]), by: "person:dave".into(), at: 3 });
}

fn gone(gone: Gone) -> Seen {
    with(|s| s.requests[0].gone = Some(gone))
}

/// What is seen; then the state and the transfers that follow when it was open and reserved, when it was
/// closed and nothing is reserved, and when the books had refused to reserve it. `-` for no step.
fn sights() -> Vec<(&'static str, Seen, [&'static str; 3])> {
    let ended = |s: &mut Seen| s.requests[0].gone = Some(Gone::Ended);
    let deep = |s: &mut Seen| s.paid[0].confirmations = 6;
    let cancel = |s: &mut Seen| {
        s.requests[0].outputs.clear();
        s.paid[0].amount = Amount::ZERO;
    };
    let nothing = |fate: Fate| with(|s| (s.fate, s.requests) = (fate, Vec::new()));
    vec![
        ("not in the log yet", nothing(Fate::Waiting), ["=", "-", "-"]),
        ("rejected", nothing(Fate::Rejected("grant".into())), ["rejected void", "-", "rejected"]),
        ("too late for the log", nothing(Fate::Late), ["expired void", "-", "expired"]),
        ("asked", seen(), ["awaiting-approval", "awaiting-approval hold", "-"]),
        ("approved", with(|s| s.requests[0].approved = true), ["delayed", "delayed hold", "-"]),
        ("frozen", with(frozen), ["frozen", "frozen hold", "-"]),
        ("ended", gone(Gone::Ended), ["expired void", "-", "expired"]),
        ("lapsed", gone(Gone::Lapsed), ["expired void", "-", "expired"]),
        ("withdrawn", gone(Gone::Withdrawn), ["cancelled void", "-", "cancelled"]),
        (
            "ended, and too many renewals",
            with(|s| {
                ended(s);
                s.more = true;
            }),
            ["=", "-", "-"],
        ),
        ("authorised", authorised(|_| ()), ["authorised", "authorised hold", "unfunded"]),
        ("authorised and frozen", authorised(frozen), ["frozen", "frozen hold", "unfunded"]),
        ("authorised and ended", authorised(ended), ["authorised", "authorised hold", "unfunded"]),
        ("signed", authorised(|s| s.paid[0].signed = true), ["signed", "signed hold", "unfunded"]),
        (
            "signed and frozen",
            authorised(|s| {
                frozen(s);
                s.paid[0].signed = true;
            }),
            ["signed", "signed hold", "unfunded"],
        ),
        ("sent", authorised(|s| s.paid[0].broadcast = true), ["broadcast", "broadcast hold", "unfunded"]),
        (
            "sent and ended",
            authorised(|s| {
                ended(s);
                s.paid[0].broadcast = true;
            }),
            ["broadcast", "broadcast hold", "unfunded"],
        ),
        (
            "in a block",
            authorised(|s| s.paid[0].confirmations = 1),
            ["confirming", "confirming hold", "unfunded"],
        ),
        (
            "almost deep",
            authorised(|s| s.paid[0].confirmations = 5),
            ["confirming", "confirming hold", "unfunded"],
        ),
        ("deep", authorised(deep), ["settled post out fee", "settled hold post out fee", "unfunded"]),
        (
            "deep and ended",
            authorised(|s| {
                ended(s);
                deep(s);
            }),
            ["settled post out fee", "settled hold post out fee", "unfunded"],
        ),
        (
            "deep and frozen",
            authorised(|s| {
                frozen(s);
                deep(s);
            }),
            ["settled post out fee", "settled hold post out fee", "unfunded"],
        ),
        (
            "a cancel, deep",
            authorised(|s| {
                cancel(s);
                deep(s);
            }),
            ["cancelled post fee", "cancelled hold post fee", "unfunded"],
        ),
        (
            "a cancel that costs it nothing, deep",
            authorised(|s| {
                cancel(s);
                deep(s);
                s.paid[0].fee = Amount::ZERO;
            }),
            ["cancelled void", "cancelled", "cancelled"],
        ),
        (
            "anchors spent by others",
            authorised(|s| {
                s.anchors_gone = true;
                s.paid[0].overtaken = true;
            }),
            ["replaced void", "-", "replaced"],
        ),
        (
            "anchors spent by others, its transaction not excluded",
            authorised(|s| s.anchors_gone = true),
            ["authorised", "authorised hold", "unfunded"],
        ),
        (
            "its transaction excluded, another one possible",
            authorised(|s| s.paid[0].overtaken = true),
            ["awaiting-approval", "awaiting-approval hold", "unfunded"],
        ),
        (
            "excluded by a quorum, another one possible",
            authorised(|s| {
                s.paid[0].excluded = true;
                s.requests[0].approved = true;
            }),
            ["delayed", "delayed hold", "unfunded"],
        ),
        (
            "excluded by a quorum, and ended",
            authorised(|s| {
                ended(s);
                s.paid[0].excluded = true;
            }),
            ["replaced void", "-", "replaced"],
        ),
    ]
}

fn open() -> Vec<State> {
    let why = || "coins".to_owned();
    vec![
        State::Requested,
        State::AwaitingApproval,
        State::Delayed { why: why() },
        State::Frozen { by: Hash([8; 32]), authorised: false },
        State::Frozen { by: Hash([8; 32]), authorised: true },
        State::Authorised,
        State::Signed,
        State::Broadcast,
        State::Confirming { confirmations: 2, needed: 6 },
    ]
}

fn closed() -> Vec<State> {
    vec![State::Rejected { why: "grant".into() }, State::Expired, State::Cancelled, State::Replaced]
}

/// The state and transfers after a look.
fn after(start: &Withdrawal, seen: &Seen) -> String {
    let Some(next) = step(start, seen) else { return "-".into() };
    assert_eq!(step(&next.withdrawal, seen), None, "taken twice");
    let words = next.transfers.iter().map(|t| t.id.as_str().split('/').next().unwrap());
    let all: Vec<&str> = std::iter::once(next.withdrawal.state.word()).chain(words).collect();
    let open = next.withdrawal.state.is_open();
    let reserved = next.withdrawal.reserved();
    assert!(open || reserved == Amount::ZERO || next.withdrawal.state.word() == "unfunded");
    all.join(" ")
}

#[test]
fn every_state_and_what_may_be_seen() {
    for (what, seen, [expect_open, expect_closed, expect_unfunded]) in sights() {
        for state in open() {
            let start = Withdrawal { state: state.clone(), ..begun() };
            let found = after(&start, &seen);
            let same = expect_open == "=" || expect_open == state.word();
            let ok = found == expect_open || (same && (found == "-" || found == state.word()));
            assert!(ok, "{what}, {state:?}: {found}");
        }
        let bare = || Withdrawal { holds: Vec::new(), ended: begun().holds, ..begun() };
        for state in closed() {
            let start = Withdrawal { state: state.clone(), ..bare() };
            assert_eq!(after(&start, &seen), expect_closed, "{what}, {state:?}");
        }
        let why = "not enough".to_owned();
        let start =
            Withdrawal { state: State::Unfunded { why }, refused: vec![REQUEST], ended: vec![], ..bare() };
        let found = after(&start, &seen);
        assert!(found == expect_unfunded, "{what}, unfunded: {found}");
        for state in [State::Settled, State::Cancelled] {
            let start = Withdrawal { state, fee: Some(sats(1)), ..bare() };
            assert_eq!(after(&start, &seen), "-", "{what}: what is final stays");
        }
        // Who has less of the log than the record has nothing to add.
        let stale = Withdrawal { height: seen.height + 1, ..begun() };
        assert_eq!(after(&stale, &seen), "-", "{what}");
    }
}

/// While the node is not followed, what is known of the chain stays, and nothing is settled.
#[test]
fn without_the_node_nothing_is_settled() {
    for (signed, expect) in [(false, "authorised"), (true, "signed")] {
        let seen = authorised(|s| (s.following, s.paid[0].signed) = (false, signed));
        for state in open() {
            let start = Withdrawal { state: state.clone(), ..begun() };
            let kept = matches!(state, State::Broadcast | State::Confirming { .. });
            let expect = if kept { state.word() } else { expect };
            assert_eq!(step(&start, &seen).unwrap().withdrawal.state.word(), expect, "{state:?}");
        }
    }
    // What the log ends needs no node.
    let seen = with(|s| (s.following, s.requests[0].gone) = (false, Some(Gone::Ended)));
    assert_eq!(after(&begun(), &seen), "expired void");
}

/// A second request of the lineage.
fn renewal(amount: u64) -> Asked {
    let mut renewal = Asked { id: Hash([4; 32]), at: 2, ..asked() };
    renewal.outputs[0].amount = sats(amount);
    renewal
}

#[test]
fn a_renewal_reserves_only_what_exceeds() {
    let ids = |seen: &Seen, start: &Withdrawal| -> Vec<(String, Amount)> {
        let next = step(start, seen).unwrap();
        next.withdrawal.holds.iter().map(|h| (h.transfer.to_string(), h.amount)).collect()
    };
    let first = (format!("hold/{REQUEST}"), sats(1_050_000));
    let less = with(|s| s.requests.push(renewal(900_000)));
    assert_eq!(ids(&less, &begun()), std::slice::from_ref(&first));
    let more = with(|s| s.requests.push(renewal(1_000_001)));
    assert_eq!(ids(&more, &begun()), [first, (format!("hold/{}", Hash([4; 32])), sats(1))]);
}

/// The books refuse what a renewal asks for beyond: the first request stays reserved, and only that is funded.
#[test]
fn a_renewal_that_the_books_refuse() {
    let seen = with(|s| s.requests.push(renewal(2_000_000)));
    let next = step_without(&begun(), &seen, "not enough").unwrap();
    assert_eq!((next.withdrawal.state.word(), next.transfers.len()), ("awaiting-approval", 0));
    assert_eq!(next.withdrawal.funded(&seen), [REQUEST]);
    assert_eq!(next.withdrawal.outputs[0].amount, sats(1_000_000), "the request that counts");
    assert_eq!(step(&next.withdrawal, &seen), None, "and it does not ask again");
    // A third one that is not larger needs nothing more, and counts.
    let third = with(|s| {
        s.requests.push(renewal(2_000_000));
        s.requests.push(Asked { id: Hash([5; 32]), at: 3, ..renewal(1_000_000) });
    });
    let next = step(&next.withdrawal, &third).unwrap();
    assert_eq!((next.transfers.len(), next.withdrawal.funded(&third).len()), (0, 2));
    // The first one ends, and the refused one is all there is: what is reserved stays, for the log has not
    // excluded it, and nothing is funded.
    let ended = with(|s| {
        s.requests[0].gone = Some(Gone::Ended);
        s.requests.push(renewal(2_000_000));
    });
    let next = step(&next.withdrawal, &ended).unwrap();
    assert_eq!((next.withdrawal.state.word(), next.withdrawal.funded(&ended).len()), ("unfunded", 0));
    assert_eq!(next.withdrawal.reserved(), sats(1_050_000));
    // Then that ends as well.
    let over = with(|s| {
        s.requests.push(renewal(2_000_000));
        s.requests.iter_mut().for_each(|asked| asked.gone = Some(Gone::Ended));
    });
    assert_eq!(after(&next.withdrawal, &over), "expired void");
}

/// Somebody else's renewal that is out of reach does not take the way from one that is not.
#[test]
fn a_renewal_out_of_reach_beside_one_that_is_not() {
    let (huge, small) = (renewal(2_000_000), Asked { id: Hash([5; 32]), at: 3, ..renewal(1_000_100) });
    for renewals in [[huge.clone(), small.clone()], [small.clone(), huge.clone()]] {
        let seen = with(|s| s.requests.extend(renewals));
        let tried = step(&begun(), &seen).unwrap();
        assert_eq!(
            tried.transfers.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(),
            [format!("hold/{}", huge.id)]
        );
        let next = step_without(&begun(), &seen, "not enough").unwrap();
        assert_eq!((next.withdrawal.refused.clone(), next.transfers.len()), (vec![huge.id], 0));
        let next = step(&next.withdrawal, &seen).unwrap();
        assert_eq!(
            next.transfers.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(),
            [format!("hold/{}", small.id)]
        );
        assert_eq!(next.withdrawal.holds.last().unwrap().amount, sats(100));
        assert_eq!(next.withdrawal.funded(&seen), [REQUEST, small.id]);
        assert_eq!(step(&next.withdrawal, &seen), None);
    }
}

/// A renewal cannot make one client pay what another one asked for.
#[test]
fn a_renewal_that_names_another_payer_is_never_funded() {
    let other = Some(Owner::Client(name("south")));
    let seen = with(|s| s.requests.push(Asked { payer: other.clone(), ..renewal(100_000) }));
    let next = step(&begun(), &seen).unwrap();
    assert_eq!(next.withdrawal.funded(&seen), [REQUEST]);
    let seen = authorised(|s| {
        s.requests.push(Asked { payer: other, ..renewal(100_000) });
        s.paid.push(Paid {
            request: Hash([4; 32]),
            amount: sats(100_000),
            height: 10,
            confirmations: 6,
            ..paid()
        });
    });
    let next = step(&next.withdrawal, &seen).unwrap();
    assert_eq!((next.withdrawal.state.word(), next.transfers.len()), ("unfunded", 0));
    assert!(next.withdrawal.is_breach(&seen));
}

#[test]
fn the_timeline_keeps_its_first_line_and_the_newest() {
    let mut withdrawal = begun();
    let sent = authorised(|s| s.paid[0].broadcast = true);
    let block = authorised(|s| s.paid[0].confirmations = 1);
    for _ in 0..EVENTS_LIMIT {
        withdrawal = step(&withdrawal, &sent).unwrap().withdrawal;
        withdrawal = step(&withdrawal, &block).unwrap().withdrawal;
        assert_eq!(step(&withdrawal, &block), None);
    }
    let words: Vec<&str> = withdrawal.events.iter().map(|e| e.what.as_str()).collect();
    assert_eq!(words.len(), EVENTS_LIMIT);
    assert_eq!(
        (words[0], words[EVENTS_LIMIT - 2], words[EVENTS_LIMIT - 1]),
        ("requested", "broadcast", "confirming")
    );
}

/// An approval is told once, also when the line is long gone; another one by the same person is told again.
#[test]
fn an_approval_is_told_once() {
    let approved = |id: u8| with(|s| s.requests[0].approvals = vec![(name("alice"), Hash([id; 32]))]);
    let told = |w: &Withdrawal| w.events.iter().filter(|e| e.what == "approved").count();
    let first = step(&begun(), &approved(1)).unwrap().withdrawal;
    assert_eq!((told(&first), step(&first, &approved(1))), (1, None));
    let mut short = first.clone();
    short.events.truncate(1);
    assert_eq!(step(&short, &approved(1)), None);
    assert_eq!(told(&step(&first, &approved(2)).unwrap().withdrawal), 2);
}

/// The largest record fits the books.
#[test]
fn the_largest_record_fits() {
    let most = RENEWALS_LIMIT + 1;
    let mut full = Withdrawal { refused: vec![REQUEST; most], requests: vec![REQUEST; most], ..begun() };
    full.approvals = vec![REQUEST; APPROVALS_LIMIT];
    full.outputs = vec![full.outputs[0].clone(); 32];
    let hold = Hold { transfer: format!("hold/{REQUEST}/99").parse().unwrap(), amount: Amount::MAX };
    (full.holds, full.ended) = (vec![hold.clone(); most], vec![hold; most]);
    let text = |length| Some("x".repeat(length));
    (full.events[0].note, full.events[0].txid) = (text(NOTE_LIMIT), text(64));
    full.events = vec![full.events[0].clone(); EVENTS_LIMIT];
    let size = serde_json::to_vec(&full.record_change(0, None, 1).body).unwrap().len();
    let room = ledger::record::BODY_LIMIT_BYTES;
    assert!(size < room, "{size} bytes do not fit {room}");
}

#[test]
fn words_and_what_is_open() {
    let states = [open(), closed(), vec![State::Settled, State::Unfunded { why: String::new() }]].concat();
    for state in &states {
        let json = serde_json::to_value(state).unwrap();
        assert_eq!(json["state"], state.word(), "the word is that of the JSON");
        assert_eq!(state.is_open(), !closed().contains(state) && *state != State::Settled, "{state:?}");
    }
    let words: std::collections::BTreeSet<_> = states.iter().map(State::word).collect();
    assert_eq!(words.len(), 14);
    let passed: Vec<_> = states.iter().filter(|s| s.point_of_no_return_passed()).map(State::word).collect();
    let expected = ["frozen", "authorised", "signed", "broadcast", "confirming", "replaced", "settled"];
    assert_eq!(passed, expected);
}
