//! TLS as a layer: both sides in memory.

#![cfg(feature = "tls")]

mod pair;
mod pumping;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pair::{End, Pair, Seen, Talk, end, error_of, identity, options, roots, sides};
use protocol::tls::{
    ClientCertificates, Identity, Roots, TlsClient, TlsClientOptions, TlsErrorKind, TlsServer,
    TlsServerOptions, Trust, Version,
};
use testkit::Random;
use testkit::authority::Authority;

/// Returns both sides, which allow this version only.
fn of_version(version: Version) -> (TlsClient, TlsServer) {
    let (client, mut server, _) = options();
    (server.version_min, server.version_max) = (version, version);
    let (client, server) = sides(client, server);
    (client, server)
}

#[test]
fn an_exchange_is_the_same_in_pieces_of_any_size() {
    let (client, server) = of_version(Version::Tls12);
    let said = Random::new(1).bytes(3000);
    for piece in (1..40).chain([100, 500, 1000, 5000, usize::MAX]) {
        assert_eq!(Pair::new(&client, &server, &said).finish(piece), said, "pieces of {piece}");
    }
}

#[test]
fn an_exchange_may_be_split_at_every_byte() {
    let (client, server) = of_version(Version::Tls13);
    // Each round splits each flight of bytes at the same place.
    let mut at = 1;
    let mut longest = 1;
    while at <= longest {
        let mut pair = Pair::new(&client, &server, b"hello");
        pair.client.run(&mut ());
        loop {
            let (to_server, to_client) = (pair.client.take_sent(), pair.server.take_sent());
            if to_server.is_empty() && to_client.is_empty() {
                break;
            }
            for (bytes, end) in [(to_server, &mut pair.server), (to_client, &mut pair.client)] {
                longest = longest.max(bytes.len());
                let (first, second) = bytes.split_at(at.min(bytes.len()));
                end.feed(first, &mut ());
                end.feed(second, &mut ());
            }
        }
        assert_eq!(pair.client.session_mut().heard, b"hello", "split at {at}");
        at += 1;
    }
    assert!(longest > 500, "{longest}");
}

#[test]
fn much_passes_both_ways_while_peers_read_slowly() {
    for version in [Version::Tls12, Version::Tls13] {
        let (client, server) = of_version(version);
        let mut random = Random::new(7);
        let said = random.bytes(1 << 20);
        let mut pair = Pair::new(&client, &server, &said);
        pair.client.run(&mut ());
        while pair.client.session_mut().heard.len() < said.len() {
            let Pair { client, server } = &mut pair;
            client.set_room(random.below(100_000), &mut ());
            server.feed(&client.take_sent(), &mut ());
            server.set_room(random.below(100_000), &mut ());
            client.feed(&server.take_sent(), &mut ());
        }
        assert!(pair.client.session_mut().heard == said, "{version:?}");
        assert!(pair.client.reason().is_none(), "{:?}", pair.client.reason());
    }
}

#[test]
fn an_end_without_close_notify_is_not_the_end_of_the_stream() {
    let (client, server) = of_version(Version::Tls12);
    let mut pair = Pair::new(&client, &server, b"hello");
    pair.client.session_mut().enough = None;
    pair.exchange(usize::MAX);
    pair.server.end_input(&mut ());
    let session_heard = pair.server.session_mut().input_ended;
    let error = error_of(pair.server).expect("it is refused");
    assert_eq!(error.kind(), TlsErrorKind::Cut);
    assert!(error.to_string().contains("close_notify"), "{error}");
    assert!(!session_heard, "the session takes it for the end");
}

#[test]
fn what_is_not_tls_is_refused_with_an_alert() {
    let (_, server) = of_version(Version::Tls12);
    let mut end = end(server.layer().expect("a layer"), Talk::default());
    end.feed(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n", &mut ());
    let sent = end.take_sent();
    assert_eq!(sent.first(), Some(&21), "an alert: {sent:?}");
    let error = error_of(end).expect("it is refused");
    assert_eq!(error.kind(), TlsErrorKind::NotTls, "{error}");
}

#[test]
fn an_invalid_record_after_its_own_end_is_refused() {
    for version in [Version::Tls12, Version::Tls13] {
        let (client, server) = of_version(version);
        let mut pair = Pair::new(&client, &server, b"hello");
        let talk = Talk { ends_at_once: true, ..Talk::default() };
        pair.server = end(server.layer().expect("a layer"), talk);
        pair.client.run(&mut ());
        while !pair.server.is_shut_down() {
            let to_server = pair.client.take_sent();
            pair.server.feed(&to_server, &mut ());
            let to_client = pair.server.take_sent();
            pair.client.feed(&to_client, &mut ());
        }
        assert!(pair.server.reason().is_none(), "it goes on reading");
        pair.server.feed(&[23, 3, 3, 0, 20], &mut ());
        pair.server.feed(&[0; 20], &mut ());
        assert!(pair.server.take_sent().is_empty(), "{version:?}: nothing follows the end");
        assert!(error_of(pair.server).is_some(), "{version:?}");
    }
}

#[test]
fn a_byte_that_was_altered_ends_the_connection() {
    let (client, server) = of_version(Version::Tls12);
    let (mut random, mut refused) = (Random::new(3), 0);
    for round in 0..200 {
        let mut pair = Pair::new(&client, &server, b"hello");
        let mut untouched = random.below(1300) as usize;
        pair.client.run(&mut ());
        let mut is_altered = false;
        loop {
            let (mut to_server, to_client) = (pair.client.take_sent(), pair.server.take_sent());
            if to_server.is_empty() && to_client.is_empty() {
                break;
            }
            if !is_altered && untouched < to_server.len() {
                to_server[untouched] ^= 1 << random.below(8);
                is_altered = true;
            } else {
                untouched = untouched.saturating_sub(to_server.len());
            }
            pair.server.feed(&to_server, &mut ());
            pair.client.feed(&to_client, &mut ());
        }
        let heard = &pair.server.session_mut().heard;
        assert!(heard.is_empty() || heard == b"hello", "round {round}: {heard:?}");
        refused += usize::from(is_altered && error_of(pair.server).is_some());
    }
    // What a client says has about 500 to 1,500 bytes, depending on its key exchange; and the
    // version in the header of the first record means nothing (RFC 8446 section 5.1).
    assert!(refused > 50, "{refused} of 200 were refused");
}

#[test]
fn the_certificate_is_that_of_the_name() {
    let authority = Authority::new("Test Authority");
    let identities = [&["one.example"][..], &["two.example", "*.three.example"], &["127.0.0.1"]]
        .map(|names| identity(&authority.server(names)));
    let (client, server) = sides(
        TlsClientOptions::new(Trust::Roots(roots(&authority))),
        TlsServerOptions::new(identities.to_vec()),
    );
    let connect = |name: &str| {
        let mut pair = Pair::new(&client, &server, b"hello");
        pair.client = end(
            client.layer(name).expect("a name"),
            Talk { to_say: b"hi".to_vec(), enough: Some(2), ..Talk::default() },
        );
        pair.exchange(usize::MAX);
        let heard = pair.client.session_mut().heard.clone();
        (heard == b"hi", pair.client)
    };
    for name in ["one.example", "two.example", "TWO.example", "a.three.example"] {
        assert!(connect(name).0, "{name}");
    }
    for name in ["four.example", "three.example", "a.b.three.example", "127.0.0.2"] {
        let (is_connected, end) = connect(name);
        let error = error_of(end).expect("it is refused");
        assert!(!is_connected && error.kind() == TlsErrorKind::Certificate, "{name}: {error}");
        let text = error.to_string();
        assert!(
            text.contains("CN=one.example") && text.contains("does not have the name"),
            "{text}"
        );
    }
}

#[test]
fn a_certificate_that_is_refused_is_named_with_what_is_wrong() {
    let authority = Authority::new("Test Authority");
    let other = Authority::new("Other Authority");
    let cases = [
        (authority.server_between(&["one.example"], (2020, 2021)), "has expired"),
        (authority.server_between(&["one.example"], (2080, 2090)), "not valid yet"),
        (other.server(&["one.example"]), "no authority that is trusted"),
        (authority.client("one.example"), "may not be used"),
    ];
    for (issued, part) in cases {
        let (client, server) = sides(
            TlsClientOptions::new(Trust::Roots(roots(&authority))),
            TlsServerOptions::new(vec![identity(&issued)]),
        );
        let (at_client, at_server) = Pair::new(&client, &server, b"hello").errors();
        let text = at_client.expect("it refuses").to_string();
        assert!(text.contains(part) && text.contains("\"CN=one.example\""), "{text}");
        let at_server = at_server.expect("it is told");
        assert_eq!(at_server.kind(), TlsErrorKind::Alert, "{at_server}");
        // Without trust, the same is accepted.
        let client = TlsClient::new(TlsClientOptions::new(Trust::Anything)).expect("they fit");
        assert_eq!(Pair::new(&client, &server, b"hello").finish(usize::MAX), b"hello");
    }
}

#[test]
fn clients_show_certificates_as_the_server_asks() {
    let (client, server, authority) = options();
    let known = identity(&authority.client("client"));
    let stranger = identity(&Authority::new("Other Authority").client("stranger"));
    let asks = [
        ClientCertificates::Ignored,
        ClientCertificates::Optional(roots(&authority)),
        ClientCertificates::Required(roots(&authority)),
    ];
    let shown = [None, Some(known), Some(stranger)];
    let expected = [[true, true, true], [true, true, false], [false, true, false]];
    for (clients, expected) in asks.into_iter().zip(expected) {
        for version in [Version::Tls12, Version::Tls13] {
            let server = TlsServerOptions {
                clients: clients.clone(),
                version_min: version,
                version_max: version,
                ..server.clone()
            };
            for (identity, expected) in shown.iter().zip(expected) {
                let client = TlsClientOptions { identity: identity.clone(), ..client.clone() };
                let (client, server) = sides(client, server.clone());
                let mut pair = Pair::new(&client, &server, b"hello");
                pair.client.session_mut().enough = None;
                pair.exchange(usize::MAX);
                let is_accepted = pair.client.session_mut().heard == b"hello";
                assert_eq!(is_accepted, expected, "{clients:?} {identity:?}");
                let certificates = pair.server.link().layer().peer_certificates().count();
                let is_shown =
                    !matches!(clients, ClientCertificates::Ignored) && identity.is_some();
                assert!(!is_accepted || (certificates > 0) == is_shown);
                if !expected {
                    let (at_client, at_server) = pair.errors();
                    assert_eq!(at_server.expect("refused").kind(), TlsErrorKind::Certificate);
                    assert_eq!(at_client.expect("told").kind(), TlsErrorKind::Alert);
                }
            }
        }
    }
}

#[test]
fn both_sides_agree_on_a_protocol_and_a_version() {
    let (client, server, _) = options();
    let protocols = |names: &[&str]| names.iter().map(|it| it.as_bytes().to_vec()).collect();
    let client = TlsClientOptions { protocols: protocols(&["h2", "http/1.1"]), ..client };
    let speaks = |names| TlsServerOptions { protocols: protocols(names), ..server.clone() };
    let (client, http) = sides(client, speaks(&["http/1.1"]));
    let mut pair = Pair::new(&client, &http, b"hello");
    pair.exchange(usize::MAX);
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.link().layer().protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(end.link().layer().version(), Some(Version::Tls13));
    }
    let other = TlsServer::new(speaks(&["redis"])).expect("they fit");
    let (at_client, at_server) = Pair::new(&client, &other, b"hello").errors();
    assert_eq!(at_server.expect("it refuses").kind(), TlsErrorKind::Incompatible);
    let text = at_client.expect("it is told").to_string();
    assert!(text.contains("ALPN"), "{text}");
}

#[test]
fn a_session_sees_the_encryption_below_it() {
    let (client, server, authority) = options();
    let client = TlsClientOptions {
        protocols: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        identity: Some(identity(&authority.client("a client"))),
        ..client
    };
    let server = TlsServerOptions {
        protocols: vec![b"http/1.1".to_vec()],
        clients: ClientCertificates::Optional(roots(&authority)),
        ..server
    };
    let (client, server) = sides(client, server);
    for is_resumed in [false, true] {
        let mut pair = Pair::new(&client, &server, b"hello");
        pair.client = end(
            client.layer("ONE.Example").expect("a name"),
            Talk { to_say: b"hello".to_vec(), enough: Some(5), ..Talk::default() },
        );
        pair.exchange(usize::MAX);
        let expected = Seen {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            protocol: Some(b"http/1.1".to_vec()),
            server_name: Some("one.example".to_owned()),
            is_resumed,
            certificates: 1,
            subject: Some("CN=a client".to_owned()),
        };
        assert_eq!(pair.server.session_mut().seen.as_ref(), Some(&expected));
        let expected = Seen { subject: Some("CN=one.example".to_owned()), ..expected };
        assert_eq!(pair.client.session_mut().seen.as_ref(), Some(&expected));
    }
    // An address is not sent, and a client without a certificate has no subject.
    let anything = TlsClient::new(TlsClientOptions::new(Trust::Anything)).expect("they fit");
    let mut pair = Pair::new(&anything, &server, b"hello");
    pair.client = end(
        anything.layer("127.0.0.1").expect("an address"),
        Talk { to_say: b"hello".to_vec(), enough: Some(5), ..Talk::default() },
    );
    pair.exchange(usize::MAX);
    let seen = pair.server.session_mut().seen.clone().expect("it is encrypted");
    assert_eq!((seen.protocol, seen.server_name, seen.subject), (None, None, None));
}

#[test]
fn the_older_version_is_named_as_it_is() {
    let (client, server, _) = options();
    for (version, name, cipher) in [
        (Version::Tls12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (Version::Tls13, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let client = TlsClientOptions { version_max: version, ..client.clone() };
        let (client, server) = sides(client, server.clone());
        let mut pair = Pair::new(&client, &server, b"hello");
        pair.exchange(usize::MAX);
        let seen = pair.server.session_mut().seen.clone().expect("it is encrypted");
        assert_eq!((&*seen.version, &*seen.cipher), (name, cipher));
    }
}

/// Makes a connection, and returns whether it has resumed a session.
fn is_resumed(client: &TlsClient, server: &TlsServer) -> Option<bool> {
    let mut pair = Pair::new(client, server, b"hello");
    pair.exchange(usize::MAX);
    assert_eq!(pair.client.session_mut().heard, b"hello");
    let is_resumed = |end: &End| end.link().layer().is_resumed();
    assert_eq!(is_resumed(&pair.client), is_resumed(&pair.server));
    is_resumed(&pair.client)
}

#[test]
fn sessions_are_resumed_also_after_certificates_were_replaced() {
    let (client, server, authority) = options();
    let (client, running) = sides(client, server.clone());
    assert_eq!(is_resumed(&client, &running), Some(false));
    assert_eq!(is_resumed(&client, &running), Some(true));
    let mut old = Pair::new(&client, &running, b"hello");
    old.client.session_mut().enough = None;
    old.exchange(usize::MAX);

    let renewed = vec![identity(&authority.server(&["one.example", "new.example"]))];
    running.replace(TlsServerOptions::new(renewed)).expect("they fit");
    assert_eq!(is_resumed(&client, &running), Some(true));
    // A client without a session sees the new certificate.
    let trust = Trust::Roots(roots(&authority));
    let fresh = TlsClient::new(TlsClientOptions::new(trust)).expect("they fit");
    let mut pair = Pair::new(&fresh, &running, b"hello");
    pair.client = end(fresh.layer("new.example").expect("a name"), Talk::default());
    pair.exchange(usize::MAX);
    assert!(pair.client.link().layer().is_resumed().is_some(), "{:?}", pair.client.reason());
    // The old connection goes on.
    assert!(old.client.reason().is_none());
    old.client.session_mut().enough = Some(5);
    old.server.wake(&mut ());
    old.exchange(usize::MAX);
    assert!(old.server.reason().is_none());
    // What cannot be used is refused, and changes nothing.
    assert!(running.replace(TlsServerOptions::new(Vec::new())).is_err());
    assert_eq!(is_resumed(&client, &running), Some(true));
}

#[test]
fn no_handshake_fails_while_certificates_are_replaced() {
    const TIMES: usize = 100;
    let (client, server, authority) = options();
    let running = TlsServer::new(server.clone()).expect("they fit");
    let (is_over, threads) = (AtomicBool::new(false), 2);
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Each round begins with a full handshake, and resumes the session then.
                while !is_over.load(Ordering::Relaxed) {
                    let client = TlsClient::new(client.clone()).expect("they fit");
                    for _ in 0..2 {
                        assert_eq!(Pair::new(&client, &running, b"hello").finish(500), b"hello");
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..TIMES {
            let renewed = vec![identity(&authority.server(&["one.example"]))];
            running.replace(TlsServerOptions::new(renewed)).expect("they fit");
        }
        let before = made.load(Ordering::Relaxed);
        while made.load(Ordering::Relaxed) < before + 2 * threads {
            std::thread::yield_now();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn unusable_certificates_and_keys_are_named() {
    let authority = Authority::new("Test Authority");
    let (one, two) = (authority.server(&["one.example"]), authority.server(&["two.example"]));
    let broken = one.certificate.replace("MII", "MIJ");
    let cut = one.certificate.replace("END", "AND");
    let several = format!("{}{}", two.certificate, one.certificate);
    let sealed = one.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    // The form of `openssl rsa -aes128 -traditional`.
    let begin = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    let traditional =
        format!("{begin}DEK-Info: AES-128-CBC,00\n\nAAAA\n{}", begin.replace("BEGIN", "END"));
    let cases = [
        ("", one.key.as_str(), "there is no certificate"),
        ("rubbish", &one.key, "there is no certificate"),
        (&one.certificate, "", "no private key"),
        (&one.certificate, &one.certificate, "no private key"),
        (&one.certificate, &two.key, "does not belong"),
        (&broken, &one.key, "cannot be read"),
        (&cut, &one.key, "cannot be read: the line with END is missing"),
        (&several, &one.key, "that of this side comes first"),
        (&one.certificate, &sealed, "the private key is encrypted"),
        (&one.certificate, &traditional, "the private key is encrypted"),
    ];
    for (chain, key, part) in cases {
        let error = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect_err("refused");
        assert!(error.to_string().contains(part), "{error} has no {part:?}");
        assert_eq!(error.kind(), TlsErrorKind::Configuration);
    }
    // Both may be in one file.
    let both = format!("{}{}", two.key, two.certificate);
    let identity = Identity::from_pem(both.as_bytes(), both.as_bytes()).expect("it is whole");
    assert_eq!(identity.names().collect::<Vec<_>>(), ["two.example"]);
    assert!(Roots::from_pem(b"nothing").is_err());
    let (client, _, _) = options();
    let client = TlsClient::new(client).expect("they fit");
    assert!(client.layer("not a name").is_err());
}
