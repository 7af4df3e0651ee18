//! Decodes any input as replies of RESP, however it is split, and iterates over, prints and encodes
//! them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::Output;
use protocol::resp::text::{self, JsonStrings};
use protocol::resp::{Client, Limits, Protocol, Value, Writer};
use protocol::testing::check_splits;

fuzz_target!(|input: &[u8]| {
    let limits = Limits { line_size_max: 40, bulk_size_max: 40, elements_max: 20, depth_max: 5 };
    check_splits(|| Client::with_limits(limits), input, describe);
});

/// Uses a value in every way.
fn describe(value: Value<'_>) -> Vec<u8> {
    let mut seen = value.encoded().to_vec();
    text::human(value, &mut seen);
    text::raw(value, b"\n", &mut seen);
    text::csv(value, &mut seen);
    text::json(value, JsonStrings::Plain, &mut seen);
    text::json(value, JsonStrings::Quoted, &mut seen);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut output = Output::new();
        Writer::new(&mut output, protocol).value(value);
        let again = check_splits(Client::default, &output.to_vec(), |_again| Vec::new());
        assert_eq!(again.len(), 1);
        seen.append(&mut output.to_vec());
    }
    seen
}
