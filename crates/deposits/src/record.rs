//! What the books keep of a deposit: the body of its record.

use custody::effects::{Branch, OutPoint, Sats};
use custody::name::Name;
use serde::{Deserialize, Serialize};

use crate::coin::{Coin, DepositId, Place, Sighting, outpoint_text};
use crate::state::{DepositState, IllegalStep, Step, advance};
use crate::watched::Address;

/// Most lines of a history. A deposit has about five; one that flaps has more, and then the oldest but the
/// first go.
pub const HISTORY_LIMIT: usize = 50;

/// A line of the history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What happened.
    pub what: String,
    /// Who did it: `network`, `server`, `person:alice`, `machine:erp`.
    pub by: String,
}

/// A deposit: an output that pays an own address. Its record has the id [`DepositRecord::key`] and the state
/// [`DepositState::word`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositRecord {
    /// The output.
    pub outpoint: OutPoint,
    /// Its amount.
    pub amount: Sats,
    /// The wallet.
    pub wallet: Name,
    /// The chain of its address.
    pub branch: Branch,
    /// The index on it.
    pub index: u32,
    /// Whose the address is, as the log had it when the deposit was last seen or confirmed.
    pub client: Option<Name>,
    /// The address, as people write it.
    pub address: String,
    /// Where it stands.
    pub state: DepositState,
    /// The transfer that brought the amount where it is: to suspense while it is held, to the client when it is
    /// credited. Nothing in all other states.
    pub credit: Option<String>,
    /// Its block.
    pub place: Option<Place>,
    /// What happened, the oldest first.
    pub history: Vec<Line>,
}

impl DepositRecord {
    /// A deposit that was just seen for the first time, or found in a block; `address` is its text.
    pub fn new(sighting: &Sighting, address: String) -> Self {
        let Address { wallet, branch, index, client, retired: _ } = sighting.address.clone();
        Self {
            outpoint: sighting.outpoint,
            amount: sighting.amount,
            wallet,
            branch,
            index,
            client,
            address,
            state: DepositState::Seen,
            credit: None,
            place: None,
            history: Vec::new(),
        }
    }

    /// The id of its record: the output, `txid:vout`.
    pub fn key(&self) -> String {
        outpoint_text(&self.outpoint)
    }

    /// What names its credit, once it is in a block: the id of the transfer to the client or to suspense.
    pub fn id(&self) -> Option<DepositId> {
        self.place.map(|place| DepositId { outpoint: self.outpoint, place })
    }

    /// The id of the transfer by which it is released from suspense.
    pub fn release_id(&self) -> Option<String> {
        self.id().map(|id| format!("release/{id}"))
    }

    /// The id of the transfer by which it is taken back, from wherever it is.
    pub fn back_id(&self) -> Option<String> {
        self.id().map(|id| format!("back/{id}"))
    }

    /// It as it looks in the mempool.
    pub fn sighting(&self) -> Sighting {
        let Self { outpoint, amount, wallet, branch, index, client, .. } = self.clone();
        Sighting { outpoint, amount, address: Address { wallet, branch, index, client, retired: false } }
    }

    /// Puts it into the block of a coin; [`Step::Confirm`] follows.
    pub fn found(&mut self, coin: &Coin) {
        self.place = Some(coin.place);
        self.client.clone_from(&coin.address.client);
    }

    /// Takes a step, at a time in seconds since 1970. Says whether anything changed. A further confirmation
    /// makes no line of the history.
    ///
    /// # Errors
    /// A step that it cannot take. Nothing changes then.
    pub fn take(&mut self, step: &Step, at: u64, by: &str) -> Result<bool, IllegalStep> {
        let fresh = self.history.is_empty();
        let next = advance((!fresh).then_some(&self.state), step)?;
        if !fresh && next == self.state {
            return Ok(false);
        }
        let recount =
            matches!((&self.state, &next), (DepositState::Confirming { .. }, s) if s.word() == "confirming");
        if fresh || !recount {
            let what = match step {
                Step::AskRelease(_) => "release asked".to_owned(),
                Step::Release(_) => "released".to_owned(),
                Step::Hold(_) => next.to_string(),
                _ => next.word().to_owned(),
            };
            self.history.push(Line { at, what, by: by.to_owned() });
            if self.history.len() > HISTORY_LIMIT {
                self.history.remove(1);
            }
        }
        self.credit = match step {
            Step::Credit | Step::Hold(_) => self.id().map(|id| id.to_string()),
            Step::Release(_) => self.release_id(),
            Step::AskRelease(_) => self.credit.take(),
            Step::See | Step::Vanish | Step::Confirm { .. } | Step::TakeBack => None,
        };
        if matches!(step, Step::See | Step::Vanish | Step::TakeBack) {
            self.place = None;
        }
        self.state = next;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::{CoinKind, HoldReason};
    use custody::Hash;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn coin() -> Coin {
        let client = Some(name("acme"));
        Coin {
            outpoint: OutPoint { txid: Hash([0xab; 32]), vout: 7 },
            amount: Sats(1_000),
            address: Address {
                wallet: name("main"),
                branch: Branch::Receive,
                index: 3,
                client,
                retired: false,
            },
            place: Place { height: 100, block: Hash([1; 32]), connection: 9 },
            needed: 1,
            kind: CoinKind::Open,
            spent: None,
        }
    }

    fn record() -> DepositRecord {
        let Coin { outpoint, amount, address, .. } = coin();
        DepositRecord::new(&Sighting { outpoint, amount, address }, "bcrt1p".into())
    }

    const DEEP: Step = Step::Confirm { confirmations: 1, needed: 1 };

    #[test]
    fn a_held_deposit_names_the_transfer_that_it_is_in_and_takes_two_people() {
        let mut record = record();
        assert_eq!(record.take(&Step::See, 1, "network"), Ok(true));
        assert_eq!(record.take(&Step::See, 2, "network"), Ok(false), "seen already");
        record.found(&coin());
        record.take(&DEEP, 3, "network").unwrap();
        assert_eq!((record.credit.as_deref(), record.id()), (None, Some(coin().id())));
        record.take(&Step::Hold(vec![HoldReason::Retired]), 3, "server").unwrap();
        assert_eq!(record.credit, Some(coin().id().to_string()));
        record.take(&Step::AskRelease(name("alice")), 4, "person:alice").unwrap();
        assert_eq!(record.credit, Some(coin().id().to_string()), "still in suspense");
        let before = record.clone();
        assert!(record.take(&Step::Release(name("alice")), 5, "person:alice").is_err());
        assert_eq!(record, before);
        record.take(&Step::Release(name("bob")), 5, "person:bob").unwrap();
        assert_eq!(record.credit, Some(format!("release/{}", coin().id())));
        assert_eq!(record.back_id(), Some(format!("back/{}", coin().id())));
        record.take(&Step::TakeBack, 6, "network").unwrap();
        assert_eq!((record.credit.clone(), record.place, record.back_id()), (None, None, None));
        let lines: Vec<_> =
            record.history.iter().map(|line| (line.what.as_str(), line.by.as_str())).collect();
        let expected = [
            ("seen", "network"),
            ("confirming", "network"),
            ("held(the address was retired)", "server"),
            ("release asked", "person:alice"),
            ("released", "person:bob"),
            ("taken-back", "network"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn confirmations_are_counted_without_lines() {
        let mut record = record();
        record.found(&coin());
        for confirmations in 1..=3 {
            assert_eq!(record.take(&Step::Confirm { confirmations, needed: 3 }, 1, "network"), Ok(true));
        }
        assert_eq!(record.state, DepositState::Confirming { confirmations: 3, needed: 3 });
        assert_eq!(record.history.len(), 1);
    }

    #[test]
    fn a_history_on_both_sides_of_its_limit() {
        let mut record = record();
        for at in 0..u64::try_from(HISTORY_LIMIT).unwrap() {
            let step = if at % 2 == 0 { Step::See } else { Step::Vanish };
            record.take(&step, at, "network").unwrap();
        }
        let ends = |record: &DepositRecord| {
            let [first, second, ..] = &record.history[..] else { panic!("short") };
            (record.history.len(), first.at, second.at)
        };
        assert_eq!(ends(&record), (HISTORY_LIMIT, 0, 1));
        record.take(&Step::See, 99, "network").unwrap();
        assert_eq!(ends(&record), (HISTORY_LIMIT, 0, 2), "the first one stays");
    }

    #[test]
    fn ids_fit_a_transfer() {
        let mut longest = coin();
        longest.outpoint.vout = u32::MAX;
        longest.place.connection = u64::MAX;
        let mut record = record();
        record.outpoint = longest.outpoint;
        record.found(&longest);
        assert!(record.release_id().unwrap().len() <= 128 && record.back_id().unwrap().len() <= 128);
    }

    #[test]
    fn a_record_reads_back_from_its_body() {
        let mut record = record();
        record.found(&coin());
        record.take(&DEEP, 3, "network").unwrap();
        record.take(&Step::Hold(vec![HoldReason::Screening("a list".into())]), 3, "server").unwrap();
        let body = custody::canon::encode(&record).unwrap();
        assert_eq!(custody::canon::decode::<DepositRecord>(&body).unwrap(), record);
    }
}
