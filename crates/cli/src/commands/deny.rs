//! `keyward deny-list import`: addresses that are not paid, from a file of somebody else, such as a list of sanctions.

use std::collections::{BTreeMap, BTreeSet};

use custody::Hash;
use custody::document::{Document, Kind};
use custody::effects::Decoder;
use custody::name::Name;
use custody::records::{DENIED_LIMIT, DenyList};
use custody::state::{Stage, State};

use super::propose_in;
use crate::args::{DenyList as Command, Global};
use crate::failure::{Failure, Result};
use crate::home::read;
use crate::session::Session;

/// Proposes the lists of a file in place of those that are in force under this name. A list holds only so many
/// addresses: what a file has more goes into `ID-part-2` and so on.
pub(crate) fn run(global: &Global, command: Command) -> Result<()> {
    let Command::Import { id, file, skip_others, remove } = command;
    let bytes = read(&file)?;
    let mut session = Session::online(global)?;
    let decoder = session.replica.decoder();
    let Found { addresses, others } =
        listed(&bytes, decoder, skip_others).map_err(|e| Failure::content(&file, e))?;
    let source = Hash::sha256(&bytes);
    eprintln!("file        SHA-256 {source}, {} addresses of this network", addresses.len());
    if !others.is_empty() {
        let some: Vec<_> = others.iter().take(LINES_SHOWN).map(ToString::to_string).collect();
        eprintln!("left out    {} lines without one: {} …", others.len(), some.join(", "));
    }
    let state = session.replica.state();
    let lists = lists(state, &id, addresses).map_err(|e| Failure::content(&file, e))?;
    if lists.is_empty() {
        eprintln!("unchanged   what is in force under {id} says the same");
        return Ok(());
    }
    let removed: usize = lists.iter().map(|(_, change)| change.removed).sum();
    if removed > 0 && !remove {
        let what = format!("{removed} addresses of {id} are not in the file, and would be paid again");
        return Err(Failure::usage(what, "look whether the file is whole; --remove takes them off the list"));
    }
    let versions: Vec<_> = lists.into_iter().map(|(id, change)| version(id, source, change)).collect();
    let in_the_way = |(version, _): &(Document, String)| Some((version.subject(), waiting(state, version)?));
    if let Some((list, proposal)) = versions.iter().find_map(in_the_way) {
        let what =
            format!("another version of list {list} waits to be in force, and both replace the same one");
        let next = format!("wait until it is, or keyward reject {proposal}; then import again");
        return Err(Failure::usage(what, next));
    }
    for (version, changed) in &versions {
        eprintln!("list        {}: {changed}", version.subject());
        eprintln!("in force    {}", when(state, version));
    }
    for (version, _) in versions {
        propose_in(&mut session, version, &[])?;
    }
    Ok(())
}

/// The next version of a list, and what is other in it.
fn version(id: Name, source: Hash, change: Change) -> (Document, String) {
    let Change { addresses, added, removed } = change;
    let list = DenyList { id, source, addresses: addresses.into_iter().collect() };
    (Document::DenyList(list), format!("{added} added, {removed} removed"))
}

/// When a version would be in force.
fn when(state: &State, version: &Document) -> String {
    let governed = state.policy().and_then(|(policy, _)| policy.governance.get(&Kind::DenyList));
    let hours = governed.map_or(0, |governance| governance.delay_s) / 3_600;
    if state.denies_no_less(version) {
        "with the last approval, for it takes no address away".to_owned()
    } else {
        format!("{hours} hours after the last approval; until then keyward freeze stops payments")
    }
}

/// The open proposal of another version of a list, which would not let this one in force. One that waits for its
/// delay does not stop a version that needs none, and is void after that.
fn waiting(state: &State, version: &Document) -> Option<Hash> {
    let at_once = state.denies_no_less(version);
    let open = |stage: &Stage| match stage {
        Stage::Open => true,
        Stage::Waiting(_) => !at_once,
        _ => false,
    };
    let same = |other: &Document| other.kind() == Kind::DenyList && other.subject() == version.subject();
    let now = state.clock().time;
    let mut proposals = state.proposals().iter();
    let found = proposals.find(|(_, p)| {
        let over = p.stage == Stage::Open && p.not_after < now;
        open(&p.stage) && !over && same(&p.document)
    });
    found.map(|(id, _)| *id)
}

/// How many numbers of lines are printed that were left out.
const LINES_SHOWN: usize = 10;

/// What a file has.
#[derive(PartialEq, Eq, Debug)]
struct Found {
    addresses: BTreeSet<String>,
    /// The numbers of the lines without an address of this network.
    others: Vec<usize>,
}

/// The addresses of a file: the first word of each line that is one of this network. Empty lines and what follows `#`
/// are remarks.
fn listed(bytes: &[u8], decoder: &dyn Decoder, skip_others: bool) -> std::result::Result<Found, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("it is no text in UTF-8: {e}"))?;
    // Spreadsheets begin a file with a mark of the encoding.
    let text = text.trim_start_matches('\u{feff}');
    let mut found: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut others = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default();
        let words = || line.split([',', ';', ' ', '\t', '"', '\r']).filter(|word| !word.is_empty());
        // One spelling of each: BIP-173 takes capitals as well.
        let mut spelled = words().flat_map(|word| [word.to_ascii_lowercase(), word.to_owned()]);
        match spelled.find_map(|word| Some((decoder.address_script(&word).ok()?, word))) {
            Some((script, word)) => {
                found.insert(script, word);
            }
            None if words().next().is_none() => {}
            None if skip_others => others.push(number),
            None => {
                let next = "--skip-others leaves such lines out";
                return Err(format!("line {number}: {line:?} has no address of this network; {next}"));
            }
        }
    }
    if found.is_empty() {
        return Err(
            "it has no address of this network: look whether it is the right file, and whole".to_owned()
        );
    }
    Ok(Found { addresses: found.into_values().collect(), others })
}

/// What a list becomes.
#[derive(PartialEq, Eq, Debug)]
struct Change {
    addresses: BTreeSet<String>,
    added: usize,
    removed: usize,
}

/// The lists under a name that are no longer as the addresses are: each address stays in the list that has it, what
/// is new goes where there is room. A list from which all are gone stays, empty: documents are never taken back.
fn lists(
    state: &State,
    id: &Name,
    addresses: BTreeSet<String>,
) -> std::result::Result<Vec<(Name, Change)>, String> {
    let name = |before: usize| match before {
        0 => Ok(id.clone()),
        before => format!("{id}-part-{}", before + 1).parse::<Name>(),
    };
    let mut left = addresses;
    let mut all: Vec<(Name, BTreeSet<String>, BTreeSet<String>)> = Vec::new();
    while let Some(found) = state.document(Kind::DenyList, name(all.len())?.as_str()) {
        let Document::DenyList(list) = &found.document else { break };
        let before: BTreeSet<String> = list.addresses.iter().cloned().collect();
        let stay = before.intersection(&left).cloned().collect();
        left.retain(|address| !before.contains(address));
        all.push((list.id.clone(), before, stay));
    }
    all.iter_mut().for_each(|(_, _, after)| fill(after, &mut left));
    while !left.is_empty() {
        let mut after = BTreeSet::new();
        fill(&mut after, &mut left);
        all.push((name(all.len())?, BTreeSet::new(), after));
    }
    let changed = all.into_iter().filter(|(_, before, after)| before != after);
    let change = |(name, before, after): (Name, BTreeSet<String>, BTreeSet<String>)| {
        let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
        (name, Change { addresses: after, added, removed })
    };
    Ok(changed.map(change).collect())
}

/// Moves as many as there is room for.
fn fill(list: &mut BTreeSet<String>, left: &mut BTreeSet<String>) {
    while list.len() < DENIED_LIMIT
        && let Some(address) = left.pop_first()
    {
        list.insert(address);
    }
}

#[cfg(test)]
mod tests {
    use fixtures::{World, name, newest, regtest};

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| regtest::address(name)).collect()
    }

    fn adopt(world: &mut World, changes: Vec<(Name, Change)>) {
        for (id, Change { addresses, .. }) in changes {
            let (source, addresses) = (Hash::sha256(b"a file"), addresses.into_iter().collect());
            world.adopt(Document::DenyList(DenyList { id, source, addresses }));
        }
    }

    #[test]
    fn a_file_has_an_address_a_line() {
        let world = World::open(newest());
        let (one, two) = (regtest::address("one"), regtest::address("two"));
        let capitals = two.to_ascii_uppercase();
        let text = format!("# sanctions\n\n{one}, somebody; 2026-01-01\n\t\"{two}\"\r\n{capitals} # again\n");
        let read = |text: &str, skip| listed(text.as_bytes(), &world.decoder, skip);
        let found = |others: &[usize]| Ok(Found { addresses: set(&["one", "two"]), others: others.to_vec() });
        assert_eq!(read(&text, false), found(&[]));
        assert_eq!(read(&format!("\u{feff}{one}\nsomebody,XBT,{two}"), false), found(&[]));
        let foreign = format!("{text}0x8589427373d6d84e98730d7795d8f6f8731fda16\n");
        let said = read(&foreign, false).unwrap_err();
        assert!(said.starts_with("line 6: \"0x8589427373d6d84e98730d7795d8f6f8731fda16\""), "{said}");
        assert_eq!(read(&foreign, true), found(&[6]));
        // A file of another network, or one that was cut off, takes nothing off a list.
        for empty in ["", "# nothing\n", "0x8589427373d6d84e98730d7795d8f6f8731fda16\n"] {
            assert!(read(empty, true).unwrap_err().contains("no address of this network"));
        }
        assert!(listed(b"\xff", &world.decoder, true).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn a_list_changes_by_what_the_file_changed() {
        let mut world = World::open(newest());
        let first = lists(&world.state, &name("un"), set(&["a", "b"])).unwrap();
        assert_eq!(first.iter().map(|(id, c)| (id.as_str(), c.added)).collect::<Vec<_>>(), [("un", 2)]);
        adopt(&mut world, first);
        assert!(lists(&world.state, &name("un"), set(&["a", "b"])).unwrap().is_empty());
        let next = lists(&world.state, &name("un"), set(&["b", "c"])).unwrap();
        assert_eq!((next[0].1.added, next[0].1.removed), (1, 1));
        adopt(&mut world, next);
        // None left: the list stays, and stops nothing.
        let none = lists(&world.state, &name("un"), BTreeSet::new()).unwrap();
        adopt(&mut world, none);
        let found = &world.state.document(Kind::DenyList, "un").unwrap().document;
        assert!(matches!(found, Document::DenyList(list) if list.addresses.is_empty()));
    }

    #[test]
    fn what_does_not_fit_goes_into_a_second_list_and_stays_there() {
        let mut world = World::open(newest());
        let many: Vec<String> = (0..=DENIED_LIMIT).map(|i| format!("d-{i}")).collect();
        let mut many = set(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let first = lists(&world.state, &name("un"), many.clone()).unwrap();
        let sizes = |changes: &[(Name, Change)]| -> Vec<(String, usize)> {
            changes.iter().map(|(id, change)| (id.to_string(), change.addresses.len())).collect()
        };
        assert_eq!(sizes(&first), [("un".into(), DENIED_LIMIT), ("un-part-2".into(), 1)]);
        adopt(&mut world, first);
        // One of the first list is gone, a new one takes its room; the second is as it was.
        many.pop_first();
        many.extend(set(&["new"]));
        let next = lists(&world.state, &name("un"), many).unwrap();
        assert_eq!(sizes(&next), [("un".into(), DENIED_LIMIT)]);
        assert_eq!((next[0].1.added, next[0].1.removed), (1, 1));
    }

    #[test]
    fn what_takes_no_address_away_waits_for_nothing() {
        let slow = fixtures::policy_of(custody::rule_set::NEWEST, &[fixtures::rule()], 7_200);
        let mut world = World::open(newest());
        world.adopt(Document::Policy(slow));
        let next = |world: &World, names: &[&str]| {
            let (id, change) = lists(&world.state, &name("un"), set(names)).unwrap().remove(0);
            version(id, Hash::sha256(b"a file"), change)
        };
        let (first, changed) = next(&world, &["a", "b"]);
        assert_eq!(changed, "2 added, 0 removed");
        assert!(when(&world.state, &first).starts_with("with the last approval"));
        // Two versions on the way to approval: whichever is second is void.
        let open = world.propose("bob", first).unwrap();
        let (other, _) = next(&world, &["a", "c"]);
        assert_eq!(waiting(&world.state, &other), Some(open));
        world.approve("alice", open).unwrap();
        world.approve("bob", open).unwrap();
        // A shorter one waits, and stops what waits as well, but no longer one.
        let (shorter, changed) = next(&world, &["a"]);
        assert_eq!(changed, "0 added, 1 removed");
        assert!(when(&world.state, &shorter).starts_with("2 hours after the last approval"));
        let waits = world.adopt(shorter.clone());
        assert_eq!(waiting(&world.state, &shorter), Some(waits));
        let (longer, _) = next(&world, &["a", "b", "c"]);
        assert_eq!(waiting(&world.state, &longer), None);
        world.adopt(longer);
        let found = &world.state.document(Kind::DenyList, "un").unwrap().document;
        assert!(matches!(found, Document::DenyList(list) if list.addresses.len() == 3));
    }
}
