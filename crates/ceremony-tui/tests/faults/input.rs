//! What people give that is wrong: it is said what, and asked for again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::thread;

use ceremony::script::{Afterwards, Kind};
use ceremony_tui::rehearsal::{Asked, Left};
use image::{GrayImage, ImageFormat, Luma};
use qrcodegen::{QrCode, QrCodeEcc};

use crate::common::Room;
use crate::{nothing, program, said};

/// Words of a list that no component begins with by chance: the test replaces right ones by these.
const OTHERS: [&str; 2] = ["academic", "zero"];

fn replaced(words: &str, number: usize, by: &str) -> String {
    let all = (1..).zip(words.split(' ')).map(|(at, word)| if at == number { by } else { word });
    all.collect::<Vec<_>>().join(" ")
}

fn word(words: &str, number: usize) -> &str {
    words.split(' ').nth(number - 1).unwrap()
}

/// A word of the list that is another one than this.
fn other(word: &str) -> &'static str {
    OTHERS.into_iter().find(|other| *other != word).unwrap()
}

/// The QR code of words as an image, with a part of it covered.
fn code(words: &str, damaged: bool) -> Vec<u8> {
    let code = QrCode::encode_text(&words.to_uppercase(), QrCodeEcc::Medium).unwrap();
    let (scale, border) = (6, 24);
    let side = code.size().unsigned_abs() * scale + 2 * border;
    let image = GrayImage::from_fn(side, side, |x, y| {
        let module = |at: u32| i32::try_from(at).unwrap().wrapping_sub(24).div_euclid(6);
        let covered = damaged && x > side / 3 && y > side / 3;
        Luma([if !covered && code.get_module(module(x), module(y)) { 0 } else { 255 }])
    });
    let mut file = Vec::new();
    image.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
    file
}

fn encrypted(room: &Room, left: &str, recipient: &str, content: &[u8]) -> String {
    let recipient: age::x25519::Recipient = recipient.parse().unwrap();
    let all = [&recipient as &dyn age::Recipient];
    let mut file = Vec::new();
    let mut writer =
        age::Encryptor::with_recipients(all.into_iter()).unwrap().wrap_output(&mut file).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap();
    let path = room.path(left);
    fs::write(&path, file).unwrap();
    path.display().to_string()
}

/// One ceremony in which nearly every question gets wrong answers first.
#[test]
fn wrong_answers_are_named_and_lose_nothing() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let carol = script.people.iter().find(|person| person.id.as_str() == "carol").unwrap();
    let recipient = carol.age.clone().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = room.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let mut times = std::collections::BTreeMap::<(String, String), usize>::new();
    let mut steps_of_walter = 0;
    let mut twist = |asked: &Asked<'_>| {
        let count = times.entry((asked.step.to_owned(), asked.id.to_owned())).or_default();
        *count += 1;
        let words = |component: &str| asked.sheets[component].1.clone();
        let answer = match (asked.step, asked.id, *count) {
            ("arrive-walter", "present", 1) => String::new(),
            ("arrive-walter", "present", 2) => "perhaps".into(),
            ("compare-script", "digits-script", 1) => "xxxxxxxx".into(),
            (_, "findings", 1) => "what?".into(),
            (_, "people", 1) => "walter alice".into(),
            (_, "people", 2) => "walter mallory".into(),
            ("inspect", "passphrase-bob", 1) => "the passphrase of alice".into(),
            ("entropy-dice", _, 1) => "1234567".into(),
            ("entropy-dice", _, 2) => "123 456".into(),
            ("print-1.1", "printed", 1) => "it looks well".into(),
            ("read-back-paper-1.1", "how", 1) => "by heart".into(),
            // A wrong word of the list: it is the checksum that tells.
            ("read-back-paper-1.1", "words-1.1", 1) => {
                replaced(&words("1.1"), 7, other(word(&words("1.1"), 7)))
            }
            ("read-back-paper-1.1", "words-1.1", 2) => "99 academic".into(),
            ("read-back-paper-1.1", "words-1.1", 3) => format!("7 {}", word(&words("1.1"), 7)),
            // No word at all; then a component that belongs to somebody else.
            ("read-back-paper-1.2", "words-1.2", 1) => replaced(&words("1.2"), 5, "qqqq"),
            ("read-back-paper-1.2", "words-1.2", 2) => words("1.1"),
            ("read-back-paper-1.2", "words-1.2", 3) => {
                words("1.2").split(' ').map(|word| &word[..4]).collect::<Vec<_>>().join(" ")
            }
            ("read-back-paper-1.3", "how", 1..=4) => "image".into(),
            ("read-back-paper-1.3", "image", 1) => room.path("no-such.png").display().to_string(),
            ("read-back-paper-1.3", "image", 2) => file("damaged.png", &code(&words("1.3"), true)),
            ("read-back-paper-1.3", "image", 3) => file("cut.png", &code(&words("1.3"), false)[..200]),
            ("read-back-paper-1.3", "image", 4) => file("code.png", &code(&words("1.3"), false)),
            ("write-1.1", "path", 1) => "/no/such/medium".into(),
            ("read-back-file-1.1", "file", 1) => {
                let whole = fs::read(asked.file).unwrap();
                file("cut.age", &whole[..whole.len() - 20])
            }
            ("read-back-file-1.1", "file", 2) => {
                let later = br#"{"format":"keyward/component/v2","shape":"round"}"#;
                encrypted(&room, "later.age", &recipient, later)
            }
            ("read-back-file-1.1", "file", 3) => file("other.age", b"not an age file"),
            ("read-back-file-1.1", "identity", 4) => {
                room.path("table/dora/age-identity.txt").display().to_string()
            }
            ("seal-1.2", "seal", 1) => "generation-1".into(),
            ("hand-over-s1", "courier", 1) => String::new(),
            ("close-report", "report", 1) => "no".into(),
            ("sign-walter", "passphrase-walter", 1) => {
                steps_of_walter += 1;
                "wrong".into()
            }
            _ => return None,
        };
        Some(answer)
    };
    let left = table.play(program(), "generation", script, &nothing(), &mut twist).unwrap();
    assert_eq!(left.code, Some(0), "{} {:?}", left.error, left.said);
    for message in [
        "nothing was typed",
        "\"perhaps\" is none of: yes, no",
        "begins with other digits",
        "\"what?\" is neither",
        "a security officer among them",
        "\"mallory\" does not stand in the script",
        "bob: ",
        "number 7 is something else",
        "\"it looks well\" is none of",
        "\"by heart\" is none of",
        "do not fit together",
        "there is no word 99: 33 were typed",
        "word 5 is not in the list",
        "that is component 1.1, and not 1.2",
        "words were completed from their first four letters",
        "no-such.png",
        "no QR code can be read",
        "cannot be decoded",
        "/no/such/medium",
        "cut.age: the file was altered or damaged",
        "later version",
        "not an age file",
        "this identity does not open the file",
        "take another one",
        "walter: ",
    ] {
        assert!(said(&left, message), "{message:?} was not said: {:#?}", left.said);
    }
    // Nothing that was said names a word of a component: numbers do.
    let secret: BTreeSet<&str> = left.sheets["1.2"].1.split(' ').collect();
    let told =
        left.said.iter().filter(|line| line.contains("not in the list") || line.contains("fit together"));
    for line in told {
        assert!(!line.split([' ', ',', ':']).any(|word| word.len() > 6 && secret.contains(word)), "{line}");
    }
    let report = left.report().unwrap().report;
    assert!(report.components.iter().all(|made| made.verified.len() == 2));
}

/// The printer goes away in the middle of a sheet, which is printed again then.
#[test]
fn a_printer_that_fails_prints_again() {
    let room = Room::new();
    let table = room.table();
    let script = table.script(Kind::Generation, None).unwrap();
    let printer = table.printer("generation");
    let (mut failed, mut asked_again) = (0, 0);
    let mut twist = |asked: &Asked<'_>| {
        if asked.step != "print-1.2" {
            return None;
        }
        match asked.id {
            "alone" if failed == 0 => {
                failed += 1;
                let printer = printer.clone();
                thread::spawn(move || fs::File::open(printer).unwrap().read_exact(&mut [0]).unwrap());
                Some("yes".into())
            }
            "alone" => {
                asked_again += 1;
                None
            }
            // If all was in the pipe already the program cannot know, but the holder sees half a sheet.
            "printed" if asked_again == 0 => Some("no".into()),
            _ => None,
        }
    };
    let left = table.play(program(), "generation", script, &nothing(), &mut twist).unwrap();
    assert_eq!(left.code, Some(0), "{}", left.error);
    assert_eq!((failed, asked_again), (1, 1));
    assert!(said(&left, "print again") || said(&left, "not done yet"), "{:?}", left.said);
}

/// Components of two secrets mixed up, one given twice, and then the right ones.
#[test]
fn components_of_another_secret_and_the_same_one_twice_are_refused() {
    let room = Room::new();
    let table = room.table();
    let generate = |name: &str| -> Left {
        let script = table.script(Kind::Generation, None).unwrap();
        table.hold(program(), name, script, &nothing()).unwrap()
    };
    let (left, foreign) = (generate("first"), generate("second"));
    let held = left.held(&["1.1", "1.2"], Afterwards::Returned).unwrap();
    let script = table.script(Kind::Drill, Some(held)).unwrap();
    let mut tries = 0;
    let mut twist = |asked: &Asked<'_>| {
        if (asked.step, asked.id) != ("enter-1.2", "words-1.2") {
            return None;
        }
        tries += 1;
        match tries {
            1 => Some(foreign.sheets["1.2"].1.clone()),
            2 => Some(left.sheets["1.1"].1.clone()),
            _ => None,
        }
    };
    let drill = table.play(program(), "drill", script, &left.sheets, &mut twist).unwrap();
    assert_eq!(drill.code, Some(0), "{}", drill.error);
    assert!(said(&drill, "of component 1.2 of another secret"), "{:?}", drill.said);
    assert!(said(&drill, "the words of component 1.1, and not 1.2"), "{:?}", drill.said);
    assert_eq!(tries, 3);
}
