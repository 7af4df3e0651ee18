//! The table of the loops that are compared, and their works. A loop written in Rust has an entry
//! here and a file in [`crate::loops`].

use std::io;
use std::net::TcpListener;
use std::process::Command;

use ::monoio::{IoUringDriver, LegacyDriver};
use reactor::BackendKind;

use crate::computation;
use crate::loops::{
    async_io, bind, calloop, fastwebsockets, hyper, limits, listen, mio, models, monoio, names,
    nginx, ours, polling, raw, server, tokio, tokio_util, tungstenite, web,
};
use crate::process::this_program;
use crate::work::Work;

mod against_redis;

use against_redis::CANNED;
pub use against_redis::{AGAINST_REDIS, KV_ON};

/// A part of a subject: its name as in [`crate::work::Kind::part`], and its function. Servers run
/// for ever, the others print their figures and end. The argument is the count of the work, or 0.
pub type Part = (&'static str, fn(usize) -> io::Result<()>);

/// The program that runs a loop.
#[derive(Clone, Copy, Debug)]
pub enum Program {
    /// This program itself, with these parts.
    Rust(&'static [Part]),
    /// A program that the build script compiled, or the reason why it could not, and its parts.
    C(Result<&'static str, &'static str>, &'static [&'static str]),
}

/// A loop that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The name in reports and on command lines.
    pub name: &'static str,
    /// A description.
    pub about: &'static str,
    /// The program, and its parts.
    pub program: Program,
    /// The names of the kinds of work that it does only up to a count.
    pub limits: &'static [(&'static str, usize)],
    /// Returns the reason if this machine cannot run it.
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

    const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    const fn unless(self, missing: fn() -> Option<String>) -> Self {
        Self { missing, ..self }
    }
}

/// Serves with a computation for each message, for ever.
fn bound(steps: usize, serve: fn(TcpListener) -> io::Result<()>) -> io::Result<()> {
    computation::set_steps(steps);
    serve(listen()?)
}

/// Returns the reason why the kernel refuses what a loop in C needs: the loop tries and tells it.
fn refused(path: Option<&str>) -> Option<String> {
    let output = match Command::new(path?).args(["probe", "-1"]).output() {
        Ok(output) if output.status.success() => return None,
        Ok(output) => output.stderr,
        Err(error) => return Some(error.to_string()),
    };
    Some(String::from_utf8_lossy(&output).trim().to_owned())
}

/// Each wait of poll and select costs time in proportion to the connections. The works with fewer
/// connections show that well enough.
const SLOW: &[(&str, usize)] = &[("echo", 1000), ("bound", 1000)];

/// How many processes, or threads that existed before, the models with these have at most. More
/// processes are more than most systems allow a user.
const WORKERS: &[(&str, usize)] = &[("models", 1000)];

/// All loops: ours, the limit, and the peers. Our timers do not depend on the backend. mio and
/// polling have no timers.
pub const ALL: [Subject; 42] = [
    rust(
        "epoll",
        "our reactor on edge-triggered epoll, its default",
        &[
            ("echo", |_| ours::echo(BackendKind::Epoll)),
            ("bound", |steps| ours::bound(BackendKind::Epoll, steps)),
            ("dispatch", |count| ours::dispatch(BackendKind::Epoll, count)),
            ("lines", |_| ours::lines(BackendKind::Epoll)),
            ("timers", |count| ours::timers(BackendKind::Epoll, count)),
            ("udp", |_| ours::udp(BackendKind::Epoll)),
            ("dial", |port| ours::dial(BackendKind::Epoll, server(port)?)),
            ("hello", |_| web::hello(BackendKind::Epoll)),
            ("websocket", |_| web::websocket(BackendKind::Epoll)),
        ],
    ),
    rust(
        "epoll-lt",
        "our reactor on level-triggered epoll",
        &[
            ("echo", |_| ours::echo(BackendKind::EpollLevel)),
            ("bound", |steps| ours::bound(BackendKind::EpollLevel, steps)),
            ("dispatch", |count| ours::dispatch(BackendKind::EpollLevel, count)),
        ],
    ),
    rust(
        "poll",
        "our reactor on poll",
        &[
            ("echo", |_| ours::echo(BackendKind::Poll)),
            ("bound", |steps| ours::bound(BackendKind::Poll, steps)),
            ("dispatch", |count| ours::dispatch(BackendKind::Poll, count)),
        ],
    )
    .up_to(SLOW),
    rust(
        "select",
        "our reactor on select",
        &[
            ("echo", |_| ours::echo(BackendKind::Select)),
            ("bound", |steps| ours::bound(BackendKind::Select, steps)),
            ("dispatch", |count| ours::dispatch(BackendKind::Select, count)),
        ],
    )
    .up_to(SLOW),
    rust(
        "uring",
        "our reactor on io_uring",
        &[
            ("echo", |_| ours::echo(ours::uring()?)),
            ("bound", |steps| ours::bound(ours::uring()?, steps)),
            ("dispatch", |count| ours::dispatch(ours::uring()?, count)),
            ("lines", |_| ours::lines(ours::uring()?)),
            ("udp", |_| ours::udp(ours::uring()?)),
            ("dial", |port| ours::dial(ours::uring()?, server(port)?)),
            ("hello", |_| web::hello(ours::uring()?)),
            ("websocket", |_| web::websocket(ours::uring()?)),
        ],
    )
    .unless(ours::no_uring),
    rust(
        "raw",
        "a bare edge-triggered epoll loop: the limit",
        &[
            ("echo", |_| raw::echo(listen()?)),
            ("bound", |steps| bound(steps, raw::echo)),
            ("dispatch", raw::dispatch),
            ("dial", |port| raw::dial(server(port)?)),
        ],
    ),
    c("ring", &["echo", "bound"], option_env!("COMPARE_RING"), option_env!("ABSENT_RING"))
        .about("a bare io_uring loop: the limit for completions")
        .unless(|| refused(option_env!("COMPARE_RING"))),
    c(
        "ring-sends",
        &["echo", "bound"],
        option_env!("COMPARE_RING_SENDS"),
        option_env!("ABSENT_RING_SENDS"),
    )
    .about("a bare epoll loop that sends through a ring, all answers of a turn at once")
    .unless(|| refused(option_env!("COMPARE_RING_SENDS"))),
    rust("array", "deadlines in an array, for timers: the limit", &[("timers", limits::array)]),
    rust(
        "harness",
        "what the comparison of timers itself costs, in every row",
        &[("timers", limits::harness)],
    ),
    rust(
        "mio",
        "mio with a slab",
        &[
            ("echo", |_| mio::echo(listen()?)),
            ("bound", |steps| bound(steps, mio::echo)),
            ("dispatch", mio::dispatch),
        ],
    ),
    rust(
        "polling",
        "polling 2.8 with a slab",
        &[
            ("echo", |_| polling::echo(listen()?)),
            ("bound", |steps| bound(steps, polling::echo)),
            ("dispatch", polling::dispatch),
        ],
    ),
    rust(
        "async-io",
        "smol: async-io on polling, with a local executor",
        &[
            ("echo", |_| async_io::echo(listen()?)),
            ("bound", |steps| bound(steps, async_io::echo)),
            ("dispatch", async_io::dispatch),
            ("timers", async_io::timers),
        ],
    ),
    rust(
        "calloop",
        "calloop, on polling",
        &[
            ("echo", |_| calloop::echo(listen()?)),
            ("bound", |steps| bound(steps, calloop::echo)),
            ("dispatch", calloop::dispatch),
            ("timers", calloop::timers),
        ],
    )
    // Moving one of its timers visits all: 0.2 ms each at 100,000.
    .up_to(&[("timers", 1000)]),
    rust(
        "tokio",
        "tokio, current thread",
        &[
            ("echo", |_| tokio::echo(listen()?)),
            ("bound", |steps| bound(steps, tokio::echo)),
            ("dispatch", tokio::dispatch),
            ("timers", tokio::timers),
            ("udp", |_| tokio::udp(bind()?)),
            ("dial", |port| tokio::dial(server(port)?)),
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
            ("bound", |steps| bound(steps, monoio::echo::<LegacyDriver>)),
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
            ("bound", |steps| bound(steps, monoio::echo::<IoUringDriver>)),
            ("dispatch", monoio::dispatch::<IoUringDriver>),
            ("lines", |_| monoio::lines::<IoUringDriver>(listen()?)),
        ],
    )
    .unless(monoio::no_io_uring),
    c("recvmmsg", &["udp"], option_env!("COMPARE_RECVMMSG"), option_env!("ABSENT_RECVMMSG")),
    c(
        "libevent",
        &["echo", "bound", "dispatch", "lines", "timers"],
        option_env!("COMPARE_LIBEVENT"),
        option_env!("ABSENT_LIBEVENT"),
    ),
    c(
        "libev",
        &["echo", "bound", "dispatch", "timers"],
        option_env!("COMPARE_LIBEV"),
        option_env!("ABSENT_LIBEV"),
    ),
    c(
        "libuv",
        &["echo", "bound", "dispatch", "timers", "udp"],
        option_env!("COMPARE_LIBUV"),
        option_env!("ABSENT_LIBUV"),
    ),
    rust(
        "nginx",
        "nginx, one process",
        &[("files", |_| nginx::files(false)), ("files-tls", |_| nginx::files(true))],
    )
    .unless(nginx::absent),
    rust(
        "web",
        "our server of files with its defaults",
        &[("files", |_| web::files(false)), ("files-tls", |_| web::files(true))],
    ),
    rust("dnsmasq", "dnsmasq, with a cache of 10,000 names", &[("names", names::dnsmasq)])
        .unless(names::no_dnsmasq),
    rust("unbound", "unbound, one thread, without validation", &[("names", names::unbound)])
        .unless(names::no_unbound),
    rust("dns", "our forwarder with its defaults", &[("names", names::ours)]),
    rust("one-loop", "a group of one of our loops", &[("scale", |_| ours::scale(1))]),
    rust("two-loops", "a group of two", &[("scale", |_| ours::scale(2))]),
    rust("three-loops", "a group of three", &[("scale", |_| ours::scale(3))]),
    rust("four-loops", "a group of four", &[("scale", |_| ours::scale(4))]),
    rust(
        "iterative",
        "echo-server, one connection after the other",
        &[("models", models::iterative)],
    )
    .up_to(&[("models", 1)]),
    rust("fork", "echo-server, a process for each connection", &[("models", models::fork)])
        .up_to(WORKERS),
    rust("prefork", "echo-server, processes that accept", &[("models", models::prefork)])
        .up_to(WORKERS),
    rust("thread", "echo-server, a thread for each connection", &[("models", models::thread)]),
    rust("pool", "echo-server, a pool of threads", &[("models", models::pool)]).up_to(WORKERS),
    rust("reactor", "echo-server, its default: one loop", &[("models", models::reactor)]),
    rust("reactors", "echo-server, two loops", &[("models", models::reactors)]),
    CANNED,
    rust("hyper", "hyper on tokio, current thread", &[("hello", |_| hyper::hello(listen()?))]),
    rust(
        "fastwebsockets",
        "fastwebsockets on tokio, current thread",
        &[("websocket", |_| fastwebsockets::echo(listen()?))],
    ),
    rust(
        "tungstenite",
        "tokio-tungstenite, current thread",
        &[("websocket", |_| tungstenite::echo(listen()?))],
    ),
];

impl Subject {
    /// Returns whether it does a work.
    pub fn does(&self, work: &Work) -> bool {
        let limit = self.limits.iter().find(|(kind, _)| *kind == work.kind.name);
        let has_part = match self.program {
            Program::Rust(parts) => parts.iter().any(|(name, _)| *name == work.kind.part),
            Program::C(_, parts) => parts.contains(&work.kind.part),
        };
        has_part && limit.is_none_or(|(_, most)| work.count <= *most)
    }

    /// Returns the reason if it cannot be run on this machine.
    pub fn absent(&self) -> Option<String> {
        match self.program {
            Program::C(Err(why), _) => Some(why.to_owned()),
            _ => (self.missing)(),
        }
    }

    /// Returns the command that starts it with a work on a core, with further arguments. A negative
    /// core means any.
    ///
    /// # Errors
    /// Fails if it is absent.
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

/// Returns the subjects of both comparisons.
pub(crate) fn everything() -> impl Iterator<Item = Subject> {
    ALL.into_iter().chain(AGAINST_REDIS).chain(KV_ON.map(|(_, subject)| subject))
}

/// Runs a part of a subject written in Rust. Servers run for ever, the others print their figures
/// and end.
///
/// # Errors
/// Fails if there is no such subject, it has no such part, or it fails.
pub fn serve(name: &str, part: &str, number: usize) -> io::Result<()> {
    let subject = everything().find(|it| it.name == name);
    let parts = match subject.map(|it| it.program) {
        Some(Program::Rust(parts)) => parts,
        _ => &[],
    };
    match parts.iter().find(|(it, _)| *it == part) {
        Some((_, run)) => run(number),
        None => Err(io::Error::other(format!("{name} has no work {part}"))),
    }
}

#[cfg(test)]
mod tests;
