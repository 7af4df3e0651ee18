//! The source that opens connections to other chunkservers: a session cannot.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use protocol::codecs::Packet;
use protocol::mfs::{Endpoint, Status, limit};
use protocol::{ConnectionId, Conversation, Limits, Service};
use reactor::{Address, ConnectOptions, Cx, Handler, Stream};

use super::app::{Chunkserver, Dial};
use super::chain::Successor;
use super::replica::Source;

/// How long connecting to the source of a replica may take.
const SOURCE_PATIENCE: Duration = Duration::from_secs(5);

/// Opens connections whenever it is woken.
pub(super) struct Dialer {
    pub(super) limits: Arc<Limits>,
}

impl Dialer {
    fn connect(
        &self,
        service: impl Service<Packet, Chunkserver> + 'static,
        target: Endpoint,
        timeout: Duration,
        cx: &mut Cx<'_, Chunkserver>,
    ) -> Option<ConnectionId> {
        let conversation = Conversation::new(Packet::with_size_max(limit::DATA_PORT), service);
        let options = ConnectOptions { timeout, ..ConnectOptions::DEFAULT };
        let address = Address::Tcp(SocketAddr::V4(SocketAddrV4::from(target)));
        let stream = Stream::new(conversation, Arc::clone(&self.limits));
        match stream.connect(&address, &options, cx) {
            Ok(token) => Some(token.into()),
            Err(error) => {
                warn!("cannot connect to {target}: {error}");
                None
            }
        }
    }
}

impl Handler<Chunkserver> for Dialer {
    fn ready(&mut self, cx: &mut Cx<'_, Chunkserver>) -> io::Result<()> {
        while let Some(dial) = cx.app.dials.pop_front() {
            match dial {
                Dial::Successor(chain) => {
                    // Its client may have gone meanwhile.
                    let Some((target, patience)) = cx.app.chains.target(chain) else { continue };
                    let connection = self.connect(Successor::new(chain), target, patience, cx);
                    cx.app.chains.dialled(chain, connection);
                    if let (None, Some(client)) = (connection, cx.app.chains.client(chain)) {
                        cx.wake(client);
                    }
                }
                Dial::Source(chunk) => {
                    let Some((number, target)) = cx.app.replicas.target(chunk) else { continue };
                    let source = Source::new(chunk, number);
                    if self.connect(source, target, SOURCE_PATIENCE, cx).is_none() {
                        cx.app.replica_failed(chunk, number, Status::CANTCONNECT);
                    }
                }
            }
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "mfs::chunkserver::Dialer"
    }
}
