//! A load of questions of the Domain Name System, and the upstream of the server that is loaded.
//!
//! Each of several sockets has a number of questions in flight, and sends the next when one is
//! answered. Every answer is verified: its number, its question as it was spelled, its only record, and
//! that it was not answered before. What is not answered is counted.
//!
//! The server forwards to this process, so what it forwards is counted, and the address of an answer is
//! the one that was given for the name. Questions for the cache are about a number of names in turn,
//! which were all asked before; the others are each about a name of its own.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::meter::Meter;
use super::{EXTENSION_MAX, Load, NAP, PATIENCE};
use crate::net;

/// The number of names that are asked again and again.
pub const NAMES: u32 = 1000;
/// The most questions in flight on all sockets together: what dnsmasq forwards at a time by default.
pub const IN_FLIGHT_MAX: usize = 150;
/// The most questions in flight on one socket. It divides the count of numbers that a question may have.
const DEPTH_MAX: usize = 64;
/// The most different lengths of names.
const LENGTHS_MAX: usize = 32;
/// The time after which a question without an answer counts as lost. Servers ask again sooner.
const LOST_AFTER: Duration = Duration::from_secs(4);
/// The pause between two tries of the first question, which a server may not listen for yet.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What the questions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// [`NAMES`] names, whose answers the server has in its cache.
    Known,
    /// Names that were never asked before.
    New,
}

/// The questions and answers as bytes (RFC 1035 section 4).
mod message {
    use std::net::Ipv4Addr;

    /// The size of a header, and of the type and the class of a question.
    pub(super) const HEADER: usize = 12;
    const KIND_AND_CLASS: usize = 4;
    /// The type A and the class IN.
    const A_IN: [u8; KIND_AND_CLASS] = [0, 1, 0, 1];
    /// A pointer to the name of the question.
    const POINTER: [u8; 2] = [0xc0, HEADER as u8];
    /// The TTL of records in seconds: longer than a measurement.
    const TTL: u32 = 3600;
    /// The digits of a name.
    const DIGITS: usize = 9;

    /// Appends the question with a number for the address of a name. Its first label is longer by
    /// `padding`.
    pub(super) fn append_question(id: u16, name: u32, padding: usize, bytes: &mut Vec<u8>) {
        bytes.extend(id.to_be_bytes());
        // Recursion is desired; one question.
        bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.push((DIGITS + padding) as u8);
        let digits = bytes.len();
        bytes.resize(digits + DIGITS, b'0');
        let mut rest = name;
        for place in bytes[digits..].iter_mut().rev() {
            (*place, rest) = (b'0' + (rest % 10) as u8, rest / 10);
        }
        bytes.resize(bytes.len() + padding, b'x');
        bytes.extend(b"\x05bench\x04test\0");
        bytes.extend(A_IN);
    }

    /// Returns the address of a name.
    pub(super) fn address(name: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(10 << 24 | name & 0xff_ffff)
    }

    /// Returns the name of a question, and where the question ends. A server may vary its letters.
    fn read_question(bytes: &[u8]) -> Option<(u32, usize)> {
        let (size, label) = bytes.get(HEADER..)?.split_first()?;
        let digits = label.get(..DIGITS.min(usize::from(*size)))?;
        let name = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let mut end = HEADER;
        while *bytes.get(end)? != 0 {
            end += 1 + usize::from(bytes[end]);
        }
        let end = end + 1 + KIND_AND_CLASS;
        (bytes.get(end - KIND_AND_CLASS..end)? == A_IN).then_some((name, end))
    }

    /// Writes the answer of the upstream to a question. Returns false if it has none.
    pub(super) fn answer(question: &[u8], answer: &mut Vec<u8>) -> bool {
        let Some((name, end)) = read_question(question) else { return false };
        let has_options = question[11] == 1;
        answer.clear();
        answer.extend_from_slice(&question[..end]);
        // It is an answer, of a server that is responsible and recurses: one record.
        (answer[2], answer[3]) = (0x84 | question[2] & 1, 0x80);
        answer[6..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, u8::from(has_options)]);
        answer.extend(POINTER);
        answer.extend(A_IN);
        answer.extend(TTL.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address(name).octets());
        if has_options {
            // OPT without options, for datagrams of 1,232 bytes (RFC 6891 section 6.1.2).
            answer.extend([0, 0, 41, 1232_u16.to_be_bytes()[0], 1232_u16.to_be_bytes()[1]]);
            answer.extend([0; 6]);
        }
        true
    }

    /// Returns whether an answer is the right one to a question about a name.
    pub(super) fn is_right(answer: &[u8], question: &[u8], name: u32) -> bool {
        let end = question.len();
        let Some((header, rest)) = answer.split_at_checked(HEADER) else { return false };
        let Some((asked, record)) = rest.split_at_checked(end - HEADER) else { return false };
        let (is_answer, is_cut, code) = (header[2] & 0x80 != 0, header[2] & 2 != 0, header[3] & 15);
        let own = if record.starts_with(&POINTER) { 2 } else { end - HEADER - KIND_AND_CLASS };
        let Some((_, record)) = record.split_at_checked(own) else { return false };
        let Some((kind, record)) = record.split_at_checked(KIND_AND_CLASS) else { return false };
        let Some((ttl, data)) = record.split_first_chunk() else { return false };
        is_answer
            && !is_cut
            && code == 0
            && header[4..] == [0, 1, 0, 1, 0, 0, 0, 0]
            && *asked == question[HEADER..]
            && kind == A_IN
            && (1..=TTL).contains(&u32::from_be_bytes(*ttl))
            && data.strip_prefix(&[0, 4]) == Some(&address(name).octets())
    }
}

/// What one socket has in flight.
struct Asker {
    fd: OwnedFd,
    /// A place for each question in flight. The numbers of the questions in a place differ by the count
    /// of places, so a number tells its place.
    places: Vec<Place>,
}

struct Place {
    id: u16,
    name: u32,
    /// The question. Its memory is used again.
    question: Vec<u8>,
    /// The sweep in which it was sent. `None` if it is not in flight.
    sent_in: Option<u32>,
}

/// The server that the loaded one forwards to.
struct Upstream {
    socket: UdpSocket,
    /// How many questions have arrived.
    asked: u64,
    answer: Vec<u8>,
}

impl Upstream {
    /// Answers the questions that have arrived.
    fn turn(&mut self, input: &mut [u8]) -> io::Result<()> {
        loop {
            let (count, peer) = match self.socket.recv_from(input) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A port that the server has closed.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            // Servers ask other questions of their own, which need no answer.
            if message::answer(&input[..count], &mut self.answer) {
                self.asked += 1;
                // A datagram that finds no room is lost, and the server asks again.
                let _ = self.socket.send_to(&self.answer, peer);
            }
        }
    }
}

/// A load under way.
struct Client {
    about: About,
    /// How many different lengths the names have.
    lengths: usize,
    epoll: OwnedFd,
    askers: Vec<Asker>,
    upstream: Upstream,
    /// The number of the next question.
    next: u32,
    input: Vec<u8>,
    answered: u64,
    lost: u64,
    /// Whether answers are followed by further questions.
    goes_on: bool,
    /// The number of the present sweep. Sweeps are `LOST_AFTER` apart.
    sweep: u32,
    swept: Instant,
}

impl Client {
    fn new(load: Load, about: About, server: SocketAddr, socket: UdpSocket) -> io::Result<Self> {
        let (in_flight, lengths) = (load.connections * load.depth, load.size);
        let fits = load.depth.is_power_of_two() && load.depth <= DEPTH_MAX;
        if !fits || in_flight > IN_FLIGHT_MAX || !(1..=LENGTHS_MAX).contains(&lengths) {
            return Err(io::Error::other(format!(
                "{in_flight} questions in flight, {} a socket, of {lengths} lengths: at most \
                 {IN_FLIGHT_MAX}, a power of two up to {DEPTH_MAX} a socket, and {LENGTHS_MAX} lengths",
                load.depth
            )));
        }
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut askers = Vec::with_capacity(load.connections);
        for number in 0..load.connections as u64 {
            let fd = net::connect_to(server)?;
            epoll::add(&epoll, &fd, EventData::new_u64(number), EventFlags::IN | EventFlags::ET)?;
            let place = |id| Place { id, name: 0, question: Vec::new(), sent_in: None };
            askers.push(Asker { fd, places: (0..load.depth as u16).map(place).collect() });
        }
        socket.set_nonblocking(true)?;
        let data = EventData::new_u64(load.connections as u64);
        epoll::add(&epoll, &socket, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Self {
            about,
            lengths,
            epoll,
            askers,
            upstream: Upstream { socket, asked: 0, answer: Vec::new() },
            next: 0,
            input: vec![0; net::READ_SIZE],
            answered: 0,
            lost: 0,
            goes_on: true,
            sweep: 0,
            swept: Instant::now(),
        })
    }

    /// Sends the next question from a place of a socket.
    fn ask(&mut self, number: usize, place: usize) -> io::Result<()> {
        let name = match self.about {
            About::Known => self.next % NAMES,
            About::New => self.next,
        };
        self.next += 1;
        let Asker { fd, places } = &mut self.askers[number];
        let count = places.len() as u16;
        let place = &mut places[place];
        (place.id, place.name) = (place.id.wrapping_add(count), name);
        place.sent_in = Some(self.sweep);
        place.question.clear();
        // Neighbours differ, since names in a row are asked by one socket or another.
        let padding = name.wrapping_mul(7919) as usize % self.lengths;
        message::append_question(place.id, name, padding, &mut place.question);
        // A datagram that finds no room is lost, and counted like any other.
        net::write(fd, &place.question).map(drop)
    }

    /// Sends questions from all places with nothing in flight.
    fn fill(&mut self) -> io::Result<()> {
        for number in 0..self.askers.len() {
            for place in 0..self.askers[number].places.len() {
                if self.askers[number].places[place].sent_in.is_none() {
                    self.ask(number, place)?;
                }
            }
        }
        Ok(())
    }

    /// Receives what has arrived on a socket, verifies it, and sends as many further questions.
    fn receive(&mut self, number: usize) -> io::Result<()> {
        while let Some(count) = net::read(&self.askers[number].fd, &mut self.input)? {
            let answer = &self.input[..count];
            let wrong = || io::Error::other(format!("a wrong answer: {answer:02x?}"));
            let id = u16::from_be_bytes(*answer.first_chunk().ok_or_else(wrong)?);
            let places = &mut self.askers[number].places;
            let index = usize::from(id) % places.len();
            let place = &mut places[index];
            if place.sent_in.is_none() || place.id != id {
                // It is one that was taken for lost.
                let twice = || io::Error::other("a question was answered twice");
                self.lost = self.lost.checked_sub(1).ok_or_else(twice)?;
                continue;
            }
            if !message::is_right(answer, &place.question, place.name) {
                return Err(wrong());
            }
            place.sent_in = None;
            self.answered += 1;
            if self.goes_on {
                self.ask(number, index)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(NAP.subsec_nanos()) };
        events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout))?;
        for event in events.iter() {
            match event.data.u64() as usize {
                number if number < self.askers.len() => self.receive(number)?,
                _ => self.upstream.turn(&mut self.input)?,
            }
        }
        Ok(())
    }

    /// Gives up what was sent before the last sweep, and sends the next questions instead.
    fn sweep(&mut self) -> io::Result<()> {
        if self.swept.elapsed() < LOST_AFTER {
            return Ok(());
        }
        (self.swept, self.sweep) = (Instant::now(), self.sweep + 1);
        for place in self.askers.iter_mut().flat_map(|asker| &mut asker.places) {
            if place.sent_in.is_some_and(|sent_in| sent_in + 1 < self.sweep) {
                place.sent_in = None;
                self.lost += 1;
            }
        }
        if self.goes_on { self.fill() } else { Ok(()) }
    }

    fn load_while(&mut self, mut goes_on: impl FnMut(&Self) -> bool) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        while goes_on(self) {
            self.turn(&mut events)?;
            self.sweep()?;
        }
        Ok(())
    }

    fn load_for(&mut self, duration: Duration) -> io::Result<()> {
        let until = Instant::now() + duration;
        self.load_while(|_| Instant::now() < until)
    }

    /// Asks until there is a first answer: the server may not listen yet.
    fn await_server(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut events = Vec::with_capacity(16);
        // Several tries may be answered, and only the last one is in flight.
        (self.goes_on, self.lost) = (false, u64::from(u16::MAX));
        while self.answered == 0 {
            if Instant::now() > until {
                return Err(io::Error::other(format!("nothing was answered in {PATIENCE:?}")));
            }
            self.next = 0;
            let tried = self.ask(0, 0).and_then(|()| {
                let pause = Instant::now() + FIRST_PAUSE;
                while self.answered == 0 && Instant::now() < pause {
                    self.turn(&mut events)?;
                }
                Ok(())
            });
            match tried {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    std::thread::sleep(FIRST_PAUSE);
                }
                tried => tried?,
            }
        }
        self.load_for(FIRST_PAUSE)?;
        (self.lost, self.goes_on) = (0, true);
        Ok(())
    }

    fn in_flight(&self) -> usize {
        let places = self.askers.iter().flat_map(|asker| &asker.places);
        places.filter(|it| it.sent_in.is_some()).count()
    }
}

/// Loads `server`, which is the process `pid` and forwards to the socket that this process has as its
/// standard input. Returns the figures, one a line.
///
/// # Errors
/// Fails if a socket fails, an answer is wrong, nothing is answered, the server does not forward what it
/// has to or forwards what it knows, or the load is larger than a server takes.
pub fn run(load: Load, about: About, server: SocketAddr, pid: u32) -> io::Result<String> {
    let socket = UdpSocket::from(io::stdin().as_fd().try_clone_to_owned()?);
    measure(Client::new(load, about, server, socket)?, load, pid)
}

fn measure(mut client: Client, load: Load, pid: u32) -> io::Result<String> {
    client.await_server()?;
    client.fill()?;
    // Each name is asked twice before its answer is expected to be known.
    let until = Instant::now() + PATIENCE;
    let is_known = |client: &Client| client.answered >= 2 * u64::from(NAMES);
    client.load_while(|client| !is_known(client) && Instant::now() < until)?;
    client.load_for(load.warm_up)?;
    let (meter, before, asked) = (Meter::start(pid)?, client.answered, client.upstream.asked);
    client.load_for(load.duration)?;
    // If other processes use the server's core, the measurement takes longer.
    while meter.elapsed() < load.duration * EXTENSION_MAX && meter.server()? < load.duration / 4 {
        client.load_for(load.duration / 2)?;
    }
    let (count, asked) = (client.answered - before, client.upstream.asked - asked);
    let lines = meter.lines(count)?;
    if count == 0 {
        return Err(io::Error::other("nothing was answered"));
    }
    let forwarded = asked as f64 / count as f64;
    let is_right = match client.about {
        About::Known => forwarded < 0.01,
        // The last questions may be answered in this time and forwarded before it.
        About::New => asked + IN_FLIGHT_MAX as u64 >= count,
    };
    if !is_right {
        let text = format!("{asked} questions were forwarded, and {count} answered");
        return Err(io::Error::other(text));
    }
    client.goes_on = false;
    let until = Instant::now() + PATIENCE;
    client.load_while(|client| client.in_flight() > 0 && Instant::now() < until)?;
    Ok(format!("{lines}lost {}\nforwarded {forwarded:.3}\n", client.lost))
}
