//! Digests of entries and batches: what makes the books tamper-evident.
//!
//! Each entry has a digest of its own, so that a changed row can be named; the digest of a batch covers
//! those of its entries and the batch before, so that one remembered digest fixes everything up to it.
//! Whoever can write the database can write all digests anew: only a digest that was remembered
//! elsewhere, as in the command log, shows that.

use custody::Hash;
use custody::canon::{self, CanonError};
use serde::Serialize;

use crate::record::RecordChange;
use crate::transfer::{Place, Transfer};

/// What was written by one SQL transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Batch {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When, in seconds since 1970; never less than the batch before.
    pub time: u64,
    /// The position of its last entry.
    pub last: u64,
    /// How many accounts there are after it.
    pub accounts: u64,
    /// The digest of the batch before; zeros for the first.
    pub previous: Hash,
    /// SHA-256 of `keyward/ledger-batch/v1`, a zero byte and the canonical JSON of everything above and
    /// the digests of the entries in order.
    pub digest: Hash,
}

#[derive(Serialize)]
struct TransferBody<'a> {
    position: u64,
    transfer: &'a Transfer,
}

#[derive(Serialize)]
struct ChangeBody<'a> {
    position: u64,
    change: &'a RecordChange,
}

#[derive(Serialize)]
struct BatchBody<'a> {
    seq: u64,
    time: u64,
    last: u64,
    accounts: u64,
    previous: Hash,
    entries: &'a [Hash],
}

/// The digest of a transfer in its place.
pub(crate) fn transfer(place: Place, transfer: &Transfer) -> Result<Hash, CanonError> {
    let body = TransferBody { position: place.position, transfer };
    Ok(Hash::of("keyward/ledger-transfer/v1", &canon::encode(&body)?))
}

/// The digest of a record's new version in its place.
pub(crate) fn change(place: Place, change: &RecordChange) -> Result<Hash, CanonError> {
    let body = ChangeBody { position: place.position, change };
    Ok(Hash::of("keyward/ledger-change/v1", &canon::encode(&body)?))
}

impl Batch {
    /// Puts the digest of a batch in its place.
    pub(crate) fn seal(self, entries: &[Hash]) -> Result<Self, CanonError> {
        let Self { seq, time, last, accounts, previous, digest: _ } = self;
        let body = canon::encode(&BatchBody { seq, time, last, accounts, previous, entries })?;
        Ok(Self { digest: Hash::of("keyward/ledger-batch/v1", &body), ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordKind;
    use crate::transfer::{Code, Kind};
    use serde_json::json;

    const BITCOIN: &str = "bip122:000000000019d6689c085ae165831e93/slip44:0";

    fn deposit(kind: Kind) -> Transfer {
        Transfer {
            id: "d1".parse().unwrap(),
            debit: format!("external/main/{BITCOIN}").parse().unwrap(),
            credit: format!("client:acme/main/{BITCOIN}").parse().unwrap(),
            amount: "150000".parse().unwrap(),
            kind,
            code: Code::Deposit,
            cause: "tx:0".into(),
        }
    }

    /// The bytes that are hashed, written out: to change them is to break every remembered digest.
    #[test]
    fn golden_bytes() {
        let place = Place { position: 7, seq: 3, time: 1_800_000_000 };
        let text = format!(
            r#"{{"position":7,"transfer":{{"amount":"150000","cause":"tx:0","code":"deposit","credit":"client:acme/main/{BITCOIN}","debit":"external/main/{BITCOIN}","expires_at":9,"id":"d1","kind":"pending"}}}}"#
        );
        let pending = deposit(Kind::Pending { expires_at: Some(9) });
        assert_eq!(
            transfer(place, &pending).unwrap(),
            Hash::of("keyward/ledger-transfer/v1", text.as_bytes())
        );
        let text =
            text.replace(r#""expires_at":9,"#, "").replace(r#""pending"}"#, r#""void","pending":"p"}"#);
        let void = deposit(Kind::Void { pending: "p".parse().unwrap() });
        assert_eq!(transfer(place, &void).unwrap(), Hash::of("keyward/ledger-transfer/v1", text.as_bytes()));

        let record = RecordChange {
            kind: RecordKind::Deposit,
            id: "tx:0".into(),
            expect: 1,
            state: "credited".into(),
            client: None,
            external_id: Some("e".into()),
            at: 5,
            body: json!({"b": 1, "a": null}),
        };
        let text = r#"{"change":{"at":5,"body":{"a":null,"b":1},"client":null,"expect":1,"external_id":"e","id":"tx:0","kind":"deposit","state":"credited"},"position":7}"#;
        assert_eq!(change(place, &record).unwrap(), Hash::of("keyward/ledger-change/v1", text.as_bytes()));

        let zero = Hash::default();
        let batch = Batch { seq: 3, time: 5, last: 7, accounts: 2, previous: zero, digest: zero };
        let text =
            format!(r#"{{"accounts":2,"entries":["{zero}"],"last":7,"previous":"{zero}","seq":3,"time":5}}"#);
        let digest = Hash::of("keyward/ledger-batch/v1", text.as_bytes());
        assert_eq!(batch.seal(&[zero]).unwrap().digest, digest);
    }
}
