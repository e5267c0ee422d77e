//! What a hostile server and the people do at random moments.

use std::collections::BTreeMap;

use custody::document::{Document, Kind, Resume};
use custody::payment::Request;
use custody::state::{RequestRecord, Stage};
use custody::statement::{Body, Freeze, Propose, Revoke, Scope, Veto};
use custody::{Blob, Hash};
use fixtures::{World, destination, id};
use sim::attacker::session;
use sim::deployment::name;
use wire::message::{FromCosigner, ToCosigner};

use crate::town::{PAIRS, Town};

impl Town {
    /// Somebody does something with documents.
    pub(crate) fn act_on_documents(&mut self) {
        self.refresh();
        match self.cluster.below(8) {
            0..=1 => self.propose(),
            2..=6 => self.approve_something(),
            _ => self.veto_something(),
        }
    }

    /// Somebody does something with payments, mostly something useful.
    pub(crate) fn act_on_payments(&mut self) {
        self.refresh();
        let frozen = !self.world.state.freezes().is_empty();
        match self.cluster.below(80) {
            0..=5 if frozen => self.resume_something(),
            0..=5 => self.request(),
            6..=23 => self.approve_something(),
            24..=31 => self.authorise_something(),
            32..=75 => self.order_something(),
            76 => self.freeze_what_is_being_signed(),
            77 => self.revoke(),
            78 => self.veto_something(),
            _ => self.propose(),
        }
    }

    fn propose(&mut self) {
        self.subjects += 1;
        let document = destination(&format!("d{}", self.subjects));
        self.submit("dave", Body::Propose(Propose { document, replaces: None }));
    }

    fn open_requests(&self) -> impl Iterator<Item = (&Hash, &RequestRecord)> {
        self.world.state.requests().iter().filter(|(_, r)| r.approvals.len() < 2)
    }

    /// Somebody approves what lacks an approval; what lifts a freeze first.
    fn approve_something(&mut self) {
        let proposals = self.world.state.proposals().iter().filter(|(_, p)| p.stage == Stage::Open);
        let (resumes, others): (Vec<_>, Vec<_>) =
            proposals.partition(|(_, p)| p.document.kind() == Kind::Resume);
        let mut lacks: Vec<_> = resumes.into_iter().map(|(id, p)| (*id, &p.approvals)).collect();
        if lacks.is_empty() {
            lacks.extend(others.into_iter().map(|(id, p)| (*id, &p.approvals)));
            lacks.extend(self.open_requests().map(|(id, r)| (*id, &r.approvals)));
        }
        let other = |given: &BTreeMap<_, _>, who: &&str| !given.contains_key(&name(who));
        let pairs: Vec<(Hash, &str)> = lacks
            .iter()
            .flat_map(|(id, given)| {
                ["alice", "bob", "carol"].into_iter().filter(|who| other(given, who)).map(|who| (*id, who))
            })
            .collect();
        if let Some((target, who)) = self.pick(&pairs) {
            let approve = self.approval(target);
            self.submit(who, approve);
        }
    }

    fn veto_something(&mut self) {
        let open = |s: &Stage| matches!(s, Stage::Open | Stage::Waiting(_));
        let proposals = self.world.state.proposals().iter().filter(|(_, p)| open(&p.stage));
        let targets: Vec<Hash> = proposals.map(|(id, _)| *id).collect();
        if let Some(target) = self.pick(&targets) {
            self.submit("carol", Body::Veto(Veto { target }));
        }
    }

    /// The authorisations that may be signed for a minute yet.
    pub(crate) fn allowed(&mut self) -> Vec<Hash> {
        self.refresh();
        let World { state, time, decoder, .. } = &self.world;
        let ids = state.authorisations().iter().map(|(id, _)| *id);
        ids.filter(|id| state.release(id, time + 60, decoder).is_ok()).collect()
    }

    /// A request that ends soon, or in a day, or renews another, but not the first one.
    fn request(&mut self) {
        let ends_in = self.pick(&[3, 8, 86_400]).unwrap();
        let to = self.pick(&["acme", "other"]).unwrap();
        let first = self.base.authorisation.and_then(|id| self.world.state.authorisations().get(&id));
        let first = first.map(|a| a.requests.clone()).unwrap_or_default();
        let renewed = self.world.state.requests().iter().map(|(id, _)| *id);
        let renewed: Vec<Hash> = renewed.filter(|id| !first.contains(id)).collect();
        let renews = if self.cluster.below(4) == 0 { self.pick(&renewed) } else { None };
        let end = self.cluster.now_s() + ends_in;
        let request = Request { end, renews, ..self.world.request(&[(to, 100_000)]) };
        self.submit("dave", Body::Request(request));
    }

    /// A transaction for a request: from its anchor if it has one, else, or with ill will, from any coin.
    fn authorise_something(&mut self) {
        let Some(account) = self.base.account.clone() else { return };
        let unapproved = self.cluster.below(8) == 0;
        let enough = |r: &RequestRecord| unapproved || r.approvals.len() >= 2;
        let requests = self.world.state.requests().iter().filter(|(_, r)| enough(r));
        let requests: Vec<Hash> = requests.map(|(id, _)| *id).collect();
        let Some(request) = self.pick(&requests) else { return };
        let lineage = self.world.state.requests().get(&request).unwrap().lineage;
        let anchors = self.world.state.lineages().get(&lineage).map(|l| l.anchors.clone());
        let mut coin = self.pick(&self.base.coins).unwrap();
        if let Some(anchors) = anchors
            && self.cluster.below(4) > 0
        {
            coin = *self.base.coins.iter().find(|c| anchors.contains(&c.outpoint)).expect("an anchor");
        }
        let fee = 1_000 * (1 + self.cluster.below(9));
        let draft = self.draft(&account, request, &[coin], fee);
        let ask = self.world.authorise(&[request], &draft);
        self.submit("server", Body::Authorise(ask));
    }

    /// An order to sign: mostly with a new number, often with an old one, sometimes only to one holder.
    fn order_something(&mut self) {
        let known: Vec<Hash> = self.world.state.authorisations().iter().map(|(id, _)| *id).collect();
        let Some(authorisation) = self.pick(&known) else { return };
        let pair = self.pick(&PAIRS).unwrap();
        let again = self.cluster.below(4) == 0;
        self.attempt += u32::from(!again);
        let lonely = self.cluster.below(6) == 0;
        let who = if lonely { &pair[..1] } else { &pair[..] };
        self.order(authorisation, pair, who);
    }

    fn order(&mut self, authorisation: Hash, pair: [&str; 2], to: &[&str]) {
        let (holders, attempt) = (pair.map(name).to_vec(), self.attempt);
        let id = session(&self.world.state.genesis_hash(), &authorisation, &holders, attempt);
        self.sessions.insert(id, authorisation);
        for who in to {
            let order = ToCosigner::Sign { authorisation, holders: holders.clone(), attempt };
            self.cluster.order(who, &order);
        }
    }

    /// Lets two holders sign an authorisation, with a fresh number. Says whether a transaction came out.
    pub(crate) fn sign(&mut self, authorisation: Hash, pair: [&str; 2]) -> bool {
        self.attempt += 1;
        let mark = self.cluster.said.len();
        self.order(authorisation, pair, &pair);
        let ours = |m: &FromCosigner| matches!(m, FromCosigner::Signed { authorisation: a, .. } if *a == authorisation);
        self.cluster.run(10_000, |c| c.said[mark..].iter().any(|(_, m)| ours(m)))
    }

    /// A freeze, for everybody or only for one co-signer.
    pub(crate) fn freeze(&mut self) {
        let by = self.pick(&["alice", "bob", "carol", "dave", "alarm"]).unwrap();
        let envelope = self.write(by, Body::Freeze(Freeze { scope: Scope::Everything }));
        self.freezes.insert(envelope.id());
        if self.cluster.below(2) == 0 {
            let place = self.cluster.below(4);
            let message = ToCosigner::Submit { envelope: Blob(envelope.bytes()) };
            self.cluster.tell(usize::try_from(place).unwrap(), &message);
        }
        self.cluster.submit(envelope);
    }

    /// A freeze that meets sessions which have begun, and shares that have not left.
    fn freeze_what_is_being_signed(&mut self) {
        let allowed = self.allowed();
        for pair in PAIRS {
            if let Some(authorisation) = self.pick(&allowed) {
                self.attempt += 1;
                self.order(authorisation, pair, &pair);
            }
        }
        let slow = self.cluster.weather.delay_ms;
        let later = self.cluster.below(slow);
        self.cluster.run(later, |_| false);
        self.freeze();
    }

    fn revoke(&mut self) {
        // Once, and two approvers always stay.
        if std::mem::replace(&mut self.revoked, true) {
            return;
        }
        self.submit("carol", Body::Revoke(Revoke { key: id("carol") }));
    }

    fn resume_something(&mut self) {
        if let Some(resume) = self.resume() {
            self.submit("alice", resume);
        }
    }

    /// The proposal to lift all freezes in force.
    pub(crate) fn resume(&self) -> Option<Body> {
        let freezes: Vec<Hash> = self.world.state.freezes().iter().map(|(id, _)| *id).collect();
        let document = Document::Resume(Resume { freezes: freezes.clone() });
        (!freezes.is_empty()).then_some(Body::Propose(Propose { document, replaces: None }))
    }

    /// A statement that changes nothing of weight.
    pub(crate) fn probe(&mut self) -> Body {
        self.subjects += 1;
        let document = destination(&format!("p{}", self.subjects));
        Body::Propose(Propose { document, replaces: None })
    }
}
