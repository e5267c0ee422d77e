//! What the steps say, and what the report keeps of each.

use super::{Action, Medium, Moment};
use crate::entropy::{SYSTEM_BYTES, Source};
use crate::script::{ComponentId, Person, Script};
use custody::name::Name;

/// What to do in a step, in whole sentences.
pub(super) fn says(script: &Script, action: &Action) -> String {
    let person = |id: &Name| script.person(id).map_or_else(|| id.to_string(), called);
    let holder = |id: &ComponentId| {
        let member = script.components.as_ref().and_then(|set| set.member(*id));
        member.map_or_else(|| "its holder".into(), |member| person(&member.holder))
    };
    let keeper = |id: &ComponentId| {
        let member = script.held.as_ref().and_then(|held| held.components.member(*id));
        member.map_or_else(|| "its holder".into(), |member| person(&member.holder))
    };
    match action {
        Action::Arrive(id) => format!(
            "{} is here, and the others have checked an identity document. Telephones and other devices that \
             the script does not list stay outside.",
            person(id)
        ),
        Action::CompareScript => {
            "One reads the hash of the script from the screen, everybody compares it with the one on paper. \
             Enter the hash from paper."
                .into()
        }
        Action::CompareGenesis => {
            "One reads the hash of genesis from the screen, everybody compares it with the one on paper. Enter \
             the hash from paper."
                .into()
        }
        Action::Hardware(number) => {
            let device = script.hardware.get(*number).map_or("device", |device| device.what.as_str());
            format!(
                "Take the {device} out of its seal before everybody's eyes. Enter the serial number as it stands \
                 on the device and the number of the seal; the seal is unbroken."
            )
        }
        Action::Inspect(Moment::Before) => {
            "The program looks at the machine: links, radios, swap, dumps, media, clock. Whatever it finds is \
             mended and looked for again, or a deviation is signed where the script admits one."
                .into()
        }
        Action::Inspect(Moment::End) => {
            "The program looks at the machine once more: nothing may have come up while there were secrets in it."
                .into()
        }
        Action::Record => {
            "The recording runs and sees the room but no screen, no keyboard and no paper. Enter the number of \
             the seal that will go around its medium."
                .into()
        }
        Action::Entropy(source) => entropy(script, *source),
        Action::Generate => {
            "The program mixes what was gathered into the master secret. Nobody sees it, now or later.".into()
        }
        Action::Open(id) => format!(
            "{} takes component {id} out of its container before everybody's eyes. Enter the number of the seal; \
             the seal is unbroken.",
            keeper(id)
        ),
        Action::Enter(id) => format!(
            "{} alone before screen and keyboard: enter component {id} from its sheet or its file.",
            keeper(id)
        ),
        Action::Combine => {
            "The program rebuilds the master secret from the components and compares the public keys of accounts \
             that are known."
                .into()
        }
        Action::VerifyCombinations => {
            "The program makes the components, rebuilds the master secret from every valid combination of them \
             and compares public keys."
                .into()
        }
        Action::PrintSheet(id) => format!(
            "{} alone before the printer: the sheet of component {id} is printed. Look whether it is legible and \
             whole; otherwise destroy it and print again.",
            holder(id)
        ),
        Action::WriteFile(id) => format!(
            "{} alone: attach the medium. The file of component {id} is encrypted to its holder and written.",
            holder(id)
        ),
        Action::ReadBack(id, Medium::Paper) => format!(
            "{} alone before the screen: read component {id} back from the sheet, by typing, by scanner or from \
             an image.",
            holder(id)
        ),
        Action::ReadBack(id, Medium::File) => {
            format!("{} alone: decrypt the file of component {id} and read it back from there.", holder(id))
        }
        Action::Seal(id) => format!(
            "{} puts the sheet and the medium of component {id} under seal, before everybody's eyes, words \
             covered. Enter the number of the seal.",
            holder(id)
        ),
        Action::RestoreTest => {
            "The program rebuilds the account keys from components as they were read, and signs a challenge with \
             each."
                .into()
        }
        Action::SealShares => {
            "The program deals the accounts to the co-signers, lets every set of them sign, and seals each share \
             to its co-signer."
                .into()
        }
        Action::Erase => "The program erases all secrets and ends the process that had them.".into(),
        Action::Void(id) => format!(
            "This attempt is void. Sheet and file of component {id}, as far as they were made, are destroyed \
             before everybody's eyes."
        ),
        Action::Return(id) => format!(
            "{} puts component {id} under a new seal. Enter the number of the seal; the component goes back to \
             its site.",
            keeper(id)
        ),
        Action::Retire(id) => format!(
            "{} destroys component {id}, sheet and file, before everybody's eyes: the new set takes its place.",
            keeper(id)
        ),
        Action::HandOver(cosigner) => format!(
            "The sealed shares of co-signer {cosigner} are handed over as a file or by QR codes. Enter the hash on \
             the receipt and who took them."
        ),
        Action::CloseReport => {
            "The report is closed. One reads its hash from the screen, everybody writes it down. Enter the hash."
                .into()
        }
        Action::Sign(id) => format!(
            "{} reads the report and signs it with the key of the script; who holds a key of genesis signs the \
             record too.",
            person(id)
        ),
    }
}

fn called(person: &Person) -> String {
    format!("{} ({})", person.name, person.id)
}

fn entropy(script: &Script, source: Source) -> String {
    match source {
        Source::OperatingSystem => {
            format!("The program takes {SYSTEM_BYTES} bytes from the generator of the operating system.")
        }
        Source::Dice => format!(
            "Two people take turns at throwing a die, at least {} times, and enter each result. Nobody else sees \
             the results; nobody writes them down.",
            script.entropy.dice
        ),
        Source::Coins => format!(
            "Two people take turns at flipping a coin, at least {} times, and enter each result. Nobody else sees \
             the results; nobody writes them down.",
            script.entropy.coins
        ),
        Source::Hsm => "The program takes randomness from the hardware security module.".into(),
    }
}

/// What the report keeps of a step, besides its time.
pub(super) fn records(action: &Action) -> Vec<&'static str> {
    match action {
        Action::Arrive(_) => vec!["person", "roles"],
        Action::CompareScript => vec!["hash of the script"],
        Action::CompareGenesis => vec!["hash of genesis"],
        Action::Hardware(_) => vec!["serial number", "seal"],
        Action::Inspect(_) => vec!["software", "hardware", "findings"],
        Action::Record => vec!["seal of the recording"],
        Action::Entropy(_) => vec!["source", "number of symbols", "minimum entropy"],
        Action::Generate => vec!["nonce", "statement of entropy"],
        Action::Open(_) => vec!["seal, unbroken"],
        Action::Enter(_) => vec!["how", "public health key"],
        Action::Combine => vec!["nonce", "public keys of known accounts"],
        Action::VerifyCombinations => {
            vec!["number of combinations", "public health keys", "public keys of accounts"]
        }
        Action::PrintSheet(_) => vec!["that it was printed"],
        Action::WriteFile(_) => vec!["hash of the encrypted file"],
        Action::ReadBack(..) => vec!["how", "public health key"],
        Action::Seal(_) | Action::Return(_) => vec!["seal"],
        Action::RestoreTest => vec!["public keys of accounts", "their signatures"],
        Action::SealShares => vec!["number of sets of co-signers that signed", "id of the ceremony"],
        Action::Erase => vec!["how secrets were kept and wiped"],
        Action::Void(_) | Action::Retire(_) => vec!["that it was destroyed"],
        Action::HandOver(_) => vec!["hash on the receipt", "who took it"],
        Action::CloseReport => vec!["hash of the report, beside the report"],
        Action::Sign(_) => vec!["signature, beside the report"],
    }
}
