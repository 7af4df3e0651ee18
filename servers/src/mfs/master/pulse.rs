//! Signs of life of one connection: of its peer, and to it.

use std::time::Duration;

use protocol::Effects;

/// The key of the timeout of a session that has a pulse.
pub(super) const PULSE: u8 = 0;

/// How many beats the time-out of a metalogger or chunkserver has.
const BEATS: u8 = 6;

/// Counts the beats in which nothing was heard, and in which nothing was said.
///
/// Silence is counted in beats and not in seconds. When the program itself stands still for a while, one
/// beat passes, whatever the clock says, so its own delay is not taken for the silence of its peers.
#[derive(Debug)]
pub(super) struct Pulse {
    length: Duration,
    silent: u8,
    silent_max: u8,
    quiet: u8,
    quiet_max: u8,
}

/// What a beat asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Rest,
    /// A sign of life to the peer.
    Speak,
    /// The end of the connection: the peer was silent for too long.
    GiveUp,
}

impl Pulse {
    /// Returns the pulse of a connection on which each side says something in a third of `timeout`. A
    /// peer is given up after `timeout` of silence, or up to a sixth of it later.
    pub(super) fn within(timeout: Duration) -> Self {
        let length = timeout / u32::from(BEATS);
        Self { length, silent: 0, silent_max: BEATS, quiet: 0, quiet_max: 2 }
    }

    /// Returns the pulse of a client: it is told something after one to two seconds, and given up after
    /// ten to eleven.
    pub(super) const fn of_client() -> Self {
        let length = Duration::from_secs(1);
        Self { length, silent: 0, silent_max: 10, quiet: 0, quiet_max: 2 }
    }

    /// Starts it, or goes on with another length.
    pub(super) fn start(&self, effects: &mut Effects) {
        effects.set_timeout(PULSE, Some(self.length));
    }

    /// Notes that something was heard.
    pub(super) fn heard(&mut self) {
        self.silent = 0;
    }

    /// Notes that something was said.
    pub(super) fn said(&mut self) {
        self.quiet = 0;
    }

    /// Goes on with the next beat. What it asks for is taken as done.
    pub(super) fn beat(&mut self, effects: &mut Effects) -> Beat {
        self.start(effects);
        self.silent += 1;
        self.quiet += 1;
        if self.silent > self.silent_max {
            return Beat::GiveUp;
        }
        if self.quiet >= self.quiet_max {
            self.quiet = 0;
            return Beat::Speak;
        }
        Beat::Rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_told_something_each_third_and_given_up_after_all() {
        let mut pulse = Pulse::within(Duration::from_secs(12));
        assert_eq!(pulse.length, Duration::from_secs(2));
        let mut effects = Effects::default();
        let beats: Vec<Beat> = (0..7).map(|_| pulse.beat(&mut effects)).collect();
        let each = [Beat::Rest, Beat::Speak];
        assert_eq!(beats[..6], [each, each, each].concat());
        assert_eq!(beats[6], Beat::GiveUp);
    }

    #[test]
    fn what_is_heard_and_said_counts_from_then_on() {
        let mut pulse = Pulse::of_client();
        let mut effects = Effects::default();
        for _ in 0..100 {
            pulse.heard();
            pulse.said();
            assert_eq!(pulse.beat(&mut effects), Beat::Rest);
        }
        assert_eq!(pulse.beat(&mut effects), Beat::Speak);
    }
}
