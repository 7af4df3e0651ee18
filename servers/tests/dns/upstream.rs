//! Upstreams of our own, which say what a test wants.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use protocol::dns::{Builder, Header, Message, Record, ResponseCode, Section};

use super::asking::{read_message, write_message};

/// How often an upstream looks whether it is to end.
const TICK: Duration = Duration::from_millis(20);

/// A datagram of an upstream: after this time, these bytes.
pub(crate) type Sent = (Duration, Vec<u8>);

/// What an upstream says to the bytes of a question in a datagram. It may also send from its socket to the
/// client itself.
pub(crate) type Say = dyn Fn(&[u8], &UdpSocket, SocketAddr) -> Vec<Sent> + Send + Sync;
/// What it says to one over TCP; nothing ends the connection.
pub(crate) type SayOverTcp = dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync;

/// An upstream. It ends on drop.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stops: Arc<AtomicBool>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    datagrams: AtomicU64,
    over_tcp: AtomicU64,
}

impl Upstream {
    /// Starts an upstream that says `say` to questions in datagrams, and `say_over_tcp` to others.
    pub(crate) fn start(
        say: impl Fn(&[u8]) -> Vec<Sent> + Send + Sync + 'static,
        say_over_tcp: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_knowing(move |bytes, _, _| say(bytes), say_over_tcp)
    }

    /// The same. What it says may depend on the client.
    pub(crate) fn start_knowing(
        say: impl Fn(&[u8], &UdpSocket, SocketAddr) -> Vec<Sent> + Send + Sync + 'static,
        say_over_tcp: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        // A port that is free for TCP too.
        let (listener, socket) = (0..100)
            .find_map(|_| {
                let listener = TcpListener::bind("127.0.0.1:0").ok()?;
                let socket = UdpSocket::bind(listener.local_addr().ok()?).ok()?;
                Some((listener, socket))
            })
            .expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        listener.set_nonblocking(true).expect("it can be");
        let (socket, stops) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let counts = Arc::new(Counts::default());
        let say: Arc<Say> = Arc::new(say);
        let datagrams = {
            let (stops, counts) = (stops.clone(), counts.clone());
            std::thread::spawn(move || serve_datagrams(&socket, &say, &stops, &counts))
        };
        let say: Arc<SayOverTcp> = Arc::new(say_over_tcp);
        let streams = {
            let (stops, counts) = (stops.clone(), counts.clone());
            std::thread::spawn(move || serve_streams(&listener, &say, &stops, &counts))
        };
        Self { address, stops, counts, threads: vec![datagrams, streams] }
    }

    /// Starts an upstream that answers every question with an address, over UDP and TCP.
    pub(crate) fn honest() -> Self {
        Self::start(|bytes| vec![(Duration::ZERO, answer(bytes))], |bytes| vec![answer(bytes)])
    }

    /// Starts an upstream of UDP alone.
    pub(crate) fn saying(say: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let at_once =
            move |bytes: &[u8]| say(bytes).into_iter().map(|it| (Duration::ZERO, it)).collect();
        Self::start(at_once, |_| Vec::new())
    }

    /// Returns how many questions have arrived in datagrams.
    pub(crate) fn asked(&self) -> u64 {
        self.counts.datagrams.load(Ordering::SeqCst)
    }

    /// Returns how many have arrived over TCP.
    pub(crate) fn asked_over_tcp(&self) -> u64 {
        self.counts.over_tcp.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic of it is one of the test, which has said so.
            let _ = thread.join();
        }
    }
}

fn serve_datagrams(socket: &Arc<UdpSocket>, say: &Arc<Say>, stops: &AtomicBool, counts: &Counts) {
    let mut bytes = [0; 4096];
    while !stops.load(Ordering::SeqCst) {
        let Ok((size, client)) = socket.recv_from(&mut bytes) else { continue };
        // Spoofers try all ports, and so this one.
        if Header::parse(&bytes[..size]).is_none_or(|header| header.is_response) {
            continue;
        }
        counts.datagrams.fetch_add(1, Ordering::SeqCst);
        for (after, datagram) in say(&bytes[..size], socket, client) {
            if after.is_zero() {
                // The port may be closed meanwhile.
                let _ = socket.send_to(&datagram, client);
                continue;
            }
            let socket = Arc::clone(socket);
            std::thread::spawn(move || {
                std::thread::sleep(after);
                let _ = socket.send_to(&datagram, client);
            });
        }
    }
}

fn serve_streams(
    listener: &TcpListener,
    say: &Arc<SayOverTcp>,
    stops: &AtomicBool,
    counts: &Arc<Counts>,
) {
    while !stops.load(Ordering::SeqCst) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(TICK / 4);
            continue;
        };
        let (say, counts) = (Arc::clone(say), Arc::clone(counts));
        stream.set_nonblocking(false).expect("it can be");
        // It ends with the connection, and so with the server under test.
        std::thread::spawn(move || {
            while let Some(question) = read_message(&mut stream) {
                counts.over_tcp.fetch_add(1, Ordering::SeqCst);
                let answers = say(&question);
                if answers.is_empty() {
                    return;
                }
                answers.iter().for_each(|answer| write_message(&mut stream, answer));
            }
        });
    }
}

/// Returns an answer to a question: the address 192.0.2.1.
pub(crate) fn answer(question: &[u8]) -> Vec<u8> {
    respond(question, ResponseCode::NOERROR, |name| vec![format!("{name} 60 IN A 192.0.2.1")])
}

/// Returns a response to a question, with the records that `records` makes of its name.
pub(crate) fn respond(
    question: &[u8],
    code: ResponseCode,
    records: impl Fn(&str) -> Vec<String>,
) -> Vec<u8> {
    let message = Message::parse(question).expect("the server asks right");
    let asked = message.question().expect("the server asks one question");
    let mut builder = Builder::new(message.header().response(code), 65_535);
    builder.question(asked.name, asked.kind, asked.class).expect("there is room");
    for text in records(&asked.name.to_string()) {
        let record: Record = text.parse().expect("it is a record");
        builder.record(Section::Answer, &record.view()).expect("there is room");
    }
    builder.finish()
}

/// Returns a response without records and without a question.
pub(crate) fn respond_bare(question: &[u8], code: ResponseCode) -> Vec<u8> {
    let header = Header::parse(question).expect("the server asks right");
    Builder::new(header.response(code), 512).finish()
}
