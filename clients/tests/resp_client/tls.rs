//! Encrypted connections: of the client on the loop, of the blocking one and of `kv-cli`, to `kv` and
//! to Redis.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use clients::resp::{Cause, Connection, Options, Pool};
use clients::tls::Encryption;
use protocol::tls::{
    ClientCertificates, Identity, Roots, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions,
    Trust,
};
use reactor::{ClientOptions, ClientState, WhenIdle};
use testkit::authority::{Authority, Files, Issued};
use testkit::{PATIENCE, Redis};

use super::common::kv::Kv;
use super::common::tools::{comparable, run};
use super::{MS, QUICK, ask, on_every_backend, open, resp3, text, turn_until};

const KV_CLI: &str = env!("CARGO_BIN_EXE_kv-cli");
const NAMES: &[&str] = &["localhost", "127.0.0.1"];

fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).expect("it is whole")
}

fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(authority.certificate().as_bytes()).expect("it is an authority")
}

/// Returns the files of an authority that has issued a certificate for a server.
fn files(test: &str) -> Files {
    let files = Files::new(test);
    files.write("server", &files.issuer().server(NAMES));
    files
}

fn trusting(authority: &Authority) -> TlsClientOptions {
    TlsClientOptions::new(Trust::Roots(roots(authority)))
}

fn encrypted(client: TlsClientOptions) -> Options {
    let encryption = Encryption::new(TlsClient::new(client).expect("they fit"));
    Options { encryption: Some(encryption), ..Options::default() }
}

/// Starts a store whose certificate is of `authority`.
fn start(authority: &Authority, clients: ClientCertificates) -> Kv {
    let mut options = TlsServerOptions::new(vec![identity(&authority.server(NAMES))]);
    options.clients = clients;
    Kv::start_tls(None, TlsServer::new(options).expect("they fit"))
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Returns the text of an error of connecting, and of the last error in it.
fn refused(options: &Options, address: &str) -> String {
    let error = options.connect(address).expect_err("it is refused");
    assert!(matches!(error.cause(), Cause::Connect(_)) && !error.may_be_done(), "{error:?}");
    error.to_string()
}

#[test]
fn commands_and_messages_pass_both_ways() {
    let authority = Authority::new("Test Authority");
    let kv = start(&authority, ClientCertificates::Ignored);
    let address = address(kv.port());
    let options = Options { encryption: encrypted(trusting(&authority)).encryption, ..resp3() };
    let long = "x".repeat(300_000);
    on_every_backend(|reactor| {
        let client = open(reactor, &address, &options);
        assert_eq!(text(ask(reactor, &client, &["SET", "long", &long])), "OK");
        assert_eq!(text(ask(reactor, &client, &["GET", "long"])), long);
        client.subscribe(["news"], |result, _| result.expect("it is confirmed")).expect("accepted");
        let mut blocking = options.connect(&address).expect("it connects");
        assert_eq!(blocking.call(["GET", "long"]).expect("it is answered").as_str(), Some(&*long));
        turn_until(reactor, |_| {
            let count = blocking.call(["PUBLISH", "news", "hello"]).expect("it is answered");
            count.as_integer() == Some(1)
        });
        turn_until(reactor, |app| !app.messages.is_empty());
    });
    // A message comes on its own, and so do many answers at once.
    let mut listens = options.connect(&address).expect("it connects");
    listens.subscribe(["other"]).expect("it is confirmed");
    let mut speaks = options.connect(&address).expect("it connects");
    for _ in 0..1000 {
        speaks.send(["PUBLISH", "other", &long[..1000]]);
    }
    speaks.flush().expect("they are sent");
    for _ in 0..1000 {
        assert_eq!(speaks.receive().expect("it is answered").as_integer(), Some(1));
        assert!(listens.message(Some(PATIENCE)).expect("it is there").is_some());
    }
    // Nothing comes, and the connection goes on.
    assert!(listens.message(Some(MS)).expect("it is there").is_none());
    assert!(listens.call(["PING"]).is_ok());
}

#[test]
fn a_server_that_is_not_to_be_trusted_is_refused_and_named() {
    let (authority, other) = (Authority::new("Test Authority"), Authority::new("Other Authority"));
    let kv = start(&authority, ClientCertificates::Ignored);
    let address = address(kv.port());
    let text = refused(&encrypted(trusting(&other)), &address);
    assert!(text.contains("CN=localhost") && text.contains("no authority"), "{text}");
    // Nor one with another name.
    let named = |name: &str| {
        let tls = TlsClient::new(trusting(&authority)).expect("they fit");
        let encryption = Some(Encryption::new(tls).name(name));
        Options { encryption, ..Options::default() }
    };
    let text = refused(&named("one.example"), &address);
    assert!(text.contains("does not have the name"), "{text}");
    assert!(named("LOCALHOST").connect(&address).is_ok());
    // The client on the loop says why it has no connection.
    on_every_backend(|reactor| {
        let client = open(reactor, &address, &encrypted(trusting(&other)));
        turn_until(reactor, |_| client.failure().is_some());
        let text = client.failure().expect("there is one").to_string();
        assert!(text.contains("CN=localhost"), "{text}");
        assert_ne!(client.state(), ClientState::Up);
    });
}

#[test]
fn a_server_without_tls_is_not_talked_to() {
    let authority = Authority::new("Test Authority");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let serve = move |answer: &'static [u8]| {
        let (mut stream, _) = listener.accept().expect("a client connects");
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).expect("it says something");
        assert_eq!(bytes[0], 22, "a record of the handshake");
        stream.write_all(answer).expect("it is there");
        // Without the secret, whatever it says in plain text.
        assert!(!bytes[..count].windows(6).any(|it| it == b"secret"));
    };
    let server = std::thread::spawn(move || {
        serve(b"-ERR unknown command\r\n");
        serve(b"");
    });
    let options = encrypted(trusting(&authority)).password("secret");
    let text = refused(&options, &address);
    assert!(text.contains("not TLS"), "{text}");
    let text = refused(&options, &address);
    assert!(text.contains("is this a port for TLS?"), "{text}");
    server.join().expect("it was talked to");
    // A server that says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").to_string();
    let options = Options { connect_timeout: Some(Duration::from_millis(100)), ..options };
    let text = refused(&options, &address);
    assert!(text.contains("not completed in time"), "{text}");
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_requires_one() {
    let authority = Authority::new("Test Authority");
    let kv = start(&authority, ClientCertificates::Required(roots(&authority)));
    let address = address(kv.port());
    let known = TlsClientOptions {
        identity: Some(identity(&authority.client("a client"))),
        ..trusting(&authority)
    };
    let mut connection = encrypted(known).connect(&address).expect("it is let in");
    assert!(connection.call(["PING"]).is_ok());
    // In TLS 1.3 the server refuses after the client's part of the handshake.
    let stranger = encrypted(trusting(&authority)).connect(&address);
    let error = stranger.and_then(|mut it| it.call(["PING"]).map(drop)).expect_err("it is not");
    assert!(error.to_string().contains("requires a certificate of this side"), "{error}");
}

#[test]
fn a_pool_is_encrypted_and_lets_idle_connections_go_in_order() {
    let authority = Authority::new("Test Authority");
    let kv = start(&authority, ClientCertificates::Ignored);
    let address = address(kv.port());
    let options = encrypted(trusting(&authority));
    on_every_backend(|reactor| {
        let when_idle = WhenIdle::LetGo(Duration::from_millis(20));
        let client = ClientOptions { when_idle, ..QUICK };
        let pool = Pool::open(&[&address], 2, &options, client, &mut reactor.cx()).expect("opens");
        for _ in 0..2 {
            assert!(ask(reactor, pool.choose(), &["PING"]).is_ok());
            turn_until(reactor, |_| pool.up() == 0);
            assert!(pool.clients().iter().all(|it| it.failure().is_none()), "it was no failure");
        }
    });
}

#[test]
fn redis_and_kv_are_spoken_to_alike() {
    let files = files("tls-redis");
    files.write("client", &files.issuer().client("a client"));
    let Some((redis, port)) = Redis::start_encrypted(&files, &["--requirepass", "secret"]) else {
        return;
    };
    let known = TlsClientOptions {
        identity: Some(identity(&files.issuer().client("another client"))),
        ..trusting(files.issuer())
    };
    let options = Options { encryption: encrypted(known).encryption, ..resp3() }.password("secret");
    on_every_backend(|reactor| {
        let client = open(reactor, &address(port), &options);
        assert_eq!(text(ask(reactor, &client, &["SET", "a", "b"])), "OK");
        // The server ends its connections without close_notify, which is no failure of a command.
        let before = reactor.app.connects;
        let mut other = Connection::connect(&redis.address()).expect("it is there");
        other.call(["AUTH", "secret"]).expect("it is the password");
        other.call(["CLIENT", "KILL", "TYPE", "normal"]).expect("it is answered");
        turn_until(reactor, |app| app.connects > before);
        assert_eq!(text(ask(reactor, &client, &["GET", "a"])), "b");
    });
    let mut blocking = options.connect(&address(port)).expect("it connects");
    blocking.send(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]);
    blocking.send(["PING"]);
    blocking.flush().expect("they are sent");
    blocking.receive().expect("it is answered");
    let error = blocking.receive().expect_err("it is closed");
    assert!(matches!(error.cause(), Cause::Closed), "{error}");
}

#[test]
fn kv_cli_takes_the_options_of_redis_cli() {
    let files = files("tls-cli");
    files.write("client", &files.issuer().client("a client"));
    let Some((_redis, port)) = Redis::start_encrypted(&files, &[]) else { return };
    let kv = start(files.issuer(), ClientCertificates::Optional(roots(files.issuer())));
    let (ca, cert, key) = (files.authority(), files.certificate("client"), files.key("client"));
    let trust = ["--tls", "--cacert", &ca];
    let cases: [&[&str]; 5] = [
        &["ping"],
        &["--cert", &cert, "--key", &key, "set", "a", "b"],
        &["--sni", "localhost", "get", "a"],
        &["-3", "--csv", "lrange", "none", "0", "-1"],
        &["--scan"],
    ];
    for port in [port, kv.port()].map(|port| port.to_string()) {
        for case in cases {
            let args = [&["-h", "127.0.0.1", "-p", &port], &trust[..], case].concat();
            let [theirs, ours] =
                ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, &args, b"get a\nping\n")));
            assert_eq!(theirs, ours, "{args:?}");
        }
        let uri = format!("rediss://127.0.0.1:{port}/2");
        let args = ["-u", &uri, "--cacert", &ca];
        let [theirs, ours] =
            ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, &args, b"set x y\nget x\n")));
        assert_eq!(theirs, ours);
        assert!(ours.contains('y'), "{ours}");
        let uri = format!("tls://localhost:{port}");
        let ours = comparable(&run(KV_CLI, &["-u", &uri, "--ca", &ca, "ping"], b""));
        assert_eq!(ours, "PONG\n\n\nSome(0)");
    }
}

#[test]
fn kv_cli_says_what_is_wrong_with_encryption() {
    let files = files("tls-cli-errors");
    let kv = start(files.issuer(), ClientCertificates::Ignored);
    let plain = Kv::start_tcp(None, "127.0.0.1:0");
    let (port, plain) = (kv.port().to_string(), plain.port().to_string());
    let ca = files.authority();
    let ask = |args: &[&str]| {
        let output = run(KV_CLI, &[args, &["ping"]].concat(), b"");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (said, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
    };
    for (args, part) in [
        (&["-p", &port, "--tls"][..], "no authorit"),
        (&["-p", &port, "--tls", "--cacert", "/nonexistent.pem"], "/nonexistent.pem: "),
        (
            &["-p", &port, "--tls", "--cacert", &ca, "--sni", "one.example"],
            "does not have the name",
        ),
        (&["-p", &port, "--cacert", &ca], "--ca is for encrypted connections: give --tls"),
        (&["-p", &plain, "--tls", "--cacert", &ca], "not TLS"),
    ] {
        let (said, why, code) = ask(args);
        assert!(why.contains(part) && said.is_empty() && code == Some(1), "{args:?}: {said}{why}");
    }
    let (said, why, code) = ask(&["-p", &port, "--tls", "--insecure"]);
    assert!(why.contains("--insecure") && said == "PONG\n" && code == Some(0), "{said}{why}");
    // Authorities may be in several files of a folder.
    let folder = ca.strip_suffix("/ca.pem").expect("it is in a folder");
    std::fs::write(files.path("notes.txt"), "nothing").expect("it is written");
    let (said, why, _) = ask(&["-p", &port, "--tls", "--cacertdir", folder]);
    assert_eq!(said, "PONG\n", "{why}");
}
