//! The arguments of the server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reactor::{Address, Location};

use super::access_log::LogFormat;
use super::path::RequestPath;
use crate::args::parse_duration;
use crate::kv::parse_size;

/// The arguments that only this server takes.
#[derive(Clone, Debug, Args)]
pub struct WebArgs {
    /// Folder whose files are served
    #[arg(long, value_name = "FOLDER", help_heading = "Files")]
    pub root: Option<PathBuf>,

    /// Another folder for requests to the host of this name, such as www.example.com=/srv/www; may be
    /// given several times. Other hosts get --root
    #[arg(long, value_name = "NAME=FOLDER", help_heading = "Files", value_parser = parse_host)]
    pub host: Vec<(String, PathBuf)>,

    /// Name of the file that is sent for a folder; may be given several times, the first that exists
    /// is sent
    #[arg(long, value_name = "NAME", help_heading = "Files", default_value = "index.html")]
    pub index: Vec<String>,

    /// Send a list of what is in a folder that has no such file
    #[arg(long, help_heading = "Files")]
    pub listing: bool,

    /// Follow symbolic links that lead out of the folder
    #[arg(long, help_heading = "Files")]
    pub follow_links: bool,

    /// Send files and folders whose names begin with a dot; otherwise they are hidden, except
    /// /.well-known/
    #[arg(long, help_heading = "Files")]
    pub dotfiles: bool,

    /// Do not look for compressed forms of files: NAME.br, NAME.zst and NAME.gz beside NAME
    #[arg(long, help_heading = "Files")]
    pub no_precompressed: bool,

    /// Media type of the files with this extension, such as wasm=application/wasm; may be given
    /// several times
    #[arg(long = "type", value_name = "EXTENSION=TYPE", help_heading = "Files",
          value_parser = parse_type)]
    pub types: Vec<(String, String)>,

    /// Field that is added to responses with files, such as "Cache-Control: max-age=60"; may be given
    /// several times
    #[arg(long = "header", value_name = "FIELD", help_heading = "Files", value_parser = parse_field)]
    pub fields: Vec<(String, String)>,

    /// File that is sent as the body of an error, such as 404=/errors/404.html, by its path below
    /// --root; may be given several times
    #[arg(long, value_name = "STATUS=PATH", help_heading = "Files", value_parser = parse_error_page)]
    pub error_page: Vec<(u16, String)>,

    /// Paths and open files that the cache has at most; 0 turns it off
    #[arg(long, value_name = "COUNT", help_heading = "Cache of files", default_value_t = 1024)]
    pub cache_files: usize,

    /// Memory for small files in the cache
    #[arg(long, value_name = "BYTES", help_heading = "Cache of files", default_value = "64mb",
          value_parser = parse_size)]
    pub cache_memory: u64,

    /// Time for which the cache does not look at the file system again
    #[arg(long, value_name = "TIME", help_heading = "Cache of files", default_value = "1s",
          value_parser = parse_duration)]
    pub cache_valid: Duration,

    /// Files up to this size are sent from memory, longer ones by sendfile(2)
    #[arg(long, value_name = "BYTES", help_heading = "Cache of files", default_value = "64kb",
          value_parser = parse_size)]
    pub small_file: u64,

    /// Path that is answered with 200 and "ok", for supervisors and load balancers
    #[arg(long, value_name = "PATH", help_heading = "Other paths", value_parser = parse_path)]
    pub health: Option<String>,

    /// Path of a WebSocket that sends back what it receives; may be given several times
    #[arg(long, value_name = "PATH", help_heading = "Other paths", value_parser = parse_path)]
    pub echo: Vec<String>,

    /// Pass requests below a path on to another server of HTTP/1.1, such as /api=127.0.0.1:9000 or
    /// /app=unix:/run/app.sock; may be given several times, the longest path that fits is taken
    #[arg(long, value_name = "PATH=ADDRESS", help_heading = "Proxy", value_parser = parse_proxy)]
    pub proxy: Vec<(String, Location)>,

    /// Time for a connection to such a server to be established; then 504 is sent
    #[arg(long, value_name = "TIME", help_heading = "Proxy", default_value = "5s",
          value_parser = parse_duration)]
    pub proxy_connect_timeout: Duration,

    /// Time for which such a server may be silent while it is to answer; then 504 is sent, or the
    /// response is cut
    #[arg(long, value_name = "TIME", help_heading = "Proxy", default_value = "60s",
          value_parser = parse_duration)]
    pub proxy_timeout: Duration,

    /// Idle connections that are kept for each such server
    #[arg(long, value_name = "COUNT", help_heading = "Proxy", default_value_t = 32)]
    pub proxy_idle: usize,

    /// Time for which idle connections are kept: less than such a server keeps them
    #[arg(long, value_name = "TIME", help_heading = "Proxy", default_value = "30s",
          value_parser = parse_duration)]
    pub proxy_keep: Duration,

    /// Connections to each such server at most; then 503 is sent
    #[arg(long, value_name = "COUNT", help_heading = "Proxy", default_value_t = 1024,
          value_parser = parse_count)]
    pub proxy_connections: usize,

    /// Send the response to clients that have ended their side of the connection; otherwise they count
    /// as gone, and such a server is told so by the end of its connection
    #[arg(long, help_heading = "Proxy")]
    pub proxy_half_close: bool,

    /// File to which a line for each request is appended; - for standard output. SIGUSR1 opens it
    /// again, after it was moved
    #[arg(long, value_name = "FILE", help_heading = "Access log")]
    pub access_log: Option<PathBuf>,

    /// Form of these lines
    #[arg(long, value_name = "FORMAT", help_heading = "Access log", default_value = "combined")]
    pub(crate) log_format: LogFormat,

    /// Bytes of the head of a request at most, up to 65535; then 431 is sent
    #[arg(long, value_name = "BYTES", help_heading = "Limits", default_value = "16kb",
          value_parser = parse_head_max)]
    pub head_max: u64,

    /// Bytes of the body of a request at most; then 413 is sent
    #[arg(long, value_name = "BYTES", help_heading = "Limits", default_value = "1gb",
          value_parser = parse_size)]
    pub body_max: u64,

    /// Time for the head of a request to arrive, from its first byte on; then 408 is sent
    #[arg(long, value_name = "TIME", help_heading = "Limits", default_value = "10s",
          value_parser = parse_duration)]
    pub head_timeout: Duration,

    /// Time in which a kilobyte of the body of a request has to arrive; otherwise 408 is sent
    #[arg(long, value_name = "TIME", help_heading = "Limits", default_value = "10s",
          value_parser = parse_duration)]
    pub body_timeout: Duration,

    /// Requests of one connection at most; then it is closed
    #[arg(long, value_name = "COUNT", help_heading = "Limits", default_value_t = 100_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_max: u32,
}

impl WebArgs {
    /// Returns how many descriptors the server opens at most besides those of its connections, of which
    /// there are at most `connections`.
    pub(crate) fn descriptors(&self, connections: usize) -> usize {
        // A connection may send a file that the cache has dropped.
        let files = match self.root.is_some() || !self.host.is_empty() {
            true => self.cache_files.saturating_add(connections),
            false => 0,
        };
        self.proxy_connections.saturating_mul(self.proxy.len()).saturating_add(files)
    }
}

fn pair<'a>(text: &'a str, example: &str) -> Result<(&'a str, &'a str), String> {
    let pair = text.split_once('=').filter(|(one, other)| !one.is_empty() && !other.is_empty());
    pair.ok_or_else(|| format!("expected a pair such as {example}"))
}

fn parse_host(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = pair(text, "www.example.com=/srv/www")?;
    if name.contains(['/', ':']) && !name.starts_with('[') {
        return Err("expected the name of a host, without a scheme and a port".to_owned());
    }
    Ok((name.to_ascii_lowercase(), folder.into()))
}

fn parse_type(text: &str) -> Result<(String, String), String> {
    let (extension, media_type) = pair(text, "wasm=application/wasm")?;
    if !media_type.contains('/') || media_type.chars().any(char::is_control) {
        return Err("expected a media type such as text/plain".to_owned());
    }
    Ok((extension.trim_start_matches('.').to_owned(), media_type.to_owned()))
}

/// Fields that describe the message, its file or the connection, which the server sets by itself.
const OWN_FIELDS: [&str; 13] = [
    "accept-ranges",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "keep-alive",
    "last-modified",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn parse_field(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("expected a field such as \"Cache-Control: max-age=60\"")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{name:?} is no name of a field"));
    }
    if OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("the server sets {name} by itself"));
    }
    if value.chars().any(char::is_control) {
        return Err("a field has no control characters".to_owned());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn parse_error_page(text: &str) -> Result<(u16, String), String> {
    let (status, path) = pair(text, "404=/errors/404.html")?;
    let status: Option<u16> = status.parse().ok().filter(|it| (400..600).contains(it));
    let status = status.ok_or("expected a status from 400 to 599")?;
    Ok((status, parse_path(path)?))
}

/// Reads a path as the server compares it with those of requests: decoded, without dot segments.
fn parse_path(text: &str) -> Result<String, String> {
    let path = RequestPath::parse(text).map_err(|error| format!("{error}"))?;
    if !path.can_be_file() {
        return Err("an encoded slash cannot be in it".to_owned());
    }
    Ok(path.text().to_owned())
}

/// Reads a number above zero.
fn parse_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "expected a number above zero".to_owned())
}

fn parse_head_max(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        size @ 1..=0xffff => Ok(size),
        _ => Err("expected 1 to 65535 bytes".to_owned()),
    }
}

fn parse_proxy(text: &str) -> Result<(String, Location), String> {
    let (path, address) = pair(text, "/api=127.0.0.1:9000")?;
    let location: Location = address.parse().map_err(|error| format!("{error}"))?;
    if location.is_datagram() {
        return Err(format!(
            "{address} is for datagrams: expected an address of TCP or a Unix socket"
        ));
    }
    let has_port = match &location {
        Location::Address(Address::Tcp(address)) => address.port() != 0,
        Location::Host { service, .. } => service.parse() != Ok(0_u16),
        Location::Address(_) => true,
    };
    if !has_port {
        return Err(format!("{address}: 0 is no port"));
    }
    Ok((parse_path(path)?, location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_are_refused_with_what_was_expected() {
        for (result, part) in [
            (parse_host("www.example.com").map(drop), "a pair such as"),
            (parse_host("=/srv").map(drop), "a pair such as"),
            (parse_host("http://a=/srv").map(drop), "without a scheme"),
            (parse_type("html").map(drop), "a pair such as"),
            (parse_type("html=text").map(drop), "a media type"),
            (parse_field("Cache-Control").map(drop), "a field such as"),
            (parse_field("Cache Control: x").map(drop), "no name"),
            (parse_field("X: a\r\nY: b").map(drop), "control"),
            (parse_field("content-length: 1").map(drop), "by itself"),
            (parse_field("ETag: \"1\"").map(drop), "by itself"),
            (parse_field("Last-Modified: x").map(drop), "by itself"),
            (parse_field("Accept-Ranges: none").map(drop), "by itself"),
            (parse_field("Upgrade: h2c").map(drop), "by itself"),
            (parse_field("Trailer: X").map(drop), "by itself"),
            (parse_error_page("200=/x").map(drop), "from 400 to 599"),
            (parse_error_page("404=x").map(drop), "begin with /"),
            (parse_path("/../x").map(drop), "above"),
            (parse_path("/a%2fb").map(drop), "slash"),
            (parse_proxy("/api").map(drop), "a pair such as"),
            (parse_proxy("api=127.0.0.1:1").map(drop), "begin with /"),
            (parse_proxy("/api=127.0.0.1").map(drop), "port"),
            (parse_proxy("/api=127.0.0.1:0").map(drop), "no port"),
            (parse_proxy("/api=localhost:00").map(drop), "no port"),
            (parse_count("0").map(drop), "above zero"),
            (parse_head_max("64kb").map(drop), "1 to 65535"),
            (parse_head_max("0").map(drop), "positive size"),
            (parse_proxy("/api=udp://127.0.0.1:1").map(drop), "datagrams"),
        ] {
            let error = result.expect_err(part);
            assert!(error.contains(part), "{error} does not say {part}");
        }
    }

    #[test]
    fn right_values_are_read() {
        let host = parse_host("WWW.Example=/srv").expect("it is right");
        assert_eq!(host, ("www.example".to_owned(), "/srv".into()));
        let media_type = parse_type(".x=text/x; charset=utf-8").expect("it is right");
        assert_eq!(media_type, ("x".to_owned(), "text/x; charset=utf-8".to_owned()));
        assert_eq!(parse_path("/a/./b%20c/").as_deref(), Ok("/a/b c/"));
        for address in ["127.0.0.1:9000", "[::1]:9000", "localhost:9000", "unix:/run/app.sock"] {
            let (path, location) = parse_proxy(&format!("/api={address}")).expect(address);
            assert_eq!((path.as_str(), location.to_string().as_str()), ("/api", address));
        }
    }
}
