//! Documents that people write by hand and govern.

use std::time::{SystemTime, UNIX_EPOCH};

use custody::Hash;
use custody::document::{Document, Model};
use custody::genesis::REGTEST;
use custody::name::{Label, Name};
use custody::records::Review;
use rand_core::{OsRng, RngCore as _};

use super::Story;
use crate::sandbox::{Failure, text};

fn label(words: &str) -> Label {
    let mut salt = Hash::default();
    OsRng.fill_bytes(&mut salt.0);
    Label { salt, text: words.to_owned() }
}

impl Story {
    /// The review without which no wallet of a custody model is opened (DACS MOD-00).
    pub(super) fn review(&self, model: Model) -> Result<(), Failure> {
        let said = [
            "custody of bitcoin for funds",
            "professional clients",
            "small amounts at once, large ones after a day",
            "an account per client in the books, pooled on chain",
        ]
        .map(label);
        let [business, clients, speed_and_safety, segregation] = [0, 1, 2, 3].map(|i| said[i].commitment());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let review = Document::Review(Review {
            model,
            network: REGTEST.into(),
            // The log's clock may be a little behind this one.
            reviewed_at: now.saturating_sub(3_600),
            business,
            clients,
            speed_and_safety,
            segregation,
            offered: true,
            signatories: ["alice", "bob"].iter().filter_map(|name| Name::new(name)).collect(),
        });
        let write = |name: &str, bytes: Vec<u8>| {
            let path = self.directory.join(name);
            std::fs::write(&path, bytes)?;
            Ok::<_, Failure>(text(&path))
        };
        let document = write("review.json", serde_json::to_vec(&review)?)?;
        let labels = write("review-labels.json", serde_json::to_vec(&said)?)?;
        self.person("carol").run(&["propose", &document, "--labels", &labels])?;
        self.approve_proposals(&["alice", "bob"])
    }
}
