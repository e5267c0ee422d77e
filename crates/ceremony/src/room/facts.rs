//! What machine and program are, for the report (DACS GEN-04, GEN-05, GEN-10). Texts are printable ASCII
//! of at most [`super::TEXT_LIMIT_CHARS`], and empty where the machine does not say.

use custody::Hash;
use serde::{Deserialize, Serialize};

pub use super::sbom::Package;

/// What the machine says of itself. Nothing here is checked against anything: a maker who lies about a
/// serial number is not found out this way, which is why the script asks for it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The clock of the machine, in seconds since 1970.
    pub at: u64,
    /// A time service set the clock since the machine started.
    pub synchronised: bool,
    /// Name and release of the operating system.
    pub os: String,
    /// Release and build of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Revisions of the processor's microcode, each once: more than one is odd.
    pub microcode: Vec<String>,
    /// Maker, version and date of the firmware.
    pub firmware: String,
    /// Maker, name and version of the machine.
    pub product: String,
    /// Its serial number.
    pub serial: String,
    /// Each TPM and its version.
    pub tpm: Vec<String>,
    /// Each network interface, also those that are down.
    pub interfaces: Vec<Interface>,
    /// What is mounted from block devices: device, place, file system, `ro` or `rw`.
    pub mounts: Vec<String>,
    /// SHA-256 of the program.
    pub program: Hash,
    /// What the program was built of.
    pub packages: Vec<Package>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// It is a wireless one.
    pub wireless: bool,
    /// It is the loopback interface, which leads nowhere.
    pub loopback: bool,
    /// How often it got a carrier since its driver was started: 0 shows that nothing was plugged in since.
    /// Without it, the kernel does not say.
    pub carrier_up_count: Option<u64>,
}
