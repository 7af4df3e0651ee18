//! The source that follows the state of the network.

use std::io::{self, IoSlice};

use log::debug;
use protocol::netlink::{Event, FollowError, FollowLimits, Follower, Network, Next, Selection};

use super::socket::{Received, open, receive};
use crate::{Cx, Handler, Interest, LoopCx, Reason, Registration, Timeout, Token, sys};

/// How many bytes a datagram may have at first. The kernel makes dumps of up to 32 KiB.
const BUFFER_SIZE: usize = 64 * 1024;
/// How many it may have at most.
const BUFFER_SIZE_MAX: usize = 4 << 20;
/// How many datagrams are read before other sources have their turn.
const DATAGRAMS_PER_CALL: usize = 32;
/// How many entries are looked at after a dump before other sources have their turn.
const ENTRIES_PER_CALL: usize = 1024;

/// What a program wants to know of the network, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Which of links, addresses, routes and neighbours are followed. All, by default.
    pub selection: Selection,
    /// The size of the receive buffer in bytes (`SO_RCVBUF`, `socket(7)`), in which messages wait to be
    /// read. It counts some hundred bytes for each message besides its own, allows `net.core.rmem_max` at
    /// most, and doubles the value for its own needs. When it is full, the kernel drops messages, and
    /// everything is asked for again. With `None`, the default, it is `net.core.rmem_default`: room for
    /// some 100 changes of links.
    pub receive_buffer: Option<usize>,
    /// How much the state may take. When it takes more, the source ends.
    pub limits: FollowLimits,
}

impl<A: 'static, P> Cx<'_, A, P> {
    /// Follows the links, addresses, routes and neighbours of the network namespace of this thread (`rtnetlink(7)`):
    /// calls `call` for each that there is, then with [`Event::Complete`], and then for each change. No
    /// privilege is needed. Closing the token ends it.
    ///
    /// `call` gets the state that is known after each event, too. When the kernel has dropped messages
    /// because they were not read fast enough, or a dump was inconsistent, everything is asked for again,
    /// and the differences to the known state become events. So the known state always becomes that of
    /// the kernel (P30). The pause before that grows from 10 ms to a second while messages are lost.
    ///
    /// The kernel does not tell that IPv4 routes have ended with their link or their source address. So
    /// routes are asked for 50 ms after such a change.
    ///
    /// [`Event::Ended`] is the last event: the source was closed, the loop was stopped, the state takes
    /// more than [`FollowLimits::size_max`], or the kernel refuses to tell.
    ///
    /// ```
    /// use protocol::netlink::{Change, Event, Selection};
    /// use reactor::{NetworkOptions, Reactor};
    ///
    /// let mut reactor = Reactor::new(Vec::new())?;
    /// let selection = Selection { links: true, ..Selection::NONE };
    /// let options = NetworkOptions { selection, ..NetworkOptions::default() };
    /// reactor.cx().watch_network(&options, |event, network, cx| match event {
    ///     Event::Link(Change::Added(link)) => {
    ///         cx.app.push(String::from_utf8_lossy(link.name).into_owned());
    ///     }
    ///     Event::Link(Change::Changed { before, now }) => {
    ///         println!("{}: {:?}", now.index, now.differences(&before).collect::<Vec<_>>());
    ///     }
    ///     Event::Complete => {
    ///         assert_eq!(network.links().count(), cx.app.len());
    ///         // A daemon would go on.
    ///         cx.stop();
    ///     }
    ///     _ => {}
    /// })?;
    /// reactor.run()?;
    /// assert!(reactor.app.contains(&"lo".to_owned()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the kernel gives no socket. A simulated host has no netlink ([`sim`](crate::sim)).
    pub fn watch_network(
        &mut self,
        options: &NetworkOptions,
        call: impl FnMut(Event<'_>, &Network, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let (fd, port) = open(options)?;
        let watch = NetworkWatch {
            options: *options,
            follower: Follower::new(options.selection, options.limits, port),
            buffer: vec![0; BUFFER_SIZE],
            call,
        };
        let registration = Registration::new(Interest::READ).known_nonblocking();
        let token = self.register(fd, registration, watch)?;
        // It makes its first request when it runs.
        self.wake(token);
        Ok(token)
    }
}

struct NetworkWatch<F> {
    options: NetworkOptions,
    follower: Follower,
    buffer: Vec<u8>,
    call: F,
}

impl<F> NetworkWatch<F> {
    /// Reads a datagram, and reports what it says. Returns whether there was one.
    fn take<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<bool>
    where
        F: FnMut(Event<'_>, &Network, &mut LoopCx<'_, A>),
    {
        let buffer = &mut self.buffer;
        let received = cx.try_io("recvfrom", Interest::READ, |fd| receive(fd, buffer))?;
        let Some(received) = received else { return Ok(false) };
        let now = cx.now();
        match received {
            Received::Datagram(size) => {
                let mut outside = cx.outside();
                let mut call = |event: Event<'_>, network: &Network| {
                    (self.call)(event, network, &mut outside);
                };
                match self.follower.datagram(&self.buffer[..size], now, &mut call) {
                    Err(FollowError::Refused(topic, number)) if is_passing(number) => {
                        debug!("the dump of {} failed, error {number}: once more", topic.name());
                        self.reopen(cx)?;
                    }
                    Err(FollowError::TooMuch(_)) => {
                        cx.end(Reason::Limit(
                            "size of the known links, addresses, routes and neighbours",
                        ));
                    }
                    Err(error) => cx.end(Reason::Refused(Box::new(error))),
                    Ok(()) => {}
                }
            }
            Received::CutOff(size) if size <= BUFFER_SIZE_MAX => {
                self.buffer.resize(size.next_power_of_two(), 0);
                self.reopen(cx)?;
            }
            Received::CutOff(size) => {
                let text = format!("a message of {size} bytes, of {BUFFER_SIZE_MAX} at most");
                cx.end(Reason::Refused(text.into()));
            }
            Received::Foreign => debug!("another process has sent a message: ignored"),
            Received::Lost => {
                let mut outside = cx.outside();
                self.follower.overrun(now, &mut |event, network| {
                    (self.call)(event, network, &mut outside);
                });
            }
        }
        Ok(true)
    }

    /// Goes on with a new socket, on which no dump is running.
    fn reopen<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: FnMut(Event<'_>, &Network, &mut LoopCx<'_, A>),
    {
        let (fd, port) = open(&self.options)?;
        cx.replace_fd(fd)?;
        let (now, mut outside) = (cx.now(), cx.outside());
        self.follower.restart(port, now, &mut |event, network| {
            (self.call)(event, network, &mut outside);
        });
        Ok(())
    }

    /// Makes the next request, or sets the time for it, once everything is read.
    fn ask<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let now = cx.now();
        match self.follower.next(now) {
            Next::Send(request) => {
                cx.set_timeout(None);
                cx.try_io("send", Interest::NONE, |fd| {
                    sys::send(fd, &[IoSlice::new(&request)]).map(Some)
                })?;
            }
            Next::At(at) => cx.set_timeout(Some(at.saturating_duration_since(now))),
            Next::Read => cx.set_timeout(None),
        }
        Ok(())
    }
}

/// Returns whether an error of a dump passes: interrupted, out of memory, or another dump is running.
fn is_passing(number: i32) -> bool {
    matches!(number, libc::EINTR | libc::EAGAIN | libc::ENOMEM | libc::EBUSY | libc::ENOBUFS)
}

impl<A: 'static, F> Handler<A> for NetworkWatch<F>
where
    F: FnMut(Event<'_>, &Network, &mut LoopCx<'_, A>),
{
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        for _ in 0..DATAGRAMS_PER_CALL {
            if self.follower.is_sweeping() {
                let mut outside = cx.outside();
                self.follower.sweep(ENTRIES_PER_CALL, &mut |event, network| {
                    (self.call)(event, network, &mut outside);
                });
                if self.follower.is_sweeping() {
                    break;
                }
            }
            if !self.take(cx)? {
                return self.ask(cx);
            }
        }
        let me = cx.me();
        cx.wake(me);
        Ok(())
    }

    /// The pause before the next request has passed.
    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.ready(cx)
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The other process reads the old socket too.
        self.reopen(cx)?;
        let me = cx.me();
        cx.wake(me);
        Ok(())
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        (self.call)(Event::Ended(&reason), self.follower.network(), cx);
    }

    fn name(&self) -> &'static str {
        "reactor::Cx::watch_network"
    }
}
