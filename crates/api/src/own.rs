//! Which scripts are the deployment's own: to refuse them as destinations, and to find an address by its text.

use custody::effects::Branch;
use custody::name::Name;
use deposits::Own;

use crate::problem::{Code, Problem};
use crate::view::View;

/// Where an address stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) wallet: Name,
    pub(crate) branch: Branch,
    pub(crate) index: u32,
}

/// The allocated own address that a script pays. Blocks while the index catches up with the log.
pub(crate) fn find(own: &Own, view: &View, script: &[u8]) -> Result<Option<Place>, Problem> {
    let found = own.find(&view.state, &view.decoder, script);
    let found = found.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    Ok(found.map(|own| Place { wallet: own.wallet, branch: own.branch, index: own.index }))
}
