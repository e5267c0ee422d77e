//! The process that is looked through: the worker of a ceremony, as the program runs it, but that it may be
//! read, and that its randomness is known. Neither can be had of the shipped program.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::{env, fs, io, mem};

use ceremony::worker::Worker;
use ceremony::worker::frame;
use keys::locked::{LockedBytes, lock_all, mechanism};

use crate::draws::Draws;

/// What stands between the words of the test harness and the frames.
pub(crate) const READY: &str = "ready to answer\n";

/// What the child is told first, on one line.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    /// `memfd_secret`, or `mlock` for a kernel that has not the first.
    pub(crate) mechanism: String,
    /// The draw before which it stands still for ever.
    pub(crate) stop: Option<usize>,
    /// What it does wrong.
    pub(crate) plant: Plant,
}

/// Each a way to lose a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// None: nothing is wrong.
    Nothing,
    /// A copy that is never freed.
    Heap,
    /// A copy that is freed as it is.
    Freed,
    /// A copy on the ordinary stack, in a function that has returned.
    Stack,
    /// A copy in a variable of the program.
    Static,
    /// Asks come through the buffer of the standard library.
    Buffer,
    /// A file in the working directory.
    File,
    /// A file in the directory for temporary files.
    Temporary,
    /// A file in shared memory.
    Shared,
    /// A file that has no name any more.
    Unlinked,
}

impl Plant {
    pub(crate) const ALL: [Self; 10] = [
        Self::Nothing,
        Self::Heap,
        Self::Freed,
        Self::Stack,
        Self::Static,
        Self::Buffer,
        Self::File,
        Self::Temporary,
        Self::Shared,
        Self::Unlinked,
    ];

    fn word(self) -> String {
        format!("{self:?}")
    }
}

impl Orders {
    pub(crate) fn line(&self) -> String {
        let stop = self.stop.map_or("-".to_owned(), |stop| stop.to_string());
        format!("{} {stop} {}\n", self.mechanism, self.plant.word())
    }

    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mechanism, stop, plant] = words[..] else { panic!("{line:?}") };
        let plant = Plant::ALL.into_iter().find(|known| known.word() == plant).unwrap();
        Self { mechanism: mechanism.to_owned(), stop: stop.parse().ok(), plant }
    }
}

/// Answers asks on standard input, on standard output, until the input ends.
pub(crate) fn run() {
    // Without the buffers of the standard library, which would keep what passes.
    let mut from = File::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut to = File::from(io::stdout().as_fd().try_clone_to_owned().unwrap());
    let orders = Orders::parse(&line(&mut from));
    let stop = orders.stop.map(|stop| (stop, File::from(to.as_fd().try_clone_to_owned().unwrap())));
    // The library takes `memfd_secret` wherever it can be had, and there is no way to tell it otherwise: so
    // that it cannot be had, every descriptor is in use.
    let mut taken = Vec::new();
    while orders.mechanism == "mlock"
        && let Ok(file) = File::open("/dev/null")
    {
        taken.push(file);
    }
    assert_eq!(mechanism().unwrap(), orders.mechanism);
    lock_all().unwrap();
    to.write_all(READY.as_bytes()).unwrap();
    let mut worker = Worker::new(Draws { lengths: Default::default(), stop });
    if orders.plant == Plant::Nothing {
        return worker.serve(&mut from, &mut to).unwrap();
    }
    let mut buffer = io::stdin().lock();
    loop {
        let asked = match orders.plant {
            Plant::Buffer => frame::receive(&mut buffer),
            _ => frame::receive(&mut from),
        };
        let Some((ask, secret)) = asked.unwrap() else { break };
        let (answer, words) = worker.answer(ask, secret).unwrap();
        let words = words.as_ref().map_or(&[][..], LockedBytes::expose);
        if !words.is_empty() {
            // A file takes a descriptor.
            taken.pop();
            plant(orders.plant, words);
        }
        frame::send(&mut to, &answer, words).unwrap();
    }
}

/// Reads up to the end of a line, and no further.
fn line(from: &mut File) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        from.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

/// Loses the words of a component.
fn plant(plant: Plant, words: &[u8]) {
    static KEPT: Mutex<[u8; 512]> = Mutex::new([0; 512]);
    let name = format!("planted-{}", std::process::id());
    match plant {
        Plant::Nothing | Plant::Buffer => {}
        Plant::Heap => mem::forget(black_box(words.to_vec())),
        Plant::Freed => drop(black_box(words.to_vec())),
        Plant::Stack => below(8, words),
        Plant::Static => KEPT.lock().unwrap()[..words.len()].copy_from_slice(words),
        Plant::File => fs::write(name, words).unwrap(),
        Plant::Temporary => fs::write(env::temp_dir().join(name), words).unwrap(),
        Plant::Shared => fs::write(format!("/dev/shm/{name}"), words).unwrap(),
        Plant::Unlinked => {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(words).unwrap();
            mem::forget(file);
        }
    }
}

/// Copies to a place on the stack that later calls do not reach.
#[inline(never)]
fn below(depth: usize, words: &[u8]) {
    let mut frame = [0_u8; 4096];
    match depth {
        0 => frame[..words.len()].copy_from_slice(words),
        _ => below(depth - 1, words),
    }
    black_box(&mut frame);
}
