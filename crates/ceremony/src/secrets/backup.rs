//! The master secret and its recovery components.

use std::fmt;

use custody::effects::AccountKey;
use keys::locked::LockedBytes;
use keys::seed::Seed;
use rand_core::CryptoRngCore;
use subtle::ConstantTimeEq as _;

use super::hedged::{Use, hedged};
use super::{COIN_TYPE, CeremonyError, Restored};
use crate::component::Component;
use crate::entropy::{self, Gathered, Statement};
use crate::script::ComponentId;
use crate::script::steps::Medium;
use crate::slip39::{self, Mnemonic, Scheme};

/// The master secret of a tier, which is its BIP-32 seed.
pub struct Master(LockedBytes);

impl Master {
    /// A new one, of everything that was gathered.
    ///
    /// # Errors
    /// Too little entropy, or a source that failed its tests.
    pub fn mixed(gathered: &[Gathered]) -> Result<(Self, Statement), CeremonyError> {
        let (secret, statement) = entropy::mix(gathered)?;
        Ok((Self(secret), statement))
    }

    /// The one that exists already, to be split again.
    ///
    /// # Errors
    /// Components that are not of one secret, too few, or damaged.
    pub fn combined<'m>(components: impl IntoIterator<Item = &'m Mnemonic>) -> Result<Self, CeremonyError> {
        Ok(Self(slip39::combine(components)?))
    }

    /// Splits it into components, in the order of the scheme's groups and members.
    ///
    /// # Errors
    /// A scheme that is not sound, no locked memory.
    pub fn split(self, scheme: &Scheme, rng: &mut impl CryptoRngCore) -> Result<Backup, CeremonyError> {
        let mut rng = hedged(&self.0, Use::Components, rng)?;
        let mnemonics = slip39::split(&self.0, scheme, slip39::ITERATION_EXPONENT, &mut rng)?;
        let components: Vec<Component> = mnemonics.into_iter().map(Component::new).collect();
        let read = components.iter().map(|_| [const { None }; 2]).collect();
        Ok(Backup { master: self, scheme: scheme.clone(), components, read })
    }

    /// The public side of an account; that of account 0 tells the secret from every other one.
    ///
    /// # Errors
    /// An index of 2³¹ or more, no locked memory.
    pub fn account(&self, number: u32) -> Result<AccountKey, CeremonyError> {
        let mut copy = LockedBytes::zeroed(self.0.expose().len())?;
        copy.expose_mut().copy_from_slice(self.0.expose());
        Ok(Seed::restored(copy)?.account(COIN_TYPE, number)?.public())
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master(<secret>)")
    }
}

/// A component that was read back is not the one that was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadBackError {
    /// No such component.
    #[error("there is no component {0}")]
    Unknown(ComponentId),
    /// It is another one of this ceremony.
    #[error("that is component {0}, and not {1}: it lies in another hand; bring the right one")]
    Other(ComponentId, ComponentId),
    /// Some words differ.
    #[error("of component {component} these words are not what was made: {words}; look at them again, and make the medium anew if it says so",
        component = .0, words = .1.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Words(ComponentId, Vec<usize>),
}

/// A master secret with its components, while they are brought onto their media.
pub struct Backup {
    master: Master,
    scheme: Scheme,
    components: Vec<Component>,
    /// What was read back of each component, from paper and from its file.
    read: Vec<[Option<Mnemonic>; 2]>,
}

impl Backup {
    /// Rebuilds the secret from every minimal set of components and compares what key it gives (DACS
    /// REC-01). Returns how many sets there are.
    ///
    /// # Errors
    /// A set that rebuilds nothing, or another key.
    pub fn verify(&self) -> Result<u64, CeremonyError> {
        let expected = self.master.account(0)?;
        let mut sets = 0u64;
        for set in self.scheme.combinations() {
            let parts = set.iter().filter_map(|place| self.components.get(*place)).map(Component::mnemonic);
            let rebuilt = Master::combined(parts)?;
            let same = bool::from(rebuilt.0.expose().ct_eq(self.master.0.expose()));
            if !same || rebuilt.account(0)? != expected {
                return Err(CeremonyError::Combination(self.ids(&set)));
            }
            sets = sets.saturating_add(1);
        }
        Ok(sets)
    }

    /// The components, in order.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// One component.
    pub fn component(&self, id: ComponentId) -> Option<&Component> {
        self.components.get(self.place(id)?)
    }

    fn ids(&self, places: &[usize]) -> Vec<ComponentId> {
        places.iter().filter_map(|place| self.components.get(*place)).map(Component::id).collect()
    }

    fn place(&self, id: ComponentId) -> Option<usize> {
        self.components.iter().position(|component| component.id() == id)
    }

    /// Takes what was read back from a medium of a component.
    ///
    /// # Errors
    /// See [`ReadBackError`].
    pub fn read_back(
        &mut self,
        id: ComponentId,
        medium: Medium,
        read: Mnemonic,
    ) -> Result<(), ReadBackError> {
        let unknown = || ReadBackError::Unknown(id);
        let place = self.place(id).ok_or_else(unknown)?;
        let made = self.components.get(place).ok_or_else(unknown)?;
        let different = made.mnemonic().differing_words(&read);
        if !different.is_empty() {
            let same = |c: &&Component| c.mnemonic().differing_words(&read).is_empty();
            return Err(match self.components.iter().find(same) {
                Some(other) => ReadBackError::Other(other.id(), id),
                None => ReadBackError::Words(id, different),
            });
        }
        let media = self.read.get_mut(place).ok_or_else(unknown)?;
        let [paper, file] = media;
        *(if medium == Medium::Paper { paper } else { file }) = Some(read);
        Ok(())
    }

    /// The first component that was not read back from one of its media (DACS REC-08).
    pub fn not_read_back(&self) -> Option<(ComponentId, Medium)> {
        self.components.iter().zip(&self.read).find_map(|(component, [paper, file])| {
            let missing = match (paper, file) {
                (None, _) => Medium::Paper,
                (_, None) => Medium::File,
                (Some(_), Some(_)) => return None,
            };
            Some((component.id(), missing))
        })
    }

    /// Rebuilds the seed from what was read back, once everything was, and forgets the rest.
    ///
    /// # Errors
    /// A component that was not read back from both media.
    pub fn restore(self) -> Result<Restored, CeremonyError> {
        if let Some((id, medium)) = self.not_read_back() {
            return Err(CeremonyError::NotReadBack(id, medium));
        }
        let expected = self.master.account(0)?;
        let set = self.scheme.combinations().next().unwrap_or_default();
        // Paper and file in turn, so that both kinds of media have carried their part.
        let turns = set.iter().zip([0usize, 1].into_iter().cycle());
        let read = turns.filter_map(|(place, medium)| self.read.get(*place)?.get(medium)?.as_ref());
        let restored = Restored::combined(read)?;
        if restored.account(0)? != expected {
            return Err(CeremonyError::Combination(self.ids(&set)));
        }
        Ok(restored)
    }
}

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backup({} components, <secret>)", self.components.len())
    }
}

#[cfg(test)]
mod tests {
    use rand_core::OsRng;

    use super::super::hedged::tests::Foreseen;
    use super::*;

    fn backup(secret: u8) -> Backup {
        let master = Master(LockedBytes::take(&mut [secret; 32]).unwrap());
        master.split(&Scheme::any(2, 3).unwrap(), &mut OsRng).unwrap()
    }

    fn copy(component: &Component) -> Mnemonic {
        let words = component.mnemonic().words().unwrap();
        Mnemonic::parse(str::from_utf8(words.expose()).unwrap()).unwrap()
    }

    /// Everything read back from both media, but these from other components.
    fn read(mut backup: Backup, from: &Backup) -> Result<Restored, CeremonyError> {
        for (place, other) in from.components.iter().enumerate() {
            backup.read[place] = [Some(copy(other)), Some(copy(other))];
        }
        backup.restore()
    }

    #[test]
    fn every_set_gives_the_secret_that_was_split_or_the_ceremony_stops() {
        assert_eq!(backup(1).verify().unwrap(), 3);
        // Components that fit each other, but are of another secret: each set rebuilds something.
        let (mut good, other) = (backup(1), backup(2));
        good.components = other.components;
        assert!(matches!(good.verify(), Err(CeremonyError::Combination(set)) if set.len() == 2));
        // One that fits no other.
        let (mut good, mut other) = (backup(1), backup(1));
        std::mem::swap(&mut good.components[2], &mut other.components[2]);
        assert!(good.verify().is_err());
    }

    fn words<'c>(components: impl IntoIterator<Item = &'c Mnemonic>) -> Vec<Vec<u8>> {
        components.into_iter().map(|component| component.words().unwrap().expose().to_vec()).collect()
    }

    /// One component and a generator that is foreseen would else give the secret away.
    #[test]
    fn what_the_secret_is_split_with_follows_from_the_secret_too() {
        let secret = LockedBytes::take(&mut [1; 32]).unwrap();
        let scheme = Scheme::any(2, 3).unwrap();
        let master = Master(LockedBytes::take(&mut [1; 32]).unwrap());
        let made = master.split(&scheme, &mut Foreseen).unwrap();
        let made = words(made.components.iter().map(Component::mnemonic));
        let foreseen = words(&slip39::split(&secret, &scheme, 0, &mut Foreseen).unwrap());
        assert!(made.iter().all(|component| !foreseen.contains(component)));
        let hedged_for = |of: Use| {
            let mut inner = Foreseen;
            let mut rng = hedged(&secret, of, &mut inner).unwrap();
            words(&slip39::split(&secret, &scheme, 0, &mut rng).unwrap())
        };
        assert_eq!(made, hedged_for(Use::Components));
        assert_ne!(made, hedged_for(Use::Shares));
    }

    #[test]
    fn keys_are_dealt_from_what_was_read_back_and_only_if_it_is_the_secret() {
        let same = backup(1);
        assert_eq!(read(backup(1), &same).unwrap().account(0).unwrap(), same.master.account(0).unwrap());
        assert!(matches!(read(backup(1), &backup(2)), Err(CeremonyError::Combination(_))));
        assert!(matches!(backup(1).restore(), Err(CeremonyError::NotReadBack(_, Medium::Paper))));
    }
}
