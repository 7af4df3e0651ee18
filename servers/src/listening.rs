//! The sockets of a server with one loop: the sources that serve them, and how they are kept for a new
//! program that takes them over.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use protocol::Session;
use reactor::{Accepted, Cx, Handler, LoopCx, Reason, Token};

use crate::bound::Bound;
use crate::handover::Traits;
use crate::listen::{Kind, Socket};
use crate::serving::Serving;

/// The sockets of a server with one loop, and what serves them.
pub(crate) struct Listening<A: 'static, S> {
    serving: Serving<A, S>,
    /// Duplicates of the sockets, until the loop stops.
    kept: RefCell<Vec<Kept>>,
    /// The sources that have the sockets.
    sources: RefCell<Vec<Token>>,
}

/// A socket that is kept to be handed over.
struct Kept {
    socket: Bound,
    /// Whether its connections are encrypted.
    is_encrypted: bool,
    /// The service manager has passed it, and no argument names it.
    is_passed: bool,
}

impl Kept {
    /// Returns what the new program has to know.
    fn traits(&self) -> Traits {
        let Self { socket, is_encrypted, is_passed } = self;
        Traits { is_encrypted: *is_encrypted, owns_file: socket.owns_file(), is_passed: *is_passed }
    }
}

impl<A: 'static, S: Session<A> + 'static> Listening<A, S> {
    /// Serves `sockets` on the loop of `cx`.
    ///
    /// # Errors
    /// When the process has too few descriptors, or the kernel refuses to watch a socket.
    pub(crate) fn open(
        sockets: Vec<Socket>,
        serving: Serving<A, S>,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<Rc<Self>> {
        let mut kept = Vec::new();
        for Socket { kind, is_passed, .. } in sockets {
            let (one, is_encrypted): (Vec<Bound>, bool) = match kind {
                Kind::Streams { listener, is_encrypted } => {
                    let listeners = listener.into_listeners();
                    (listeners.into_iter().map(Bound::Streams).collect(), is_encrypted)
                }
                Kind::Datagrams(sockets) => {
                    (sockets.into_iter().map(Bound::Datagrams).collect(), false)
                }
            };
            kept.extend(one.into_iter().map(|socket| Kept { socket, is_encrypted, is_passed }));
        }
        let sources = RefCell::default();
        let listening = Rc::new(Self { serving, kept: RefCell::new(kept), sources });
        listening.resume(cx)?;
        cx.spawn(Keeper(Rc::clone(&listening)))?;
        Ok(listening)
    }

    /// Serves the sockets, at first or again.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) fn resume(&self, cx: &mut LoopCx<'_, A>) -> io::Result<()> {
        for kept in &*self.kept.borrow() {
            let token = match &kept.socket {
                Bound::Streams(listener) => {
                    let accept = self.serving.accept(kept.is_encrypted)?;
                    listener.try_clone()?.register(cx, accept)?
                }
                Bound::Datagrams(socket) => {
                    self.serving.serve_datagrams(socket.try_clone()?, cx)?
                }
            };
            self.sources.borrow_mut().push(token);
        }
        Ok(())
    }

    /// Ends the sources of the sockets, whose files another process is to remove. What waits to be
    /// accepted or received stays in the sockets.
    pub(crate) fn pause(&self, cx: &mut LoopCx<'_, A>) {
        self.leave_files(true);
        self.sources.borrow_mut().drain(..).for_each(|token| cx.close(token));
    }

    /// Drops the duplicates, so that the sockets end with their sources.
    pub(crate) fn forget(&self) {
        self.kept.borrow_mut().clear();
    }

    /// Leaves the files of Unix sockets to another process, or takes them over from it.
    pub(crate) fn leave_files(&self, is_left: bool) {
        self.kept.borrow().iter().for_each(|kept| kept.socket.leave_file(is_left));
    }

    /// Calls `each` for each socket, with what the new program has to know of it and its descriptor.
    pub(crate) fn for_each(&self, mut each: impl FnMut(Traits, BorrowedFd<'_>)) {
        for kept in &*self.kept.borrow() {
            each(kept.traits(), kept.socket.as_fd());
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

/// Drops the duplicates of the sockets when the loop stops. A client that comes then is refused, and
/// does not wait for a server that accepts nothing more.
struct Keeper<A: 'static, S>(Rc<Listening<A, S>>);

impl<A: 'static, S: Session<A> + 'static> Handler<A> for Keeper<A, S> {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.0.forget();
        cx.end(Reason::Finished);
        Ok(())
    }
}
