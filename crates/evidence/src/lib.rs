//! What outsiders verify: everything here needs public keys and files, nothing else.

mod difference;
pub mod register;
mod report;
pub mod tiles;
mod verify;

pub use difference::{Deed, Difference};
pub use report::{AuthorisationReport, Count, PaidOutput, Reason, RejectedStatement, Report};
pub use verify::{LogKeys, VerifiedLog, VerifyError, verify_log};
