//! What one loop listens on, and how that is passed to a new program that takes over.

use std::io;

use log::{error, warn};
use protocol::Session;
use reactor::{Accept, Accepted, LoopCx, Member, Token};

use crate::bound::Bound;
use crate::handover::{Given, Sockets, Traits};
use crate::listen::{Kind, Socket};
use crate::serving::Serving;

/// What one loop listens on.
pub(crate) struct Listening<A: 'static, S> {
    serving: Serving<A, S>,
    /// The place of the loop, if it is one of several.
    member: Option<Member<A>>,
    /// Whether the connections of each listener of the group are encrypted.
    encrypted: Vec<bool>,
    sources: Vec<Source>,
    /// The sockets that were released, and which a new program has not taken over yet.
    released: Vec<(Given, Holder)>,
}

/// The source of a socket. It may have ended.
struct Source {
    token: Token,
    traits: Traits,
    holder: Holder,
    takes: Takes,
}

/// What arrives at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Connections,
    Datagrams,
}

/// What has a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    ThisLoop,
    /// The first passes it on.
    AllLoops,
}

impl<A: 'static, S: Session<A> + 'static> Listening<A, S> {
    /// Serves `sockets` on the only loop, that of `cx`.
    ///
    /// # Errors
    /// When the kernel refuses to watch a socket.
    pub(crate) fn open(
        sockets: Vec<Socket>,
        serving: Serving<A, S>,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<Self> {
        let mut listening = Self::new(serving, None);
        for Socket { kind, is_passed, .. } in sockets {
            match kind {
                Kind::Streams { listener, is_encrypted } => {
                    for listener in listener.into_listeners() {
                        let bound = Bound::Streams(listener);
                        let traits = Traits::of(&bound, is_encrypted, is_passed);
                        listening.serve(bound, traits, Holder::ThisLoop, cx)?;
                    }
                }
                Kind::Datagrams(sockets) => {
                    for socket in sockets {
                        let bound = Bound::Datagrams(socket);
                        listening.serve_datagrams(bound, is_passed, cx)?;
                    }
                }
            }
        }
        Ok(listening)
    }

    /// Serves nothing yet. `member` is the place of the loop if it is one of several.
    pub(crate) fn new(serving: Serving<A, S>, member: Option<Member<A>>) -> Self {
        Self { serving, member, encrypted: vec![], sources: vec![], released: vec![] }
    }

    /// Takes this loop's share of the connections of the next listener of the group.
    ///
    /// # Errors
    /// As for [`Member::accept`].
    pub(crate) fn take_share(
        &mut self,
        member: &Member<A>,
        traits: Traits,
        accept: Accept,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<()> {
        let is_encrypted = traits.is_encrypted;
        let token = member.accept(self.encrypted.len(), cx, self.serving.accept(is_encrypted)?)?;
        self.encrypted.push(is_encrypted);
        let holder = match accept {
            // The acceptor has the socket.
            Accept::HandOver(_) => return Ok(()),
            Accept::ReusePort => Holder::ThisLoop,
            Accept::Shared => Holder::AllLoops,
        };
        self.sources.push(Source { token, traits, holder, takes: Takes::Connections });
        Ok(())
    }

    /// Serves a socket of datagrams.
    ///
    /// # Errors
    /// When the kernel refuses to watch it, or the server takes no datagrams.
    pub(crate) fn serve_datagrams(
        &mut self,
        socket: Bound,
        is_passed: bool,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<()> {
        let traits = Traits::of(&socket, false, is_passed);
        self.serve(socket, traits, Holder::ThisLoop, cx)
    }

    fn serve(
        &mut self,
        socket: Bound,
        traits: Traits,
        holder: Holder,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<()> {
        let takes = match socket {
            Bound::Streams(_) => Takes::Connections,
            Bound::Datagrams(_) => Takes::Datagrams,
        };
        let token = match socket {
            Bound::Streams(listener) => {
                let accept = self.serving.accept(traits.is_encrypted)?;
                match &self.member {
                    Some(member) if holder == Holder::AllLoops => {
                        member.accept_from(listener.exclusive(), cx, accept)?
                    }
                    Some(member) => member.accept_from(listener, cx, accept)?,
                    None => listener.register(cx, accept)?,
                }
            }
            Bound::Datagrams(socket) => self.serving.serve_datagrams(socket, cx)?,
        };
        self.sources.push(Source { token, traits, holder, takes });
        Ok(())
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

    /// Serves the connections that the acceptor has handed over and that wait, so that they are
    /// handed over to the new program with the others.
    fn take_untaken(&self, cx: &mut LoopCx<'_, A>) {
        let Some(member) = &self.member else { return };
        for (listener, accepted) in member.take_untaken(cx) {
            let is_encrypted = self.encrypted.get(listener).copied().unwrap_or_default();
            let accept = self.serving.accept(is_encrypted);
            if let Err(error) = accept.and_then(|mut accept| accept(accepted, cx)) {
                warn!("a connection was dropped: {error}");
            }
        }
    }

    /// Returns duplicates of the sockets that are still served.
    fn duplicate(&self, cx: &mut LoopCx<'_, A>) -> io::Result<Vec<(Given, Holder)>> {
        let mut duplicates = Vec::with_capacity(self.sources.len());
        for Source { token, traits, holder, .. } in &self.sources {
            if let Some(descriptor) = cx.duplicate_fd(*token)? {
                duplicates.push((Given { traits: *traits, descriptor }, *holder));
            }
        }
        Ok(duplicates)
    }
}

impl<A: 'static, S: Session<A> + 'static> Sockets<A> for Listening<A, S> {
    fn duplicates(&mut self, cx: &mut LoopCx<'_, A>) -> io::Result<Vec<Given>> {
        let is_first = self.member.as_ref().is_none_or(|member| member.index() == 0);
        let duplicates = self.duplicate(cx)?.into_iter();
        let passed_on = duplicates.filter(|(_, holder)| is_first || *holder == Holder::ThisLoop);
        Ok(passed_on.map(|(given, _)| given).collect())
    }

    fn release(&mut self, cx: &mut LoopCx<'_, A>) -> io::Result<()> {
        self.released = self.duplicate(cx)?;
        for Source { token, takes, .. } in self.sources.drain(..) {
            match takes {
                Takes::Connections => cx.release(token),
                // Answers that are under way are sent by this program.
                Takes::Datagrams => cx.retire(token),
            }
        }
        self.take_untaken(cx);
        Ok(())
    }

    fn forget(&mut self) {
        self.released = Vec::new();
    }

    fn resume(&mut self, cx: &mut LoopCx<'_, A>) {
        for (given, holder) in std::mem::take(&mut self.released) {
            let result =
                given.reclaim().and_then(|(socket, traits)| self.serve(socket, traits, holder, cx));
            if let Err(error) = result {
                error!("a socket is no longer listened on: {error}");
            }
        }
    }
}
