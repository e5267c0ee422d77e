//! Dependencies, as `cargo metadata` resolves them for the whole workspace (features united, as one
//! build of all programs has them).

use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::ARCH;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::{TRUSTED, none, output, root};

/// Which crate may name which of ours. `sim` may name all.
const EDGES: &[(&str, &[&str])] = &[
    ("custody", &[]),
    ("fixtures", &["custody", "chain", "builder"]),
    ("chain", &["custody"]),
    ("builder", &["custody", "chain"]),
    ("keys", &["custody", "chain"]),
    ("wire", &["custody"]),
    ("signer", &["custody", "chain", "keys", "wire"]),
    ("approver", &["custody", "chain", "keys"]),
    ("ceremony", &["custody", "chain", "keys"]),
    ("ceremony-tui", &["custody", "keys", "ceremony"]),
    ("evidence", &["custody", "chain"]),
    ("deposits", &["custody"]),
    ("ledger", &["custody"]),
    ("withdrawals", &["custody", "ledger"]),
    ("certificate", &[]),
    ("policy", &["custody"]),
    ("api", &["custody", "chain", "deposits", "ledger", "withdrawals", "certificate"]),
    (
        "server",
        &[
            "custody",
            "chain",
            "builder",
            "wire",
            "evidence",
            "deposits",
            "ledger",
            "withdrawals",
            "certificate",
            "api",
        ],
    ),
    (
        "cli",
        &[
            "custody",
            "chain",
            "keys",
            "wire",
            "approver",
            "ceremony",
            "evidence",
            "ledger",
            "certificate",
            "policy",
        ],
    ),
];

/// What nothing trusted may reach: asynchronous runtimes, databases, HTTP.
const ONLINE: &[&str] = &[
    "async-std",
    "diesel",
    "futures-executor",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "postgres",
    "reqwest",
    "rusqlite",
    "sled",
    "smol",
    "sqlx",
    "sqlx-core",
    "tokio",
    "tokio-postgres",
];

struct Package {
    id: String,
    name: String,
    ours: bool,
    features: Vec<String>,
    /// Names of direct dependencies as the manifest says them, without those of tests.
    direct: BTreeSet<String>,
    /// The roots of its library and programs.
    targets: Vec<String>,
}

struct Graph {
    packages: BTreeMap<String, Package>,
    /// Resolved edges by package id, without those of tests.
    edges: BTreeMap<String, BTreeSet<String>>,
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap())
}

fn graph() -> Graph {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    cargo.args(["--filter-platform", &format!("{ARCH}-unknown-linux-gnu")]);
    let metadata: Value = serde_json::from_str(&output(&mut cargo)).unwrap();

    let members: BTreeSet<&str> = texts(&metadata["workspace_members"]).collect();
    let runtime = |kind: &Value| kind.as_str() != Some("dev");
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let targets = package["targets"].as_array().unwrap().iter();
        let package = Package {
            id: text("id"),
            name: text("name"),
            ours: members.contains(text("id").as_str()),
            features: package["features"].as_object().unwrap().keys().cloned().collect(),
            direct: dependencies
                .filter(|dependency| runtime(&dependency["kind"]))
                .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
                .collect(),
            targets: targets
                .filter(|target| texts(&target["kind"]).any(|kind| kind == "lib" || kind == "bin"))
                .map(|target| target["src_path"].as_str().unwrap().to_owned())
                .collect(),
        };
        (package.id.clone(), package)
    });
    let edges = metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| {
        let to = node["deps"].as_array().unwrap().iter();
        let to =
            to.filter(|edge| edge["dep_kinds"].as_array().unwrap().iter().any(|kind| runtime(&kind["kind"])));
        let to = to.map(|edge| edge["pkg"].as_str().unwrap().to_owned()).collect();
        (node["id"].as_str().unwrap().to_owned(), to)
    });
    let graph = Graph { packages: packages.collect(), edges: edges.collect() };
    for name in TRUSTED {
        graph.ours(name);
    }
    graph
}

impl Graph {
    fn ours(&self, name: &str) -> &Package {
        let package = self.packages.values().find(|package| package.ours && package.name == name);
        package.unwrap_or_else(|| panic!("no crate {name} in the workspace"))
    }

    fn names(&self) -> BTreeSet<&str> {
        self.packages.values().filter(|package| package.ours).map(|p| p.name.as_str()).collect()
    }

    /// The name of everything that is linked into a crate, with the way there.
    fn reach(&self, name: &str) -> BTreeMap<&str, String> {
        let start = self.ours(name);
        let mut ways = BTreeMap::new();
        let mut open = vec![(start.id.as_str(), start.name.clone())];
        let mut seen = BTreeSet::new();
        while let Some((id, way)) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            for next in &self.edges[id] {
                let package = &self.packages[next];
                let way = format!("{way} -> {}", package.name);
                open.push((&package.id, way.clone()));
                ways.insert(package.name.as_str(), way);
            }
        }
        ways
    }
}

#[test]
fn our_crates_depend_in_one_direction() {
    let graph = graph();
    let names = graph.names();
    let mut findings = Vec::new();
    for name in names.iter().filter(|name| **name != "sim") {
        let Some((_, allowed)) = EDGES.iter().find(|(from, _)| from == name) else {
            findings.push(format!("{name}: not in the table of allowed edges"));
            continue;
        };
        let named = graph.ours(name).direct.iter().filter(|to| names.contains(to.as_str()));
        let wrong = named.filter(|to| !allowed.contains(&to.as_str()));
        findings.extend(wrong.map(|to| format!("{name} -> {to}")));
    }
    none("edges that are not allowed", &findings);
}

/// Design: the server relays; it can sign nothing and open nothing.
#[test]
fn the_server_reaches_no_secrets() {
    let graph = graph();
    let ways = graph.reach("server");
    assert!(ways.contains_key("bitcoin"), "the search finds nothing: {ways:?}");
    let secret = ["keys", "signer", "ceremony", "frost-secp256k1-tr"];
    let findings: Vec<_> = secret.iter().filter_map(|name| ways.get(name).cloned()).collect();
    none("the server links", &findings);
}

#[test]
fn nothing_trusted_reaches_a_runtime_a_database_or_the_server() {
    let graph = graph();
    assert!(graph.reach("custody").contains_key("sha2"), "the search finds nothing");
    let mut findings = Vec::new();
    for name in TRUSTED {
        let ways = graph.reach(name);
        findings.extend(ONLINE.iter().chain(&["server"]).filter_map(|name| ways.get(name).cloned()));
    }
    none("trusted crates link", &findings);
}

#[test]
fn trusted_crates_have_no_features() {
    let graph = graph();
    let with = TRUSTED.iter().filter(|name| !graph.ours(name).features.is_empty());
    let findings: Vec<_> = with.map(|name| format!("{name}: {:?}", graph.ours(name).features)).collect();
    none("features in trusted crates (also made by optional dependencies)", &findings);
}

/// Each root of a trusted library or program denies what must not stand outside tests.
#[test]
fn trusted_crates_deny_what_panics_or_wraps() {
    const LINTS: &[&str] = &[
        "unwrap_used",
        "expect_used",
        "panic",
        "unreachable",
        "indexing_slicing",
        "arithmetic_side_effects",
        "as_conversions",
    ];
    let graph = graph();
    let mut findings = Vec::new();
    for target in TRUSTED.iter().flat_map(|name| &graph.ours(name).targets) {
        let text = fs::read_to_string(target).unwrap();
        let denied = text.split_once("deny(").and_then(|(_, rest)| rest.split_once(')'));
        let denied: Vec<_> = denied.map_or("", |(list, _)| list).split(',').map(str::trim).collect();
        let missing = LINTS.iter().filter(|lint| !denied.contains(&&*format!("clippy::{lint}")));
        findings.extend(missing.map(|lint| format!("{target}: clippy::{lint}")));
    }
    none("lints that are not denied", &findings);
}

/// DACS DEV-08: `docs/dependencies.md` lists, with a reason, what the trusted crates use, and no more.
#[test]
fn every_dependency_of_trusted_crates_has_a_reason() {
    let graph = graph();
    let names = graph.names();
    let mut used = BTreeSet::new();
    for name in TRUSTED {
        let outside = graph.ours(name).direct.iter().filter(|to| !names.contains(to.as_str()));
        used.extend(outside.map(|to| (to.clone(), (*name).to_owned())));
    }

    let text = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let mut listed = BTreeSet::new();
    let mut findings = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [dependency, why, by] = cells[..] else {
            findings.push(format!("not three cells: {row}"));
            continue;
        };
        if why.split_whitespace().count() < 3 {
            findings.push(format!("no reason: {row}"));
        }
        for name in by.split(',').map(|name| name.trim().trim_matches('`')) {
            listed.insert((dependency.trim_matches('`').to_owned(), name.to_owned()));
        }
    }
    let show = |(to, from): &(String, String)| format!("{from} -> {to}");
    findings.extend(used.difference(&listed).map(|edge| format!("used, not listed: {}", show(edge))));
    findings.extend(listed.difference(&used).map(|edge| format!("listed, not used: {}", show(edge))));
    none("docs/dependencies.md", &findings);
}
