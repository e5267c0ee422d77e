//! Attacks with a co-signer among the attackers, over the real wire against real processes: a signer that
//! goes on voting and knows of no freeze, one that signs wrongly, and peers that keep to no frame of ours.
//! One test sleeps for a minute while the others run: at the end of a freshness that is real.

mod frames;
mod freeze;
mod person;
mod shares;
