//! The interface as its callers see it: real books, a real log, no server in between.

mod accounts;
mod addresses;
mod bodies;
mod cancels;
mod clients;
mod codes;
mod deposits;
mod destinations;
mod document;
mod house;
mod lists;
mod once;
mod races;
mod reconciliations;
mod recovery;
mod renewals;
mod transfers;
mod withdrawals;
