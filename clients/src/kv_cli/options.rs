//! The arguments, read as `redis-cli` reads them.
//!
//! By hand: `-h` is a host, options end at the first word that is none, and `-r -1` is a number.

use std::time::Duration;

use protocol::resp::text::split;

use super::print::Form;
use super::uri::{self, Uri};

/// What the arguments ask for.
#[derive(Clone, Debug)]
pub enum Request {
    /// To do something.
    Run(Box<Settings>),
    /// To print the help.
    Help,
    /// To print the version.
    Version,
    /// Nothing that can be done, for this reason.
    Refused(String),
}

/// Where the last argument comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandardInput {
    /// Standard input is no argument.
    No,
    /// It is appended to the arguments (`-x`).
    Last,
    /// It takes the place of this argument (`-X`).
    Tag(Vec<u8>),
}

/// What is done with the server. Of several that are asked for, the last of these is done, as
/// `redis-cli` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// The commands of the arguments or of standard input are said.
    Commands,
    /// The names of all keys are listed (`--scan`).
    Scan,
    /// Counters of the server are shown again and again (`--stat`).
    Stat,
    /// The keys that take the most memory are looked for (`--memkeys`).
    MemoryKeys,
    /// The keys of the most elements are looked for (`--bigkeys`).
    BigKeys,
    /// Standard input, which is RESP, is sent, and the replies are counted (`--pipe`).
    Pipe,
    /// How long the server takes to answer is measured (`--latency`).
    Latency,
    /// The same, with a new line for each interval (`--latency-history`).
    LatencyHistory,
}

/// Whether RESP3 is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What the connection begins with: RESP2.
    Any,
    /// RESP2 is asked for (`-2`).
    Resp2,
    /// RESP3 is asked for (`-3`).
    Resp3,
    /// RESP3 if the server knows it, because JSON has maps.
    PreferResp3,
}

/// What the arguments and the environment say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name or the address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of its Unix socket, which takes precedence.
    pub socket: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// How often the command is said; forever if negative.
    pub repeat: i64,
    /// The pause between two of them.
    pub interval: Duration,
    /// The database to select.
    pub database: i64,
    /// Whose password it is.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Whether the password is asked for, instead of any other.
    pub asks_password: bool,
    /// Whether to warn that others can see the password among the arguments.
    pub warns_of_password: bool,
    /// In which form replies are printed.
    pub form: Form,
    /// What stands between elements in raw form.
    pub element_delimiter: Vec<u8>,
    /// What stands behind a reply in raw form.
    pub reply_delimiter: Vec<u8>,
    /// Whether what comes unasked is printed.
    pub prints_pushes: bool,
    /// The version of RESP.
    pub version: Version,
    /// Whether standard input is an argument.
    pub standard_input: StandardInput,
    /// Whether the arguments are in quotes, beyond those of the shell.
    pub quoted_input: bool,
    /// Whether an error of the server is a failure of the tool.
    pub fails_on_error: bool,
    /// What is done with the server.
    pub mode: Mode,
    /// How long to wait for the last reply to it; None is forever.
    pub pipe_timeout: Option<Duration>,
    /// The keys that are gone through match this; all if None.
    pub pattern: Option<Vec<u8>>,
    /// About how many keys are asked for at once; as the server has it if None.
    pub scan_count: Option<i64>,
    /// How many elements of a key its memory is estimated by; as the server has it if 0.
    pub memory_samples: i64,
    /// The file of a script in Lua, whose keys and arguments the command is (`--eval`).
    pub script: Option<Vec<u8>>,
    /// The command and its arguments, if there are any.
    pub command: Vec<Vec<u8>>,
}

impl Settings {
    /// What is so without arguments, for an output that is a terminal or none.
    pub fn new(output_is_terminal: bool) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
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
    /// Takes what a URI says over.
    fn take(&mut self, uri: Uri) {
        let Uri { user, password, host, port, database } = uri;
        self.host = host.unwrap_or(std::mem::take(&mut self.host));
        self.port = port.unwrap_or(self.port);
        self.database = database.unwrap_or(self.database);
        self.user = user.or(self.user.take());
        self.password = password.or(self.password.take());
    }
}

/// Reads the arguments, without the name of the program. `password` is the one of the environment.
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

/// What became of a word.
enum Step {
    /// It is an option, of so many words.
    Took(usize),
    /// It decides what is done.
    End(Request),
    /// It is no option.
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
            ("--tls", _) => refuse("kv-cli does not speak TLS yet: use a tunnel, such as stunnel"),
            ("-v" | "--version", _) => Step::End(Request::Version),
            (_, Some(value)) => self.valued(option, value),
            _ => Step::Unknown,
        }
    }

    /// Takes an option without a value, if it is one.
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
            "--askpass" => settings.asks_password = true,
            // Of the cluster manager alone.
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

    /// Takes an option with its value.
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
                Err(told) => return refuse(&told),
            },
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

/// The number that `text` begins with, 0 if it begins with none, as C reads it.
pub(super) fn integer(text: &str) -> i64 {
    let text = text.trim_start();
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..sign + digits].trim_start_matches('+');
    let limit = if number.starts_with('-') { i64::MIN } else { i64::MAX };
    if digits == 0 { 0 } else { number.parse().unwrap_or(limit) }
}

/// A number of seconds, with a point perhaps. None for anything else.
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
    fn numbers_are_what_c_makes_of_them() {
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
    fn the_environment_gives_way_to_the_arguments() {
        let words = || ["-a", "mine"].map(Vec::from);
        let Request::Run(settings) = arguments(words(), true, Some("theirs".to_owned())) else {
            panic!("it can be run")
        };
        assert_eq!(settings.password.as_deref(), Some("mine"));
        assert!(settings.warns_of_password);
        let Request::Run(settings) = arguments([], true, Some("theirs".to_owned())) else {
            panic!("it can be run")
        };
        assert_eq!(settings.password.as_deref(), Some("theirs"));
        assert!(!settings.warns_of_password);
    }

    #[test]
    fn json_prefers_maps_and_does_not_insist() {
        assert_eq!(run("--json").version, Version::PreferResp3);
        assert_eq!(run("-3 --json").version, Version::Resp3);
        assert_eq!(run("--json -3").version, Version::Resp3);
        assert_eq!(run("--json -2").version, Version::Resp2);
    }

    #[test]
    fn of_several_modes_one_is_done_in_whatever_order() {
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
    fn a_uri_replaces_what_it_says_and_nothing_else() {
        let settings = run("-h other -p 7 -n 2 --user me -u redis://:word@h/3 -p 8");
        assert_eq!((settings.host.as_str(), settings.port, settings.database), ("h", 8, 3));
        assert_eq!(settings.user.as_deref(), Some("me"));
        assert_eq!(settings.password.as_deref(), Some("word"));
        assert!(settings.warns_of_password);
    }

    #[test]
    fn what_is_refused_is_told() {
        for (line, words) in [
            ("-p 70000 ping", "Invalid server port."),
            ("-2 -3 ping", "mutually exclusive"),
            ("--nonsense", "Unrecognized option or bad number of args for: '--nonsense'"),
            ("-p", "Unrecognized option or bad number of args for: '-p'"),
            ("-t x", "Invalid connection timeout"),
            ("--tls ping", "does not speak TLS yet"),
            ("-u http://h ping", "Invalid URI scheme"),
            ("-u", "Unrecognized option or bad number of args for: '-u'"),
            ("--quoted-pattern \"a --scan", "Invalid quoted string"),
            ("--show-pushes maybe", "Unknown --show-pushes value 'maybe'"),
        ] {
            let Request::Refused(text) = read(line) else { panic!("{line} is taken") };
            assert!(text.contains(words), "{text}");
        }
        assert!(matches!(read("-h"), Request::Help));
        assert!(matches!(read("-v"), Request::Version));
    }
}
