//! Plaintext that waits (P27): nothing stalls, whatever the sizes of reads and the marks.

use protocol::codecs::Lines;
use protocol::link::Link;
use protocol::testing::Wire;
use protocol::tls::{Tls, Version};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};

use crate::of_version;
use crate::pair::{End, Talk, end};

/// How many lines one record has.
const LINES: usize = 60;

struct Shout;

impl Service<Lines> for Shout {
    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        line.make_ascii_uppercase();
        reply.send(line);
        Flow::Continue
    }
}

type Server = Wire<Conversation<Lines, Shout>, Tls>;

/// Moves bytes, `size` at a time, until neither side has any.
fn pump(client: &mut End, server: &mut Server, size: usize) {
    client.run(&mut ());
    loop {
        server.set_room(size as u64, &mut ());
        let (to_server, to_client) = (client.take_sent(), server.take_sent());
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
        to_server.chunks(size).for_each(|bytes| server.feed(bytes, &mut ()));
        client.feed(&to_client, &mut ());
    }
}

#[test]
fn nothing_stalls_whatever_the_sizes_of_reads_and_the_marks() {
    let said: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
    for version in [Version::Tls12, Version::Tls13] {
        let (tls_client, tls_server) = of_version(version);
        for mark in [2, 10, 100, 5_000, 1 << 20] {
            for size in (1..80).chain([100, 300, 1_000, 5_000, 20_000]) {
                let limits = Limits { output_high: mark, output_low: mark / 2, ..Limits::DEFAULT };
                let mut client = end(
                    tls_client.layer("one.example").expect("a name"),
                    Talk { to_say: said.clone().into_bytes(), ..Talk::default() },
                );
                let session = Conversation::new(Lines::default(), Shout);
                let layer = tls_server.layer().expect("a layer");
                let mut server = Wire::over(Link::with_layer(session, layer, limits.into()));
                pump(&mut client, &mut server, size);
                let heard = String::from_utf8_lossy(&client.session_mut().heard).into_owned();
                assert_eq!(heard, said.to_uppercase(), "{version:?}, size {size}, mark {mark}");
                assert_eq!(server.unread(), 0);
            }
        }
    }
}
