//! What a script says of components that exist, against the report of the ceremony that made them.

use super::check::ask;
use super::{Breach, Brought, Control, Script};
use crate::report::{Verified, account_path};

impl Script {
    /// Checks the components that exist against the report of the ceremony that made them: what the script says
    /// of them, and so whose secret is rebuilt, rests on that report and not on whoever wrote the script. Holders,
    /// places and seals may have changed since. A ceremony that was given up when an old set was being destroyed
    /// made components too, and its report lists them.
    ///
    /// # Errors
    /// The first thing that differs; a script of the kind generation, before which there is nothing.
    pub fn check_held_by(&self, earlier: &Verified) -> Result<(), Breach> {
        let form = || Breach::form(&"a generation has no earlier ceremony: give no report of one");
        let held = self.held.as_ref().ok_or_else(form)?;
        let report = &earlier.report;
        ask(held.report == earlier.hash, Control::Rec00, || {
            format!(
                "its components are of report {}, and not of {}: give that one",
                held.report, earlier.hash
            )
        })?;
        // The genesis may be that of a deployment that was lost (P31): whoever verified the report named it.
        let same = (&report.script.network, report.script.tier) == (&self.network, self.tier);
        ask(same, Control::Genesis, || "its components are of another network or tier".into())?;
        let made = report.script.components.as_ref().filter(|_| !report.components.is_empty());
        ask(made.is_some_and(|made| made.scheme() == held.components.scheme()), Control::Rec00, || {
            "the earlier ceremony made no components, or by another scheme".into()
        })?;
        let is_made = |b: &Brought| {
            report.components.iter().any(|made| (made.component, made.health) == (b.component, b.health))
        };
        let other = held.brought.iter().find(|brought| !is_made(brought));
        ask(other.is_none(), Control::Rec00, || {
            let id = other.map_or_else(String::new, |brought| brought.component.to_string());
            format!("the health key of component {id} is another one in the report of the earlier ceremony")
        })?;
        // One account that the earlier ceremony rebuilt ties the secret, and so every other account.
        let of = |number: u32| {
            let path = account_path(number);
            report.accounts.iter().find(|account| account.path == path).map(|account| &account.account)
        };
        let differs = held.known.iter().find(|known| of(known.number).is_some_and(|a| *a != known.account));
        ask(differs.is_none(), Control::Rec01, || {
            let number = differs.map_or(0, |known| known.number);
            format!("account {number} is another one in the report of the earlier ceremony")
        })?;
        ask(held.known.iter().any(|known| of(known.number).is_some()), Control::Rec01, || {
            "no known account is one of the earlier ceremony: name one, so that the right secret is told"
                .into()
        })
    }
}
