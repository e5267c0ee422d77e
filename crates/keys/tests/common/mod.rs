//! What the tests share: reproducible randomness, dealt accounts, digests of real transactions.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::absolute::LockTime;
use bitcoin::bip32::{ChainCode, ChildNumber, Fingerprint, Xpub};
use bitcoin::key::{TapTweak as _, TweakedPublicKey};
use bitcoin::secp256k1::{PublicKey, Secp256k1};
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use custody::effects::{AccountKey, Branch, Sats};
use custody::name::Name;
use keys::round::{self, Binding, Commitment, Nonces, Signable, SignatureShare};
use keys::seed::Seed;
use keys::share::{Dealt, HeldShare, SharePublic, ShareSecret, deal};
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha256};

/// Randomness from a seed: SHA-256 of a counter.
pub struct Random(pub u64, u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed, 0)
    }
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(32) {
            self.1 += 1;
            let block = Sha256::digest([self.0.to_le_bytes(), self.1.to_le_bytes()].concat());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Random {}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|text| name(text)).collect()
}

pub fn set(list: &[&str]) -> BTreeSet<Name> {
    names(list).into_iter().collect()
}

/// A 2-of-3 dealing of a fresh account, everything opened by its holder.
pub struct Group {
    pub public: SharePublic,
    pub shares: BTreeMap<Name, HeldShare>,
    pub rng: Random,
}

pub fn dealt(seed: u64) -> (Dealt, Random) {
    let mut rng = Random::new(seed);
    let account = Seed::generate(&mut rng).unwrap().account(1, 0).unwrap();
    (deal(account, 2, &names(&["ada", "bob", "cleo"]), &mut rng).unwrap(), rng)
}

pub fn open(public: &SharePublic, shares: &[(Name, ShareSecret)]) -> BTreeMap<Name, HeldShare> {
    let opened = shares
        .iter()
        .map(|(name, share)| (name.clone(), ShareSecret::open(share.expose(), public, name).unwrap()));
    opened.collect()
}

pub fn group(seed: u64) -> Group {
    let (dealt, rng) = dealt(seed);
    Group { shares: open(&dealt.public, &dealt.shares), public: dealt.public, rng }
}

pub struct Round {
    pub nonces: BTreeMap<Name, Nonces>,
    pub commitments: BTreeMap<Name, Commitment>,
}

impl Group {
    pub fn binding(&self, session: u8, signers: &[&str]) -> Binding {
        Binding { session: [session; 32], input: 0, signers: set(signers) }
    }

    pub fn commit_all(&mut self, binding: &Binding) -> Round {
        let mut round = Round { nonces: BTreeMap::new(), commitments: BTreeMap::new() };
        for name in &binding.signers {
            let (nonces, commitment) =
                round::commit(&self.shares[name], binding.clone(), &mut self.rng).unwrap();
            round.nonces.insert(name.clone(), nonces);
            round.commitments.insert(name.clone(), commitment);
        }
        round
    }

    pub fn sign_all(&self, round: Round, what: &Signable<'_>) -> BTreeMap<Name, SignatureShare> {
        let Round { nonces, commitments } = round;
        let shares = nonces.into_iter().map(|(name, nonces)| {
            let share = round::sign(nonces, &self.shares[&name], what, &commitments).unwrap();
            (name, share)
        });
        shares.collect()
    }
}

/// The output key of an address by the `bitcoin` crate alone.
pub fn output_key(account: &AccountKey, branch: Branch, index: u32) -> TweakedPublicKey {
    let secp = Secp256k1::new();
    let xpub = Xpub {
        network: bitcoin::NetworkKind::Test,
        depth: 3,
        parent_fingerprint: Fingerprint::default(),
        child_number: ChildNumber::from_hardened_idx(0).unwrap(),
        public_key: PublicKey::from_slice(&account.public.0).unwrap(),
        chain_code: ChainCode::from(account.chain_code.0),
    };
    let path = [branch.number(), index].map(|i| ChildNumber::from_normal_idx(i).unwrap());
    xpub.derive_pub(&secp, &path).unwrap().to_x_only_pub().tap_tweak(&secp, None).0
}

/// A transaction that spends one output of an address, and what it spends.
pub struct Payment {
    pub raw: Vec<u8>,
    pub spent: Vec<(Vec<u8>, Sats)>,
    pub digest: chain::Digest,
}

pub fn payment(account: &AccountKey, branch: Branch, index: u32, amount: u64) -> Payment {
    let own = ScriptBuf::new_p2tr_tweaked(output_key(account, branch, index));
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint {
                txid: bitcoin::Txid::from_raw_hash(bitcoin::hashes::Hash::all_zeros()),
                vout: 1,
            },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }],
        output: vec![TxOut { value: Amount::from_sat(amount), script_pubkey: own.clone() }],
    };
    let raw = bitcoin::consensus::serialize(&transaction);
    let spent = vec![(own.to_bytes(), Sats(amount + 1000))];
    let digest = chain::digest::digests(&raw, &spent).unwrap().remove(0);
    Payment { raw, spent, digest }
}
