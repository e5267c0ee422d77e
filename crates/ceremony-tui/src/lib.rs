//! The program `keyward-ceremony` around its offline core: what people see, print, type and carry.
//!
//! Nothing here decides: the steps, their checks and every secret are in `ceremony`.

pub mod age_file;
pub mod arguments;
pub mod child;
pub mod conduct;
pub mod front;
pub mod handover;
pub mod image;
pub mod pdf;
pub mod plain;
pub mod print;
pub mod rehearsal;
pub mod screen;
pub mod watch;
