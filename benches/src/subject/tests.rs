//! Tests of the table of subjects.

use super::*;
use crate::kinds;
use crate::plan::Plan;

/// Returns the subjects that do a kind of work, with any count.
fn partners(kind: &str) -> Vec<&'static str> {
    let works: Vec<Work> =
        Plan::full().works.into_iter().filter(|it| it.kind.name == kind).collect();
    let does = |it: &Subject| works.iter().any(|work| it.does(work));
    ALL.iter().filter(|it| does(it)).map(|it| it.name).collect()
}

#[test]
fn each_part_belongs_to_a_kind_of_work() {
    let kinds = [&kinds::LOOPS[..], &[&kinds::REQUESTS, &kinds::KEYS]].concat();
    let known: Vec<&str> = kinds.iter().map(|it| it.part).collect();
    for subject in everything() {
        let parts: Vec<&str> = match subject.program {
            Program::Rust(parts) => parts.iter().map(|(name, _)| *name).collect(),
            Program::C(_, parts) => parts.to_vec(),
        };
        assert!(!parts.is_empty(), "{} does nothing", subject.name);
        for part in parts {
            assert!(known.contains(&part), "no work has the part {part} of {}", subject.name);
        }
    }
}

#[test]
fn a_subject_does_its_kinds_of_work_up_to_its_limits() {
    assert_eq!(partners("scale").len(), 4);
    assert_eq!(partners("models").len(), 7);
    assert!(!partners("timers").contains(&"mio"));
    assert!(!partners("echo").contains(&"tokio-util"));
    let does = |name: &str, work: Work| {
        ALL.iter().find(|it| it.name == name).expect("it is there").does(&work)
    };
    assert!(does("poll", Work::new(&kinds::ECHO, 1000)));
    assert!(!does("poll", Work::new(&kinds::ECHO, 10_000)));
    assert!(does("poll", Work::new(&kinds::IDLE, 10_000)), "its limit is of echo alone");
    assert!(!does("calloop", Work::new(&kinds::TIMERS, 100_000)));
}

#[test]
fn an_unknown_work_of_a_subject_is_an_error_that_names_both() {
    for (name, part) in [("raw", "timers"), ("kqueue", "echo")] {
        let error = serve(name, part, 0).expect_err("it does not").to_string();
        assert!(error.contains(name) && error.contains(part), "{error}");
    }
}
