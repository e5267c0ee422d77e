//! What a script must be before anybody acts by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use custody::document::CosignerCard;
use custody::genesis::Genesis;
use custody::name::Name;
use custody::{Hash, SLOTS_LIMIT};

use super::{Afterwards, ComponentId, Components, Held, Person, Role, Script};
use crate::entropy::{SYMBOLS_LIMIT, Source};
use crate::record::{self, PARTICIPANTS_MIN};
use crate::room::FindingKind;
use crate::sheet;

/// Longest text of a script in bytes: a line of a report.
pub const TEXT_LIMIT_BYTES: usize = 200;

/// Most people of a ceremony: more do not fit into a room where each sees what is done.
pub const PEOPLE_LIMIT: usize = 32;

/// Most devices in the register.
pub const HARDWARE_LIMIT: usize = 32;

/// Fewest people who sign a deviation: one alone could deviate unseen.
pub const QUORUM_MIN: u32 = 2;

/// BIP-32 indices of hardened keys begin here, so account numbers and address indices are below.
const INDEX_LIMIT: u32 = 1 << 31;

/// The requirement that a script breaks, by its id in the CMTA Digital Assets Custody Standard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Control {
    /// Not a script of this version, or one that says nothing sensible.
    Form,
    /// Of another deployment than genesis.
    Genesis,
    /// Entropy.
    Gen01,
    /// Keys of people whom the deployment knows.
    Gen03,
    /// No link.
    Gen06,
    /// People and roles.
    Gen09,
    /// Witness and recording.
    Gen13,
    /// Recovery components exist, and enough of them come.
    Rec00,
    /// What is rebuilt is compared with what is known.
    Rec01,
    /// Sites.
    Rec03,
    /// Nobody recovers alone.
    Rec04,
    /// Thresholds.
    Rec06,
    /// One component for each holder and secret.
    Rec07,
    /// Two types of media.
    Rec08,
}

impl Control {
    /// The id.
    pub fn id(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Genesis => "genesis",
            Self::Gen01 => "GEN-01",
            Self::Gen03 => "GEN-03",
            Self::Gen06 => "GEN-06",
            Self::Gen09 => "GEN-09",
            Self::Gen13 => "GEN-13",
            Self::Rec00 => "REC-00",
            Self::Rec01 => "REC-01",
            Self::Rec03 => "REC-03",
            Self::Rec04 => "REC-04",
            Self::Rec06 => "REC-06",
            Self::Rec07 => "REC-07",
            Self::Rec08 => "REC-08",
        }
    }
}

/// Why a script is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("script: {}: {why}", .control.id())]
pub struct Breach {
    /// What it breaks.
    pub control: Control,
    /// How, and what would be right.
    pub why: String,
}

impl Breach {
    /// A script that cannot be read.
    pub(crate) fn form(why: &impl fmt::Display) -> Self {
        Self { control: Control::Form, why: why.to_string() }
    }
}

/// A condition and what to say if it does not hold.
pub(super) fn ask(holds: bool, control: Control, why: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds { Ok(()) } else { Err(Breach { control, why: why() }) }
}

/// Whether a text says something, on one line, and is not too long.
pub(crate) fn is_text(text: &str) -> bool {
    !text.trim().is_empty() && is_line(text)
}

/// Whether a text is one line, or empty.
pub(crate) fn is_line(text: &str) -> bool {
    text.len() <= TEXT_LIMIT_BYTES && !text.chars().any(|c| c.is_control() || misleads(c))
}

/// Characters that have no width, or that turn the order of others: a text with them is not what is seen.
pub(crate) fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// Whether a finding is of a way out of the machine. No deviation admits one where coins have a value, and
/// one that comes up while there are secrets ends a ceremony in any case (DACS GEN-06).
pub(crate) fn is_link(kind: FindingKind) -> bool {
    matches!(
        kind,
        FindingKind::NetworkLink | FindingKind::Route | FindingKind::Radio | FindingKind::Bluetooth
    )
}

fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

impl Script {
    /// Checks all that can be known before the day.
    ///
    /// # Errors
    /// The first requirement that is broken.
    pub fn check(&self, genesis: &Genesis) -> Result<(), Breach> {
        self.check_alone()?;
        self.check_against(genesis)
    }

    /// Checks what can be known without genesis.
    ///
    /// # Errors
    /// The first requirement that is broken.
    pub fn check_alone(&self) -> Result<(), Breach> {
        self.check_texts()?;
        self.check_shape()?;
        self.check_people()?;
        self.check_entropy()?;
        if let Some(components) = &self.components {
            self.check_components(components)?;
        }
        if let Some(held) = &self.held {
            self.check_held(held)?;
        }
        self.check_deviations()
    }

    fn check_texts(&self) -> Result<(), Breach> {
        let people = self.people.iter().flat_map(|p| [&p.name, &p.organisation]);
        let texts = [&self.title, &self.place].into_iter().chain(people);
        let texts = texts.chain(self.sites.iter().map(|site| &site.address));
        let texts = texts.chain(self.hardware.iter().map(|device| &device.what));
        let texts = texts.chain(self.recording.iter().flat_map(|r| [&r.how, &r.seal]));
        for text in texts {
            ask(is_text(text), Control::Form, || {
                format!(
                    "{text:?}: title, place, names, organisations, addresses, devices and the recording are texts of one line"
                )
            })?;
        }
        // What the register lacks is a deviation; what it says is one line.
        let register = self.hardware.iter().flat_map(|device| {
            [&device.maker, &device.model, &device.serial, &device.seal, &device.purchased]
                .into_iter()
                .chain([&device.never_online, &device.radios])
        });
        for text in register {
            ask(is_line(text), Control::Form, || format!("{text:?}: the register holds texts of one line"))?;
        }
        ask((1..=HARDWARE_LIMIT).contains(&self.hardware.len()), Control::Form, || {
            format!("list the 1 to {HARDWARE_LIMIT} devices in the room")
        })
    }

    fn check_shape(&self) -> Result<(), Breach> {
        let form = |holds: bool, why: &str| ask(holds, Control::Form, || why.to_owned());
        let accounts = usize::try_from(self.accounts.count).unwrap_or(usize::MAX);
        ask((1..=SLOTS_LIMIT).contains(&accounts), Control::Form, || {
            format!("{accounts} accounts: choose 1 to {SLOTS_LIMIT}")
        })?;
        let last = self.accounts.first.checked_add(self.accounts.count);
        form(last.is_some_and(|last| last <= INDEX_LIMIT), "account numbers are below 2^31")?;
        form(self.highest_index < INDEX_LIMIT, "address indices are below 2^31")?;
        let kind = self.kind;
        form(
            self.components.is_some() == kind.makes_components(),
            "components to be made stand in scripts of the kinds generation and components, and only there",
        )?;
        ask(self.held.is_some() != kind.generates(), Control::Rec00, || {
            "components that exist stand in every script but one of the kind generation".into()
        })?;
        form(
            self.cosigners.is_some() == kind.makes_shares(),
            "co-signers stand in scripts of the kinds generation and recovery, and only there",
        )?;
        if let Some(cosigners) = &self.cosigners {
            let holders = u32::try_from(cosigners.holders.len()).unwrap_or(u32::MAX);
            ask((2..=holders).contains(&cosigners.threshold), Control::Rec06, || {
                format!(
                    "{} of {holders} co-signers sign: the threshold is 2 or more, up to all",
                    cosigners.threshold
                )
            })?;
            form(distinct(&cosigners.holders), "a co-signer stands in the script twice")?;
        }
        form(distinct(self.sites.iter().map(|site| &site.name)), "two sites have the same name")
    }

    fn check_people(&self) -> Result<(), Breach> {
        let people = |holds: bool, why: &dyn Fn() -> String| ask(holds, Control::Gen09, why);
        people((1..=PEOPLE_LIMIT).contains(&self.people.len()), &|| {
            format!("name 1 to {PEOPLE_LIMIT} people")
        })?;
        people(distinct(self.people.iter().map(|person| &person.id)), &|| "somebody stands twice".into())?;
        people(distinct(self.people.iter().map(|person| person.key)), &|| {
            "two people have the same key: each signs with a key of their own".into()
        })?;
        for Person { id, roles, .. } in &self.people {
            people(!roles.is_empty() && roles.is_sorted_by(|a, b| a < b), &|| {
                format!(
                    "{id} needs a role; each stands once, in the order operator, key custodian, witness, security officer"
                )
            })?;
            ask(!roles.contains(&Role::Witness) || roles.len() == 1, Control::Gen13, || {
                format!("{id} is a witness, and so nothing else")
            })?;
            ask(
                !(roles.contains(&Role::Operator) && roles.contains(&Role::KeyCustodian)),
                Control::Rec04,
                || format!("{id} works the machine, and so holds no component"),
            )?;
        }
        for (role, control, what) in [
            (Role::Operator, Control::Gen09, "an operator"),
            (Role::SecurityOfficer, Control::Gen09, "a security officer"),
            (Role::Witness, Control::Gen13, "a witness"),
        ] {
            ask(self.in_role(role).next().is_some(), control, || format!("{what} takes part"))?;
        }
        Ok(())
    }

    fn check_entropy(&self) -> Result<(), Breach> {
        let none = self.entropy == super::Sources::default();
        ask(self.kind.generates() || none, Control::Form, || {
            "sources of entropy stand in scripts of the kind generation only".into()
        })?;
        for (source, asked) in [(Source::Dice, self.entropy.dice), (Source::Coins, self.entropy.coins)] {
            // Each source is good enough alone, also where chance or a worn die makes one symbol more common.
            let least = u32::try_from(source.advised()).unwrap_or(u32::MAX);
            let most = u32::try_from(SYMBOLS_LIMIT).unwrap_or(u32::MAX);
            ask(asked == 0 || (least..=most).contains(&asked), Control::Gen01, || {
                format!("{asked} symbols of {source}: ask for none, or for {least} to {most}")
            })?;
        }
        Ok(())
    }

    /// The rules of a set: REC-06, REC-04, REC-07, REC-03.
    fn check_set(&self, set: &Components) -> Result<(), Breach> {
        let scheme = set.scheme();
        scheme.check().map_err(|error| Breach { control: Control::Rec06, why: error.to_string() })?;
        let meets = |ids: &[ComponentId]| {
            scheme.met_by(&ids.iter().map(|id| (id.group, id.member)).collect::<Vec<_>>())
        };
        let mut of_holder: BTreeMap<&Name, Vec<ComponentId>> = BTreeMap::new();
        let mut of_site: BTreeMap<&Name, Vec<ComponentId>> = BTreeMap::new();
        for (id, member) in set.members() {
            of_holder.entry(&member.holder).or_default().push(id);
            of_site.entry(&member.site).or_default().push(id);
        }
        for (holder, ids) in &of_holder {
            ask(!meets(ids), Control::Rec04, || {
                format!("{holder} alone could recover: spread the components")
            })?;
        }
        for (holder, ids) in &of_holder {
            ask(ids.len() == 1, Control::Rec07, || {
                format!("{holder} has {} components of one secret: one each", ids.len())
            })?;
        }
        for (site, ids) in &of_site {
            let known = self.sites.iter().find(|known| known.name == **site);
            let known = known.ok_or_else(|| Breach {
                control: Control::Rec03,
                why: format!("{site} is no site of the script: describe it there"),
            })?;
            ask(!meets(ids), Control::Rec03, || {
                let what = if known.operations { "operations site" } else { "site" };
                format!("the components at the {what} {site} could recover: spread them")
            })?;
        }
        let least = set.fewest();
        ask(of_site.len() >= least, Control::Rec03, || {
            format!("{} sites, but {least} components recover: use as many sites", of_site.len())
        })?;
        for (id, member) in set.members() {
            ask(is_text(&member.container), Control::Rec03, || format!("say in what component {id} lies"))?;
        }
        Ok(())
    }

    fn check_components(&self, set: &Components) -> Result<(), Breach> {
        self.check_set(set)?;
        let seals: Vec<&String> =
            set.members().map(|(_, m)| &m.seal).filter(|seal| !seal.is_empty()).collect();
        ask(seals.iter().all(|seal| is_text(seal)) && distinct(&seals), Control::Rec03, || {
            "each component gets a seal of its own".into()
        })?;
        let mut recipients = BTreeSet::new();
        for (id, member) in set.members() {
            let holder = self.check_holder(id, &member.holder)?;
            let recipient = holder.age.as_deref().filter(|text| text.starts_with("age1") && is_text(text));
            ask(recipient.is_some_and(|text| recipients.insert(text)), Control::Rec08, || {
                format!(
                    "{} needs an age recipient of their own (age1…): the second medium is encrypted to it",
                    holder.id
                )
            })?;
        }
        sheet::check_script(self).map_err(|error| Breach { control: Control::Rec08, why: error.to_string() })
    }

    /// Whoever has a component in the room is there as its custodian.
    fn check_holder(&self, id: ComponentId, holder: &Name) -> Result<&Person, Breach> {
        let person = self.person(holder).filter(|person| person.roles.contains(&Role::KeyCustodian));
        person.ok_or_else(|| Breach {
            control: Control::Rec04,
            why: format!("component {id} is {holder}'s, who takes part as no key custodian"),
        })
    }

    fn check_held(&self, held: &Held) -> Result<(), Breach> {
        let set = &held.components;
        self.check_set(set)?;
        let rec00 = |holds: bool, why: &str| ask(holds, Control::Rec00, || why.to_owned());
        let seals = || set.members().map(|(_, member)| &member.seal);
        ask(seals().all(|seal| is_text(seal)) && distinct(seals()), Control::Rec03, || {
            "each component that exists lies under a seal of its own: name it, as its report does".into()
        })?;
        for brought in &held.brought {
            let id = brought.component;
            let member = set.member(id).ok_or_else(|| Breach {
                control: Control::Rec00,
                why: format!("component {id} is brought, but there is none"),
            })?;
            self.check_holder(id, &member.holder)?;
        }
        for (id, member) in set.members() {
            let roles = self.person(&member.holder).map_or(&[][..], |person| &person.roles);
            let apart = !roles.iter().any(|role| matches!(role, Role::Operator | Role::Witness));
            ask(apart, Control::Rec04, || {
                format!("component {id} is {}'s, who is operator or witness here", member.holder)
            })?;
        }
        rec00(distinct(held.brought.iter().map(|b| b.component)), "a component is brought twice")?;
        rec00(distinct(held.brought.iter().map(|b| b.health)), "two components have the same health key")?;
        let meets = |ids: &mut dyn Iterator<Item = ComponentId>| {
            set.scheme().met_by(&ids.map(|id| (id.group, id.member)).collect::<Vec<_>>())
        };
        rec00(
            meets(&mut held.brought.iter().map(|brought| brought.component)),
            "the components that are brought do not rebuild the secret: bring more",
        )?;
        let rec01 = |holds: bool, why: &str| ask(holds, Control::Rec01, || why.to_owned());
        let known: BTreeSet<u32> = held.known.iter().map(|known| known.number).collect();
        rec01(!known.is_empty(), "name an account whose key is known: by it the right secret is told")?;
        rec01(known.len() == held.known.len(), "a known account stands twice")?;
        rec01(known.len() <= SLOTS_LIMIT, "more accounts are known than one ceremony deals: name fewer")?;
        rec01(known.iter().all(|number| *number < INDEX_LIMIT), "numbers of known accounts are below 2^31")?;
        rec01(
            self.kind.makes_shares() || self.account_numbers().all(|number| known.contains(&number)),
            "the public keys of all accounts are known: name them, so that the rebuilt ones are compared",
        )?;
        let stays = |id: &ComponentId| {
            held.afterwards == Afterwards::Returned || held.brought.iter().all(|b| b.component != *id)
        };
        let rest: Vec<ComponentId> = set.members().map(|(id, _)| id).filter(stays).collect();
        if held.afterwards == Afterwards::Destroyed {
            rec00(self.components.is_some(), "components are destroyed only where others take their place")?;
            ask(!meets(&mut rest.iter().copied()), Control::Rec07, || {
                "what is left of the old set could still recover: bring and destroy more of it".into()
            })?;
        }
        let mut new = self.components.iter().flat_map(|set| set.members());
        let both = new.find(|(_, member)| {
            rest.iter().filter_map(|id| set.member(*id)).any(|old| old.holder == member.holder)
        });
        ask(both.is_none(), Control::Rec07, || {
            let holder = both.map_or_else(String::new, |(_, member)| member.holder.to_string());
            format!("{holder} would hold an old and a new component of one secret: one each")
        })
    }

    fn check_deviations(&self) -> Result<(), Breach> {
        ask(self.deviations.is_sorted_by(|a, b| a < b), Control::Form, || {
            "each kind of deviation stands once, in the order of docs/spec/ceremony-script.md".into()
        })?;
        let people = u32::try_from(self.people.len()).unwrap_or(u32::MAX);
        ask((QUORUM_MIN..=people).contains(&self.deviation_quorum), Control::Gen09, || {
            format!(
                "{} people sign a deviation: at least {QUORUM_MIN} and at most all",
                self.deviation_quorum
            )
        })?;
        let link = self.deviations.iter().find(|kind| is_link(**kind));
        let link = link.filter(|_| !self.is_rehearsal());
        ask(link.is_none(), Control::Gen06, || {
            let kind = link.map_or_else(String::new, ToString::to_string);
            format!(
                "no deviation admits {kind} where coins have a value: hold the ceremony without any network"
            )
        })
    }

    fn check_against(&self, genesis: &Genesis) -> Result<(), Breach> {
        let hash = genesis.hash();
        ask(self.genesis == hash, Control::Genesis, || {
            format!("it is of genesis {}, and not of {hash}: use the files of one deployment", self.genesis)
        })?;
        ask(self.network == genesis.network, Control::Genesis, || {
            format!("it is of network {}, but genesis of {}", self.network, genesis.network)
        })?;
        if self.kind.makes_shares() {
            let holders = record::holders(genesis).map(|card| &card.name);
            let fits = self.cosigners.as_ref().is_some_and(|cosigners| {
                cosigners.threshold == genesis.threshold && cosigners.holders.iter().eq(holders)
            });
            ask(fits, Control::Genesis, || {
                "the co-signers or their threshold are not those of genesis, in its order".into()
            })?;
        }
        let machines = genesis.machines.iter().flat_map(|m| [m.sign, m.tls]);
        let links = genesis.people.iter().flat_map(|person| person.keys.iter().map(|key| key.tls));
        let cards = genesis.cosigners.iter().flat_map(CosignerCard::keys);
        let taken: BTreeSet<Hash> = cards.chain(machines).chain(links).collect();
        let mut known = 0usize;
        for person in &self.people {
            let in_genesis = genesis.people.iter().find(|known| known.id == person.id);
            let owner = genesis.people.iter().find(|p| p.keys.iter().any(|key| key.sign == person.key));
            let own = in_genesis.map(|known| &known.id) == owner.map(|owner| &owner.id);
            ask(own && !taken.contains(&person.key), Control::Gen03, || {
                format!("the key of {} is not the one of genesis, or somebody else's there", person.id)
            })?;
            known = known.saturating_add(usize::from(in_genesis.is_some()));
        }
        ask(!self.kind.makes_shares() || known >= PARTICIPANTS_MIN, Control::Gen03, || {
            format!("{known} people of genesis take part: {PARTICIPANTS_MIN} sign the record")
        })
    }
}
