//! The one mechanism of governed documents: propose → approve → delay → in force (P3, P13, P17, P29).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::adoption::{Ground, Standing};
use crate::bytes::Hash;
use crate::decide::Rulebook;
use crate::document::{
    CeremonyRecord, CosignerCard, Document, Grant, Group, Kind, Machine, Person, Wallet, WalletState,
    activation_message,
};
use crate::effects::Decoder;
use crate::genesis::delay_floor_s;
use crate::name::Name;
use crate::quorum::{Groups, seat};
use crate::rates::{RATES_LIMIT, RATES_VALIDITY_LIMIT_S, Rates, Value};
use crate::records::Record;
use crate::rule::{Refusal, Rule, ensure};
use crate::seats::{WithGroup, WithPerson};
use crate::state::{Approval, InForce, KeyRecord, Owner, Proposal, SlotRecord, Stage, State};
use crate::statement::{Activate, Propose, Veto, key_id};

/// Most accounts in one ceremony.
pub const SLOTS_LIMIT: usize = 64;

/// Most keys of one person.
pub const PERSON_KEYS_LIMIT: usize = 8;

impl State {
    pub(crate) fn propose(
        &mut self,
        id: Hash,
        propose: &Propose,
        owner: Owner,
        not_after: u64,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        ensure(matches!(owner, Owner::Person(_)), Rule::Standing, || {
            format!("{owner} may not propose documents")
        })?;
        self.check_document(&propose.document, propose.replaces, decoder)?;
        let proposal = Proposal {
            document: propose.document.clone(),
            replaces: propose.replaces,
            proposer: owner,
            not_after,
            approvals: BTreeMap::new(),
            supports: BTreeSet::new(),
            stage: Stage::Open,
        };
        self.proposals.put(&mut self.facts, id, proposal);
        Ok(())
    }

    pub(crate) fn approve_proposal(
        &mut self,
        id: &Hash,
        person: Name,
        approval: Approval,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let Some(mut proposal) = self.proposals.get(id).cloned() else {
            return Err(Refusal::new(Rule::Reference, format!("there is no proposal {id}")));
        };
        ensure(proposal.stage == Stage::Open, Rule::Standing, || {
            format!("the proposal is {}: it takes no approvals", stage_word(&proposal.stage))
        })?;
        let time = self.clock.time;
        ensure(time <= proposal.not_after, Rule::NotAfter, || "the proposal has ended: propose anew".into())?;
        let kind = proposal.document.kind();
        let own = proposal.proposer == Owner::Person(person.clone());
        ensure(!own || kind.row().proposer_approves, Rule::Standing, || {
            format!("{person} proposed this {} and cannot approve it", kind.word())
        })?;
        proposal.approvals.insert(person, approval);
        self.proposals.put(&mut self.facts, *id, proposal.clone());
        if !self.carried(&proposal, Some(time)) {
            return Ok(());
        }
        if kind == Kind::Upgrade {
            self.stage(id, Stage::Supporting);
            return Ok(());
        }
        self.start_delay(id, decoder);
        Ok(())
    }

    /// Whether the approvals of a proposal that count fill a path of its kind's governance: given under
    /// the policy in force, by keys in use, and not ended at `time`. Once they have carried it, their end
    /// no longer matters.
    fn carried(&self, proposal: &Proposal, time: Option<u64>) -> bool {
        let Some((policy, hash)) = self.policy() else { return false };
        let kind = proposal.document.kind();
        let counts = |(person, a): (&Name, &Approval)| {
            let key = self.key(&a.key).is_some_and(|k| k.revoked_at.is_none());
            // Only what lifts freezes and revokes keys is carried by who is frozen: else one hostile person
            // could stop all others (P17).
            let lifts = matches!(kind, Kind::Resume | Kind::Revocation);
            let stopped = !lifts && self.is_stopped_by_person(person);
            let counts = key && !stopped && self.is_independent(&a.key) && a.decides == hash;
            (counts && time.is_none_or(|t| a.not_after >= t)).then(|| person.clone())
        };
        let people: BTreeSet<Name> = proposal.approvals.iter().filter_map(counts).collect();
        // Who is said to have signed a review approves it (DACS MOD-00).
        if let Document::Review(review) = &proposal.document
            && !review.signatories.iter().all(|person| people.contains(person))
        {
            return false;
        }
        let governance = policy.governance.get(&proposal.document.kind());
        let filled = |path| {
            if ends_absences(kind) { seat(path, &people, &Standing(self)) } else { seat(path, &people, self) }
        };
        governance.is_some_and(|g| g.approvals.iter().any(filled))
    }

    fn start_delay(&mut self, id: &Hash, decoder: &dyn Decoder) {
        let Some(proposal) = self.proposals.get(id).cloned() else { return };
        let kind = proposal.document.kind();
        let delay = self.policy().and_then(|(p, _)| p.governance.get(&kind)).map_or(0, |g| g.delay_s);
        if !kind.row().delayed || delay == 0 || self.denies_no_less(&proposal.document) {
            self.finish(id, decoder);
            return;
        }
        let due = self.clock.delay.saturating_add(delay);
        self.stage(id, Stage::Waiting(due));
        self.waiting.put(&mut self.facts, (due, *id), ());
    }

    pub(crate) fn stage(&mut self, id: &Hash, stage: Stage) {
        if let Some(mut proposal) = self.proposals.get(id).cloned() {
            proposal.stage = stage;
            self.proposals.put(&mut self.facts, *id, proposal);
        }
    }

    /// Documents whose delay is over enter into force, in the order in which they became due.
    pub(crate) fn enter_into_force(&mut self, decoder: &dyn Decoder) {
        let now = self.clock.delay;
        let due: Vec<_> = self.waiting.iter().map(|(k, ())| *k).take_while(|(due, _)| *due <= now).collect();
        for key in due {
            // An upgrade that came first may have let it lapse.
            if self.waiting.get(&key).is_some() {
                self.waiting.take(&mut self.facts, &key);
                self.finish(&key.1, decoder);
            }
        }
    }

    /// Puts an approved document in force if it still can be.
    fn finish(&mut self, id: &Hash, decoder: &dyn Decoder) {
        let Some(proposal) = self.proposals.get(id).cloned() else { return };
        // Who left since they supported it does not run it (P29, P30).
        let upgrade = proposal.document.kind() == Kind::Upgrade && self.clock.rules >= 4;
        if upgrade && !self.is_supported(&proposal) {
            return self.stage(id, Stage::Supporting);
        }
        // P1: approvals under another policy, or by keys that went out of use since, carry it no more.
        let carried =
            ensure(self.carried(&proposal, None), Rule::Decides, || "the approvals count no more".into());
        match carried.and_then(|()| self.check_document(&proposal.document, proposal.replaces, decoder)) {
            Ok(()) => {
                self.stage(id, Stage::Done);
                let proposer = match proposal.proposer {
                    Owner::Person(name) => Some(name),
                    Owner::Machine(_) | Owner::Cosigner(_) => None,
                };
                let set = proposal.document.kind() == Kind::CosignerSet;
                self.enforce(proposal.document, proposer);
                if set {
                    self.recount_supports();
                }
            }
            // Only the rule's name: the words of an error are not part of the state.
            Err(refusal) => self.stage(id, Stage::Void(refusal.rule.id().to_owned())),
        }
    }

    /// Puts a checked document in force.
    pub(crate) fn enforce(&mut self, document: Document, proposer: Option<Name>) {
        match &document {
            Document::Person(person) => {
                let signing: Vec<_> = person.keys.iter().map(|k| k.sign).collect();
                self.replace_keys(Owner::Person(person.id.clone()), &signing);
            }
            Document::Machine(machine) => {
                self.replace_keys(Owner::Machine(machine.id.clone()), &[machine.sign]);
            }
            Document::Cosigner(card) => {
                self.replace_keys(Owner::Cosigner(card.name.clone()), &[card.statement]);
            }
            Document::Ceremony(record) => self.add_slots(record),
            Document::Wallet(wallet) => {
                let key = (wallet.ceremony, wallet.slot);
                if let Some(mut slot) = self.slots.get(&key).cloned() {
                    slot.wallet = Some(wallet.id.clone());
                    self.slots.put(&mut self.facts, key, slot);
                }
            }
            Document::Anchors(other) => self.bind_other_anchors(other),
            Document::Upgrade(upgrade) => self.change_rules(upgrade.version),
            Document::Resume(resume) => {
                for freeze in &resume.freezes {
                    self.freezes.take(&mut self.facts, freeze);
                }
            }
            Document::Revocation(revocation) => self.retire_key(&revocation.key, false),
            Document::Resharing(resharing) => self.begin_resharing(resharing),
            Document::Policy(policy) => self.rulebook = Some(Arc::new(Rulebook::new(policy.clone()))),
            Document::Group(_)
            | Document::Destination(_)
            | Document::Header(_)
            | Document::Client(_)
            | Document::Rates(_)
            | Document::Absence(_)
            | Document::Delegation(_)
            | Document::Review(_)
            | Document::ThirdParty(_)
            | Document::DenyList(_)
            | Document::Asset(_)
            | Document::Order(_)
            | Document::Retention(_)
            | Document::Float(_) => {}
            Document::Lease(lease) => self.leases.put(&mut self.facts, lease.wallet.clone(), 0),
            Document::CosignerSet(set) => self.enter_cosigner_set(set),
        }
        let key = (document.kind(), document.subject());
        let hash = document.version(self.documents.get(&key).map(|old| old.hash));
        let since_delay = (self.clock.rules >= 3).then_some(self.clock.delay);
        let found = InForce { hash, document, since: self.clock.time, since_delay, proposer };
        self.documents.put(&mut self.facts, key, found);
    }

    /// Keys that the new version leaves out go out of use; they are never forgotten.
    pub(crate) fn replace_keys(&mut self, owner: Owner, public: &[Hash]) {
        let ids: Vec<Hash> = public.iter().map(key_id).collect();
        let gone: Vec<Hash> = self
            .keys
            .iter()
            .filter(|(id, k)| k.owner == owner && k.revoked_at.is_none() && !ids.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.retire_key(&id, false);
        }
        for (id, public) in ids.into_iter().zip(public) {
            if self.keys.get(&id).is_none() {
                let record = KeyRecord {
                    public: *public,
                    owner: owner.clone(),
                    revoked_at: None,
                    self_revoked: false,
                };
                self.keys.put(&mut self.facts, id, record);
            }
        }
    }

    fn add_slots(&mut self, record: &CeremonyRecord) {
        let ceremony = record.id(&self.genesis_hash);
        for (slot, i) in record.slots.iter().zip(0u32..) {
            let record = SlotRecord {
                slot: slot.clone(),
                holders: record.holders.clone(),
                threshold: record.threshold,
                proved: BTreeSet::new(),
                wallet: None,
                reshares: None,
                superseded: None,
            };
            self.slots.put(&mut self.facts, (ceremony, i), record);
        }
    }

    /// Checks a document against what is in force: when it is proposed, and again when it would enter.
    fn check_document(
        &self,
        document: &Document,
        replaces: Option<Hash>,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let now = self.document(document.kind(), &document.subject()).map(|d| d.hash);
        ensure(now == replaces, Rule::Replaces, || {
            format!(
                "in force is {}: look at it and propose anew",
                now.map_or("nothing".into(), |h| h.to_string())
            )
        })?;
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Document, || why.into());
        match document {
            Document::Policy(policy) => policy.check(&self.ground(self, self.clock.rules)),
            Document::Person(person) => self.check_person(person),
            Document::Group(group) => self.check_group(group),
            Document::Machine(machine) => self.check_machine(machine),
            Document::Destination(destination) => self.check_destination(destination, decoder),
            Document::Wallet(wallet) => self.check_wallet(wallet),
            Document::Ceremony(record) => self.check_ceremony(record, decoder),
            Document::Cosigner(card) => self.check_card(card),
            Document::Header(header) => {
                sound(header.height > self.header().height, "the header must be a later one")
            }
            Document::Anchors(other) => self.check_other_anchors(other, decoder),
            Document::Upgrade(upgrade) => ensure(upgrade.version > self.clock.rules, Rule::RuleSet, || {
                format!("rule set {} is in force, versions only rise", self.clock.rules)
            }),
            Document::Resume(resume) => {
                sound(!resume.freezes.is_empty(), "name the freezes that it lifts")?;
                let known = resume.freezes.iter().all(|f| self.freezes.get(f).is_some());
                sound(known, "one of the freezes is not in force")
            }
            Document::Revocation(revocation) => {
                let key = self.key(&revocation.key);
                // A key that its owner took out of use may still freeze for a day: a quorum ends that too.
                let left = key.is_some_and(|k| k.revoked_at.is_none() || k.self_revoked);
                sound(left, "there is no such key in use")?;
                let cosigner = key.is_some_and(|k| matches!(k.owner, Owner::Cosigner(_)));
                sound(!cosigner, "a co-signer's keys change by its own document")
            }
            Document::Client(_) => Ok(()),
            Document::Rates(rates) => self.check_rates(rates),
            Document::Absence(absence) => self.check_record(Record::Absence(absence), decoder),
            Document::Delegation(delegation) => self.check_record(Record::Delegation(delegation), decoder),
            Document::Review(review) => self.check_record(Record::Review(review), decoder),
            Document::ThirdParty(party) => self.check_record(Record::ThirdParty(party), decoder),
            Document::DenyList(list) => self.check_record(Record::DenyList(list), decoder),
            Document::Asset(asset) => self.check_record(Record::Asset(asset), decoder),
            Document::Lease(lease) => self.check_record(Record::Lease(lease), decoder),
            Document::Order(_) => Ok(()),
            Document::Retention(retention) => self.check_record(Record::Retention(retention), decoder),
            Document::Float(float) => self.check_record(Record::Float(float), decoder),
            Document::Resharing(resharing) => self.check_resharing(resharing),
            Document::CosignerSet(set) => self.check_cosigner_set(set),
        }
    }

    /// Every public key stands once: one key, one purpose, one owner (P4).
    pub(crate) fn check_fresh_keys(&self, owner: &Owner, keys: &[Hash]) -> Result<(), Refusal> {
        let distinct: BTreeSet<_> = keys.iter().collect();
        let fresh = |key: &Hash| {
            let known = self.key(&key_id(key)).is_none_or(|k| k.owner == *owner && k.revoked_at.is_none());
            let tls = self.documents().all(|found| match &found.document {
                Document::Person(p) => {
                    Owner::Person(p.id.clone()) == *owner || p.keys.iter().all(|k| k.tls != *key)
                }
                Document::Machine(m) => Owner::Machine(m.id.clone()) == *owner || m.tls != *key,
                Document::Cosigner(c) => Owner::Cosigner(c.name.clone()) == *owner || !c.keys().contains(key),
                _ => true,
            });
            // Under a key that was a co-signer's, things were signed that nobody else ever says (P4).
            let mut earlier = self.cards_so_far().filter(|card| Owner::Cosigner(card.name.clone()) != *owner);
            let unused = self.clock.rules < 4 || earlier.all(|card| !card.keys().contains(key));
            known && tls && unused
        };
        ensure(distinct.len() == keys.len() && keys.iter().all(fresh), Rule::Document, || {
            format!("a key of {owner} is revoked, stands twice, or belongs to somebody else")
        })
    }

    fn check_person(&self, person: &Person) -> Result<(), Refusal> {
        ensure((1..=PERSON_KEYS_LIMIT).contains(&person.keys.len()), Rule::Document, || {
            format!("a person has 1 to {PERSON_KEYS_LIMIT} keys")
        })?;
        let keys: Vec<Hash> = person.keys.iter().flat_map(|k| [k.sign, k.tls]).collect();
        self.check_fresh_keys(&Owner::Person(person.id.clone()), &keys)?;
        // Somebody without an independent device approves no document: too few who do would lock everybody out.
        let console = person.keys.iter().all(|key| !key.device.is_independent());
        match self.policy().filter(|_| console) {
            Some((policy, _)) => {
                policy.check_groups(&self.ground(&WithPerson { state: self, person }, policy.since()))
            }
            None => Ok(()),
        }
    }

    fn check_group(&self, group: &Group) -> Result<(), Refusal> {
        ensure(group.members.is_sorted_by(|a, b| a < b), Rule::Document, || {
            "sort the members, each once".into()
        })?;
        let unknown = group.members.iter().find(|m| self.person(m).is_none());
        ensure(unknown.is_none(), Rule::Document, || "a member is no person in force".into())?;
        // A group that is too small for the policy would lock everybody out.
        self.policy().map_or(Ok(()), |(policy, _)| {
            policy.check_groups(&self.ground(&WithGroup { state: self, group }, policy.since()))
        })
    }

    /// What a policy is adopted for here.
    fn ground<'a>(&'a self, groups: &'a dyn Groups, rule_set: u32) -> Ground<'a> {
        Ground {
            groups,
            de_minimis: self.genesis.de_minimis,
            delay_floor_s: delay_floor_s(&self.genesis.network),
            rule_set,
            asset: &self.asset,
            now: self.clock.time,
        }
    }

    fn check_rates(&self, rates: &Rates) -> Result<(), Refusal> {
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Document, || why.into());
        sound((1..=RATES_LIMIT).contains(&rates.rates.len()), "name 1 to 256 rates")?;
        let latest = self.clock.time.saturating_add(RATES_VALIDITY_LIMIT_S);
        let until = self.clock.time < rates.until && rates.until <= latest;
        sound(until, "rates hold until a time that is ahead, by at most 31 days")?;
        let zero = Value(0);
        let whole = rates.rates.values().all(|rate| rate.per > zero && rate.value > zero);
        sound(whole, "a rate of nothing or for nothing: name minor units per base units")
    }

    fn check_machine(&self, machine: &Machine) -> Result<(), Refusal> {
        let sorted: Vec<Grant> = machine.grants.clone();
        ensure(sorted.is_sorted_by(|a, b| a < b), Rule::Document, || "sort the grants, each once".into())?;
        self.check_fresh_keys(&Owner::Machine(machine.id.clone()), &[machine.sign, machine.tls])
    }

    fn check_wallet(&self, wallet: &Wallet) -> Result<(), Refusal> {
        let ceremony = |holds: bool, why: &str| ensure(holds, Rule::Ceremony, || why.into());
        let slot = self.slots.get(&(wallet.ceremony, wallet.slot));
        let slot = slot.filter(|slot| slot.reshares.is_none());
        let slot =
            slot.ok_or_else(|| Refusal::new(Rule::Ceremony, "no approved ceremony dealt such an account"))?;
        ceremony(slot.wallet.as_ref().is_none_or(|w| *w == wallet.id), "another wallet is on this account")?;
        ceremony(
            self.slot_of(wallet).is_some_and(|used| self.proved_everywhere(used)),
            "not every set of holders has proved yet that it can sign: wait for the signers",
        )?;
        let old = self.wallet(&wallet.id);
        if old.is_none() {
            self.check_reviewed(wallet)?;
            ensure(self.is_enabled(&self.asset), Rule::Enabled, || {
                format!("{} is not held here: enable it first", self.asset)
            })?;
        }
        let next = match (old.and_then(|old| old.state), wallet.state) {
            (None, _) | (Some(WalletState::Suspended | WalletState::Retired), _) => {
                old.is_some() || wallet.state.is_none()
            }
            (Some(WalletState::Compromised), next) => next == Some(WalletState::Compromised),
        };
        ensure(next, Rule::KeyState, || {
            "a wallet begins active, and one whose key may be known stays so: sweep it".into()
        })?;
        if wallet.state.is_none() && self.clock.rules >= 4 {
            let members: Vec<Name> = self.cosigners().into_iter().map(|card| card.name.clone()).collect();
            self.check_outside(&wallet.ceremony, wallet.slot, &members)?;
        }
        let tier = old.is_none_or(|old| old.tier == wallet.tier);
        ensure(tier || self.clock.rules < 3, Rule::Document, || {
            "a wallet stays in its tier: open another one".into()
        })?;
        let same =
            self.wallet(&wallet.id).is_none_or(|w| (w.ceremony, w.slot) == (wallet.ceremony, wallet.slot));
        ceremony(same, "a wallet stays on its account: open another one")?;
        // The model says whose the coins are, in the books of the clients too.
        let kept = self.wallet(&wallet.id).is_none_or(|old| old.model == wallet.model);
        ensure(kept || self.clock.rules < 2, Rule::Document, || {
            "a wallet keeps its custody model: open another one".into()
        })
    }

    /// Whether every set of `threshold` holders has signed its challenge.
    pub fn proved_everywhere(&self, slot: &SlotRecord) -> bool {
        let count = u64::try_from(slot.holders.len()).unwrap_or(0);
        let sets = binomial(count, u64::from(slot.threshold));
        u64::try_from(slot.proved.len()).is_ok_and(|proved| proved == sets)
    }

    fn check_card(&self, card: &CosignerCard) -> Result<(), Refusal> {
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Document, || why.into());
        let old = self.cosigner(&card.name);
        let old = old.ok_or_else(|| {
            Refusal::new(
                Rule::Committee,
                "there is no such co-signer: it joins by a document of kind cosigner-set",
            )
        })?;
        sound(old.identity == card.identity, "the identity key is pinned by genesis")?;
        sound(
            old.holds_shares == card.holds_shares,
            "whether a co-signer holds shares is pinned by genesis",
        )?;
        sound(card.epoch > old.epoch, "the epoch must rise")?;
        sound(card.certified(), "the certificate does not verify")?;
        // Votes of a height are checked under one set of keys, so those stay until sets can change.
        let same = (old.vote, old.cosign, old.tls) == (card.vote, card.cosign, card.tls);
        sound(same, "only the statement, frame and sealing keys change by a card")?;
        // Whoever says that what was sealed to it is gone relies on that (P4).
        let sealed = card.seal != old.seal || self.clock.rules < 2;
        sound(sealed, "each epoch has a sealing key of its own")?;
        self.check_fresh_keys(&Owner::Cosigner(card.name.clone()), &card.keys())
    }

    pub(crate) fn veto(&mut self, veto: &Veto, owner: Owner) -> Result<(), crate::apply::Fault> {
        use crate::apply::Fault;
        let proposal = self.proposals.get(&veto.target);
        let proposal = proposal
            .ok_or_else(|| Fault::Invalid(Refusal::new(Rule::Reference, "there is no such proposal")))?;
        let standing =
            |holds: bool, why: &str| ensure(holds, Rule::Standing, || why.into()).map_err(Fault::Rejected);
        standing(
            proposal.document.kind().row().veto && !self.denies_no_less(&proposal.document),
            "what reduces authority, or lifts a freeze by quorum, has no veto",
        )?;
        let open = matches!(proposal.stage, Stage::Open | Stage::Supporting | Stage::Waiting(_));
        standing(open, "the proposal is in force or gone already")?;
        let Owner::Person(person) = owner else {
            return Err(Fault::Rejected(Refusal::new(Rule::Standing, "only people veto")));
        };
        if let Stage::Waiting(due) = proposal.stage {
            self.waiting.take(&mut self.facts, &(due, veto.target));
        }
        self.stage(&veto.target, Stage::Vetoed(person));
        Ok(())
    }

    pub(crate) fn activate(
        &mut self,
        activate: &Activate,
        owner: Owner,
        decoder: &dyn Decoder,
    ) -> Result<(), crate::apply::Fault> {
        use crate::apply::Fault;
        let key = (activate.ceremony, activate.slot);
        let slot = self.slots.get(&key).cloned();
        let mut slot =
            slot.ok_or_else(|| Fault::Invalid(Refusal::new(Rule::Reference, "no such account was dealt")))?;
        let sound =
            |holds: bool, why: &str| ensure(holds, Rule::Ceremony, || why.into()).map_err(Fault::Rejected);
        sound(matches!(owner, Owner::Cosigner(_)), "only co-signers prove shares")?;
        self.check_proof_wanted(&activate.ceremony, &slot).map_err(Fault::Rejected)?;
        let holders = &activate.holders;
        let sorted = holders.is_sorted_by(|a, b| a < b);
        let count = u32::try_from(holders.len()).unwrap_or(u32::MAX);
        let known = holders.iter().all(|h| slot.holders.contains(h));
        sound(sorted && count == slot.threshold && known, "the set is not one of the holders, sorted")?;
        let message = activation_message(&self.genesis_hash, &activate.ceremony, activate.slot, holders);
        let ok = decoder.schnorr_ok(&slot.slot.account, &message, &activate.signature.0);
        sound(ok, "the signature does not verify under the account key")?;
        slot.proved.insert(holders.clone());
        self.slots.put(&mut self.facts, key, slot);
        self.switch(activate.ceremony, activate.slot);
        Ok(())
    }
}

/// Whether seats are those of the groups' documents, whoever is away or gave a place away: else absences and
/// delegations could shut out everybody who may end them, lift a freeze or revoke a key.
fn ends_absences(kind: Kind) -> bool {
    matches!(kind, Kind::Resume | Kind::Revocation | Kind::Absence | Kind::Delegation)
}

fn stage_word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Open => "open",
        Stage::Supporting => "waiting for support",
        Stage::Waiting(_) => "approved",
        Stage::Done => "in force already",
        Stage::Vetoed(_) => "vetoed",
        Stage::Void(_) => "void",
    }
}

/// n over k.
fn binomial(n: u64, k: u64) -> u64 {
    (0..k).fold(1u64, |acc, i| {
        acc.saturating_mul(n.saturating_sub(i)).checked_div(i.saturating_add(1)).unwrap_or(0)
    })
}
