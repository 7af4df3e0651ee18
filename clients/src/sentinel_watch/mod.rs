//! Watches masters, replicas and sentinels, and shows what all of them say.

mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reactor::{BackendKind, ClientOptions, LoopCx, LoopLimits, NotSent, Reactor, Unanswered};

use crate::output::{complain, print};
use crate::resp::{Answer, Cause, Client, Command, Error, Message, Options};
use crate::sentinel::{
    HELLO_CHANNEL, Hello, Kind, ParseError, Place, Replication, Report, Row, SentinelOptions,
    State, Status, View,
};
use crate::{Failure, signals_to_end};
pub use show::Form;

/// How often a terminal is redrawn at most.
const REDRAW: Duration = Duration::from_millis(200);

/// How many rounds it takes until everything is known: the sentinels, what they know, and that. With
/// some more, what does not answer has failed.
const ROUNDS: (usize, usize) = (3, 6);

/// How long connections have to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is watched, and how it is shown.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The name of the master. `None`: all that the sentinels know.
    pub name: Option<String>,
    /// Where the sentinels are. One is enough to find the others.
    pub sentinels: Vec<Place>,
    /// How often each server and each sentinel is asked.
    pub interval: Duration,
    /// Whether everything is shown once, and the tool ends.
    pub once: bool,
    /// How it is shown.
    pub form: Form,
    /// The passwords.
    pub options: SentinelOptions,
}

/// One server or sentinel that is asked.
struct Link {
    client: Client<App>,
    is_sentinel: bool,
    /// How long the last ping took.
    ping: Duration,
    /// A question has no answer yet.
    is_asked: bool,
    /// Whether the hello channel is subscribed to, or is going to be.
    is_subscribed: bool,
}

struct App {
    watch: Watch,
    view: View,
    links: BTreeMap<Place, Link>,
    /// What was shown of each place of each group.
    shown: BTreeMap<(String, Place), (Kind, Status)>,
    rounds: usize,
    is_changed: bool,
    failure: Option<Failure>,
}

/// Watches until `SIGINT`, `SIGTERM` or `SIGHUP`, or shows everything once. Returns whether all is
/// well, as far as it was last seen: there is a master, everything answers, and no sentinel considers
/// anything down.
///
/// # Errors
/// Fails if the loop cannot run, or standard output fails.
pub fn run(watch: Watch) -> Result<bool, Failure> {
    let view = View::new(watch.name.as_deref(), watch.sentinels.iter().cloned());
    let (interval, is_screen) = (watch.interval, watch.form == Form::Screen && !watch.once);
    let app = App {
        watch,
        view,
        links: BTreeMap::new(),
        shown: BTreeMap::new(),
        rounds: 0,
        is_changed: true,
        failure: None,
    };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.on_signals(&signals_to_end(), |_, cx| cx.stop_gracefully(PATIENCE))?;
    cx.every(interval, |_, cx| ask_all(cx))?;
    if is_screen {
        cx.every(REDRAW, |_, cx| redraw(cx))?;
    }
    ask_all(&mut cx);
    reactor.run()?;
    let App { view, failure, .. } = &mut reactor.app;
    match failure.take() {
        Some(failure) => Err(failure),
        None => Ok(is_well(&view.rows(Instant::now()))),
    }
}

/// Returns whether all is well.
fn is_well(rows: &[Row]) -> bool {
    let is_up = |row: &Row| row.status.state == State::Up && row.status.down_for.is_empty();
    let groups: BTreeSet<&str> = rows.iter().map(|row| row.master.as_str()).collect();
    let has_master = |name: &&str| {
        let is_master = |row: &Row| row.kind == Kind::Master && row.status.role == Some("master");
        rows.iter().any(|row| row.master == **name && is_master(row))
    };
    !groups.is_empty() && groups.iter().all(has_master) && rows.iter().all(is_up)
}

/// Asks everything that is known, and ends what is known no more.
fn ask_all(cx: &mut LoopCx<'_, App>) {
    if cx.app.watch.once && show_once(cx) {
        return;
    }
    cx.app.rounds += 1;
    if cx.app.rounds == ROUNDS.1 {
        explain_silence(cx.app);
    }
    let servers = cx.app.view.server_places().into_iter().map(|place| (place, false));
    let sentinels = cx.app.view.sentinel_places().cloned().map(|place| (place, true));
    let wanted: BTreeMap<Place, bool> = servers.chain(sentinels).collect();
    cx.app.links.retain(|place, link| wanted.get(place) == Some(&link.is_sentinel));
    for (place, is_sentinel) in wanted {
        match link(&place, is_sentinel, cx) {
            Ok(()) => ask(&place, cx),
            Err(error) => cx.app.view.failed(&place, reason(&error)),
        }
    }
    report(cx);
}

/// Says why there are no lines, if no sentinel has named a master by now.
fn explain_silence(app: &App) {
    let is_silent = app.watch.form != Form::Screen && app.view.names().is_empty();
    if is_silent {
        complain("sentinel-watch: no sentinel has named a master yet");
        for (place, why) in app.view.failed_sentinels() {
            complain(format_args!("sentinel-watch: {place}: {}", why.escape_default()));
        }
    }
}

/// Sees to it that there is a client of `place`.
fn link(place: &Place, is_sentinel: bool, cx: &mut LoopCx<'_, App>) -> Result<(), Error> {
    if cx.app.links.contains_key(place) {
        return Ok(());
    }
    let options = &cx.app.watch.options;
    let (resp, asking): (Options, ClientOptions) = match is_sentinel {
        true => (options.of_sentinels(), options.asking()),
        false => (options.of_servers(), options.asking()),
    };
    let client = Client::open(&place.address(), &resp, asking, cx)?;
    client.on_message(|message, cx| {
        if let Message::Published { payload, .. } = message
            && let Ok(hello) = Hello::parse(&String::from_utf8_lossy(&payload))
        {
            let now = cx.now();
            cx.app.view.hello(&hello, now);
        }
    });
    let link = Link {
        client,
        is_sentinel,
        ping: Duration::ZERO,
        is_asked: false,
        is_subscribed: is_sentinel,
    };
    cx.app.links.insert(place.clone(), link);
    Ok(())
}

/// Asks one server or sentinel, unless it owes an answer.
fn ask(place: &Place, cx: &mut LoopCx<'_, App>) {
    let Some(link) = cx.app.links.get_mut(place) else { return };
    if std::mem::replace(&mut link.is_asked, true) {
        return;
    }
    let (client, is_sentinel) = (link.client.clone(), link.is_sentinel);
    if !std::mem::replace(&mut link.is_subscribed, true) {
        let server = place.clone();
        let subscribed =
            client.subscribe([HELLO_CHANNEL], move |result, cx: &mut LoopCx<'_, App>| {
                if let Some(link) = cx.app.links.get_mut(&server) {
                    link.is_subscribed = result.is_ok();
                }
            });
        link.is_subscribed = subscribed.is_ok();
    }
    let (asked, since) = (place.clone(), Instant::now());
    let pinged = client.call(["PING"], move |result, cx| {
        if let (Ok(_), Some(link)) = (result, cx.app.links.get_mut(&asked)) {
            link.ping = since.elapsed();
        }
    });
    let question = match is_sentinel {
        true => Command::new(["SENTINEL", "MASTERS"]),
        false => Command::new(["INFO", "replication"]),
    };
    let asked = place.clone();
    let done = move |result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>| {
        answered(&asked, result, cx);
    };
    let accepted = pinged.and_then(|()| client.execute(question, None, done));
    if let Err(error) = accepted {
        answered(place, Err(error), cx);
    }
}

/// Takes the answer of a server or a sentinel.
fn answered(place: &Place, result: Result<Answer, Error>, cx: &mut LoopCx<'_, App>) {
    let App { view, links, .. } = &mut *cx.app;
    let Some(link) = links.get_mut(place) else { return };
    link.is_asked = false;
    let (is_sentinel, client) = (link.is_sentinel, link.client.clone());
    let taken = match result {
        Err(error) => Err(reason(&error)),
        Ok(answer) if is_sentinel => {
            let masters = Report::parse_all(&answer).map_err(text);
            masters.map(|masters| view.masters(place, masters))
        }
        Ok(answer) => {
            let replication = Replication::parse(answer.as_str().unwrap_or_default());
            replication.map(|it| view.replication(place, it)).map_err(text)
        }
    };
    match taken {
        Ok(()) => view.answered(place, link.ping),
        Err(why) => view.failed(place, why),
    }
    if is_sentinel {
        let names: Vec<String> = view.names_of(place).into_iter().map(str::to_owned).collect();
        names.iter().for_each(|name| ask_about(place, name, &client));
    }
    report(cx);
}

/// Returns why a server does not answer: what has happened to the connection rather than to the
/// question, if that is known.
fn reason(error: &Error) -> String {
    match error.cause() {
        Cause::Unanswered(Unanswered::NotSent(NotSent::Down(Some(why)))) => why.to_string(),
        cause => cause.to_string(),
    }
}

fn text(error: ParseError) -> String {
    error.to_string()
}

/// Asks a sentinel which replicas and other sentinels a master has.
fn ask_about(sentinel: &Place, name: &str, client: &Client<App>) {
    let (sentinel, master) = (sentinel.clone(), name.to_owned());
    let questions = ["REPLICAS", "SENTINELS"].map(|what| Command::new(["SENTINEL", what, name]));
    // If it is not accepted, the next round asks again.
    let _ = client.pipeline(questions, move |answers, cx: &mut LoopCx<'_, App>| {
        let mut reports = answers.into_iter().map(|it| Report::parse_all(&it.ok()?).ok());
        if let (Some(Some(replicas)), Some(Some(others))) = (reports.next(), reports.next()) {
            cx.app.view.replicas(&sentinel, &master, replicas);
            cx.app.view.sentinels(&sentinel, &master, others);
            report(cx);
        }
    });
}

/// Reports what has changed, or marks the screen to be drawn again.
fn report(cx: &mut LoopCx<'_, App>) {
    let now = cx.now();
    let app = &mut *cx.app;
    app.is_changed = true;
    if app.watch.once || app.watch.form == Form::Screen {
        return;
    }
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    for row in app.view.rows(now) {
        let key = (row.master.clone(), row.place.clone());
        seen.insert(key.clone());
        if row.status.state == State::New {
            continue;
        }
        let what = (row.kind, notable(&row.status, app.watch.form));
        let before = app.shown.get(&key);
        if before != Some(&what) {
            let was_down = before.is_some_and(|it| matches!(it.1.state, State::Down(_)));
            text.push_str(&show::line(&row, app.watch.form, was_down));
            app.shown.insert(key, what);
        }
    }
    app.shown.retain(|key, _| seen.contains(key));
    put(text.as_bytes(), cx);
}

/// Returns of a status what is an event when it changes. Another reason for the same state is none.
fn notable(status: &Status, form: Form) -> Status {
    let mut status = status.clone();
    if let State::Down(why) = &mut status.state {
        why.clear();
    }
    if form == Form::Lines {
        // Lines do not show it.
        status.named_by = 0;
    }
    status
}

fn redraw(cx: &mut LoopCx<'_, App>) {
    if !std::mem::take(&mut cx.app.is_changed) {
        return;
    }
    let rows = cx.app.view.rows(cx.now());
    let screen = format!("\x1b[H\x1b[J{}", show::table(&rows, &cx.app.view));
    put(screen.as_bytes(), cx);
}

/// Shows everything if it is known. Returns whether it is.
fn show_once(cx: &mut LoopCx<'_, App>) -> bool {
    let App { rounds, view, watch, .. } = &*cx.app;
    if *rounds < ROUNDS.1 && (*rounds < ROUNDS.0 || !view.is_complete()) {
        return false;
    }
    let rows = view.rows(cx.now());
    let text = match watch.form {
        Form::Json => rows.iter().map(|row| show::line(row, Form::Json, false)).collect(),
        Form::Screen | Form::Lines => show::table(&rows, view),
    };
    put(text.as_bytes(), cx);
    cx.stop_gracefully(PATIENCE);
    true
}

/// Prints text. A failure ends the tool.
fn put(text: &[u8], cx: &mut LoopCx<'_, App>) {
    if !text.is_empty()
        && let Err(failure) = print(text)
    {
        cx.app.failure = Some(failure);
        cx.stop();
    }
}
