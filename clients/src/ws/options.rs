//! The arguments of `ws`.

use std::time::Duration;

use clap::Parser;

use super::exit;
use crate::http::ConnectArgs;
use crate::http::args::seconds;

/// Talks to a server of WebSocket: sends each line of standard input as a message, and prints each
/// message as a line
#[derive(Debug, Parser)]
#[command(
    name = "ws",
    version,
    after_help = "--help explains more, and lists the exit codes.",
    after_long_help = exit::HELP,
    // The name is that of the URL.
    mut_arg("server_name", |arg| arg.hide(true))
)]
pub struct Cli {
    /// URL of the server: ws://HOST:PORT/PATH or wss://HOST:PORT/PATH; ws:// may be left out
    pub url: String,
    /// Sends standard input as binary messages, as it comes, and writes messages as they are,
    /// without a newline
    #[arg(short, long)]
    pub binary: bool,
    /// Sends all of standard input as one message
    #[arg(long)]
    pub whole: bool,
    /// Message to send before standard input. May be repeated
    #[arg(short, long, value_name = "TEXT")]
    pub message: Vec<String>,
    /// Closes the connection when this many messages have come
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// Time without a message after which the connection is closed, once standard input was sent, in
    /// seconds. Default 1, and no limit with --messages
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub quiet: Option<Duration>,
    /// Stays connected when standard input has ended, until the server closes
    #[arg(long, conflicts_with = "quiet")]
    pub stay: bool,
    /// Time for everything, in seconds. Default: no limit
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub max_time: Option<Duration>,
    /// Subprotocol to offer. May be repeated, the best first
    #[arg(long = "protocol", value_name = "NAME")]
    pub protocols: Vec<String>,
    /// Field of the request: "Name: value". May be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub fields: Vec<String>,
    /// Value of the field Origin, as a browser sends it
    #[arg(long, value_name = "ORIGIN")]
    pub origin: Option<String>,
    /// Offers compression (permessage-deflate)
    #[arg(short, long)]
    pub compress: bool,
    /// Time of silence after which the server is sent a ping, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub ping_interval: Duration,
    /// Time for the answer to a ping, in seconds. A server that sends nothing meanwhile is gone
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub pong_timeout: Duration,
    /// Largest message that the server may send, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    pub message_size_max: usize,
    /// Prints to standard error when the connection is made and closed, as it does where standard
    /// input is a terminal
    #[arg(short, long)]
    pub verbose: bool,
    /// The arguments for connections.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

impl Cli {
    /// Returns how long no message may come once standard input was sent. `None`: for ever.
    pub(super) fn quiet_limit(&self) -> Option<Duration> {
        let usual = (self.messages.is_none() && !self.stay).then_some(Duration::from_secs(1));
        self.quiet.or(usual)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
        let quiet = |args: &[&str]| {
            let all = ["ws", "one.example"].iter().chain(args);
            Cli::try_parse_from(all).expect("they parse").quiet_limit()
        };
        assert_eq!(quiet(&[]), Some(Duration::from_secs(1)));
        assert_eq!((quiet(&["--stay"]), quiet(&["-n", "1"])), (None, None));
        assert_eq!(quiet(&["-n", "1", "--quiet", "0.5"]), Some(Duration::from_millis(500)));
        assert!(Cli::try_parse_from(["ws", "one.example", "-n", "0"]).is_err());
    }
}
