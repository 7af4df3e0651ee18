//! The programs of a course on libev.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use testkit::{Folder, PATIENCE};

use crate::talk::{Talk, Twins, file, make_fifo, writer};

#[test]
fn standard_input_may_be_a_pipe_or_a_file() {
    let twins = Twins::new("libev_stdin");
    let of_pipe = twins.agree(|command| {
        let mut talk = Talk::start(command, &[]);
        for line in ["one", "two"] {
            talk.write(&format!("{line}\n"));
            talk.until(line);
        }
        talk.end()
    });
    let folder = Folder::new("twins");
    let of_file = twins.agree(|command| {
        Talk::start_with(command, &[], file(&folder.file("input"), "one\ntwo\n").into()).end()
    });
    assert_eq!(of_pipe, ["one", "two", "8 bytes"]);
    assert_eq!(of_file, of_pipe);
}

#[test]
fn several_files_are_read_at_once_until_each_has_ended() {
    let lines = Twins::new("libev_files").agree(|command| {
        let folder = Folder::new("twins");
        let paths = ["a", "b", "c"].map(|name| folder.file(name));
        paths.iter().for_each(|path| make_fifo(path));
        let mut talk = Talk::start(command, &paths.each_ref().map(String::as_str));
        talk.until("reading");
        let mut pipes = paths.each_ref().map(|path| writer(path));
        for (number, order) in [[2, 0, 1], [1, 2, 0]].into_iter().enumerate() {
            for at in order {
                pipes[at].write_all(format!("{number}\n").as_bytes()).expect("it is read");
                talk.until(&format!("{}: {number}", ["a", "b", "c"][at]));
            }
        }
        for (pipe, name) in pipes.into_iter().zip(["a", "b", "c"]) {
            drop(pipe);
            talk.until(&format!("{name}: finished"));
        }
        talk.end()
    });
    assert_eq!(lines.len(), 10, "{lines:?}");
}

#[test]
fn the_higher_of_two_priorities_is_called_first() {
    let lines = Twins::new("libev_priorities").agree(|command| Talk::start(command, &[]).end());
    assert_eq!(lines, ["high: A", "low: a", "high: B", "low: b", "high: C", "low: c"]);
}

#[test]
fn a_change_of_the_mode_of_a_file_is_noticed() {
    let lines = Twins::new("libev_stat").agree(|command| {
        let folder = Folder::new("twins");
        let path = folder.file("file");
        let set_mode = |mode| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
        };
        fs::write(&path, "text").expect("the folder is writable");
        set_mode(0o640);
        let mut talk = Talk::start(command, &[&path]);
        talk.until("watching");
        set_mode(0o600);
        talk.until("mode 600, before 640");
        set_mode(0o4755);
        talk.until("mode 4755, before 600");
        fs::remove_file(&path).expect("it is ours");
        talk.end()
    });
    assert_eq!(lines[3..], ["it is gone"]);
}

#[test]
fn a_source_changes_its_interest_while_its_descriptor_changes_its_mode() {
    let lines = Twins::new("libev_mode").agree(|command| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
        let address = listener.local_addr().expect("it has an address").to_string();
        let mut talk = Talk::start(command, &[&address]);
        let peer = listener.accept().expect("it connects").0;
        peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
        let mut answers = BufReader::new(&peer);
        for word in ["one", "nonblock", "two", "block", "three", "nonblock", "four"] {
            (&peer).write_all(format!("{word}\n").as_bytes()).expect("it is sent");
            talk.until(&format!("read {word}"));
            talk.until("written");
            let mut answer = String::new();
            answers.read_line(&mut answer).expect("it answers");
            assert_eq!(answer.trim_end(), word);
        }
        peer.shutdown(Shutdown::Write).expect("it ends");
        talk.end()
    });
    assert_eq!(lines.len(), 15, "{lines:?}");
}

#[test]
fn interrupts_are_counted() {
    let lines = Twins::new("libev_signal").agree(|command| {
        let mut talk = Talk::start(command, &[]);
        talk.until("waiting");
        for count in 1..=3 {
            talk.signal("INT");
            talk.until(&format!("SIGINT {count}"));
        }
        talk.end()
    });
    assert_eq!(lines[4..], ["the loop has ended"]);
}

#[test]
fn a_timer_fires_once_and_another_one_repeats() {
    let lines = Twins::new("libev_timer").agree(|command| {
        let start = Instant::now();
        let lines = Talk::start(command, &[]).end();
        // Never early: the time of the first, and three periods of the other.
        assert!(start.elapsed() >= Duration::from_millis(50), "after {:?}", start.elapsed());
        lines
    });
    assert_eq!(lines, ["once", "tick 1", "tick 2", "tick 3", "the loop has ended"]);
}
