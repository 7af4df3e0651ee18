//! The layer between a link and the wire, such as TLS. By default there is none.

use std::error::Error;

use crate::{Buffer, Output, Secured};

/// The result of [`Layer::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The stream goes on.
    GoesOn,
    /// The peer has ended its stream with a message of the layer, such as `close_notify` of TLS
    /// (RFC 8446 section 6.1). The session is told that its input has ended. The wire is still
    /// open: a link that closes lingers until it has ended too, as without a layer, and ignores
    /// what still comes.
    Ended,
}

/// Opens what is received and seals what is sent, between a [`Link`](super::Link) and the wire.
///
/// A layer sees only bytes: it performs no I/O and knows no session. The link keeps the waiting
/// plaintext, compares it with the marks, and seals a bounded amount ahead. So back-pressure works
/// as it does without a layer. The driver reads ranges of files, and the layer seals them piece by
/// piece.
pub trait Layer {
    /// Whether this is [`Plain`]: what is received is what the session sees.
    const IS_PLAIN: bool = false;

    /// Returns whether there is no layer, as [`IS_PLAIN`](Self::IS_PLAIN) does for all values of a
    /// type.
    fn is_absent(&self) -> bool {
        Self::IS_PLAIN
    }

    /// Starts the layer. Appends its first bytes to `wire`, if there are any.
    fn start(&mut self, wire: &mut Output) {
        let _ = wire;
    }

    /// Returns whether the session's bytes can pass. Until then the session is not told that the
    /// connection is open.
    fn is_ready(&self) -> bool {
        true
    }

    /// Returns what sessions see of the encryption ([`Context::secured`](crate::Context::secured)),
    /// if this layer encrypts and is ready.
    fn secured(&self) -> Option<&dyn Secured> {
        None
    }

    /// Consumes `sealed` as far as possible, appends the opened bytes to `plain`, and appends the
    /// layer's own answers to `wire`.
    ///
    /// # Errors
    /// When `sealed` cannot be opened. What was appended to `wire` is still sent. Output that was
    /// not sealed is lost.
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
    /// When nothing more can be sealed, for example because the keys are used up.
    fn seal(&mut self, plain: &[u8], wire: &mut Output)
    -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Appends to `wire` the message that ends the stream.
    fn finish(&mut self, wire: &mut Output) {
        let _ = wire;
    }

    /// Checks an end of the wire without [`Opened::Ended`]. `rest` is the input that could not be
    /// opened.
    ///
    /// # Errors
    /// When the stream must not end here, since an attacker may have cut it. The default refuses
    /// every such end.
    fn cut(&mut self, rest: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let left = rest.len();
        Err(format!("the stream was cut short, with {left} bytes that cannot be opened").into())
    }
}

/// The most bytes that a layer is given to seal at a time: the size of a TLS record (RFC 8446
/// section 5.1).
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

/// `None` is no layer, for connections of one type of which only some are encrypted. It costs a test
/// of a flag.
impl<L: Layer> Layer for Option<L> {
    const IS_PLAIN: bool = L::IS_PLAIN;

    fn is_absent(&self) -> bool {
        self.as_ref().is_none_or(L::is_absent)
    }

    fn start(&mut self, wire: &mut Output) {
        if let Some(layer) = self {
            layer.start(wire);
        }
    }

    fn is_ready(&self) -> bool {
        self.as_ref().is_none_or(L::is_ready)
    }

    fn secured(&self) -> Option<&dyn Secured> {
        self.as_ref()?.secured()
    }

    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        match self {
            Some(layer) => layer.open(sealed, plain, wire),
            None => Plain.open(sealed, plain, wire),
        }
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        match self {
            Some(layer) => layer.seal(plain, wire),
            None => Plain.seal(plain, wire),
        }
    }

    fn finish(&mut self, wire: &mut Output) {
        if let Some(layer) = self {
            layer.finish(wire);
        }
    }

    fn cut(&mut self, rest: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        match self {
            Some(layer) => layer.cut(rest),
            None => Plain.cut(rest),
        }
    }
}
