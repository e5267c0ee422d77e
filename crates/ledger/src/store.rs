//! The database: SQLite or PostgreSQL behind one small interface, so that all else is written once.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{PgPool, Postgres, Row as _, Sqlite, SqlitePool};

use crate::sql::{self, Sql};

/// How long a writer waits for another process that holds the SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a file is tried again that others are opening as well.
const OPEN_RETRIES: u32 = 100;
/// The pause before that.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// Pages that a connection to SQLite keeps in memory, as the pragma wants it: negative for KiB.
const CACHE_KIB: &str = "-32768";
/// Pages (of 4 KiB) in SQLite's write-ahead log before they are copied to the file. Many, so that an index
/// page that changes in every batch is copied once.
const CHECKPOINT_PAGES: &str = "16384";
/// How long a reader waits for a free connection, or a connection for the server.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections of one [`crate::Books`]: one writes, the others read.
const CONNECTIONS_LIMIT: u32 = 16;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What the database, or the way to it, refused or could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// No room.
    #[error("the disk of the database is full: free space, then send the same again ({0})")]
    Full(String),
    /// No right to write.
    #[error(
        "the database is read-only: check the rights on its directory or whether it is a standby, then send the same again ({0})"
    )]
    ReadOnly(String),
    /// Somebody else holds it.
    #[error("another process holds the database for too long: end it, then send the same again ({0})")]
    Busy(String),
    /// Other writers were always faster.
    #[error("other writers were in the way too often: send the same again ({0})")]
    Conflict(String),
    /// No connection, or it broke.
    #[error(
        "the database cannot be reached: start it, or check its path and the rights on it, then send the same again ({0})"
    )]
    Unreachable(String),
    /// The books were closed in this process.
    #[error("the books are closed: open them again, then send the same again")]
    Closed,
    /// Another database stands where this process wrote before.
    #[error(
        "the database is not the one that was written to: batch {seq} is gone or differs. Stop, and compare with `verify` (was an old copy restored?)"
    )]
    Replaced {
        /// A batch that was written or read by this process.
        seq: u64,
    },
    /// A row that this program did not write.
    #[error("{row} cannot be read: run `verify`, and restore a copy that passes ({why})")]
    Damaged {
        /// Which row.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else.
    #[error("the database failed: see its log, then send the same again ({0})")]
    Other(String),
}

/// Why the books were not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The address.
    #[error("not the address of a database: write sqlite:/path/to/books.db or postgres://user@host/name")]
    Address,
    /// SQLite in memory.
    #[error("books in memory are lost with the process: name a file")]
    InMemory,
    /// A server that acknowledges before it has written.
    #[error(
        "PostgreSQL runs with fsync={fsync}, full_page_writes={full_page_writes}: switch both on, or acknowledged transfers can be lost"
    )]
    NotDurable {
        /// Its setting.
        fsync: String,
        /// Its setting.
        full_page_writes: String,
    },
    /// A database whose order of texts changes when the system is upgraded, under its indexes.
    #[error("the database sorts by {collation}: create it with LOCALE 'C' TEMPLATE template0")]
    Collation {
        /// Its setting.
        collation: String,
    },
    /// Tables of another release.
    #[error("the tables are not those of this release: run the release that made them, or a newer one ({0})")]
    Schema(String),
    /// The database.
    #[error("{0}")]
    Database(DatabaseError),
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                // SQLSTATE has five characters. SQLite's extended result codes hold the primary one in
                // their low eight bits.
                let sqlite =
                    if code.len() < 5 { code.parse::<u32>().map_or(0, |code| code & 0xff) } else { 0 };
                match (code.as_ref(), sqlite) {
                    // Serialisation failure, deadlock, and a key that another writer took meanwhile.
                    ("40001" | "40P01" | "23505", _) | (_, 19) => Self::Conflict(text),
                    ("53100", _) | (_, 13) => Self::Full(text),
                    ("25006", _) | (_, 8) => Self::ReadOnly(text),
                    ("55P03", _) | (_, 5 | 6) => Self::Busy(text),
                    // Administrator or crash shutdown, starting up, too many connections.
                    ("57P01" | "57P02" | "57P03" | "53300", _) | (_, 14) => Self::Unreachable(text),
                    (code, _) if code.len() == 5 && code.starts_with("08") => Self::Unreachable(text),
                    (_, 11 | 26) => Self::Damaged { row: "the file of the database".into(), why: text },
                    _ => Self::Other(text),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unreachable(text),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Damaged { row: "a row".into(), why: text }
            }
            _ => Self::Other(text),
        }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<MigrateError> for OpenError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            error => Self::Schema(error.to_string()),
        }
    }
}

/// A value that is bound to a statement.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Int(i64),
    Text(String),
    NoInt,
    NoText,
}

impl From<u64> for Cell {
    /// Numbers of the ledger stay far below 2⁶³; one that did not would sort last, and be refused.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Option<String>> for Cell {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::NoText, Self::Text)
    }
}

/// A row of either engine.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn text(&self, column: usize) -> Result<String, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn text_or_none(&self, column: usize) -> Result<Option<String>, DatabaseError> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    pub(crate) fn int_or_none(&self, column: usize) -> Result<Option<u64>, DatabaseError> {
        let int: Option<i64> = match self {
            Self::Sqlite(row) => row.try_get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        };
        let below_zero =
            |_| DatabaseError::Damaged { row: "a row".into(), why: "a number below zero".into() };
        int.map(|int| u64::try_from(int).map_err(below_zero)).transpose()
    }

    pub(crate) fn int(&self, column: usize) -> Result<u64, DatabaseError> {
        let none = || DatabaseError::Damaged { row: "a row".into(), why: "no number".into() };
        self.int_or_none(column)?.ok_or_else(none)
    }

    /// Reads a column with `read`, or says which row is damaged.
    pub(crate) fn read<T>(
        &self,
        column: usize,
        row: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, DatabaseError> {
        let text = self.text(column)?;
        read(&text).ok_or_else(|| DatabaseError::Damaged {
            row: row.to_owned(),
            why: format!("column {column} holds {:?}", text.chars().take(80).collect::<String>()),
        })
    }
}

macro_rules! bound {
    ($sql:expr, $cells:expr) => {{
        let mut query = sqlx::query($sql.text());
        for cell in $cells {
            query = match cell {
                Cell::Int(value) => query.bind(value),
                Cell::Text(value) => query.bind(value),
                Cell::NoInt => query.bind(None::<i64>),
                Cell::NoText => query.bind(None::<String>),
            };
        }
        query
    }};
}

/// What an address names, with the settings that every connection has.
enum Target {
    File(SqliteConnectOptions),
    Server(PgConnectOptions),
}

impl Target {
    fn of(address: &str) -> Result<Self, OpenError> {
        if address.starts_with("sqlite:") {
            if address.contains(":memory:") || address.contains("mode=memory") {
                return Err(OpenError::InMemory);
            }
            let options = SqliteConnectOptions::from_str(address).map_err(|_| OpenError::Address)?;
            Ok(Self::File(options.pragma("cache_size", CACHE_KIB).busy_timeout(BUSY_TIMEOUT)))
        } else if address.starts_with("postgres:") || address.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(address).map_err(|_| OpenError::Address)?;
            // Every statement has an index. A table that was small when a statement was planned must not be
            // scanned for ever, and a scan would conflict with every other writer.
            // A plan for any parameters goes by statistics: where they were taken while most transfers had one debit
            // account, it walks the primary key in place of the account's index, 34 ms at 10^6 rows.
            let settings = [
                ("synchronous_commit", "on"),
                ("enable_seqscan", "off"),
                ("jit", "off"),
                ("plan_cache_mode", "force_custom_plan"),
            ];
            Ok(Self::Server(options.application_name("keyward-ledger").options(settings)))
        } else {
            Err(OpenError::Address)
        }
    }
}

/// Connections to the database.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// Connects, and makes or brings forward the tables.
    pub(crate) async fn open(address: &str) -> Result<Self, OpenError> {
        match Target::of(address)? {
            Target::File(options) => {
                let options = options
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
                Ok(Self::Sqlite(open_file(options).await?))
            }
            Target::Server(options) => {
                let pool = limits().connect_with(options).await?;
                judge_server(&pool).await?;
                MIGRATIONS.run(&pool).await?;
                Ok(Self::Postgres(pool))
            }
        }
    }

    /// Connects to what is there. Nothing is made or brought forward, and the database itself refuses to write.
    pub(crate) async fn open_to_read(address: &str) -> Result<Self, OpenError> {
        const VERSIONS: &str = "SELECT version FROM _sqlx_migrations ORDER BY version";
        let (pool, found) = match Target::of(address)? {
            Target::File(options) => {
                let pool: SqlitePool = limits().connect_with(options.read_only(true)).await?;
                let found = sqlx::query_scalar::<_, i64>(VERSIONS).fetch_all(&pool).await;
                (Self::Sqlite(pool), found)
            }
            Target::Server(options) => {
                let pool: PgPool =
                    limits().connect_with(options.options([("default_transaction_read_only", "on")])).await?;
                let found = sqlx::query_scalar::<_, i64>(VERSIONS).fetch_all(&pool).await;
                (Self::Postgres(pool), found)
            }
        };
        let wanted: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        match found.map_err(DatabaseError::from) {
            Ok(found) if found == wanted => Ok(pool),
            Ok(found) => {
                Err(OpenError::Schema(format!("they are of {found:?}, this release is of {wanted:?}")))
            }
            // Most likely there are no tables at all.
            Err(DatabaseError::Other(why)) => Err(OpenError::Schema(why)),
            Err(error) => Err(OpenError::Database(error)),
        }
    }

    pub(crate) async fn acquire(&self) -> Result<Connection, DatabaseError> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        })
    }

    /// A connection that its owner keeps, to write. What it runs finds rows by unique keys alone, which have one plan
    /// whatever the parameters are, and hundreds of them in a statement take long to plan.
    pub(crate) async fn acquire_to_write(&self) -> Result<Connection, DatabaseError> {
        let mut connection = self.acquire().await?;
        if matches!(connection, Connection::Postgres(_)) {
            connection.raw("SET plan_cache_mode = auto").await?;
        }
        Ok(connection)
    }

    /// Reads rows by a connection of the pool.
    pub(crate) async fn fetch(&self, sql: Sql, cells: Vec<Cell>) -> Result<Vec<Row>, DatabaseError> {
        self.acquire().await?.fetch(sql, cells).await
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Opens a file. SQLite neither waits when two want to switch it to a write-ahead log, nor locks it while
/// tables are made: of two that start at once one may lose, and on its next try finds the work done.
async fn open_file(options: SqliteConnectOptions) -> Result<SqlitePool, OpenError> {
    let attempt = async || {
        let pool = limits().connect_with(options.clone()).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(pool)
    };
    let mut tries = 0u32;
    loop {
        let again = match attempt().await {
            Err(OpenError::Database(DatabaseError::Busy(_) | DatabaseError::Conflict(_))) => {
                tries < OPEN_RETRIES
            }
            Err(OpenError::Database(DatabaseError::Other(_))) => tries < 3,
            other => return other,
        };
        if !again {
            return attempt().await;
        }
        tries = tries.saturating_add(1);
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

/// Refuses a server whose settings could lose what was acknowledged, or a key in an index.
async fn judge_server(pool: &PgPool) -> Result<(), OpenError> {
    let row = sqlx::query(
        // Releases before 15 know no provider.
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), d.datcollate, \
         COALESCE(to_jsonb(d) ->> 'datlocprovider', 'c') FROM pg_database d WHERE d.datname = current_database()",
    );
    let row = row.fetch_one(pool).await?;
    let (fsync, full_page_writes): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    if fsync != "on" || full_page_writes != "on" {
        return Err(OpenError::NotDurable { fsync, full_page_writes });
    }
    let (collation, provider): (String, String) = (row.try_get(2)?, row.try_get(3)?);
    if !matches!(collation.as_str(), "C" | "POSIX" | "C.UTF-8" | "C.utf8") || provider == "i" {
        let collation = if provider == "i" { "ICU rules".to_owned() } else { collation };
        return Err(OpenError::Collation { collation });
    }
    Ok(())
}

fn limits<D: sqlx::Database>() -> PoolOptions<D> {
    PoolOptions::new().max_connections(CONNECTIONS_LIMIT).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// One connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    /// Begins to write: alone on SQLite, serialisable on PostgreSQL. There the key of the next batch, which
    /// every writer inserts, orders them as well; either would do.
    pub(crate) async fn begin(&mut self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(_) => self.raw("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => self.raw("BEGIN ISOLATION LEVEL SERIALIZABLE").await,
        }
    }

    /// Begins to read one unchanging state.
    pub(crate) async fn begin_reading(&mut self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(_) => self.raw("BEGIN").await,
            Self::Postgres(_) => self.raw("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    pub(crate) async fn commit(&mut self) -> Result<(), DatabaseError> {
        self.raw("COMMIT").await
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), DatabaseError> {
        self.raw("ROLLBACK").await
    }

    async fn raw(&mut self, text: &'static str) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(|_| ())?,
            Self::Postgres(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(|_| ())?,
        }
        Ok(())
    }

    pub(crate) async fn execute(&mut self, sql: Sql, cells: Vec<Cell>) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(connection) => bound!(sql, cells).execute(&mut **connection).await.map(|_| ())?,
            Self::Postgres(connection) => bound!(sql, cells).execute(&mut **connection).await.map(|_| ())?,
        }
        Ok(())
    }

    pub(crate) async fn fetch(&mut self, sql: Sql, cells: Vec<Cell>) -> Result<Vec<Row>, DatabaseError> {
        Ok(match self {
            Self::Sqlite(connection) => {
                let rows = bound!(sql, cells).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(connection) => {
                let rows = bound!(sql, cells).fetch_all(&mut **connection).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Closes it without giving it back: nobody may inherit a transaction that is half done.
    pub(crate) fn discard(self) {
        match self {
            Self::Sqlite(connection) => drop(connection.detach()),
            Self::Postgres(connection) => drop(connection.detach()),
        }
    }

    /// Reads the rows of all keys, however many.
    pub(crate) async fn fetch_by_keys(
        &mut self,
        sized: &sql::Sized,
        mut keys: Vec<String>,
    ) -> Result<Vec<Row>, DatabaseError> {
        // In order, so that two writers touch the same rows in the same order.
        keys.sort_unstable();
        let mut found = Vec::new();
        while let Some(last) = keys.last().cloned() {
            let (size, sql) = sized.holding(keys.len());
            let taken = keys.split_off(keys.len().saturating_sub(size));
            let mut cells: Vec<Cell> = taken.into_iter().map(Cell::Text).collect();
            cells.resize(size, Cell::Text(last));
            found.extend(self.fetch(sql, cells).await?);
        }
        Ok(found)
    }

    /// Writes all rows, however many.
    pub(crate) async fn write_rows(
        &mut self,
        sized: &sql::Sized,
        rows: Vec<Vec<Cell>>,
    ) -> Result<(), DatabaseError> {
        let mut left = rows.len();
        let mut rows = rows.into_iter();
        while left > 0 {
            let (size, sql) = sized.filled(left);
            let cells = rows.by_ref().take(size).flatten().collect();
            self.execute(sql, cells).await?;
            left = left.saturating_sub(size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
