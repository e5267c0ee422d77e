//! Rule sets: what a deployment agreed that its programs do, by version and hash (P29).
//!
//! Genesis names the first one, an `Upgrade` each later one. A program replays under the rules of the set
//! that was in force at the time, and goes no further than the sets that it has.

use serde::{Deserialize, Serialize};

use crate::bytes::Hash;
use crate::document::{Document, Kind, TABLE};
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{InForce, Owner, Proposal, RequestRecord, Stage, State};
use crate::statement::Supports;

/// Another rule set (P29).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The version; it only rises.
    pub version: u32,
    /// The hash of its description.
    pub rules: Hash,
}

/// The rule sets that this program has, oldest first.
pub const RULE_SETS: &[u32] = &[1, 2, 3, 4];

/// The newest of them, with which new deployments begin.
pub const NEWEST: u32 = 4;

/// What a later rule set added beside kinds of documents and rules, which have their own `since`.
const ADDED: &[(u32, &str)] = &[
    (2, "statement observe; grant observe"),
    (2, "wallet models 1P, 2P"),
    (2, "freeze scopes asset, wallet, client"),
    (2, "field client of a request"),
    (2, "a wallet keeps its model"),
    (2, "a cancel by its requester withdraws a request for which nothing was authorised"),
    (2, "so does a cancel by any person, of what a machine asked for"),
    (2, "field recovery of a ceremony record"),
    (2, "networks signet, testnet4"),
    (2, "statements offer, deal, erased"),
    (2, "a card changes the sealing key"),
    (3, "scopes kinds, networks, assets, tiers, clients, value_min, value_max"),
    (
        3,
        "requirements value_max, velocity, fee_budget, hours, delay_s, cool_down_s, approval_valid_s, independent",
    ),
    (3, "calendars, currency, exclusive, administrators_max of a policy"),
    (3, "every rule can be satisfied"),
    (3, "charges are kept for 31 days"),
    (3, "device console; tier warm; destination contract"),
    (3, "freeze scopes network, person"),
    (3, "network mainnet"),
    (3, "field address of an output, of kind unlisted; one destination for each address"),
    (
        3,
        "seats of governance count independent devices; a delegation puts nobody into roles that exclude each other",
    ),
    (3, "a review is approved by its signatories"),
    (3, "a freeze of a client stops requests that name none"),
    (3, "who is away or stands in is so at the time at which a share leaves"),
    (4, "field handover of a tick"),
    (4, "the holders of a ceremony are co-signers, not fewer than t + f"),
    (4, "an upgrade is supported by those who are co-signers when it enters into force"),
    (4, "a key that was a co-signer's is nobody else's"),
    (4, "proposals of up to 262144 bytes, in the log in pieces of 65535"),
    (4, "a deny list that takes no address away waits for no delay and has no veto"),
    (4, "a velocity by destination counts what its address was paid before it was in the address book"),
];

/// The hash of the description of a rule set, its tables' rows, the names of its rules and what else it
/// added; none for a set that this program does not have.
pub fn rule_set_hash(version: u32) -> Option<Hash> {
    RULE_SETS.contains(&version).then(|| {
        let mut text = String::new();
        for row in TABLE.iter().filter(|row| row.since <= version) {
            text.push_str(&format!("{row:?}\n"));
        }
        for rule in Rule::ALL.iter().filter(|rule| rule.since() <= version) {
            text.push_str(&format!("{} {}\n", rule.id(), rule.meaning()));
        }
        for (_, added) in ADDED.iter().filter(|(since, _)| *since <= version) {
            text.push_str(&format!("{added}\n"));
        }
        Hash::of("keyward/rule-set/v1", text.as_bytes())
    })
}

impl State {
    /// Whether this program has the rule set in force: version and hash.
    pub(crate) fn check_rule_set(&self) -> Result<(), Refusal> {
        let version = self.clock.rules;
        let known = match self.document(Kind::Upgrade, "").map(|found| &found.document) {
            Some(Document::Upgrade(upgrade)) => rule_set_hash(version) == Some(upgrade.rules),
            Some(_) | None => RULE_SETS.contains(&version),
        };
        ensure(known, Rule::RuleSet, || {
            format!("rule set {version} is in force, this program has {RULE_SETS:?}: install one that has it")
        })
    }

    /// What a later rule set brought is unknown under this one: programs that do not have that set cannot
    /// even read it, so nobody takes it in.
    pub(crate) fn check_since(&self, since: u32) -> Result<(), Refusal> {
        ensure(since <= self.clock.rules, Rule::Form, || {
            format!("that came with rule set {since}, in force is {}: upgrade first", self.clock.rules)
        })
    }

    /// Whether a request was asked under an earlier rule set: it lapsed, and may be renewed.
    pub fn has_lapsed(&self, record: &RequestRecord) -> bool {
        record.rules != self.clock.rules
    }

    /// Destinations from before the delay clock was noted cool down from now on (P13).
    fn stamp_destinations(&mut self) {
        let from = (Kind::Destination, String::new());
        let of = |(key, _): &(&(Kind, String), &InForce)| key.0 == Kind::Destination;
        let unknown =
            self.documents.from(from).take_while(of).filter(|(_, found)| found.since_delay.is_none());
        let unknown: Vec<_> = unknown.map(|(key, found)| (key.clone(), found.clone())).collect();
        for (key, found) in unknown {
            let found = InForce { since_delay: Some(self.clock.delay), ..found };
            self.documents.put(&mut self.facts, key, found);
        }
    }

    pub(crate) fn supports(&mut self, supports: &Supports, owner: Owner) -> Result<(), Refusal> {
        let Owner::Cosigner(name) = owner else {
            return Err(Refusal::new(Rule::Standing, "only co-signers support rule sets"));
        };
        let fits = |p: &Proposal| match &p.document {
            Document::Upgrade(u) => {
                p.stage == Stage::Supporting && u.version == supports.version && u.rules == supports.rules
            }
            _ => false,
        };
        let found = self.proposals.iter().find(|(_, p)| fits(p)).map(|(id, p)| (*id, p.clone()));
        let (id, mut proposal) =
            found.ok_or_else(|| Refusal::new(Rule::RuleSet, "no approved upgrade names this rule set"))?;
        proposal.supports.insert(name);
        self.proposals.put(&mut self.facts, id, proposal);
        self.wait_if_supported(id);
        Ok(())
    }

    /// Whether as many co-signers as decide have a rule set. Who left counts no more (P30).
    pub(crate) fn is_supported(&self, proposal: &Proposal) -> bool {
        let members = self.cosigners();
        let supporters = members.iter().filter(|card| proposal.supports.contains(&card.name)).count();
        supporters >= self.numbers().quorum
    }

    fn wait_if_supported(&mut self, id: Hash) {
        if self.proposals.get(&id).is_some_and(|proposal| self.is_supported(proposal)) {
            let delay =
                self.policy().and_then(|(p, _)| p.governance.get(&Kind::Upgrade)).map_or(0, |g| g.delay_s);
            // At least one Tick lies between the last support and the change.
            let due = self.clock.delay.saturating_add(delay);
            self.stage(&id, Stage::Waiting(due));
            self.waiting.put(&mut self.facts, (due, id), ());
        }
    }

    /// In another set as many as support an upgrade already may decide.
    pub(crate) fn recount_supports(&mut self) {
        let open = self.proposals.iter().filter(|(_, p)| p.stage == Stage::Supporting);
        let open: Vec<Hash> = open.map(|(id, _)| *id).collect();
        for id in open {
            self.wait_if_supported(id);
        }
    }

    /// Another rule set is in force: what was asked or proposed under the old one may mean something else
    /// now, so it lapses. Anchors, charges and freezes stay.
    pub(crate) fn change_rules(&mut self, version: u32) {
        self.clock.rules = version;
        if version >= 3 {
            self.stamp_destinations();
        }
        let open = |stage: &Stage| matches!(stage, Stage::Open | Stage::Supporting | Stage::Waiting(_));
        let lapsed: Vec<_> = self
            .proposals
            .iter()
            .filter(|(_, p)| open(&p.stage))
            .map(|(id, p)| (*id, p.stage.clone()))
            .collect();
        for (id, stage) in lapsed {
            if let Stage::Waiting(due) = stage {
                self.waiting.take(&mut self.facts, &(due, id));
            }
            self.stage(&id, Stage::Void(Rule::Lapsed.id().to_owned()));
        }
    }
}
