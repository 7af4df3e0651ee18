//! The source that opens connections to other servers: a session cannot.

use std::io;
use std::sync::Arc;

use protocol::http::{Client, ClientOptions, Status};
use protocol::{Limits, Upgrade};
use reactor::{ConnectOptions, Cx, Handler, Stream};

use super::tunnel::Tunnel;
use super::upstream::Upstream;
use crate::web::App;

/// Opens connections to other servers whenever it is woken.
pub(crate) struct Dialer {
    options: Arc<ClientOptions>,
    limits: Arc<Limits>,
    connecting: ConnectOptions,
}

impl Dialer {
    pub(crate) fn new(
        options: Arc<ClientOptions>,
        limits: Arc<Limits>,
        connecting: ConnectOptions,
    ) -> Self {
        Self { options, limits, connecting }
    }
}

impl Handler<App> for Dialer {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        while let Some((id, route)) = cx.app.proxy.orders.pop_front() {
            let Some(exchange) = cx.app.proxy.exchanges.get(&id) else {
                // Its client has gone meanwhile.
                cx.app.proxy.routes[route].connections -= 1;
                continue;
            };
            let client = exchange.client;
            let target = cx.app.proxy.routes[route].target.clone();
            let requester = Upstream::new(route, id);
            let session = Upgrade::new(Client::new(requester, Arc::clone(&self.options)), tunnel);
            let stream = Stream::new(session, Arc::clone(&self.limits));
            match stream.connect(target, &self.connecting, cx) {
                Ok(token) => {
                    if let Some(exchange) = cx.app.proxy.exchanges.get_mut(&id) {
                        exchange.upstream = Some(token.into());
                    }
                }
                Err(error) => {
                    log::warn!("cannot connect to {}: {error}", cx.app.proxy.routes[route].target);
                    cx.app.proxy.routes[route].connections -= 1;
                    if let Some(exchange) = cx.app.proxy.exchanges.get_mut(&id) {
                        exchange.failure = Some(Status::BAD_GATEWAY);
                    }
                    cx.wake(client);
                }
            }
        }
        Ok(())
    }
}

/// Makes the session of a connection whose protocol has changed.
fn tunnel(client: Client<Upstream>) -> Tunnel {
    client.into_requester().into_tunnel()
}
