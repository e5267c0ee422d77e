//! What the log says at this moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use chain::BitcoinDecoder;
use custody::document::{Document, Grant, Kind, Wallet};
use custody::effects::{AccountKey, Branch, Decoder as _};
use custody::name::Name;
use custody::state::{Owner, Stage, State};
use deposits::Own;
use ledger::{Asset, Books};
use tokio::sync::Semaphore;

use crate::house::{Caller, House};
use crate::problem::{Code, Problem};

/// Comparisons of books and network that are waited for at once. Each parks a thread for seconds, and those who
/// wait get the same: a few are enough.
const COMPARING_LIMIT: usize = 8;

/// What every handler has: the server, the index of own addresses, and leave to wait for a comparison.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) house: Arc<dyn House>,
    pub(crate) own: Arc<Own>,
    pub(crate) comparing: Arc<Semaphore>,
}

/// The state under the newest final head. A copy shares its rows, so the server's lock is held for a moment
/// only.
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) decoder: BitcoinDecoder,
}

impl Desk {
    pub(crate) fn new(house: Arc<dyn House>) -> Self {
        let own = house.own();
        Self { house, own, comparing: Arc::new(Semaphore::new(COMPARING_LIMIT)) }
    }

    pub(crate) fn books(&self) -> &Books {
        self.house.books()
    }

    /// Runs what may wait for a lock, outside of the asynchronous runtime.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn House) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let house = Arc::clone(&self.house);
        let done = tokio::task::spawn_blocking(move || work(&*house)).await;
        done.map_err(|_| Problem::new(Code::Internal, "a task of the server ended early"))
    }

    pub(crate) async fn view(&self) -> Result<Arc<View>, Problem> {
        let of = |state: &State, decoder: &BitcoinDecoder| {
            Some(Arc::new(View { state: state.clone(), decoder: decoder.clone() }))
        };
        let mut view = None;
        let looked = self.house.try_look(&mut |state, decoder| view = of(state, decoder));
        if !looked {
            let look = self.blocking(move |house| {
                let mut view = None;
                house.look(&mut |state, decoder| view = of(state, decoder));
                view
            });
            view = look.await?;
        }
        view.ok_or_else(|| Problem::new(Code::Internal, "the server has no state of the log"))
    }
}

impl View {
    /// The one asset of the deployment.
    pub(crate) fn asset(&self) -> Result<Asset, Problem> {
        let asset = self.state.genesis().asset();
        asset.parse().map_err(|_| Problem::new(Code::Internal, "the asset of the deployment has no name"))
    }

    /// The asset of the deployment, if that is what the caller names.
    pub(crate) fn asset_named(&self, named: Option<&str>) -> Result<Asset, Problem> {
        let asset = self.asset()?;
        match named.filter(|named| *named != asset.as_str()) {
            Some(named) => Err(Problem::new(Code::AssetUnknown, format!("{named} is not {asset}"))),
            None => Ok(asset),
        }
    }

    pub(crate) fn wallet(&self, id: &Name) -> Result<&Wallet, Problem> {
        let why = || Problem::new(Code::WalletUnknown, format!("there is no wallet {id}"));
        self.state.wallet(id).ok_or_else(why)
    }

    pub(crate) fn wallets(&self) -> impl Iterator<Item = &Wallet> {
        self.state.documents().filter_map(|found| match &found.document {
            Document::Wallet(wallet) => Some(wallet),
            _ => None,
        })
    }

    pub(crate) fn client_known(&self, id: &Name) -> Result<(), Problem> {
        let why = || Problem::new(Code::ClientUnknown, format!("there is no client {id} in force"));
        self.state.client(id).map(|_| ()).ok_or_else(why)
    }

    pub(crate) fn account_key(&self, wallet: &Wallet) -> Result<&AccountKey, Problem> {
        let why = || Problem::new(Code::Internal, format!("wallet {} has no dealt account", wallet.id));
        self.state.slot_of(wallet).map(|slot| &slot.slot.account).ok_or_else(why)
    }

    /// The text of an own address.
    pub(crate) fn address(&self, wallet: &Wallet, branch: Branch, index: u32) -> Result<String, Problem> {
        let script = self.decoder.own_script(self.account_key(wallet)?, branch, index);
        let text = script.and_then(|script| self.decoder.address(&script));
        text.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }

    /// Clients that are in force, and those that are proposed and may still come.
    pub(crate) fn clients(&self) -> BTreeMap<Name, Standing> {
        let open = |stage: &Stage| matches!(stage, Stage::Open | Stage::Supporting | Stage::Waiting(_));
        let proposed = self.state.proposals().iter().filter_map(|(id, proposal)| match &proposal.document {
            Document::Client(client) if open(&proposal.stage) => {
                Some((client.id.clone(), Standing::Proposed { id: *id, name: client.name }))
            }
            _ => None,
        });
        let in_force = self.state.documents().filter_map(|found| match &found.document {
            Document::Client(client) => {
                let standing =
                    Standing::InForce { version: found.hash, since: found.since, name: client.name };
                Some((client.id.clone(), standing))
            }
            _ => None,
        });
        proposed.chain(in_force).collect()
    }

    /// A client of the log.
    pub(crate) fn client(&self, id: &Name) -> Option<Standing> {
        match self.state.document(Kind::Client, id.as_str()) {
            Some(found) => match &found.document {
                Document::Client(client) => {
                    Some(Standing::InForce { version: found.hash, since: found.since, name: client.name })
                }
                _ => None,
            },
            None => self.clients().remove(id),
        }
    }

    /// Whether a caller may write: people may, machines need the grant.
    pub(crate) fn may(&self, caller: &Caller, grant: Grant) -> Result<(), Problem> {
        let granted = matches!(caller.owner, Owner::Person(_)) || self.state.granted(&caller.owner, grant);
        let word = serde_json::to_value(grant).ok();
        let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        let why = || Problem::new(Code::CallerGrant, format!("{} has no grant {word}", caller.owner));
        granted.then_some(()).ok_or_else(why)
    }
}

/// Where a client of the log stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    InForce { version: custody::Hash, since: u64, name: custody::Hash },
    Proposed { id: custody::Hash, name: custody::Hash },
}

/// Who acts, in the words of a timeline: `person:alice`, `machine:erp`.
pub(crate) fn actor(owner: &Owner) -> String {
    match owner {
        Owner::Person(name) => format!("person:{name}"),
        Owner::Machine(name) => format!("machine:{name}"),
        Owner::Cosigner(name) => format!("cosigner:{name}"),
    }
}
