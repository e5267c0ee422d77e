//! A generating ceremony, ask by ask, as the program puts it to its worker.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use ceremony::entropy::Source;
use ceremony::script::steps::Medium;
use ceremony::script::{ComponentId, Script};
use ceremony::worker::{Answer, Ask, Worker};
use custody::genesis::Genesis;
use custody::{Blob, Hash};
use keys::locked::LockedBytes;

use crate::draws::{Draws, draw};

/// How many throws of a die are typed.
const THROWS: usize = 200;

/// One ask, what is beside it, and the answer with what is beside that.
pub(crate) struct Step {
    pub(crate) ask: Ask,
    pub(crate) secret: Vec<u8>,
    pub(crate) answer: Answer,
    pub(crate) words: Vec<u8>,
    /// The draws that it takes.
    pub(crate) draws: Range<usize>,
}

impl Step {
    /// Which ask, in a word or two.
    pub(crate) fn name(&self) -> String {
        let text = format!("{:?}", self.ask);
        text.split_once(" { script").map_or(text.as_str(), |(name, _)| name).to_owned()
    }

    /// Whether there are secrets after it: from the first randomness until the shares are sealed.
    pub(crate) fn leaves_secrets(&self) -> bool {
        !matches!(self.ask, Ask::Begin { .. } | Ask::SealShares)
    }
}

/// A ceremony that was held in this process, to be held again in another: of the same randomness come the same
/// secrets and the same answers.
pub(crate) struct Play {
    worker: Worker<Draws>,
    lengths: Arc<Mutex<Vec<usize>>>,
    pub(crate) steps: Vec<Step>,
}

/// Bytes in locked memory; none at all are a region of which nothing is used.
pub(crate) fn locked(bytes: &[u8]) -> LockedBytes {
    let mut locked = LockedBytes::zeroed(bytes.len().max(1)).unwrap();
    locked.expose_mut()[..bytes.len()].copy_from_slice(bytes);
    locked.truncate(bytes.len());
    locked
}

/// What is thrown, as it is typed.
fn throws() -> Vec<u8> {
    let mut bytes = [0; 2 * THROWS];
    draw(usize::MAX, &mut bytes);
    // A byte from 252 on would favour low numbers.
    bytes.into_iter().filter(|byte| *byte < 252).map(|byte| b'1' + byte % 6).take(THROWS).collect()
}

impl Play {
    /// Holds a ceremony of generation with dice, up to its sealed shares.
    pub(crate) fn new(genesis: &Genesis, script: &Script) -> Self {
        let lengths = Arc::new(Mutex::new(Vec::new()));
        let worker = Worker::new(Draws { lengths: lengths.clone(), stop: None });
        let mut play = Self { worker, lengths, steps: Vec::new() };
        play.ask(
            Ask::Begin {
                script: Blob(script.bytes()),
                genesis: Blob(genesis.bytes().to_vec()),
                cards: Vec::new(),
                held_at: fixtures::START,
                program: Hash([7; 32]),
            },
            b"",
        );
        play.ask(Ask::Gather { source: Source::OperatingSystem }, b"");
        play.ask(Ask::Gather { source: Source::Dice }, &throws());
        play.ask(Ask::Generate, b"");
        play.ask(Ask::Verify, b"");
        let components: Vec<ComponentId> =
            script.components.iter().flat_map(|set| set.members().map(|(id, _)| id)).collect();
        for component in components {
            let words = play.ask(Ask::Show { component }, b"").words.clone();
            assert!(!words.is_empty());
            for medium in Medium::ALL {
                play.ask(Ask::ReadBack { component, medium }, &words);
            }
        }
        play.ask(Ask::Restore, b"");
        play.ask(Ask::SealShares, b"");
        play
    }

    fn ask(&mut self, ask: Ask, secret: &[u8]) -> &Step {
        let before = self.drawn();
        let (answer, words) = self.worker.answer(ask.clone(), locked(secret)).unwrap();
        assert!(!matches!(answer, Answer::Refused { .. } | Answer::Failed { .. }), "{ask:?}: {answer:?}");
        let words = words.map(|words| words.expose().to_vec()).unwrap_or_default();
        let draws = before..self.drawn();
        self.steps.push(Step { ask, secret: secret.to_vec(), answer, words, draws });
        self.steps.last().unwrap()
    }

    fn drawn(&self) -> usize {
        self.lengths.lock().unwrap().len()
    }

    /// Everything that was drawn.
    pub(crate) fn draws(&self) -> Vec<Vec<u8>> {
        let lengths = self.lengths.lock().unwrap().clone();
        let one = |(number, length)| {
            let mut bytes = vec![0; length];
            draw(number, &mut bytes);
            bytes
        };
        lengths.into_iter().enumerate().map(one).collect()
    }
}
