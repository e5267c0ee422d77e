//! Signing sessions: who signs what with whom, and the one moment at which a share leaves (P14, P27, P28).
//!
//! A session lives in memory only. Its number is on disk before its first frame leaves, and a number is
//! used once: whoever asks again gets fresh nonces under another number, or a refusal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use custody::effects::{AccountKey, Branch, Decoder, TypedInput};
use custody::name::Name;
use custody::rule::{Refusal, Rule};
use custody::state::State;
use custody::{Blob, Hash, canon};
use keys::round::{self, ActivationChallenge, Binding, Commitment, Nonces, Signable, SignatureShare};
use keys::share::HeldShare;
use rand_core::CryptoRngCore;

use super::peer::Payload;

/// Most sessions at a time; the oldest gives way. A session takes milliseconds.
pub const SESSIONS_LIMIT: usize = 64;

/// Most frames that wait for the order that starts their session.
pub const EARLY_FRAMES_LIMIT: usize = 256;

/// What is to be signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// An authorised transaction.
    Spend {
        /// The statement that proposed it.
        authorisation: Hash,
    },
    /// The proof that a set of holders can sign.
    Prove {
        /// The ceremony.
        ceremony: Hash,
        /// The position of the account.
        slot: u32,
    },
}

impl Work {
    /// The id to name in answers.
    pub(super) fn id(&self) -> Hash {
        match self {
            Self::Spend { authorisation } => *authorisation,
            Self::Prove { ceremony, .. } => *ceremony,
        }
    }

    /// The id under which its sessions are counted: a set that fails again and again leaves the others theirs.
    pub(super) fn counted(&self, holders: &[Name]) -> Hash {
        match self {
            Self::Spend { authorisation } => *authorisation,
            Self::Prove { ceremony, slot } => {
                let parts = (ceremony, slot, holders);
                Hash::of("keyward/proof/v1", &canon::encode(&parts).unwrap_or_default())
            }
        }
    }

    /// The word for answers.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Spend { .. } => "sign",
            Self::Prove { .. } => "prove",
        }
    }

    /// The number of a session.
    pub(super) fn session(&self, genesis: &Hash, holders: &[Name], attempt: u32) -> Hash {
        let slot = match self {
            Self::Spend { .. } => None,
            Self::Prove { slot, .. } => Some(slot),
        };
        let parts = (genesis, self.word(), self.id(), slot, holders, attempt);
        Hash::of("keyward/session/v1", &canon::encode(&parts).unwrap_or_default())
    }
}

/// What a session came to.
#[derive(Debug)]
pub(super) enum Finished {
    /// A transaction with all its signatures, verified.
    Transaction(Vec<u8>),
    /// A signature over the activation challenge.
    Proof([u8; 64]),
}

/// One session at one signer.
#[derive(Debug)]
pub(super) struct Session {
    /// What is signed.
    pub work: Work,
    /// Who signs, sorted; the first one aggregates.
    pub holders: Vec<Name>,
    /// The account's shares.
    pub key: (Hash, u32),
    inputs: Vec<Input>,
    raw: Vec<u8>,
    nonces: Vec<Nonces>,
    commitments: BTreeMap<Name, Vec<Commitment>>,
    shares: BTreeMap<Name, Vec<SignatureShare>>,
    done: bool,
}

#[derive(Debug)]
enum Input {
    Spend { digest: chain::Digest, spent: (Vec<u8>, custody::effects::Sats), branch: Branch, index: u32 },
    Challenge(ActivationChallenge),
}

impl Input {
    fn signable(&self) -> Signable<'_> {
        match self {
            Self::Spend { digest, branch, index, .. } => {
                Signable::Spend { digest, branch: *branch, index: *index }
            }
            Self::Challenge(challenge) => Signable::Activation(challenge),
        }
    }
}

fn refuse<E: std::fmt::Display>(rule: Rule) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::new(rule, error.to_string())
}

impl Session {
    /// Opens a session for a transaction that `state` (the state under the final head) allows. The
    /// digests come from the decoded transaction and from scripts that are derived here.
    pub(super) fn spend(
        state: &State,
        authorisation: Hash,
        holders: Vec<Name>,
        decoder: &dyn Decoder,
    ) -> Result<Self, Refusal> {
        let found = state.authorisations().get(&authorisation);
        let found = found
            .ok_or_else(|| Refusal::new(Rule::Reference, "there is no such authorisation under this head"))?;
        let wallet = state.wallet(&found.wallet);
        let wallet = wallet.ok_or_else(|| Refusal::new(Rule::Reference, "the wallet is gone"))?;
        let dealt = state.dealt(&wallet.ceremony, wallet.slot);
        let (dealing, slot) =
            dealt.ok_or_else(|| Refusal::new(Rule::Ceremony, "the wallet has no dealt key"))?;
        let account = &slot.slot.account;
        let spent = |input: &TypedInput| own_output(account, input, decoder);
        let spent = found.transaction.inputs.iter().map(spent).collect::<Result<Vec<_>, _>>()?;
        let raw = found.transaction.raw.0.clone();
        let digests = chain::digest::digests(&raw, &spent).map_err(refuse(Rule::Shape))?;
        let described = found.transaction.inputs.iter().zip(spent);
        let inputs = digests
            .into_iter()
            .zip(described)
            .map(|(digest, (typed, spent))| Input::Spend {
                digest,
                spent,
                branch: typed.branch,
                index: typed.index,
            })
            .collect();
        let key = (dealing, wallet.slot);
        Ok(Self::new(Work::Spend { authorisation }, holders, key, inputs, raw))
    }

    /// Opens a session that proves a set of holders.
    pub(super) fn prove(
        state: &State,
        ceremony: Hash,
        slot: u32,
        holders: Vec<Name>,
    ) -> Result<Self, Refusal> {
        let known = state.slots().get(&(ceremony, slot));
        let known = known
            .ok_or_else(|| Refusal::new(Rule::Ceremony, "no approved ceremony dealt such an account"))?;
        if known.superseded.is_some() || known.proved.contains(&holders) {
            let why = "these holders have nothing left to prove for these shares";
            return Err(Refusal::new(Rule::Once, why));
        }
        let challenge = round::activation_message(&state.genesis_hash(), &ceremony, slot, &holders);
        let inputs = vec![Input::Challenge(challenge)];
        Ok(Self::new(Work::Prove { ceremony, slot }, holders, (ceremony, slot), inputs, Vec::new()))
    }

    fn new(work: Work, holders: Vec<Name>, key: (Hash, u32), inputs: Vec<Input>, raw: Vec<u8>) -> Self {
        Self {
            work,
            holders,
            key,
            inputs,
            raw,
            nonces: Vec::new(),
            commitments: BTreeMap::new(),
            shares: BTreeMap::new(),
            done: false,
        }
    }

    /// Round 1: fresh nonces for every input; the commitments to send.
    pub(super) fn commit(
        &mut self,
        session: &Hash,
        share: &HeldShare,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Payload, Refusal> {
        let signers: BTreeSet<Name> = self.holders.iter().cloned().collect();
        let mut own = Vec::new();
        for (input, _) in (0u32..).zip(&self.inputs) {
            let binding = Binding { session: session.0, input, signers: signers.clone() };
            let (nonces, commitment) = round::commit(share, binding, rng).map_err(refuse(Rule::Form))?;
            self.nonces.push(nonces);
            own.push(commitment);
        }
        let payload = Payload::Commitments(own.iter().map(|c| Blob(c.to_bytes())).collect());
        self.commitments.insert(share.holder().clone(), own);
        Ok(payload)
    }

    /// Takes a frame of another holder. The first word of each holder in each round counts.
    pub(super) fn take(&mut self, from: &Name, payload: &Payload) -> Result<(), Refusal> {
        let form = |what: &str| Refusal::new(Rule::Form, format!("{from} sent {what}"));
        if !self.holders.contains(from) {
            return Err(form("a frame to a session that it is not in"));
        }
        let count = self.inputs.len();
        match payload {
            Payload::Commitments(list) if !self.commitments.contains_key(from) => {
                let parsed: Result<Vec<_>, _> = list.iter().map(|b| Commitment::from_bytes(&b.0)).collect();
                let parsed = parsed.map_err(|_| form("commitments that are no commitments"))?;
                if parsed.len() != count {
                    return Err(form("another number of commitments than there are inputs"));
                }
                self.commitments.insert(from.clone(), parsed);
            }
            Payload::Shares(list) if !self.shares.contains_key(from) => {
                let parsed: Result<Vec<_>, _> =
                    list.iter().map(|b| SignatureShare::from_bytes(&b.0)).collect();
                let parsed = parsed.map_err(|_| form("shares that are no shares"))?;
                if parsed.len() != count {
                    return Err(form("another number of shares than there are inputs"));
                }
                self.shares.insert(from.clone(), parsed);
            }
            // The server may bring a frame again: that blames nobody.
            Payload::Commitments(list) if again(self.commitments.get(from), list, Commitment::to_bytes) => {}
            Payload::Shares(list) if again(self.shares.get(from), list, SignatureShare::to_bytes) => {}
            Payload::Commitments(_) | Payload::Shares(_) => return Err(form("a second word in one round")),
        }
        Ok(())
    }

    /// Whether all commitments are there and the own share has not left yet.
    pub(super) fn may_sign(&self) -> bool {
        !self.nonces.is_empty() && self.commitments.len() == self.holders.len()
    }

    /// Whether the shares of all others are there.
    pub(super) fn has_other_shares(&self) -> bool {
        self.shares.len().saturating_add(1) == self.holders.len()
    }

    /// Round 2: the own shares. The nonces are used up, whatever happens.
    pub(super) fn sign(&mut self, share: &HeldShare) -> Result<Payload, Refusal> {
        let nonces = std::mem::take(&mut self.nonces);
        let mut own = Vec::new();
        for (place, (nonces, input)) in nonces.into_iter().zip(&self.inputs).enumerate() {
            let commitments = self.commitments_of(place);
            let part = round::sign(nonces, share, &input.signable(), &commitments);
            own.push(part.map_err(refuse(Rule::Form))?);
        }
        let payload = Payload::Shares(own.iter().map(|s| Blob(s.to_bytes())).collect());
        self.shares.insert(share.holder().clone(), own);
        Ok(payload)
    }

    fn commitments_of(&self, place: usize) -> BTreeMap<Name, Commitment> {
        let one = |(name, list): (&Name, &Vec<Commitment>)| Some((name.clone(), list.get(place)?.clone()));
        self.commitments.iter().filter_map(one).collect()
    }

    /// Adds the shares up, once all are there, and verifies the result before it is given out. An
    /// error names the holders to blame.
    pub(super) fn finish(&mut self, share: &HeldShare) -> Option<Result<Finished, (Refusal, Vec<Name>)>> {
        if self.done || self.shares.len() < self.holders.len() {
            return None;
        }
        self.done = true;
        Some(self.aggregate(share))
    }

    fn aggregate(&self, share: &HeldShare) -> Result<Finished, (Refusal, Vec<Name>)> {
        let mut signatures = Vec::new();
        for (place, input) in self.inputs.iter().enumerate() {
            let of =
                |(name, list): (&Name, &Vec<SignatureShare>)| Some((name.clone(), list.get(place)?.clone()));
            let shares = self.shares.iter().filter_map(of).collect();
            let added =
                round::aggregate(share.public(), &input.signable(), &self.commitments_of(place), &shares);
            signatures.push(added.map_err(|error| {
                let culprits = match &error {
                    round::AggregateError::Culprits(names) => names.clone(),
                    _ => Vec::new(),
                };
                (Refusal::new(Rule::Form, error.to_string()), culprits)
            })?);
        }
        if let (Work::Prove { .. }, [signature]) = (&self.work, signatures.as_slice()) {
            return Ok(Finished::Proof(*signature));
        }
        let spent: Vec<_> = self
            .inputs
            .iter()
            .filter_map(|input| match input {
                Input::Spend { spent, .. } => Some(spent.clone()),
                Input::Challenge(_) => None,
            })
            .collect();
        let checked = chain::finish::verify_spend(&self.raw, &spent, &signatures)
            .and_then(|()| chain::finish::attach(&self.raw, &signatures));
        checked.map(Finished::Transaction).map_err(|e| (Refusal::new(Rule::Shape, e.to_string()), Vec::new()))
    }
}

/// Whether a list is the one that came first.
fn again<T>(first: Option<&Vec<T>>, list: &[Blob], bytes: impl Fn(&T) -> Vec<u8>) -> bool {
    first.is_some_and(|first| first.iter().map(bytes).eq(list.iter().map(|b| b.0.clone())))
}

/// The output that an input spends, as it must be if it is ours. If it is another, the signature is
/// worth nothing: it commits to the scripts and amounts of all inputs (BIP-341).
fn own_output(
    account: &AccountKey,
    input: &TypedInput,
    decoder: &dyn Decoder,
) -> Result<(Vec<u8>, custody::effects::Sats), Refusal> {
    let script = decoder.own_script(account, input.branch, input.index).map_err(refuse(Rule::OwnInput))?;
    Ok((script, input.amount))
}

/// The sessions of one signer.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<Hash, Session>,
    order: VecDeque<Hash>,
    early: VecDeque<super::peer::Frame>,
}

impl Sessions {
    /// Adds a session; over the limit the oldest goes, and its nonces with it.
    pub(super) fn insert(&mut self, id: Hash, session: Session) {
        self.open.insert(id, session);
        self.order.push_back(id);
        while self.order.len() > SESSIONS_LIMIT {
            if let Some(old) = self.order.pop_front() {
                self.open.remove(&old);
            }
        }
    }

    /// Takes a session out, to be put back with [`Self::put_back`] or dropped.
    pub(super) fn remove(&mut self, id: &Hash) -> Option<Session> {
        self.open.remove(id)
    }

    /// Puts a session back in its place.
    pub(super) fn put_back(&mut self, id: Hash, session: Session) {
        self.open.insert(id, session);
    }

    /// Whether the session is open.
    pub(super) fn has(&self, id: &Hash) -> bool {
        self.open.contains_key(id)
    }

    /// Keeps a frame whose session has not begun here yet.
    pub(super) fn keep_early(&mut self, frame: super::peer::Frame) {
        self.early.push_back(frame);
        while self.early.len() > EARLY_FRAMES_LIMIT {
            self.early.pop_front();
        }
    }

    /// The frames that came before their session.
    pub(super) fn early_of(&mut self, id: &Hash) -> Vec<super::peer::Frame> {
        let (mine, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.early).into_iter().partition(|f| f.session == *id);
        self.early = rest.into();
        mine
    }
}
