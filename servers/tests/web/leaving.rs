//! Clients that leave before their response is there.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use testkit::{Folder, PATIENCE, wait_until};

use crate::BACKENDS;
use crate::proxy::{proxy, read_head, serve};

/// What happens at a server behind the proxy.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Request,
    End,
}

/// A server that says what it sees. It answers with `answer`, and then waits for the end of the
/// connection.
fn waits(answer: &'static str) -> (String, Receiver<Seen>) {
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let address = serve(move |mut stream| {
        let say = |what| seen.lock().expect("none panics").send(what).expect("the test listens");
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        if read_head(&mut reader).is_none() {
            return;
        }
        stream.write_all(answer.as_bytes()).expect("it is read");
        say(Seen::Request);
        let _ = reader.read_to_end(&mut Vec::new());
        say(Seen::End);
    });
    (address, sees)
}

fn next(sees: &Receiver<Seen>) -> Seen {
    sees.recv_timeout(PATIENCE).expect("it happens, and long before the time for an answer")
}

#[test]
fn a_client_that_leaves_gives_its_connection_to_the_other_server_back_at_once() {
    let folder = Folder::new("web-leaving");
    let parts =
        ["", "HTTP/1.1 200 OK\r\n\r\npart", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"];
    for (answer, backend) in parts.iter().flat_map(|it| BACKENDS.map(|backend| (*it, backend))) {
        let (address, sees) = waits(answer);
        let log = folder.file("log");
        let args = ["--proxy-timeout", "1h", "--backend", backend, "--access-log", &log];
        let server = proxy(&address, &args);
        for request in [
            "GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /api/x HTTP/1.0\r\n\r\n",
            // It has sent its body, and the request of a kept connection behind it.
            "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n",
            // It leaves in the middle of its body.
            "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab",
        ] {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).expect("it reads");
            assert_eq!(next(&sees), Seen::Request, "{request} on {backend}");
            if !answer.is_empty() {
                stream.read_exact(&mut [0; 12]).expect("it begins to answer");
            }
            drop(stream);
            assert_eq!(next(&sees), Seen::End, "{request} on {backend}");
        }
        // It ends its stream in the segment of its request.
        let mut stream = server.connect();
        stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
        drop(stream);
        wait_until("its end", || server.counters()["connections"] == 0);
        assert_eq!(server.stop().0, Some(0));
        let lines = fs::read_to_string(&log).expect("there is one");
        fs::remove_file(&log).expect("it is there");
        let status = if answer.is_empty() { " 499 " } else { " 200 " };
        let count = lines.lines().filter(|line| line.contains(status)).count();
        assert!(count >= 3, "{backend}: {lines}");
    }
}

#[test]
fn a_client_that_ends_its_side_gets_its_response_if_that_is_allowed() {
    let address = serve(|mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("it can be"));
        read_head(&mut reader);
        // The proxy learns of the end of the client's side before that of the response.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    });
    for backend in BACKENDS {
        for is_allowed in [true, false] {
            let more = if is_allowed { &["--proxy-half-close"][..] } else { &[] };
            let args = [&["--backend", backend], more].concat();
            let server = proxy(&address, &args);
            let mut stream = server.connect();
            stream.write_all(b"GET /api/x HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
            stream.shutdown(Shutdown::Write).expect("it is open");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it ends in order");
            assert_eq!(answer.ends_with("hello"), is_allowed, "{backend}: {answer}");
            assert_eq!(answer.is_empty(), !is_allowed, "{backend}: {answer}");
        }
    }
}
