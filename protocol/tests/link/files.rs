//! Ranges of files without a layer: the driver sends them, and the link counts them.

use std::fs::File;
use std::sync::Arc;

use protocol::link::Link;
use protocol::testing::Wire;
use protocol::{Buffer, Cause, Context, FileRange, Flow, Limits, Output, Reason, Session};

use crate::probe::limits;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
const OFFSET: u64 = 7;

/// Sends a file between two words when it is opened, and then ends in its own way.
struct SendsFile {
    length: u64,
    flow: Flow,
}

impl Session<Vec<Cause>> for SendsFile {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Vec<Cause>>,
    ) -> Result<Flow, Reason> {
        context.app.push(context.cause);
        input.clear();
        if context.cause == Cause::Opened {
            let file = Arc::new(File::open(PATH).expect("the file opens"));
            output.append(b"head");
            output.file(FileRange { file, offset: OFFSET, length: self.length });
            output.append(b"foot");
        }
        Ok(self.flow)
    }
}

/// A connection whose session sends `length` bytes of the file, and what the peer has to get.
fn sends(length: usize, flow: Flow, limits: Arc<Limits>) -> (Wire<SendsFile>, Vec<u8>) {
    let text = std::fs::read(PATH).expect("the file can be read");
    let range = &text[OFFSET as usize..][..length];
    let session = SendsFile { length: length as u64, flow };
    (Wire::over(Link::new(session, limits)), [b"head", range, b"foot"].concat())
}

#[test]
fn a_range_is_sent_between_its_neighbours_wherever_the_peer_stops_reading() {
    const LENGTH: usize = 50;
    for room in 0..=LENGTH as u64 + 8 {
        let (mut wire, expected) = sends(LENGTH, Flow::Close, limits());
        let mut told = Vec::new();
        wire.set_room(room, &mut told);
        assert_eq!(wire.take_sent(), expected[..room as usize]);
        assert_eq!(wire.unsent(), expected.len() as u64 - room, "with room for {room}");
        assert_eq!(wire.is_shut_down(), wire.unsent() == 0, "with room for {room}");
        // One byte at a time.
        let mut sent = expected[..room as usize].to_vec();
        while wire.unsent() > 0 {
            wire.set_room(1, &mut told);
            sent.extend(wire.take_sent());
        }
        assert_eq!(sent, expected);
        wire.end_input(&mut told);
        assert!(wire.reason().is_some_and(Reason::is_orderly));
    }
}

#[test]
fn a_range_counts_for_the_marks_and_not_for_the_limit_of_memory() {
    let length = 400;
    let small = Limits { output_max: 100, ..*limits() };
    let (mut wire, expected) = sends(length, Flow::Pause, Arc::new(small));
    let mut told = Vec::new();
    wire.set_room(0, &mut told);
    assert!(wire.reason().is_none(), "eight bytes are in memory");
    let low = small.output_low;
    wire.set_room(expected.len() as u64 - low - 1, &mut told);
    assert_eq!(told, [Cause::Opened]);
    wire.set_room(1, &mut told);
    assert_eq!(told, [Cause::Opened, Cause::Drained]);
    wire.set_room(low, &mut told);
    assert_eq!(wire.take_sent(), expected);
}

#[test]
fn a_range_that_the_file_does_not_have_ends_the_connection() {
    let mut wire = Wire::new(SendsFile { length: 1 << 40, flow: Flow::Continue });
    wire.run(&mut Vec::new());
    let text = std::fs::read(PATH).expect("the file can be read");
    // Whole pieces that are there may have been sent.
    let sent = wire.take_sent();
    assert!([b"head", &text[OFFSET as usize..]].concat().starts_with(&sent));
    let reason = wire.into_reason().expect("it is closed").to_string();
    assert_eq!(reason, "read: the file is shorter than the range that was promised");
}
