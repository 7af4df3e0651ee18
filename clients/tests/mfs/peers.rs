//! A master and chunkservers that tests play. They do what no real one can be made to do.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use clients::mfs::{Client, Options};
use protocol::mfs::{
    Answer, Attributes, ChunkId, ClientRegister, ClientRegisterAnswer, CreateFileAnswer, Data,
    Endpoint, FileType, GetAttributesAnswer, Holder, Kind, List, LookupAnswer, Message, Mode,
    Numbered, OpenAnswer, ReadChunk, ReadChunkAnswer, ReadData, ReadStatus, SessionOpened, Status,
    TruncateFileAnswer, Version, WriteChunk, WriteChunkAnswer, WriteChunkEnd, append_all,
};
use testkit::PATIENCE;

/// One end of a connection, as packets.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    /// Returns the next packet that is not a sign of life, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            let mut header = [0; 8];
            self.0.read_exact(&mut header).ok()?;
            let [k0, k1, k2, k3, l0, l1, l2, l3] = header;
            let mut body = vec![0; u32::from_be_bytes([l0, l1, l2, l3]) as usize];
            self.0.read_exact(&mut body).ok()?;
            let kind = Kind(u32::from_be_bytes([k0, k1, k2, k3]));
            if kind != Kind::NOP {
                return Some((kind, body));
            }
        }
    }

    pub(crate) fn send<'a>(&mut self, message: &impl Message<'a>) {
        self.raw(&message.packet());
    }

    /// Answers the request with a number.
    pub(crate) fn answer<'a, A: Message<'a> + Clone + Default>(&mut self, number: u32, answer: A) {
        self.send(&Numbered { number, message: Answer::Done(answer) });
    }

    /// Answers the request with a number, and of a kind, with a status.
    pub(crate) fn status(&mut self, kind: Kind, number: u32, status: Status) {
        let mut packet = (kind.0 + 1).to_be_bytes().to_vec();
        packet.extend(5_u32.to_be_bytes());
        packet.extend(number.to_be_bytes());
        packet.push(status.0);
        self.raw(&packet);
    }

    /// The client may have closed the connection, which the test sees elsewhere.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }
}

/// Listens on the loopback. Each connection has a thread.
fn listen(serve: impl Fn(Peer, usize) + Send + Sync + 'static) -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback is there");
    let port = listener.local_addr().expect("it is bound").port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            stream.set_read_timeout(Some(PATIENCE)).expect("it is positive");
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(Peer(stream), number));
        }
    });
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

/// What the scripted master knows, and what it was asked.
#[derive(Default)]
pub(crate) struct World {
    /// The length of the only file.
    pub(crate) length: u64,
    /// The chunkservers of each chunk. A chunk that is not here is a hole.
    pub(crate) chunks: HashMap<u32, Vec<SocketAddrV4>>,
    /// What was asked, as texts.
    pub(crate) asked: Vec<String>,
    /// Statuses that are answered first, by the type of the request.
    pub(crate) refusals: HashMap<Kind, Vec<Status>>,
    /// The version of all chunks. Each write that is continued raises it.
    pub(crate) version: u32,
}

/// A master that tests play.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) address: SocketAddrV4,
    world: Arc<Mutex<World>>,
}

/// What a test does instead of the usual: it gets the connection, its number, and a request.
type Instead = dyn Fn(&mut Peer, usize, Kind, &[u8]) -> bool + Send + Sync;

impl Master {
    pub(crate) fn start(world: World) -> Self {
        Self::start_with(world, |_, _, _, _| false)
    }

    /// Starts a master. What `instead` returns true for is done.
    pub(crate) fn start_with(
        world: World,
        instead: impl Fn(&mut Peer, usize, Kind, &[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        let world = Arc::new(Mutex::new(World { version: world.version.max(1), ..world }));
        let (shared, instead): (_, Arc<Instead>) = (Arc::clone(&world), Arc::new(instead));
        let address = listen(move |mut peer, number| {
            // Signs of life may come before everything.
            peer.raw(&[0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
            while let Some((kind, body)) = peer.next() {
                if !instead(&mut peer, number, kind, &body) {
                    serve(&mut peer, kind, &body, &shared);
                }
            }
        });
        Self { address, world }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no thread has failed")
    }

    /// Returns what was asked that begins with a text.
    pub(crate) fn asked(&self, begin: &str) -> Vec<String> {
        self.world().asked.iter().filter(|it| it.starts_with(begin)).cloned().collect()
    }

    /// Returns options with short limits.
    pub(crate) fn options(&self) -> Options {
        let master = self.address.to_string().parse().expect("it is an address");
        Options {
            patience: Duration::from_secs(20),
            silence_max: Duration::from_secs(1),
            ..Options::new(master)
        }
    }

    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        Client::open(self.options()).expect("the master opens a session")
    }
}

/// Returns the attributes of a file.
pub(crate) fn attributes(file_type: FileType, length: u64) -> Attributes {
    let mode = Mode { file_type, permissions: 0o644 };
    Attributes { mode, length, links: 1, mtime: 1_000_000_000, ..Attributes::default() }
}

/// Does what a master does.
fn serve(peer: &mut Peer, kind: Kind, body: &[u8], world: &Mutex<World>) {
    let mut world = world.lock().expect("no thread has failed");
    if kind == Kind::CLIENT_REGISTER {
        let register = ClientRegister::parse(body).expect("it is a registration");
        world.asked.push(register.text().to_string());
        let version = Version::OURS;
        let answer = match register {
            ClientRegister::Challenge => ClientRegisterAnswer::Challenge([7; 32]),
            ClientRegister::Resume(_) => {
                ClientRegisterAnswer::Resumed { version, status: Status::OK }
            }
            ClientRegister::Close(_) => ClientRegisterAnswer::Status(Status::OK),
            _ => ClientRegisterAnswer::Opened(SessionOpened {
                version,
                session: 5,
                meta_id: 6,
                ..SessionOpened::default()
            }),
        };
        return peer.send(&answer);
    }
    let number = u32::from_be_bytes(body[..4].try_into().expect("it has a number"));
    world.asked.push(protocol::mfs::describe(kind, body));
    let refusals = world.refusals.entry(kind).or_default();
    if !refusals.is_empty() {
        let status = refusals.remove(0);
        return peer.status(kind, number, status);
    }
    let file = attributes(FileType::File, world.length);
    match kind {
        Kind::GETATTR => {
            let attributes = attributes(FileType::Directory, 0);
            peer.answer(number, GetAttributesAnswer { attributes });
        }
        Kind::LOOKUP => {
            let answer =
                LookupAnswer { inode: 2, attributes: file, flags: 0xff, ..LookupAnswer::default() };
            peer.answer(number, answer);
        }
        Kind::OPEN => peer.answer(number, OpenAnswer { flags: 0, attributes: file }),
        Kind::CREATE_FILE => {
            peer.answer(number, CreateFileAnswer { flags: 0, inode: 2, attributes: file });
        }
        Kind::TRUNCATE_FILE => {
            let old_length = std::mem::take(&mut world.length);
            peer.answer(number, TruncateFileAnswer { old_length, attributes: file });
        }
        Kind::READ_CHUNK => {
            let request = Numbered::<ReadChunk>::parse(body).expect("it is a request").message;
            answer_read(peer, number, request.index, &world);
        }
        Kind::WRITE_CHUNK => {
            let request = Numbered::<WriteChunk>::parse(body).expect("it is a request").message;
            world.version += u32::from(request.flags & 2 != 0);
            let servers = holders(world.chunks.get(&request.index));
            peer.answer(
                number,
                WriteChunkAnswer {
                    form: 2,
                    length: world.length,
                    chunk: id_of(request.index),
                    version: world.version,
                    servers: List::new(&servers).expect("they are holders"),
                },
            );
        }
        Kind::WRITE_CHUNK_END => {
            let request = Numbered::<WriteChunkEnd>::parse(body).expect("it is a request").message;
            world.length = world.length.max(request.length);
            peer.status(kind, number, Status::OK);
        }
        _ => peer.status(kind, number, Status::ENOTSUP),
    }
}

/// Answers where a chunk is.
pub(crate) fn answer_read(peer: &mut Peer, number: u32, index: u32, world: &World) {
    let servers = world.chunks.get(&index);
    let chunk = servers.map_or(ChunkId(0), |_| id_of(index));
    let servers = holders(servers);
    let servers = List::new(&servers).expect("they are holders");
    let (length, version) = (world.length, world.version);
    peer.answer(number, ReadChunkAnswer { form: 2, length, chunk, version, servers });
}

/// Returns the chunk with an index in the file.
pub(crate) fn id_of(index: u32) -> ChunkId {
    ChunkId(u64::from(index) + 0x100)
}

fn holders(servers: Option<&Vec<SocketAddrV4>>) -> Vec<u8> {
    let holder = |server: &SocketAddrV4| Holder {
        place: Endpoint::from(*server),
        version: Version::OURS,
        labels: 0,
    };
    append_all(servers.into_iter().flatten().map(holder))
}

/// Returns the data of a file from an offset on.
pub(crate) fn content(offset: u64, size: usize) -> Vec<u8> {
    (0..size as u64).map(|it| (((offset + it) * 31) >> 3) as u8).collect()
}

/// Starts a chunkserver. `serve` gets each packet that is no sign of life.
pub(crate) fn chunkserver(
    serve: impl Fn(&mut Peer, Kind, &[u8]) + Send + Sync + 'static,
) -> SocketAddrV4 {
    listen(move |mut peer, _| {
        while let Some((kind, body)) = peer.next() {
            serve(&mut peer, kind, &body);
        }
    })
}

/// Returns an address at which nothing listens.
pub(crate) fn nothing() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, testkit::refusing_address().port())
}

/// Serves a part as it has to be, with signs of life between.
pub(crate) fn serve_part(peer: &mut Peer, read: protocol::mfs::Read, content: &[u8]) {
    let (mut place, end) = (read.offset, read.offset + read.size);
    while place < end {
        let block_end = (place / 65_536 + 1) * 65_536;
        let until = block_end.min(end);
        let bytes = &content[place as usize..until as usize];
        peer.raw(&[0; 8]);
        peer.send(&data_at(read.chunk, place, Data::new(bytes)));
        place = until;
    }
    peer.send(&ReadStatus { chunk: read.chunk, status: Status::OK });
}

/// Returns data at a place of a chunk.
pub(crate) fn data_at(chunk: ChunkId, place: u32, data: Data<'_>) -> ReadData<'_> {
    ReadData { chunk, block: (place / 65_536) as u16, offset: (place % 65_536) as u16, data }
}
