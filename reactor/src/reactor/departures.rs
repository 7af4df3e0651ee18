//! Connections that another process takes over.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use log::debug;

use crate::reactor::core::Core;
use crate::source::registration::Sharing;
use crate::source::table::Phase;
use crate::{LoopCx, Reactor, Reason, Role, Tag, Token};

/// What a loop says while it hands its connections over ([`Cx::hand_over`](crate::Cx::hand_over),
/// [`Cx::hand_over_together`](crate::Cx::hand_over_together)).
#[derive(Debug)]
pub enum Departure {
    /// All connections are frozen, from one instant on. None is given away before
    /// [`Cx::give_away`](crate::Cx::give_away) is called. Said only where they are handed over
    /// together.
    Frozen {
        /// How many there are. Each is told of later, as a `Connection` or as `Unsaved`.
        connections: usize,
    },
    /// A frozen connection whose handler cannot save it. Said only where all are handed over together:
    /// it stays frozen to the end.
    Unsaved {
        /// The connection in this loop.
        token: Token,
    },
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

/// When connections are frozen, and given away.
enum Pace {
    /// One after the other, up to this many at a time.
    Each { away_max: usize },
    /// Together: all are to be frozen.
    Announced,
    /// All are frozen, and the owner has asked for this many more.
    Frozen { asked: usize },
    /// The owner has said how it ends.
    Over,
}

type Receive<A> = Box<dyn FnMut(Departure, &mut LoopCx<'_, A>)>;

/// The connections of a loop that are being handed over.
pub(crate) struct Departures<A> {
    /// Those that have not been asked yet.
    waiting: VecDeque<Tag>,
    /// Those that are frozen, and have no answer yet.
    away: Vec<Tag>,
    /// Those that cannot be handed over, and stay frozen as long as the others.
    kept: Vec<Tag>,
    /// Those that were not taken, and have not been told.
    returned: Vec<Tag>,
    pace: Pace,
    departed: usize,
    stayed: usize,
    /// `None` while it is called.
    receive: Option<Receive<A>>,
}

impl<A> Departures<A> {
    fn new(pace: Pace, receive: Receive<A>) -> Self {
        Self {
            waiting: VecDeque::new(),
            away: Vec::new(),
            kept: Vec::new(),
            returned: Vec::new(),
            pace,
            departed: 0,
            stayed: 0,
            receive: Some(receive),
        }
    }

    /// Returns whether there is something to do that does not wait for an answer.
    fn is_due(&self) -> bool {
        let is_announced = matches!(self.pace, Pace::Announced);
        is_announced || self.may_give() || !self.returned.is_empty() || self.is_done()
    }

    /// Returns whether the next connection may be given away.
    fn may_give(&self) -> bool {
        let has_room = match self.pace {
            Pace::Each { away_max } => self.away.len() < away_max,
            Pace::Frozen { asked } => asked > 0,
            Pace::Announced | Pace::Over => false,
        };
        has_room && !self.waiting.is_empty()
    }

    fn is_done(&self) -> bool {
        let is_open = matches!(self.pace, Pace::Announced | Pace::Frozen { .. });
        !is_open && self.waiting.is_empty() && self.away.is_empty() && self.returned.is_empty()
    }

    /// Returns whether a connection is served, as if none were handed over.
    pub(super) fn leaves_alone(&self, tag: Tag) -> bool {
        !matches!(self.pace, Pace::Frozen { .. }) && !self.away.contains(&tag)
    }

    /// Notes a connection that another process does not take.
    fn keep(&mut self, tag: Tag) {
        match self.pace {
            Pace::Frozen { .. } => self.kept.push(tag),
            _ => self.returned.push(tag),
        }
    }
}

impl<A> Core<A> {
    /// Makes the loop go on with handing connections over in this turn or the next.
    fn go_on_with_departures(&self) {
        if self.departures.as_ref().is_some_and(|it| it.is_due()) {
            self.notifier.set_pending();
        }
    }

    fn connection_tags(&self) -> VecDeque<Tag> {
        let is_connection =
            |tag: &Tag| self.sources.get(*tag).is_some_and(|it| it.role == Role::Connection);
        self.sources.tags().into_iter().filter(is_connection).collect()
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
        if away_max == 0 {
            let text = "away_max is 0: no connection could be handed over";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut departures = Departures::new(Pace::Each { away_max }, Box::new(receive));
        departures.waiting = self.core.connection_tags();
        self.begin_departures(departures)
    }

    /// Hands the connections of this loop over to another process together, since they share a state
    /// that goes along. All are frozen at one instant, and `receive` is told
    /// [`Departure::Frozen`]; no session is called any more. It then calls
    /// [`give_away`](Self::give_away) for as many connections as it can pass on. At the end, it calls
    /// either [`finish_handing_over`](Self::finish_handing_over) or
    /// [`stop_handing_over`](Self::stop_handing_over): until then, all of them could go on here as if
    /// nothing had been.
    ///
    /// Connections whose session's part has ended are not frozen: they only send the rest of their
    /// output, and end here.
    ///
    /// # Errors
    /// As for [`hand_over`](Self::hand_over).
    pub fn hand_over_together(
        &mut self,
        receive: impl FnMut(Departure, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<()> {
        self.begin_departures(Departures::new(Pace::Announced, Box::new(receive)))
    }

    fn begin_departures(&mut self, departures: Departures<A>) -> io::Result<()> {
        self.core.refuse_copy()?;
        if self.core.departures.is_some() || self.is_stopping() {
            return Err(io::Error::other("the loop stops, or hands its connections over already"));
        }
        self.core.departures = Some(Box::new(departures));
        self.core.notifier.signal();
        self.core.go_on_with_departures();
        Ok(())
    }

    /// Asks for `count` more of the connections that are handed over together. Each is told of as
    /// [`Departure::Connection`] or [`Departure::Unsaved`].
    pub fn give_away(&mut self, count: usize) {
        if let Some(departures) = self.core.departures.as_deref_mut()
            && let Pace::Frozen { asked } = &mut departures.pace
        {
            *asked = asked.saturating_add(count);
            self.core.notifier.signal();
            self.core.go_on_with_departures();
        }
    }

    /// Says that another process goes on with all the connections that were given away together and
    /// not refused ([`stays`](Self::stays)). They end here with [`Reason::HandedOver`]. The others
    /// are thawed.
    pub fn finish_handing_over(&mut self) {
        let Some(departures) = self.core.departures.as_deref_mut() else { return };
        departures.pace = Pace::Over;
        departures.returned.append(&mut departures.kept);
        departures.returned.extend(departures.waiting.drain(..));
        let away = std::mem::take(&mut departures.away);
        departures.departed += away.len();
        away.into_iter().for_each(|tag| self.core.end(tag, Reason::HandedOver));
        self.core.notifier.signal();
        self.core.go_on_with_departures();
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

    /// Tells a source in this turn or the next that another process goes on with its descriptor
    /// ([`Handler::retired`](crate::Handler::retired)). It receives nothing more, and what waits in the
    /// socket stays there. It may finish what it has begun: a socket of datagrams sends the answers that
    /// are under way ([`Effects::set_busy`](protocol::Effects::set_busy)). Any other source ends with
    /// [`Reason::HandedOver`].
    pub fn retire(&mut self, source: Token) {
        self.core.retired.push_back(source.tag_in(self.core.home));
        self.core.notifier.signal();
        self.core.notifier.set_pending();
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

    /// Says that no other process has taken a connection, which goes on here: at once, or with the
    /// others if all are handed over together. It has no effect unless the connection waits for its
    /// answer.
    pub fn stays(&mut self, connection: Token) {
        let tag = connection.tag_in(self.core.home);
        if let Some(departures) = self.core.answer(tag) {
            departures.keep(tag);
            self.core.go_on_with_departures();
        }
    }

    /// Stops handing over: all connections that were not answered stay, and no other is given away.
    pub fn stop_handing_over(&mut self) {
        let sources = &self.core.sources;
        let is_live = |tag: &Tag| sources.get(*tag).is_some_and(|it| it.phase == Phase::Live);
        if let Some(departures) = self.core.departures.as_deref_mut() {
            let waiting = std::mem::take(&mut departures.waiting);
            match departures.pace {
                // They have not been frozen.
                Pace::Each { .. } | Pace::Announced => {
                    departures.stayed += waiting.into_iter().filter(is_live).count();
                }
                Pace::Frozen { .. } | Pace::Over => departures.returned.extend(waiting),
            }
            if !matches!(departures.pace, Pace::Each { .. }) {
                departures.pace = Pace::Over;
            }
            departures.returned.append(&mut departures.kept);
            departures.returned.append(&mut departures.away);
            self.core.notifier.signal();
            self.core.go_on_with_departures();
        }
    }
}

impl<A: 'static> Reactor<A> {
    /// Asks connections to be handed over, and tells those that were not taken, a bounded number in
    /// a turn.
    #[cold]
    pub(crate) fn hand_over(&mut self) {
        while let Some(tag) = self.core.retired.pop_front() {
            self.tell(tag, |handler, cx| handler.retired(cx));
        }
        self.thaw();
        self.tell_returned();
        if self.core.departures.as_ref().is_some_and(|it| matches!(it.pace, Pace::Announced)) {
            self.freeze_all();
        }
        for _ in 0..self.core.limits.calls_per_turn {
            let Some(departures) = self.core.departures.as_deref_mut() else { return };
            if !departures.may_give() {
                break;
            }
            let Some(tag) = departures.waiting.pop_front() else { break };
            if let Pace::Frozen { asked } = &mut departures.pace {
                *asked -= 1;
            }
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

    /// Freezes all connections, between two calls of any of them.
    fn freeze_all(&mut self) {
        let mut frozen = VecDeque::new();
        let mut stayed = 0;
        for tag in self.core.connection_tags() {
            let mut is_frozen = false;
            self.tell(tag, |handler, cx| {
                is_frozen = handler.freeze(cx);
                Ok(())
            });
            match is_frozen {
                true => frozen.push_back(tag),
                false => stayed += 1,
            }
        }
        let connections = frozen.len();
        if let Some(departures) = self.core.departures.as_deref_mut() {
            departures.waiting = frozen;
            departures.stayed += stayed;
            departures.pace = Pace::Frozen { asked: 0 };
        }
        self.receive_departure(Departure::Frozen { connections });
    }

    /// Tells the owner.
    fn receive_departure(&mut self, departure: Departure) {
        let Some(departures) = self.core.departures.as_deref_mut() else { return };
        let Some(mut receive) = departures.receive.take() else { return };
        let mut cx = LoopCx::new(&mut self.core, &mut self.app, Tag::NONE);
        receive(departure, &mut cx);
        if let Some(departures) = self.core.departures.as_deref_mut() {
            departures.receive = Some(receive);
        }
        self.adopt();
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
            let departures = self.core.departures.as_ref();
            if departures.is_some_and(|it| matches!(it.pace, Pace::Frozen { .. })) {
                let token = Token::new(tag, self.core.home);
                self.receive_departure(Departure::Unsaved { token });
            }
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
        let token = Token::new(tag, self.core.home);
        let is_together = matches!(departures.pace, Pace::Frozen { .. });
        match (state, descriptor) {
            (Some(state), Some(Ok(descriptor))) => {
                departures.away.push(tag);
                self.receive_departure(Departure::Connection { token, descriptor, state });
            }
            (_, descriptor) => {
                if let Some(Err(error)) = &descriptor {
                    debug!("{tag}: it stays, since its descriptor cannot be duplicated: {error}");
                }
                match (is_together, descriptor) {
                    (true, _) => {
                        departures.kept.push(tag);
                        self.receive_departure(Departure::Unsaved { token });
                    }
                    (false, Some(_)) => departures.returned.push(tag),
                    // It was not frozen.
                    (false, None) => departures.stayed += 1,
                }
            }
        }
    }
}
