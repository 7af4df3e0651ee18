use super::*;
use crate::resp::Item;
use crate::testing;

fn describe(value: Value<'_>) -> Vec<u8> {
    value.encoded().to_vec()
}

fn value(encoded: &[u8]) -> Value<'_> {
    let (mut client, mut input) = (Client::default(), encoded.to_vec());
    let decoded = client.decode(&mut input, &mut Output::new());
    assert!(
        matches!(decoded, Ok(Decoded::Message { consumed, .. }) if consumed == encoded.len()),
        "{decoded:?}"
    );
    Value::of(encoded)
}

/// Values of every type, nested, with attributes in every allowed place.
const ALL: &[&[u8]] = &[
    b"+OK\r\n",
    b"+\r\n",
    b"-ERR no\r\n",
    b":-9223372036854775808\r\n",
    b"$5\r\na\r\nbc\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"#t\r\n",
    b"#f\r\n",
    b",1.5e-3\r\n",
    b",-inf\r\n",
    b",nan\r\n",
    b"(-3492890328409238509324850943850943825024385\r\n",
    b"!5\r\nERR\r\n\r\n",
    b"=6\r\ntxt:\r\n\r\n",
    b"*0\r\n",
    b"*2\r\n*1\r\n:1\r\n*0\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
    b"~1\r\n#t\r\n",
    b">2\r\n+message\r\n$1\r\nx\r\n",
    b"|1\r\n+ttl\r\n:3\r\n*2\r\n|1\r\n+k\r\n*1\r\n+v\r\n:1\r\n|0\r\n:2\r\n",
];

#[test]
fn values_of_every_type_come_whole_however_they_are_split() {
    assert_eq!(testing::check_splits(Client::default, &ALL.concat(), describe), ALL);
}

#[test]
fn simple_values_are_what_they_say() {
    let items = [
        (&b"+OK\r\n"[..], Item::Simple(b"OK")),
        (b"-ERR no\r\n", Item::Error(b"ERR no")),
        (b":+7\r\n", Item::Integer(7)),
        (b"$5\r\na\r\nbc\r\n", Item::Bulk(b"a\r\nbc")),
        (b"$-1\r\n", Item::Null),
        (b"*-1\r\n", Item::NullArray),
        (b"_\r\n", Item::Null),
        (b"#t\r\n", Item::Boolean(true)),
        (b"#f\r\n", Item::Boolean(false)),
        (b",1.5e3\r\n", Item::Double(1500.0)),
        (b",10\r\n", Item::Double(10.0)),
        (b",INF\r\n", Item::Double(f64::INFINITY)),
        (b",-inf\r\n", Item::Double(f64::NEG_INFINITY)),
        (b"(-12\r\n", Item::BigNumber(b"-12")),
        (b"!2\r\nno\r\n", Item::BulkError(b"no")),
        (b"=5\r\nmkd:x\r\n", Item::Verbatim { format: *b"mkd", text: b"x" }),
        (b"*0\r\n", Item::Array(0)),
        (b"%1\r\n+a\r\n+b\r\n", Item::Map(1)),
        (b"~1\r\n+a\r\n", Item::Set(1)),
        (b">1\r\n+a\r\n", Item::Push(1)),
    ];
    for (encoded, item) in items {
        assert_eq!(value(encoded).item(), item);
        assert_eq!(value(encoded).encoded(), encoded);
    }
    assert!(matches!(value(b",-nan\r\n").item(), Item::Double(number) if number.is_nan()));
    assert_eq!(value(b"=5\r\nmkd:x\r\n").text(), b"x");
    assert_eq!(value(b",1.50\r\n").text(), b"1.50");
    assert!(value(b"-no\r\n").is_error() && value(b"!2\r\nno\r\n").is_error());
    assert!(value(b">1\r\n+a\r\n").is_push() && !value(b"+a\r\n").is_error());
}

#[test]
fn elements_pairs_and_attributes_can_be_walked() {
    let value = value(b"|1\r\n+ttl\r\n:3\r\n*3\r\n*2\r\n:1\r\n:2\r\n%1\r\n+k\r\n+v\r\n+end\r\n");
    let mut attributes = value.attributes();
    let (key, ttl) = attributes.next().expect("there is one");
    assert_eq!((key.item(), ttl.item()), (Item::Simple(b"ttl"), Item::Integer(3)));
    assert!(attributes.next().is_none());
    assert_eq!(value.item(), Item::Array(3));
    let elements: Vec<Value<'_>> = value.elements().collect();
    assert_eq!(elements.len(), 3);
    let inner: Vec<Item<'_>> = elements[0].elements().map(|element| element.item()).collect();
    assert_eq!(inner, [Item::Integer(1), Item::Integer(2)]);
    let pairs: Vec<_> =
        elements[1].pairs().map(|(key, value)| (key.text(), value.text())).collect();
    assert_eq!(pairs, [(&b"k"[..], &b"v"[..])]);
    assert_eq!(elements[2].encoded(), b"+end\r\n");
    assert_eq!(elements[2].elements().len(), 0);
    assert_eq!(format!("{:?}", elements[2]), r"Value(+end\r\n)");
}

#[test]
fn what_is_no_value_is_refused_and_why_is_told() {
    let told = [
        ("HTTP/1.1 400\r\n", r#"Protocol error, got "H" as reply type byte"#),
        ("\r\n", r#"Protocol error, got "\r" as reply type byte"#),
        ("+a\n", "Bad simple string value"),
        ("+a\rb\r\n", "Bad simple string value"),
        (":\r\n", "Bad integer value"),
        (":1.5\r\n", "Bad integer value"),
        (":9223372036854775808\r\n", "Bad integer value"),
        (",\r\n", "Bad double value"),
        (",infinity\r\n", "Bad double value"),
        (",1,5\r\n", "Bad double value"),
        ("_x\r\n", "Bad nil value"),
        ("#x\r\n", "Bad bool value"),
        ("(-\r\n", "Bad bignum value"),
        ("(1x\r\n", "Bad bignum value"),
        ("=3\r\n", "Verbatim string 4 bytes of content type are missing or incorrectly encoded."),
        (
            "=4\r\ntxt \r\n",
            "Verbatim string 4 bytes of content type are missing or incorrectly encoded.",
        ),
        ("$x\r\n", "Bad bulk string length"),
        ("$\r\n", "Bad bulk string length"),
        ("$01\r\n", "Bad bulk string length"),
        ("$-2\r\n", "Bulk string length out of range"),
        ("!-1\r\n", "Bulk string length out of range"),
        ("$536870913\r\n", "Bulk string length out of range"),
        ("$1\r\nabc", "Bulk string without a line end behind it"),
        ("*x\r\n", "Bad multi-bulk length"),
        ("*-2\r\n", "Multi-bulk length out of range"),
        ("%-1\r\n", "Multi-bulk length out of range"),
        ("%524289\r\n", "Multi-bulk length out of range"),
        ("*9223372036854775807\r\n", "Multi-bulk length out of range"),
        ("*2\r\n+a\r\n?", r#"Protocol error, got "?" as reply type byte"#),
    ];
    for (input, text) in told {
        testing::check_refused(Client::default, input.as_bytes());
        let mut bytes = input.as_bytes().to_vec();
        let decoded = Client::default().decode(&mut bytes, &mut Output::new());
        assert_eq!(decoded.expect_err(input).to_string(), text, "{input:?}");
    }
}

#[test]
fn each_limit_is_kept() {
    let limits = Limits { line_size_max: 50, bulk_size_max: 60, elements_max: 20, depth_max: 5 };
    let make = || Client::with_limits(limits);
    testing::check_limit(make, 50, |size| format!("+{}\r\n", "x".repeat(size - 1)).into_bytes());
    let bulk = |size: usize| format!("${size}\r\n{}\r\n", "x".repeat(size)).into_bytes();
    assert_eq!(testing::check_splits(make, &bulk(60), describe).len(), 1);
    testing::check_refused(make, &bulk(61)[..5]);
    let flat = |size: usize| format!("*{size}\r\n{}", "_\r\n".repeat(size)).into_bytes();
    assert_eq!(testing::check_splits(make, &flat(20), describe).len(), 1);
    testing::check_refused(make, &flat(21)[..5]);
    let deep = |depth: usize| format!("{}_\r\n", "*1\r\n".repeat(depth)).into_bytes();
    assert_eq!(testing::check_splits(make, &deep(5), describe).len(), 1);
    testing::check_refused(make, &deep(6));
    testing::check_refused(make, &b"*1\r\n".repeat(1000));
}

#[test]
fn a_bulk_string_says_how_much_is_needed_wherever_it_stands() {
    let mut input = *b"*2\r\n:1\r\n$1000\r\nabc";
    let size = input.len();
    let decoded = Client::default().decode(&mut input, &mut Output::new());
    assert!(matches!(decoded, Ok(Decoded::Incomplete { need }) if need == size - 3 + 1002));
}

#[test]
fn what_was_looked_at_is_not_looked_at_again() {
    for whole in
        ["*3\r\n:123\r\n*2\r\n+text\r\n$3\r\nabc\r\n%1\r\n+a\r\n+b\r\n", "+a longer text\r\n"]
    {
        let (mut client, mut output) = (Client::default(), Output::new());
        for end in 1..whole.len() {
            let before = client.clone();
            let mut input = whole.as_bytes()[..end].to_vec();
            let decoded = client.decode(&mut input, &mut output);
            assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "{whole:?} at {end}");
            // All bytes but the line that has just arrived are overwritten.
            let in_a_line = client.searched > 0 && end > client.at + 1;
            let seen = if in_a_line { end - 1 } else { before.at };
            input[..seen].fill(b'\n');
            // The type byte of a part is read again.
            input[before.at] = whole.as_bytes()[before.at];
            let mut again = before;
            let decoded = again.decode(&mut input, &mut output);
            assert!(matches!(decoded, Ok(Decoded::Incomplete { .. })), "{whole:?} at {end}");
            assert_eq!((again.at, again.searched), (client.at, client.searched));
        }
    }
}

#[test]
fn commands_are_said_as_servers_decode_them() {
    let mut output = Output::new();
    Client::default().encode(&[b"SET", b"k", b""], &mut output);
    Reply::new(&mut Client::default(), &mut output).command(["GET", "k"].iter());
    let said = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    assert_eq!(output.to_vec(), said);
    let commands = [&[&b"SET"[..], b"k", b""][..], &[b"GET", b"k"], &[]];
    testing::check_shared(Client::default, &commands, |command| command);
}

#[test]
fn garbage_is_no_danger() {
    let limits = Limits { line_size_max: 50, bulk_size_max: 50, elements_max: 20, depth_max: 5 };
    testing::check_garbage(|| Client::with_limits(limits), 2000);
}

#[test]
fn a_stream_that_ends_in_the_middle_is_told() {
    let error = Client::default().finish(b"$1").expect_err("it is not whole");
    assert_eq!(error, ValueError::Unterminated { got: 2 });
    assert_eq!(Client::default().finish(b""), Ok(()));
}
