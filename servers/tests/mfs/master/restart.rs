//! What a master knows after a restart, and after it was killed.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::rc::Rc;

use protocol::mfs::ChunkId;
use servers::mfs::master;
use testkit::Folder;

use super::running::Running;
use super::{Embedded, any_of, listening_on};

#[test]
fn a_master_that_was_killed_goes_on_after_its_last_line() {
    let mut first = Embedded::start("master-killed", "127.0.0.1", &[]);
    for number in 1..=100 {
        first.with(|master| master.change(format!("CREATE(1,file,1,420,0,0,0,0):{number}")));
    }
    first.with(|master| master.change("CHUNKVERSION(17,3)"));
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
    let located = second.with(|master| master.locate(ChunkId(17)));
    assert_eq!(located.map(|it| (it.version, it.places.len())), Some((3, 0)));
    assert_eq!(second.with(|master| master.change("UNLOCK(17)")), 102);
    second.with(|master| master.rotate());
    second.with(|master| master.change("UNLOCK(17)"));
    let folder = second.stop();

    let mut third = Embedded::start_in(folder, &listening_on(&any_of("127.0.0.1")));
    assert_eq!(third.with(|master| master.version()), 103);
    assert!(third.with(|master| master.locate(ChunkId(17))).is_some());
    // A new chunk gets another number, though there is no chunkserver.
    let heard = Rc::new(RefCell::new(None));
    let hears = Rc::clone(&heard);
    third.with(|master| master.create(move |outcome, _| *hears.borrow_mut() = Some(outcome)));
    assert!(heard.borrow().as_ref().is_some_and(Result::is_err));
}

#[test]
fn a_folder_that_is_used_missing_or_damaged_is_refused() {
    let folder = Folder::new("master-folder");
    let addresses = any_of("127.0.0.1");
    let prepare =
        |dir: &str| master::prepare(&[&["--dir", dir], &listening_on(&addresses)[..]].concat());
    let path = folder.file("");
    let first = prepare(&path).expect("it is free");
    let error = |dir: &str| match prepare(dir) {
        Ok(_) => panic!("{dir} is used"),
        Err(error) => error.to_string(),
    };
    assert!(error(&path).contains("another mfs-master uses it"), "{}", error(&path));
    drop(first);
    assert!(error("/no/such/folder").contains("/no/such/folder"));
    let log = folder.path().join("changelog.0.mfs");
    fs::write(folder.path().join("metadata.mfs"), "MFSM NEW").expect("there is space");
    assert!(error(&path).contains("metadata.mfs is incomplete"), "{}", error(&path));
    fs::remove_file(folder.path().join("metadata.mfs")).expect("it is there");
    let mut whole = prepare(&path).expect("it is new");
    whole.app.finish().expect("there is space");
    drop(whole);
    for (lines, wanted) in [("5: 1|A()\n", "change 5 after 0"), ("1: 1|A()\n?\n", "line 2")] {
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
