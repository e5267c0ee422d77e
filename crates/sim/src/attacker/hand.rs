//! What whoever stole a co-signer's keys can say in its name. The encodings are written out here again,
//! after `docs/spec/agreement.md`, and not borrowed from the co-signer.

use std::collections::BTreeSet;

use custody::batch::Batch;
use custody::name::Name;
use custody::statement::{Body, Envelope, STATEMENT_VERSION, Statement, key_id, pae};
use custody::{Blob, Hash, PublicKey, canon};
use ed25519_dalek::Signer as _;
use keys::cosigner::CosignerSecrets;
use keys::round::{self, Binding};
use keys::seal::{self, SealDomain, SealPublic};
use keys::share::HeldShare;
use rand_core::{OsRng, RngCore as _};
use serde_json::{Value, json};
use signer::agreement::{Message, Proposal, Vote, value_hash};
use signer::tendermint::{Kind, Member, Round};

use super::Letter;
use crate::deployment::{COSIGNERS, name};

/// The keys of one co-signer in the wrong hands.
#[derive(Debug)]
pub struct Hand {
    /// Whose they are.
    pub who: String,
    /// The keys.
    pub secrets: CosignerSecrets,
    genesis: Hash,
}

impl Hand {
    /// Takes the keys.
    pub fn new(who: &str, secrets: CosignerSecrets, genesis: Hash) -> Self {
        Self { who: who.to_owned(), secrets, genesis }
    }

    /// The place in genesis.
    ///
    /// # Panics
    /// For a name that is not there.
    pub fn member(&self) -> Member {
        COSIGNERS.iter().position(|c| *c == self.who).expect("a co-signer")
    }

    /// The first round of a height in which this co-signer proposes.
    pub fn turn(&self, height: u64) -> Round {
        let all = COSIGNERS.len() as u64;
        ((self.member() as u64 + all - height % all) % all) as Round
    }

    /// A statement of the co-signer itself as of `now`, to end an hour later unless it reduces authority.
    pub fn statement(&self, now: u64, body: Body) -> Statement {
        let mut nonce = Hash::default();
        OsRng.fill_bytes(&mut nonce.0);
        Statement {
            genesis: self.genesis,
            signer: key_id(&self.secrets.public().statement),
            version: STATEMENT_VERSION,
            nonce,
            not_after: (!body.is_reduction()).then_some(now + 3_600),
            body,
        }
    }

    /// Signs any payload as a statement of the co-signer.
    ///
    /// # Panics
    /// Never: every payload can be encoded.
    pub fn seal_words(&self, payload: &[u8]) -> [u8; 64] {
        self.secrets.used().sign_statement(&pae(payload)).expect("an encoding of a statement")
    }

    /// Signs a statement.
    ///
    /// # Panics
    /// For a body that has no canonical form.
    pub fn write(&self, statement: &Statement) -> Envelope {
        let payload = statement.payload().expect("a canonical statement");
        let signature = self.seal_words(&payload);
        statement.enveloped(payload, signature)
    }

    /// A commitment to fresh nonces for the first input of a session, as its share makes it.
    ///
    /// # Panics
    /// For holders that cannot sign with the share.
    pub fn commitment(&self, share: &HeldShare, session: &Hash, holders: &[Name]) -> Blob {
        let signers: BTreeSet<Name> = holders.iter().cloned().collect();
        let binding = Binding { session: session.0, input: 0, signers };
        let (_, commitment) = round::commit(share, binding, &mut OsRng).expect("holders of the share");
        Blob(commitment.to_bytes())
    }

    fn signed(&self, domain: &str, fields: &[&[u8]]) -> Blob {
        let head = [domain.as_bytes(), &[0], &self.genesis.0].concat();
        let bytes = [head, fields.concat()].concat();
        Blob(self.secrets.vote_signing_key().sign(&bytes).to_bytes().to_vec())
    }

    fn agreement(&self, to: &str, message: &Message) -> Letter {
        self.letter(to, &json!({ "agreement": Blob(message.encode().expect("a message")) }))
    }

    /// Any letter between co-signers.
    ///
    /// # Panics
    /// Never for JSON.
    pub fn letter(&self, to: &str, content: &Value) -> Letter {
        let bytes = serde_json::to_vec(content).expect("JSON");
        Letter { from: self.who.clone(), to: to.to_owned(), bytes }
    }

    /// A proposal of a batch for the first time.
    pub fn proposal(&self, to: &str, height: u64, round: Round, batch: &Batch) -> Letter {
        let bytes = batch.bytes();
        let value = value_hash(&bytes);
        let fields: [&[u8]; 4] = [&height.to_be_bytes(), &round.to_be_bytes(), &[0], &value.0];
        let signature = self.signed("keyward/proposal/v1", &fields);
        let proposal = Proposal { height, round, pol_round: None, value, signature };
        self.agreement(to, &Message::Proposal { proposal, value: Blob(bytes), polka: Vec::new() })
    }

    /// A vote; for nil without a value.
    pub fn vote(&self, to: &str, height: u64, round: Round, kind: Kind, value: Option<Hash>) -> Letter {
        let word = match kind {
            Kind::Prevote => 1,
            Kind::Precommit => 2,
        };
        let mut end = vec![u8::from(value.is_some())];
        end.extend(value.iter().flat_map(|v| v.0));
        let fields: [&[u8]; 4] = [&height.to_be_bytes(), &round.to_be_bytes(), &[word], &end];
        let signature = self.signed("keyward/vote/v1", &fields);
        self.agreement(
            to,
            &Message::Votes(vec![Vote { by: self.member(), height, round, kind, value, signature }]),
        )
    }

    /// A frame of a signing session, sealed to the holder of `to_key` and rightly signed.
    ///
    /// # Panics
    /// For a key that is none.
    pub fn frame(&self, to: &str, to_key: &PublicKey, session: &Hash, payload: &Value) -> Letter {
        let context = canon::encode(&(self.genesis, name(&self.who), name(to), session)).expect("canonical");
        let plain = serde_json::to_vec(payload).expect("JSON");
        let key = SealPublic(to_key.0);
        let sealed = seal::seal(&key, SealDomain::Frame, &context, &plain, &mut OsRng).expect("a seal");
        let signature = self.secrets.used().sign_frame(&[context, sealed.clone()].concat());
        let frame = json!({
            "from": self.who, "to": to, "session": session,
            "sealed": Blob(sealed), "signature": Blob(signature.to_vec()),
        });
        self.letter(to, &json!({ "frame": frame }))
    }
}

/// The number of a session in which holders sign an authorised transaction.
///
/// # Panics
/// Never.
pub fn session(genesis: &Hash, authorisation: &Hash, holders: &[Name], attempt: u32) -> Hash {
    let slot: Option<&u32> = None;
    let parts = (genesis, "sign", authorisation, slot, holders, attempt);
    Hash::of("keyward/session/v1", &canon::encode(&parts).expect("canonical"))
}
