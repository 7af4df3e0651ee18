//! The client library: connections that are kept, back-pressure, deadlines, the end.

use std::io::{self, Read};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clients::http::{
    Body, Client, Error, ErrorKind, ExchangeId, Filled, Options, Receiver, Request, Summary, Upload,
};
use protocol::http::ResponseHead;
use protocol::{Context, Flow};
use reactor::{BackendKind, LoopCx, LoopLimits, Reactor};

use super::peer::{After, Answer, Peer, ok, status};

/// What the exchanges of a test came to.
#[derive(Default)]
struct App {
    results: Vec<Result<(u16, String), Error>>,
    wanted: usize,
}

fn reactor(backend: BackendKind, wanted: usize) -> Reactor<App> {
    let app = App { wanted, ..App::default() };
    let backend = backend.open().expect("every backend opens");
    Reactor::with_backend(backend, LoopLimits::DEFAULT, app).expect("the loop starts")
}

/// Runs a loop until so many exchanges are complete.
fn run(reactor: &mut Reactor<App>) {
    reactor.run_until(|app| app.results.len() >= app.wanted).expect("the loop runs");
}

fn fetch(client: &Client<App>, request: Request) -> ExchangeId {
    let sent = client.fetch(request, 1 << 20, |result, cx: &mut LoopCx<'_, App>| {
        let result = result.map(|it| (it.status, String::from_utf8_lossy(&it.body).into_owned()));
        cx.app.results.push(result);
    });
    sent.expect("it is accepted")
}

fn get(url: &str) -> Request {
    Request::get(url).expect("it is a URL")
}

#[test]
fn requests_of_one_origin_share_connections_on_every_backend() {
    for backend in BackendKind::ALL {
        let peer = Peer::start(|asked| ok(asked.target()));
        let mut reactor = reactor(backend, 50);
        let options = Options { connections_per_origin_max: 4, ..Options::default() };
        let client = Client::open(options, &mut reactor.cx()).expect("it starts");
        for number in 0..50 {
            fetch(&client, get(&peer.url(&format!("/{number}"))));
        }
        run(&mut reactor);
        let mut bodies: Vec<String> =
            reactor.app.results.drain(..).map(|it| it.expect("the server answers").1).collect();
        bodies.sort();
        bodies.dedup();
        assert_eq!(bodies.len(), 50, "{backend}: each request has its own answer");
        assert_eq!(peer.connections(), 4, "{backend}");
        assert_eq!((client.connections().0, client.pending()), (4, 0), "{backend}");
    }
}

#[test]
fn origins_that_wait_for_room_take_turns_in_the_order_of_their_requests() {
    for backend in BackendKind::ALL {
        let peers: Vec<Peer> = (0..8).map(|_| Peer::start(|asked| ok(asked.target()))).collect();
        let mut reactor = reactor(backend, 16);
        let options = Options { connections_max: 1, ..Options::default() };
        let client = Client::open(options, &mut reactor.cx()).expect("it starts");
        for round in 0..2 {
            for (number, peer) in peers.iter().enumerate() {
                fetch(&client, get(&peer.url(&format!("/{}", 8 * round + number))));
            }
        }
        run(&mut reactor);
        let bodies = reactor.app.results.drain(..).map(|it| it.expect("the server answers").1);
        // A connection takes the next request of its own origin first.
        let expected = (0..8).flat_map(|it| [format!("/{it}"), format!("/{}", it + 8)]);
        assert!(bodies.eq(expected), "{backend}");
        assert_eq!((client.connections().0, client.pending()), (8, 0), "{backend}");
    }
}

#[test]
fn a_receiver_that_panics_leaves_no_other_request_without_an_end() {
    let peer = Peer::start(|_| ok("x"));
    let silent = Peer::start(|_| Answer(Vec::new(), After::Hang));
    let mut reactor = reactor(BackendKind::Epoll, 2);
    let client = Client::open(Options::default(), &mut reactor.cx()).expect("it starts");
    let sent = client.fetch(get(&peer.url("/")), 10, |_, _: &mut LoopCx<'_, App>| {
        panic!("this receiver panics");
    });
    sent.expect("it is accepted");
    fetch(&client, get(&silent.url("/")));
    fetch(&client, get(&silent.url("/")));
    // An embedder may go on after a panic.
    let panicked = catch_unwind(AssertUnwindSafe(|| run(&mut reactor)));
    assert!(panicked.is_err());
    run(&mut reactor);
    for result in reactor.app.results.drain(..) {
        let error = result.expect_err("the client has ended");
        assert!(error.to_string().contains("has panicked"), "{error}");
    }
    let more = client.fetch(get(&peer.url("/")), 10, |_, _| {});
    assert_eq!(more.expect_err("the client has ended").kind(), ErrorKind::NotAccepted);
}

#[test]
fn a_client_without_handles_finishes_and_ends() {
    let peer = Peer::start(|_| ok("x"));
    let mut reactor = reactor(BackendKind::Epoll, 3);
    let client = Client::open(Options::default(), &mut reactor.cx()).expect("it starts");
    for _ in 0..3 {
        fetch(&client, get(&peer.url("/")));
    }
    drop(client);
    // Nothing is left: the loop ends by itself.
    reactor.run_while(|reactor| reactor.counters().live() > 0).expect("the loop runs");
    assert_eq!(reactor.app.results.len(), 3);
}

#[test]
fn cancelled_and_late_requests_complete_with_the_reason() {
    let peer = Peer::start(|_| Answer(Vec::new(), After::Hang));
    let mut reactor = reactor(BackendKind::Epoll, 2);
    let options = Options {
        timeout: Some(Duration::from_millis(100)),
        attempts_max: 1,
        ..Options::default()
    };
    let client = Client::open(options, &mut reactor.cx()).expect("it starts");
    fetch(&client, get(&peer.url("/late")));
    let cancelled = fetch(&client, get(&peer.url("/cancelled")));
    client.cancel(cancelled);
    run(&mut reactor);
    let kinds: Vec<ErrorKind> = reactor
        .app
        .results
        .iter()
        .map(|it| it.as_ref().expect_err("no answer comes").kind())
        .collect();
    assert_eq!(kinds, [ErrorKind::Cancelled, ErrorKind::TimedOut]);
    // A request that is complete, or never was, is cancelled without effect.
    client.cancel(cancelled);
    assert_eq!(client.pending(), 0);
}

#[test]
fn an_attempt_that_was_sent_counts_even_if_a_later_one_was_not() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", listener.local_addr().expect("it has an address"));
    let server = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("the client connects");
        drop(listener);
        // What it has read, it might have carried out.
        let count = peer.read(&mut [0; 1000]).expect("it can be read");
        assert!(count > 0, "the request arrives");
    });
    let mut reactor = reactor(BackendKind::Epoll, 2);
    let pause_first = Duration::from_millis(1);
    let options = Options { attempts_max: 2, pause_first, ..Options::default() };
    let client = Client::open(options, &mut reactor.cx()).expect("it starts");
    fetch(&client, get(&url));
    reactor.run_until(|app| app.results.len() == 1).expect("the loop runs");
    server.join().expect("the server has ended");
    fetch(&client, get(&url));
    run(&mut reactor);
    let mut errors = reactor.app.results.drain(..).map(|it| it.expect_err("nothing answers"));
    let mut next = || errors.next().expect("there are two");
    let (sent, unsent) = (next(), next());
    assert_eq!((sent.kind(), sent.may_be_done()), (ErrorKind::Connect, true), "{sent}");
    assert_eq!((unsent.kind(), unsent.may_be_done()), (ErrorKind::Connect, false), "{unsent}");
}

#[test]
fn a_body_that_is_larger_than_allowed_is_an_error() {
    let peer = Peer::start(|_| ok("1234567890"));
    let mut reactor = reactor(BackendKind::Epoll, 1);
    let client = Client::open(Options::default(), &mut reactor.cx()).expect("it starts");
    client
        .fetch(get(&peer.url("/")), 9, |result, cx: &mut LoopCx<'_, App>| {
            cx.app.results.push(result.map(|it| (it.status, String::new())));
        })
        .expect("it is accepted");
    run(&mut reactor);
    let error = reactor.app.results[0].as_ref().expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn too_many_requests_are_refused() {
    let mut reactor = reactor(BackendKind::Epoll, 1);
    let options = Options { waiting_max: 2, ..Options::default() };
    let client = Client::open(options, &mut reactor.cx()).expect("it starts");
    let send = || client.fetch(get("http://127.0.0.1:1/"), 1, |_, _| {});
    assert!(send().is_ok() && send().is_ok());
    assert_eq!(send().expect_err("two wait").kind(), ErrorKind::NotAccepted);
    let options = Options { attempts_max: 0, ..Options::default() };
    assert!(Client::open(options, &mut reactor.cx()).is_err());
}

/// A receiver that pauses after each piece, until it is resumed by a timer.
struct Slow {
    received: Arc<AtomicUsize>,
    pauses: Arc<AtomicUsize>,
}

impl Receiver<App> for Slow {
    fn head(&mut self, _: &ResponseHead<'_>, _: &mut Context<'_, App>) -> Result<Flow, Error> {
        Ok(Flow::Pause)
    }

    fn body(&mut self, piece: &[u8], _: &mut Context<'_, App>) -> Result<Flow, Error> {
        self.received.fetch_add(piece.len(), Ordering::Relaxed);
        self.pauses.fetch_add(1, Ordering::Relaxed);
        Ok(Flow::Pause)
    }

    fn done(self: Box<Self>, result: Result<Summary, Error>, cx: &mut LoopCx<'_, App>) {
        cx.app.results.push(result.map(|it| (it.status, String::new())));
    }
}

#[test]
fn a_receiver_that_pauses_slows_the_server_down() {
    const SIZE: usize = 30_000_000;
    let peer = Peer::start(|_| ok(&"x".repeat(SIZE)));
    let mut reactor = reactor(BackendKind::Epoll, 1);
    let client = Client::open(Options::default(), &mut reactor.cx()).expect("it starts");
    let (received, pauses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let slow = Slow { received: Arc::clone(&received), pauses: Arc::clone(&pauses) };
    let id = client.send(get(&peer.url("/")), slow).expect("it is accepted");
    // It pauses at the head. While nothing resumes it, no byte of the body is delivered.
    for _ in 0..50 {
        reactor.run_once(Some(Duration::from_millis(10))).expect("the loop runs");
    }
    assert_eq!(received.load(Ordering::Relaxed), 0);
    let resumed = client.clone();
    reactor
        .cx()
        .every(Duration::from_micros(200), move |_, _| resumed.resume(id))
        .expect("the loop takes timers");
    run(&mut reactor);
    assert!(reactor.app.results[0].is_ok(), "{:?}", reactor.app.results);
    assert_eq!(received.load(Ordering::Relaxed), SIZE);
    assert!(pauses.load(Ordering::Relaxed) > 50, "{pauses:?}");
}

/// A body of which a part comes only when it is resumed.
struct Pieces {
    left: Arc<Mutex<Vec<&'static str>>>,
    is_ready: bool,
}

impl Upload for Pieces {
    fn fill(&mut self, room: &mut [u8]) -> io::Result<Filled> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            return Ok(Filled::Later);
        }
        match self.left.lock().expect("no test has panicked with it").pop() {
            None => Ok(Filled::End),
            Some("fail") => Err(io::Error::other("the source is gone")),
            Some(piece) => {
                room[..piece.len()].copy_from_slice(piece.as_bytes());
                Ok(Filled::Bytes(piece.len()))
            }
        }
    }
}

fn upload(pieces: &[&'static str]) -> (Result<(u16, String), Error>, Peer) {
    let peer = Peer::start(|asked| ok(&String::from_utf8_lossy(&asked.body)));
    let mut reactor = reactor(BackendKind::Epoll, 1);
    let client = Client::open(Options::default(), &mut reactor.cx()).expect("it starts");
    let mut request = Request::new("POST", &peer.url("/")).expect("it is a URL");
    let left = Arc::new(Mutex::new(pieces.to_vec()));
    request.body = Body::Upload(Box::new(Pieces { left, is_ready: false }));
    let id = fetch(&client, request);
    reactor
        .cx()
        .every(Duration::from_millis(1), move |_, _| client.resume(id))
        .expect("the loop takes timers");
    run(&mut reactor);
    (reactor.app.results.remove(0), peer)
}

#[test]
fn a_body_is_sent_as_it_becomes_available() {
    let (result, _peer) = upload(&["three", "two ", "one "]);
    assert_eq!(result.expect("it is taken").1, "one two three");
    let (result, peer) = upload(&["three", "fail", "one "]);
    let error = result.expect_err("the source fails");
    assert_eq!(error.kind(), ErrorKind::Upload);
    assert!(error.to_string().contains("the source is gone"), "{error}");
    assert!(peer.asked().is_empty(), "the server has not taken it for a whole request");
}

/// Drops a loop with requests in every state. Returns what each has completed with.
fn drop_with_requests(backend: BackendKind, has_low_places: bool) -> Vec<(usize, Option<Error>)> {
    let peer = Peer::start(|asked| match asked.target() {
        // The third part of a body, and nothing more.
        "/begun" => {
            let text = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbeg";
            Answer(text.to_vec(), After::Hang)
        }
        "/later" => status("503 Service Unavailable", "Retry-After: 20\r\n"),
        "/whole" => ok("x"),
        _ => Answer(Vec::new(), After::Hang),
    });
    let mut reactor = reactor(backend, 1);
    // Sources end in the order of their places. Places that become free are those of connections.
    let mut places = Vec::new();
    for _ in 0..if has_low_places { 20 } else { 0 } {
        let far = Duration::from_secs(3600);
        places.push(reactor.cx().after(far, |_| {}).expect("the loop takes timers"));
    }
    let options = Options { connections_per_origin_max: 4, ..Options::default() };
    let client = Client::open(options, &mut reactor.cx()).expect("it starts");
    for place in places {
        reactor.cx().close(place);
    }
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    let results = Arc::new(Mutex::new(Vec::new()));
    for (number, path) in
        ["/begun", "/later", "/asked", "/asked", "/whole", "/asked", "/waits"].iter().enumerate()
    {
        let results = Arc::clone(&results);
        let report = move |result: Result<_, Error>, cx: &mut LoopCx<'_, App>| {
            cx.app.results.push(Err(Error::new(ErrorKind::Lost, "")));
            results.lock().expect("no test has panicked").push((number, result.err()));
        };
        client.fetch(get(&peer.url(path)), 100, report).expect("it is accepted");
    }
    run(&mut reactor);
    while peer.asked().len() < 6 {
        reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
    }
    // These are to be connected.
    let results_of_new = Arc::clone(&results);
    let address = testkit::refusing_address();
    let report = move |result: Result<_, Error>, _: &mut LoopCx<'_, App>| {
        results_of_new.lock().expect("no test has panicked").push((7, result.err()));
    };
    client.fetch(get(&format!("http://{address}/")), 100, report).expect("it is accepted");
    drop(reactor);
    assert_eq!(client.pending(), 0);
    let refused = client.fetch(get(&peer.url("/")), 1, |_, _| {}).expect_err("the loop is gone");
    assert_eq!(refused.kind(), ErrorKind::NotAccepted);
    let mut results = std::mem::take(&mut *results.lock().expect("no test has panicked"));
    results.sort_by_key(|(number, _)| *number);
    results
}

#[test]
fn a_loop_that_is_dropped_completes_every_request() {
    for backend in BackendKind::ALL {
        for has_low_places in [false, true] {
            let results = drop_with_requests(backend, has_low_places);
            let numbers: Vec<usize> = results.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7], "{backend}: each completes once");
            for (number, error) in results {
                let Some(error) = error else {
                    assert_eq!(number, 4, "{backend}: only one has an answer");
                    continue;
                };
                assert_eq!(error.kind(), ErrorKind::Cancelled, "{number}: {error}");
                // Of the last two, nothing was sent.
                let was_sent = [0, 2, 3, 5].contains(&number);
                let may_be_done = error.may_be_done();
                assert!(may_be_done || !was_sent, "{number} {error}");
                assert!(!may_be_done || number < 6, "{number} {error}");
            }
        }
    }
}
