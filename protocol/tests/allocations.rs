//! Decoding and encoding RESP do not allocate.

use allocation_counter::measure;

use protocol::resp::{Client, Item, Protocol, Server, Value, Writer};
use protocol::{Codec, Decoded, Output};

/// Decodes all of `input`, and passes each message to `look`.
fn decode_all<C: Codec>(codec: &mut C, input: &mut [u8], mut look: impl FnMut(C::In<'_>)) -> usize {
    let (mut from, mut count, mut output) = (0, 0, Output::new());
    while let Ok(Decoded::Message { message, consumed }) =
        codec.decode(&mut input[from..], &mut output)
    {
        look(message);
        from += consumed;
        count += 1;
    }
    assert_eq!(from, input.len());
    count
}

#[test]
fn an_allocation_is_counted() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1]))).count_total, 1);
}

#[test]
fn requests_are_decoded_and_walked_without_allocating() {
    let one = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\nset \"a \\x41\" 'b' c\r\n";
    let mut input = one.repeat(100);
    let mut server = Server::default();
    let counted = measure(|| {
        let mut size = 0;
        let count = decode_all(&mut server, &mut input, |request| {
            size += request.iter().map(<[u8]>::len).sum::<usize>();
        });
        assert_eq!((count, size), (200, 100 * (11 + 8)));
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

/// Appends a part of every kind, in one reply.
fn say_everything(writer: &mut Writer<'_>) {
    writer.push(16);
    writer.ok();
    writer.simple("simple\r\n");
    writer.error("ERR an error");
    writer.error_parts(&[b"ERR unknown command '", b"x\n", b"'"]);
    writer.integer(i64::MIN);
    writer.bulk(b"bulk");
    writer.bulk_integer(7);
    writer.bulk_display(format_args!("{}:{}", 1, 2.5));
    writer.map(1);
    writer.null();
    writer.null_array();
    writer.set(1);
    writer.boolean(true);
    writer.double(-1.5e-300);
    writer.big_number("123");
    writer.bulk_error("no");
    writer.verbatim(*b"txt", "text");
    writer.attribute(1, |writer| {
        writer.integer(1);
        writer.integer(2);
    });
    writer.counted(Item::Array, |writer| {
        writer.integer(1);
        1
    });
    writer.command([b"GET", b"key"].iter());
}

#[test]
fn replies_are_written_without_allocating() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut output = Output::new();
        // The first reply allocates the only buffer of the output, which keeps it.
        say_everything(&mut Writer::new(&mut output, protocol));
        let counted = measure(|| {
            for _ in 0..100 {
                let size = output.len();
                output.consume(size);
                say_everything(&mut Writer::new(&mut output, protocol));
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }
}

fn walk(value: Value<'_>) -> usize {
    1 + value.elements().map(walk).sum::<usize>()
}

#[test]
fn replies_are_decoded_and_walked_without_allocating() {
    let mut output = Output::new();
    say_everything(&mut Writer::new(&mut output, Protocol::Resp3));
    let (one, mut client) = (output.to_vec(), Client::default());
    // The first nested reply allocates the stack of open aggregates.
    let count = decode_all(&mut client, &mut one.clone(), |_| ());
    let mut input = one.repeat(100);
    let counted = measure(|| {
        let mut parts = 0;
        let again = decode_all(&mut client, &mut input, |value| parts += walk(value));
        assert_eq!(again, 100 * count);
        assert!(parts > again);
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
