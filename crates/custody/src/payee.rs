//! Whom a payment pays: destinations of the address book, and addresses that the request itself names where a
//! rule of the policy says so.

use std::collections::BTreeSet;

use crate::bytes::Hash;
use crate::document::{Destination, DestinationKind, Document, Kind};
use crate::effects::{Decoder, Sats};
use crate::name::Name;
use crate::payment::RequestOutput;
use crate::rule::{Refusal, Rule, ensure};
use crate::state::State;

impl RequestOutput {
    /// An output to a destination in the version that the requester saw.
    pub fn listed(destination: Name, version: Hash, amount: Sats) -> Self {
        Self { destination, version, amount, address: None }
    }

    /// An output to an address that is not in the book. Its handle comes from the address, so that limits by
    /// destination know it again.
    pub fn unlisted(address: impl Into<String>, amount: Sats) -> Self {
        let address = address.into();
        let version = Hash::of("keyward/unlisted/v1", address.as_bytes());
        Self { destination: Name::unlisted(&version), version, amount, address: Some(address) }
    }
}

impl State {
    /// Whose the address of an output is said to be, and the address: of the destination in force, or the one
    /// that the request names.
    pub fn payee<'a>(&'a self, output: &'a RequestOutput) -> Option<(DestinationKind, &'a str)> {
        match &output.address {
            Some(address) => Some((DestinationKind::Unlisted, address)),
            None => self.destination(&output.destination).map(|d| (d.kind, d.address.as_str())),
        }
    }

    /// Whether an output still pays what its requester saw: the version of the destination, or the address.
    pub fn is_as_asked(&self, output: &RequestOutput) -> bool {
        let found = || self.document(Kind::Destination, output.destination.as_str());
        output.address.is_some() || found().is_some_and(|found| found.hash == output.version)
    }

    /// The script of a request's output, if the destination is still the one that was asked for.
    pub(crate) fn script_of(
        &self,
        output: &RequestOutput,
        decoder: &dyn Decoder,
    ) -> Result<Vec<u8>, Refusal> {
        let id = &output.destination;
        ensure(self.is_as_asked(output), Rule::Outputs, || {
            format!("destination {id} changed after the request: ask again")
        })?;
        self.check_not_listed(output, Rule::Outputs)?;
        let (_, address) = self
            .payee(output)
            .ok_or_else(|| Refusal::new(Rule::Reference, format!("there is no destination {id}")))?;
        decoder.address_script(address).map_err(|e| Refusal::new(Rule::Outputs, e.to_string()))
    }

    /// Checks an output that names its address: it has the handle of that, in its one spelling, and what is in
    /// the address book is paid by its handle there, under the rules for it.
    pub(crate) fn check_unlisted(
        &self,
        output: &RequestOutput,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let Some(address) = &output.address else { return Ok(()) };
        let form = |holds: bool, why: &str| ensure(holds, Rule::Request, || why.into());
        form(self.pays_unlisted(), "no rule of the policy pays addresses that are not in the address book")?;
        let own = *output == RequestOutput::unlisted(address.as_str(), output.amount);
        form(own, "the handle and version of an address that is not in the book come from its hash")?;
        let script = decoder.address_script(address);
        let script = script.map_err(|e| Refusal::new(Rule::Request, format!("{address}: {e}")))?;
        // BIP-173 addresses are the same in capitals: two spellings would be two handles.
        let small = address.to_ascii_lowercase();
        let spelling = small == *address || decoder.address_script(&small).as_ref() != Ok(&script);
        form(spelling, "write the address in small letters")?;
        self.check_not_listed(output, Rule::Request)
    }

    /// Refuses what a request names by its address where the address book has it, under the rules for it there.
    fn check_not_listed(&self, output: &RequestOutput, refuses: Rule) -> Result<(), Refusal> {
        let listed = output.address.as_ref().and_then(|address| self.destination_at(address));
        ensure(listed.is_none(), refuses, || {
            let id = listed.map_or("", |d| d.id.as_str());
            format!(
                "the address of {} is destination {id} of the address book: name that",
                output.destination
            )
        })
    }

    /// Whether a rule of the policy in force speaks of addresses that are not in the book.
    pub fn pays_unlisted(&self) -> bool {
        let rules = self.policy().into_iter().flat_map(|(policy, _)| &policy.rules);
        let mut kinds = rules.filter_map(|rule| rule.when.destinations.as_ref()).flatten();
        kinds.any(|kind| *kind == DestinationKind::Unlisted)
    }

    /// The destination in force with an address. Two addresses of one network that differ in their case alone are
    /// one: BIP-173 reads both, and in base58 no two differ so but by chance as of hashes. So a book of thousands is
    /// looked through without decoding it.
    pub fn destination_at<'a>(&'a self, address: &str) -> Option<&'a Destination> {
        self.destinations_at(address).next()
    }

    /// The handles that the address of a destination has where a request names it itself (since rule set 4): a limit by
    /// destination goes on counting when an address enters the book.
    pub(crate) fn unlisted_handles_of(&self, destination: &Name) -> BTreeSet<Name> {
        let listed = self.destination(destination).filter(|_| self.clock.rules >= 4);
        // The book may have it in capitals, a request does not.
        let spelled = listed.into_iter().flat_map(|d| [d.address.clone(), d.address.to_ascii_lowercase()]);
        spelled.map(|address| RequestOutput::unlisted(address, Sats(0)).destination).collect()
    }

    fn destinations_at<'a>(&'a self, address: &str) -> impl Iterator<Item = &'a Destination> {
        let all = self.documents.from((Kind::Destination, String::new()));
        let all = all.take_while(|((kind, _), _)| *kind == Kind::Destination);
        all.filter_map(move |(_, found)| match &found.document {
            Document::Destination(d) if d.address.eq_ignore_ascii_case(address) => Some(d),
            _ => None,
        })
    }

    /// Checks a destination before it enters the address book.
    pub(crate) fn check_destination(
        &self,
        destination: &Destination,
        decoder: &dyn Decoder,
    ) -> Result<(), Refusal> {
        let sound = |holds: bool, why: &str| ensure(holds, Rule::Document, || why.into());
        let script = decoder.address_script(&destination.address);
        let script = script.map_err(|e| Refusal::new(Rule::Document, e.to_string()))?;
        self.check_denied(&BTreeSet::from([script]), decoder)?;
        let owner = destination.owner.as_ref();
        sound(owner.is_none_or(|owner| self.client(owner).is_some()), "its owner is no client in force")?;
        let fits = owner.is_none() || destination.kind == DestinationKind::Client;
        sound(fits, "only a destination of kind client has an owner")?;
        let held = destination.third_party.is_none() || destination.kind == DestinationKind::Own;
        sound(held, "only an own destination is held by a third party")?;
        self.check_third_party(destination, self.clock.time)?;
        if self.clock.rules < 3 {
            return Ok(());
        }
        let listed = destination.kind != DestinationKind::Unlisted && !destination.id.is_unlisted();
        sound(listed, "what is in the address book is not unlisted, nor called so: name its kind")?;
        // Limits by destination would not add up what two handles of one address are paid.
        let other = self.destinations_at(&destination.address).find(|other| other.id != destination.id);
        ensure(other.is_none(), Rule::Document, || {
            let id = other.map_or("", |other| other.id.as_str());
            format!("destination {id} has this address already: use that one")
        })
    }
}
