//! Policies explained, replayed and compared.

mod barred;
mod choices;
mod compared;
mod differences;
mod explained;
mod looser;
mod replayed;
