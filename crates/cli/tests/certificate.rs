//! A machine's certificate, as other programs use it.

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::Host;
use custody::document::Machine;

#[test]
fn a_certificate_wraps_the_enrolled_tls_key() {
    let host = Host::new();
    host.ok("machine new --id payments --grant request --out payments.key");
    let machine: Machine =
        serde_json::from_slice(&std::fs::read(host.path("payments.key.pub.json")).unwrap()).unwrap();
    // No genesis is pinned here, and no profile is made.
    let line = "machine certificate --device payments.key --out-cert c.pem --out-key k.pem";
    let text = host.ok(line);
    assert!(text.contains("curl --cacert server.pem --cert c.pem --key k.pem"), "{text}");
    assert!(text.contains(&machine.tls.to_string()), "{text}");
    let mode = |name: &str| std::fs::metadata(host.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("k.pem"), 0o600);
    // The key fits the certificate: wrapped again from it, the same comes out.
    let (pem, key) = (
        std::fs::read_to_string(host.path("c.pem")).unwrap(),
        std::fs::read_to_string(host.path("k.pem")).unwrap(),
    );
    let base64 = key.lines().nth(1).unwrap();
    assert!(!text.contains(base64) && !pem.contains(base64));
    let custody::Blob(der) = serde_json::from_value(base64.into()).unwrap();
    let seed = zeroize::Zeroizing::new(der[16..].try_into().unwrap());
    let again = certificate::self_signed(&seed, &machine.tls.to_string(), &[]).unwrap();
    assert_eq!(again.pem, pem);
    assert_eq!(certificate::key_of(&again.der), Some(machine.tls.0));
    assert!(text.contains(&custody::Hash::sha256(&again.der).to_string()), "{text}");
    // The profile's key file is taken when none is named.
    host.ok("profile --device payments.key");
    host.ok("machine certificate --out-cert c2.pem --out-key k2.pem");
    assert_eq!(std::fs::read_to_string(host.path("c2.pem")).unwrap(), pem);
}

#[test]
fn nothing_is_overwritten_and_nothing_comes_without_the_passphrase() {
    let host = Host::new();
    host.ok("machine new --id payments --out payments.key");
    host.fails("machine certificate --out-cert c.pem --out-key k.pem", 2);
    let line = "machine certificate --device payments.key --out-cert c.pem --out-key k.pem";
    host.fails(&format!("{line} --no-descriptor"), 2);
    assert!(!host.path("k.pem").exists() && !host.path("c.pem").exists());
    for (taken, free) in [("k.pem", "c.pem"), ("c.pem", "k.pem")] {
        std::fs::write(host.path(taken), "mine").unwrap();
        host.fails(line, 2);
        assert_eq!(std::fs::read_to_string(host.path(taken)).unwrap(), "mine");
        assert!(!host.path(free).exists());
        std::fs::remove_file(host.path(taken)).unwrap();
    }
    host.ok(line);
    host.fails(line, 2);
}
