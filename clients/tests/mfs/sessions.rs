//! Sessions with masters that fail.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clients::mfs::{Client, LastLink, Options};
use protocol::mfs::{
    AttributedEntry, ClientRegister, ClientRegisterAnswer, FileType, Kind, Message, Name, Numbered,
    ReadDirectory, ReadDirectoryAnswer, Rest, Status, Version, append_all, password_digest,
};

use crate::peers::{Master, World, attributes};
use crate::program::run;

fn number_of(body: &[u8]) -> u32 {
    u32::from_be_bytes(body[..4].try_into().expect("it has a number"))
}

#[test]
fn a_lost_connection_is_resumed_and_what_was_not_answered_is_asked_again() {
    // Each connection of these answers two requests and then ends.
    let answered = AtomicUsize::new(0);
    let master = Master::start_with(World::default(), move |peer, connection, kind, _| {
        if kind == Kind::CLIENT_REGISTER || connection >= 3 {
            return false;
        }
        let ends = answered.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        if ends {
            let _ = peer.0.shutdown(std::net::Shutdown::Both);
        }
        ends
    });
    let mut client = master.client();
    for _ in 0..10 {
        client.find(Path::new("/file"), LastLink::Keep).expect("the master comes back");
    }
    drop(client);
    let registered = master.asked("CLIENT_REGISTER ");
    let begins = |begin: &str| registered.iter().filter(|it| it.contains(begin)).count();
    assert_eq!((begins("open"), begins("resume"), begins("close")), (1, 3, 1), "{registered:?}");
}

#[test]
fn a_session_that_the_master_no_longer_has_is_opened_anew() {
    // Unknown, and then changed exports.
    for (status, session) in [(Status::BADSESSIONID, "before=-"), (Status::EPERM, "before=5")] {
        let master = Master::start_with(World::default(), move |peer, connection, kind, body| {
            if kind != Kind::CLIENT_REGISTER {
                if connection == 0 {
                    let _ = peer.0.shutdown(std::net::Shutdown::Both);
                }
                return connection == 0;
            }
            let is_resumed = matches!(ClientRegister::parse(body), Ok(ClientRegister::Resume(_)));
            if is_resumed {
                peer.send(&ClientRegisterAnswer::Resumed { version: Version::OURS, status });
            }
            is_resumed
        });
        let mut client = master.client();
        client.find(Path::new("/file"), LastLink::Keep).expect("there is another session");
        let opened = master.asked("CLIENT_REGISTER open");
        assert!(opened.len() == 2 && opened[1].contains(session), "{opened:?}");
    }
}

#[test]
fn a_password_is_proven() {
    let proof = password_digest(&[7; 32], b"secret");
    let master = Master::start_with(World::default(), move |peer, _, kind, body| {
        if kind != Kind::CLIENT_REGISTER {
            return false;
        }
        match ClientRegister::parse(body).expect("it is a registration") {
            ClientRegister::Open(open) if open.rest.proof == Some(proof) => false,
            ClientRegister::Open(open) => {
                let is_given = open.rest.proof.is_some();
                let status = if is_given { Status::BADPASSWORD } else { Status::NOPASSWORD };
                peer.send(&ClientRegisterAnswer::Status(status));
                true
            }
            _ => false,
        }
    });
    let with = |password: &str| Options { password: Some(password.to_owned()), ..master.options() };
    drop(Client::open(with("secret")).expect("it is right"));
    let error = Client::open(with("wrong")).map(drop).expect_err("it is wrong").to_string();
    assert!(error.contains("wrong password (37): check the password"), "{error}");
    let error = Client::open(master.options()).map(drop).expect_err("there is none").to_string();
    assert!(error.contains("--password-file"), "{error}");
}

#[test]
fn nonsense_of_a_master_ends_in_an_error_that_names_it() {
    let packets: [(&[u8], &str); 6] = [
        // A length of 4 GiB.
        (&[0, 0, 1, 0x99, 0xff, 0xff, 0xff, 0xff], "4294967295 bytes"),
        // No number, a number that was not asked, another type.
        (&[0, 0, 1, 0x99, 0, 0, 0, 0], "without a number"),
        (&[0, 0, 1, 0x99, 0, 0, 0, 5, 0, 0, 9, 9, 0], "which was not asked"),
        (&[0, 0, 1, 0x97, 0, 0, 0, 5, 0, 0, 0, 1, 0], "is not the answer to the request 1"),
        // An answer that ends early is about the request.
        (&[0, 0, 1, 0x99, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0], "GETATTR_ANSWER with 6 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is this"),
    ];
    for (bytes, said) in packets {
        let master = Master::start_with(World::default(), move |peer, _, kind, _| {
            let is_asked = kind != Kind::CLIENT_REGISTER;
            if is_asked {
                peer.raw(bytes);
            }
            is_asked
        });
        let address = master.address.to_string();
        let ran = run(&address, &["--patience", "0.5", "stat", "/file"], b"");
        assert_eq!(ran.code, Some(5), "{said}: {}", ran.errors);
        if said != "is this" {
            assert!(ran.errors.contains(said), "{said}: {}", ran.errors);
        }
    }
}

#[test]
fn a_silent_master_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback is there");
    let address = listener.local_addr().expect("it is bound").to_string();
    let arguments = ["--master-silence", "0.5", "df"];
    let ran = run(&address, &arguments, b"");
    assert_eq!(ran.code, Some(5), "{}", ran.errors);
    assert!(ran.errors.contains(&address) && ran.errors.contains("silent for"), "{}", ran.errors);
    drop(listener);
    let ran = run(&address, &arguments, b"");
    assert_eq!(ran.code, Some(5));
    assert!(ran.errors.contains(&address) && ran.errors.contains("refused"), "{}", ran.errors);
}

#[test]
fn directories_are_asked_for_ahead_and_listed_in_order() {
    // Each directory has three more, down to a depth of two. The numbers tell the places.
    let (busy, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let most: &'static AtomicUsize = Box::leak(Box::new(most));
    let master = Master::start_with(World::default(), move |peer, _, kind, body| {
        if kind != Kind::READDIR {
            return false;
        }
        let request = Numbered::<ReadDirectory<'_>>::parse(body).expect("it is a request");
        let inode = request.message.inode;
        let below = if inode < 100 { 3 } else { 0 };
        let names = [".", "..", "c", "a", "b"];
        let entries =
            names.iter().enumerate().take(2 + below).map(|(place, name)| AttributedEntry {
                name: Name::new(name.as_bytes()).expect("it is short"),
                inode: inode * 10 + place as u32,
                attributes: attributes(FileType::Directory, 0),
            });
        let entries = append_all(entries);
        // The next request is there before this one is answered.
        peer.0.set_nonblocking(true).expect("it can be set");
        std::thread::sleep(Duration::from_millis(20));
        let is_ahead = peer.0.peek(&mut [0; 1]).is_ok();
        peer.0.set_nonblocking(false).expect("it can be set");
        busy.fetch_add(usize::from(is_ahead), Ordering::Relaxed);
        most.store(busy.load(Ordering::Relaxed), Ordering::Relaxed);
        peer.answer(number_of(body), ReadDirectoryAnswer { edge: 0, entries: Rest(&entries) });
        true
    });
    let ran = run(&master.address.to_string(), &["ls", "-R", "--", "/"], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.errors);
    let text = ran.text();
    let titles: Vec<&str> = text.lines().filter(|line| line.ends_with(':')).collect();
    assert_eq!(&titles[..5], &["/:", "/a:", "/a/a:", "/a/b:", "/a/c:"]);
    assert_eq!(titles.len(), 1 + 3 + 9);
    assert!(text.starts_with("/:\na\nb\nc\n\n/a:\n"), "{text}");
    assert!(most.load(Ordering::Relaxed) >= 4, "requests were not asked ahead");
}
