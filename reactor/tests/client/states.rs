//! The states of a client: each is visible, and logged once.

use std::cell::RefCell;
use std::time::Duration;

use log::Level::{self, Debug, Info, Warn};
use reactor::{Client, ClientOptions, ClientState, Location, LoopLimits, Reactor, WhenIdle};

use super::common::{on_every_backend, turn_until};
use super::{App, LONG, MS, OPTIONS, Talk, ask, open, server, shorts, vacant};

thread_local! {
    /// The log lines about clients of this thread, and so of the loop that runs on it.
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if text.starts_with("client ") {
            LINES.with_borrow_mut(|lines| lines.push((record.level(), text)));
        }
    }

    fn flush(&self) {}
}

fn capture() {
    // Each test of this file sets it, and the first is heard.
    let _ = log::set_logger(&Lines);
    log::set_max_level(log::LevelFilter::Debug);
    LINES.take();
}

/// Turns the loop until the client has the last of some states. It has to have all of them, in
/// order, and each change has to be logged.
fn passes(
    reactor: &mut Reactor<App>,
    client: &Client<App, Talk>,
    states: &[ClientState],
    logged: &[(Level, &str)],
) {
    let mut seen = Vec::new();
    turn_until(reactor, |_| {
        if seen.last() != Some(&client.state()) {
            seen.push(client.state());
        }
        seen.len() >= states.len()
    });
    // What else the last change leads to.
    (0..2).for_each(|_| reactor.run_once(Some(Duration::ZERO)).expect("it turns"));
    assert_eq!(seen, states);
    let target = client.target().expect("it has one");
    let lines: Vec<(Level, String)> = LINES
        .take()
        .into_iter()
        .map(|(level, line)| {
            let line = line.strip_prefix(&format!("client of {target}: ")).expect("it is named");
            let pause = line.find("; connecting again in ");
            (
                level,
                line[..pause.map_or(line.len(), |at| at + "; connecting again".len())].to_owned(),
            )
        })
        .collect();
    let expected: Vec<_> =
        logged.iter().map(|(level, line)| (*level, (*line).to_owned())).collect();
    assert_eq!(lines, expected);
}

#[test]
fn each_state_is_visible_and_logged_once() {
    use ClientState::{BackingOff, Closed, Connecting, Idle, Resolving, Up};
    capture();
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let reactor = &mut reactor;
        let address = server(reactor).to_string();
        let port = address.rsplit(':').next().expect("it has a port");
        let target: Location = format!("localhost:{port}").parse().expect("it is a location");
        let when_idle = WhenIdle::LetGo(Duration::from_millis(20));
        let client = open(reactor, target, ClientOptions { when_idle, ..OPTIONS });
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        passes(reactor, &client, &[Idle], &[]);
        let comes_up = [(Debug, "resolving"), (Debug, "connecting"), (Info, "up")];

        ask(&client, "hold");
        passes(reactor, &client, &[Idle, Resolving, Connecting, Up], &comes_up);

        ask(&client, "die");
        let fails =
            [(Debug, "backing off"), (Warn, "peer closed; connecting again"), (Debug, "idle")];
        passes(reactor, &client, &[Up, BackingOff, Idle], &fails);
        assert_eq!(shorts(reactor), ["hold=unknown", "die=unknown"]);

        ask(&client, "a");
        passes(reactor, &client, &[Idle, Resolving, Connecting, Up], &comes_up);
        let lets_go = [(Debug, "idle"), (Info, "the idle connection was closed")];
        passes(reactor, &client, &[Up, Idle], &lets_go);

        client.close();
        passes(reactor, &client, &[Idle, Closed], &[(Info, "closed")]);
    });
}

#[test]
fn an_attempt_that_fails_and_a_move_are_logged_once() {
    use ClientState::{BackingOff, Closed, Connecting, Idle, Up};
    capture();
    on_every_backend::<App>(LoopLimits::DEFAULT, |mut reactor| {
        let reactor = &mut reactor;
        let nowhere = vacant();
        let options = ClientOptions { pause_min: LONG, pause_max: LONG, ..OPTIONS };
        let client = open(reactor, nowhere.clone(), options);
        let refused = format!(
            "connect: {nowhere}: refused (ECONNREFUSED in connect): nothing listens there; is the \
             server running?; connecting again"
        );
        let fails = [(Debug, "connecting"), (Debug, "backing off"), (Warn, refused.as_str())];
        passes(reactor, &client, &[Idle, Connecting, BackingOff], &fails);

        let first = server(reactor);
        client.set_target(Some(first));
        passes(
            reactor,
            &client,
            &[BackingOff, Connecting, Up],
            &[(Debug, "connecting"), (Info, "up")],
        );
        // A move is no failure: nothing is backed off.
        let second = server(reactor);
        client.set_target(Some(second));
        turn_until(reactor, |_| client.state() != Up);
        assert!(client.failure().is_none());
        turn_until(reactor, |_| client.state() == Up);
        let levels: Vec<Level> = LINES.take().into_iter().map(|(level, _)| level).collect();
        assert_eq!(levels, [Debug, Debug, Info]);

        client.stop_gracefully();
        passes(reactor, &client, &[Up, Closed], &[(Info, "closed")]);
        reactor.run_once(Some(MS)).expect("it turns");
        assert_eq!(LINES.take(), []);
    });
}
