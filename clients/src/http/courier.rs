//! The requester of one connection: it takes jobs from the desk, sends their requests, and delivers
//! the responses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::http::{self, BodyLength, Fields, Requester, ResponseHead};
use protocol::{Context, Flow, Reason, Session};

use super::decode::Decoder;
use super::desk::{Desk, Job, Outcome};
use super::error::Progress;
use super::redirect::is_redirection;
use super::route::Key;
use super::upload::{self, Sending};
use super::{Error, ErrorKind};

/// The key of the timeout that watches over an exchange.
const WATCH: u8 = 1;
/// The key of the timeout of a connection without a job.
const IDLE: u8 = 2;
/// How many bytes of a body that is not delivered are read, so that the connection can be kept.
const DISCARD_MAX: u64 = 64 * 1024;

/// The requester of one connection.
pub(super) struct Courier<A> {
    desk: Arc<Desk<A>>,
    key: Key,
    /// The job whose exchange is under way.
    job: Option<Job<A>>,
    /// How many exchanges this connection has completed.
    served: u64,
    is_open: bool,
    exchange: Exchange,
}

/// The state of one exchange.
struct Exchange {
    sending: Sending,
    progress: Progress,
    /// When something moved for the last time.
    moved: Instant,
    backlog: u64,
    is_paused: bool,
    decoder: Option<Decoder>,
    /// The response is not delivered, and this becomes of the job.
    skipped: Option<Outcome>,
    discarded: u64,
    status: u16,
}

impl Exchange {
    fn new(now: Instant) -> Self {
        Self {
            sending: Sending::Done,
            progress: Progress::Connecting,
            moved: now,
            backlog: 0,
            is_paused: false,
            decoder: None,
            skipped: None,
            discarded: 0,
            status: 0,
        }
    }
}

impl<A: 'static> Courier<A> {
    /// Returns the session of a new connection.
    pub(super) fn session(desk: Arc<Desk<A>>, key: Key) -> impl Session<A> + 'static {
        let exchange = Exchange::new(reactor::now());
        let courier = Self { desk, key, job: None, served: 0, is_open: false, exchange };
        let options = Arc::clone(&courier.desk.http);
        http::Client::new(courier, options)
    }

    /// Begins the next job, if there is one.
    fn begin(&mut self, request: &mut http::Request<'_>, context: &mut Context<'_, A>) -> Flow {
        self.is_open = true;
        let taken = self.desk.lock().take_job(context.me);
        let Some(mut job) = taken else {
            self.desk.lock().rest(context.me);
            context.effects.set_timeout(WATCH, None);
            context.effects.set_timeout(IDLE, Some(self.desk.options.idle_timeout));
            context.effects.allow_silence(true);
            return Flow::Continue;
        };
        if self.served > 0 {
            job.attempts += 1;
        }
        self.exchange = Exchange::new(context.now);
        self.exchange.progress = Progress::Waiting;
        context.effects.set_timeout(IDLE, None);
        context.effects.allow_silence(true);
        let limit = self.desk.options.answer_timeout.min(self.desk.options.stall_timeout);
        context.effects.set_timeout(WATCH, Some(limit));
        self.exchange.sending = upload::begin(&job.request, &self.key, &self.desk.options, request);
        self.job = Some(job);
        self.pump(request, context)
    }

    /// Sends more of the body.
    fn pump(&mut self, request: &mut http::Request<'_>, context: &mut Context<'_, A>) -> Flow {
        let Some(job) = &mut self.job else { return Flow::Continue };
        if self.exchange.sending == Sending::Done {
            return Flow::Continue;
        }
        let result = upload::pump(&mut job.request.body, request, context.limits.output_high);
        match result {
            Ok((count, sending)) => {
                if count > 0 {
                    self.exchange.moved = context.now;
                    job.receiver.with(|it| it.sent(count, context));
                }
                self.exchange.sending = sending;
                Flow::Continue
            }
            Err(error) => {
                let text = format!("the body of the request cannot be read: {error}");
                self.fail(Error::new(ErrorKind::Upload, text).after_sending())
            }
        }
    }

    /// Gives the job back since its exchange cannot be completed, and closes the connection.
    fn fail(&mut self, error: Error) -> Flow {
        self.finish(Outcome::Failed { error, is_stale: false });
        Flow::Close
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(job) = self.job.take() {
            self.desk.lock().give_back(job, outcome);
        }
    }

    /// Checks whether the exchange has stood still for too long.
    fn watch(&mut self, request: &http::Request<'_>, context: &mut Context<'_, A>) -> Flow {
        let options = &self.desk.options;
        let exchange = &mut self.exchange;
        let backlog = request.backlog();
        let waits_for_source = exchange.sending == Sending::Source && backlog == 0;
        if exchange.is_paused || waits_for_source || backlog != exchange.backlog {
            exchange.moved = context.now;
            exchange.backlog = backlog;
        }
        let is_answering = exchange.progress == Progress::Receiving;
        let is_sent = exchange.sending == Sending::Done && backlog == 0;
        let (limit, what) = match (is_answering, is_sent) {
            (true, _) => (options.stall_timeout, "the response stands still"),
            (false, true) => (options.answer_timeout, "the server does not answer the request"),
            (false, false) => (options.stall_timeout, "the server does not take the request"),
        };
        let still = context.now.saturating_duration_since(exchange.moved);
        if still < limit {
            context.effects.set_timeout(WATCH, Some(limit - still));
            // A timeout would end the pause otherwise.
            return if exchange.is_paused { Flow::Pause } else { Flow::Continue };
        }
        let text = format!("{}: {what} for {limit:?}", self.key.name());
        self.fail(Error::new(ErrorKind::TimedOut, text).after_sending())
    }

    /// Decides whether the response is delivered.
    fn skip(&self, head: &ResponseHead<'_>) -> Option<Outcome> {
        let (job, options) = (self.job.as_ref()?, &self.desk.options);
        let status = head.status().code();
        if let Some(location) = head.fields().get("location")
            && is_redirection(status)
            && options.redirects_max > 0
        {
            return Some(Outcome::Redirected { status, location: Some(location.to_vec()) });
        }
        let is_retried = options.retried_statuses.contains(&status)
            && job.attempts < options.attempts_max
            && job.request.is_idempotent();
        let after = head.fields().get_str("retry-after").and_then(retry_after);
        is_retried.then_some(Outcome::Refused { status, after })
    }

    /// Delivers the head of a response.
    fn deliver(&mut self, head: &ResponseHead<'_>, context: &mut Context<'_, A>) -> Flow {
        let Some(job) = &mut self.job else { return Flow::Close };
        let encoding = head.fields().get_str("content-encoding").unwrap_or_default();
        if upload::asks_for_codings(&job.request, &self.desk.options) {
            match Decoder::of(encoding) {
                Ok(decoder) => self.exchange.decoder = decoder,
                Err(error) => return self.fail(error.after_sending()),
            }
        }
        job.is_delivered = true;
        // Without a receiver, the client has ended.
        match job.receiver.with(|it| it.head(head, context)).unwrap_or(Ok(Flow::Close)) {
            Ok(flow) => self.heed(flow),
            Err(error) => self.fail(error.after_sending()),
        }
    }

    fn heed(&mut self, flow: Flow) -> Flow {
        self.exchange.is_paused = flow == Flow::Pause;
        flow
    }

    /// Drops a piece of a body that is not delivered.
    fn discard(&mut self, count: usize) -> Flow {
        self.exchange.discarded += count as u64;
        if self.exchange.discarded <= DISCARD_MAX {
            return Flow::Continue;
        }
        if let Some(outcome) = self.exchange.skipped.take() {
            self.finish(outcome);
        }
        Flow::Close
    }
}

impl<A: 'static> Requester<A> for Courier<A> {
    fn ready(&mut self, request: &mut http::Request<'_>, context: &mut Context<'_, A>) -> Flow {
        self.begin(request, context)
    }

    fn informational(
        &mut self,
        head: &ResponseHead<'_>,
        _request: &mut http::Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        self.exchange.moved = context.now;
        if let Some(job) = &mut self.job {
            job.receiver.with(|it| it.passed_over(head, context));
        }
        Flow::Continue
    }

    fn response(
        &mut self,
        head: &ResponseHead<'_>,
        _request: &mut http::Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        self.exchange.moved = context.now;
        self.exchange.progress = Progress::Receiving;
        self.exchange.status = head.status().code();
        self.exchange.skipped = self.skip(head);
        if self.exchange.skipped.is_none() {
            return self.deliver(head, context);
        }
        if let Some(job) = &mut self.job {
            job.receiver.with(|it| it.passed_over(head, context));
        }
        match head.body() {
            BodyLength::Known(length) if length <= DISCARD_MAX => Flow::Continue,
            BodyLength::Chunked => Flow::Continue,
            _ => self.discard(usize::MAX >> 1),
        }
    }

    fn body(
        &mut self,
        piece: &mut [u8],
        _request: &mut http::Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        self.exchange.moved = context.now;
        if self.exchange.skipped.is_some() {
            return self.discard(piece.len());
        }
        let Some(job) = &mut self.job else { return Flow::Close };
        let mut deliver = |bytes: &[u8]| {
            job.receiver.with(|it| it.body(bytes, context)).unwrap_or(Ok(Flow::Close))
        };
        let result = match &mut self.exchange.decoder {
            None => deliver(piece),
            Some(decoder) => {
                let mut flow = Flow::Continue;
                let decoded = decoder.decode(piece, |bytes| deliver(bytes).map(|it| flow = it));
                decoded.map(|()| flow)
            }
        };
        match result {
            Ok(flow) => self.heed(flow),
            Err(error) => self.fail(error.after_sending()),
        }
    }

    fn end(
        &mut self,
        _trailers: Fields<'_>,
        _is_kept: bool,
        _request: &mut http::Request<'_>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        if let Some(Err(error)) = self.exchange.decoder.as_ref().map(Decoder::finish) {
            return self.fail(error.after_sending());
        }
        let is_reused = self.served > 0;
        let whole = Outcome::Whole { status: self.exchange.status, is_reused };
        let outcome = self.exchange.skipped.take().unwrap_or(whole);
        self.served += 1;
        self.finish(outcome);
        Flow::Continue
    }

    fn drained(&mut self, request: &mut http::Request<'_>, context: &mut Context<'_, A>) -> Flow {
        self.exchange.moved = context.now;
        self.pump(request, context)
    }

    fn resume(&mut self, request: &mut http::Request<'_>, context: &mut Context<'_, A>) -> Flow {
        if std::mem::take(&mut self.exchange.is_paused) {
            self.exchange.moved = context.now;
        }
        self.pump(request, context)
    }

    fn timeout(
        &mut self,
        key: u8,
        request: &mut http::Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        match key {
            WATCH if self.job.is_some() => self.watch(request, context),
            IDLE if self.job.is_none() => {
                let mut state = self.desk.lock();
                // A job that was handed over meanwhile is taken when this source is called for it.
                match state.idle.iter().any(|(_, id)| *id == context.me) {
                    true => {
                        state.idle.retain(|(_, id)| *id != context.me);
                        Flow::Close
                    }
                    false => Flow::Continue,
                }
            }
            _ => Flow::Continue,
        }
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let handed = self.desk.lock().forget(context.me);
        if let Some(job) = self.job.take() {
            let progress = self.exchange.progress;
            let error = Error::of_connection(&self.key.name(), reason, progress);
            let is_stale =
                self.served > 0 && progress == Progress::Waiting && is_silent_end(reason);
            self.desk.lock().give_back(job, Outcome::Failed { error, is_stale });
        }
        if let Some(job) = handed {
            // Nothing of it was sent. A connection that was open has ended in order.
            let error = Error::of_connection(&self.key.name(), reason, Progress::Connecting);
            let outcome = Outcome::Failed { error, is_stale: self.is_open };
            self.desk.lock().give_back(job, outcome);
        }
    }
}

/// Returns whether a connection has ended without any part of an answer.
fn is_silent_end(reason: &Reason) -> bool {
    match reason {
        Reason::PeerClosed | Reason::Finished | Reason::Failed { .. } => true,
        Reason::Refused(error) => {
            matches!(error.downcast_ref::<http::Refusal>(), Some(http::Refusal::NoResponse))
        }
        _ => false,
    }
}

/// Returns the time of a field `Retry-After` (RFC 9110 section 10.2.3).
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = Duration::from_secs(http::parse_date(value.as_bytes())?);
    Some(at.saturating_sub(reactor::time_of_day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert!(retry_after("Fri, 31 Dec 2199 23:59:59 GMT") > Some(Duration::from_secs(1 << 30)));
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}
