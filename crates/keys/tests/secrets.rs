//! What the types themselves promise: no secret is copied, serialised or shown.

mod common;

use common::{Random, dealt, group};
use keys::cosigner::{CosignerSecrets, EpochKeys};
use keys::device::DeviceKey;
use keys::locked::LockedBytes;
use keys::round::Nonces;
use keys::seal::SealKey;
use keys::seed::{AccountSecret, Seed};
use keys::share::{HeldShare, ShareSecret};
use keys::vault::Vault;
use static_assertions::assert_not_impl_any;

assert_not_impl_any!(LockedBytes: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(Seed: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(AccountSecret: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(ShareSecret: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(HeldShare: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(Nonces: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(SealKey: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(DeviceKey: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(EpochKeys: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(CosignerSecrets: Clone, Copy, serde::Serialize, std::fmt::Display);
assert_not_impl_any!(Vault: Clone, Copy, serde::Serialize, std::fmt::Display);

/// Asserts that `shown` has no four bytes of `secret` in a row, in hex or as a list of numbers.
fn shows_nothing(shown: &str, secret: &[u8]) {
    assert!(secret.len() >= 32);
    for window in secret.windows(4) {
        assert!(!shown.to_lowercase().contains(&hex::encode(window)), "{shown}");
        let list = window.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        assert!(!shown.contains(&list), "{shown}");
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let mut rng = Random::new(1);
    let mut group = group(1);
    let (dealt, _) = dealt(1);
    let held = &group.shares[&common::name("ada")];
    shows_nothing(&format!("{held:?} {held:#?}"), held.expose());
    shows_nothing(&format!("{dealt:?} {dealt:#?}"), dealt.shares[0].1.expose());

    // These give their secret to nobody; the same randomness tells what it is.
    let known = LockedBytes::random(32, &mut Random::new(2)).unwrap();
    shows_nothing(&format!("{known:?}"), known.expose());
    let seed = Seed::generate(&mut Random::new(2)).unwrap();
    shows_nothing(&format!("{seed:?}"), known.expose());
    let seal = SealKey::generate(&mut Random::new(2)).unwrap();
    shows_nothing(&format!("{seal:?}"), known.expose());
    let device = DeviceKey::generate(&mut Random::new(2));
    shows_nothing(&format!("{device:?}"), known.expose());
    shows_nothing(&format!("{device:?}"), &*device.tls_seed());
    let cosigner = CosignerSecrets::generate(&mut rng).unwrap();
    shows_nothing(&format!("{cosigner:?}"), cosigner.to_plaintext().unwrap().expose());
    shows_nothing(&format!("{:?}", cosigner.used()), cosigner.to_plaintext().unwrap().expose());
    let vault = Vault::create(&known, &mut rng).unwrap();
    assert_eq!(format!("{vault:?}"), "Vault(<secret>)");
    let account = seed.account(1, 0).unwrap();
    let public = hex::encode(&account.public().public.0);
    let shown = format!("{account:?}");
    assert!(shown.starts_with("AccountSecret(<secret>") && shown.len() < public.len(), "{shown}");
    let mut round = group.commit_all(&group.binding(1, &["ada", "bob"]));
    let nonces = round.nonces.pop_first().unwrap().1;
    assert_eq!(format!("{nonces:?}"), format!("Nonces(<secret> for input 0 of {})", "01".repeat(32)));
}
