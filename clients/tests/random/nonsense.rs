//! Slightly invalid requests as bytes.

use testkit::Random;

/// Valid requests. None has a long reply, waits, or depends on other clients.
const REQUESTS: &[&[u8]] = &[
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$5\r\nworld\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
    b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n$2\r\n\r\n\r\n",
    b"*12\r\n$6\r\nEXISTS\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n\
      $1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"PING\r\n",
    b"CLIENT REPLY OFF\r\n",
    b"CLIENT REPLY ON\r\n",
    b"RESET\r\n",
    b"MULTI\r\n",
    b"EXEC\r\n",
    b"AUTH secret\r\n",
    b"PSUBSCRIBE a\r\n",
    b"POST / HTTP/1.1\r\nHost: example.com\r\n\r\nSET k v\r\n",
    b"GET / HTTP/1.1\r\nhost: example.com\r\n\r\nSET k v\r\n",
    b"ECHO \"a \\x41\\n\\\"\" \r\n",
    b"ECHO 'it\\'s'\n",
    b"  GET   k  \r\n",
    b"\r\n",
    b"*1\r\n$4\r\nQUIT\r\n",
];

/// Replacements for lengths and counts.
const NUMBERS: &[&[u8]] = &[
    b"0",
    b"1",
    b"2",
    b"3",
    b"5",
    b"10",
    b"11",
    b"-1",
    b"-2",
    b"",
    b" 1",
    b"1 ",
    b"01",
    b"+1",
    b"a",
    b"1a",
    b"0x1",
    b"-0",
    b"--1",
    b"16384",
    b"16385",
    b"1000000",
    b"536870912",
    b"536870913",
    b"2147483648",
    b"4294967297",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999999999",
    b"1.0",
    b"1e3",
    b"\xff",
    b"\r",
    b"\n",
];

/// Bytes that are inserted anywhere.
const PIECES: &[&[u8]] = &[
    b"\r\n", b"\n", b"\r", b"*", b"$", b"$-1\r\n", b"*1\r\n", b"\"", b"'", b"\\", b"\\x4", b" ",
    b"\t", b":1\r\n", b"+OK\r\n", b"\x80", b"!", b"%", b"*3\r\n", b"\"a\"b", b"'a'b",
];

/// Returns some requests, most of them spoilt.
pub(crate) fn any(dice: &mut Random) -> Vec<u8> {
    loop {
        let bytes = attempt(dice);
        // Redis takes a zero byte for the end of its input, and waits. The book lists that too.
        let has = |word: &[u8]| bytes.windows(word.len()).any(|it| it.eq_ignore_ascii_case(word));
        // Redis ends the reply of a transaction early when replies are turned off in it. The book
        // lists that too.
        let is_cut = has(b"MULTI") && has(b"REPLY");
        if !bytes.contains(&0) && !is_cut && !has_a_count_that_only_redis_accepts(&bytes) {
            return bytes;
        }
    }
}

/// Returns whether there is a count above the limit of kv, 1,048,576, but not above the limit of
/// Redis, 2,147,483,647. The book lists the difference.
fn has_a_count_that_only_redis_accepts(bytes: &[u8]) -> bool {
    let stars = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'*');
    stars.map(|(place, _)| &bytes[place + 1..]).any(|rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = str::from_utf8(&rest[..digits.min(19)]).expect("digits are text");
        text.parse().is_ok_and(|count: i64| count > 1 << 20 && count < 1 << 31)
    })
}

fn attempt(dice: &mut Random) -> Vec<u8> {
    let count = 1 + dice.index(6);
    let mut bytes: Vec<u8> = (0..count).flat_map(|_| dice.pick(REQUESTS).to_vec()).collect();
    for _ in 0..dice.index(4) {
        spoil(&mut bytes, dice);
    }
    // An endless line: far longer than one read and than the limit of a line.
    if dice.one_in(50) {
        bytes.extend_from_slice(dice.pick(&[&b"*"[..], b"*1\r\n$", b"", b"ECHO ", b"\"", b"*12"]));
        bytes.extend(vec![*dice.pick(&[&b'1', &b'a', &b' ']); 200_000]);
    }
    bytes
}

fn spoil(bytes: &mut Vec<u8>, dice: &mut Random) {
    let at = dice.index(bytes.len() + 1);
    match dice.index(8) {
        0 => bytes.truncate(at.max(1)),
        1 if at < bytes.len() => bytes[at] ^= 1 << dice.index(8),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        3 if at < bytes.len() => {
            let end = (at + dice.index(12)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => drop(bytes.splice(at..at, dice.pick(PIECES).iter().copied())),
        _ => put_number(bytes, at, dice),
    }
}

/// Replaces the next length or count after `at`.
fn put_number(bytes: &mut Vec<u8>, at: usize, dice: &mut Random) {
    let sign = bytes[at..].iter().position(|byte| matches!(byte, b'*' | b'$'));
    let Some(start) = sign.map(|place| at + place + 1) else { return };
    let length = bytes[start..].iter().position(|byte| *byte == b'\r').unwrap_or(0);
    bytes.splice(start..start + length, dice.pick(NUMBERS).iter().copied());
}
