//! Sending questions: which upstream is asked, from which port, with which number and spelling.

use std::io;
use std::time::{Duration, Instant};

use log::{info, warn};
use protocol::ConnectionId;
use protocol::dns::{append_option, option};

use super::engine::{Engine, PLAIN_FOR, TcpOrder, Ticket};
use super::flight::{Attempt, Next, Route, Style, question};
use super::jar::Jar;
use super::ports::PortId;
use super::server::{Change, Loss};
use crate::dns::args::PortRange;
use crate::dns::front::{Asked, MARKS};

/// How often a number is drawn until one is free on a port.
const DRAWS: usize = 8;
/// One of this many questions goes to another upstream than the fastest, so that its latency is known.
const EXPLORE: usize = 32;

/// Appends the option with the marks of a question, this one last.
fn append_marks(asked: &Asked, own: &[u8], options: &mut Vec<u8>) {
    append_option(MARKS, &[&asked.marks, own].concat(), options);
}

impl Engine {
    /// Sends a new question to its first upstream, and a copy to one that may be back.
    pub(super) fn begin(&mut self, place: usize, now: Instant) {
        let group = self.flights[place].group;
        let Some(first) = self.pick(place) else { return };
        for number in 0..self.groups[group].len() {
            let upstream = self.groups[group][number];
            if upstream != first && self.servers[upstream].take_probe(now) {
                self.send(place, upstream, now);
            }
        }
        let pause = self.servers[first].retry_after();
        self.send(place, first, now);
        let has_other = self.groups[group].len() > 1;
        let flight = &mut self.flights[place];
        (flight.pause, flight.retry_at) = (pause, now + pause);
        let (next, at) = match has_other {
            true => (Next::Hedge, now + self.servers[first].hedge_after()),
            false => (Next::Retry, now + pause),
        };
        self.schedule(place, next, at);
    }

    /// Chooses the upstream for the next attempt: one that was not asked, is up, and is fast.
    fn pick(&mut self, place: usize) -> Option<usize> {
        let flight = &self.flights[place];
        let group = &self.groups[flight.group];
        if flight.attempts.is_empty() && group.len() > 1 && self.secrets.index(EXPLORE) == 0 {
            let up: Vec<usize> =
                group.iter().copied().filter(|it| self.servers[*it].is_up()).collect();
            if !up.is_empty() {
                return Some(up[self.secrets.index(up.len())]);
            }
        }
        let rank = |upstream: &usize| {
            let server = &self.servers[*upstream];
            let tried = flight.attempts.iter().filter(|it| it.upstream == *upstream).count();
            // Those of which nothing is known come first, so that something is.
            let latency = if server.is_unknown() { Duration::ZERO } else { server.latency() };
            (tried, !server.is_up(), latency)
        };
        group.iter().copied().min_by_key(rank)
    }

    /// Sends a question to an upstream in a datagram. If that is not possible, nothing is sent, and the
    /// time for the next attempt comes.
    pub(super) fn send(&mut self, place: usize, upstream: usize, now: Instant) {
        // Without random numbers, nothing is asked that could be forged.
        if let Err(error) = self.secrets.refill() {
            return self.complain(now, &format!("no random numbers: {error}"));
        }
        let Some(port) = self.ports.choose(upstream, &mut self.secrets) else { return };
        let mut draw = std::iter::repeat_with(|| self.secrets.number()).take(DRAWS);
        let Some(number) = draw.find(|it| self.ports.expected(port, *it).is_none()) else {
            return self.ports.retire(port);
        };
        let flight = &mut self.flights[place];
        let name = &flight.asked.name;
        let spelled = match self.options.varies_case {
            true => name.with_case(|| self.secrets.bit()),
            false => name.clone(),
        };
        let server = &mut self.servers[upstream];
        let has_options = server.plain_until.is_none_or(|until| until <= now);
        let mut options = Vec::new();
        let style = match has_options {
            true => {
                append_marks(&flight.asked, &self.marks.make(self.secrets.bytes()), &mut options);
                append_option(option::COOKIE, &self.ports.cookie(port), &mut options);
                Style::Extended(self.options.udp_size, &options)
            }
            false => Style::Plain,
        };
        let message = question(&flight.asked, &spelled, number, style);
        let attempt = (place, flight.attempts.len());
        let route = Route::Datagram { port, number, spelled, has_cookie: has_options };
        flight.attempts.push(Attempt { upstream, route, sent: now, is_pending: true });
        self.wakes.extend(self.ports.send(port, number, attempt, message));
        let change = server.asked(now);
        self.note(upstream, change, now);
    }

    /// Asks an upstream over TCP, where nothing can be forged from elsewhere, and nothing is cut.
    pub(super) fn ask_over_tcp(&mut self, place: usize, upstream: usize, now: Instant) {
        if let Err(error) = self.secrets.refill() {
            return self.complain(now, &format!("no random numbers: {error}"));
        }
        let flight = &mut self.flights[place];
        let ticket =
            Ticket { flight: place, serial: flight.serial, attempt: flight.attempts.len() };
        // Connections have numbers of their own.
        let mut options = Vec::new();
        append_marks(&flight.asked, &self.marks.make(self.secrets.bytes()), &mut options);
        let style = Style::Extended(self.options.udp_size, &options);
        let question = question(&flight.asked, &flight.asked.name, 0, style);
        flight.attempts.push(Attempt {
            upstream,
            route: Route::Connection,
            sent: now,
            is_pending: true,
        });
        self.servers[upstream].counts.over_tcp += 1;
        self.tcp.push_back(TcpOrder { upstream, ticket, question });
        // A connection takes a few round trips.
        let pause = self.servers[upstream].retry_after() * 3;
        self.schedule(place, Next::Retry, now + pause);
    }

    /// Sends a question to the next upstream.
    pub(super) fn send_next(&mut self, place: usize, now: Instant) {
        if let Some(upstream) = self.pick(place) {
            self.send(place, upstream, now);
        }
    }

    /// Logs a change of the health of an upstream, unless there was one a moment ago.
    pub(super) fn note(&mut self, upstream: usize, change: Option<Change>, now: Instant) {
        let Some(change) = change else { return };
        if change == Change::Back {
            self.failures.clear();
        }
        let server = &mut self.servers[upstream];
        let Some(folded) = server.log.admit(now) else { return };
        let address = server.address;
        match change {
            Change::Lost(Loss::Silent) => warn!("upstream {address} does not answer{folded}"),
            Change::Lost(Loss::Refused(error)) => {
                warn!("upstream {address} cannot be asked: {error}{folded}");
            }
            Change::Back => info!("upstream {address} answers again{folded}"),
        }
    }

    /// Logs that the answer of an upstream is an error, unless there was one a moment ago.
    #[cold]
    pub(super) fn note_error(&mut self, upstream: usize, place: usize, what: &str, now: Instant) {
        let server = &mut self.servers[upstream];
        let Some(folded) = server.error_log.admit(now) else { return };
        let (address, asked) = (server.address, &self.flights[place].asked);
        warn!("upstream {address} answers {} {} with {what}{folded}", asked.name, asked.kind);
    }

    /// Asks an upstream without EDNS for some time.
    pub(super) fn be_plain(&mut self, upstream: usize, now: Instant) {
        self.servers[upstream].plain_until = Some(now + PLAIN_FOR);
    }

    /// Returns the number of a new port, drawn at random.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(in crate::dns) fn draw_port(&mut self) -> io::Result<u16> {
        self.secrets.refill()?;
        let PortRange { first, .. } = self.options.port_range;
        // An index is smaller than the count, so the sum is the last port at most.
        Ok(first + self.secrets.index(self.options.port_range.count()) as u16)
    }

    /// Adds an open port, with a cookie of its own.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(in crate::dns) fn port_opened(
        &mut self,
        id: PortId,
        upstream: usize,
        source: ConnectionId,
    ) -> io::Result<()> {
        self.secrets.refill()?;
        self.ports.opened(id, upstream, source, Jar::new(self.secrets.bytes()));
        Ok(())
    }
}
