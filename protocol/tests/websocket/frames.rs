//! Frames of every kind, whole and split at every byte.

use protocol::websocket::Options;

use crate::ends::{
    Heard, KEY, Log, Outcome, client, closing, fed, log, masked, options, server, unmasked,
};

/// Feeds `input` whole, split at every byte, and byte by byte. All must come to the same.
fn check(input: &[u8], is_client: bool, options: &Options) -> Outcome {
    let end = || {
        let make = if is_client { client } else { server };
        make(Log::echo(), options.clone())
    };
    let whole = fed(end(), &[input]);
    for split in 0..=input.len() {
        let (front, back) = input.split_at(split);
        let mut parts = fed(end(), &[front, back]);
        unify(&mut parts, &whole, is_client);
        assert_eq!(parts, whole, "split at byte {split}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let mut trickled = fed(end(), &bytes);
    unify(&mut trickled, &whole, is_client);
    assert_eq!(trickled, whole, "byte by byte");
    whole
}

/// The output of a client has random keys: its size is compared.
fn unify(parts: &mut Outcome, whole: &Outcome, is_client: bool) {
    if is_client && parts.sent.len() == whole.sent.len() {
        parts.sent.clone_from(&whole.sent);
    }
}

/// A connection as a client speaks it: frames with their opcode and bits, and what a server hears.
fn conversation() -> (Vec<(u8, Vec<u8>)>, Vec<Heard>) {
    let long: Vec<u8> = (0..=255).cycle().take(300).collect();
    let text = |text: &str| Heard::Text(text.to_owned());
    let frames = vec![
        (0x81, b"Hello".to_vec()),
        (0x82, b"\x00\xff".to_vec()),
        (0x81, Vec::new()),
        (0x82, Vec::new()),
        (0x82, long.clone()),
        (0x89, b"ping".to_vec()),
        (0x89, Vec::new()),
        (0x8A, b"pong".to_vec()),
        // Text in three fragments, which end inside characters; control frames between them.
        (0x01, b"\xce\xba\xe1".to_vec()),
        (0x89, b"between".to_vec()),
        (0x00, b"\xbd\xb9\xcf".to_vec()),
        (0x8A, b"too".to_vec()),
        (0x00, Vec::new()),
        (0x80, b"\x83".to_vec()),
        // Bytes in fragments, the last one empty.
        (0x02, long[..200].to_vec()),
        (0x80, Vec::new()),
        (0x88, closing(1000, "bye")),
    ];
    let heard = vec![
        text("Hello"),
        Heard::Binary(b"\x00\xff".to_vec()),
        text(""),
        Heard::Binary(Vec::new()),
        Heard::Binary(long.clone()),
        Heard::Pong(b"pong".to_vec()),
        Heard::Pong(b"too".to_vec()),
        text("κ\u{1f79}σ"),
        Heard::Binary(long[..200].to_vec()),
        Heard::Close(Some(1000), "bye".into()),
    ];
    (frames, heard)
}

/// What a server says to it, if it echoes.
fn answers() -> Vec<u8> {
    let long: Vec<u8> = (0..=255).cycle().take(300).collect();
    [
        unmasked(0x81, b"Hello"),
        unmasked(0x82, b"\x00\xff"),
        unmasked(0x81, b""),
        unmasked(0x82, b""),
        unmasked(0x82, &long),
        unmasked(0x8A, b"ping"),
        unmasked(0x8A, b""),
        unmasked(0x8A, b"between"),
        unmasked(0x81, "κ\u{1f79}σ".as_bytes()),
        unmasked(0x82, &long[..200]),
        unmasked(0x88, &closing(1000, "")),
    ]
    .concat()
}

#[test]
fn every_kind_of_frame_is_read_however_it_is_split() {
    let (frames, heard) = conversation();
    for in_pieces in [false, true] {
        let options = Options { in_pieces, ..options() };
        let input: Vec<u8> = frames.iter().flat_map(|(first, it)| masked(*first, it)).collect();
        let outcome = check(&input, false, &options);
        assert_eq!(outcome.heard, heard);
        assert_eq!(outcome.sent, answers());
        assert_eq!(outcome.ended.as_deref(), Some("finished"));

        let input: Vec<u8> = frames.iter().flat_map(|(first, it)| unmasked(*first, it)).collect();
        let outcome = check(&input, true, &options);
        assert_eq!(outcome.heard, heard);
        // Each frame of the client has a key.
        assert_eq!(outcome.sent.len(), answers().len() + 11 * KEY.len());
        assert_eq!(outcome.ended.as_deref(), Some("peer closed"));
    }
}

#[test]
fn a_message_of_each_length_of_length_comes_back() {
    for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 200_000] {
        let payload: Vec<u8> = (0..=250).cycle().take(size).collect();
        for cut in [1, 5, 14, 100, 4096, 70_000].into_iter().filter(|cut| *cut < size.max(2) + 14) {
            let frame = masked(0x82, &payload);
            let (front, back) = frame.split_at(cut.min(frame.len()));
            let outcome = fed(server(Log::echo(), options()), &[front, back]);
            assert_eq!(outcome.heard, [Heard::Binary(payload.clone())], "{size} cut at {cut}");
            assert_eq!(outcome.sent, unmasked(0x82, &payload));
            assert_eq!(outcome.ended.as_deref(), Some(UNCLOSED));
        }
    }
}

/// The end of a stream without a close frame.
pub(crate) const UNCLOSED: &str = "refused: the stream ended without a close frame";

#[test]
fn what_breaks_the_rules_is_answered_with_a_code_and_ends() {
    let (protocol, data, large) = (1002, 1007, 1009);
    let reserved = "refused: a reserved bit is set";
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (masked(0xC1, b"x"), protocol, reserved),
        (masked(0xA1, b"x"), protocol, reserved),
        (masked(0x91, b"x"), protocol, reserved),
        (masked(0xF1, b"x"), protocol, reserved),
        (masked(0xC9, b"x"), protocol, reserved),
        (masked(0x83, b"x"), protocol, "refused: opcode 3 is reserved"),
        (masked(0x87, b"x"), protocol, "refused: opcode 7 is reserved"),
        (masked(0x8B, b"x"), protocol, "refused: opcode 11 is reserved"),
        (masked(0x8F, b"x"), protocol, "refused: opcode 15 is reserved"),
        (masked(0x09, b"x"), protocol, "refused: a control frame is fragmented"),
        (masked(0x08, b"x"), protocol, "refused: a control frame is fragmented"),
        (masked(0x0A, b"x"), protocol, "refused: a control frame is fragmented"),
        (masked(0x89, &[0; 126]), protocol, "refused: a control frame has more than 125 bytes"),
        (unmasked(0x81, b"x"), protocol, "refused: a frame of a client is not masked"),
        (masked(0x80, b"x"), protocol, "refused: a continuation comes without a message"),
        (masked(0x00, b"x"), protocol, "refused: a continuation comes without a message"),
        (
            [masked(0x01, b"x"), masked(0x81, b"y")].concat(),
            protocol,
            "refused: a message begins before the last one has ended",
        ),
        (
            [masked(0x01, b"x"), masked(0x02, b"y")].concat(),
            protocol,
            "refused: a message begins before the last one has ended",
        ),
        (masked(0x88, b"\x03"), protocol, "refused: a close frame has one byte"),
        (masked(0x88, &closing(1005, "")), protocol, "refused: close code 1005 must not be sent"),
        (masked(0x88, b"\x03\xe8\xff"), data, "refused: the reason in a close frame is not UTF-8"),
        (masked(0x81, b"\xff"), data, "refused: text is not UTF-8"),
        (masked(0x81, b"\xce"), data, "refused: text is not UTF-8"),
        ([masked(0x01, b"\xce"), masked(0x80, b"x")].concat(), data, "refused: text is not UTF-8"),
        ([masked(0x01, b"x"), masked(0x80, b"\xce")].concat(), data, "refused: text is not UTF-8"),
        (
            [&[0x82, 0xFF][..], &(1_u64 << 30).to_be_bytes(), &KEY].concat(),
            large,
            "limit reached: message_size_max: a message is larger",
        ),
        (
            [&[0x82, 0xFF][..], &u64::MAX.to_be_bytes(), &KEY].concat(),
            protocol,
            "refused: the length of a frame is not encoded as it should be",
        ),
    ];
    for (bad, code, ended) in cases {
        // What comes before is answered, and what comes after is not.
        let input = [masked(0x81, b"before"), bad.clone(), masked(0x81, b"after")].concat();
        let outcome = check(&input, false, &options());
        assert_eq!(outcome.heard, [Heard::Text("before".into())], "{bad:x?}");
        assert_eq!(outcome.ended.as_deref(), Some(ended), "{bad:x?}");
        let answer = unmasked(0x81, b"before");
        let close = outcome.sent.strip_prefix(&answer[..]).expect("it was answered");
        assert_eq!((close[0], &close[2..4]), (0x88, &code.to_be_bytes()[..]), "{bad:x?}");
    }
    let outcome = check(&masked(0x81, b"x"), true, &options());
    assert_eq!(outcome.ended.as_deref(), Some("refused: a frame of a server is masked"));
}

#[test]
fn invalid_text_is_refused_at_the_byte_that_shows_it() {
    // The first byte of the text that cannot be part of any text is the ninth.
    let text = b"kosme ok\xffand more";
    for (first, rest) in [(0x81, None), (0x01, Some(0x80))] {
        let mut frame = masked(first, text);
        if let Some(rest) = rest {
            frame.extend(masked(rest, b"more"));
        }
        let mut end = server(Log::default(), options());
        let shown = 2 + KEY.len() + 8;
        for (at, byte) in frame.iter().take(shown + 1).enumerate() {
            assert!(end.take_sent().is_empty(), "byte {at} shows nothing");
            end.feed(&[*byte], &mut ());
        }
        let sent = end.take_sent();
        assert_eq!(sent[..4], [0x88, sent[1], 0x03, 0xEF]);
        assert!(log(&mut end).heard.is_empty());
    }
}

#[test]
fn pieces_are_delivered_before_the_message_is_whole() {
    let mut end = server(Log::default(), Options { in_pieces: true, ..options() });
    let frame = masked(0x82, &[7; 1000]);
    end.feed(&frame[..508], &mut ());
    assert_eq!((log(&mut end).begun.len(), log(&mut end).heard.len()), (500, 0));
    end.feed(&frame[508..], &mut ());
    assert_eq!(log(&mut end).heard, [Heard::Binary(vec![7; 1000])]);
}
