//! The service of one connection: it runs requests, and sends replies and the messages of other
//! clients.

use std::collections::VecDeque;
use std::net::SocketAddr;

use protocol::resp::{Request, Server, Writer};
use protocol::{
    Context, Conversation, Flow, NotSaved, Output, Reply, SavedState, Service, State, StateError,
};

use super::app::App;
use super::client::{Client, Replies};
use super::commands::transactions;
use super::moving::{Moving, client};
use super::room::GiveBack;
use super::{blocking, dispatch};

/// Requests of more parts than this are collected on the heap.
const PARTS: usize = 8;
/// Bytes of requests that are kept for a blocked client. Beyond this, the connection is not read.
/// It equals the limit of a transaction: a program may send the list that the client waits for only
/// after it has written that many requests.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The number of kept requests that run in one call, before other clients are served.
const CAUGHT_UP_PER_CALL: usize = 2048;
/// Bytes of replies after which a client yields to others, and its replies are sent. Its requests
/// are read even if it has not read earlier replies.
const PORTION: u64 = 256 * 1024;
/// The number of messages to subscribers after which a publisher yields to them. Their own limits
/// do not bound the messages that they could not read yet.
const POSTS_MAX: usize = 16 * 1024;

/// The number of a connection that is not a client yet, or is one no longer.
const NO_CLIENT: usize = usize::MAX;

/// The service of one connection. It contains only the number of its client. The state of the
/// client is in [`App`], where other connections can use it.
#[derive(Debug)]
pub struct Connection {
    me: usize,
    address: Option<SocketAddr>,
    /// Whether the loop allows the connection to be silent.
    may_be_silent: bool,
    /// Whether the codec knows that the client has given the password.
    is_trusted: bool,
    has_deadline: bool,
    /// The number of unsent bytes of replies at which the client yields.
    portion_end: u64,
    /// The bytes that are counted for the client while its last replies are sent.
    held: u64,
}

/// Returns the session of a connection from `address`.
pub fn session(address: Option<SocketAddr>) -> Conversation<Server, Connection> {
    let connection = Connection {
        me: NO_CLIENT,
        address,
        may_be_silent: false,
        is_trusted: true,
        has_deadline: false,
        portion_end: PORTION,
        held: 0,
    };
    Conversation::new(Server::default(), connection)
}

impl Connection {
    /// Runs a request. Keeps it for later if the client is blocked or has earlier requests waiting.
    fn handle(
        &self,
        args: &[&[u8]],
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, App>,
    ) {
        let client = &mut context.app.clients[self.me];
        if client.blocked.is_some() || !client.waiting.is_empty() {
            client.waiting_bytes += dispatch::size_of_request(args);
            client.waiting.push_back(dispatch::kept(args));
        } else {
            self.carry_out(args, reply, context);
        }
    }

    fn carry_out(
        &self,
        args: &[&[u8]],
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, App>,
    ) {
        let (_, output) = reply.parts();
        match context.app.clients[self.me].replies {
            Replies::On => dispatch::request(context.app, self.me, args, output),
            replies => {
                // If replies are turned off, only CLIENT REPLY ON and RESET are answered.
                let mut discarded = Output::new();
                dispatch::request(context.app, self.me, args, &mut discarded);
                let client = &mut context.app.clients[self.me];
                match (replies, client.replies) {
                    (_, Replies::On) => output.append(&discarded.to_vec()),
                    (Replies::Skip, Replies::Skip) => client.replies = Replies::On,
                    _ => {}
                }
                client.outbox.drain(..).for_each(|encoded| reply.share(encoded));
            }
        }
        let client = &mut context.app.clients[self.me];
        if client.replies == Replies::SkipNext {
            client.replies = Replies::Skip;
        }
    }

    /// Finishes a call: wakes other connections, and decides how this connection continues.
    fn conclude(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        let is_over = reply.backlog() > context.app.backlog_max(self.me);
        if is_over && !context.app.clients[self.me].killed {
            context.app.close_over_limit(self.me);
        }
        self.count_held(reply, context);
        let mut wakes = std::mem::take(&mut context.app.wakes);
        if !wakes.is_empty() {
            wakes.drain(..).for_each(|connection| context.effects.wake(connection));
            wakes.give_back();
        }
        context.app.wakes = wakes;
        let client = &context.app.clients[self.me];
        // If the connection is not read, the loop cannot see whether the client still exists.
        let may_be_silent = client.listens() && client.waiting_bytes <= WAITING_BYTES_MAX;
        if may_be_silent != self.may_be_silent {
            self.may_be_silent = may_be_silent;
            context.effects.allow_silence(self.may_be_silent);
        }
        let client = &context.app.clients[self.me];
        if client.killed {
            // The client does not receive its remaining output.
            reply.parts().1.clear();
        }
        if client.killed || client.ending {
            return Flow::Close;
        }
        self.keep_time(context);
        let client = &context.app.clients[self.me];
        if client.blocked.is_some() && client.waiting_bytes > WAITING_BYTES_MAX {
            return Flow::Pause;
        }
        let is_behind = client.blocked.is_none() && !client.waiting.is_empty();
        let has_portion = reply.backlog() >= self.portion_end;
        if is_behind || has_portion || context.app.posted > POSTS_MAX {
            // The connections that were woken run before this one.
            context.app.posted = 0;
            self.portion_end = reply.backlog() + PORTION;
            context.effects.wake(context.me);
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// Counts the unread output. Output below the low mark counts as zero, because the loop does
    /// not report further changes there.
    fn count_held(&self, reply: &Reply<'_, Server>, context: &mut Context<'_, App>) {
        let unread = reply.backlog();
        context
            .app
            .count_held(self.me, if unread > context.limits.output_low { unread } else { 0 });
    }

    /// Begins a call. Output that was sent since the last call does not count for the portion.
    fn begin(&mut self, reply: &Reply<'_, Server>) {
        self.portion_end = self.portion_end.min(reply.backlog() + PORTION);
    }

    /// Removes the client from the state. The connection may still exist.
    fn leave(&mut self, app: &mut App) {
        let me = std::mem::replace(&mut self.me, NO_CLIENT);
        if !app.clients.contains(me) {
            return;
        }
        self.held = std::mem::take(&mut app.clients[me].held);
        app.retire(me);
        transactions::forget_watched(app, me);
        app.clients.remove(me);
    }

    /// Sets a timeout for the wait of a blocked client, once for each wait. Clears the timeout
    /// after the wait.
    fn keep_time(&mut self, context: &mut Context<'_, App>) {
        let deadline = match &mut context.app.clients[self.me].blocked {
            Some(blocked) if !blocked.is_timed => {
                blocked.is_timed = true;
                blocked.deadline
            }
            Some(_) => return,
            None => None,
        };
        if deadline.is_some() || self.has_deadline {
            self.has_deadline = deadline.is_some();
            let left = deadline.map(|at| at.saturating_duration_since(context.now));
            context.effects.set_timeout(0, left);
        }
    }

    /// Sends the messages of other clients, and runs the requests that were kept while the client
    /// was blocked. Kept requests run before later ones.
    fn catch_up(&self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) {
        let client = &mut context.app.clients[self.me];
        client.outbox_bytes = 0;
        client.outbox.drain(..).for_each(|encoded| reply.share(encoded));
        client.outbox.give_back();
        let limit = context.app.backlog_max(self.me).min(self.portion_end);
        for _ in 0..CAUGHT_UP_PER_CALL {
            let client = &mut context.app.clients[self.me];
            let is_done = client.ending || client.killed || client.blocked.is_some();
            if is_done || reply.backlog() > limit {
                break;
            }
            let Some(kept) = client.waiting.pop_front() else {
                // Frees the memory of the queue.
                client.waiting = VecDeque::new();
                break;
            };
            let args: Vec<&[u8]> = kept.iter().map(|part| &**part).collect();
            client.waiting_bytes -= dispatch::size_of_request(&args);
            self.carry_out(&args, reply, context);
        }
    }

    /// Sets the limits of the codec: they are lower until the client has given the password.
    fn trust(&mut self, reply: &mut Reply<'_, Server>, app: &App) {
        let is_trusted = app.trusts(&app.clients[self.me]);
        if is_trusted != self.is_trusted {
            self.is_trusted = is_trusted;
            reply.codec().set_authenticated(is_trusted);
        }
    }
}

impl Service<Server, App> for Connection {
    fn open(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        let app = &mut *context.app;
        if matches!(app.moving, Moving::Gone) {
            return Flow::Close;
        }
        let authenticated = app.config.password.is_empty();
        let client = Client::new(app.next_id, context.me, self.address, authenticated, context.now);
        app.next_id += 1;
        app.stats.connections += 1;
        self.me = app.clients.insert(Box::new(client));
        self.trust(reply, context.app);
        Flow::Continue
    }

    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.begin(reply);
        let client = &mut context.app.clients[self.me];
        client.active = context.now;
        if client.killed || client.ending {
            return self.conclude(reply, context);
        }
        if !client.outbox.is_empty() {
            self.catch_up(reply, context);
        }
        if request.len() <= PARTS {
            let mut room = [request.name(); PARTS];
            room[1..].iter_mut().zip(request.args()).for_each(|(slot, part)| *slot = part);
            self.handle(&room[..request.len()], reply, context);
        } else {
            let parts: Vec<&[u8]> = request.iter().collect();
            self.handle(&parts, reply, context);
        }
        self.trust(reply, context.app);
        self.conclude(reply, context)
    }

    fn resume(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        self.begin(reply);
        self.catch_up(reply, context);
        self.trust(reply, context.app);
        self.conclude(reply, context)
    }

    /// Called when the client has read nearly all of its output.
    fn drained(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        self.count_held(reply, context);
        Flow::Continue
    }

    /// Called when the wait of a blocked client has timed out.
    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.begin(reply);
        let was_blocked = blocking::forget(context.app, self.me);
        let client = &context.app.clients[self.me];
        if was_blocked && client.replies == Replies::On {
            Writer::new(reply.parts().1, client.protocol).null_array();
        }
        self.catch_up(reply, context);
        self.trust(reply, context.app);
        self.conclude(reply, context)
    }

    /// As in Redis, a client that hangs up while it is blocked gets no reply. One that only yields
    /// to others still gets its replies.
    fn hung_up(&mut self, _reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        if context.app.clients[self.me].blocked.is_some() { Flow::Close } else { Flow::Continue }
    }

    /// Closes clients that wait for others, since they could wait for ever.
    fn stopping(&mut self, _reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        if context.app.clients[self.me].listens() { Flow::Close } else { Flow::Continue }
    }

    /// Removes the client at once: sending the last replies may take long.
    fn ending(&mut self, context: &mut Context<'_, App>) {
        self.leave(context.app);
    }

    fn closed(&mut self, _reason: &protocol::Reason, context: &mut Context<'_, App>) {
        self.leave(context.app);
        context.app.held -= self.held;
    }

    fn save(&self, app: &App, state: &mut State) -> Result<(), NotSaved> {
        state.flag(self.is_trusted);
        state.flag(self.has_deadline);
        client::save(app, self.me, state)
    }

    fn restore(&mut self, app: &mut App, state: &mut SavedState<'_>) -> Result<(), StateError> {
        self.is_trusted = state.flag()?;
        self.has_deadline = state.flag()?;
        self.me = client::restore(app, self.address, state)?;
        Ok(())
    }

    /// Wakes itself, since a wake of another connection may have been for the other program.
    fn restored(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        context.app.clients[self.me].connection = context.me;
        context.effects.wake(context.me);
        self.begin(reply);
        self.conclude(reply, context)
    }
}
