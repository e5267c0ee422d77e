//! What people give that is wrong: it is said what, and asked for again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};
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
    let out = room.path("table/generation");
    let mut files = Vec::new();
    let mut twist = |asked: &Asked<'_>| {
        files.extend(contents(&out));
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
            ("read-back-paper-1.3", "how", 1..=5) => "image".into(),
            ("read-back-paper-1.3", "image", 1) => room.path("no-such.png").display().to_string(),
            ("read-back-paper-1.3", "image", 2) => file("damaged.png", &code(&words("1.3"), true)),
            ("read-back-paper-1.3", "image", 3) => file("cut.png", &code(&words("1.3"), false)[..200]),
            // A code of other words than were made.
            ("read-back-paper-1.3", "image", 4) => {
                let wrong = replaced(&words("1.3"), 9, other(word(&words("1.3"), 9)));
                file("wrong.png", &code(&wrong, false))
            }
            ("read-back-paper-1.3", "image", 5) => file("code.png", &code(&words("1.3"), false)),
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
    // Nothing that was said names a word of a component: numbers do. Two words that the messages are made of are
    // in the list as well, and may be in a share by chance.
    let secret = left.sheets["1.2"].1.split(' ').filter(|word| !["together", "spelling"].contains(word));
    let secret: BTreeSet<&str> = secret.collect();
    let told =
        left.said.iter().filter(|line| line.contains("not in the list") || line.contains("fit together"));
    for line in told {
        assert!(!line.split([' ', ',', ':']).any(|word| word.len() > 6 && secret.contains(word)), "{line}");
    }
    // Their holders are told which words were likely meant, whether they typed or photographed them.
    let likely = |component: &str, number: usize| {
        let words = &left.sheets[component].1;
        format!("{component} word {number} is perhaps {}", word(words, number))
    };
    for (component, number) in [("1.1", 7), ("1.2", 5), ("1.3", 9)] {
        let told = |hint: &&String| hint.starts_with(&likely(component, number));
        assert_eq!(left.hints.iter().filter(told).count(), 1, "{component}: {:?}", left.hints.len());
    }
    // Nobody else is: not in what was said, nor in any file at any time, the report among them.
    files.extend(contents(&left.out));
    assert!(files.iter().any(|(name, _)| name == "run.json"));
    assert!(files.iter().any(|(name, _)| name == "report.json"));
    let public =
        left.said.iter().map(|line| ("said", line)).chain(files.iter().map(|(name, text)| (&**name, text)));
    for (place, text) in public {
        assert!(!text.contains("is perhaps"), "{place}: {text}");
    }
    assert!(!left.error.contains("is perhaps"));
    let report = left.report().unwrap().report;
    assert!(report.components.iter().all(|made| made.verified.len() == 2));
}

/// The files of a directory as text, if it exists by now.
fn contents(directory: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(directory).into_iter().flatten().map(|file| file.unwrap().path());
    let text = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), text(&path))).collect()
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
    let (mut tries, mut photographed) = (0, false);
    let mut twist = |asked: &Asked<'_>| {
        match (asked.step, asked.id) {
            ("enter-1.2", "words-1.2") => tries += 1,
            // First a photograph of a sheet with a wrong word.
            ("enter-1.2", "how") if !photographed => return Some("image".into()),
            ("enter-1.2", "image") => {
                photographed = true;
                let words = &left.sheets["1.2"].1;
                let path = room.path("wrong.png");
                fs::write(&path, code(&replaced(words, 3, other(word(words, 3))), false)).unwrap();
                return Some(path.display().to_string());
            }
            _ => return None,
        }
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
    let hint = format!("1.2 word 3 is perhaps {}", word(&left.sheets["1.2"].1, 3));
    assert!(drill.hints.iter().any(|told| told.starts_with(&hint)), "{:?}", drill.hints.len());
    assert_eq!(tries, 3);
}
