//! When the people of a deployment can no longer make a quorum (P31): its coins move under a new genesis,
//! by nothing but recovery components.

use std::path::Path;

use super::Story;
use crate::sandbox::Failure;

impl Story {
    /// A deployment in `directory` (made before) with other people, co-signers and server than `lost`, of which
    /// the network and the recovery components are left. Wallet `vault` is on the same account; nothing keeps
    /// books, which come later.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn take_over(lost: Self, directory: &Path) -> Result<Self, Failure> {
        let genesis = lost.genesis_file();
        let Self { node, customer, left, .. } = lost;
        let left = left.ok_or("the lost deployment held no ceremony")?;
        let mut story = Self::begin_on(node, customer, directory, Some("none"))?;
        let (ceremony, accounts) = story.recover(&left, &genesis)?;
        story.open_wallet(&ceremony, accounts)?;
        story.add_clients()?;
        Ok(story)
    }

    /// Allocates the first address anew, as the sheets say how many there were, and pays everything but a fee
    /// from it. Returns the transaction that was mined, and how many coins
    /// it left behind.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn sweep(&mut self, amount: &str) -> Result<(String, usize), Failure> {
        let address = self.give_address()?;
        self.add_destination()?;
        let id = self.ask_for(amount, "20000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        let left = self.node.rpc().scan_tx_out_set(&[format!("addr({address})")], 0)?;
        Ok((txid, left.unspents.len()))
    }
}
