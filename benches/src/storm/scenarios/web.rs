//! The server of files and the server behind it, which dies and comes back.
//!
//! The sockets are simulated; the files are those of the system.

use std::fs::{self, FileTimes};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use reactor::Reactor;
use reactor::sim::{Faults, HostId, Outcome, Sim};
use servers::web::{self, App};
use testkit::Folder;

use super::ground::{Ground, demand_calm};
use super::http::book::{Kind, Shared, Told};
use super::http::clients::{File, Plan, Requesters, request};
use super::http::content::Content;
use super::http::{are_done, demand_answers, demand_end, service};
use super::signals::stop_when;

/// How long faults are drawn.
const STORM: Duration = Duration::from_secs(6);
/// How long a response takes that says that the other server is down.
const REFUSING: Duration = Duration::from_secs(10);
/// How many requests a program makes.
const WANTED: u64 = 24;
/// Sizes of files. Those above 8 KiB are sent by the kernel (`sendfile(2)`).
const SIZES: [u64; 4] = [0, 700, 8_000, 50_000];
const KINDS: [Kind; 12] = [
    Kind::Fixed,
    Kind::Chunked,
    Kind::Late,
    Kind::Head,
    Kind::Close,
    Kind::Take,
    Kind::Put,
    Kind::Echo,
    Kind::Refuse,
    Kind::File,
    Kind::File,
    Kind::File,
];
/// When the files were changed last: their tags have the same length in each run.
const CHANGED: Duration = Duration::from_secs(1_700_000_000);

/// Runs the scenario. Stops the server gracefully in some worlds.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let folder = Folder::new("storm-web");
    let files = write_files(folder.path())?;
    let root = folder.path().to_owned();
    let mut ground = Ground::new(sim, move |backend| build(&root, backend))?;
    let book = Shared::default();
    let (backend, shared) = (ground.backend, Shared::clone(&book));
    let upstream = ground.client(sim, move || service::build("10.0.0.2:9000", backend, &shared))?;
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let plan = Plan {
            seed: ground.random.number(),
            backend,
            base: "http://10.0.0.1:7/app".to_owned(),
            kinds: &KINDS,
            files: Rc::clone(&files),
            wanted: WANTED,
            book: Shared::clone(&book),
        };
        hosts.push(ground.client(sim, move || Requesters::start(&plan))?);
    }
    if ground.random.one_in(4) {
        stop_when::<App>(sim, &mut ground, || {})?;
    } else {
        sim.set_faults(Faults::all());
        sim.run_until(STORM, |sim| are_done(sim, &hosts))?;
    }
    demand_calm::<App>(sim, ground.server, "requests", |sim| are_done(sim, &hosts))?;
    demand_answers(sim, &hosts, &book, Kind::Fixed)?;
    demand_refusals(sim, upstream, &hosts, &book)?;
    demand_answers(sim, &hosts, &book, Kind::File)?;
    demand_answers(sim, &hosts, &book, Kind::Fixed)?;
    demand_end(sim, &hosts)?;
    ground.demand_peace::<App>(sim)
}

/// Builds the server, as its binary does.
fn build(root: &Path, backend: &str) -> io::Result<Reactor<App>> {
    let root = root.to_str().unwrap_or_default();
    let words = ["--listen", "10.0.0.1:7", "--backend", backend, "--root", root];
    let proxy = ["--proxy", "/app=10.0.0.2:9000", "--proxy-idle", "2", "--proxy-keep", "3s"];
    let limits = ["--proxy-timeout", "4s", "--proxy-connect-timeout", "2s"];
    let files = ["--small-file", "8kb", "--cache-valid", "100ms", "--cache-files", "3"];
    let words = [&words[..], &proxy, &limits, &files].concat();
    servers::prepare(web::SERVER, &words, web::application)
}

/// Writes the files.
fn write_files(folder: &Path) -> io::Result<Rc<[File]>> {
    let write = |(number, size): (usize, &u64)| {
        let content = Content::sized(number as u64, *size);
        let path = folder.join(format!("{number}.bin"));
        fs::write(&path, content.bytes(0, *size))?;
        let changed = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + CHANGED);
        fs::File::options().write(true).open(&path)?.set_times(changed)?;
        Ok(File { url: format!("http://10.0.0.1:7/{number}.bin"), content })
    };
    SIZES.iter().enumerate().map(write).collect()
}

/// Kills the server behind, and demands that requests to it are refused as they have to be. Then it
/// is there again.
fn demand_refusals(sim: &mut Sim, upstream: HostId, hosts: &[HostId], book: &Shared) -> Outcome {
    sim.kill(upstream);
    let mut numbers = Vec::new();
    for host in hosts {
        let begun = sim.with::<Requesters, _>(*host, |cx| request(Kind::Take, false, cx));
        numbers.extend(begun.flatten());
    }
    if !sim.run_until(REFUSING, |sim| are_done(sim, hosts))? {
        return Err("requests to a server that is down are not complete".into());
    }
    for number in numbers {
        let told = book.borrow().told(number);
        if !matches!(told, Some(Told::Other(502 | 504))) {
            return Err(format!("request {number} to a server that is down: {told:?}").into());
        }
    }
    sim.restart(upstream)?;
    Ok(())
}
