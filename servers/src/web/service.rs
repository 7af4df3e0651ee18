//! The service of one connection: finds out what a request is for.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Instant;

use protocol::http::{Fields, Refusal, RequestHead, Response, Service, Status, Target, Version};
use protocol::{Context, Flow, Reason};
use reactor::time_of_day;

use super::access_log::Record;
use super::app::App;
use super::files::{Sent, options, sent};
use super::path::RequestPath;

/// The service of one connection.
pub struct WebService {
    /// The address of the client; `None` for Unix sockets.
    peer: Option<SocketAddr>,
}

impl WebService {
    /// Returns the service of a connection from this address.
    pub fn new(peer: Option<SocketAddr>) -> Self {
        Self { peer }
    }

    fn answer(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Sent {
        let mut files = context.app.files(context.now);
        if let Target::Asterisk = head.target() {
            return options(response);
        }
        let path = match RequestPath::parse(head.path()) {
            Ok(path) => path,
            Err(_) => return files.error(Status::BAD_REQUEST, &[], response),
        };
        if files.config.is_health(&path) {
            response.text(Status::OK, "ok\n");
            return sent(Status::OK, 3, response);
        }
        files.answer(head, &path, response)
    }

    /// Adds a line to the access log, if there is one.
    fn note(&self, noted: &Noted<'_>, sent: Sent, context: &mut Context<'_, App>) {
        let Some(journal) = &mut context.app.journal else { return };
        let mut peer = String::new();
        if let Some(address) = self.peer {
            // Writing to a string cannot fail.
            let _ = write!(peer, "{}", address.ip().to_canonical());
        }
        let record = Record {
            peer: &peer,
            status: sent.status.code(),
            bytes: sent.bytes,
            took: context.now.saturating_duration_since(noted.begun),
            ..noted.record.clone()
        };
        journal.add(&record, time_of_day());
    }
}

/// What the access log says of a request.
struct Noted<'a> {
    record: Record<'a>,
    begun: Instant,
}

impl<'a> Noted<'a> {
    fn of(head: &RequestHead<'a>, begun: Instant) -> Self {
        let fields: Fields<'a> = head.fields();
        let record = Record {
            method: head.method(),
            target: head.target_text(),
            version: version(head.version()),
            host: head.host(),
            referer: fields.get("referer").unwrap_or_default(),
            agent: fields.get("user-agent").unwrap_or_default(),
            ..Record::default()
        };
        Self { record, begun }
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

impl Service<App> for WebService {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let sent = self.answer(head, response, context);
        if context.app.journal.is_some() {
            self.note(&Noted::of(head, context.now), sent, context);
        }
        Flow::Continue
    }

    fn refused(
        &mut self,
        refusal: Refusal,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) {
        let mut files = context.app.files(context.now);
        let sent = files.error(refusal.status(), &[], response);
        let noted = Noted { record: Record::default(), begun: context.now };
        self.note(&noted, sent, context);
    }

    fn closed(&mut self, _: &Reason, _: &mut Context<'_, App>) {}
}
