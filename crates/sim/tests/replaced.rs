//! The runbook for a co-signer whose host is lost, with real processes (P30).

use sim::sandbox::Story;
use tempfile::TempDir;

#[test]
fn a_lost_signer_is_replaced_and_the_coins_stay() {
    let directory = TempDir::with_prefix("keyward-replaced-").unwrap();
    let mut story = Story::deploy(directory.path(), 1, 100_000_000).unwrap();
    story.replace_signer().unwrap();
    story.pay_with_the_new_signer().unwrap();
}
