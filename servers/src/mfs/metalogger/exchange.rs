//! The protocol of the connection to the master.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::{debug, log_enabled};
use protocol::Reply;
use protocol::codecs::{Packet, PacketView};
use protocol::exchange::{Exchange, Heard, Opening};
use protocol::mfs::{
    Changes, DownloadData, DownloadEnd, DownloadInfo, DownloadRequest, DownloadStart, Kind,
    Message, MessageError, MetaloggerRegister, Nop, Version, describe, limit,
};

/// What is known of the log of the master: what a new connection registers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The version of the last change that was received, if the log has all before it.
    pub(super) last: Option<u64>,
    /// A change is missing, so the log has to begin anew.
    pub(super) is_lost: bool,
}

/// What the connection and the application share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared(Arc<Mutex<Known>>);

impl Shared {
    pub(super) fn new(last: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(Known { last, ..Known::default() })))
    }

    /// Returns what is known. It is consistent between operations, also after a panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the metalogger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A sign of life, without an answer.
    Alive,
    /// Begins a download.
    Start(u8),
    /// Asks for a part of it.
    Part(DownloadRequest),
    /// Ends it, without an answer.
    End,
}

/// What the master answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing: the request has no answer.
    Nothing,
    /// The length of a file, or that it cannot be had.
    Info(DownloadInfo),
    /// A part of a file.
    Part { offset: u64, bytes: Vec<u8> },
    /// A part whose CRC is wrong.
    Damaged { offset: u64 },
}

/// What the master tells unasked.
#[derive(Debug)]
pub(super) enum News {
    /// A line for the log.
    Line(Vec<u8>),
    /// A new log begins.
    Rotate,
}

/// The exchange of the connection to the master.
pub(super) struct ToMaster {
    shared: Shared,
    timeout: Duration,
    /// The number of the request of a download that has no answer yet.
    download: Option<u64>,
}

impl ToMaster {
    pub(super) fn new(shared: Shared, timeout: Duration) -> Self {
        Self { shared, timeout, download: None }
    }

    /// Takes a change, which must be the next one.
    fn change(&mut self, version: u64, text: &[u8]) -> Result<News, Gap> {
        let mut known = self.shared.lock();
        if known.last.is_some_and(|last| last.checked_add(1) != Some(version)) {
            let gap = Gap { last: known.last.unwrap_or_default(), version };
            (known.last, known.is_lost) = (None, true);
            return Err(gap);
        }
        known.last = Some(version);
        Ok(News::Line([version.to_string().as_bytes(), b": ", text, b"\n"].concat()))
    }

    /// Takes an answer to the request of a download.
    fn answered(&mut self, answer: Answer) -> Heard<Answer, News> {
        match self.download.take() {
            Some(number) => Heard::Numbered(number, answer),
            None => Heard::Refused("an answer came to no question".into()),
        }
    }

    fn take(&mut self, kind: Kind, body: &[u8]) -> Result<Heard<Answer, News>, MessageError> {
        Ok(match kind {
            Kind::NOP => {
                Nop::parse(body)?;
                Heard::Nothing
            }
            Kind::UNKNOWN_COMMAND | Kind::BAD_COMMAND_SIZE => Heard::Nothing,
            Kind::CHANGES => match Changes::parse(body)? {
                Changes::Rotate => Heard::Push(News::Rotate),
                Changes::Change { version, text } => match self.change(version, text) {
                    Ok(news) => Heard::Push(news),
                    Err(gap) => Heard::Refused(Box::new(gap)),
                },
            },
            Kind::DOWNLOAD_INFO => self.answered(Answer::Info(DownloadInfo::parse(body)?)),
            Kind::DOWNLOAD_DATA => {
                let DownloadData { offset, data } = DownloadData::parse(body)?;
                self.answered(match data.is_intact() {
                    true => Answer::Part { offset, bytes: data.bytes.to_vec() },
                    false => Answer::Damaged { offset },
                })
            }
            _ => Heard::Refused(format!("unexpected: {}", describe(kind, body)).into()),
        })
    }
}

impl Exchange for ToMaster {
    type Codec = Packet;
    type Request = Request;
    type Reply = Answer;
    type Push = News;

    fn codec(&self) -> Packet {
        Packet::with_size_max(limit::METALOGGER)
    }

    fn open(&mut self, reply: &mut Reply<'_, Packet>) -> Opening {
        self.download = None;
        let first = self.shared.lock().last.and_then(|last| last.checked_add(1));
        let timeout = self.timeout.as_secs() as u16;
        let register = MetaloggerRegister { version: Version::OURS, timeout, first };
        debug!("to the master: {}", register.text());
        register.send(reply);
        Opening::Ready
    }

    fn size(_: &Request) -> usize {
        20
    }

    fn write(&mut self, request: &Request, number: u64, reply: &mut Reply<'_, Packet>) {
        match request {
            Request::Alive => Nop::default().send(reply),
            Request::Start(file) => {
                self.download = Some(number);
                DownloadStart { file: *file }.send(reply);
            }
            Request::Part(part) => {
                self.download = Some(number);
                part.send(reply);
            }
            Request::End => DownloadEnd.send(reply),
        }
    }

    fn sign_of_life(&self) -> Option<Request> {
        Some(Request::Alive)
    }

    fn one_way(&self, request: &Request) -> Option<Answer> {
        matches!(request, Request::Alive | Request::End).then_some(Answer::Nothing)
    }

    fn hear(
        &mut self,
        packet: PacketView<'_>,
        _: Option<&Request>,
        _: &mut Reply<'_, Packet>,
    ) -> Heard<Answer, News> {
        let kind = Kind(packet.kind);
        if log_enabled!(log::Level::Debug) {
            debug!("from the master: {}", describe(kind, packet.body));
        }
        self.take(kind, packet.body).unwrap_or_else(|error| Heard::Refused(Box::new(error)))
    }
}

/// A change is missing, or came twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    last: u64,
    version: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { last, version } = self;
        write!(f, "change {version} came after {last}: the log and the metadata begin anew")
    }
}

impl Error for Gap {}
