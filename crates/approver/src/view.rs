//! What is asked, as the person who decides reads it: plain text of a stable layout, or a structure.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::document::Kind;
use custody::name::{Label, Name};
use custody::policy::{Path, describe};
use custody::quorum::Groups as _;
use custody::quorum::seat;
use custody::state::{Approval, Owner, Proposal, Stage, State};
use serde::Serialize;

use crate::document::readable;
use crate::replica::Replica;
use crate::request::RequestView;
use crate::text::{chunks, plain, time};

/// The words behind commitments. One is believed only because its own hash is the commitment (P7), so
/// it does not matter who brought it.
#[derive(Clone, Debug, Default)]
pub struct Labels(BTreeMap<Hash, String>);

impl Labels {
    /// Takes in labels, each under the commitment that it hashes to.
    pub fn add<'a>(&mut self, labels: impl IntoIterator<Item = &'a Label>) {
        let pairs = labels.into_iter().map(|l| (l.commitment(), l.text.clone()));
        self.0.extend(pairs);
    }

    /// The words behind a commitment, made harmless for a terminal; nothing when they were withheld.
    pub fn get(&self, commitment: &Hash) -> Option<String> {
        self.0.get(commitment).map(|text| plain(text))
    }

    pub(crate) fn shown(&self, commitment: &Hash) -> String {
        self.get(commitment).unwrap_or_else(|| WITHHELD.to_owned())
    }
}

/// Stands where a label should, when nobody brought one that matches.
pub(crate) const WITHHELD: &str = "(label withheld)";

/// One person's approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ApprovalView {
    /// The handle.
    pub person: Name,
    /// The name.
    pub name: Option<String>,
    /// Whether it counts now: given under the policy in force, not ended, its key not revoked.
    pub counts: bool,
    /// Until when it counts, RFC 3339.
    pub until: String,
}

/// What a person is asked to approve.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum View {
    /// A payment.
    Request(Box<RequestView>),
    /// A document.
    Proposal(Box<ProposalView>),
}

impl View {
    /// What a request or proposal in the log asks, as things are at `now` (seconds since 1970, the own
    /// clock). Nothing when there is no such thing under the head.
    pub fn of(replica: &Replica, id: &Hash, labels: &Labels, now: u64) -> Option<Self> {
        let state = replica.state();
        let now = now.max(state.clock().time);
        if let Some(record) = state.requests().get(id) {
            return Some(Self::Request(RequestView::render(replica, *id, record, labels, now).into()));
        }
        let proposal = state.proposals().get(id)?;
        Some(Self::Proposal(ProposalView::render(replica, *id, proposal, labels, now).into()))
    }

    /// The statement that this shows.
    pub fn id(&self) -> Hash {
        match self {
            Self::Request(view) => view.id,
            Self::Proposal(view) => view.id,
        }
    }

    /// The policy under which it was shown.
    pub(crate) fn decides(&self) -> Hash {
        match self {
            Self::Request(view) => view.decides,
            Self::Proposal(view) => view.decides,
        }
    }

    /// As plain text.
    pub fn text(&self) -> String {
        match self {
            Self::Request(view) => view.text(),
            Self::Proposal(view) => view.text(),
        }
    }
}

/// A proposed document as a person reads it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ProposalView {
    /// The id of the proposal: the digest to compare.
    pub id: Hash,
    /// What kind of document.
    pub kind: Kind,
    /// Which one of its kind.
    pub subject: String,
    /// Who proposed it.
    pub proposed_by: String,
    /// Where it stands.
    pub stage: String,
    /// Until when it can be approved, RFC 3339.
    pub end: String,
    /// What the document says.
    pub document: Vec<(String, String)>,
    /// The version that it replaces.
    pub replaces: Option<Hash>,
    /// What is different from the version in force, line by line.
    pub changes: Vec<String>,
    /// Seconds of the delay clock between the last approval and force.
    pub delay_s: u64,
    /// Whether one person can still stop it.
    pub veto: bool,
    /// Approvals so far.
    pub approvals: Vec<ApprovalView>,
    /// The approval paths of its kind.
    pub needs: String,
    /// Whether one of them is filled.
    pub filled: bool,
    /// Who could still approve.
    pub may_approve: Vec<Name>,
    /// The hash of the policy in force.
    pub decides: Hash,
    /// Which head this stands under.
    pub head: String,
}

impl ProposalView {
    /// Shows a proposal, in the log or not yet.
    pub(crate) fn render(
        replica: &Replica,
        id: Hash,
        proposal: &Proposal,
        labels: &Labels,
        now: u64,
    ) -> Self {
        let state = replica.state();
        let kind = proposal.document.kind();
        let decides = state.policy().map(|(_, hash)| hash).unwrap_or_default();
        let governance = state.policy().and_then(|(p, _)| p.governance.get(&kind));
        let paths = governance.map_or(&[][..], |g| &g.approvals);
        let approvals = approvals(state, labels, &proposal.approvals, &decides, now);
        let people = counting(&approvals);
        let barred = match &proposal.proposer {
            Owner::Person(name) if !kind.row().proposer_approves => Some(name),
            _ => None,
        };
        let at_once = state.denies_no_less(&proposal.document);
        let in_force = state.document(kind, &proposal.document.subject());
        Self {
            id,
            kind,
            subject: proposal.document.subject(),
            proposed_by: owner(state, labels, &proposal.proposer),
            stage: stage(&proposal.stage, proposal.not_after < now),
            end: time(proposal.not_after),
            document: readable(&proposal.document, labels, replica),
            replaces: proposal.replaces,
            changes: in_force
                .map_or_else(Vec::new, |old| crate::compare::changes(&old.document, &proposal.document)),
            delay_s: governance.filter(|_| !at_once).map_or(0, |g| g.delay_s),
            veto: kind.row().veto && !at_once,
            needs: describe(paths),
            filled: paths.iter().any(|path| seat(path, &people, state)),
            may_approve: may_approve(state, paths, &people, barred),
            approvals,
            decides,
            head: head_line(replica),
        }
    }

    fn text(&self) -> String {
        let mut page = Page::new(&format!("PROPOSED {}", self.kind.word().to_uppercase()));
        page.row("id", &self.id.to_string());
        page.row("digest", &chunks(&self.id.to_string()));
        if !self.subject.is_empty() {
            page.row("of", &self.subject);
        }
        page.row("proposed by", &self.proposed_by);
        page.row("stage", &self.stage);
        page.row("end", &self.end);
        for (field, value) in &self.document {
            page.row(field, value);
        }
        match &self.replaces {
            None => page.row("replaces", "nothing: it is new"),
            Some(hash) => page.row("replaces", &hash.to_string()),
        }
        for change in &self.changes {
            page.row("", change);
        }
        page.row("delay", &format!("{} s after the last approval", self.delay_s));
        page.row("veto", if self.veto { "any one person, while it waits" } else { "none" });
        page.approvals(&self.approvals);
        let mark = if self.filled { "filled" } else { "not filled yet" };
        page.row("needs", &format!("{} ({mark})", self.needs));
        page.row("may approve", &names(&self.may_approve));
        page.row("policy", &self.decides.to_string());
        page.row("log", &self.head);
        page.end()
    }
}

fn stage(stage: &Stage, ended: bool) -> String {
    match stage {
        Stage::Open if ended => "ended without enough approvals".into(),
        Stage::Open => "open".into(),
        Stage::Supporting => "approved, waits for the co-signers' support".into(),
        Stage::Waiting(due) => format!("approved, in force when the delay clock reaches {due} s"),
        Stage::Done => "in force, or was".into(),
        Stage::Vetoed(name) => format!("vetoed by {name}"),
        Stage::Void(why) => format!("void: {}", plain(why)),
    }
}

/// Text in two columns.
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    pub(crate) fn row(&mut self, field: &str, value: &str) {
        self.0.push_str(&format!("  {field:<14}{value}\n"));
    }

    pub(crate) fn approvals(&mut self, approvals: &[ApprovalView]) {
        if approvals.is_empty() {
            self.row("approved by", "nobody");
        }
        for (i, a) in approvals.iter().enumerate() {
            let who = match &a.name {
                Some(name) => format!("{} ({name})", a.person),
                None => a.person.to_string(),
            };
            let counts = if a.counts { "" } else { " - does not count any more" };
            self.row(if i == 0 { "approved by" } else { "" }, &format!("{who}, until {}{counts}", a.until));
        }
    }

    pub(crate) fn end(self) -> String {
        self.0
    }
}

pub(crate) fn head_line(replica: &Replica) -> String {
    let state = replica.state();
    match replica.head() {
        None => "empty: genesis alone is in force".into(),
        Some(head) => format!(
            "final at height {}, {} entries, {}; co-signed by {}",
            state.clock().height,
            state.log_size(),
            time(state.clock().time),
            head.signers().keys().cloned().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The handle, and the name where it is known.
pub(crate) fn owner(state: &State, labels: &Labels, owner: &Owner) -> String {
    match owner {
        Owner::Person(id) => {
            let name = state.person(id).and_then(|p| labels.get(&p.name));
            name.map_or_else(|| id.to_string(), |name| format!("{id} ({name})"))
        }
        Owner::Machine(_) | Owner::Cosigner(_) => owner.to_string(),
    }
}

pub(crate) fn approvals(
    state: &State,
    labels: &Labels,
    given: &BTreeMap<Name, Approval>,
    policy: &Hash,
    now: u64,
) -> Vec<ApprovalView> {
    let view = |(person, a): (&Name, &Approval)| ApprovalView {
        person: person.clone(),
        name: state.person(person).and_then(|p| labels.get(&p.name)),
        counts: a.decides == *policy
            && a.not_after >= now
            && state.key(&a.key).is_some_and(|k| k.revoked_at.is_none()),
        until: time(a.not_after),
    };
    given.iter().map(view).collect()
}

pub(crate) fn counting(approvals: &[ApprovalView]) -> BTreeSet<Name> {
    let counts = approvals.iter().filter(|a| a.counts);
    counts.map(|a| a.person.clone()).collect()
}

/// The members of the groups of these paths that have not approved and are not barred.
pub(crate) fn may_approve(
    state: &State,
    paths: &[Path],
    so_far: &BTreeSet<Name>,
    barred: Option<&Name>,
) -> Vec<Name> {
    let groups = paths.iter().flatten().filter_map(|seats| state.members(&seats.group));
    let people: BTreeSet<&Name> = groups.flatten().collect();
    let free = people.into_iter().filter(|p| !so_far.contains(*p) && Some(*p) != barred);
    free.cloned().collect()
}

pub(crate) fn names(names: &[Name]) -> String {
    if names.is_empty() {
        return "nobody".into();
    }
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}
