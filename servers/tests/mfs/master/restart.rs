//! What a master knows after a restart, and after it was killed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;

use servers::mfs::master;
use testkit::Folder;

use super::running::Running;
use super::scripted::{create, play, register};
use super::{Embedded, any_of, listening_on, prepare};

#[test]
fn a_master_that_was_killed_goes_on_after_its_last_line() {
    let mut first = Embedded::start("master-killed", "127.0.0.1", &[]);
    (0..100).for_each(|_| first.create_file());
    let server = register(&mut first, 1, 0, &[]);
    let heard = create(&mut first, 1);
    let chunk = play(&mut first, thread::spawn(move || server.creates_one()));
    first.turn_until("the chunk", |_| !heard.borrow().is_empty());
    first.turn_until("the disk", |master| master.unwritten() == 0);
    let log = first.folder.path().join("changelog.0.mfs");
    first.turn_until("the log", |_| {
        fs::read_to_string(&log).is_ok_and(|log| log.lines().count() == 101)
    });
    let Embedded { reactor, folder } = first;
    // Nothing is saved. The crash has cut a line.
    drop(reactor);
    let mut file = OpenOptions::new().append(true).open(&log).expect("it is there");
    file.write_all(b"102: 1795717895|CRE").expect("there is space");

    let mut second = Embedded::start_in(folder, &listening_on(&any_of("127.0.0.1")));
    assert_eq!(second.with(|master| master.version()), 101);
    let located = second.with(|master| master.locate(chunk));
    assert_eq!(located.map(|it| (it.version, it.places.len())), Some((1, 0)));
    second.create_file();
    second.with(|master| master.rotate());
    second.create_file();
    let folder = second.stop();

    let mut third = Embedded::start_in(folder, &listening_on(&any_of("127.0.0.1")));
    assert_eq!(third.with(|master| master.version()), 103);
    assert!(third.with(|master| master.locate(chunk)).is_some());
    // A new chunk gets another number.
    let server = register(&mut third, 1, 0, &[]);
    let heard = create(&mut third, 1);
    let other = play(&mut third, thread::spawn(move || server.creates_one()));
    assert!(other > chunk, "{other} after {chunk}");
    third.turn_until("the chunk", |_| !heard.borrow().is_empty());
}

#[test]
fn a_master_that_was_killed_goes_on_however_often_new_logs_have_begun() {
    let mut first = Embedded::start("master-rotated", "127.0.0.1", &[]);
    let metadata = first.folder.path().join("metadata.mfs");
    // A metalogger that asks for the metadata may not make later ones out of date.
    first.with(|master| master.metadata_file());
    let empty = fs::read(&metadata).expect("it is written before there are peers");
    for _ in 0..4 {
        first.create_file();
        first.with(|master| master.rotate());
    }
    first.create_file();
    let log = first.folder.path().join("changelog.0.mfs");
    first.turn_until("the log", |_| {
        fs::read_to_string(&log).is_ok_and(|log| log.lines().count() == 1)
    });
    let Embedded { reactor, folder } = first;
    drop(reactor);
    let second = Embedded::start_in(folder, &listening_on(&any_of("127.0.0.1")));
    assert_eq!(second.reactor.app.version(), 5);
    let Embedded { reactor, folder } = second;
    drop(reactor);
    // None of the new logs came with saved metadata.
    fs::write(&metadata, empty).expect("there is space");
    let third = Embedded::start_in(folder, &listening_on(&any_of("127.0.0.1")));
    assert_eq!(third.reactor.app.version(), 5);
}

#[test]
fn a_new_master_has_its_id_before_it_has_peers_and_does_not_begin_anew_without_it() {
    let mut first = Embedded::start("master-new", "127.0.0.1", &[]);
    let content = first.with(|master| master.metadata_file());
    let Embedded { reactor, folder } = first;
    drop(reactor);
    let mut second = Embedded::start_in(folder, &listening_on(&any_of("127.0.0.1")));
    assert_eq!(second.with(|master| master.metadata_file()), content);
    second.create_file();
    let log = second.folder.path().join("changelog.0.mfs");
    second.turn_until("the log", |_| log.exists());
    let Embedded { reactor, folder } = second;
    drop(reactor);
    fs::remove_file(folder.path().join("metadata.mfs")).expect("it is there");
    let Err(error) = prepare(&["--dir", &folder.file("")]) else { panic!("a new one") };
    assert!(error.to_string().contains("it has changelog.0.mfs and no metadata.mfs"), "{error}");
}

/// Returns the arguments of a master with a folder.
fn arguments<'a>(dir: &'a str, ports: &[&'a str]) -> Vec<&'a str> {
    [&["--dir", dir], ports].concat()
}

#[test]
fn a_folder_that_is_used_missing_or_damaged_is_refused() {
    let folder = Folder::new("master-folder");
    let addresses = any_of("127.0.0.1");
    let ports = listening_on(&addresses);
    let path = folder.file("");
    let first = prepare(&arguments(&path, &ports)).expect("it is free");
    let Err(used) = master::prepare(&arguments(&path, &ports)) else { panic!("it is used twice") };
    assert!(used.to_string().contains("another mfs-master uses it"), "{used}");
    drop(first);
    let error = |dir: &str| match prepare(&arguments(dir, &ports)) {
        Ok(_) => panic!("{dir} is used"),
        Err(error) => error.to_string(),
    };
    assert!(error("/no/such/folder").contains("/no/such/folder"));
    let log = folder.path().join("changelog.0.mfs");
    fs::write(folder.path().join("metadata.mfs"), "MFSM NEW").expect("there is space");
    assert!(error(&path).contains("metadata.mfs is incomplete"), "{}", error(&path));
    fs::remove_file(folder.path().join("metadata.mfs")).expect("it is there");
    let mut whole = prepare(&arguments(&path, &ports)).expect("it is new");
    whole.app.finish().expect("there is space");
    drop(whole);
    let create = "1: 1|CREATE(1,name,1,420,0,0,0,0):2\n";
    for (lines, wanted) in [
        ("5: 1|A()\n".to_owned(), "change 5 after 0"),
        ("1: 1|A()\n".to_owned(), "change 1: it needs a line that can be read"),
        (format!("{create}?\n"), "line 2"),
    ] {
        fs::write(&log, lines).expect("there is space");
        assert!(error(&path).contains(wanted), "{}", error(&path));
    }
}

#[test]
fn the_program_stops_by_a_signal_and_starts_again() {
    let mut program = Running::start("master-program", "127.0.0.1", 0, &[]);
    program.stop();
    assert!(program.folder.path().join("data/metadata.mfs").exists());
    program.run();
    program.kill();
    program.run();
    program.stop();
}
