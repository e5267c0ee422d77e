//! Writes the list of packages that the program is built of, for its report: the closure of
//! `keyward-ceremony`'s crate in `Cargo.lock`. Dependencies of tests only are left out where the manifest of
//! the crate is at hand. Without a lock file, as for a crate that was packaged, the list is empty, and the
//! program says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The crate of the program, and this one, should the program's not be in the lock file.
const ROOTS: [&str; 2] = ["ceremony-tui", "ceremony"];

/// A package as `Cargo.lock` has it, which lists them by name and version.
struct Package {
    name: String,
    version: String,
    source: bool,
    checksum: Option<String>,
    dependencies: Vec<String>,
}

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build.rs");
    let lock = here.ancestors().take(3).map(|folder| folder.join("Cargo.lock")).find(|path| path.exists());
    let list = lock.map(|path| list(&path, &here)).unwrap_or_default();
    fs::write(out.join("packages.txt"), list).expect("OUT_DIR can be written");
}

fn list(lock: &Path, here: &Path) -> String {
    println!("cargo::rerun-if-changed={}", lock.display());
    let packages = parse(&fs::read_to_string(lock).expect("Cargo.lock can be read"));
    let root = ROOTS.iter().find_map(|root| packages.iter().position(|package| package.name == *root));
    let mut waiting: Vec<usize> = root.into_iter().collect();
    let mut found = BTreeSet::new();
    while let Some(number) = waiting.pop() {
        if found.insert(number) {
            let package = &packages[number];
            let linked = (!package.source).then(|| linked(&package.name, here)).flatten();
            let wanted = package.dependencies.iter().filter(|dependency| {
                let name = dependency.split(' ').next();
                linked.as_ref().is_none_or(|linked| name.is_some_and(|name| linked.contains(name)))
            });
            waiting.extend(wanted.filter_map(|dependency| position(&packages, dependency)));
        }
    }
    let line = |package: &Package| match &package.checksum {
        Some(checksum) => format!("{} {} {checksum}\n", package.name, package.version),
        None => format!("{} {}\n", package.name, package.version),
    };
    found.into_iter().map(|number| line(&packages[number])).collect()
}

/// A dependency is "name", or "name version" where there are several.
fn position(packages: &[Package], dependency: &str) -> Option<usize> {
    let mut words = dependency.split(' ');
    let (name, version) = (words.next()?, words.next());
    packages.iter().position(|p| p.name == name && version.is_none_or(|version| p.version == version))
}

/// What the manifest of a crate of this repository links, other than for its tests.
fn linked(name: &str, here: &Path) -> Option<BTreeSet<String>> {
    let path = here.parent()?.join(name).join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", path.display());
    let manifest = fs::read_to_string(path).ok()?;
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = matches!(section.trim_end_matches(']'), "dependencies" | "build-dependencies");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside) {
            names.insert(name.trim().to_owned());
        }
    }
    Some(names)
}

/// `Cargo.lock` is written by cargo in one form: a table a package, a field a line, a list item a line.
fn parse(lock: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for table in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        let item = |line: &str| line.trim().strip_prefix('"')?.strip_suffix("\",").map(str::to_owned);
        packages.push(Package {
            name: field("name").unwrap_or_default().to_owned(),
            version: field("version").unwrap_or_default().to_owned(),
            source: field("source").is_some(),
            checksum: field("checksum").map(str::to_owned),
            dependencies: table.lines().filter_map(item).collect(),
        });
    }
    packages
}
