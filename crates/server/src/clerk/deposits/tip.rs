//! News of the node's best block: a thread of its own waits for it at the node, so that a deposit is credited as soon
//! as its block is there and not at the next poll.
//!
//! Nothing depends on it: whatever becomes of the thread or the node, the clerk asks once a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::clerk::POLL;
use crate::desk::Desk;
use crate::node::{Client, NodeError};

/// How long the node is asked to wait for a block. Each question keeps one of its RPC threads (16, before Bitcoin Core
/// 29 four of them). A thread of ours goes on for so long after its clerk is gone.
const WAIT: Duration = Duration::from_secs(10);

/// By so much later it answers, or counts as gone.
const GRACE: Duration = Duration::from_secs(5);

/// Whether the node has another best block.
#[derive(Debug)]
pub(crate) struct Tip {
    news: Arc<AtomicBool>,
}

impl Tip {
    /// Waits at the node from now on, until this is dropped, and wakes the clerk.
    pub(crate) fn watch(desk: &Arc<Desk>, node: &Client) -> Self {
        let (tip, thread) = Self::waiting(desk, node, WAIT);
        if let Err(error) = thread {
            eprintln!("keyward-server: the node is only asked once a second: {error}");
        }
        tip
    }

    pub(super) fn waiting(
        desk: &Arc<Desk>,
        node: &Client,
        wait: Duration,
    ) -> (Self, std::io::Result<JoinHandle<()>>) {
        let tip = Self { news: Arc::default() };
        // Weak, so that the thread ends with those who want its news.
        let (desk, news) = (Arc::downgrade(desk), Arc::downgrade(&tip.news));
        let node = Client::new(node.address(), node.cookie_file());
        let thread = thread::Builder::new().name("tip".to_owned());
        (tip, thread.spawn(move || watch(&desk, &news, &node, wait)))
    }

    /// Whether there is news since this was asked last.
    pub(crate) fn has_news(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }
}

fn watch(desk: &Weak<Desk>, news: &Weak<AtomicBool>, node: &Client, wait: Duration) {
    let mut last = None;
    loop {
        let asked = Instant::now();
        let best = wait_for_block(node, wait);
        let (Some(desk), Some(news)) = (desk.upgrade(), news.upgrade()) else { return };
        match best {
            // Also when it came between two questions.
            Ok(best) if last.as_ref() != Some(&best) => {
                last = Some(best);
                news.store(true, Ordering::Release);
                desk.wake_clerk(&mut desk.core());
            }
            Ok(_) if asked.elapsed() >= wait => {}
            // The clerk, who asks as well, says what is wrong. A node that does not wait is not asked in a loop.
            _ => {
                drop((desk, news));
                thread::sleep(POLL);
            }
        }
    }
}

/// The best block when it is another one, or when the time is over (`waitfornewblock`).
fn wait_for_block(node: &Client, wait: Duration) -> Result<String, NodeError> {
    #[derive(Deserialize)]
    struct Best {
        hash: String,
    }
    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let best: Best =
        node.call_within(wait.saturating_add(GRACE), "waitfornewblock", json!([milliseconds]))?;
    Ok(best.hash)
}
