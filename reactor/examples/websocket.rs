//! A chat in the browser: HTTP serves the page and changes to WebSocket, and a message is encoded
//! once for all members.
//!
//! Try it with `cargo run -p myevent-reactor --example websocket`, then open
//! <http://127.0.0.1:7000/> in two windows.

use protocol::http::{self, RequestHead, Response, Server, Status};
use protocol::websocket::{self, Agreement, Broadcast, Connection, Deflate, Options};
use protocol::websocket::{Message, Sender, Service};
use protocol::{ConnectionId, Context, Flow, Limits, Reason, Upgrade};
use reactor::{ListenOptions, Listener, Reactor, Stream};
use std::collections::HashMap;
use std::sync::Arc;

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>Chat</title>
<form><input autofocus> <button>Send</button></form><ul></ul>
<script>
const socket = new WebSocket('ws://' + location.host + '/chat');
const [form] = document.forms;
form.onsubmit = () => { socket.send(form[0].value); form.reset(); return false; };
socket.onmessage = (event) => {
  document.querySelector('ul').appendChild(document.createElement('li')).textContent = event.data;
};
</script>
"#;

/// The application state: the members, each with the messages that its connection has not taken yet.
#[derive(Default)]
struct Room {
    members: HashMap<ConnectionId, Vec<Broadcast>>,
}

/// Serves the page, and changes to WebSocket at `/chat`.
struct Front {
    options: Arc<Options>,
    agreement: Option<Agreement>,
}

impl http::Service<Room> for Front {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        _: &mut Context<'_, Room>,
    ) -> Flow {
        match head.path() {
            "/" => response.html(Status::OK, PAGE),
            "/chat" => match websocket::accept(head, &self.options) {
                Ok(accepted) => {
                    accepted.respond(response);
                    self.agreement = Some(accepted.into_agreement());
                    return Flow::Upgrade;
                }
                Err(error) => error.respond(response),
            },
            _ => response.error(Status::NOT_FOUND),
        }
        Flow::Continue
    }
}

/// A member of the chat.
struct Member;

impl Service<Room> for Member {
    fn open(&mut self, _: &mut Sender<'_>, context: &mut Context<'_, Room>) -> Flow {
        context.app.members.insert(context.me, Vec::new());
        Flow::Continue
    }

    fn message(
        &mut self,
        message: Message<'_>,
        _: &mut Sender<'_>,
        context: &mut Context<'_, Room>,
    ) -> Flow {
        let news = Broadcast::copied(&message).deflated(&Deflate::default());
        for (id, waiting) in &mut context.app.members {
            waiting.push(news.clone());
            context.effects.wake(*id);
        }
        Flow::Continue
    }

    fn resume(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, Room>) -> Flow {
        let waiting = context.app.members.get_mut(&context.me);
        for news in waiting.into_iter().flat_map(|waiting| waiting.drain(..)) {
            // `Limits::output_max` bounds what waits for a member that does not read.
            sender.share(&news);
        }
        Flow::Continue
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Room>) {
        context.app.members.remove(&context.me);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options { deflate: Some(Deflate::default()), ..Options::default() }.shared()?;
    let http = http::Options::default().shared()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(Room::default())?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_peer| {
        let front = Front { options: Arc::clone(&options), agreement: None };
        Upgrade::new(Server::new(front, Arc::clone(&http)), |server| {
            let front = server.into_service();
            let agreement = front.agreement.unwrap_or_else(|| Agreement::plain(front.options));
            Connection::server(Member, agreement)
        })
    })?;
    Ok(reactor.run()?)
}
