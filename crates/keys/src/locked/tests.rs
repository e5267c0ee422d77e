use std::alloc::{GlobalAlloc as _, Layout};
use std::fs;
use std::hint::black_box;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, Output};

use super::stack::run_on;
use super::*;

/// The block of `/proc/self/smaps` of the mapping that holds `address`.
fn mapping_of(address: usize) -> String {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found = None;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((from, to)) = range
            && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
        {
            if found.is_some() {
                break;
            }
            if (from..to).contains(&address) {
                found = Some(String::new());
            }
        }
        if let Some(text) = &mut found {
            text.push_str(line);
            text.push('\n');
        }
    }
    found.unwrap()
}

#[track_caller]
fn assert_kept(address: usize) {
    let text = mapping_of(address);
    let flags = text.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
    for wanted in ["lo", "dd", "dc"] {
        assert!(flags.split_whitespace().any(|flag| flag == wanted), "{wanted} in {flags}");
    }
}

/// Reads memory of this process as the kernel has it, whoever owns it by the rules of the language.
struct Peek(fs::File, Vec<u8>);

impl Peek {
    /// Reads `len` bytes at a time, and allocates now for then.
    fn new(len: usize) -> Self {
        Self(fs::File::open("/proc/self/mem").unwrap(), vec![0; len])
    }

    fn at(&mut self, address: usize) -> io::Result<&[u8]> {
        self.0.seek(SeekFrom::Start(address as u64))?;
        self.0.read_exact(&mut self.1)?;
        Ok(&self.1)
    }

    /// How much of [`PATTERN`] is there.
    fn patterns(&mut self, address: usize) -> usize {
        self.at(address).unwrap().iter().filter(|byte| **byte == PATTERN).count()
    }
}

const PATTERN: u8 = 0xa5;

/// Runs an ignored test of this file in a process of its own.
fn child(test: &str) -> Output {
    let test = format!("locked::tests::{test}");
    let own = std::env::current_exe().unwrap();
    Command::new(own).args(["--ignored", "--exact", "--nocapture", &test]).output().unwrap()
}

#[track_caller]
fn passes(test: &str) {
    let output = child(test);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn both_kinds_of_region_are_locked_and_neither_dumped_nor_inherited() {
    let secret = LockedBytes::zeroed(32).unwrap();
    assert_kept(secret.expose().as_ptr() as usize);
    let fallback = Region::locked(32, 0).unwrap();
    assert_kept(fallback.bytes().as_ptr() as usize);
}

#[test]
fn secret_memory_cannot_be_read_through_proc() {
    let secret = LockedBytes::take(&mut [7; 32]).unwrap();
    if secret.mechanism() != "memfd_secret" {
        return; // an older kernel: the other tests hold what can be held there
    }
    let address = secret.expose().as_ptr() as usize;
    assert!(mapping_of(address).contains("secretmem"));
    assert!(Peek::new(32).at(address).is_err());
}

#[test]
fn without_secret_memory_it_is_locked_memory() {
    passes("without_descriptors");
}

#[test]
#[ignore = "the test above runs it in a child process"]
fn without_descriptors() {
    // As on a kernel that has none: here it is refused because no descriptor is left.
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
    }
    assert_eq!(mechanism().unwrap(), "mlock");
    let secret = LockedBytes::take(&mut [7; 32]).unwrap();
    assert_eq!(secret.mechanism(), "mlock");
    drop(taken);
    assert_kept(secret.expose().as_ptr() as usize);
}

#[test]
fn lengths() {
    assert!(LockedBytes::zeroed(0).is_err());
    assert!(LockedBytes::zeroed(usize::MAX).is_err());
    let page = Region::locked(1, 0).unwrap().bytes().len();
    for len in [1, page - 1, page, page + 1] {
        let secret = LockedBytes::zeroed(len).unwrap();
        assert_eq!(secret.expose(), vec![0; len]);
        assert_eq!(secret.region.bytes().len(), if len > page { 2 * page } else { page });
    }
}

#[test]
fn taking_wipes_the_source_and_truncating_wipes_the_rest() {
    let mut source = *b"a secret";
    let mut secret = LockedBytes::take(&mut source).unwrap();
    assert_eq!(source, [0; 8]);
    assert_eq!(secret.expose(), b"a secret");
    secret.truncate(9);
    assert_eq!(secret.expose(), b"a secret");
    secret.truncate(1);
    assert_eq!(secret.expose(), b"a");
    secret.len = 8;
    assert_eq!(secret.expose(), b"a\0\0\0\0\0\0\0");
    assert_eq!(format!("{secret:?}"), "LockedBytes(<8 secret bytes>)");
}

#[test]
fn a_region_is_wiped_whole() {
    let mut region = Region::locked(5000, 0).unwrap();
    region.bytes_mut().fill(7);
    region.wipe();
    assert!(region.bytes().iter().all(|byte| *byte == 0));
}

/// Bytes enough for a thread of a test.
const STACK_BYTES: usize = 256 * 1024;

#[test]
fn work_runs_on_the_locked_stack_above_a_guard() {
    let mut stack = Region::locked(STACK_BYTES, 1).unwrap();
    let range = stack.bytes().as_ptr_range();
    let ran = run_on(&mut stack, || {
        let mut variable = 0_u8;
        let address = black_box(&raw mut variable) as usize;
        assert_kept(address);
        address
    });
    assert!((range.start as usize..range.end as usize).contains(&ran.unwrap()));
    assert!(mapping_of(range.start as usize - 1).lines().next().unwrap().contains(" ---p "));
}

/// Leaves a pattern on the stack, as a careless computation does.
#[inline(never)]
fn careless() -> usize {
    let mut copies = [PATTERN; 4096];
    black_box(&mut copies).as_ptr() as usize
}

#[test]
fn what_a_computation_left_is_wiped_also_when_it_panicked() {
    let mut stack = Region::locked(STACK_BYTES, 1).unwrap();
    let left = |stack: &Region| stack.bytes().iter().filter(|byte| **byte != 0).count();
    let mut peek = Peek::new(4096);
    let seen = run_on(&mut stack, || {
        let address = careless();
        peek.patterns(address)
    });
    // While it runs the pattern is there, or this test shows nothing.
    assert!(seen.unwrap() > 2048);
    assert_eq!(left(&stack), 0);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run_on(&mut stack, || {
            careless();
            std::panic::resume_unwind(Box::new("goes on"))
        })
    }));
    assert_eq!(*panicked.map(|_: Result<(), _>| ()).unwrap_err().downcast::<&str>().unwrap(), "goes on");
    assert_eq!(left(&stack), 0);
    // And the stack can be used again, by work that borrows and returns.
    let mut sum = 0;
    run_on(&mut stack, || sum += 2).unwrap();
    assert_eq!((sum, on_locked_stack(STACK_BYTES, || sum + 1).unwrap()), (2, 3));
}

#[test]
fn a_stack_is_neither_empty_nor_absurd() {
    for bytes in [0, usize::MAX, usize::MAX - 100_000] {
        assert!(on_locked_stack(bytes, || ()).is_err());
    }
    // One page is a stack, and too small for a thread.
    let ran = on_locked_stack(1, || ());
    assert!(ran.unwrap_err().to_string().contains("start a thread"));
}

#[test]
fn a_stack_that_overflows_ends_the_process() {
    use std::os::unix::process::ExitStatusExt as _;
    let output = child("overflowing_child");
    let signal = output.status.signal();
    assert!(matches!(signal, Some(libc::SIGSEGV | libc::SIGABRT)), "{:?}", output.status);
    assert!(String::from_utf8_lossy(&output.stdout).contains("begins"));
}

#[test]
#[ignore = "the test above runs it in a child process"]
fn overflowing_child() {
    fn deeper(depth: usize) -> usize {
        let mut frame = [depth; 128];
        black_box(&mut frame);
        if depth == usize::MAX { 0 } else { deeper(depth + 1) + frame[depth % 128] }
    }
    println!("begins");
    on_locked_stack(STACK_BYTES, || deeper(0)).unwrap();
}

#[test]
fn blocks_are_wiped_when_freed_and_when_they_move() {
    const FREED: usize = 4096;
    let layout = Layout::from_size_align(FREED, 16).unwrap();
    // What an allocator keeps in a free block stands at its beginning.
    let mut peek = Peek::new(FREED);
    let mut secret_left = |block: *mut u8| peek.patterns(block as usize);
    // SAFETY: each block is used within its layout and freed once; freed memory is read by the kernel.
    unsafe {
        // Keeps what is below from being the end of the heap, which would shrink it.
        let [first, second, last] = [(); 3].map(|()| WipingAllocator.alloc(layout));
        for block in [first, second] {
            block.write_bytes(PATTERN, FREED);
        }
        assert_eq!(secret_left(first), FREED);
        WipingAllocator.dealloc(first, layout);
        assert_eq!(secret_left(first), 0);
        let moved = WipingAllocator.realloc(second, layout, 2 * FREED);
        assert_ne!(moved, second);
        assert_eq!(secret_left(moved), FREED);
        assert_eq!(secret_left(second), 0);
        WipingAllocator.dealloc(moved, Layout::from_size_align(2 * FREED, 16).unwrap());
        WipingAllocator.dealloc(last, layout);
        // Without wiping, it stays.
        let [block, last] = [(); 2].map(|()| std::alloc::System.alloc(layout));
        block.write_bytes(PATTERN, FREED);
        std::alloc::System.dealloc(block, layout);
        assert!(secret_left(block) > FREED / 2);
        std::alloc::System.dealloc(last, layout);
    }
}

#[test]
fn a_hardened_process_leaves_no_core_and_is_not_dumpable() {
    // In a process of its own, because what it gives up it cannot take back.
    passes("hardened_child");
}

#[test]
#[ignore = "the test above runs it in a child process"]
fn hardened_child() {
    let core_limits = || {
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        core.split_whitespace().skip(4).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    // SAFETY: PR_GET_DUMPABLE takes no pointer.
    let dumpable = || unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
    assert_eq!(dumpable(), 1);
    harden_process().unwrap();
    assert_eq!(core_limits(), ["0", "0"]);
    assert_eq!(dumpable(), 0);
}

/// Kibibytes that this process has locked.
fn locked_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn set_memory_limit(bytes: u64) -> bool {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: `limit` is a valid rlimit.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) == 0 }
}

#[test]
fn a_process_that_may_is_locked_whole_and_one_that_may_not_says_so() {
    passes("locked_child");
    passes("limited_child");
}

#[test]
#[ignore = "the test above runs it in a child process"]
fn locked_child() {
    if !set_memory_limit(libc::RLIM_INFINITY) {
        return; // an ordinary user with a limit: the other child is this case
    }
    assert_eq!(locked_kib(), 0);
    assert_eq!(lock_all().unwrap(), Extent::Everything);
    let before = locked_kib();
    assert!(before > 1024);
    // What comes later too.
    let later = black_box(vec![1_u8; 32 << 20]);
    assert!(locked_kib() >= before + (32 << 10));
    drop(later);
}

#[test]
#[ignore = "the test above runs it in a child process"]
fn limited_child() {
    const LIMIT_BYTES: u64 = 4 << 20;
    assert!(set_memory_limit(LIMIT_BYTES));
    // SAFETY: setuid touches no memory of ours; it gives up what root may (65534 is nobody).
    unsafe { libc::setuid(65534) };
    let extent = lock_all().unwrap();
    assert_eq!(extent, Extent::Secrets { limit_bytes: LIMIT_BYTES });
    assert!(extent.to_string().contains("4194304 bytes"));
    assert_eq!(locked_kib(), 0);
    // Secrets still have room, up to the limit.
    on_locked_stack(STACK_BYTES, || LockedBytes::zeroed(32).unwrap()).unwrap();
    assert!(on_locked_stack(LIMIT_BYTES as usize + 1, || ()).is_err());
}
