//! `keyward request sign`: a request for a payment, signed here and sent by somebody else.

use std::io::Read as _;
use std::path::Path;

use approver::{Ask, Payee};
use custody::effects::Sats;
use custody::name::{Label, Name};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::enrol::label;
use super::{pay, print};
use crate::amount;
use crate::args::{DEFAULT_FEE_MAX_PPM, Global, Request as Command};
use crate::failure::{Class, Failure, Result};
use crate::home::read;
use crate::session::{Session, now};

/// Longest draft in bytes: as long as a body may be that the interface takes.
const DRAFT_LIMIT_BYTES: u64 = 64 * 1024;

/// How long it may be paid unless said otherwise, in seconds: a day, as the interface has it for drafts.
const DEFAULT_END_S: u64 = 24 * 3600;

/// What to ask for: the fields with which the interface takes a draft (`docs/api.md`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    wallet: Name,
    client: Option<Name>,
    asset: Option<String>,
    outputs: Vec<Output>,
    #[serde(deserialize_with = "base_units")]
    fee_max: Sats,
    fee_max_ppm: Option<u64>,
    end: Option<String>,
    note: Option<String>,
    external_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    destination: Option<Name>,
    address: Option<String>,
    #[serde(deserialize_with = "base_units")]
    amount: Sats,
}

impl Output {
    fn payee(&self) -> std::result::Result<(Payee, Sats), String> {
        let payee = match (&self.destination, &self.address) {
            (Some(destination), None) => Payee::Destination(destination.clone()),
            (None, Some(address)) => Payee::Address(address.clone()),
            _ => return Err("an output names either destination or address".to_owned()),
        };
        Ok((payee, self.amount))
    }
}

/// Digits alone: the same text is the same amount for every reader.
fn base_units<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Sats, D::Error> {
    let amount = ledger::Amount::deserialize(d)?;
    let sats = u64::try_from(amount.units()).ok().map(Sats).filter(|sats| *sats <= Sats::MAX);
    sats.ok_or_else(|| serde::de::Error::custom("more bitcoin than there can be"))
}

pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    let Command::Sign { file, yes } = command;
    let bytes = if file == Path::new("-") { limited(std::io::stdin())? } else { read(&file)? };
    let draft: Draft = serde_json::from_slice(&bytes).map_err(|e| Failure::content(&file, e))?;
    let mut session = Session::online(global)?;
    let (ask, note) = draft.ask(&session).map_err(|why| Failure::content(&file, why))?;
    let mut body = body(&mut session, ask, yes, note)?;
    if let (Some(fields), Some(id)) = (body.as_object_mut(), draft.external_id) {
        fields.insert("external_id".to_owned(), json!(id));
    }
    print(&format!("{body}\n"))
}

fn limited(input: impl std::io::Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(DRAFT_LIMIT_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::file(Path::new("-"), e))?;
    if bytes.len() as u64 > DRAFT_LIMIT_BYTES {
        let what = format!("standard input is over {DRAFT_LIMIT_BYTES} bytes");
        return Err(Failure::usage(what, "write one draft into it"));
    }
    Ok(bytes)
}

impl Draft {
    /// In the words of a request; with the text of its note.
    fn ask(&self, session: &Session<'_>) -> std::result::Result<(Ask, Option<Label>), String> {
        let asset = session.genesis().asset();
        if self.asset.as_ref().is_some_and(|named| *named != asset) {
            return Err(format!("this deployment holds {asset} alone"));
        }
        let end = self.end.as_deref().map(amount::instant).transpose()?;
        let note = self.note.as_deref().map(label);
        let ask = Ask {
            wallet: self.wallet.clone(),
            outputs: self.outputs.iter().map(Output::payee).collect::<std::result::Result<_, _>>()?,
            fee_max: self.fee_max,
            fee_max_ppm: self.fee_max_ppm.unwrap_or(DEFAULT_FEE_MAX_PPM),
            end: end.unwrap_or(now().saturating_add(DEFAULT_END_S)),
            renews: None,
            despite: Vec::new(),
            note: note.as_ref().map(Label::commitment),
            client: self.client.clone(),
        };
        Ok((ask, note))
    }
}

/// Shows a request, asks, signs it: the body with which the interface takes it.
pub(crate) fn body(session: &mut Session<'_>, ask: Ask, yes: bool, note: Option<Label>) -> Result<Value> {
    let labels: Vec<Label> = note.clone().into_iter().collect();
    let signed = pay::sign(session, ask, yes, &labels)?;
    session.add_labels(&labels)?;
    let envelope: serde_json::Result<Value> = serde_json::from_slice(&signed.envelope);
    let envelope = envelope.map_err(|e| Failure::new(Class::System, e, "report this"))?;
    let mut body = json!({ "signed_request": envelope });
    if let (Some(fields), Some(note)) = (body.as_object_mut(), note) {
        fields.insert("note_label".to_owned(), json!(note));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAFT: &str = r#"{"wallet":"main","client":"cat","outputs":[{"destination":"acme","amount":"1250000"}],
        "fee_max":"10000","end":"2026-01-01T01:00:00+01:00","note":"rent","external_id":"inv-7"}"#;

    #[test]
    fn standard_input_on_both_sides_of_its_limit() {
        let input = |length| std::io::repeat(b' ').take(length);
        assert_eq!(limited(input(DRAFT_LIMIT_BYTES)).unwrap().len() as u64, DRAFT_LIMIT_BYTES);
        assert_eq!(limited(input(DRAFT_LIMIT_BYTES + 1)).unwrap_err().class, Class::Usage);
    }

    #[test]
    fn a_draft_is_read_exactly() {
        let draft: Draft = serde_json::from_str(DRAFT).unwrap();
        assert_eq!((draft.outputs[0].amount, draft.fee_max), (Sats(1_250_000), Sats(10_000)));
        for (old, new) in [
            ("\"1250000\"", "1250000"),
            ("\"1250000\"", "\"12500.00\""),
            ("\"1250000\"", "\"-1\""),
            ("\"1250000\"", "\"2100000000000001\""),
            ("\"10000\"", "\"1e4\""),
            ("\"note\"", "\"memo\""),
            ("\"acme\"", "\"ACME\""),
        ] {
            let changed = DRAFT.replacen(old, new, 1);
            assert_ne!(changed, DRAFT);
            assert!(serde_json::from_str::<Draft>(&changed).is_err(), "{new}");
        }
        let most = DRAFT.replacen("1250000", "2100000000000000", 1);
        assert!(serde_json::from_str::<Draft>(&most).is_ok());
    }
}
