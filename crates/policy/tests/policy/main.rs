//! Policies explained, replayed and compared.

mod choices;
mod compared;
mod differences;
mod explained;
mod replayed;
