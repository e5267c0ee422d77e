//! The sheet of a component, as a printer draws it and as a reader of QR codes reads it.

mod rehearsal;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use ceremony::script::{ComponentId, Kind};
use ceremony::sheet::{self, Label, Paper, Parameters, SheetError, TEXT_LIMIT_CHARS};
use custody::document::Tier;
use custody::genesis::REGTEST;
use custody::name::Name;
use custody::{Hash, PublicKey};
use rehearsal::name;

/// A share of the official vectors of SLIP-39 (256 bits, without groups).
const WORDS: &str = "theory painting academic academic armed sweater year military elder discuss acne wildlife boring \
                     employer fused large satoshi bundle carbon diagnose anatomy hamster leaves tracks paces beyond \
                     phantom capital marvel lips brave detect luck";

fn label() -> Label {
    Label {
        ceremony: "Example Bank AG (Zürich): keys of the hot tier".into(),
        component: ComponentId { group: 0, member: 1 },
        extendable: true,
        genesis: Hash::sha256(b"genesis"),
        group_threshold: 1,
        groups: 1,
        health: PublicKey::sha256(b"health"),
        highest_index: 41,
        holder: Name::new("anna").unwrap(),
        identifier: 12_345,
        iteration_exponent: 1,
        made_at: 1_795_305_600,
        member_threshold: 3,
        members: 5,
        network: REGTEST.into(),
        organisation: "Example Bank AG".into(),
        path: "m/86'/1'/i'".into(),
        rehearsal: true,
        tier: Tier::Hot,
    }
}

fn printed(label: &Label, words: &str, paper: Paper) -> Vec<u8> {
    let mut out = Vec::new();
    sheet::write(label, words, paper, &mut out).unwrap();
    out
}

/// What a program of Debian says; it must be there.
fn run(program: &str, package: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install {package}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap() + if arguments.contains(&"-sDEVICE=bbox") { &said } else { "" }
}

/// A sheet through Ghostscript, with what a device writes to `out`.
fn ghostscript(page: &[u8], device: &str, resolution: u32, out: &Path) -> String {
    let file = out.with_extension("ps");
    fs::write(&file, page).unwrap();
    let (device, out) = (format!("-sDEVICE={device}"), format!("-sOutputFile={}", out.display()));
    let resolution = format!("-r{resolution}");
    let arguments =
        ["-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", &device, &resolution, &out, file.to_str().unwrap()];
    run("gs", "ghostscript", &arguments)
}

/// The text of the sheet, and how many pages it has.
fn text(page: &[u8]) -> (String, usize) {
    let dir = tempfile::tempdir().unwrap();
    ghostscript(page, "txtwrite", 72, &dir.path().join("%d.txt"));
    let pages = (1..).map(|n| dir.path().join(format!("{n}.txt"))).take_while(|path| path.exists());
    let pages: Vec<String> = pages.map(|path| fs::read_to_string(path).unwrap()).collect();
    (pages.concat(), pages.len())
}

/// What a reader of QR codes finds on the sheet.
fn code(page: &[u8], resolution: u32) -> String {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("sheet.png");
    ghostscript(page, "pnggray", resolution, &image);
    run("zbarimg", "zbar-tools", &["-q", "--raw", image.to_str().unwrap()]).trim_end().to_owned()
}

/// The words of a text, told by the numbers in front of them.
fn numbered(text: &str) -> Vec<(usize, &str)> {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let pair = |pair: &[&'_ str]| -> Option<usize> {
        let number = pair[0].parse().ok()?;
        pair[1].bytes().all(|b| b.is_ascii_lowercase()).then_some(number)
    };
    let found = tokens.windows(2).filter_map(|both| Some((pair(both)?, both[1])));
    let mut found: Vec<(usize, &str)> = found.take(sheet::WORDS).collect();
    found.sort_unstable();
    found
}

#[test]
fn the_words_and_their_code_come_off_the_paper() {
    for paper in [Paper::A4, Paper::Letter] {
        let page = printed(&label(), WORDS, paper);
        let (text, pages) = text(&page);
        assert_eq!(pages, 1);
        let words: Vec<(usize, &str)> = (1..).zip(WORDS.split(' ')).collect();
        assert_eq!(numbered(&text), words, "{text}");
        for resolution in [100, 300] {
            assert_eq!(code(&page, resolution).to_lowercase(), WORDS, "{paper:?} at {resolution} dpi");
        }
    }
}

#[test]
fn the_shortest_and_the_longest_words_fit() {
    for word in ["acid", "academic"] {
        let words = [word; sheet::WORDS].join(" ");
        let page = printed(&label(), &words, Paper::Letter);
        assert_eq!(code(&page, 150), words.to_uppercase());
    }
}

#[test]
fn a_stain_on_the_code_does_no_harm() {
    let page = String::from_utf8(printed(&label(), WORDS, Paper::A4)).unwrap();
    let stained = |part: u32| {
        let stain = format!("gsave right 90 sub top 90 sub {part} dup rectfill grestore\nshowpage");
        page.replace("\nshowpage", &format!("\n{stain}")).into_bytes()
    };
    // A square of 40 points covers 6 % of the code, which has a side of 163.
    assert_eq!(code(&stained(40), 200).to_lowercase(), WORDS);
}

#[test]
fn the_sheet_says_what_it_is() {
    let (text, _) = text(&printed(&label(), WORDS, Paper::A4));
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in [
        "SECRET · Recovery component 1.2",
        "Example Bank AG (Zürich): keys of the hot tier · tier hot · held by anna",
        "2026-11-22",
        REGTEST,
        &label().genesis.to_string(),
        "anna, for Example Bank AG",
        "2 of 5; any 3 of them restore the key",
        &label().health.to_string(),
        "SLIP-39, 33 words; identifier 12345, extendable, iteration exponent 1; empty passphrase",
        "account i at m/86'/1'/i' (BIP-32, BIP-86); highest address index allocated: 41",
        "If you found this",
        "If you hold it",
        "If the key must be restored",
        "Why it was opened",
    ] {
        assert!(said.contains(fact), "{fact}: {said}");
    }
    assert_eq!(said.matches("REHEARSAL").count(), 2);

    let grouped = Label { groups: 3, group_threshold: 2, rehearsal: false, ..label() };
    let (text, _) = self::text(&printed(&grouped, WORDS, Paper::A4));
    let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("2 of 5 in group 1 of 3; any 3 of these make the group, 2 groups the key"),
        "{said}"
    );
    assert!(!said.to_lowercase().contains("rehearsal"), "{said}");
}

#[test]
fn the_label_follows_from_the_script() {
    let script = rehearsal::script(Kind::Generation);
    let parameters = Parameters { identifier: 7, extendable: true, iteration_exponent: 2 };
    let of =
        |text: &str| Label::new(&script, text.parse().unwrap(), parameters, PublicKey::sha256(b"health"), 9);
    let made = of("1.2").unwrap();
    assert_eq!((made.holder.as_str(), made.organisation.as_str()), ("dave", "Example Custody"));
    assert_eq!((made.group_threshold, made.groups, made.member_threshold, made.members), (1, 1, 2, 3));
    assert_eq!((made.identifier, made.extendable, made.iteration_exponent, made.made_at), (7, true, 2, 9));
    assert_eq!(
        (&made.ceremony, made.genesis, &made.network),
        (&script.title, script.genesis, &script.network)
    );
    assert_eq!(
        (made.path.as_str(), made.health, made.rehearsal),
        ("m/86'/1'/i'", PublicKey::sha256(b"health"), true)
    );
    for none in ["1.4", "2.1"] {
        assert_eq!(of(none), None, "{none}");
    }

    // What cannot be printed is known before there is a secret, whichever holder it is.
    sheet::check_script(&script).unwrap();
    let mut foreign = script.clone();
    foreign.people.iter_mut().find(|person| person.id == name("erin")).unwrap().organisation =
        "Łódź Bank".into();
    assert!(matches!(
        sheet::check_script(&foreign),
        Err(SheetError::Character("organisation of a holder", 'Ł'))
    ));
    foreign.components = None;
    sheet::check_script(&foreign).unwrap();
}

#[test]
fn names_are_text_and_never_program() {
    for hostile in [
        ") showpage (",
        "\\) quit \\(",
        "(((",
        "))) Words 1 2 Word",
        "% > } ] end stop \\",
        "<~ << /PageSize [9 9] >> setpagedevice ~>",
    ] {
        let named = Label { ceremony: hostile.into(), organisation: hostile.into(), ..label() };
        let page = printed(&named, WORDS, Paper::A4);
        let (text, pages) = text(&page);
        assert_eq!(pages, 1, "{hostile}");
        let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("{hostile} · tier hot")), "{said}");
        assert!(said.contains(&format!("anna, for {hostile}")), "{said}");
        assert_eq!(code(&page, 150).to_lowercase(), WORDS, "{hostile}");
    }
}

#[test]
fn the_longest_texts_stay_on_the_paper() {
    let long = "M".repeat(TEXT_LIMIT_CHARS);
    let wide = Label {
        ceremony: long.clone(),
        organisation: long.clone(),
        holder: Name::new(&"m".repeat(32)).unwrap(),
        network: long.clone(),
        groups: 16,
        ..label()
    };
    for (paper, width, height) in [(Paper::A4, 595, 842), (Paper::Letter, 612, 792)] {
        let dir = tempfile::tempdir().unwrap();
        let said = ghostscript(&printed(&wide, WORDS, paper), "bbox", 72, &dir.path().join("none"));
        let bounds = said.lines().find_map(|line| line.strip_prefix("%%BoundingBox: ")).unwrap();
        let bounds: Vec<i32> = bounds.split(' ').map(|n| n.parse().unwrap()).collect();
        // Printers leave some 5 mm white, and the heads of the text stand 48 points in.
        assert!(bounds[0] >= 40 && bounds[2] <= width - 40, "{paper:?}: {bounds:?}");
        assert!(bounds[1] >= 20 && bounds[3] <= height - 20, "{paper:?}: {bounds:?}");
    }
}

#[test]
fn what_cannot_be_printed_is_refused_before_anything_is_written() {
    let refused = |label: &Label, words: &str| {
        let mut out = Vec::new();
        let error = sheet::write(label, words, Paper::A4, &mut out).unwrap_err();
        assert!(out.is_empty(), "{error}");
        error
    };
    for (wrong, field) in [
        (Label { ceremony: "Łódź".into(), ..label() }, "title of the ceremony"),
        (Label { organisation: "a\nb".into(), ..label() }, "organisation of a holder"),
        (Label { network: "\u{202e}".into(), ..label() }, "network"),
        (Label { path: "\0".into(), ..label() }, "derivation path"),
    ] {
        assert!(
            matches!(refused(&wrong, WORDS), SheetError::Character(found, _) if found == field),
            "{field}"
        );
    }
    let long = Label { ceremony: "x".repeat(TEXT_LIMIT_CHARS + 1), ..label() };
    assert!(matches!(refused(&long, WORDS), SheetError::Long(_, 91)));

    let fewer = WORDS.rsplit_once(' ').unwrap().0;
    for words in [
        "",
        fewer,
        &format!("{WORDS} acid"),
        &format!("{fewer} LUCK"),
        &format!("{fewer} luc"),
        &format!("{fewer} luckluckl"),
        &format!("{fewer}  luck"),
        &format!("{fewer} lu)k"),
        &WORDS.replace(' ', "\n"),
    ] {
        assert!(matches!(refused(&label(), words), SheetError::Words), "{words:?}");
    }
}

/// Takes some bytes, then fails as a printer without paper does.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(io::Error::new(io::ErrorKind::BrokenPipe, "out of paper")),
            taken => {
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 { Err(io::Error::new(io::ErrorKind::BrokenPipe, "out of paper")) } else { Ok(()) }
    }
}

#[test]
fn a_printer_that_stops_is_told_wherever_it_stops() {
    let whole = printed(&label(), WORDS, Paper::A4).len();
    for taken in (0..=whole).step_by(97).chain([whole - 1, whole]) {
        let error = sheet::write(&label(), WORDS, Paper::A4, &mut Failing(taken)).unwrap_err();
        assert!(matches!(error, SheetError::Printer(_)), "{taken}");
        let said = error.to_string();
        assert!(said.contains("destroy what came out") && !said.contains("theory"), "{said}");
    }
    sheet::write(&label(), WORDS, Paper::A4, &mut Failing(whole + 1)).unwrap();
}
