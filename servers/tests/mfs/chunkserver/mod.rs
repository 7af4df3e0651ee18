//! The chunkserver as a process, and peers of it that tests play.

mod data_port;
mod hostile;
mod orders;
mod real;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use protocol::mfs::{
    Accepted, BLOCK_SIZE, ChunkId, ChunkVersion, ChunkserverAbout, ChunkserverBegin,
    ChunkserverRegister, Create, CreateAnswer, Data, Endpoint, Kind, Labels, List, MasterAck,
    Message, ReadData, ReadForm, ReadStatus, Status, Version, WriteData, WriteFinish, WriteStatus,
    append_all,
};
use testkit::{Folder, PATIENCE, process, wait_until};

use crate::wire::Peer;

/// The id of the metadata of the masters that tests play.
const META_ID: u64 = 0x1122_3344_5566_7788;

/// A chunkserver that runs. It is ended on drop.
pub(crate) struct Chunkserver {
    child: Child,
    pub(crate) folder: Folder,
    pub(crate) port: u16,
}

impl Chunkserver {
    /// Starts a chunkserver of `master` with a new folder, on any port of the loopback.
    pub(crate) fn start(name: &str, master: SocketAddr) -> Self {
        Self::start_in(Folder::new(name), &master.to_string(), &[])
    }

    pub(crate) fn start_in(folder: Folder, master: &str, arguments: &[&str]) -> Self {
        for name in ["data", "disk"] {
            // It may be there from before.
            let _ = fs::create_dir(folder.path().join(name));
        }
        let log = File::create(folder.path().join("log")).expect("there is space");
        let listen =
            if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let child = Command::new(env!("CARGO_BIN_EXE_mfs-chunkserver"))
            .args(["--master", master, "--dir", &folder.file("data")])
            .args(["--disk", &folder.file("disk"), "--space-reserve", "0"])
            .args(listen)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stderr(log)
            .spawn()
            .expect("the program was built");
        let mut server = Self { child, folder, port: 0 };
        wait_until("the start of the chunkserver", || {
            let log = server.log();
            assert!(process::runs(server.pid()), "{log}");
            let line = log.lines().find_map(|line| line.split("listening on ").nth(1));
            let port = line.and_then(|place| place.rsplit(':').next()?.trim().parse().ok());
            server.port = port.unwrap_or(0);
            server.port != 0
        });
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until its log has this text so many times.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str, count: usize) {
        wait_until(&format!("{text:?} in the log, {count} times"), || {
            self.log().matches(text).count() >= count
        });
    }

    /// Returns the path of the file of a chunk.
    pub(crate) fn file_of(&self, chunk: u64, version: u32) -> PathBuf {
        let name = format!("disk/{:02X}/chunk_{chunk:016X}_{version:08X}.mfs", chunk & 0xff);
        self.folder.path().join(name)
    }

    /// Returns a connection to its data port.
    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(&format!("{}:{}", Ipv4Addr::LOCALHOST, self.port))
    }

    /// Stops it gracefully, and returns its folder.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Folder {
        process::signal(self.pid(), "TERM");
        let status = self.child.wait().expect("it is a child");
        assert!(status.success(), "{}", self.log());
        std::mem::replace(&mut self.folder, Folder::new("nothing"))
    }

    /// Kills it, and returns its folder.
    pub(crate) fn kill(mut self) -> Folder {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child");
        std::mem::replace(&mut self.folder, Folder::new("nothing"))
    }
}

impl Drop for Chunkserver {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Returns the body of the next packet of a type. Others are ignored.
    #[track_caller]
    pub(crate) fn next_of(&mut self, wanted: Kind) -> Vec<u8> {
        loop {
            let (kind, body) = self.next().unwrap_or_else(|| panic!("no {wanted} came"));
            if kind == wanted {
                return body;
            }
        }
    }

    /// Reads a part of a chunk, and checks the order and the CRCs.
    #[track_caller]
    pub(crate) fn read(
        &mut self,
        chunk: u64,
        version: u32,
        offset: u32,
        size: u32,
    ) -> Result<Vec<u8>, Status> {
        let chunk = ChunkId(chunk);
        self.send(&protocol::mfs::Read { form: ReadForm::Lively, chunk, version, offset, size });
        let mut bytes = Vec::new();
        loop {
            let (kind, body) = self.next().expect("it answers");
            if kind == Kind::READ_STATUS {
                let status = ReadStatus::parse(&body).expect("it is a status");
                assert_eq!(status.chunk, chunk);
                return status.status.done().map(|()| bytes);
            }
            assert_eq!(kind, Kind::READ_DATA);
            let data = ReadData::parse(&body).expect("it is data");
            let at = usize::from(data.block) * BLOCK_SIZE + usize::from(data.offset);
            assert_eq!((data.chunk, at), (chunk, offset as usize + bytes.len()));
            assert!(data.data.is_intact());
            bytes.extend_from_slice(data.data.bytes);
        }
    }

    /// Begins to write through a chain.
    pub(crate) fn begin_write(&mut self, chunk: u64, version: u32, chain: &[u16]) {
        let ip = Ipv4Addr::LOCALHOST.into();
        let route = append_all(chain.iter().map(|port| Endpoint { ip, port: *port }));
        let chain = List::new(&route).expect("it is a list");
        self.send(&protocol::mfs::Write { form: 1, chunk: ChunkId(chunk), version, chain });
    }

    pub(crate) fn write_data(
        &mut self,
        chunk: u64,
        write: u32,
        block: u16,
        offset: u16,
        bytes: &[u8],
    ) {
        let data = Data::new(bytes);
        self.send(&WriteData { chunk: ChunkId(chunk), write, block, offset, data });
    }

    /// Expects that a write is acknowledged with this status.
    #[track_caller]
    pub(crate) fn expect_status(&mut self, chunk: u64, write: u32, status: Status) {
        let body = self.next_of(Kind::WRITE_STATUS);
        let expected = WriteStatus { chunk: ChunkId(chunk), write, status };
        assert_eq!(WriteStatus::parse(&body), Ok(expected));
    }

    /// Writes bytes through a chain, block by block, and waits until they are acknowledged.
    #[track_caller]
    pub(crate) fn write(&mut self, chunk: u64, version: u32, chain: &[u16], bytes: &[u8]) {
        self.begin_write(chunk, version, chain);
        let blocks = bytes.chunks(BLOCK_SIZE);
        let count = blocks.len() as u32;
        for (block, bytes) in blocks.enumerate() {
            self.write_data(chunk, block as u32 + 1, block as u16, 0, bytes);
        }
        for write in 0..=count {
            self.expect_status(chunk, write, Status::OK);
        }
        self.send(&WriteFinish { chunk: ChunkId(chunk), version });
    }
}

/// A server that a test plays: a master, or a chunkserver.
pub(crate) struct Listening(TcpListener);

impl Listening {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback is there");
        listener.set_nonblocking(true).expect("it can be set");
        Self(listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it is bound")
    }

    /// Waits for a connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Peer {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("it can be set");
                    return Peer::new(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < until, "nothing connects");
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits for a chunkserver, and accepts its registration as number 7.
    #[track_caller]
    pub(crate) fn register(&self) -> Master {
        self.register_for(TIMEOUT)
    }

    /// As [`register`](Self::register): the chunkserver leaves after so many seconds of silence.
    #[track_caller]
    pub(crate) fn register_for(&self, timeout: u16) -> Master {
        let mut peer = self.accept();
        let begin = first_step(&mut peer);
        assert_eq!(begin.proof, None);
        Master::accept(peer, begin.about, timeout)
    }
}

/// Returns the first step of a registration.
#[track_caller]
pub(crate) fn first_step(peer: &mut Peer) -> ChunkserverBegin {
    let body = peer.next_of(Kind::REGISTER);
    match ChunkserverRegister::parse(&body) {
        Ok(ChunkserverRegister::Begin(begin)) => begin,
        other => panic!("{other:?}"),
    }
}

/// After how many seconds of silence a chunkserver leaves a master of these tests, which say nothing without
/// need: later than any test takes.
pub(crate) const TIMEOUT: u16 = 600;

/// The master's end of a connection on which a chunkserver has registered.
pub(crate) struct Master {
    pub(crate) peer: Peer,
    pub(crate) about: ChunkserverAbout,
    pub(crate) labels: u32,
    /// The chunks that it has registered with.
    pub(crate) chunks: Vec<ChunkVersion>,
}

impl Master {
    /// Accepts a chunkserver, and takes the rest of its registration.
    #[track_caller]
    pub(crate) fn accept(mut peer: Peer, about: ChunkserverAbout, timeout: u16) -> Self {
        let accepted = Accepted { version: Version::OURS, timeout, csid: 7, meta_id: META_ID };
        peer.send(&MasterAck::Accepted(accepted));
        let labels = Labels::parse(&peer.next_of(Kind::LABELS)).expect("they are labels").mask;
        let mut chunks = Vec::new();
        loop {
            let body = peer.next_of(Kind::REGISTER);
            match ChunkserverRegister::parse(&body) {
                Ok(ChunkserverRegister::Chunks(part)) => chunks.extend(part.iter()),
                Ok(ChunkserverRegister::Done) => break,
                other => panic!("{other:?}"),
            }
            peer.send(&MasterAck::Next);
        }
        chunks.sort_by_key(|it| it.chunk);
        Self { peer, about, labels, chunks }
    }

    /// Gives an order, and returns the body of its answer.
    #[track_caller]
    pub(crate) fn order<'a>(&mut self, order: &impl Message<'a>, answer: Kind) -> Vec<u8> {
        self.peer.send(order);
        self.peer.next_of(answer)
    }

    /// Orders a chunk to be made, as soon as the chunkserver has space.
    #[track_caller]
    pub(crate) fn create(&mut self, chunk: u64, version: u32) {
        let create = Create { chunk: ChunkId(chunk), version };
        wait_until("the creation of a chunk", || {
            let answer = self.order(&create, Kind::CREATE_ANSWER);
            let answer = CreateAnswer::parse(&answer).expect("it is an answer");
            assert_eq!(answer.chunk, create.chunk);
            match answer.status {
                Status::NOSPACE => false,
                status => {
                    assert_eq!(status, Status::OK);
                    true
                }
            }
        });
    }
}
