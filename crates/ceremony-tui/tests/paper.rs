//! The media of a component: what is written can be read, by this program and by others, and nothing else can.

use std::fs;
use std::io::{self, Cursor, Read as _, Write};
use std::iter;
use std::path::Path;
use std::process::Command;

use age::secrecy::{ExposeSecret as _, SecretString};
use age::{Decryptor, Encryptor};
use ceremony::script::ComponentId;
use ceremony::sheet::{self, Label, Paper};
use ceremony_tui::age_file::{self, FILE_LIMIT_BYTES, FORMAT, FileError, Identity, IdentityError, Recipient};
use ceremony_tui::image::{self as photo, ImageError, SIDE_LIMIT_PIXELS, TypedError, Words};
use custody::document::Tier;
use custody::genesis::REGTEST;
use custody::name::Name;
use custody::{Hash, PublicKey};
use image::{GrayImage, ImageFormat, imageops};

/// A share of the official vectors of SLIP-39, and another one.
const WORDS: &str = "theory painting academic academic armed sweater year military elder discuss acne wildlife boring \
                     employer fused large satoshi bundle carbon diagnose anatomy hamster leaves tracks paces beyond \
                     phantom capital marvel lips brave detect luck";
const OTHER: &str = "wildlife deal beard romp alcohol space mild usual clothes union nuclear testify course research heat \
                     listen task location thank hospital slice smell failure fawn helpful priest ambition average \
                     recover lecture process dough stadium";

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

/// What a program of Debian says; it must be there.
fn run(program: &str, package: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install {package}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A holder: an identity file, what it opens, and to whom files are encrypted.
struct Holder {
    file: String,
    identity: Identity,
    recipient: Recipient,
}

fn holder() -> Holder {
    let key = age::x25519::Identity::generate();
    let file = format!("# a holder\n{}\n", key.to_string().expose_secret());
    let identity = Identity::open(file.as_bytes(), None).unwrap();
    Holder { file, identity, recipient: key.to_public().to_string().parse().unwrap() }
}

fn written(to: &Holder) -> Vec<u8> {
    let mut out = Vec::new();
    age_file::write(&label(), WORDS, &to.recipient, &mut out).unwrap();
    out
}

/// Any text, encrypted to a holder.
fn encrypted(text: &[u8], to: &Holder) -> Vec<u8> {
    let recipient: age::x25519::Recipient = to.recipient.to_string().parse().unwrap();
    let encryptor = Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut cipher = encryptor.wrap_output(Vec::new()).unwrap();
    cipher.write_all(text).unwrap();
    cipher.finish().unwrap()
}

fn decrypted(file: &[u8], of: &Holder) -> Vec<u8> {
    let key: age::x25519::Identity = of.file.lines().nth(1).unwrap().parse().unwrap();
    let decryptor = Decryptor::new_buffered(file).unwrap();
    let mut text = Vec::new();
    let mut plain = decryptor.decrypt(iter::once(&key as &dyn age::Identity)).unwrap();
    plain.read_to_end(&mut text).unwrap();
    text
}

#[test]
fn a_file_opens_for_its_holder_alone() {
    let (anna, boris) = (holder(), holder());
    let file = written(&anna);
    let (read, words) = age_file::read(file.as_slice(), &anna.identity).unwrap();
    assert_eq!((read, words.as_str()), (label(), WORDS));
    assert!(matches!(age_file::read(file.as_slice(), &boris.identity), Err(FileError::OtherIdentity)));
    // Nothing of the component is readable without the identity.
    for word in WORDS.split(' ').chain(["anna", "component", "Zürich"]) {
        assert!(!file.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
    }
}

#[test]
fn the_reference_program_reads_what_is_written_and_writes_what_is_read() {
    let anna = holder();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("key"), &anna.file).unwrap();
    fs::write(path("component.age"), written(&anna)).unwrap();
    let plain = run("age", "age", &["-d", "-i", &path("key"), &path("component.age")]);
    let json: serde_json::Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(json["format"], FORMAT);
    assert_eq!(json["words"], WORDS);
    assert_eq!(json["label"], serde_json::to_value(label()).unwrap());
    assert_eq!(custody::canon::encode(&json).unwrap(), plain, "canonical");

    fs::write(path("plain"), &plain).unwrap();
    run("age", "age", &["-r", &anna.recipient.to_string(), "-o", &path("theirs.age"), &path("plain")]);
    let theirs = fs::File::open(path("theirs.age")).unwrap();
    let (read, words) = age_file::read(theirs, &anna.identity).unwrap();
    assert_eq!((read, words.as_str()), (label(), WORDS));
}

#[test]
fn damage_is_told_wherever_it_is() {
    let anna = holder();
    let file = written(&anna);
    for length in 0..file.len() {
        let error = age_file::read(&file[..length], &anna.identity).unwrap_err();
        assert!(
            matches!(error, FileError::Truncated | FileError::Altered | FileError::NotAge),
            "{length}: {error:?}"
        );
        assert!(!WORDS.split(' ').any(|word| error.to_string().contains(&format!("{word} "))), "{error}");
    }
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        let error = age_file::read(altered.as_slice(), &anna.identity).unwrap_err();
        assert!(!matches!(error, FileError::Form(_) | FileError::Words(_)), "byte {at}: {error:?}");
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(age_file::read(longer.as_slice(), &anna.identity), Err(FileError::Altered)));
    assert!(matches!(age_file::read(&b"hello\n"[..], &anna.identity), Err(FileError::NotAge)));
    let junk = vec![b'a'; FILE_LIMIT_BYTES];
    assert!(matches!(
        age_file::read(junk.as_slice(), &anna.identity),
        Err(FileError::NotAge | FileError::Truncated)
    ));
    assert!(matches!(
        age_file::read([junk, vec![b'a']].concat().as_slice(), &anna.identity),
        Err(FileError::Large)
    ));
}

#[test]
fn other_contents_and_later_versions_are_told() {
    let anna = holder();
    let plain = String::from_utf8(decrypted(&written(&anna), &anna)).unwrap();
    let read = |text: &str| age_file::read(encrypted(text.as_bytes(), &anna).as_slice(), &anna.identity);
    read(&plain).unwrap();
    assert!(matches!(read(&plain.replace("component/v1", "component/v2")), Err(FileError::Version)));
    assert!(matches!(read(&plain.replace("component/v1", "component/v10")), Err(FileError::Version)));
    let later = encrypted(b"", &anna);
    let later = [b"age-encryption.org/v2", &later[21..]].concat();
    assert!(matches!(age_file::read(later.as_slice(), &anna.identity), Err(FileError::Version)));
    for other in [
        String::new(),
        "hello".into(),
        plain.replace("component/v1", "something/v1"),
        plain.replace("\"words\"", "\"werds\""),
        plain.replace(",\"label\"", ", \"label\""),
        plain.replace("\"members\":5", "\"members\":5,\"more\":1"),
        plain.replace("theory painting", "theory  painting"),
        plain.replace("theory painting", "THEORY painting"),
        plain.trim_end_matches('}').to_owned(),
        format!("{plain}\n"),
    ] {
        let error = read(&other).unwrap_err();
        assert!(matches!(error, FileError::Form(_)), "{error:?}");
        assert!(!error.to_string().contains("painting"), "{error}");
    }
    assert!(matches!(read(&plain.replace("theory", "the0ry")), Err(FileError::Words(_))));
}

#[test]
fn a_full_medium_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = age_file::write(&label(), WORDS, &holder().recipient, &mut Full).unwrap_err();
    assert!(matches!(error, FileError::Write(_)), "{error}");
}

/// An identity file under a passphrase, made with as much work as N = 2^`work`.
fn locked(file: &str, passphrase: &str, work: u8) -> Vec<u8> {
    let mut lock = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    lock.set_work_factor(work);
    let encryptor = Encryptor::with_recipients(iter::once(&lock as &dyn age::Recipient)).unwrap();
    let mut cipher = encryptor.wrap_output(Vec::new()).unwrap();
    cipher.write_all(file.as_bytes()).unwrap();
    cipher.finish().unwrap()
}

#[test]
fn identities_may_have_a_passphrase() {
    let anna = holder();
    let passphrase = || Some(SecretString::from("correct horse".to_owned()));
    let file = locked(&anna.file, "correct horse", 12);
    let identity = Identity::open(&file, passphrase()).unwrap();
    assert_eq!(age_file::read(written(&anna).as_slice(), &identity).unwrap().0, label());
    assert_eq!(format!("{identity:?}"), "Identity(<secret>)");

    let refused = |file: &[u8], passphrase| Identity::open(file, passphrase).unwrap_err();
    assert_eq!(refused(&file, None), IdentityError::Passphrase);
    let other = Some(SecretString::from("wrong".to_owned()));
    assert_eq!(refused(&file, other), IdentityError::WrongPassphrase);
    // The work stands in the head and is refused before it is done.
    let at = file.windows(4).position(|part| part == b" 12\n").unwrap();
    let mut hard = file.clone();
    hard[at + 1..at + 3].copy_from_slice(b"21");
    assert_eq!(refused(&hard, passphrase()), IdentityError::Work(21));
    for bad in ["", "hello", "AGE-SECRET-KEY-1QQ", &anna.recipient.to_string()] {
        assert_eq!(refused(bad.as_bytes(), None), IdentityError::Form, "{bad}");
    }
    assert_eq!(refused(&file[..file.len() - 1], passphrase()), IdentityError::Form);
    assert_eq!(refused(&written(&anna), passphrase()), IdentityError::Form);
}

#[test]
fn recipients_are_lines_of_age() {
    let recipient = holder().recipient.to_string();
    assert_eq!(recipient.parse::<Recipient>().unwrap().to_string(), recipient);
    let altered = recipient.replace("age1", "age1q");
    for bad in ["", "age1", "anna", &recipient[..recipient.len() - 1], &altered, "ssh-ed25519 AAAA"] {
        assert!(bad.parse::<Recipient>().unwrap_err().contains("age-keygen"), "{bad}");
    }
}

/// A sheet as Ghostscript draws it.
fn drawn(words: &str, device: &str, resolution: u32) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut page = Vec::new();
    sheet::write(&label(), words, Paper::A4, &mut page).unwrap();
    fs::write(path("sheet.ps"), page).unwrap();
    let (device, resolution) = (format!("-sDEVICE={device}"), format!("-r{resolution}"));
    let out = format!("-sOutputFile={}", path("out"));
    run(
        "gs",
        "ghostscript",
        &["-q", "-dSAFER", "-dBATCH", "-dNOPAUSE", &device, &resolution, &out, &path("sheet.ps")],
    );
    fs::read(Path::new(&path("out"))).unwrap()
}

fn png(image: &GrayImage) -> Vec<u8> {
    let mut out = Vec::new();
    image.write_to(&mut Cursor::new(&mut out), ImageFormat::Png).unwrap();
    out
}

fn grey(file: &[u8]) -> GrayImage {
    image::load_from_memory(file).unwrap().to_luma8()
}

fn said(file: &[u8]) -> String {
    Words::photographed(file).unwrap().as_str().to_owned()
}

#[test]
fn a_photograph_of_the_sheet_gives_the_words() {
    let page = drawn(WORDS, "pnggray", 150);
    assert_eq!(said(&page), WORDS);
    assert_eq!(said(&drawn(WORDS, "jpeg", 200)), WORDS);
    // Turned, seen through a bad lens, and with the noise of a large sensor.
    let straight = grey(&page);
    assert_eq!(said(&png(&imageops::rotate90(&straight))), WORDS);
    assert_eq!(said(&png(&imageops::rotate180(&straight))), WORDS);
    assert_eq!(said(&png(&imageops::blur(&straight, 1.0))), WORDS);
    let mut state = 1u32;
    let mut noisy = imageops::resize(&straight, 3_000, 4_242, imageops::FilterType::Triangle);
    for pixel in noisy.pixels_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = u8::try_from(state >> 25).unwrap();
        pixel.0[0] = (pixel.0[0] / 2).saturating_add(noise / 2).saturating_add(20);
    }
    assert_eq!(said(&png(&noisy)), WORDS);
}

#[test]
fn what_is_not_one_sheet_is_told() {
    let (one, other) = (grey(&drawn(WORDS, "pnggray", 100)), grey(&drawn(OTHER, "pnggray", 100)));
    let mut both = GrayImage::from_pixel(2 * one.width(), one.height(), image::Luma([255]));
    imageops::replace(&mut both, &one, 0, 0);
    imageops::replace(&mut both, &one, one.width().into(), 0);
    assert_eq!(said(&png(&both)), WORDS, "the same sheet twice");
    imageops::replace(&mut both, &other, one.width().into(), 0);
    assert!(matches!(Words::photographed(&png(&both)), Err(ImageError::Several)));

    let blank = GrayImage::from_pixel(300, 300, image::Luma([255]));
    assert!(matches!(Words::photographed(&png(&blank)), Err(ImageError::NoCode)));

    let code = qrcodegen::QrCode::encode_text("https://example.org", qrcodegen::QrCodeEcc::Medium).unwrap();
    let dark = |x: u32, y: u32| {
        code.get_module(i32::try_from(x / 6).unwrap() - 4, i32::try_from(y / 6).unwrap() - 4)
    };
    let link = GrayImage::from_fn(240, 240, |x, y| image::Luma([if dark(x, y) { 0 } else { 255 }]));
    let error = Words::photographed(&png(&link)).unwrap_err();
    assert!(
        matches!(error, ImageError::Words(TypedError::Character { word: 1, character: ':' })),
        "{error:?}"
    );
}

#[test]
fn files_that_are_no_images_and_limits() {
    let page = drawn(WORDS, "pnggray", 100);
    for length in [100, page.len() / 2, page.len() - 20] {
        let error = Words::photographed(&page[..length]).unwrap_err();
        assert!(matches!(error, ImageError::Damaged(_)), "{length}: {error:?}");
    }
    for other in [&b""[..], b"hello", b"GIF89a", &written(&holder())] {
        assert!(matches!(Words::photographed(other), Err(ImageError::Format)));
    }
    let strip = |width| png(&GrayImage::from_pixel(width, 8, image::Luma([255])));
    assert!(matches!(Words::photographed(&strip(SIDE_LIMIT_PIXELS)), Err(ImageError::NoCode)));
    assert!(matches!(Words::photographed(&strip(SIDE_LIMIT_PIXELS + 1)), Err(ImageError::Pixels)));
    let most = vec![0; photo::FILE_LIMIT_BYTES];
    assert!(matches!(Words::photographed(&most), Err(ImageError::Format)));
    assert!(matches!(Words::photographed(&[most, vec![0]].concat()), Err(ImageError::Large(_))));
}
