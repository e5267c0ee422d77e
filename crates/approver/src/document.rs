//! Documents in words.

use std::collections::BTreeSet;

use custody::Hash;
use custody::anchors::{Gone, OtherAnchor, OtherAnchors};
use custody::cosigner_set::CosignerSet;
use custody::document::{CosignerCard, Document};
use custody::effects::{Decoder as _, Effects, Inclusion, OutPoint};
use custody::genesis::quorum_of;
use custody::name::Name;
use custody::rates::Rate;
use custody::resharing::Resharing;

use crate::alike::looks_like;
use crate::replica::Replica;
use crate::text::{chunks, harmless, plain, sats, time};
use crate::view::{Labels, names};

pub(crate) type Fields = Vec<(String, String)>;

pub(crate) fn field(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// What a document says, field by field. Every field of every kind is here: a person approves nothing
/// that was not shown.
pub(crate) fn readable(document: &Document, labels: &Labels, replica: &Replica) -> Fields {
    match document {
        Document::Policy(policy) => crate::policy::readable(policy),
        Document::Person(person) => {
            let mut out = vec![field("name", labels.shown(&person.name))];
            for key in &person.keys {
                out.push(field("key", format!("{}, signs with {}", word(&key.device), key.sign)));
                out.push(field("", format!("connects with {}", key.tls)));
            }
            out
        }
        Document::Group(group) => vec![field("members", names(&group.members))],
        Document::Machine(machine) => {
            let grants: Vec<_> = machine.grants.iter().map(word).collect();
            vec![
                field("may", grants.join(", ")),
                field("signs with", machine.sign),
                field("connects with", machine.tls),
            ]
        }
        Document::Destination(destination) => vec![
            field("label", labels.shown(&destination.label)),
            field("whose", word(&destination.kind)),
            field("address", chunks(&plain(&destination.address))),
        ]
        .into_iter()
        .chain(looks_like(replica.state(), &destination.address).into_iter().map(|other| {
            field("! looks like", format!("{other}, and is another address: compare every character"))
        }))
        .chain(destination.owner.iter().map(|owner| field("of client", owner)))
        .chain(destination.proof.iter().map(|proof| field("shown by", proof)))
        .chain(destination.third_party.iter().map(|party| field("held by", party)))
        .collect(),
        Document::Wallet(wallet) => vec![
            field("ceremony", wallet.ceremony),
            field("account", wallet.slot),
            field("tier", word(&wallet.tier)),
            field("model", word(&wallet.model)),
        ]
        .into_iter()
        .chain(wallet.state.iter().map(|state| field("state", word(state))))
        .collect(),
        Document::Ceremony(record) => {
            let mut out = vec![
                field("held at", time(record.held_at)),
                field("shares", format!("{} of {}", record.threshold, names(&record.holders))),
                field("entropy", plain(&record.entropy)),
                field("program", record.program),
                field("nonce", record.nonce),
            ];
            if let Some(recovery) = &record.recovery {
                out.push(field("report", recovery.report));
                let rebuilt =
                    format!("{} account keys signed as rebuilt from components", recovery.restored.len());
                out.push(field("recovery", rebuilt));
            }
            let signed = record.participants.iter();
            out.extend(signed.map(|p| field("signed by key", p.key)));
            let accounts = record.slots.iter().enumerate();
            out.extend(accounts.map(|(i, slot)| {
                let key = Hash::sha256(&slot.account.public.0);
                field(&format!("account {i}"), format!("SHA-256 of its public key {key}"))
            }));
            out
        }
        Document::Cosigner(card) => carded(card),
        Document::CosignerSet(set) => cosigners(set, replica),
        Document::Header(header) => {
            vec![
                field("block", reversed(header.hash)),
                field("height", header.height),
                field("bits", format!("{:08x}", header.bits)),
            ]
        }
        Document::Anchors(other) => anchors(other, replica),
        Document::Upgrade(upgrade) => {
            vec![field("version", upgrade.version), field("rules", upgrade.rules)]
        }
        Document::Resume(resume) => resume.freezes.iter().map(|f| field("lifts freeze", f)).collect(),
        Document::Revocation(revocation) => vec![field("revokes key", revocation.key)],
        Document::Client(client) => vec![field("name", labels.shown(&client.name))],
        Document::Resharing(resharing) => reshared(resharing, replica),
        Document::Rates(rates) => {
            let rate = |(asset, rate): (&String, &Rate)| {
                let (value, per) = (rate.value, rate.per);
                field("rate", format!("{} base units of {}: {value} minor units", per, plain(asset)))
            };
            let hold = field("hold until", time(rates.until));
            std::iter::once(hold).chain(rates.rates.iter().map(rate)).collect()
        }
        Document::Absence(_)
        | Document::Delegation(_)
        | Document::Review(_)
        | Document::ThirdParty(_)
        | Document::DenyList(_)
        | Document::Asset(_)
        | Document::Lease(_)
        | Document::Order(_)
        | Document::Retention(_)
        | Document::Float(_) => record(document, labels),
    }
}

/// What the records of rule set 3 say.
fn record(document: &Document, labels: &Labels) -> Fields {
    let between = |from, until| vec![field("from", time(from)), field("until", time(until))];
    match document {
        Document::Absence(away) => between(away.from, away.until),
        Document::Delegation(delegation) => {
            let mut out =
                vec![field("stands in", &delegation.to), field("in groups", names(&delegation.groups))];
            out.extend(between(delegation.from, delegation.until));
            out
        }
        Document::Review(review) => vec![
            field("network", plain(&review.network)),
            field("reviewed at", time(review.reviewed_at)),
            field("business", labels.shown(&review.business)),
            field("clients", labels.shown(&review.clients)),
            field("speed, safety", labels.shown(&review.speed_and_safety)),
            field("segregation", labels.shown(&review.segregation)),
            field("offered", if review.offered { "yes" } else { "no" }),
            field("signed by", names(&review.signatories)),
        ],
        Document::ThirdParty(party) => vec![
            field("label", labels.shown(&party.label)),
            field("attestation", party.attestation),
            field("until", time(party.until)),
        ],
        Document::DenyList(list) => {
            let source = field("from file", list.source);
            let denied = list.addresses.iter().map(|address| field("denies", chunks(&plain(address))));
            std::iter::once(source).chain(denied).collect()
        }
        Document::Asset(asset) => vec![field("held", if asset.enabled { "yes" } else { "no" })],
        Document::Lease(lease) => vec![
            field("for", names(&lease.people)),
            field("until", time(lease.until)),
            field("uses", lease.uses),
        ],
        Document::Order(order) => {
            vec![field("label", labels.shown(&order.label)), field("order", order.order)]
        }
        Document::Retention(retention) => vec![field("years", retention.years)],
        Document::Float(float) => vec![field("at most", sats(float.amount_max))],
        _ => Vec::new(),
    }
}

/// A co-signer's card.
fn carded(card: &CosignerCard) -> Fields {
    vec![
        field("epoch", card.epoch),
        field("holds shares", if card.holds_shares { "yes" } else { "no" }),
        field("identity", card.identity),
        field("votes with", card.vote),
        field("co-signs with", card.cosign),
        field("connects with", card.tls),
        field("states with", card.statement),
        field("frames with", card.frame),
        field("sealed to", card.seal),
    ]
}

/// Who votes, and who joins and leaves.
fn cosigners(set: &CosignerSet, replica: &Replica) -> Fields {
    let now: Vec<Name> = replica.state().cosigners().into_iter().map(|card| card.name.clone()).collect();
    let decide = |count: usize| format!("{} of {count} decide", quorum_of(count));
    let mut out = vec![
        field("members", names(&set.members)),
        field("votes", decide(set.members.len())),
        field("votes now", decide(now.len())),
    ];
    out.extend(now.iter().filter(|name| !set.members.contains(name)).map(|name| field("leaves", name)));
    for card in &set.joining {
        out.push(field("joins", &card.name));
        out.extend(carded(card));
    }
    out
}

/// Who holds shares of which wallets, before and after.
fn reshared(resharing: &Resharing, replica: &Replica) -> Fields {
    let state = replica.state();
    let mut out = vec![
        field("ceremony", resharing.ceremony),
        field("nonce", resharing.nonce),
        field("dealt by", names(&resharing.dealers)),
        field("holders", names(&resharing.holders)),
    ];
    let accounts = (0..).map_while(|slot| state.dealt(&resharing.ceremony, slot));
    let before: BTreeSet<&Name> = accounts.flat_map(|(_, slot)| &slot.holders).collect();
    out.extend(before.iter().filter(|h| !resharing.holders.contains(h)).map(|h| field("loses share", h)));
    out.extend(resharing.holders.iter().filter(|h| !before.contains(h)).map(|h| field("gets share", h)));
    let wallets = state.documents().filter_map(|found| match &found.document {
        Document::Wallet(wallet) if wallet.ceremony == resharing.ceremony => {
            Some(field("wallet", &wallet.id))
        }
        _ => None,
    });
    out.extend(wallets);
    if let Some((open, _)) = state.resharing_of(&resharing.ceremony).filter(|(id, _)| !state.is_reshared(id))
    {
        out.push(field("ends resharing", open));
    }
    out
}

/// Which request, its anchors before and after, and of each transaction that was authorised for it why it
/// cannot confirm beside a later one. Nothing here is the document's word: the proofs are checked.
fn anchors(other: &OtherAnchors, replica: &Replica) -> Fields {
    let (state, decoder) = (replica.state(), replica.decoder());
    let mut out = vec![field("for request", other.lineage)];
    if let Some(first) = state.requests().get(&other.lineage) {
        let to = first.request.outputs.iter().map(|o| format!("{} to {}", sats(o.amount), o.destination));
        let to: Vec<_> = to.collect();
        out.push(field("", format!("from {}: {}", first.request.wallet, to.join(", "))));
    }
    let later = state.requests().iter().filter(|(id, r)| r.lineage == other.lineage && **id != other.lineage);
    out.extend(later.map(|(id, _)| field("renewed by", id)));
    let confirmed = |proof: &Inclusion| decoder.confirmed(&proof.under(&other.headers), &state.header());
    let depth = |proof: &Inclusion| match confirmed(proof) {
        Ok(shown) => format!("{} confirmations shown, in block {}", shown.depth, shown.height),
        Err(error) => format!("NOT PROVEN: {}", harmless(&error.to_string())),
    };
    let new: Vec<OutPoint> = other.anchors.iter().map(|a| a.output.outpoint).collect();
    for old in state.lineages().get(&other.lineage).iter().flat_map(|l| &l.anchors) {
        let then = if new.contains(old) { "kept" } else { "released" };
        out.push(field("old anchor", format!("{}, {then}", place(old))));
    }
    for OtherAnchor { output, proof } in &other.anchors {
        out.push(field("new anchor", place(&output.outpoint)));
        let at = format!("at {} {}", word(&output.branch), output.index);
        out.push(field("", format!("{} {at}, {}", sats(output.amount), depth(proof))));
    }
    let ancestors: Vec<Effects> = other.ancestors.iter().filter_map(|a| decoder.decode(&a.0).ok()).collect();
    let mut conflicts = Vec::new();
    for proof in &other.conflicts {
        // The id of a transaction without witness, which is what a proof carries.
        let id = Hash::sha256(&Hash::sha256(&proof.transaction.0).0);
        out.push(field("confirmed is", reversed(id)));
        out.push(field("", depth(proof)));
        conflicts.extend(confirmed(proof).ok().map(|shown| (id, Gone::new(&shown.effects, &ancestors))));
    }
    for (id, authorised) in state.may_confirm(&other.lineage) {
        out.push(field("authorised", reversed(authorised.txid)));
        out.push(field("", format!("as {id}")));
        let inputs = authorised.transaction.inputs.iter().map(|i| &i.outpoint);
        let gone = |(by, gone): &(Hash, Gone)| Some((*by, inputs.clone().find(|input| gone.has(input))?));
        let why = match (inputs.clone().find(|i| new.contains(i)), conflicts.iter().find_map(gone)) {
            (Some(anchor), _) => format!("may confirm; then nothing after it: spends {}", place(anchor)),
            (None, Some((by, lost))) => {
                let ancestor = ancestors.iter().any(|a| a.txid == lost.txid);
                let how = if ancestor { "which can never be, because of" } else { "which was spent by" };
                format!("never confirms: needs {}, {how} {}", place(lost), reversed(by))
            }
            (None, None) => "NOT EXCLUDED: it may confirm beside a payment from these anchors".into(),
        };
        out.push(field("", why));
    }
    let ids = other.ancestors.iter().map(|raw| Hash::sha256(&Hash::sha256(&raw.0).0));
    out.extend(ids.map(|id| field("by ancestor", reversed(id))));
    out
}

fn place(outpoint: &OutPoint) -> String {
    format!("{}:{}", reversed(outpoint.txid), outpoint.vout)
}

/// A hash of Bitcoin as people write it.
fn reversed(mut hash: Hash) -> Hash {
    hash.0.reverse();
    hash
}

/// The word that stands in the document itself.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
