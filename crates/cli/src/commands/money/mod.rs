//! Clients' money, by the server's books: what the REST interface says, asked over the session's own
//! connection. Nothing of it is proof; what moves coins is signed here, after it was shown, and judged by
//! every signer (P19).

mod books;
pub(in crate::commands) mod call;
mod deposits;
mod follow;
mod table;
mod withdrawals;

pub(crate) use books::{balances, reconcile, statement, transfer};
pub(crate) use deposits::{clients, deposit, deposits};
pub(crate) use withdrawals::{withdraw, withdrawal, withdrawals};
