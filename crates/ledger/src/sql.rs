//! Every SQL text of the crate: the same for SQLite and PostgreSQL, fixed when the program is built.
//! [`Sql`] has no other constructor, so [`all`] is complete, and a test prepares each on both engines.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// A fixed SQL text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql(&'static str);

impl Sql {
    pub(crate) fn text(self) -> &'static str {
        self.0
    }
}

/// The sizes in which statements for several rows exist. Few, so that each stays prepared.
const SIZES: [usize; 5] = [1, 4, 16, 64, 256];
/// Most parameters of a statement: SQLite looks each up by a walk over all.
const PARAMETERS_LIMIT: usize = 256;

/// One statement in several sizes, ascending.
pub(crate) struct Sized {
    smallest: (usize, Sql),
    larger: Vec<(usize, Sql)>,
}

impl Sized {
    /// `before`, then `size` groups of `columns` numbered parameters, then `after`. The few texts live as
    /// long as the program.
    fn new(before: &str, columns: usize, after: &str) -> Self {
        let text = |size: usize| {
            let mut text = before.to_owned();
            let mut number = 0usize;
            for group in 0..size {
                text.push_str(if group == 0 { "(" } else { ", (" });
                for column in 0..columns {
                    number = number.saturating_add(1);
                    // Writing to a string cannot fail.
                    let _ = write!(text, "{}${number}", if column == 0 { "" } else { ", " });
                }
                text.push(')');
            }
            text.push_str(after);
            (size, Sql(String::leak(text)))
        };
        let [smallest, larger @ ..] = SIZES;
        let fits = |size: &usize| size.saturating_mul(columns) <= PARAMETERS_LIMIT;
        Self { smallest: text(smallest), larger: larger.into_iter().filter(fits).map(text).collect() }
    }

    /// The largest size that is filled by so many rows.
    pub(crate) fn filled(&self, rows: usize) -> (usize, Sql) {
        self.larger.iter().rev().find(|(size, _)| *size <= rows).copied().unwrap_or(self.smallest)
    }

    /// The smallest size that holds so many rows, or the largest of all.
    pub(crate) fn holding(&self, rows: usize) -> (usize, Sql) {
        if rows <= 1 {
            return self.smallest;
        }
        let holds = self.larger.iter().find(|(size, _)| *size >= rows).or(self.larger.last());
        holds.copied().unwrap_or(self.smallest)
    }
}

macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident = $($text:expr),+;)*) => {
        $($(#[$doc])* pub(crate) const $name: Sql = Sql(concat!($($text),+));)*
        const FIXED: &[Sql] = &[$($name),*];
    };
}

macro_rules! sized {
    ($($name:ident = $before:expr, $columns:literal, $after:expr;)*) => {
        $(pub(crate) static $name: LazyLock<Sized> = LazyLock::new(|| Sized::new($before, $columns, $after));)*
        fn sized() -> Vec<&'static Sized> { vec![$(&*$name),*] }
    };
}

/// The joins are outer ones so that `verify` sees rows that belong to nothing.
macro_rules! transfer_columns {
    () => {
        "SELECT t.position, t.seq, COALESCE(b.time, 0), t.id, COALESCE(d.name, ''), COALESCE(c.name, ''), t.amount, \
         t.kind, t.ends, t.expires_at, t.code, t.cause, t.debit_totals, t.credit_totals, t.digest, t.debit \
         FROM transfer t LEFT JOIN account d ON d.number = t.debit LEFT JOIN account c ON c.number = t.credit \
         LEFT JOIN batch b ON b.seq = t.seq "
    };
}
macro_rules! change_columns {
    () => {
        "SELECT h.position, h.seq, COALESCE(b.time, 0), h.record, h.version, h.kind, h.id, h.state, h.client, \
         h.external_id, h.at, h.body, h.digest"
    };
}
macro_rules! record_columns {
    () => {
        concat!(
            change_columns!(),
            ", r.opened, r.version FROM record r JOIN change h ON h.position = r.latest \
             LEFT JOIN batch b ON b.seq = h.seq WHERE "
        )
    };
}
macro_rules! record_page {
    () => {
        " AND r.opened > $2 ORDER BY r.opened LIMIT $3"
    };
}
/// The newest transfer of an account, up to a position, on one side.
macro_rules! side {
    ($column:literal) => {
        concat!(
            "SELECT * FROM (SELECT position, ",
            $column,
            "_totals AS totals FROM transfer WHERE ",
            $column,
            " = $1 AND position <= $2 ORDER BY position DESC LIMIT 1) AS ",
            $column,
            "_side"
        )
    };
}

fixed! {
    HEAD = "SELECT seq, time, last, accounts, digest FROM batch ORDER BY seq DESC LIMIT 1";
    BATCH = "SELECT seq, time, last, accounts, previous, digest FROM batch WHERE seq = $1";
    BATCHES = "SELECT seq, time, last, accounts, previous, digest FROM batch WHERE seq >= $1 ORDER BY seq LIMIT $2";
    /// The last position at a time.
    LAST_AT_TIME = "SELECT last FROM batch WHERE time <= $1 ORDER BY time DESC, seq DESC LIMIT 1";
    LAST_AT_SEQ = "SELECT last FROM batch WHERE seq <= $1 ORDER BY seq DESC LIMIT 1";
    ADD_BATCH = "INSERT INTO batch (seq, time, last, accounts, previous, digest) VALUES ($1, $2, $3, $4, $5, $6)";
    ACCOUNT = "SELECT number, name, totals, overdrawn FROM account WHERE name = $1";
    ACCOUNTS = "SELECT number, name, totals, overdrawn FROM account WHERE number > $1 ORDER BY number LIMIT $2";
    ACCOUNTS_OF_OWNER = "SELECT number, name, totals, overdrawn FROM account \
        WHERE owner = $3 AND number > $1 ORDER BY number LIMIT $2";
    ACCOUNTS_OF_WALLET = "SELECT number, name, totals, overdrawn FROM account \
        WHERE wallet = $3 AND number > $1 ORDER BY number LIMIT $2";
    ACCOUNTS_OF_OWNER_IN_WALLET = "SELECT number, name, totals, overdrawn FROM account \
        WHERE owner = $3 AND wallet = $4 AND number > $1 ORDER BY number LIMIT $2";
    ACCOUNTS_OVERDRAWN = "SELECT number, name, totals, overdrawn FROM account \
        WHERE overdrawn = 1 AND number > $1 ORDER BY number LIMIT $2";
    TOTALS_AT = "SELECT position, totals FROM (", side!("debit"), " UNION ALL ", side!("credit"),
        ") AS sides ORDER BY position DESC LIMIT 1";
    TRANSFER = transfer_columns!(), "WHERE t.id = $1";
    ENDED_BY = transfer_columns!(), "WHERE t.ends = $1";
    TRANSFERS = transfer_columns!(), "WHERE t.position > $1 ORDER BY t.position LIMIT $2";
    /// One statement, so that both sides are read from one snapshot and no line falls between two pages.
    LINES = "SELECT * FROM (", transfer_columns!(), "WHERE t.debit = $1 AND t.position > $2 ORDER BY t.position \
        LIMIT $3) AS debits UNION ALL SELECT * FROM (", transfer_columns!(), "WHERE t.credit = $1 AND t.position > $2 \
        ORDER BY t.position LIMIT $3) AS credits ORDER BY 1 LIMIT $3";
    CHANGE = change_columns!(), " FROM change h LEFT JOIN batch b ON b.seq = h.seq WHERE h.record = $1 AND h.version = $2";
    CHANGES = change_columns!(), " FROM change h LEFT JOIN batch b ON b.seq = h.seq \
        WHERE h.position > $1 ORDER BY h.position LIMIT $2";
    HISTORY = change_columns!(), " FROM change h LEFT JOIN batch b ON b.seq = h.seq \
        WHERE h.record = $1 AND h.version > $2 ORDER BY h.version LIMIT $3";
    RECORD = record_columns!(), "r.record = $1";
    RECORDS = record_columns!(), "r.kind = $1", record_page!();
    RECORDS_C = record_columns!(), "r.kind = $1 AND r.client = $4", record_page!();
    RECORDS_S = record_columns!(), "r.kind = $1 AND r.state = $4", record_page!();
    RECORDS_E = record_columns!(), "r.kind = $1 AND r.external_id = $4", record_page!();
    RECORDS_CS = record_columns!(), "r.kind = $1 AND r.client = $4 AND r.state = $5", record_page!();
    RECORDS_CE = record_columns!(), "r.kind = $1 AND r.client = $4 AND r.external_id = $5", record_page!();
    RECORDS_SE = record_columns!(), "r.kind = $1 AND r.state = $4 AND r.external_id = $5", record_page!();
    RECORDS_CSE = record_columns!(), "r.kind = $1 AND r.client = $4 AND r.state = $5 AND r.external_id = $6",
        record_page!();
    RECORD_ROWS = "SELECT record, kind, version, state, client, external_id, opened, latest FROM record \
        WHERE record > $1 ORDER BY record LIMIT $2";
}

sized! {
    TRANSFERS_BY_ID = concat!(transfer_columns!(), "WHERE t.id IN ("), 1, ")";
    ENDINGS = "SELECT ends, id FROM transfer WHERE ends IN (", 1, ")";
    ACCOUNTS_BY_NAME = "SELECT number, name, totals FROM account WHERE name IN (", 1, ")";
    RECORDS_BY_NAME = "SELECT record, version, opened FROM record WHERE record IN (", 1, ")";
    ADD_TRANSFERS = "INSERT INTO transfer (position, seq, id, debit, credit, amount, kind, ends, expires_at, code, \
        cause, debit_totals, credit_totals, digest) VALUES ", 14, "";
    ADD_CHANGES = "INSERT INTO change (position, seq, record, version, kind, id, state, client, external_id, at, body, \
        digest) VALUES ", 12, "";
    PUT_ACCOUNTS = "INSERT INTO account (number, name, owner, wallet, asset, totals, overdrawn) VALUES ", 7,
        " ON CONFLICT (number) DO UPDATE SET totals = excluded.totals, overdrawn = excluded.overdrawn";
    PUT_RECORDS = "INSERT INTO record (record, kind, version, state, client, external_id, opened, latest) VALUES ", 8,
        " ON CONFLICT (record) DO UPDATE SET version = excluded.version, state = excluded.state, \
        client = excluded.client, external_id = excluded.external_id, latest = excluded.latest";
}

/// Every statement.
pub(crate) fn all() -> Vec<&'static str> {
    let sized = sized().into_iter().flat_map(|s| [s.smallest].into_iter().chain(s.larger.iter().copied()));
    let sized = sized.map(|(_, sql)| sql);
    FIXED.iter().copied().chain(sized).map(Sql::text).collect()
}
