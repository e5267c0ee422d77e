//! The whole platform under test.

pub mod attacker;
pub mod deployment;
pub mod processes;
pub mod regtest;
pub mod relay;
pub mod sandbox;
