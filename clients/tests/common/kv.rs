//! Our own store on a thread, so that both tools can be had in one test with it: cargo tells a test
//! only of the programs of its own package.

use std::path::PathBuf;

use reactor::BackendKind;
use servers::kv::{self, App, KvArgs};
use servers::{IdleTimeout, ServerArgs};

use super::redis::new_folder;
use super::{IDLE, Server};

/// A `kv` in a folder of its own, which ends with the test.
pub(crate) struct Kv {
    /// Dropped first: it listens in the folder.
    server: Option<Server<App>>,
    folder: PathBuf,
}

impl Kv {
    /// A store with a password, if there is one, made of the same arguments as the program.
    pub(crate) fn start(password: Option<&str>) -> Self {
        let folder = new_folder();
        let address = format!("unix:{}", folder.join("socket").display());
        let common = ServerArgs {
            listen: vec![address.clone()],
            backend: BackendKind::Epoll,
            idle_timeout: IdleTimeout::After(IDLE),
            max_connections: 1000,
            unix_mode: None,
        };
        let own = KvArgs {
            maxmemory: None,
            requirepass: password.map(str::to_owned),
            pubsub_backlog: 32 << 20,
            normal_backlog: 1 << 30,
        };
        let server = Server::run(&address, move || kv::application(&common, &own));
        Self { server: Some(server), folder }
    }

    /// Where its socket is.
    pub(crate) fn socket(&self) -> String {
        self.folder.join("socket").display().to_string()
    }

    /// Its address for the library.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket())
    }
}

impl Drop for Kv {
    fn drop(&mut self) {
        self.server = None;
        // What is left in the folder for temporary files is no failure.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
