//! Closing, from both sides, with every code.

use std::time::Duration;

use protocol::websocket::{CLOSE_REASON_MAX, CloseCode};
use protocol::{Flow, Reason};

use crate::ends::{
    End, Heard, Log, client, closing, exchange, fed, log, masked, options, server, unmasked,
};
use crate::frames::UNCLOSED;

/// Wakes an end, which sends this.
fn say(end: &mut End, what: Heard, then: Flow) {
    (log(end).to_send, log(end).then) = (vec![what], Some(then));
    end.wake(&mut ());
}

fn is_over(end: &End) -> bool {
    end.reason().is_some_and(Reason::is_orderly)
}

#[test]
fn every_code_is_answered_or_refused() {
    for number in 0..=u16::MAX {
        let frame = masked(0x88, &closing(number, "why"));
        let outcome = fed(server(Log::default(), options()), &[&frame]);
        if CloseCode::new(number).is_some() {
            assert_eq!(outcome.heard, [Heard::Close(Some(number), "why".into())]);
            assert_eq!(outcome.sent, unmasked(0x88, &closing(number, "")));
            assert_eq!(outcome.ended.as_deref(), Some("finished"));
        } else {
            assert_eq!(outcome.heard, []);
            assert_eq!(outcome.sent[..4], [0x88, outcome.sent[1], 0x03, 0xEA], "{number}");
            assert!(outcome.ended.is_some_and(|it| it.contains("must not be sent")), "{number}");
        }
    }
}

#[test]
fn a_close_without_a_code_has_an_answer_without_a_code() {
    let outcome = fed(server(Log::default(), options()), &[&masked(0x88, b"")]);
    assert_eq!(outcome.heard, [Heard::Close(None, String::new())]);
    assert_eq!(outcome.sent, unmasked(0x88, b""));
}

#[test]
fn either_side_closes_and_the_server_ends_the_connection() {
    for server_begins in [false, true] {
        let (mut client, mut server) =
            (client(Log::default(), options()), server(Log::default(), options()));
        let first = if server_begins { &mut server } else { &mut client };
        say(first, Heard::Close(Some(4000), "enough".into()), Flow::Continue);
        assert!(first.reason().is_none());
        exchange(&mut client, &mut server);
        let second = if server_begins { &mut client } else { &mut server };
        assert_eq!(log(second).heard, [Heard::Close(Some(4000), "enough".into())]);
        let first = if server_begins { &mut server } else { &mut client };
        assert_eq!(log(first).heard, [], "it knows that it has closed");
        // The server shuts down, and the client follows.
        assert!(server.is_shut_down() && !client.is_shut_down());
        client.end_input(&mut ());
        server.end_input(&mut ());
        assert!(is_over(&client) && is_over(&server));
    }
}

#[test]
fn both_sides_close_at_the_same_time() {
    let (mut client, mut server) =
        (client(Log::default(), options()), server(Log::default(), options()));
    for end in [&mut client, &mut server] {
        say(end, Heard::Close(Some(1000), String::new()), Flow::Continue);
    }
    exchange(&mut client, &mut server);
    client.end_input(&mut ());
    server.end_input(&mut ());
    assert!(is_over(&client) && is_over(&server));
}

#[test]
fn a_service_that_returns_close_closes_as_the_rfc_says() {
    let (mut client, mut server) =
        (client(Log::default(), options()), server(Log::default(), options()));
    say(&mut server, Heard::Text("last".into()), Flow::Close);
    exchange(&mut client, &mut server);
    let heard = [Heard::Text("last".into()), Heard::Close(Some(1000), String::new())];
    assert_eq!(log(&mut client).heard, heard);
    assert!(server.is_shut_down());
}

#[test]
fn what_comes_after_a_close_frame_is_dropped() {
    // Of the peer: it may still send what it had begun.
    let mut end = server(Log::echo(), options());
    say(&mut end, Heard::Close(Some(1001), String::new()), Flow::Continue);
    assert_eq!(end.take_sent(), unmasked(0x88, &closing(1001, "")));
    end.feed(&masked(0x01, b"te"), &mut ());
    end.feed(&masked(0x89, b"ping"), &mut ());
    end.feed(&masked(0x80, b"xt"), &mut ());
    end.feed(&masked(0x82, &[0; 300])[..200], &mut ());
    end.feed(&masked(0x82, &[0; 300])[200..], &mut ());
    say(&mut end, Heard::Text("late".into()), Flow::Continue);
    assert!(end.take_sent().is_empty());
    end.feed(&masked(0x88, &closing(1001, "")), &mut ());
    assert!(end.is_shut_down());
    assert_eq!(log(&mut end).heard, []);
    // After the peer's own close frame, even nonsense is.
    let input = [masked(0x88, b""), b"nonsense".to_vec()].concat();
    let outcome = fed(server(Log::default(), options()), &[&input]);
    assert_eq!(outcome.ended.as_deref(), Some("finished"));
}

#[test]
fn a_peer_that_does_not_answer_a_close_has_five_seconds() {
    let mut end = server(Log::default(), options());
    say(&mut end, Heard::Close(Some(1000), String::new()), Flow::Continue);
    end.pass(Duration::from_millis(4999), &mut ());
    assert!(!end.is_shut_down());
    end.pass(Duration::from_millis(1), &mut ());
    assert!(end.is_shut_down());
    end.end_input(&mut ());
    assert!(matches!(end.reason(), Some(Reason::Deadline)), "{:?}", end.reason());
}

#[test]
fn a_client_waits_five_seconds_for_the_server_to_end_the_connection() {
    let mut end = client(Log::default(), options());
    end.feed(&unmasked(0x88, &closing(1000, "")), &mut ());
    end.pass(Duration::from_millis(4999), &mut ());
    assert!(!end.is_shut_down());
    end.pass(Duration::from_millis(1), &mut ());
    assert!(end.is_shut_down());
}

#[test]
fn a_stream_that_ends_without_a_close_frame_is_told_apart() {
    for input in [Vec::new(), masked(0x81, b"whole"), masked(0x81, b"part")[..7].to_vec()] {
        let outcome = fed(server(Log::default(), options()), &[&input]);
        assert_eq!(outcome.ended.as_deref(), Some(UNCLOSED));
        assert_eq!(outcome.sent, b"");
    }
}

#[test]
fn a_loop_that_stops_says_that_it_goes_away() {
    let mut end = server(Log::default(), options());
    end.stop(&mut ());
    assert_eq!(end.take_sent(), unmasked(0x88, &closing(1001, "")));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let mut end = server(Log::default(), options());
    let reason = format!("x{}", "ä".repeat(CLOSE_REASON_MAX));
    say(&mut end, Heard::Close(Some(1000), reason.clone()), Flow::Continue);
    assert_eq!(end.take_sent(), unmasked(0x88, &closing(1000, &reason[..CLOSE_REASON_MAX])));
}

#[test]
fn a_paused_service_that_closes_still_hears_the_answer() {
    let mut end = server(Log { pauses: true, ..Log::default() }, options());
    end.feed(&[masked(0x81, b"one"), masked(0x81, b"two")].concat(), &mut ());
    assert_eq!(log(&mut end).heard, [Heard::Text("one".into())]);
    say(&mut end, Heard::Close(Some(1000), String::new()), Flow::Pause);
    end.feed(&masked(0x88, &closing(1000, "")), &mut ());
    assert!(end.is_shut_down());
    assert_eq!(log(&mut end).heard, [Heard::Text("one".into())]);
}
