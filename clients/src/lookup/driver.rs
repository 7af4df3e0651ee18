//! The loop: begins questions, opens sockets, and watches the time.

use std::io;

use reactor::{BackendKind, Cx, Expired, Handler, LoopCx, LoopLimits, Reactor, TimerId};

use super::engine::{Lookup, Plan};
use super::options::Form;
use super::tally::Tally;
use super::{App, Asks, exchange, show};
use crate::pipes::{self, Pipes};
use crate::{Failure, signals_to_end};

/// How all questions have ended.
pub(super) struct Ended {
    pub(super) tally: Tally,
    pub(super) was_interrupted: bool,
}

/// Asks the questions, and prints the answers as they arrive.
///
/// # Errors
/// When the loop cannot run, or standard output fails.
pub(super) fn run(plan: Plan, asks: Asks) -> Result<Ended, Failure> {
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let is_single = plan.is_single;
    let mut app = Pipes::new(Lookup::new(plan, asks));
    let options = &app.tool.plan.options;
    if options.form == Form::Full && options.shown.command {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let heading = show::heading(&arguments, app.tool.plan.servers.len());
        app.down.extend_from_slice(heading.as_bytes());
    }
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    pipes::open_output(&mut cx)?;
    let asker = cx.spawn(Asker { timer: None })?;
    cx.app.connection = asker;
    cx.wake(asker);
    if !is_single {
        cx.on_signals(&signals_to_end(), move |_, cx| match cx.app.tool.is_interrupted {
            true => cx.stop(),
            false => {
                (cx.app.tool.is_interrupted, cx.app.tool.is_exhausted) = (true, true);
                cx.wake(asker);
            }
        })?;
    }
    reactor.run()?;
    match reactor.app.failure.take() {
        Some(failure) => Err(failure),
        None => {
            let lookup = &reactor.app.tool;
            Ok(Ended { tally: lookup.tally.clone(), was_interrupted: lookup.is_interrupted })
        }
    }
}

/// Does what has to be done between messages. It is woken when there may be something: a question is
/// over, a socket has ended, or standard output has room again.
struct Asker {
    timer: Option<TimerId>,
}

impl Asker {
    fn go_on(&mut self, cx: &mut Cx<'_, App>) {
        let (now, before) = (cx.now(), cx.app.down.len());
        let app = &mut *cx.app;
        app.tool.expire(now, &mut app.down);
        if !app.is_full() {
            app.tool.begin(now);
        }
        send_all(&mut cx.outside());
        while let Some(token) = cx.app.tool.take_spent() {
            cx.close(token);
        }
        let is_over = cx.app.tool.is_done() && !cx.app.down_ended;
        cx.app.down_ended |= is_over;
        // The output wakes this source in turn, so it is woken only when there is more for it.
        if is_over || cx.app.down.len() > before {
            let output = cx.app.output;
            cx.wake(output);
        }
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
        if let Some(at) = cx.app.tool.next_event(cx.app.is_full()) {
            self.timer = Some(cx.set_timer(at.saturating_duration_since(now), None, 0));
        }
    }
}

/// Sends every question that waits for that.
fn send_all(cx: &mut LoopCx<'_, App>) {
    let now = cx.now();
    while let Some(target) = cx.app.tool.next_target() {
        let channel = match cx.app.tool.channel_for(target) {
            Some(channel) => channel,
            None => {
                let channel = cx.app.tool.add_channel(target);
                match exchange::open(channel, target, cx) {
                    Ok(token) => cx.app.tool.set_token(channel, token),
                    Err(error) => {
                        let app = &mut *cx.app;
                        app.tool.channels.remove(&channel);
                        app.tool.fail_next(&error.to_string(), now, &mut app.down);
                        continue;
                    }
                }
                channel
            }
        };
        if let Some(token) = cx.app.tool.send(channel, now) {
            cx.wake(token);
        }
    }
}

impl Handler<App> for Asker {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        self.go_on(cx);
        Ok(())
    }

    fn timer(&mut self, _expired: Expired, cx: &mut Cx<'_, App>) -> io::Result<()> {
        self.timer = None;
        self.go_on(cx);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "clients::lookup::Asker"
    }
}
