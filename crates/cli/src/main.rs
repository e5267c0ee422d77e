//! `keyward`: what people run to ask, approve, freeze, look and verify. `docs/cli.md` describes it.

mod amount;
mod args;
mod commands;
mod csv;
mod failure;
mod home;
mod link;
mod secret;
mod session;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.class.code())
        }
    }
}
