//! Decodes any input as requests of RESP, however it is split.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::resp::{Limits, Request, Server};
use protocol::testing::check_splits;

fuzz_target!(|input: &[u8]| {
    let limits = Limits { line_size_max: 40, bulk_size_max: 40, ..Limits::DEFAULT };
    let mut server = Server::with_limits(limits);
    server.set_authenticated(input.first().is_some_and(|byte| *byte != 0));
    check_splits(|| server, input, describe);
});

/// Returns the parts of a request, each after its length.
fn describe(request: Request<'_>) -> Vec<u8> {
    assert_eq!(request.iter().count(), request.len());
    request.iter().flat_map(|part| [&part.len().to_be_bytes(), part].concat()).collect()
}
