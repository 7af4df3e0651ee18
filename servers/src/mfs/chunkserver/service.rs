//! The data port: one command at a time for each connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, log_enabled};
use protocol::codecs::{Packet, PacketView};
use protocol::mfs::{
    ConfigValue, Disks, GetChunkBlocks, GetChunkChecksum, GetChunkChecksums, GetConfig, GetVersion,
    Kind, List, ListDisks, Message, MessageError, Name, Nop, Read, Status, Write, describe,
};
use protocol::{Context, Flow, Reason, Reply, Service};
use reactor::Job;

use super::app::Chunkserver;
use super::disk::{Chunk, Done};
use super::questions::{self, Question};
use super::reading::Reading;
use super::writing::Writing;

/// The key of the timer of signs of life.
const TICK: u8 = 0;
/// How often an idle connection gets a sign of life: so often that three of them are five seconds.
const IDLE_TICK: Duration = Duration::from_millis(1667);
/// How often a connection gets one during a command, and is looked at.
const BUSY_TICK: Duration = Duration::from_secs(1);
/// After how many ticks without a packet an idle connection is closed.
const IDLE_TICKS_MAX: u8 = 3;
/// After how many ticks one is closed whose client neither sends nor takes what it has asked for.
const BUSY_TICKS_MAX: u8 = 10;

/// A reply to a peer of the data port.
pub(super) type ToPeer<'a> = Reply<'a, Packet>;
/// The context of a call of a session.
pub(super) type Called<'a> = Context<'a, Chunkserver>;

/// What a command wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on, and takes packets.
    Goes,
    /// It goes on, and takes no packets.
    Waits,
    /// It is done. The connection can have another one.
    Done,
    /// It has failed, of which the peer was told. The connection is closed.
    Failed,
}

/// A question that a thread answers.
struct Asking {
    question: Question,
    chunk: Arc<Chunk>,
    job: Job<Done<Arc<[u8]>>>,
}

/// What a connection does.
enum State {
    Idle,
    Reading(Box<Reading>),
    Writing(Box<Writing>),
    Asking(Box<Asking>),
}

/// The service of a connection to the data port.
pub(super) struct DataService {
    peer: Option<SocketAddr>,
    state: State,
    /// A packet has come since the last tick.
    has_heard: bool,
    /// The output that was left at the last tick, in bytes.
    backlog: u64,
    silent_ticks: u8,
}

impl DataService {
    pub(super) fn new(peer: Option<SocketAddr>) -> Self {
        Self { peer, state: State::Idle, has_heard: false, backlog: 0, silent_ticks: 0 }
    }

    fn refuse(&self, why: impl fmt::Display, context: &mut Called<'_>) -> Flow {
        self.tell_why(why, context);
        Flow::Close
    }

    /// Logs why the connection is closed.
    fn tell_why(&self, why: impl fmt::Display, context: &mut Called<'_>) {
        let peer = self.peer.map_or_else(|| "a peer".to_owned(), |it| it.to_string());
        context.app.refuse(peer, why, context.now);
    }

    /// Takes a packet of a peer that has no command under way.
    fn begin(
        &mut self,
        kind: Kind,
        body: &[u8],
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Result<Flow, MessageError> {
        match kind {
            Kind::NOP => {
                Nop::parse(body)?;
            }
            // The rest of a write that has failed.
            Kind::WRITE_DATA | Kind::WRITE_FINISH => return Ok(Flow::Close),
            Kind::READ => {
                if let Some(reading) = Reading::begin(Read::parse(body)?, reply, context) {
                    self.state = State::Reading(Box::new(reading));
                    self.tick(context);
                }
            }
            Kind::WRITE => {
                let writing = Writing::begin(&Write::parse(body)?, reply, context);
                let Some(writing) = writing else { return Ok(Flow::Close) };
                self.state = State::Writing(Box::new(writing));
                self.tick(context);
            }
            Kind::GET_CHUNK_BLOCKS => {
                let question = Question::Blocks(GetChunkBlocks::parse(body)?);
                return Ok(self.ask(question, reply, context));
            }
            Kind::GET_CHUNK_CHECKSUM => {
                let question = Question::Checksum(GetChunkChecksum::parse(body)?);
                return Ok(self.ask(question, reply, context));
            }
            Kind::GET_CHUNK_CHECKSUMS => {
                let question = Question::Checksums(GetChunkChecksums::parse(body)?);
                return Ok(self.ask(question, reply, context));
            }
            Kind::LIST_DISKS => {
                ListDisks::parse(body)?;
                let entries = context.app.store.entries();
                Disks { disks: List::new(&entries).unwrap_or_default() }.send(reply);
            }
            Kind::GET_VERSION => {
                reply.share(questions::version(GetVersion::parse(body)?.number));
            }
            Kind::GET_CONFIG => {
                let number = GetConfig::parse(body)?.number;
                ConfigValue { number, value: Name::default() }.send(reply);
            }
            _ => {
                let why = format!("unexpected: {}", describe(kind, body));
                return Ok(self.refuse(why, context));
            }
        }
        Ok(Flow::Continue)
    }

    /// Hands a question over to a thread.
    fn ask(
        &mut self,
        question: Question,
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Flow {
        let begun = context.app.find(question.chunk()).and_then(|chunk| {
            let offload = context.app.store.offload_of(&chunk).ok_or(Status::NOCHUNK)?;
            let asked = Arc::clone(&chunk);
            let job = offload.run(context.me, move || question.answer(&asked));
            let job = job.map_err(|_| Status::NOTDONE)?;
            Ok(Asking { question, chunk, job })
        });
        match begun {
            Ok(asking) => {
                self.state = State::Asking(Box::new(asking));
                self.tick(context);
                Flow::Pause
            }
            Err(status) => {
                reply.share(question.refused(status));
                Flow::Continue
            }
        }
    }

    /// Plans the next sign of life.
    fn tick(&self, context: &mut Called<'_>) {
        let is_idle = matches!(self.state, State::Idle);
        context.effects.set_timeout(TICK, Some(if is_idle { IDLE_TICK } else { BUSY_TICK }));
    }

    /// Goes on after a step of a command.
    fn go_on(&mut self, next: Next, context: &mut Called<'_>) -> Flow {
        match next {
            Next::Goes => Flow::Continue,
            Next::Waits => Flow::Pause,
            Next::Done => {
                self.state = State::Idle;
                self.silent_ticks = 0;
                self.tick(context);
                Flow::Continue
            }
            Next::Failed => Flow::Close,
        }
    }

    /// Goes on with a command whose thread or successor has done something.
    fn proceed(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        let next = match &mut self.state {
            State::Idle => return Flow::Continue,
            State::Reading(reading) => reading.proceed(reply, context),
            State::Writing(writing) => writing.proceed(reply, context),
            State::Asking(asking) => match asking.job.take() {
                None => Next::Waits,
                Some(result) => {
                    reply.share(match result {
                        Ok(Ok(packet)) => packet,
                        Ok(Err(trouble)) => {
                            let status = context.app.note(&asking.chunk, &trouble);
                            asking.question.refused(status)
                        }
                        Err(_) => asking.question.refused(Status::IO),
                    });
                    Next::Done
                }
            },
        };
        self.go_on(next, context)
    }
}

impl Service<Packet, Chunkserver> for DataService {
    fn open(&mut self, _: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.tick(context);
        Flow::Continue
    }

    fn call(
        &mut self,
        packet: PacketView<'_>,
        reply: &mut ToPeer<'_>,
        context: &mut Called<'_>,
    ) -> Flow {
        self.has_heard = true;
        let (kind, body) = (Kind(packet.kind), &*packet.body);
        if log_enabled!(log::Level::Debug) {
            debug!("from {:?}: {}", self.peer, describe(kind, body));
        }
        let taken = match &mut self.state {
            State::Idle => self.begin(kind, body, reply, context),
            State::Reading(_) if kind == Kind::NOP => Nop::parse(body).map(|_| Flow::Continue),
            State::Writing(writing) if Writing::takes(kind) => {
                let next = writing.take(kind, body, reply, context);
                next.map(|next| self.go_on(next, context))
            }
            State::Reading(_) | State::Writing(_) | State::Asking(_) => {
                let text = format!("unexpected during a command: {}", describe(kind, body));
                Ok(self.refuse(text, context))
            }
        };
        taken.unwrap_or_else(|error| self.refuse(error, context))
    }

    fn resume(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        self.proceed(reply, context)
    }

    fn drained(&mut self, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        match self.state {
            State::Reading(_) => self.proceed(reply, context),
            _ => Flow::Continue,
        }
    }

    fn timeout(&mut self, _: u8, reply: &mut ToPeer<'_>, context: &mut Called<'_>) -> Flow {
        let backlog = reply.backlog();
        let is_alive = std::mem::take(&mut self.has_heard) || backlog < self.backlog;
        let (waits_for_us, ticks_max) = match &mut self.state {
            State::Idle => (false, IDLE_TICKS_MAX),
            // A client that takes all there is waits for the disk.
            State::Reading(_) => (backlog == 0, BUSY_TICKS_MAX),
            State::Writing(writing) => (writing.waits_for_us(), BUSY_TICKS_MAX),
            State::Asking(_) => (true, BUSY_TICKS_MAX),
        };
        self.silent_ticks = if is_alive || waits_for_us { 0 } else { self.silent_ticks + 1 };
        if self.silent_ticks >= ticks_max {
            if !matches!(self.state, State::Idle) {
                self.tell_why("it neither sends nor takes anything", context);
            }
            if backlog > 0 {
                // It would not take the end either.
                context.effects.close(context.me);
            }
            return Flow::Close;
        }
        let may_speak = match &self.state {
            State::Reading(reading) => reading.is_lively(),
            _ => true,
        };
        if backlog == 0 && may_speak {
            Nop::default().send(reply);
        }
        // A sign of life that leaves is no progress of the client.
        self.backlog = backlog;
        self.tick(context);
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut ToPeer<'_>, _: &mut Called<'_>) -> Flow {
        match self.state {
            State::Idle => Flow::Close,
            _ => Flow::Continue,
        }
    }

    fn hung_up(&mut self, _: &mut ToPeer<'_>, _: &mut Called<'_>) -> Flow {
        Flow::Close
    }

    fn closed(&mut self, _: &Reason, context: &mut Called<'_>) {
        if let State::Writing(writing) = &mut self.state {
            writing.end(context);
        }
    }
}
