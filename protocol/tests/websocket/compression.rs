//! Compression between both sides, in all settings.

use allocation_counter::measure;
use proptest::collection::vec;
use proptest::prelude::*;

use protocol::Flow;
use protocol::testing::Wire;
use protocol::websocket::{Broadcast, Client, Deflate, Options};

use crate::ends::{End, Heard, Log, closing, connect, fed, log, masked, options, unmasked};

type Ends = (Wire<Client<Log>>, End);

/// Options that compress everything and take over context.
fn deflating() -> Options {
    let deflate = Deflate {
        size_min: 1,
        context_takeover: true,
        peer_context_takeover: true,
        ..Deflate::default()
    };
    Options { deflate: Some(deflate), ..options() }
}

fn with(change: impl FnOnce(&mut Deflate)) -> Options {
    let mut options = deflating();
    change(options.deflate.as_mut().expect("it compresses"));
    options
}

fn client_log(client: &mut Wire<Client<Log>>) -> &mut Log {
    client.session_mut().service_mut().expect("it did not panic")
}

/// Sends messages from both ends, which arrive in pieces. Returns the bytes that were sent.
fn exchange((client, server): &mut Ends, messages: &[(bool, Heard)], piece: usize) -> usize {
    let mut count = 0;
    for (is_client, message) in messages {
        let bytes = if *is_client {
            client_log(client).to_send = vec![message.clone()];
            client.wake(&mut ());
            client.take_sent()
        } else {
            log(server).to_send = vec![message.clone()];
            server.wake(&mut ());
            server.take_sent()
        };
        count += bytes.len();
        for piece in bytes.chunks(piece) {
            if *is_client {
                server.feed(piece, &mut ());
            } else {
                client.feed(piece, &mut ());
            }
        }
    }
    count
}

fn of(messages: &[(bool, Heard)], is_client: bool) -> Vec<Heard> {
    messages.iter().filter(|it| it.0 == is_client).map(|it| it.1.clone()).collect()
}

fn deflate() -> impl Strategy<Value = Option<Deflate>> {
    let one = (1_u8..10, 1_usize..100, any::<[bool; 2]>(), [9_u8..16, 9_u8..16]);
    let one = one.prop_map(|(level, size_min, [own, peer], [bits, peer_bits])| Deflate {
        level,
        size_min,
        context_takeover: own,
        peer_context_takeover: peer,
        window_bits: bits,
        peer_window_bits: peer_bits,
    });
    proptest::option::weighted(0.9, one)
}

fn message() -> impl Strategy<Value = (bool, Heard)> {
    let content = prop_oneof![
        "\\PC{0,60}".prop_map(Heard::Text),
        ("[a-c]{1,5}", 1_usize..400).prop_map(|(text, times)| Heard::Text(text.repeat(times))),
        vec(any::<u8>(), 0..300).prop_map(Heard::Binary),
        (any::<u8>(), 0_usize..20_000).prop_map(|(byte, size)| Heard::Binary(vec![byte; size])),
    ];
    (any::<bool>(), content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn messages_arrive_in_all_settings(
        own in deflate(),
        peer in deflate(),
        messages in vec(message(), 1..8),
        piece in 1_usize..3000,
        in_pieces: bool,
    ) {
        let client = Options { deflate: own, in_pieces, ..options() };
        let server = Options { deflate: peer, in_pieces, ..options() };
        let mut ends = connect(Log::default(), client, Log::default(), server);
        exchange(&mut ends, &messages, piece);
        prop_assert_eq!(&log(&mut ends.1).heard, &of(&messages, true));
        prop_assert_eq!(&client_log(&mut ends.0).heard, &of(&messages, false));
    }
}

#[test]
fn context_makes_messages_small_that_resemble_the_last_one() {
    let text = |number: usize| {
        let text = format!("{{\"event\": \"trade\", \"symbol\": \"BTCUSDT\", \"id\": {number}}}");
        (number.is_multiple_of(2), Heard::Text(text))
    };
    let messages: Vec<_> = (0..100).map(text).collect();
    let without = with(|it| (it.context_takeover, it.peer_context_takeover) = (false, false));
    let sizes = [deflating(), without].map(|server| {
        let mut ends = connect(Log::default(), deflating(), Log::default(), server);
        let size = exchange(&mut ends, &messages, 1000);
        assert_eq!(log(&mut ends.1).heard, of(&messages, true));
        assert_eq!(client_log(&mut ends.0).heard, of(&messages, false));
        size
    });
    assert!(sizes[0] * 3 < sizes[1], "{sizes:?}");
}

#[test]
fn compressed_frames_are_read_however_they_are_split() {
    let messages = [
        Heard::Text("κόσμε ".repeat(20)),
        Heard::Binary(vec![7; 300]),
        Heard::Text("κόσμε ".repeat(20)),
    ];
    for in_pieces in [false, true] {
        let connected = || {
            let server = Options { in_pieces, ..deflating() };
            connect(Log::default(), deflating(), Log::default(), server)
        };
        let (mut client, _) = connected();
        client_log(&mut client).to_send = messages.to_vec();
        client_log(&mut client).then = Some(Flow::Close);
        client.wake(&mut ());
        let input = client.take_sent();
        for split in 0..=input.len() {
            let (front, back) = input.split_at(split);
            let outcome = fed(connected().1, &[front, back]);
            assert_eq!(outcome.heard[..3], messages, "split at {split}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(fed(connected().1, &bytes).heard[..3], messages);
    }
}

#[test]
fn a_compressed_message_may_have_fragments_and_control_frames_between() {
    // RFC 7692 section 7.2.3.1, in two frames.
    let input = [
        masked(0x41, &[0xf2, 0x48, 0xcd]),
        masked(0x89, b"?"),
        masked(0x80, &[0xc9, 0xc9, 0x07, 0x00]),
        // A block that is the last one (section 7.2.3.4), and one that is not compressed.
        masked(0xC1, &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        masked(0xC1, &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
        masked(0x81, b"Hello"),
        // Empty ones.
        masked(0xC1, &[0x00]),
        masked(0xC2, &[]),
        masked(0x88, b""),
    ];
    let (_, server) = connect(Log::default(), deflating(), Log::default(), deflating());
    let outcome = fed(server, &[&input.concat()]);
    let hello = || Heard::Text("Hello".into());
    let empty = [Heard::Text(String::new()), Heard::Binary(Vec::new())];
    assert_eq!(outcome.heard[..4], [hello(), hello(), hello(), hello()]);
    assert_eq!(outcome.heard[4..6], empty);
    assert_eq!(outcome.sent, [unmasked(0x8A, b"?"), unmasked(0x88, b"")].concat());
}

#[test]
fn what_is_not_deflate_or_not_text_is_refused() {
    for (input, code, text) in [
        (masked(0xC2, &[0xFF; 10]), 1007, "refused: compressed data are invalid"),
        (masked(0xC2, &[0x06; 10]), 1007, "refused: compressed data are invalid"),
        // A stored block with the text "\xff".
        (masked(0xC1, &[0, 1, 0, 0xFE, 0xFF, 0xFF, 0]), 1007, "refused: text is not UTF-8"),
        (
            [masked(0x41, &[0xf2]), masked(0xC0, &[0x48])].concat(),
            1002,
            "refused: a continuation has the bit of compression",
        ),
        (masked(0xC9, b""), 1002, "refused: a reserved bit is set"),
    ] {
        let (_, server) = connect(Log::default(), deflating(), Log::default(), deflating());
        let outcome = fed(server, &[&input]);
        assert_eq!((outcome.ended.as_deref(), outcome.heard.len()), (Some(text), 0));
        assert_eq!(outcome.sent[2..4], closing(code, ""), "{text}");
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    const SIZE_MAX: usize = 1 << 20;
    let large = Options { message_size_max: 1 << 30, ..deflating() };
    let mut ends = connect(Log::default(), large.clone(), Log::default(), deflating());
    let bomb = [(true, Heard::Binary(vec![0; 100 * SIZE_MAX]))];
    let mut size = 0;
    client_log(&mut ends.0).to_send = vec![bomb[0].1.clone()];
    ends.0.wake(&mut ());
    let bytes = ends.0.take_sent();
    size += bytes.len();
    assert!(size < SIZE_MAX, "{size}");
    let counted = measure(|| {
        bytes.chunks(4096).for_each(|piece| ends.1.feed(piece, &mut ()));
    });
    assert!(counted.bytes_max < 3 * SIZE_MAX as u64, "{counted:?}");
    let sent = ends.1.take_sent();
    assert_eq!((sent[0], &sent[2..4]), (0x88, &closing(1009, "")[..]));

    // In pieces, memory does not depend on the size.
    let pieces = Options { in_pieces: true, ..large };
    let (_, mut server) = connect(Log::default(), deflating(), Log::default(), pieces);
    let counted = measure(|| {
        for piece in bytes.chunks(4096) {
            server.feed(piece, &mut ());
            log(&mut server).begun = Vec::new();
        }
    });
    assert!(counted.bytes_max < 6 * SIZE_MAX as u64, "{counted:?}");
    assert!(log(&mut server).pieces > 6000 && log(&mut server).heard.len() == 1);
}

/// Sends a broadcast from a server to its client.
fn share((client, server): &mut Ends, news: &Broadcast) -> usize {
    log(server).to_share = Some(news.clone());
    server.wake(&mut ());
    let bytes = server.take_sent();
    client.feed(&bytes, &mut ());
    bytes.len()
}

#[test]
fn one_encoding_serves_every_setting_and_disturbs_no_context() {
    let text = "one encoding for all of them, ".repeat(40);
    let news = Broadcast::text(&text).deflated(&Deflate::default());
    let small = Broadcast::text(&text).deflated(&Deflate { window_bits: 9, ..Deflate::default() });
    let settings = [
        (deflating(), true, true),
        (with(|it| it.context_takeover = false), true, true),
        (with(|it| it.peer_context_takeover = false), true, true),
        // Its client has a smaller window.
        (with(|it| it.peer_window_bits = 9), false, true),
        (options(), false, false),
    ];
    for (client, compresses, compresses_small) in settings {
        let mut ends = connect(Log::default(), client, Log::default(), deflating());
        let mut expected = Vec::new();
        for number in 0..6 {
            // Own messages, which refer to each other, before and after shared ones.
            let own = Heard::Text(format!("own message {number}: {text}"));
            exchange(&mut ends, &[(false, own.clone())], 1000);
            let sizes = [share(&mut ends, &news), share(&mut ends, &small)];
            assert_eq!([sizes[0] < 200, sizes[1] < 400], [compresses, compresses_small]);
            expected.extend([own, Heard::Text(text.clone()), Heard::Text(text.clone())]);
        }
        assert_eq!(client_log(&mut ends.0).heard, expected);
    }
}

#[test]
fn a_broadcast_is_not_copied() {
    let news = Broadcast::binary(&protocol::Random::new(1).bytes(100_000));
    for options in [options(), deflating()] {
        let mut ends = connect(Log::default(), options.clone(), Log::default(), options);
        ends.1.set_room(0, &mut ());
        log(&mut ends.1).to_share = Some(news.clone());
        let counted = measure(|| ends.1.wake(&mut ()));
        assert!(counted.bytes_max < 2000, "{counted:?}");
        ends.1.set_room(u64::MAX, &mut ());
        assert_eq!(ends.1.take_sent().len(), 100_000 + 10);
    }
}

#[test]
fn five_thousand_subscribers_that_do_not_read_share_a_broadcast() {
    let news = Broadcast::binary(&protocol::Random::new(1).bytes(1024));
    let mut subscribers: Vec<_> = std::iter::repeat_with(|| {
        let (_, mut server) = connect(Log::default(), options(), Log::default(), options());
        server.set_room(0, &mut ());
        log(&mut server).to_share = Some(news.clone());
        server
    })
    .take(5000)
    .collect();
    let counted = measure(|| subscribers.iter_mut().for_each(|it| it.wake(&mut ())));
    let each = counted.bytes_current / 5000;
    println!("{each} bytes for each subscriber");
    assert!(each < 512, "{each} bytes for each subscriber: {counted:?}");
    for subscriber in &mut subscribers {
        subscriber.set_room(u64::MAX, &mut ());
        let sent = subscriber.take_sent();
        assert!(sent.ends_with(news.payload()) && sent.len() == 1024 + 4);
    }
}

/// Returns how many bytes a server keeps after it has sent or received a message.
fn kept(server: Options, sends: bool) -> i64 {
    // A thread of its own: what it keeps for all connections without context counts too.
    let measured = std::thread::spawn(move || {
        let (mut client, mut server) = connect(Log::default(), deflating(), Log::default(), server);
        let text = Heard::Text("a".repeat(1000));
        client_log(&mut client).to_send = vec![text.clone()];
        client.wake(&mut ());
        let bytes = client.take_sent();
        log(&mut server).to_send = vec![text];
        let counted = measure(|| {
            if sends {
                server.wake(&mut ());
                drop(server.take_sent());
            } else {
                server.feed(&bytes, &mut ());
            }
        });
        counted.bytes_current
    });
    measured.join().expect("it does not panic")
}

#[test]
fn a_connection_costs_what_the_documentation_says() {
    let sizes = [true, false].map(|sends| kept(deflating(), sends));
    println!("to compress {}, to decompress {}", sizes[0], sizes[1]);
    assert!((200_000..MEMORY[0]).contains(&sizes[0]), "{sizes:?}");
    assert!((32_000..MEMORY[1]).contains(&sizes[1]), "{sizes:?}");
}

#[test]
fn connections_without_context_share_what_a_thread_keeps() {
    let without = || with(|it| (it.context_takeover, it.peer_context_takeover) = (false, false));
    let text = Heard::Text("a".repeat(1000));
    let both = [(true, text.clone()), (false, text)];
    let make = || connect(Log::default(), deflating(), Log::default(), without());
    exchange(&mut make(), &both, 10_000);
    let mut all: Vec<Ends> = (0..20).map(|_| make()).collect();
    let counted = measure(|| {
        for ends in &mut all {
            exchange(ends, &both, 10_000);
        }
    });
    assert!(counted.bytes_current < 20 * 20_000, "{counted:?}");
}

/// What the documentation of [`Deflate`] says that a context takes at most, in bytes.
const MEMORY: [i64; 2] = [400_000, 60_000];
