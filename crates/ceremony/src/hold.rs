//! The secret half of a generating ceremony in one call, for programs that rehearse it without people: every
//! phase of [`crate::secrets`] in its order. What people do in between (the room, the media, the report) is
//! the step list of [`crate::script`].

use custody::Hash;
use custody::document::CeremonyRecord;
use custody::statement::key_id;
use keys::device::DeviceKey;
use rand_core::CryptoRngCore;

use crate::component::Component;
use crate::entropy::Gathered;
use crate::files::SealedShares;
use crate::record;
use crate::script::{ComponentId, steps::Medium};
use crate::secrets::{Backup, CeremonyError, Master, Plan, ReadBackError, sign};
use crate::slip39::{Mnemonic, Scheme};

/// What a ceremony leaves: nothing of it is secret but the components, which are their holders'.
#[derive(Debug)]
pub struct Outcome {
    /// The record, signed by every participant.
    pub record: CeremonyRecord,
    /// The shares, each sealed to its holder.
    pub sealed: SealedShares,
    /// The recovery components.
    pub components: Vec<Mnemonic>,
    /// How many sets of co-signers were seen to sign, over all accounts (DACS REC-01).
    pub subsets: usize,
}

/// Holds a ceremony of any 2 of 3 recovery components. `report` is the hash that the record names; there is
/// none under rule set 1, whose records have no place for it.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn hold(
    plan: &Plan<'_>,
    report: Option<Hash>,
    participants: &[DeviceKey],
    rng: &mut impl CryptoRngCore,
) -> Result<Outcome, CeremonyError> {
    plan.check()?;
    let signing: Vec<Hash> = participants.iter().map(|key| key_id(&key.public().sign)).collect();
    record::participants(plan.genesis, &signing)?;
    let (master, _) = Master::mixed(&[Gathered::operating_system(rng)?])?;
    let mut backup = master.split(&Scheme::any(2, 3)?, rng)?;
    backup.verify()?;
    let mut components = Vec::new();
    for id in backup.components().iter().map(Component::id).collect::<Vec<_>>() {
        for medium in [Medium::Paper, Medium::File] {
            backup.read_back(id, medium, copy(&backup, id)?)?;
        }
        components.push(copy(&backup, id)?);
    }
    let restored = backup.restore()?;
    let mut nonce = Hash([0; 32]);
    rng.fill_bytes(&mut nonce.0);
    let signed = restored.sign(&plan.genesis.hash(), &nonce, plan.numbers())?;
    let dealt = restored.deal(plan, nonce, rng)?;
    let subsets = dealt.prove(plan, rng)?;
    let sealed = dealt.seal(plan, rng)?;
    let signatures = signed.into_iter().map(|(_, signature)| signature).collect();
    let mut record = match report {
        Some(report) => sealed.finish(report, signatures),
        None => sealed.record,
    };
    for device in participants {
        sign(&mut record, plan.genesis, device)?;
    }
    record::check(&record, plan.genesis)?;
    Ok(Outcome { record, sealed: sealed.shares, components, subsets })
}

/// What a holder reads from a medium.
fn copy(backup: &Backup, id: ComponentId) -> Result<Mnemonic, CeremonyError> {
    let made = backup.component(id).ok_or(ReadBackError::Unknown(id))?;
    let words = made.mnemonic().words()?;
    Ok(Mnemonic::parse(str::from_utf8(words.expose()).unwrap_or_default())?)
}
