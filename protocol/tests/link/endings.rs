//! What a driver has to know of a link that ends.

use std::time::{Duration, Instant};

use protocol::ConnectionId;
use protocol::link::{Link, Moment, Scratch};

use crate::driver::{Driver, Watch};
use crate::probe::Act::{self, Close, Refuse, Say};
use crate::probe::{Probe, Told, limits};
use protocol::Cause::{self, Input, Opened};

impl Watch for Told {}

/// A session that closes when it was asked something.
const ANSWERS: &[(Cause, &[Act])] = &[(Input, &[Say(50), Close])];

/// A connection whose session does what `acts` say.
struct Play {
    driver: Driver<Probe>,
    scratch: Scratch,
    told: Told,
    moment: Moment,
}

impl Play {
    fn new(acts: &'static [(Cause, &'static [Act])]) -> Self {
        let now = Instant::now();
        Self {
            driver: Driver::new(Link::new(Probe::new(acts), limits()), ConnectionId(1)),
            scratch: Scratch::new(now),
            told: Told::default(),
            moment: Moment { now, lost: Duration::ZERO },
        }
    }

    fn run(&mut self) {
        self.driver.run(&mut self.scratch, self.moment, &mut self.told);
    }

    fn reason(&self) -> String {
        self.driver.reason.as_ref().map_or("open".to_owned(), ToString::to_string)
    }
}

#[test]
fn reading_fails_while_the_link_lingers_and_the_end_is_in_order() {
    let mut play = Play::new(ANSWERS);
    play.driver.incoming.push_back(b'i');
    play.run();
    assert!(play.driver.link.is_lingering() && play.driver.link.reads());
    assert_eq!((play.driver.sent.len(), play.driver.is_shut_down), (50, true));
    play.driver.ways.read_fails = true;
    play.run();
    assert_eq!(play.reason(), "finished");
    assert_eq!(play.told.0, ["opened", "input 1", "closed: finished"]);
}

#[test]
fn the_reason_for_a_refusal_is_kept_when_reading_fails() {
    let mut play = Play::new(&[(Input, &[Say(5), Refuse])]);
    play.driver.incoming.push_back(b'i');
    play.run();
    play.driver.ways.read_fails = true;
    play.run();
    assert_eq!((play.driver.sent.len(), play.reason()), (5, "refused: nonsense".to_owned()));
}

#[test]
fn reading_fails_while_the_link_is_open_and_that_is_the_reason() {
    let mut play = Play::new(ANSWERS);
    play.run();
    assert!(!play.driver.link.is_lingering() && play.driver.link.reads());
    play.driver.ways.read_fails = true;
    play.run();
    assert!(play.reason().starts_with("read: "), "{}", play.reason());
}

#[test]
fn a_link_that_has_unsent_output_does_not_linger_and_does_not_read() {
    let mut play = Play::new(ANSWERS);
    play.driver.ways.room = 20;
    play.driver.incoming.push_back(b'i');
    play.run();
    assert!(!play.driver.link.is_lingering() && !play.driver.link.reads());
    assert!(!play.driver.wait.read && play.driver.wait.write && play.driver.wait.is_unsent);
    play.driver.ways.read_fails = true;
    play.run();
    assert_eq!(play.reason(), "open", "it is not read");
    play.driver.ways.write_fails = true;
    play.run();
    assert!(play.reason().starts_with("write: "), "{}", play.reason());
}

#[test]
fn a_descriptor_whose_sending_side_cannot_be_ended_is_closed_at_once() {
    let mut play = Play::new(&[(Opened, &[Say(9), Close])]);
    play.driver.ways.is_pipe = true;
    play.run();
    assert_eq!((play.driver.sent.len(), play.reason()), (9, "finished".to_owned()));
}

#[test]
fn a_timeout_that_sets_itself_again_for_now_leaves_the_pass() {
    let mut play =
        Play::new(&[(Opened, &[Act::Timeout(1, 0)]), (Cause::Timeout(1), &[Act::Timeout(1, 0)])]);
    play.run();
    for told in 1..=3 {
        assert_eq!(play.driver.deadline, Some(play.moment.now));
        let counts =
            play.driver.pass(&mut play.scratch, play.moment, &mut play.told, |link, scratch| {
                link.deadline_passed(scratch, || 0)
            });
        assert_eq!(play.told.0.len(), 1 + told);
        assert!(counts.calls <= 2, "{counts:?}");
    }
}
