//! How responses are delivered.

use super::{Client, Next, Stage};
use crate::http::fields::{FIELDS_MAX, Fields, Line, Progress};
use crate::http::head::{RequestKind, with_room};
use crate::http::incoming::{Incoming, Piece};
use crate::http::request::Sending;
use crate::http::{Refusal, Request, Requester, ResponseHead, Status};
use crate::planted::{self, Planted};
use crate::{Buffer, Context, Flow, Output, Reason};

impl<R> Client<R> {
    /// Delivers the head of a response, if it is there.
    pub(super) fn take_head<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        R: Requester<A>,
    {
        if input.is_empty() {
            return Ok(Next::Starve);
        }
        let fields_max = self.options.fields_max;
        let delivered =
            with_room(fields_max, |lines| self.deliver(lines, input.filled(), output, context));
        match delivered {
            Ok(Some((flow, length))) => {
                input.consume(length);
                self.settle(flow)
            }
            Ok(None) => Ok(Next::Starve),
            Err(refusal) => Err(Reason::refused(refusal)),
        }
    }

    /// Parses a head and calls the requester. Returns its answer and the length of the head.
    fn deliver<A>(
        &mut self,
        lines: &mut [Line],
        bytes: &[u8],
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Option<(Flow, usize)>, Refusal>
    where
        R: Requester<A>,
    {
        let size_max = self.options.head_size_max;
        let too_large =
            |length| if length >= size_max { Err(Refusal::HeadTooLarge) } else { Ok(None) };
        // What is beyond the largest head is never looked at.
        let head = &bytes[..bytes.len().min(size_max)];
        // If a line is wrong, or the head is too large, a line before that may be wrong too.
        let is_short = bytes.len() < size_max;
        if !self.progress.is_new() && is_short && self.progress.find_end(head) == Ok(None) {
            return Ok(None);
        }
        let Some((head, length)) = ResponseHead::parse(head, lines, self.sending.kind)? else {
            self.progress.find_end(head)?;
            return too_large(bytes.len());
        };
        self.progress = Progress::default();
        self.active_at = Some(context.now);
        let status = head.status();
        let is_interim = status.is_informational() && status != Status::SWITCHING_PROTOCOLS;
        if is_interim {
            self.interims += 1;
            if self.interims > self.options.interim_max {
                return Err(Refusal::TooManyInterims);
            }
        } else {
            self.interims = 0;
            self.stage = Stage::Body;
            self.incoming = Incoming::new(head.body());
            self.is_kept = head.is_kept();
            self.upgrades = match self.sending.kind {
                RequestKind::Connect => status.is_success(),
                _ => status == Status::SWITCHING_PROTOCOLS,
            };
        }
        let mut request = Request::new(output, &mut self.sending);
        let flow = match is_interim {
            true => self.requester.informational(&head, &mut request, context),
            false => self.requester.response(&head, &mut request, context),
        };
        Ok(Some((flow, length)))
    }

    /// Delivers what has arrived of the body, and its end.
    pub(super) fn take_body<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        R: Requester<A>,
    {
        if self.upgrades {
            let text = "bug in the requester: it does not upgrade after such a response";
            return Err(Reason::refused(text));
        }
        let piece = self.incoming.next(input.filled()).map_err(Reason::refused)?;
        let pending = match piece {
            Piece::Data(count) if self.incoming.ends_with_stream() => count as u64,
            _ => 0,
        };
        if self.incoming.announced().saturating_add(pending) > self.sending.body_max {
            return Err(Reason::refused(Refusal::BodyTooLarge));
        }
        match piece {
            Piece::Data(count) => {
                self.active_at = Some(context.now);
                let bytes = &mut input.filled_mut()[..count];
                let flow = self.call(output, context, |requester, request, context| {
                    requester.body(bytes, request, context)
                });
                input.consume(count);
                self.incoming.took(count);
                self.settle(flow)
            }
            Piece::Skip(count) => {
                input.consume(count);
                Ok(Next::Step)
            }
            Piece::Starved
                if context.input_ended
                    && (self.incoming.ends_with_stream() || planted::is(Planted::CutIsWhole)) =>
            {
                self.end_response(Fields::EMPTY, output, context)
            }
            Piece::Starved => Ok(Next::Starve),
            Piece::End(count) => {
                input.consume(count);
                self.end_response(Fields::EMPTY, output, context)
            }
            Piece::Trailers => {
                self.take_trailers(input, output, context).map_err(Reason::refused)?
            }
        }
    }

    fn take_trailers<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Result<Next, Reason>, Refusal>
    where
        R: Requester<A>,
    {
        let mut lines = [Line::default(); FIELDS_MAX];
        let lines = &mut lines[..self.options.fields_max.min(FIELDS_MAX)];
        let size_max = self.options.head_size_max;
        let found = self.progress.find_trailers(input.filled(), size_max, lines)?;
        let Some((length, count)) = found else { return Ok(Ok(Next::Starve)) };
        let section = &input.filled()[..length];
        let next = self.end_response(Fields::new(section, &lines[..count]), output, context);
        input.consume(length);
        Ok(next)
    }

    /// Tells the requester that its response is complete, and lets it write the next request if the
    /// connection is kept.
    fn end_response<A>(
        &mut self,
        trailers: Fields<'_>,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Next, Reason>
    where
        R: Requester<A>,
    {
        let is_written = self.sending.outgoing.is_finished() || planted::is(Planted::UnsentKept);
        let is_kept = self.is_kept && is_written && !self.sending.closes && !self.is_stopping;
        let flow = self.call(output, context, |requester, request, context| {
            requester.end(trailers, is_kept, request, context)
        });
        let next = self.settle(flow)?;
        self.stage = Stage::Idle;
        self.sending = Sending::new(self.options.body_size_max);
        if let Next::Return(flow) = next {
            return Ok(Next::Return(flow));
        }
        if !is_kept {
            return Ok(Next::Return(Flow::Close));
        }
        // A requester that pauses is asked for its next request when it is woken.
        if self.is_paused {
            return Ok(Next::Return(Flow::Pause));
        }
        self.make_ready(output, context)
    }
}
