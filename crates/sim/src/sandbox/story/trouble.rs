//! Freezes and crashes.

use std::time::Instant;

use serde_json::Value;

use super::{DEEP, Story, field, short, wait};
use crate::sandbox::{Failure, tell};

impl Story {
    pub(super) fn freeze_and_resume(&mut self) -> Result<(), Failure> {
        // What came back as change is deep enough to be an anchor again.
        self.mine(DEEP)?;
        let id = self.ask_for("0.05btc", "20000sat")?;
        self.approve("alice", &id)?;
        let begun = Instant::now();
        let report = self.person("bob").run(&["freeze", "--yes"])?;
        let took = begun.elapsed().as_millis();
        if report.get("frozen") != Some(&Value::Bool(true)) {
            return Err(format!("not frozen: {report}").into());
        }
        self.approve("carol", &id).err().ok_or("carol approved her own request")?;
        self.approve("bob", &id)?;
        let rule = self.thief.too_early(&id, &self.node, &self.signers)?;
        tell(
            "freeze",
            format!("by Bob alone in {took} ms, directly at the signers; an approved payment stays: {rule}"),
        );
        let freeze = field(&report, "id")?.to_owned();
        self.person("carol").run(&["resume", &freeze])?;
        self.approve_proposals(&["alice", "bob"])?;
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 5_000_000)?;
        tell("resume", format!("by Alice and Bob; the payment left: {}", short(&txid)));
        Ok(())
    }

    /// One signer is killed; the other two and the witness go on, and it catches up.
    pub(super) fn lose_a_signer(&mut self) -> Result<(), Failure> {
        let Some((name, service)) = self.signers.first_mut() else { return Err("no signer".into()) };
        let name = name.clone();
        service.kill();
        self.mine(DEEP)?;
        let id = self.ask_for("0.02btc", "20000sat")?;
        self.approve("alice", &id)?;
        self.approve("bob", &id)?;
        let txid = self.broadcast(&id)?;
        self.mine(1)?;
        self.paid(&txid, 2_000_000)?;
        let Some((_, service)) = self.signers.first_mut() else { return Err("no signer".into()) };
        service.run()?;
        let target = self.thief.height(&self.signers[1].1)?;
        let begun = Instant::now();
        let back = &self.signers[0].1;
        wait("catching up", || Ok((self.thief.height(back)? >= target).then_some(())))?;
        tell(
            "crash",
            format!(
                "{name} killed: {} left without it; back and level after {} ms",
                short(&txid),
                begun.elapsed().as_millis()
            ),
        );
        Ok(())
    }
}
