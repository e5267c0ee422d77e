//! Consolidation: when a wallet has many small coins and the network takes little, a machine asks that they are
//! gathered at the wallet's house address.
//!
//! It only asks, by a request like any other: people approve it as the policy says, signers judge it, and the
//! books reserve for it. It is entered in the books before it goes to the log, together with a record whose
//! version two replicas race for; from there on it is a withdrawal, whoever dies.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use custody::document::{Grant, Kind};
use custody::effects::{Decoder as _, OutPoint, Sats};
use custody::name::Name;
use custody::payment::{Request, RequestOutput};
use custody::state::Owner;
use custody::statement::{Body, Envelope};
use deposits::{Coin, CoinKind, DepositRecord};
use ledger::{HOUSE_INDEX, Posting, RecordChange, RecordKind};
use serde::Deserialize;
use withdrawals::Asking;

use super::deposits::Deposits;
use super::reconcile::followed;
use super::withdrawals::{CLIENTS_SINCE, Withdrawals};
use super::{At, ClerkError};
use crate::flow::FEE_RATE_LIMIT;
use crate::flow::gather::{GATHER_LIMIT, gathering_vbytes, spoken_for, worth_gathering};
use crate::machine::Keys;

/// The rules, in the directory of the machine's keys.
pub(crate) const RULES_FILE: &str = "consolidation.json";

/// Longest file of rules that is read, in bytes: a hundred wallets.
const RULES_LIMIT_BYTES: usize = 16_384;

/// How long people have to approve a consolidation, in seconds: over a weekend.
const END_S: u64 = 72 * 3_600;

/// The least time between two requests for one wallet, in seconds: what the log does not take is not asked again
/// and again.
const PAUSE_S: u64 = 3_600;

/// When it looks again after it found something that people have to put right, in seconds.
const AGAIN_S: u64 = 60;

/// What the record of the last request of a wallet says.
const ASKED: &str = "asked";

/// When the coins of a wallet are gathered.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    wallet: Name,
    /// The destination at the wallet's house address.
    destination: Name,
    /// It has more coins than this …
    more_than: usize,
    /// … of less than so many satoshi …
    below: Sats,
    /// … and the network takes at most so many sat/vB.
    fee_rate: u64,
}

/// Asks for consolidations.
#[derive(Debug, Default)]
pub(crate) struct Consolidate {
    setting: Option<(Keys, Vec<Rule>)>,
    /// When it looks again.
    again: u64,
}

/// Why nothing is asked for: nothing is to be gathered, or something that people have to put right.
enum Not {
    Now,
    Wrong(String),
    Failed(ClerkError),
}

impl From<ClerkError> for Not {
    fn from(error: ClerkError) -> Self {
        Self::Failed(error)
    }
}

impl Consolidate {
    /// With the keys and the rules of a directory; without one nothing is ever asked for.
    ///
    /// # Errors
    /// Keys or rules that cannot be read or understood.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, ClerkError> {
        let Some(directory) = directory else { return Ok(Self::default()) };
        let keys = Keys::open(directory).map_err(|error| ClerkError::Other(error.to_string()))?;
        let path = directory.join(RULES_FILE);
        let bad = |why: String| ClerkError::Other(format!("{}: {why}", path.display()));
        let text = std::fs::read(&path).map_err(|error| bad(error.to_string()))?;
        if text.len() > RULES_LIMIT_BYTES {
            return Err(bad(format!("{} bytes, at most {RULES_LIMIT_BYTES}", text.len())));
        }
        let rules: Vec<Rule> = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        let mut wallets = BTreeSet::new();
        for rule in &rules {
            let Rule { wallet, more_than, fee_rate, .. } = rule;
            if !wallets.insert(wallet) {
                return Err(bad(format!("wallet {wallet} has two rules: one is enough")));
            }
            if *more_than == 0 || !(1..=FEE_RATE_LIMIT).contains(fee_rate) {
                let why = "more_than is 1 or more, fee_rate from 1 to";
                return Err(bad(format!("wallet {wallet}: {why} {FEE_RATE_LIMIT} sat/vB")));
            }
        }
        Ok(Self { setting: Some((keys, rules)), again: 0 })
    }

    /// Looks at each wallet that has a rule.
    ///
    /// # Errors
    /// The books. The next turn goes on.
    pub(crate) fn turn(
        &mut self,
        at: &At<'_>,
        deposits: &Deposits,
        withdrawals: &Withdrawals,
    ) -> Result<(), ClerkError> {
        if at.now < self.again || self.setting.is_none() {
            return Ok(());
        }
        if let Ok((_, coins)) = followed(deposits.follower())
            && !self.look(at, &coins, withdrawals)?
        {
            self.again = at.now.saturating_add(AGAIN_S);
        }
        Ok(())
    }

    /// Returns whether nothing is to be put right.
    fn look(&self, at: &At<'_>, coins: &[&Coin], withdrawals: &Withdrawals) -> Result<bool, ClerkError> {
        let Some((keys, rules)) = &self.setting else { return Ok(true) };
        let rate = at.desk.core().published.fee_rate;
        let Some(rate) = rate else { return Ok(true) };
        let mut right = true;
        for rule in rules.iter().filter(|rule| rate <= rule.fee_rate) {
            if withdrawals.gathers(&rule.wallet, &rule.destination) {
                continue;
            }
            match ask(at, keys, rule, coins) {
                Ok(()) | Err(Not::Now) => {}
                Err(Not::Wrong(why)) => {
                    right = false;
                    at.desk.core().alarm(format!("wallet {} is not consolidated: {why}", rule.wallet));
                }
                Err(Not::Failed(error)) => return Err(error),
            }
        }
        Ok(right)
    }
}

/// Enters a request to gather the small coins of a wallet, if there are enough of them.
fn ask(at: &At<'_>, keys: &Keys, rule: &Rule, coins: &[&Coin]) -> Result<(), Not> {
    let last = at.books.record(RecordKind::Consolidation, rule.wallet.as_str()).map_err(ClerkError::from)?;
    if last.as_ref().is_some_and(|last| at.now < last.change.at.saturating_add(PAUSE_S)) {
        return Err(Not::Now);
    }
    let amounts = small(at, rule, coins)?;
    if amounts.len() <= rule.more_than {
        return Err(Not::Now);
    }
    let request = request(at, rule, amounts)?;
    let (envelope, not_after) = sign(at, keys, request.clone())?;
    let requester = Owner::Machine(keys.machine().id);
    let asking = Asking {
        id: envelope.id(),
        request: &request,
        requester: &requester,
        envelope: Some(STANDARD.encode(envelope.bytes())),
        not_after,
    };
    let begun = withdrawals::begin(at.state, at.decoder, &asking, at.asset, at.now);
    let (withdrawal, hold) = begun.map_err(|error| Not::Wrong(error.to_string()))?;
    let asked = RecordChange {
        kind: RecordKind::Consolidation,
        id: rule.wallet.to_string(),
        expect: last.map_or(0, |last| last.version),
        state: ASKED.to_owned(),
        client: None,
        external_id: None,
        at: at.now,
        body: serde_json::json!({ "withdrawal": withdrawal.id }),
    };
    let records = vec![withdrawal.record_change(0, None, at.now), asked];
    match at.books.commit_or_lose(Posting { transfers: vec![hold], records }).map_err(ClerkError::from) {
        // The next turn finds it in the books, and sends it. Another replica may have been faster.
        Ok(_) => at.desk.wake_clerk(&mut at.desk.core()),
        Err(refused) if refused.is_refusal() => return Err(Not::Wrong(refused.to_string())),
        Err(error) => return Err(Not::Failed(error)),
    }
    Ok(())
}

/// The coins that the books are not sure of: deposits that are held, or not judged yet.
pub(super) fn uncertain(at: &At<'_>, coins: &[&Coin]) -> Result<BTreeSet<OutPoint>, ClerkError> {
    let open = coins.iter().filter(|coin| coin.kind == CoinKind::Open).map(|coin| coin.outpoint);
    let mut all: BTreeSet<OutPoint> = open.collect();
    for record in at.books.records(RecordKind::Deposit, "held")? {
        let id = &record.change.id;
        let read = serde_json::from_value(record.change.body);
        let bad = |error| ClerkError::Other(format!("deposit {id} in the books: {error}"));
        let read: DepositRecord = read.map_err(bad)?;
        all.insert(read.outpoint);
    }
    Ok(all)
}

/// The amounts of the small coins of a wallet that can be gathered, the smallest first.
fn small(at: &At<'_>, rule: &Rule, coins: &[&Coin]) -> Result<Vec<u64>, ClerkError> {
    let own = || coins.iter().filter(|coin| coin.address.wallet == rule.wallet && coin.spent.is_none());
    let size = |coin: &Coin| coin.amount < rule.below && coin.amount >= worth_gathering(rule.fee_rate);
    // Most wallets have few: then nothing else is looked at.
    if own().filter(|coin| size(coin)).count() <= rule.more_than {
        return Ok(Vec::new());
    }
    let unspent: BTreeSet<OutPoint> = own().map(|coin| coin.outpoint).collect();
    let proposed = at.desk.core().pending.proposed();
    let mut taken = spoken_for(at.state, &rule.wallet, &unspent, &proposed);
    taken.extend(uncertain(at, coins)?);
    let free = own().filter(|coin| size(coin) && !taken.contains(&coin.outpoint));
    let mut amounts: Vec<u64> = free.map(|coin| coin.amount.0).collect();
    amounts.sort_unstable();
    Ok(amounts)
}

/// The request that gathers the first of these coins: all that they hold but the highest fee and the least change.
fn request(at: &At<'_>, rule: &Rule, mut amounts: Vec<u64>) -> Result<Request, Not> {
    let Rule { wallet, destination, fee_rate, .. } = rule;
    let house = withdrawals::house_script(at.state, at.decoder, wallet);
    let why =
        || "it has no address of the house: there is no such wallet, or each of its addresses is a client's";
    let house = house.ok_or_else(|| Not::Wrong(why().into()))?;
    amounts.truncate(GATHER_LIMIT);
    let all = amounts.iter().fold(0u64, |sum, amount| sum.saturating_add(*amount));
    let fee_max = gathering_vbytes(amounts.len(), 2).saturating_mul(*fee_rate);
    let dust = at.decoder.dust_limit(&house);
    let amount = Sats(all.saturating_sub(fee_max).saturating_sub(dust.0));
    if amount < dust {
        return Err(Not::Now);
    }
    let version = at.state.document(Kind::Destination, destination.as_str()).map(|found| found.hash);
    let ppm = u128::from(fee_max).saturating_mul(1_000_000).div_ceil(u128::from(amount.0));
    let request = Request {
        wallet: wallet.clone(),
        outputs: vec![RequestOutput::listed(destination.clone(), version.unwrap_or_default(), amount)],
        fee_max: Sats(fee_max),
        fee_max_ppm: u64::try_from(ppm).unwrap_or(u64::MAX),
        end: at.now.max(at.state.clock().time).saturating_add(END_S),
        renews: None,
        despite: Vec::new(),
        note: None,
        client: None,
    };
    if withdrawals::is_consolidation(at.state, at.decoder, &request) {
        return Ok(request);
    }
    let address = at.decoder.address(&house).unwrap_or_default();
    Err(Not::Wrong(format!(
        "{destination} is not its house address: propose {address} (change index {HOUSE_INDEX}) as a destination \
         of kind own"
    )))
}

/// Signs a request, if the log would take it.
fn sign(at: &At<'_>, keys: &Keys, request: Request) -> Result<(Envelope, Option<u64>), Not> {
    let machine = keys.machine();
    let enrolled = at.state.machine(&machine.id).is_some_and(|known| known.sign == machine.sign);
    if !enrolled || !at.state.granted(&Owner::Machine(machine.id.clone()), Grant::Request) {
        return Err(Not::Wrong(format!("machine {} is not enrolled to request: enrol it", machine.id)));
    }
    if at.state.clock().rules < CLIENTS_SINCE {
        return Err(Not::Wrong(format!("the books gate nothing before rule set {CLIENTS_SINCE}: upgrade")));
    }
    let now = at.now.max(at.state.clock().time);
    let wrong = |refusal: custody::rule::Refusal| Not::Wrong(refusal.to_string());
    let envelope = keys.state(at.desk.genesis(), now, Body::Request(request)).map_err(wrong)?;
    let outcome = at.state.admit(&envelope, now, at.decoder).map_err(wrong)?;
    match outcome.rejected {
        Some(refusal) => Err(wrong(refusal)),
        None => {
            let not_after = envelope.unverified().map_err(wrong)?.not_after;
            Ok((envelope, not_after))
        }
    }
}

#[cfg(test)]
mod tests;
