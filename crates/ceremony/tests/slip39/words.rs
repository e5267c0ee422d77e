//! What people type, and what they are told. The share is one of the published vectors, so that messages can
//! be compared.

use ceremony::slip39::{Hint, Mnemonic, WordsError};
use rand_core::{OsRng, RngCore as _};

use crate::{any, shares, text};

/// The first share of vector 45.
const SHARE: &str = "western apart academic always artist resident briefing sugar woman oven coding club ajar merit pecan answer prisoner artist fraction amount desktop mild false necklace muscle photo wealthy alpha category unwrap spew losing making";

/// The share with the word of this number, from 1, replaced; by nothing if it is empty.
fn with(number: usize, word: &str) -> String {
    let mut words: Vec<&str> = SHARE.split(' ').collect();
    words[number - 1] = word;
    words.join(" ")
}

fn refused(text: &str) -> WordsError {
    Mnemonic::parse(text).unwrap_err()
}

#[test]
fn case_and_space_do_not_matter() {
    let typed = SHARE.to_uppercase().replace(' ', " \n\t ");
    let share = Mnemonic::parse(&format!("\r\n {typed} ")).unwrap();
    assert_eq!(text(&share), SHARE);
    let header = share.header();
    assert_eq!((header.extendable, header.group, header.groups, header.member_threshold), (true, 0, 1, 2));
    assert_eq!(share.position(), (0, 2));
}

#[test]
fn a_debugged_share_shows_no_word() {
    let shown = format!("{:?}", Mnemonic::parse(SHARE).unwrap());
    assert!(shown.starts_with("Mnemonic(<secret> of Header { identifier: "), "{shown}");
    assert!(SHARE.split(' ').all(|word| !shown.contains(word)), "{shown}");
}

#[test]
fn an_altered_word_is_found_wherever_it_is() {
    for (number, right) in (1..).zip(SHARE.split(' ')) {
        // The second word has the flag that chooses the domain of the checksum: this flips it too.
        let wrong = if right == "apart" { "ancient" } else { "apart" };
        let error = refused(&with(number, wrong));
        assert!(
            matches!(&error, WordsError::Checksum(hints) if *hints == [Hint::Replace(number, vec![right])])
        );
        assert_eq!(
            error.to_string(),
            format!(
                "the words do not fit together, perhaps because word {number} is wrong: look there first"
            )
        );
        assert!(!format!("{error:?}").contains(right));
        assert_eq!(error.hints()[0].to_string(), format!("word {number} is perhaps {right}"));
    }
}

#[test]
fn two_words_that_changed_places_are_found() {
    let words: Vec<&str> = SHARE.split(' ').collect();
    for (first, second) in [(0, 1), (4, 16), (5, 6), (9, 30), (31, 32)] {
        let mut mixed = words.clone();
        mixed.swap(first, second);
        match refused(&mixed.join(" ")) {
            WordsError::Checksum(hints) => assert_eq!(hints, [Hint::Swap(first + 1, second + 1)]),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn what_no_single_change_explains_is_not_guessed() {
    let mut words: Vec<&str> = SHARE.split(' ').collect();
    (words[3], words[20], words[28]) = ("acid", "acne", "zero");
    let error = refused(&words.join(" "));
    assert!(matches!(&error, WordsError::Checksum(hints) if hints.is_empty()));
    assert_eq!(
        error.to_string(),
        "the words do not fit together, and more than one is wrong: compare each with the medium"
    );
}

#[test]
fn a_misspelt_word_is_named_with_the_right_one() {
    for (number, right) in (1..).zip(SHARE.split(' ')) {
        // Far from every word: only the checksum can tell.
        for wrong in ["xxxxxxxx", "averyveryverylongword"] {
            let error = refused(&with(number, wrong));
            assert!(
                matches!(&error, WordsError::Unknown(hints) if *hints == [Hint::Replace(number, vec![right])])
            );
            assert_eq!(error.to_string(), format!("word {number} is not in the list: look at the spelling"));
        }
        let error = refused(&with(number, &right[1..]));
        match error.hints() {
            [Hint::Replace(at, likely)] => assert_eq!((*at, likely[0]), (number, right)),
            // Without its first letter it may be a word of the list: then the checksum is wrong.
            other => panic!("{right}: {other:?}"),
        }
    }
}

#[test]
fn several_misspelt_words_are_each_named() {
    let mut words: Vec<&str> = SHARE.split(' ').collect();
    (words[0], words[5], words[32]) = ("westerm", "residnet", "qqqqq");
    let error = refused(&words.join(" "));
    assert_eq!(error.to_string(), "words 1, 6, 33 are not in the list: look at the spelling");
    let said: Vec<String> = error.hints().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["word 1 is perhaps western", "word 6 is perhaps resident", "word 33 resembles none of the list"]
    );
}

#[test]
fn the_number_of_words_is_checked_first() {
    let words: Vec<&str> = SHARE.split(' ').collect();
    let cut = |count: usize| words.iter().copied().cycle().take(count).collect::<Vec<_>>().join(" ");
    let mut lengths = Vec::new();
    for count in 0..=70 {
        match Mnemonic::parse(&cut(count)) {
            Err(WordsError::Count(found)) => assert_eq!(found, count),
            _ => lengths.push(count),
        }
    }
    // The lengths of 16, 18, 20 … 64 bytes.
    let expected: Vec<usize> = (16usize..=64).step_by(2).map(|bytes| 7 + (bytes * 8).div_ceil(10)).collect();
    assert_eq!(lengths, expected);
    assert_eq!((lengths[0], lengths[8], lengths[24]), (20, 33, 59));
    assert!(refused(&cut(32)).to_string().starts_with("32 words: a share of a secret of 256 bits has 33"));
}

#[test]
fn nothing_that_people_type_breaks_it() {
    for text in ["", " ", "\u{0}", "ä ö ü", &"a".repeat(100_000), &"academic ".repeat(100_000)] {
        assert!(Mnemonic::parse(text).is_err());
    }
    // Random words that fit are as rare as the checksum says.
    for _ in 0..20 {
        let list = include_str!("../../src/slip39/wordlist.txt");
        let words: Vec<&str> = list.lines().collect();
        let random: Vec<&str> = (0..20).map(|_| words[(OsRng.next_u32() % 1024) as usize]).collect();
        assert!(matches!(Mnemonic::parse(&random.join(" ")), Err(WordsError::Checksum(_))));
    }
}

#[test]
fn a_group_beyond_the_last_is_no_share() {
    // Group 2 of 1: made with the checksum of the reference implementation, which does not look at it.
    let error = refused(
        "climate dramatic away acid academic acid adequate apart echo educate alive category method liberty apart describe teammate scandal beard entrance declare airline blue frequent legend endorse bumpy hush soldier lunar cards deliver testify",
    );
    assert!(matches!(error, WordsError::Parameters("it is of a group that does not exist")), "{error}");
}

#[test]
fn words_that_differ_are_numbered() {
    let shares = shares(&any(2, 3));
    assert!(shares[0].differing_words(&Mnemonic::parse(&text(&shares[0])).unwrap()).is_empty());
    let (one, two) = (text(&shares[0]), text(&shares[1]));
    let expected: Vec<usize> = (1..)
        .zip(one.split(' ').zip(two.split(' ')))
        .filter(|(_, (one, two))| one != two)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(shares[0].differing_words(&shares[1]), expected);
    let short = Mnemonic::parse("testify swimming academic academic column loyalty smear include exotic bedroom exotic wrist lobe cover grief golden smart junior estimate learn").unwrap();
    let differing = shares[0].differing_words(&short);
    assert!((21..=33).all(|number| differing.contains(&number)));
}
