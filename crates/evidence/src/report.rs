//! What a log says happened, with reasons, for an auditor to read or to process.

use std::collections::BTreeMap;
use std::fmt;

use custody::Hash;
use custody::effects::{OutPoint, Sats};
use custody::name::Name;
use serde::Serialize;

/// What became of the statements of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Count {
    /// Applied.
    pub applied: u64,
    /// Rejected by a rule, and used up.
    pub rejected: u64,
}

/// One statement that a rule rejected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RejectedStatement {
    /// Its place in the log, from 0.
    pub entry: u64,
    /// Its id.
    pub id: Hash,
    /// Its kind.
    pub kind: String,
    /// The rule.
    pub rule: String,
    /// What was wrong.
    pub why: String,
}

/// One output that was paid for a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PaidOutput {
    /// The destination.
    pub destination: Name,
    /// Its address at that time.
    pub address: String,
    /// How much, in satoshi.
    pub amount: Sats,
}

/// Why one request was allowed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reason {
    /// The request.
    pub request: Hash,
    /// Who asked.
    pub asked_by: String,
    /// Who had approved it, by then and under the policy then in force.
    pub approvers: Vec<Name>,
    /// The policy rules that covered it, each with its approval paths.
    pub rules: Vec<(Name, String)>,
    /// What it pays.
    pub outputs: Vec<PaidOutput>,
    /// The request that it renews or cancels.
    pub renews: Option<Hash>,
}

/// One transaction that was authorised.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AuthorisationReport {
    /// Its place in the log, from 0.
    pub entry: u64,
    /// The statement that proposed it.
    pub id: Hash,
    /// Log time, seconds since 1970.
    pub at: u64,
    /// The wallet that pays.
    pub wallet: Name,
    /// The transaction id, as people write it.
    pub txid: Hash,
    /// The fee in satoshi.
    pub fee: Sats,
    /// The policy in force.
    pub policy: Hash,
    /// The outputs that every transaction of these requests spends.
    pub anchors: Vec<OutPoint>,
    /// One for each request that it pays.
    pub reasons: Vec<Reason>,
}

/// All that was found in a log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The log.
    pub origin: String,
    /// Entries.
    pub entries: u64,
    /// Batches.
    pub batches: u64,
    /// The Merkle root over the entries.
    pub root: Hash,
    /// The state hash, by own replay.
    pub state: Hash,
    /// Log time of the last batch, seconds since 1970.
    pub time: u64,
    /// Who co-signed the head, and when (seconds since 1970).
    pub signers: BTreeMap<String, u64>,
    /// Entries of the older checkpoint that this log was proved to go on from.
    pub consistent_with: Option<u64>,
    /// Statements by kind.
    pub statements: BTreeMap<String, Count>,
    /// What was rejected.
    pub rejected: Vec<RejectedStatement>,
    /// Every authorisation ever given.
    pub authorisations: Vec<AuthorisationReport>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log         {}", self.origin)?;
        let (entries, batches, time) = (self.entries, self.batches, self.time);
        writeln!(f, "entries     {entries} in {batches} batches, log time {time}")?;
        writeln!(f, "root        {}", self.root)?;
        writeln!(f, "state       {} (replayed)", self.state)?;
        let signers: Vec<_> = self.signers.keys().cloned().collect();
        writeln!(f, "co-signed   {}", signers.join(", "))?;
        if let Some(size) = self.consistent_with {
            writeln!(f, "goes on     from the older checkpoint of {size} entries")?;
        }
        for (kind, count) in &self.statements {
            writeln!(f, "statements  {kind}: {} applied, {} rejected", count.applied, count.rejected)?;
        }
        for r in &self.rejected {
            writeln!(f, "rejected    entry {}, {} {}: {}: {}", r.entry, r.kind, r.id, r.rule, r.why)?;
        }
        for a in &self.authorisations {
            a.fmt(f)?;
        }
        writeln!(f, "authorised  {} transactions, each replayed and allowed", self.authorisations.len())
    }
}

impl fmt::Display for AuthorisationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "payment     entry {}, {}", self.entry, self.id)?;
        writeln!(f, "  txid      {}", self.txid)?;
        writeln!(f, "  from      wallet {}, fee {}, log time {}", self.wallet, self.fee, self.at)?;
        for reason in &self.reasons {
            writeln!(f, "  request   {} by {}", reason.request, reason.asked_by)?;
            if reason.outputs.is_empty() {
                writeln!(f, "    pays    nobody: it cancels")?;
            }
            for out in &reason.outputs {
                writeln!(f, "    pays    {} to {} ({})", out.amount, out.destination, out.address)?;
            }
            let names: Vec<_> = reason.approvers.iter().map(Name::to_string).collect();
            writeln!(f, "    because {} approved it", names.join(", "))?;
            for (rule, needs) in &reason.rules {
                writeln!(f, "    rule    {rule}: {needs}")?;
            }
        }
        Ok(())
    }
}
