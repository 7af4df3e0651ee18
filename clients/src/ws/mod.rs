//! The tool `ws`: standard input and output as messages of WebSocket.

mod exit;
mod feed;
mod options;
mod session;

use std::io::{self, IsTerminal};
use std::time::Duration;

use protocol::Limits;
use protocol::http::ClientOptions;
use protocol::websocket::{Client, Deflate, Options};
use reactor::{BackendKind, LoopCx, LoopLimits, Reactor};
use url::{Position, Url};

use crate::fetch::Failed;
use crate::http::args::field;
use crate::http::{self, Origin, Request, basic, connect, user_of};
use crate::output::complain;
use crate::pipes::{self, Pipes};
use crate::signals_to_end;
pub use options::Cli;
use session::{Messages, Show};

/// How long the server may take to answer the close frame after Ctrl-C.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state of the loop.
type App = Pipes<State>;

/// What `ws` adds to the pipes.
#[derive(Default)]
struct State {
    failed: Option<Failed>,
    /// The user, or a limit of time, has ended it. What is not printed stays so.
    is_ended: bool,
}

impl State {
    /// Records what went wrong, unless something has before.
    fn fail(&mut self, failed: Failed) {
        self.failed.get_or_insert(failed);
    }
}

/// Connects to a server, and carries messages until the connection ends. Prints what goes wrong.
/// Returns the exit code.
pub fn ws(cli: &Cli) -> u8 {
    let Err(failed) = run(cli) else { return 0 };
    if !failed.text.is_empty() {
        complain(format_args!("ws: {}", failed.text));
    }
    failed.code
}

/// Returns the failure of wrong arguments.
fn wrong(error: impl ToString) -> Failed {
    Failed::new(2, error.to_string())
}

fn run(cli: &Cli) -> Result<(), Failed> {
    let url = parse_url(&cli.url).map_err(wrong)?;
    let (session, options) = (session(cli, &url)?, client_options(cli)?);
    let failed = |error: io::Error| Failed::new(1, error.to_string());
    let backend = BackendKind::from_env().map_err(wrong)?.open().map_err(failed)?;
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(backend, limits, Pipes::new(State::default()));
    let reactor = reactor.as_mut().map_err(|error| Failed::new(1, error.to_string()))?;
    let mut cx = reactor.cx();
    limit(cli, &mut cx).map_err(failed)?;
    let connection = connect(session, &url, &options, &mut cx);
    cx.app.connection = connection.map_err(|error| Failed::from(&error))?;
    pipes::open(&mut cx).map_err(failed)?;
    reactor.run().map_err(failed)?;
    let app = &mut reactor.app;
    match (app.tool.failed.take(), app.failure.take()) {
        (Some(failed), _) => Err(failed),
        (None, Some(failure)) => Err(failure.into()),
        (None, None) => Ok(()),
    }
}

/// Ends the tool on signals, and when its time is over.
fn limit(cli: &Cli, cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    cx.on_signals(&signals_to_end(), |_, cx| {
        // A second signal does not wait for the server.
        if cx.app.tool.is_ended {
            cx.stop();
        }
        end(Failed::new(exit::INTERRUPTED, ""), cx);
    })?;
    if let Some(time) = cli.max_time {
        let text = format!("it took longer than {time:?} (--max-time)");
        cx.after(time, move |cx| end(Failed::new(exit::TIME, text), cx))?;
    }
    Ok(())
}

/// Closes the connection, and ends the tool.
fn end(failed: Failed, cx: &mut LoopCx<'_, App>) {
    cx.app.tool.fail(failed);
    cx.app.tool.is_ended = true;
    cx.stop_gracefully(PATIENCE);
}

/// Parses a URL of WebSocket (RFC 6455 section 3), and returns that of HTTP with the same server and
/// path, to which [`http::connect`] connects. A text without a scheme is one of `ws`.
///
/// ```
/// let url = clients::ws::parse_url("wss://one.example/feed?from=7")?;
/// assert_eq!(url.as_str(), "https://one.example/feed?from=7");
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// Says what is wrong with the URL.
pub fn parse_url(text: &str) -> Result<Url, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("ws", text));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "ws" | "http" => "http",
        "wss" | "https" => "https",
        other => {
            let advice = "give ws://HOST:PORT/PATH or wss://HOST:PORT/PATH";
            return Err(format!("{text}: the scheme {other} is not supported: {advice}"));
        }
    };
    let url = http::parse_url(&format!("{scheme}://{rest}"));
    url.map_err(|error| error.to_string().replacen(scheme, &scheme.replacen("http", "ws", 1), 1))
}

/// Returns the session for the arguments.
fn session(cli: &Cli, url: &Url) -> Result<Client<Messages>, Failed> {
    let options = Options {
        message_size_max: cli.message_size_max,
        ping_interval: Some(cli.ping_interval),
        pong_timeout: cli.pong_timeout,
        deflate: cli.compress.then(Deflate::default),
        subprotocols: cli.protocols.clone(),
        ..Options::default()
    };
    let options = options.shared().map_err(wrong)?;
    let time = cli.connect.connect_timeout;
    let http = ClientOptions { head_timeout: time, ..ClientOptions::default() };
    let http = http.shared().map_err(wrong)?;
    let origin = Origin::of(url).map_err(wrong)?;
    let show = match (cli.binary, io::stdout().is_terminal()) {
        (true, _) => Show::Raw,
        (false, true) => Show::Terminal,
        (false, false) => Show::Lines,
    };
    let is_verbose = cli.verbose || io::stdin().is_terminal();
    let peer = origin.to_string().replacen("http", "ws", 1);
    let messages = Messages::new(cli, peer, show, is_verbose);
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let mut session = Client::new(messages, &origin.host_field(), target, options, http);
    for (name, value) in fields(cli, url)? {
        session = session.field(&name, &value);
    }
    Ok(session)
}

/// Returns the fields of the request.
fn fields(cli: &Cli, url: &Url) -> Result<Vec<(String, String)>, Failed> {
    let mut fields = Vec::new();
    for line in &cli.fields {
        let (name, value) = field(line).map_err(wrong)?;
        let lower = name.to_ascii_lowercase();
        let is_own = ["host", "connection", "upgrade"].contains(&lower.as_str());
        if is_own || lower.starts_with("sec-websocket-") {
            return Err(wrong(format!("{name} cannot be set by hand: ws determines it")));
        }
        fields.push((name.to_owned(), value.to_owned()));
    }
    let given = |name: &str| cli.fields.iter().any(|it| is_named(it, name));
    if let Some((user, word)) = user_of(url).filter(|_| !given("authorization")) {
        fields.push(("Authorization".to_owned(), basic(&user, &word)));
    }
    if !given("user-agent") {
        let version = concat!("ws/", env!("CARGO_PKG_VERSION"));
        fields.push(("User-Agent".to_owned(), version.to_owned()));
    }
    fields.extend(cli.origin.iter().map(|origin| ("Origin".to_owned(), origin.clone())));
    let mut request = Request::to("GET", url.clone()).map_err(wrong)?;
    for (name, value) in &fields {
        request = request.field(name, value.as_bytes());
    }
    request.check().map_err(wrong)?;
    let is_token = |it: &&String| http::is_token(it);
    if let Some(name) = cli.protocols.iter().find(|it| !is_token(it)) {
        return Err(wrong(format!("{name:?} is no name of a subprotocol")));
    }
    Ok(fields)
}

/// Returns whether a line is a field of this name.
fn is_named(line: &str, name: &str) -> bool {
    field(line).is_ok_and(|(it, _)| it.eq_ignore_ascii_case(name))
}

/// Returns how the connection is made.
fn client_options(cli: &Cli) -> Result<http::Options, Failed> {
    let limits = Limits {
        output_high: session::output_high(),
        // A message that comes in one frame is held with its head.
        message_size_max: cli.message_size_max.saturating_add(1024),
        // The session waits for the end of the server itself. One that has failed is not waited for.
        linger: Duration::from_millis(500),
        ..Limits::DEFAULT
    };
    let mut options = http::Options { limits, ..http::Options::default() };
    cli.connect.apply("ws", |name| std::env::var(name).ok(), &mut options).map_err(wrong)?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn urls_of_websocket_have_the_origin_of_http() {
        for (text, expected) in [
            ("ws://one.example/a?b", "http://one.example/a?b"),
            ("wss://one.example:444", "https://one.example:444/"),
            ("WS://[::1]:1/x", "http://[::1]:1/x"),
            ("localhost:8080/x", "http://localhost:8080/x"),
        ] {
            assert_eq!(parse_url(text).expect(text).as_str(), expected);
        }
        for text in ["ftp://one.example", "ws://", "wss://a b/", ""] {
            let error = parse_url(text).expect_err(text);
            assert!(error.starts_with(text) && !error.contains("http"), "{error}");
        }
    }

    #[test]
    fn fields_that_would_break_the_handshake_are_refused() {
        let made = |args: &[&str]| {
            let all = ["ws", "ws://user:word@one.example/"].iter().chain(args);
            let cli = Cli::try_parse_from(all).expect("they parse");
            fields(&cli, &parse_url(&cli.url).expect("it is a URL"))
        };
        let names = |args: &[&str]| -> Vec<String> {
            made(args).expect("they fit").into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&[]), ["Authorization", "User-Agent"]);
        let own = ["-H", "authorization: Bearer x", "-H", "User-agent: y", "--origin", "https://a"];
        assert_eq!(names(&own), ["authorization", "User-agent", "Origin"]);
        for args in [
            ["-H", "Host: other"],
            ["-H", "Upgrade: h2c"],
            ["-H", "Sec-WebSocket-Key: x"],
            ["-H", "nonsense"],
            ["-H", "X Y: 1"],
            ["-H", "Content-Length: 1"],
            ["--origin", "a\r\nX: y"],
            ["--protocol", "a b"],
            ["--protocol", ""],
        ] {
            assert_eq!(made(&args).expect_err(args[1]).code, 2);
        }
    }
}
