//! The server `kv` on a thread. A test cannot start the program `kv`: Cargo gives a test only the
//! paths of programs of its own package.
use std::time::Duration;

use protocol::tls::TlsServer;
use reactor::BackendKind;
use servers::kv::{self, App, KvArgs};
use servers::{IdleTimeout, LoopArgs, ServerArgs, TlsArgs};
use testkit::Folder;

use super::{IDLE, Server};

/// A `kv` in its own folder, which ends with the test.
pub(crate) struct Kv {
    /// Declared before the folder, because fields are dropped in this order and the socket is in
    /// the folder.
    server: Server<App>,
    folder: Folder,
}

impl Kv {
    /// Starts a store, with a password if given, from the same arguments as the program.
    pub(crate) fn start(password: Option<&str>) -> Self {
        let folder = Folder::new("kv");
        let address = format!("unix:{}", folder.file("socket"));
        Self { server: listen(password, &address, None), folder }
    }

    /// The same on a TCP address.
    pub(crate) fn start_tcp(password: Option<&str>, address: &str) -> Self {
        Self { server: listen(password, address, None), folder: Folder::new("kv") }
    }

    /// The same, over TLS on a free port of 127.0.0.1.
    pub(crate) fn start_tls(password: Option<&str>, tls: TlsServer) -> Self {
        Self { server: listen(password, "127.0.0.1:0", Some(tls)), folder: Folder::new("kv") }
    }

    /// Returns its TCP port.
    pub(crate) fn port(&self) -> u16 {
        let port = self.server.address.rsplit(':').next().map(str::parse);
        port.expect("it has a port").expect("it is a number")
    }

    /// Returns the path of its socket.
    pub(crate) fn socket(&self) -> String {
        self.folder.file("socket")
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket())
    }
}

fn listen(password: Option<&str>, address: &str, tls: Option<TlsServer>) -> Server<App> {
    let common = ServerArgs {
        listen: vec![address.parse().expect("it is an address")],
        dual_stack: false,
        backend: BackendKind::Epoll,
        idle_timeout: IdleTimeout::After(IDLE),
        max_connections: Some(1000),
        unix_mode: None,
        keepalive: IdleTimeout::Off,
        handover_timeout: Duration::from_secs(30),
        loops: LoopArgs::default(),
        tls: TlsArgs::default(),
    };
    let own = KvArgs {
        maxmemory: None,
        requirepass: password.map(str::to_owned),
        pubsub_backlog: 32 << 20,
        normal_backlog: 1 << 30,
        maxmemory_clients: 2 << 30,
    };
    Server::run(address, tls, move || kv::application(&common, &own))
}
