//! Runs the sandbox.

use std::process::ExitCode;

use sim::sandbox::{Failure, Story, options};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(options) = options(std::env::args().skip(1))? else { return Ok(()) };
    let story = Story::run(&options)?;
    if !options.once {
        story.what_next();
        std::io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}
