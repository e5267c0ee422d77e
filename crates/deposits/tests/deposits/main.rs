//! Deposits on a chain of real blocks in memory.

mod cases;
mod common;
mod derived;
mod log;
mod model;
mod node;
