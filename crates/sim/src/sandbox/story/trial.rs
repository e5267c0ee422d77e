//! What tests do with a deployment: anything that people can do, kills, and second servers.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Story, wait};
use crate::sandbox::programs::{Service, ask, program};
use crate::sandbox::{Failure, text};

/// A second server.
#[derive(Debug)]
pub struct Replica {
    id: String,
    service: Service,
}

impl Replica {
    /// The address to give to `keyward --server`.
    pub fn address(&self) -> String {
        format!("{}@{}", self.id, self.service.address())
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.service.kill();
    }
}

impl Story {
    /// What `keyward` answers to a person, or to machine `erp`.
    ///
    /// # Errors
    /// What it says when it refuses.
    pub fn keyward(&self, who: &str, words: &[&str]) -> Result<Value, Failure> {
        if who == self.erp.id { self.erp.run(words) } else { self.person(who).run(words) }
    }

    /// As [`Story::keyward`], until it succeeds; the last refusal if it never does.
    ///
    /// # Errors
    /// That it did not within the time of a step.
    pub fn keyward_soon(&self, who: &str, words: &[&str]) -> Result<Value, Failure> {
        let mut said = String::new();
        let what = words.join(" ");
        let found = wait(&what, || match self.keyward(who, words) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                said = error.to_string();
                Ok(None)
            }
        });
        found.map_err(|error| format!("{error}; last: {said}").into())
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        self.server.kill();
    }

    /// Starts the server on its directory.
    ///
    /// # Errors
    /// What it says when it does not start.
    pub fn start_server(&mut self) -> Result<(), Failure> {
        self.server.run()
    }

    /// Starts the server with more options, which it keeps.
    ///
    /// # Errors
    /// What it says when it does not start.
    pub fn start_server_with(&mut self, more: &[&str]) -> Result<(), Failure> {
        self.server.add(more);
        self.server.run()
    }

    /// The directory of the server.
    pub fn server_directory(&self) -> PathBuf {
        self.directory.join("server")
    }

    /// What the server has printed.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn server_log(&self) -> Result<String, Failure> {
        Ok(std::fs::read_to_string(self.directory.join("server.log"))?)
    }

    /// Where the books are.
    pub fn books(&self) -> &str {
        &self.books
    }

    /// Where the REST interface is served now.
    ///
    /// # Errors
    /// A server that did not say so.
    pub fn api_address(&self) -> Result<String, Failure> {
        Ok(std::fs::read_to_string(self.directory.join("server.api"))?.trim().to_owned())
    }

    /// Writes what a caller by HTTPS needs: `server.pem`, `erp.pem`, `erp.key` in the directory.
    ///
    /// # Errors
    /// What a program refuses.
    pub fn certificates(&self) -> Result<PathBuf, Failure> {
        self.certificate()?;
        Ok(self.directory.clone())
    }

    /// Opens a further wallet on an account of the ceremony.
    ///
    /// # Errors
    /// What is refused.
    pub fn open_another(&self, id: &str, slot: &str, model: &str) -> Result<(), Failure> {
        let open =
            ["wallet", "open", "--id", id, "--ceremony", &self.ceremony, "--slot", slot, "--model", model];
        self.review(serde_json::from_value(model.into())?)?;
        self.keyward_soon("carol", &open)?;
        self.approve_proposals(&["alice", "bob"])
    }

    /// Mines blocks.
    ///
    /// # Errors
    /// What the node refuses.
    pub fn mine_blocks(&self, blocks: u32) -> Result<(), Failure> {
        self.mine(blocks)
    }

    /// Somebody outside pays an address.
    ///
    /// # Errors
    /// A customer without coins, or a node that refuses.
    pub fn customer_pays(&mut self, address: &str, sat: u64) -> Result<String, Failure> {
        self.customer.pay(&self.node, address, sat)
    }

    /// Makes the keys of a second server and lets people enrol it.
    ///
    /// # Errors
    /// What a program refuses.
    pub fn enrol_server(&self, id: &str) -> Result<(), Failure> {
        self.enrol_machine(id, "authorise,allocate,observe").map(drop)
    }

    /// Makes the keys of a machine as a server holds them, and lets people enrol it. Its directory.
    ///
    /// # Errors
    /// What a program refuses.
    pub fn enrol_machine(&self, id: &str, grants: &str) -> Result<PathBuf, Failure> {
        let directory = text(&self.directory.join(id));
        let machine = text(&self.directory.join(format!("{id}.machine.json")));
        let init = ["init", "--dir", &directory, "--id", id, "--grants", grants, "--out", &machine];
        ask(&program("keyward-server")?, &init, None)?;
        self.person("carol").run(&["machine", "add", &machine])?;
        self.approve_proposals(&["alice", "bob"])?;
        Ok(self.directory.join(id))
    }

    /// Carol proposes something, Alice and Bob approve it.
    ///
    /// # Errors
    /// What is refused.
    pub fn adopt(&self, words: &[&str]) -> Result<(), Failure> {
        self.keyward_soon("carol", words)?;
        self.approve_proposals(&["alice", "bob"])
    }

    /// Starts a second server, enrolled before, on the books of the first one.
    ///
    /// # Errors
    /// What it says when it does not start.
    pub fn second_server(&self, id: &str) -> Result<Replica, Failure> {
        self.second_server_with(id, &[])
    }

    /// As [`Story::second_server`], with more options.
    ///
    /// # Errors
    /// What it says when it does not start.
    pub fn second_server_with(&self, id: &str, more: &[&str]) -> Result<Replica, Failure> {
        let genesis = text(&self.directory.join("genesis.json"));
        let shown = self.people[0].run(&["genesis", "show", &genesis])?;
        let hash = super::field(&shown, "hash")?.to_owned();
        let (dir, cookie) =
            (text(&self.directory.join(id)), text(&self.node.directory().join("regtest/.cookie")));
        let node = self.node.rpc().address().to_string();
        let mut words = super::strings(&[
            "run",
            "--dir",
            &dir,
            "--genesis",
            &genesis,
            "--genesis-hash",
            &hash,
            "--node",
            &node,
            "--node-cookie",
            &cookie,
            "--listen",
            "{listen}",
            "--ready-file",
            "{ready}",
            "--books",
            &self.books,
        ]);
        words.extend(super::strings(more));
        for (name, service) in &self.signers {
            words.extend(["--cosigner".into(), format!("{name}={}", service.address())]);
        }
        let files: &Path = &self.directory.join(id);
        let service = Service::start(program("keyward-server")?, words, None, files)?;
        Ok(Replica { id: id.to_owned(), service })
    }

    /// Whoever holds the server's keys proposes a transaction for an approved request without asking the
    /// books. True when the log takes it.
    ///
    /// # Errors
    /// A request that is not in the log, a node that does not answer.
    pub fn propose_behind_the_books(&self, request: &str) -> Result<bool, Failure> {
        match self.thief.too_early(request, &self.node, &self.signers) {
            Ok(_) => Ok(false),
            Err(error) if error.to_string().contains("took a stolen proposal") => Ok(true),
            Err(error) => Err(error),
        }
    }
}
