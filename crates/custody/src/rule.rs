//! The rules that can refuse something, each with a stable name. Code, tests, documents and error
//! messages use the same one.

use std::fmt;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal $(since $since:literal)?,)+) => {
        /// A rule that refused something.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Rule { $($(#[doc = $doc])+ $variant,)+ }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name: the rule of the protocol, a dot, and which part of it.
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// One sentence on what the rule asks for.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_start(),)+ }
            }

            /// The rule set that brought it (P29).
            pub fn since(self) -> u32 {
                let later: &[u32] = match self { $(Self::$variant => &[$($since)?],)+ };
                later.first().copied().unwrap_or(1)
            }
        }
    };
}

rules! {
    /// The envelope, payload or document is canonical, of a known kind and within its size.
    Form = "P1.form",
    /// The one signature verifies under the key that the statement names, and that key is known.
    Signature = "P1.signature",
    /// The statement names this deployment's genesis.
    Deployment = "P1.deployment",
    /// An approval counts under the policy that the approver saw.
    Decides = "P1.decides",
    /// A statement counts once.
    Once = "P2.once",
    /// A document names the hash of the version that it replaces.
    Replaces = "P3.replaces",
    /// Only who may propose, approve or veto a document of this kind does.
    Standing = "P3.standing",
    /// A document is sound in itself and against what is in force.
    Document = "P3.document",
    /// A batch carries the height, time and state hash that its place in the log asks for.
    Batch = "P5.batch",
    /// Reductions stand first in a batch, and none that is held is left out.
    ReductionsFirst = "P5.reductions-first",
    /// A statement is used before its end, which is at most the named limit away.
    NotAfter = "P5.not-after",
    /// What a statement refers to exists.
    Reference = "P5.reference",
    /// The anchored size of an observation log only rises.
    Observation = "P7.observation" since 2,
    /// A batch proposed for the first time carries a time close to the voter's clock.
    Timely = "P9.timely",
    /// A share leaves only under a final head that is close to the signer's clock.
    Fresh = "P14.fresh",
    /// Nothing that a freeze covers moves.
    Frozen = "P16.frozen",
    /// A person has only so many freezes in force at a time.
    FreezeLimit = "P16.freeze-limit",
    /// A key revokes only itself; others are revoked by a quorum.
    OwnKey = "P16.own-key",
    /// A machine does only what it is enrolled for.
    Grant = "P19.grant",
    /// A request names a usable wallet, known destinations, whole positive amounts, ceilings and an end.
    Request = "P19.request",
    /// The outputs are those of the requests and at most one own change.
    Outputs = "P20.outputs",
    /// The fee is within the ceilings of every request and of the policy.
    Fee = "P20.fee",
    /// An authorisation stops when the first of its requests ends.
    Ended = "P20.ended",
    /// The same transaction is authorised once.
    Repeated = "P20.repeated",
    /// Change goes to the own wallet, above dust, at an index within the gap.
    Change = "P20.change",
    /// Every input is the wallet's own, described as it is.
    OwnInput = "P20.own-input",
    /// Version, sequences and lock time have the one form that Keyward makes.
    Shape = "P20.shape",
    /// A transaction spends all anchors of the requests that it pays and of no others.
    Anchors = "P21.anchors",
    /// A new anchor is a confirmed output, shown by a proof.
    AnchorProof = "P21.anchor-proof",
    /// A bump leaves a request out only when it expired, was cancelled or is frozen.
    LeftOut = "P21.left-out",
    /// A lineage gets other anchors only if no transaction ever authorised for it can confirm beside them.
    OtherAnchors = "P22.other-anchors",
    /// A named conflict is confirmed at depth, excludes an authorised transaction, and does not pay the request.
    Conflict = "P22.conflict",
    /// A request renews one that exists, is its own wallet's, and was not renewed yet.
    Renewal = "P23.renewal",
    /// Indices are the next ones, not too many, and bounded per day.
    Allocation = "P25.allocation",
    /// Where each address belongs to one client, a request names that client, and its inputs and change are that client's.
    Client = "P25.client" since 2,
    /// Some rule of the policy covers the request.
    PolicyScope = "policy.scope",
    /// Enough distinct people of the right groups approved exactly this.
    PolicyApprovals = "policy.approvals",
    /// The amount is within the limit of the rule.
    PolicyLimit = "policy.limit",
    /// The fee is within the ceilings of the rule.
    PolicyFee = "policy.fee",
    /// The amount is within the limit of the rule in the reference currency, at a rate that holds.
    PolicyValue = "policy.value" since 3,
    /// What left in any window of the rule, and this, is within its velocity limits.
    PolicyVelocity = "policy.velocity" since 3,
    /// The fees in the window of the rule, and this one, are within its budget.
    PolicyFeeBudget = "policy.fee-budget" since 3,
    /// A payment leaves while the calendar of the rule is open.
    PolicyHours = "policy.hours" since 3,
    /// Every destination has been in force for the cool-down of the rule.
    PolicyCoolDown = "policy.cool-down" since 3,
    /// Enough of the approvals were given on devices that show by themselves what they sign.
    PolicyIndependent = "policy.independent" since 3,
    /// The approvals have stood for the delay of the rule.
    PolicyDelay = "policy.delay" since 3,
    /// No deny list in force names the address.
    Denied = "policy.deny-list" since 3,
    /// The asset is held here.
    Enabled = "policy.asset" since 3,
    /// A wallet that is suspended or closed pays nobody, one whose key may be known pays own destinations alone.
    KeyState = "keys.state" since 3,
    /// A key that is not hot signs while a lease is open, for those and as often as it says (ISO/TR 23576 9.3.7).
    Leased = "keys.lease" since 3,
    /// A wallet is opened on a custody model whose review is in force and not due (DACS MOD-00).
    Reviewed = "MOD-00.reviewed" since 3,
    /// What others hold for the institution is paid to them only while their attestation holds (DACS MOD-02).
    ThirdParty = "MOD-02.third-party" since 3,
    /// Two people above de minimis, whatever the policy says (DACS OPS-06).
    TwoPeople = "floor.two-people",
    /// A policy that goes under a floor is not adopted.
    Floor = "floor.adoption",
    /// Key material comes from a ceremony record that a quorum approved and every subset has proved.
    Ceremony = "GEN-03.ceremony",
    /// An account's key was rebuilt from recovery components and signed a challenge, before any address of it.
    Restored = "REC-01.restored" since 2,
    /// Shares are dealt anew as a quorum ordered, by holders, of the same key, to co-signers who then all prove them.
    Resharing = "P30.resharing" since 2,
    /// A co-signer says that it erased shares only when they, and the key that they were sealed to, are out of use.
    Erased = "P4.erased" since 2,
    /// The rule set is one that this program has.
    RuleSet = "P29.rule-set",
    /// What was asked or proposed under an earlier rule set has lapsed.
    Lapsed = "P29.lapsed",
    /// A co-signer set keeps the inequalities N ≥ 3f + 1, f ≥ 1, f < t, n − f ≥ t.
    Committee = "P30.committee",
    /// The first batch of another co-signer set shows the final head of the set before.
    Handover = "P30.handover" since 4,
    /// Who leaves the co-signers holds no shares in use, and few enough outside have shares that were in use.
    Leaving = "P30.leaving" since 4,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A rule said no, and why in this case.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{rule}: {why}")]
pub struct Refusal {
    /// Which rule.
    pub rule: Rule,
    /// What is wrong here, and what to do next.
    pub why: String,
}

impl Refusal {
    /// A refusal by `rule`.
    pub fn new(rule: Rule, why: impl Into<String>) -> Self {
        Self { rule, why: why.into() }
    }
}

/// Refuses unless `holds`.
pub(crate) fn ensure(holds: bool, rule: Rule, why: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::new(rule, why())) }
}
