//! Help texts: the options of the tool, and the table of commands.

use std::fmt::Write;

use protocol::resp::text::split;

/// The table of commands, sorted by name, one per line. The columns are the name, the group, the
/// first version of Redis that has the command, the arguments as in Redis 7.0, and a summary.
const COMMANDS: &str = include_str!("commands.txt");

/// A row of the table of commands.
#[derive(Clone, Copy)]
pub(super) struct Command {
    /// The name, of one or two words.
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

    /// Returns whether the name starts with `words`.
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

/// Returns all commands of Redis 7.0, sorted by name. A server may have fewer.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    COMMANDS.lines().filter_map(Command::read)
}

/// Returns the groups of commands without repetitions.
pub(super) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = commands().map(|command| command.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Returns the output of `help`. `words` are the name of a command or its first word, `@` and a
/// group, or empty.
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

/// Appends the description of a command. Leaves the group out if the user asked for that group.
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

/// Returns the arguments that are missing after `line`, with a space before them if `line` does not
/// end with one. Returns None if none are known.
pub(super) fn hint(line: &str) -> Option<String> {
    let mut words = split(line.as_bytes()).ok()?;
    if words.len() > 3
        && words[0].eq_ignore_ascii_case(b"acl")
        && words[1].eq_ignore_ascii_case(b"dryrun")
    {
        // The hint is about the command inside.
        words.drain(..3);
    }
    // The longest name that matches: a subcommand rather than its container.
    let command = commands()
        .filter(|command| {
            let count = command.words();
            count <= words.len() && command.matches(&words[..count])
        })
        .max_by_key(Command::words)?;
    let typed = words.len() - command.words();
    let mut rest = command.arguments;
    for _ in 0..typed {
        // Optional arguments are not counted.
        if rest.starts_with('[') {
            break;
        }
        rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    }
    let space = if line.ends_with(|end: char| end.is_ascii_whitespace()) { "" } else { " " };
    (!rest.is_empty()).then(|| format!("{space}{rest}"))
}

/// The output of `help` without arguments.
const INTERACTIVE: &str = concat!(
    "kv-cli ",
    env!("CARGO_PKG_VERSION"),
    "\n",
    "To get help about commands type:\n",
    "      \"help @<group>\" for the commands of a group\n",
    "      \"help <command>\" for one command\n",
    "      \"help <tab>\" to list commands and groups\n",
    "      \"<tab>\" completes the name of a command\n",
    "      \"<number> <command>\" runs a command several times\n",
    "      \"connect <host> <port>\" connects to another server\n",
    "      \"clear\" clears the screen\n",
    "      \"quit\" to exit\n",
    "\n",
    "To turn hints for arguments on or off:\n",
    "      \":set hints\"\n",
    "      \":set nohints\"\n",
);

/// The output of `--help`.
pub(super) const OPTIONS: &str = concat!(
    "kv-cli ",
    env!("CARGO_PKG_VERSION"),
    "

Usage: kv-cli [OPTIONS] [COMMAND [ARGUMENT...]]

Sends a command to a RESP server (such as kv or Redis) and prints the reply as redis-cli does.
Without a command, it reads commands from standard input: with a line editor on a terminal,
otherwise one per line.

  -h HOST             Host of the server (default 127.0.0.1)
  -p PORT             Port of the server (default 6379)
  -s SOCKET           Unix socket of the server, instead of host and port
  -u URI              All of these: redis://USER:PASSWORD@HOST:PORT/DATABASE. Parts may be missing
                      (redis://:PASSWORD@HOST), and %40 stands for @. With rediss:// or tls://, the
                      connection is encrypted
  -t SECONDS          Time limit for connecting (default: the limit of the system)
  --tls               Encrypt the connection. The certificate of the server has to have the name of
                      the host, and be issued by an authority that this system trusts
  --cacert FILE       Trust the authorities in FILE instead, in PEM; --cacertdir FOLDER those in all
                      files of FOLDER. --ca is the same as --cacert
  --sni NAME          Name that the certificate has to have, and that the server is told, instead of
                      the host. --server-name is the same
  --insecure          Accept any certificate: whatever is between this host and the server can read
                      and change everything. For tests only
  --cert FILE         Certificate for servers that ask for one, in PEM
  --key FILE          Private key of that certificate, in PEM, if it is not in the same file
  -a, --pass PASSWORD The password; the environment variable REDISCLI_AUTH is safer
  --askpass           Ask for the password
  --user USER         The user that the password belongs to
  --no-auth-warning   Do not warn that other users can see a password among the arguments
  -n DATABASE         The database to select
  -2, -3              Use RESP2, or RESP3
  -r COUNT            Run the command COUNT times, forever if COUNT is negative
  -i SECONDS          Pause between these runs, such as 0.1; also the interval of the modes below
  -x                  Use standard input as the last argument
  -X TAG              Use standard input in place of the argument TAG
  -d DELIMITER        Printed between elements in raw form (default: a line feed)
  -D DELIMITER        Printed after replies in raw form (default: a line feed)
  -e                  Exit with 1 when the reply is an error
  --raw               Print bytes as they are (default when standard output is no terminal)
  --no-raw            Print types and quotes (default on a terminal)
  --csv               Print comma separated values
  --json              Print JSON (in RESP3, unless -2 is given)
  --quoted-json       Print JSON in which strings may contain any bytes
  --quoted-input      Parse quotes in the arguments, as in the interactive mode
  --show-pushes y|n   Print the pushes of RESP3 (default: only on a terminal)
  --eval FILE         Run the Lua script in FILE. The arguments are its keys, a comma, and its
                      arguments
  --pipe              Send standard input, which has to be RESP, and count the replies
  --pipe-timeout SECONDS
                      Time limit for the last reply (default 30; 0: none)
  --scan              List the names of all keys
  --bigkeys           Find the biggest key of each type, by elements or bytes
  --memkeys           Find the keys that use the most memory
  --memkeys-samples COUNT
                      The same, estimated from COUNT elements of each key
  --pattern PATTERN   Only keys that match, for the three modes above; --quoted-pattern takes quotes
  --count COUNT       The number of keys that one SCAN asks for, approximately
  --stat              Print counters of the server, one line a second
  --latency           Measure the latency of PING until Ctrl-C. If standard output is no terminal,
                      measure for a second, or for the time of -i, and print one line
  --latency-history   The same, with a new line every 15 seconds, or at the interval of -i
  --help              Print this help
  -v, --version       Print the version

The history of the line editor is in ~/.kvcli_history, or in the file that KVCLI_HISTFILE names.

Exit codes: 0 when the server replied, even with an error unless -e is given; 1 when it did not
reply, when the arguments are wrong, or when standard input or output failed; 141 without a
message, as after SIGPIPE, when standard output is closed.
"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_commands_is_complete_and_sorted() {
        let names: Vec<_> = commands().map(|command| command.name).collect();
        assert_eq!(names.len(), COMMANDS.lines().count());
        assert!(names.is_sorted() && names.len() > 350);
        assert!(commands().all(|it| !it.summary.is_empty() && !it.since.is_empty()));
    }

    #[test]
    fn hints_show_the_missing_arguments() {
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
    fn help_describes_a_command_its_subcommands_or_a_group() {
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
