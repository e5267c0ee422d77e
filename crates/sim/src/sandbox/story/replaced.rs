//! A co-signer whose host is lost is replaced by another one (P30), as the runbook says: no ceremony, no new genesis,
//! the coins stay where they are.

use serde_json::Value;

use super::{DEEP, Story, field, strings, wait};
use crate::sandbox::people::secret;
use crate::sandbox::programs::{Service, ask, program};
use crate::sandbox::{Failure, text};

impl Story {
    /// Loses `s3` for good and lets `s4` take its place, with shares of the same accounts.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn replace_signer(&mut self) -> Result<(), Failure> {
        self.signers.retain_mut(|(name, service)| {
            let lost = name == "s3";
            if lost {
                service.kill();
            }
            !lost
        });
        let (card, unlock) = self.new_signer("s4")?;
        let join = ["cosigners", "propose", "--join", &card, "--leave", "s3"];
        let why = self.person("carol").refused(&join)?;
        if !why.contains("P30.leaving") {
            return Err(format!("s3 may leave with its shares: {why}").into());
        }
        self.deal_anew("s1,s2,w1")?;
        self.person("carol").run(&join)?;
        self.approve_proposals(&["alice", "bob"])?;
        wait("the new set", || Ok((self.members()? == ["s1", "s2", "w1", "s4"]).then_some(())))?;

        // A head of after the change, from a person's own home.
        self.person("alice").run(&["status"])?;
        let head = text(&self.directory.join("people/alice/checkpoint"));
        let service = self.start_signer("s4", &unlock, &head)?;
        let address = service.address();
        self.thief.meet(&card)?;
        self.signers.push(("s4".into(), service));
        self.server.kill();
        self.server.drop_option("--cosigner", |value| value.starts_with("s3="));
        self.server.add(&["--cosigner", &format!("s4={address}")]);
        self.server.run()?;
        for person in &self.people {
            person.run(&["profile", "--cosigner", &format!("s4={address}")])?;
        }
        let target = self.thief.height(&self.signers[0].1)?;
        let Some((_, new)) = self.signers.last() else { return Err("no signer".into()) };
        wait("s4 at the height of the others", || Ok((self.thief.height(new)? >= target).then_some(())))?;
        self.deal_anew("s1,s2,s4")
    }

    /// Pays with the one that joined, while one of the old ones is down. Then Bob freezes: the one that joined obeys too.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn pay_with_the_new_signer(&mut self) -> Result<(), Failure> {
        self.signers[0].1.kill();
        self.mine(DEEP)?;
        let id = self.ask_for("0.02btc", "20000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 2_000_000)?;
        self.signers[0].1.run()?;
        // Frozen it is when the shares that were replaced are stale, minutes later: nobody waits for that here.
        let said = self.person("bob").run(&["--timeout", "5", "freeze", "--yes"]);
        let said = said.map_or_else(|error| error.to_string(), |report| report.to_string());
        let obeys = |name: &&str| said.contains(&format!("\"{name}\""));
        if ["s1", "s2", "s4", "w1"].iter().all(obeys) {
            return self.verify_log();
        }
        Err(format!("not every co-signer holds the freeze: {said}").into())
    }

    /// Makes the keys of a co-signer. Returns its card's file and its unlock secret.
    fn new_signer(&self, name: &str) -> Result<(String, String), Failure> {
        let (dir, card) =
            (text(&self.directory.join(name)), self.directory.join(format!("{name}.card.json")));
        let (card, unlock) = (text(&card), secret());
        let init = ["init", "--dir", &dir, "--name", name, "--secret-fd", "0", "--card", &card];
        ask(&program("keyward-signer")?, &init, Some(&unlock))?;
        Ok((card, unlock))
    }

    fn start_signer(&self, name: &str, unlock: &str, head: &str) -> Result<Service, Failure> {
        let genesis = self.genesis_file();
        let shown = self.person("alice").run(&["genesis", "show", &text(&genesis)])?;
        let hash = field(&shown, "hash")?.to_owned();
        let (dir, genesis) = (self.directory.join(name), text(&genesis));
        let arguments = strings(&[
            "run",
            "--dir",
            &text(&dir),
            "--genesis",
            &genesis,
            "--genesis-hash",
            &hash,
            "--listen",
            "{listen}",
            "--secret-fd",
            "0",
            "--name",
            name,
            "--pinned-head",
            head,
            "--first-start",
            "--ready-file",
            "{ready}",
        ]);
        Service::start(program("keyward-signer")?, arguments, Some(unlock.to_owned()), &dir)
    }

    /// Has the shares dealt anew by s1 and s2, and waits until all accounts are signed for with the new ones.
    fn deal_anew(&self, holders: &str) -> Result<(), Failure> {
        let propose = ["reshare", "propose", "--holders", holders, "--dealers", "s1,s2"];
        self.person("carol").run(&propose)?;
        self.approve_proposals(&["alice", "bob"])?;
        wait("new shares", || {
            let status = self.person("carol").run(&["reshare", "status"])?;
            let left = status.pointer("/0/resharing/left").and_then(Value::as_array);
            let to = status.pointer("/0/accounts/0/holders").cloned().unwrap_or_default();
            let expected: Vec<Value> = holders.split(',').map(Value::from).collect();
            Ok((left.is_some_and(Vec::is_empty) && to == Value::Array(expected)).then_some(()))
        })
    }

    fn members(&self) -> Result<Vec<String>, Failure> {
        let status = self.person("carol").run(&["cosigners", "status"])?;
        let members = status.get("members").and_then(Value::as_array).ok_or("no members")?;
        members.iter().map(|member| field(member, "name").map(str::to_owned)).collect()
    }
}
