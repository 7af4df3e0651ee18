//! The layer between a link and the wire: nothing by default, TLS and its like otherwise.

use std::error::Error;

use crate::{Buffer, Output};

/// What the wire said to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The stream goes on.
    GoesOn,
    /// The peer has said, in the layer's own way, that it sends nothing more (TLS's `close_notify`,
    /// RFC 8446 section 6.1). The session is told that its input has ended. The wire is still open: a
    /// link that closes lingers until it has ended too, as without a layer, and ignores what still
    /// comes.
    Ended,
}

/// Opens what is received and seals what is sent, between a [`Link`](super::Link) and the wire.
///
/// A layer sees bytes alone: it performs no I/O and knows no session. The link keeps the plaintext
/// that waits, measures watermarks on it, and seals a bounded amount ahead, so back-pressure works
/// as without a layer. Ranges of files are read by the driver and sealed piece by piece.
pub trait Layer {
    /// Whether this is [`Plain`]: what is received is what the session sees.
    const IS_PLAIN: bool = false;

    /// Starts: appends to `wire` what has to be said first, if anything.
    fn start(&mut self, wire: &mut Output) {
        let _ = wire;
    }

    /// Returns whether the session's bytes can pass. Until then the session is not told that the
    /// connection is open.
    fn is_ready(&self) -> bool {
        true
    }

    /// Consumes what it can of `sealed`, appends what it opens to `plain`, and appends to `wire` what
    /// the layer itself has to answer.
    ///
    /// # Errors
    /// When `sealed` cannot be opened. What was appended to `wire` is still sent; what the session
    /// has said and was not sealed is lost.
    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>>;

    /// Appends `plain` to `wire`, sealed. Called once [`is_ready`](Self::is_ready), with at most
    /// [`SEALED_MAX`] bytes at a time.
    ///
    /// # Errors
    /// When nothing more can be sealed under the keys there are.
    fn seal(&mut self, plain: &[u8], wire: &mut Output)
    -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Appends to `wire` that nothing more will be sent.
    fn finish(&mut self, wire: &mut Output) {
        let _ = wire;
    }

    /// The wire has ended without [`Opened::Ended`], with `rest` left that cannot be opened.
    ///
    /// # Errors
    /// When a stream must not end here, as it may have been cut by an attacker. The default refuses
    /// every such end.
    fn cut(&mut self, rest: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let left = rest.len();
        Err(format!("the stream was cut short, with {left} bytes that cannot be opened").into())
    }
}

/// How many bytes a layer is given to seal at a time: what a TLS record holds (RFC 8446 section
/// 5.1).
pub const SEALED_MAX: usize = 16 * 1024;

/// No layer: what is received is what the session sees. It costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Layer for Plain {
    const IS_PLAIN: bool = true;

    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        _wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        plain.extend_from_slice(sealed.filled());
        sealed.clear();
        Ok(Opened::GoesOn)
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        wire.append(plain);
        Ok(())
    }

    fn cut(&mut self, _rest: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}
