//! All transfers of one call, on one loop.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use reactor::{BackendKind, LoopCx, LoopLimits, Reactor};

use super::exit::{Failed, INTERRUPTED};
use super::file::Target;
use super::options::Offset;
use super::plan::Plan;
use super::progress::{Board, Progress};
use super::stdin::Standard;
use super::transfer::Transfer;
use crate::http::{Body, Client, ExchangeId, Options, Request, shown};
use crate::output::complain;
use crate::signals_to_end;

/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// What all transfers share.
pub(super) struct Settings {
    /// The URLs as the user wrote them, for messages.
    pub(super) urls: Vec<String>,
    pub(super) continue_at: Option<Offset>,
    pub(super) max_filesize: Option<u64>,
    pub(super) any_status: bool,
    /// Heads are written before bodies.
    pub(super) shows_heads: bool,
    pub(super) decodes: bool,
    pub(super) is_silent: bool,
    pub(super) is_verbose: bool,
}

/// A transfer that has not begun.
pub(super) struct Planned {
    pub(super) place: usize,
    pub(super) request: Request,
    pub(super) target: Target,
}

/// The state of the loop.
pub(super) struct Run {
    client: Option<Client<Run>>,
    settings: Arc<Settings>,
    waiting: VecDeque<Planned>,
    running: Vec<(usize, ExchangeId)>,
    progress: Vec<Option<Progress>>,
    results: Vec<Option<Result<(), Failed>>>,
    board: Board,
    is_drawn: bool,
    pub(super) is_interrupted: bool,
}

impl Run {
    /// Prints lines to standard error, above the progress.
    pub(super) fn print(&mut self, lines: impl Iterator<Item = String>) {
        self.board.clear();
        lines.for_each(complain);
    }

    /// Prints a message, unless the user wants none.
    pub(super) fn complain(&mut self, text: &str) {
        if !self.settings.is_silent && !text.is_empty() {
            self.print([format!("fetch: {text}")].into_iter());
        }
    }

    /// Records that the body of a response begins.
    pub(super) fn begin(&mut self, place: usize, from: u64, total: Option<u64>) {
        if let Some(progress) = &mut self.progress[place] {
            progress.from = from;
            progress.received = 0;
            progress.total = total.or(progress.total.filter(|_| progress.sent > 0));
        }
    }

    pub(super) fn received(&mut self, place: usize, count: u64) {
        if let Some(progress) = &mut self.progress[place] {
            progress.received += count;
        }
    }

    pub(super) fn sent(&mut self, place: usize, count: u64) {
        if let Some(progress) = &mut self.progress[place] {
            progress.sent += count;
        }
    }

    fn draw(&mut self, now: std::time::Instant) {
        let lines: Vec<String> = self
            .running
            .iter()
            .filter_map(|(it, _)| Some(self.progress[*it].as_ref()?.line(now)))
            .collect();
        self.board.draw(&lines);
    }

    /// Records the end of a transfer, and begins the next one.
    pub(super) fn finished(place: usize, result: Result<(), Failed>, cx: &mut LoopCx<'_, Run>) {
        let now = cx.now();
        cx.app.running.retain(|(it, _)| *it != place);
        if let Some(progress) = cx.app.progress[place].take().filter(|_| cx.app.is_drawn) {
            cx.app.print([progress.line(now)].into_iter());
        }
        if let Err(failed) = &result {
            let text = failed.text.clone();
            cx.app.complain(&text);
        }
        cx.app.results[place] = Some(result);
        Self::begin_next(cx);
    }

    /// Begins the next transfer. Stops the loop when there is none left.
    fn begin_next(cx: &mut LoopCx<'_, Run>) {
        let next = if cx.app.is_interrupted { None } else { cx.app.waiting.pop_front() };
        let Some(planned) = next else {
            if cx.app.running.is_empty() {
                cx.app.board.clear();
                cx.stop();
            }
            return;
        };
        let place = planned.place;
        if let Err(failed) = Self::start(planned, cx) {
            cx.app.complain(&failed.text);
            cx.app.results[place] = Some(Err(failed));
            Self::begin_next(cx);
        }
    }

    fn start(planned: Planned, cx: &mut LoopCx<'_, Run>) -> Result<(), Failed> {
        let Planned { place, mut request, target } = planned;
        let Some(client) = cx.app.client.clone() else { return Ok(()) };
        let settings = Arc::clone(&cx.app.settings);
        let total = match &request.body {
            Body::Empty => None,
            body => body.length(),
        };
        cx.app.progress[place] = Some(Progress {
            name: super::plan::short_name(&target, &settings.urls[place]),
            from: 0,
            received: 0,
            sent: 0,
            total,
            begun: cx.now(),
        });
        if settings.is_verbose {
            cx.app.print([format!("> {} {}", request.method, shown(&request.url))].into_iter());
        }
        let standard = match &request.body {
            Body::Upload(_) => Some(
                Standard::open(client.clone(), cx)
                    .map_err(|error| Failed::new(26, format!("standard input: {error}")))?,
            ),
            _ => None,
        };
        if let Some(standard) = &standard {
            request.body = Body::Upload(Box::new(standard.clone()));
        }
        let transfer = Transfer::new(place, target, &settings, &mut request);
        let id = client.send(request, transfer).map_err(|error| Failed::from(&error))?;
        if let Some(standard) = standard {
            standard.belongs_to(id);
        }
        cx.app.running.push((place, id));
        Ok(())
    }

    /// Ends all transfers: what they have received is kept.
    fn interrupt(cx: &mut LoopCx<'_, Run>) {
        cx.app.is_interrupted = true;
        let Some(client) = cx.app.client.clone() else { return };
        for (_, id) in &cx.app.running {
            client.cancel(*id);
        }
        if cx.app.running.is_empty() {
            cx.stop();
        }
    }
}

/// Runs all transfers of a plan. Returns the exit code.
pub(super) fn run(plan: Plan) -> Result<u8, Failed> {
    let Plan { settings, transfers, options, parallel } = plan;
    let failed = |error: std::io::Error| Failed::new(1, error.to_string());
    let backend = BackendKind::from_env().map_err(|it| Failed::new(2, it.to_string()))?;
    let count = transfers.len();
    let writes_to_terminal =
        transfers.iter().any(|it| it.target == Target::Standard) && std::io::stdout().is_terminal();
    let is_drawn = !settings.is_silent && !writes_to_terminal && std::io::stderr().is_terminal();
    let app = Run {
        client: None,
        settings,
        waiting: transfers.into(),
        running: Vec::new(),
        progress: vec![None; count],
        results: vec![None; count],
        board: Board::default(),
        is_drawn,
        is_interrupted: false,
    };
    let mut reactor =
        Reactor::with_backend(backend.open().map_err(failed)?, LoopLimits::DEFAULT, app)
            .map_err(failed)?;
    start(&mut reactor, options, parallel).map_err(failed)?;
    reactor.run().map_err(failed)?;
    let app = &mut reactor.app;
    app.board.clear();
    let mut results = app.results.iter().flatten();
    let first = results.find_map(|it| it.as_ref().err()).map_or(0, |it| it.code);
    Ok(if app.is_interrupted { INTERRUPTED } else { first })
}

/// Starts the client and the first transfers.
fn start(reactor: &mut Reactor<Run>, options: Options, parallel: usize) -> std::io::Result<()> {
    let mut cx = reactor.cx();
    let client = Client::open(options, &mut cx)?;
    cx.app.client = Some(client);
    cx.on_signals(&signals_to_end(), |_, cx| Run::interrupt(cx))?;
    if cx.app.is_drawn {
        cx.every(DRAW_EVERY, |_, cx| {
            let now = cx.now();
            cx.app.draw(now);
        })?;
    }
    cx.after(Duration::ZERO, move |cx| {
        for _ in 0..parallel {
            Run::begin_next(cx);
        }
    })?;
    Ok(())
}
