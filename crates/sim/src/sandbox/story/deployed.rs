//! A deployment of real programs without the story, for whoever measures it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitcoin::Txid;

use super::{DEEP, Story};
use crate::regtest::Node;
use crate::sandbox::Failure;
use crate::sandbox::customer::Customer;

/// Deposits in one block: well under the 25 unconfirmed ancestors that the node takes.
const DEPOSITS_PER_BLOCK: u32 = 20;

impl Story {
    /// A deployment in `directory` (made before) with wallet `vault`, `coins` deposits of `sat` satoshi
    /// that are deep enough to pay from, and destination `supplier`. Carol asks, Alice and Bob approve.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn deploy(directory: &Path, coins: u32, sat: u64) -> Result<Self, Failure> {
        Self::deploy_on(directory, None, coins, sat)
    }

    /// As [`Story::deploy`], with the books at an address instead of in the server's directory.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn deploy_on(directory: &Path, books: Option<&str>, coins: u32, sat: u64) -> Result<Self, Failure> {
        let mut story = Self::begin(directory, books)?;
        let (ceremony, accounts) = story.hold_ceremony()?;
        story.open_wallet(&ceremony, accounts)?;
        story.add_clients()?;
        let address = story.give_address()?;
        for count in 1..=coins {
            story.customer.pay(&story.node, &address, sat)?;
            if count % DEPOSITS_PER_BLOCK == 0 {
                story.mine(1)?;
            }
        }
        story.mine(DEEP)?;
        story.deposits_are("acme", "credited", usize::try_from(coins)?)?;
        story.add_destination()?;
        Ok(story)
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where the server listens.
    pub fn server(&self) -> SocketAddr {
        self.server.address()
    }

    /// The genesis document.
    pub fn genesis_file(&self) -> PathBuf {
        self.directory.join("genesis.json")
    }

    /// The device key file of a person, and its passphrase.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn device(&self, id: &str) -> Result<(Vec<u8>, String), Failure> {
        let person = self.person(id);
        Ok((std::fs::read(person.device())?, person.passphrase().to_owned()))
    }

    /// The server and the co-signers that run: name and process id.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let services = std::iter::once(&self.server).chain(self.signers.iter().map(|(_, service)| service));
        services.filter_map(|service| Some((service.name(), service.id()?))).collect()
    }

    /// A payment between strangers, signed and not sent.
    ///
    /// # Errors
    /// A customer without coins.
    pub fn strangers_payment(&mut self, sat: u64) -> Result<(Txid, Vec<u8>), Failure> {
        self.customer.sign(&Customer::new().address().to_string(), sat)
    }

    /// Confirms everything that waits.
    ///
    /// # Errors
    /// What the node refuses.
    pub fn confirm(&self) -> Result<(), Failure> {
        self.mine(1)
    }
}
