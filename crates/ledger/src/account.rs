//! Accounts: who owns what, of which asset, in which wallet; and the four totals of each.

use std::fmt;
use std::str::FromStr;

use custody::name::Name;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::amount::{Amount, Balance};

/// An asset by its CAIP-19 type, `bip122:000000000019d6689c085ae165831e93/slip44:0` for bitcoin. Token ids
/// (the third part, for things that cannot be split) are refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset(String);

/// A text that names no asset or account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Not CAIP-19, or a token id.
    #[error("not an asset: write CAIP-19 as in bip122:000000000019d6689c085ae165831e93/slip44:0")]
    Asset,
    /// No owner of a known sort.
    #[error("not an owner: use client:NAME, own, fees, suspense, in-transit or external")]
    Owner,
    /// Not three parts with a wallet's handle in the middle.
    #[error("not an account: write OWNER/WALLET/ASSET as in client:acme/main/bip122:…/slip44:0")]
    Account,
}

impl Asset {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `limit` or fewer characters, letters and digits or one of `others`, and not nothing.
fn word(text: &str, limit: usize, upper: bool, others: &[u8]) -> bool {
    let fits = |b: u8| {
        b.is_ascii_lowercase()
            || b.is_ascii_digit()
            || (upper && b.is_ascii_uppercase())
            || others.contains(&b)
    };
    !text.is_empty() && text.len() <= limit && text.bytes().all(fits)
}

impl FromStr for Asset {
    type Err = AccountError;

    /// The grammar of CAIP-2 and CAIP-19; the reference of `bip122` is 32 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, AccountError> {
        let parts = || {
            let (chain, asset) = text.split_once('/')?;
            let (namespace, reference) = chain.split_once(':')?;
            let (kind, token) = asset.split_once(':')?;
            Some((namespace, reference, kind, token))
        };
        let (namespace, reference, kind, token) = parts().ok_or(AccountError::Asset)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let ok = word(namespace, 8, false, b"-")
            && namespace.len() >= 3
            && word(reference, 32, true, b"-_")
            && (namespace != "bip122" || (reference.len() == 32 && reference.bytes().all(hex)))
            && word(kind, 8, false, b"-")
            && kind.len() >= 3
            && word(token, 128, true, b"-.%");
        if ok { Ok(Self(text.to_owned())) } else { Err(AccountError::Asset) }
    }
}

/// Whose an account is. An account is not an address: it says who has a claim, not where coins lie.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// A client.
    Client(Name),
    /// The operator of the wallet. Exists in models 1P and 2P only.
    Own,
    /// Network fees that the house pays where it may own nothing: models 1 and 2. Below zero it is what
    /// the house owes the pool.
    Fees,
    /// Coins that came and belong to nobody yet: held deposits.
    Suspense,
    /// Reserved for, or on their way to, the outside.
    InTransit,
    /// Everybody else. Its balance, negated, is what the wallet must hold on the network.
    External,
}

impl Owner {
    /// Whether reserving from it may not bring it below zero.
    pub fn is_bounded(&self) -> bool {
        match self {
            Self::Client(_) | Self::Own | Self::Suspense | Self::InTransit => true,
            Self::Fees | Self::External => false,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => write!(f, "client:{name}"),
            Self::Own => f.write_str("own"),
            Self::Fees => f.write_str("fees"),
            Self::Suspense => f.write_str("suspense"),
            Self::InTransit => f.write_str("in-transit"),
            Self::External => f.write_str("external"),
        }
    }
}

impl FromStr for Owner {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        Ok(match text {
            "own" => Self::Own,
            "fees" => Self::Fees,
            "suspense" => Self::Suspense,
            "in-transit" => Self::InTransit,
            "external" => Self::External,
            _ => {
                let name = text.strip_prefix("client:").and_then(Name::new).ok_or(AccountError::Owner)?;
                Self::Client(name)
            }
        })
    }
}

/// An account: one owner's claim on one asset in one wallet. It exists from its first transfer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// Whose.
    pub owner: Owner,
    /// In which wallet.
    pub wallet: Name,
    /// Of what.
    pub asset: Asset,
}

impl Account {
    /// Puts the three together.
    pub fn new(owner: Owner, wallet: &Name, asset: &Asset) -> Self {
        Self { owner, wallet: wallet.clone(), asset: asset.clone() }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.owner, self.wallet, self.asset)
    }
}

impl FromStr for Account {
    type Err = AccountError;

    fn from_str(text: &str) -> Result<Self, AccountError> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or(AccountError::Account);
        let (owner, wallet, asset) = (next()?, next()?, next()?);
        let wallet = Name::new(wallet).ok_or(AccountError::Account)?;
        Ok(Self { owner: owner.parse()?, wallet, asset: asset.parse()? })
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Debug is the text, and JSON is the text.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Asset, Owner, Account);

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All that was ever debited and credited, apart: posted for good, and pending at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Totals {
    /// Reserved to be debited.
    pub debits_pending: Amount,
    /// Debited.
    pub debits_posted: Amount,
    /// Reserved to be credited.
    pub credits_pending: Amount,
    /// Credited.
    pub credits_posted: Amount,
}

impl Totals {
    /// Credits posted less debits posted.
    pub fn balance(&self) -> Balance {
        Balance::of(self.credits_posted, self.debits_posted)
    }

    /// The balance less what is reserved: what may still be reserved.
    pub fn available(&self) -> Balance {
        // The sum fits: a transfer that would make it overflow is refused.
        let gone = self.debits_posted.checked_add(self.debits_pending).unwrap_or(Amount::MAX);
        Balance::of(self.credits_posted, gone)
    }
}

/// Four decimal numbers: debits pending, debits posted, credits pending, credits posted. So it stands in
/// the database.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { debits_pending, debits_posted, credits_pending, credits_posted } = self;
        write!(f, "{debits_pending} {debits_posted} {credits_pending} {credits_posted}")
    }
}

impl FromStr for Totals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(' ').map(Amount::from_str);
        let mut next = || parts.next().and_then(Result::ok).ok_or("not four amounts");
        let totals = Self {
            debits_pending: next()?,
            debits_posted: next()?,
            credits_pending: next()?,
            credits_posted: next()?,
        };
        if totals.to_string() == text { Ok(totals) } else { Err("not four amounts".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITCOIN: &str = "bip122:000000000019d6689c085ae165831e93/slip44:0";

    #[test]
    fn assets_follow_caip_19() {
        for good in
            [BITCOIN, "eip155:1/slip44:60", "eip155:1/erc20:0x6b175474e89094c44da98b954eedeac495271d0f"]
        {
            assert_eq!(good.parse::<Asset>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "btc",
            "bip122:000000000019d6689c085ae165831e93",
            "bip122:000000000019D6689C085AE165831E93/slip44:0",
            "bip122:00/slip44:0",
            "eip155:1/erc721:0x06012c8cf97bead5deae237070f9587f8e7a266d/771769",
            "ei:1/slip44:60",
            "eip155:/slip44:60",
            "eip155:1/sl:60",
            "eip155:1/slip44:",
            "eip155:1/slip44:6 0",
            &format!("eip155:1/slip44:{}", "1".repeat(129)),
            &format!("eip155:{}/slip44:1", "1".repeat(33)),
        ] {
            assert_eq!(bad.parse::<Asset>(), Err(AccountError::Asset), "{bad}");
        }
    }

    #[test]
    fn account_names_read_back_as_they_were_written() {
        for owner in ["client:acme", "own", "fees", "suspense", "in-transit", "external"] {
            let text = format!("{owner}/main/{BITCOIN}");
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        for (bad, why) in [
            (format!("client:/main/{BITCOIN}"), AccountError::Owner),
            (format!("client:Acme/main/{BITCOIN}"), AccountError::Owner),
            (format!("owner/main/{BITCOIN}"), AccountError::Owner),
            (format!("own/Main/{BITCOIN}"), AccountError::Account),
            ("own/main".to_owned(), AccountError::Account),
            ("own/main/btc".to_owned(), AccountError::Asset),
        ] {
            assert_eq!(bad.parse::<Account>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn totals_read_back_and_a_balance_leaves_out_what_is_pending() {
        let totals: Totals = "3 5 7 20".parse().unwrap();
        assert_eq!(totals.to_string(), "3 5 7 20");
        assert_eq!(
            (totals.balance().to_string(), totals.available().to_string()),
            ("15".into(), "12".into())
        );
        for bad in ["", "1 2 3", "1 2 3 4 5", "1 2 3 -4", "1  2 3 4"] {
            assert!(bad.parse::<Totals>().is_err(), "{bad}");
        }
    }
}
