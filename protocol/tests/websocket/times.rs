//! Pings and their deadlines.

use std::time::Duration;

use protocol::Reason;
use protocol::websocket::Options;

use crate::ends::{End, Heard, Log, log, masked, options, server, unmasked};

const SECOND: Duration = Duration::from_secs(1);

fn pinging() -> Options {
    let (ping_interval, pong_timeout) = (Some(20 * SECOND), 10 * SECOND);
    Options { ping_interval, pong_timeout, ..options() }
}

fn ping() -> Vec<u8> {
    unmasked(0x89, b"")
}

fn is_gone(end: &End) -> bool {
    end.is_shut_down()
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let mut end = server(Log::default(), pinging());
    end.pass(Duration::from_millis(19_999), &mut ());
    assert!(end.take_sent().is_empty());
    end.pass(Duration::from_millis(1), &mut ());
    assert_eq!(end.take_sent(), ping());
    end.pass(Duration::from_millis(9_999), &mut ());
    assert!(!is_gone(&end));
    end.pass(Duration::from_millis(1), &mut ());
    assert!(is_gone(&end));
    end.end_input(&mut ());
    assert!(matches!(end.reason(), Some(Reason::Idle)), "{:?}", end.reason());
}

#[test]
fn anything_that_the_peer_says_is_an_answer() {
    let mut end = server(Log::default(), pinging());
    for answer in
        [masked(0x8A, b""), masked(0x81, b"text"), masked(0x82, &[0; 200])[..100].to_vec()]
    {
        end.pass(20 * SECOND, &mut ());
        assert_eq!(end.take_sent(), ping());
        end.pass(9 * SECOND, &mut ());
        end.feed(&answer, &mut ());
        // The next ping comes after 20 seconds of silence.
        end.pass(19 * SECOND, &mut ());
        assert!(end.take_sent().is_empty());
        end.pass(SECOND, &mut ());
        assert_eq!(end.take_sent(), ping());
        end.feed(&masked(0x8A, b"")[..1], &mut ());
        end.feed(&masked(0x8A, b"")[1..], &mut ());
        if answer.len() == 100 {
            return;
        }
    }
}

#[test]
fn a_peer_that_talks_is_not_pinged() {
    let mut end = server(Log::default(), pinging());
    for _ in 0..100 {
        end.pass(19 * SECOND, &mut ());
        end.feed(&masked(0x81, b"x"), &mut ());
    }
    assert!(end.take_sent().is_empty());
    assert_eq!(log(&mut end).heard.len(), 100);
}

#[test]
fn a_peer_is_not_judged_while_this_side_does_not_read() {
    let mut end = server(Log { pauses: true, ..Log::default() }, pinging());
    end.feed(&masked(0x81, b"x"), &mut ());
    end.pass(1000 * SECOND, &mut ());
    assert!(end.take_sent().is_empty() && !is_gone(&end));
    // It goes on, and the peer is pinged again.
    log(&mut end).pauses = false;
    end.wake(&mut ());
    end.pass(41 * SECOND, &mut ());
    assert_eq!(end.take_sent(), ping());
}

#[test]
fn a_peer_is_not_judged_while_the_ping_waits_behind_other_output() {
    let mut end = server(Log::default(), pinging());
    end.set_room(100, &mut ());
    log(&mut end).to_send = vec![Heard::Binary(vec![0; 1000])];
    end.wake(&mut ());
    end.pass(200 * SECOND, &mut ());
    assert!(!is_gone(&end), "the idle limit of the loop judges it");
    end.take_sent();
    end.set_room(u64::MAX, &mut ());
    end.pass(20 * SECOND, &mut ());
    assert!(end.take_sent().ends_with(&ping()));
}

#[test]
fn a_ping_of_the_service_comes_back_to_it() {
    let mut end = server(Log::default(), options());
    log(&mut end).to_send = vec![Heard::Pong(b"mine".to_vec())];
    end.wake(&mut ());
    assert_eq!(end.take_sent(), unmasked(0x89, b"mine"));
    end.feed(&masked(0x8A, b"mine"), &mut ());
    assert_eq!(log(&mut end).heard, [Heard::Pong(b"mine".to_vec())]);
}
