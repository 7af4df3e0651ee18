//! The metalogger and the real master, in a network namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::mfs::{
    Answer, ClientRegister, ClientRegisterAnswer, Credentials, FileType, Kind, MakeNode,
    MakeNodeAnswer, Message, Name, Numbered, OpenSession, Text, Version,
};
use testkit::moosefs::{HOST, Master, NETWORK};
use testkit::{Folder, PATIENCE, has_peer, in_namespace, process, tell, wait_until};

use crate::program::Metalogger;

/// Returns how many objects, files and chunks a master has.
fn sizes(master: &Master) -> Vec<String> {
    let info = master.ask("-SIG");
    let wanted =
        ["all fs objects", "files", "chunks"].map(|name| format!("master info:\t{name}\t"));
    let lines = info.lines().filter(|line| wanted.iter().any(|it| line.starts_with(it)));
    lines.map(ToOwned::to_owned).collect()
}

/// A client of the master, with a session.
struct Client(TcpStream);

impl Client {
    fn new(master: &Master) -> Self {
        let stream = TcpStream::connect((HOST, master.port + 2)).expect("the master listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is positive");
        let mut client = Self(stream);
        let (info, path) = (Text(b"/test\0"), Text(b"/\0"));
        let open = OpenSession { version: Version::OURS, info, path, ..OpenSession::default() };
        client.0.write_all(&ClientRegister::Open(open).packet()).expect("it reads");
        let body = client.next(Kind::CLIENT_REGISTER_ANSWER);
        let answer = ClientRegisterAnswer::parse(&body).expect("it is an answer");
        assert!(matches!(answer, ClientRegisterAnswer::Opened(_)), "{answer:?}");
        client
    }

    /// Returns the body of the next packet of a type. Others are signs of life.
    fn next(&mut self, wanted: Kind) -> Vec<u8> {
        loop {
            let mut header = [0; 8];
            self.0.read_exact(&mut header).expect("the master answers");
            let [k0, k1, k2, k3, l0, l1, l2, l3] = header;
            let mut body = vec![0; u32::from_be_bytes([l0, l1, l2, l3]) as usize];
            self.0.read_exact(&mut body).expect("the packet is whole");
            if u32::from_be_bytes([k0, k1, k2, k3]) == wanted.0 {
                return body;
            }
        }
    }

    fn make_files(&mut self, prefix: &str, count: u32) {
        for number in 1..=count {
            let name = format!("{prefix}-{number}");
            let message = MakeNode {
                parent: 1,
                name: Name::new(name.as_bytes()).expect("it is short"),
                file_type: FileType::File.number(),
                mode: 0o644,
                umask: 0,
                credentials: Credentials::ROOT,
                device: 0,
            };
            self.0.write_all(&Numbered { number, message }.packet()).expect("it reads");
            let body = self.next(MakeNodeAnswer::KIND);
            let answer = Numbered::<Answer<MakeNodeAnswer>>::parse(&body).expect("it is an answer");
            answer.message.done().expect("the file is made");
        }
    }
}

/// Returns the versions of a log.
fn versions(log: &str) -> Vec<u64> {
    let number = |line: &str| line.split(':').next().and_then(|it| it.parse().ok());
    log.lines().map(|line| number(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
}

#[test]
fn a_new_master_starts_from_what_the_metalogger_has_kept_of_a_real_one() {
    let test = "real::a_new_master_starts_from_what_the_metalogger_has_kept_of_a_real_one";
    if !has_peer("mfsmaster") || !has_peer("mfscli") || !in_namespace(test, NETWORK) {
        return;
    }
    let folder = Folder::new("ml-real");
    let data = folder.path().join("master");
    let mut master = Master::start(&folder, "master.cfg", &data, 19419, "");
    let metalogger = Metalogger::start("ml", &format!("{HOST}:19419"), &[]);
    let line = format!("metadata backup loggers:\t{HOST}\t3.0.117");
    wait_until("the registration", || master.ask("-SMB").contains(&line));
    Client::new(&master).make_files("first", 100);

    // A master that is stopped is silent for longer than the connection bears.
    process::signal(master.daemon.pid(), "STOP");
    metalogger.wait_for_log("connecting again", 1);
    std::thread::sleep(Duration::from_secs(3));
    process::signal(master.daemon.pid(), "CONT");
    metalogger.wait_for_log("registered with", 2);
    Client::new(&master).make_files("second", 100);

    master.daemon.stop();
    master.run();
    metalogger.wait_for_log("change log 1 downloaded", 1);
    Client::new(&master).make_files("third", 100);
    let has_last = |log: &str| log.contains("third-100");
    wait_until("the last change", || has_last(&metalogger.text("changelog_ml.0.mfs")));

    let kept = metalogger.stop();
    let mut logs: Vec<String> = Vec::new();
    for number in (0..10).rev() {
        let path = kept.path().join(format!("changelog_ml.{number}.mfs"));
        logs.extend(fs::read_to_string(path));
    }
    let versions = versions(&logs.concat());
    assert!(versions.len() >= 300, "{} changes", versions.len());
    assert!(versions.windows(2).all(|pair| pair[1] == pair[0] + 1), "{versions:?}");

    let before = sizes(&master);
    assert_eq!(before.len(), 3, "{}", master.ask("-SIG"));
    let recovered = Master::start(&folder, "recovered.cfg", kept.path(), 19519, "");
    assert_eq!(sizes(&recovered), before);
    tell("RECOVERED", &format!("{} changes, {}", versions.len(), before.join(", ")));
}
