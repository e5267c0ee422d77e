//! The weather between co-signers: what the network and their clocks do to them.

use super::Cluster;

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

    /// A relay that brings nothing.
    pub const SILENT: Self = Self { loss: 1_000, ..Self::CALM };
}

impl Cluster {
    /// Cuts the network at random, or heals it.
    pub fn recut(&mut self, cut: bool, twins: bool) {
        self.weather.cut = cut;
        if cut && !twins {
            for place in 0..self.side.len() {
                self.side[place] = self.chance(2, 1);
            }
        }
    }

    /// Cuts the network between these processes and the others.
    pub fn part(&mut self, places: &[usize]) {
        self.weather.cut = true;
        for place in 0..self.side.len() {
            self.side[place] = places.contains(&place);
        }
    }

    /// Sets the clock of a process so many seconds ahead of the others, or behind them.
    pub fn set_ahead(&mut self, place: usize, ahead_s: i64) {
        self.places[place].ahead_ms = ahead_s * 1000;
    }

    /// What the clock of a process shows.
    pub(super) fn clock_ms(&self, place: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.places[place].ahead_ms)
    }
}
