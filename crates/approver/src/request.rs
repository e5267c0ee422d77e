//! A payment as a person reads it.

use custody::Hash;
use custody::document::{DestinationKind, Document, Kind};
use custody::effects::Sats;
use custody::name::Name;
use custody::payment::{Request, RequestOutput};
use custody::policy::describe;
use custody::quorum::seat;
use custody::state::{Owner, RequestRecord, State};
use custody::statement::Scope;
use serde::Serialize;

use crate::alike::looks_like;
use crate::document::word;
use crate::replica::Replica;
use crate::text::{chunks, plain, sats, time};
use crate::view::{
    ApprovalView, Labels, Page, WITHHELD, approvals, counting, head_line, may_approve, names, owner,
};

/// How far back a request counts as recent, in seconds (7 days): a payment asked for twice is noticed
/// within a week (P19).
pub const RECENT_S: u64 = 7 * 24 * 3600;

/// Where a request stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    /// Nothing was authorised for it yet.
    Open,
    /// A transaction was authorised for it.
    Authorised,
    /// Its end has passed.
    Ended,
    /// Another rule set came into force after it was asked (P29).
    Lapsed,
    /// Another request took its place.
    Renewed,
    /// It was taken back before anything was authorised; of a cancel, that it did so (P23).
    Withdrawn,
}

/// Where a request stands at `now`.
pub fn state_of(state: &State, record: &RequestRecord, now: u64) -> RequestState {
    if let Some(by) = record.renewed_by {
        // What takes the place of another is authorised, but for a withdrawal.
        let withdrawn = state.requests().get(&by).is_some_and(|by| by.authorised.is_empty());
        if withdrawn { RequestState::Withdrawn } else { RequestState::Renewed }
    } else if !record.authorised.is_empty() {
        RequestState::Authorised
    } else if record.request.end < now {
        RequestState::Ended
    } else if state.has_lapsed(record) {
        RequestState::Lapsed
    } else {
        RequestState::Open
    }
}

/// One output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OutputView {
    /// The destination.
    pub destination: Name,
    /// Whose it is, as it was approved.
    pub of: Option<DestinationKind>,
    /// What people call it; nothing when the label was withheld.
    pub label: Option<String>,
    /// Its address.
    pub address: String,
    /// How much, in satoshi.
    pub amount: Sats,
    /// Whether the destination changed after the request was signed: then it cannot be paid.
    pub changed: bool,
    /// What the address looks like, and is not.
    pub alike: Vec<String>,
    /// Whether nothing was authorised yet to be paid to this version of the destination, or to this address.
    pub first: bool,
}

/// A policy rule that covers the request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RuleView {
    /// The rule.
    pub id: Name,
    /// Its approval paths.
    pub needs: String,
    /// Whether one of them is filled.
    pub filled: bool,
}

/// Another request that looks like this one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SimilarView {
    /// The other request.
    pub id: Hash,
    /// Who asked for it.
    pub asked_by: String,
    /// When, RFC 3339.
    pub at: String,
    /// What it pays in all, in satoshi.
    pub amount: Sats,
    /// Where it stands.
    pub state: RequestState,
    /// What is the same: `destination`, `amount` or `destination and amount`.
    pub same: &'static str,
}

/// A request as a person reads it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RequestView {
    /// The id: the digest to compare.
    pub id: Hash,
    /// The wallet that pays.
    pub wallet: Name,
    /// Whose coins move; nothing when it does not say.
    pub client: Option<Name>,
    /// Who asked.
    pub asked_by: String,
    /// When, RFC 3339.
    pub at: String,
    /// Where it stands.
    pub state: RequestState,
    /// Until when it may be paid, RFC 3339.
    pub end: String,
    /// What it pays. Nothing: it cancels.
    pub outputs: Vec<OutputView>,
    /// What it pays in all, in satoshi.
    pub amount: Sats,
    /// Highest fee, in satoshi.
    pub fee_max: Sats,
    /// Highest fee in millionths of the amount.
    pub fee_max_ppm: u64,
    /// The lower of the two ceilings, in satoshi.
    pub fee_at_most: Sats,
    /// The note to it; nothing when it has none.
    pub note: Option<String>,
    /// The request that it renews or cancels.
    pub renews: Option<Hash>,
    /// Freezes that it leaves despite.
    pub despite: Vec<Hash>,
    /// Whether it ends what it cancels at once, without approvals: nothing is authorised for that, and the
    /// same one asked for it, or a machine did and this is by a person (P23).
    pub withdraws: bool,
    /// Approvals so far.
    pub approvals: Vec<ApprovalView>,
    /// The rules of the policy that cover it; all must be filled.
    pub rules: Vec<RuleView>,
    /// What the policy still misses, with the lowest fee; nothing when it would allow it.
    pub missing: Option<String>,
    /// Who could still approve.
    pub may_approve: Vec<Name>,
    /// Freezes in force.
    pub freezes: Vec<String>,
    /// Recent and open requests with the same destination or amount.
    pub similar: Vec<SimilarView>,
    /// The hash of the policy in force.
    pub decides: Hash,
    /// Which head this stands under.
    pub head: String,
}

impl RequestView {
    /// Shows a request, in the log or not yet.
    pub(crate) fn render(
        replica: &Replica,
        id: Hash,
        record: &RequestRecord,
        labels: &Labels,
        now: u64,
    ) -> Self {
        let (state, request) = (replica.state(), &record.request);
        let decides = state.policy().map(|(_, hash)| hash).unwrap_or_default();
        let approvals = approvals(state, labels, &record.approvals, &decides, now);
        let people = counting(&approvals);
        let amount = request.amount().unwrap_or(Sats::MAX);
        // With the lowest fee that there could be: fees are judged when there is a transaction.
        let ask = state.ask_of(record, Sats(0), now);
        let withdraws = record.renewed_by == Some(id) || state.withdraws(request, &record.requester);
        let book = state.rulebook().filter(|_| !withdraws);
        let covering = book.map(|book| book.covering(&ask, state)).unwrap_or_default();
        let paths: Vec<_> = covering.iter().flat_map(|r| r.require.approvals.clone()).collect();
        let requester = match &record.requester {
            Owner::Person(name) => Some(name),
            Owner::Machine(_) | Owner::Cosigner(_) => None,
        };
        let missing = book.map(|book| book.decide(&ask, state));
        Self {
            id,
            wallet: request.wallet.clone(),
            client: request.client.clone(),
            asked_by: owner(state, labels, &record.requester),
            at: time(record.at),
            state: state_of(state, record, now),
            end: time(request.end),
            outputs: request.outputs.iter().map(|o| output(state, labels, &id, o)).collect(),
            amount,
            fee_max: request.fee_max,
            fee_max_ppm: request.fee_max_ppm,
            fee_at_most: fee_at_most(request, amount),
            note: request.note.map(|note| labels.shown(&note)),
            renews: request.renews,
            despite: request.despite.clone(),
            withdraws,
            rules: covering
                .iter()
                .map(|rule| RuleView {
                    id: rule.id.clone(),
                    needs: describe(&rule.require.approvals),
                    filled: rule.require.approvals.iter().any(|path| seat(path, &people, state)),
                })
                .collect(),
            missing: missing.and_then(|decision| decision.err()).map(|refusal| refusal.to_string()),
            may_approve: may_approve(state, &paths, &people, requester),
            approvals,
            freezes: state
                .freezes()
                .iter()
                .map(|(id, f)| {
                    let by = owner(state, labels, &f.by);
                    format!("{}by {by} at {} ({id})", narrowed(&f.scope), time(f.at))
                })
                .collect(),
            similar: similar(state, labels, &id, record, now),
            decides,
            head: head_line(replica),
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut page = Page::new(if self.outputs.is_empty() { "CANCEL A PAYMENT" } else { "PAYMENT" });
        page.row("id", &self.id.to_string());
        page.row("digest", &chunks(&self.id.to_string()));
        page.row("wallet", self.wallet.as_str());
        if let Some(client) = &self.client {
            page.row("client", client.as_str());
        }
        page.row("asked by", &format!("{}, {}", self.asked_by, self.at));
        page.row("state", &word(&self.state));
        page.row("end", &self.end);
        for output in &self.outputs {
            page.row("pays", &sats(output.amount));
            let of = output.of.map_or("", |kind| match kind {
                DestinationKind::Own => ", own",
                DestinationKind::Client => ", a client's",
                DestinationKind::Counterparty => ", a counterparty's",
                DestinationKind::Contract => ", a contract",
                DestinationKind::Unlisted => ", not in the address book",
            });
            let unlisted = output.of == Some(DestinationKind::Unlisted);
            let label =
                output.label.as_deref().unwrap_or(if unlisted { "nobody knows whose" } else { WITHHELD });
            page.row("  to", &format!("{}{of}: {label}", output.destination));
            page.row("  address", &chunks(&output.address));
            for other in &output.alike {
                page.row("  !", &format!("it looks like {other}, and is another: compare every character"));
            }
            if output.first {
                page.row(
                    "  !",
                    "no payment to this version of it was authorised yet: a small one shows that it arrives",
                );
            }
            if output.changed {
                page.row("  !", "the destination changed after this was asked: it cannot be paid");
            }
        }
        page.row("in all", &sats(self.amount));
        page.row("fee", &format!("at most {}", sats(self.fee_at_most)));
        let ppm = self.fee_max_ppm;
        page.row("", &format!("ceilings {} and {ppm} millionths of the amount", sats(self.fee_max)));
        if let Some(note) = &self.note {
            page.row("note", note);
        }
        if let Some(renews) = &self.renews {
            let word = if self.outputs.is_empty() { "cancels" } else { "renews" };
            page.row(word, &renews.to_string());
        }
        for freeze in &self.despite {
            page.row("despite freeze", &freeze.to_string());
        }
        if self.withdraws {
            page.row("ends it", "at once: nothing is authorised for it, and nobody need approve this");
        }
        page.approvals(&self.approvals);
        for rule in &self.rules {
            let mark = if rule.filled { "filled" } else { "not filled yet" };
            page.row("rule", &format!("{}: {} ({mark})", rule.id, rule.needs));
        }
        page.row("still needed", self.missing.as_deref().unwrap_or("nothing"));
        page.row("may approve", &names(&self.may_approve));
        for freeze in &self.freezes {
            page.row("! frozen", freeze);
        }
        if self.similar.is_empty() {
            page.row("similar", "no other recent or open request");
        }
        for other in &self.similar {
            page.row("! similar", &format!("same {}: {}", other.same, other.id));
            let (state, amount) = (word(&other.state), sats(other.amount));
            page.row("", &format!("{amount} in all, {state}, asked by {}, {}", other.asked_by, other.at));
        }
        page.row("policy", &self.decides.to_string());
        page.row("log", &self.head);
        page.end()
    }
}

/// Whether nothing but what this request asks for was ever authorised to be paid where an output goes.
fn is_first(state: &State, id: &Hash, output: &RequestOutput) -> bool {
    let paid = |(other, record): (&Hash, &RequestRecord)| {
        let there =
            |paid: &RequestOutput| (&paid.destination, paid.version) == (&output.destination, output.version);
        other != id && !record.authorised.is_empty() && record.request.outputs.iter().any(there)
    };
    !state.requests().iter().any(paid)
}

fn output(state: &State, labels: &Labels, id: &Hash, output: &RequestOutput) -> OutputView {
    let found = state.document(Kind::Destination, output.destination.as_str());
    let destination = found.and_then(|d| match &d.document {
        Document::Destination(destination) => Some(destination),
        _ => None,
    });
    let payee = state.payee(output);
    OutputView {
        destination: output.destination.clone(),
        of: payee.map(|(kind, _)| kind),
        label: destination.and_then(|d| labels.get(&d.label)),
        address: payee.map(|(_, address)| plain(address)).unwrap_or_default(),
        amount: output.amount,
        changed: !state.is_as_asked(output),
        first: is_first(state, id, output),
        alike: payee.map(|(_, address)| looks_like(state, address)).unwrap_or_default(),
    }
}

/// What a freeze covers, where that is not everything.
pub fn narrowed(scope: &Scope) -> String {
    match scope {
        Scope::Everything => String::new(),
        Scope::Asset(asset) => format!("asset {} ", plain(asset)),
        Scope::Wallet(wallet) => format!("wallet {wallet} "),
        Scope::Client(client) => format!("client {client} "),
        Scope::Network(network) => format!("network {} ", plain(network)),
        Scope::Person(person) => format!("person {person} "),
    }
}

fn fee_at_most(request: &Request, amount: Sats) -> Sats {
    if request.is_cancel() {
        return request.fee_max;
    }
    let share = u128::from(amount.0).saturating_mul(u128::from(request.fee_max_ppm)) / 1_000_000;
    request.fee_max.min(Sats(u64::try_from(share).unwrap_or(u64::MAX)))
}

/// P19: recent and open requests with the same destination or amount.
fn similar(state: &State, labels: &Labels, id: &Hash, record: &RequestRecord, now: u64) -> Vec<SimilarView> {
    let request = &record.request;
    let since = now.saturating_sub(RECENT_S);
    let look = |(other_id, other): (&Hash, &RequestRecord)| {
        let open = state_of(state, other, now) == RequestState::Open;
        if other_id == id || (!open && other.at < since) {
            return None;
        }
        let theirs = &other.request;
        let to = |o: &RequestOutput| theirs.outputs.iter().any(|t| t.destination == o.destination);
        let destination = request.outputs.iter().any(to);
        let amount = !request.is_cancel() && theirs.amount() == request.amount();
        let same = match (destination, amount) {
            (true, true) => "destination and amount",
            (true, false) => "destination",
            (false, true) => "amount",
            (false, false) => return None,
        };
        Some(SimilarView {
            id: *other_id,
            asked_by: owner(state, labels, &other.requester),
            at: time(other.at),
            amount: theirs.amount().unwrap_or(Sats::MAX),
            state: state_of(state, other, now),
            same,
        })
    };
    state.requests().iter().filter_map(look).collect()
}
