use super::*;

/// Returns what `say` appends in each version.
fn said(say: impl Fn(&mut Writer<'_>)) -> [String; 2] {
    [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
        let said = shared(protocol, &say);
        String::from_utf8_lossy(&said).into_owned()
    })
}

#[test]
fn what_both_versions_have_is_said_alike() {
    type Say = fn(&mut Writer<'_>);
    let alike: [(Say, &str); 12] = [
        (|writer| writer.ok(), "+OK\r\n"),
        (|writer| writer.simple("PONG"), "+PONG\r\n"),
        (|writer| writer.error("ERR no"), "-ERR no\r\n"),
        (|writer| writer.error_parts(&[b"ERR '", b"x", b"'"]), "-ERR 'x'\r\n"),
        (|writer| writer.integer(-7), ":-7\r\n"),
        (|writer| writer.integer(i64::MIN), ":-9223372036854775808\r\n"),
        (|writer| writer.bulk(""), "$0\r\n\r\n"),
        (|writer| writer.bulk("a\r\nb"), "$4\r\na\r\nb\r\n"),
        (|writer| writer.bulk_integer(-10), "$3\r\n-10\r\n"),
        (|writer| writer.bulk_display(format_args!("{}:{:02}", 1, 2)), "$4\r\n1:02\r\n"),
        (|writer| writer.array(3), "*3\r\n"),
        (|writer| writer.command(["GET", "k"]), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
    ];
    for (say, text) in alike {
        assert_eq!(said(say), [text, text]);
    }
}

#[test]
fn what_only_resp3_has_is_said_in_the_nearest_of_resp2() {
    type Say = fn(&mut Writer<'_>);
    let different: [(Say, &str, &str); 14] = [
        (|writer| writer.null(), "$-1\r\n", "_\r\n"),
        (|writer| writer.null_array(), "*-1\r\n", "_\r\n"),
        (|writer| writer.map(2), "*4\r\n", "%2\r\n"),
        (|writer| writer.set(2), "*2\r\n", "~2\r\n"),
        (|writer| writer.push(2), "*2\r\n", ">2\r\n"),
        (|writer| writer.boolean(true), ":1\r\n", "#t\r\n"),
        (|writer| writer.boolean(false), ":0\r\n", "#f\r\n"),
        (|writer| writer.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (|writer| writer.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (|writer| writer.big_number("-12"), "$3\r\n-12\r\n", "(-12\r\n"),
        (|writer| writer.bulk_error("E\r\nx"), "-E  x\r\n", "!4\r\nE\r\nx\r\n"),
        (|writer| writer.verbatim(*b"mkd", "*x*"), "$3\r\n*x*\r\n", "=7\r\nmkd:*x*\r\n"),
        (
            |writer| {
                writer.attribute(1, |writer| writer.command(["k"]));
                writer.ok();
            },
            "+OK\r\n",
            "|1\r\n*1\r\n$1\r\nk\r\n+OK\r\n",
        ),
        (
            |writer| {
                writer.ok();
                writer.counted(Item::Map, |writer| {
                    writer.integer(1);
                    writer.integer(2);
                    1
                });
            },
            "+OK\r\n*2\r\n:1\r\n:2\r\n",
            "+OK\r\n%1\r\n:1\r\n:2\r\n",
        ),
    ];
    for (say, resp2, resp3) in different {
        assert_eq!(said(say), [resp2, resp3]);
    }
}

#[test]
fn line_ends_in_a_text_do_not_end_its_line() {
    let injected = "x\r\n+OK\n";
    assert_eq!(said(|writer| writer.simple(injected)), ["+x  +OK \r\n"; 2]);
    assert_eq!(said(|writer| writer.error(injected)), ["-x  +OK \r\n"; 2]);
    assert_eq!(said(|writer| writer.error_parts(&[b"a\n", b"\rb"])), ["-a  b\r\n"; 2]);
    assert_eq!(said(|writer| writer.big_number(injected))[1], "(x  +OK \r\n");
}

#[test]
#[should_panic(expected = "has no elements")]
fn what_is_no_aggregate_counts_nothing() {
    said(|writer| writer.counted(|_| Item::Null, |_| 0));
}

#[test]
fn every_item_is_said_as_its_own_method_does() {
    let items = [Item::Simple(b"x"), Item::Push(1), Item::Double(0.5), Item::Map(0)];
    let by_item = said(|writer| items.into_iter().for_each(|item| writer.item(item)));
    let by_method = said(|writer| {
        writer.simple("x");
        writer.push(1);
        writer.double(0.5);
        writer.map(0);
    });
    assert_eq!(by_item, by_method);
}
