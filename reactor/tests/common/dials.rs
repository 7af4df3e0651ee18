//! Connections of which a test is told everything.

use std::io;
use std::net::TcpListener;

use reactor::{
    Address, ConnectError, ConnectOptions, Connector, Cx, Expired, Handler, Interest, Location,
    LoopCx, Reactor, Reason, Registration, Role, Target, Token,
};

use super::turn_until;

/// What was told of connections, in order.
#[derive(Default)]
pub(crate) struct App {
    pub(crate) told: Vec<String>,
    pub(crate) errors: Vec<ConnectError>,
}

/// Writes down what it is told.
pub(crate) struct Notes;

impl Handler<App> for Notes {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        let word = if cx.was_woken() { "ready, woken" } else { "ready" };
        cx.app.told.push(word.to_owned());
        Ok(())
    }

    fn timer(&mut self, timer: Expired, _cx: &mut Cx<'_, App>) -> io::Result<()> {
        panic!("it has armed no timer: {timer:?}")
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, App>) {
        cx.app.told.push(reason.to_string());
        if let Reason::Failed { operation: "connect", error } = reason {
            let error = error.into_inner().expect("it is more than a number");
            cx.app.errors.push(*error.downcast().expect("it is an error of connecting"));
        }
    }
}

pub(crate) fn connect(
    target: impl Into<Target>,
    options: &ConnectOptions,
    cx: &mut LoopCx<'_, App>,
) -> Token {
    let registration = Registration::new(Interest::NONE).role(Role::Connection);
    let connector = Connector::new(target, options);
    connector.register(registration, Notes, cx).expect("the loop takes it")
}

/// Returns what a connection came to that has to fail.
pub(crate) fn fails(
    reactor: &mut Reactor<App>,
    target: impl Into<Target>,
    options: &ConnectOptions,
) -> ConnectError {
    let target = target.into();
    connect(target.clone(), options, &mut reactor.cx());
    assert!(reactor.app.errors.is_empty(), "nothing is told before the call returns");
    turn_until(reactor, |reactor| !reactor.app.errors.is_empty());
    assert_eq!(reactor.cx().connections(), 0);
    let error = reactor.app.errors.remove(0);
    assert_eq!(error.target(), &target);
    error
}

pub(crate) fn listening() -> (TcpListener, Address) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    (server, address)
}

/// Returns an address at which nothing listens.
pub(crate) fn refusing() -> Address {
    listening().1
}

pub(crate) fn location(text: &str) -> Location {
    text.parse().expect("it is a location")
}
