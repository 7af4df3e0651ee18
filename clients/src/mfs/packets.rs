//! A connection that carries packets, and keeps its rhythm of signs of life.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::codecs::{Packet, PacketView};
use protocol::link::Link;
use protocol::mfs::{Kind, Message, MessageError, Nop, Status};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::Target;

use crate::blocking::{Deadline, Driver, Error, Socket, Wants, wait};

/// The size of the header of a packet.
const HEADER: usize = 8;
/// How much output a connection may have: more than any window, so that what comes is always read.
const OUTPUT_HIGH: u64 = 16 * 1024 * 1024;
/// The longest wait: then the caller is asked whether the operation goes on.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Why a connection, or what was asked for on it, has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It could not be made.
    Connect(String),
    /// The peer was silent for so long.
    Silent(Duration),
    /// The peer gave signs of life for so long, and nothing else.
    Stalled(Duration),
    /// It was lost.
    Lost(String),
    /// The peer has sent what it must not send.
    Nonsense(String),
    /// The peer has answered with a status.
    Status(Status),
    /// Data have a wrong CRC.
    Crc,
}

impl Fault {
    /// Returns whether other chunks at the same server would fare the same.
    pub(super) fn is_of_server(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Silent(_) | Self::Stalled(_) | Self::Lost(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(text) | Self::Lost(text) | Self::Nonsense(text) => f.write_str(text),
            Self::Silent(time) => write!(f, "silent for {:.1} s", time.as_secs_f32()),
            Self::Stalled(time) => {
                write!(f, "only signs of life for {:.1} s", time.as_secs_f32())
            }
            Self::Status(status) => status.fmt(f),
            Self::Crc => f.write_str("data with a wrong CRC"),
        }
    }
}

impl From<MessageError> for Fault {
    fn from(error: MessageError) -> Self {
        Self::Nonsense(error.to_string())
    }
}

/// What is done with a packet that was received.
pub(super) type Take<'a> = dyn FnMut(Kind, &[u8]) -> Result<(), Fault> + 'a;

/// What a session is lent for one pass.
struct Pass<'a> {
    queue: &'a mut Vec<Arc<[u8]>>,
    take: &'a mut Take<'a>,
    is_heard: bool,
    fault: Option<Fault>,
}

/// Hands packets over, both ways.
#[derive(Debug)]
struct HandsOver;

impl<'p> Service<Packet, Pass<'p>> for HandsOver {
    fn call(
        &mut self,
        packet: PacketView<'_>,
        _: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Pass<'p>>,
    ) -> Flow {
        context.app.is_heard = true;
        match (context.app.take)(Kind(packet.kind), packet.body) {
            Ok(()) => Flow::Continue,
            Err(fault) => {
                context.app.fault = Some(fault);
                Flow::Close
            }
        }
    }

    fn resume(
        &mut self,
        reply: &mut Reply<'_, Packet>,
        context: &mut Context<'_, Pass<'p>>,
    ) -> Flow {
        context.app.queue.drain(..).for_each(|packet| reply.share(packet));
        Flow::Continue
    }
}

/// The rhythm of a connection.
#[derive(Clone, Debug)]
pub(super) struct Rhythm {
    /// The sign of life.
    pub(super) nop: Nop,
    /// After how long a silence of ours it is given.
    pub(super) every: Duration,
    /// How long a silence of the peer is borne.
    pub(super) silence_max: Duration,
}

/// A connection that carries packets.
#[derive(Debug)]
pub(super) struct Wire {
    driver: Driver<Conversation<Packet, HandsOver>>,
    /// What is sent in the next pass.
    queue: Vec<Arc<[u8]>>,
    rhythm: Rhythm,
    heard: Instant,
    said: Instant,
}

impl Wire {
    /// Connects within `timeout`. The body of a packet that comes has `size_max` bytes at most.
    pub(super) fn connect(
        target: impl Into<Target>,
        timeout: Duration,
        size_max: u32,
        rhythm: Rhythm,
    ) -> Result<Self, Fault> {
        let failed = |error: io::Error| Fault::Connect(error.to_string());
        let limits = Limits {
            message_size_max: HEADER + size_max as usize,
            output_high: OUTPUT_HIGH,
            output_max: 2 * OUTPUT_HIGH,
            ..Limits::DEFAULT
        };
        let limits = limits.shared().map_err(|error| failed(error.into()))?;
        let socket = Socket::connect(target, Some(timeout)).map_err(failed)?;
        let session = Conversation::new(Packet::with_size_max(size_max), HandsOver);
        let driver = Driver::new(socket, Link::new(session, limits));
        let now = Instant::now();
        Ok(Self { driver, queue: Vec::new(), rhythm, heard: now, said: now })
    }

    /// Sends a message in the next pass.
    pub(super) fn send<'a>(&mut self, message: &impl Message<'a>) {
        self.share(message.packet());
    }

    /// Sends a packet in the next pass.
    pub(super) fn share(&mut self, packet: Arc<[u8]>) {
        self.queue.push(packet);
        self.said = Instant::now();
    }

    /// Reads and writes what is possible without waiting, and gives signs of life. `take` gets what comes
    /// and is none.
    pub(super) fn pass(&mut self, take: &mut Take<'_>) -> Result<(), Fault> {
        if self.said.elapsed() >= self.rhythm.every {
            let nop = self.rhythm.nop;
            self.send(&nop);
        }
        let mut take = |kind: Kind, body: &[u8]| match kind {
            Kind::NOP => Ok(()),
            _ => take(kind, body),
        };
        let mut pass =
            Pass { queue: &mut self.queue, take: &mut take, is_heard: false, fault: None };
        let result = self.driver.advance(&mut pass);
        let Pass { is_heard, fault, .. } = pass;
        if is_heard {
            self.heard = Instant::now();
        }
        match (fault, result) {
            (Some(fault), _) => Err(fault),
            (None, Err(Error::Session(reason))) => Err(Fault::Nonsense(reason.to_string())),
            (None, Err(error)) => Err(Fault::Lost(error.to_string())),
            // Silence is judged last: what the kernel had was looked at.
            (None, Ok(())) => match self.heard.elapsed() {
                silence if silence >= self.rhythm.silence_max => Err(Fault::Silent(silence)),
                _ => Ok(()),
            },
        }
    }

    /// Begins to wait for an answer: the silence before does not count.
    pub(super) fn expect_answer(&mut self) {
        self.heard = Instant::now();
    }

    /// Returns what the connection waits for.
    pub(super) fn wants(&self) -> Wants<'_> {
        self.driver.wants()
    }

    /// Returns when the connection needs another pass although nothing comes.
    pub(super) fn due(&self) -> Instant {
        (self.said + self.rhythm.every).min(self.heard + self.rhythm.silence_max)
    }
}

/// Waits until one of the connections can go on, has something to send, or is due, or `due` has come.
pub(super) fn wait_for<'a>(
    wires: impl Iterator<Item = &'a Wire>,
    due: Option<Instant>,
) -> io::Result<()> {
    let wires: Vec<&Wire> = wires.collect();
    if wires.iter().any(|wire| !wire.queue.is_empty()) {
        // The next pass sends it.
        return Ok(());
    }
    let wants: Vec<Wants<'_>> = wires.iter().map(|wire| wire.wants()).collect();
    let now = Instant::now();
    let next = wires.iter().map(|wire| wire.due()).chain(due).min();
    let left = next.map_or(WAIT_MAX, |next| next.saturating_duration_since(now).min(WAIT_MAX));
    wait(&wants, &mut Deadline::after(Some(left))).map(drop)
}
