//! What the books keep of the chain, and how it is taken up again.
//!
//! The cursor is a record (`deposits`) with the last block, and one record for each remembered block
//! (`deposits/0` to `deposits/143`, by height): so a block costs two small rows and not all of them.
//!
//! After a crash amid a step of several postings there are coins of blocks that the cursor does not have. They
//! are taken back here, with whatever was credited, and found again when their block is looked at.

use std::collections::BTreeMap;

use custody::Hash;
use deposits::{
    Coin, CoinKind, Cursor, Deployment, DepositRecord, Fact, Follower, Place, REMEMBERED_BLOCKS, Sighting,
};
use ledger::{Record, RecordChange, RecordKind};
use serde::{Deserialize, Serialize};

use super::Deposits;
use super::enter::change;
use super::house::{authorised, first_block};
use super::known::Known;
use crate::clerk::{At, ClerkError};

/// The record of the cursor; its blocks stand below.
const CURSOR: &str = "deposits";

/// The state of the record of a remembered block.
const BLOCK: &str = "block";

/// The body of the record of the cursor.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    deployment: Deployment,
    /// The last block that was looked at.
    tip: Place,
    /// The height of the oldest remembered one.
    oldest: u32,
    connected: u64,
    /// The height of the log by which the block was looked at.
    log: u64,
}

/// A follower, and where the books stand.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) follower: Follower,
    pub(super) mark: Mark,
    pub(super) known: Known,
    /// Deposits that were waiting before the start; whether they still do is not known yet.
    pub(super) doubtful: Vec<Sighting>,
}

/// Where the books stand.
#[derive(Debug)]
pub(super) struct Mark {
    /// The version of the record of the cursor.
    pub(super) version: u64,
    pub(super) cursor: Cursor,
    /// The versions of the records of blocks.
    blocks: BTreeMap<String, u64>,
}

/// The record of a remembered block.
fn slot(height: u32) -> String {
    let count = u32::try_from(REMEMBERED_BLOCKS).unwrap_or(u32::MAX);
    format!("{CURSOR}/{}", height % count)
}

/// The block that the books are at, and the version that says so; nothing before they followed any.
pub(crate) fn standing(at: &At<'_>) -> Result<Option<(u64, Place)>, ClerkError> {
    let Some(record) = at.books.record(RecordKind::Cursor, CURSOR)? else { return Ok(None) };
    let body: Result<Body, _> = serde_json::from_value(record.change.body);
    body.map(|body| Some((record.version, body.tip))).map_err(|_| damaged())
}

fn damaged() -> ClerkError {
    ClerkError::Other("the cursor of deposits and its blocks are not of one moment: restore the books".into())
}

impl Mark {
    /// Whether nobody else has moved the cursor.
    pub(super) fn is_newest(&self, at: &At<'_>) -> Result<bool, ClerkError> {
        let version = at.books.record(RecordKind::Cursor, CURSOR)?.map_or(0, |record| record.version);
        Ok(version == self.version)
    }

    /// The blocks that the books do not have.
    pub(super) fn fresh<'a>(&'a self, cursor: &'a Cursor) -> impl Iterator<Item = &'a Place> {
        cursor.blocks.iter().filter(|place| !self.cursor.blocks.contains(place))
    }

    /// The cursor while the step to `cursor` is posted by half: without the blocks that it undoes.
    pub(super) fn between(&self, cursor: &Cursor) -> Cursor {
        let oldest = cursor.blocks.first().map_or(0, |place| place.height);
        let stays = |place: &&Place| place.height < oldest || cursor.blocks.contains(place);
        let blocks: Vec<Place> = self.cursor.blocks.iter().filter(stays).copied().collect();
        if blocks.is_empty() {
            return self.cursor.clone();
        }
        Cursor { blocks, ..cursor.clone() }
    }

    /// The records that put a cursor into the books.
    pub(super) fn stamp(&self, cursor: &Cursor, at: &At<'_>) -> Result<Vec<RecordChange>, ClerkError> {
        let (Some(first), Some(tip)) = (cursor.blocks.first(), cursor.blocks.last()) else {
            return Err(damaged());
        };
        let (deployment, connected) = (cursor.deployment.clone(), cursor.connected);
        let log = at.state.clock().height;
        let body = Body { deployment, tip: *tip, oldest: first.height, connected, log };
        let (state, now) = ("following", at.now);
        let mut records = vec![change((RecordKind::Cursor, CURSOR), self.version, state, &body, now)?];
        for place in self.fresh(cursor) {
            let id = slot(place.height);
            let version = self.blocks.get(&id).copied().unwrap_or(0);
            records.push(change((RecordKind::Cursor, &id), version, BLOCK, place, now)?);
        }
        Ok(records)
    }

    /// It is in the books.
    pub(super) fn stamped(&mut self, cursor: &Cursor) {
        let fresh: Vec<String> = self.fresh(cursor).map(|place| slot(place.height)).collect();
        for id in fresh {
            *self.blocks.entry(id).or_default() += 1;
        }
        self.version += 1;
        self.cursor = cursor.clone();
    }
}

impl Deposits {
    /// Takes up what the books keep, or starts at the block that the genesis document pins. With a block that an
    /// operator vouches for, all above it is taken back.
    pub(super) fn take_up(&mut self, at: &At<'_>, vouched: Option<(u32, Hash)>) -> Result<(), ClerkError> {
        self.taken = None;
        self.mempool.clear();
        self.large = None;
        let Some(read) = read(at, vouched)? else { return Ok(()) };
        for coin in &read.spent {
            let by = coin.spent.filter(|by| !authorised(at.state, &by.txid));
            if let Some(by) = by {
                self.alarm(at, coin, by.txid);
            }
        }
        self.taken = Some(read.taken);
        self.enter(at, &read.facts, true)?;
        let Some(mut taken) = self.taken.take() else { return Ok(()) };
        if taken.bury(at, &read.long_gone)? {
            self.taken = Some(taken);
        }
        Ok(())
    }
}

/// What was read.
struct Read {
    taken: Taken,
    /// What a step left behind that was posted by half.
    facts: Vec<Fact>,
    /// Coins that are spent.
    spent: Vec<Coin>,
    /// Those among them that are no longer needed.
    long_gone: Vec<Coin>,
}

/// The coin of a record.
pub(super) fn coin(record: &Record) -> Result<Coin, ClerkError> {
    let bad = |error| ClerkError::Other(format!("coin {} in the books: {error}", record.change.id));
    serde_json::from_value(record.change.body.clone()).map_err(bad)
}

/// Reads it; nothing if another replica wrote meanwhile.
fn read(at: &At<'_>, vouched: Option<(u32, Hash)>) -> Result<Option<Read>, ClerkError> {
    let genesis = first_block(at.state)?;
    let (version, body) = match at.books.record(RecordKind::Cursor, CURSOR)? {
        None => return Ok(Some(begin(at, genesis))),
        Some(record) => (record.version, record.change.body),
    };
    let Body { deployment, tip, oldest, connected, log } =
        serde_json::from_value(body).map_err(|error| ClerkError::Other(format!("cursor: {error}")))?;
    if at.state.clock().height < log {
        let why =
            "the log known here is shorter than the one that the books were made by: wait for the co-signers";
        return Err(ClerkError::Other(why.into()));
    }
    if deployment.genesis != genesis {
        let why = "the books follow the chain of another network: name the books of this deployment";
        return Err(ClerkError::Other(why.into()));
    }
    let (mut versions, mut places) = (BTreeMap::new(), BTreeMap::new());
    for record in at.books.records(RecordKind::Cursor, BLOCK)? {
        let place: Place = serde_json::from_value(record.change.body).map_err(|_| damaged())?;
        places.insert(place.height, place);
        versions.insert(record.change.id, record.version);
    }
    let mut coins = Vec::new();
    let buried = vouched.map(|_| "buried");
    for state in ["unspent", "spent"].into_iter().chain(buried) {
        for record in at.books.records(RecordKind::Coin, state)? {
            coins.push(coin(&record)?);
        }
    }
    let mut doubtful = Vec::new();
    for record in at.books.records(RecordKind::Deposit, "seen")? {
        let id = record.change.id;
        let bad = |error| ClerkError::Other(format!("deposit {id} in the books: {error}"));
        let found: DepositRecord = serde_json::from_value(record.change.body).map_err(bad)?;
        doubtful.push(found.sighting());
    }
    // Every change of a coin is posted with the cursor.
    let again = at.books.record(RecordKind::Cursor, CURSOR)?;
    if again.is_none_or(|again| again.version != version) {
        return Ok(None);
    }
    let blocks: Option<Vec<Place>> =
        (oldest..=tip.height).map(|height| places.get(&height).copied()).collect();
    let blocks = blocks.filter(|blocks| blocks.last() == Some(&tip)).ok_or_else(damaged)?;
    let before = Cursor { deployment, blocks, connected };
    let mut cursor = before.clone();
    if let Some((height, block)) = vouched {
        let places = coins.iter().flat_map(|coin| [Some(coin.place), coin.spent.and_then(|by| by.place)]);
        let known = places.flatten().find(|place| (place.height, place.block) == (height, block));
        cursor.blocks = vec![known.unwrap_or(Place { height, block, connection: 0 })];
    }
    let Sorted { kept, facts } = sort(coins, &mut cursor);
    let spent: Vec<Coin> = kept.iter().filter(|coin| coin.spent.is_some()).cloned().collect();
    let oldest = cursor.blocks.first().map_or(0, |place| place.height);
    let gone = |coin: &&Coin| {
        let place = coin.spent.and_then(|by| by.place);
        coin.kind != CoinKind::Open && place.is_some_and(|place| place.height < oldest)
    };
    let long_gone = spent.iter().filter(gone).cloned().collect();
    let follower = Follower::resume(cursor, kept).map_err(|error| ClerkError::Other(error.to_string()))?;
    let mark = Mark { version, cursor: before, blocks: versions };
    let taken = Taken { follower, mark, known: Known::default(), doubtful };
    Ok(Some(Read { taken, facts, spent, long_gone }))
}

/// Nothing was kept yet: every block above the one that the genesis document pins is looked at, so that books that
/// are opened late miss nothing.
fn begin(at: &At<'_>, genesis: Hash) -> Read {
    let header = at.state.genesis().header;
    let deployment = Deployment { genesis, pinned_height: header.height, pinned: header.hash };
    let follower = Follower::start(deployment.clone(), header.height, header.hash);
    let cursor = Cursor { deployment, blocks: Vec::new(), connected: 0 };
    let mark = Mark { version: 0, cursor, blocks: BTreeMap::new() };
    let taken = Taken { follower, mark, known: Known::default(), doubtful: Vec::new() };
    Read { taken, facts: Vec::new(), spent: Vec::new(), long_gone: Vec::new() }
}

struct Sorted {
    kept: Vec<Coin>,
    facts: Vec<Fact>,
}

/// Separates coins and spends of blocks that the cursor has from those that it does not have. The latter are undone,
/// and the numbers of their blocks are not given again.
fn sort(coins: Vec<Coin>, cursor: &mut Cursor) -> Sorted {
    let oldest = cursor.blocks.first().map_or(0, |place| place.height);
    let mut connected = cursor.connected;
    let mut has = |place: &Place| {
        connected = connected.max(place.connection);
        place.height < oldest || cursor.blocks.contains(place)
    };
    let mut sorted = Sorted { kept: Vec::new(), facts: Vec::new() };
    for mut coin in coins {
        if !has(&coin.place) {
            sorted.facts.push(Fact::TakenBack(coin));
            continue;
        }
        if let Some(by) = coin.spent.filter(|by| by.place.is_some_and(|place| !has(&place))) {
            coin.spent = None;
            sorted.facts.push(Fact::Unspent { coin: coin.clone(), by });
        }
        sorted.kept.push(coin);
    }
    cursor.connected = connected;
    sorted
}
