//! The master as a process, and clients that tests play.

use std::fs::{self, File};
use std::process::{Child, Command};

use protocol::mfs::{
    Answer, ClientRegister, ClientRegisterAnswer, Kind, Message, Numbered, OpenRest, OpenSession,
    Request, SessionOpened, Status, Text, Version,
};
use testkit::{Folder, process, wait_until};

use crate::wire::Peer;

/// A master that runs. It is killed on drop.
pub(super) struct Running {
    child: Option<Child>,
    pub(super) folder: Folder,
    arguments: Vec<String>,
    /// The addresses for metaloggers, chunkservers and clients.
    pub(super) addresses: [String; 3],
}

impl Running {
    /// Starts a master with a new folder, on ports of `host` from `port` on. With 0, they are any.
    pub(super) fn start(name: &str, host: &str, port: u16, arguments: &[&str]) -> Self {
        let folder = Folder::new(name);
        fs::create_dir(folder.path().join("data")).expect("there is space");
        let of = |place: u16| match port {
            0 => format!("{host}:0"),
            _ => format!("{host}:{}", port + place),
        };
        let names = ["metaloggers", "chunkservers", "clients"];
        let ports =
            names.iter().zip(0..).map(|(kind, place)| format!("--listen-{kind}={}", of(place)));
        let mut all: Vec<String> = ports.collect();
        all.push(format!("--dir={}", folder.file("data")));
        all.extend(arguments.iter().map(|it| (*it).to_owned()));
        let addresses = [const { String::new() }; 3];
        let mut master = Self { child: None, folder, arguments: all, addresses };
        master.run();
        master
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub(super) fn run(&mut self) {
        let log = File::create(self.folder.path().join("log")).expect("there is space");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mfs-master"));
        command.args(&self.arguments).env_remove("RUST_LOG").stderr(log);
        self.child = Some(command.spawn().expect("the program was built"));
        wait_until("the start of the master", || self.log().contains(" for clients"));
        let log = self.log();
        self.addresses = ["metaloggers", "chunkservers", "clients"].map(|kind| {
            let line = log.lines().find(|line| line.ends_with(&format!(" for {kind}")));
            let word = line.and_then(|line| line.split_whitespace().rev().nth(2));
            word.expect("it says where it listens").to_owned()
        });
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it: what it has not written is lost.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it gracefully.
    #[track_caller]
    pub(super) fn stop(&mut self) {
        process::signal(self.pid(), "TERM");
        let status = self.child.take().expect("it runs").wait().expect("it is a child");
        assert!(status.success(), "{}", self.log());
    }

    /// Connects a client that has not registered.
    pub(super) fn connect(&self) -> Peer {
        Peer::connect(&self.addresses[2])
    }

    /// Opens a session.
    #[track_caller]
    pub(super) fn client(&self) -> Client {
        let mut peer = self.connect();
        match register(&mut peer, &open(b"/\0", OpenRest::default())) {
            Some(ClientRegisterAnswer::Opened(opened)) => Client { peer, opened, number: 0 },
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the registration of a new session.
pub(super) fn open(path: &'static [u8], rest: OpenRest) -> ClientRegister<'static> {
    let (version, info) = (Version::OURS, Text(b"/test\0"));
    ClientRegister::Open(OpenSession { version, info, path: Text(path), rest })
}

/// Sends a registration. Returns the answer, unless the connection is closed.
pub(super) fn register(peer: &mut Peer, step: &ClientRegister<'_>) -> Option<ClientRegisterAnswer> {
    peer.send(step);
    let (kind, body) = peer.next()?;
    assert_eq!(kind, Kind::CLIENT_REGISTER_ANSWER);
    Some(ClientRegisterAnswer::parse(&body).expect("it is an answer"))
}

/// A client with a session.
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) opened: SessionOpened,
    number: u32,
}

impl Client {
    /// Returns a client that goes on with a session on another connection.
    pub(super) fn resumed(peer: Peer, opened: SessionOpened) -> Self {
        Self { peer, opened, number: 0 }
    }

    /// Sends a request, and returns its number.
    pub(super) fn send<'a, R>(&mut self, message: R) -> u32
    where
        R: Message<'a> + Request + Clone + Default,
    {
        self.number += 1;
        self.peer.send(&Numbered { number: self.number, message });
        self.number
    }

    /// Returns the number and the body of the next answer.
    #[track_caller]
    pub(super) fn next(&mut self, kind: Kind) -> (u32, Vec<u8>) {
        let body = self.peer.expect(kind);
        let number = body.first_chunk().map(|it| u32::from_be_bytes(*it));
        (number.expect("it has a number"), body)
    }

    /// Sends a request, and returns what `take` makes of the answer.
    #[track_caller]
    pub(super) fn ask<'a, R, T>(
        &mut self,
        message: R,
        take: impl for<'b> FnOnce(R::Answer<'b>) -> T,
    ) -> Result<T, Status>
    where
        R: Message<'a> + Request + Clone + Default,
    {
        let number = self.send(message);
        let kind = Kind(R::KIND.0 + 1);
        let (answered, body) = self.next(kind);
        assert_eq!(answered, number);
        let answer = Numbered::<Answer<R::Answer<'_>>>::parse(&body).expect("it is an answer");
        answer.message.done().map(take)
    }

    /// Sends a request that is answered with a status.
    #[track_caller]
    pub(super) fn ask_status<'a, R>(&mut self, message: R) -> Status
    where
        R: Message<'a> + Request + Clone + Default,
    {
        self.ask(message, |_| ()).expect_err("it is a status")
    }
}
