//! Payments: asked for, approved, bumped, called back; and what a thief tries.

use std::time::Instant;

use serde_json::Value;

use super::{DEEP, Story, field, rule_of, short, wait};
use crate::sandbox::facts::Payment;
use crate::sandbox::{Failure, tell};

impl Story {
    /// Asks for a payment; gives the id of the request.
    pub(super) fn ask_for(&self, amount: &str, fee_max: &str) -> Result<String, Failure> {
        self.ask_to("supplier", amount, fee_max)
    }

    /// Asks for a payment to a destination; gives the id of the request.
    pub(super) fn ask_to(&self, to: &str, amount: &str, fee_max: &str) -> Result<String, Failure> {
        let to = format!("{to}={amount}");
        let said = self.person("carol").run(&[
            "pay",
            "--client",
            "acme",
            "--wallet",
            "vault",
            "--to",
            &to,
            "--fee-max",
            fee_max,
            "--end",
            "2h",
            "--yes",
        ])?;
        Ok(field(&said, "id")?.to_owned())
    }

    pub(super) fn approve(&self, person: &str, id: &str) -> Result<(), Failure> {
        self.person(person).run(&["approve", id, "--yes"]).map(|_| ())
    }

    /// The newest transaction of a request, with its state, as the server sees it.
    pub(super) fn payment(&self, request: &str) -> Result<Option<(String, String)>, Failure> {
        let status = self.person("alice").run(&["status"])?;
        let payments =
            status.pointer("/server/payments").and_then(Value::as_array).cloned().unwrap_or_default();
        let of = |p: &&Value| {
            let requests = p.get("requests").and_then(Value::as_array);
            requests.is_some_and(|r| r.iter().any(|id| id.as_str() == Some(request)))
        };
        let alive = |p: &&Value| p.get("state").and_then(Value::as_str) != Some("replaced");
        let found = payments.iter().rfind(|p| of(p) && alive(p));
        found.map(|p| Ok((field(p, "txid")?.to_owned(), field(p, "state")?.to_owned()))).transpose()
    }

    pub(super) fn broadcast(&self, request: &str) -> Result<String, Failure> {
        wait("the payment's broadcast", || {
            let found = self.payment(request)?;
            Ok(found
                .filter(|(_, state)| matches!(state.as_str(), "broadcast" | "confirmed"))
                .map(|(txid, _)| txid))
        })
    }

    /// One approval is not enough; with the second the money leaves.
    pub(super) fn pay(&mut self) -> Result<(), Failure> {
        let id = self.ask_for("0.25btc", "20000sat")?;
        let own = rule_of(&self.person("carol").refused(&["approve", &id, "--yes"])?);
        self.approve("alice", &id)?;
        // A server that does not wait for the second approval gets nowhere: no batch takes its proposal.
        let rule = self.thief.too_early(&id, &self.node, &self.signers)?;
        tell(
            "payment",
            format!(
                "0.25 BTC asked by Carol (her own approval: {own}); with one approval the signers refuse: {rule}"
            ),
        );
        let begun = Instant::now();
        self.approve("bob", &id)?;
        let approved = begun.elapsed();
        wait("the transaction in the mempool", || Ok(self.node.rpc().raw_mempool()?.first().map(|_| ())))?;
        let (took, after) = (begun.elapsed().as_millis(), (begun.elapsed() - approved).as_millis());
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 25_000_000)?;
        tell(
            "payment",
            format!(
                "with two it left: {}, signed 2 of 3, in the mempool {took} ms after Bob began, {after} ms after he was done",
                short(&txid)
            ),
        );
        Ok(())
    }

    /// Notes a payment that the last block confirmed.
    pub(super) fn paid(&mut self, txid: &str, sat: u64) -> Result<(), Failure> {
        let block = self.node.rpc().block_hash(self.node.rpc().block_count()?)?;
        // The node finds it in the block that was just mined, or refuses.
        self.node.rpc().raw_transaction(&txid.parse()?, Some(&block))?;
        let address = self.thief.address_of("supplier", &self.signers)?;
        self.facts.payouts.push(Payment { txid: txid.into(), address, sat });
        Ok(())
    }

    /// Whoever has the server's keys changes where the money goes, how much, and the fee.
    pub(super) fn tamper(&mut self) -> Result<(), Failure> {
        let refusals = self.thief.tamper(&self.signers)?;
        for (what, rule) in refusals {
            tell("theft", format!("{what}, with the server's keys: refused by all signers ({rule})"));
        }
        Ok(())
    }

    /// A payment with a low fee is replaced by one that pays more, bound to the same anchor.
    pub(super) fn bump(&mut self) -> Result<(), Failure> {
        let id = self.ask_for("0.1btc", "50000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let first = self.broadcast(&id)?;
        self.person("carol").run(&["bump", &id, "--rate", "40"])?;
        let second = wait("the replacement", || {
            let found = self.payment(&id)?;
            let new = |(txid, state): &(String, String)| *txid != first && state == "broadcast";
            Ok(found.filter(new).map(|(txid, _)| txid))
        })?;
        self.mine(1)?;
        self.paid(&second, 10_000_000)?;
        tell(
            "bump",
            format!(
                "stuck {} replaced by {}, same anchor, no new approval, confirmed",
                short(&first),
                short(&second)
            ),
        );
        Ok(())
    }

    /// A payment that is on its way is called back: the coins return to the own wallet, and the payment can
    /// never confirm any more.
    pub(super) fn cancel(&mut self) -> Result<(), Failure> {
        self.mine(DEEP)?;
        let id = self.ask_for("0.03btc", "50000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let first = self.broadcast(&id)?;
        let said =
            self.person("carol").run(&["cancel", &id, "--fee-max", "50000sat", "--end", "2h", "--yes"])?;
        let cancel = field(&said, "id")?.to_owned();
        self.approve("alice", &cancel)?;
        self.approve("bob", &cancel)?;
        let second = self.broadcast(&cancel)?;
        self.mine(1)?;
        let block = self.node.rpc().block_hash(self.node.rpc().block_count()?)?;
        self.node.rpc().raw_transaction(&second.parse()?, Some(&block))?;
        if !self.node.rpc().raw_mempool()?.is_empty() {
            return Err(format!("{first} is still on its way").into());
        }
        tell(
            "cancel",
            format!(
                "{} called back by {}, approved anew, same anchor, confirmed",
                short(&first),
                short(&second)
            ),
        );
        Ok(())
    }
}
