//! What is checked before a withdrawal begins, and what it still needs then.

use std::collections::BTreeSet;
use std::sync::Arc;

use custody::Hash;
use custody::decide::Given;
use custody::document::{Destination, DestinationKind, Document, Kind};
use custody::effects::{DecodeError, Decoder as _, Sats};
use custody::name::Name;
use custody::payment::{OUTPUTS_LIMIT, Request, RequestOutput};
use custody::rule::{Refusal, Rule};
use custody::state::Owner;
use deposits::Own;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use withdrawals::Withdrawal;

use crate::own;
use crate::problem::{Code, Problem};
use crate::routes::transfers::amount;
use crate::view::{Desk, View};

/// What a withdrawal still needs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Need {
    /// `signature`, `approvals`, `time`, `resume`.
    what: &'static str,
    /// In words.
    detail: String,
    /// The rule that asks for it.
    rule: Option<String>,
    /// Who has approved so far.
    so_far: Vec<String>,
}

/// What is to be paid: a destination by its handle or its address.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOutput {
    /// The handle of a destination in force.
    #[schema(value_type = Option<String>)]
    destination: Option<Name>,
    /// In its place an address: of a destination in force, or of nobody known where a rule of the policy pays such.
    address: Option<String>,
    /// How much, in base units.
    #[schema(example = "150000")]
    amount: String,
}

/// The outputs of a request, looked up.
pub(crate) async fn resolve(
    desk: &Desk,
    view: &Arc<View>,
    wallet: &Name,
    outputs: &[NewOutput],
) -> Result<Vec<RequestOutput>, Problem> {
    if !(1..=OUTPUTS_LIMIT).contains(&outputs.len()) {
        let why = format!("outputs has {} items: name 1 to {OUTPUTS_LIMIT}", outputs.len());
        return Err(Problem::new(Code::BodyInvalid, why));
    }
    let (index, view, outputs) = (Arc::clone(&desk.own), Arc::clone(view), outputs.to_vec());
    let wallet = wallet.clone();
    let all = move || outputs.iter().map(|output| resolve_one(&index, &view, &wallet, output)).collect();
    desk.blocking(move |_| all()).await?
}

fn resolve_one(
    index: &Own,
    view: &View,
    wallet: &Name,
    output: &NewOutput,
) -> Result<RequestOutput, Problem> {
    let units = amount(&output.amount)?.units();
    let sats = u64::try_from(units).map(Sats);
    let sats = sats.map_err(|_| Problem::new(Code::AmountOverflow, "the amount does not fit"))?;
    let listed = |name: &Name| {
        let version = view.state.document(Kind::Destination, name.as_str()).map(|found| found.hash);
        RequestOutput::listed(name.clone(), version.unwrap_or_default(), sats)
    };
    let (output, script) = match (&output.destination, &output.address) {
        (Some(name), None) => (listed(name), script_of(index, view, wallet, name)?),
        (None, Some(address)) => {
            let script = view.decoder.address_script(address).map_err(|error| bad_address(&error))?;
            let found = view.state.destination_at(address);
            not_own(index, view, wallet, (address, found), &script)?;
            let named = found.map(|found| listed(&found.id));
            (named.map_or_else(|| unlisted(view, address, sats), Ok)?, script)
        }
        _ => {
            let why = "an output names either destination or address";
            return Err(Problem::new(Code::DestinationForm, why));
        }
    };
    let dust = view.decoder.dust_limit(&script);
    if sats < dust {
        let why = format!("{sats} to {} is dust: nodes relay {dust} and more", output.destination);
        return Err(Problem::new(Code::AmountDust, why));
    }
    Ok(output)
}

/// An output to an address that is not in the address book, where a rule of the policy speaks of such.
fn unlisted(view: &View, address: &str, amount: Sats) -> Result<RequestOutput, Problem> {
    if view.state.pays_unlisted() {
        return Ok(RequestOutput::unlisted(address, amount));
    }
    let why = format!("no destination in force is {address}, and no rule of the policy pays unlisted ones");
    Err(Problem::new(Code::DestinationUnknown, why))
}

fn script_of(index: &Own, view: &View, wallet: &Name, name: &Name) -> Result<Vec<u8>, Problem> {
    let why = || Problem::new(Code::DestinationUnknown, format!("there is no destination {name} in force"));
    let destination = view.state.destination(name).ok_or_else(why)?;
    let address = &destination.address;
    let script = view.decoder.address_script(address).map_err(|error| bad_address(&error))?;
    not_own(index, view, wallet, (address, Some(destination)), &script)?;
    Ok(script)
}

/// Refuses own addresses, but for the house address of the wallet that pays, where people approved it as own: that
/// is how coins are gathered.
fn not_own(
    index: &Own,
    view: &View,
    wallet: &Name,
    (address, destination): (&str, Option<&Destination>),
    script: &[u8],
) -> Result<(), Problem> {
    let approved = destination.is_some_and(|found| found.kind == DestinationKind::Own);
    let house = || withdrawals::house_script(&view.state, &view.decoder, wallet);
    match own::find(index, view, script)? {
        Some(_) if approved && house().is_some_and(|house| house == script) => Ok(()),
        Some(place) => {
            let why = format!("{address} is an address of the own wallet {}", place.wallet);
            Err(Problem::new(Code::DestinationOwn, why))
        }
        None => Ok(()),
    }
}

pub(crate) fn bad_address(error: &DecodeError) -> Problem {
    let other = error.why.contains("this deployment pays on");
    let code = if other { Code::DestinationOtherNetwork } else { Code::DestinationMalformed };
    Problem::new(code, error.to_string())
}

/// Whether the destinations of a signed request are somebody else's, or the house address of its wallet.
pub(crate) async fn pays_others(desk: &Desk, view: &Arc<View>, request: &Request) -> Result<(), Problem> {
    let (index, view) = (Arc::clone(&desk.own), Arc::clone(view));
    let (outputs, wallet) = (request.outputs.clone(), request.wallet.clone());
    let each = move |output: &RequestOutput| {
        let Some(address) = &output.address else {
            return script_of(&index, &view, &wallet, &output.destination).map(|_| ());
        };
        let script = view.decoder.address_script(address).map_err(|error| bad_address(&error))?;
        not_own(&index, &view, &wallet, (address, None), &script)
    };
    desk.blocking(move |_| outputs.iter().try_for_each(each)).await?
}

/// What stands in the way of a request that these people approved long ago, each on an independent device; its
/// fee is not known yet. What time alone brings is not looked at.
fn refusals(view: &View, request: &Request, by: &Owner, approvers: &BTreeSet<Name>) -> Vec<Refusal> {
    let (state, clock) = (&view.state, view.state.clock());
    let Some(book) = state.rulebook() else { return Vec::new() };
    let charge = state.charge_of(request, by, Hash::default(), Sats(0), clock.time);
    let mut ask = state.ask(charge, clock.time);
    ask.delay = u64::MAX;
    let given = Given { at: clock.time, delay_at: 0, independent: true };
    ask.approvals = approvers.iter().map(|person| (person.clone(), given)).collect();
    let passing = [Rule::PolicyHours, Rule::PolicyCoolDown, Rule::PolicyDelay];
    let refusals = book.explain(&ask, state).into_iter().map(|(_, refusal)| refusal);
    refusals.filter(|refusal| !passing.contains(&refusal.rule)).collect()
}

fn decide(view: &View, request: &Request, by: &Owner, approvers: &BTreeSet<Name>) -> Result<(), Refusal> {
    refusals(view, request, by, approvers).into_iter().next().map_or(Ok(()), Err)
}

/// Whether the policy in force could ever allow the request: whether it would if everybody approved who may.
pub(crate) fn can_be_allowed(view: &View, request: &Request, requester: &Owner) -> Result<(), Problem> {
    let everybody = view.state.documents().filter_map(|found| match &found.document {
        Document::Person(person) if *requester != Owner::Person(person.id.clone()) => Some(person.id.clone()),
        _ => None,
    });
    decide(view, request, requester, &everybody.collect())
        .map_err(|refusal| Problem::new(Code::PolicyRefused, refusal.why).rule(refusal.rule.id()))
}

/// What a request needs for which this stands in the way.
fn needs_of(
    view: &View,
    request: &Request,
    by: &Owner,
    refusals: Vec<Refusal>,
    so_far: &[String],
) -> Vec<Need> {
    let policy = refusals.into_iter().map(|refusal| {
        let waits = [Rule::PolicyHours, Rule::PolicyCoolDown, Rule::PolicyDelay].contains(&refusal.rule);
        Need {
            what: if waits { "time" } else { "approvals" },
            detail: refusal.why,
            rule: Some(refusal.rule.id().to_owned()),
            so_far: so_far.to_vec(),
        }
    });
    let stops = |scope: &custody::statement::Scope| view.state.stops(scope, request, by);
    let frozen = view.state.freezes().iter().filter(|(_, freeze)| stops(&freeze.scope));
    let resume = frozen.map(|(id, freeze)| Need {
        what: "resume",
        detail: format!("{} froze it: a quorum resumes freeze {id}", freeze.by),
        rule: Some(Rule::Frozen.id().to_owned()),
        so_far: Vec::new(),
    });
    // One line of each sort says enough: the rules of a policy often ask for the same people.
    policy.take(1).chain(resume).collect()
}

/// What a request needs that nobody approved yet.
fn needs_unapproved(view: &View, request: &Request, by: &Owner) -> Vec<Need> {
    needs_of(view, request, by, refusals(view, request, by, &BTreeSet::new()), &[])
}

/// What a draft needs: a signature, and all that a request needs.
pub(crate) fn needs_of_draft(view: &View, request: &Request) -> Vec<Need> {
    let signature = Need {
        what: "signature",
        detail: "whoever asks signs what to_sign says: keyward request sign, or a machine".to_owned(),
        rule: None,
        so_far: Vec::new(),
    };
    std::iter::once(signature).chain(needs_unapproved(view, request, &unsigned(request))).collect()
}

/// Who asks for a draft: nobody yet. No key can be of this handle, so no freeze of a person and no limit per
/// initiator speaks of it.
fn unsigned(request: &Request) -> Owner {
    Owner::Cosigner(request.wallet.clone())
}

/// What a request needs that nobody approved yet.
pub(crate) fn needs_of_request(view: &View, request: &Request) -> Vec<Need> {
    needs_unapproved(view, request, &unsigned(request))
}

/// What a withdrawal needs before a transaction can be authorised.
pub(crate) fn needs(view: &View, withdrawal: &Withdrawal) -> Vec<Need> {
    if !withdrawal.state.is_open() || withdrawal.state.point_of_no_return_passed() {
        return Vec::new();
    }
    let newest = withdrawal.requests.last().and_then(|id| view.state.requests().get(id));
    let Some(record) = newest else { return Vec::new() };
    let (state, now) = (&view.state, view.state.clock().time);
    let ask = state.ask_of(record, Sats(0), now);
    let so_far: Vec<String> = ask.approvals.keys().map(ToString::to_string).collect();
    let refusals = state.rulebook().map(|book| book.explain(&ask, state)).unwrap_or_default();
    let refusals = refusals.into_iter().map(|(_, refusal)| refusal).collect();
    needs_of(view, &record.request, &record.requester, refusals, &so_far)
}
