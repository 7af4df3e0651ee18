//! The side of the chunkservers, with real ones.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use protocol::mfs::{ChunkId, Create, Delete, SetVersion, Status};
use servers::mfs::master::{Located, Master, Order, Outcome};
use testkit::moosefs::{ChunkServer, HOST, NETWORK, ask};
use testkit::{Folder, has_peer, in_namespace, process, tell};

use super::Embedded;
use crate::chunkserver::Chunkserver;
use crate::program::Metalogger;

/// The data ports of the chunkservers.
const PORTS: [u16; 2] = [29422, 29432];
/// How many chunks are created at once, and how many orders are under way.
const CROWD: usize = 1000;
const UNDER_WAY: usize = 64;

/// What the test hears of what it has asked for.
type Heard<T> = Rc<RefCell<Vec<T>>>;

/// A master with two chunkservers, both of which have registered and have space.
struct Cluster<S> {
    master: Embedded,
    servers: [S; 2],
    /// The folders of their chunks.
    disks: [PathBuf; 2],
}

impl Cluster<ChunkServer> {
    /// Starts real chunkservers, with files in `folder`.
    fn of_real_ones(name: &str, folder: &Folder) -> Self {
        let master = Embedded::start(name, HOST, &[]);
        let [_, port, _] = master.ports();
        let start = |name, own| ChunkServer::start(folder, name, own, port, "LABELS = A,C\n");
        let servers = [start("one", PORTS[0]), start("two", PORTS[1])];
        let disks = [servers[0].disk.clone(), servers[1].disk.clone()];
        Self::start(master, servers, disks)
    }
}

impl Cluster<Chunkserver> {
    /// Starts chunkservers of our own.
    fn of_our_own(name: &str) -> Self {
        let master = Embedded::start(name, HOST, &[]);
        let [_, address, _] = master.addresses();
        let start = |name, port| {
            let listen = format!("{HOST}:{port}");
            Chunkserver::start_in(Folder::new(name), &address, &["--listen", &listen])
        };
        let servers = [start("own-one", PORTS[0]), start("own-two", PORTS[1])];
        let disks = [0, 1].map(|place: usize| servers[place].folder.path().join("disk"));
        Self::start(master, servers, disks)
    }
}

impl<S> Cluster<S> {
    /// Waits until the chunkservers can be used.
    fn start(mut master: Embedded, servers: [S; 2], disks: [PathBuf; 2]) -> Self {
        master.turn_until("the registrations", |master| {
            master.chunkservers().len() == 2 && master.space() > 0
        });
        let mut cluster = Self { master, servers, disks };
        // Both have told how much space they have once a chunk gets two copies.
        let mut located = cluster.operate(Master::create).expect("it is created");
        while located.places.len() < 2 {
            thread::sleep(Duration::from_millis(50));
            located = cluster.operate(Master::create).expect("it is created");
        }
        cluster
    }

    /// Carries an operation out, and waits for its end.
    #[track_caller]
    fn operate(
        &mut self,
        begin: impl FnOnce(&mut Master, Box<dyn FnOnce(Outcome, &mut Master)>),
    ) -> Outcome {
        let heard = Heard::default();
        let hears = Rc::clone(&heard);
        let done = Box::new(move |outcome, _: &mut Master| hears.borrow_mut().push(outcome));
        self.master.with(|master| begin(master, done));
        self.master.turn_until("the end of the operation", |_| !heard.borrow().is_empty());
        heard.take().remove(0)
    }

    /// Gives an order to one chunkserver, and waits for its answer.
    #[track_caller]
    fn order(&mut self, csid: u16, order: Order) -> Status {
        let heard = Heard::default();
        let hears = Rc::clone(&heard);
        self.master.with(|master| {
            master.order(csid, order, move |status, _| hears.borrow_mut().push(status));
        });
        self.master.turn_until("the answer", |_| !heard.borrow().is_empty());
        heard.take().remove(0)
    }

    /// Asks with `mfscli`, while the loop turns.
    fn ask(&mut self, sections: &'static [&'static str]) -> String {
        let [.., clients] = self.master.ports();
        let asking = thread::spawn(move || ask(clients, sections));
        self.master.turn_until("the answer", |_| asking.is_finished());
        asking.join().expect("it ends")
    }

    /// Returns the files of a chunk with this version on all disks.
    fn files(&self, chunk: ChunkId, version: u32) -> Vec<PathBuf> {
        let name = format!("chunk_{chunk}_{version:08X}.mfs");
        let folders = self.disks.iter().flat_map(|disk| fs::read_dir(disk).expect("it is there"));
        let files = folders.flatten().map(|folder| folder.path().join(&name));
        files.filter(|path| path.is_file()).collect()
    }

    /// Checks that a chunk is where an operation has left it, with good files.
    #[track_caller]
    fn check(&self, located: &Located, version: u32) {
        assert_eq!((located.version, located.places.len()), (version, 2), "{located:?}");
        let files = self.files(located.chunk, version);
        assert_eq!(files.len(), 2, "{files:?}");
        for file in files {
            let output = Command::new("mfschunktool").arg("-x").arg(&file).output();
            let output = output.expect("the program is there");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains(": OK"), "{}: {said}", file.display());
        }
    }
}

/// Returns whether everything is there, and this is the namespace of the test.
fn is_ready(test: &str) -> bool {
    ["mfschunkserver", "mfschunktool", "mfscli"].into_iter().all(has_peer)
        && in_namespace(&format!("master::chunkservers::{test}"), NETWORK)
}

#[test]
fn real_chunkservers_do_what_they_are_ordered() {
    if !is_ready("real_chunkservers_do_what_they_are_ordered") {
        return;
    }
    let folder = Folder::new("cs-orders-real");
    let mut cluster = Cluster::of_real_ones("cs-orders", &folder);
    let created = cluster.operate(Master::create).expect("it is created");
    assert!(created.places.iter().all(|place| place.labels == 0b101), "{created:?}");
    cluster.carries_out_all_orders();
    let listed = cluster.ask(&["-SCS", "-SHD", "-SIG", "-SIN"]);
    for port in PORTS {
        let line = format!("chunk servers:\t{HOST}\t{port}\t");
        assert!(listed.contains(&line), "{line:?} in {listed}");
    }
    assert_eq!(listed.matches("\tno errors\tok").count(), 2, "{listed}");
    assert!(!listed.contains("Traceback") && !listed.contains("rror:"), "{listed}");
    tell("LISTED", &listed.lines().take(4).collect::<Vec<_>>().join(" / "));
}

#[test]
fn our_own_programs_do_the_same() {
    if !is_ready("our_own_programs_do_the_same") {
        return;
    }
    let mut cluster = Cluster::of_our_own("own-orders");
    let [metaloggers, ..] = cluster.master.addresses();
    let logger = Metalogger::start("own-logger", &metaloggers, &[]);
    cluster.master.turn_until("the registration", |master| master.metaloggers().0 == 1);
    let version = cluster.master.with(|master| master.version());
    cluster.carries_out_all_orders();
    let last = cluster.master.with(|master| master.version());
    assert!(last > version, "{last} after {version}");
    let line = format!("{last}: ");
    cluster.master.turn_until("the last change", |_| {
        logger.text("changelog_ml.0.mfs").lines().any(|it| it.starts_with(&line))
    });
    let listed = cluster.ask(&["-SCS", "-SHD", "-SMB"]);
    assert_eq!(listed.matches("\tno errors\tok").count(), 2, "{listed}");
}

impl<S> Cluster<S> {
    /// Carries out each kind of order, also in vain.
    #[track_caller]
    fn carries_out_all_orders(&mut self) {
        let created = self.operate(Master::create).expect("it is created");
        self.check(&created, 1);
        let chunk = created.chunk;

        let raised = self.operate(|master, done| master.raise_version(chunk, done));
        self.check(&raised.expect("it is raised"), 2);
        let cut = self.operate(|master, done| master.truncate(chunk, 100_000, done));
        self.check(&cut.expect("it is cut"), 3);
        let copied = self.operate(|master, done| master.duplicate(chunk, done));
        let copied = copied.expect("it is copied");
        self.check(&copied, 1);
        let part = self.operate(|master, done| master.duplicate_truncated(chunk, 70_000, done));
        self.check(&part.expect("it is copied"), 1);

        // A chunk that has lost a copy gets it from the other one.
        let csid = created.places[0].csid;
        let delete = Order::Delete(Delete { chunk: copied.chunk, version: 1 });
        assert_eq!(self.order(csid, delete), Status::OK);
        self.master.with(|master| master.forget_copy(copied.chunk, csid));
        let replicated = self.operate(|master, done| master.replicate(copied.chunk, done));
        self.check(&replicated.expect("it is replicated"), 1);

        // What cannot be done.
        let create = Order::Create(Create { chunk, version: 3 });
        assert_eq!(self.order(csid, create), Status::CHUNKEXIST);
        let wrong = SetVersion { chunk, version: 9, old_version: 8 };
        assert_eq!(self.order(csid, Order::SetVersion(wrong)), Status::WRONGVERSION);
        let nothing = Delete { chunk: ChunkId(0xdead), version: 1 };
        assert_eq!(self.order(csid, Order::Delete(nothing)), Status::NOCHUNK);
        assert_eq!(self.order(999, create), Status::CSNOTPRESENT);
        let nothing = self.operate(|master, done| master.truncate(ChunkId(0xdead), 0, done));
        assert_eq!(nothing, Err(Status::NOCHUNK));

        let deleted = self.operate(|master, done| master.delete(chunk, done));
        assert_eq!(deleted.expect("it is deleted").places.len(), 2);
        assert!(self.files(chunk, 3).is_empty());
        assert_eq!(self.master.with(|master| master.locate(chunk)), None);
    }
}

#[test]
fn a_thousand_chunks_are_created_with_few_orders_under_way() {
    if !is_ready("a_thousand_chunks_are_created_with_few_orders_under_way") {
        return;
    }
    let folder = Folder::new("cs-crowd-real");
    let mut cluster = Cluster::of_real_ones("cs-crowd", &folder);
    let heard = Heard::<Outcome>::default();
    let start = Instant::now();
    cluster.master.with(|master| {
        for _ in 0..CROWD {
            let hears = Rc::clone(&heard);
            master.create(move |outcome, _| hears.borrow_mut().push(outcome));
        }
    });
    cluster.master.turn_until("the chunks", |_| heard.borrow().len() == CROWD);
    let took = start.elapsed();
    let copies: usize =
        heard.borrow().iter().map(|it| it.as_ref().map_or(0, |it| it.places.len())).sum();
    assert_eq!(copies, 2 * CROWD, "no status but 0");
    let csids = cluster.master.with(|master| master.chunkservers());
    for csid in csids {
        assert_eq!(cluster.master.with(|master| master.orders_most(csid)), UNDER_WAY);
    }
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    tell("CREATED", &format!("{CROWD} chunks in {took:?}"));
}

#[test]
fn a_chunkserver_that_stands_still_is_dropped_and_comes_back_with_its_number() {
    if !is_ready("a_chunkserver_that_stands_still_is_dropped_and_comes_back_with_its_number") {
        return;
    }
    let folder = Folder::new("cs-stop-real");
    let mut cluster = Cluster::of_real_ones("cs-stop", &folder);
    let located = cluster.operate(Master::create).expect("it is created");
    let csids = cluster.master.with(|master| master.chunkservers());
    let stopped = cluster.servers[0].daemon.pid();
    process::signal(stopped, "STOP");
    let since = Instant::now();
    cluster.master.turn_until("the end of one", |master| master.chunkservers().len() == 1);
    assert!(
        since.elapsed() >= Duration::from_secs(9),
        "it was given up after {:?}",
        since.elapsed()
    );
    // The other one goes on.
    let alone = cluster.operate(Master::create).expect("one has space");
    assert_eq!(alone.places.len(), 1);
    let known = cluster.master.with(|master| master.locate(located.chunk)).expect("it is known");
    assert_eq!(known.places.len(), 1);
    let listed = cluster.ask(&["-SCS"]);
    assert!(listed.contains("Disconnected chunk servers:"), "{listed}");
    process::signal(stopped, "CONT");
    cluster.master.turn_until("its return", |master| master.chunkservers() == csids);
    cluster.master.turn_until("its chunks", |master| {
        master.locate(located.chunk).is_some_and(|it| it.places.len() == 2)
    });
    cluster.servers[0].daemon.stop();
    cluster.master.turn_until("its stop", |master| master.chunkservers().len() == 1);
}

#[test]
fn only_a_chunkserver_with_the_code_registers() {
    if !is_ready("only_a_chunkserver_with_the_code_registers") {
        return;
    }
    let mut master = Embedded::start("cs-code", HOST, &["--auth-code", "open sesame"]);
    let folder = Folder::new("cs-code-real");
    let [_, port, _] = master.ports();
    let start = |name, own, code: &str| {
        ChunkServer::start(&folder, name, own, port, &format!("AUTH_CODE = {code}\n"))
    };
    let _wrong = start("wrong", PORTS[1], "open wheat");
    master.turn_until("the refusal", |master| master.refused() > 0);
    let _right = start("right", PORTS[0], "open sesame");
    master.turn_until("the registration", |master| master.chunkservers().len() == 1);
    let refused = master.with(|master| master.refused());
    master.turn_until("another refusal", |master| master.refused() > refused);
    assert_eq!(master.with(|master| master.chunkservers()), [1]);
}
