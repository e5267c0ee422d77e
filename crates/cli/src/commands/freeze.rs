//! `keyward freeze`, `keyward resume`, `keyward revoke`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use approver::{Signed, narrowed, plain};
use custody::document::{CosignerCard, Document, Resume, Revocation};
use custody::genesis::{Numbers, delay_floor_s, quorum_of};
use custody::name::Name;
use custody::state::{Authorisation, Stage, State};
use custody::statement::Scope;
use custody::{Blob, Hash};
use evidence::register::{FreezeDrill, What};
use serde::Serialize;
use wire::TlsKey;
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

use super::frozen::{SETTLED_S, cosigners_needed, is_frozen, signers_needed};
use super::recovery::Book;
use super::{confirm, emit, propose_in};
use crate::args::{DEFAULT_TIMEOUT_S, Global, Part};
use crate::failure::{Class, Failure, Result};
use crate::link::{ANSWER_DEADLINE, Link};
use crate::session::{Session, now, pick};

/// What is waited beyond the time after which a freeze that co-signers hold is settled, in seconds.
const SETTLED_SLACK_S: u64 = 20;

/// How often a co-signer that did not answer is asked again while waiting.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Report {
    id: Hash,
    scope: Scope,
    /// True only when it is (P18).
    frozen: bool,
    acknowledged: Vec<Name>,
    problems: Vec<String>,
    may_still_confirm: Vec<MayConfirm>,
}

#[derive(Serialize)]
struct MayConfirm {
    authorisation: Hash,
    txid: Hash,
    wallet: Name,
    requests: Vec<Hash>,
    /// Not proof: the server alone says so.
    server_says_confirmed: bool,
}

/// `NAME=HOST:PORT`.
pub(crate) fn named_address(text: &str) -> Result<(Name, String)> {
    let next = "write NAME=HOST:PORT, for example signer-1=10.0.0.7:7500";
    let (name, address) = text.split_once('=').ok_or_else(|| Failure::usage(format!("{text:?}"), next))?;
    let name = name.parse().map_err(|e: String| Failure::usage(e, next))?;
    crate::link::resolve(address)?;
    Ok((name, address.to_owned()))
}

/// What a freeze is to cover, if the log as it is known here has it: a freeze of something else would stop
/// nothing, and no batch takes it in.
fn scope(state: &State, part: Part) -> Result<Scope> {
    let (scope, known) = match part {
        Part { asset: Some(asset), .. } => {
            let known = asset == state.genesis().asset();
            (Scope::Asset(asset), known)
        }
        Part { wallet: Some(wallet), .. } => {
            let known = state.wallet(&wallet).is_some();
            (Scope::Wallet(wallet), known)
        }
        Part { client: Some(client), .. } => {
            let known = state.client(&client).is_some();
            (Scope::Client(client), known)
        }
        Part { network: Some(network), .. } => {
            let known = network == state.genesis().network;
            (Scope::Network(network), known)
        }
        Part { person: Some(person), .. } => {
            let known = state.person(&person).is_some();
            (Scope::Person(person), known)
        }
        Part { asset: None, wallet: None, client: None, network: None, person: None } => {
            return Ok(Scope::Everything);
        }
    };
    let all = "keyward freeze without a part stops everything";
    if !known {
        let asset = state.genesis().asset();
        let what = format!("{} is not in the log", covered(&scope));
        let next = format!("the asset here is {asset}; keyward status reads the log anew; {all}");
        return Err(Failure::usage(what, next));
    }
    if matches!(scope, Scope::Network(_) | Scope::Person(_)) && state.clock().rules < 3 {
        return Err(Failure::usage("networks and people are frozen since rule set 3", all));
    }
    if state.clock().rules < 2 {
        return Err(Failure::usage("rule set 1 freezes everything or nothing", all));
    }
    Ok(scope)
}

/// What a freeze covers, in words.
fn covered(scope: &Scope) -> String {
    let part = narrowed(scope);
    if part.is_empty() { "everything".into() } else { part.trim_end().to_owned() }
}

/// Stops everything, or a part: through the server and at every co-signer that can be reached directly. It
/// does not need the server, nor its goodwill.
pub(crate) fn freeze(
    global: &Global,
    part: Part,
    cosigners: &[String],
    drill: bool,
    yes: bool,
) -> Result<()> {
    let mut session = Session::open(global)?;
    let scope = scope(session.replica.state(), part)?;
    if drill {
        // What it takes is entered after the freeze: that must not fail for what could be known before.
        drop(Book::with(Session::open(global)?, None)?);
        if scope == Scope::Everything {
            let next = "name one, for example --person NAME; --network CAIP2 stops everything";
            return Err(Failure::usage("a drill freezes a part that may stand still", next));
        }
    }
    for cosigner in cosigners {
        let (name, address) = named_address(cosigner)?;
        session.profile.cosigners.insert(name, address);
    }
    if drill && session.profile.cosigners.is_empty() {
        let next = "keyward profile, or --cosigner NAME=HOST:PORT, says where the co-signers are";
        return Err(Failure::usage("a drill asks the co-signers directly how long they take", next));
    }
    let what = if scope == Scope::Everything { "of this deployment".into() } else { covered(&scope) };
    confirm(&format!("Stop every payment {what}, until a quorum resumes?"), yes)?;
    session.unlock()?;
    let genesis = session.replica.state().genesis_hash();
    let signed = approver::freeze(&genesis, session.key()?, crate::secret::nonce(), scope.clone())?;
    let mut problems = BTreeMap::new();
    let (mut held, mut took_ms) = (BTreeMap::new(), BTreeMap::new());
    let (begun, sent_at) = (Instant::now(), now());
    // With a signer lost only time makes it true (P18), so the usual wait would be too short.
    let usual = global.timeout == DEFAULT_TIMEOUT_S;
    let patience = if usual { SETTLED_S + SETTLED_SLACK_S } else { global.timeout };
    let until = Instant::now() + Duration::from_secs(patience);
    let mut through_server = false;
    let frozen = loop {
        for (name, at) in ask_directly(&mut session, &signed, &mut held, &mut problems)? {
            took_ms.insert(name, milliseconds(at.saturating_duration_since(begun)));
        }
        if !global.offline && session.profile.server.is_some() {
            // What the server says of others proves nothing; a final head that holds the freeze does.
            let passed = if through_server { Ok(()) } else { session.submit(&signed, &[]).map(|_| ()) };
            through_server |= passed.is_ok();
            match passed.and_then(|()| session.sync()) {
                Ok(()) => problems.remove("server"),
                Err(failure) => problems.insert("server".to_owned(), failure.to_string()),
            };
            count_final_head(&session, &signed, &mut held);
        }
        let state = session.replica.state();
        let known = knows_all_sets(&state.genesis().network, state.clock().time, now());
        if known {
            problems.remove("log");
        } else {
            let why = "it is older than the shortest delay, so others may vote by now: nothing is called frozen before a newer one";
            problems.insert("log".to_owned(), why.to_owned());
        }
        let frozen =
            known && is_frozen(&state.numbers(), &holder_sets(state), &committees(state), &held, now());
        let left = until.saturating_duration_since(Instant::now());
        if frozen || left.is_zero() {
            break frozen;
        }
        std::thread::sleep(left.min(RETRY));
    };
    let reported = report(&mut session, &signed, &scope, frozen, &held, problems);
    if !drill {
        return reported;
    }
    let freeze = FreezeDrill { acknowledged_ms: took_ms, freeze: signed.id, frozen, scope, sent_at };
    rehearsed(Book::with(session, None)?, freeze)?;
    reported
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Enters a drill in the register, signed: that it took place, and how long it took.
fn rehearsed(mut book: Book<'_>, drill: FreezeDrill) -> Result<()> {
    let times = drill.acknowledged_ms.iter().map(|(name, ms)| format!("{name} {ms} ms"));
    let times = times.collect::<Vec<_>>().join(", ");
    let times = if times.is_empty() { "nobody was asked directly".to_owned() } else { times };
    let freeze = drill.freeze;
    let entered = book.append(now().max(drill.sent_at), What::FreezeDrill(drill))?;
    let (number, head) = (entered.number, entered.head);
    // Beside the report on the freeze, which programs read from the output.
    eprintln!("drill       {times}; entry {number} of the register, head {head}");
    eprintln!("now keyward recovery publish, and lift it: keyward resume {freeze}");
    Ok(())
}

/// Whether nobody else votes or holds shares than whom this log names: what changes that waits for the floor of all delays at
/// least, so a log that is younger knows of it (P13, P30), whatever the policy is by now. Where there is no floor, on networks for tests,
/// nobody can know.
fn knows_all_sets(network: &str, log_time: u64, now: u64) -> bool {
    let floor = delay_floor_s(network);
    floor == 0 || now.saturating_add(SETTLED_S) <= log_time.saturating_add(floor)
}

/// The sets that vote now, or will when their delay is over, each with N − q + f + 1.
fn committees(state: &State) -> Vec<(Vec<Name>, usize)> {
    let numbers = state.numbers();
    let now: Vec<Name> = state.cosigners().into_iter().map(|card| card.name.clone()).collect();
    let waiting = state.proposals().iter().filter_map(|(_, p)| match (&p.document, &p.stage) {
        (Document::CosignerSet(set), Stage::Waiting(_)) => Some(set.members.clone()),
        _ => None,
    });
    let needed = |members: &[Name]| {
        let (all, quorum) = (members.len(), quorum_of(members.len()));
        cosigners_needed(&Numbers { all, quorum, ..numbers })
    };
    std::iter::once(now).chain(waiting).map(|members| (members.clone(), needed(&members))).collect()
}

/// Who may sign together, or could a moment ago; before anything is dealt, who would.
fn holder_sets(state: &State) -> BTreeSet<Vec<Name>> {
    let first = || state.cosigners().into_iter().filter(|card| card.holds_shares);
    let sets = state.holder_sets(now().saturating_sub(SETTLED_S));
    let sets: BTreeSet<Vec<Name>> = sets.into_iter().map(<[Name]>::to_vec).collect();
    if sets.is_empty() { [first().map(|card| card.name.clone()).collect()].into() } else { sets }
}

/// Hands the freeze to each co-signer of the profile that has not acknowledged it yet. Returns who does now, and
/// since when.
fn ask_directly(
    session: &mut Session<'_>,
    signed: &Signed,
    held: &mut BTreeMap<Name, u64>,
    problems: &mut BTreeMap<String, String>,
) -> Result<Vec<(Name, Instant)>> {
    let tls = session.tls()?;
    let cards: Vec<CosignerCard> = session.replica.state().cosigners().into_iter().cloned().collect();
    let open: Vec<(&CosignerCard, &String)> = cards
        .iter()
        .filter(|card| !held.contains_key(&card.name))
        .filter_map(|card| Some((card, session.profile.cosigners.get(&card.name)?)))
        .collect();
    // All at once: one that is slow must not keep the others waiting.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let tls = &tls;
        let asked: Vec<_> = open
            .iter()
            .map(|(card, address)| {
                let ask = move || ask_one(address, tls, card, signed).map(|()| Instant::now());
                (*card, scope.spawn(ask))
            })
            .collect();
        let lost = || Err(Failure::new(Class::System, "the thread ended", "try again"));
        asked.into_iter().map(|(card, thread)| (card, thread.join().unwrap_or_else(|_| lost()))).collect()
    });
    let mut new = Vec::new();
    for (card, answer) in answers {
        match answer {
            Ok(at) => {
                problems.remove(card.name.as_str());
                held.insert(card.name.clone(), now());
                new.push((card.name.clone(), at));
            }
            Err(failure) => {
                problems.insert(card.name.to_string(), failure.to_string());
            }
        }
    }
    Ok(new)
}

fn ask_one(address: &str, tls: &TlsKey, card: &CosignerCard, signed: &Signed) -> Result<()> {
    let mut link = Link::open(address, tls, &card.tls)?;
    let message = ToCosigner::Submit { envelope: Blob(signed.envelope.clone()) };
    match link.ask(&message, ANSWER_DEADLINE)? {
        FromCosigner::Receipt { id, state: ReceiptState::Held | ReceiptState::Consumed }
            if id == signed.id =>
        {
            Ok(())
        }
        FromCosigner::Receipt { state: ReceiptState::Refused { rule, why }, .. } => {
            Err(crate::failure::refused(&rule, &why))
        }
        FromCosigner::Refused { rule, why, .. } => Err(crate::failure::refused(&rule, &why)),
        _ => Err(Failure::new(Class::TimedOut, "it does not hold it yet", "it is asked again")),
    }
}

/// Whoever co-signed a head that holds the freeze has applied it (P11).
fn count_final_head(session: &Session<'_>, signed: &Signed, held: &mut BTreeMap<Name, u64>) {
    let state = session.replica.state();
    if !state.consumed(&signed.id, None) {
        return;
    }
    let Some(head) = session.replica.head() else { return };
    for card in state.cosigners() {
        if head.signers().contains_key(card.name.as_str()) {
            held.entry(card.name.clone()).or_insert_with(now);
        }
    }
}

fn report(
    session: &mut Session<'_>,
    signed: &Signed,
    scope: &Scope,
    frozen: bool,
    held: &BTreeMap<Name, u64>,
    problems: BTreeMap<String, String>,
) -> Result<()> {
    let global = session.global;
    // Only the server watches the chain, and it may lie: what it says stands beside each, and hides none.
    let confirmed: BTreeSet<Hash> = if session.profile.server.is_some() && !global.offline {
        let payments = session.server_status().map(|status| status.payments).unwrap_or_default();
        let done = payments.into_iter().filter(|p| p.state == "confirmed");
        done.filter_map(|p| p.authorisation).collect()
    } else {
        BTreeSet::new()
    };
    let state = session.replica.state();
    let covers = |a: &Authorisation| {
        let requests = a.requests.iter().filter_map(|id| state.requests().get(id));
        requests.into_iter().any(|record| state.stops(scope, &record.request, &record.requester))
    };
    let may_still_confirm: Vec<MayConfirm> = state
        .authorisations()
        .iter()
        .filter(|(_, a)| covers(a))
        .map(|(id, a)| {
            let mut txid = a.txid;
            txid.0.reverse();
            let (wallet, requests) = (a.wallet.clone(), a.requests.clone());
            let server_says_confirmed = confirmed.contains(id);
            MayConfirm { authorisation: *id, txid, wallet, requests, server_says_confirmed }
        })
        .collect();
    let numbers = state.numbers();
    let names: Vec<Name> = held.keys().cloned().collect();
    let mut text = format!("{}  {}\n", if frozen { "frozen    " } else { "sent      " }, signed.id);
    text.push_str(&format!("covers      {}\n", covered(scope)));
    let list = names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ");
    text.push_str(&format!("held by     {}\n", if list.is_empty() { "nobody yet" } else { &list }));
    for (who, problem) in &problems {
        text.push_str(&format!("problem     {who}: {}\n", plain(problem.lines().next().unwrap_or_default())));
    }
    for a in &may_still_confirm {
        let says = if a.server_says_confirmed { "; confirmed, says the server" } else { "" };
        let id = a.authorisation;
        text.push_str(&format!("may still confirm: {} from {} ({id}{says})\n", a.txid, a.wallet));
    }
    let problems = problems.into_iter().map(|(who, problem)| format!("{who}: {problem}")).collect();
    let scope = scope.clone();
    let value = Report { id: signed.id, scope, frozen, acknowledged: names, problems, may_still_confirm };
    emit(global, &text, &value)?;
    if frozen {
        return Ok(());
    }
    let what = format!(
        "not frozen yet: it takes {} signers, or {} co-signers and {SETTLED_S} s",
        holder_sets(state).iter().map(|set| signers_needed(&numbers, set.len())).max().unwrap_or(0),
        cosigners_needed(&numbers)
    );
    let next = "run it again with the addresses of more co-signers (--cosigner NAME=HOST:PORT) or a longer --timeout";
    Err(Failure::new(Class::TimedOut, what, next))
}

/// Proposes to lift freezes; others approve.
pub(crate) fn resume(global: &Global, freezes: &[String]) -> Result<()> {
    let mut session = Session::online(global)?;
    let known = || session.replica.state().freezes().iter().map(|(id, _)| *id);
    let mut freezes = freezes.iter().map(|f| pick(known(), f, "freeze")).collect::<Result<Vec<_>>>()?;
    freezes.sort();
    freezes.dedup();
    propose_in(&mut session, Document::Resume(Resume { freezes }), &[])
}

/// Revokes the own key, or proposes to revoke another.
pub(crate) fn revoke(global: &Global, other: Option<Hash>, yes: bool) -> Result<()> {
    let mut session = Session::online(global)?;
    if let Some(key) = other {
        return propose_in(&mut session, Document::Revocation(Revocation { key }), &[]);
    }
    confirm("Take your own key out of use, for ever?", yes)?;
    session.unlock()?;
    let genesis = session.replica.state().genesis_hash();
    let signed = approver::revoke(&genesis, session.key()?, crate::secret::nonce())?;
    session.submit(&signed, &[])?;
    // Once it is final, nobody lets this key in any more: then the wait ends with the connection.
    let text = match session.wait_for(&signed) {
        Ok(_) => "revoked     this key opens and signs nothing any more\n",
        Err(failure) if matches!(failure.class, Class::Unreachable | Class::Unverified) => {
            "sent        the server does not let this key in any more: ask somebody else for the status\n"
        }
        Err(failure) => return Err(failure),
    };
    emit(global, &format!("{text}statement   {}\n", signed.id), &Revoked { id: signed.id })
}

#[derive(Serialize)]
struct Revoked {
    id: Hash,
}

#[cfg(test)]
mod tests {
    use custody::genesis::{MAINNET, REGTEST};

    use super::*;

    /// Whatever the delays were when the log was fetched: others may be in force since, of a day at least.
    #[test]
    fn a_log_older_than_the_shortest_delay_does_not_know_who_votes() {
        let (fetched, day) = (1_000_000, 24 * 3_600);
        for (later, knows) in
            [(0, true), (day - SETTLED_S, true), (day - SETTLED_S + 1, false), (3 * day, false)]
        {
            assert_eq!(knows_all_sets(MAINNET, fetched, fetched + later), knows, "{later}");
        }
        assert!(knows_all_sets(REGTEST, fetched, fetched + 3 * day));
    }
}
