//! Clients' money: two clients, a deposit that a reorganisation takes back, a withdrawal from request to
//! settlement across a kill of the server, and books that reconcile.

use std::time::Instant;

use serde_json::{Value, json};

use super::{DEEP, Story, field, short, wait};
use crate::sandbox::facts::Payment;
use crate::sandbox::programs::{ask, program};
use crate::sandbox::{Failure, tell, text};

/// The confirmations of a deposit below 1 BTC, as deposits need them unless told otherwise.
const SMALL_DEPOSIT_DEEP: u32 = 3;

impl Story {
    /// Two clients: their handles stand in the log, their names only as salted hashes.
    pub(super) fn add_clients(&self) -> Result<(), Failure> {
        for (id, name) in [("acme", "Acme Trading AG"), ("birch", "Birch Foundation")] {
            self.person("carol").run(&["client", "add", "--id", id, "--name", name])?;
        }
        self.approve_proposals(&["alice", "bob"])?;
        tell("clients", "acme and birch, proposed by Carol, approved by Alice and Bob");
        Ok(())
    }

    /// Waits until so many deposits of a client are in a state.
    pub(super) fn deposits_are(&self, client: &str, status: &str, count: usize) -> Result<(), Failure> {
        wait(&format!("{count} deposits of {client} being {status}"), || {
            let list = ["deposits", "--client", client, "--status", status];
            let found = self.person("bob").run(&list)?;
            Ok((found.as_array().map_or(0, Vec::len) == count).then_some(()))
        })
    }

    /// What a client has, in satoshi: balance and available.
    fn has(&self, client: &str) -> Result<(u64, u64), Failure> {
        let accounts = self.person("bob").run(&["balances", "--client", client])?;
        let sum = |name: &str| {
            let each = accounts.as_array().into_iter().flatten();
            let all = each.map(|account| Ok::<_, Failure>(field(account, name)?.parse::<u64>()?));
            all.sum::<Result<u64, _>>()
        };
        Ok((sum("balance")?, sum("available")?))
    }

    fn has_exactly(&self, client: &str, balance: u64, available: u64) -> Result<(), Failure> {
        let (b, a) = self.has(client)?;
        if (b, a) == (balance, available) {
            return Ok(());
        }
        Err(format!("{client} has {b} ({a} available), and not {balance} ({available})").into())
    }

    /// A deposit is credited, taken back by a reorganisation, and credited again.
    pub(super) fn reorganise(&mut self) -> Result<(), Failure> {
        let said = self.person("alice").run(&["address", "new", "--wallet", "vault", "--client", "birch"])?;
        let said = said.as_array().and_then(|a| a.first()).cloned().unwrap_or(said);
        let address = field(&said, "address")?.to_owned();
        let before = self.node.rpc().block_count()?;
        let sat = 40_000_000;
        let txid = self.customer.pay(&self.node, &address, sat)?;
        self.mine(SMALL_DEPOSIT_DEEP)?;
        self.deposits_are("birch", "credited", 1)?;
        self.has_exactly("birch", sat, sat)?;
        // Another branch of the chain, one block longer, does not have the payment.
        let first = self.node.rpc().block_hash(before + 1)?;
        self.node.rpc().call::<Value>("invalidateblock", json!([first.to_string()]))?;
        for _ in 0..=SMALL_DEPOSIT_DEEP {
            self.node.mine_only(&self.customer.address().to_string(), &[])?;
        }
        wait("the deposit being taken back", || Ok((self.has("birch")?.0 == 0).then_some(())))?;
        self.mine(SMALL_DEPOSIT_DEEP)?;
        self.deposits_are("birch", "credited", 1)?;
        self.has_exactly("birch", sat, sat)?;
        self.facts.deposits.push(Payment { txid, address, sat });
        tell(
            "reorg",
            format!(
                "birch's 0.4 BTC credited at {SMALL_DEPOSIT_DEEP} confirmations, taken back by a reorganisation, credited again"
            ),
        );
        Ok(())
    }

    /// A machine asks through the interface; the server is killed in between and goes on.
    pub(super) fn withdraw(&mut self) -> Result<(), Failure> {
        self.mine(DEEP)?;
        let (sat, fee_max) = (15_000_000, 20_000);
        let (has, _) = self.has("birch")?;
        let withdraw = |amount: &str, more: &[&str]| {
            let to = format!("supplier={amount}");
            let mut words = vec!["withdraw", "--client", "birch", "--wallet", "vault", "--to", &to];
            words.extend(["--fee-max", "20000sat", "--end", "2h", "--yes"]);
            words.extend(more);
            self.erp.run(&words)
        };
        let refused = withdraw("0.4btc", &[]).err().ok_or("birch could withdraw more than it has")?;
        if !refused.to_string().contains("ledger.overdraft") {
            return Err(refused);
        }
        let said = withdraw("0.15btc", &["--external-id", "INV-2026-001"])?;
        let id = field(&said, "id")?.to_owned();
        self.has_exactly("birch", has, has - sat - fee_max)?;
        tell(
            "withdrawal",
            format!(
                "{} asked by machine erp for birch: 0.4 BTC refused (no fee left), 0.15 BTC reserved",
                short(&id)
            ),
        );
        wait("the request in the log", || Ok(self.approve("alice", &id).ok()))?;
        self.server.kill();
        let begun = Instant::now();
        self.server.run()?;
        self.approve("bob", &id)?;
        let follow = |until: &str| {
            self.person("alice").run(&["--timeout", "60", "withdrawal", "follow", &id, "--until", until])
        };
        follow("broadcast")?;
        let after = begun.elapsed().as_millis();
        self.mine(1)?;
        follow("confirming")?;
        self.mine(DEEP - 1)?;
        follow("settled")?;
        let done = self.person("bob").run(&["withdrawal", "show", &id])?;
        let fee: u64 = field(&done, "fee")?.parse()?;
        let txid = field(&done, "txid")?.to_owned();
        self.has_exactly("birch", has - sat - fee, has - sat - fee)?;
        let address = self.thief.address_of("supplier", &self.signers)?;
        self.facts.payouts.push(Payment { txid: txid.clone(), address, sat });
        tell(
            "withdrawal",
            format!(
                "server killed after Alice's approval; it went on: {} in the mempool {after} ms after the restart, settled, fee {fee} sat",
                short(&txid)
            ),
        );
        Ok(())
    }

    /// The books are what the network has, and the rows are those that were anchored in the log.
    pub(super) fn reconcile(&self) -> Result<(), Failure> {
        // Refused while the last block is still being looked at.
        let compared = wait("a comparison", || Ok(self.person("bob").run(&["reconcile"]).ok()))?;
        let all = compared.as_array().cloned().unwrap_or_default();
        let zero = |one: &Value| one.get("difference").and_then(Value::as_str) == Some("0");
        if all.is_empty() || !all.iter().all(zero) {
            return Err(format!("the books do not reconcile: {compared}").into());
        }
        let network: Vec<&str> = all.iter().filter_map(|one| field(one, "network").ok()).collect();
        tell("reconcile", format!("books and network agree: {} sat", network.join(", ")));
        let verified = self.person("bob").run(&["ledger", "verify", "--books", &self.books])?;
        tell("ledger", format!("every row verified against the log's anchor: {}", summary(&verified)));
        Ok(())
    }

    /// What a machine needs for HTTPS, for whoever goes on playing.
    pub(super) fn certificate(&self) -> Result<(), Failure> {
        let server = program("keyward-server")?;
        let dir = text(&self.directory.join("server"));
        let pem = ask(&server, &["certificate", "--dir", &dir], None)?;
        std::fs::write(self.directory.join("server.pem"), pem)?;
        let (cert, key) = (text(&self.directory.join("erp.pem")), text(&self.directory.join("erp.key")));
        let device = text(self.erp.device());
        self.erp.run(&[
            "machine",
            "certificate",
            "--out-cert",
            &cert,
            "--out-key",
            &key,
            "--device",
            &device,
        ])?;
        Ok(())
    }
}

/// A few words about what was verified.
fn summary(verified: &Value) -> String {
    let number = |name: &str| verified.get(name).map(Value::to_string).unwrap_or_default();
    format!("{} transfers in {} batches", number("transfers"), number("seq"))
}
