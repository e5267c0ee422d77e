//! The script of the ceremony that is looked through.

use ceremony::record;
use ceremony::script::{
    Accounts, Components, Cosigners, Group, Hardware, Kind, Member, Person, Role, SCRIPT_FORMAT, Script,
    Site, Sources,
};
use custody::document::Tier;
use custody::genesis::Genesis;
use fixtures::name;

/// A rehearsal with two accounts, dice, and three components of which two rebuild the seed.
pub(crate) fn script(genesis: &Genesis) -> Script {
    let person = |who: &str, role: Role| Person {
        id: name(who),
        name: who.to_owned(),
        organisation: "the test".to_owned(),
        roles: vec![role],
        key: fixtures::public(who),
        age: (role == Role::KeyCustodian).then(|| format!("age1{who}")),
    };
    let member = |who: &str, site: &str| Member {
        holder: name(who),
        site: name(site),
        container: "safe".to_owned(),
        seal: format!("seal-{who}"),
    };
    let sites = ["north", "south", "west"];
    let holders = ["dora", "emil", "fay"];
    let mut people: Vec<Person> = holders.iter().map(|who| person(who, Role::KeyCustodian)).collect();
    people.push(person("alice", Role::Operator));
    people.push(person("bob", Role::SecurityOfficer));
    people.push(person("carol", Role::Witness));
    Script {
        format: SCRIPT_FORMAT.to_owned(),
        kind: Kind::Generation,
        title: "A ceremony that is looked through".to_owned(),
        place: "a test".to_owned(),
        genesis: genesis.hash(),
        network: genesis.network.clone(),
        tier: Tier::Hot,
        people,
        accounts: Accounts { first: 0, count: 2 },
        highest_index: 0,
        sites: sites
            .iter()
            .map(|site| Site { name: name(site), address: format!("in the {site}"), operations: false })
            .collect(),
        components: Some(Components {
            group_threshold: 1,
            groups: vec![Group {
                threshold: 2,
                members: holders.iter().zip(sites).map(|(who, site)| member(who, site)).collect(),
            }],
        }),
        held: None,
        cosigners: Some(Cosigners {
            threshold: genesis.threshold,
            holders: record::holders(genesis).map(|card| card.name.clone()).collect(),
        }),
        entropy: Sources { dice: 200, coins: 0, hsm: false },
        hardware: vec![Hardware {
            what: "laptop".to_owned(),
            maker: "nobody".to_owned(),
            model: "none".to_owned(),
            serial: "0".to_owned(),
            seal: "0".to_owned(),
            purchased: "never".to_owned(),
            never_online: "it is a test".to_owned(),
            radios: "none".to_owned(),
        }],
        recording: None,
        deviations: Vec::new(),
        deviation_quorum: 2,
    }
}
