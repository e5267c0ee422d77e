//! FROST in one process: with all that Keyward adds, and by the library alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use custody::effects::{Branch, Sats};
use frost_secp256k1_tr as frost;
use keys::round::{self, Binding, Signable};
use keys::seed::Seed;
use keys::share::{HeldShare, ShareSecret, deal};
use rand_core::OsRng;
use sim::deployment::name;

use crate::{Failure, Runs, report};

/// The library alone: a dealt key and what is signed with it.
#[derive(Clone)]
pub(crate) struct Library {
    packages: Vec<frost::keys::KeyPackage>,
    public: frost::keys::PublicKeyPackage,
    message: [u8; 32],
}

impl Library {
    pub(crate) fn new() -> Result<Self, Failure> {
        let (packages, public) =
            frost::keys::generate_with_dealer(3, 2, frost::keys::IdentifierList::Default, OsRng)?;
        let packages = packages.into_values().take(2).map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { packages, public, message: [7; 32] })
    }

    /// All the work of two signers and of the aggregation, which verifies.
    pub(crate) fn sign(&self) -> Result<(), Failure> {
        let mut commitments = BTreeMap::new();
        let mut nonces = Vec::new();
        for package in &self.packages {
            let (nonce, commitment) = frost::round1::commit(package.signing_share(), &mut OsRng);
            commitments.insert(*package.identifier(), commitment);
            nonces.push(nonce);
        }
        let signing = frost::SigningPackage::new(commitments, &self.message);
        let mut parts = BTreeMap::new();
        for (nonce, package) in nonces.iter().zip(&self.packages) {
            let part = frost::round2::sign_with_tweak(&signing, nonce, package, None)?;
            parts.insert(*package.identifier(), part);
        }
        frost::aggregate_with_tweak(&signing, &parts, &self.public, None)?;
        Ok(())
    }

    pub(crate) fn time(&self) -> Result<Duration, Failure> {
        report::time(|| self.sign())
    }
}

/// A digest to sign: the only way to one is a decoded transaction.
fn digest() -> Result<chain::Digest, Failure> {
    let outpoint = bitcoin::OutPoint::new(bitcoin::Txid::from_byte_array([7; 32]), 0);
    let script_pubkey = bitcoin::ScriptBuf::from_bytes([&[0x51, 0x20][..], &[3; 32]].concat());
    let tx = bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![bitcoin::TxIn { previous_output: outpoint, ..bitcoin::TxIn::default() }],
        output: vec![bitcoin::TxOut {
            value: bitcoin::Amount::from_sat(900),
            script_pubkey: script_pubkey.clone(),
        }],
    };
    let raw = bitcoin::consensus::serialize(&tx);
    let digests = chain::digest::digests(&raw, &[(script_pubkey.into_bytes(), Sats(1_000))])?;
    digests.into_iter().next().ok_or_else(|| "no digest".into())
}

/// FROST 2-of-3, all the work of both signers and the aggregation, in one process.
pub(crate) fn in_process(runs: Runs) -> Result<(), Failure> {
    let holders = ["s1", "s2", "s3"].map(name);
    let dealt = deal(Seed::generate(&mut OsRng)?.account(1, 0)?, 2, &holders, &mut OsRng)?;
    let open = |(holder, share): &(_, ShareSecret)| ShareSecret::open(share.expose(), &dealt.public, holder);
    let shares: Vec<HeldShare> = dealt.shares.iter().take(2).map(open).collect::<Result<_, _>>()?;
    let digest = digest()?;
    let signers: BTreeSet<_> = holders.iter().take(2).cloned().collect();
    let library = Library::new()?;
    let thing = || {
        report::time(|| {
            let signable = Signable::Spend { digest: &digest, branch: Branch::Receive, index: 0 };
            let mut commitments = BTreeMap::new();
            let mut nonces = Vec::new();
            for share in &shares {
                let binding = Binding { session: [1; 32], input: 0, signers: signers.clone() };
                let (nonce, commitment) = round::commit(share, binding, &mut OsRng)?;
                nonces.push(nonce);
                commitments.insert(share.holder().clone(), commitment);
            }
            let mut parts = BTreeMap::new();
            for (nonce, share) in nonces.into_iter().zip(&shares) {
                parts.insert(share.holder().clone(), round::sign(nonce, share, &signable, &commitments)?);
            }
            round::aggregate(&dealt.public, &signable, &commitments, &parts)?;
            Ok(())
        })
    };
    let (here, floor) = report::in_turns(runs.signatures, thing, || library.time())?;
    let words = "the library's own commit, sign and aggregate, without a child key";
    report::times("FROST 2-of-3 with child key, one input", &here, Some((&floor, words)));
    Ok(())
}
