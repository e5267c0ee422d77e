//! The alarm: a machine that is enrolled to freeze, and to nothing else (P16). Its keys lie beside those of the
//! server, because what they can do needs no protection: stop payouts, until a quorum resumes.

use custody::Hash;
use custody::document::Grant;
use custody::state::Owner;
use custody::statement::{Body, Envelope, Freeze, Scope};

use crate::clerk::At;
use crate::machine::Keys;

/// A freeze that neither is in the log nor waits here is signed again after so long, in seconds: another
/// replica may have sent it, or this one ended before it could.
pub(crate) const FREEZE_AGAIN_S: u64 = 60;

/// What to do about the freeze that a break asks for.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing: it is in force, or on its way.
    Stands,
    /// Nothing any more: a quorum lifted it, and whoever lifted it knew the break.
    Lifted,
    /// Remember this one, which is in force already.
    Adopt(Hash),
    /// Remember its id, then send it.
    Send(Envelope),
}

/// Signs freezes of the deployment's asset.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    keys: Option<Keys>,
}

impl Alarm {
    pub(crate) fn new(keys: Option<Keys>) -> Self {
        Self { keys }
    }

    /// The next step, where `mine` is the freeze that was remembered, and since when.
    ///
    /// # Errors
    /// Why nothing is frozen, for people.
    pub(crate) fn step(&self, at: &At<'_>, mine: Option<(Hash, u64)>) -> Result<Step, String> {
        if let Some((id, since)) = mine {
            if at.state.freezes().get(&id).is_some() {
                return Ok(Step::Stands);
            }
            match at.state.outcome(&id, None) {
                Some("applied") => return Ok(Step::Lifted),
                Some(rule) => {
                    return Err(format!("the log refused the freeze {id} by {rule}: freeze by hand"));
                }
                None if waits(at, &id) || at.now < since.saturating_add(FREEZE_AGAIN_S) => {
                    return Ok(Step::Stands);
                }
                None => {}
            }
        }
        let scope = self.scope(at);
        // A freeze of everything does not count: it may end for reasons of its own.
        let known = at.state.freezes().iter().find(|(_, freeze)| freeze.scope == scope);
        match known {
            Some((id, _)) => Ok(Step::Adopt(*id)),
            None => self.sign(at, scope).map(Step::Send),
        }
    }

    fn scope(&self, at: &At<'_>) -> Scope {
        Scope::Asset(at.asset.as_str().to_owned())
    }

    fn sign(&self, at: &At<'_>, scope: Scope) -> Result<Envelope, String> {
        let next = "freeze by hand (keyward freeze)";
        let Some(keys) = &self.keys else { return Err(format!("no alarm machine is set up: {next}")) };
        let machine = keys.machine();
        let body = Body::Freeze(Freeze { scope });
        let (rules, since) = (at.state.clock().rules, body.since());
        if rules < since {
            return Err(format!("rule set {rules} cannot freeze an asset alone, {since} can: {next}"));
        }
        let enrolled = at.state.machine(&machine.id).filter(|known| known.sign == machine.sign);
        if enrolled.is_none() || !at.state.granted(&Owner::Machine(machine.id.clone()), Grant::Freeze) {
            return Err(format!("machine {} is not enrolled to freeze: {next}, and enrol it", machine.id));
        }
        if enrolled.is_some_and(|known| known.grants != [Grant::Freeze]) {
            let why = format!("alarm machine {} may do more than freeze: enrol one that may not", machine.id);
            at.desk.core().alarm(why);
        }
        keys.state(at.desk.genesis(), at.now, body).map_err(|refusal| refusal.to_string())
    }

    /// Hands a freeze to the co-signers.
    ///
    /// # Errors
    /// Why it is not kept; it is signed again later.
    pub(crate) fn send(at: &At<'_>, freeze: &Envelope) -> Result<(), String> {
        let statement = freeze.unverified().map_err(|refusal| refusal.to_string())?;
        at.desk.submit(&mut at.desk.core(), freeze, statement).map_err(|error| error.to_string())
    }
}

/// Whether a freeze is on its way from here.
pub(crate) fn waits(at: &At<'_>, id: &Hash) -> bool {
    at.desk.core().pending.has(id)
}
