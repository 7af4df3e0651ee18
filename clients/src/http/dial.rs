//! Making connections: directly or through a proxy, with TLS or without.

use std::sync::Arc;

use protocol::Session;
use protocol::link::Link;
use protocol::tls::TlsClient;
use reactor::{ConnectOptions, Cx, Stream, Token};
use url::Url;

use super::courier::Courier;
use super::desk::Desk;
use super::route::Key;
use super::{Error, ErrorKind, Options, Origin, Tunnel};

/// Makes a connection for requests with this key.
pub(super) fn dial<A: 'static>(
    desk: &Arc<Desk<A>>,
    key: &Key,
    cx: &mut Cx<'_, A>,
) -> Result<Token, Error> {
    let session = Courier::session(Arc::clone(desk), key.clone());
    let origin = match key {
        // The connection to a proxy has no TLS; requests of `https` go through a tunnel.
        Key::Forward(_) => None,
        Key::Direct(origin) | Key::Tunnel(origin, _) => Some(origin).filter(|it| it.is_secure),
    };
    let tls = origin.map(|origin| desk.tls().map(|tls| (tls, origin))).transpose()?;
    connect_by(session, key, tls, &desk.options, cx)
}

/// Connects any session to the server of a URL, as a [`Client`](super::Client) does for its requests:
/// through the proxy for it, and with TLS if the scheme is `https`. Of `options`, those of connections
/// count. A connection that cannot be made ends like any other: its session is told why in `closed`.
///
/// # Errors
/// When the URL cannot be used, TLS is not possible, or the kernel refuses to watch the socket.
pub fn connect<A: 'static, P, S: Session<A> + 'static>(
    session: S,
    url: &Url,
    options: &Options,
    cx: &mut Cx<'_, A, P>,
) -> Result<Token, Error> {
    let origin = Origin::of(url)?;
    let key = match options.proxies.for_origin(&origin) {
        None => Key::Direct(origin.clone()),
        Some(proxy) => Key::Tunnel(origin.clone(), proxy.clone()),
    };
    let tls = match origin.is_secure {
        true => Some((options.make_tls()?, &origin)),
        false => None,
    };
    connect_by(session, &key, tls, options, cx)
}

/// Makes a connection for a key.
fn connect_by<A: 'static, P, S: Session<A> + 'static>(
    session: S,
    key: &Key,
    tls: Option<(TlsClient, &Origin)>,
    options: &Options,
    cx: &mut Cx<'_, A, P>,
) -> Result<Token, Error> {
    let failed = |error: std::io::Error| Error::new(ErrorKind::Connect, error.to_string());
    let mut limits = options.limits;
    limits.handshake = options.connect.timeout;
    let limits = limits.shared().map_err(|error| failed(error.into()))?;
    let (location, connect): (_, &ConnectOptions) = (key.location(options), &options.connect);
    let tunnel = match key {
        Key::Tunnel(origin, proxy) => {
            Tunnel::through(session, proxy, origin, tls.is_some(), connect.timeout)
        }
        _ => Tunnel::straight(session),
    };
    let Some((client, origin)) = tls else {
        return Stream::new(tunnel, limits).connect(location, connect, cx).map_err(failed);
    };
    let layer = client
        .layer(&origin.host)
        .map_err(|error| Error::new(ErrorKind::Tls, format!("{origin}: {error}")))?;
    let link = match key {
        Key::Tunnel(..) => Link::with_layer_later(tunnel, layer, limits),
        _ => Link::with_layer(tunnel, layer, limits),
    };
    Stream::over(link).connect(location, connect, cx).map_err(failed)
}
