//! Resource use of a process, and its cores.

use std::fs;
use std::io;

use rustix::thread::CpuSet;
use testkit::process::{children, proportional_bytes};
pub use testkit::process::{cpu_nanoseconds, memory_bytes};

/// Returns the processor time that a process and its children have used, in nanoseconds. Children that
/// have ended do not count.
///
/// # Errors
/// Fails if there is no such process.
pub fn family_nanoseconds(pid: u32) -> io::Result<u64> {
    let own = cpu_nanoseconds(pid)?;
    let of_children = children(pid).into_iter().filter_map(|it| cpu_nanoseconds(it).ok());
    Ok(own + of_children.sum::<u64>())
}

/// Returns the memory of a process and its children, in bytes. What several share counts once.
///
/// # Errors
/// Fails if there is no such process.
pub fn family_bytes(pid: u32) -> io::Result<u64> {
    let own = proportional_bytes(pid)?;
    let of_children = children(pid).into_iter().filter_map(|it| proportional_bytes(it).ok());
    Ok(own + of_children.sum::<u64>())
}

/// Returns the cores that this process may run on.
pub fn cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// Pins this thread, and the threads that it starts, to one core. A negative number means any core.
///
/// # Errors
/// Fails with the error of the system call: the core may not be allowed.
pub fn pin(core: i32) -> io::Result<()> {
    let Ok(core) = usize::try_from(core) else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Makes the kernel end this process when its parent ends, for any reason.
///
/// # Errors
/// Fails with the error of the system call, or if the parent has ended already.
pub fn end_with_parent() -> io::Result<()> {
    let kill = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(kill)?;
    match rustix::process::getppid() {
        Some(parent) if !parent.is_init() => Ok(()),
        _ => Err(io::Error::other("the comparison that started this process is gone")),
    }
}

/// Returns the processor time of this process with all its threads, in nanoseconds.
pub fn own_nanoseconds() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The processor time of the machine and of this comparison so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Clock ticks of all cores.
    total: u64,
    /// The idle ones.
    idle: u64,
    /// Those of this process and of its children that have ended.
    own: u64,
}

impl Usage {
    /// Returns the use until now. `None` if `/proc` does not have it.
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
        // The name may contain anything. Numbers follow it: utime is the twelfth.
        let own = own.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        Some(Self {
            // The time of guests is counted as user time too (`proc(5)`).
            total: cores.iter().take(8).sum(),
            idle: cores.get(3)? + cores.get(4)?,
            own: own.filter_map(|it| it.parse::<u64>().ok()).sum(),
        })
    }

    /// Returns the share of all cores that other processes used since `before`, including the
    /// hypervisor.
    pub fn others_since(&self, before: &Self) -> f64 {
        let total = (self.total - before.total).max(1) as f64;
        let busy = (self.total - self.idle) - (before.total - before.idle);
        busy.saturating_sub(self.own - before.own) as f64 / total
    }
}

/// Returns the limit of descriptors of a process.
pub fn descriptors_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX))
}
