//! A service that records what it is told, and helpers to drive it.

use std::sync::Arc;

use protocol::http::{
    BodyLength, Fields, Options, Refusal, RequestHead, Response, Server, Service, Status, Version,
};
use protocol::testing::Wire;
use protocol::{Context, Flow, Reason};

/// Records requests, and answers each at its end with what it was told. Paths choose other behaviour.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// What the request in progress consists of so far.
    current: String,
    body: Vec<u8>,
    pub(crate) requests: Vec<String>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) ends: Vec<String>,
}

/// Describes a head in one line.
pub(crate) fn describe(head: &RequestHead<'_>) -> String {
    let version = if head.version() == Version::Http10 { "1.0" } else { "1.1" };
    let body = match head.body() {
        BodyLength::Known(length) => length.to_string(),
        BodyLength::Chunked => "chunked".to_owned(),
        BodyLength::UntilClose => "until close".to_owned(),
    };
    let (method, target, host) = (head.method(), head.target_text(), head.host());
    format!("{method} {target} {version} host={host} fields={} body={body}", head.fields().len())
}

fn describe_trailers(trailers: Fields<'_>) -> String {
    trailers.iter().map(|it| format!(" {}={}", it.name, it.value.escape_ascii())).collect()
}

impl<A> Service<A> for Recorder {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        self.current = describe(head);
        self.body.clear();
        match head.path() {
            "/early" => response.text(Status::OK, "early"),
            "/pause" => return Flow::Pause,
            "/close" => {
                response.text(Status::OK, "closing");
                return Flow::Close;
            }
            "/cut" => {
                response.head(Status::OK).length(10);
                response.write(b"half");
                return Flow::Close;
            }
            _ => {}
        }
        Flow::Continue
    }

    fn body(&mut self, piece: &mut [u8], _: &mut Response<'_>, _: &mut Context<'_, A>) -> Flow {
        assert!(!piece.is_empty(), "a piece has bytes");
        self.body.extend_from_slice(piece);
        Flow::Continue
    }

    fn end(
        &mut self,
        trailers: Fields<'_>,
        response: &mut Response<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        let body = self.body.escape_ascii();
        let request = format!("{} [{body}]{}", self.current, describe_trailers(trailers));
        if !response.is_finished() {
            response.head(Status::OK).body(request.as_bytes());
        }
        self.requests.push(request);
        Flow::Continue
    }

    fn refused(&mut self, refusal: Refusal, response: &mut Response<'_>, _: &mut Context<'_, A>) {
        self.refusals.push(refusal);
        response.error(refusal.status());
    }

    fn closed(&mut self, reason: &Reason, _: &mut Context<'_, A>) {
        self.ends.push(reason.to_string());
    }
}

/// What a connection did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) sent: String,
    pub(crate) requests: Vec<String>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) ends: Vec<String>,
}

impl Outcome {
    /// Returns the status codes of the final responses that were sent.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let lines = self.sent.split("\r\n").flat_map(|line| line.split("HTTP/1.1 ").nth(1));
        let codes = lines.map(|rest| rest[..3].parse().expect("a status has three digits"));
        codes.filter(|code| *code >= 200).collect()
    }

    /// Checks that this and `other` delivered the same requests and sent responses with the same
    /// status. They may be the same stream in other pieces. An invalid line in a head whose end never
    /// comes is found in one piece alone.
    pub(crate) fn check_like(&self, other: &Self) {
        assert_eq!(self.requests, other.requests);
        let (statuses, others) = (self.statuses(), other.statuses());
        let is_cut = [self, other].iter().any(|it| it.ends == [TRUNCATED]);
        let common = if is_cut { statuses.len().min(others.len()) } else { usize::MAX };
        let both = [&statuses, &others].map(|it| &it[..it.len().min(common)]);
        assert_eq!(both[0], both[1], "{self:#?} {other:#?}");
        assert!(statuses.len().abs_diff(others.len()) <= 1);
    }
}

/// The reason for the end of a connection whose stream ends in a message.
const TRUNCATED: &str = "refused: the stream ended in the middle of a message";

pub(crate) fn options() -> Arc<Options> {
    Options::default().shared().expect("the defaults are right")
}

/// Returns options of which each head reaches a limit soon.
pub(crate) fn narrow(head_size_max: usize) -> Arc<Options> {
    let target_size_max = 1 + head_size_max / 3;
    let options = Options { head_size_max, target_size_max, fields_max: 4, ..Options::default() };
    options.shared().expect("no limit is zero")
}

/// Feeds `pieces` to a server, then ends its input. Returns what it did.
pub(crate) fn serve(options: &Arc<Options>, pieces: &[&[u8]]) -> Outcome {
    let mut server = Server::new(Recorder::default(), Arc::clone(options));
    let mut wire = Wire::new(&mut server);
    wire.run(&mut ());
    for piece in pieces {
        wire.feed(piece, &mut ());
    }
    wire.end_input(&mut ());
    // Requests that pause are woken.
    let mut wakes = 0;
    while wire.reason().is_none() {
        wire.wake(&mut ());
        wakes += 1;
        assert!(wakes < 1000, "the connection does not end");
    }
    let sent = wire.take_sent();
    let sent = String::from_utf8(sent).expect("these tests send text");
    let Recorder { requests, refusals, ends, .. } = server.into_service();
    Outcome { sent, requests, refusals, ends }
}

/// Does the same in one piece.
pub(crate) fn serve_whole(input: &[u8]) -> Outcome {
    serve(&options(), &[input])
}
