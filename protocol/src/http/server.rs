//! The server's session.

mod requests;

use std::sync::Arc;

use super::fields::Progress;
use super::incoming::Incoming;
use super::outgoing::Stage as Sent;
use super::response::Exchange;
use super::{BodyLength, Options, Refusal, Response, Service};
use crate::planted::{self, Planted};
use crate::{Buffer, Cause, Context, Flow, Output, Reason, Session};

/// The key of the timeout that [`Server`] and [`Client`](super::Client) set for themselves.
pub const TIMEOUT_KEY: u8 = 255;

/// How far the request has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request is in progress. The next head may have arrived in part.
    Head,
    /// The head was delivered, and the body has not ended.
    Body,
    /// The request was read, and its response is not complete.
    Answer,
}

/// A server of HTTP/1.1 (RFC 9112) for one connection: a [`Session`] that delivers requests to a
/// [`Service`].
///
/// One request is delivered at a time. Requests that a client sends without waiting for the responses
/// (pipelining) wait in the input, and are answered in order. What is not a request is refused
/// ([`Service::refused`]), as is what two programs could understand in different ways.
///
/// A connection that waits for a request costs nothing but the size of this value. It sets a timeout
/// only when a request has arrived in part. How long it may be idle is a limit of the loop.
#[derive(Debug)]
pub struct Server<S> {
    service: S,
    options: Arc<Options>,
    exchange: Exchange,
    incoming: Incoming,
    /// In a head or trailers: how far their end has been searched for.
    progress: Progress,
    /// How many bytes of the body had been taken when the timer was set.
    mark: u64,
    requests: u32,
    stage: Stage,
    /// The service pauses.
    is_paused: bool,
    /// The timer is set.
    is_timed: bool,
    /// An empty line was skipped before the head.
    has_skipped: bool,
    is_stopping: bool,
    /// The client has ended its stream, and the service has not been told.
    is_hung_up: bool,
    /// The link knows that an end of the connection would pass for the end of the body.
    is_open_ended: bool,
}

/// What comes after a step.
enum Next {
    Step,
    Starve,
    Return(Flow),
}

impl<S> Server<S> {
    /// Returns a server for a connection that has not begun.
    pub fn new(service: S, options: Arc<Options>) -> Self {
        Self {
            service,
            options,
            exchange: Exchange::REFUSED,
            incoming: Incoming::new(BodyLength::Known(0)),
            progress: Progress::default(),
            mark: 0,
            requests: 0,
            stage: Stage::Head,
            is_paused: false,
            is_timed: false,
            has_skipped: false,
            is_stopping: false,
            is_hung_up: false,
            is_open_ended: false,
        }
    }

    /// Returns the service, for tests and for drivers that inspect it.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// Returns the service, for the session that follows in an [`Upgrade`](crate::Upgrade).
    pub fn into_service(self) -> S {
        self.service
    }

    /// Calls the service.
    #[inline]
    fn call<A, T>(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_, A>,
        call: impl FnOnce(&mut S, &mut Response<'_>, &mut Context<'_, A>) -> T,
    ) -> T {
        let Self { service, exchange, options, .. } = self;
        let mut response = Response::new(output, exchange, options, context.now);
        call(service, &mut response, context)
    }

    /// Carries out what the service has returned.
    #[inline]
    fn settle(&mut self, flow: Flow) -> Result<Next, Reason> {
        let outgoing = &self.exchange.outgoing;
        if flow == Flow::Continue && outgoing.bug.is_none() && outgoing.stage != Sent::Head {
            return Ok(Next::Step);
        }
        self.settle_unusual(flow)
    }

    #[cold]
    fn settle_unusual(&mut self, flow: Flow) -> Result<Next, Reason> {
        let outgoing = &self.exchange.outgoing;
        if let Some(bug) = outgoing.bug {
            return Err(Reason::refused(bug.text()));
        }
        if outgoing.stage == Sent::Head {
            return Err(Reason::refused(
                "bug in the service: it did not end the head of a response",
            ));
        }
        match flow {
            Flow::Continue => Ok(Next::Step),
            Flow::Pause => {
                self.is_paused = true;
                Ok(Next::Step)
            }
            Flow::Close if outgoing.is_begun() && !outgoing.is_finished() => {
                Err(Reason::refused("the service closed before its response was complete"))
            }
            Flow::Close => Ok(Next::Return(Flow::Close)),
            Flow::Upgrade if self.exchange.upgrades && self.is_read() => {
                Ok(Next::Return(Flow::Upgrade))
            }
            Flow::Upgrade => {
                Err(Reason::refused("bug in the service: it upgrades without such a response"))
            }
        }
    }

    /// Returns whether the whole request has been read.
    fn is_read(&self) -> bool {
        self.stage == Stage::Answer || self.incoming.is_empty()
    }

    /// Returns whether the service owes a response.
    fn is_owed(&self) -> bool {
        self.stage != Stage::Head && !self.exchange.outgoing.is_finished()
    }

    fn unset_timer<A>(&mut self, context: &mut Context<'_, A>) {
        if std::mem::take(&mut self.is_timed) {
            context.effects.set_timeout(TIMEOUT_KEY, None);
        }
    }
}

impl<S> Server<S> {
    /// Tells the service why it is called. Returns what comes next.
    #[cold]
    fn tell<A>(
        &mut self,
        input: &Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        S: Service<A>,
    {
        let is_called = self.stage != Stage::Head;
        match context.cause {
            // It is never saved, so nothing restores it.
            Cause::Opened | Cause::Restored | Cause::Input => Ok(Next::Step),
            Cause::Woken if is_called || self.is_paused => {
                let flow = self.call(output, context, S::resume);
                self.is_paused &= flow != Flow::Continue;
                self.settle(flow)
            }
            Cause::Timeout(TIMEOUT_KEY) => self.time_out(input, output, context),
            Cause::Timeout(key) => {
                let flow = self.call(output, context, |service, response, context| {
                    service.timeout(key, response, context)
                });
                self.is_paused &= flow != Flow::Continue;
                self.settle(flow)
            }
            Cause::Drained if self.is_owed() => {
                let flow = self.call(output, context, S::drained);
                self.settle(flow)
            }
            Cause::Stopping => {
                self.is_stopping = true;
                if !is_called && input.is_empty() {
                    return Ok(Next::Return(Flow::Close));
                }
                self.exchange.closes = true;
                let flow = match is_called {
                    true => self.call(output, context, S::stopping),
                    false => Flow::Continue,
                };
                self.settle(flow)
            }
            Cause::HungUp => {
                self.is_hung_up = true;
                Ok(Next::Step)
            }
            Cause::Woken | Cause::Drained => Ok(Next::Step),
        }
    }

    /// Refuses a request that has not arrived in time.
    fn time_out<A>(
        &mut self,
        input: &Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        S: Service<A>,
    {
        self.is_timed = false;
        match self.stage {
            Stage::Head if !input.is_empty() => {
                Err(self.refuse(Refusal::HeadTimeout, output, context))
            }
            Stage::Body => {
                let is_awaited = !self.is_paused && output.len() < context.limits.output_high;
                let progress = self.incoming.taken() - self.mark;
                if is_awaited && progress < self.options.body_progress_min {
                    return Err(self.refuse(Refusal::BodyTimeout, output, context));
                }
                self.set_timer(context);
                Ok(Next::Step)
            }
            Stage::Head | Stage::Answer => Ok(Next::Step),
        }
    }

    /// Limits the time in which the rest of the head, or more of the body, has to arrive.
    #[cold]
    fn set_timer<A>(&mut self, context: &mut Context<'_, A>) {
        let time = match self.stage {
            Stage::Head => self.options.head_timeout,
            Stage::Body | Stage::Answer => self.options.body_timeout,
        };
        self.is_timed = true;
        self.mark = self.incoming.taken();
        context.effects.set_timeout(TIMEOUT_KEY, Some(time));
    }

    /// Takes steps until more input is needed, or something else has to happen.
    #[inline]
    fn go_on<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason>
    where
        S: Service<A>,
    {
        let mut next = match context.cause {
            Cause::Input => Next::Step,
            _ => self.tell(input, output, context)?,
        };
        loop {
            match next {
                Next::Step => {}
                Next::Starve => return self.starve(input, context),
                Next::Return(flow) => return Ok(flow),
            }
            // Law 6: a full output stops the delivery until it drains.
            if self.is_paused || output.len() >= context.limits.output_high {
                next = self.pause(output, context)?;
                continue;
            }
            next = match self.stage {
                Stage::Head => self.take_head(input, output, context)?,
                Stage::Body => self.take_body(input, output, context)?,
                Stage::Answer if !self.exchange.outgoing.is_finished() => {
                    self.pause(output, context)?
                }
                Stage::Answer if self.exchange.upgrades => {
                    let text = "bug in the service: it switches protocols and does not upgrade";
                    return Err(Reason::refused(text));
                }
                Stage::Answer if self.exchange.closes => return Ok(Flow::Close),
                Stage::Answer => {
                    if planted::is(Planted::RestDropped) && context.cause != Cause::Input {
                        input.clear();
                    }
                    self.stage = Stage::Head;
                    Next::Step
                }
            };
        }
    }

    /// Waits for something other than input. Tells the service first if the client has hung up.
    #[inline]
    fn pause<A>(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        S: Service<A>,
    {
        if !self.is_hung_up || !self.is_owed() {
            return Ok(Next::Return(Flow::Pause));
        }
        self.is_hung_up = false;
        let flow = self.call(output, context, S::hung_up);
        self.settle(flow)
    }

    /// Waits for input, or ends with it.
    #[inline]
    fn starve<A>(&mut self, input: &Buffer, context: &mut Context<'_, A>) -> Result<Flow, Reason> {
        let is_between = self.stage == Stage::Head && input.is_empty();
        if context.input_ended {
            return if is_between {
                Ok(Flow::Close)
            } else {
                Err(Reason::refused(Refusal::Truncated))
            };
        }
        if !is_between && !self.is_timed {
            self.set_timer(context);
        }
        Ok(Flow::Continue)
    }
}

impl<A, S: Service<A>> Session<A> for Server<S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        let result = self.go_on(input, output, context);
        let is_open_ended = self.exchange.outgoing.is_open_ended();
        if is_open_ended != self.is_open_ended {
            self.is_open_ended = is_open_ended;
            context.effects.set_incomplete(is_open_ended);
        }
        result
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        self.service.closed(reason, context);
    }
}
