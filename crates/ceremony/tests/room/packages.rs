//! The list of packages in the program against what cargo says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use ceremony::room::sbom::packages;

/// Names and versions that `cargo tree` prints.
fn tree(arguments: &[&str]) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--edges", "normal,build"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let package = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    };
    String::from_utf8(output.stdout).unwrap().lines().filter_map(package).collect()
}

#[test]
fn the_list_of_packages_is_that_of_the_program() {
    let listed = packages();
    let names: BTreeSet<_> = listed.iter().map(|p| (p.name.clone(), p.version.clone())).collect();
    assert_eq!(names.len(), listed.len());
    // Everything that is compiled in is listed.
    let compiled = tree(&["--package", "ceremony-tui"]);
    let missing: Vec<_> = compiled.difference(&names).collect();
    assert!(compiled.len() > 50 && missing.is_empty(), "{missing:?}");
    // What is listed beyond that serves other systems, or a part of a package that nothing switched on: the lock
    // file does not tell. It is little.
    let possible = tree(&["--workspace", "--target", "all"]);
    let unused: Vec<_> = names.difference(&possible).collect();
    assert!(unused.len() * 10 < names.len(), "{unused:?} of {}", names.len());
    // What serves tests only is not listed.
    for package in ["fixtures", "sim", "proptest"] {
        assert!(!names.iter().any(|(name, _)| name == package), "{package}");
    }
    assert!(listed.is_sorted_by_key(|package| &package.name));
}

/// Each package from a registry has the checksum of `Cargo.lock`, and the others have none.
#[test]
fn checksums_are_those_of_the_lock_file() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    for package in packages() {
        let head = format!("name = \"{}\"\nversion = \"{}\"\n", package.name, package.version);
        let (_, rest) = lock.split_once(&head).unwrap();
        let table = rest.split("\n\n").next().unwrap();
        assert_eq!(package.checksum.is_some(), table.contains("checksum = "), "{head}");
        if let Some(checksum) = package.checksum {
            assert!(table.contains(&format!("checksum = \"{checksum}\"")), "{head}");
        }
    }
}
