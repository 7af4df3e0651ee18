//! The arguments of `fetch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::exit;
use crate::http::ConnectArgs;
use crate::http::args::seconds;

/// Transfers URLs of http and https, several at a time on one loop
#[derive(Debug, Parser)]
#[command(
    name = "fetch",
    version,
    after_help = "Redirections are followed. A file is written under its name with .part, and renamed when it is \
    complete. If the transfer fails, that file is kept, and -C - continues it.\n\nREACTOR_BACKEND chooses \
    epoll, epoll-lt, poll, select or uring. http_proxy, https_proxy, all_proxy and no_proxy name the proxies unless \
    there is --proxy.",
    after_long_help = exit::HELP,
    // The name is that of the URL.
    mut_arg("server_name", |arg| arg.hide(true))
)]
pub struct Cli {
    /// URLs; http:// may be left out
    #[arg(required = true, value_name = "URL")]
    pub urls: Vec<String>,
    /// File for the response; - is standard output. The first one is for the first URL, and so on
    #[arg(short, long, value_name = "FILE")]
    pub output: Vec<PathBuf>,
    /// Writes each response to a file with the last part of the path of its URL as the name
    #[arg(short = 'O', long)]
    pub remote_name: bool,
    /// Folder for the files of -o and -O
    #[arg(long, value_name = "FOLDER")]
    pub output_dir: Option<PathBuf>,
    /// Continues a file: "-" at the end of what there is of it, a number at this byte
    #[arg(short = 'C', long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = offset)]
    pub continue_at: Option<Offset>,
    /// Bytes of the response to ask for, such as 0-99, 100- or -100
    #[arg(
        short,
        long,
        value_name = "RANGE",
        allow_hyphen_values = true,
        conflicts_with = "continue_at",
        value_parser = ranges
    )]
    pub range: Option<String>,
    /// Largest size of a body in bytes
    #[arg(long, value_name = "BYTES")]
    pub max_filesize: Option<u64>,
    /// Method of the requests. Default GET; POST with -d and --json; PUT with -T
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub method: Option<String>,
    /// Asks for the heads alone, and prints them
    #[arg(short = 'I', long, conflicts_with_all = ["data", "json", "upload_file"])]
    pub head: bool,
    /// Body of the requests; @FILE is the content of a file as it is, @- that of standard input.
    /// Several are joined with &
    #[arg(short, long, value_name = "DATA")]
    pub data: Vec<String>,
    /// Body of the requests that is JSON, with the fields that say so
    #[arg(long, value_name = "DATA", conflicts_with = "data")]
    pub json: Option<String>,
    /// Sends a file, - is standard input. A URL that ends with / gets the name of the file
    #[arg(short = 'T', long, value_name = "FILE", conflicts_with_all = ["data", "json"])]
    pub upload_file: Option<PathBuf>,
    /// Field of the head: "Name: value". "Name:" leaves out a field that fetch would send
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub fields: Vec<String>,
    /// User and password for the server
    #[arg(short, long, value_name = "USER:PASSWORD")]
    pub user: Option<String>,
    /// Value of the field User-Agent; empty for none
    #[arg(short = 'A', long, value_name = "TEXT", value_parser = field_value)]
    pub user_agent: Option<String>,
    /// Asks for compressed bodies, and decodes them (gzip, deflate, br, zstd)
    #[arg(long)]
    pub compressed: bool,
    /// Writes the head of the response before its body
    #[arg(short, long, conflicts_with = "continue_at")]
    pub include: bool,
    /// Writes the body whatever the status: 400 and above are no failures
    #[arg(long)]
    pub any_status: bool,
    /// Transfers at the same time
    #[arg(short = 'Z', long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: u16,
    /// Redirections that are followed; 0 is none
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub max_redirs: u32,
    /// Further attempts when one has failed, if that does no harm
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    pub retry: u32,
    /// Time until the head of the response, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub answer_timeout: Duration,
    /// Time in which nothing moves, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub stall_timeout: Duration,
    /// Time of each transfer altogether, in seconds. Default: no limit
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub max_time: Option<Duration>,
    /// Prints neither progress nor messages
    #[arg(short, long)]
    pub silent: bool,
    /// Prints requests, heads of responses and attempts to standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// The arguments for connections.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Checks ranges of bytes (RFC 9110 section 14.1.2): `0-99`, `100-`, `-100`, or several with commas.
fn ranges(text: &str) -> Result<String, String> {
    let is_range = |range: &str| {
        let (first, last) = range.trim().split_once('-')?;
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().ok(),
            false => None,
        };
        match (first, last) {
            ("", last) => number(last).map(|_| ()),
            (first, "") => number(first).map(|_| ()),
            _ => (number(first)? <= number(last)?).then_some(()),
        }
    };
    match text.split(',').all(|range| is_range(range).is_some()) {
        true => Ok(text.to_owned()),
        false => Err("give ranges such as 0-99, 100- or -100".to_owned()),
    }
}

/// Checks the value of a field.
fn field_value(text: &str) -> Result<String, String> {
    match text.chars().any(|it| it.is_control() && it != '\t') {
        true => Err("a field has no control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Where a file is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offset {
    /// At the end of what there is.
    End,
    /// At this byte.
    At(u64),
}

fn offset(text: &str) -> Result<Offset, String> {
    match text {
        "-" => Ok(Offset::End),
        _ => text.parse().map(Offset::At).map_err(|_| "give - or a number of bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
        assert_eq!((offset("-"), offset("7")), (Ok(Offset::End), Ok(Offset::At(7))));
        assert!(offset("-7").is_err());
    }
}
