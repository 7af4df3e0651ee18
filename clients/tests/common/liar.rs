//! A server that says what is not true: that it is a master, that another server is one, or nothing
//! that can be understood.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::resp::{Protocol, Request, Server, Writer};
use protocol::{Context, Flow, Output, Reply, Service};

/// How long a slow liar waits after each byte.
const PAUSE: Duration = Duration::from_millis(1);

/// How a liar answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As servers do.
    #[default]
    Plain,
    /// Not at all.
    Silent,
    /// With bytes that are no answers.
    Garbage,
    /// With one byte at a time.
    ByteByByte,
}

/// What a liar says.
#[derive(Clone, Default)]
pub(crate) struct Liar {
    /// Where the master is not: a host and a port. `None`: it knows no master.
    pub(crate) lie: Option<(String, u16)>,
    /// The epoch that it says the master has.
    pub(crate) epoch: u64,
    /// The ID that it says it has.
    pub(crate) id: String,
    /// What it publishes to each subscriber, every 100 ms: channels and messages.
    pub(crate) published: Vec<(String, String)>,
    pub(crate) manner: Manner,
    /// How often it was asked where the master is.
    pub(crate) asked: Arc<AtomicUsize>,
    /// How often it has published something.
    pub(crate) told: Arc<AtomicUsize>,
    /// How many other commands it was sent, such as writes.
    pub(crate) commands: Arc<AtomicUsize>,
}

/// The keys of the timeouts.
const NEXT_BYTE: u8 = 0;
const NEXT_MESSAGE: u8 = 1;

/// The commands of one connection.
#[derive(Default)]
pub(crate) struct Commands {
    /// What a slow liar has not sent yet.
    unsent: VecDeque<u8>,
}

impl Commands {
    /// Sends an answer in the manner of the liar.
    fn send(&mut self, answer: &Output, reply: &mut Reply<'_, Server>, cx: &mut Context<'_, Liar>) {
        let output = reply.parts().1;
        match cx.app.manner {
            Manner::Plain => output.append(&answer.to_vec()),
            Manner::Silent => {}
            Manner::Garbage => output.append(b"\0\xff?*-1\r\n%%$\r\n"),
            Manner::ByteByByte => {
                self.unsent.extend(answer.to_vec());
                cx.effects.set_timeout(NEXT_BYTE, Some(PAUSE));
            }
        }
    }
}

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
        let mut answer = Output::new();
        let mut out = Writer::new(&mut answer, Protocol::Resp3);
        let liar = &mut *context.app;
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
                for (count, channel) in request.args().enumerate() {
                    out.push(3);
                    out.bulk("subscribe");
                    out.bulk(channel);
                    out.integer(count as i64 + 1);
                }
                context.effects.set_timeout(NEXT_MESSAGE, Some(Duration::ZERO));
            }
            (b"SENTINEL", what) => {
                liar.asked.fetch_add(1, Ordering::SeqCst);
                lie(what, liar, &mut out);
            }
            _ => {
                liar.commands.fetch_add(1, Ordering::SeqCst);
                out.ok();
            }
        }
        self.send(&answer, reply, context);
        Flow::Continue
    }

    fn timeout(
        &mut self,
        key: u8,
        reply: &mut Reply<'_, Server>,
        context: &mut Context<'_, Liar>,
    ) -> Flow {
        if key == NEXT_BYTE {
            if let Some(byte) = self.unsent.pop_front() {
                reply.parts().1.append(&[byte]);
                context.effects.set_timeout(NEXT_BYTE, Some(PAUSE));
            }
            return Flow::Continue;
        }
        let mut answer = Output::new();
        let mut out = Writer::new(&mut answer, Protocol::Resp3);
        for (channel, message) in &context.app.published {
            out.push(3);
            out.bulk("message");
            out.bulk(channel);
            out.bulk(message);
            context.app.told.fetch_add(1, Ordering::SeqCst);
        }
        self.send(&answer, reply, context);
        context.effects.set_timeout(NEXT_MESSAGE, Some(Duration::from_millis(100)));
        Flow::Continue
    }
}

fn lie(what: &[u8], liar: &Liar, out: &mut Writer<'_>) {
    if what == b"MYID" {
        return out.bulk(&liar.id);
    }
    let Some((host, port)) = &liar.lie else { return out.null() };
    match what {
        b"GET-MASTER-ADDR-BY-NAME" => {
            out.array(2);
            out.bulk(host);
            out.bulk(port.to_string());
        }
        b"MASTER" => {
            let epoch = liar.epoch.to_string();
            fields(&[("name", "mymaster"), ("config-epoch", &epoch)], host, *port, out);
        }
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
