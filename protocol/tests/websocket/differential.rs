//! Against tungstenite, in both directions.

use std::io::{self, Read, Write};

use protocol::Random;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocket};
use tungstenite::{Error, Message};

use crate::ends::{End, Heard, Log, client, fed, log, masked, options, server};

/// The end of a connection in memory.
#[derive(Debug, Default)]
struct Pipe {
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = room.len().min(self.incoming.len());
        room[..count].copy_from_slice(&self.incoming[..count]);
        self.incoming.drain(..count);
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Its end of a connection, and what it has heard.
struct Other {
    socket: WebSocket<Pipe>,
    heard: Vec<Heard>,
    error: Option<Error>,
}

impl Other {
    fn new(role: Role) -> Self {
        let socket = WebSocket::from_raw_socket(Pipe::default(), role, None);
        Self { socket, heard: Vec::new(), error: None }
    }

    /// Reads everything, and answers messages if it is to.
    fn read(&mut self, echoes: bool) {
        while self.error.is_none() {
            match self.socket.read() {
                Ok(message) => {
                    self.heard.extend(heard(&message));
                    if echoes && (message.is_text() || message.is_binary()) {
                        self.socket.write(message).expect("it is written");
                    }
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.error = Some(error),
            }
        }
        let _ = self.socket.flush();
    }

    fn feed(&mut self, bytes: &[u8], echoes: bool) -> Vec<u8> {
        self.socket.get_mut().incoming.extend_from_slice(bytes);
        self.read(echoes);
        self.take_sent()
    }

    fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.socket.get_mut().outgoing)
    }
}

fn heard(message: &Message) -> Option<Heard> {
    Some(match message {
        Message::Text(text) => Heard::Text(text.to_string()),
        Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
        Message::Pong(payload) => Heard::Pong(payload.to_vec()),
        Message::Close(None) => Heard::Close(None, String::new()),
        Message::Close(Some(frame)) => {
            Heard::Close(Some(frame.code.into()), frame.reason.to_string())
        }
        _ => return None,
    })
}

fn text(random: &mut Random, size: usize) -> String {
    (0..size).map(|_| *random.pick(&[&'a', &'ä', &'€', &'😀'])).collect()
}

/// Returns messages of all kinds and sizes.
fn messages(random: &mut Random) -> Vec<Heard> {
    (0..20)
        .map(|_| {
            let size = *random.pick(&[&0, &1, &30, &125, &126, &1000, &65_535, &65_536, &100_000]);
            let size = random.index(size + 1);
            if random.one_in(2) {
                Heard::Text(text(random, size / 4))
            } else {
                Heard::Binary(random.bytes(size))
            }
        })
        .collect()
}

/// Sends messages from it, some of them in fragments.
fn send_all(other: &mut Other, all: &[Heard], random: &mut Random) {
    for message in all {
        let (bytes, data) = match message {
            Heard::Text(text) => (text.as_bytes().to_vec(), Data::Text),
            Heard::Binary(bytes) => (bytes.clone(), Data::Binary),
            _ => continue,
        };
        if random.one_in(2) {
            let message = match message {
                Heard::Text(text) => Message::text(text),
                _ => Message::binary(bytes),
            };
            other.socket.write(message).expect("it is written");
            continue;
        }
        let parts = 1 + random.index(5);
        let size = bytes.len() / parts + 1;
        let mut pieces: Vec<&[u8]> = bytes.chunks(size).collect();
        pieces.push(&[]);
        for (number, piece) in pieces.iter().enumerate() {
            let data = if number == 0 { data } else { Data::Continue };
            let is_last = number + 1 == pieces.len();
            let frame = Frame::message(piece.to_vec(), OpCode::Data(data), is_last);
            other.socket.write(Message::Frame(frame)).expect("it is written");
            if random.one_in(3) {
                other.socket.write(Message::Ping("ping".into())).expect("it is written");
            }
        }
    }
    other.socket.flush().expect("it is flushed");
}

/// Feeds an end in pieces.
fn feed(end: &mut End, bytes: &[u8], random: &mut Random) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = if random.one_in(2) { 20 } else { 50_000 };
        let size = (1 + random.index(most)).min(rest.len());
        let (piece, later) = rest.split_at(size);
        end.feed(piece, &mut ());
        rest = later;
    }
}

#[test]
fn its_messages_come_back_to_it() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        for is_server in [true, false] {
            let (mut end, role) = if is_server {
                (server(Log::echo(), options()), Role::Client)
            } else {
                (client(Log::echo(), options()), Role::Server)
            };
            let (mut other, all) = (Other::new(role), messages(&mut random));
            send_all(&mut other, &all, &mut random);
            feed(&mut end, &other.take_sent(), &mut random);
            assert_eq!(log(&mut end).heard, all, "seed {seed}");
            let back = other.feed(&end.take_sent(), false);
            other.heard.retain(|it| !matches!(it, Heard::Pong(_)));
            assert_eq!(other.heard, all, "seed {seed}");
            assert!(back.is_empty() && other.error.is_none());
        }
    }
}

#[test]
fn messages_come_back_from_it() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        for is_server in [true, false] {
            let (mut end, role) = if is_server {
                (server(Log::default(), options()), Role::Client)
            } else {
                (client(Log::default(), options()), Role::Server)
            };
            let (mut other, all) = (Other::new(role), messages(&mut random));
            log(&mut end).to_send.clone_from(&all);
            end.wake(&mut ());
            let back = other.feed(&end.take_sent(), true);
            assert_eq!(other.heard, all, "seed {seed}");
            feed(&mut end, &back, &mut random);
            assert_eq!(log(&mut end).heard, all, "seed {seed}");
        }
    }
}

/// Returns frames of a client that are mostly valid.
fn frames(random: &mut Random) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..1 + random.index(8) {
        let most = *random.pick(&[&3, &20, &130, &300]);
        let size = random.index(most);
        let opcode = random.pick(&[&0x80, &0x81, &0x82, &0x01, &0x02, &0x00, &0x88, &0x89, &0x8A]);
        let mut payload = random.bytes(size);
        if random.one_in(2) {
            payload.clear();
            while payload.len() + 4 < size {
                payload.extend_from_slice(text(random, 1).as_bytes());
            }
        }
        if *opcode == 0x88 && random.one_in(2) {
            payload.truncate(0);
            payload
                .extend_from_slice(&(*random.pick(&[&1000_u16, &1005, &3000, &999])).to_be_bytes());
        }
        let mut frame = masked(*opcode, &payload);
        if random.one_in(10) {
            let at = random.index(frame.len().min(4));
            frame[at] ^= 1 << random.below(8);
        }
        all.extend(frame);
    }
    all
}

/// What both make of the same bytes.
fn compare(bytes: &[u8]) {
    let own = fed(server(Log::default(), options()), &[bytes]);
    let mut other = Other::new(Role::Server);
    other.feed(bytes, false);
    let refusal = own.ended.as_deref().and_then(|it| it.strip_prefix("refused: "));
    let refusal = refusal.filter(|it| *it != "the stream ended without a close frame");
    let limit = own.ended.as_deref().is_some_and(|it| it.starts_with("limit"));
    let by_length = [
        "the length of a frame is not encoded as it should be",
        "a control frame has more than 125 bytes",
    ];
    if refusal.is_some_and(|it| by_length.contains(&it)) || limit {
        // It accepts lengths in any form.
        return;
    }
    let mut expected = other.heard.clone();
    if refusal.is_some_and(|it| it.contains("must not be sent")) {
        // It delivers another code in place of one that must not be sent.
        expected.pop_if(|it| matches!(it, Heard::Close(..)));
    } else {
        if refusal.is_some() && other.error.is_none() {
            // It refuses some frames when they are whole.
            other.feed(&[0; 70_000], false);
        }
        let refused = other.error.as_ref().filter(|it| !matches!(it, Error::ConnectionClosed));
        assert_eq!(refusal.is_some(), refused.is_some(), "{own:?} {refused:?} {bytes:x?}");
    }
    assert_eq!(own.heard, expected, "{bytes:x?}");
}

#[test]
fn both_make_the_same_of_frames_valid_or_not() {
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        compare(&frames(&mut random));
    }
}
