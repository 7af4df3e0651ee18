//! The peer of a link with a layer.

use protocol::link::{Layer, Opened};
use protocol::testing::{ToyCipher, Wire};
use protocol::{Buffer, Output};

/// The peer's side of a layer: seals what is fed, and opens what came.
#[derive(Default)]
pub(crate) struct Peer {
    layer: ToyCipher,
    came: Buffer,
    plain: Buffer,
    pub(crate) has_ended: bool,
}

impl Peer {
    /// What the peer sends first.
    pub(crate) fn hello(&mut self) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.start(&mut wire);
        wire.to_vec()
    }

    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.seal(bytes, &mut wire).expect("it can be sealed");
        wire.to_vec()
    }

    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.finish(&mut wire);
        wire.to_vec()
    }

    /// Opens what came. Returns all that has been opened so far.
    pub(crate) fn open(&mut self, sealed: &[u8]) -> &[u8] {
        self.came.extend_from_slice(sealed);
        let opened = self.layer.open(&mut self.came, &mut self.plain, &mut Output::new());
        self.has_ended |= opened.expect("it can be opened") == Opened::Ended;
        self.plain.filled()
    }
}

/// Returns why a connection has ended.
pub(crate) fn reason<S, L: Layer>(wire: Wire<S, L>) -> String {
    wire.into_reason().map_or("open".to_owned(), |reason| reason.to_string())
}
