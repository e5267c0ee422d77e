//! The weather between co-signers.

/// How hostile the relay is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Messages lost, per thousand.
    pub loss: u32,
    /// Messages delivered twice, per thousand.
    pub repeat: u32,
    /// Longest delay, in milliseconds.
    pub delay_ms: u64,
    /// Effects after which a process is killed, per ten thousand.
    pub kill: u32,
    /// Whether the network is cut into two parts.
    pub cut: bool,
    /// Whether co-signatures are withheld, so that heads are decided and never final.
    pub withhold_heads: bool,
}

impl Weather {
    /// An honest relay.
    pub const CALM: Self =
        Self { loss: 0, repeat: 0, delay_ms: 5, kill: 0, cut: false, withhold_heads: false };
}
