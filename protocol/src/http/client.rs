//! The client's session.

mod responses;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fields::{FIELDS_MAX, Progress, SECTION_MAX};
use super::incoming::Incoming;
use super::outgoing::Stage as Sent;
use super::request::Sending;
use super::{BodyLength, Refusal, Request, Requester, TIMEOUT_KEY};
use crate::{Buffer, Cause, Context, Flow, LimitsError, Output, Reason, Session};

/// What a client of HTTP accepts. All its connections share it.
///
/// Every limit is finite. [`shared`](Self::shared) checks them.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The size of a head, or of the trailers of a body, in bytes; 65,535 at most. Default 32 KiB:
    /// servers send more than browsers do, such as policies.
    pub head_size_max: usize,
    /// The number of fields of a head, or of trailers; 256 at most. Default 200.
    pub fields_max: usize,
    /// The size of a body in bytes, extensions of chunks included, unless the requester sets another
    /// for the request ([`Request::set_body_max`]). Default 16 MiB.
    pub body_size_max: u64,
    /// How many interim responses (1xx) a request may have. Default 20.
    pub interim_max: u8,
    /// How long the head of the response may take, from the last time on that a part of the request
    /// was written, or an interim response came. Default 60 s.
    pub head_timeout: Duration,
    /// How long the server may send nothing of a body that is awaited. Default 60 s.
    pub body_timeout: Duration,
}

impl ClientOptions {
    /// Checks these options and returns them in an `Arc`, for the connections that share them.
    ///
    /// # Errors
    /// When a limit is zero, which would mean that nothing is allowed, or when `head_size_max` or
    /// `fields_max` is larger than it may be.
    pub fn shared(self) -> Result<Arc<Self>, LimitsError> {
        LimitsError::check(&[
            ("head_size_max", self.head_size_max as u64, SECTION_MAX as u64),
            ("fields_max", self.fields_max as u64, FIELDS_MAX as u64),
            ("head_timeout", u64::from(!self.head_timeout.is_zero()), 1),
            ("body_timeout", u64::from(!self.body_timeout.is_zero()), 1),
        ])?;
        Ok(Arc::new(self))
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            head_size_max: 32 * 1024,
            fields_max: 200,
            body_size_max: 16 * 1024 * 1024,
            interim_max: 20,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
        }
    }
}

/// How far the exchange has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request is in progress.
    Idle,
    /// A request has begun, and the head of its response has not been delivered.
    Head,
    /// The head was delivered, and the body has not ended.
    Body,
}

/// A client of HTTP/1.1 (RFC 9112) for one connection: a [`Session`] that writes the requests of a
/// [`Requester`] and delivers their responses.
///
/// A response whose end cannot be found for certain is refused, and so is a body that ends too
/// early: a part is never taken for the whole.
#[derive(Debug)]
pub struct Client<R> {
    requester: R,
    options: Arc<ClientOptions>,
    sending: Sending,
    incoming: Incoming,
    progress: Progress,
    /// When the server last did what it was waited for, or the request went on.
    active_at: Option<Instant>,
    stage: Stage,
    interims: u8,
    /// The server keeps the connection after this response.
    is_kept: bool,
    /// The head of the response lets the protocol change.
    upgrades: bool,
    is_paused: bool,
    is_timed: bool,
    is_stopping: bool,
}

/// What comes after a step.
enum Next {
    Step,
    Starve,
    Return(Flow),
}

impl<R> Client<R> {
    /// Returns a client for a connection that has not begun.
    pub fn new(requester: R, options: Arc<ClientOptions>) -> Self {
        Self {
            requester,
            sending: Sending::new(options.body_size_max),
            options,
            incoming: Incoming::new(BodyLength::Known(0)),
            progress: Progress::default(),
            active_at: None,
            stage: Stage::Idle,
            interims: 0,
            is_kept: true,
            upgrades: false,
            is_paused: false,
            is_timed: false,
            is_stopping: false,
        }
    }

    /// Returns the requester, for tests and for drivers that inspect it.
    pub fn requester(&self) -> &R {
        &self.requester
    }

    /// Returns the requester, for a driver that knows it. What the driver changes takes effect when
    /// the connection is woken.
    pub fn requester_mut(&mut self) -> &mut R {
        &mut self.requester
    }

    /// Returns the requester, for the session that follows in an [`Upgrade`](crate::Upgrade).
    pub fn into_requester(self) -> R {
        self.requester
    }

    /// Returns whether no request is in progress.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Calls the requester.
    fn call<A, T>(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_, A>,
        call: impl FnOnce(&mut R, &mut Request<'_>, &mut Context<'_, A>) -> T,
    ) -> T {
        let mut request = Request::new(output, &mut self.sending);
        call(&mut self.requester, &mut request, context)
    }

    /// Carries out what the requester has returned.
    fn settle(&mut self, flow: Flow) -> Result<Next, Reason> {
        let outgoing = &self.sending.outgoing;
        if let Some(bug) = outgoing.bug {
            return Err(Reason::refused(bug.of_request()));
        }
        if outgoing.stage == Sent::Head {
            return Err(Reason::refused(
                "bug in the requester: it did not end the head of a request",
            ));
        }
        if self.stage == Stage::Idle && outgoing.is_begun() {
            self.stage = Stage::Head;
            self.active_at = None;
        }
        match flow {
            Flow::Continue => Ok(Next::Step),
            Flow::Pause => {
                self.is_paused = true;
                Ok(Next::Step)
            }
            Flow::Close => Ok(Next::Return(Flow::Close)),
            Flow::Upgrade if self.upgrades => Ok(Next::Return(Flow::Upgrade)),
            Flow::Upgrade => {
                Err(Reason::refused("bug in the requester: it upgrades without such a response"))
            }
        }
    }

    /// Calls the requester to write a request.
    fn make_ready<A>(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        R: Requester<A>,
    {
        self.sending = Sending::new(self.options.body_size_max);
        self.is_paused = false;
        let flow = self.call(output, context, R::ready);
        self.settle(flow)
    }

    /// Tells the requester why it is called. Returns what comes next.
    fn tell<A>(&mut self, output: &mut Output, context: &mut Context<'_, A>) -> Result<Next, Reason>
    where
        R: Requester<A>,
    {
        let is_idle = self.is_idle();
        if !self.sending.outgoing.is_finished() {
            // The server cannot answer yet.
            self.active_at = Some(context.now);
        }
        match context.cause {
            Cause::Opened => self.make_ready(output, context),
            Cause::Woken if is_idle => self.make_ready(output, context),
            Cause::Woken => {
                let flow = self.call(output, context, R::resume);
                self.is_paused &= flow != Flow::Continue;
                self.settle(flow)
            }
            Cause::Timeout(TIMEOUT_KEY) => self.time_out(context),
            Cause::Timeout(key) => {
                let flow = self.call(output, context, |requester, request, context| {
                    requester.timeout(key, request, context)
                });
                self.is_paused &= flow != Flow::Continue;
                self.settle(flow)
            }
            Cause::Drained if !is_idle && !self.sending.outgoing.is_finished() => {
                let flow = self.call(output, context, R::drained);
                self.settle(flow)
            }
            Cause::Stopping => {
                self.is_stopping = true;
                if is_idle {
                    return Ok(Next::Return(Flow::Close));
                }
                let flow = self.call(output, context, R::stopping);
                self.settle(flow)
            }
            Cause::HungUp if is_idle => Ok(Next::Return(Flow::Close)),
            // It is never saved, so nothing restores it.
            Cause::Restored | Cause::Input | Cause::HungUp | Cause::Drained => Ok(Next::Step),
        }
    }

    /// Returns how long the server may take for what it is waited for.
    fn patience(&self) -> Duration {
        match self.stage {
            Stage::Body => self.options.body_timeout,
            Stage::Idle | Stage::Head => self.options.head_timeout,
        }
    }

    /// Ends the connection if the server has been silent for too long. The timer is set once and
    /// then follows: a response that comes in time costs nothing.
    fn time_out<A>(&mut self, context: &mut Context<'_, A>) -> Result<Next, Reason> {
        self.is_timed = false;
        if self.is_idle() || self.is_paused {
            return Ok(Next::Step);
        }
        let patience = self.patience();
        let passed =
            self.active_at.map_or(Duration::ZERO, |at| context.now.saturating_duration_since(at));
        if passed >= patience {
            let is_body = self.stage == Stage::Body;
            return Err(Reason::refused(if is_body {
                Refusal::ResponseStalled
            } else {
                Refusal::ResponseTimeout
            }));
        }
        self.set_timer(patience - passed, context);
        Ok(Next::Step)
    }

    fn set_timer<A>(&mut self, after: Duration, context: &mut Context<'_, A>) {
        self.is_timed = true;
        context.effects.set_timeout(TIMEOUT_KEY, Some(after));
    }

    /// Waits for input, or ends with it.
    fn starve<A>(&mut self, context: &mut Context<'_, A>) -> Result<Flow, Reason> {
        if context.input_ended {
            return match self.stage {
                Stage::Idle => Ok(Flow::Close),
                Stage::Head if self.progress.is_new() => Err(Reason::refused(Refusal::NoResponse)),
                Stage::Head | Stage::Body => Err(Reason::refused(Refusal::Truncated)),
            };
        }
        if self.stage != Stage::Idle {
            self.active_at.get_or_insert(context.now);
            if !self.is_timed {
                self.set_timer(self.patience(), context);
            }
        }
        Ok(Flow::Continue)
    }

    /// Takes steps until more input is needed, or something else has to happen.
    fn go_on<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>
    where
        R: Requester<A>,
    {
        let mut next = match context.cause {
            Cause::Input => Next::Step,
            _ => self.tell(output, context)?,
        };
        loop {
            match next {
                Next::Step => {}
                Next::Starve => return self.starve(context),
                Next::Return(flow) => return Ok(flow),
            }
            if self.is_paused {
                return Ok(Flow::Pause);
            }
            next = match self.stage {
                Stage::Idle if input.is_empty() => Next::Starve,
                Stage::Idle => return Err(Reason::refused(Refusal::Unsolicited)),
                Stage::Head => self.take_head(input, output, context)?,
                Stage::Body => self.take_body(input, output, context)?,
            };
        }
    }
}

impl<A, R: Requester<A>> Session<A> for Client<R> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        let result = self.go_on(input, output, context);
        if let Err(reason) = &result {
            self.requester.refused(reason, context);
        }
        result
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        // A reset that follows a part of a head cuts a response, as the end of the stream does.
        if self.stage == Stage::Head && !self.progress.is_new() && reason.is_disconnect() {
            return self.requester.closed(&Reason::refused(Refusal::Truncated), context);
        }
        self.requester.closed(reason, context);
    }
}
