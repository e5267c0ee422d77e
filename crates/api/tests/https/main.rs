//! Who reaches the interface over HTTPS, and how long one caller can hold it up.

mod callers;
mod door;
mod limits;
