//! What came up since (DACS GEN-06).

use super::{Finding, FindingKind, Room};

/// A room as it was when it was accepted. Looks after that are compared with it until the secrets are gone.
#[derive(Clone, Debug)]
pub struct Watch(Room);

impl Watch {
    /// Starts from a room whose findings are known and admitted.
    pub fn baseline(room: Room) -> Self {
        Self(room)
    }

    /// What is there now and was not: every new finding, and each interface that had a carrier between two
    /// looks, however short it was. What went away is no change. A count that is another one without being
    /// higher is of another device under the same name, or of a driver that was loaded anew.
    pub fn changes(&self, room: &Room) -> Vec<Finding> {
        let mut changes: Vec<Finding> =
            room.findings.iter().filter(|finding| !self.0.findings.contains(finding)).cloned().collect();
        for now in &room.facts.interfaces {
            let before = self.0.facts.interfaces.iter().find(|interface| interface.name == now.name);
            let before = before.map_or(Some(0), |interface| interface.carrier_up_count);
            // A driver that stops or begins to count says nothing by it.
            if let (Some(before), Some(after)) = (before, now.carrier_up_count)
                && after != before
                && after > 0
            {
                let detail = format!("{} had a carrier meanwhile", now.name);
                changes.push(Finding::new(FindingKind::NetworkLink, &detail));
            }
        }
        changes
    }
}
