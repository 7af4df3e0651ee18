//! The master.

mod chunkservers;
mod clients;
mod metaloggers;
mod mount;
mod restart;
mod running;
mod scripted;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use reactor::{LoopCx, Reactor};
use servers::mfs::master::{self, Master};
use testkit::{Folder, PATIENCE};

/// A master that the test drives: its loop turns while the test waits for something.
struct Embedded {
    reactor: Reactor<Master>,
    folder: Folder,
}

/// Returns the arguments to listen on these addresses: for metaloggers, chunkservers and clients.
fn listening_on(addresses: &[String; 3]) -> Vec<&str> {
    let names = ["--listen-metaloggers", "--listen-chunkservers", "--listen-clients"];
    names.into_iter().zip(addresses).flat_map(|(name, it)| [name, it.as_str()]).collect()
}

/// Returns any ports of a host.
fn any_of(host: &str) -> [String; 3] {
    [0; 3].map(|port| format!("{host}:{port}"))
}

/// Opens a master in a folder that may still be locked for a moment: by the thread of one that was
/// dropped, or by a process of another test that has not executed its program yet.
fn prepare(arguments: &[&str]) -> io::Result<Reactor<Master>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match master::prepare(arguments) {
            Err(error) if error.to_string().contains("uses it") && Instant::now() < until => {
                thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

impl Embedded {
    /// Starts a master with a new folder. Its ports are of `host`.
    fn start(name: &str, host: &str, arguments: &[&str]) -> Self {
        let any = any_of(host);
        Self::start_in(Folder::new(name), &[&listening_on(&any), arguments].concat())
    }

    fn start_in(folder: Folder, arguments: &[&str]) -> Self {
        let dir = folder.file("");
        let reactor = prepare(&[&["--dir", &dir], arguments].concat());
        Self { reactor: reactor.expect("it listens"), folder }
    }

    /// Stops it, and returns its folder.
    fn stop(mut self) -> Folder {
        self.reactor.cx().stop_gracefully(Duration::from_secs(1));
        self.reactor.run().expect("the loop ends");
        self.reactor.app.finish().expect("there is space");
        let Self { reactor, folder } = self;
        drop(reactor);
        folder
    }

    /// Returns the addresses for metaloggers, chunkservers and clients.
    fn addresses(&self) -> [String; 3] {
        let addresses = self.reactor.app.addresses();
        [0, 1, 2].map(|place| addresses[place].to_string())
    }

    /// Returns the ports for metaloggers, chunkservers and clients.
    fn ports(&self) -> [u16; 3] {
        let port = |address: String| address.rsplit(':').next().and_then(|it| it.parse().ok());
        self.addresses().map(|address| port(address).expect("it has a port"))
    }

    /// Calls a function of the master.
    fn with<T>(&mut self, call: impl FnOnce(&mut Master) -> T) -> T {
        let result = call(&mut self.reactor.app);
        let cx: &mut LoopCx<'_, Master> = &mut self.reactor.cx();
        Master::flush(cx);
        result
    }

    /// Makes a change: another file.
    fn create_file(&mut self) {
        self.with(|master| {
            // The root has the inode 1, and is there before the first change.
            let inode = master.version() + 2;
            master.change(format!("CREATE(1,file-{inode},1,420,0,0,0,0):{inode}"))
        })
        .expect("the inode and the name are free");
    }

    /// Turns the loop until `done` returns true.
    #[track_caller]
    fn turn_until(&mut self, what: &str, mut done: impl FnMut(&mut Master) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !self.with(&mut done) {
            assert!(Instant::now() < until, "{what} did not happen");
            let wait = Some(Duration::from_millis(10));
            self.reactor.run_once(wait).expect("the loop turns");
        }
    }
}
