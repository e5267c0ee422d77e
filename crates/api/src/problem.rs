//! Errors as problem details (RFC 9457), each with a code that stays the same from release to release.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ledger::amount::AmountError;
use ledger::{CommitError, DatabaseError, Refusal};
use serde::Serialize;
use utoipa::ToSchema;

/// On whose side the fault is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The question is wrong, or asks for what may not be.
    Caller,
    /// The server cannot answer now.
    Server,
    /// The network or its node.
    Network,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:literal, $fault:ident, $retryable:literal, $next:literal;)+) => {
        /// What went wrong, for programs.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word, which stays the same from release to release.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// One sentence on what it means.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_start(),)+ }
            }

            /// The status of HTTP that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Whose fault it is.
            pub fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)+ }
            }

            /// Whether the same question, with the same idempotency key, may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }

            /// What the caller should do.
            pub fn next_step(self) -> &'static str {
                match self { $(Self::$variant => $next,)+ }
            }
        }
    };
}

codes! {
    /// There is no such path.
    PathUnknown = "path.unknown", 404, Caller, false, "look the path up in /v1/openapi.json";
    /// The path does not take this method.
    MethodUnknown = "method.unknown", 405, Caller, false, "look the methods of the path up in /v1/openapi.json";
    /// There is no such thing, or it belongs to another client than the one that was named.
    ResourceUnknown = "resource.unknown", 404, Caller, false, "check the id, and the client if you named one";
    /// Nobody is known by the key of the connection.
    CallerUnknown = "caller.unknown", 401, Caller, false, "connect with the certificate of a key that is enrolled and in force";
    /// Co-signers do not use this interface.
    CallerRole = "caller.role", 403, Caller, false, "connect as a person or a machine";
    /// The machine is not enrolled for this.
    CallerGrant = "caller.grant", 403, Caller, false, "let the people who govern enrol the machine with the grant that the detail names";
    /// Only people may do this.
    CallerPerson = "caller.person", 403, Caller, false, "let a person do it with keyward";
    /// The body is larger than the limit.
    BodyTooLarge = "body.too-large", 413, Caller, false, "send at most as many bytes as the detail names";
    /// The body is nested deeper than the limit.
    BodyTooDeep = "body.too-deep", 400, Caller, false, "nest objects and lists at most 16 deep";
    /// The body is not JSON.
    BodyNotJson = "body.not-json", 400, Caller, false, "send one JSON object, UTF-8";
    /// The body has a field that is not known.
    BodyUnknownField = "body.unknown-field", 400, Caller, false, "leave the field out that the detail names";
    /// The body lacks a field, or a field has another form.
    BodyInvalid = "body.invalid", 400, Caller, false, "look the form of the body up in /v1/openapi.json";
    /// The query has a parameter that is not known.
    QueryUnknownField = "query.unknown-field", 400, Caller, false, "leave the parameter out that the detail names";
    /// A parameter of the query or a part of the path has another form.
    QueryInvalid = "query.invalid", 400, Caller, false, "look the form of the parameter up in /v1/openapi.json";
    /// The cursor was not made by this list with these filters.
    CursorInvalid = "cursor.invalid", 400, Caller, false, "take next from the page before, with the same filters, or begin without a cursor";
    /// A write needs an idempotency key.
    IdempotencyMissing = "idempotency.missing", 400, Caller, false, "send the header Idempotency-Key, new for each thing that you want done";
    /// The idempotency key has another form.
    IdempotencyInvalid = "idempotency.invalid", 400, Caller, false, "use 1 to 128 printable ASCII characters without spaces";
    /// The idempotency key was used with another body.
    IdempotencyMismatch = "idempotency.mismatch", 409, Caller, false, "send the first body again, or take a new key for something else";
    /// A write with this key is under way.
    IdempotencyInFlight = "idempotency.in-flight", 409, Server, true, "wait as long as Retry-After says, and send the same again";
    /// The external id has another form.
    ExternalIdInvalid = "external-id.invalid", 422, Caller, false, "use 1 to 64 printable ASCII characters without spaces";
    /// The client has used the external id for something else.
    ExternalIdTaken = "external-id.taken", 409, Caller, false, "look it up with the filter external_id, or take another one";
    /// A time is malformed, or out of its bounds.
    TimeInvalid = "time.invalid", 422, Caller, false, "use RFC 3339 in UTC, as in 2026-01-31T08:00:00Z, within the bounds that the detail names";
    /// The amount is below zero.
    AmountNegative = "amount.negative", 422, Caller, false, "name the two sides the other way round";
    /// The amount is zero.
    AmountZero = "amount.zero", 422, Caller, false, "ask for one base unit or more";
    /// The amount has a fraction of a base unit.
    AmountTooPrecise = "amount.too-precise", 422, Caller, false, "write whole base units: 1 BTC is \"100000000\"";
    /// The amount is not a decimal number.
    AmountMalformed = "amount.malformed", 422, Caller, false, "write digits only, without leading zeros, in quotes";
    /// The amount, or the sum of the amounts, is more than there can be.
    AmountOverflow = "amount.overflow", 422, Caller, false, "ask for less";
    /// The amount is so small that nodes do not relay it.
    AmountDust = "amount.dust", 422, Caller, false, "ask for at least what the detail names";
    /// This deployment does not hold the asset.
    AssetUnknown = "asset.unknown", 422, Caller, false, "use the asset that GET /v1/status names";
    /// There is no such wallet.
    WalletUnknown = "wallet.unknown", 422, Caller, false, "look the wallets up in GET /v1/status";
    /// The books do not know the wallet yet.
    WalletUndeclared = "wallet.undeclared", 503, Server, true, "wait until the server has declared the wallet in its books";
    /// No such client is in force.
    ClientUnknown = "client.unknown", 422, Caller, false, "look the client up in GET /v1/clients; propose it if it is new";
    /// The wallet holds coins of clients, and none is named.
    ClientRequired = "client.required", 422, Caller, false, "name the client whose coins move";
    /// The client is in force or drafted already.
    ClientExists = "client.exists", 409, Caller, false, "look it up in GET /v1/clients/{id}";
    /// A text is too long, or holds control characters.
    TextInvalid = "text.invalid", 422, Caller, false, "use a shorter text of one line";
    /// No such destination is in force.
    DestinationUnknown = "destination.unknown", 422, Caller, false, "propose the destination, and let it be approved";
    /// The destination was named by neither or both of handle and address.
    DestinationForm = "destination.form", 422, Caller, false, "name each destination by its handle or by its address";
    /// The address is malformed, or of a kind that is not paid.
    DestinationMalformed = "destination.malformed", 422, Caller, false, "check the address, character by character";
    /// The address belongs to another network.
    DestinationOtherNetwork = "destination.other-network", 422, Caller, false, "ask the recipient for an address of the network that the detail names";
    /// The address is one of the deployment's own.
    DestinationOwn = "destination.own", 422, Caller, false, "move between clients of one wallet with POST /v1/transfers";
    /// What was sent as a signed statement is none.
    StatementMalformed = "statement.malformed", 400, Caller, false, "sign the canonical bytes as docs/api.md describes";
    /// The signed statement is of another kind than this path takes.
    StatementKind = "statement.kind", 422, Caller, false, "sign what the detail names";
    /// The log would not take the signed statement; the rule says why.
    StatementRefused = "statement.refused", 422, Caller, false, "look the rule up in docs/rules.md, and sign anew";
    /// A field of the body is not what the signed statement says.
    StatementMismatch = "statement.mismatch", 422, Caller, false, "leave the field out that the detail names, or sign what you mean";
    /// The policy in force allows this under no approvals; the rule says why.
    PolicyRefused = "policy.refused", 422, Caller, false, "ask for what the policy covers, or let the people who govern change it";
    /// More than the account has.
    LedgerOverdraft = "ledger.overdraft", 422, Caller, false, "ask for at most what is available, or wait until a deposit is credited or a reservation ends";
    /// The custody model of the wallet does not allow this transfer.
    LedgerModel = "ledger.model", 422, Caller, false, "move the coins on the network instead";
    /// A transfer names one account twice.
    LedgerSameAccount = "ledger.same-account", 422, Caller, false, "name two accounts";
    /// The withdrawal is there already.
    WithdrawalExists = "withdrawal.exists", 409, Caller, false, "look it up in GET /v1/withdrawals/{id}";
    /// The withdrawal has ended.
    WithdrawalEnded = "withdrawal.ended", 409, Caller, false, "ask for a new one";
    /// This needs a draft, and the withdrawal is none, or not any more.
    WithdrawalNotDraft = "withdrawal.not-draft", 409, Caller, false, "read it again";
    /// The deposit is not held, or nobody is to receive it.
    DepositNotHeld = "deposit.not-held", 409, Caller, false, "read the deposit again, it has moved on";
    /// One person asked for the release; somebody else must release.
    DepositSecondPerson = "deposit.second-person", 409, Caller, false, "let a second person release it";
    /// The address is retired already.
    AddressRetired = "address.retired", 409, Caller, false, "nothing is left to do";
    /// Another entry of this number is in the register of recovery components.
    RecoveryFork = "recovery.fork", 409, Caller, false, "put your register aside, fetch this one (keyward recovery fetch), and enter anew what only yours has";
    /// Entries before the first one that was sent are missing.
    RecoveryGap = "recovery.gap", 409, Caller, false, "send the entries from the one on that the detail names";
    /// The register of recovery components does not take the entry.
    RecoveryRefused = "recovery.refused", 422, Caller, false, "verify your register with keyward recovery status, and send it as it was written";
    /// Somebody else changed the same thing in this moment.
    Conflict = "conflict", 409, Server, true, "read it again, and decide anew";
    /// The server did not take the statement. What it belongs to is kept in the books.
    LogBusy = "log.busy", 503, Server, true, "send the same again with the same key";
    /// Books and network cannot be compared now.
    ReconcileUnavailable = "reconcile.unavailable", 503, Network, true, "wait until the node is followed, as GET /v1/status says";
    /// The register of recovery components in the books does not verify here.
    RecoveryUnreadable = "recovery.unreadable", 503, Server, true, "wait until the server has the whole log; if it lasts, verify the books with keyward ledger verify";
    /// The books did not answer: what was asked may have been done.
    BooksUnavailable = "books.unavailable", 503, Server, true, "send the same again with the same key: it is done once";
    /// The server failed.
    Internal = "internal", 500, Server, true, "send the same again with the same key; tell the operator the request id";
}

/// An error, before it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: String,
    /// The rule of the log, the policy or the ledger that said no.
    pub(crate) rule: Option<String>,
    /// What the account has, for an overdraft.
    pub(crate) available: Option<String>,
}

/// An error (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A URI that names the sort of problem: `urn:keyward:problem:` and the code.
    #[schema(example = "urn:keyward:problem:ledger.overdraft")]
    r#type: String,
    /// One sentence on the code.
    title: &'static str,
    /// The status of HTTP.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong here.
    detail: String,
    /// What went wrong, for programs; stable. The list is in docs/api.md.
    #[schema(example = "ledger.overdraft")]
    code: &'static str,
    /// On whose side the fault is.
    fault: Fault,
    /// Whether the same question, with the same idempotency key, may succeed later.
    retryable: bool,
    /// What to do.
    next_step: &'static str,
    /// Names this request in the server's own words; also in the header X-Request-Id.
    request_id: String,
    /// The rule of the log, the policy or the ledger that said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "P19.request")]
    rule: Option<String>,
    /// What the account has available, in base units, for an overdraft.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1500")]
    available: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), rule: None, available: None }
    }

    pub(crate) fn rule(self, rule: impl Into<String>) -> Self {
        Self { rule: Some(rule.into()), ..self }
    }

    /// Nothing of this name.
    pub(crate) fn unknown(what: &str, id: &str) -> Self {
        Self::new(Code::ResourceUnknown, format!("there is no {what} {id}"))
    }

    /// The statement is refused by a rule of the log.
    pub(crate) fn refused(refusal: &custody::rule::Refusal) -> Self {
        Self::new(Code::StatementRefused, refusal.why.clone()).rule(refusal.rule.id())
    }

    /// It as it goes out.
    pub(crate) fn body(self, request_id: &str) -> ProblemBody {
        let Self { code, detail, rule, available } = self;
        ProblemBody {
            r#type: format!("urn:keyward:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status(),
            detail,
            code: code.as_str(),
            fault: code.fault(),
            retryable: code.retryable(),
            next_step: code.next_step(),
            request_id: request_id.to_owned(),
            rule,
            available,
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        Self::new(Code::BooksUnavailable, error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Overdraft { .. } => Code::LedgerOverdraft,
            Refusal::Model { .. } => Code::LedgerModel,
            Refusal::SameAccount { .. } => Code::LedgerSameAccount,
            Refusal::UnknownWallet { .. } => Code::WalletUndeclared,
            Refusal::Version { .. } | Refusal::Partly { .. } | Refusal::Exists { .. } => Code::Conflict,
            _ => Code::Internal,
        };
        let available = match &refusal {
            Refusal::Overdraft { available, .. } => Some(available.to_string()),
            _ => None,
        };
        Self { available, ..Self::new(code, refusal.to_string()).rule(refusal.code()) }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(refusal) => refusal.into(),
            CommitError::Database(error) => error.into(),
        }
    }
}

impl From<AmountError> for Problem {
    fn from(error: AmountError) -> Self {
        let code = match error {
            AmountError::Negative => Code::AmountNegative,
            AmountError::Fraction | AmountError::TooPrecise { .. } => Code::AmountTooPrecise,
            AmountError::NotDigits => Code::AmountMalformed,
            AmountError::TooLarge => Code::AmountOverflow,
        };
        Self::new(code, error.to_string())
    }
}

/// The body is written by the outermost layer, which knows the request id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if self.code == Code::IdempotencyInFlight {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_say_what_to_do() {
        let words: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert_eq!(code.fault() == Fault::Caller, !code.retryable(), "{code:?}");
            assert!(!code.title().is_empty() && !code.next_step().is_empty(), "{code:?}");
        }
    }

    /// The manual has a row for each code, with the words of the code, and no other row.
    #[test]
    fn the_manual_lists_every_code() {
        let manual = include_str!("../../../docs/api.md");
        let row = |code: &Code| {
            let (fault, again) = (format!("{:?}", code.fault()).to_lowercase(), code.retryable());
            let again = if again { "yes" } else { "no" };
            format!("| `{}` | {} | {fault} | {again} | {} |", code.as_str(), code.status(), code.title())
        };
        let rows: Vec<_> = Code::ALL.iter().map(row).collect();
        for row in &rows {
            assert!(manual.lines().any(|line| line == row), "missing in docs/api.md: {row}");
        }
        let listed = manual
            .lines()
            .filter(|line| line.ends_with(". |") && line.contains("` | 4") | line.contains("` | 5"));
        assert_eq!(listed.count(), rows.len(), "docs/api.md lists codes that do not exist");
    }
}
