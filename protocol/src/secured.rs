//! The view of a session on the encryption of its connection.

/// The encryption of a connection, as a session sees it in
/// [`Context::secured`](crate::Context::secured). The layer of the connection is behind it, such as
/// `protocol::tls::Tls`; nothing is copied for it.
///
/// ```
/// use protocol::Context;
///
/// /// Returns the scheme of the URLs of a server of HTTP.
/// fn scheme(context: &Context<'_>) -> &'static str {
///     if context.secured.is_some() { "https" } else { "http" }
/// }
///
/// /// Returns whether both sides have agreed on HTTP/2.
/// fn is_http2(context: &Context<'_>) -> bool {
///     context.secured.and_then(|it| it.protocol()) == Some(b"h2")
/// }
/// # let (limits, mut effects) = (protocol::Limits::DEFAULT, protocol::Effects::default());
/// # let (now, me) = (std::time::Instant::now(), protocol::ConnectionId(1));
/// # let mut app = ();
/// # let context = Context::new(now, me, &mut app, &limits, &mut effects);
/// # assert_eq!((scheme(&context), is_http2(&context)), ("http", false));
/// ```
pub trait Secured {
    /// Returns the version of the protocol, such as `TLSv1.3`.
    fn version(&self) -> &str;

    /// Returns the cipher suite by its name in the registry of IANA, such as
    /// `TLS_AES_256_GCM_SHA384`.
    fn cipher(&self) -> &str;

    /// Returns the protocol that both sides use over the encryption, such as `http/1.1`, if they
    /// have agreed on one (ALPN, RFC 7301).
    fn protocol(&self) -> Option<&[u8]>;

    /// Returns the name of the server that the client has asked for, in lower case, if there is one
    /// (SNI, RFC 6066 section 3). Addresses are not sent.
    fn server_name(&self) -> Option<&str>;

    /// Returns whether the connection has resumed an earlier session.
    fn is_resumed(&self) -> bool;

    /// Returns the certificates that the peer has shown and this side has verified, in DER, its own
    /// first. Without verification (`protocol::tls::Trust::Anything`) they prove nothing.
    fn peer_certificates(&self) -> Vec<&[u8]>;

    /// Returns the subject of the peer's certificate, such as `O=Example, CN=client`, in the order
    /// of the certificate. It is parsed in each call.
    fn peer_subject(&self) -> Option<String>;
}
