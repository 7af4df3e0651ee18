//! The loops that are compared: which there are, and what each of them does. A loop that is written
//! in Rust has an entry here and a file in [`crate::loops`].

use std::io;
use std::process::Command;

use ::monoio::{IoUringDriver, LegacyDriver};
use reactor::BackendKind;

use crate::benchmark;
use crate::loops::{
    async_io, calloop, canned, limits, listen, mio, monoio, ours, polling, raw, tokio, tokio_util,
};
use crate::process::this_program;
use crate::work::Work;

/// A part that a subject has: the name of it, as [`crate::work::Kind::part`] has it, and the
/// function that does it. Servers run for ever, the others print their figures and end; the number
/// is the count of what the work is about, or 0.
pub type Part = (&'static str, fn(usize) -> io::Result<()>);

/// How a loop is run.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// By this program itself, which does these parts.
    Rust(&'static [Part]),
    /// By a program that the build script compiled, or why it could not, and the parts it does.
    C(Result<&'static str, &'static str>, &'static [&'static str]),
}

/// A loop that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What it is called in reports and on command lines.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How it is run, and what it does.
    pub program: Program,
    /// Kinds of work that it takes part in up to a count only, by their names.
    pub limits: &'static [(&'static str, usize)],
    /// Why this machine cannot run it, if it cannot.
    pub missing: fn() -> Option<String>,
}

const fn rust(name: &'static str, about: &'static str, parts: &'static [Part]) -> Subject {
    Subject { name, about, program: Program::Rust(parts), limits: &[], missing: || None }
}

const fn c(
    name: &'static str,
    parts: &'static [&'static str],
    path: Option<&'static str>,
    absent: Option<&'static str>,
) -> Subject {
    let program = match (path, absent) {
        (Some(path), _) => Ok(path),
        (None, Some(why)) => Err(why),
        (None, None) => Err("the build script did not run"),
    };
    let program = Program::C(program, parts);
    Subject { name, about: name, program, limits: &[], missing: || None }
}

impl Subject {
    const fn up_to(self, limits: &'static [(&'static str, usize)]) -> Self {
        Self { limits, ..self }
    }

    const fn unless(self, missing: fn() -> Option<String>) -> Self {
        Self { missing, ..self }
    }
}

/// Each wait of poll and select costs time in proportion to the connections, which the works with
/// fewer show well enough.
const SLOW: &[(&str, usize)] = &[("echo", 1000)];

/// All of them: ours, the limit, and the peers. There is one wheel of timers, whatever the backend;
/// mio and polling leave timers to their users.
pub const ALL: [Subject; 18] = [
    rust(
        "epoll",
        "our reactor on edge-triggered epoll, its default",
        &[
            ("echo", |_| ours::echo(BackendKind::Epoll)),
            ("dispatch", |count| ours::dispatch(BackendKind::Epoll, count)),
            ("lines", |_| ours::lines(BackendKind::Epoll)),
            ("timers", |count| ours::timers(BackendKind::Epoll, count)),
            ("scale", |count| ours::scale(BackendKind::Epoll, count)),
        ],
    ),
    rust(
        "epoll-lt",
        "our reactor on level-triggered epoll",
        &[
            ("echo", |_| ours::echo(BackendKind::EpollLevel)),
            ("dispatch", |count| ours::dispatch(BackendKind::EpollLevel, count)),
        ],
    ),
    rust(
        "poll",
        "our reactor on poll",
        &[
            ("echo", |_| ours::echo(BackendKind::Poll)),
            ("dispatch", |count| ours::dispatch(BackendKind::Poll, count)),
        ],
    )
    .up_to(SLOW),
    rust(
        "select",
        "our reactor on select",
        &[
            ("echo", |_| ours::echo(BackendKind::Select)),
            ("dispatch", |count| ours::dispatch(BackendKind::Select, count)),
        ],
    )
    .up_to(SLOW),
    rust(
        "raw",
        "a bare edge-triggered epoll loop: the limit",
        &[("echo", |_| raw::echo(listen()?)), ("dispatch", raw::dispatch)],
    ),
    rust("array", "deadlines in an array, for timers: the limit", &[("timers", limits::array)]),
    rust(
        "harness",
        "what the comparison of timers itself costs, in every row",
        &[("timers", limits::harness)],
    ),
    rust(
        "mio",
        "mio with a slab",
        &[("echo", |_| mio::echo(listen()?)), ("dispatch", mio::dispatch)],
    ),
    rust(
        "polling",
        "polling 2.8 with a slab",
        &[("echo", |_| polling::echo(listen()?)), ("dispatch", polling::dispatch)],
    ),
    rust(
        "async-io",
        "smol: async-io on polling, with a local executor",
        &[
            ("echo", |_| async_io::echo(listen()?)),
            ("dispatch", async_io::dispatch),
            ("timers", async_io::timers),
        ],
    ),
    rust(
        "calloop",
        "calloop, on polling",
        &[
            ("echo", |_| calloop::echo(listen()?)),
            ("dispatch", calloop::dispatch),
            ("timers", calloop::timers),
        ],
    )
    // Moving one of its timers looks at all: 0.2 ms each at 100,000.
    .up_to(&[("timers", 1000)]),
    rust(
        "tokio",
        "tokio, current thread",
        &[
            ("echo", |_| tokio::echo(listen()?)),
            ("dispatch", tokio::dispatch),
            ("timers", tokio::timers),
        ],
    ),
    rust(
        "tokio-util",
        "tokio-util's LinesCodec and DelayQueue",
        &[("lines", |_| tokio_util::lines(listen()?)), ("timers", tokio_util::timers)],
    ),
    rust(
        "monoio",
        "monoio on epoll, its legacy driver",
        &[
            ("echo", |_| monoio::echo::<LegacyDriver>(listen()?)),
            ("dispatch", monoio::dispatch::<LegacyDriver>),
            ("lines", |_| monoio::lines::<LegacyDriver>(listen()?)),
            ("timers", monoio::timers),
        ],
    ),
    rust(
        "monoio-uring",
        "monoio on io_uring",
        &[
            ("echo", |_| monoio::echo::<IoUringDriver>(listen()?)),
            ("dispatch", monoio::dispatch::<IoUringDriver>),
            ("lines", |_| monoio::lines::<IoUringDriver>(listen()?)),
        ],
    )
    .unless(monoio::no_io_uring),
    c(
        "libevent",
        &["echo", "dispatch", "lines", "timers"],
        option_env!("COMPARE_LIBEVENT"),
        option_env!("ABSENT_LIBEVENT"),
    ),
    c(
        "libev",
        &["echo", "dispatch", "timers"],
        option_env!("COMPARE_LIBEV"),
        option_env!("ABSENT_LIBEV"),
    ),
    c(
        "libuv",
        &["echo", "dispatch", "timers"],
        option_env!("COMPARE_LIBUV"),
        option_env!("ABSENT_LIBUV"),
    ),
];

/// `kv`, what it is compared with, and what bounds both.
pub const AGAINST_REDIS: [Subject; 3] = [
    rust(
        "redis",
        "redis-server, persistence off, one I/O thread",
        &[("requests", |_| benchmark::become_redis()), ("keys", |_| benchmark::become_redis())],
    ),
    rust(
        "kv",
        "our server with its defaults",
        &[("requests", |_| benchmark::become_kv()), ("keys", |_| benchmark::become_kv())],
    ),
    rust(
        "canned",
        "a bare epoll loop with canned replies: the limit",
        &[("requests", |_| canned::serve(listen()?))],
    ),
];

impl Subject {
    /// Whether it has a part in a work.
    pub fn does(&self, work: &Work) -> bool {
        let limit = self.limits.iter().find(|(kind, _)| *kind == work.kind.name);
        let has_part = match self.program {
            Program::Rust(parts) => parts.iter().any(|(name, _)| *name == work.kind.part),
            Program::C(_, parts) => parts.contains(&work.kind.part),
        };
        has_part && limit.is_none_or(|(_, most)| work.count <= *most)
    }

    /// Why it cannot be run here, if it cannot.
    pub fn absent(&self) -> Option<String> {
        match self.program {
            Program::C(Err(why), _) => Some(why.to_owned()),
            _ => (self.missing)(),
        }
    }

    /// What starts it on a work, on a core, with what it is told besides; a negative core is any.
    ///
    /// # Errors
    /// When it is absent.
    pub fn command(&self, work: &Work, core: i32, numbers: &[String]) -> io::Result<Command> {
        let mut command = match self.program {
            Program::Rust(_) => {
                let mut command = Command::new(this_program()?);
                command.args(["serve", self.name]);
                command
            }
            Program::C(Ok(path), _) => Command::new(path),
            Program::C(Err(why), _) => return Err(io::Error::other(why)),
        };
        command.arg(work.kind.part).arg(core.to_string()).args(numbers);
        Ok(command)
    }
}

/// Does a part of a subject that is written in Rust: servers do so for ever, the others print their
/// figures and end.
///
/// # Errors
/// When there is no such subject, it has no such part, or it fails.
pub fn serve(name: &str, part: &str, number: usize) -> io::Result<()> {
    let subject = ALL.iter().chain(&AGAINST_REDIS).find(|it| it.name == name);
    let parts = match subject.map(|it| it.program) {
        Some(Program::Rust(parts)) => parts,
        _ => &[],
    };
    match parts.iter().find(|(it, _)| *it == part) {
        Some((_, run)) => run(number),
        None => Err(io::Error::other(format!("{name} does no {part}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use crate::plan::Plan;

    /// The subjects that take part in the works of a kind, with any count.
    fn partners(kind: &str) -> Vec<&'static str> {
        let works: Vec<Work> =
            Plan::full().works.into_iter().filter(|it| it.kind.name == kind).collect();
        let does = |it: &Subject| works.iter().any(|work| it.does(work));
        ALL.iter().filter(|it| does(it)).map(|it| it.name).collect()
    }

    #[test]
    fn each_part_is_of_a_kind_of_work() {
        let kinds = [&kinds::LOOPS[..], &[&kinds::REQUESTS, &kinds::KEYS]].concat();
        let known: Vec<&str> = kinds.iter().map(|it| it.part).collect();
        for subject in ALL.iter().chain(&AGAINST_REDIS) {
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
    fn a_subject_takes_part_in_what_it_is_written_for_and_up_to_its_limits() {
        assert_eq!(partners("scale"), ["epoll"]);
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
    fn what_a_subject_does_not_do_is_an_error_that_names_both() {
        for (name, part) in [("raw", "timers"), ("kqueue", "echo")] {
            let error = serve(name, part, 0).expect_err("it does not").to_string();
            assert!(error.contains(name) && error.contains(part), "{error}");
        }
    }
}
