//! What a session asks of its driver besides bytes.

use std::time::{Duration, Instant};

use protocol::link::{IdleLimit, Link, Moment, Passed, Scratch, Stop};
use protocol::testing::Wire;
use protocol::{Buffer, Cause, ConnectionId, Context, Effects, Flow, Output, Reason, Session};

use crate::driver::Driver;
use crate::probe::limits;

/// What the sessions of a test were told.
type Told = Vec<Cause>;

/// Asks for something when it is told something, and for something else when it is closed.
struct Asks {
    when: Cause,
    what: fn(&mut Effects),
    in_the_end: fn(&mut Effects),
}

impl Asks {
    fn new(when: Cause, what: fn(&mut Effects)) -> Self {
        Self { when, what, in_the_end: |_| () }
    }
}

impl Session<Told> for Asks {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Told>,
    ) -> Result<Flow, Reason> {
        context.app.push(context.cause);
        output.take_input(input);
        if context.cause == self.when {
            (self.what)(context.effects);
        }
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, Told>) {
        (self.in_the_end)(context.effects);
    }
}

fn wire(what: fn(&mut Effects)) -> (Wire<Asks>, Told) {
    (Wire::over(Link::new(Asks::new(Cause::Woken, what), limits())), Told::new())
}

#[test]
fn others_are_woken_and_closed_in_order() {
    let (mut wire, mut told) = wire(|effects| {
        effects.wake(ConnectionId(7));
        effects.close(ConnectionId(1));
        effects.wake(ConnectionId(3));
        effects.wake(ConnectionId(7));
        effects.wake(ConnectionId(5));
        effects.close(ConnectionId(9));
    });
    wire.run(&mut told);
    assert_eq!((wire.take_woken(), wire.take_closed()), (vec![], vec![]));
    wire.wake(&mut told);
    assert_eq!(wire.take_woken(), [7, 3, 7, 5].map(ConnectionId));
    assert_eq!(wire.take_closed(), [1, 9].map(ConnectionId));
    wire.run(&mut told);
    assert_eq!((wire.take_woken(), wire.take_closed()), (vec![], vec![]), "once");
    assert_eq!(told, [Cause::Opened, Cause::Woken], "itself, it is not woken");
}

#[test]
fn the_loop_is_stopped_in_the_way_that_was_asked_for_last() {
    let (mut first, mut told) = wire(Effects::stop);
    first.run(&mut told);
    assert_eq!(first.stopped(), None);
    first.wake(&mut told);
    assert_eq!(first.stopped(), Some(Stop::Soon));
    let patience = Duration::from_millis(1234);
    let (mut second, mut told) = wire(|it| it.stop_gracefully(Duration::from_millis(1234)));
    second.wake(&mut told);
    assert_eq!(second.stopped(), Some(Stop::Gracefully(patience)));
    let (mut both, mut told) = wire(|effects| {
        effects.stop();
        effects.stop_gracefully(Duration::from_millis(1234));
    });
    both.wake(&mut told);
    assert_eq!(both.stopped(), Some(Stop::Gracefully(patience)));
    assert_eq!(told, [Cause::Opened, Cause::Woken], "the loop tells it of the stop, not the link");
}

#[test]
fn silence_is_allowed_and_taken_back() {
    let (mut wire, mut told) = wire(|effects| effects.allow_silence(true));
    wire.run(&mut told);
    assert_eq!(wire.idle_limit(), IdleLimit::ByLoop);
    wire.wake(&mut told);
    assert_eq!(wire.idle_limit(), IdleLimit::Never);
    wire.feed(b"more", &mut told);
    assert_eq!(wire.idle_limit(), IdleLimit::Never, "it holds until it is taken back");
    let session = Asks::new(Cause::Input, |effects| effects.allow_silence(true));
    let mut other = Wire::over(Link::new(session, limits()));
    other.feed(b"1", &mut told);
    assert_eq!(other.idle_limit(), IdleLimit::Never);
    let session = Asks::new(Cause::Input, |effects| {
        effects.allow_silence(true);
        effects.allow_silence(false);
    });
    let mut other = Wire::over(Link::new(session, limits()));
    other.feed(b"1", &mut told);
    assert_eq!(other.idle_limit(), IdleLimit::ByLoop);
}

#[test]
fn the_output_ends_behind_what_was_said_and_the_input_goes_on() {
    let session = Asks::new(Cause::Input, Effects::end_output);
    let (mut wire, mut told) = (Wire::over(Link::new(session, limits())), Told::new());
    wire.set_room(2, &mut told);
    wire.feed(b"abcd", &mut told);
    assert!(!wire.is_shut_down(), "two bytes are unsent");
    // The sending side is still open, and its output goes on.
    wire.feed(b"ef", &mut told);
    wire.set_room(100, &mut told);
    assert_eq!(wire.take_sent(), b"abcdef");
    assert!(wire.is_shut_down() && wire.reason().is_none());
    wire.feed(b"gh", &mut told);
    assert_eq!((wire.take_sent(), wire.unread(), wire.unsent()), (vec![], 0, 0));
    wire.end_input(&mut told);
    assert!(matches!(wire.reason(), Some(Reason::PeerClosed)));
    assert_eq!(told, [Cause::Opened, Cause::Input, Cause::Input, Cause::Input, Cause::Input]);
}

#[test]
fn a_session_that_is_closed_may_still_reach_others() {
    let session = Asks {
        when: Cause::Opened,
        what: |_| (),
        in_the_end: |effects| {
            effects.wake(ConnectionId(5));
            effects.close(ConnectionId(6));
            effects.stop();
        },
    };
    let (mut wire, mut told) = (Wire::over(Link::new(session, limits())), Told::new());
    wire.feed(b"x", &mut told);
    assert_eq!((wire.take_woken(), wire.stopped()), (vec![], None));
    wire.end_input(&mut told);
    assert!(wire.reason().is_some());
    assert_eq!(wire.take_woken(), [ConnectionId(5)]);
    assert_eq!(wire.take_closed(), [ConnectionId(6)]);
    assert_eq!(wire.stopped(), Some(Stop::Soon));
}

/// Something that a session asks for, with its name.
type Effect = (&'static str, fn(&mut Effects));

const ALL: [Effect; 9] = [
    ("wake", |it| it.wake(ConnectionId(2))),
    ("close", |it| it.close(ConnectionId(2))),
    ("set_timeout", |it| it.set_timeout(1, Some(Duration::from_secs(1)))),
    ("remove a timeout", |it| it.set_timeout(1, None)),
    ("end_output", Effects::end_output),
    ("allow_silence", |it| it.allow_silence(true)),
    ("take silence back", |it| it.allow_silence(false)),
    ("stop", Effects::stop),
    ("stop_gracefully", |it| it.stop_gracefully(Duration::ZERO)),
];

#[test]
fn a_driver_is_told_that_something_was_asked_for_and_gets_only_that() {
    let now = Instant::now();
    let moment = Moment { now, lost: Duration::ZERO };
    for (name, what) in ALL {
        let (mut scratch, mut told) = (Scratch::new(now), Told::new());
        let link = Link::new(Asks::new(Cause::Opened, what), limits());
        let mut driver = Driver::new(link, ConnectionId(1));
        driver.pass(&mut scratch, moment, &mut told, |_, _| Passed::GoesOn);
        let effects = scratch.effects_mut();
        assert!(effects.take_asked(), "{name}");
        assert!(!effects.take_asked(), "{name}: once");
        let others: Vec<_> = effects.take_wakes().collect();
        assert_eq!(others.len(), usize::from(name == "wake"), "{name}");
        let others: Vec<_> = effects.take_closes().collect();
        assert_eq!(others.len(), usize::from(name == "close"), "{name}");
        let limit = match name {
            "allow_silence" => Some(IdleLimit::Never),
            "take silence back" => Some(IdleLimit::ByLoop),
            _ => None,
        };
        assert_eq!(effects.take_idle_limit(), limit, "{name}");
        let stop = match name {
            "stop" => Some(Stop::Soon),
            "stop_gracefully" => Some(Stop::Gracefully(Duration::ZERO)),
            _ => None,
        };
        assert_eq!(effects.take_stop(), stop, "{name}");
        let is_left = effects.take_idle_limit().is_some() || effects.take_stop().is_some();
        assert!(!is_left, "{name}: taken twice");
        let deadline = (name == "set_timeout").then(|| now + Duration::from_secs(1));
        assert_eq!(driver.deadline, deadline, "{name}");
        assert_eq!(driver.is_shut_down, name == "end_output", "{name}");
        // What one session has asked for is not asked for again by the next.
        driver.pass(&mut scratch, moment, &mut told, |_, _| Passed::GoesOn);
        assert!(!scratch.effects_mut().take_asked(), "{name}: again");
    }
}

#[test]
fn what_a_closed_session_asks_for_itself_reaches_no_other_connection() {
    let now = Instant::now();
    let moment = Moment { now, lost: Duration::ZERO };
    for (name, what) in ALL {
        let (mut scratch, mut told) = (Scratch::new(now), Told::new());
        let session = Asks { when: Cause::Opened, what: |_| (), in_the_end: what };
        let mut gone = Link::new(session, limits());
        gone.closed(&Reason::Finished, &mut scratch, moment, ConnectionId(1), &mut told);
        let asks = Asks::new(Cause::Opened, |effects| {
            effects.set_timeout(1, Some(Duration::from_secs(7)));
            effects.wake(ConnectionId(3));
        });
        let mut next = Driver::new(Link::new(asks, limits()), ConnectionId(4));
        next.pass(&mut scratch, moment, &mut told, |_, _| Passed::GoesOn);
        assert_eq!(next.deadline, Some(now + Duration::from_secs(7)), "{name}");
        assert!(!next.is_shut_down, "{name}");
        assert_eq!(scratch.effects_mut().take_idle_limit(), None, "{name}");
    }
}
