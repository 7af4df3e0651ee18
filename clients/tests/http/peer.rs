//! A server that says what a test wants, on threads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as the server has received it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The first line.
    pub(crate) line: String,
    /// The lines of the fields.
    pub(crate) fields: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// How many connections were accepted before its own.
    pub(crate) connection: usize,
    /// How many requests were received before it.
    pub(crate) number: usize,
}

impl Asked {
    /// Returns the value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find_map(|line| {
            let (it, value) = line.split_once(':')?;
            it.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the target of the request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request has a target")
    }
}

/// What the server does after its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It waits for the next request.
    Keep,
    /// It ends the connection.
    Close,
    /// It says nothing more, until the client ends the connection.
    Hang,
}

/// An answer.
pub(crate) struct Answer(pub(crate) Vec<u8>, pub(crate) After);

/// Returns a whole response, after which the connection is kept.
pub(crate) fn ok(body: &str) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    Answer((head + body).into_bytes(), After::Keep)
}

/// Returns a whole response with this status and these fields.
pub(crate) fn status(status: &str, fields: &str) -> Answer {
    let text = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\n\r\n");
    Answer(text.into_bytes(), After::Keep)
}

/// Returns these bytes, after which the connection ends.
pub(crate) fn cut(text: &str) -> Answer {
    Answer(text.as_bytes().to_vec(), After::Close)
}

/// The server. Its threads end with the test program.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
}

impl Peer {
    /// Starts a server that answers each request with the result of `answer`.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let (shared, answer) = (Arc::new(Shared::default()), Arc::new(answer));
        let (for_all, for_each) = (Arc::clone(&shared), answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let number = for_all.connections.fetch_add(1, Ordering::Relaxed);
                let (shared, answer) = (Arc::clone(&for_all), Arc::clone(&for_each));
                std::thread::spawn(move || serve(stream, number, &shared, &*answer));
            }
        });
        Self { address, shared }
    }

    /// Returns the URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns how many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Returns the requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no test has panicked with it").clone()
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    shared: &Shared,
    answer: &(dyn Fn(&Asked) -> Answer + Send + Sync),
) {
    let mut writer = stream.try_clone().expect("it can be shared");
    let mut reader = BufReader::new(stream);
    while let Some(mut asked) = read_request(&mut reader, &mut writer) {
        asked.connection = connection;
        {
            let mut all = shared.asked.lock().expect("no test has panicked with it");
            asked.number = all.len();
            all.push(asked.clone());
        }
        let Answer(bytes, after) = answer(&asked);
        // A client that has had enough is a part of some tests.
        if writer.write_all(&bytes).is_err() {
            return;
        }
        match after {
            After::Keep => {}
            After::Close => return,
            After::Hang => {
                let _ = reader.read(&mut [0; 1]);
                std::thread::sleep(Duration::from_millis(1));
                return;
            }
        }
    }
}

/// Reads a request, or nothing at the end of the connection.
pub(crate) fn read_request(
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let mut asked = Asked { line, fields: lines, body: Vec::new(), connection: 0, number: 0 };
    if asked.field("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if let Some(length) = asked.field("content-length") {
        let mut body = vec![0; length.parse().expect("it is a number")];
        reader.read_exact(&mut body).ok()?;
        asked.body = body;
    } else if asked.field("transfer-encoding").is_some() {
        asked.body = read_chunks(reader)?;
    }
    Some(asked)
}

fn read_chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).expect("it is the size of a chunk");
        let start = body.len();
        body.resize(start + size, 0);
        reader.read_exact(&mut body[start..]).ok()?;
        line.clear();
        reader.read_line(&mut line).ok()?;
        if size == 0 {
            return Some(body);
        }
    }
}
