//! The secret half of a ceremony: what the child process answers that alone ever has the secrets. It knows
//! the script, keeps to the order of its secret steps, and ends with the pipe. Every answer is worked out on
//! a locked stack that is wiped before the next one (DACS GEN-08).

pub mod frame;

use std::io::{Read, Write};

use custody::document::{CeremonyRecord, CosignerCard};
use custody::effects::AccountKey;
use custody::genesis::Genesis;
use custody::{Blob, Hash, PublicKey};
use keys::locked::{LockedBytes, on_locked_stack};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::entropy::{Gathered, Source, Statement};
use crate::files::SealedShares;
use crate::script::{ComponentId, Script, steps::Medium};
use crate::secrets::{Backup, CeremonyError, Dealt, Master, Plan, ReadBackError, Restored};
use crate::slip39::{Mnemonic, WordsError};
use frame::FrameError;

/// Bytes of the locked stack: the deepest call is a threshold signature, which takes less than a tenth.
pub const STACK_BYTES: usize = 2 << 20;

/// What the program asks of its worker. Secrets that people type come beside it, as bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// First: what the ceremony is.
    Begin {
        /// The canonical bytes of the script.
        script: Blob,
        /// The canonical bytes of genesis.
        genesis: Blob,
        /// Cards of co-signers that took the place of those in genesis.
        cards: Vec<CosignerCard>,
        /// The time, in seconds since 1970.
        held_at: u64,
        /// SHA-256 of the program.
        program: Hash,
    },
    /// Takes randomness; beside it what was thrown, flipped, or came from a device.
    Gather {
        /// From where.
        source: Source,
    },
    /// Makes the master secret of all that was gathered.
    Generate,
    /// Takes a component that exists; beside it its words.
    Enter {
        /// Which.
        component: ComponentId,
    },
    /// Combines what was entered.
    Combine,
    /// Splits the master secret, and rebuilds it from every set of components that must.
    Verify,
    /// Gives a component to be shown to its holder: the words come beside the answer.
    Show {
        /// Which.
        component: ComponentId,
    },
    /// Takes what was read back; beside it the words.
    ReadBack {
        /// Of which component.
        component: ComponentId,
        /// From which medium.
        medium: Medium,
    },
    /// Rebuilds the seed from what was read back or entered, and signs with the rebuilt keys.
    Restore,
    /// Deals, proves and seals the accounts.
    SealShares,
}

/// What the worker answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// Done, and nothing to say.
    Done,
    /// What a source is stated to have given.
    Gathered {
        /// How many throws, flips or bytes.
        symbols: u32,
        /// The stated minimum entropy, in bits.
        min_entropy_bits: u32,
    },
    /// The master secret exists.
    Generated {
        /// Random and public.
        nonce: Hash,
        /// Where it came from.
        entropy: Statement,
    },
    /// A component that was entered or read back.
    Read {
        /// Its public health key.
        health: PublicKey,
    },
    /// The components gave a master secret.
    Combined {
        /// Random and public.
        nonce: Hash,
        /// The accounts that the script knows, as they follow from it.
        known: Vec<AccountKey>,
    },
    /// Every set of new components gave the secret.
    Verified {
        /// How many sets.
        combinations: u64,
        /// The public health keys, in order.
        health: Vec<PublicKey>,
        /// The accounts of the script.
        accounts: Vec<AccountKey>,
    },
    /// The words of a component are beside this.
    Component {
        /// Its public health key.
        health: PublicKey,
    },
    /// The rebuilt keys signed.
    Restored {
        /// The accounts of the script, as rebuilt.
        accounts: Vec<AccountKey>,
        /// Their signatures.
        signatures: Vec<Blob>,
    },
    /// The shares are sealed, and every secret is forgotten.
    Sealed {
        /// The record, to be finished with the report and signed.
        record: Box<CeremonyRecord>,
        /// The shares.
        shares: SealedShares,
        /// How many sets of co-signers signed.
        sets: u64,
    },
    /// Nothing changed: what is wrong, and what to do. The same can be asked again. Where words of a component
    /// are wrong, the likely ones come beside it, a line each, for their holder's eyes alone.
    Refused {
        /// Why.
        why: String,
    },
    /// It went wrong in a way that ends the ceremony: the secrets are forgotten.
    Failed {
        /// Why.
        why: String,
    },
}

/// What the ceremony is, for as long as the worker lives.
struct Task {
    script: Script,
    genesis: Genesis,
    cards: Vec<CosignerCard>,
    held_at: u64,
    program: Hash,
    /// In words, for the record.
    entropy: String,
    nonce: Hash,
}

impl Task {
    fn plan(&self) -> Plan<'_> {
        Plan {
            genesis: &self.genesis,
            cards: &self.cards,
            first: self.script.accounts.first,
            accounts: self.script.accounts.count,
            held_at: self.held_at,
            entropy: &self.entropy,
            program: self.program,
        }
    }
}

/// Where the secrets are.
enum Phase {
    Gathering(Vec<Gathered>),
    Entering(Vec<Component>),
    Master(Master),
    Backup(Box<Backup>),
    Restored(Restored),
    Over,
}

/// Why an ask is not answered as it should be.
enum Trouble {
    /// Ask again.
    Refused(String),
    /// Ask again with other words; the likely ones are for their holder's eyes.
    Words(WordsError),
    /// It is over.
    Failed(String),
}

impl From<CeremonyError> for Trouble {
    fn from(error: CeremonyError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ReadBackError> for Trouble {
    fn from(error: ReadBackError) -> Self {
        Self::Refused(error.to_string())
    }
}

fn refuse<T>(why: impl ToString) -> Result<T, Trouble> {
    Err(Trouble::Refused(why.to_string()))
}

/// The worker.
pub struct Worker<R> {
    rng: R,
    task: Option<Task>,
    phase: Phase,
}

impl<R: CryptoRngCore + Send> Worker<R> {
    /// A worker that takes its randomness from here: the shipped program has the operating system's
    /// generator, and no other way in.
    pub fn new(rng: R) -> Self {
        Self { rng, task: None, phase: Phase::Over }
    }

    /// Answers until the other side closes the pipe.
    ///
    /// # Errors
    /// A pipe that fails; the secrets are forgotten then.
    pub fn serve(&mut self, from: &mut impl Read, to: &mut impl Write) -> Result<(), FrameError> {
        while let Some((ask, secret)) = frame::receive(from)? {
            let (answer, words) = self.answer(ask, secret)?;
            frame::send(to, &answer, words.as_ref().map_or(&[][..], LockedBytes::expose))?;
        }
        Ok(())
    }

    /// Answers one ask, on a locked stack.
    ///
    /// # Errors
    /// No locked memory.
    pub fn answer(
        &mut self,
        ask: Ask,
        secret: LockedBytes,
    ) -> Result<(Answer, Option<LockedBytes>), FrameError> {
        // What is said of a failure may come from words, and is made on the locked stack, too.
        on_locked_stack(STACK_BYTES, || {
            self.work(ask, secret).unwrap_or_else(|trouble| match trouble {
                Trouble::Refused(why) => (Answer::Refused { why }, None),
                Trouble::Words(error) => (Answer::Refused { why: error.to_string() }, error.likely()),
                Trouble::Failed(why) => {
                    self.phase = Phase::Over;
                    (Answer::Failed { why }, None)
                }
            })
        })
        .map_err(FrameError::from)
    }

    fn work(&mut self, ask: Ask, secret: LockedBytes) -> Result<(Answer, Option<LockedBytes>), Trouble> {
        let plain = |answer| Ok((answer, None));
        match ask {
            Ask::Begin { script, genesis, cards, held_at, program } => {
                plain(self.begin(&script, &genesis, cards, held_at, program)?)
            }
            Ask::Gather { source } => plain(self.gather(source, &secret)?),
            Ask::Generate => plain(self.generate()?),
            Ask::Enter { component } => plain(self.enter(component, &secret)?),
            Ask::Combine => plain(self.combine()?),
            Ask::Verify => plain(self.verify()?),
            Ask::Show { component } => self.show(component),
            Ask::ReadBack { component, medium } => plain(self.read_back(component, medium, &secret)?),
            Ask::Restore => plain(self.restore()?),
            Ask::SealShares => plain(self.seal_shares()?),
        }
    }

    fn task(&self) -> Result<&Task, Trouble> {
        self.task.as_ref().map_or_else(|| refuse("the ceremony has not begun: say what it is first"), Ok)
    }

    fn begin(
        &mut self,
        script: &Blob,
        genesis: &Blob,
        cards: Vec<CosignerCard>,
        held_at: u64,
        program: Hash,
    ) -> Result<Answer, Trouble> {
        if self.task.is_some() {
            return refuse("the ceremony has begun already: one process holds one");
        }
        let genesis = Genesis::parse(&genesis.0).or_else(refuse)?;
        let script = Script::parse(&script.0).or_else(refuse)?;
        script.check(&genesis).or_else(refuse)?;
        let generates = script.kind.generates();
        let entropy = "recovered from components, which an earlier ceremony made".to_owned();
        let task = Task { script, genesis, cards, held_at, program, entropy, nonce: Hash([0; 32]) };
        task.plan().check().or_else(refuse)?;
        self.task = Some(task);
        self.phase = if generates { Phase::Gathering(Vec::new()) } else { Phase::Entering(Vec::new()) };
        Ok(Answer::Done)
    }

    fn gather(&mut self, source: Source, symbols: &LockedBytes) -> Result<Answer, Trouble> {
        let (Some(task), Phase::Gathering(gathered)) = (&self.task, &mut self.phase) else {
            return refuse("randomness is taken before there is a secret, and only where one is made");
        };
        if gathered.iter().any(|earlier| earlier.source() == source) {
            return refuse("this source was taken already");
        }
        if !task.script.sources().any(|asked| asked == source) {
            return refuse("the script does not ask for this source");
        }
        let new = Gathered::take(source, symbols.expose(), &mut self.rng).or_else(refuse)?;
        new.enough().or_else(refuse)?;
        let answer = Answer::Gathered { symbols: new.symbols(), min_entropy_bits: new.min_entropy_bits() };
        gathered.push(new);
        Ok(answer)
    }

    /// A new name for the ceremony.
    fn name(&mut self) -> Result<Hash, Trouble> {
        let mut nonce = Hash([0; 32]);
        self.rng.fill_bytes(&mut nonce.0);
        if let Some(task) = &mut self.task {
            task.nonce = nonce;
        }
        Ok(nonce)
    }

    fn generate(&mut self) -> Result<Answer, Trouble> {
        let Phase::Gathering(gathered) = &self.phase else {
            return refuse("a secret is made once, of what was gathered");
        };
        let wanted = &self.task()?.script.entropy;
        let has = |source: Source| gathered.iter().any(|taken| taken.source() == source);
        let missing = [
            (true, Source::OperatingSystem),
            (wanted.dice > 0, Source::Dice),
            (wanted.coins > 0, Source::Coins),
            (wanted.hsm, Source::Hsm),
        ];
        if let Some((_, source)) = missing.into_iter().find(|(asked, source)| *asked && !has(*source)) {
            return refuse(format!("the script asks for {source}, which was not taken yet"));
        }
        let (master, entropy) = Master::mixed(gathered)?;
        self.phase = Phase::Master(master);
        let nonce = self.name()?;
        if let Some(task) = &mut self.task {
            task.entropy = entropy.to_string();
        }
        Ok(Answer::Generated { nonce, entropy })
    }

    fn enter(&mut self, component: ComponentId, words: &LockedBytes) -> Result<Answer, Trouble> {
        let read = parse(words)?;
        let (Some(task), Phase::Entering(entered)) = (&self.task, &mut self.phase) else {
            return refuse("components are entered before they are combined");
        };
        let read = Component::new(read);
        if read.id() != component {
            return refuse(format!(
                "these are the words of component {}, and not {component}: bring the right one",
                read.id()
            ));
        }
        if entered.iter().any(|earlier| earlier.id() == component) {
            return refuse(format!("component {component} was entered already"));
        }
        let health = read.health_public();
        let mut brought = task.script.held.iter().flat_map(|held| &held.brought);
        if !brought.any(|brought| brought.component == component && brought.health == health) {
            return refuse(format!("this is not component {component} as it was made: bring the right one"));
        }
        entered.push(read);
        Ok(Answer::Read { health })
    }

    fn combine(&mut self) -> Result<Answer, Trouble> {
        let Phase::Entering(entered) = &self.phase else {
            return refuse("components are combined once, after they were entered");
        };
        let words = entered.iter().map(Component::mnemonic);
        // Somebody may have brought the wrong one: it can be entered anew.
        let restored = match Restored::combined(words.clone()) {
            Ok(restored) => restored,
            Err(CeremonyError::Combine(error)) => {
                self.phase = Phase::Entering(Vec::new());
                return refuse(format!("{error}; enter all components again"));
            }
            Err(error) => return Err(error.into()),
        };
        let task = self.task()?;
        let known = task.script.held.iter().flat_map(|held| &held.known);
        let known = known.map(|known| Ok((restored.account(known.number)?, &known.account)));
        let known = known.collect::<Result<Vec<_>, CeremonyError>>()?;
        if known.iter().any(|(rebuilt, expected)| rebuilt != *expected) {
            return Err(CeremonyError::OtherSeed.into());
        }
        let known = known.into_iter().map(|(rebuilt, _)| rebuilt).collect();
        self.phase = if task.script.kind.makes_components() {
            Phase::Master(Master::combined(words)?)
        } else {
            Phase::Restored(restored)
        };
        Ok(Answer::Combined { nonce: self.name()?, known })
    }

    fn verify(&mut self) -> Result<Answer, Trouble> {
        let (Some(task), Phase::Master(_)) = (&self.task, &self.phase) else {
            return refuse("components are made once, of a master secret");
        };
        let Some(components) = &task.script.components else {
            return refuse("the script makes no components");
        };
        let Phase::Master(master) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return refuse("components are made once, of a master secret");
        };
        let accounts = task.plan().numbers().map(|number| master.account(number));
        let accounts = accounts.collect::<Result<_, _>>()?;
        let backup = master.split(&components.scheme(), &mut self.rng)?;
        let combinations = backup.verify()?;
        let health = backup.components().iter().map(Component::health_public).collect();
        self.phase = Phase::Backup(Box::new(backup));
        Ok(Answer::Verified { combinations, health, accounts })
    }

    fn show(&mut self, component: ComponentId) -> Result<(Answer, Option<LockedBytes>), Trouble> {
        let Phase::Backup(backup) = &self.phase else {
            return refuse("there is no component to show now");
        };
        let Some(found) = backup.component(component) else {
            return refuse(format!("there is no component {component}"));
        };
        let words = found.mnemonic().words().map_err(CeremonyError::from)?;
        Ok((Answer::Component { health: found.health_public() }, Some(words)))
    }

    fn read_back(
        &mut self,
        component: ComponentId,
        medium: Medium,
        words: &LockedBytes,
    ) -> Result<Answer, Trouble> {
        let Phase::Backup(backup) = &mut self.phase else {
            return refuse("there is no component to read back now");
        };
        let read = parse(words)?;
        let health = Component::health_of(&read);
        backup.read_back(component, medium, read)?;
        Ok(Answer::Read { health })
    }

    fn restore(&mut self) -> Result<Answer, Trouble> {
        if let Phase::Backup(backup) = &self.phase {
            if let Some((component, medium)) = backup.not_read_back() {
                return refuse(format!("component {component} was not read back from its {medium} yet"));
            }
            let Phase::Backup(backup) = std::mem::replace(&mut self.phase, Phase::Over) else {
                return refuse("there is nothing to restore");
            };
            self.phase = Phase::Restored(backup.restore()?);
        }
        let (Some(task), Phase::Restored(restored)) = (&self.task, &self.phase) else {
            return refuse("keys are rebuilt from components that were read back or entered");
        };
        let signed = restored.sign(&task.genesis.hash(), &task.nonce, task.plan().numbers())?;
        let (accounts, signatures) = signed.into_iter().unzip();
        Ok(Answer::Restored { accounts, signatures })
    }

    fn seal_shares(&mut self) -> Result<Answer, Trouble> {
        let (Some(task), Phase::Restored(_)) = (&self.task, &self.phase) else {
            return refuse("shares are dealt from keys that were rebuilt: restore first");
        };
        if !task.script.kind.makes_shares() {
            return refuse("this ceremony deals no shares");
        }
        let Phase::Restored(restored) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return refuse("shares are dealt from keys that were rebuilt: restore first");
        };
        let plan = task.plan();
        let dealt: Dealt = restored.deal(&plan, task.nonce, &mut self.rng)?;
        let sets = u64::try_from(dealt.prove(&plan, &mut self.rng)?).unwrap_or(u64::MAX);
        let sealed = dealt.seal(&plan, &mut self.rng)?;
        Ok(Answer::Sealed { record: Box::new(sealed.record), shares: sealed.shares, sets })
    }
}

impl<R> std::fmt::Debug for Worker<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker(<secret>)")
    }
}

fn parse(words: &LockedBytes) -> Result<Mnemonic, Trouble> {
    let text =
        str::from_utf8(words.expose()).map_err(|_| Trouble::Refused("the words are no text".into()))?;
    Mnemonic::parse(text).map_err(Trouble::Words)
}
