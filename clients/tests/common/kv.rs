//! Our own store on a thread, so that both tools can be had in one test with it: cargo tells a test
//! only of the programs of its own package.

use reactor::BackendKind;
use servers::kv::{self, App, KvArgs};
use servers::{IdleTimeout, ServerArgs};
use testkit::Folder;

use super::{IDLE, Server};

/// A `kv` in a folder of its own, which ends with the test.
pub(crate) struct Kv {
    /// Before the folder, since they are dropped in this order, and it listens in there.
    server: Server<App>,
    folder: Folder,
}

impl Kv {
    /// A store with a password, if there is one, made of the same arguments as the program.
    pub(crate) fn start(password: Option<&str>) -> Self {
        let folder = Folder::new("kv");
        let address = format!("unix:{}", folder.file("socket"));
        Self { server: listen(password, &address), folder }
    }

    /// The same on a TCP address.
    pub(crate) fn start_tcp(password: Option<&str>, address: &str) -> Self {
        Self { server: listen(password, address), folder: Folder::new("kv") }
    }

    /// Its port, if that is where it listens.
    pub(crate) fn port(&self) -> u16 {
        let port = self.server.address.rsplit(':').next().map(str::parse);
        port.expect("it has a port").expect("it is a number")
    }

    /// Where its socket is.
    pub(crate) fn socket(&self) -> String {
        self.folder.file("socket")
    }

    /// Its address for the library.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket())
    }
}

fn listen(password: Option<&str>, address: &str) -> Server<App> {
    let common = ServerArgs {
        listen: vec![address.parse().expect("it is an address")],
        dual_stack: false,
        backend: BackendKind::Epoll,
        idle_timeout: IdleTimeout::After(IDLE),
        max_connections: Some(1000),
        unix_mode: None,
    };
    let own = KvArgs {
        maxmemory: None,
        requirepass: password.map(str::to_owned),
        pubsub_backlog: 32 << 20,
        normal_backlog: 1 << 30,
        maxmemory_clients: 2 << 30,
    };
    Server::run(address, move || kv::application(&common, &own))
}
