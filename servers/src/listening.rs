//! What a server with one loop listens on, and how that is passed to a new program that takes over.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use log::error;
use protocol::Session;
use reactor::{Accepted, LoopCx, Token};

use crate::bound::Bound;
use crate::handover::{Given, Traits};
use crate::listen::{Kind, Socket};
use crate::serving::Serving;

/// What a server with one loop listens on.
pub(crate) struct Listening<A: 'static, S> {
    serving: Serving<A, S>,
    /// The sources of the sockets. Some may have ended.
    sources: RefCell<Vec<(Token, Traits)>>,
}

impl<A: 'static, S: Session<A> + 'static> Listening<A, S> {
    /// Serves `sockets` on the loop of `cx`.
    ///
    /// # Errors
    /// When the kernel refuses to watch a socket.
    pub(crate) fn open(
        sockets: Vec<Socket>,
        serving: Serving<A, S>,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<Rc<Self>> {
        let listening = Self { serving, sources: RefCell::default() };
        for Socket { kind, is_passed, .. } in sockets {
            match kind {
                Kind::Streams { listener, is_encrypted } => {
                    for listener in listener.into_listeners() {
                        listening.serve(Bound::Streams(listener), is_encrypted, is_passed, cx)?;
                    }
                }
                Kind::Datagrams(sockets) => {
                    for socket in sockets {
                        listening.serve(Bound::Datagrams(socket), false, is_passed, cx)?;
                    }
                }
            }
        }
        Ok(Rc::new(listening))
    }

    fn serve(
        &self,
        socket: Bound,
        is_encrypted: bool,
        is_passed: bool,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<()> {
        let traits = Traits { is_encrypted, owns_file: socket.owns_file(), is_passed };
        let token = match socket {
            Bound::Streams(listener) => {
                listener.register(cx, self.serving.accept(is_encrypted)?)?
            }
            Bound::Datagrams(socket) => self.serving.serve_datagrams(socket, cx)?,
        };
        self.sources.borrow_mut().push((token, traits));
        Ok(())
    }

    /// Returns duplicates of the sockets.
    ///
    /// # Errors
    /// When the process has too few descriptors.
    pub(crate) fn duplicates(&self, cx: &mut LoopCx<'_, A>) -> io::Result<Vec<Given>> {
        let mut duplicates = Vec::new();
        for (token, traits) in &*self.sources.borrow() {
            if let Some(descriptor) = cx.duplicate_fd(*token)? {
                duplicates.push(Given { traits: *traits, descriptor });
            }
        }
        Ok(duplicates)
    }

    /// Ends the sources, since another process goes on with the sockets. What waits to be accepted or
    /// received stays there.
    pub(crate) fn release(&self, cx: &mut LoopCx<'_, A>) {
        self.sources.borrow_mut().drain(..).for_each(|(token, _)| cx.release(token));
    }

    /// Serves sockets again that were released. Logs those that cannot be.
    pub(crate) fn resume(&self, duplicates: Vec<Given>, cx: &mut LoopCx<'_, A>) {
        for Given { traits, descriptor } in duplicates {
            let result = Bound::new(descriptor).and_then(|mut socket| {
                let address = socket.address().clone();
                if traits.owns_file
                    && let Err(error) = socket.own_file()
                {
                    error!("clients no longer find {address}: its file is gone: {error}");
                }
                self.serve(socket, traits.is_encrypted, traits.is_passed, cx)
            });
            if let Err(error) = result {
                error!("a socket is no longer listened on: {error}");
            }
        }
    }

    /// Goes on with a connection of another process.
    ///
    /// # Errors
    /// When its state cannot be restored.
    pub(crate) fn restore(
        &self,
        accepted: Accepted,
        state: &[u8],
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<Token> {
        self.serving.restore(accepted, state, cx)
    }
}
