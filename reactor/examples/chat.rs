//! A chat: each line that a member sends goes to all other members. It shows how connections talk
//! to one another: through the application state, and by waking.
//!
//! Try it with `cargo run -p myevent-reactor --example chat`, then `nc 127.0.0.1 7000` in two
//! terminals.

use protocol::codecs::Lines;
use protocol::{Codec, ConnectionId, Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{ListenOptions, Listener, Reactor, Stream};
use std::collections::HashMap;
use std::sync::Arc;

/// The application state: the members, each with the messages that its connection has not taken
/// yet. A message is encoded once, however many members it is for.
#[derive(Default)]
struct Room {
    members: HashMap<ConnectionId, Vec<Arc<[u8]>>>,
}

/// The session of one member.
struct Member;

impl Service<Lines, Room> for Member {
    fn open(&mut self, _: &mut Reply<'_, Lines>, context: &mut Context<'_, Room>) -> Flow {
        context.app.members.insert(context.me, Vec::new());
        // A member who only listens stays.
        context.effects.allow_silence(true);
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Room>,
    ) -> Flow {
        let message = reply.codec().encode_shared(line);
        for (id, messages) in &mut context.app.members {
            if *id != context.me {
                messages.push(Arc::clone(&message));
                context.effects.wake(*id);
            }
        }
        Flow::Continue
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Room>) -> Flow {
        let messages = context.app.members.get_mut(&context.me);
        for message in messages.into_iter().flat_map(|messages| messages.drain(..)) {
            // `Limits::output_max` bounds what waits for a member who does not read.
            reply.share(message);
        }
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, Lines>, _: &mut Context<'_, Room>) -> Flow {
        Flow::Close
    }

    fn ending(&mut self, context: &mut Context<'_, Room>) {
        context.app.members.remove(&context.me);
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Room>) {
        context.app.members.remove(&context.me);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(Room::default())?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(Lines::default(), Member)
    })?;
    Ok(reactor.run()?)
}
