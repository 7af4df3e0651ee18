//! A client: sends questions, and reads the answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use protocol::dns::{Builder, Class, Edns, Header, Message, Name, RecordType, ResponseCode};
use testkit::{PATIENCE, receive_udp};

use super::DNS;
use super::common::Daemon;

/// A server under test on a port of UDP and one of TCP.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
}

impl Server {
    /// Starts a server with these upstreams and other arguments.
    pub(crate) fn start(upstreams: &[SocketAddr], args: &[&str]) -> Self {
        Self::start_on(0, upstreams, args)
    }

    /// The same, with one number for both ports, as clients expect it.
    pub(crate) fn start_on_one_port(upstreams: &[SocketAddr]) -> Self {
        Self::start_on(testkit::free_port(), upstreams, &[])
    }

    fn start_on(port: u16, upstreams: &[SocketAddr], args: &[&str]) -> Self {
        let upstreams: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let (udp, tcp) = (format!("udp://127.0.0.1:{port}"), format!("127.0.0.1:{port}"));
        let mut all = vec!["--listen", udp.as_str(), "--listen", tcp.as_str()];
        all.extend(upstreams.iter().flat_map(|it| ["--upstream", it.as_str()]));
        // Most tests count what arrives at upstreams.
        if !args.contains(&"--cache-size") {
            all.extend(["--cache-size", "0"]);
        }
        all.extend(args);
        let daemon = Daemon::start(&[], DNS, &all);
        let address = |text: &str| text.trim_start_matches("udp://").parse().expect("an address");
        let find = |is_udp| {
            let mut all = daemon.addresses.iter();
            address(all.find(|it| it.starts_with("udp://") == is_udp).expect("it listens"))
        };
        Self { udp: find(true), tcp: find(false), daemon }
    }

    /// Returns a socket that is connected to it.
    pub(crate) fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.connect(self.udp).expect("it is there");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }

    /// Asks for addresses, and returns the answer.
    pub(crate) fn ask(&self, name: &str) -> Answer {
        let socket = self.socket();
        socket.send(&question(7, name)).expect("it is sent");
        receive(&socket)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Returns a counter of the server.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let find = || -> Vec<String> {
            let log = self.daemon.log();
            log.lines().filter(|it| it.contains(" questions_udp=")).map(str::to_owned).collect()
        };
        let before = find().len();
        self.daemon.signal("USR1");
        testkit::wait_until("a line of counters", || find().len() > before);
        let line = find().pop().expect("there is one more");
        let mut words = line.split([' ', ';']).filter_map(|word| word.split_once('='));
        let found = words.find(|(other, _)| *other == name);
        found.and_then(|(_, count)| count.parse().ok()).unwrap_or_else(|| panic!("{name}: {line}"))
    }
}

/// The bytes of an answer.
pub(crate) struct Answer(pub(crate) Vec<u8>);

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("it is a message")
    }

    pub(crate) fn code(&self) -> ResponseCode {
        self.message().response_code()
    }

    /// Returns the text of each record of the answer.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.message().answers().map(|it| it.data.to_string()).collect()
    }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("it is a name")
}

/// Returns a question for the addresses of a name.
pub(crate) fn question(id: u16, text: &str) -> Vec<u8> {
    question_for(id, text, RecordType::A, None)
}

/// Returns a question, with an OPT record if there is one.
pub(crate) fn question_for(
    id: u16,
    text: &str,
    kind: RecordType,
    edns: Option<Edns<'_>>,
) -> Vec<u8> {
    let mut builder = Builder::new(Header::question(id), 512);
    builder.question(name(text).view(), kind, Class::IN).expect("there is room");
    if let Some(edns) = edns {
        builder.edns(&edns).expect("there is room");
    }
    builder.finish()
}

/// Receives an answer.
pub(crate) fn receive(socket: &UdpSocket) -> Answer {
    let mut bytes = vec![0; 65_535];
    let (size, _) = receive_udp(socket, &mut bytes).expect("there is an answer");
    bytes.truncate(size);
    Answer(bytes)
}

/// Sends a message on a connection.
pub(crate) fn write_message(stream: &mut impl Write, message: &[u8]) {
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    stream.write_all(&bytes).expect("it is written");
}

/// Reads a message from a connection; `None` if it has ended.
pub(crate) fn read_message(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut size = [0; 2];
    stream.read_exact(&mut size).ok()?;
    let mut bytes = vec![0; u16::from_be_bytes(size).into()];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
