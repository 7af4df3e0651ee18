//! A session that asks a proxy for a connection to the server, and then becomes another session.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use protocol::{Buffer, Cause, Context, Flow, Output, Reason, Session};

use super::{Origin, Proxy, ProxyKind};

/// How long the head of an answer to `CONNECT` may be.
const HEAD_SIZE_MAX: usize = 16 * 1024;
/// The key of the timeout of the dialogue with the proxy.
const TIMEOUT_KEY: u8 = 0;

/// A session that first asks a proxy for a connection, starts the layer of its link if there is to
/// be one, and then is `inner`. Without a proxy it is `inner` from the beginning.
pub struct Tunnel<S> {
    inner: S,
    stage: Stage,
    /// Whether TLS is spoken through the tunnel.
    starts_layer: bool,
    timeout: Duration,
}

/// What the tunnel waits for.
enum Stage {
    /// The connection to the proxy.
    New(Box<Call>),
    /// The answer to `CONNECT`.
    Connecting(Box<Call>),
    /// The method that a SOCKS proxy chooses.
    Choosing(Box<Call>),
    /// The answer to the user and the password.
    Authenticating(Box<Call>),
    /// The answer to the request of SOCKS.
    Requesting(Box<Call>),
    /// The next call of the session: the layer was started in this one, and what is said in it would
    /// not pass through the layer.
    Starting,
    /// Nothing: the inner session has the connection.
    Open,
}

/// What the proxy is asked for.
struct Call {
    proxy: Proxy,
    target: Origin,
}

/// The reason why a proxy does not connect.
#[derive(Debug)]
pub struct TunnelError {
    proxy: String,
    text: String,
}

impl fmt::Display for TunnelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}: {}", self.proxy, self.text)
    }
}

impl std::error::Error for TunnelError {}

impl<S> Tunnel<S> {
    /// Returns `inner` without a proxy.
    pub fn straight(inner: S) -> Self {
        Self { inner, stage: Stage::Open, starts_layer: false, timeout: Duration::ZERO }
    }

    /// Returns a session that asks `proxy` for a connection to `target`, which may take `timeout`.
    /// If `starts_layer`, its link needs a layer that is started later
    /// ([`Link::with_layer_later`](protocol::link::Link::with_layer_later)).
    pub fn through(
        inner: S,
        proxy: &Proxy,
        target: &Origin,
        starts_layer: bool,
        timeout: Duration,
    ) -> Self {
        let call = Box::new(Call { proxy: proxy.clone(), target: target.clone() });
        Self { inner, stage: Stage::New(call), starts_layer, timeout }
    }
}

impl<S> Tunnel<S> {
    /// Goes on with the dialogue as far as the input allows. Returns whether it is over.
    fn talk(&mut self, input: &mut Buffer, output: &mut Output) -> Result<bool, TunnelError> {
        loop {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Starting) {
                Stage::New(call) if call.proxy.kind == ProxyKind::Http => {
                    call.ask_http(output);
                    Stage::Connecting(call)
                }
                Stage::New(call) => {
                    call.check()?;
                    let methods: &[u8] = if call.proxy.user.is_some() { &[0, 2] } else { &[0] };
                    output.append(&[5, methods.len() as u8]);
                    output.append(methods);
                    Stage::Choosing(call)
                }
                Stage::Connecting(call) => {
                    let Some(length) = head_length(input.filled()) else {
                        if input.len() > HEAD_SIZE_MAX {
                            return Err(call.error("the head of its answer is too long"));
                        }
                        self.stage = Stage::Connecting(call);
                        return Ok(false);
                    };
                    call.hear_http(&input.filled()[..length])?;
                    input.consume(length);
                    return Ok(true);
                }
                Stage::Choosing(call) => {
                    let Some(answer) = take::<2>(input) else {
                        self.stage = Stage::Choosing(call);
                        return Ok(false);
                    };
                    match call.hear_choice(answer)? {
                        0 => {
                            call.ask_socks(output);
                            Stage::Requesting(call)
                        }
                        _ => {
                            call.authenticate(output);
                            Stage::Authenticating(call)
                        }
                    }
                }
                Stage::Authenticating(call) => {
                    let Some([_, status]) = take::<2>(input) else {
                        self.stage = Stage::Authenticating(call);
                        return Ok(false);
                    };
                    if status != 0 {
                        return Err(call.error("it does not accept the user and the password"));
                    }
                    call.ask_socks(output);
                    Stage::Requesting(call)
                }
                Stage::Requesting(call) => {
                    let Some(length) = call.hear_socks(input.filled())? else {
                        self.stage = Stage::Requesting(call);
                        return Ok(false);
                    };
                    input.consume(length);
                    return Ok(true);
                }
                Stage::Starting | Stage::Open => return Ok(true),
            };
        }
    }

    fn is_in_dialogue(&self) -> bool {
        !matches!(self.stage, Stage::Starting | Stage::Open)
    }

    /// The dialogue for one call of the session. Returns whether the inner session may be called.
    fn pass<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<bool, Reason> {
        if context.cause == Cause::Opened {
            context.effects.set_timeout(TIMEOUT_KEY, Some(self.timeout));
        }
        if context.cause == Cause::Timeout(TIMEOUT_KEY) {
            return Err(Reason::Deadline);
        }
        if !self.talk(input, output).map_err(Reason::refused)? {
            return match context.input_ended {
                true => Err(Reason::refused(self.cut())),
                false => Ok(false),
            };
        }
        context.effects.set_timeout(TIMEOUT_KEY, None);
        if self.starts_layer {
            self.stage = Stage::Starting;
            context.effects.start_layer(output);
            context.effects.wake(context.me);
            return Ok(false);
        }
        self.stage = Stage::Open;
        context.cause = Cause::Opened;
        Ok(true)
    }

    fn cut(&self) -> TunnelError {
        match &self.stage {
            Stage::New(call)
            | Stage::Connecting(call)
            | Stage::Choosing(call)
            | Stage::Authenticating(call)
            | Stage::Requesting(call) => {
                call.error("it has ended the connection without an answer")
            }
            Stage::Starting | Stage::Open => {
                TunnelError { proxy: String::new(), text: "it has ended the connection".to_owned() }
            }
        }
    }
}

impl<A, S: Session<A>> Session<A> for Tunnel<S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        if self.is_in_dialogue() {
            if !self.pass(input, output, context)? {
                return Ok(Flow::Continue);
            }
        } else if matches!(self.stage, Stage::Starting) {
            self.stage = Stage::Open;
            context.cause = Cause::Opened;
        }
        self.inner.advance(input, output, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        self.inner.closed(reason, context);
    }
}

impl Call {
    fn error(&self, text: impl Into<String>) -> TunnelError {
        TunnelError { proxy: self.proxy.to_string(), text: text.into() }
    }

    fn ask_http(&self, output: &mut Output) {
        let authority = self.target.authority();
        let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(value) = authorization(&self.proxy) {
            head.push_str(&format!("Proxy-Authorization: {value}\r\n"));
        }
        head.push_str("\r\n");
        output.append(head.as_bytes());
    }

    /// Checks the answer to `CONNECT`. Any 2xx opens the tunnel (RFC 9110 section 9.3.6).
    fn hear_http(&self, head: &[u8]) -> Result<(), TunnelError> {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).trim().to_owned();
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(()),
            Some(407) => Err(self.error(match self.proxy.user {
                Some(_) => "it does not accept the user and the password (407)",
                None => {
                    "it asks for a user and a password (407): give http://USER:PASSWORD@HOST:PORT"
                }
            })),
            Some(_) => {
                let answer = line.split_once(' ').map_or("", |(_, rest)| rest);
                Err(self.error(format!("it does not connect to {}: {answer}", self.target)))
            }
            None => Err(self.error(format!("its answer is none of HTTP: {line:?}"))),
        }
    }

    /// Checks what fits into a request of SOCKS (RFC 1928 section 4, RFC 1929 section 2).
    fn check(&self) -> Result<(), TunnelError> {
        if self.target.host.len() > 255 {
            return Err(self.error("the name of the host is longer than SOCKS allows"));
        }
        match &self.proxy.user {
            Some((user, word)) if user.len() > 255 || word.len() > 255 => {
                Err(self.error("the user or the password is longer than SOCKS allows"))
            }
            _ => Ok(()),
        }
    }

    /// Checks the method that a SOCKS proxy has chosen, and returns it.
    fn hear_choice(&self, [version, method]: [u8; 2]) -> Result<u8, TunnelError> {
        match (version, method) {
            (5, 0) => Ok(0),
            (5, 2) if self.proxy.user.is_some() => Ok(2),
            (5, 0xff) => Err(self.error(match self.proxy.user {
                Some(_) => "it accepts no method of authentication that is supported",
                None => "it asks for authentication: give socks5://USER:PASSWORD@HOST:PORT",
            })),
            (5, other) => {
                Err(self.error(format!("it chooses the method {other}, which was not offered")))
            }
            _ => Err(self.error("its answer is none of SOCKS5")),
        }
    }

    fn authenticate(&self, output: &mut Output) {
        let (user, word) = self.proxy.user.clone().unwrap_or_default();
        output.append(&[1, user.len() as u8]);
        output.append(user.as_bytes());
        output.push(word.len() as u8);
        output.append(word.as_bytes());
    }

    fn ask_socks(&self, output: &mut Output) {
        output.append(&[5, 1, 0]);
        match self.target.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => {
                output.push(1);
                output.append(&ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                output.push(4);
                output.append(&ip.octets());
            }
            Err(_) => {
                output.append(&[3, self.target.host.len() as u8]);
                output.append(self.target.host.as_bytes());
            }
        }
        output.append(&self.target.port.to_be_bytes());
    }

    /// Checks the answer to the request. Returns its length, once it is there.
    fn hear_socks(&self, answer: &[u8]) -> Result<Option<usize>, TunnelError> {
        let [version, code, _, kind, first, ..] = *answer else { return Ok(None) };
        if version != 5 {
            return Err(self.error("its answer is none of SOCKS5"));
        }
        if code != 0 {
            return Err(self.error(format!(
                "it does not connect to {}: {}",
                self.target,
                word(code)
            )));
        }
        let address = match kind {
            1 => 4,
            3 => 1 + usize::from(first),
            4 => 16,
            _ => return Err(self.error("its answer has an address of an unknown kind")),
        };
        let length = 4 + address + 2;
        Ok((answer.len() >= length).then_some(length))
    }
}

/// Returns what a code of SOCKS means (RFC 1928 section 6).
fn word(code: u8) -> String {
    let known = match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "the network is unreachable",
        4 => "the host is unreachable",
        5 => "the connection was refused",
        6 => "the time to live has expired",
        7 => "it does not support the command",
        8 => "it does not support the kind of address",
        _ => return format!("error {code}"),
    };
    known.to_owned()
}

/// Returns the value of `Proxy-Authorization` for a proxy of HTTP.
pub(super) fn authorization(proxy: &Proxy) -> Option<String> {
    proxy.user.as_ref().map(|(user, word)| basic(user, word))
}

/// Returns the credentials of a user (RFC 7617 section 2).
pub(crate) fn basic(user: &str, word: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{word}")))
}

/// Returns the length of a head, if its end is there.
fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|place| place + 4)
}

/// Takes so many bytes from the input, once they are there.
fn take<const N: usize>(input: &mut Buffer) -> Option<[u8; N]> {
    let bytes = *input.filled().first_chunk::<N>()?;
    input.consume(N);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use protocol::codecs::Bytes;
    use protocol::testing::drive;
    use protocol::{Conversation, Reply, Service};

    use super::*;
    use crate::http::parse_url;

    /// Greets, and sends back what it hears.
    struct Echo;

    impl Service<Bytes> for Echo {
        fn open(&mut self, reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
            reply.send(b"[open]");
            Flow::Continue
        }

        fn call(
            &mut self,
            bytes: &mut [u8],
            reply: &mut Reply<'_, Bytes>,
            _: &mut Context<'_>,
        ) -> Flow {
            reply.send(bytes);
            Flow::Continue
        }
    }

    fn tunnel(proxy: &str, target: &str) -> Tunnel<Conversation<Bytes, Echo>> {
        let proxy = proxy.parse().expect("it is a proxy");
        let target = Origin::of(&parse_url(target).expect("it is a URL")).expect("it has a host");
        let inner = Conversation::new(Bytes, Echo);
        Tunnel::through(inner, &proxy, &target, false, Duration::from_secs(10))
    }

    /// Returns what is sent to a proxy that says `answers`, in every way of splitting them.
    fn said(proxy: &str, target: &str, answers: &[u8]) -> Result<Vec<u8>, Reason> {
        let whole = drive(&mut tunnel(proxy, target), &mut (), &[answers]);
        for cut in 1..answers.len() {
            let (one, two) = answers.split_at(cut);
            let split = drive(&mut tunnel(proxy, target), &mut (), &[one, two]);
            assert_eq!(split.as_ref().ok(), whole.as_ref().ok(), "split at {cut}");
        }
        whole
    }

    #[test]
    fn connect_opens_a_tunnel() {
        let said = said(
            "u:p@127.0.0.1:3128",
            "https://one.example",
            b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello",
        );
        let expected = "CONNECT one.example:443 HTTP/1.1\r\nHost: one.example:443\r\n\
                        Proxy-Authorization: Basic dTpw\r\n\r\n[open]hello";
        assert_eq!(String::from_utf8_lossy(&said.expect("it is open")), expected);
    }

    #[test]
    fn socks_opens_a_tunnel_for_names_and_addresses() {
        let answers = b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x50hello";
        let asked = said("socks5://127.0.0.1", "http://one.example", answers).expect("it is open");
        assert_eq!(asked, b"\x05\x01\x00\x05\x01\x00\x03\x0bone.example\x00\x50[open]hello");
        let answers = b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50";
        let asked = said("socks5://127.0.0.1", "http://10.0.0.1:258", answers).expect("it is open");
        assert_eq!(asked, b"\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x01\x02[open]");
        let answers = [b"\x05\x00\x05\x00\x00\x04".as_slice(), &[0; 18], b"x"].concat();
        let asked = said("socks5://127.0.0.1", "http://[::1]", &answers).expect("it is open");
        assert!(asked.ends_with(b"\x00\x00\x01\x00\x50[open]x"), "{asked:?}");
    }

    #[test]
    fn socks_authenticates() {
        let answers = b"\x05\x02\x01\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let asked = said("socks5://ab:c@127.0.0.1", "http://1.2.3.4", answers).expect("it is open");
        let expected =
            b"\x05\x02\x00\x02\x01\x02ab\x01c\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50[open]";
        assert_eq!(asked, expected);
    }

    #[test]
    fn each_refusal_says_why() {
        let (http, socks) = ("127.0.0.1:1", "socks5://127.0.0.1:1");
        let table: [(&str, &[u8], &str); 12] = [
            (http, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "USER:PASSWORD"),
            (http, b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway"),
            (http, b"HTTP/1.0 403 Forbidden\r\n\r\n", "403 Forbidden"),
            (http, b"SSH-2.0\r\n\r\n", "none of HTTP"),
            ("u:p@127.0.0.1:1", b"HTTP/1.1 407 x\r\n\r\n", "does not accept the user"),
            (socks, b"\x05\xff", "asks for authentication"),
            (socks, b"\x05\x02", "not offered"),
            (socks, b"HTTP/1.1 400", "none of SOCKS5"),
            (socks, b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0", "refused"),
            (socks, b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0", "not allowed by its rules"),
            (socks, b"\x05\x00\x05\x00\x00\x09\0\0\0\0\0\0", "unknown kind"),
            ("socks5://u:p@127.0.0.1:1", b"\x05\x02\x01\x01", "does not accept the user"),
        ];
        for (proxy, answers, hint) in table {
            let reason = said(proxy, "http://one.example", answers).expect_err(hint);
            let text = reason.to_string();
            assert!(text.contains(hint) && text.contains("127.0.0.1:1"), "{text}");
        }
        let long = format!("http://{}.example/", ["a"; 62].join(""));
        assert!(said(socks, &long, b"\x05\x00").is_err(), "the answer is incomplete");
        let endless = vec![b'x'; HEAD_SIZE_MAX + 1];
        let reason = drive(&mut tunnel(http, "one.example"), &mut (), &[&endless]);
        assert!(reason.expect_err("it is too long").to_string().contains("too long"));
    }
}
