//! Which deposits are deep enough, and what is to be done with them.

use custody::effects::Branch;

use super::Follower;
use crate::coin::{Coin, CoinKind, Fact, HoldReason, Verdict};
use crate::event::{Screening, With};

impl Follower {
    /// Counts the confirmations of young deposits; tells them if there is somebody to tell.
    pub(super) fn ripen(&mut self, mut facts: Option<&mut Vec<Fact>>) {
        let above = self.tip().height.saturating_add(1);
        let (coins, ripe) = (&self.coins, &mut self.ripe);
        self.young.retain(|outpoint| {
            let Some(coin) = coins.get(outpoint) else { return false };
            let confirmations = above.saturating_sub(coin.place.height);
            if let Some(facts) = facts.as_mut().filter(|_| confirmations <= coin.needed) {
                facts.push(Fact::Confirming { coin: coin.clone(), confirmations });
            }
            let young = confirmations < coin.needed;
            if !young {
                ripe.insert(*outpoint);
            }
            young
        });
    }

    /// Says what is to be done with deposits that are deep enough.
    pub(super) fn judge(&mut self, with: &With<'_>, facts: &mut Vec<Fact>) {
        let oldest = self.oldest();
        for outpoint in std::mem::take(&mut self.ripe) {
            let Some(coin) = self.coins.get_mut(&outpoint) else { continue };
            coin.kind = CoinKind::Judged;
            let reasons = reasons(coin, with);
            let verdict = match &coin.address.client {
                Some(client) if reasons.is_empty() => Verdict::Credit(client.clone()),
                _ => Verdict::Hold(reasons),
            };
            facts.push(Fact::Due { coin: coin.clone(), verdict });
            let spent = coin.spent.and_then(|spend| spend.place);
            if spent.is_some_and(|place| place.height < oldest) {
                self.coins.remove(&outpoint);
            }
        }
    }
}

/// All that speaks against crediting a deposit at once.
fn reasons(coin: &Coin, with: &With<'_>) -> Vec<HoldReason> {
    let Coin { address, amount, .. } = coin;
    let mut reasons = Vec::new();
    if !with.house.wallet_open(&address.wallet) {
        reasons.push(HoldReason::WalletClosed);
    }
    match &address.client {
        None => reasons.push(HoldReason::NotAllocated),
        Some(client) if !with.house.client_known(client) => {
            reasons.push(HoldReason::ClientUnknown(client.clone()));
        }
        Some(_) => {}
    }
    if address.retired {
        reasons.push(HoldReason::Retired);
    }
    if address.branch == Branch::Change {
        reasons.push(HoldReason::ChangeAddress);
    }
    let least = with.rules.least(&address.wallet);
    if *amount < least {
        reasons.push(HoldReason::Dust { least });
    }
    match with.house.screen(coin) {
        Screening::Pass => {}
        Screening::Hold(why) => reasons.push(HoldReason::Screening(why)),
        Screening::Unavailable => reasons.push(HoldReason::ScreeningUnavailable),
    }
    reasons
}
