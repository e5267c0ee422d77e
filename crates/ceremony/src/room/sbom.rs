//! What the program was built of (DACS GEN-04, GEN-10): name, version and checksum of each package, from
//! the `Cargo.lock` of the build. `build.rs` picks them; it says which.

use serde::{Deserialize, Serialize};

/// Lines of name, version and, where there is one, checksum.
const LIST: &str = include_str!(concat!(env!("OUT_DIR"), "/packages.txt"));

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the archive that came from the registry, in hexadecimal. The packages of this repository
    /// have none: the hash of the program covers them.
    pub checksum: Option<String>,
}

/// The packages that the program can have been built of, by name: all that `Cargo.lock` lists behind it, so none is
/// missing. Some serve other operating systems, only the build, or a part of a package that was left out; the lock
/// file does not tell.
pub fn packages() -> Vec<Package> {
    LIST.lines().filter_map(package).collect()
}

fn package(line: &str) -> Option<Package> {
    let mut words = line.split(' ').map(str::to_owned);
    Some(Package { name: words.next()?, version: words.next()?, checksum: words.next() })
}
