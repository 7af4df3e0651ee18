//! Reads any input as the body of each message of MooseFS, and encodes what it is once more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::mfs::{Form, Kind, describe};

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let forms = Form::all();
    let form = &forms[usize::from(*kind) % forms.len()];
    let text = describe(form.kind(), body);
    assert!(text.starts_with(form.name()), "{text}");
    if let Ok(again) = form.encode_again(body) {
        assert_eq!(again, body, "{text}");
    }
    let unknown = Kind(u32::MAX);
    assert!(describe(unknown, body).starts_with("TYPE4294967295"));
});
