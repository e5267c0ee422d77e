//! Signed statements as they come in a body: DSSE envelopes, read and tried against the log.

use custody::canon;
use custody::effects::Sats;
use custody::name::{Label, Name};
use custody::payment::Request;
use custody::state::Owner;
use custody::statement::{Body, Envelope, Statement};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::once::Carried;
use crate::problem::{Code, Problem};
use crate::view::View;

/// A DSSE envelope with one signature.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Envelope)]
pub(crate) struct SignedEnvelope {
    /// The canonical bytes of the statement, standard base64 with padding.
    payload: String,
    /// The payload type of every statement.
    #[serde(rename = "payloadType")]
    #[schema(example = "application/vnd.keyward.statement.v1+json")]
    payload_type: String,
    /// Exactly one signature.
    signatures: Vec<EnvelopeSignature>,
}

/// The signature of an envelope.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvelopeSignature {
    /// The id of the key: the hash of `keyward/key/ed25519/v1`, a zero byte and the public key.
    keyid: String,
    /// Ed25519 over the pre-authentication encoding of the payload, standard base64.
    sig: String,
}

/// What people call something, and the salt under which the log has its hash.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelText {
    /// 64 lower-case hex digits.
    salt: String,
    /// The words.
    text: String,
}

impl LabelText {
    /// The words.
    pub(crate) fn words(&self) -> String {
        self.text.clone()
    }

    /// The label, if its commitment is the one that was signed.
    pub(crate) fn label(&self, signed: Option<custody::Hash>, field: &str) -> Result<Label, Problem> {
        crate::input::text(field, &self.text)?;
        let salt = custody::Hash::from_hex(&self.salt);
        let label = salt.map(|salt| Label { salt, text: self.text.clone() });
        let why = format!("{field} does not give the hash that was signed");
        label
            .filter(|label| Some(label.commitment()) == signed)
            .ok_or_else(|| Problem::new(Code::StatementMismatch, why))
    }
}

/// An envelope that was read; nothing is verified yet.
pub(crate) struct Signed {
    pub(crate) envelope: Envelope,
    pub(crate) statement: Statement,
}

impl SignedEnvelope {
    pub(crate) fn read(&self) -> Result<Signed, Problem> {
        let bad = |why: String| Problem::new(Code::StatementMalformed, why);
        let bytes = canon::encode(self).map_err(|error| bad(error.to_string()))?;
        let envelope = Envelope::parse(&bytes).map_err(|refusal| bad(refusal.why))?;
        let statement = envelope.unverified().map_err(|refusal| bad(refusal.why))?;
        Ok(Signed { envelope, statement })
    }
}

impl Signed {
    /// What it asks for, if it is a request.
    pub(crate) fn request(&self) -> Result<&Request, Problem> {
        match &self.statement.body {
            Body::Request(request) => Ok(request),
            other => Err(kind("request", other)),
        }
    }

    /// Tries it against the log: the signature, the signer's standing, and all that the log asks of such a
    /// statement. Says whose key signed.
    pub(crate) fn admit(&self, view: &View) -> Result<Owner, Problem> {
        let outcome = view.state.admit(&self.envelope, view.state.clock().time, &view.decoder);
        let outcome = outcome.map_err(|refusal| Problem::refused(&refusal))?;
        if let Some(refusal) = outcome.rejected {
            return Err(Problem::refused(&refusal));
        }
        let signer = view.state.key(&self.statement.signer).map(|key| key.owner.clone());
        signer.ok_or_else(|| Problem::new(Code::StatementRefused, "the key is not enrolled"))
    }

    pub(crate) fn carried(&self, labels: Vec<Label>) -> Carried {
        Carried { envelope: self.envelope.clone(), labels }
    }
}

/// The problem of a statement of another kind.
pub(crate) fn kind(wanted: &str, found: &Body) -> Problem {
    Problem::new(Code::StatementKind, format!("sign a {wanted}, not a {}", found.kind()))
}

/// What a body says beside a signed request; every field may be absent, and none may differ.
pub(crate) struct Said<'a> {
    pub(crate) wallet: Option<&'a Name>,
    /// The inner one is nobody where the house's own coins are meant.
    pub(crate) client: Option<Option<&'a Name>>,
    pub(crate) outputs: Option<Vec<(Name, Sats)>>,
    pub(crate) fee_max: Option<Sats>,
    pub(crate) fee_max_ppm: Option<u64>,
    pub(crate) end: Option<u64>,
}

impl Said<'_> {
    pub(crate) fn must_match(&self, request: &Request) -> Result<(), Problem> {
        let same = |field: &str, holds: bool| {
            let why = || format!("{field} is not what the signed request says");
            if holds { Ok(()) } else { Err(Problem::new(Code::StatementMismatch, why())) }
        };
        let signed: Vec<_> = request.outputs.iter().map(|o| (o.destination.clone(), o.amount)).collect();
        same("wallet", self.wallet.is_none_or(|wallet| *wallet == request.wallet))?;
        same("client", self.client.is_none_or(|client| client == request.client.as_ref()))?;
        same("outputs", self.outputs.as_ref().is_none_or(|outputs| *outputs == signed))?;
        same("fee_max", self.fee_max.is_none_or(|fee| fee == request.fee_max))?;
        same("fee_max_ppm", self.fee_max_ppm.is_none_or(|ppm| ppm == request.fee_max_ppm))?;
        same("end", self.end.is_none_or(|end| end == request.end))
    }
}
