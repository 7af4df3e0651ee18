//! A server that says what is not true: that it is a master, or that another server is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::resp::{Protocol, Request, Server, Writer};
use protocol::{Context, Flow, Reply, Service};

/// What a liar says.
#[derive(Clone, Default)]
pub(crate) struct Liar {
    /// Where the master is not: a host and a port.
    pub(crate) lie: Option<(String, u16)>,
    /// How often it was asked where the master is.
    pub(crate) asked: Arc<AtomicUsize>,
    /// How many other commands it was sent, such as writes.
    pub(crate) commands: Arc<AtomicUsize>,
}

/// The commands of one connection.
pub(crate) struct Commands;

impl Service<Server, Liar> for Commands {
    fn call(
        &mut self,
        request: Request<'_>,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, Liar>,
    ) -> Flow {
        let name = request.name().to_ascii_uppercase();
        let what = request.get(1).unwrap_or_default().to_ascii_uppercase();
        if name == b"HELLO" {
            reply.codec().set_protocol(Protocol::Resp3);
        }
        let mut out = reply.writer();
        match (name.as_slice(), what.as_slice()) {
            (b"HELLO", _) => {
                out.map(1);
                out.bulk("proto");
                out.integer(3);
            }
            (b"PING", _) => out.simple("PONG"),
            (b"ROLE", _) => {
                out.array(3);
                out.bulk("master");
                out.integer(i64::MAX);
                out.array(0);
            }
            (b"SUBSCRIBE", _) => {
                out.push(3);
                out.bulk("subscribe");
                out.bulk(request.get(1).unwrap_or_default());
                out.integer(1);
            }
            (b"SENTINEL", what) => {
                context.app.asked.fetch_add(1, Ordering::SeqCst);
                lie(what, context.app, &mut out);
            }
            _ => {
                context.app.commands.fetch_add(1, Ordering::SeqCst);
                out.ok();
            }
        }
        Flow::Continue
    }
}

fn lie(what: &[u8], liar: &Liar, out: &mut Writer<'_>) {
    let Some((host, port)) = &liar.lie else { return out.null() };
    match what {
        b"GET-MASTER-ADDR-BY-NAME" => {
            out.array(2);
            out.bulk(host);
            out.bulk(port.to_string());
        }
        b"MASTER" => fields(&[("name", "mymaster"), ("config-epoch", "999999")], host, *port, out),
        _ => {
            out.array(1);
            fields(&[("name", "x"), ("flags", "slave")], host, *port, out);
        }
    }
}

fn fields(pairs: &[(&str, &str)], host: &str, port: u16, out: &mut Writer<'_>) {
    let port = port.to_string();
    let all = pairs.iter().copied().chain([("ip", host), ("port", port.as_str())]);
    out.map(pairs.len() + 2);
    for (key, value) in all {
        out.bulk(key);
        out.bulk(value);
    }
}
