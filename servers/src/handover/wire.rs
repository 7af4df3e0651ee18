//! What the two programs say to each other: frames over a Unix socket, some with a descriptor.
//!
//! A frame is a byte for its kind, the length of its content in four bytes (little endian), and the
//! content. The descriptor of a frame comes with its first byte.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use protocol::{SavedState, State, StateError};
use reactor::{FileIdentity, Passed};

use super::sockets::Traits;

/// The version of the protocol between the two programs. It changes whenever a frame changes.
pub(super) const VERSION: u64 = 5;
/// The bytes in front of the content: the kind and the length.
const HEADER: usize = 5;
/// The most bytes of a content.
const CONTENT_MAX: usize = 16 << 20;
/// The most bytes of the state of a connection in one frame. A longer state is split.
const PART_MAX: usize = 8 << 20;
/// The most bytes of the state of a connection: more than the unsent output, the requests that wait
/// and the request that is being received may have.
const STATE_MAX: usize = 2 << 30;
/// How much is read at a time.
const READ_SIZE: usize = 64 * 1024;

/// What one program says to the other.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The old program: its version of this protocol, and the name of the server.
    Hello { version: u64, server: String },
    /// The old program: what the application leaves to the new one.
    Legacy { bytes: Vec<u8> },
    /// The old program: a socket, and its descriptor.
    Socket(Traits),
    /// The old program: it has passed all its sockets.
    AllSockets,
    /// The new program: it could serve now.
    Ready,
    /// The old program: a piece of the state that its connections share.
    Piece { is_last: bool, bytes: Vec<u8> },
    /// The old program: it has passed on all connections that share a state.
    AllConnections,
    /// The new program: it has the shared state and the connections, and could serve them now.
    Loaded,
    /// The old program: it accepts nothing more, and the new one may begin.
    Begin,
    /// The old program: the beginning of the state of the connection that follows.
    Part { bytes: Vec<u8> },
    /// The old program: a connection, the rest of its state and its descriptor.
    Connection { id: u64, state: Vec<u8> },
    /// The new program: it goes on with the connection.
    Taken { id: u64 },
    /// The new program: it cannot go on with the connection.
    Refused { id: u64 },
    /// The old program: there are no more connections.
    Done,
}

impl Frame {
    /// Returns whether a descriptor comes with the frame.
    fn has_descriptor(&self) -> bool {
        matches!(self, Self::Socket(_) | Self::Connection { .. })
    }

    /// Returns what it is, for messages: what it contains belongs to clients.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::Legacy { .. } => "Legacy",
            Self::Socket(_) => "Socket",
            Self::AllSockets => "AllSockets",
            Self::Ready => "Ready",
            Self::Piece { .. } => "Piece",
            Self::AllConnections => "AllConnections",
            Self::Loaded => "Loaded",
            Self::Begin => "Begin",
            Self::Part { .. } => "Part",
            Self::Connection { .. } => "Connection",
            Self::Taken { .. } => "Taken",
            Self::Refused { .. } => "Refused",
            Self::Done => "Done",
        }
    }

    /// Returns the bytes of the frame.
    ///
    /// # Errors
    /// When it is too large.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let mut content = State::new();
        let kind = match self {
            Self::Hello { version, server } => {
                content.number(*version);
                content.bytes(server.as_bytes());
                1
            }
            Self::Socket(Traits { is_encrypted, file, is_passed }) => {
                content.flag(*is_encrypted);
                content.flag(file.is_some());
                file.iter().flat_map(|it| it.to_numbers()).for_each(|it| content.number(it));
                content.flag(*is_passed);
                2
            }
            Self::AllSockets => 3,
            Self::Ready => 4,
            Self::Begin => 5,
            Self::Connection { id, state } => {
                content.number(*id);
                content.bytes(state);
                6
            }
            Self::Taken { id } => {
                content.number(*id);
                7
            }
            Self::Refused { id } => {
                content.number(*id);
                8
            }
            Self::Done => 9,
            Self::Piece { is_last, bytes } => {
                content.flag(*is_last);
                content.bytes(bytes);
                10
            }
            Self::AllConnections => 11,
            Self::Loaded => 12,
            Self::Part { bytes } => {
                content.bytes(bytes);
                13
            }
            Self::Legacy { bytes } => {
                content.bytes(bytes);
                14
            }
        };
        let content = content.into_bytes();
        if content.len() > CONTENT_MAX {
            return Err(io::Error::other("a message is too large"));
        }
        let mut bytes = Vec::with_capacity(HEADER + content.len());
        bytes.push(kind);
        bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&content);
        Ok(bytes)
    }

    /// Returns the frames that pass a connection on. The last comes with its descriptor.
    ///
    /// # Errors
    /// When its state is too large.
    pub(super) fn of_connection(id: u64, state: Vec<u8>) -> io::Result<Vec<Self>> {
        if state.len() > STATE_MAX {
            let text = format!("its state has {} bytes, of {STATE_MAX} at most", state.len());
            return Err(io::Error::other(text));
        }
        if state.len() <= PART_MAX {
            return Ok(vec![Self::Connection { id, state }]);
        }
        let parts = state.chunks(PART_MAX).map(|part| Self::Part { bytes: part.to_vec() });
        Ok(parts.chain([Self::Connection { id, state: Vec::new() }]).collect())
    }

    fn decode(kind: u8, content: &[u8]) -> Result<Self, StateError> {
        let mut content = SavedState::new(content);
        let frame = match kind {
            1 => {
                let version = content.number()?;
                let server = String::from_utf8_lossy(content.bytes()?).into_owned();
                Self::Hello { version, server }
            }
            2 => Self::Socket(Traits {
                is_encrypted: content.flag()?,
                file: match content.flag()? {
                    true => Some(FileIdentity::from_numbers([
                        content.number()?,
                        content.number()?,
                        content.number()?,
                    ])),
                    false => None,
                },
                is_passed: content.flag()?,
            }),
            3 => Self::AllSockets,
            4 => Self::Ready,
            5 => Self::Begin,
            6 => Self::Connection { id: content.number()?, state: content.bytes()?.to_vec() },
            7 => Self::Taken { id: content.number()? },
            8 => Self::Refused { id: content.number()? },
            9 => Self::Done,
            10 => Self::Piece { is_last: content.flag()?, bytes: content.bytes()?.to_vec() },
            11 => Self::AllConnections,
            12 => Self::Loaded,
            13 => Self::Part { bytes: content.bytes()?.to_vec() },
            14 => Self::Legacy { bytes: content.bytes()?.to_vec() },
            _ => return Err(StateError::Invalid("there is no such message")),
        };
        content.end()?;
        Ok(frame)
    }
}

/// What arrives from the other program.
#[derive(Debug)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    /// The descriptors of frames that have not been taken; `None` for one that was lost.
    descriptors: VecDeque<Option<OwnedFd>>,
    /// The beginning of the state of the next connection.
    begun: Vec<u8>,
    room: Box<[u8]>,
}

impl Incoming {
    pub(super) fn new() -> Self {
        let room = vec![0; READ_SIZE].into();
        Self { bytes: Vec::new(), descriptors: VecDeque::new(), begun: Vec::new(), room }
    }

    /// Receives once with `receive`, which is given the room for bytes. Returns whether something
    /// came; `None` when it would block.
    ///
    /// # Errors
    /// The error of `receive`.
    pub(super) fn receive(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> io::Result<Option<Passed>>,
    ) -> io::Result<Option<bool>> {
        let Some(passed) = receive(&mut self.room)? else { return Ok(None) };
        self.bytes.extend_from_slice(&self.room[..passed.length]);
        let count = passed.descriptors.len();
        self.descriptors.extend(passed.descriptors.into_iter().map(Some));
        if passed.lacks_descriptors && count == 0 {
            self.descriptors.push_back(None);
        }
        Ok(Some(passed.length > 0))
    }

    /// Takes the next frame, if all of it has arrived, with its descriptor.
    ///
    /// # Errors
    /// When the other program does not speak this protocol.
    pub(super) fn next(&mut self) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
        loop {
            let (id, rest, descriptor) = match self.next_as_sent()? {
                Some((Frame::Part { bytes }, _)) => {
                    if self.begun.len() + bytes.len() > STATE_MAX {
                        return Err(foreign("the state of a connection is too large"));
                    }
                    self.begun.extend_from_slice(&bytes);
                    continue;
                }
                Some((Frame::Connection { id, state }, descriptor)) => (id, state, descriptor),
                Some(_) if !self.begun.is_empty() => {
                    return Err(foreign("the rest of a connection is missing"));
                }
                other => return Ok(other),
            };
            let mut state = std::mem::take(&mut self.begun);
            state.extend_from_slice(&rest);
            return Ok(Some((Frame::Connection { id, state }, descriptor)));
        }
    }

    /// Takes the next frame, as it was sent.
    fn next_as_sent(&mut self) -> io::Result<Option<(Frame, Option<OwnedFd>)>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        if length > CONTENT_MAX {
            return Err(foreign(&format!("a message of {length} bytes")));
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(kind, content).map_err(|error| foreign(&error.to_string()))?;
        self.bytes.drain(..HEADER + length);
        let descriptor = match frame.has_descriptor() {
            true => {
                let missing = || foreign("a descriptor is missing");
                self.descriptors.pop_front().ok_or_else(missing)?
            }
            false => None,
        };
        Ok(Some((frame, descriptor)))
    }
}

fn foreign(what: &str) -> io::Error {
    let text = format!("the other program does not speak this protocol of handing over: {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads any bytes as what another program says, for a fuzz target.
///
/// # Panics
/// When a frame that was read is not written as it came.
#[cfg(fuzzing)]
pub fn handover_frames(bytes: &[u8]) {
    let mut incoming = Incoming::new();
    for part in bytes.chunks(READ_SIZE) {
        let came = incoming.receive(|room| {
            room[..part.len()].copy_from_slice(part);
            let (length, descriptors) = (part.len(), Vec::new());
            Ok(Some(Passed { length, descriptors, lacks_bytes: false, lacks_descriptors: true }))
        });
        came.expect("it is received");
        while let Ok(Some((frame, _))) = incoming.next() {
            let encoded = frame.encode().expect("it came in a frame");
            let again = Frame::decode(encoded[0], &encoded[HEADER..]).expect("it is written");
            assert_eq!(frame, again);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Hello { version: VERSION, server: "echo-server".into() },
            Frame::Legacy { bytes: vec![1, 2, 3] },
            Frame::AllSockets,
            Frame::Ready,
            Frame::Begin,
            Frame::Taken { id: 7 },
            Frame::Refused { id: u64::MAX },
            Frame::Done,
            Frame::Piece { is_last: true, bytes: vec![1, 2] },
            Frame::AllConnections,
            Frame::Loaded,
        ]
    }

    fn feed(incoming: &mut Incoming, bytes: &[u8]) {
        let came = incoming.receive(|room| {
            room[..bytes.len()].copy_from_slice(bytes);
            Ok(Some(Passed {
                length: bytes.len(),
                descriptors: Vec::new(),
                lacks_bytes: false,
                lacks_descriptors: false,
            }))
        });
        assert_eq!(came.expect("it is received"), Some(!bytes.is_empty()));
    }

    #[test]
    fn frames_arrive_split_at_every_byte() {
        let bytes: Vec<u8> =
            frames().iter().flat_map(|frame| frame.encode().expect("it is small")).collect();
        for split in 0..=bytes.len() {
            let (mut incoming, mut received) = (Incoming::new(), Vec::new());
            for part in [&bytes[..split], &bytes[split..]] {
                feed(&mut incoming, part);
                while let Some((frame, descriptor)) = incoming.next().expect("they are valid") {
                    assert!(descriptor.is_none());
                    received.push(frame);
                }
            }
            assert_eq!(received, frames(), "split at {split}");
        }
    }

    #[test]
    fn a_state_longer_than_a_frame_is_split_and_joined() {
        for length in [0, PART_MAX, PART_MAX + 1, 2 * PART_MAX + 7] {
            let state: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            let frames = Frame::of_connection(5, state.clone()).expect("it is allowed");
            let (mut incoming, mut joined) = (Incoming::new(), None);
            let descriptor = std::fs::File::open("/dev/null").expect("it opens").into();
            incoming.descriptors.push_back(Some(descriptor));
            for bytes in frames.iter().map(|frame| frame.encode().expect("it is small")) {
                for part in bytes.chunks(READ_SIZE) {
                    feed(&mut incoming, part);
                }
                joined = incoming.next().expect("it is valid").or(joined);
            }
            let (frame, descriptor) = joined.expect("it is whole");
            assert!(descriptor.is_some());
            assert!(frame == Frame::Connection { id: 5, state }, "{length} bytes");
        }
        assert!(Frame::of_connection(1, vec![0; STATE_MAX + 1]).is_err());
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 5], &[7, 0, 0, 0, 0], &[2, 3, 0, 0, 0, 1, 0, 1]]
        {
            let mut incoming = Incoming::new();
            feed(&mut incoming, bytes);
            let error = incoming.next().expect_err("it is refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}
