//! Which scripts are the deployment's own: to refuse them as destinations, and to find an address by its text.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use custody::effects::{Branch, Decoder as _};
use custody::name::Name;

use crate::problem::{Code, Problem};
use crate::view::View;

/// Own scripts by their 32-byte output key (BIP-341): all own scripts are Taproot. Follows the log: each
/// address is derived once, tens of microseconds each.
#[derive(Debug, Default)]
pub(crate) struct Own(Mutex<Index>);

#[derive(Debug, Default)]
struct Index {
    scripts: HashMap<[u8; 32], Place>,
    next: BTreeMap<(Name, Branch), u32>,
}

/// Where an address stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) wallet: Name,
    pub(crate) branch: Branch,
    pub(crate) index: u32,
}

/// The bytes of the output key; nothing for what is not Taproot.
fn key(script: &[u8]) -> Option<[u8; 32]> {
    script.strip_prefix(&[0x51, 0x20])?.try_into().ok()
}

impl Own {
    /// The allocated own address that a script pays. Blocks while it catches up with the log.
    pub(crate) fn find(&self, view: &View, script: &[u8]) -> Result<Option<Place>, Problem> {
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for wallet in view.wallets() {
            let account = view.account_key(wallet)?;
            for branch in [Branch::Receive, Branch::Change] {
                let chain = (wallet.id.clone(), branch);
                let from = index.next.get(&chain).copied().unwrap_or(0);
                for at in from..view.state.next_index(&wallet.id, branch) {
                    let script = view.decoder.own_script(account, branch, at);
                    let script = script.map_err(|e| Problem::new(Code::Internal, e.to_string()))?;
                    let place = Place { wallet: wallet.id.clone(), branch, index: at };
                    index.scripts.extend(key(&script).map(|key| (key, place)));
                    index.next.insert(chain.clone(), at + 1);
                }
            }
        }
        Ok(key(script).and_then(|key| index.scripts.get(&key).cloned()))
    }
}
