//! Random commands from a seed.

use testkit::Random;

/// A request: its name and its arguments.
pub(crate) type Request = Vec<Vec<u8>>;

/// The forms of commands. Words in capitals are literal. Letters stand for values that [`part`]
/// generates. A star after a letter repeats it at random. After the bar are options, separated by
/// commas: a random selection is appended in random order.
const FORMS: &[&str] = &[
    "APPEND s v",
    "DECR s",
    "DECRBY s i",
    "GET s",
    "GETDEL s",
    "GETEX s | EX x, PX y, EXAT u, PXAT w, PERSIST",
    "GETRANGE s i i",
    "GETSET s v",
    "INCR s",
    "INCRBY s i",
    "INCRBYFLOAT b d",
    "INCRBYFLOAT b d",
    "RPUSH b v",
    "INCRBYFLOAT b nan",
    "SET b z",
    "GET b",
    "DEL b",
    "MGET k*",
    "MSET s v s v",
    "MSET s v",
    "MSETNX s v k v",
    "PSETEX s y v",
    "SET s v",
    "SET s v | NX, XX, GET, KEEPTTL, EX x, PX y, EXAT u, PXAT w",
    "SET s v | NX, XX, GET, KEEPTTL, EX x, PX y, EXAT u, PXAT w",
    "SETEX s x v",
    "SETNX s v",
    "SETRANGE s n v",
    "STRLEN s",
    "SUBSTR s i i",
    "DEL k*",
    "UNLINK k*",
    "EXISTS k*",
    "TOUCH k*",
    "TYPE k",
    "MOVE k e",
    "COPY k k | REPLACE, DB e",
    "COPY k k | REPLACE, DB e",
    "SWAPDB e e",
    "OBJECT ENCODING k",
    "OBJECT ENCODING k",
    "OBJECT ENCODING t",
    "OBJECT v",
    "MEMORY USAGE k | SAMPLES i",
    "RENAME k k",
    "RENAMENX k k",
    "KEYS p",
    "SCAN 0 COUNT 100000 | MATCH p, TYPE o",
    "SCAN",
    "SCAN nothing",
    "SCAN 0 COUNT 0",
    "SCAN 0 MATCH",
    "SCAN 0 COUNT 99999 BOGUS 1",
    "SSCAN t -1x",
    "HSCAN h 0 COUNT -1",
    "HSCAN h 0 TYPE hash",
    "RANDOMKEY",
    "EXPIRE k x | NX, XX, GT, LT",
    "PEXPIRE k y | NX, XX, GT, LT",
    "EXPIREAT k g | NX, XX, GT, LT",
    "PEXPIREAT k j | NX, XX, GT, LT",
    "EXPIRETIME k",
    "PEXPIRETIME k",
    "TTL k",
    "PTTL k",
    "PERSIST k",
    "BLMOVE l l LEFT RIGHT q",
    "BLPOP l* q",
    "BRPOP l* q",
    "BRPOPLPUSH l l q",
    "LINDEX l i",
    "LINSERT l BEFORE v v",
    "LINSERT l AFTER v v",
    "LLEN l",
    "BLMPOP q m l* LEFT | COUNT i",
    "BLMPOP q 1 l RIGHT",
    "LMPOP m l* RIGHT | COUNT i",
    "LMPOP 2 l l LEFT | COUNT i, COUNT i",
    "LMOVE l l LEFT LEFT",
    "LMOVE l l RIGHT LEFT",
    "LPOP l",
    "LPOP l i",
    "LPOS l v | RANK i, COUNT i, MAXLEN i",
    "LPUSH l v*",
    "LPUSHX l v*",
    "LRANGE l i i",
    "LRANGE l 0 -1",
    "LREM l i v",
    "LSET l i v",
    "LTRIM l i i",
    "RPOP l",
    "RPOP l i",
    "RPOPLPUSH l l",
    "RPUSH l v*",
    "RPUSHX l v*",
    "HDEL h f*",
    "HEXISTS h f",
    "HGET h f",
    "HGETALL h",
    "HINCRBY h f i",
    "HINCRBYFLOAT h a d",
    "HINCRBYFLOAT t a d",
    "HSET h a z",
    "HKEYS h",
    "HLEN h",
    "HMGET h f*",
    "HMSET h f v f v",
    "HRANDFIELD h r",
    "HRANDFIELD h r WITHVALUES",
    "HSCAN h 0 COUNT 100000 | MATCH p",
    "HSET h f v",
    "HSET h f v f v f v",
    "HSETNX h f v",
    "HSTRLEN h f",
    "HVALS h",
    "SADD t v*",
    "SADD t v*",
    "SCARD t",
    "SDIFF t*",
    "SDIFFSTORE t t*",
    "SINTER t*",
    "SINTERCARD 2 t t | LIMIT i",
    "SINTERCARD i t* | LIMIT i",
    "SINTERSTORE t t*",
    "SISMEMBER t v",
    "SMEMBERS t",
    "SMISMEMBER t v*",
    "SMOVE t t v",
    "SPOP t r",
    "SPOP t r v",
    "SRANDMEMBER t r v",
    "SRANDMEMBER t r",
    "SREM t v*",
    "SSCAN t 0 COUNT 100000 | MATCH p",
    "SUNION t*",
    "SUNIONSTORE t t*",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH k*",
    "WATCH k",
    "UNWATCH",
    "PUBLISH c v",
    "PUBLISH c v",
    "PUBSUB CHANNELS",
    "PUBSUB CHANNELS p",
    "PUBSUB NUMSUB c*",
    "PUBSUB NUMPAT",
    "PUBSUB v",
    "PING",
    "PING v",
    "ECHO v",
    "SELECT i",
    "SELECT e",
    "SELECT e",
    "CLIENT SETNAME v",
    "CLIENT GETNAME",
    "CLIENT ID",
    "CLIENT KILL ID 99999",
    "CLIENT KILL v",
    "CLIENT KILL TYPE v",
    "CLIENT LIST TYPE v",
    "CLIENT UNBLOCK i",
    "CLIENT UNBLOCK i v",
    "CLIENT NO-EVICT v",
    "CLIENT REPLY v",
    "CLIENT v",
    "CONFIG GET p",
    "CONFIG v",
    "CONFIG RESETSTAT",
    "FUNCTION FLUSH",
    "FUNCTION FLUSH v",
    "COMMAND GETKEYS LMPOP m k* LEFT",
    "COMMAND GETKEYS MSET k v k v",
    "COMMAND GETKEYS BLPOP k* q",
    "COMMAND GETKEYS COPY k k",
    "COMMAND GETKEYS v v",
    "COMMAND COUNT v",
    "COMMAND v",
    "HELLO i",
    "HELLO v v",
    "AUTH v",
    "AUTH default v",
    "AUTH v v",
    "RESET",
    "DBSIZE",
    "TIME",
    "FLUSHALL",
    "FLUSHDB ASYNC",
    "FLUSHALL v",
    "NOSUCH v*",
];

/// Commands that are never spoilt: with another argument they might be valid and do damage or
/// return much.
const NEVER_WRONG: &[&str] = &[
    "SRANDMEMBER",
    "HRANDFIELD",
    "BLPOP",
    "BLMOVE",
    "BLMPOP",
    "LMPOP",
    "COMMAND GETKEYS LMPOP",
    "BRPOP",
    "CLIENT",
    "CONFIG",
    "INCRBYFLOAT",
    "HINCRBYFLOAT",
    "SET b",
    "RPUSH b",
    "HSET h a",
    "SCAN",
    "SSCAN",
    "HSCAN",
    "SPOP",
];

/// Commands that set an expiry.
const TIMED: &[&str] = &["SET s v |", "SETEX", "PSETEX", "GETEX", "EXPIRE", "PEXPIRE"];

/// The values of strings, items, fields and members. None is a number between a megabyte and half a
/// gigabyte: such lengths would be valid.
const VALUES: &[&[u8]] = &[
    b"",
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"abc",
    b"A",
    b"0",
    b"1",
    b"2",
    b"3",
    b"7",
    b"10",
    b"-1",
    b"-5",
    b"100",
    b"12345",
    b"9223372036854775807",
    b"9223372036854775806",
    b"-9223372036854775808",
    b"-9223372036854775807",
    b"9223372036854775808",
    b"4294967296",
    b"18446744073709551616",
    b"99999999999999999999999",
    b" 1",
    b"1 ",
    b"01",
    b"-0",
    b"+1",
    b"1.5",
    b"0.25",
    b"-2.75",
    b".5",
    b"5.",
    b"3e2",
    b"1e",
    b"inf",
    b"-inf",
    b"nan",
    b"--1",
    b"-",
    b"1\0",
    b"\0",
    b"\r\n",
    b"\xff\xfe",
    b"k v",
    b"\"'\\",
    b"[a-c]*",
    b"h\xc3\xa9",
    b"0123456789012345678901234567890123456789012345678901234567890123456789",
];

const INTEGERS: &[&str] = &["0", "1", "2", "3", "-1", "-2", "-3", "5", "-100", "100", "10"];

/// Numbers whose sums are exact in binary. Both servers print the same digits.
const FRACTIONS: &[&str] = &[
    "0.5", "-0.5", "1.25", "-2.75", "1000", "3e2", "0.0625", "5.0e3", "-1", "0", "-0", "1e15",
    "+0.125", ".5", "5.", "infinity", "-inf", "1e5000", "nan", "1e", "0.5 ",
];

/// Mostly a few databases, so that commands meet in them.
const DATABASES: &[&str] = &["0", "0", "0", "1", "1", "2", "15", "16", "-1", "abc", ""];

const PATTERNS: &[&[u8]] = &[
    b"*", b"?", b"s*", b"*1", b"[sl]?", b"[^s]*", b"[a-t]1", b"\\s1", b"h[0-1", b"", b"**1", b"[]",
    b"[^]", b"t[1-", b"\\", b"?\xff*", b"[z-a]1", b"*[*", b"s1", b"S*", b"nothing",
];

const CHANNELS: &[&str] = &["c1", "c2", "d", ""];

/// Returns a key, mostly one of the given type.
fn key(kind: u8, dice: &mut Random) -> Vec<u8> {
    if dice.one_in(60) && kind != b'b' {
        return dice.pick(&[&b""[..], b"\xffk\0", b"k\r\n"]).to_vec();
    }
    // Keys for fractions have no other values: sums beyond 64 bits differ.
    let own = kind == b'b' || kind != b'k' && !dice.one_in(6);
    let kind = if own { kind } else { *dice.pick(&[&b's', &b'l', &b'h', &b't']) };
    vec![kind, b'0' + dice.index(4) as u8]
}

fn value(dice: &mut Random) -> Vec<u8> {
    match dice.index(40) {
        0 => vec![b'x'; dice.index(6000)],
        1 => (0..dice.index(20)).map(|_| dice.index(256) as u8).collect(),
        2..6 => dice.index(1000).to_string().into_bytes(),
        _ => dice.pick(VALUES).to_vec(),
    }
}

fn integer(dice: &mut Random) -> Vec<u8> {
    if dice.one_in(8) { value(dice) } else { dice.pick(INTEGERS).as_bytes().to_vec() }
}

/// Returns a time of at least `least` units. Two commands never get times that are close to each
/// other: their order would depend on the speed of the servers.
fn time(least: usize, step: usize, dice: &mut Random) -> Vec<u8> {
    match dice.index(12) {
        0 => {
            dice.pick(&["0", "-1", "", "abc", "9223372036854775807", "-9223372036854775808"]).into()
        }
        1 => dice.pick(&["9223372036854775", "-9223372036854775", "9223370000000000000"]).into(),
        _ => (least + step * dice.index(1_000_000)).to_string().into_bytes(),
    }
}

/// Returns a value for a letter of a form.
fn part(letter: u8, dice: &mut Random) -> Vec<u8> {
    match letter {
        b's' | b'l' | b'h' | b't' | b'b' | b'k' => key(letter, dice),
        b'v' => value(dice),
        b'f' => dice.pick(&["f1", "f2", "f3", "f4", "", "1"]).into(),
        b'a' => dice.pick(&["fraction", "other fraction"]).into(),
        b'z' => dice.pick(&["1", "0.5", "-3.25", "1e3", "abc", "", "5.", "+.5", " 1"]).into(),
        b'i' => integer(dice),
        // Redis adds to it without a check, and crashes if it is very large.
        b'm' => dice.pick(&["1", "1", "2", "3", "0", "-1", "abc", "", "100"]).into(),
        b'n' => dice.pick(&["0", "1", "7", "100", "-1", "600000000", "abc", "5000"]).into(),
        // For a negative number, the reply has as many random elements.
        b'r' => dice
            .pick(&[
                "0",
                "100000",
                "abc",
                "",
                "9223372036854775808",
                "1.0",
                "9223372036854775807",
                "4611686018427387904",
                "-9223372036854775808",
            ])
            .into(),
        b'd' => dice.pick(FRACTIONS).into(),
        b'e' => dice.pick(DATABASES).into(),
        b'p' => dice.pick(PATTERNS).to_vec(),
        b'c' => dice.pick(CHANNELS).into(),
        b'o' => dice.pick(&["string", "LIST", "hash", "set", "none", ""]).into(),
        b'q' => dice.pick(&["0.001", "-1", "abc", "0.01", "1e-3", "", "-inf", "nan"]).into(),
        b'x' => time(1_000_000, 1000, dice),
        b'y' => time(1_000_000_000, 1_000_000, dice),
        // From the year 2100 on, so that it is later than all relative times.
        b'u' => time(4_102_444_800, 1000, dice),
        b'w' => time(4_102_444_800_000, 1_000_000, dice),
        // A key that is set with a time in the past may be counted for a while.
        b'g' => {
            if dice.one_in(8) {
                b"1".to_vec()
            } else {
                part(b'u', dice)
            }
        }
        b'j' => {
            if dice.one_in(8) {
                b"1".to_vec()
            } else {
                part(b'w', dice)
            }
        }
        letter => unreachable!("no form has the letter {}", letter as char),
    }
}

/// Appends the values for the words of a form.
fn append(words: &str, request: &mut Request, dice: &mut Random) {
    for word in words.split_whitespace() {
        let count = if word.ends_with('*') { 1 + dice.index(4) } else { 1 };
        for _ in 0..count {
            request.push(match word.as_bytes() {
                [letter @ b'a'..=b'z'] | [letter @ b'a'..=b'z', b'*'] => part(*letter, dice),
                word if dice.one_in(8) => word.to_ascii_lowercase(),
                word => word.to_vec(),
            });
        }
    }
}

/// Makes a request invalid, or changes its spelling.
fn spoil(request: &mut Request, is_timed: bool, dice: &mut Random) {
    let place = dice.index(request.len());
    match dice.index(4) {
        0 if place > 0 => request.truncate(place),
        1 => request.push(value(dice)),
        2 if place > 0 => drop(request.remove(place)),
        // A key that expires soon could exist on one server only.
        _ if place > 0 && is_timed => {
            request[place] = dice.pick(&[&b""[..], b"abc", b"0", b"-1", b"1.5", b"\r\n"]).to_vec();
        }
        _ if place > 0 => request[place] = value(dice),
        _ => request[0].make_ascii_lowercase(),
    }
}

/// Returns a random command.
pub(crate) fn any(dice: &mut Random) -> Request {
    let form = dice.pick(FORMS);
    let (words, options) = form.split_once(" | ").unwrap_or((form, ""));
    let mut request = Vec::new();
    append(words, &mut request, dice);
    let options: Vec<&str> = options.split(", ").filter(|it| !it.is_empty()).collect();
    if !options.is_empty() {
        for _ in 0..dice.index(4) {
            let option = dice.pick(&options);
            append(option, &mut request, dice);
        }
    }
    let may_be_wrong = !NEVER_WRONG.iter().any(|name| form.starts_with(name));
    if may_be_wrong && dice.one_in(20) {
        let is_timed = TIMED.iter().any(|name| form.starts_with(name));
        spoil(&mut request, is_timed, dice);
    }
    request
}

/// Returns a command of a subscriber. Each has one reply. RESP2 refuses most of them.
pub(crate) fn of_subscriber(dice: &mut Random) -> Request {
    let words = dice.pick(&[
        "SUBSCRIBE c",
        "SUBSCRIBE c",
        "PSUBSCRIBE p",
        "UNSUBSCRIBE c",
        "PUNSUBSCRIBE p",
        "PING",
        "PING v",
        "GET s",
        "SET s v",
        "NOSUCH",
        "SUBSCRIBE",
        "RESET",
    ]);
    let mut request = Vec::new();
    append(words, &mut request, dice);
    request
}

/// Returns a command that waits for a list, and the number of its keys.
pub(crate) fn waiting(dice: &mut Random) -> (Request, usize) {
    let words = dice.pick(&["BLPOP l*", "BRPOP l*", "BLMOVE l k LEFT RIGHT", "BRPOPLPUSH l k"]);
    let mut request = Vec::new();
    append(words, &mut request, dice);
    let keys = if words.ends_with('*') { request.len() - 1 } else { 1 };
    request.push(b"0".to_vec());
    (request, keys)
}
