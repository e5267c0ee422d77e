//! What a person says: statements, built from what was shown, tried by own replay, and signed.

use std::collections::BTreeMap;

use custody::document::Document;
use custody::effects::{Branch, Sats};
use custody::name::Name;
use custody::payment::{Allocate, Request, RequestOutput};
use custody::rule::Refusal;
use custody::state::{Owner, Proposal, RequestRecord, Stage, State};
use custody::statement::{
    Approve, Body, Freeze, Propose, Revoke, STATEMENT_VERSION, Scope, Statement, Veto, key_id, pae,
};
use custody::{Hash, document::Kind};
use keys::device::{DeviceKey, SignMessage};
use keys::purpose::WrongPurpose;

use crate::replica::Replica;
use crate::request::RequestView;
use crate::view::{Labels, ProposalView, View};

/// How long an approval counts, in seconds (24 hours): long enough for the others to look, short enough
/// that a forgotten one does not surprise anybody.
pub const APPROVAL_VALIDITY_S: u64 = 24 * 3600;

/// How long proposals wait for their approvals, in seconds (7 days); other statements that are not
/// approvals wait as long for their batch.
pub const STATEMENT_VALIDITY_S: u64 = 7 * 24 * 3600;

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The log would reject it, or could not even take it in.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Something that it names is not in the log.
    #[error("there is no {0} under the final head: check its name, or wait until it is in force")]
    Unknown(String),
    /// See [`WrongPurpose`].
    #[error(transparent)]
    Purpose(#[from] WrongPurpose),
}

/// What only the outside can give to a statement.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Random: makes two equal statements differ.
    pub nonce: Hash,
    /// The own clock, seconds since 1970.
    pub now: u64,
}

/// A signed statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Its id.
    pub id: Hash,
    /// The canonical envelope.
    pub envelope: Vec<u8>,
    /// Until when it can be taken into the log; nothing for reductions.
    pub not_after: Option<u64>,
}

/// A statement that nobody has signed yet.
#[derive(Clone, Debug)]
pub struct Draft {
    statement: Statement,
    payload: Vec<u8>,
}

/// Whom to pay, in words of the person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payee {
    /// A destination of the address book.
    Destination(Name),
    /// An address that is not in it.
    Address(String),
}

impl Payee {
    /// Whom an output of a request pays.
    pub fn of(output: &RequestOutput) -> Self {
        let listed = || Self::Destination(output.destination.clone());
        output.address.clone().map_or_else(listed, Self::Address)
    }
}

/// A payment to ask for, in words of the person.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The wallet that pays.
    pub wallet: Name,
    /// Whom it pays, and how much; nobody to cancel `renews`.
    pub outputs: Vec<(Payee, Sats)>,
    /// Highest fee.
    pub fee_max: Sats,
    /// Highest fee in millionths of the amount.
    pub fee_max_ppm: u64,
    /// Log time after which it may not be paid, seconds since 1970.
    pub end: u64,
    /// The request that it renews or cancels.
    pub renews: Option<Hash>,
    /// Freezes that a cancel leaves despite.
    pub despite: Vec<Hash>,
    /// Commitment to a note.
    pub note: Option<Hash>,
    /// Whose coins move (P25).
    pub client: Option<Name>,
}

/// Freezes (P16). It needs no replica: whoever has seen nothing may stop everything.
///
/// # Errors
/// None but for a key that refuses.
pub fn freeze(genesis: &Hash, key: &DeviceKey, nonce: Hash, scope: Scope) -> Result<Signed, ActError> {
    let body = Body::Freeze(Freeze { scope });
    Draft::new(genesis, key, nonce, None, body)?.sign(key)
}

/// Takes the own key out of use (P16), for ever. It needs no replica either.
///
/// # Errors
/// None but for a key that refuses.
pub fn revoke(genesis: &Hash, key: &DeviceKey, nonce: Hash) -> Result<Signed, ActError> {
    let body = Body::Revoke(Revoke { key: key_id(&key.public().sign) });
    Draft::new(genesis, key, nonce, None, body)?.sign(key)
}

impl Draft {
    fn new(
        genesis: &Hash,
        key: &DeviceKey,
        nonce: Hash,
        not_after: Option<u64>,
        body: Body,
    ) -> Result<Self, ActError> {
        let statement = Statement {
            genesis: *genesis,
            signer: key_id(&key.public().sign),
            version: STATEMENT_VERSION,
            nonce,
            not_after,
            body,
        };
        let payload = statement.payload()?;
        Ok(Self { statement, payload })
    }

    /// The id that it will have: the digest that others see.
    pub fn id(&self) -> Hash {
        Hash::sha256(&pae(&self.payload))
    }

    /// How those who are asked to approve it will see it; nothing for statements that ask nobody, and for
    /// a key that the log does not know.
    pub fn view(&self, replica: &Replica, labels: &Labels, now: u64) -> Option<View> {
        let state = replica.state();
        let signer = state.key(&self.statement.signer)?.owner.clone();
        match &self.statement.body {
            Body::Request(request) => {
                let record = record(state, self.id(), request, signer, now);
                let view = RequestView::render(replica, self.id(), &record, labels, now);
                Some(View::Request(view.into()))
            }
            Body::Propose(propose) => {
                let proposal = Proposal {
                    document: propose.document.clone(),
                    replaces: propose.replaces,
                    proposer: signer,
                    not_after: self.statement.not_after.unwrap_or_default(),
                    approvals: BTreeMap::new(),
                    supports: Default::default(),
                    stage: Stage::Open,
                };
                let view = ProposalView::render(replica, self.id(), &proposal, labels, now);
                Some(View::Proposal(view.into()))
            }
            _ => None,
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// A key that refuses.
    pub fn sign(self, key: &DeviceKey) -> Result<Signed, ActError> {
        let signature = key.sign(SignMessage::Statement(&pae(&self.payload)))?;
        let id = self.id();
        let envelope = self.statement.enveloped(self.payload, signature);
        Ok(Signed { id, envelope: envelope.bytes(), not_after: self.statement.not_after })
    }

    /// Signs, unless the log under this head would reject it: then the person hears it now, and the
    /// statement goes nowhere.
    ///
    /// # Errors
    /// The rule that would reject it.
    pub fn sign_if_accepted(self, replica: &Replica, key: &DeviceKey) -> Result<Signed, ActError> {
        let signed = self.sign(key)?;
        let envelope = custody::statement::Envelope::parse(&signed.envelope)?;
        let state = replica.state();
        let outcome = state.admit(&envelope, state.clock().time, replica.decoder())?;
        match outcome.rejected {
            None => Ok(signed),
            Some(refusal) => Err(refusal.into()),
        }
    }
}

fn record(state: &State, id: Hash, request: &Request, requester: Owner, now: u64) -> RequestRecord {
    let renewed = request.renews.and_then(|old| state.requests().get(&old));
    RequestRecord {
        request: request.clone(),
        requester,
        at: now,
        rules: state.clock().rules,
        approvals: BTreeMap::new(),
        lineage: renewed.map_or(id, |old| old.lineage),
        renewed_by: None,
        authorised: Vec::new(),
    }
}

impl Replica {
    fn draft(&self, key: &DeviceKey, fresh: Fresh, validity_s: u64, body: Body) -> Result<Draft, ActError> {
        let end = fresh.now.max(self.state().clock().time).saturating_add(validity_s);
        let not_after = (!body.is_reduction()).then_some(end);
        Draft::new(&self.state().genesis_hash(), key, fresh.nonce, not_after, body)
    }

    /// Approves what was shown, under the policy under which it was shown (P1).
    ///
    /// # Errors
    /// None but for values without a canonical form.
    pub fn approve(&self, key: &DeviceKey, shown: &View, fresh: Fresh) -> Result<Draft, ActError> {
        let body = Body::Approve(Approve { target: shown.id(), decides: shown.decides() });
        self.draft(key, fresh, APPROVAL_VALIDITY_S, body)
    }

    /// Stops a proposal before it is in force (P3).
    ///
    /// # Errors
    /// None but for values without a canonical form.
    pub fn veto(&self, key: &DeviceKey, target: Hash, fresh: Fresh) -> Result<Draft, ActError> {
        self.draft(key, fresh, 0, Body::Veto(Veto { target }))
    }

    /// Proposes a document, in place of the version in force (P3).
    ///
    /// # Errors
    /// None but for values without a canonical form.
    pub fn propose(&self, key: &DeviceKey, document: Document, fresh: Fresh) -> Result<Draft, ActError> {
        let old = self.state().document(document.kind(), &document.subject());
        let replaces = old.map(|old| old.hash);
        let body = Body::Propose(Propose { document, replaces });
        self.draft(key, fresh, STATEMENT_VALIDITY_S, body)
    }

    /// Asks for a payment, to the destinations as they are in force now (P19). The statement itself
    /// ends with the request.
    ///
    /// # Errors
    /// [`ActError::Unknown`] for a wallet, client or destination that is not in force.
    pub fn request(&self, key: &DeviceKey, ask: Ask, fresh: Fresh) -> Result<Draft, ActError> {
        let state = self.state();
        if state.wallet(&ask.wallet).is_none() {
            return Err(ActError::Unknown(format!("wallet {}", ask.wallet)));
        }
        if let Some(client) = ask.client.as_ref().filter(|client| state.client(client).is_none()) {
            return Err(ActError::Unknown(format!("client {client}")));
        }
        let output = |(payee, amount): (Payee, Sats)| {
            let destination = match payee {
                Payee::Destination(destination) => destination,
                Payee::Address(address) => return Ok(RequestOutput::unlisted(address, amount)),
            };
            let found = state.document(Kind::Destination, destination.as_str());
            let version = found.map(|d| d.hash);
            let unknown = || ActError::Unknown(format!("destination {destination}"));
            let version = version.ok_or_else(unknown)?;
            Ok(RequestOutput::listed(destination, version, amount))
        };
        let outputs = ask.outputs.into_iter().map(output).collect::<Result<_, ActError>>()?;
        let body = Body::Request(Request {
            wallet: ask.wallet,
            outputs,
            fee_max: ask.fee_max,
            fee_max_ppm: ask.fee_max_ppm,
            end: ask.end,
            renews: ask.renews,
            despite: ask.despite,
            note: ask.note,
            client: ask.client,
        });
        let validity = ask.end.saturating_sub(fresh.now.max(state.clock().time));
        self.draft(key, fresh, validity, body)
    }

    /// Asks for the next addresses (P25).
    ///
    /// # Errors
    /// None but for values without a canonical form.
    pub fn allocate(&self, key: &DeviceKey, ask: Allocate, fresh: Fresh) -> Result<Draft, ActError> {
        self.draft(key, fresh, APPROVAL_VALIDITY_S, Body::Allocate(ask))
    }
}

/// The address of an allocated index, derived here and now, and whose it is (P25).
///
/// # Errors
/// [`ActError::Unknown`] for a wallet that is not in force or an index that nobody was given.
pub fn address(
    state: &State,
    decoder: &chain::BitcoinDecoder,
    wallet: &Name,
    branch: Branch,
    index: u32,
) -> Result<(String, Name), ActError> {
    use custody::effects::Decoder as _;
    let unknown = |what: String| ActError::Unknown(what);
    let found = state.wallet(wallet).and_then(|w| state.slot_of(w));
    let slot = found.ok_or_else(|| unknown(format!("wallet {wallet}")))?;
    let client = state.client_of(wallet, branch, index);
    let client = client.ok_or_else(|| unknown(format!("allocated address {index} of {wallet}")))?;
    let derived = decoder
        .own_script(&slot.slot.account, branch, index)
        .and_then(|script| decoder.address(&script))
        .map_err(|e| unknown(format!("address {index} of {wallet} ({e})")))?;
    Ok((derived, client.clone()))
}
