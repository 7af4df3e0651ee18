//! The request on the wire: its head, and its body as there is room.

use std::io;
use std::sync::Arc;

use protocol::{FileRange, http};
use url::Position;

use super::decode::ACCEPTED;
use super::proxy::user_of;
use super::request::{Body, Filled};
use super::route::Key;
use super::tunnel::{authorization, basic};
use super::{Options, Origin, Request};

/// How many bytes an upload produces at a time.
const PIECE: usize = 32 * 1024;

/// What remains of a request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// A part of the body.
    Body,
    /// A part of the body, which its source does not have yet.
    Source,
    /// Nothing.
    Done,
}

/// Returns whether compressed bodies are asked for on behalf of this request. Those that a caller
/// asks for itself are delivered as they are, and ranges are those of the body as it is stored.
pub(super) fn asks_for_codings(request: &Request, options: &Options) -> bool {
    options.decodes && request.leaves_open("accept-encoding") && !request.has_field("range")
}

/// Appends the head of a request, and its body if that is in memory.
pub(super) fn begin(
    request: &Request,
    key: &Key,
    options: &Options,
    wire: &mut http::Request<'_>,
) -> Sending {
    let url = &request.url;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let origin = Origin::of(url).ok();
    let authority = origin.as_ref().map(Origin::host_field).unwrap_or_default();
    let target = match key.forwarder() {
        Some(_) => format!("http://{authority}{path}"),
        None => path.to_owned(),
    };
    let given = request.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let given = given.and_then(|(_, value)| std::str::from_utf8(value).ok());
    wire.set_body_max(u64::MAX);
    let mut head = wire.head(&request.method, &target, given.unwrap_or(&authority));
    if request.leaves_open("user-agent") && !options.user_agent.is_empty() {
        head = head.field("User-Agent", &options.user_agent);
    }
    if request.leaves_open("accept") {
        head = head.field("Accept", "*/*");
    }
    if asks_for_codings(request, options) {
        head = head.field("Accept-Encoding", ACCEPTED);
    }
    if let Some((user, word)) = user_of(url).filter(|_| request.leaves_open("authorization")) {
        head = head.field("Authorization", basic(&user, &word));
    }
    if let Some(value) = key.forwarder().and_then(authorization) {
        head = head.field("Proxy-Authorization", value);
    }
    for (name, value) in &request.fields {
        head = head.field(name, value);
    }
    match &request.body {
        Body::Empty => head.empty(),
        Body::Bytes(bytes) => head.shared(Arc::clone(bytes)),
        Body::File { file, offset, length } => {
            let range = FileRange { file: Arc::clone(file), offset: *offset, length: *length };
            head.file(range);
        }
        Body::Upload(upload) => {
            match upload.length() {
                Some(length) => head.length(length),
                None => head.streamed(),
            }
            return Sending::Body;
        }
    }
    Sending::Done
}

/// Appends more of a body that is produced while it is sent, until `high` bytes wait. Returns how
/// many bytes were appended, and what remains.
pub(super) fn pump(
    body: &mut Body,
    wire: &mut http::Request<'_>,
    high: u64,
) -> io::Result<(u64, Sending)> {
    let Body::Upload(upload) = body else { return Ok((0, Sending::Done)) };
    let (mut room, mut total) = ([0; PIECE], 0);
    while wire.backlog() < high {
        match upload.fill(&mut room)? {
            Filled::Bytes(count) => {
                wire.write(&room[..count]);
                total += count as u64;
            }
            Filled::Later => return Ok((total, Sending::Source)),
            Filled::End => {
                wire.finish();
                return Ok((total, Sending::Done));
            }
        }
    }
    Ok((total, Sending::Body))
}
