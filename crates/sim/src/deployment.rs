//! A deployment from a seed: co-signers, people, genesis. Keys come from a deterministic generator, so
//! that a failing run can be run again.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use custody::document::{CosignerCard, DeviceKey, DeviceKind, Grant, Group, Kind, Machine, Person, TABLE};
use custody::effects::{PinnedHeader, Sats};
use custody::genesis::{Genesis, Placement, REGTEST};
use custody::name::{Label, Name};
use custody::policy::{Governance, Policy, PolicyRule, Require, Seats, When};
use custody::statement::{Body, Envelope, STATEMENT_VERSION, Statement, key_id};
use custody::{Blob, Hash};
use ed25519_dalek::SigningKey;
use keys::cosigner::CosignerSecrets;
use keys::locked::LockedBytes;
use keys::vault::Vault;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// The co-signers: three signers and a witness.
pub const COSIGNERS: [&str; 4] = ["s1", "s2", "s3", "w1"];

/// The people; the first three approve and govern.
pub const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// When the log begins, seconds since 1970.
pub const BEGIN_S: u64 = 1_800_000_000;

/// A deployment.
#[derive(Debug)]
pub struct Deployment {
    /// The genesis document.
    pub genesis: Genesis,
    people: BTreeMap<String, SigningKey>,
    nonce: u64,
}

/// A name that is known to be one.
///
/// # Panics
/// On a text that is no name: a mistake in a test.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name of 1 to 32 of a-z, 0-9 and '-'")
}

fn rng(of: &str) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(Hash::of("keyward/test-key", of.as_bytes()).0)
}

/// The signing key of a person or machine.
pub fn key(of: &str) -> SigningKey {
    let mut seed = [0; 32];
    rng(of).fill_bytes(&mut seed);
    SigningKey::from_bytes(&seed)
}

/// The secrets of a co-signer; always the same for one name.
///
/// # Panics
/// Without locked memory.
pub fn secrets(of: &str) -> CosignerSecrets {
    CosignerSecrets::generate(&mut rng(of)).expect("locked memory")
}

/// A vault under a fixed secret. Deriving its key is slow on purpose, so one serves a whole run.
///
/// # Panics
/// Without locked memory.
pub fn vault() -> Arc<Vault> {
    static VAULT: OnceLock<Arc<Vault>> = OnceLock::new();
    let make = || {
        let secret = LockedBytes::take(&mut [7; 32]).expect("locked memory");
        Arc::new(Vault::create(&secret, &mut rng("vault")).expect("a vault"))
    };
    Arc::clone(VAULT.get_or_init(make))
}

/// The card of a co-signer; it is to hold shares if its name begins with an s.
///
/// # Panics
/// Without locked memory.
pub fn card(of: &str) -> CosignerCard {
    let secrets = secrets(of);
    let public = secrets.public();
    let mut card = CosignerCard {
        name: name(of),
        holds_shares: of.starts_with('s'),
        epoch: 1,
        identity: public.identity,
        vote: public.vote,
        cosign: public.cosign,
        tls: public.tls,
        statement: public.statement,
        frame: public.frame,
        seal: Hash(public.seal.0),
        certificate: Blob::default(),
    };
    let signature = secrets.certify(&card.certified_bytes()).expect("a card");
    card.certificate = Blob(signature.to_vec());
    card
}

fn public(of: &str) -> Hash {
    Hash(key(of).verifying_key().to_bytes())
}

fn two_of(group: &str) -> Vec<Vec<Seats>> {
    vec![vec![Seats { count: 2, group: name(group) }]]
}

impl Default for Deployment {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Deployment {
    /// A deployment whose documents wait `delay_s` seconds.
    pub fn new(delay_s: u64) -> Self {
        let person = |id: &str| Person {
            id: name(id),
            name: Label { salt: public(id), text: id.to_owned() }.commitment(),
            keys: vec![DeviceKey {
                device: DeviceKind::File,
                sign: public(id),
                tls: public(&format!("{id}/tls")),
            }],
        };
        let group = |id: &str| Group { id: name(id), members: PEOPLE[..3].iter().map(|p| name(p)).collect() };
        let machine = |id: &str, grants: Vec<Grant>| Machine {
            id: name(id),
            sign: public(id),
            tls: public(&format!("{id}/tls")),
            grants,
        };
        let governance = |kind: Kind| {
            let delayed = TABLE.iter().any(|row| row.kind == kind && row.delayed);
            Governance { approvals: two_of("admins"), delay_s: if delayed { delay_s } else { 0 } }
        };
        let policy = Policy {
            rules: vec![PolicyRule {
                id: name("payments"),
                when: When::default(),
                require: Require::plain(two_of("approvers"), Sats(1_000_000_000), Sats(100_000), 100_000),
            }],
            governance: TABLE.iter().map(|row| (row.kind, governance(row.kind))).collect(),
            ..Policy::default()
        };
        let genesis = Genesis {
            version: 1,
            network: REGTEST.into(),
            nonce: Hash::default(),
            rules: custody::rule_set::NEWEST,
            created_at: BEGIN_S,
            placement: Placement::SharedHost,
            faulty: 1,
            threshold: 2,
            cosigners: COSIGNERS.iter().map(|c| card(c)).collect(),
            people: PEOPLE.iter().map(|p| person(p)).collect(),
            groups: vec![group("admins"), group("approvers")],
            machines: vec![
                machine("alarm", vec![Grant::Freeze]),
                machine("server", vec![Grant::Authorise, Grant::Allocate]),
            ],
            policy,
            de_minimis: Sats(0),
            header: PinnedHeader { hash: Hash::default(), height: 0, bits: 0x207f_ffff },
        };
        let people = PEOPLE.iter().chain(&["server", "alarm"]).map(|p| ((*p).to_owned(), key(p))).collect();
        Self { genesis, people, nonce: 0 }
    }

    /// A statement by a person or machine, valid for an hour from `now_s`; reductions for ever.
    ///
    /// # Panics
    /// For somebody whom the deployment does not have.
    pub fn sign(&mut self, by: &str, now_s: u64, body: Body) -> Envelope {
        self.nonce += 1;
        let key = &self.people[by];
        let statement = Statement {
            genesis: self.genesis.hash(),
            signer: key_id(&Hash(key.verifying_key().to_bytes())),
            version: STATEMENT_VERSION,
            nonce: Hash::of("keyward/test-nonce", &self.nonce.to_be_bytes()),
            not_after: (!body.is_reduction()).then_some(now_s + 3_600),
            body,
        };
        statement.sign(key).expect("a canonical statement")
    }
}
