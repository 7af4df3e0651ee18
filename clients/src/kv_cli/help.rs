//! Texts.

/// What `help` prints.
pub(super) const INTERACTIVE: &str = concat!(
    "kv-cli ",
    env!("CARGO_PKG_VERSION"),
    "\n",
    "To get help about commands, see https://redis.io/commands, or ask the server:\n",
    "      \"COMMAND DOCS <command>\"\n",
    "      \"COMMAND LIST\"\n",
    "      \"<tab>\" completes the name of a command\n",
    "      \"<number> <command>\" says a command so many times\n",
    "      \"connect <host> <port>\" changes the server\n",
    "      \"clear\" clears the screen\n",
    "      \"quit\" to exit\n",
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
  -t SECONDS          How long connecting may take (default: as long as the system lets it)
  -a, --pass PASSWORD Password; the environment variable REDISCLI_AUTH is safer
  --user USER         Whose password it is
  --no-auth-warning   Do not warn that others can see a password among the arguments
  -n DATABASE         Database to select
  -2, -3              Speak RESP2, or RESP3
  -r COUNT            Say the command so many times, forever if negative
  -i SECONDS          Pause between them, as in 0.1
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
  --pipe              Send standard input, which is RESP, and count the replies
  --pipe-timeout SECONDS
                      How long to wait for the last of them (default 30, 0: forever)
  --help              Print this
  -v, --version       Print the version

The history of typed lines is in ~/.kvcli_history, or where KVCLI_HISTFILE says.
It exits with 0 when the server has answered, even with an error unless -e is given, and with 1
when it has not, or when the arguments are wrong.
"
);
