//! The ceremony of the story: six people, a script, a printer, and what they take away.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use ceremony::script::{Afterwards, Kind, Role, Script};
use keys::device;
use serde_json::Value;

use super::super::people::Person;
use super::super::programs::program;
use super::super::{Failure, tell, text};
use super::{Story, field, short};
use ceremony_tui::rehearsal::{Left, Participant, Table};

/// Accounts that the ceremony deals.
const ACCOUNTS: u32 = 16;

/// Who takes part; the first three stand in genesis, too.
const PEOPLE: [(&str, Role); 6] = [
    ("alice", Role::Operator),
    ("bob", Role::SecurityOfficer),
    ("carol", Role::KeyCustodian),
    ("dora", Role::KeyCustodian),
    ("emil", Role::KeyCustodian),
    ("walter", Role::Witness),
];

/// The same error, which need not cross threads here.
fn failure(error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    error
}

impl Story {
    /// The seed is made of the machine's generator and dice, split into components on paper and in files,
    /// rebuilt from these, dealt to the signers, and erased. Everybody signs the report.
    pub(super) fn hold_ceremony(&mut self) -> Result<(String, usize), Failure> {
        let table = self.table()?;
        let script = table.script(Kind::Generation, None).map_err(failure)?;
        self.hold(&table, script, &BTreeMap::new())
    }

    /// The seed is rebuilt from two of the three components that another deployment left, and dealt to the
    /// signers of this one.
    pub(super) fn recover(&mut self, left: &Left, genesis: &Path) -> Result<(String, usize), Failure> {
        let table = self.table()?;
        table.bring(left, genesis).map_err(failure)?;
        let held = left.held(&["1.1", "1.3"], Afterwards::Returned).map_err(failure)?;
        let script = table.script(Kind::Recovery, Some(held)).map_err(failure)?;
        self.hold(&table, script, &left.sheets)
    }

    /// Everybody at one table.
    fn table(&self) -> Result<Table, Failure> {
        let mut people = Vec::new();
        for (id, role) in PEOPLE {
            let known = self.people.iter().find(|person| person.id == id);
            let guest =
                known.is_none().then(|| Person::new(id, &format!("{id} of the ceremony"), &self.directory));
            let guest = guest.transpose()?;
            let Some(person) = known.or(guest.as_ref()) else { continue };
            people.push(Participant {
                id: id.into(),
                role,
                key: device::public_of(&std::fs::read(person.device())?)?.sign,
                device: person.device().to_owned(),
                passphrase: person.passphrase().to_owned(),
            });
        }
        let genesis = self.directory.join("genesis.json");
        Table::new(&self.directory.join("room"), people, &genesis, ACCOUNTS).map_err(failure)
    }

    /// Holds the ceremony of a script, verifies its report, and brings record and shares to where they belong.
    fn hold(
        &mut self,
        table: &Table,
        script: Script,
        sheets: &BTreeMap<String, (String, String)>,
    ) -> Result<(String, usize), Failure> {
        let begun = Instant::now();
        let left = table.hold(&program("keyward-ceremony")?, "ceremony", script, sheets).map_err(failure)?;
        let holders = left.sheets.values().map(|(holder, _)| holder.as_str()).collect::<Vec<_>>().join(", ");
        tell(
            "ceremony",
            format!(
                "{} steps, {} findings signed for, components of {holders} on paper and in files, report signed by {} ({} ms)",
                left.steps,
                left.deviations,
                PEOPLE.len(),
                begun.elapsed().as_millis()
            ),
        );
        let begun = Instant::now();
        let file = |name: &str| text(&left.out.join(name));
        let (record_file, genesis) = (file("record.json"), text(&self.directory.join("genesis.json")));
        let verify =
            ["ceremony", "verify", &file("report.json"), "--record", &record_file, "--genesis", &genesis];
        self.person("carol").run(&verify)?;
        let read =
            |path: &str| -> Result<Value, Failure> { Ok(serde_json::from_slice(&std::fs::read(path)?)?) };
        let accounts = read(&record_file)?.get("slots").and_then(Value::as_array).map_or(0, Vec::len);
        let ceremony = field(&read(&file("shares.json"))?, "ceremony")?.to_owned();
        self.person("carol").run(&["ceremony", "submit", &record_file])?;
        self.approve_proposals(&["alice", "bob"])?;
        self.person("carol").run(&["ceremony", "shares", &record_file, "--shares", &text(&left.out)])?;
        tell(
            "ceremony",
            format!(
                "{accounts} accounts split 2 of 3, record {} approved, shares kept ({} ms)",
                short(&ceremony),
                begun.elapsed().as_millis()
            ),
        );
        self.ceremony.clone_from(&ceremony);
        self.left = Some(left);
        Ok((ceremony, accounts))
    }
}
