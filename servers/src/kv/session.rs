//! One connection: requests in, replies out, and what others have it say.

use std::error::Error;
use std::net::SocketAddr;

use protocol::resp::{Request, Server, Writer};
use protocol::{Conversation, Flow, Output, Reply, Service, Turn};

use super::app::App;
use super::client::{Client, Replies};
use super::{blocking, dispatch, transactions};

/// Requests of more parts than this are collected on the heap.
const PARTS: usize = 8;
/// Bytes of requests that are taken from a client while it is blocked; more stay with it.
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// Messages for others after which a client gives way to them: what has been posted and not been
/// taken is bounded by no limit of theirs.
const POSTS_PER_TURN: usize = 16 * 1024;

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
}

/// The session of a connection from `address`.
pub fn session(address: Option<SocketAddr>) -> Conversation<Server, Connection> {
    let (me, is_trusted) = (usize::MAX, true);
    let connection =
        Connection { me, address, may_be_silent: false, is_trusted, has_deadline: false };
    Conversation::new(Server::default(), connection)
}

impl Connection {
    /// Carries out a request, or keeps it while the client is blocked.
    fn handle(&self, args: &[&[u8]], reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) {
        let client = &mut turn.app.clients[self.me];
        if client.blocked.is_some() {
            client.waiting_bytes += dispatch::size_of_request(args);
            client.waiting.push_back(dispatch::kept(args));
            return;
        }
        let (_, output) = reply.parts();
        match client.replies {
            Replies::On => dispatch::request(turn.app, self.me, args, output),
            replies => {
                // Only CLIENT REPLY ON and RESET are answered to one that wants no replies.
                let mut unheard = Output::new();
                dispatch::request(turn.app, self.me, args, &mut unheard);
                let client = &mut turn.app.clients[self.me];
                match (replies, client.replies) {
                    (_, Replies::On) => output.append(&unheard.to_vec()),
                    (Replies::Skip, Replies::Skip) => client.replies = Replies::On,
                    _ => {}
                }
                client.outbox.drain(..).for_each(|encoded| reply.share(encoded));
            }
        }
        let client = &mut turn.app.clients[self.me];
        if client.replies == Replies::SkipNext {
            client.replies = Replies::Skip;
        }
    }

    /// What follows from what was done: for others, and for the connection itself.
    fn conclude(&mut self, reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) -> Flow {
        let mut wakes = std::mem::take(&mut turn.app.wakes);
        wakes.drain(..).for_each(|peer| turn.wake(peer));
        turn.app.wakes = wakes;
        let client = &turn.app.clients[self.me];
        // Of one that is not read from it is not known whether it is still there.
        let may_be_silent = client.listens() && client.waiting_bytes <= WAITING_BYTES_MAX;
        if may_be_silent != self.may_be_silent {
            self.may_be_silent = may_be_silent;
            turn.allow_silence(self.may_be_silent);
        }
        let limit = turn.app.backlog_max(self.me);
        let client = &mut turn.app.clients[self.me];
        if reply.backlog() > limit {
            log::info!("client {} closed: {} bytes unread", client.id, reply.backlog());
            client.killed = true;
        }
        if client.killed {
            // Nobody waits until it reads what there is for it.
            reply.parts().1.clear();
        }
        if client.killed || client.ending {
            turn.app.retire(self.me);
            return Flow::Close;
        }
        self.keep_time(turn);
        let client = &turn.app.clients[self.me];
        if client.blocked.is_some() && client.waiting_bytes > WAITING_BYTES_MAX {
            return Flow::Pause;
        }
        if turn.app.posted > POSTS_PER_TURN {
            // Those who were woken are in line before it.
            turn.app.posted = 0;
            turn.wake(turn.me);
            return Flow::Pause;
        }
        Flow::Continue
    }

    /// Tells the loop for how long the client waits at most, once for each time it does.
    fn keep_time(&mut self, turn: &mut Turn<'_, App>) {
        let deadline = match &mut turn.app.clients[self.me].blocked {
            Some(blocked) if !blocked.is_timed => {
                blocked.is_timed = true;
                blocked.deadline
            }
            Some(_) => return,
            None => None,
        };
        if deadline.is_some() || self.has_deadline {
            self.has_deadline = deadline.is_some();
            turn.set_deadline(deadline);
        }
    }

    /// Says what others have it say, and goes on with what was asked for while the client was
    /// blocked: what is asked for later is answered later.
    fn catch_up(&self, reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) {
        let client = &mut turn.app.clients[self.me];
        client.outbox_bytes = 0;
        client.outbox.drain(..).for_each(|encoded| reply.share(encoded));
        while turn.app.clients[self.me].blocked.is_none() {
            let limit = turn.app.backlog_max(self.me);
            let client = &turn.app.clients[self.me];
            if client.ending || client.killed || reply.backlog() > limit {
                break;
            }
            let Some(kept) = turn.app.clients[self.me].waiting.pop_front() else { break };
            let args: Vec<&[u8]> = kept.iter().map(|part| &**part).collect();
            turn.app.clients[self.me].waiting_bytes -= dispatch::size_of_request(&args);
            self.handle(&args, reply, turn);
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
    fn open(&mut self, reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) -> Flow {
        let app = &mut *turn.app;
        let authenticated = app.config.password.is_empty();
        let client = Client::new(app.next_id, turn.me, self.address, authenticated, turn.now);
        app.next_id += 1;
        app.stats.connections += 1;
        self.me = app.clients.insert(client);
        self.trust(reply, turn.app);
        Flow::Continue
    }

    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        turn: &mut Turn<'_, App>,
    ) -> Flow {
        let client = &mut turn.app.clients[self.me];
        client.active = turn.now;
        if client.killed {
            return self.conclude(reply, turn);
        }
        if !client.outbox.is_empty() {
            self.catch_up(reply, turn);
        }
        if request.len() <= PARTS {
            let mut room = [request.name(); PARTS];
            room[1..].iter_mut().zip(request.args()).for_each(|(slot, part)| *slot = part);
            self.handle(&room[..request.len()], reply, turn);
        } else {
            let parts: Vec<&[u8]> = request.iter().collect();
            self.handle(&parts, reply, turn);
        }
        self.trust(reply, turn.app);
        self.conclude(reply, turn)
    }

    fn resume(&mut self, reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) -> Flow {
        self.catch_up(reply, turn);
        self.trust(reply, turn.app);
        self.conclude(reply, turn)
    }

    /// A blocked client has waited for as long as it wanted to.
    fn timeout(&mut self, reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) -> Flow {
        let was_blocked = blocking::forget(turn.app, self.me);
        let client = &turn.app.clients[self.me];
        if was_blocked && client.replies == Replies::On {
            Writer::new(reply.parts().1, client.protocol).null_array();
        }
        self.catch_up(reply, turn);
        self.trust(reply, turn.app);
        self.conclude(reply, turn)
    }

    /// Those who listen would do so for ever.
    fn stopping(&mut self, _reply: &mut Reply<'_, Server>, turn: &mut Turn<'_, App>) -> Flow {
        if turn.app.clients[self.me].listens() { Flow::Close } else { Flow::Continue }
    }

    fn closed(&mut self, _error: Option<&(dyn Error + 'static)>, turn: &mut Turn<'_, App>) {
        if !turn.app.clients.contains(self.me) {
            return;
        }
        turn.app.retire(self.me);
        transactions::forget_watched(turn.app, self.me);
        turn.app.clients.remove(self.me);
    }
}
