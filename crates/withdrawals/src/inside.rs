//! What a request does not let leave: payments to the wallet's own house address.

use custody::document::{Destination, DestinationKind, Document, Kind, Model};
use custody::effects::{Branch, Decoder, Sats};
use custody::name::Name;
use custody::payment::{Request, RequestOutput};
use custody::state::{self, Authorisation, State};
use ledger::{Amount, HOUSE_INDEX};

use crate::log::amount;
use crate::record::sum;

/// The script of a wallet's house address. There is none where each address belongs to one client (model 3).
pub fn house_script(state: &State, decoder: &dyn Decoder, wallet: &Name) -> Option<Vec<u8>> {
    let wallet = state.wallet(wallet).filter(|wallet| wallet.model != Model::Three)?;
    let account = &state.slot_of(wallet)?.slot.account;
    decoder.own_script(account, Branch::Change, HOUSE_INDEX).ok()
}

/// What a request asks to pay to the house address of its own wallet, by destinations that people approved as
/// own. Its transactions give their change there, so none of it leaves.
pub fn returns(state: &State, decoder: &dyn Decoder, request: &Request) -> Amount {
    let own = |output: &&RequestOutput| {
        let listed = destination(state, output).filter(|_| output.address.is_none());
        listed.is_some_and(|found| found.kind == DestinationKind::Own)
    };
    let own: Vec<&RequestOutput> = request.outputs.iter().filter(own).collect();
    // Deriving an address takes tens of microseconds, and hardly any request pays an own one.
    let house = if own.is_empty() { None } else { house_script(state, decoder, &request.wallet) };
    let Some(house) = house else { return Amount::ZERO };
    let back = |output: &&&RequestOutput| script(state, decoder, output).is_some_and(|of| of == house);
    sum(own.iter().filter(back).map(|output| amount(output.amount)))
}

/// Whether a request only gathers coins of its wallet at the house address.
pub fn is_consolidation(state: &State, decoder: &dyn Decoder, request: &Request) -> bool {
    let all = request.amount().filter(|all| *all > Sats(0)).map(amount);
    all.is_some_and(|all| returns(state, decoder, request) == all)
}

/// What of a request's outputs left the wallet by a transaction that the log allowed: all but those to the
/// address that the log calls its change. Whoever follows the chain goes by the same.
pub(crate) fn left(
    state: &State,
    decoder: &dyn Decoder,
    authorisation: &Authorisation,
    request: &Request,
) -> Amount {
    let scripts = request.outputs.iter().map(|output| (script(state, decoder, output), output.amount));
    let paid: Vec<(Option<Vec<u8>>, Sats)> = scripts.collect();
    let taproot = |script: &Vec<u8>| script.starts_with(&TAPROOT);
    let maybe = paid.iter().any(|(script, _)| script.as_ref().is_some_and(taproot));
    let change = authorisation.transaction.change.filter(|_| maybe).and_then(|index| {
        let account = &state.slot_of(state.wallet(&authorisation.wallet)?)?.slot.account;
        decoder.own_script(account, Branch::Change, index).ok()
    });
    let leaves = |(script, _): &&(Option<Vec<u8>>, Sats)| change.is_none() || *script != change;
    sum(paid.iter().filter(leaves).map(|(_, sats)| amount(*sats)))
}

/// How a Taproot output begins (BIP-341): version 1, 32 bytes. All own addresses are of this kind.
const TAPROOT: [u8; 2] = [0x51, 0x20];

/// The script that an output pays; nothing for a version that was never in force, which no transaction pays.
pub(crate) fn script(state: &State, decoder: &dyn Decoder, output: &RequestOutput) -> Option<Vec<u8>> {
    let address = match &output.address {
        Some(address) => address,
        None => &destination(state, output)?.address,
    };
    decoder.address_script(address).ok()
}

/// The destination of an output in the version that was asked for, whatever is in force by now, so that every
/// look gives the same.
fn destination<'a>(state: &'a State, output: &RequestOutput) -> Option<&'a Destination> {
    let id = output.destination.as_str();
    let current = state.document(Kind::Destination, id).filter(|found| found.hash == output.version);
    let earlier = || {
        let of = |p: &&state::Proposal| p.document.kind() == Kind::Destination && p.document.subject() == id;
        let mut proposals = state.proposals().iter().map(|(_, p)| p).filter(of);
        proposals.find(|p| p.document.version(p.replaces) == output.version).map(|p| &p.document)
    };
    match current.map(|found| &found.document).or_else(earlier)? {
        Document::Destination(destination) => Some(destination),
        _ => None,
    }
}
