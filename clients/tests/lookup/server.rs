//! A DNS server whose behaviour a test decides.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use protocol::dns::{Builder, Header, Message, Name, Record, ResponseCode, Section};
use testkit::receive_udp;

/// How often a thread looks whether the test is over.
const LOOK: Duration = Duration::from_millis(20);

/// What is sent for a message: any number of messages.
pub(super) type Behaviour = fn(&Message<'_>) -> Vec<Vec<u8>>;

/// A server on a port of 127.0.0.1, for UDP and TCP. It ends on drop.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The questions that have arrived by UDP.
    pub(super) asked: Arc<Mutex<Vec<Vec<u8>>>>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server. A connection is ended after `answers_max` answers.
    pub(super) fn start(udp: Behaviour, tcp: Behaviour, answers_max: usize) -> Self {
        Self::start_on("127.0.0.1", udp, tcp, answers_max)
    }

    /// Starts a server on another IP address of this host.
    pub(super) fn start_on(host: &str, udp: Behaviour, tcp: Behaviour, answers_max: usize) -> Self {
        let (listener, socket) = listen(host);
        let address = socket.local_addr().expect("it is bound");
        let (asked, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        socket.set_read_timeout(Some(LOOK)).expect("it is a socket");
        listener.set_nonblocking(true).expect("it is a socket");
        let (record, over) = (Arc::clone(&asked), Arc::clone(&is_over));
        let datagrams = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !over.load(Ordering::Relaxed) {
                let Ok((size, peer)) = receive_udp(&socket, &mut buffer) else { continue };
                record.lock().expect("no thread panics").push(buffer[..size].to_vec());
                let message = Message::parse(&buffer[..size]).expect("the tool asks in order");
                for answer in udp(&message) {
                    // The tool may have ended.
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        let over = Arc::clone(&is_over);
        let streams = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => serve(stream, tcp, answers_max),
                    Err(_) => thread::sleep(LOOK / 4),
                }
            }
        });
        Self { address, asked, is_over, threads: vec![datagrams, streams] }
    }

    /// Returns the word that names the server.
    pub(super) fn word(&self) -> String {
        format!("@{}#{}", self.address.ip(), self.address.port())
    }

    /// Returns the names that were asked by UDP.
    pub(super) fn names(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("no thread panics");
        let name = |bytes: &Vec<u8>| {
            let message = Message::parse(bytes).expect("it was read before");
            message.question().expect("it asks").name.to_string()
        };
        asked.iter().map(name).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the server has panicked");
        }
    }
}

/// Returns sockets of both kinds with the same address.
fn listen(host: &str) -> (TcpListener, UdpSocket) {
    loop {
        let listener = TcpListener::bind((host, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        if let Ok(socket) = UdpSocket::bind(address) {
            return (listener, socket);
        }
    }
}

/// Answers on a connection until its peer ends it, or there were enough answers.
fn serve(mut stream: TcpStream, tcp: Behaviour, answers_max: usize) {
    stream.set_nonblocking(false).expect("it is a socket");
    stream.set_read_timeout(Some(testkit::PATIENCE)).expect("it is a socket");
    for _ in 0..answers_max {
        let mut size = [0; 2];
        if stream.read_exact(&mut size).is_err() {
            return;
        }
        let mut bytes = vec![0; u16::from_be_bytes(size).into()];
        if stream.read_exact(&mut bytes).is_err() {
            return;
        }
        for answer in tcp(&Message::parse(&bytes).expect("the tool asks in order")) {
            let size = u16::try_from(answer.len()).expect("it is short").to_be_bytes();
            if stream.write_all(&[&size[..], &answer].concat()).is_err() {
                return;
            }
        }
    }
}

/// Returns a message that answers `question`, with the changes that `change` makes to its header, about
/// `name`.
pub(super) fn build(
    question: &Message<'_>,
    name: &Name,
    change: impl FnOnce(&mut Header),
) -> Vec<u8> {
    let asked = question.question().expect("it asks");
    let mut header = question.header().response(ResponseCode::NOERROR);
    header.recursion_available = true;
    change(&mut header);
    let mut builder = Builder::new(header, 512);
    builder.question(name.view(), asked.kind, asked.class).expect("there is room");
    if !header.is_truncated {
        let record: Record = format!("{name} 60 IN A 192.0.2.1").parse().expect("it is a record");
        builder.record(Section::Answer, &record.view()).expect("there is room");
    }
    builder.finish()
}

/// Answers with an address.
pub(super) fn good(question: &Message<'_>) -> Vec<Vec<u8>> {
    let name = question.question().expect("it asks").name.to_name();
    vec![build(question, &name, |_| {})]
}

/// Answers nothing.
pub(super) fn silent(_question: &Message<'_>) -> Vec<Vec<u8>> {
    Vec::new()
}

/// Answers that there was no room for the answer.
pub(super) fn truncated(question: &Message<'_>) -> Vec<Vec<u8>> {
    let name = question.question().expect("it asks").name.to_name();
    vec![build(question, &name, |header| header.is_truncated = true)]
}
