//! The server's side of the handshake (RFC 6455 section 4.2).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ACCEPT_SIZE, Agreement, HandshakeError, accept_of};
use crate::http::{self, Fields, RequestHead, Response, Server, Status, Version};
use crate::websocket::{Connection, Options, Origins, Service, extension};
use crate::{Context, Flow, Session, Upgrade};

/// A handshake that a server agrees to: see [`accept`].
#[derive(Clone, Debug)]
pub struct Accepted {
    accept: [u8; ACCEPT_SIZE],
    extension: Option<String>,
    agreement: Agreement,
}

impl Accepted {
    /// Answers the request with 101. The service of HTTP then returns
    /// [`Flow::Upgrade`](crate::Flow::Upgrade).
    pub fn respond(&self, response: &mut Response<'_>) {
        let mut head = response.switch_protocols("websocket");
        head = head.field("Sec-WebSocket-Accept", self.accept);
        if let Some(subprotocol) = self.agreement.subprotocol() {
            head = head.field("Sec-WebSocket-Protocol", subprotocol);
        }
        if let Some(extension) = &self.extension {
            head = head.field("Sec-WebSocket-Extensions", extension);
        }
        head.empty();
    }

    /// Returns what is agreed.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Returns what is agreed, for [`Connection::server`].
    pub fn into_agreement(self) -> Agreement {
        self.agreement
    }
}

impl HandshakeError {
    /// Answers a request with the status of the error and its text. The answer to another version
    /// names that of this side (RFC 6455 section 4.4).
    pub fn respond(self, response: &mut Response<'_>) {
        let status = Status::new(self.status()).unwrap_or(Status::BAD_REQUEST);
        let mut head = response.head(status).field("Content-Type", "text/plain; charset=utf-8");
        if status == Status::UPGRADE_REQUIRED {
            head = head.field("Upgrade", "websocket").field("Sec-WebSocket-Version", "13");
        }
        head.body(format!("{self}\n").as_bytes());
    }
}

/// Returns whether a request wants to change to WebSocket. Others may be served as usual.
pub fn is_upgrade(head: &RequestHead<'_>) -> bool {
    let fields = head.fields();
    fields.contains_token("upgrade", "websocket") && fields.contains_token("connection", "upgrade")
}

/// Checks a request to change to WebSocket, and agrees on a subprotocol and on compression.
///
/// ```
/// use protocol::http::{self, RequestHead, Response, Server};
/// use protocol::websocket::{self, Agreement, Connection, Options};
/// use protocol::{Context, Flow, Upgrade};
/// # use protocol::websocket::{Message, Sender, Service};
/// # use std::sync::Arc;
///
/// /// Changes to WebSocket where `/chat` is requested.
/// struct Front {
///     options: Arc<Options>,
///     agreement: Option<Agreement>,
/// }
///
/// impl http::Service for Front {
///     fn request(
///         &mut self,
///         head: &RequestHead<'_>,
///         response: &mut Response<'_>,
///         _: &mut Context<'_>,
///     ) -> Flow {
///         if head.path() != "/chat" {
///             response.error(http::Status::NOT_FOUND);
///             return Flow::Continue;
///         }
///         match websocket::accept(head, &self.options) {
///             Ok(accepted) => {
///                 accepted.respond(response);
///                 self.agreement = Some(accepted.into_agreement());
///                 Flow::Upgrade
///             }
///             Err(error) => {
///                 error.respond(response);
///                 Flow::Continue
///             }
///         }
///     }
/// }
/// # struct Chat;
/// # impl Service for Chat {
/// #     fn message(&mut self, _: Message<'_>, _: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
/// #         Flow::Continue
/// #     }
/// # }
///
/// let front = Front { options: Options::default().shared()?, agreement: None };
/// let session = Upgrade::new(Server::new(front, http::Options::default().shared()?), |server| {
///     let front = server.into_service();
///     let agreement = front.agreement.unwrap_or_else(|| Agreement::plain(front.options));
///     Connection::server(Chat, agreement)
/// });
/// # let _ = session;
/// # Ok::<(), protocol::LimitsError>(())
/// ```
///
/// # Errors
/// What is wrong with the request, or that its origin may not connect.
pub fn accept(head: &RequestHead<'_>, options: &Arc<Options>) -> Result<Accepted, HandshakeError> {
    let fields = head.fields();
    if !is_upgrade(head) {
        return Err(HandshakeError::NoUpgrade);
    }
    let is_plain = head.method() == "GET" && head.version() == Version::Http11;
    if !is_plain || !head.body().is_empty() {
        return Err(HandshakeError::Request);
    }
    if only(&fields, "sec-websocket-version") != Some("13") {
        return Err(HandshakeError::Version);
    }
    let key = only(&fields, "sec-websocket-key").filter(|key| is_key(key));
    let key = key.ok_or(HandshakeError::Key)?;
    if !is_allowed(&fields, head.host(), &options.origins) {
        return Err(HandshakeError::Origin);
    }
    let offers = fields.tokens("sec-websocket-extensions");
    let deflate = options.deflate.as_ref().and_then(|own| extension::accept(offers, own));
    let (deflate, extension) = deflate.unzip();
    let own = options.subprotocols.iter().take(usize::from(u16::MAX));
    // Names of subprotocols distinguish upper and lower case.
    let is_offered = |own: &String| fields.tokens("sec-websocket-protocol").any(|it| it == own);
    let subprotocol = own.clone().position(is_offered).map(|place| place as u16);
    let agreement = Agreement { options: Arc::clone(options), subprotocol, deflate };
    Ok(Accepted { accept: accept_of(key), extension, agreement })
}

/// Returns the value of a field that comes once.
fn only<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    let mut all = fields.get_all(name);
    let value = all.next()?;
    str::from_utf8(value).ok().filter(|_| all.next().is_none())
}

/// Returns whether a key is 16 bytes in Base64.
fn is_key(key: &str) -> bool {
    let mut bytes = [0; 18];
    key.len() == 24 && STANDARD.decode_slice(key, &mut bytes).is_ok_and(|size| size == 16)
}

/// Returns whether the page that connects may do so. A program that is no browser has no origin.
fn is_allowed(fields: &Fields<'_>, host: &str, origins: &Origins) -> bool {
    if fields.get("origin").is_none() {
        return true;
    }
    let origin = only(fields, "origin");
    match origins {
        Origins::Any => true,
        Origins::Listed(all) => {
            origin.is_some_and(|origin| all.iter().any(|it| it.eq_ignore_ascii_case(origin)))
        }
        Origins::SameHost => {
            origin.and_then(|it| it.split_once("://")).is_some_and(|(scheme, authority)| {
                // An origin never has the usual port of its scheme, and a host may.
                let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
                let host = host.strip_suffix(port).unwrap_or(host);
                host.eq_ignore_ascii_case(authority)
            })
        }
    }
}

/// A service of HTTP that only changes to WebSocket, and refuses all other requests.
#[derive(Debug)]
struct Gate {
    options: Arc<Options>,
    agreement: Option<Agreement>,
}

impl Gate {
    /// Returns what was agreed on. Nothing but WebSocket, if there was no request.
    fn into_agreement(self) -> Agreement {
        self.agreement.unwrap_or_else(|| Agreement::plain(self.options))
    }
}

impl<A> http::Service<A> for Gate {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        match accept(head, &self.options) {
            Ok(accepted) => {
                accepted.respond(response);
                self.agreement = Some(accepted.into_agreement());
                Flow::Upgrade
            }
            Err(error) => {
                error.respond(response);
                Flow::Continue
            }
        }
    }
}

/// Returns the session of a server that speaks WebSocket and nothing else, whatever path is
/// requested. `make` returns the service of the connection after the handshake.
pub fn server<A, S: Service<A>>(
    options: Arc<Options>,
    http: Arc<http::Options>,
    make: impl FnOnce(&Agreement) -> S,
) -> impl Session<A> {
    let gate = Gate { options, agreement: None };
    Upgrade::new(Server::new(gate, http), |server| {
        let agreement = server.into_service().into_agreement();
        Connection::server(make(&agreement), agreement)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::OwnedRequestHead;
    use crate::websocket::Deflate;

    const LINES: [&str; 6] = [
        "GET /chat HTTP/1.1",
        "Host: server.example.com",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];

    /// Returns the result for a request in which line `at` is replaced, and lines are added.
    fn accepted(
        at: usize,
        line: &str,
        more: &[&str],
        options: Options,
    ) -> Result<Accepted, HandshakeError> {
        let mut lines = LINES.to_vec();
        lines[at] = line;
        lines.retain(|line| !line.is_empty());
        lines.extend(more);
        let text = lines.join("\r\n") + "\r\n\r\n";
        let head = OwnedRequestHead::parse(text.as_bytes()).expect("it is valid");
        let (head, _) = head.expect("it is whole");
        accept(&head.view(), &options.shared().expect("no limit is zero"))
    }

    #[test]
    fn each_line_of_the_request_counts() {
        use HandshakeError::{Key, NoUpgrade, Request, Version};
        for (at, line, expected) in [
            (0, "GET /chat HTTP/1.1", None),
            (0, "POST /chat HTTP/1.1", Some(Request)),
            (0, "get /chat HTTP/1.1", Some(Request)),
            (0, "GET /chat HTTP/1.0", Some(Request)),
            (2, "Upgrade: WebSocket, other", None),
            (2, "Upgrade: other", Some(NoUpgrade)),
            (2, "", Some(NoUpgrade)),
            (3, "Connection: keep-alive, upgrade", None),
            (3, "Connection: close", Some(NoUpgrade)),
            (3, "", Some(NoUpgrade)),
            (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", Some(Key)),
            (4, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEyMw==", Some(Key)),
            (4, "Sec-WebSocket-Key: ************************", Some(Key)),
            (4, "", Some(Key)),
            (5, "Sec-WebSocket-Version: 8", Some(Version)),
            (5, "Sec-WebSocket-Version: 13, 8", Some(Version)),
            (5, "", Some(Version)),
        ] {
            let result = accepted(at, line, &[], Options::default());
            assert_eq!(result.err(), expected, "{line}");
        }
        for (line, expected) in [
            (LINES[4], Key),
            (LINES[5], Version),
            ("Content-Length: 1", Request),
            ("Transfer-Encoding: chunked", Request),
        ] {
            let result = accepted(0, LINES[0], &[line], Options::default());
            assert_eq!(result.err(), Some(expected), "{line}");
        }
    }

    #[test]
    fn origins_are_checked() {
        let listed = Origins::Listed(vec!["https://page.example".to_owned()]);
        for (origins, origin, is_allowed) in [
            (Origins::SameHost, "http://server.example.com", true),
            (Origins::SameHost, "https://SERVER.example.com", true),
            (Origins::SameHost, "http://server.example.com:8080", false),
            (Origins::SameHost, "http://evil.example", false),
            (Origins::SameHost, "http://server.example.com.evil.example", false),
            (Origins::SameHost, "null", false),
            (Origins::SameHost, "", false),
            (listed.clone(), "https://page.example", true),
            (listed.clone(), "HTTPS://Page.example", true),
            (listed.clone(), "http://page.example", false),
            (listed, "https://page.example:444", false),
            (Origins::Any, "null", true),
        ] {
            let options = Options { origins, ..Options::default() };
            let line = format!("Origin: {origin}");
            let result = accepted(0, LINES[0], &[&line], options);
            let expected = (!is_allowed).then_some(HandshakeError::Origin);
            assert_eq!(result.err(), expected, "{origin}");
        }
        let both = ["Origin: http://server.example.com"; 2];
        let result = accepted(0, LINES[0], &both, Options::default());
        assert_eq!(result.err(), Some(HandshakeError::Origin));
        let port = accepted(
            1,
            "Host: server.example.com:443",
            &["Origin: https://server.example.com"],
            Options::default(),
        );
        assert!(port.is_ok());
    }

    #[test]
    fn the_server_chooses_the_subprotocol_that_it_likes_best() {
        let own = ["v3", "v2", "v1"].map(str::to_owned).to_vec();
        for (offered, chosen) in [
            (&["Sec-WebSocket-Protocol: v1, v2"][..], Some("v2")),
            (&["Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Protocol: v3"], Some("v3")),
            (&["Sec-WebSocket-Protocol: V3"], None),
            (&[], None),
        ] {
            let options = Options { subprotocols: own.clone(), ..Options::default() };
            let accepted = accepted(0, LINES[0], offered, options).expect("it is accepted");
            assert_eq!(accepted.agreement().subprotocol(), chosen);
        }
    }

    #[test]
    fn compression_is_agreed_on_if_both_want_it() {
        for (deflate, offer, is_agreed) in [
            (None, "permessage-deflate", false),
            (Some(Deflate::default()), "permessage-deflate; client_max_window_bits", true),
            (Some(Deflate::default()), "x-webkit-deflate-frame", false),
        ] {
            let options = Options { deflate, ..Options::default() };
            let line = format!("Sec-WebSocket-Extensions: {offer}");
            let accepted = accepted(0, LINES[0], &[&line], options).expect("it is accepted");
            assert_eq!(accepted.agreement().is_compressed(), is_agreed);
            assert_eq!(accepted.extension.is_some(), is_agreed);
        }
    }
}
