//! A peer that a test plays, on a blocking socket.

use std::io::{Read, Write};
use std::net::TcpStream;

use protocol::mfs::{Kind, Message};
use testkit::PATIENCE;

/// A connection of a test.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("it is positive");
        Self(stream)
    }

    pub(crate) fn connect(address: &str) -> Self {
        Self::new(TcpStream::connect(address).expect("it listens"))
    }

    /// Returns the next packet that is not a sign of life, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            let (kind, body) = self.next_of_any()?;
            if kind != Kind::NOP {
                return Some((kind, body));
            }
        }
    }

    /// Returns the next packet, or `None` at the end.
    pub(crate) fn next_of_any(&mut self) -> Option<(Kind, Vec<u8>)> {
        let mut header = [0; 8];
        if self.0.read_exact(&mut header).is_err() {
            return None;
        }
        let [k0, k1, k2, k3, l0, l1, l2, l3] = header;
        let mut body = vec![0; u32::from_be_bytes([l0, l1, l2, l3]) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some((Kind(u32::from_be_bytes([k0, k1, k2, k3])), body))
    }

    /// Returns the body of the next packet, which has this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: Kind) -> Vec<u8> {
        let (kind, body) = self.next().unwrap_or_else(|| panic!("{wanted} and not the end"));
        assert_eq!(kind, wanted);
        body
    }

    pub(crate) fn send<'a>(&mut self, message: &impl Message<'a>) {
        // The other side may have closed the connection, which the test sees elsewhere.
        let _ = self.0.write_all(&message.packet());
    }
}
