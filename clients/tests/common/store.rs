//! A small RESP server on the reactor, with enough commands to test a client.

use std::collections::HashMap;

use protocol::resp::{Protocol, Request, Server, Writer};
use protocol::{Context, Flow, Reply, Service};

pub(crate) type Store = HashMap<Vec<u8>, Vec<u8>>;

/// The password of the server.
pub(crate) const PASSWORD: &str = "secret";

/// The commands of one connection.
pub(crate) struct Commands;

impl Service<Server, Store> for Commands {
    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, Store>,
    ) -> Flow {
        let name = request.name().to_ascii_uppercase();
        if name == b"HELLO" {
            reply.codec().set_protocol(Protocol::Resp3);
        }
        let mut out = reply.writer();
        match name.as_slice() {
            b"PING" => out.simple("PONG"),
            b"ECHO" => out.bulk(request.get(1).unwrap_or_default()),
            b"SELECT" => out.ok(),
            b"SET" => {
                if let Some([key, value]) = request.args().exactly() {
                    context.app.insert(key.to_vec(), value.to_vec());
                    out.ok();
                } else {
                    out.error("ERR wrong number of arguments for 'set' command");
                }
            }
            b"GET" => match request.get(1).and_then(|key| context.app.get(key)) {
                Some(value) => out.bulk(value),
                None => out.null(),
            },
            b"AUTH" => {
                if request.iter().last() == Some(PASSWORD.as_bytes()) {
                    out.ok();
                } else {
                    out.error("WRONGPASS invalid username-password pair or user is disabled.");
                }
            }
            b"HELLO" => {
                out.map(1);
                out.bulk("proto");
                out.integer(3);
            }
            b"SUBSCRIBE" => subscribe(request, &mut out),
            b"UNSUBSCRIBE" => confirm("unsubscribe", b"a", 0, &mut out),
            // A push between a command and its answer.
            b"NOISE" => {
                out.push(2);
                out.bulk("noise");
                out.integer(1);
                out.ok();
            }
            b"SILENCE" => {}
            b"QUIT" => return Flow::Close,
            _ => out.error_parts(&[b"ERR unknown command '", request.name(), b"'"]),
        }
        Flow::Continue
    }
}

/// Confirms each channel, and sends it a message before the next confirmation.
fn subscribe(request: Request<'_>, out: &mut Writer<'_>) {
    for (number, channel) in request.args().enumerate() {
        confirm("subscribe", channel, number as i64 + 1, out);
        out.push(3);
        out.bulk("message");
        out.bulk(channel);
        out.bulk(format!("message {number}"));
    }
}

fn confirm(kind: &str, channel: &[u8], count: i64, out: &mut Writer<'_>) {
    out.push(3);
    out.bulk(kind);
    out.bulk(channel);
    out.integer(count);
}
