//! Streams of generated messages, in pieces of any sizes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::client::{self, Script, answer, answer_within};
use super::common::{cut, sizes};
use super::recorder::{narrow, options, serve, serve_whole};

/// The body of a generated message.
#[derive(Clone, Debug)]
enum Body {
    None,
    Known(Vec<u8>),
    Chunked(Vec<Vec<u8>>, Vec<String>),
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Known(bytes) => bytes.clone(),
            Self::Chunked(chunks, _) => chunks.concat(),
        }
    }

    /// Appends the rest of a head, and the body.
    fn append(&self, stream: &mut Vec<u8>) {
        match self {
            Self::None => stream.extend_from_slice(b"\r\n"),
            Self::Known(bytes) => {
                stream.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", bytes.len()).as_bytes(),
                );
                stream.extend_from_slice(bytes);
            }
            Self::Chunked(chunks, trailers) => {
                stream.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    stream.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    stream.extend_from_slice(chunk);
                    stream.extend_from_slice(b"\r\n");
                }
                stream.extend_from_slice(b"0\r\n");
                for name in trailers {
                    stream.extend_from_slice(format!("{name}: v\r\n").as_bytes());
                }
                stream.extend_from_slice(b"\r\n");
            }
        }
    }
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || vec(any::<u8>(), 1..40);
    prop_oneof![
        Just(Body::None),
        vec(any::<u8>(), 0..100).prop_map(Body::Known),
        (vec(bytes(), 0..5), vec("[A-Za-z][A-Za-z0-9-]{0,8}", 0..3))
            .prop_map(|(chunks, trailers)| Body::Chunked(chunks, trailers)),
    ]
}

/// A request and what a service is told of it.
#[derive(Clone, Debug)]
struct Case {
    stream: Vec<u8>,
    told: String,
}

fn request() -> impl Strategy<Value = Case> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("M-SEARCH")];
    let fields = vec(("X-[A-Za-z0-9_~-]{1,10}", "[ -~]{0,20}"), 0..40);
    (method, "/[!-\"$-~]{0,20}", fields, body()).prop_map(|(method, target, fields, body)| {
        // The recorder treats some paths in another way.
        let target = format!("/_{target}");
        let mut stream = format!("{method} {target} HTTP/1.1\r\nHost: h:1\r\n").into_bytes();
        for (name, value) in &fields {
            stream.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        body.append(&mut stream);
        let (length, trailers) = match &body {
            Body::None => ("0".to_owned(), String::new()),
            Body::Known(bytes) => (bytes.len().to_string(), String::new()),
            Body::Chunked(_, trailers) => {
                ("chunked".to_owned(), trailers.iter().map(|name| format!(" {name}=v")).collect())
            }
        };
        let count = fields.len() + 1 + usize::from(!matches!(body, Body::None));
        let bytes = body.bytes();
        let bytes = bytes.escape_ascii();
        let told = format!(
            "{method} {target} 1.1 host=h:1 fields={count} body={length} [{bytes}]{trailers}"
        );
        Case { stream, told }
    })
}

fn response() -> impl Strategy<Value = Case> {
    let fields = vec(("X-[A-Za-z0-9_~-]{1,10}", "[ -~]{0,20}"), 0..40);
    (200_u16..600, "[ -~]{0,20}", fields, body()).prop_map(|(status, reason, fields, body)| {
        let status = if matches!(status, 204 | 304) { 200 } else { status };
        let mut stream = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
        for (name, value) in &fields {
            stream.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        // Without a length, the body would end with the stream.
        let body = if matches!(body, Body::None) { Body::Known(Vec::new()) } else { body };
        body.append(&mut stream);
        let trailers: String = match &body {
            Body::Chunked(_, trailers) => trailers.iter().map(|name| format!(" {name}")).collect(),
            _ => String::new(),
        };
        let bytes = body.bytes();
        Case { stream, told: format!("[{}]{trailers} kept=true", bytes.escape_ascii()) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn requests_arrive_as_they_were_sent(cases in vec(request(), 1..6), sizes in sizes()) {
        let stream: Vec<u8> = cases.iter().flat_map(|case| case.stream.clone()).collect();
        let outcome = serve(&options(), &cut(&stream, &sizes));
        let told: Vec<&str> = cases.iter().map(|case| case.told.as_str()).collect();
        prop_assert_eq!(&outcome.requests, &told);
        prop_assert_eq!(outcome.statuses(), vec![200; cases.len()]);
        prop_assert_eq!(serve_whole(&stream), outcome);
    }

    #[test]
    fn responses_arrive_as_they_were_sent(cases in vec(response(), 1..6), sizes in sizes()) {
        let stream: Vec<u8> = cases.iter().flat_map(|case| case.stream.clone()).collect();
        let (log, reason) = answer(Script::of(&vec!["GET"; cases.len()]), &cut(&stream, &sizes));
        let ends = log.iter().skip(1).step_by(2).map(String::as_str);
        let told: Vec<&str> = cases.iter().map(|case| case.told.as_str()).collect();
        prop_assert_eq!(ends.collect::<Vec<_>>(), told);
        prop_assert_eq!(reason, "peer closed");
    }

    #[test]
    fn responses_at_the_limits_do_the_same_in_any_pieces(
        cases in vec(response(), 1..3),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        head_size_max in 1_usize..400,
        sizes in sizes(),
    ) {
        let mut stream: Vec<u8> = cases.iter().flat_map(|case| case.stream.clone()).collect();
        for (place, byte) in changes {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        let run = |pieces: &[&[u8]]| {
            let script = Script::of(&vec!["GET"; cases.len()]);
            answer_within(client::narrow(head_size_max), script, pieces).0
        };
        let whole = run(&[&stream]);
        prop_assert_eq!(&whole, &run(&cut(&stream, &sizes)));
        prop_assert_eq!(&whole, &run(&stream.chunks(1).collect::<Vec<_>>()));
    }

    #[test]
    fn a_changed_byte_does_the_same_in_any_pieces(
        case in request(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        sizes in sizes(),
    ) {
        let mut stream = [case.stream.clone(), case.stream].concat();
        let place = place.index(stream.len());
        stream[place] = byte;
        let (whole, pieces) = (serve_whole(&stream), serve(&options(), &cut(&stream, &sizes)));
        whole.check_like(&pieces);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        whole.check_like(&serve(&options(), &bytes));
    }

    #[test]
    fn heads_at_their_limits_do_the_same_in_any_pieces(
        case in request(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        head_size_max in 1_usize..400,
        sizes in sizes(),
    ) {
        let mut stream = [case.stream.clone(), case.stream].concat();
        for (place, byte) in changes {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        let options = narrow(head_size_max);
        let whole = serve(&options, &[&stream]);
        whole.check_like(&serve(&options, &cut(&stream, &sizes)));
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        whole.check_like(&serve(&options, &bytes));
    }
}
