//! What may come out of a step: each outcome is compared with the script and with what came out before.

use std::collections::{BTreeMap, BTreeSet};

use chain::BitcoinDecoder;
use custody::document::{restore_message, verify};
use custody::effects::{AccountKey, Decoder as _};
use custody::name::Name;
use custody::{Blob, Hash, PublicKey};

use super::{How, Outcome, PersonSignature, Run, RunError, Status};
use crate::entropy::{BITS_MIN, Source, Statement};
use crate::room::{Finding, FindingKind};
use crate::script::steps::{Action, Medium, Step};
use crate::script::{ComponentId, Hardware, Held, Script, check};

/// What came out so far of the attempt that is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    /// Names the ceremony.
    pub(crate) nonce: Option<Hash>,
    /// The id of its record.
    pub(crate) ceremony: Option<Hash>,
    gathered: BTreeMap<Source, u32>,
    /// How many combinations rebuilt the secret.
    pub(crate) combinations: u64,
    /// The health keys of the new components, in order.
    pub(crate) health: Vec<PublicKey>,
    /// The accounts of the script: as they were made, then as rebuilt.
    pub(crate) accounts: Vec<AccountKey>,
    /// Whether they were rebuilt and signed.
    pub(crate) restored: bool,
    /// The encrypted files.
    pub(crate) files: BTreeMap<ComponentId, Hash>,
    /// The media that were read back.
    pub(crate) verified: BTreeSet<(ComponentId, Medium)>,
    /// The seals around new components.
    pub(crate) seals: BTreeMap<ComponentId, String>,
}

/// What came out of a run so far. Only [`Run::judge`] adds to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// What an early end takes back.
    pub(crate) attempt: Attempt,
    /// New components that exist on a medium.
    out: BTreeSet<ComponentId>,
    /// Components that were brought and are out of their seals.
    opened: BTreeSet<ComponentId>,
    retired: BTreeSet<ComponentId>,
    /// The seals of components that were brought.
    seals_held: BTreeMap<ComponentId, String>,
    seals_used: BTreeSet<String>,
    /// Of each person who was asked, the signature or that it is missing.
    signed: BTreeMap<Name, Option<Blob>>,
}

impl Progress {
    pub(super) fn new(script: &Script) -> Self {
        let held = script.held.iter().flat_map(|held| held.components.members());
        let seals_held: BTreeMap<_, _> = held.map(|(id, member)| (id, member.seal.clone())).collect();
        Self { seals_used: seals_held.values().cloned().collect(), seals_held, ..Self::default() }
    }

    /// New components of which a sheet or a file exists, or may exist if `current` was begun.
    pub(super) fn media_out(&self, current: Option<&Action>) -> BTreeSet<ComponentId> {
        let mut out = self.out.clone();
        if let Some(Action::PrintSheet(id) | Action::WriteFile(id)) = current {
            out.insert(*id);
        }
        out
    }

    /// Components that were brought and are out of their seals, or may be if `current` was begun.
    pub(super) fn brought_out(&self, current: Option<&Action>) -> BTreeSet<ComponentId> {
        let mut opened = self.opened.clone();
        if let Some(Action::Open(id)) = current {
            opened.insert(*id);
        }
        opened
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    pub(super) fn forget_attempt(&mut self) {
        self.attempt = Attempt::default();
    }

    pub(super) fn forget_signatures(&mut self) {
        self.signed.clear();
    }

    /// The signatures there are, in the order of the script's people.
    pub(super) fn signatures(&self, script: &Script) -> Vec<PersonSignature> {
        let signed = |person: &Name| self.signed.get(person)?.clone();
        let people = script.people.iter().map(|person| &person.id);
        people.filter_map(|id| Some(PersonSignature { person: id.clone(), signature: signed(id)? })).collect()
    }

    /// Takes a seal that nothing else is under.
    fn take_seal(&mut self, seal: &str) -> Result<(), String> {
        if !check::is_text(seal) {
            return Err("enter the number of the seal".into());
        }
        if !self.seals_used.insert(seal.to_owned()) {
            return Err(format!("seal {seal:?} is used already: take another one"));
        }
        Ok(())
    }
}

/// A condition of a step, and what to say if it does not hold.
fn ask(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

impl Run {
    /// What is known after an outcome of a step, and what was found in it.
    ///
    /// # Errors
    /// An outcome of another kind, or one that is not what has to come out.
    pub(super) fn judge(&self, step: &Step, outcome: &Outcome) -> Result<(Progress, Vec<Finding>), RunError> {
        let mut progress = self.progress().clone();
        let judged = self.judged(&step.action, outcome, &mut progress);
        let judged = judged.ok_or_else(|| RunError::Kind(step.id.clone()))?;
        let findings = judged.map_err(|why| RunError::Wrong { step: step.id.clone(), why })?;
        Ok((progress, findings))
    }

    /// `None` for an outcome that the action does not have.
    fn judged(
        &self,
        action: &Action,
        outcome: &Outcome,
        progress: &mut Progress,
    ) -> Option<Result<Vec<Finding>, String>> {
        let script = self.script();
        let attempt = &mut progress.attempt;
        let typed: &[&String] = match outcome {
            Outcome::Hardware { serial, seal } => &[serial, seal],
            Outcome::Recording { seal } | Outcome::Opened { seal } => &[seal],
            _ => &[],
        };
        if !typed.iter().all(|text| check::is_line(text)) {
            return Some(Err("numbers of devices and seals are texts of one line".into()));
        }
        let judged = match (action, outcome) {
            (Action::Arrive(_), Outcome::Present) => Ok(()),
            (Action::CompareScript, Outcome::Compared { hash }) => {
                compare(hash, &script.hash(), "the script")
            }
            (Action::CompareGenesis, Outcome::Compared { hash }) => compare(hash, &script.genesis, "genesis"),
            (Action::Hardware(number), Outcome::Hardware { serial, seal }) => {
                return Some(Ok(script
                    .hardware
                    .get(*number)
                    .map_or_else(Vec::new, |d| device(d, serial, seal))));
            }
            (Action::Record, Outcome::Recording { seal }) => {
                let planned = script.recording.as_ref().map(|recording| &recording.seal);
                let other = planned.filter(|planned| *planned != seal);
                return Some(Ok(other.into_iter().map(|p| other_seal("recording", seal, p)).collect()));
            }
            (Action::Entropy(asked), Outcome::Gathered { source, symbols, min_entropy_bits }) => {
                attempt.gathered.insert(*source, *symbols);
                gathered(script, *asked, *source, *symbols, *min_entropy_bits)
            }
            (Action::Generate, Outcome::Generated { nonce, entropy }) => {
                attempt.nonce = Some(*nonce);
                stated(&attempt.gathered, entropy)
            }
            (Action::Open(id), Outcome::Opened { seal }) => {
                progress.opened.insert(*id);
                let lies = progress.seals_held.get(id);
                let other = lies.filter(|lies| *lies != seal);
                let what = format!("component {id}");
                return Some(Ok(other.into_iter().map(|lies| other_seal(&what, seal, lies)).collect()));
            }
            (Action::Enter(id), Outcome::Entered { health, .. }) => {
                let brought = script.held.iter().flat_map(|held| &held.brought);
                let made = brought.filter(|brought| brought.component == *id).any(|b| b.health == *health);
                ask(made, || {
                    format!("what was entered is not component {id} as it was made: bring the right one")
                })
            }
            (Action::Combine, Outcome::Combined { nonce, known }) => {
                attempt.nonce = Some(*nonce);
                let as_known = script.held.as_ref().map(|held| known_keys(held).map(|(_, key)| key));
                ask(as_known.is_some_and(|keys| keys.eq(known)), || {
                    "the components rebuild the secret of other accounts: check whose components were brought"
                        .into()
                })
            }
            (Action::VerifyCombinations, Outcome::Verified { combinations, health, accounts }) => {
                attempt.combinations = *combinations;
                attempt.health.clone_from(health);
                attempt.accounts.clone_from(accounts);
                verified(script, attempt)
            }
            (Action::PrintSheet(id), Outcome::Printed) => {
                progress.out.insert(*id);
                Ok(())
            }
            (Action::WriteFile(id), Outcome::Written { sha256 }) => {
                attempt.files.insert(*id, *sha256);
                progress.out.insert(*id);
                Ok(())
            }
            (Action::ReadBack(id, medium), Outcome::ReadBack { how, health }) => {
                attempt.verified.insert((*id, *medium));
                read_back(script, attempt, *id, *medium, *how, health)
            }
            (Action::Seal(id), Outcome::Sealed { seal }) => {
                attempt.seals.insert(*id, seal.clone());
                progress.take_seal(seal)
            }
            (Action::RestoreTest, Outcome::Restored { accounts, signatures }) => {
                restored(script, attempt, accounts, signatures)
            }
            (Action::SealShares, Outcome::SharesSealed { sets, ceremony }) => {
                attempt.ceremony = Some(*ceremony);
                let expected = script.signing_sets();
                ask(*sets == expected, || {
                    format!(
                        "{sets} sets of co-signers signed, but there are {expected}: hold the ceremony anew"
                    )
                })
            }
            (Action::Erase, Outcome::Erased { how }) => {
                ask(check::is_text(how), || "say how the secrets were kept and wiped".into())
            }
            (Action::Void(id), Outcome::Destroyed) => {
                progress.out.remove(id);
                Ok(())
            }
            (Action::Return(id), Outcome::Sealed { seal }) => {
                progress.opened.remove(id);
                progress.seals_held.insert(*id, seal.clone());
                progress.take_seal(seal)
            }
            // Of one whose destruction had begun when the ceremony was given up, nothing may be left.
            (Action::Return(id), Outcome::Destroyed) if self.keeps_new() => {
                progress.opened.remove(id);
                progress.retired.insert(*id);
                Ok(())
            }
            (Action::Retire(id), Outcome::Destroyed) => {
                progress.opened.remove(id);
                progress.retired.insert(*id);
                Ok(())
            }
            (Action::HandOver(_), Outcome::HandedOver { to, .. }) => {
                ask(check::is_text(to), || "say who took the shares".into())
            }
            (Action::CloseReport, Outcome::Closed { report }) => match self.report() {
                Ok(closed) => compare(report, &closed.hash(), "the report"),
                Err(error) => Err(error.to_string()),
            },
            (Action::Sign(person), Outcome::Signed { signature }) => {
                progress.signed.insert(person.clone(), Some(signature.clone()));
                self.signs(person, signature)
            }
            (Action::Sign(person), Outcome::Absent) if self.status() == Status::Aborting => {
                progress.signed.insert(person.clone(), None);
                self.enough_sign(progress)
            }
            _ => return None,
        };
        Some(judged.map(|()| Vec::new()))
    }

    fn signs(&self, person: &Name, signature: &Blob) -> Result<(), String> {
        let report = self.report().map_err(|error| error.to_string())?;
        let key = self.script().person(person).map(|person| person.key);
        ask(key.is_some_and(|key| verify(&key, &report.signed_bytes(), &signature.0)), || {
            format!("the signature of {person} does not verify: sign the report with the key of the script")
        })
    }

    /// Whether those who signed an aborted ceremony's report, with those who are still to be asked, can be a
    /// quorum.
    fn enough_sign(&self, progress: &Progress) -> Result<(), String> {
        let script = self.script();
        let absent = |person: &Name| progress.signed.get(person).is_some_and(Option::is_none);
        let rest = script.people.iter().map(|person| &person.id).filter(|person| !absent(person));
        ask(script.is_quorum(rest), || {
            "too few people would sign, or no security officer: the report of an aborted ceremony takes as many \
             as a deviation"
                .into()
        })
    }
}

fn compare(given: &Hash, right: &Hash, what: &str) -> Result<(), String> {
    ask(given == right, || format!("{what} has hash {right}, and not {given}: everybody needs the same one"))
}

/// What is found about a device (DACS GEN-05, GEN-11, GEN-12).
fn device(device: &Hardware, serial: &str, seal: &str) -> Vec<Finding> {
    let fields = [
        ("maker", &device.maker),
        ("model", &device.model),
        ("serial number", &device.serial),
        ("seal", &device.seal),
        ("place of purchase", &device.purchased),
        ("evidence that it was never online", &device.never_online),
        ("how its radios are disabled", &device.radios),
    ];
    let missing = fields.into_iter().filter(|(_, value)| value.trim().is_empty());
    let missing = missing.map(|(name, _)| format!("{}: the register does not say: {name}", device.what));
    let read = [("serial number", &device.serial, serial), ("seal", &device.seal, seal)];
    let differs = read.into_iter().filter(|(_, registered, read)| registered.as_str() != *read);
    let differs = differs.map(|(name, registered, read)| {
        format!("{}: its {name} is {read:?}, but the register says {registered:?}", device.what)
    });
    missing.chain(differs).map(|detail| Finding::new(FindingKind::Hardware, &detail)).collect()
}

fn other_seal(what: &str, seal: &str, expected: &str) -> Finding {
    Finding::new(FindingKind::Seal, &format!("{what}: the seal is {seal:?}, but should be {expected:?}"))
}

fn gathered(script: &Script, asked: Source, source: Source, symbols: u32, bits: u32) -> Result<(), String> {
    ask(source == asked, || format!("{source} was given where {asked} is asked for"))?;
    let least = match source {
        Source::Dice => script.entropy.dice,
        Source::Coins => script.entropy.coins,
        Source::OperatingSystem | Source::Hsm => 1,
    };
    ask(symbols >= least, || format!("{symbols} symbols, but the script asks for {least}: go on"))?;
    ask(bits >= BITS_MIN, || format!("{bits} bits, but each source is worth {BITS_MIN}: go on (DACS GEN-01)"))
}

/// Whether the statement is of exactly what was gathered.
fn stated(gathered: &BTreeMap<Source, u32>, statement: &Statement) -> Result<(), String> {
    statement.check().map_err(|error| error.to_string())?;
    let said = statement.sources.iter().map(|said| (said.source, said.symbols));
    ask(said.eq(gathered.iter().map(|(source, symbols)| (*source, *symbols))), || {
        "the secret was mixed from other sources than were gathered: hold the ceremony anew".into()
    })
}

/// The accounts whose keys are known, by number.
fn known_keys(held: &Held) -> impl Iterator<Item = (u32, &AccountKey)> {
    held.known.iter().map(|known| (known.number, &known.account))
}

/// Whether there is one account for each of the script, and each that is known is as it is known.
fn accounts_fit(script: &Script, accounts: &[AccountKey]) -> Result<(), String> {
    let numbers = script.account_numbers();
    ask(numbers.clone().count() == accounts.len(), || {
        format!("{} accounts, but the script asks for {}", accounts.len(), script.accounts.count)
    })?;
    let distinct: BTreeSet<&AccountKey> = accounts.iter().collect();
    ask(distinct.len() == accounts.len(), || "two accounts are the same: hold the ceremony anew".into())?;
    let known: BTreeMap<u32, &AccountKey> = script.held.iter().flat_map(known_keys).collect();
    let differs = numbers.zip(accounts).find(|(n, account)| known.get(n).is_some_and(|k| k != account));
    match differs {
        None => Ok(()),
        Some((number, _)) => {
            Err(format!("account {number} is another than the one that is known: check the components"))
        }
    }
}

fn verified(script: &Script, attempt: &Attempt) -> Result<(), String> {
    let Some(components) = &script.components else {
        return Err("the script makes no components".into());
    };
    let (tried, all) = (attempt.combinations, components.scheme().count_combinations());
    ask(tried == all, || format!("{tried} combinations were verified, but there are {all} (DACS REC-01)"))?;
    let health: BTreeSet<&PublicKey> = attempt.health.iter().collect();
    let each = health.len() == attempt.health.len() && health.len() == components.members().count();
    ask(each, || "there is not one health key for each component: hold the ceremony anew".into())?;
    let mut old = script.held.iter().flat_map(|held| &held.brought);
    ask(old.all(|brought| !health.contains(&brought.health)), || {
        "a new component is one that was brought: hold the ceremony anew".into()
    })?;
    accounts_fit(script, &attempt.accounts)
}

fn read_back(
    script: &Script,
    attempt: &Attempt,
    id: ComponentId,
    medium: Medium,
    how: How,
    health: &PublicKey,
) -> Result<(), String> {
    ask((medium == Medium::File) == (how == How::File), || {
        format!("read component {id} back from its {medium}, and from nothing else")
    })?;
    let position =
        script.components.iter().flat_map(|set| set.members()).position(|(member, _)| member == id);
    let made = position.and_then(|position| attempt.health.get(position));
    ask(made == Some(health), || {
        format!("what was read back is not component {id}: make its {medium} anew and read that back")
    })
}

fn restored(
    script: &Script,
    attempt: &mut Attempt,
    accounts: &[AccountKey],
    signatures: &[Blob],
) -> Result<(), String> {
    ask(attempt.accounts.is_empty() || attempt.accounts == accounts, || {
        "the components rebuild other accounts than were made: hold the ceremony anew".into()
    })?;
    accounts_fit(script, accounts)?;
    let nonce = attempt.nonce.ok_or("there is no master secret yet")?;
    let decoder = BitcoinDecoder::new(&script.network).map_err(|error| error.to_string())?;
    ask(signatures.len() == accounts.len(), || "each rebuilt key signs once".into())?;
    for ((slot, account), signature) in (0u32..).zip(accounts).zip(signatures) {
        let message = restore_message(&script.genesis, &nonce, slot);
        ask(decoder.schnorr_ok(account, &message, &signature.0), || {
            format!("the rebuilt key of account {slot} of the script does not sign: hold the ceremony anew")
        })?;
    }
    attempt.accounts = accounts.to_vec();
    attempt.restored = true;
    Ok(())
}
