use super::*;
use crate::testing;

/// Returns the parts of a request, each after its length.
fn describe(request: Request<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    for part in request.iter() {
        text.extend_from_slice(format!("{}:", part.len()).as_bytes());
        text.extend_from_slice(part);
    }
    text
}

fn decoded(input: &[u8]) -> Vec<Vec<u8>> {
    testing::check_splits(Server::default, input, describe)
}

#[test]
fn arrays_and_lines_are_requests_however_they_are_split() {
    let input =
        b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\n\r\n*\r\nPING\r\n get  k\t\n";
    let expected = [&b"4:PING"[..], b"3:SET0:3:\r\n*", b"4:PING", b"3:get1:k"];
    assert_eq!(decoded(input), expected);
}

#[test]
fn quotes_are_taken_out_where_the_line_stands() {
    let input = br#"set "a b" 'it\'s' "" '' "\x41\n" f"o" "a"
"x"
"#;
    assert_eq!(decoded(input), [&b"3:set3:a b4:it's0:0:2:A\n2:fo1:a"[..], b"1:x"]);
}

#[test]
fn what_says_nothing_is_skipped() {
    let input = b"\r\n\n  \r\n*0\r\n*-1\r\n*-999\r\nPING\r\n*0\r\n";
    assert_eq!(decoded(input), [b"4:PING"]);
}

/// Returns what the server sends for bytes that it refuses, however they are split.
fn refusal(server: Server, input: &[u8]) -> String {
    testing::check_refused(|| server, input);
    let (mut server, mut output) = (server, Output::new());
    let error = server.decode(&mut input.to_vec(), &mut output).expect_err("it is refused");
    server.reject(&error, &mut output);
    String::from_utf8_lossy(&output.to_vec()).into_owned()
}

#[test]
fn refusals_are_told_in_the_words_of_redis() {
    let invalid_count = "-ERR Protocol error: invalid multibulk length\r\n";
    let invalid_length = "-ERR Protocol error: invalid bulk length\r\n";
    let unbalanced = "-ERR Protocol error: unbalanced quotes in request\r\n";
    let told = [
        ("*x\r\n", invalid_count),
        ("*\r\n", invalid_count),
        ("*01\r\n", invalid_count),
        ("*+1\r\n", invalid_count),
        ("*-0\r\n", invalid_count),
        ("* 1\r\n", invalid_count),
        ("*1048577\r\n", invalid_count),
        ("*99999999999999999999\r\n", invalid_count),
        ("*1\r\n$x\r\n", invalid_length),
        ("*1\r\n$-1\r\n", invalid_length),
        ("*1\r\n$00\r\n", invalid_length),
        ("*1\r\n$536870913\r\n", invalid_length),
        ("*1\r\n$99999999999999999999\r\n", invalid_length),
        ("*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        ("*1\r\n\r\n", "-ERR Protocol error: expected '$', got ' '\r\n"),
        ("get \"a\r\n", unbalanced),
        ("get 'a'b\n", unbalanced),
    ];
    for (input, text) in told {
        assert_eq!(refusal(Server::default(), input.as_bytes()), text, "{input:?}");
    }
}

#[test]
fn lines_without_an_end_are_refused_in_the_words_of_redis() {
    let server = Server::with_limits(Limits { line_size_max: 100, ..Limits::DEFAULT });
    let long = "1".repeat(101);
    let told = [
        (long.clone(), "inline request"),
        (format!("*{long}"), "mbulk count string"),
        (format!("*1\r\n${long}"), "bulk count string"),
    ];
    for (input, text) in told {
        let text = format!("-ERR Protocol error: too big {text}\r\n");
        assert_eq!(refusal(server, input.as_bytes()), text, "{input:?}");
    }
}

#[test]
fn a_client_without_a_password_gets_less() {
    let mut server = Server::default();
    server.set_authenticated(false);
    let told = [
        ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
        ("*1\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
    ];
    for (input, text) in told {
        assert_eq!(refusal(server, input.as_bytes()), text);
    }
    let input = [&b"*10\r\n"[..], &b"$1\r\na\r\n".repeat(10)].concat();
    assert_eq!(testing::check_splits(|| server, &input, describe).len(), 1);
    server.set_authenticated(true);
    let input = [&b"*11\r\n"[..], &b"$1\r\na\r\n".repeat(11)].concat();
    assert_eq!(testing::check_splits(|| server, &input, describe).len(), 1);
}

#[test]
fn each_limit_is_kept_to_the_byte() {
    let limits =
        Limits { line_size_max: 50, bulk_size_max: 60, elements_max: 20, ..Limits::DEFAULT };
    let make = || Server::with_limits(limits);
    testing::check_limit(make, 50, |size| [vec![b'x'; size], vec![b'\n']].concat());
    testing::check_refused(make, b"*1\r\n$61\r\n");
    let bulk = |size: usize| format!("*1\r\n${size}\r\n{}\r\n", "x".repeat(size));
    assert_eq!(testing::check_splits(make, bulk(60).as_bytes(), describe).len(), 1);
    testing::check_refused(make, b"*21\r\n");
    let array = [&b"*20\r\n"[..], &b"$1\r\na\r\n".repeat(20)].concat();
    assert_eq!(testing::check_splits(make, &array, describe).len(), 1);
}

#[test]
fn a_bulk_string_says_how_much_is_needed() {
    let (mut server, mut output) = (Server::default(), Output::new());
    let mut input = *b"*2\r\n$3\r\nGET\r\n$1000\r\n";
    let size = input.len();
    let decoded = server.decode(&mut input, &mut output).expect("it is a request");
    assert!(matches!(decoded, Decoded::Incomplete { need } if need == size + 1002));
}

#[test]
fn what_was_looked_at_is_not_looked_at_again() {
    let header = format!("*{}\r\n", "0".repeat(40));
    for whole in ["*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", &header, "get key\r\n"] {
        let (mut server, mut output) = (Server::default(), Output::new());
        for end in 1..whole.len() {
            let before = server;
            let mut input = whole.as_bytes()[..end].to_vec();
            let Ok(Decoded::Incomplete { .. }) = server.decode(&mut input, &mut output) else {
                break;
            };
            // All bytes before the number that has just arrived are overwritten with line ends: a
            // decoder that reads them again fails.
            let in_a_line = server.progress.searched > 0;
            let seen = if in_a_line { end - 1 } else { before.progress.at };
            input[1..seen.max(1)].fill(if whole.starts_with("get") { b'\n' } else { b'\r' });
            let mut again = before;
            let decoded = again.decode(&mut input, &mut output);
            assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "{whole:?} at {end}");
            assert_eq!(again.progress, server.progress, "{whole:?} at {end}");
        }
    }
}

#[test]
fn the_parts_can_be_had_one_by_one() {
    let mut input = *b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nNX\r\n";
    let decoded = Server::default().decode(&mut input, &mut Output::new());
    let Ok(Decoded::Message { message: request, .. }) = decoded else { panic!("it is whole") };
    assert_eq!(request.len(), 4);
    let parts: Vec<_> = (0..5).map(|index| request.get(index)).collect();
    assert_eq!(parts, [Some(&b"SET"[..]), Some(b"k"), Some(b"v"), Some(b"NX"), None]);
    assert_eq!(request.args().exactly(), Some([&b"k"[..], b"v", b"NX"]));
    assert_eq!(request.args().exactly::<2>(), None);
    assert_eq!(format!("{request:?}"), r#"Request["SET", "k", "v", "NX"]"#);
    let mut args = request.args();
    assert_eq!((args.next(), args.len()), (Some(&b"k"[..]), 2));
}

#[test]
fn replies_are_shared_as_they_are_sent() {
    let items =
        [Item::Simple(b"OK"), Item::Bulk(b"two\r\n"), Item::Null, Item::Map(0), Item::Double(0.5)];
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let make = || Server { protocol, ..Server::default() };
        testing::check_shared(make, &items, |item| *item);
    }
}

#[test]
fn a_peer_that_ends_in_the_middle_gets_no_answer() {
    let (mut server, mut output) = (Server::default(), Output::new());
    let error = server.finish(b"*1\r\n").expect_err("it is not whole");
    assert_eq!(error, RequestError::Unterminated { got: 4 });
    server.reject(&error, &mut output);
    assert!(output.is_empty());
    assert_eq!(server.finish(b""), Ok(()));
}

#[test]
fn garbage_is_no_danger() {
    let limits = Limits { line_size_max: 50, bulk_size_max: 50, ..Limits::DEFAULT };
    testing::check_garbage(|| Server::with_limits(limits), 2000);
}
