//! A thief who has everything that the server has: its keys, its files, its place on the network. What
//! the thief sends goes to the real signers over the real wire.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bitcoin::hashes::Hash as _;
use builder::Utxo;
use chain::BitcoinDecoder;
use custody::batch::Batch;
use custody::document::CosignerCard;
use custody::effects::{AccountKey, Branch, ConfirmationProof, Decoder as _, OutPoint, Sats};
use custody::genesis::Genesis;
use custody::payment::{Authorise, TypedTransaction};
use custody::state::{Authorisation, State};
use custody::statement::Body;
use custody::{Blob, Hash};
use server::machine::Keys;
use wire::Connection;
use wire::message::{FromCosigner, ReceiptState, ToCosigner};

use super::Failure;
use super::programs::Service;
use crate::regtest::Node;

/// How far the thief looks on each chain of addresses.
const GAP: u32 = 20;

/// How long a signer may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The thief.
#[derive(Debug)]
pub(super) struct Thief {
    genesis: Genesis,
    decoder: BitcoinDecoder,
    keys: Keys,
    /// Cards of co-signers that joined since.
    joined: Vec<CosignerCard>,
}

impl Thief {
    /// Takes the server's keys.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(super) fn new(server: &Path, genesis: &Path) -> Result<Self, Failure> {
        let keys = Keys::open(server)?;
        let genesis = Genesis::parse(&std::fs::read(genesis)?)?;
        let decoder = BitcoinDecoder::new(&genesis.network)?;
        Ok(Self { genesis, decoder, keys, joined: Vec::new() })
    }

    /// Gets to know a co-signer that joined.
    ///
    /// # Errors
    /// A card that is none.
    pub(super) fn meet(&mut self, card: &str) -> Result<(), Failure> {
        self.joined.push(custody::canon::decode(&std::fs::read(card)?)?);
        Ok(())
    }

    fn connect(&self, address: SocketAddr, name: &str) -> Result<Connection, Failure> {
        let card = self.genesis.cosigners.iter().chain(&self.joined).find(|c| c.name.as_str() == name);
        let card = card.ok_or_else(|| format!("no co-signer {name}"))?;
        Ok(wire::connect(address, self.keys.tls(), card.tls.0, PATIENCE)?)
    }

    /// Asks one thing and waits for the answer that `take` recognises.
    fn ask<T>(
        &self,
        address: SocketAddr,
        name: &str,
        message: &ToCosigner,
        take: impl Fn(FromCosigner) -> Option<T>,
    ) -> Result<T, Failure> {
        let mut connection = self.connect(address, name)?;
        connection.send(&wire::encode(message)?)?;
        loop {
            if let Some(found) = take(wire::decode(&connection.recv()?)?) {
                return Ok(found);
            }
        }
    }

    /// The state of the log, replayed from what one co-signer hands out.
    fn state(&self, address: SocketAddr, name: &str) -> Result<State, Failure> {
        let mut state = State::new(self.genesis.clone())?;
        loop {
            let from = state.clock().height + 1;
            let piece = self.ask(address, name, &ToCosigner::Log { from }, |m| match m {
                FromCosigner::Log(piece) if piece.from == from => Some(piece),
                _ => None,
            })?;
            if piece.batches.is_empty() {
                return Ok(state);
            }
            for batch in &piece.batches {
                state.apply(&Batch::parse(&batch.0)?, &self.decoder)?;
            }
        }
    }

    fn any_state(&self, signers: &[(String, Service)]) -> Result<State, Failure> {
        let (name, service) = signers.last().ok_or("no co-signer")?;
        self.state(service.address(), name)
    }

    /// The height of a co-signer's final head.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn height(&self, signer: &Service) -> Result<u64, Failure> {
        let name = signer.name();
        self.ask(signer.address(), &name, &ToCosigner::Log { from: u64::MAX / 4 }, |m| match m {
            FromCosigner::Log(piece) => Some(piece.height),
            _ => None,
        })
    }

    /// The address of a destination in force.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn address_of(
        &self,
        destination: &str,
        signers: &[(String, Service)],
    ) -> Result<String, Failure> {
        let state = self.any_state(signers)?;
        let found = state.destination(&destination.parse()?).map(|d| d.address.clone());
        found.ok_or_else(|| format!("no destination {destination}").into())
    }

    /// Submits a proposal to every co-signer; gives the rule by which all refused it.
    fn propose(
        &self,
        authorise: Authorise,
        now: u64,
        signers: &[(String, Service)],
    ) -> Result<String, Failure> {
        let envelope = self.keys.state(self.genesis.hash(), now, Body::Authorise(authorise))?;
        let (id, bytes) = (envelope.id(), Blob(envelope.bytes()));
        let mut rules = Vec::new();
        for (name, service) in signers {
            let message = ToCosigner::Submit { envelope: bytes.clone() };
            let state = self.ask(service.address(), name, &message, |m| match m {
                FromCosigner::Receipt { id: about, state } if about == id => Some(state),
                _ => None,
            })?;
            match state {
                ReceiptState::Refused { rule, .. } => rules.push(rule),
                other => return Err(format!("{name} took a stolen proposal: {other:?}").into()),
            }
        }
        rules.dedup();
        Ok(rules.join(", "))
    }

    /// Proposes a transaction for a request that may not be paid yet.
    ///
    /// # Errors
    /// When some signer does not refuse.
    pub(super) fn too_early(
        &self,
        request: &str,
        node: &Node,
        signers: &[(String, Service)],
    ) -> Result<String, Failure> {
        let id = Hash::from_hex(request).ok_or("not an id")?;
        let state = self.any_state(signers)?;
        let record = state.requests().get(&id).ok_or("no such request")?;
        let wallet = state.wallet(&record.request.wallet).ok_or("no wallet")?;
        let account = &state.slot_of(wallet).ok_or("no account")?.slot.account;
        let coins = self.coins(account, node)?;
        let mut outputs = Vec::new();
        for output in &record.request.outputs {
            let (_, address) = state.payee(output).ok_or("no destination")?;
            outputs.push((self.decoder.address_script(address)?, output.amount));
        }
        let tip = node.rpc().block_count()?;
        let biggest =
            coins.iter().filter(|c| c.height.is_some_and(|h| tip >= h + 5)).max_by_key(|c| c.amount);
        let anchor = biggest.ok_or("no coin is deep enough")?.clone();
        let plan = builder::Plan {
            outputs,
            required: vec![anchor.outpoint],
            change: (Branch::Change, 0),
            fee_rate: 2,
            tip_height: tip,
        };
        let built = builder::build(&self.decoder, account, std::slice::from_ref(&anchor), &plan)?;
        let proof = self.proof(&anchor, node)?;
        let anchors =
            vec![custody::payment::NewAnchor { request: id, outpoint: anchor.outpoint, proof: Some(proof) }];
        let transaction =
            TypedTransaction { raw: Blob(built.raw), inputs: built.inputs, change: built.change.map(|_| 0) };
        self.propose(Authorise { requests: vec![id], anchors, transaction }, state.clock().time, signers)
    }

    /// The confirmed coins of an account, as the node knows them.
    fn coins(&self, account: &AccountKey, node: &Node) -> Result<Vec<Utxo>, Failure> {
        let mut coins = Vec::new();
        for branch in [Branch::Receive, Branch::Change] {
            let descriptor = self.decoder.descriptor(account, None, branch)?;
            // The node scans for one at a time, and the server asks it as well.
            let found = super::story::wait("a scan of the coins", || {
                Ok(node.rpc().scan_tx_out_set(std::slice::from_ref(&descriptor), GAP).ok())
            })?;
            for index in 0..GAP {
                let script = self.decoder.own_script(account, branch, index)?;
                coins.extend(found.unspents.iter().filter(|coin| coin.script == script).map(|coin| Utxo {
                    outpoint: OutPoint { txid: Hash(coin.txid.to_byte_array()), vout: coin.vout },
                    amount: coin.amount,
                    branch,
                    index,
                    height: Some(coin.height),
                }));
            }
        }
        Ok(coins)
    }

    fn proof(&self, coin: &Utxo, node: &Node) -> Result<ConfirmationProof, Failure> {
        let tip = node.rpc().block_count()?;
        let height = coin.height.ok_or("an unconfirmed coin")?;
        let mut headers = Vec::new();
        for at in 1..=tip {
            let hash = node.rpc().block_hash(at)?;
            let header: [u8; 80] = node.rpc().block_header(&hash)?.as_slice().try_into()?;
            headers.push(header);
        }
        let block = node.rpc().block(&node.rpc().block_hash(height)?)?;
        Ok(builder::proof::prove(&block, coin.outpoint.txid, &headers, height - 1)?)
    }

    /// Takes the newest allowed transaction and changes it: destination, amount, fee.
    ///
    /// # Errors
    /// When some signer does not refuse.
    pub(super) fn tamper(
        &self,
        signers: &[(String, Service)],
    ) -> Result<Vec<(&'static str, String)>, Failure> {
        let state = self.any_state(signers)?;
        let newest = state.authorisations().iter().map(|(_, a)| a).max_by_key(|a| a.height);
        let newest = newest.ok_or("nothing was authorised yet")?;
        type Change = fn(&mut bitcoin::Transaction);
        let changes: [(&str, Change); 3] = [
            ("another destination", |tx| {
                tx.output[0].script_pubkey = super::customer::Customer::new().address().script_pubkey()
            }),
            ("another amount", |tx| tx.output[0].value += bitcoin::Amount::from_sat(1)),
            ("change turned into fee", |tx| tx.output[1].value -= bitcoin::Amount::from_sat(20_000_000)),
        ];
        let mut refusals = Vec::new();
        for (what, change) in changes {
            let authorise = altered(newest, &state, change)?;
            refusals.push((what, self.propose(authorise, state.clock().time, signers)?));
        }
        Ok(refusals)
    }
}

fn altered(
    original: &Authorisation,
    state: &State,
    change: fn(&mut bitcoin::Transaction),
) -> Result<Authorise, Failure> {
    let mut tx: bitcoin::Transaction = bitcoin::consensus::deserialize(&original.transaction.raw.0)?;
    // The payment's own output first, so that the changes know what they change.
    let record = original.requests.first().and_then(|id| state.requests().get(id)).ok_or("no request")?;
    let asked = record.request.outputs.first().map_or(Sats(0), |o| o.amount);
    tx.output.sort_by_key(|o| o.value.to_sat() != asked.0);
    change(&mut tx);
    let raw = Blob(bitcoin::consensus::serialize(&tx));
    let transaction = TypedTransaction { raw, ..original.transaction.clone() };
    Ok(Authorise { requests: original.requests.clone(), anchors: Vec::new(), transaction })
}
