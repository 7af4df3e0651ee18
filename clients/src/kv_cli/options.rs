//! Parses the arguments as `redis-cli` does.
//!
//! The parser is written by hand because the rules differ from the usual ones: `-h` is a host,
//! options end at the first word that is not an option, and `-r -1` is a number.

use std::time::Duration;

use protocol::resp::text::split;

use super::print::Form;
use super::uri::{self, Uri};
use crate::tls::TlsArgs;

/// The result of parsing the arguments.
#[derive(Clone, Debug)]
pub enum Request {
    /// Run with these settings.
    Run(Box<Settings>),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Refuse the arguments with this message.
    Refused(String),
}

/// The use of standard input as an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandardInput {
    /// Standard input is not an argument.
    No,
    /// It is appended to the arguments (`-x`).
    Last,
    /// It replaces this argument (`-X`).
    Tag(Vec<u8>),
}

/// The mode of operation. If the arguments name several modes, the last one in this list is used,
/// as in `redis-cli`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Runs the commands of the arguments or of standard input.
    Commands,
    /// Lists the names of all keys (`--scan`).
    Scan,
    /// Prints counters of the server repeatedly (`--stat`).
    Stat,
    /// Finds the keys that use the most memory (`--memkeys`).
    MemoryKeys,
    /// Finds the keys with the most elements (`--bigkeys`).
    BigKeys,
    /// Sends standard input, which is RESP, and counts the replies (`--pipe`).
    Pipe,
    /// Measures the latency of the server (`--latency`).
    Latency,
    /// The same, with a new line for each interval (`--latency-history`).
    LatencyHistory,
}

/// The version of RESP to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The version with which a connection starts: RESP2.
    Any,
    /// RESP2 (`-2`).
    Resp2,
    /// RESP3 (`-3`).
    Resp3,
    /// RESP3 if the server supports it. Used for JSON, because RESP3 has maps.
    PreferResp3,
}

/// The settings from the arguments and the environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name or the address of the server.
    pub host: String,
    /// The port of the server.
    pub port: u16,
    /// The path of the Unix socket of the server. It takes precedence over host and port.
    pub socket: Option<String>,
    /// Whether the connection is encrypted (`--tls`, `rediss://`).
    pub tls: bool,
    /// How it is.
    pub tls_args: TlsArgs,
    /// The time limit for connecting.
    pub connect_timeout: Option<Duration>,
    /// How many times to run the command. Forever if negative.
    pub repeat: i64,
    /// The pause between two runs.
    pub interval: Duration,
    /// The database to select.
    pub database: i64,
    /// The user that the password belongs to.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Whether to ask for the password. It replaces any other.
    pub asks_password: bool,
    /// Whether to warn that other users can see the password among the arguments.
    pub warns_of_password: bool,
    /// The form in which replies are printed.
    pub form: Form,
    /// Printed between elements in raw form.
    pub element_delimiter: Vec<u8>,
    /// Printed after a reply in raw form.
    pub reply_delimiter: Vec<u8>,
    /// Whether pushes are printed.
    pub prints_pushes: bool,
    /// The version of RESP.
    pub version: Version,
    /// The use of standard input as an argument.
    pub standard_input: StandardInput,
    /// Whether the arguments contain quotes to parse, besides those of the shell.
    pub quoted_input: bool,
    /// Whether the tool exits with 1 when the reply is an error.
    pub fails_on_error: bool,
    /// The mode of operation.
    pub mode: Mode,
    /// The time limit for the last reply to mass insertion. No limit if None.
    pub pipe_timeout: Option<Duration>,
    /// The pattern that scanned keys have to match. All keys if None.
    pub pattern: Option<Vec<u8>>,
    /// The approximate number of keys that one `SCAN` asks for. The default of the server if None.
    pub scan_count: Option<i64>,
    /// The number of elements from which the memory of a key is estimated. The default of the
    /// server if 0.
    pub memory_samples: i64,
    /// The file of a Lua script (`--eval`). The command contains its keys and arguments.
    pub script: Option<Vec<u8>>,
    /// The command and its arguments, if there are any.
    pub command: Vec<Vec<u8>>,
}

impl Settings {
    /// Creates the settings without arguments. Some defaults depend on whether the output is a
    /// terminal.
    pub fn new(output_is_terminal: bool) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
            tls: false,
            tls_args: TlsArgs::default(),
            connect_timeout: None,
            repeat: 1,
            interval: Duration::ZERO,
            database: 0,
            user: None,
            password: None,
            asks_password: false,
            warns_of_password: false,
            form: if output_is_terminal { Form::Human } else { Form::Raw },
            element_delimiter: b"\n".to_vec(),
            reply_delimiter: b"\n".to_vec(),
            prints_pushes: output_is_terminal,
            version: Version::Any,
            standard_input: StandardInput::No,
            quoted_input: false,
            fails_on_error: false,
            mode: Mode::Commands,
            pipe_timeout: Some(Duration::from_secs(30)),
            pattern: None,
            scan_count: None,
            memory_samples: 0,
            script: None,
            command: Vec::new(),
        }
    }
}

impl Settings {
    /// Overwrites settings with the parts that a URI has.
    fn take(&mut self, uri: Uri) {
        let Uri { tls, user, password, host, port, database } = uri;
        self.tls |= tls;
        self.host = host.unwrap_or(std::mem::take(&mut self.host));
        self.port = port.unwrap_or(self.port);
        self.database = database.unwrap_or(self.database);
        self.user = user.or(self.user.take());
        self.password = password.or(self.password.take());
    }
}

/// Parses the arguments, without the name of the program. `password` is the one of the environment.
///
/// ```
/// use clients::kv_cli::{Request, arguments};
///
/// let words = ["-h", "localhost", "-p", "7000", "-r", "-1", "get", "-p"];
/// let Request::Run(settings) = arguments(words.map(Vec::from), true, None) else { panic!() };
/// assert_eq!((settings.host.as_str(), settings.port, settings.repeat), ("localhost", 7000, -1));
/// assert_eq!(settings.command, [b"get", b"-p".as_slice()]);
/// ```
pub fn arguments(
    words: impl IntoIterator<Item = Vec<u8>>,
    output_is_terminal: bool,
    password: Option<String>,
) -> Request {
    let mut parser = Parser {
        settings: Settings::new(output_is_terminal),
        resp2: false,
        quiet: false,
        unknown_pushes: None,
    };
    let words: Vec<Vec<u8>> = words.into_iter().collect();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let Ok(option) = std::str::from_utf8(word) else { break };
        match parser.option(option, words.get(at + 1).map(Vec::as_slice)) {
            Step::Took(count) => at += count,
            Step::End(request) => return request,
            Step::Unknown if option.starts_with('-') => {
                return Request::Refused(format!(
                    "Unrecognized option or bad number of args for: '{option}'"
                ));
            }
            Step::Unknown => break,
        }
    }
    parser.settings.command = words[at..].to_vec();
    parser.finish(password)
}

/// The result of parsing a word.
enum Step {
    /// It is an option. It takes this many words.
    Took(usize),
    /// Parsing ends with this request.
    End(Request),
    /// It is not an option.
    Unknown,
}

struct Parser {
    settings: Settings,
    resp2: bool,
    quiet: bool,
    unknown_pushes: Option<String>,
}

impl Parser {
    fn option(&mut self, option: &str, value: Option<&[u8]>) -> Step {
        if self.flag(option) {
            return Step::Took(1);
        }
        match (option, value) {
            ("--help", _) | ("-h", None) => Step::End(Request::Help),
            ("--tls-ciphers" | "--tls-ciphersuites", _) => refuse(
                "kv-cli has its own list of cipher suites, which are all secure: leave the option out",
            ),
            ("-v" | "--version", _) => Step::End(Request::Version),
            (_, Some(value)) => self.valued(option, value),
            _ => Step::Unknown,
        }
    }

    /// Handles an option without a value. Returns false if `option` is none.
    fn flag(&mut self, option: &str) -> bool {
        let settings = &mut self.settings;
        match option {
            "-x" => settings.standard_input = StandardInput::Last,
            "-e" => settings.fails_on_error = true,
            "-2" => self.resp2 = true,
            "-3" => settings.version = Version::Resp3,
            "--raw" => settings.form = Form::Raw,
            "--no-raw" => settings.form = Form::Human,
            "--csv" => settings.form = Form::Csv,
            "--json" => self.json(Form::Json),
            "--quoted-json" => self.json(Form::QuotedJson),
            "--quoted-input" => settings.quoted_input = true,
            "--pipe" => self.mode(Mode::Pipe),
            "--scan" => self.mode(Mode::Scan),
            "--stat" => self.mode(Mode::Stat),
            "--bigkeys" => self.mode(Mode::BigKeys),
            "--memkeys" => self.mode(Mode::MemoryKeys),
            "--latency" => self.mode(Mode::Latency),
            "--latency-history" => self.mode(Mode::LatencyHistory),
            "--tls" => settings.tls = true,
            "--insecure" => settings.tls_args.insecure = true,
            "--askpass" => settings.asks_password = true,
            // It has an effect on the cluster manager only.
            "--verbose" => {}
            "--no-auth-warning" => self.quiet = true,
            _ => return false,
        }
        true
    }

    fn mode(&mut self, mode: Mode) {
        self.settings.mode = self.settings.mode.max(mode);
    }

    fn json(&mut self, form: Form) {
        self.settings.form = form;
        if self.settings.version == Version::Any {
            self.settings.version = Version::PreferResp3;
        }
    }

    /// Handles an option with its value.
    fn valued(&mut self, option: &str, value: &[u8]) -> Step {
        let settings = &mut self.settings;
        let text = String::from_utf8_lossy(value);
        match option {
            "-h" => settings.host = text.into_owned(),
            "-p" => match u16::try_from(integer(&text)) {
                Ok(port) => settings.port = port,
                Err(_) => return refuse("Invalid server port."),
            },
            "-s" => settings.socket = Some(text.into_owned()),
            "-t" => match seconds(&text) {
                Some(timeout) => settings.connect_timeout = Some(timeout),
                None => return refuse("Invalid connection timeout for -t."),
            },
            "-r" => settings.repeat = integer(&text),
            "-i" => settings.interval = seconds(&text).unwrap_or_default(),
            "-n" => settings.database = integer(&text),
            "-a" | "--pass" => settings.password = Some(text.into_owned()),
            "--user" => settings.user = Some(text.into_owned()),
            "-u" => match uri::parse(&text) {
                Ok(uri) => settings.take(uri),
                Err(text) => return refuse(&text),
            },
            "--sni" | "--server-name" => settings.tls_args.server_name = Some(text.into_owned()),
            "--cacert" | "--ca" => settings.tls_args.ca = Some(text.as_ref().into()),
            "--cacertdir" => settings.tls_args.ca_folder = Some(text.as_ref().into()),
            "--cert" => settings.tls_args.cert = Some(text.as_ref().into()),
            "--key" => settings.tls_args.key = Some(text.as_ref().into()),
            "--pattern" => settings.pattern = Some(value.to_vec()),
            "--quoted-pattern" => match split(value) {
                Ok(mut words) if words.len() == 1 => settings.pattern = words.pop(),
                _ => return refuse("Invalid quoted string specified for --quoted-pattern."),
            },
            "--count" => settings.scan_count = Some(integer(&text)),
            "--memkeys-samples" => {
                settings.memory_samples = integer(&text);
                self.mode(Mode::MemoryKeys);
            }
            "--eval" => settings.script = Some(value.to_vec()),
            "-X" => settings.standard_input = StandardInput::Tag(value.to_vec()),
            "-d" => settings.element_delimiter = value.to_vec(),
            "-D" => settings.reply_delimiter = value.to_vec(),
            "--pipe-timeout" => {
                let timeout = u64::try_from(integer(&text)).unwrap_or_default();
                settings.pipe_timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
            }
            "--show-pushes" => match text.chars().next() {
                Some('y' | 'Y') => settings.prints_pushes = true,
                Some('n' | 'N') => settings.prints_pushes = false,
                _ => self.unknown_pushes = Some(text.into_owned()),
            },
            _ => return Step::Unknown,
        }
        Step::Took(2)
    }

    fn finish(mut self, password: Option<String>) -> Request {
        let settings = &mut self.settings;
        if let Some(value) = self.unknown_pushes {
            return Request::Refused(format!(
                "Unknown --show-pushes value '{value}' (valid: '[y]es', '[n]o')"
            ));
        }
        if self.resp2 {
            if settings.version == Version::Resp3 {
                return Request::Refused("Options -2 and -3 are mutually exclusive.".to_owned());
            }
            settings.version = Version::Resp2;
        }
        settings.warns_of_password = settings.password.is_some() && !self.quiet;
        settings.password = settings.password.take().or(password);
        Request::Run(Box::new(self.settings))
    }
}

fn refuse(text: &str) -> Step {
    Step::End(Request::Refused(text.to_owned()))
}

/// Parses the number at the start of `text`, like `atoi(3)`. Returns 0 if there is none.
pub(super) fn integer(text: &str) -> i64 {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..sign + digits].trim_start_matches('+');
    let limit = if number.starts_with('-') { i64::MIN } else { i64::MAX };
    if digits == 0 { 0 } else { number.parse().unwrap_or(limit) }
}

/// Parses a number of seconds, which may have a fraction. Returns None for anything else.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Request {
        arguments(line.split_whitespace().map(|word| word.as_bytes().to_vec()), false, None)
    }

    fn run(line: &str) -> Settings {
        match read(line) {
            Request::Run(settings) => *settings,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_end_at_the_command() {
        let settings = run("-n 3 -i 0.25 --csv -x set -n 5");
        assert_eq!((settings.database, settings.form), (3, Form::Csv));
        assert_eq!(settings.interval, Duration::from_millis(250));
        assert_eq!(settings.command.concat(), b"set-n5");
    }

    #[test]
    fn numbers_are_parsed_as_in_c() {
        for (text, number) in [
            ("12x", 12),
            ("x", 0),
            ("-1", -1),
            ("+5", 5),
            ("", 0),
            ("9999999999999999999", i64::MAX),
        ] {
            assert_eq!(integer(text), number, "{text}");
        }
    }

    #[test]
    fn arguments_override_the_environment() {
        let words = || ["-a", "mine"].map(Vec::from);
        let Request::Run(settings) = arguments(words(), true, Some("theirs".to_owned())) else {
            panic!("the arguments are valid")
        };
        assert_eq!(settings.password.as_deref(), Some("mine"));
        assert!(settings.warns_of_password);
        let Request::Run(settings) = arguments([], true, Some("theirs".to_owned())) else {
            panic!("the arguments are valid")
        };
        assert_eq!(settings.password.as_deref(), Some("theirs"));
        assert!(!settings.warns_of_password);
    }

    #[test]
    fn json_prefers_resp3_unless_a_version_is_given() {
        assert_eq!(run("--json").version, Version::PreferResp3);
        assert_eq!(run("-3 --json").version, Version::Resp3);
        assert_eq!(run("--json -3").version, Version::Resp3);
        assert_eq!(run("--json -2").version, Version::Resp2);
    }

    #[test]
    fn the_order_of_modes_does_not_matter() {
        for (line, mode) in [
            ("ping", Mode::Commands),
            ("--scan --stat", Mode::Stat),
            ("--bigkeys --memkeys --scan", Mode::BigKeys),
            ("--memkeys-samples 3", Mode::MemoryKeys),
            ("--latency --pipe", Mode::Latency),
            ("--latency-history --latency", Mode::LatencyHistory),
        ] {
            assert_eq!(run(line).mode, mode, "{line}");
        }
    }

    #[test]
    fn options_of_tls_have_the_names_of_redis_cli_and_of_the_other_tools() {
        for line in [
            "--tls --sni a --cacert b --cert c --key d --insecure ping",
            "-u rediss://h --server-name a --ca b --cert c --key d --insecure ping",
        ] {
            let settings = run(line);
            let args = &settings.tls_args;
            let path = |path: &Option<std::path::PathBuf>| path.clone().expect("it is there");
            assert!(settings.tls && args.insecure, "{line}");
            assert_eq!(args.server_name.as_deref(), Some("a"), "{line}");
            let paths = [&args.ca, &args.cert, &args.key].map(path);
            assert_eq!(paths, ["b", "c", "d"].map(std::path::PathBuf::from), "{line}");
        }
        assert!(!run("ping").tls && run("-u tls://h ping").tls && !run("-u redis://h ping").tls);
        let folder = run("--tls --cacertdir f").tls_args.ca_folder;
        assert_eq!(folder.as_deref(), Some(std::path::Path::new("f")));
    }

    #[test]
    fn a_uri_replaces_only_the_settings_that_it_has() {
        let settings = run("-h other -p 7 -n 2 --user me -u redis://:word@h/3 -p 8");
        assert_eq!((settings.host.as_str(), settings.port, settings.database), ("h", 8, 3));
        assert_eq!(settings.user.as_deref(), Some("me"));
        assert_eq!(settings.password.as_deref(), Some("word"));
        assert!(settings.warns_of_password);
    }

    #[test]
    fn wrong_arguments_are_refused_with_a_message() {
        for (line, words) in [
            ("-p 70000 ping", "Invalid server port."),
            ("-2 -3 ping", "mutually exclusive"),
            ("--nonsense", "Unrecognized option or bad number of args for: '--nonsense'"),
            ("-p", "Unrecognized option or bad number of args for: '-p'"),
            ("-t x", "Invalid connection timeout"),
            ("--tls --tls-ciphers x ping", "leave the option out"),
            ("-u http://h ping", "Invalid URI scheme"),
            ("-u", "Unrecognized option or bad number of args for: '-u'"),
            ("--quoted-pattern \"a --scan", "Invalid quoted string"),
            ("--show-pushes maybe", "Unknown --show-pushes value 'maybe'"),
        ] {
            let Request::Refused(text) = read(line) else { panic!("{line} is accepted") };
            assert!(text.contains(words), "{text}");
        }
        assert!(matches!(read("-h"), Request::Help));
        assert!(matches!(read("-v"), Request::Version));
    }
}
