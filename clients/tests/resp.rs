//! Tests the client library with a server on the reactor, with misbehaving sockets, and with Redis.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clients::resp::{Answer, Cause, Connection, Error, Message, Options};
use common::Server;
use common::store::PASSWORD;
use protocol::resp::Protocol;
use testkit::{Folder, PATIENCE, Redis};

fn store() -> Server<common::store::Store> {
    Server::start_store("127.0.0.1:0")
}

fn connect(address: &str) -> Connection {
    Connection::connect(address).expect("the server is there")
}

fn resp3() -> Options {
    Options { protocol: Protocol::Resp3, ..Options::default() }
}

/// Options with a short time limit.
fn hasty() -> Options {
    let soon = Some(Duration::from_millis(100));
    Options { read_timeout: soon, write_timeout: soon, connect_timeout: soon, ..resp2() }
}

fn resp2() -> Options {
    Options::default()
}

/// Starts a server that answers the first bytes of one connection with `words`, and then closes it.
fn says(words: &'static [u8]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client connects");
        let _ = stream.read(&mut [0; 4096]).expect("it says something");
        stream.write_all(words).expect("it is there");
    });
    (address, thread)
}

#[test]
fn commands_return_their_answers() {
    let server = store();
    let mut connection = connect(&server.address);
    assert_eq!(connection.call(["SET", "a", "b"]).expect("it is answered").as_str(), Some("OK"));
    assert_eq!(connection.call(["GET", "a"]).expect("it is answered"), Answer::Bulk(b"b".into()));
    assert!(connection.call(["GET", "missing"]).expect("it is answered").is_null());
    let seen = connection.call_with(["GET", "a"], |value| value.text() == b"b");
    assert!(seen.expect("it is answered"));
}

#[test]
fn an_error_of_the_server_does_not_end_the_connection() {
    let server = store();
    let mut connection = connect(&server.address);
    let error = connection.call(["NONSENSE", "x"]).expect_err("it is unknown");
    assert_eq!(error.server(), Some(&b"ERR unknown command 'NONSENSE'"[..]));
    assert!(!error.is_lost() && !connection.is_lost());
    let text = error.to_string();
    assert_eq!(text, format!("NONSENSE at {}: ERR unknown command 'NONSENSE'", server.address));
    connection.call(["PING"]).expect("it goes on");
}

#[test]
fn a_unix_socket_works_too() {
    let folder = Folder::new("resp");
    let server = Server::start_store(&format!("unix:{}", folder.file("x")));
    let mut connection = connect(&server.address);
    connection.call(["PING"]).expect("it is answered");
    drop((connection, server));
}

#[test]
fn answers_of_a_pipeline_are_in_order() {
    let server = store();
    let mut connection = connect(&server.address);
    let mut pipeline = connection.pipeline();
    for number in 0..10_000 {
        pipeline.add(["ECHO", &number.to_string()]);
    }
    pipeline.add(["NONSENSE"]);
    let mut results = pipeline.run();
    assert!(results.pop().expect("there is one for each").is_err());
    assert_eq!(results.len(), 10_000);
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.expect("it is answered").as_integer(), Some(number as i64));
    }
}

#[test]
fn a_pipeline_that_fills_both_directions_does_not_hang() {
    let server = store();
    let mut connection = connect(&server.address);
    let large = "x".repeat(64 * 1024);
    // Far more than sockets hold. The server stops reading until its answers are read.
    for _ in 0..500 {
        connection.send(["ECHO", &large]);
    }
    connection.flush().expect("answers are read meanwhile");
    for _ in 0..500 {
        let length = connection.receive_with(|value| value.text().len());
        assert_eq!(length.expect("it is answered"), large.len());
    }
}

#[test]
fn a_password_works_in_both_versions_and_a_wrong_one_gives_a_hint() {
    let server = store();
    for options in [resp2(), resp3()] {
        let options = Options { database: 3, ..options };
        options.clone().user("me", PASSWORD).connect(&server.address).expect("it is right");
        options.clone().password(PASSWORD).connect(&server.address).expect("it is right");
    }
    let error = resp2().password("wrong").connect(&server.address).expect_err("it is wrong");
    assert!(error.to_string().contains("AUTH at"), "{error}");
    assert!(error.to_string().contains("check the user and the password"), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
}

#[test]
fn pushes_are_kept_until_they_are_taken() {
    let server = store();
    let mut connection = resp3().connect(&server.address).expect("it is there");
    for _ in 0..3 {
        assert_eq!(connection.call(["NOISE"]).expect("it is answered").as_str(), Some("OK"));
    }
    for _ in 0..3 {
        let message = connection.message(Some(Duration::ZERO)).expect("it goes on");
        let Some(Message::Other(push)) = message else { panic!("{message:?}") };
        assert_eq!(push.elements()[1].as_integer(), Some(1));
    }
    assert_eq!(connection.message(Some(Duration::ZERO)).expect("it goes on"), None);
}

#[test]
fn kept_pushes_are_limited() {
    let server = store();
    let options = Options { pushes_size_max: 1000, ..resp3() };
    let mut connection = options.connect(&server.address).expect("it is there");
    let error = (0..1000).find_map(|_| connection.call(["NOISE"]).err()).expect("it ends");
    assert!(matches!(error.cause(), Cause::Pushes), "{error}");
    assert!(connection.is_lost());
}

#[test]
fn messages_arrive_in_both_versions_even_between_confirmations() {
    let server = store();
    for options in [resp2(), resp3()] {
        let mut connection = options.connect(&server.address).expect("it is there");
        connection.subscribe(["a", "b"]).expect("it is confirmed");
        for number in 0..2 {
            let message = connection.message(Some(Duration::from_secs(20)));
            let Ok(Some(Message::Published { channel, pattern, payload })) = message else {
                panic!("{message:?}")
            };
            assert_eq!((channel.as_slice(), pattern), ([&b"a"[..], b"b"][number], None));
            assert_eq!(payload, format!("message {number}").into_bytes());
        }
        // A command between the messages.
        connection.call(["PING"]).expect("it is answered");
        connection.unsubscribe(["a"]).expect("it is confirmed");
        connection.call(["GET", "x"]).expect("it is answered");
    }
}

#[test]
fn a_silent_server_ends_the_call_and_the_connection() {
    let server = store();
    let mut connection = hasty().connect(&server.address).expect("it is there");
    let error = connection.call(["SILENCE"]).expect_err("nothing comes");
    assert!(matches!(error.cause(), Cause::TimedOut), "{error}");
    assert!(error.to_string().starts_with("SILENCE at"), "{error}");
    let error = connection.call(["PING"]).expect_err("it is not used again");
    assert!(error.is_lost() && error.to_string().starts_with("PING at"), "{error}");
}

#[test]
fn a_trickling_server_does_not_extend_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client connects");
        stream.write_all(b"$1000000\r\n").expect("it is there");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut connection = hasty().connect(&address).expect("it is there");
    let begun = Instant::now();
    let error = connection.call(["GET", "x"]).expect_err("it takes too long");
    assert!(matches!(error.cause(), Cause::TimedOut), "{error}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    drop(connection);
    thread.join().expect("it ends");
}

#[test]
fn a_server_that_does_not_read_ends_the_flush() {
    let folder = Folder::new("resp");
    let path = folder.file("socket");
    let _listener = UnixListener::bind(&path).expect("the folder is ours");
    let address = format!("unix:{path}");
    let mut connection = hasty().connect(&address).expect("the backlog takes it");
    connection.send([vec![b'x'; 16 * 1024 * 1024]]);
    let error = connection.flush().expect_err("nothing reads");
    assert!(matches!(error.cause(), Cause::TimedOut), "{error}");
    assert!(connection.receive().expect_err("it is reported once more").is_lost());
}

#[test]
fn connecting_has_a_deadline_and_a_hint() {
    let folder = Folder::new("resp");
    let path = folder.file("socket");
    let _listener = UnixListener::bind(&path).expect("the folder is ours");
    let address = format!("unix:{path}");
    // Nothing accepts, so the backlog becomes full.
    let mut waiting = Vec::new();
    let error = loop {
        match Connection::open(&address, &hasty()) {
            Ok(connection) => waiting.push(connection),
            Err(error) => break error,
        }
        assert!(waiting.len() < 10_000, "the backlog has no end");
    };
    assert!(error.to_string().contains("does not answer"), "{error}");
    let refused = testkit::refusing_address().to_string();
    for (address, hint) in [
        (refused.as_str(), "nothing listens there"),
        ("unix:/nowhere/x.sock", "no such socket"),
        ("no-such-host.invalid:80", "unknown name"),
        ("127.0.0.1:70000", "0 to 65535"),
    ] {
        let error = Connection::connect(address).expect_err(address).to_string();
        assert!(error.contains(hint) && error.contains(address), "{error}");
    }
}

#[test]
fn answers_are_assembled_from_single_bytes() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client connects");
        stream.set_nodelay(true).expect("it is TCP");
        for byte in b">2\r\n+noise\r\n:1\r\n*2\r\n$3\r\na\r\n\r\n%1\r\n+k\r\n:-1\r\n-ERR no\r\n" {
            stream.write_all(&[*byte]).expect("it reads");
        }
        // Stays open until the client closes.
        let _ = stream.read(&mut [0; 100]);
        let _ = stream.read(&mut [0; 100]);
    });
    let mut connection = connect(&address);
    let mut pipeline = connection.pipeline();
    pipeline.add(["ONE"]).add(["TWO"]);
    let results = pipeline.run();
    let map = Answer::Map(vec![(Answer::Simple(b"k".into()), Answer::Integer(-1))]);
    let first = Answer::Array(vec![Answer::Bulk(b"a\r\n".into()), map]);
    assert_eq!(results[0].as_ref().expect("it is answered"), &first);
    assert_eq!(results[1].as_ref().expect_err("it is refused").server(), Some(&b"ERR no"[..]));
    assert!(matches!(connection.message(None), Ok(Some(Message::Other(_)))));
    drop(connection);
    thread.join().expect("it ends");
}

#[test]
fn every_command_of_a_pipeline_has_one_result_when_the_server_dies() {
    let (address, thread) = says(b"+OK\r\n-ERR no\r\n$5\r\nab");
    let mut connection = connect(&address);
    let mut pipeline = connection.pipeline();
    for name in ["ONE", "TWO", "THREE", "FOUR"] {
        pipeline.add([name]);
    }
    let results = pipeline.run();
    thread.join().expect("it says it");
    assert_eq!(results.len(), 4);
    assert_eq!(results[0].as_ref().map(Answer::as_str).expect("it is answered"), Some("OK"));
    assert_eq!(results[1].as_ref().expect_err("it is refused").server(), Some(&b"ERR no"[..]));
    for (result, name) in results[2..].iter().zip(["THREE", "FOUR"]) {
        let error = result.as_ref().expect_err("it is lost");
        assert!(matches!(error.cause(), Cause::Closed), "{error}");
        assert_eq!(error.operation(), name);
    }
}

#[test]
fn a_final_error_of_the_server_is_received() {
    let (address, thread) = says(b"-ERR max number of clients reached\r\n");
    let mut connection = connect(&address);
    let error = connection.call(["GET", "x"]).expect_err("it is full");
    assert_eq!(error.server(), Some(&b"ERR max number of clients reached"[..]));
    thread.join().expect("it says it");
}

#[test]
fn a_final_error_is_received_while_still_sending() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client connects");
        stream.write_all(b"+OK\r\n-ERR enough\r\n").expect("it is there");
        stream.shutdown(Shutdown::Write).expect("it is there");
        // The server does not read, so sending has to wait.
        is_done.recv().expect_err("it is dropped");
    });
    let mut connection = connect(&address);
    let mut pipeline = connection.pipeline();
    for name in ["ONE", "TWO", "THREE"] {
        pipeline.add([name.as_bytes(), &vec![b'x'; 16 * 1024 * 1024]]);
    }
    let results = pipeline.run();
    drop(done);
    thread.join().expect("it says it");
    assert_eq!(results[0].as_ref().map(Answer::as_str).expect("it is answered"), Some("OK"));
    assert_eq!(results[1].as_ref().expect_err("it is refused").server(), Some(&b"ERR enough"[..]));
    let error = results[2].as_ref().expect_err("it is lost");
    assert!(matches!(error.cause(), Cause::Closed), "{error}");
}

#[test]
fn a_lost_connection_reports_the_loss_every_time() {
    let (address, thread) = says(b"");
    let mut connection = connect(&address);
    for _ in 0..3 {
        assert!(connection.call(["PING"]).expect_err("it is closed").is_lost());
        assert!(connection.subscribe(["news"]).expect_err("it is closed").is_lost());
        let mut pipeline = connection.pipeline();
        pipeline.add(["PING"]);
        assert!(pipeline.run()[0].as_ref().expect_err("it is closed").is_lost());
    }
    thread.join().expect("it says it");
}

#[test]
fn an_answer_that_looks_like_a_message_is_an_answer_in_resp3() {
    let words = b"%0\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n\
                  *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n";
    let (address, thread) = says(words);
    let mut connection = resp3().connect(&address).expect("it is there");
    connection.subscribe(["a"]).expect("it is confirmed");
    let answer = connection.call(["LRANGE", "list", "0", "-1"]).expect("it is answered");
    assert_eq!(answer.elements().len(), 3);
    thread.join().expect("it says it");
}

#[test]
fn invalid_resp_ends_the_connection() {
    let (address, thread) = says(b"HTTP/1.1 400 Bad Request\r\n");
    let mut connection = connect(&address);
    let error = connection.call(["PING"]).expect_err("it is a web server");
    assert!(matches!(error.cause(), Cause::Protocol(_)), "{error}");
    assert!(error.to_string().contains("is this a server of RESP?"), "{error}");
    assert!(connection.call(["PING"]).expect_err("it is not used again").is_lost());
    thread.join().expect("it says it");
}

#[test]
fn a_cutter_ends_a_wait() {
    let server = store();
    let mut connection = connect(&server.address);
    let cutter = connection.cutter();
    let waiting = std::thread::spawn(move || connection.call(["SILENCE"]).map(drop));
    cutter.cut();
    let result: Result<(), Error> = waiting.join().expect("it does not panic");
    assert!(result.expect_err("it is cut").is_lost());
}

#[test]
#[should_panic(expected = "1 answers have to be received")]
fn a_call_does_not_take_the_answer_of_another() {
    let server = store();
    let mut connection = connect(&server.address);
    connection.send(["PING"]);
    let _ = connection.call(["PING"]);
}

#[test]
fn redis_gives_the_same_answers_in_both_versions() {
    let Some(redis) = Redis::start(&["--requirepass", PASSWORD]) else { return };
    let address = redis.address();
    let error = Connection::connect(&address).and_then(|mut it| it.call(["PING"]));
    let error = error.expect_err("it wants a password").to_string();
    assert!(error.contains("NOAUTH") && error.contains("give a password"), "{error}");
    for options in [resp2(), resp3()] {
        let mut connection = options.password(PASSWORD).connect(&address).expect("it is right");
        connection.call(["DEL", "hash"]).expect("it is answered");
        connection.call(["HSET", "hash", "field", "value"]).expect("it is answered");
        let hash = connection.call(["HGETALL", "hash"]).expect("it is answered");
        assert_eq!(hash.get("field").and_then(Answer::as_str), Some("value"));
        let mut publisher = resp2().password(PASSWORD).connect(&address).expect("it is right");
        connection.subscribe(["news"]).expect("it is confirmed");
        connection.subscribe_to_patterns(["n*"]).expect("it is confirmed");
        let heard = publisher.call(["PUBLISH", "news", "it rains"]).expect("it is answered");
        assert_eq!(heard.as_integer(), Some(2));
        for pattern in [None, Some(b"n*".to_vec())] {
            let message = connection.message(Some(Duration::from_secs(20))).expect("it comes");
            let (channel, payload) = (b"news".to_vec(), b"it rains".to_vec());
            assert_eq!(message, Some(Message::Published { channel, pattern, payload }));
        }
        connection.unsubscribe(["news"]).expect("it is confirmed");
        connection.unsubscribe_from_patterns(["n*"]).expect("it is confirmed");
        connection.call(["GET", "x"]).expect("commands are allowed again");
    }
}

#[test]
fn redis_accepts_a_deep_pipeline_of_large_values() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut connection = connect(&redis.address());
    let large = "x".repeat(100_000);
    let mut pipeline = connection.pipeline();
    for number in 0..500 {
        pipeline.add(["SET", &number.to_string(), &large]).add(["GET", &number.to_string()]);
    }
    let results = pipeline.run();
    assert_eq!(results.len(), 1000);
    for pair in results.chunks(2) {
        let [set, get] = pair else { panic!("they are even") };
        assert_eq!(set.as_ref().map(Answer::as_str).expect("it is answered"), Some("OK"));
        let length = get.as_ref().map(|value| value.as_bytes().map_or(0, <[u8]>::len));
        assert_eq!(length.expect("it is answered"), 100_000);
    }
}
