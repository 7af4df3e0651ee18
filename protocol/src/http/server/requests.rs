//! How requests are delivered.

use super::{Next, Server, Stage};
use crate::http::fields::{FIELDS_MAX, FIELDS_USUAL, Fields, Line, Progress};
use crate::http::incoming::{Incoming, Piece};
use crate::http::response::Exchange;
use crate::http::{Refusal, RequestHead, Response, Service};
use crate::{Buffer, Context, Flow, Output, Reason};

impl<S> Server<S> {
    /// Delivers the head of a request, if it is there.
    #[inline]
    pub(super) fn take_head<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        S: Service<A>,
    {
        if input.is_empty() {
            return Ok(Next::Starve);
        }
        let mut lines = [Line::default(); FIELDS_USUAL];
        let most = self.options.fields_max;
        let delivered =
            match self.deliver(&mut lines[..FIELDS_USUAL.min(most)], input, output, context) {
                Err(Refusal::TooManyFields) if most > FIELDS_USUAL => {
                    self.deliver_large(input, output, context)
                }
                delivered => delivered,
            };
        match delivered {
            Ok(Some((flow, length))) => {
                input.consume(length);
                self.unset_timer(context);
                self.settle(flow)
            }
            Ok(None) => Ok(Next::Starve),
            Err(refusal) => Err(self.refuse(refusal, output, context)),
        }
    }

    #[cold]
    #[inline(never)]
    fn deliver_large<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Option<(Flow, usize)>, Refusal>
    where
        S: Service<A>,
    {
        let mut lines = [Line::default(); FIELDS_MAX];
        let most = self.options.fields_max.min(FIELDS_MAX);
        self.deliver(&mut lines[..most], input, output, context)
    }

    /// Parses a head and calls the service. Returns its answer and the length of the head.
    fn deliver<A>(
        &mut self,
        lines: &mut [Line],
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Option<(Flow, usize)>, Refusal>
    where
        S: Service<A>,
    {
        // Some clients send an empty line after a body (RFC 9112 section 2.2).
        if !self.has_skipped && input.filled().starts_with(b"\r\n") {
            input.consume(2);
            self.has_skipped = true;
            self.progress = Progress::default();
        }
        // What is beyond the largest head is never looked at.
        let bytes = &input.filled()[..input.len().min(self.options.head_size_max)];
        if !self.progress.is_new() {
            let had_line = self.progress.has_line();
            let is_due = match self.progress.find_end(bytes) {
                // The first line is checked as soon as it is there. What is too large is parsed as well.
                Ok(None) => {
                    !had_line && self.progress.has_line() || self.check_size(input.len()).is_err()
                }
                // Of a line that is wrong, one before it may be wrong too.
                Ok(Some(_)) | Err(_) => true,
            };
            if !is_due {
                return Ok(None);
            }
        }
        let target_size_max = self.options.target_size_max;
        let Some((head, length)) = RequestHead::parse(bytes, lines, target_size_max)? else {
            self.progress.find_end(bytes)?;
            return self.check_size(input.len()).map(|()| None);
        };
        self.progress = Progress::default();
        self.exchange = Exchange::new(&head, &self.options);
        self.incoming = Incoming::new(head.body());
        self.requests += 1;
        self.exchange.closes |= self.is_stopping || self.requests >= self.options.requests_max;
        self.stage = Stage::Body;
        self.has_skipped = false;
        self.mark = 0;
        let Self { service, exchange, options, .. } = self;
        let mut response = Response::new(output, exchange, options, context.now);
        Ok(Some((service.request(&head, &mut response, context), length)))
    }

    /// Refuses an incomplete head of `length` bytes if it is too large.
    fn check_size(&self, length: usize) -> Result<(), Refusal> {
        if !self.progress.has_line() && length > RequestHead::line_max(self.options.target_size_max)
        {
            return Err(Refusal::TargetTooLong);
        }
        if length >= self.options.head_size_max {
            let has_line = self.progress.has_line();
            return Err(if has_line { Refusal::HeadTooLarge } else { Refusal::TargetTooLong });
        }
        Ok(())
    }

    /// Delivers what has arrived of the body, and its end.
    pub(super) fn take_body<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        S: Service<A>,
    {
        let piece = match self.incoming.next(input.filled()) {
            Ok(piece) => piece,
            Err(refusal) => return Err(self.refuse(refusal, output, context)),
        };
        if let Some(flow) = self.check_body(output, context)? {
            return Ok(Next::Return(flow));
        }
        match piece {
            Piece::Data(count) => {
                self.exchange.expects = false;
                let bytes = &mut input.filled_mut()[..count];
                let flow = self.call(output, context, |service, response, context| {
                    service.body(bytes, response, context)
                });
                input.consume(count);
                self.incoming.took(count);
                self.settle(flow)
            }
            Piece::Skip(count) => {
                input.consume(count);
                Ok(Next::Step)
            }
            Piece::Starved => {
                if self.exchange.expects && !self.exchange.outgoing.is_begun() {
                    self.exchange.expects = false;
                    output.append(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                Ok(Next::Starve)
            }
            Piece::End(count) => {
                input.consume(count);
                self.end_request(Fields::EMPTY, output, context)
            }
            Piece::Trailers => match self.take_trailers(input, output, context) {
                Ok(next) => next,
                Err(refusal) => Err(self.refuse(refusal, output, context)),
            },
        }
    }

    /// Checks the size of the body. Returns what to do instead if the body is not to be read.
    #[inline]
    fn check_body<A>(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Option<Flow>, Reason>
    where
        S: Service<A>,
    {
        if !self.exchange.outgoing.is_finished() {
            if self.incoming.announced() > self.exchange.body_max {
                return Err(self.refuse(Refusal::BodyTooLarge, output, context));
            }
            return Ok(None);
        }
        if self.incoming.is_empty() {
            return Ok(None);
        }
        let answered_at = &mut self.exchange.answered_at;
        *answered_at = (*answered_at).min(self.incoming.taken());
        let dropped = self.incoming.announced() - *answered_at;
        if self.exchange.expects || dropped > self.options.discard_max {
            return Ok(Some(Flow::Close));
        }
        Ok(None)
    }

    #[cold]
    fn take_trailers<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Result<Next, Reason>, Refusal>
    where
        S: Service<A>,
    {
        let mut lines = [Line::default(); FIELDS_MAX];
        let lines = &mut lines[..self.options.fields_max.min(FIELDS_MAX)];
        let size_max = self.options.head_size_max;
        let found = self.progress.find_trailers(input.filled(), size_max, lines)?;
        let Some((length, count)) = found else { return Ok(Ok(Next::Starve)) };
        let section = &input.filled()[..length];
        let next = self.end_request(Fields::new(section, &lines[..count]), output, context);
        input.consume(length);
        Ok(next)
    }

    /// Tells the service that the request has ended.
    #[inline]
    fn end_request<A>(
        &mut self,
        trailers: Fields<'_>,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        S: Service<A>,
    {
        self.unset_timer(context);
        self.stage = Stage::Answer;
        let flow = self.call(output, context, |service, response, context| {
            service.end(trailers, response, context)
        });
        self.settle(flow)
    }

    /// Answers what is refused, if nothing of an answer was sent yet. Returns the reason for the end
    /// of the connection.
    #[cold]
    pub(super) fn refuse<A>(
        &mut self,
        refusal: Refusal,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Reason
    where
        S: Service<A>,
    {
        if self.stage == Stage::Head {
            self.exchange = Exchange::REFUSED;
        }
        self.exchange.closes = true;
        if !self.exchange.outgoing.is_begun() {
            self.call(output, context, |service, response, context| {
                service.refused(refusal, response, context);
            });
        }
        Reason::refused(refusal)
    }
}
