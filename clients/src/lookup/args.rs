//! The arguments of `lookup`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use protocol::dns::{Class, RecordType};

use super::ask::{Ask, Parts};
use super::flight::{EACH_MAX, QUESTIONS_MAX};
use super::json;
use super::options::{Form, Options, Shown};
use super::servers::Family;
use super::{EXIT_CODES, FILE_SIZE_MAX, IN_FLIGHT_MAX, RATE_MAX};
use crate::pipes::QUEUE_MAX;

/// Asks DNS servers, as dig does
#[derive(Debug, Parser)]
#[command(
    name = "lookup",
    version,
    after_help = "REACTOR_BACKEND chooses epoll, epoll-lt, poll, select or uring. --help has the options with a plus \
    sign, the fields of --json and the exit codes.",
    after_long_help = after_help()
)]
pub struct Cli {
    #[arg(
        value_name = "WORD",
        help = "@SERVER, NAME, TYPE, CLASS and +OPTION in any order, as for dig. A server is an address or a name, \
                with # and a port if need be"
    )]
    words: Vec<String>,
    /// Name that is asked about, whatever it looks like
    #[arg(short = 'q', value_name = "NAME")]
    name: Option<String>,
    /// Type of the records: A, MX, TYPE65280 ...
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<RecordType>,
    /// Class of the records: IN, CH, HS or ANY
    #[arg(short = 'c', value_name = "CLASS")]
    class: Option<Class>,
    /// Asks for the name of an address
    #[arg(short = 'x', value_name = "ADDRESS")]
    address: Option<String>,
    /// Port of the servers
    #[arg(short, long, value_name = "PORT", default_value = "53", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: u16,
    /// Only IPv4 addresses of servers
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6 addresses of servers
    #[arg(short = '6', long)]
    ipv6: bool,
    /// File that names the servers, the first three of its lines nameserver, unless there is an @SERVER
    /// [default: /etc/resolv.conf]
    #[arg(long, value_name = "FILE")]
    pub(super) resolv_conf: Option<PathBuf>,
    /// Prints one JSON object in a line for each question
    #[arg(long)]
    json: bool,
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        help = "Asks the questions of a file (- is standard input), one a line: a name, a type and a class as \
                above, or -x ADDRESS. A word that begins with # or ; begins a comment. The file has 256 MiB at most"
    )]
    pub(super) file: Option<PathBuf>,
    /// With -f: how many questions wait for answers at most, up to 10000
    #[arg(long, value_name = "COUNT", default_value = "100", requires = "file",
          value_parser = clap::value_parser!(u32).range(1..=IN_FLIGHT_MAX))]
    in_flight: u32,
    /// With -f: how many questions are begun each second at most, up to 1000000; without it, as many as
    /// --in-flight allows
    #[arg(long, value_name = "COUNT", requires = "file",
          value_parser = clap::value_parser!(u32).range(1..=RATE_MAX))]
    rate: Option<u32>,
    /// With -f: prints each answer in the form of dig, instead of one line
    #[arg(long, requires = "file", conflicts_with = "json")]
    full: bool,
    /// With -f: prints no summary
    #[arg(long, requires = "file")]
    no_summary: bool,
}

const _: () = assert!(FILE_SIZE_MAX == 256 << 20, "--help says so");

/// Returns the end of `--help`.
fn after_help() -> String {
    format!(
        "Options with a plus sign, which +no... turns off:\n  \
        +tcp            asks over TCP (+vc)\n  \
        +ignore         shows a truncated answer, instead of asking again over TCP\n  \
        +rec            asks the server to ask others (RD); the default\n  \
        +ad             asks whether the answer was verified (AD); the default\n  \
        +cd             tells the server not to verify the answer (CD)\n  \
        +dnssec         asks for the records of DNSSEC (DO; also +do)\n  \
        +edns           sends an OPT record; the default\n  \
        +bufsize=BYTES  largest datagram that the server may send, 1 to 65535; 1232 by default\n  \
        +nsid           asks for the name of the server\n  \
        +cookie         sends a cookie, and drops answers with another one (RFC 7873); the default. A server that\n                  \
        wants its own first (BADCOOKIE) is asked again with it\n  \
        +0x20           varies the case of the letters of the name, and drops answers that do not repeat it\n  \
        +timeout=SECS   how long each attempt waits, 1 to 3600; 5 by default (+time)\n  \
        +tries=COUNT    how many times each server is asked, 1 to 100; 3 by default (+retry is one less)\n  \
        +short          prints the data of the answer alone\n  \
        +cmd +comments +question +answer +authority +additional +stats +all\n                  \
        what is printed of an answer; all by default\n\n\
        Servers are asked in their order. The next one is asked when one refuses or is silent. A message \
        that is not the answer to a question is dropped and counted. Each socket has a random port, carries \
        {EACH_MAX} questions at a time, and is replaced after {QUESTIONS_MAX}; each question has a random \
        number.\n\n\
        With -f, each answer is one line as soon as it arrives: the question, the response code, the \
        milliseconds from the first attempt, and the records, separated by tabs. A summary follows on standard \
        error. While {} KiB wait for standard output, no question begins. Ctrl-C begins no further question, a second one ends at once.\n\n\
        Fields of --json:\n{}\n\nWith -f, the summary is such a line too, on standard error.\n\n{EXIT_CODES}",
        QUEUE_MAX >> 10,
        json::SCHEMA
    )
}

/// What the arguments ask for.
pub(super) struct Request {
    /// The question, unless there is a file.
    pub(super) ask: Ask,
    /// How it is asked.
    pub(super) options: Options,
    /// The servers as they were named.
    pub(super) servers: Vec<String>,
}

impl Cli {
    /// Reads the words, in which the plus sign and the at sign mean something.
    ///
    /// # Errors
    /// A sentence about the first word that is wrong.
    pub(super) fn request(&self) -> Result<Request, String> {
        let (mut options, mut parts, mut servers) =
            (Options::DEFAULT, Parts::default(), Vec::new());
        if let Some(name) = &self.name {
            parts.set_name(name)?;
        }
        if let Some(address) = &self.address {
            parts.set_address(address)?;
        }
        for word in &self.words {
            if let Some(server) = word.strip_prefix('@') {
                servers.push(server.to_owned());
            } else if let Some(option) = word.strip_prefix('+') {
                options.set(option)?;
            } else {
                parts.take(word)?;
            }
        }
        if let Some(kind) = self.kind {
            parts.set_kind(kind)?;
        }
        if let Some(class) = self.class {
            parts.set_class(class);
        }
        if self.file.is_some() {
            if !parts.is_empty() {
                return Err(
                    "the questions of -f are in the file, not on the command line".to_owned()
                );
            }
            if options.form == Form::Full && !self.full {
                options.form = Form::Line;
            }
            options.shown = Shown { command: false, ..options.shown };
        }
        if self.json {
            options.form = Form::Json;
        }
        Ok(Request { ask: parts.finish(), options, servers })
    }

    /// Returns the family of the addresses of servers.
    pub(super) fn family(&self) -> Family {
        match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        }
    }

    /// Returns how many questions wait for answers at most.
    pub(super) fn in_flight_max(&self) -> usize {
        self.in_flight as usize
    }

    /// Returns the time from the start of a question to that of the next one, if there is a rate.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs(1) / rate)
    }

    /// Returns whether a summary is printed.
    pub(super) fn has_summary(&self) -> bool {
        self.file.is_some() && !self.no_summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<Request, String> {
        let words = ["lookup"].iter().chain(words);
        Cli::try_parse_from(words).map_err(|error| error.to_string())?.request()
    }

    #[test]
    fn words_are_read_in_any_order() {
        for (words, expected) in [
            (&["@192.0.2.1", "example.org", "MX", "+tcp"][..], "example.org. IN MX"),
            (&["+tcp", "mx", "example.org", "@192.0.2.1"], "example.org. IN MX"),
            (&["-x", "192.0.2.7", "@192.0.2.1", "+tcp"], "7.2.0.192.in-addr.arpa. IN PTR"),
            (&["-q", "mx", "-t", "txt", "-c", "ch", "@192.0.2.1", "+tcp"], "mx. CH TXT"),
            (&["@192.0.2.1", "+tcp"], ". IN NS"),
        ] {
            let request = request(words).expect("they are right");
            assert_eq!(request.ask.to_string(), expected, "{words:?}");
            assert_eq!(request.servers, ["192.0.2.1"]);
            assert_eq!(request.options.transport, super::super::options::Transport::Tcp);
        }
    }

    #[test]
    fn wrong_words_are_refused() {
        for (words, part) in [
            (&["a.example", "b.example"][..], "two names"),
            (&["a.example", "+x"], "no option +x"),
            (&["a.example", "-f", "file"], "in the file"),
            (&["--rate", "5", "a.example"], "--file"),
            (&["-f", "file", "--in-flight", "0"], "0 is not in"),
            (&["-p", "0", "a.example"], "0 is not in"),
            (&["-t", "NONSENSE", "a.example"], "no record type"),
        ] {
            let error = request(words).err().unwrap_or_default();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
