//! `keyward watch`: is the log that the server shows the newest one? (P13)

use std::cmp::Ordering;
use std::time::Duration;

use custody::Hash;
use custody::document::{CosignerCard, verify};
use serde::Serialize;
use wire::message::{Answer, FromCosigner, ToCosigner};

use super::emit;
use super::frozen::cosigners_needed;
use crate::args::Global;
use crate::failure::{Class, Failure, Result};
use crate::link::{ANSWER_DEADLINE, Link};
use crate::session::{Session, now};

/// How often the co-signers are challenged.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// A co-signer's clock that is further off than this raises an alarm, in seconds (P15).
const CLOCK_ALARM_S: u64 = 10;

#[derive(Serialize)]
struct Watched {
    height: u64,
    answered: usize,
    needed: usize,
    warnings: Vec<String>,
}

pub(crate) fn run(global: &Global, once: bool) -> Result<()> {
    let mut session = Session::open(global)?;
    loop {
        let watched = look(&mut session)?;
        let mut text = format!(
            "height {}, {} of {} co-signers answered\n",
            watched.height, watched.answered, watched.needed
        );
        for warning in &watched.warnings {
            text.push_str(&format!("! {warning}\n"));
        }
        emit(global, &text, &watched)?;
        if once {
            let count = watched.warnings.len();
            let next = "look into each; do not approve anything until they are explained";
            let what = format!("{count} warnings");
            return if count == 0 { Ok(()) } else { Err(Failure::new(Class::Attention, what, next)) };
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Challenges every co-signer directly, then asks the server, then compares.
fn look(session: &mut Session<'_>) -> Result<Watched> {
    let mut warnings = Vec::new();
    let tls = session.tls()?;
    let cards: Vec<CosignerCard> = session.replica.state().cosigners().into_iter().cloned().collect();
    let genesis = session.replica.state().genesis_hash();
    let mut answers = Vec::new();
    for card in &cards {
        let Some(address) = session.profile.cosigners.get(&card.name) else {
            warnings.push(format!("{}: no address in the profile", card.name));
            continue;
        };
        match Link::open(address, &tls, &card.tls).and_then(|mut link| challenge(&mut link, card, &genesis)) {
            Ok(answer) => answers.push(answer),
            Err(failure) => {
                warnings.push(format!("{}: {}", card.name, failure.to_string().replace('\n', ";")))
            }
        }
    }
    // The server is asked last: a head that a co-signer had before must be there by now.
    if let Err(failure) = session.sync() {
        warnings.push(format!("server: {}", failure.to_string().replace('\n', ";")));
    }
    let needed = cosigners_needed(&session.replica.state().numbers());
    for answer in &answers {
        warnings.extend(judge(session, answer));
    }
    if answers.len() < needed {
        warnings.push(format!("only {} co-signers answered, {needed} are needed to be sure", answers.len()));
    }
    Ok(Watched { height: session.replica.state().clock().height, answered: answers.len(), needed, warnings })
}

/// Challenges one co-signer; the answer is signed over the nonce by its own key.
fn challenge(link: &mut Link, card: &CosignerCard, genesis: &Hash) -> Result<Answer> {
    let nonce = crate::secret::nonce();
    match link.ask(&ToCosigner::Challenge { nonce }, ANSWER_DEADLINE)? {
        FromCosigner::Answer(answer) => check(answer, card, &nonce, genesis),
        _ => {
            Err(Failure::new(Class::Unverified, "it gave another kind of answer", "is it the same version?"))
        }
    }
}

fn check(answer: Answer, card: &CosignerCard, nonce: &Hash, genesis: &Hash) -> Result<Answer> {
    let signed = verify(&card.statement, &answer.signed_bytes(genesis), &answer.signature.0);
    if answer.by == card.name && answer.nonce == *nonce && signed {
        return Ok(answer);
    }
    let what = "its answer is of somebody else, old, or wrongly signed";
    Err(Failure::new(Class::Unverified, what, "look at that co-signer"))
}

/// What an answer says against the log that the server showed afterwards.
fn judge(session: &Session<'_>, answer: &Answer) -> Vec<String> {
    let by = &answer.by;
    let mut warnings = Vec::new();
    match session.replica.compare(&answer.note) {
        Ok(Ordering::Greater) => {
            warnings.push(format!(
                "{by} has a newer final head (height {}): the server withholds the log",
                answer.height
            ));
        }
        Ok(Ordering::Equal | Ordering::Less) => {}
        Err(error) => warnings.push(format!("{by}: {error}")),
    }
    let off = answer.time.abs_diff(now());
    if off > CLOCK_ALARM_S {
        warnings.push(format!("{by}: its clock is {off} s off this one"));
    }
    let state = session.replica.state();
    for id in answer.reductions.iter().filter(|id| !state.consumed(id, None)) {
        warnings.push(format!("{by} holds the reduction {id}, which the log does not have yet"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use custody::Blob;
    use ed25519_dalek::Signer as _;

    use super::*;

    #[test]
    fn an_answer_counts_only_signed_by_its_co_signer_over_this_nonce() {
        let (genesis, nonce) = (Hash([1; 32]), Hash([2; 32]));
        let card = fixtures::card("s1", true, 1);
        let answer = |by: &str, nonce: Hash, key: &str, genesis: &Hash| {
            let mut answer = Answer {
                by: by.parse().unwrap(),
                nonce,
                height: 3,
                time: 4,
                note: String::new(),
                reductions: Vec::new(),
                signature: Blob::default(),
            };
            answer.signature = Blob(fixtures::key(key).sign(&answer.signed_bytes(genesis)).to_vec());
            answer
        };
        assert!(check(answer("s1", nonce, "s1", &genesis), &card, &nonce, &genesis).is_ok());
        for bad in [
            answer("s2", nonce, "s1", &genesis),
            answer("s1", Hash([3; 32]), "s1", &genesis),
            answer("s1", nonce, "s2", &genesis),
            answer("s1", nonce, "s1", &Hash([9; 32])),
            Answer { height: 4, ..answer("s1", nonce, "s1", &genesis) },
        ] {
            assert!(check(bad, &card, &nonce, &genesis).is_err());
        }
    }
}
