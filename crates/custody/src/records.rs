//! Governed documents that came with rule set 3: who is away and who stands in, what was reviewed, whom the
//! institution relies on, whom it must not pay, when keys may be used.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::bytes::Hash;
use crate::document::{Destination, DestinationKind, Document, Kind, Model, Wallet, WalletState};
use crate::effects::{Decoder, Sats};
use crate::name::Name;
use crate::payment::{Authorise, Request, RequestOutput};
use crate::quorum::Groups as _;
use crate::rule::{Refusal, Rule, ensure};
use crate::state::{Authorisation, Owner, RequestRecord, State};

/// Longest absence, delegation, attestation or lease, in seconds (366 days): who set it forgets it by then.
pub const TERM_LIMIT_S: u64 = 366 * 24 * 3600;

/// How long a review of a custody model holds, in seconds (365 days, DACS MOD-03).
pub const REVIEW_VALID_S: u64 = 365 * 24 * 3600;

/// Most addresses in one deny list: it fits into an envelope.
pub const DENIED_LIMIT: usize = 512;

/// Most groups in one delegation, and most people in a lease or under a review.
pub const LIST_LIMIT: usize = 16;

/// Most uses of one lease: a key that is used more often belongs to the hot tier.
pub const LEASE_USES_LIMIT: u32 = 100;

/// Shortest time for which records are kept, in years (DACS asks for the law's; Swiss law for ten).
pub const RETENTION_FLOOR_YEARS: u32 = 10;

/// Somebody is away: approvals by this person do not count, whenever they were given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absence {
    /// Who.
    pub person: Name,
    /// The first second of it, log time.
    pub from: u64,
    /// The second with which it ends.
    pub until: u64,
}

/// Somebody stands in for another in some groups: takes that one's place there, for the time, and nobody
/// else's. What was delegated is not delegated on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Whose place.
    pub of: Name,
    /// Who takes it.
    pub to: Name,
    /// In which groups, sorted, each once.
    pub groups: Vec<Name>,
    /// The first second of it, log time.
    pub from: u64,
    /// The second with which it ends.
    pub until: u64,
}

/// The review that a custody model is offered after (DACS MOD-00, MOD-01, MOD-03). What it says are
/// commitments ([`crate::name::Label`]).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Which model.
    pub model: Model,
    /// On which network (CAIP-2).
    pub network: String,
    /// When, log time.
    pub reviewed_at: u64,
    /// The business that it is for.
    pub business: Hash,
    /// The sorts of clients.
    pub clients: Hash,
    /// Speed against safety.
    pub speed_and_safety: Hash,
    /// How coins of clients are kept apart.
    pub segregation: Hash,
    /// Whether the model is offered.
    pub offered: bool,
    /// Who signed it, two people or more, sorted.
    pub signatories: Vec<Name>,
}

/// Somebody who performs a part of custody (DACS MOD-02).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThirdParty {
    /// The handle.
    pub id: Name,
    /// Commitment to the name and what it does.
    pub label: Hash,
    /// SHA-256 of its attestation.
    pub attestation: Hash,
    /// Log time with which that ends.
    pub until: u64,
}

/// Addresses that are not paid, whatever a policy says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenyList {
    /// The handle.
    pub id: Name,
    /// SHA-256 of the file that it was taken from.
    pub source: Hash,
    /// The addresses, sorted, each once.
    pub addresses: Vec<String>,
}

/// Whether an asset is held here. The one of the network is, until a document says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// The asset (CAIP-19).
    pub asset: String,
    /// Whether new wallets and requests may be for it.
    pub enabled: bool,
}

/// Opens the key of a wallet that is not hot, for some people, a time and a number of transactions
/// (ISO/TR 23576 9.3.7).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The wallet.
    pub wallet: Name,
    /// Who may ask under it, sorted.
    pub people: Vec<Name>,
    /// Log time with which it ends.
    pub until: u64,
    /// For how many transactions.
    pub uses: u32,
}

/// Reference to an order of an authority. It changes nothing by itself; what is done because of it names it
/// in the books.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The handle.
    pub id: Name,
    /// Commitment to authority and reference.
    pub label: Hash,
    /// SHA-256 of the order.
    pub order: Hash,
}

/// For how long records are kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Years, at least [`RETENTION_FLOOR_YEARS`].
    pub years: u32,
}

/// Most that a hot wallet holds; what is above is swept. Signers do not know what a wallet holds: the server
/// watches it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Float {
    /// The wallet.
    pub wallet: Name,
    /// The cap.
    pub amount_max: Sats,
}

/// A document of this module.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Absence(&'a Absence),
    Delegation(&'a Delegation),
    Review(&'a Review),
    ThirdParty(&'a ThirdParty),
    DenyList(&'a DenyList),
    Asset(&'a Asset),
    Lease(&'a Lease),
    Retention(&'a Retention),
    Float(&'a Float),
}

fn sound(holds: bool, why: impl FnOnce() -> String) -> Result<(), Refusal> {
    ensure(holds, Rule::Document, why)
}

impl State {
    /// Checks a record against what is in force.
    pub(crate) fn check_record(&self, record: Record<'_>, decoder: &dyn Decoder) -> Result<(), Refusal> {
        match record {
            Record::Absence(absence) => {
                self.check_people(std::slice::from_ref(&absence.person))?;
                self.check_term(absence.from, absence.until)
            }
            Record::Delegation(delegation) => self.check_delegation(delegation),
            Record::Review(review) => self.check_review(review),
            Record::ThirdParty(party) => self.check_term(self.clock.time, party.until),
            Record::DenyList(list) => check_deny_list(list, decoder),
            Record::Asset(asset) => {
                sound(asset.asset == self.asset, || format!("this deployment holds {} alone", self.asset))
            }
            Record::Lease(lease) => self.check_lease(lease),
            Record::Retention(retention) => sound(retention.years >= RETENTION_FLOOR_YEARS, || {
                format!("records are kept for {RETENTION_FLOOR_YEARS} years at least")
            }),
            Record::Float(float) => {
                sound(self.wallet(&float.wallet).is_some(), || format!("there is no wallet {}", float.wallet))
            }
        }
    }

    fn check_people(&self, people: &[Name]) -> Result<(), Refusal> {
        let sorted = people.is_sorted_by(|a, b| a < b);
        sound(sorted && people.len() <= LIST_LIMIT, || {
            format!("name at most {LIST_LIMIT} people, sorted, each once")
        })?;
        let unknown = people.iter().find(|person| self.person(person).is_none());
        sound(unknown.is_none(), || {
            format!("there is no person {}", unknown.map_or("", |person| person.as_str()))
        })
    }

    fn check_term(&self, from: u64, until: u64) -> Result<(), Refusal> {
        let latest = self.clock.time.saturating_add(TERM_LIMIT_S);
        sound(from < until && until > self.clock.time && until <= latest, || {
            "it ends after it begins, in the future, and at most 366 days ahead".into()
        })
    }

    fn check_delegation(&self, delegation: &Delegation) -> Result<(), Refusal> {
        let Delegation { of, to, groups, from, until } = delegation;
        self.check_term(*from, *until)?;
        self.check_people(std::slice::from_ref(to))?;
        sound(of != to, || format!("{of} cannot stand in for {of}"))?;
        let some = (1..=LIST_LIMIT).contains(&groups.len()) && groups.is_sorted_by(|a, b| a < b);
        sound(some, || format!("name 1 to {LIST_LIMIT} groups, sorted, each once"))?;
        for group in groups {
            let member = |person: &Name| {
                let found = self.document(Kind::Group, group.as_str()).map(|found| &found.document);
                matches!(found, Some(Document::Group(group)) if group.members.contains(person))
            };
            sound(member(of), || format!("{of} is not in {group}, and has no place there to give"))?;
            sound(!member(to), || format!("{to} is in {group} already: one person fills one seat"))?;
        }
        let roles = self.policy().is_none_or(|(policy, _)| {
            let others = |group: &Name| -> BTreeSet<Name> {
                let pairs = policy.exclusive.iter();
                let pairs = pairs.filter(|(a, b)| a == group || b == group);
                pairs.map(|(a, b)| if a == group { b.clone() } else { a.clone() }).collect()
            };
            let in_group = |group: &Name| self.is_member(to, group) || self.stand_ins(group).contains(to);
            let developer = Name::new(crate::adoption::DEVELOPERS).is_some_and(|dev| in_group(&dev));
            let gives = groups.iter().any(|group| group.as_str() == crate::adoption::DEVELOPERS);
            !developer && !gives && !groups.iter().flat_map(others).any(|group| in_group(&group))
        });
        sound(roles, || format!("{to} is in a group that excludes one of these"))
    }

    fn check_review(&self, review: &Review) -> Result<(), Refusal> {
        sound(review.network == self.genesis.network, || {
            format!("the network of this deployment is {}", self.genesis.network)
        })?;
        let due = review.reviewed_at.saturating_add(REVIEW_VALID_S);
        sound(review.reviewed_at <= self.clock.time && self.clock.time < due, || {
            "a review is not of the future, and is due again after 365 days".into()
        })?;
        self.check_people(&review.signatories)?;
        sound(review.signatories.len() >= 2, || "a review has two signatories or more".into())?;
        let said = [review.business, review.clients, review.speed_and_safety, review.segregation];
        let distinct: BTreeSet<_> = said.iter().collect();
        sound(distinct.len() == said.len() && !said.contains(&Hash::default()), || {
            "a review says something of business, clients, speed and safety, and segregation each".into()
        })
    }

    fn check_lease(&self, lease: &Lease) -> Result<(), Refusal> {
        let wallet = self.wallet(&lease.wallet);
        sound(wallet.is_some_and(|wallet| wallet.tier.is_leased()), || {
            format!("{} is no wallet of a tier whose keys are leased", lease.wallet)
        })?;
        self.check_term(self.clock.time, lease.until)?;
        sound(!lease.people.is_empty(), || "name who may ask under the lease".into())?;
        self.check_people(&lease.people)?;
        sound((1..=LEASE_USES_LIMIT).contains(&lease.uses), || {
            format!("a lease is for 1 to {LEASE_USES_LIMIT} transactions")
        })
    }

    /// Whether a wallet of this model may be opened now (DACS MOD-00, MOD-03).
    pub(crate) fn check_reviewed(&self, wallet: &Wallet) -> Result<(), Refusal> {
        if self.clock.rules < 3 {
            return Ok(());
        }
        let found = self.document(Kind::Review, wallet.model.word()).map(|found| &found.document);
        let Some(Document::Review(review)) = found else {
            return Err(Refusal::new(
                Rule::Reviewed,
                "no review of this custody model is in force: adopt one",
            ));
        };
        let due = review.reviewed_at.saturating_add(REVIEW_VALID_S);
        ensure(review.offered && self.clock.time < due, Rule::Reviewed, || {
            let model = wallet.model.word();
            format!("model {model} is not offered, or its review was due at {due}: review it again")
        })
    }

    /// Whether an asset is held here.
    pub fn is_enabled(&self, asset: &str) -> bool {
        match self.document(Kind::Asset, asset).map(|found| &found.document) {
            Some(Document::Asset(found)) => found.enabled,
            Some(_) | None => asset == self.asset,
        }
    }
}

fn check_deny_list(list: &DenyList, decoder: &dyn Decoder) -> Result<(), Refusal> {
    let sorted = list.addresses.is_sorted_by(|a, b| a < b);
    // One that became empty stays, for documents are never taken back.
    sound(sorted && list.addresses.len() <= DENIED_LIMIT, || {
        format!("a deny list has at most {DENIED_LIMIT} addresses, sorted, each once: make more lists")
    })?;
    for address in &list.addresses {
        decoder
            .address_script(address)
            .map_err(|e| Refusal::new(Rule::Document, format!("{address}: {e}")))?;
    }
    Ok(())
}

impl State {
    /// Refuses a destination that somebody holds for the institution whose attestation has ended.
    pub(crate) fn check_third_party(&self, destination: &Destination, time: u64) -> Result<(), Refusal> {
        let Some(id) = &destination.third_party else { return Ok(()) };
        let found = self.document(Kind::ThirdParty, id.as_str()).map(|found| &found.document);
        let holds = matches!(found, Some(Document::ThirdParty(p)) if time < p.until);
        ensure(holds, Rule::ThirdParty, || {
            format!("third party {id} has no attestation that still holds: adopt one")
        })
    }

    /// Refuses a wallet that may not pay this, and a key that is not leased to who asks (ISO/TR 23576 9.3.7).
    ///
    /// # Errors
    /// [`Rule::KeyState`], or [`Rule::Leased`].
    pub fn check_key(&self, request: &Request, by: &Owner, time: u64) -> Result<(), Refusal> {
        // What takes a payment back waits for nothing: it pays the own wallet alone.
        let paying = self.wallet(&request.wallet).filter(|_| !request.is_cancel());
        let Some(wallet) = paying else { return Ok(()) };
        let own = |o: &RequestOutput| self.payee(o).is_some_and(|(kind, _)| kind == DestinationKind::Own);
        let may = match wallet.state {
            None => true,
            Some(WalletState::Compromised) => request.outputs.iter().all(own),
            Some(WalletState::Suspended | WalletState::Retired) => false,
        };
        ensure(may, Rule::KeyState, || {
            let id = &wallet.id;
            format!("wallet {id} is not active: a quorum adopts a version of it that is, or sweeps it")
        })?;
        if !wallet.tier.is_leased() {
            return Ok(());
        }
        let lease = self.lease(&wallet.id).map(|(lease, _)| lease);
        let open = lease.is_some_and(|lease| {
            let its = |person: &Name| *by == Owner::Person(person.clone());
            time <= lease.until && lease.people.iter().any(its)
        });
        ensure(open, Rule::Leased, || {
            format!("no lease of wallet {} is open for {by}: a quorum opens one", wallet.id)
        })
    }

    /// The lease of a wallet and how often it was used.
    pub fn lease(&self, wallet: &Name) -> Option<(&Lease, u32)> {
        match &self.document(Kind::Lease, wallet.as_str())?.document {
            Document::Lease(lease) => Some((lease, self.leases.get(wallet).copied().unwrap_or(0))),
            _ => None,
        }
    }

    /// Refuses another transaction than a lease has left.
    ///
    /// # Errors
    /// [`Rule::Leased`].
    pub fn check_uses(&self, records: &[&RequestRecord], wallet: &Wallet) -> Result<(), Refusal> {
        let free = !wallet.tier.is_leased() || records.iter().all(|record| record.request.is_cancel());
        let left = free || self.lease(&wallet.id).is_some_and(|(l, used)| used < l.uses);
        ensure(left, Rule::Leased, || format!("the lease of wallet {} is used up", wallet.id))
    }

    /// Counts a transaction of a wallet against its lease, and says which version of that it used.
    pub(crate) fn use_lease(&mut self, authorise: &Authorise, wallet: &Name) -> Option<Hash> {
        let mut records = authorise.requests.iter().filter_map(|id| self.requests.get(id));
        let pays = records.any(|record| !record.request.is_cancel());
        let leased = pays && self.wallet(wallet).is_some_and(|wallet| wallet.tier.is_leased());
        let used = self.lease(wallet).filter(|_| leased).map(|(_, used)| used.saturating_add(1))?;
        self.leases.put(&mut self.facts, wallet.clone(), used);
        self.document(Kind::Lease, wallet.as_str()).map(|found| found.hash)
    }

    /// Refuses a share of what another lease was used for than the one in force.
    pub(crate) fn check_leased(&self, allowed: &Authorisation) -> Result<(), Refusal> {
        let now = self.document(Kind::Lease, allowed.wallet.as_str()).map(|found| found.hash);
        ensure(allowed.lease.is_none() || allowed.lease == now, Rule::Leased, || {
            format!("it was authorised under another lease of wallet {}: authorise anew", allowed.wallet)
        })
    }

    /// Whether a document is a deny list that keeps every address of the version in force, if there is one. Such a
    /// version reduces authority: it waits for no delay and has no veto (DACS OPS-13, since rule set 4).
    pub fn denies_no_less(&self, document: &Document) -> bool {
        let Document::DenyList(list) = document else { return false };
        let old = self.document(Kind::DenyList, list.id.as_str()).map(|found| &found.document);
        // An address in another spelling counts as another one: at worst the version waits.
        let keeps = match old {
            Some(Document::DenyList(old)) => old.addresses.iter().all(|one| list.addresses.contains(one)),
            Some(_) | None => true,
        };
        keeps && self.clock.rules >= 4
    }

    /// Refuses scripts that a deny list in force names.
    pub(crate) fn check_denied(
        &self,
        scripts: &BTreeSet<Vec<u8>>,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let lists = self.documents.from((Kind::DenyList, String::new()));
        let lists = lists.take_while(|((kind, _), _)| *kind == Kind::DenyList);
        for (_, found) in lists {
            let Document::DenyList(list) = &found.document else { continue };
            let same = |address: &&String| {
                decoder.address_script(address).is_ok_and(|script| scripts.contains(&script))
            };
            if let Some(address) = list.addresses.iter().find(same) {
                let why = format!("{address} is on deny list {}", list.id);
                return Err(Refusal::new(Rule::Denied, why));
            }
        }
        Ok(())
    }
}
