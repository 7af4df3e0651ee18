//! Clients that tests play: sessions, requests that are answered late, and what no real client does.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use protocol::Random;
use protocol::mfs::{
    CHUNK_SIZE, ChunkHasChanged, ChunkId, ClientRegister, ClientRegisterAnswer, CloseSession,
    ConfigValue, CreateFile, Credentials, Delete, DeleteAnswer, FileType, GetAttributes, GetConfig,
    GetInfo, GetVersion, Kind, LengthHasChanged, ListSessions, Lookup, MakeDirectory, MakeNode,
    Message, Name, Nop, Numbered, Open, OpenRest, ReadChunk, ReadDirectory, ResumeSession,
    Sessions, SetVersion, SetVersionAnswer, StatFs, Status, SustainedInodes, TimeSync,
    TimeSyncAnswer, Truncate, TruncateAnswer, TruncateFile, Unlink, Version, VersionAnswer,
    WriteChunk, WriteChunkEnd, password_digest,
};
use testkit::{PATIENCE, process, wait_until};

use super::running::{Client, Running, open, register};
use super::scripted::Chunkserver;
use crate::wire::Peer;

const ROOT: Credentials<'static> = Credentials::ROOT;

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).expect("it is short")
}

impl Client {
    /// Creates a file in the root, and opens it.
    #[track_caller]
    fn create(&mut self, text: &str) -> u32 {
        let create =
            CreateFile { parent: 1, name: name(text), mode: 0o644, umask: 0, credentials: ROOT };
        self.ask(create, |made| made.inode).expect("the name is free")
    }

    #[track_caller]
    fn lookup(&mut self, text: &str) -> Result<u32, Status> {
        self.ask(Lookup { parent: 1, name: name(text), credentials: ROOT }, |it| it.inode)
    }

    #[track_caller]
    fn length(&mut self, inode: u32) -> Result<u64, Status> {
        self.ask(GetAttributes { inode, ..GetAttributes::default() }, |it| it.attributes.length)
    }

    #[track_caller]
    fn unlink(&mut self, text: &str) {
        let unlink = Unlink { parent: 1, name: name(text), credentials: ROOT };
        self.ask(unlink, |_| ()).expect("it is there");
    }

    /// Returns how many files, directories and others there are.
    #[track_caller]
    fn inodes(&mut self) -> u32 {
        self.ask(StatFs, |it| it.inodes).expect("it is known")
    }

    /// Waits for an answer about a chunk. Returns its number, the chunk, its version and how many copies
    /// it has.
    #[track_caller]
    fn chunk_answer(&mut self, kind: Kind) -> (u32, Result<(ChunkId, u32, usize), Status>) {
        use protocol::mfs::{Answer, ReadChunkAnswer};
        let (number, body) = self.next(kind);
        // Both answers have the same form.
        let answer = Numbered::<Answer<ReadChunkAnswer<'_>>>::parse(&body).expect("it is one");
        let done = answer.message.done();
        (number, done.map(|it| (it.chunk, it.version, it.servers.iter().count())))
    }

    /// Ends a write, after which the file has this length.
    #[track_caller]
    fn end(&mut self, inode: u32, chunk: ChunkId, length: u64) -> Status {
        self.ask_status(WriteChunkEnd { chunk, inode, index: 0, length, flags: 0 })
    }

    /// Returns whether nothing comes for a while.
    fn is_quiet(&mut self) -> bool {
        let stream = &self.peer.0;
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("it is positive");
        let mut byte = [0];
        let quiet = matches!(
            stream.peek(&mut byte),
            Err(error) if error.kind() == ErrorKind::WouldBlock
        );
        stream.set_read_timeout(Some(PATIENCE)).expect("it is positive");
        quiet
    }
}

/// Registers a chunkserver that a test plays, and waits until the master uses it.
fn chunkserver(master: &Running, last: u8) -> Chunkserver {
    let server = Chunkserver::register(&master.addresses[1], last, 0, &[]);
    let mut client = master.client();
    wait_until("the space of the chunkserver", || {
        client.ask(StatFs, |it| it.total).expect("it is known") >= u64::from(last) << 40
    });
    server
}

const WRITE: WriteChunk = WriteChunk { inode: 2, index: 0, flags: 0 };
const READ: ReadChunk = ReadChunk { inode: 2, index: 0, flags: 0 };

#[test]
fn every_port_tells_its_version_and_its_options() {
    let master = Running::start("cl-options", "127.0.0.1", 0, &[]);
    for address in &master.addresses {
        let mut peer = Peer::connect(address);
        peer.send(&GetVersion { number: Some(7) });
        let body = peer.expect(Kind::VERSION);
        let answer = Numbered::<VersionAnswer<'_>>::parse(&body).expect("it is an answer");
        assert_eq!((answer.number, answer.message.version), (7, Version::OURS));
        peer.send(&GetConfig { number: 8, option: name("WORKING_USER") });
        let body = peer.expect(Kind::CONFIG_VALUE);
        assert_eq!(ConfigValue::parse(&body), Ok(ConfigValue { number: 8, value: name("") }));
    }
}

#[test]
fn sessions_are_opened_resumed_and_closed() {
    let master = Running::start("cl-sessions", "127.0.0.1", 0, &[]);
    let mut client = master.client();
    let opened = client.opened;
    assert_eq!((opened.version, opened.export.flags), (Version::OURS, 0));
    // Another connection of the same session, and one of a session that is not there.
    let resume = |session, meta_id| {
        let resume = ResumeSession { session, version: Version::OURS, meta_id };
        let mut peer = master.connect();
        let answer = register(&mut peer, &ClientRegister::Resume(resume));
        let Some(ClientRegisterAnswer::Resumed { status, .. }) = answer else {
            panic!("{answer:?}")
        };
        (status, peer)
    };
    let (status, peer) = resume(opened.session, opened.meta_id);
    assert_eq!(status, Status::OK);
    let mut second = Client::resumed(peer, opened);
    assert_eq!(resume(opened.session ^ 1, opened.meta_id).0, Status::BADSESSIONID);
    assert_eq!(resume(opened.session, opened.meta_id ^ 1).0, Status::BADSESSIONID);
    let inode = client.create("file");
    assert_eq!(second.lookup("file"), Ok(inode));

    // mfscli lists it, on a connection without a session.
    let listed = |master: &Running| {
        let mut peer = master.connect();
        peer.send(&ListSessions { form: 4 });
        let body = peer.expect(Kind::SESSIONS);
        let list = Sessions::parse(&body).expect("it is a list").sessions;
        let shown =
            list.iter().map(|it| (it.session, it.sockets, it.open_files, it.info.0.to_vec()));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(listed(&master), [(opened.session, 2, 1, b"/test".to_vec())]);
    // One connection goes: the session stays.
    drop(client);
    wait_until("the end of one", || listed(&master)[0].1 == 1);
    let close = CloseSession { session: opened.session, meta_id: Some(opened.meta_id) };
    let wrong = CloseSession { session: 1, meta_id: None };
    let answer = register(&mut second.peer, &ClientRegister::Close(wrong));
    assert_eq!(answer, Some(ClientRegisterAnswer::Status(Status::EINVAL)));
    let answer = register(&mut second.peer, &ClientRegister::Close(close));
    assert_eq!(answer, Some(ClientRegisterAnswer::Status(Status::OK)));
    assert!(second.peer.next_of_any().is_none(), "the connection is closed");
    assert_eq!(listed(&master), []);
    assert_eq!(resume(opened.session, opened.meta_id).0, Status::BADSESSIONID);
}

#[test]
fn a_registration_that_is_wrong_or_out_of_order_is_refused() {
    let master = Running::start("cl-order", "127.0.0.1", 0, &["--client-password=secret"]);
    let status = |step: &ClientRegister<'_>| {
        let mut peer = master.connect();
        match register(&mut peer, step) {
            Some(ClientRegisterAnswer::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status(&open(b"/nosuch\0", OpenRest::default())), Status::EACCES);
    assert_eq!(status(&open(b"/\0", OpenRest::default())), Status::NOPASSWORD);
    let guess = OpenRest { proof: Some([7; 16]), ..OpenRest::default() };
    assert_eq!(status(&open(b"/\0", guess)), Status::BADPASSWORD);
    let tools = ClientRegister::Tools { session: 5, version: Version::OURS };
    assert_eq!(status(&tools), Status::BADSESSIONID);
    assert_eq!(status(&ClientRegister::OpenMeta(Default::default())), Status::EACCES);

    let mut peer = master.connect();
    let Some(ClientRegisterAnswer::Challenge(challenge)) =
        register(&mut peer, &ClientRegister::Challenge)
    else {
        panic!("it is a challenge")
    };
    let proof = Some(password_digest(&challenge, b"secret"));
    let step = open(b"/\0", OpenRest { proof, ..OpenRest::default() });
    let answer = register(&mut peer, &step);
    assert!(matches!(answer, Some(ClientRegisterAnswer::Opened(_))), "{answer:?}");
    // Registering twice, and requests before that, end the connection.
    assert_eq!(register(&mut peer, &step), None);
    let mut peer = master.connect();
    peer.send(&Numbered { number: 1, message: StatFs });
    assert!(peer.next_of_any().is_none());
    // What follows within seconds is folded into one line.
    wait_until("the reason in the log", || master.log().contains("it registers twice"));
}

#[test]
fn what_the_master_does_not_know_is_not_supported_and_wrong_lengths_end_the_connection() {
    let master = Running::start("cl-unknown", "127.0.0.1", 0, &[]);
    let packet = |kind: u32, body: &[u8]| {
        [&kind.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), body].concat()
    };
    let mut client = master.client();
    for kind in [438, 446, 492, 498] {
        client.peer.0.write_all(&packet(kind, b"\0\0\0\x07what")).expect("it reads");
        let body = client.peer.expect(Kind(kind + 1));
        assert_eq!(body, [0, 0, 0, 7, Status::ENOTSUP.0], "type {kind}");
    }
    client.peer.send(&Numbered { number: 0, message: TimeSync });
    let body = client.peer.expect(Kind::TIME_SYNC_ANSWER);
    let answer = Numbered::<TimeSyncAnswer>::parse(&body).expect("it is one");
    assert!(answer.number == 0 && answer.message.time > 1 << 50);
    let inputs = [
        packet(402, b"\0\0\0\x01more"),
        packet(408, b"\0\0\0\x01"),
        packet(406, b"\0\0\0\x01\0\0\0\x01\xffshort"),
        packet(701, b"odd"),
        packet(439, b"\0\0\0\x01"),
        packet(800, b"\0\0\0\x01"),
        packet(110, &[0; 12]),
        [0, 0, 1, 0x92, 0x7f, 0xff, 0xff, 0xff].to_vec(), // 2 GiB
    ];
    for input in inputs {
        let mut client = master.client();
        client.peer.0.write_all(&input).expect("it reads");
        assert!(client.peer.next_of_any().is_none(), "{input:?}");
    }
    assert!(master.client().lookup("nosuch").is_err());
}

#[test]
fn a_write_waits_for_chunkservers_and_others_wait_for_the_write() {
    let master = Running::start("cl-late", "127.0.0.1", 0, &["--goal=1"]);
    let mut client = master.client();
    let inode = client.create("file");
    assert_eq!(inode, WRITE.inode);
    client.send(WRITE);
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Err(Status::NOCHUNKSERVERS));
    let mut server = chunkserver(&master, 1);
    let late = client.send(WRITE);
    let chunk = server.creates();
    // Meanwhile other requests are answered.
    assert_eq!(client.length(inode), Ok(0));
    let again = client.send(WRITE);
    assert!(client.is_quiet());
    server.answer(chunk, Status::OK);
    let answers = [0, 1].map(|_| client.chunk_answer(Kind::WRITE_CHUNK_ANSWER));
    assert_eq!(answers, [(late, Ok((chunk, 1, 1))), (again, Ok((chunk, 1, 1)))]);

    // Another client waits until the write ends; the one that writes may read.
    let mut other = master.client();
    let open = Open { inode, credentials: ROOT, flags: 1 };
    other.ask(open, |_| ()).expect("it may be read");
    let writes = other.send(WRITE);
    let reads = other.send(READ);
    assert!(other.is_quiet());
    client.send(READ);
    assert_eq!(client.chunk_answer(Kind::READ_CHUNK_ANSWER).1, Ok((chunk, 1, 1)));
    assert_eq!(client.end(inode, chunk, 100), Status::OK);
    // Its own write begins, so its own read is not in the way.
    assert_eq!(other.chunk_answer(Kind::WRITE_CHUNK_ANSWER), (writes, Ok((chunk, 1, 1))));
    assert_eq!(other.chunk_answer(Kind::READ_CHUNK_ANSWER), (reads, Ok((chunk, 1, 1))));
    // It is told what has changed.
    let body = other.peer.expect(Kind::CHUNK_HAS_CHANGED);
    let changed = Numbered::<ChunkHasChanged>::parse(&body).expect("it is a notice");
    assert_eq!((changed.number, changed.message.chunk), (0, chunk));
    let body = other.peer.expect(Kind::LENGTH_HAS_CHANGED);
    let changed = Numbered::<LengthHasChanged>::parse(&body).expect("it is a notice").message;
    assert_eq!(changed, LengthHasChanged { inode, length: 100 });
    // The end of its session ends its write.
    client.send(WRITE);
    assert!(client.is_quiet());
    let close = CloseSession { session: other.opened.session, meta_id: None };
    register(&mut other.peer, &ClientRegister::Close(close));
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 1, 1)));
    // What is no chunk of the file cannot be ended.
    assert_eq!(client.end(inode, ChunkId(99), 1), Status::NOCHUNK);
}

/// Writes 10 bytes into the first chunk of the file, of which each chunkserver makes a copy.
#[track_caller]
fn write_first(client: &mut Client, inode: u32, servers: [&mut Chunkserver; 2]) -> ChunkId {
    let [one, two] = servers;
    client.send(WRITE);
    let chunk = one.creates();
    assert_eq!(two.creates(), chunk);
    one.answer(chunk, Status::OK);
    two.answer(chunk, Status::OK);
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 1, 2)));
    assert_eq!(client.end(inode, chunk, 10), Status::OK);
    chunk
}

#[test]
fn a_chunk_gets_another_version_when_a_copy_is_lost_or_a_write_has_failed() {
    let master = Running::start("cl-version", "127.0.0.1", 0, &[]);
    let (mut one, mut two) = (chunkserver(&master, 1), chunkserver(&master, 2));
    let mut client = master.client();
    let inode = client.create("file");
    let chunk = write_first(&mut client, inode, [&mut one, &mut two]);
    // Nothing is lost: the version stays.
    client.send(WRITE);
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 1, 2)));
    // The write has failed somewhere: all copies get another version.
    client.send(WriteChunk { flags: 2, ..WRITE });
    for (server, status) in [(&mut one, Status::OK), (&mut two, Status::IO)] {
        let body = server.peer.expect(Kind::SET_VERSION);
        let order = SetVersion::parse(&body).expect("it is an order");
        assert_eq!((order.chunk, order.version, order.old_version), (chunk, 2, 1));
        server.peer.send(&SetVersionAnswer { chunk, status });
    }
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 2, 1)));
    assert_eq!(client.end(inode, chunk, 10), Status::OK);
    // A cut gives another version too.
    let truncate = TruncateFile { inode, flags: 1, credentials: ROOT, length: 5 };
    let number = client.send(truncate);
    let body = one.peer.expect(Kind::TRUNCATE);
    let order = Truncate::parse(&body).expect("it is an order");
    assert_eq!((order.version, order.length), (3, 5));
    one.peer.send(&TruncateAnswer { chunk, status: Status::OK });
    assert_eq!(client.next(Kind::TRUNCATE_FILE_ANSWER).0, number);
    assert_eq!(client.length(inode), Ok(5));
    // An append gives the file its room, and tells where that is.
    let append = TruncateFile { inode, flags: 1 | 2 | 8, credentials: ROOT, length: 7 };
    assert_eq!(client.ask(append, |it| (it.old_length, it.attributes.length)), Ok((5, 12)));
    // A chunkserver with a copy is gone: nothing can be read, and no version changes.
    drop(one);
    wait_until("the loss", || {
        client.send(READ);
        client.chunk_answer(Kind::READ_CHUNK_ANSWER).1 == Err(Status::CSNOTPRESENT)
    });
    client.send(WRITE);
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Err(Status::NOCHUNKSERVERS));
    // The file goes, and its chunk when it is no longer open.
    client.unlink("file");
    assert_eq!(client.length(inode), Ok(12));
    for _ in 0..2 {
        client.peer.send(&SustainedInodes::default());
    }
    wait_until("the end of the file", || client.length(inode) == Err(Status::ENOENT));
}

#[test]
fn a_copy_that_was_away_during_a_write_is_not_used_when_it_comes_back() {
    let master = Running::start("cl-away", "127.0.0.1", 0, &[]);
    let (mut one, mut two) = (chunkserver(&master, 1), chunkserver(&master, 2));
    let mut client = master.client();
    let inode = client.create("file");
    let chunk = write_first(&mut client, inode, [&mut one, &mut two]);
    let read = |client: &mut Client| {
        client.send(READ);
        client.chunk_answer(Kind::READ_CHUNK_ANSWER).1
    };
    let away = two.csid;
    drop(two);
    wait_until("the loss of a copy", || read(&mut client) == Ok((chunk, 1, 1)));
    client.send(WRITE);
    let body = one.peer.expect(Kind::SET_VERSION);
    let order = SetVersion::parse(&body).expect("it is an order");
    assert_eq!((order.version, order.old_version), (2, 1));
    one.peer.send(&SetVersionAnswer { chunk, status: Status::OK });
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 2, 1)));
    assert_eq!(client.end(inode, chunk, 20), Status::OK);
    let has = [protocol::mfs::ChunkVersion { chunk, version: 1 }];
    let _two = Chunkserver::register(&master.addresses[1], 2, away, &has);
    let mut other = master.client();
    wait_until("its return", || other.ask(StatFs, |it| it.total).expect("it is known") >= 2 << 40);
    assert_eq!(read(&mut client), Ok((chunk, 2, 1)));
    // The next write needs no other version.
    client.send(WRITE);
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 2, 1)));
}

#[test]
fn chunks_of_files_that_are_removed_or_cut_are_deleted() {
    let master = Running::start("cl-delete", "127.0.0.1", 0, &["--goal=1"]);
    let mut server = chunkserver(&master, 1);
    let mut client = master.client();
    let inode = client.create("file");
    let chunks: Vec<ChunkId> = [0, 1]
        .map(|index| {
            client.send(WriteChunk { index, ..WRITE });
            let chunk = server.creates();
            server.answer(chunk, Status::OK);
            client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1.expect("it is made");
            chunk
        })
        .to_vec();
    assert_eq!(client.end(inode, chunks[0], 2 * CHUNK_SIZE), Status::OK);
    let mut expect_delete = |chunk: ChunkId| {
        let body = server.peer.expect(Kind::DELETE);
        assert_eq!(Delete::parse(&body).expect("it is an order").chunk, chunk);
        server.peer.send(&DeleteAnswer { chunk, status: Status::OK });
    };
    let truncate = TruncateFile { inode, flags: 1, credentials: ROOT, length: CHUNK_SIZE };
    client.ask(truncate, |_| ()).expect("nothing has to be cut");
    expect_delete(chunks[1]);
    client.unlink("file");
    // The end of the session is the end of what it has open.
    let close = CloseSession { session: client.opened.session, meta_id: None };
    register(&mut client.peer, &ClientRegister::Close(close));
    expect_delete(chunks[0]);
}

#[test]
fn a_chunk_that_is_deleted_while_its_chunkserver_is_away_is_deleted_when_that_comes_back() {
    let mut master = Running::start("cl-stray", "127.0.0.1", 0, &["--goal=1"]);
    let mut server = chunkserver(&master, 1);
    let mut client = master.client();
    let inode = client.create("file");
    client.send(WRITE);
    let chunk = server.creates();
    server.answer(chunk, Status::OK);
    client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1.expect("it is made");
    assert_eq!(client.end(inode, chunk, 10), Status::OK);
    let csid = server.csid;
    drop(server);
    client.unlink("file");
    let close = CloseSession { session: client.opened.session, meta_id: None };
    register(&mut client.peer, &ClientRegister::Close(close));
    let log = master.folder.path().join("data/changelog.0.mfs");
    let is_deleted = || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.contains(&format!("CHUNKVERSION({},0)", chunk.0))
    };
    wait_until("the end of the chunk", is_deleted);
    // The number is not given to another chunk, also after a restart.
    master.stop();
    master.run();
    let has = [protocol::mfs::ChunkVersion { chunk, version: 1 }];
    let mut server = Chunkserver::register(&master.addresses[1], 1, csid, &has);
    let body = server.peer.expect(Kind::DELETE);
    assert_eq!(Delete::parse(&body).expect("it is an order").chunk, chunk);
    server.peer.send(&DeleteAnswer { chunk, status: Status::OK });
    let mut client = master.client();
    let inode = client.create("other");
    client.send(WriteChunk { inode, ..WRITE });
    assert!(server.creates().0 > chunk.0);
}

#[test]
fn a_session_has_only_so_many_requests_that_wait() {
    let master = Running::start("cl-waiting", "127.0.0.1", 0, &["--goal=1", "--requests-max=5"]);
    let mut server = chunkserver(&master, 1);
    let mut client = master.client();
    client.create("file");
    let numbers: Vec<u32> = (0..8).map(|_| client.send(WRITE)).collect();
    for number in &numbers[5..] {
        let expected = (*number, Err(Status::EAGAIN));
        assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER), expected);
    }
    let chunk = server.creates();
    server.answer(chunk, Status::OK);
    for number in &numbers[..5] {
        let expected = (*number, Ok((chunk, 1, 1)));
        assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER), expected);
    }
}

#[test]
fn everything_is_there_after_the_master_was_killed() {
    let mut master = Running::start("cl-killed", "127.0.0.1", 0, &["--goal=1"]);
    let mut server = chunkserver(&master, 1);
    let mut client = master.client();
    let inode = client.create("file");
    client.send(WRITE);
    let chunk = server.creates();
    server.answer(chunk, Status::OK);
    client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1.expect("it is made");
    assert_eq!(client.end(inode, chunk, 77), Status::OK);
    let make = |text, file_type: FileType| MakeNode {
        parent: 1,
        name: name(text),
        file_type: file_type.number(),
        mode: 0o600,
        umask: 0,
        credentials: ROOT,
        device: 0,
    };
    client.ask(make("pipe", FileType::Fifo), |_| ()).expect("the name is free");
    let nameless = client.create("nameless");
    client.unlink("nameless");
    let opened = client.opened;
    let is_written = || {
        let folder = master.folder.path().join("data");
        let log = std::fs::read_to_string(folder.join("changelog.0.mfs")).unwrap_or_default();
        log.contains("UNLINK(1,nameless)")
    };
    wait_until("the last change on the disk", is_written);
    let before = client.inodes();
    master.kill();
    master.run();
    // The session is unknown, so the client opens another one.
    let mut peer = master.connect();
    let (session, meta_id) = (opened.session, opened.meta_id);
    let resume = ResumeSession { session, version: Version::OURS, meta_id };
    let answer = register(&mut peer, &ClientRegister::Resume(resume));
    let known = matches!(answer, Some(ClientRegisterAnswer::Resumed { status, .. })
        if status == Status::BADSESSIONID);
    assert!(known, "{answer:?}");
    let mut client = master.client();
    assert_eq!(client.opened.meta_id, meta_id);
    assert_eq!(client.lookup("file"), Ok(inode));
    assert_eq!((client.length(inode), client.length(nameless)), (Ok(77), Ok(0)));
    assert_eq!(client.inodes(), before);
    // Nothing is known of the chunk until its chunkserver comes back; then it gets another version
    // before it is written to.
    client.send(READ);
    assert_eq!(client.chunk_answer(Kind::READ_CHUNK_ANSWER).1, Err(Status::CSNOTPRESENT));
    let has = [protocol::mfs::ChunkVersion { chunk, version: 1 }];
    let mut server = Chunkserver::register(&master.addresses[1], 1, 1, &has);
    wait_until("the chunk", || {
        client.send(READ);
        client.chunk_answer(Kind::READ_CHUNK_ANSWER).1 == Ok((chunk, 1, 1))
    });
    client.send(WRITE);
    server.peer.expect(Kind::SET_VERSION);
    server.peer.send(&SetVersionAnswer { chunk, status: Status::OK });
    assert_eq!(client.chunk_answer(Kind::WRITE_CHUNK_ANSWER).1, Ok((chunk, 2, 1)));
    // Graceful stops save everything too.
    master.stop();
    master.run();
    assert_eq!(master.client().length(inode), Ok(77));
}

#[test]
fn signs_of_life_go_both_ways_and_none_comes_before_the_first_second() {
    let master = Running::start("cl-alive", "127.0.0.1", 0, &[]);
    let start = Instant::now();
    // mfscli asks at once, and takes no sign of life for an answer.
    let mut peer = master.connect();
    peer.send(&GetInfo);
    assert_eq!(peer.next_of_any().map(|(kind, _)| kind), Some(Kind::INFO));
    assert_eq!(peer.next_of_any(), Some((Kind::NOP, vec![0; 4])));
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // One that says nothing is closed after ten seconds, and one that does is not.
    let mut silent = master.client();
    let mut alive = master.client();
    let speaks = thread::spawn(move || {
        for _ in 0..7 {
            alive.peer.send(&Nop { padding: Some(0) });
            thread::sleep(Duration::from_secs(2));
        }
        alive.inodes()
    });
    let start = Instant::now();
    while silent.peer.next_of_any().is_some() {}
    assert!(start.elapsed() >= Duration::from_secs(9), "{:?}", start.elapsed());
    assert_eq!(speaks.join().expect("it is not closed"), 1);
    wait_until("the reason in the log", || master.log().contains("it is silent"));
}

#[test]
fn hostile_clients_cost_bounded_memory() {
    let master = Running::start("cl-hostile", "127.0.0.1", 0, &[]);
    let memory = || process::memory_bytes(master.pid()).expect("it runs");
    let mut client = master.client();
    for number in 0..2000 {
        let text = format!("{number:0200}");
        let make = MakeDirectory {
            parent: 1,
            name: name(&text),
            mode: 0o755,
            umask: 0,
            credentials: ROOT,
            copies_sgid: 0,
        };
        client.ask(make, |_| ()).expect("the name is free");
    }
    let before = memory();
    // Random bytes, at once and after a registration.
    let mut random = Random::new(17);
    for round in 0..20 {
        let mut peer = if round % 2 == 0 { master.connect() } else { master.client().peer };
        let _ = peer.0.write_all(&random.bytes(100_000));
        let mut rest = Vec::new();
        let _ = peer.0.read_to_end(&mut rest);
    }
    // Signs of life without end.
    let nops = Nop { padding: Some(0) }.packet().repeat(10_000);
    for _ in 0..30 {
        client.peer.0.write_all(&nops).expect("it reads");
    }
    assert_eq!(client.inodes(), 2001);
    // Clients that ask for lists of 480 KB and read none of them.
    let mut mute: Vec<Client> = (0..10).map(|_| master.client()).collect();
    for client in &mut mute {
        let entries_max = u32::MAX;
        let list = ReadDirectory { inode: 1, credentials: ROOT, flags: 1, entries_max, edge: 0 };
        let packet = Numbered { number: 1, message: list }.packet();
        client.peer.0.set_nonblocking(true).expect("it can be set");
        for _ in 0..2000 {
            if client.peer.0.write(&packet).is_err() {
                break;
            }
        }
    }
    // Requests of another one are answered meanwhile.
    for _ in 0..100 {
        assert_eq!(client.inodes(), 2001);
    }
    let after = memory();
    assert!(after < before + (32 << 20), "{before} bytes, then {after}");
    // Those that do not read are closed for their silence.
    let start = Instant::now();
    let said = |count| master.log().matches("it is silent").count() >= count;
    wait_until("the end of those that do not read", || said(1));
    assert!(start.elapsed() < PATIENCE);
    drop(mute);
}
