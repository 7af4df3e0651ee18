//! One conversation with a server that sends back what it receives, changed byte by byte.

use std::time::{Duration, Instant};

use testkit::Random;

/// After this time an exchange sends no more: a small buffer may pass a few hundred bytes a second.
const SENDING_MAX: Duration = Duration::from_secs(2);
/// The most bytes that one call sends.
const PORTION: u64 = 16 * 1024;
/// The most that a server and the buffers of both kernels hold of a client that does not read:
/// `output_high`, what one turn reads beyond it, and four buffers of 64 KiB.
const HELD_MAX: u64 = (256 + 256 + 256) * 1024;

/// How much is sent before the reply is there.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// One message at a time.
    Step,
    /// A window of several messages.
    Window,
    /// Everything.
    Bulk,
    /// Everything, without reading at first.
    Lazy,
}

/// The bytes of one connection: what was sent, and what has come back.
#[derive(Debug)]
pub(super) struct Exchange {
    key: u64,
    pace: Pace,
    total: u64,
    window: u64,
    pub(super) sent: u64,
    pub(super) verified: u64,
    started: Instant,
    /// When this side worked last.
    active: Instant,
    change: fn(u8) -> u8,
}

impl Exchange {
    pub(super) fn new(random: &mut Random, now: Instant, change: fn(u8) -> u8) -> Self {
        let (pace, total, window) = match random.below(60) {
            0..20 => (Pace::Step, 1 + random.below(10_000), 1 + random.below(3_000)),
            20..42 => (Pace::Window, 1 + random.below(30_000), 1 + random.below(20_000)),
            42..59 => (Pace::Bulk, 1 + random.below(200_000), u64::MAX),
            _ => (Pace::Lazy, 1_000_000, u64::MAX),
        };
        let key = random.number();
        Self { key, pace, total, window, sent: 0, verified: 0, started: now, active: now, change }
    }

    /// Returns how long to wait before reading.
    pub(super) fn laziness(&self) -> Option<Duration> {
        matches!(self.pace, Pace::Lazy).then_some(Duration::from_secs(2))
    }

    fn byte(&self, at: u64) -> u8 {
        let mixed = (self.key ^ (at >> 3)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> (at % 8 * 8)) as u8
    }

    /// Returns the next bytes to send, if there are any now.
    pub(super) fn next(&mut self, now: Instant) -> Vec<u8> {
        self.active = now;
        if now.duration_since(self.started) > SENDING_MAX {
            self.total = self.total.min(self.sent);
        }
        let under_way = self.sent - self.verified;
        let free = match self.pace {
            Pace::Step if under_way > 0 => 0,
            _ => self.window.saturating_sub(under_way),
        };
        let size = free.min(self.total - self.sent).min(PORTION);
        let bytes = (self.sent..self.sent + size).map(|at| self.byte(at)).collect();
        self.sent += size;
        bytes
    }

    /// Returns whether nothing more will be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.total
    }

    /// Verifies what has come back.
    ///
    /// # Panics
    /// Panics if it is not what was sent.
    pub(super) fn verify(&mut self, bytes: &[u8], now: Instant) {
        self.active = now;
        for byte in bytes {
            assert!(self.verified < self.sent, "more came back than the {} bytes sent", self.sent);
            let expected = (self.change)(self.byte(self.verified));
            assert_eq!(*byte, expected, "byte {} of {} is wrong", self.verified, self.sent);
            self.verified += 1;
        }
    }

    /// Returns whether everything was sent and has come back.
    pub(super) fn is_done(&self) -> bool {
        self.is_sent() && self.verified == self.total
    }

    /// Demands that the server has stopped reading, before this side begins to read. `unsent` is
    /// what the kernel has not taken.
    ///
    /// # Panics
    /// Panics if the server holds more than it may.
    pub(super) fn demand_bound(&self, unsent: u64) {
        let held = self.sent - unsent - self.verified;
        assert!(held <= HELD_MAX, "the server holds {held} bytes of a client that does not read");
    }

    /// Demands that the stream has a reason to end now, if nothing else could have ended it.
    ///
    /// # Panics
    /// Panics if it ends before everything has come back.
    pub(super) fn demand_whole(&self, now: Instant) {
        // A connection that was silent may have been ended for that.
        let is_fresh = now.duration_since(self.active) < Duration::from_secs(15);
        assert!(
            self.is_done() || !is_fresh,
            "the stream ended after {} of {} bytes, {} of them sent",
            self.verified,
            self.total,
            self.sent
        );
    }
}
