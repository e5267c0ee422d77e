//! The one list of steps, from which the program, its plain form and the runbook are made (DACS GEN-02).

mod words;

use std::fmt;

use custody::name::Name;
use serde::{Deserialize, Serialize};

use super::{Afterwards, ComponentId, Kind, Role, Script};
use crate::entropy::Source;
use crate::room::FindingKind;

/// On what a component is kept (DACS REC-08).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// A printed sheet: words and QR code.
    Paper,
    /// A file, encrypted to the holder.
    File,
}

impl Medium {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Paper, Self::File];
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::File => "file",
        })
    }
}

/// When the machine is inspected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Moment {
    /// Before there are secrets.
    Before,
    /// Before they are erased: what came up meanwhile.
    End,
}

/// What is done in a step, with what it is done to. The outcome that each one asks for is the variant of
/// [`crate::run::Outcome`] that is named here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A person is there, identified by the others: `Present`.
    Arrive(Name),
    /// Everybody compares the hash of the script with the one on paper: `Compared`.
    CompareScript,
    /// Everybody compares the hash of genesis with the one on paper: `Compared`.
    CompareGenesis,
    /// A device is compared with the register, by its position there, from 0: `Hardware`.
    Hardware(usize),
    /// The machine is inspected: `Room`.
    Inspect(Moment),
    /// The recording runs: `Recording`.
    Record,
    /// A source gives its randomness: `Gathered`. The first secret step of a generation.
    Entropy(Source),
    /// The sources are mixed into the master secret: `Generated`.
    Generate,
    /// A component that exists is taken out of its seal: `Opened`. The first secret step of other kinds.
    Open(ComponentId),
    /// Its holder enters it, unseen: `Entered`.
    Enter(ComponentId),
    /// The components are combined to the master secret: `Combined`.
    Combine,
    /// New components are made, and every valid combination rebuilds the secret: `Verified`.
    VerifyCombinations,
    /// The sheet of a new component is printed: `Printed`. Its holder alone looks.
    PrintSheet(ComponentId),
    /// The file of a new component is written: `Written`. Its holder alone looks.
    WriteFile(ComponentId),
    /// The holder reads a new component back from a medium: `ReadBack`.
    ReadBack(ComponentId, Medium),
    /// The holder seals both media of a new component: `Sealed`.
    Seal(ComponentId),
    /// The account keys are rebuilt from components and sign a challenge: `Restored`.
    RestoreTest,
    /// The accounts are dealt, every set of co-signers is seen to sign, the shares are sealed: `SharesSealed`.
    SealShares,
    /// All secrets in the machine are erased: `Erased`. The last secret step.
    Erase,
    /// Media of a new component of an attempt that ended early are destroyed: `Destroyed`.
    Void(ComponentId),
    /// A component that was brought goes back under a seal: `Sealed`; of one whose destruction may have begun when
    /// the ceremony was given up, also `Destroyed`.
    Return(ComponentId),
    /// A component that was brought is destroyed, as another set takes its place: `Destroyed`.
    Retire(ComponentId),
    /// A co-signer's sealed shares are handed over: `HandedOver`.
    HandOver(Name),
    /// The report is closed: `Closed`, with its hash, which everybody writes down.
    CloseReport,
    /// A person signs the report: `Signed`; of an aborted ceremony also `Absent`.
    Sign(Name),
}

impl Action {
    /// Whether secrets are, or may be, in the machine or in somebody's hands.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Inspect(moment) => *moment == Moment::End,
            Self::Entropy(_)
            | Self::Generate
            | Self::Open(_)
            | Self::Enter(_)
            | Self::Combine
            | Self::VerifyCombinations
            | Self::PrintSheet(_)
            | Self::WriteFile(_)
            | Self::ReadBack(..)
            | Self::Seal(_)
            | Self::RestoreTest
            | Self::SealShares
            | Self::Erase => true,
            Self::Arrive(_)
            | Self::CompareScript
            | Self::CompareGenesis
            | Self::Hardware(_)
            | Self::Record
            | Self::Void(_)
            | Self::Return(_)
            | Self::Retire(_)
            | Self::HandOver(_)
            | Self::CloseReport
            | Self::Sign(_) => false,
        }
    }

    /// Whether words of a component are, or may be, on the screen or on paper in view (DACS GEN-07).
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Enter(_) | Self::PrintSheet(_) | Self::WriteFile(_) | Self::ReadBack(..))
    }

    /// The name of the step, such as `read-back-paper-1.2`.
    pub fn id(&self) -> String {
        match self {
            Self::Arrive(person) => format!("arrive-{person}"),
            Self::CompareScript => "compare-script".into(),
            Self::CompareGenesis => "compare-genesis".into(),
            Self::Hardware(number) => format!("hardware-{}", number.saturating_add(1)),
            Self::Inspect(Moment::Before) => "inspect".into(),
            Self::Inspect(Moment::End) => "inspect-again".into(),
            Self::Record => "record".into(),
            Self::Entropy(source) => format!("entropy-{source}"),
            Self::Generate => "generate".into(),
            Self::Open(id) => format!("open-{id}"),
            Self::Enter(id) => format!("enter-{id}"),
            Self::Combine => "combine".into(),
            Self::VerifyCombinations => "verify-combinations".into(),
            Self::PrintSheet(id) => format!("print-{id}"),
            Self::WriteFile(id) => format!("write-{id}"),
            Self::ReadBack(id, medium) => format!("read-back-{medium}-{id}"),
            Self::Seal(id) => format!("seal-{id}"),
            Self::RestoreTest => "restore-test".into(),
            Self::SealShares => "seal-shares".into(),
            Self::Erase => "erase".into(),
            Self::Void(id) => format!("void-{id}"),
            Self::Return(id) => format!("return-{id}"),
            Self::Retire(id) => format!("retire-{id}"),
            Self::HandOver(cosigner) => format!("hand-over-{cosigner}"),
            Self::CloseReport => "close-report".into(),
            Self::Sign(person) => format!("sign-{person}"),
        }
    }
}

/// A step. The steps of one script have different ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Names it in reports and in the plain form.
    pub id: String,
    /// In which role somebody acts.
    pub role: Role,
    /// Who acts.
    pub people: Vec<Name>,
    /// What is done.
    pub action: Action,
    /// What to do, for people to read: whole sentences.
    pub says: String,
    /// What the report keeps of it.
    pub records: Vec<&'static str>,
    /// The findings that may come up here and that the script admits deviations for.
    pub may_deviate: Vec<FindingKind>,
    /// Whether secrets are in the machine during it.
    pub secret: bool,
    /// Whether only the one who acts may see the screen; it is cleared afterwards.
    pub private: bool,
}

impl Step {
    /// The step of an action, as it is in every script that has the action.
    pub fn of(script: &Script, action: Action) -> Self {
        let (role, people) = who(script, &action);
        let may_deviate = script.deviations.iter().copied().filter(|kind| comes_up(*kind, &action)).collect();
        Self {
            id: action.id(),
            role,
            people,
            says: words::says(script, &action),
            records: words::records(&action),
            may_deviate,
            secret: action.is_secret(),
            private: action.is_private(),
            action,
        }
    }
}

/// In which role who acts.
fn who(script: &Script, action: &Action) -> (Role, Vec<Name>) {
    let all = || script.people.iter().map(|person| person.id.clone()).collect();
    let of_role = |role| (role, script.in_role(role).map(|person| person.id.clone()).collect());
    let new = |id: &ComponentId| script.components.as_ref()?.member(*id);
    let old = |id: &ComponentId| script.held.as_ref()?.components.member(*id);
    let holder = |member: Option<&super::Member>| {
        (Role::KeyCustodian, member.map(|member| member.holder.clone()).into_iter().collect())
    };
    match action {
        Action::Arrive(person) | Action::Sign(person) => {
            let role = script.person(person).and_then(|person| person.roles.first().copied());
            (role.unwrap_or(Role::Witness), vec![person.clone()])
        }
        Action::CompareScript | Action::CompareGenesis | Action::CloseReport => {
            (Role::SecurityOfficer, all())
        }
        Action::Hardware(_) | Action::Void(_) => of_role(Role::SecurityOfficer),
        Action::Record => of_role(Role::Witness),
        Action::PrintSheet(id) | Action::WriteFile(id) | Action::ReadBack(id, _) | Action::Seal(id) => {
            holder(new(id))
        }
        Action::Open(id) | Action::Enter(id) | Action::Return(id) | Action::Retire(id) => holder(old(id)),
        Action::Inspect(_)
        | Action::Entropy(_)
        | Action::Generate
        | Action::Combine
        | Action::VerifyCombinations
        | Action::RestoreTest
        | Action::SealShares
        | Action::Erase
        | Action::HandOver(_) => of_role(Role::Operator),
    }
}

/// Whether a finding of a kind may come up in a step.
fn comes_up(kind: FindingKind, action: &Action) -> bool {
    match kind {
        FindingKind::Hardware => matches!(action, Action::Hardware(_)),
        FindingKind::Seal => matches!(action, Action::Open(_) | Action::Record),
        FindingKind::Clock => true,
        _ => action.is_secret() || matches!(action, Action::Inspect(_)),
    }
}

/// The steps of a script, in order.
pub fn steps(script: &Script) -> Vec<Step> {
    actions(script).into_iter().map(|action| Step::of(script, action)).collect()
}

/// What is done, in order, if nothing goes wrong.
pub(crate) fn actions(script: &Script) -> Vec<Action> {
    let everybody = || script.people.iter().map(|person| person.id.clone());
    let mut list: Vec<Action> = everybody().map(Action::Arrive).collect();
    list.extend([Action::CompareScript, Action::CompareGenesis]);
    list.extend((0..script.hardware.len()).map(Action::Hardware));
    list.extend(script.recording.as_ref().map(|_| Action::Record));
    list.push(Action::Inspect(Moment::Before));
    let brought = || script.held.iter().flat_map(|held| held.brought.iter().map(|brought| brought.component));
    if script.kind.generates() {
        list.extend(script.sources().map(Action::Entropy));
        list.push(Action::Generate);
    } else {
        list.extend(brought().flat_map(|id| [Action::Open(id), Action::Enter(id)]));
        list.push(Action::Combine);
    }
    if let (true, Some(components)) = (script.kind.makes_components(), &script.components) {
        list.push(Action::VerifyCombinations);
        // Each holder has a turn, and goes away with one component under seal.
        list.extend(components.members().flat_map(|(id, _)| {
            [
                Action::PrintSheet(id),
                Action::ReadBack(id, Medium::Paper),
                Action::WriteFile(id),
                Action::ReadBack(id, Medium::File),
                Action::Seal(id),
            ]
        }));
    }
    list.push(Action::RestoreTest);
    let cosigners = script.cosigners.iter().flat_map(|cosigners| &cosigners.holders);
    if script.kind.makes_shares() {
        list.push(Action::SealShares);
    }
    list.extend([Action::Inspect(Moment::End), Action::Erase]);
    if script.kind.makes_shares() {
        list.extend(cosigners.cloned().map(Action::HandOver));
    }
    match script.held.as_ref().map(|held| held.afterwards) {
        Some(Afterwards::Returned) => list.extend(brought().map(Action::Return)),
        // The new set is under seal by now: it alone is left from here on.
        Some(Afterwards::Destroyed) => list.extend(brought().map(Action::Retire)),
        None => {}
    }
    list.push(Action::CloseReport);
    list.extend(everybody().map(Action::Sign));
    list
}

impl Script {
    /// The sources of randomness that take part, in order.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let asked = [
            (self.kind == Kind::Generation, Source::OperatingSystem),
            (self.entropy.dice > 0, Source::Dice),
            (self.entropy.coins > 0, Source::Coins),
            (self.entropy.hsm, Source::Hsm),
        ];
        asked.into_iter().filter(|(asked, _)| *asked).map(|(_, source)| source)
    }
}
