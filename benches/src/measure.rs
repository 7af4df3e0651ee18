//! What a process has used, and where it runs.

use std::fs;
use std::io;

use rustix::thread::CpuSet;
pub use testkit::process::{cpu_nanoseconds, memory_bytes};

/// Cores that this process may run on.
pub fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// Keeps this thread, and those it will start, on one core; a negative one means any.
///
/// # Errors
/// What the kernel said: the core may not be allowed.
pub fn pin(core: i32) -> io::Result<()> {
    let Ok(core) = usize::try_from(core) else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Makes the kernel end this process when the one that started it ends, however it does.
///
/// # Errors
/// What the kernel said, or that the starter is gone already.
pub fn end_with_parent() -> io::Result<()> {
    let kill = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(kill)?;
    match rustix::process::getppid() {
        Some(parent) if !parent.is_init() => Ok(()),
        _ => Err(io::Error::other("the comparison that started this process is gone")),
    }
}

/// Processor time of this process, in nanoseconds: of its threads too, which some loops have.
pub fn own_nanoseconds() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How busy the machine and this comparison have been so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Clock ticks of all cores.
    total: u64,
    /// Those in which nothing ran.
    idle: u64,
    /// Those of this process and of the children that it has waited for.
    own: u64,
}

impl Usage {
    /// Until now; `None` where `/proc` does not tell.
    pub fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let cores: Vec<u64> = stat
            .lines()
            .next()?
            .split_whitespace()
            .skip(1)
            .filter_map(|it| it.parse().ok())
            .collect();
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // The name may hold anything; what follows it is numbers: utime is the twelfth.
        let own = own.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        Some(Self {
            // Guests are counted as users too (`proc(5)`).
            total: cores.iter().take(8).sum(),
            idle: cores.get(3)? + cores.get(4)?,
            own: own.filter_map(|it| it.parse::<u64>().ok()).sum(),
        })
    }

    /// The share of all cores that went to others since `before`, the hypervisor's own included.
    pub fn others_since(&self, before: &Self) -> f64 {
        let total = (self.total - before.total).max(1) as f64;
        let busy = (self.total - self.idle) - (before.total - before.idle);
        busy.saturating_sub(self.own - before.own) as f64 / total
    }
}

/// How many descriptors a process may have.
pub fn descriptors_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX))
}
