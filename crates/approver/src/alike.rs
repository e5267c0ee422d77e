//! Addresses that look like others. An attacker makes one that begins and ends like an address that is paid often,
//! and has it copied ("address poisoning"): people compare the ends and not the middle.

use std::collections::BTreeMap;

use custody::document::Document;
use custody::state::{InForce, State};

/// Fewest characters that two addresses have in common at their ends, both together, to look alike. By chance two
/// addresses in base 32 do about once in two hundred million; a machine makes such a pair within hours.
pub const ALIKE_CHARACTERS: usize = 6;

/// Fewest of them at each end: who looks at one end alone compares nothing.
pub const ALIKE_END_CHARACTERS: usize = 2;

/// Whether two addresses are different and look alike. What every address of a network begins with says nothing:
/// of bech32 (BIP-173) all up to the version, of base58 the first character.
pub fn alike(one: &str, other: &str) -> bool {
    let (a, b) = (tail(one), tail(other));
    let same = |pairs: &mut dyn Iterator<Item = (char, char)>| pairs.take_while(|(a, b)| a == b).count();
    let first = same(&mut a.chars().zip(b.chars()));
    let last = same(&mut a.chars().rev().zip(b.chars().rev()));
    one != other && first.min(last) >= ALIKE_END_CHARACTERS && first.saturating_add(last) >= ALIKE_CHARACTERS
}

fn tail(address: &str) -> &str {
    let bech32 = ["bc1", "tb1", "bcrt1"].iter().find_map(|prefix| address.strip_prefix(prefix));
    let mut rest = bech32.unwrap_or(address).chars();
    rest.next();
    rest.as_str()
}

/// What is known that an address looks like, in words: destinations in force, and addresses that earlier requests
/// named.
pub fn looks_like(state: &State, address: &str) -> Vec<String> {
    let listed: BTreeMap<&str, String> = state.documents().filter_map(listed).collect();
    if listed.contains_key(address) {
        // People approved it; a warning at each payment would be read at none.
        return Vec::new();
    }
    let asked = state.requests().iter().flat_map(|(_, record)| &record.request.outputs);
    let asked =
        asked.filter_map(|o| Some((o.address.as_deref()?, "an address that was asked for before".into())));
    let known: BTreeMap<&str, String> = asked.chain(listed).collect();
    known.into_iter().filter(|(other, _)| alike(address, other)).map(|(_, words)| words).collect()
}

fn listed(found: &InForce) -> Option<(&str, String)> {
    match &found.document {
        Document::Destination(d) => Some((&d.address, format!("destination {}", d.id))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_look_alike_by_their_ends() {
        let own = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
        for (other, looks) in [
            (own, false),
            // Three characters at each end, after the version.
            ("bc1qw50zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz3t4", true),
            ("bc1qw5zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzf3t4", true),
            ("bc1qw508zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzt4", true),
            // One less; and much at one end, and one at the other.
            ("bc1qw5zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz3t4", false),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8fzz4", false),
            ("bc1qzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzkv8f3t4", false),
            ("", false),
        ] {
            assert_eq!(alike(own, other), looks, "{other}");
            assert_eq!(alike(other, own), looks, "{other}");
        }
        // What all addresses of a network begin with is not counted: here only the ends of three are the same.
        assert!(alike("bcrt1pabcxxxxxdef", "bcrt1pabcyyyyydef"));
        assert!(!alike("bcrt1pxxxxxxxdef", "bcrt1pyyyyyyydef"));
        assert!(alike("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "1BvBzzzzzzzzzzzzzzzzzzzzzzzzzzzVN2"));
    }
}
