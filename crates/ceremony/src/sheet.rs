//! The paper of a recovery component (DACS REC-08): one page of PostScript with the words of one SLIP-39
//! share, the same words as a QR code, and what a person needs to know who holds or finds it in twenty years.
//!
//! The page is drawn by the printer: [`write()`] streams into a device and keeps no copy of its own. Where
//! things stand is PostScript (`sheet/prologue.ps`); what stands there follows as data, strings escaped.
//! Layout and code are described in `docs/spec/sheet.md`.

use std::io::{self, Write};

use custody::document::Tier;
use custody::name::Name;
use custody::{Hash, PublicKey};
use keys::locked::{LockError, LockedBytes};
use qrcodegen::{DataTooLong, QrCode, QrCodeEcc, QrSegment, Version};
use serde::{Deserialize, Serialize};

use crate::script::{ComponentId, Script};
use crate::secrets::COIN_TYPE;

mod text;

pub use text::date;
use text::{Text, check};

/// Words of a share of a secret of 256 bits (SLIP-39, "Format of the share mnemonic").
pub const WORDS: usize = 33;

/// Letters of a word of the SLIP-39 list.
const LETTERS: std::ops::RangeInclusive<usize> = 4..=8;

/// Longest text of a label in characters: a line of the table takes it without becoming too small to read.
pub const TEXT_LIMIT_CHARS: usize = 90;

/// Version 12 (65 × 65 modules) of ISO/IEC 18004 holds 296 alphanumeric characters at level Q, which are
/// [`WORDS`] words of eight letters, and a quarter of it may be illegible. Always the same size.
const CODE_VERSION: u8 = 12;

/// The longest text of a code: every word of eight letters.
const CODE_LIMIT_BYTES: usize = WORDS * 9 - 1;

/// The paper in the printer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paper {
    /// ISO 216 A4, 210 × 297 mm.
    A4,
    /// US letter, 8.5 × 11 inches.
    Letter,
}

impl Paper {
    /// Width and height in points (1/72 inch).
    pub fn points(self) -> (u16, u16) {
        match self {
            Self::A4 => (595, 842),
            Self::Letter => (612, 792),
        }
    }
}

/// What stands on a component besides its words: on paper, in the electronic file; nothing secret, and
/// nothing of another component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What the ceremony is called that made it.
    pub ceremony: String,
    /// Which component it is.
    pub component: ComponentId,
    /// The SLIP-39 flag that makes the encryption independent of the identifier.
    pub extendable: bool,
    /// The hash of genesis, by which a deployment is known.
    pub genesis: Hash,
    /// How many groups make the key.
    pub group_threshold: u8,
    /// How many groups there are.
    pub groups: u8,
    /// The public half of its health key (Ed25519).
    pub health: PublicKey,
    /// The highest address index allocated so far.
    pub highest_index: u32,
    /// Who keeps it.
    pub holder: Name,
    /// The SLIP-39 identifier, the same in all components of a set.
    pub identifier: u16,
    /// The SLIP-39 iteration exponent.
    pub iteration_exponent: u8,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// How many members make its group.
    pub member_threshold: u8,
    /// How many members its group has.
    pub members: u8,
    /// The CAIP-2 id of the network.
    pub network: String,
    /// Whom its holder acts for.
    pub organisation: String,
    /// The derivation path of account i, such as `m/86'/1'/i'`.
    pub path: String,
    /// Whether coins of the network have no value: it is marked then.
    pub rehearsal: bool,
    /// The tier whose keys it restores.
    pub tier: Tier,
}

/// The parameters of SLIP-39 that a set of components has in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// The identifier.
    pub identifier: u16,
    /// The flag `ext`.
    pub extendable: bool,
    /// The iteration exponent.
    pub iteration_exponent: u8,
}

/// Why there is no sheet, or no whole one.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// A character that the printer's fonts lack.
    #[error(
        "the {0} has the character {1:?}, which the printer cannot write: use those of western Europe (ISO 8859-1)"
    )]
    Character(&'static str, char),
    /// A text of more than [`TEXT_LIMIT_CHARS`].
    #[error("the {0} has {1} characters: at most {TEXT_LIMIT_CHARS} fit")]
    Long(&'static str, usize),
    /// Other than [`WORDS`] words of the list, one space between them.
    #[error("these are not {WORDS} words of a component: begin again with this component")]
    Words,
    /// See [`LockError`].
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The words do not fit the code; the checks before allow none such.
    #[error("the words do not fit the code: begin again with this component")]
    Code(#[from] DataTooLong),
    /// The printer took no more.
    #[error("the printer stopped ({0}): destroy what came out of it, see to the printer, and print again")]
    Printer(#[from] io::Error),
}

impl Label {
    /// The label of a component that a script makes; none if it makes no such component.
    pub fn new(
        script: &Script,
        component: ComponentId,
        parameters: Parameters,
        health: PublicKey,
        made_at: u64,
    ) -> Option<Self> {
        let set = script.components.as_ref()?;
        let group = set.groups.get(usize::from(component.group))?;
        let member = set.member(component)?;
        Some(Self {
            ceremony: script.title.clone(),
            component,
            extendable: parameters.extendable,
            genesis: script.genesis,
            group_threshold: set.group_threshold,
            groups: u8::try_from(set.groups.len()).ok()?,
            health,
            highest_index: script.highest_index,
            holder: member.holder.clone(),
            identifier: parameters.identifier,
            iteration_exponent: parameters.iteration_exponent,
            made_at,
            member_threshold: group.threshold,
            members: u8::try_from(group.members.len()).ok()?,
            network: script.network.clone(),
            organisation: script.person(&member.holder)?.organisation.clone(),
            path: format!("m/86'/{COIN_TYPE}'/i'"),
            rehearsal: script.is_rehearsal(),
            tier: script.tier,
        })
    }

    /// Whether the printer can write it.
    ///
    /// # Errors
    /// [`SheetError::Character`] or [`SheetError::Long`], with the name of the field.
    pub fn check(&self) -> Result<(), SheetError> {
        check("title of the ceremony", &self.ceremony)?;
        check("network", &self.network)?;
        check("organisation of a holder", &self.organisation)?;
        check("derivation path", &self.path)
    }
}

/// Whether the sheets of all components of a script can be printed: known before there is a secret.
///
/// # Errors
/// As [`Label::check`].
pub fn check_script(script: &Script) -> Result<(), SheetError> {
    let none = Parameters { identifier: 0, extendable: true, iteration_exponent: 0 };
    let members = script.components.iter().flat_map(|set| set.members());
    let mut labels = members.filter_map(|(id, _)| Label::new(script, id, none, PublicKey::default(), 0));
    labels.try_for_each(|label| label.check())
}

/// Prints the sheet of one component.
///
/// # Errors
/// See [`SheetError`]. Nothing is written unless label and words can be written; after
/// [`SheetError::Printer`] part of the words may be on paper.
pub fn write(label: &Label, words: &str, paper: Paper, out: &mut dyn Write) -> Result<(), SheetError> {
    label.check()?;
    let sound = |word: &str| LETTERS.contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase());
    if words.split(' ').count() != WORDS || !words.split(' ').all(sound) {
        return Err(SheetError::Words);
    }
    let code = code(words)?;

    let (width, height) = paper.points();
    writeln!(out, "%!PS-Adobe-3.0\n%%Title: (recovery component)\n%%BoundingBox: 0 0 {width} {height}")?;
    writeln!(out, "%%LanguageLevel: 2\n%%Pages: 1\n%%EndComments\n%%BeginProlog")?;
    out.write_all(include_bytes!("sheet/prologue.ps"))?;
    writeln!(out, "%%EndProlog\n%%Page: 1 1\n{width} {height} Paper")?;
    if label.rehearsal {
        writeln!(
            out,
            "{} Rehearsal",
            Text("REHEARSAL \u{b7} keys of a test network \u{b7} guards nothing of value")
        )?;
    }
    head(label, out)?;
    writeln!(out, "Words")?;
    for (number, word) in (1u8..).zip(words.split(' ')) {
        writeln!(out, "({number}) {} Word", Text(word))?;
    }
    modules(&code, out)?;
    table(label, out)?;
    advice(label, out)?;
    let heads = ["Date", "Why it was opened", "Opened by", "Witness", "New seal"];
    for head in heads {
        write!(out, "{} ", Text(head))?;
    }
    writeln!(out, "Log\nshowpage\n%%EOF")?;
    out.flush()?;
    Ok(())
}

/// The words as a QR code: upper case, so that the alphanumeric mode takes 5.5 bits a character, and any
/// reader says the mnemonic.
fn code(words: &str) -> Result<QrCode, SheetError> {
    let mut upper = LockedBytes::zeroed(CODE_LIMIT_BYTES)?;
    upper.truncate(words.len());
    for (to, from) in upper.expose_mut().iter_mut().zip(words.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    let text = std::str::from_utf8(upper.expose()).map_err(|_| SheetError::Words)?;
    let segment = [QrSegment::make_alphanumeric(text)];
    let version = Version::new(CODE_VERSION);
    Ok(QrCode::encode_segments_advanced(&segment, QrCodeEcc::Quartile, version, version, None, false)?)
}

/// The modules row by row, eight to a byte, the first in the highest bit.
fn modules(code: &QrCode, out: &mut dyn Write) -> io::Result<()> {
    let size = code.size();
    writeln!(out, "{size} Code")?;
    for y in 0..size {
        for left in (0..size).step_by(8) {
            // What lies outside the code is light.
            let bit =
                |byte: u8, x: i32| byte.rotate_left(1) | u8::from(code.get_module(left.saturating_add(x), y));
            write!(out, "{:02x}", (0..8).fold(0, bit))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn head(label: &Label, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("SECRET \u{b7} Recovery component {}", label.component);
    let of = format!("{} \u{b7} tier {} \u{b7} held by {}", label.ceremony, label.tier.word(), label.holder);
    writeln!(out, "{} {} Heading", Text(&title), Text(&of))
}

/// What the words are.
fn table(label: &Label, out: &mut dyn Write) -> io::Result<()> {
    let Label { component, group_threshold, groups, member_threshold, members, .. } = label;
    let (group, member) = (component.group.saturating_add(1), component.member.saturating_add(1));
    let place = match groups {
        1 => format!("{member} of {members}; any {member_threshold} of them restore the key"),
        _ => format!(
            "{member} of {members} in group {group} of {groups}; any {member_threshold} of these make the group, \
             {group_threshold} groups the key",
        ),
    };
    let words = format!(
        "SLIP-39, {WORDS} words; identifier {}, {}, iteration exponent {}; empty passphrase",
        label.identifier,
        if label.extendable { "extendable" } else { "not extendable" },
        label.iteration_exponent,
    );
    let keys = format!(
        "account i at {} (BIP-32, BIP-86); highest address index allocated: {}",
        label.path, label.highest_index
    );
    let network = match label.rehearsal {
        true => format!("{} (a test network: rehearsal)", label.network),
        false => label.network.clone(),
    };
    let made = format!("{}, for tier {}", date(label.made_at), label.tier.word());
    let mut field =
        |name: &str, value: &str, kind: &str| writeln!(out, "{} {} {kind}", Text(name), Text(value));
    field("Ceremony", &label.ceremony, "Row")?;
    field("Made on", &made, "Row")?;
    field("Network", &network, "Row")?;
    field("Genesis", &label.genesis.to_string(), "Key")?;
    field("Holder", &format!("{}, for {}", label.holder, label.organisation), "Row")?;
    field("Component", &place, "Row")?;
    field("Health key", &label.health.to_string(), "Key")?;
    field("Words", &words, "Row")?;
    field("Keys", &keys, "Row")
}

/// What to do, and what not.
fn advice(label: &Label, out: &mut dyn Write) -> io::Result<()> {
    let restore = format!(
        "On a computer that has no network and never will again. Any program for SLIP-39 (the open standard \
         \"Shamir's secret-sharing for mnemonic codes\"), such as \"shamir recover\" of the Python package \
         shamir-mnemonic, combines the words of enough components (see above), with an empty passphrase, to a master \
         secret of 32 bytes. It is the seed of BIP-32 as it stands: the key of account i is at {}, Taproot addresses \
         are as BIP-86 says, and indices up to {} may have been used. The QR code says the same words in capitals. \
         Never type the words into a web page, a telephone or anything else on a network.",
        label.path, label.highest_index
    );
    let mut section = |title: &str, text: &str| writeln!(out, "{} Section\n{} Text", Text(title), Text(text));
    section(
        "If you found this",
        "It is one part of a key that an organisation keeps for emergencies. Alone it opens nothing. Do not copy, \
         photograph or send it, show it to nobody, and give it back to the organisation of its holder, named above, or to the police.",
    )?;
    section(
        "If you hold it",
        "Keep it in its sealed container, away from every other component, and write below when the seal is opened. \
         Prove when asked that it is whole: keyward-ceremony signs a challenge with its health key, and nobody sees \
         the words. If it was seen, lost or damaged, say so at once, so that the set is replaced.",
    )?;
    section("If the key must be restored", &restore)
}
