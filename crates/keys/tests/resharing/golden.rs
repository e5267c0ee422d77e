//! A resharing on disk, and what Python read out of it by the words of the specification (`docs/spec/resharing.md`),
//! with HPKE, Feldman's check and Lagrange coefficients of its own: old logs and keys of offers stay readable.

use std::collections::BTreeMap;
use std::path::Path;

use custody::document::Document;
use custody::effects::Decoder as _;
use custody::name::Name;
use custody::resharing::{Deal, SEALED_PART_BYTES, part_context};
use custody::statement::Body;
use custody::{Blob, Hash};
use keys::locked::LockedBytes;
use keys::reshare::{Part, add_up};
use keys::round::activation_message;
use keys::seal::{SealDomain, SealKey, open};
use keys::share::{SharePublic, ShareSecret};
use serde_json::Value;

use crate::common::{Group, Random};
use crate::{decoder, every_set_signs, interpolate, number, point, scalar, value};

fn json(file: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/resharing");
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}

/// A value that is written as it was read.
fn of<T: serde::de::DeserializeOwned + serde::Serialize>(json: &Value) -> T {
    let value: T = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(serde_json::to_value(&value).unwrap(), *json);
    value
}

fn bytes(json: &Value) -> Vec<u8> {
    hex::decode(json.as_str().unwrap()).unwrap()
}

fn list(json: &Value) -> &[Value] {
    json.as_array().unwrap()
}

#[test]
fn a_resharing_on_disk_reads_as_it_is_specified() {
    let (file, expected) = (json("resharing.json"), json("expected.json"));
    let genesis: Hash = of(&file["genesis"]);
    let Document::Resharing(resharing) = of(&file["document"]) else { panic!("no resharing") };
    let dealing = resharing.id(&genesis);
    assert_eq!(dealing, of(&expected["dealing"]));

    let mut keys: BTreeMap<Name, SealKey> = BTreeMap::new();
    for offer in list(&file["offers"]) {
        let key = SealKey::from_locked(LockedBytes::take(&mut bytes(&offer["private"])).unwrap()).unwrap();
        let Body::Offer(body) = of(&offer["statement"]) else { panic!("no offer") };
        assert_eq!((body.dealing, body.seal), (dealing, Hash(key.public().0)));
        keys.insert(of(&offer["by"]), key);
    }
    let deals: Vec<(Name, Deal)> = list(&file["deals"])
        .iter()
        .map(|deal| match of(&deal["statement"]) {
            Body::Deal(body) => (of(&deal["by"]), body),
            _ => panic!("no deal"),
        })
        .collect();

    let (accounts, read) = (list(&file["accounts"]), list(&expected["accounts"]));
    assert_eq!((accounts.len(), read.len()), (2, 2));
    for (account, expected) in accounts.iter().zip(read) {
        let slot: u32 = of(&account["slot"]);
        let old: SharePublic = of(&account["public"]);
        let deals: Vec<_> = deals.iter().filter(|(_, deal)| deal.slot == slot).collect();
        assert_eq!(deals.iter().map(|(dealer, _)| dealer.clone()).collect::<Vec<_>>(), resharing.dealers);

        // Who deals what it holds, by everybody's check, and by the share itself.
        let ids: Vec<u32> = resharing.dealers.iter().map(|d| number(&old, d.as_str()) as u32).collect();
        for (((dealer, deal), own), weight) in deals.iter().zip(&ids).zip(list(&expected["weights"])) {
            assert_eq!((dealer, *own), (&of(&weight["dealer"]), of(&weight["identifier"])));
            assert_eq!(deal.dealing, dealing);
            assert!(decoder().redeals(&old.commitments, &ids, *own, &deal.commitments));
            let held = list(&account["shares"]).iter().find(|s| s["holder"] == weight["dealer"]).unwrap();
            let held = ShareSecret::open(&bytes(&held["share"]), &old, dealer).unwrap();
            assert_eq!(point(&(scalar(&bytes(&weight["weight"])) * value(&held))), deal.commitments[0]);
        }
        let lists: Vec<&[Blob]> = deals.iter().map(|(_, deal)| deal.commitments.as_slice()).collect();
        let commitments = decoder().add_commitments(&lists).unwrap();
        assert_eq!(commitments, of::<Vec<Blob>>(&expected["commitments"]));
        let public = SharePublic { holders: resharing.holders.clone(), commitments, ..old };

        let mut parts = list(&expected["parts"]).iter();
        let mut opened: BTreeMap<(Name, Name), Vec<u8>> = BTreeMap::new();
        for (dealer, deal) in &deals {
            assert_eq!(deal.sealed.len(), resharing.holders.len());
            for (holder, sealed) in resharing.holders.iter().zip(&deal.sealed) {
                let part = parts.next().unwrap();
                assert_eq!((dealer, holder), (&of(&part["dealer"]), &of(&part["holder"])));
                let context = part_context(&genesis, &dealing, slot, dealer, holder);
                assert_eq!(context, part["context"].as_str().unwrap().as_bytes());
                assert_eq!(sealed.0.len(), SEALED_PART_BYTES);
                let plain = open(&keys[holder], SealDomain::Part, &context, &sealed.0).unwrap();
                assert_eq!(plain.as_slice(), bytes(&part["part"]));
                opened.insert((dealer.clone(), holder.clone()), plain.to_vec());
                let elsewhere = part_context(&genesis, &dealing, slot + 1, dealer, holder);
                assert!(open(&keys[holder], SealDomain::Part, &elsewhere, &sealed.0).is_err());
            }
        }
        assert!(parts.next().is_none());

        let mut shares = BTreeMap::new();
        for (holder, expected) in resharing.holders.iter().zip(list(&expected["shares"])) {
            let parts = deals.iter().map(|(dealer, deal)| Part {
                dealer,
                commitments: &deal.commitments,
                secret: &opened[&(dealer.clone(), holder.clone())],
            });
            let parts: Vec<_> = parts.collect();
            let held = add_up(&public, holder, &parts).unwrap();
            assert_eq!((holder, held.expose()), (&of(&expected["holder"]), &bytes(&expected["share"])[..]));
            shares.insert(holder.clone(), held);
        }
        let key = scalar(&bytes(&expected["key"]));
        assert_eq!(point(&key), public.account.public);
        let points: Vec<_> = (1..).zip(&resharing.holders).map(|(id, h)| (id, value(&shares[h]))).collect();
        assert_eq!(interpolate(&points[1..], 0), key);
        for activation in list(&expected["activations"]) {
            let holders: Vec<Name> = of(&activation["holders"]);
            let message = activation_message(&genesis, &dealing, slot, &holders);
            assert_eq!(message.as_bytes()[..], bytes(&activation["message"]));
        }
        every_set_signs(&mut Group { public, shares, rng: Random::new(1) });
    }
}
