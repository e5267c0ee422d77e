//! Sealed shares on their way to each co-signer: as a file, as an animated QR code, and the receipt.

mod common;

use std::io::Cursor;

use ceremony::files::{SealedShare, SealedShares};
use ceremony_tui::handover::{
    Collector, FRAGMENTS_LIMIT, FrameError, Frames, HandoverError, PACKAGE_LIMIT_BYTES, PARTS_LIMIT, Package,
    Receipt, SIDE_MODULES,
};
use common::drawn;
use custody::{Blob, Hash, SLOTS_LIMIT, canon};
use fixtures::name;
use image::{GrayImage, ImageFormat, Luma};

/// What a ceremony of two accounts and three co-signers sealed.
const SHARES: &[u8] = include_bytes!("../../ceremony/tests/vectors/shares.json");

fn sealed() -> SealedShares {
    canon::decode(SHARES).unwrap()
}

fn package(holder: &str) -> Package {
    Package::of(&sealed(), &name(holder)).unwrap()
}

/// The largest package: every account that a ceremony can deal. Seals are random to everybody else.
fn largest() -> Package {
    let seal = |slot: u32| {
        let random =
            (0..3u32).flat_map(|part| Hash::sha256(&[slot.to_be_bytes(), part.to_be_bytes()].concat()).0);
        SealedShare { holder: name("s1"), slot, sealed: Blob(random.take(80).collect()) }
    };
    let shares = (0..u32::try_from(SLOTS_LIMIT).unwrap()).map(seal).collect();
    Package::of(&SealedShares { shares, ..sealed() }, &name("s1")).unwrap()
}

fn holders() -> Vec<String> {
    let mut holders: Vec<String> = sealed().shares.iter().map(|share| share.holder.to_string()).collect();
    holders.sort();
    holders.dedup();
    holders
}

#[test]
fn each_co_signer_gets_its_own_shares_and_nobody_elses() {
    let all = sealed();
    let mut parts = Vec::new();
    for holder in holders() {
        let package = package(&holder);
        assert!(package.shares().shares.iter().all(|share| share.holder.as_str() == holder));
        assert_eq!((package.shares().genesis, package.shares().ceremony), (all.genesis, all.ceremony));
        assert_eq!(package.file_name(), format!("shares-{holder}.json"));
        // The file is what is read again, and the hash is that of the file.
        let again = Package::parse(package.bytes()).unwrap();
        assert_eq!((&again, again.sha256()), (&package, Hash::sha256(package.bytes())));
        parts.extend(package.shares().shares.clone());
    }
    // Together they are all that was sealed.
    parts.sort_by_key(|share| (share.slot, share.holder.clone()));
    assert_eq!(parts, all.shares);
    assert!(holders().len() >= 3);
    let nobody = Package::of(&all, &name("s9")).unwrap_err();
    assert!(matches!(nobody, HandoverError::Nobody(_)), "{nobody}");
}

#[test]
fn files_that_are_no_package() {
    let own = package(&holders()[0]).shares().clone();
    let refused = |shares: &SealedShares| Package::parse(&canon::encode(shares).unwrap()).unwrap_err();
    assert!(matches!(refused(&sealed()), HandoverError::Several(..)));
    assert!(matches!(refused(&SealedShares { shares: vec![], ..own.clone() }), HandoverError::Empty));
    // The second account alone, an account twice, two in the wrong order.
    for picks in [&[1][..], &[0, 0], &[1, 0]] {
        let shares = picks.iter().map(|pick| own.shares[*pick].clone()).collect();
        assert!(
            matches!(refused(&SealedShares { shares, ..own.clone() }), HandoverError::Slots { .. }),
            "{picks:?}"
        );
    }
    let bytes = package(&holders()[0]).bytes().to_vec();
    for wrong in [&bytes[..bytes.len() - 1], &[&bytes[..], b"\n"].concat(), b""] {
        assert!(matches!(Package::parse(wrong), Err(HandoverError::Form(_))));
    }
    let long = vec![b' '; PACKAGE_LIMIT_BYTES + 1];
    assert!(matches!(Package::parse(&long), Err(HandoverError::Long(_))));
    assert!(matches!(Package::parse(&long[1..]), Err(HandoverError::Form(_))));
}

#[test]
fn every_account_that_a_ceremony_can_deal_fits_and_one_more_does_not() {
    let largest = largest();
    assert!(largest.bytes().len() <= PACKAGE_LIMIT_BYTES);
    assert!(Frames::new(&largest).unwrap().fragments() <= FRAGMENTS_LIMIT);
    let mut more = largest.shares().clone();
    more.shares.push(SealedShare { slot: u32::try_from(SLOTS_LIMIT).unwrap(), ..more.shares[0].clone() });
    let error = Package::of(&more, &name("s1")).unwrap_err();
    assert!(matches!(error, HandoverError::Slots { .. }), "{error}");
}

#[test]
fn the_codes_give_the_package_whatever_frames_are_lost_and_in_any_order() {
    let package = largest();
    let fragments = Frames::new(&package).unwrap().fragments();
    // A camera that comes in the middle, misses every third frame, and sees the others in blocks of seven
    // backwards, each twice.
    let seen: Vec<_> = Frames::new(&package).unwrap().skip(fragments / 2).take(4 * fragments).collect();
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).enumerate().filter(|(i, _)| i % 3 != 0).collect();
    let order = seen.chunks(7).flat_map(|block| block.iter().rev()).flat_map(|(_, frame)| [frame, frame]);
    let mut collector = Collector::default();
    let mut needed = 0;
    let mut found = None;
    for frame in order {
        needed += 1;
        found = collector.image(&frame.png(3).unwrap()).unwrap();
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found, Some(package));
    assert!(needed >= fragments);
}

#[test]
fn the_terminal_shows_the_same_code() {
    let package = package(&holders()[1]);
    let mut collector = Collector::default();
    let mut found = None;
    for frame in Frames::new(&package).unwrap().take(200) {
        let frame = frame.unwrap();
        // In the same place from one to the next.
        let lines = frame.half_blocks(1);
        assert!(lines.iter().all(|line| line.chars().count() == usize::from(SIDE_MODULES)));
        assert_eq!(lines.len(), usize::from(SIDE_MODULES.div_ceil(2)));
        found = collector.image(&drawn(&lines)).unwrap();
        let twice = Collector::default().image(&drawn(&frame.half_blocks(2)));
        assert_eq!(twice.unwrap(), Collector::default().text(frame.text()).unwrap());
        if found.is_some() {
            break;
        }
    }
    assert_eq!(found, Some(package));
}

#[test]
fn codes_that_do_not_belong_here_change_nothing() {
    let own = package(&holders()[0]);
    let frames: Vec<_> = Frames::new(&own).unwrap().take(60).map(Result::unwrap).collect();
    let mut other = Frames::new(&package(&holders()[1])).unwrap();
    let other = other.next().unwrap().unwrap();
    let mut collector = Collector::default();
    assert!(collector.text(frames[0].text()).unwrap().is_none());
    for wrong in [
        other.text().to_owned(),
        "UR:BYTES/1-2/LPADAXCFAOCYAEAEAEAE".into(),
        "https://example.com/".into(),
        String::new(),
        frames[1].text().replace("/2-", "/3-"),
        frames[1].text()[..frames[1].text().len() - 2].to_owned(),
    ] {
        let error = collector.text(&wrong).unwrap_err();
        assert!(matches!(error, FrameError::Part(_)), "{wrong}: {error}");
    }
    let many = |count: usize| {
        frames[1]
            .text()
            .replace(&format!("-{}/", Frames::new(&own).unwrap().fragments()), &format!("-{count}/"))
    };
    assert!(matches!(collector.text(&many(FRAGMENTS_LIMIT + 1)), Err(FrameError::Many(_))));
    assert!(matches!(collector.text(&many(FRAGMENTS_LIMIT)), Err(FrameError::Part(_))));
    let beyond = |number: usize| frames[1].text().replace("/2-", &format!("/{number}-"));
    assert!(matches!(collector.text(&beyond(PARTS_LIMIT + 1)), Err(FrameError::Beyond(_))));
    assert!(matches!(collector.text(&beyond(PARTS_LIMIT)), Err(FrameError::Part(_))));
    let found = frames[1..].iter().find_map(|frame| collector.text(frame.text()).unwrap());
    assert_eq!(found, Some(own));
    // No image, and one without a code.
    let mut blank = Cursor::new(Vec::new());
    GrayImage::from_pixel(64, 64, Luma([255])).write_to(&mut blank, ImageFormat::Png).unwrap();
    assert!(matches!(collector.image(b"no image"), Err(FrameError::Image(_))));
    assert!(matches!(collector.image(&blank.into_inner()), Err(FrameError::NoCode)));
}

#[test]
fn a_sequence_ends_where_collectors_stop() {
    let own = package(&holders()[0]);
    let frames: Vec<_> = Frames::new(&own).unwrap().map(Result::unwrap).collect();
    assert_eq!(frames.len(), PARTS_LIMIT);
    // Its last parts alone are enough too.
    let mut collector = Collector::default();
    let found = frames.iter().rev().find_map(|frame| collector.text(frame.text()).unwrap());
    assert_eq!(found, Some(own));
}

#[test]
fn a_receipt_is_for_what_was_handed_over() {
    let (own, other) = (package(&holders()[0]), package(&holders()[1]));
    let receipt = Receipt::new(&own, "Erin Example");
    assert_eq!(Receipt::parse(&receipt.bytes().unwrap()).unwrap(), receipt);
    receipt.check(&own).unwrap();
    let differs = |receipt: &Receipt, package: &Package| match receipt.check(package) {
        Err(HandoverError::Receipt(part)) => part,
        other => panic!("{other:?}"),
    };
    assert_eq!(differs(&receipt, &other), "holder");
    type Change = fn(&mut Receipt);
    let changes: [(&str, Change); 5] = [
        ("deployment", |receipt| receipt.genesis = Hash([1; 32])),
        ("ceremony", |receipt| receipt.ceremony = Hash([1; 32])),
        ("number of accounts", |receipt| receipt.accounts += 1),
        ("hash", |receipt| receipt.sha256 = Hash([1; 32])),
        ("name of who took it", |receipt| receipt.taken_by = " ".into()),
    ];
    for (part, change) in changes {
        let mut changed = receipt.clone();
        change(&mut changed);
        assert_eq!(differs(&changed, &own), part);
    }
    let newer = Receipt { format: "keyward/share-receipt/v2".into(), ..receipt };
    assert!(matches!(Receipt::parse(&newer.bytes().unwrap()), Err(HandoverError::Format(_))));
    assert!(matches!(Receipt::parse(b"{}"), Err(HandoverError::Form(_))));
}
