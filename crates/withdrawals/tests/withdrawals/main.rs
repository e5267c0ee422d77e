//! Withdrawals over a real log (`fixtures::World`), a chain of who spends what, and real books.

mod breach;
mod crash;
mod history;
mod inside;
mod look;
mod play;
mod table;
