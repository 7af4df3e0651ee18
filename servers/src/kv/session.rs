//! One connection: requests in, replies out, and what others have it say.

use std::collections::VecDeque;
use std::net::SocketAddr;

use protocol::resp::{Request, Server, Writer};
use protocol::{Context, Conversation, Flow, Output, Reply, Service};

use super::app::App;
use super::client::{Client, Replies};
use super::commands::transactions;
use super::room::GiveBack;
use super::{blocking, dispatch};

/// Requests of more parts than this are collected on the heap.
const PARTS: usize = 8;
/// Bytes of requests that are taken from a client while it is blocked, as many as of one in a
/// transaction; more stay with it. What it waits for may come from a program that writes all of these
/// before.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests of those that are carried out before other clients get their turn.
const CAUGHT_UP_PER_TURN: usize = 2048;
/// Bytes of replies after which a client gives way to others, and is sent them. It is read from
/// however many it has not taken yet.
const PORTION: u64 = 256 * 1024;
/// Messages for others after which a client gives way to them: what has been posted and not been
/// taken is bounded by no limit of theirs.
const POSTS_PER_TURN: usize = 16 * 1024;

/// The number of a connection that is no client yet, or no more.
const NOBODY: usize = usize::MAX;

/// The service of one connection. All there is to know of it is in the state, where others reach
/// it: here is only its number.
#[derive(Debug)]
pub struct Connection {
    me: usize,
    address: Option<SocketAddr>,
    /// Whether the loop has been told that silence is fine.
    may_be_silent: bool,
    /// Whether the codec has been told that the client has given its password.
    is_trusted: bool,
    has_deadline: bool,
    /// How many bytes of replies may wait before it gives way.
    portion_end: u64,
    /// What is counted for it while its last replies are sent.
    held: u64,
}

/// The session of a connection from `address`.
pub fn session(address: Option<SocketAddr>) -> Conversation<Server, Connection> {
    let connection = Connection {
        me: NOBODY,
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
    /// Carries out a request, or keeps it while the client is blocked or has others before it.
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
                // Only CLIENT REPLY ON and RESET are answered to one that wants no replies.
                let mut unheard = Output::new();
                dispatch::request(context.app, self.me, args, &mut unheard);
                let client = &mut context.app.clients[self.me];
                match (replies, client.replies) {
                    (_, Replies::On) => output.append(&unheard.to_vec()),
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

    /// What follows from what was done: for others, and for the connection itself.
    fn conclude(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        let is_over = reply.backlog() > context.app.backlog_max(self.me);
        if is_over && !context.app.clients[self.me].killed {
            context.app.close_over_limit(self.me);
        }
        self.count_held(reply, context);
        let mut wakes = std::mem::take(&mut context.app.wakes);
        if !wakes.is_empty() {
            wakes.drain(..).for_each(|peer| context.effects.wake(peer));
            wakes.give_back();
        }
        context.app.wakes = wakes;
        let client = &context.app.clients[self.me];
        // Of one that is not read from it is not known whether it is still there.
        let may_be_silent = client.listens() && client.waiting_bytes <= WAITING_BYTES_MAX;
        if may_be_silent != self.may_be_silent {
            self.may_be_silent = may_be_silent;
            context.effects.allow_silence(self.may_be_silent);
        }
        let client = &context.app.clients[self.me];
        if client.killed {
            // Nobody waits until it reads what there is for it.
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
        if is_behind || has_portion || context.app.posted > POSTS_PER_TURN {
            // Those who were woken are in line before it.
            context.app.posted = 0;
            self.portion_end = reply.backlog() + PORTION;
            context.effects.wake(context.me);
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// Counts what is unread; below the low mark that is not worth it, and not told of.
    fn count_held(&self, reply: &Reply<'_, Server>, context: &mut Context<'_, App>) {
        let unread = reply.backlog();
        context
            .app
            .count_held(self.me, if unread > context.limits.output_low { unread } else { 0 });
    }

    /// A call begins: what has been sent since the last makes no portion.
    fn begin(&mut self, reply: &Reply<'_, Server>) {
        self.portion_end = self.portion_end.min(reply.backlog() + PORTION);
    }

    /// The client is gone, for everyone but the loop.
    fn leave(&mut self, app: &mut App) {
        let me = std::mem::replace(&mut self.me, NOBODY);
        if !app.clients.contains(me) {
            return;
        }
        self.held = std::mem::take(&mut app.clients[me].held);
        app.retire(me);
        transactions::forget_watched(app, me);
        app.clients.remove(me);
    }

    /// Tells the loop for how long the client waits at most, once for each time it does.
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

    /// Says what others have it say, and goes on with what was asked for while the client was
    /// blocked: what is asked for later is answered later.
    fn catch_up(&self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) {
        let client = &mut context.app.clients[self.me];
        client.outbox_bytes = 0;
        client.outbox.drain(..).for_each(|encoded| reply.share(encoded));
        client.outbox.give_back();
        let limit = context.app.backlog_max(self.me).min(self.portion_end);
        for _ in 0..CAUGHT_UP_PER_TURN {
            let client = &mut context.app.clients[self.me];
            let is_done = client.ending || client.killed || client.blocked.is_some();
            if is_done || reply.backlog() > limit {
                break;
            }
            let Some(kept) = client.waiting.pop_front() else {
                // Nor is the room kept that there was for them.
                client.waiting = VecDeque::new();
                break;
            };
            let args: Vec<&[u8]> = kept.iter().map(|part| &**part).collect();
            client.waiting_bytes -= dispatch::size_of_request(&args);
            self.carry_out(&args, reply, context);
        }
    }

    /// Tells the codec how much the client may send.
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
        if client.killed {
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

    /// It has read nearly all there was for it.
    fn drained(&mut self, reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        self.count_held(reply, context);
        Flow::Continue
    }

    /// A blocked client has waited for as long as it wanted to.
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

    /// A client that hung up while it is blocked is not answered any more, as Redis has it. One that
    /// merely gave way to others still is.
    fn hung_up(&mut self, _reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        if context.app.clients[self.me].blocked.is_some() { Flow::Close } else { Flow::Continue }
    }

    /// Those who listen would do so for ever.
    fn stopping(&mut self, _reply: &mut Reply<'_, Server>, context: &mut Context<'_, App>) -> Flow {
        if context.app.clients[self.me].listens() { Flow::Close } else { Flow::Continue }
    }

    /// It may take long until the last replies are sent and the peer is gone, too.
    fn ending(&mut self, context: &mut Context<'_, App>) {
        self.leave(context.app);
    }

    fn closed(&mut self, _reason: &protocol::Reason, context: &mut Context<'_, App>) {
        self.leave(context.app);
        context.app.held -= self.held;
    }
}
