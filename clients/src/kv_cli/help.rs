//! Texts: the options, and what is known of commands.

use std::fmt::Write;

use protocol::resp::text::split;

/// A command a line: its name, its group, the version of Redis that it came with, its arguments as
/// Redis 7.0 writes them, and what it does. In order of the names.
const COMMANDS: &str = include_str!("commands.txt");

/// What is known of a command.
#[derive(Clone, Copy)]
pub(super) struct Command {
    /// Its name, which may be of two words.
    pub(super) name: &'static str,
    group: &'static str,
    since: &'static str,
    arguments: &'static str,
    summary: &'static str,
}

impl Command {
    fn read(line: &'static str) -> Option<Self> {
        let mut parts = line.split('\t');
        Some(Self {
            name: parts.next()?,
            group: parts.next()?,
            since: parts.next()?,
            arguments: parts.next()?,
            summary: parts.next()?,
        })
    }

    /// Whether `words` are its name, or the beginning of its name.
    fn matches(&self, words: &[Vec<u8>]) -> bool {
        let mut name = self.name.split(' ');
        words
            .iter()
            .all(|word| name.next().is_some_and(|part| word.eq_ignore_ascii_case(part.as_bytes())))
    }

    fn words(&self) -> usize {
        self.name.split(' ').count()
    }
}

/// All commands of Redis 7.0, in order of their names. A server may have fewer.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    COMMANDS.lines().filter_map(Command::read)
}

/// The groups of commands, each once.
pub(super) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = commands().map(|command| command.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// What `help` prints of `words`: the name of a command or its beginning, `@` and a group, or
/// nothing.
pub(super) fn about(words: &[Vec<u8>]) -> String {
    let Some(first) = words.first() else { return INTERACTIVE.to_owned() };
    let group = first.strip_prefix(b"@").and_then(|name| {
        groups().into_iter().find(|group| name.eq_ignore_ascii_case(group.as_bytes()))
    });
    let mut text = String::new();
    for command in commands() {
        let is_asked_for = match group {
            Some(group) => command.group == group,
            None => command.matches(words),
        };
        if is_asked_for {
            describe(&command, group, &mut text);
        }
    }
    text.push_str("\r\n");
    text
}

/// Appends what is known of a command; its group as well unless that is what was asked for.
fn describe(command: &Command, asked: Option<&str>, text: &mut String) {
    let Command { name, group, since, arguments, summary } = command;
    text.push_str(&format!("\r\n  \x1b[1m{name}\x1b[0m \x1b[90m{arguments}\x1b[0m\r\n"));
    let mut line = |what: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = write!(text, "  \x1b[33m{what}:\x1b[0m {value}\r\n");
    };
    line("summary", summary);
    line("since", since);
    if asked.is_none() {
        line("group", group);
    }
}

/// The arguments that are still to be typed behind `line`, with a space before them if one is
/// missing. None where none are known.
pub(super) fn hint(line: &str) -> Option<String> {
    let mut words = split(line.as_bytes()).ok()?;
    if words.len() > 3
        && words[0].eq_ignore_ascii_case(b"acl")
        && words[1].eq_ignore_ascii_case(b"dryrun")
    {
        // The command that is tried.
        words.drain(..3);
    }
    // The longest name: that of a subcommand before that of its container.
    let command = commands()
        .filter(|command| {
            let count = command.words();
            count <= words.len() && command.matches(&words[..count])
        })
        .max_by_key(Command::words)?;
    let typed = words.len() - command.words();
    let mut rest = command.arguments;
    for _ in 0..typed {
        // What may be left out is not counted.
        if rest.starts_with('[') {
            break;
        }
        rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    }
    let space = if line.ends_with(|end: char| end.is_ascii_whitespace()) { "" } else { " " };
    (!rest.is_empty()).then(|| format!("{space}{rest}"))
}

/// What `help` prints.
const INTERACTIVE: &str = concat!(
    "kv-cli ",
    env!("CARGO_PKG_VERSION"),
    "\n",
    "To get help about commands type:\n",
    "      \"help @<group>\" for the commands of a group\n",
    "      \"help <command>\" for one command\n",
    "      \"help <tab>\" for what there is help about\n",
    "      \"<tab>\" completes the name of a command\n",
    "      \"<number> <command>\" says a command so many times\n",
    "      \"connect <host> <port>\" changes the server\n",
    "      \"clear\" clears the screen\n",
    "      \"quit\" to exit\n",
    "\n",
    "Whether arguments are hinted at while typing:\n",
    "      \":set hints\"\n",
    "      \":set nohints\"\n",
);

/// What `--help` prints.
pub(super) const OPTIONS: &str = concat!(
    "kv-cli ",
    env!("CARGO_PKG_VERSION"),
    "

Usage: kv-cli [OPTIONS] [COMMAND [ARGUMENT...]]

Says a command to a server of RESP (kv, Redis and their relatives) and prints the reply as
redis-cli does. Without a command, commands are read from standard input: with a line editor on a
terminal, one a line otherwise.

  -h HOST             Host of the server (default 127.0.0.1)
  -p PORT             Port of the server (default 6379)
  -s SOCKET           Unix socket of the server, instead of host and port
  -u URI              All of these: redis://USER:PASSWORD@HOST:PORT/DATABASE, where parts may be
                      missing (redis://:PASSWORD@HOST) and %40 is @
  -t SECONDS          How long connecting may take (default: as long as the system lets it)
  -a, --pass PASSWORD Password; the environment variable REDISCLI_AUTH is safer
  --askpass           Ask for the password
  --user USER         Whose password it is
  --no-auth-warning   Do not warn that others can see a password among the arguments
  -n DATABASE         Database to select
  -2, -3              Speak RESP2, or RESP3
  -r COUNT            Say the command so many times, forever if negative
  -i SECONDS          Pause between them, as in 0.1; and between the steps of what follows below
  -x                  The last argument is standard input
  -X TAG              The argument TAG is standard input
  -d DELIMITER        Stands between elements in raw form (default: a line feed)
  -D DELIMITER        Stands behind replies in raw form (default: a line feed)
  -e                  Exit with 1 when the server answers with an error
  --raw               Print bytes as they are (default when standard output is no terminal)
  --no-raw            Print types and quotes (default on a terminal)
  --csv               Print comma separated values
  --json              Print JSON (in RESP3, unless -2 is given)
  --quoted-json       Print JSON in which strings may be any bytes
  --quoted-input      The arguments are in quotes, as in the interactive mode
  --show-pushes y|n   Print what comes unasked in RESP3 (default: on a terminal)
  --eval FILE         Run the script in FILE: the arguments are its keys, a comma, its arguments
  --pipe              Send standard input, which is RESP, and count the replies
  --pipe-timeout SECONDS
                      How long to wait for the last of them (default 30, 0: forever)
  --scan              List the names of all keys
  --bigkeys           Look for the keys of the most elements or bytes
  --memkeys           Look for the keys that take the most memory
  --memkeys-samples COUNT
                      The same, estimated from so many elements of each
  --pattern PATTERN   Only keys that match, for these three; --quoted-pattern takes quotes
  --count COUNT       About how many keys to ask for at once
  --stat              Print what the server holds and does, once a second
  --latency           Measure how long PING takes, until Ctrl-C; for a second, or as -i says, and
                      as one line, when standard output is no terminal
  --latency-history   The same, with a line for every 15 seconds, or as -i says
  --help              Print this
  -v, --version       Print the version

The history of typed lines is in ~/.kvcli_history, or where KVCLI_HISTFILE says.
It exits with 0 when the server has answered, even with an error unless -e is given, and with 1
when it has not, when the arguments are wrong, or when standard input or output fails. When standard
output is closed, as by head, it ends silently with 141, as by SIGPIPE.
"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_command_in_order() {
        let names: Vec<_> = commands().map(|command| command.name).collect();
        assert_eq!(names.len(), COMMANDS.lines().count());
        assert!(names.is_sorted() && names.len() > 350);
        assert!(commands().all(|it| !it.summary.is_empty() && !it.since.is_empty()));
    }

    #[test]
    fn hints_are_what_is_still_to_be_typed() {
        for (line, expected) in [
            ("get", Some(" key")),
            ("GET ", Some("key")),
            ("get k", None),
            ("hset k f", Some(" value [field value ...]")),
            ("hset k f v", Some(" [field value ...]")),
            ("hset k f v g w ", Some("[field value ...]")),
            ("config", None),
            ("config get ", Some("parameter [parameter ...]")),
            ("acl dryrun me get ", Some("key")),
            ("nonsense", None),
            ("get \"open", None),
            ("", None),
        ] {
            assert_eq!(hint(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn help_is_about_a_command_its_parts_or_a_group() {
        let count = |line: &str| {
            let words = split(line.as_bytes()).expect("its quotes are closed");
            about(&words).matches("summary").count()
        };
        assert_eq!(count("get"), 1);
        assert_eq!(count("Config"), 6);
        assert_eq!(count("config set"), 1);
        assert_eq!(count("@transactions"), 5);
        assert_eq!(count("@Transactions"), 5);
        assert_eq!((count("nonsense"), count("@nonsense"), count("get key")), (0, 0, 0));
    }
}
