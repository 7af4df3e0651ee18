//! Pushes of RESP3 that are no messages: keys that have changed (`CLIENT TRACKING`).

use clients::resp::{Connection, Message, Options, Tracking};
use reactor::{ClientState, Reactor};
use testkit::Redis;

use super::{App, ask, on_every_backend, open, resp3, turn_until};

fn keys(keys: &[&str]) -> Message {
    Message::Invalidated(Some(keys.iter().map(|key| key.as_bytes().to_vec()).collect()))
}

/// Turns the loop until a message has come, and takes it.
fn next(reactor: &mut Reactor<App>) -> Message {
    turn_until(reactor, |app| !app.messages.is_empty());
    reactor.app.messages.remove(0)
}

#[test]
fn keys_that_change_are_reported_again_on_each_connection() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut other = Connection::connect(&redis.address()).expect("it is there");
    on_every_backend(|reactor| {
        let options = Options { tracking: Some(Tracking::Read), ..resp3() };
        let client = open(reactor, &redis.address(), &options);
        for round in 1..=3 {
            assert!(ask(reactor, &client, &["MGET", "a", "b"]).is_ok());
            other.call(["SET", "unread", "1"]).expect("it is answered");
            other.call(["SET", "a", "1"]).expect("it is answered");
            assert_eq!(next(reactor), keys(&["a"]));
            // A change is reported once for each time that a key was read.
            other.call(["SET", "a", "2"]).expect("it is answered");
            other.call(["DEL", "a"]).expect("it is answered");
            other.call(["SET", "b", "2"]).expect("it is answered");
            assert_eq!(next(reactor), keys(&["b"]));
            assert!(ask(reactor, &client, &["GET", "a"]).is_ok());
            other.call(["FLUSHALL"]).expect("it is answered");
            assert_eq!(next(reactor), Message::Invalidated(None));
            assert_eq!(reactor.app.messages, []);
            let id = ask(reactor, &client, &["CLIENT", "ID"]).expect("it is answered");
            let id = id.as_integer().expect("it is a number").to_string();
            other.call(["CLIENT", "KILL", "ID", &id]).expect("it is answered");
            turn_until(reactor, |app| app.connects == round + 1);
        }
        client.close();
    });
}

#[test]
fn keys_of_a_prefix_are_reported_whether_they_were_read_or_not() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut other = Connection::connect(&redis.address()).expect("it is there");
    let prefixes = ["user:", "shop:"].map(str::to_owned).to_vec();
    let options = Options { tracking: Some(Tracking::Prefixes(prefixes)), ..resp3() };
    on_every_backend(|reactor| {
        let client = open(reactor, &redis.address(), &options);
        turn_until(reactor, |app| app.connects == 1);
        for key in ["user:1", "other", "shop:2"] {
            other.call(["SET", key, "1"]).expect("it is answered");
        }
        assert_eq!([next(reactor), next(reactor)], [keys(&["user:1"]), keys(&["shop:2"])]);
        client.close();
    });
    // A blocking connection gets the same.
    let mut connection = options.connect(&redis.address()).expect("it is there");
    other.call(["SET", "user:3", "1"]).expect("it is answered");
    let message = connection.message(Some(testkit::PATIENCE)).expect("it goes on");
    assert_eq!(message, Some(keys(&["user:3"])));
}

#[test]
fn a_server_that_refuses_to_report_is_not_connected_to() {
    let Some(redis) = Redis::start(&[]) else { return };
    // One begins with the other.
    let prefixes = ["user", "user:"].map(str::to_owned).to_vec();
    let options = Options { tracking: Some(Tracking::Prefixes(prefixes)), ..resp3() };
    let error = options.connect(&redis.address()).expect_err("it refuses").to_string();
    assert!(error.starts_with("CLIENT at"), "{error}");
    on_every_backend(|reactor| {
        let client = open(reactor, &redis.address(), &options);
        turn_until(reactor, |_| client.failure().is_some());
        let failure = client.failure().expect("there is one").to_string();
        assert!(failure.contains("CLIENT at"), "{failure}");
        assert_ne!(client.state(), ClientState::Up);
        client.close();
    });
    // Without RESP3, Redis would accept that and report nothing.
    let options = Options { tracking: Some(Tracking::Read), ..Options::default() };
    let error = options.connect(&redis.address()).expect_err("it is of no use").to_string();
    assert!(error.contains("tracking needs RESP3"), "{error}");
}
