//! A link that comes up while the watch runs, in a network namespace of its own. Needs `unshare` (util-linux),
//! `mount` and `ip` (iproute2).

use std::path::PathBuf;
use std::process::{Command, Output};

use ceremony::room::{FindingKind, Root, Watch};

use crate::look;

fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let line = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{line}: {error}; install util-linux and iproute2"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{line}: {}{}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// The test below, in a namespace without any network. Who is not root needs a kernel that lets users have
/// namespaces.
#[test]
fn a_link_that_comes_up_is_seen() {
    let this = std::env::current_exe().unwrap();
    let this = this.to_str().unwrap();
    let inside = ["--", this, "--ignored", "--exact", "namespace::inside", "--nocapture"];
    let root = run("id", &["-u"]).unwrap().stdout.starts_with(b"0\n");
    let alone: &[&str] = if root { &["-n", "-m"] } else { &["-r", "-n", "-m"] };
    let told = match run("unshare", &[alone, &inside].concat()) {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => panic!("no namespace could be made, or the test in it failed: {error}"),
    };
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "the test above runs it in a namespace of its own"]
fn inside() {
    let ip = |arguments: &str| run("ip", &arguments.split(' ').collect::<Vec<_>>());
    // Of the network, /sys shows the namespace in which it was mounted.
    run("mount", &["-t", "sysfs", "none", "/sys"]).unwrap();
    let look = || look(&Root(PathBuf::from("/")));
    let network = |kind| matches!(kind, FindingKind::NetworkLink | FindingKind::Route);

    let before = look();
    assert_eq!(before.facts.interfaces.len(), 1, "{:?}", before.facts.interfaces);
    assert!(!before.findings.iter().any(|finding| network(finding.kind)), "{:?}", before.findings);
    // Whoever hides the network of the machine from the program this way is found out.
    assert!(before.findings.iter().any(|finding| finding.kind == FindingKind::Namespace));
    let watch = Watch::baseline(before);
    assert_eq!(watch.changes(&look()), []);

    // An interface that is there and switched off says nothing yet. Not every kernel has the first kind.
    ip("link add cable type dummy").or_else(|_| ip("link add cable type veth peer name plug")).unwrap();
    assert_eq!(watch.changes(&look()), []);

    ip("link set cable up").unwrap();
    let changes = watch.changes(&look());
    let link = changes.iter().find(|change| change.kind == FindingKind::NetworkLink);
    assert!(link.is_some_and(|link| link.detail.starts_with("cable is up")), "{changes:?}");

    // The other end, where the kind has one.
    let _ = ip("link set plug up");
    ip("address add 192.0.2.2/24 dev cable").unwrap();
    ip("-6 address add 2001:db8:7::2/64 dev cable nodad").unwrap();
    let changes = watch.changes(&look());
    for route in ["to 192.0.2.0/24 by cable", "to 2001:db8:7::/64 by cable"] {
        assert!(changes.iter().any(|c| c.kind == FindingKind::Route && c.detail == route), "{changes:?}");
    }

    // Taken away again before the next look.
    ip("link set cable down").unwrap();
    let after = look();
    let cable = after.facts.interfaces.iter().find(|interface| interface.name == "cable").unwrap();
    let changes = watch.changes(&after);
    assert!(!changes.iter().any(|change| change.detail.starts_with("cable is")), "{changes:?}");
    // The first kind has a carrier at all times and so does not count; a pair of ends does.
    if cable.carrier_up_count != Some(0) {
        assert!(changes.iter().any(|change| change.detail.contains("meanwhile")), "{changes:?}");
    }
}
