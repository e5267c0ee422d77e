//! Documents that people write by hand and govern: the review of a custody model, and the policy.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use custody::Hash;
use custody::document::{Document, Model};
use custody::genesis::REGTEST;
use custody::name::{Label, Name};
use custody::records::Review;
use rand_core::{OsRng, RngCore as _};

use serde_json::Value;

use super::{DEEP, Story, field};
use crate::sandbox::customer::Customer;
use crate::sandbox::{Failure, tell, text};

/// What is in force from the beginning, as a policy file.
const FIRST: &str = r#"
[[rules]]
id = "payments"
approvals = ["2 of approvers"]
amount_max = "10 btc"
fee_max = "100000 sat"
fee_max_ppm = 50000
"#;

/// What stands in both.
const GOVERNANCE: &str = r#"
[governance.default]
approvals = ["2 of admins"]
delay = "0s"
"#;

/// A tighter one, with one limit of each sort: next year's office hours are closed today.
fn tighter(year: u64) -> String {
    format!(
        r#"
[[rules]]
id = "payments"
approvals = ["2 of approvers"]
amount_max = "10 btc"
fee_max = "100000 sat"
fee_max_ppm = 50000
velocity = [{{ per = "wallet", window = "1h", amount_max = "0.7 btc" }}]

[[rules]]
id = "large"
from = "0.2 btc"
approvals = ["2 of approvers"]
amount_max = "10 btc"
fee_max = "100000 sat"
fee_max_ppm = 50000
hours = "office"

[[rules]]
id = "newcomers"
destinations = ["client"]
approvals = ["2 of approvers"]
amount_max = "1 btc"
fee_max = "100000 sat"
fee_max_ppm = 50000
cool_down = "24h"

[calendars.office]
zone = "Europe/Zurich"
weekdays = ["mon-fri"]
hours = "08:00-18:00"
from = {year}-01-01
until = {year}-12-31
"#
    )
}

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

    /// The policy changes: whoever approves sees what it allows that the one in force does not. Then a limit, an
    /// hour and a cool-down stop payments that two people approved, and the first policy comes back.
    pub(super) fn change_policy(&mut self) -> Result<(), Failure> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        // A year of the Gregorian calendar has 31,556,952 seconds on average.
        let draft = self.propose_policy("tighter.toml", &tighter(1_971 + seconds / 31_556_952))?;
        let (more, less) = self.allows(&draft)?;
        if more > 0 {
            return Err(format!("a tighter policy allows {more} things more").into());
        }
        self.approve_proposals(&["alice", "bob"])?;
        tell(
            "policy",
            format!(
                "tighter one by Carol; shown to Alice and Bob: it allows {more} things more, {less} less"
            ),
        );
        let newcomer = Customer::new().address().to_string();
        let add = ["destination", "add", "--id", "newcomer", "--address", &newcomer, "--of", "client"];
        self.person("carol").run(&[&add[..], &["--label", "A new client"]].concat())?;
        self.approve_proposals(&["alice", "bob"])?;
        self.mine(DEEP)?;
        for (what, to, amount) in [
            ("limit", "supplier", "0.6btc"),
            ("hours", "supplier", "0.2btc"),
            ("cool-down", "newcomer", "0.1btc"),
        ] {
            let id = self.ask_to(to, amount, "20000sat")?;
            self.approve("alice", &id)?;
            self.approve("bob", &id)?;
            let rule = self.thief.too_early(&id, &self.node, &self.signers)?;
            let explained = self.person("alice").run(&["policy", "explain", &id])?;
            if explained.pointer("/earliest/not-before-end").is_none() {
                return Err(format!("{what}: it could be signed in time: {explained}").into());
            }
            tell(
                what,
                format!("{amount} to {to}, approved by Alice and Bob: {rule}; explained: not before it ends"),
            );
            self.person("carol").run(&["cancel", &id, "--fee-max", "20000sat", "--end", "2h", "--yes"])?;
        }
        let draft = self.propose_policy("first.toml", FIRST)?;
        let (more, less) = self.allows(&draft)?;
        self.approve_proposals(&["alice", "bob"])?;
        tell("policy", format!("the first one is back: it allows {more} things more, {less} less"));
        Ok(())
    }

    /// Proposes a policy as Carol; gives the id of the proposal.
    fn propose_policy(&self, file: &str, rules: &str) -> Result<String, Failure> {
        let path = self.directory.join(file);
        std::fs::write(&path, format!("{rules}{GOVERNANCE}"))?;
        let path: &Path = &path;
        let said = self.person("carol").run(&["policy", "propose", &text(path)])?;
        Ok(field(&said, "id")?.to_owned())
    }

    /// How many things a proposed policy allows that the one in force does not, and the reverse.
    fn allows(&self, id: &str) -> Result<(usize, usize), Failure> {
        let shown = self.person("alice").run(&["show", id])?;
        let count = |side: &str| shown.pointer(side).and_then(Value::as_array).map(Vec::len);
        let both = count("/allows/more").zip(count("/allows/less"));
        both.ok_or_else(|| format!("no differences in {shown}").into())
    }
}
