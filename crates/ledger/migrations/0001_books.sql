-- One text for SQLite and PostgreSQL: BIGINT and TEXT only. Amounts are decimal text (128 bits), hashes
-- are hex. There are no foreign keys: every row is written by one function, and `verify` recomputes all.

-- What was written by one SQL transaction. Each digest covers the one before it.
CREATE TABLE batch (
    seq BIGINT PRIMARY KEY,
    time BIGINT NOT NULL,       -- seconds since 1970, never less than in the batch before
    last BIGINT NOT NULL,       -- position of its last entry
    accounts BIGINT NOT NULL,   -- how many accounts there are after it
    previous TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE INDEX batch_time ON batch (time);

-- Accounts with their totals now: "debits-pending debits-posted credits-pending credits-posted".
CREATE TABLE account (
    number BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    wallet TEXT NOT NULL,
    asset TEXT NOT NULL,
    totals TEXT NOT NULL,
    overdrawn BIGINT NOT NULL   -- 1 if its owner may not be below zero, and it is
);
CREATE INDEX account_owner ON account (owner, number);
CREATE INDEX account_wallet ON account (wallet, number);
CREATE INDEX account_overdrawn ON account (number) WHERE overdrawn = 1;

-- Transfers. Rows are never changed. The totals are those of the two accounts after the transfer.
CREATE TABLE transfer (
    position BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    debit BIGINT NOT NULL,
    credit BIGINT NOT NULL,
    amount TEXT NOT NULL,
    kind TEXT NOT NULL,
    ends TEXT UNIQUE,           -- the reservation that it ends: once
    expires_at BIGINT,
    code TEXT NOT NULL,
    cause TEXT NOT NULL,
    debit_totals TEXT NOT NULL,
    credit_totals TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE INDEX transfer_debit ON transfer (debit, position);
CREATE INDEX transfer_credit ON transfer (credit, position);

-- Versions of records. Rows are never changed.
CREATE TABLE change (
    position BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    record TEXT NOT NULL,       -- kind:id
    version BIGINT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    client TEXT,
    external_id TEXT,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,         -- canonical JSON
    digest TEXT NOT NULL,
    UNIQUE (record, version)
);

-- Records as they are: an index of the newest versions.
CREATE TABLE record (
    record TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    client TEXT,
    external_id TEXT,
    opened BIGINT NOT NULL,     -- position of its first version
    latest BIGINT NOT NULL      -- position of its newest version
);
CREATE INDEX record_kind ON record (kind, opened);
CREATE INDEX record_state ON record (kind, state, opened);
CREATE INDEX record_client ON record (kind, client, opened);
CREATE INDEX record_external ON record (kind, external_id, opened);
