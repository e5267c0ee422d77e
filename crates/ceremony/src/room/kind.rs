//! The kinds of findings: what each is, why it matters, what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What can be wrong with the room. Closed: a script admits deviations by these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A network interface is up, has a carrier, or had one meanwhile.
    NetworkLink,
    /// A route leads out of the machine.
    Route,
    /// A transmitter may transmit.
    Radio,
    /// A transmitter is fitted, and only software keeps it silent.
    RadioFitted,
    /// A Bluetooth adapter is there and not switched off by hardware.
    Bluetooth,
    /// Memory can be written to a swap device.
    Swap,
    /// The memory of a process, or of the machine, can be written out when it crashes.
    CoreDumps,
    /// The machine can write all its memory to a disk and switch off.
    Hibernation,
    /// The machine is a virtual one.
    Hypervisor,
    /// The program does not see the whole machine.
    Namespace,
    /// A medium that can be carried away is attached.
    Media,
    /// A file system of another machine is mounted.
    Mount,
    /// The clock cannot be right, or was set from a network.
    Clock,
    /// Machine or firmware do not say what they are.
    Identity,
    /// The program does not know what it was built of.
    Software,
    /// The script does not say where a device comes from, or the device is another. People find this out.
    Hardware,
    /// A seal is broken or another one. People find this out.
    Seal,
}

/// The texts of one kind.
struct Text {
    name: &'static str,
    what: &'static str,
    why: &'static str,
    remedy: &'static str,
    controls: &'static [&'static str],
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::NetworkLink,
        Self::Route,
        Self::Radio,
        Self::RadioFitted,
        Self::Bluetooth,
        Self::Swap,
        Self::CoreDumps,
        Self::Hibernation,
        Self::Hypervisor,
        Self::Namespace,
        Self::Media,
        Self::Mount,
        Self::Clock,
        Self::Identity,
        Self::Software,
        Self::Hardware,
        Self::Seal,
    ];

    /// The name that scripts and reports use.
    pub fn name(self) -> &'static str {
        self.text().name
    }

    /// What it is, in a few words.
    pub fn what(self) -> &'static str {
        self.text().what
    }

    /// Why it matters.
    pub fn why(self) -> &'static str {
        self.text().why
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        self.text().remedy
    }

    /// The controls of the DACS that it breaks.
    pub fn controls(self) -> &'static [&'static str] {
        self.text().controls
    }

    fn text(self) -> Text {
        match self {
            Self::NetworkLink => Text {
                name: "network-link",
                what: "network link",
                why: "what is on a network can be reached, and can send out what it holds",
                remedy: "pull the cable, or remove the adapter; then `ip link set NAME down`",
                controls: &["GEN-06", "GEN-11"],
            },
            Self::Route => Text {
                name: "route",
                what: "network route",
                why: "a route is a way out that only waits for a link",
                remedy: "take the link of the route down: `ip link set NAME down`; a route left over goes with \
                         `ip route flush table all`",
                controls: &["GEN-06"],
            },
            Self::Radio => Text {
                name: "radio",
                what: "transmitter on",
                why: "a radio that may transmit is a network without a cable, and can be used from outside the room",
                remedy: "use the switch of the machine, or take the card out; `rfkill block all` silences it by \
                         software only",
                controls: &["GEN-06", "GEN-12"],
            },
            Self::RadioFitted => Text {
                name: "radio-fitted",
                what: "transmitter fitted",
                why: "a radio that software switched off, software can switch on",
                remedy: "take the card out, or use the switch of the machine or the setting of its firmware",
                controls: &["GEN-12"],
            },
            Self::Bluetooth => Text {
                name: "bluetooth",
                what: "Bluetooth adapter",
                why: "Bluetooth reaches through the wall, and keyboards use it",
                remedy: "switch it off in the firmware or by the switch of the machine, unplug the adapter; use a \
                         keyboard with a cable",
                controls: &["GEN-06", "GEN-12"],
            },
            Self::Swap => Text {
                name: "swap",
                what: "swap in use",
                why: "memory that is swapped out stays on the device after the ceremony",
                remedy: "`swapoff -a`, also for compressed memory (zram)",
                controls: &["GEN-08"],
            },
            Self::CoreDumps => Text {
                name: "core-dumps",
                what: "memory dumps possible",
                why: "a dump of a crash holds what was in memory, keys included",
                remedy: "`sysctl kernel.core_pattern=core` and `ulimit -H -c 0` before the program starts; \
                         `kexec -p -u` unloads a crash kernel",
                controls: &["GEN-08"],
            },
            Self::Hibernation => Text {
                name: "hibernation",
                what: "hibernation possible",
                why: "hibernating writes all memory to a disk, keys included",
                remedy: "start the machine with `nohibernate` on the kernel's command line",
                controls: &["GEN-08"],
            },
            Self::Hypervisor => Text {
                name: "hypervisor",
                what: "virtual machine",
                why: "whoever runs the virtual machine reads its memory and feeds its random generator",
                remedy: "hold the ceremony on a real machine, started from the medium itself",
                controls: &["GEN-05", "GEN-06"],
            },
            Self::Namespace => Text {
                name: "namespace",
                what: "program inside a container",
                why: "links, mounts and processes outside of the container are not seen, so none can be ruled out",
                remedy: "start the program as root, outside of any container",
                controls: &["GEN-06"],
            },
            Self::Media => Text {
                name: "media",
                what: "removable medium attached",
                why: "what can be carried away must not be there while there are secrets",
                remedy: "eject and unplug it; start the system with its image in memory (`toram`), so that its medium \
                         can be taken out too",
                controls: &["GEN-06", "GEN-08"],
            },
            Self::Mount => Text {
                name: "mount",
                what: "file system of another machine",
                why: "what is written there leaves the room",
                remedy: "`umount` it",
                controls: &["GEN-06", "GEN-08"],
            },
            Self::Clock => Text {
                name: "clock",
                what: "clock",
                why: "the times of the report are worth what the clock is, and a clock set from a network shows that \
                      there was one",
                remedy: "set it by hand from a clock on the wall: `date -s`; after a time service ran, restart the \
                         machine without a network",
                controls: &["GEN-09", "GEN-11"],
            },
            Self::Identity => Text {
                name: "identity",
                what: "hardware not identified",
                why: "hardware of which nobody knows what it is or where it comes from can have been changed",
                remedy: "write maker, model, serial number, seal and place of purchase into the script; start the \
                         program as root, so that it can read them too",
                controls: &["GEN-04", "GEN-05"],
            },
            Self::Software => Text {
                name: "software",
                what: "program not identified",
                why: "without the list of what it was built of nobody can say what ran",
                remedy: "build the program from the repository, with its Cargo.lock",
                controls: &["GEN-04", "GEN-10"],
            },
            Self::Hardware => Text {
                name: "hardware",
                what: "hardware of unknown origin",
                why: "a device can have been changed between its maker and this room",
                remedy: "write its maker, model, serial number, seal and place of purchase into the script, or take one \
                         of which they are known",
                controls: &["GEN-05", "GEN-11"],
            },
            Self::Seal => Text {
                name: "seal",
                what: "seal",
                why: "a seal that is broken, or not the one that was put on, shows that somebody was there",
                remedy: "leave what it protects untouched and find out who opened it; a component whose seal was broken \
                         counts as known to others",
                controls: &["GEN-05", "REC-03", "REC-09"],
            },
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
