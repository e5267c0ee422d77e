//! Sources of randomness against vectors of an independent program, published cut-offs, and bad sources.

use ceremony::entropy::{
    ALPHA_BITS, BITS_MIN, EntropyError, Gathered, SYMBOLS_LIMIT, SYSTEM_BYTES, Source, Statement, mix,
    proportion_cutoff, repetition_cutoff,
};
use rand_core::{CryptoRng, OsRng, RngCore};
use serde::Deserialize;

/// Written by `tests/vectors/entropy.py`.
const VECTORS: &str = include_str!("vectors/entropy.json");

#[derive(Deserialize)]
struct Vectors {
    inputs: Inputs,
    mixes: Vec<Mix>,
    credits: Vec<Credit>,
    cutoffs: Vec<Cutoff>,
}

#[derive(Deserialize)]
struct Inputs {
    operating_system: String,
    dice: String,
    coins: String,
    hsm: String,
}

#[derive(Deserialize)]
struct Mix {
    sources: Vec<Source>,
    secret: String,
    statement: Statement,
}

#[derive(Deserialize)]
struct Credit {
    source: Source,
    symbols: String,
    bits: u32,
}

#[derive(Deserialize)]
struct Cutoff {
    window: u32,
    millibits: u32,
    alpha_bits: u32,
    repetition: u32,
    proportion: u32,
}

fn vectors() -> Vectors {
    serde_json::from_str(VECTORS).unwrap()
}

impl Inputs {
    fn gather(&self, source: Source) -> Gathered {
        match source {
            Source::OperatingSystem => {
                Gathered::operating_system(&mut Recorded(hex::decode(&self.operating_system).unwrap()))
            }
            Source::Dice => Gathered::dice(&self.dice),
            Source::Coins => Gathered::coins(&self.coins),
            Source::Hsm => Gathered::hsm(hex::decode(&self.hsm).unwrap()),
        }
        .unwrap()
    }
}

/// A generator that repeats what was recorded.
struct Recorded(Vec<u8>);

impl RngCore for Recorded {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for (position, byte) in out.iter_mut().enumerate() {
            *byte = self.0[position % self.0.len()];
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Recorded {}

/// Throws without a bias, for tests that change some of them.
fn throws(count: usize) -> String {
    "123456".chars().cycle().take(count).collect()
}

fn size(count: usize) -> u32 {
    u32::try_from(count).unwrap()
}

#[test]
fn secrets_and_statements_are_those_of_the_vectors() {
    let vectors = vectors();
    for case in &vectors.mixes {
        // In whatever order they were gathered.
        for reversed in [false, true] {
            let mut gathered: Vec<Gathered> =
                case.sources.iter().map(|source| vectors.inputs.gather(*source)).collect();
            if reversed {
                gathered.reverse();
            }
            let (secret, statement) = mix(&gathered).unwrap();
            assert_eq!(hex::encode(secret.expose()), case.secret, "{:?}", case.sources);
            assert_eq!(statement, case.statement);
            statement.check().unwrap();
        }
    }
    assert_eq!(vectors.mixes.last().unwrap().sources, Source::ALL);
}

#[test]
fn credits_are_those_of_the_vectors() {
    for case in vectors().credits {
        let gathered = match case.source {
            Source::Coins => Gathered::coins(&case.symbols),
            _ => Gathered::dice(&case.symbols),
        };
        assert_eq!(gathered.unwrap().min_entropy_bits(), case.bits, "{} {}", case.source, case.symbols.len());
    }
}

#[test]
fn cutoffs_are_those_of_the_vectors() {
    for case in vectors().cutoffs {
        let Cutoff { window, millibits, alpha_bits, .. } = case;
        assert_eq!(repetition_cutoff(millibits, alpha_bits), case.repetition, "{millibits} {alpha_bits}");
        assert_eq!(proportion_cutoff(window, millibits, alpha_bits), case.proportion, "{window} {millibits}");
    }
}

/// SP 800-90B, table 2: cut-offs for α = 2⁻²⁰, first of windows of 1024, then of 512.
#[test]
fn cutoffs_are_those_of_the_standard() {
    for (millibits, cutoff) in [(200, 941), (400, 840), (600, 748), (800, 664), (1_000, 589)] {
        assert_eq!(proportion_cutoff(1_024, millibits, 20), cutoff, "{millibits}");
    }
    let table = [(500, 410), (1_000, 311), (2_000, 177), (3_000, 103), (4_000, 62), (5_000, 39)];
    for (millibits, cutoff) in table.into_iter().chain([(6_000, 25), (7_000, 18), (8_000, 13)]) {
        assert_eq!(proportion_cutoff(512, millibits, 20), cutoff, "{millibits}");
    }
    // Its example for the repetition count test: 2 bits a symbol.
    assert_eq!(repetition_cutoff(2_000, 20), 11);
}

/// The table of jitterentropy, also in Linux, for 1/1, 1/2 … 1/8 bit a symbol and α = 2⁻³⁰. It counts the
/// occurrences after the first symbol: 2 + CRITBINOM(511, …).
#[test]
fn cutoffs_are_those_of_jitterentropy() {
    // Those of the eight whose entropy is a whole number of thousandths of a bit.
    for (millibits, cutoff) in [(1_000, 325), (500, 422), (250, 477), (200, 488), (125, 502)] {
        assert_eq!(1 + proportion_cutoff(511, millibits, ALPHA_BITS), cutoff, "{millibits}");
    }
    for (millibits, cutoff) in [(1_000, 31), (500, 61), (250, 121)] {
        assert_eq!(repetition_cutoff(millibits, ALPHA_BITS), cutoff, "{millibits}");
    }
}

/// Runs of equal symbols, each side of the cut-off, at the beginning, within and at the end.
#[test]
fn a_source_that_is_stuck_is_found_out() {
    for source in Source::ALL {
        let cutoff = usize::try_from(repetition_cutoff(source.millibits(), ALPHA_BITS)).unwrap();
        for place in [0, 77, 150] {
            let stuck = |run: usize| {
                let mut symbols: Vec<u8> = match source {
                    Source::Dice => throws(300).into_bytes(),
                    Source::Coins => b"ht".repeat(300),
                    _ => (0..=255).cycle().take(SYSTEM_BYTES).collect(),
                };
                let last = symbols.len() - 150 + place;
                let value = symbols[last - 1];
                // Not longer by chance: the neighbours are others.
                symbols[last - run..last].fill(value);
                symbols[last - run - 1] = match value {
                    b'h' => b't',
                    b't' if source == Source::Coins => b'h',
                    b'1' => b'2',
                    _ => b'1',
                };
                match source {
                    Source::OperatingSystem => Gathered::operating_system(&mut Recorded(symbols)),
                    Source::Dice => Gathered::dice(symbols),
                    Source::Coins => Gathered::coins(symbols),
                    Source::Hsm => Gathered::hsm(symbols),
                }
            };
            stuck(cutoff - 1).unwrap();
            match stuck(cutoff) {
                Err(EntropyError::Repetition(of, run)) => assert_eq!((of, run), (source, cutoff)),
                other => panic!("{source} at {place}: {other:?}"),
            }
        }
    }
}

/// The first symbol of a window as often as the cut-off and once less, in a whole window and in a short one.
#[test]
fn a_source_that_prefers_a_symbol_is_found_out() {
    let source = Source::Dice;
    for (before, window) in [(0, source.window()), (source.window(), 200), (0, 128)] {
        let cutoff =
            usize::try_from(proportion_cutoff(size(window), source.millibits(), ALPHA_BITS)).unwrap();
        let loaded = |sixes: usize| {
            // The sixes are spread evenly, so that no run is long; the window before is fair.
            let mut symbols = throws(before).into_bytes();
            let mut others = b"12345".iter().cycle();
            symbols.extend((0..window).map(|place| match place * sixes % window < sixes {
                true => b'6',
                false => *others.next().unwrap(),
            }));
            assert_eq!(symbols[before..].iter().filter(|face| **face == b'6').count(), sixes);
            Gathered::dice(symbols)
        };
        loaded(cutoff - 1).unwrap();
        match loaded(cutoff) {
            Err(EntropyError::Proportion(of, count, among)) => {
                assert_eq!((of, count, among), (source, cutoff, window));
            }
            other => panic!("{before} {window}: {other:?}"),
        }
    }
}

/// A die that is loaded to show a six 6 times in 16 passes the tests but is not believed for 256 bits.
#[test]
fn a_loaded_die_is_worth_less() {
    let loaded = vectors().credits.into_iter().find(|case| {
        let sixes = case.symbols.matches('6').count();
        case.symbols.len() == 200 && sixes > 60
    });
    let loaded = loaded.unwrap();
    let fair = throws(200);
    let system = || Gathered::operating_system(&mut OsRng).unwrap();
    assert!(mix(&[system(), Gathered::dice(&fair).unwrap()]).is_ok());
    let refused = mix(&[system(), Gathered::dice(&loaded.symbols).unwrap()]).unwrap_err();
    assert!(matches!(refused, EntropyError::Few(Source::Dice, 200, bits) if bits < BITS_MIN), "{refused}");
}

/// Under 256 bits the ceremony stops, whatever the other sources are.
#[test]
fn every_source_must_be_enough_by_itself() {
    let system = || Gathered::operating_system(&mut OsRng).unwrap();
    let dice = |count| Gathered::dice(throws(count)).unwrap();
    for (count, bits) in [(129, 253), (130, BITS_MIN)] {
        assert_eq!(dice(count).min_entropy_bits(), bits);
        assert_eq!(dice(count).enough().is_ok(), bits == BITS_MIN);
        assert_eq!(mix(&[system(), dice(count)]).is_ok(), bits == BITS_MIN);
    }
    let refused = mix(&[system(), dice(129)]).unwrap_err().to_string();
    assert!(refused.starts_with("dice: 129 symbols are worth 253 bits, and 256 are needed"), "{refused}");
    for source in Source::ALL {
        let count = source.advised();
        let gathered = match source {
            Source::OperatingSystem => system(),
            Source::Dice => dice(count),
            Source::Coins => Gathered::coins("hthtthht".repeat(count / 8)).unwrap(),
            Source::Hsm => Gathered::hsm((0..=255).cycle().take(count).collect::<Vec<u8>>()).unwrap(),
        };
        assert_eq!(gathered.symbols(), size(count));
        assert_eq!(gathered.min_entropy_bits(), BITS_MIN, "{source}");
        assert_eq!(gathered.source(), source);
    }
}

/// What the operating system gives is enough and is different each time; whatever typed symbols are added, a
/// change of one of them changes all.
#[test]
fn one_good_source_is_enough() {
    let mixed = |gathered: &[Gathered]| mix(gathered).unwrap().0.expose().to_vec();
    let system = || Gathered::operating_system(&mut OsRng).unwrap();
    let dice = |text: &str| Gathered::dice(text).unwrap();
    assert_ne!(mixed(&[system(), dice(&throws(200))]), mixed(&[system(), dice(&throws(200))]));
    // An operating system that always gives the same bytes, and so is worth nothing.
    let inputs = vectors().inputs;
    let broken = || inputs.gather(Source::OperatingSystem);
    assert_eq!(mixed(&[broken()]), mixed(&[broken()]));
    let mut other = throws(200);
    other.replace_range(199.., "5");
    assert_ne!(mixed(&[broken(), dice(&throws(200))]), mixed(&[broken(), dice(&other)]));
    assert_ne!(mixed(&[broken(), dice(&throws(200))]), mixed(&[broken()]));
}

#[test]
fn the_operating_system_takes_part_and_nobody_twice() {
    let system = || Gathered::operating_system(&mut OsRng).unwrap();
    let dice = || Gathered::dice(throws(200)).unwrap();
    assert!(matches!(mix(&[]), Err(EntropyError::NoSystem)));
    assert!(matches!(mix(&[dice()]), Err(EntropyError::NoSystem)));
    assert!(matches!(mix(&[system(), system()]), Err(EntropyError::Twice(Source::OperatingSystem))));
    assert!(matches!(mix(&[dice(), system(), dice()]), Err(EntropyError::Twice(Source::Dice))));
}

/// What the offline process calls: nothing can be put in the place of the operating system's generator.
#[test]
fn nobody_gives_what_the_operating_system_gives() {
    let inputs = vectors().inputs;
    let recorded = hex::decode(&inputs.operating_system).unwrap();
    let mut rng = Recorded(recorded.clone());
    assert!(matches!(
        Gathered::take(Source::OperatingSystem, &recorded, &mut rng),
        Err(EntropyError::Beside)
    ));
    let given = [&[], inputs.dice.as_bytes(), inputs.coins.as_bytes(), &hex::decode(&inputs.hsm).unwrap()];
    let take = |(source, given): (Source, &[u8])| Gathered::take(source, given, &mut rng).unwrap();
    let gathered: Vec<Gathered> = Source::ALL.into_iter().zip(given).map(take).collect();
    let (secret, statement) = mix(&gathered).unwrap();
    assert_eq!(hex::encode(secret.expose()), vectors().mixes.last().unwrap().secret);
    let said = "operating-system: 1024 symbols, at least 256 bits, dice: 200 symbols, at least 256 bits, coins: 600 \
                symbols, at least 256 bits, hsm: 512 symbols, at least 256 bits; mixed by HKDF-SHA256";
    assert_eq!(statement.to_string(), said);
}

#[test]
fn typing_errors_are_named_by_their_place() {
    let wrong = [("1237", 4), ("123 45x", 7), ("0", 1), ("12-3", 3)];
    for (text, place) in wrong {
        let error = Gathered::dice(text).unwrap_err();
        assert!(matches!(error, EntropyError::Symbol(Source::Dice, at) if at == place), "{text}: {error}");
        assert!(error.to_string().contains("none of 1 to 6"), "{error}");
    }
    assert!(matches!(Gathered::coins("hht6"), Err(EntropyError::Symbol(Source::Coins, 4))));
    assert!(matches!(Gathered::dice(""), Err(EntropyError::Few(Source::Dice, 0, 0))));
    assert!(matches!(Gathered::dice(" \n"), Err(EntropyError::Few(Source::Dice, 0, 0))));
    assert!(matches!(Gathered::hsm(b""), Err(EntropyError::Few(Source::Hsm, 0, 0))));
    // What stands between, and capitals, mean nothing.
    let system = vectors().inputs.gather(Source::OperatingSystem);
    let spaced: String = throws(200).chars().map(|face| format!("{face}, \r\n")).collect();
    let [one, two] = [throws(200), spaced].map(|text| Gathered::dice(text).unwrap());
    assert_eq!(one.symbols(), 200);
    let gathered = [system, one];
    let first = mix(&gathered).unwrap().0;
    let [system, _] = gathered;
    assert_eq!(first.expose(), mix(&[system, two]).unwrap().0.expose());
    assert_eq!(Gathered::coins("HtTh").unwrap().symbols(), 4);
}

#[test]
fn symbols_are_bounded() {
    for count in [SYMBOLS_LIMIT, SYMBOLS_LIMIT + 1] {
        let taken = count == SYMBOLS_LIMIT;
        let bytes: Vec<u8> = (0..=255).cycle().take(count).collect();
        for result in [Gathered::dice(throws(count)), Gathered::hsm(bytes)] {
            match result {
                Ok(gathered) => assert!(taken && gathered.symbols() == size(count)),
                Err(error) => assert!(!taken && matches!(error, EntropyError::Many(_)), "{error}"),
            }
        }
    }
}

/// A statement is taken from a report only if it says what follows from its symbols.
#[test]
fn statements_cannot_be_improved() {
    let whole = || vectors().mixes.pop().unwrap().statement;
    let refused = |change: &dyn Fn(&mut Statement)| {
        let mut statement = whole();
        change(&mut statement);
        statement.check().unwrap_err()
    };
    whole().check().unwrap();
    assert!(matches!(refused(&|s| s.sources[1].bits = 255), EntropyError::Few(Source::Dice, 200, 255)));
    assert!(matches!(
        refused(&|s| s.sources.retain(|c| c.source != Source::OperatingSystem)),
        EntropyError::NoSystem
    ));
    assert!(matches!(refused(&|s| s.sources[2] = s.sources[1].clone()), EntropyError::Twice(Source::Dice)));
    let said: [&dyn Fn(&mut Statement); 7] = [
        &|s| s.sources[1].bits = 257,
        &|s| s.sources[1].symbols += 1,
        &|s| s.sources[1].symbols = size(SYMBOLS_LIMIT) + 1,
        &|s| s.sources[1].millibits = 2_585,
        &|s| s.sources[1].repetition_cutoff += 1,
        &|s| s.sources[1].proportion_cutoff += 1,
        &|s| s.sources[1].proportion_window -= 1,
    ];
    for change in said {
        assert!(matches!(refused(change), EntropyError::Said(Source::Dice)));
    }
    // Too few symbols for what they are credited with, with the cut-offs that follow from their number.
    let few = |source: Source, symbols: u32| {
        let mut statement = whole();
        let position = statement.sources.iter().position(|said| said.source == source).unwrap();
        let window = size(source.window()).min(symbols);
        let said = &mut statement.sources[position];
        (said.symbols, said.proportion_window) = (symbols, window);
        said.proportion_cutoff = proportion_cutoff(window, source.millibits(), ALPHA_BITS);
        statement.check()
    };
    for (source, least) in [(Source::Dice, 128), (Source::Coins, 512), (Source::Hsm, 64)] {
        few(source, least).unwrap();
        assert!(matches!(few(source, least - 1), Err(EntropyError::Said(said)) if said == source));
        assert!(matches!(few(source, 1), Err(EntropyError::Said(said)) if said == source));
    }
    let system = size(SYSTEM_BYTES);
    few(Source::OperatingSystem, system).unwrap();
    for other in [1, 32, system - 1, system + 1] {
        assert!(matches!(few(Source::OperatingSystem, other), Err(EntropyError::Said(_))));
    }
}

/// The names of scripts and reports.
#[test]
fn names_are_those_that_are_written() {
    for source in Source::ALL {
        assert_eq!(serde_json::to_string(&source).unwrap(), format!("\"{source}\""));
        assert!(!source.assumption().is_empty());
    }
}
