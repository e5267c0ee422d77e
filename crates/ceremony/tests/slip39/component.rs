//! How a component proves that it is there and whole.

use ceremony::component::{CHALLENGE_FORMAT, CHALLENGE_TAG, Challenge, ChallengeError, Component, verify};
use ceremony::script::ComponentId;
use ceremony::script::steps::Medium;
use ceremony::slip39::{Mnemonic, Scheme};
use custody::{Hash, canon};
use fixtures::name;
use hkdf::Hkdf;
use rand_core::OsRng;
use sha2::Sha256;

use crate::{any, shares, text};

fn components(scheme: &Scheme) -> Vec<Component> {
    shares(scheme).into_iter().map(Component::new).collect()
}

fn challenge(component: &Component, medium: Medium) -> Challenge {
    let asked = (component.set(), component.id());
    Challenge::new(Hash([9; 32]), asked, medium, (1_800_000_000, name("auditor")), &mut OsRng)
}

#[test]
fn an_answer_is_good_for_its_challenge_and_its_component_only() {
    let components = components(&any(2, 3));
    let public: Vec<Hash> = components.iter().map(Component::health_public).collect();
    for (component, health) in components.iter().zip(&public) {
        let asked = challenge(component, Medium::Paper);
        let answer = component.answer(&asked).unwrap();
        assert!(verify(health, &asked, &answer));
        for other in public.iter().filter(|other| *other != health) {
            assert!(!verify(other, &asked, &answer));
        }
        let changed = [
            Challenge { at: asked.at + 1, ..asked.clone() },
            Challenge { by: name("thief"), ..asked.clone() },
            Challenge { ceremony: Hash([8; 32]), ..asked.clone() },
            Challenge { component: ComponentId { group: 0, member: 9 }, ..asked.clone() },
            Challenge { format: "keyward/component-challenge/v2".into(), ..asked.clone() },
            Challenge { fresh: Hash([0; 32]), ..asked.clone() },
            Challenge { medium: Medium::File, ..asked.clone() },
            Challenge { set: asked.set ^ 1, ..asked.clone() },
        ];
        for other in changed {
            assert!(!verify(health, &other, &answer), "{other:?}");
        }
        assert_ne!(challenge(component, Medium::Paper).fresh, asked.fresh);
    }
}

#[test]
fn every_copy_gives_the_same_key_and_every_share_another() {
    let components = components(&Scheme { group_threshold: 2, groups: vec![(2, 3), (1, 1)] });
    let mut seen = std::collections::BTreeSet::new();
    for component in &components {
        let typed = text(component.mnemonic()).to_uppercase().replace(' ', "\n");
        let copy = Component::new(Mnemonic::parse(&typed).unwrap());
        assert_eq!(copy.health_public(), component.health_public());
        let asked = challenge(component, Medium::File);
        assert!(verify(&component.health_public(), &asked, &copy.answer(&asked).unwrap()));
        seen.insert(component.health_public());
    }
    assert_eq!(seen.len(), components.len());
}

#[test]
fn a_component_answers_for_no_other() {
    let [mine, other] = [(); 2].map(|()| components(&any(2, 3)));
    let error = mine[0].answer(&challenge(&mine[1], Medium::Paper)).unwrap_err();
    assert!(
        matches!(&error, ChallengeError::Other { asked, this, .. } if asked.member == 1 && this.member == 0)
    );
    assert!(error.to_string().starts_with("the challenge is for component 1.2 of the set"), "{error}");
    // The same place of another set.
    let asked = Challenge {
        set: other[0].set() ^ u16::from(other[0].set() == mine[0].set()),
        ..challenge(&mine[0], Medium::Paper)
    };
    assert!(matches!(mine[0].answer(&asked), Err(ChallengeError::Other { .. })));
}

#[test]
fn signatures_are_checked_strictly() {
    let component = &components(&any(2, 2))[0];
    let asked = challenge(component, Medium::Paper);
    let health = component.health_public();
    let answer = component.answer(&asked).unwrap();
    for bit in 0..512 {
        let mut forged = answer;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(!verify(&health, &asked, &forged), "{bit}");
    }
    assert!(!verify(&health, &asked, &answer[..63]));
    // s + L satisfies the equation too: only the strict check refuses it.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut malleable = answer;
    let mut carry = 0;
    for (byte, add) in malleable[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert!(!verify(&health, &asked, &malleable));
    // The neutral point as key and as R, with s = 0, satisfies the loose equation for any message.
    let neutral = Hash(std::array::from_fn(|at| u8::from(at == 0)));
    let forged: [u8; 64] = std::array::from_fn(|at| u8::from(at == 0));
    assert!(!verify(&neutral, &asked, &forged));
}

#[test]
fn a_challenge_has_one_form() {
    let component = &components(&any(2, 2))[0];
    let asked = challenge(component, Medium::Paper);
    let bytes = asked.to_bytes().unwrap();
    assert_eq!(Challenge::parse(&bytes).unwrap(), asked);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let refused = |text: &str| Challenge::parse(text.as_bytes()).unwrap_err();
    for other in
        [format!("{text} "), text.replace(":", ": "), text.replacen('{', "{\"a\":1,", 1), String::new()]
    {
        assert!(matches!(refused(&other), ChallengeError::Form(_)), "{other}");
    }
    let later = refused(&text.replace("challenge/v1", "challenge/v2"));
    assert_eq!(later, ChallengeError::Format("keyward/component-challenge/v2".to_owned()));
    // A time that has no canonical form is neither signed nor believed.
    let late = Challenge { at: 1 << 53, ..asked.clone() };
    assert!(matches!(component.answer(&late), Err(ChallengeError::Form(_))));
    assert!(!verify(&component.health_public(), &late, &component.answer(&asked).unwrap()));
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    // Vector 45 of the standard, its first share.
    let share = Mnemonic::parse("western apart academic always artist resident briefing sugar woman oven coding club ajar merit pecan answer prisoner artist fraction amount desktop mild false necklace muscle photo wealthy alpha category unwrap spew losing making").unwrap();
    let component = Component::new(share);
    // Header and value as the reference implementation decodes them.
    let decoded =
        hex::decode("fa83000021daef18f6bfd2792749905e41a402dae0365bc2434e455226096a99f941d203bf").unwrap();
    let mut seed = [0; 32];
    Hkdf::<Sha256>::new(None, &decoded).expand(b"keyward/component-health/v1", &mut seed).unwrap();
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    assert_eq!(component.health_public().0, key.verifying_key().to_bytes());
    assert_eq!(
        component.health_public().to_string(),
        "dd14fac1f54c5e1a85564c081f577969116c1a017a3c136cef41df4c607a6fbd"
    );
    let asked = Challenge {
        at: 1_800_000_000,
        by: name("auditor"),
        ceremony: Hash([9; 32]),
        component: ComponentId { group: 0, member: 2 },
        format: CHALLENGE_FORMAT.to_owned(),
        fresh: Hash([7; 32]),
        medium: Medium::Paper,
        set: 32065,
    };
    let json = format!(
        r#"{{"at":1800000000,"by":"auditor","ceremony":"{}","component":"1.3","format":"keyward/component-challenge/v1","fresh":"{}","medium":"paper","set":32065}}"#,
        "09".repeat(32),
        "07".repeat(32)
    );
    assert_eq!(asked.to_bytes().unwrap(), json.as_bytes());
    assert_eq!(canon::decode::<Challenge>(json.as_bytes()).unwrap(), asked);
    let message = [b"keyward/component-challenge/v1\0", json.as_bytes()].concat();
    assert_eq!(CHALLENGE_TAG, &message[..CHALLENGE_TAG.len()]);
    let signature = ed25519_dalek::Signer::sign(&key, &message).to_bytes();
    assert_eq!(component.answer(&asked).unwrap(), signature);
    assert_eq!(
        hex::encode(signature),
        "46892ba2bdff48f7b8d92d0e631afbd1fc5170dfaebb4b650ceaf1be59de83e234feb7c411ed95015625d9c5e401355c115890426fbf9dc30f044ecf97ddcb07"
    );
}

#[test]
fn a_debugged_component_shows_no_word() {
    let component = &components(&any(2, 2))[1];
    assert_eq!(format!("{component:?}"), format!("Component(<secret> 1.2 of {})", component.set()));
}
