//! The 45 published vectors.

use bitcoin::NetworkKind;
use bitcoin::bip32::Xpriv;
use ceremony::slip39::{CombineError, Mnemonic, WordsError, combine_under};
use sha2::{Digest as _, Sha256};

use crate::text;

const VECTORS: &str = include_str!("../vectors/slip39/vectors.json");

/// The passphrase of all vectors.
const PASSPHRASE: &[u8] = b"TREZOR";

/// Description, shares, secret, extended key.
type Vector = (String, Vec<String>, String, String);

fn vectors() -> Vec<Vector> {
    let hash = hex::encode(Sha256::digest(VECTORS));
    assert_eq!(hash, "2cec14895c4acdc29161545f7bf0895b3f835762fb6f8d5380fe48adc7fa3e56");
    serde_json::from_str(VECTORS).unwrap()
}

/// The secret of a vector, or what is wrong with it.
fn result(shares: &[String]) -> Result<Vec<u8>, String> {
    let parsed: Result<Vec<Mnemonic>, WordsError> =
        shares.iter().map(|share| Mnemonic::parse(share)).collect();
    let shares = parsed.map_err(|error| match error {
        WordsError::Count(_) => "count".to_owned(),
        WordsError::Checksum(_) => "checksum".to_owned(),
        WordsError::Parameters(what) => what.to_owned(),
        other => other.to_string(),
    })?;
    let secret = combine_under(PASSPHRASE, &shares).map_err(|error| match error {
        CombineError::Strangers { .. } => "strangers",
        CombineError::Conflict(..) => "conflict",
        CombineError::Thresholds(..) => "thresholds",
        CombineError::Few(_) => "few",
        CombineError::Misfit(_) => "misfit",
        _ => "other",
    })?;
    Ok(secret.expose().to_vec())
}

#[test]
fn every_published_vector_passes() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 45);
    for (description, shares, secret, key) in vectors {
        match result(&shares) {
            Ok(found) => {
                assert_eq!(hex::encode(&found), secret, "{description}");
                let master = Xpriv::new_master(NetworkKind::Main, &found).unwrap();
                assert_eq!(master.to_string(), key, "{description}");
            }
            Err(why) => assert!(secret.is_empty(), "{description}: {why}"),
        }
    }
}

#[test]
fn each_broken_vector_fails_for_its_reason() {
    let padding = "its padding is not zero";
    let groups = "more groups are needed than there are";
    // Both lengths have the same list of faults; then two more.
    let of_length = [
        (1, "checksum"),
        (2, padding),
        (4, "few"),
        (5, "strangers"),
        (6, "strangers"),
        (7, "strangers"),
        (8, "strangers"),
        (9, groups),
        (10, "conflict"),
        (11, "thresholds"),
        (12, "misfit"),
        (13, "few"),
        (14, "few"),
        (15, "few"),
    ];
    let expected = of_length.into_iter().chain(of_length.map(|(at, why)| (at + 19, why)));
    let expected: Vec<(usize, &str)> = expected.chain([(38, "count"), (39, "count")]).collect();
    let vectors = vectors();
    let broken: Vec<usize> = (0..vectors.len()).filter(|at| vectors[*at].2.is_empty()).collect();
    assert_eq!(broken, expected.iter().map(|(at, _)| *at).collect::<Vec<_>>());
    for (at, why) in expected {
        assert_eq!(result(&vectors[at].1).unwrap_err(), why, "{}", vectors[at].0);
    }
}

#[test]
fn every_share_that_is_read_is_written_as_it_was() {
    let shares: Vec<String> = vectors().into_iter().flat_map(|vector| vector.1).collect();
    let read: Vec<(&String, Mnemonic)> =
        shares.iter().filter_map(|share| Some((share, Mnemonic::parse(share).ok()?))).collect();
    assert_eq!((shares.len(), read.len()), (89, 77));
    for (written, share) in read {
        assert_eq!(&text(&share), written);
    }
}
