//! The runbook for a lost quorum with real processes (P31, DACS REC-02, REC-05): recovery, new genesis, sweep.

use sim::sandbox::Story;
use tempfile::TempDir;

/// Satoshi in each of two deposits of the lost deployment.
const DEPOSIT: u64 = 100_000_000;

#[test]
fn coins_of_a_lost_quorum_are_swept_under_a_new_genesis() {
    let [before, after] = [(); 2].map(|()| TempDir::with_prefix("keyward-lost-").unwrap());
    let lost = Story::deploy(before.path(), 2, DEPOSIT).unwrap();
    let descriptor = |story: &Story| story.keyward("bob", &["descriptor", "vault"]).unwrap();
    let (keys, genesis) = (descriptor(&lost), std::fs::read(lost.genesis_file()).unwrap());

    // Its people, signers and server are gone with this; two of three components remain, and the network.
    let mut story = Story::take_over(lost, after.path()).unwrap();
    assert_ne!(std::fs::read(story.genesis_file()).unwrap(), genesis);
    let again = descriptor(&story);
    assert_eq!(
        (&again["receive"], &again["change"]),
        (&keys["receive"], &keys["change"]),
        "the same addresses"
    );
    // The coins lie at indices that the new log has not allocated yet: until then they are nobody's.
    let (_, left) = story.sweep("1.9999btc").unwrap();
    assert_eq!(left, 0, "nothing stays on the old addresses");
}
