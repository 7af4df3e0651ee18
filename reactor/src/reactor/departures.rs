//! Connections that another process takes over.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use log::debug;

use crate::reactor::core::Core;
use crate::source::registration::Sharing;
use crate::source::table::Phase;
use crate::{LoopCx, Reactor, Reason, Role, Tag, Token};

/// What a loop says while it hands its connections over ([`Cx::hand_over`](crate::Cx::hand_over)).
#[derive(Debug)]
pub enum Departure {
    /// A connection for the other process. It is frozen until [`Cx::departed`](crate::Cx::departed)
    /// or [`Cx::stays`](crate::Cx::stays) is called with its token.
    Connection {
        /// The connection in this loop.
        token: Token,
        /// A duplicate of its descriptor, to be passed on ([`send_descriptors`]).
        ///
        /// [`send_descriptors`]: crate::send_descriptors
        descriptor: OwnedFd,
        /// What its handler says of it ([`Handler::save`](crate::Handler::save)).
        state: Vec<u8>,
    },
    /// No connection is left that can be handed over, and all were answered.
    Finished {
        /// How many connections another process goes on with.
        departed: usize,
        /// How many could not be handed over, or were not taken. They go on here.
        stayed: usize,
    },
}

type Receive<A> = Box<dyn FnMut(Departure, &mut LoopCx<'_, A>)>;

/// The connections of a loop that are being handed over.
pub(crate) struct Departures<A> {
    /// Those that have not been asked yet.
    waiting: VecDeque<Tag>,
    /// Those that are frozen, and have no answer yet.
    away: Vec<Tag>,
    /// Those that were not taken, and have not been told.
    returned: Vec<Tag>,
    away_max: usize,
    departed: usize,
    stayed: usize,
    /// `None` while it is called.
    receive: Option<Receive<A>>,
}

impl<A> Departures<A> {
    /// Returns whether there is something to do that does not wait for an answer.
    fn is_due(&self) -> bool {
        let may_ask = !self.waiting.is_empty() && self.away.len() < self.away_max;
        may_ask || !self.returned.is_empty() || self.is_done()
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.away.is_empty() && self.returned.is_empty()
    }
}

impl<A> Core<A> {
    /// Makes the loop go on with handing connections over in this turn or the next.
    fn go_on_with_departures(&self) {
        if self.departures.as_ref().is_some_and(|it| it.is_due()) {
            self.notifier.set_pending();
        }
    }

    fn answer(&mut self, tag: Tag) -> Option<&mut Departures<A>> {
        let departures = self.departures.as_deref_mut()?;
        let place = departures.away.iter().position(|away| *away == tag)?;
        departures.away.swap_remove(place);
        Some(departures)
    }
}

impl<A: 'static, P> crate::Cx<'_, A, P> {
    /// Hands the connections of this loop over to another process, which goes on with them: a new
    /// program that replaces this one. Each connection whose handler can say its state as bytes
    /// ([`Handler::save`](crate::Handler::save)) is given to `receive` and frozen, up to `away_max`
    /// at a time, until it is answered with [`departed`](Self::departed) or [`stays`](Self::stays).
    /// The others go on here. At the end, `receive` is told so and dropped.
    ///
    /// Connections that are registered later are not handed over, so a program ends its listeners
    /// before.
    ///
    /// # Errors
    /// When the loop hands its connections over already, stops, or is a copy that a fork has made, or
    /// when `away_max` is zero.
    pub fn hand_over(
        &mut self,
        away_max: usize,
        receive: impl FnMut(Departure, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<()> {
        self.core.refuse_copy()?;
        if away_max == 0 {
            let text = "away_max is 0: no connection could be handed over";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if self.core.departures.is_some() || self.is_stopping() {
            return Err(io::Error::other("the loop stops, or hands its connections over already"));
        }
        let sources = &self.core.sources;
        let is_connection =
            |tag: &Tag| sources.get(*tag).is_some_and(|it| it.role == Role::Connection);
        self.core.departures = Some(Box::new(Departures {
            waiting: sources.tags().into_iter().filter(is_connection).collect(),
            away: Vec::new(),
            returned: Vec::new(),
            away_max,
            departed: 0,
            stayed: 0,
            receive: Some(Box::new(receive)),
        }));
        self.core.notifier.signal();
        self.core.go_on_with_departures();
        Ok(())
    }

    /// Returns a duplicate of the descriptor of a source, to be passed on to another process
    /// ([`send_descriptors`](crate::send_descriptors)). `None` if the source has ended, or has no
    /// descriptor.
    ///
    /// # Errors
    /// When the process has no free descriptor (`dup(2)`).
    pub fn duplicate_fd(&mut self, source: Token) -> io::Result<Option<OwnedFd>> {
        let tag = source.tag_in(self.core.home);
        let descriptor = self.core.own(tag).and_then(|own| own.fd.as_ref());
        let duplicate = descriptor.map(OwnedFd::try_clone).transpose()?;
        if let (Some(_), Some(source)) = (&duplicate, self.core.sources.get_mut(tag))
            && source.sharing == Sharing::Excluded
        {
            source.sharing = Sharing::Possible;
        }
        Ok(duplicate)
    }

    /// Ends a source with whose descriptor another process goes on, with [`Reason::HandedOver`]. A
    /// listener leaves the file of its Unix socket to that process. What waits in the socket stays.
    pub fn release(&mut self, source: Token) {
        self.core.end(source.tag_in(self.core.home), Reason::HandedOver);
    }

    /// Says that another process goes on with a connection, which ends here with
    /// [`Reason::HandedOver`]. It has no effect unless the connection waits for its answer.
    pub fn departed(&mut self, connection: Token) {
        let tag = connection.tag_in(self.core.home);
        if let Some(departures) = self.core.answer(tag) {
            departures.departed += 1;
            self.core.end(tag, Reason::HandedOver);
            self.core.go_on_with_departures();
        }
    }

    /// Says that no other process has taken a connection, which goes on here. It has no effect
    /// unless the connection waits for its answer.
    pub fn stays(&mut self, connection: Token) {
        let tag = connection.tag_in(self.core.home);
        if let Some(departures) = self.core.answer(tag) {
            departures.returned.push(tag);
            self.core.go_on_with_departures();
        }
    }

    /// Stops handing over: all connections that were not answered stay, and no other is given away.
    pub fn stop_handing_over(&mut self) {
        let sources = &self.core.sources;
        let is_live = |tag: &Tag| sources.get(*tag).is_some_and(|it| it.phase == Phase::Live);
        if let Some(departures) = self.core.departures.as_deref_mut() {
            departures.stayed += departures.waiting.drain(..).filter(is_live).count();
            departures.returned.append(&mut departures.away);
            self.core.go_on_with_departures();
        }
    }
}

impl<A: 'static> Reactor<A> {
    /// Asks connections to be handed over, and tells those that were not taken, a bounded number in
    /// a turn.
    #[cold]
    pub(crate) fn hand_over(&mut self) {
        self.tell_returned();
        for _ in 0..self.core.limits.calls_per_turn {
            let Some(departures) = self.core.departures.as_deref_mut() else { return };
            if departures.away.len() >= departures.away_max {
                break;
            }
            let Some(tag) = departures.waiting.pop_front() else { break };
            self.give_away(tag);
        }
        if self.core.departures.as_ref().is_some_and(|it| it.is_done())
            && let Some(departures) = self.core.departures.take()
            && let Some(mut receive) = departures.receive
        {
            let Departures { departed, stayed, .. } = *departures;
            let mut cx = LoopCx::new(&mut self.core, &mut self.app, Tag::NONE);
            receive(Departure::Finished { departed, stayed }, &mut cx);
            self.adopt();
        }
        self.core.go_on_with_departures();
    }

    /// Tells the connections that were not taken that they go on here.
    fn tell_returned(&mut self) {
        let Some(departures) = self.core.departures.as_deref_mut() else { return };
        let returned = std::mem::take(&mut departures.returned);
        departures.stayed += returned.len();
        for tag in returned {
            self.tell(tag, |handler, cx| handler.stays(cx));
        }
    }

    /// Gives a connection to the receiver, if its handler can save it. One that has ended while it
    /// waited neither departs nor stays.
    fn give_away(&mut self, tag: Tag) {
        if self.core.sources.get(tag).is_none_or(|source| source.phase != Phase::Live) {
            return;
        }
        let mut state = None;
        self.tell(tag, |handler, cx| {
            state = handler.save(cx);
            Ok(())
        });
        let descriptor = match (&state, self.core.sources.get_mut(tag)) {
            (Some(_), Some(source)) if source.phase == Phase::Live => {
                // Another process gets a copy, so closing ours does not end it for the backend.
                source.sharing = Sharing::Possible;
                source.own.fd.as_ref().map(OwnedFd::try_clone)
            }
            _ => None,
        };
        let Some(departures) = self.core.departures.as_deref_mut() else { return };
        let (Some(state), Some(descriptor)) = (state, descriptor) else {
            departures.stayed += 1;
            return;
        };
        let descriptor = match descriptor {
            Ok(descriptor) => descriptor,
            Err(error) => {
                debug!("{tag}: it stays, since its descriptor cannot be duplicated: {error}");
                departures.returned.push(tag);
                return;
            }
        };
        departures.away.push(tag);
        let Some(mut receive) = departures.receive.take() else { return };
        let token = Token::new(tag, self.core.home);
        let mut cx = LoopCx::new(&mut self.core, &mut self.app, Tag::NONE);
        receive(Departure::Connection { token, descriptor, state }, &mut cx);
        if let Some(departures) = self.core.departures.as_deref_mut() {
            departures.receive = Some(receive);
        }
        self.adopt();
    }
}
