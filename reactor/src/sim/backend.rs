//! The backend of a loop on a simulated host.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::reactor::clock::nanos;
use crate::sim::calls::{Simulated, error};
use crate::sim::fault::Fault;
use crate::sim::script::Call;
use crate::sim::socket::{SocketId, State, Watch};
use crate::sim::world::World;
use crate::{Backend, Completion, Coverage, Event, Interest, Readiness, Tag, Trigger};

impl Backend for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn trigger(&self) -> Trigger {
        self.world.lock().hosts[self.host].trigger()
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let host = &mut world.hosts[self.host];
        host.ctl_calls += 1;
        if let Some(plan) = host.dictated(Call::Add { fd: fd.as_raw_fd(), tag, interest }) {
            return plan.add();
        }
        world.spend(self.host);
        let watch = Watch {
            tag,
            interest,
            is_news: true,
            changes: 0,
            held_until: 0,
            spurious: Readiness::NONE,
        };
        let Some(id) = world.find(fd) else { return world.watch_real(self.host, fd, watch) };
        if let Some(mut bits) = world.strikes(Fault::WatchRefused, self.host, self.host as u32) {
            return error(if bits.coin() { libc::ENOMEM } else { libc::ENOSPC });
        }
        if let Some(socket) = world.sockets.get_mut(&id) {
            socket.watch = Some(watch);
        }
        world.hosts[self.host].watched.insert(id);
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let host = &mut world.hosts[self.host];
        host.ctl_calls += 1;
        if host.dictated(Call::Modify { tag, interest }).is_some() {
            return Ok(());
        }
        world.spend(self.host);
        let found = match world.find(fd) {
            Some(id) => world.sockets.get_mut(&id).and_then(|socket| socket.watch.as_mut()),
            None => world.real(self.host, fd.as_raw_fd()).map(|(_, foreign)| &mut foreign.watch),
        };
        let Some(watch) = found else { return error(libc::ENOENT) };
        (watch.tag, watch.interest, watch.is_news) = (tag, interest, true);
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let host = &mut world.hosts[self.host];
        host.ctl_calls += 1;
        if host.dictated(Call::Remove { fd: fd.as_raw_fd() }).is_some() {
            return Ok(());
        }
        world.spend(self.host);
        let Some(id) = world.find(fd) else { return world.forget_real(self.host, fd) };
        let Some(socket) = world.sockets.get(&id).filter(|socket| socket.watch.is_some()) else {
            return error(libc::ENOENT);
        };
        if socket.moved.is_some() {
            world.stop_moving(id, self.host);
        } else {
            world.unwatch(id);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        let world = &mut *self.world.lock();
        let host = &mut world.hosts[self.host];
        if host.dictated(Call::Wait { timeout }).is_some() {
            return host.play(events, timeout);
        }
        world.spend(self.host);
        world.sweep()?;
        wait(world, self.host, events, timeout)
    }

    fn wait_call(&self) -> &'static str {
        if self.has_ring() { "io_uring_enter" } else { "epoll_pwait" }
    }

    fn sleep(&mut self, time: Duration) {
        let world = &mut *self.world.lock();
        world.hosts[self.host].dictated(Call::Sleep { time });
        let local = world.time_of(self.host).saturating_add(nanos(time));
        world.hosts[self.host].local = local;
    }

    fn now(&self) -> Instant {
        Self::now(self)
    }

    fn nanoseconds(&self) -> u64 {
        Self::nanoseconds(self)
    }

    fn coalesces(&self) -> bool {
        self.has_ring()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.world.lock().submit(self.host);
        Ok(())
    }

    fn completion(&mut self) -> Option<&mut dyn Completion> {
        if self.has_ring() { Some(self) } else { None }
    }

    fn ctl_calls(&self) -> u64 {
        self.world.lock().hosts[self.host].ctl_calls
    }
}

/// Ends a wait that began when the program called its kernel last. The scheduler calls the program
/// when the wait has something to report, or its time has passed; so the wait itself never waits,
/// except ahead of the world for a program that wants to sleep and was called for another reason.
fn wait(
    world: &mut World,
    host: usize,
    events: &mut Vec<Event>,
    timeout: Option<Duration>,
) -> io::Result<Coverage> {
    let place = host as u32;
    let sleeps = timeout != Some(Duration::ZERO);
    if sleeps && std::mem::take(&mut world.hosts[host].is_interrupted) {
        world.note(host, format_args!("wait: interrupted"));
        return Ok(Coverage::Partial);
    }
    if world.strikes(Fault::WaitNoMemory, host, place).is_some() {
        return error(libc::ENOMEM);
    }
    if sleeps && world.strikes(Fault::Interrupt, host, place).is_some() {
        return Ok(Coverage::Partial);
    }
    spurious(world, host);
    world.move_all(host);
    let mut found = collect(world, host);
    if found.is_empty() {
        let coverage = pass(world, host, timeout);
        world.move_all(host);
        found = collect(world, host);
        if found.is_empty() {
            return Ok(coverage);
        }
    }
    if found.len() > 1
        && let Some(mut bits) = world.strikes(Fault::Reorder, host, place)
    {
        for place in (1..found.len()).rev() {
            found.swap(place, bits.between(0, place as u64) as usize);
        }
    }
    let mut coverage = Coverage::Complete;
    if found.len() > 1
        && let Some(mut bits) = world.strikes(Fault::FullArray, host, place)
    {
        found.truncate(bits.between(1, found.len() as u64 - 1) as usize);
        coverage = Coverage::Partial;
        world.hosts[host].turned_to = found.last().map(|(whose, _)| *whose);
    }
    world.note(host, format_args!("wakes with {} events", found.len()));
    if coverage == Coverage::Complete {
        world.hosts[host].turned_to = None;
    }
    for (whose, event) in found {
        told(world, host, whose);
        events.push(event);
    }
    Ok(coverage)
}

/// Passes the time of a wait without events.
fn pass(world: &mut World, host: usize, timeout: Option<Duration>) -> Coverage {
    /// The longest wait that passes although the world has not come to its end. It may miss what
    /// arrives meanwhile, which the next wait reports.
    const AHEAD_MAX: u64 = 20_000_000;
    let now = world.time_of(host);
    let Some(timeout) = timeout else { return Coverage::Partial };
    if timeout.is_zero() || world.hosts[host].wakes_at.is_some_and(|at| at <= now) {
        // Otherwise, it was called since the time has passed.
        return Coverage::Complete;
    }
    let end = world.hosts[host].clocks.after(now, nanos(timeout));
    // Readiness that was held back is noticed in time.
    let held = |id| {
        let watch = world.sockets.get(id)?.watch.as_ref()?;
        Some(watch.held_until).filter(|at| watch.is_news && (now + 1..end).contains(at))
    };
    let first = world.hosts[host].watched.iter().filter_map(held).min();
    if first.is_none() && end - now > AHEAD_MAX {
        // As if a signal had interrupted it: the loop waits again, and the scheduler for it.
        return Coverage::Partial;
    }
    world.hosts[host].local = first.unwrap_or(end);
    Coverage::Complete
}

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Socket(SocketId),
    Real(u32),
}

/// Reports readiness that does not exist, if a fault says so.
fn spurious(world: &mut World, host: usize) {
    let Some(mut bits) = world.strikes(Fault::Spurious, host, host as u32) else { return };
    let last = world.hosts[host].watched.len() as u64;
    let chosen = bits.between(0, last.saturating_sub(1)) as usize;
    let id = world.hosts[host].watched.iter().nth(chosen).copied();
    let Some(socket) = id.and_then(|id| world.sockets.get_mut(&id)) else { return };
    if matches!(socket.state, State::Connecting(_)) {
        // The kernel reports nothing before a connection is established (`tcp_poll`).
        return;
    }
    if let Some(watch) = socket.watch.as_mut() {
        watch.is_news = true;
        let both = [Readiness::READABLE, Readiness::WRITABLE];
        watch.spurious = both[usize::from(bits.coin())];
    }
}

/// Collects what there is to report. After a wait whose array was full, what it did not report comes
/// first, as the list of epoll does it.
fn collect(world: &World, host: usize) -> Vec<(Whose, Event)> {
    let mut found = Vec::new();
    let is_edge = world.hosts[host].trigger() == Trigger::Edge;
    let at = world.time_of(host);
    for id in &world.hosts[host].watched {
        let Some(socket) = world.sockets.get(id) else { continue };
        if let (Some(readiness), Some(watch)) = (socket.report(is_edge, at), &socket.watch) {
            found.push((Whose::Socket(*id), Event { tag: watch.tag, readiness }));
        }
    }
    for (key, foreign) in world.foreign.iter().filter(|(_, it)| it.host == host) {
        if let Some(readiness) = foreign.report(is_edge) {
            found.push((Whose::Real(*key), Event { tag: foreign.watch.tag, readiness }));
        }
    }
    if let Some(last) = world.hosts[host].turned_to {
        let told = found.partition_point(|(whose, _)| *whose <= last);
        found.rotate_left(told);
    }
    found
}

/// Records that an event was reported.
fn told(world: &mut World, host: usize, whose: Whose) {
    let at = world.time_of(host);
    match whose {
        Whose::Socket(id) => {
            let Some(socket) = world.sockets.get_mut(&id) else { return };
            if let (Some(moved), Some(watch)) = (&mut socket.moved, &mut socket.watch) {
                return moved.told(watch);
            }
            let watch = world.sockets.get_mut(&id).and_then(|socket| socket.watch.as_mut());
            if let Some(watch) = watch.filter(|watch| watch.held_until <= at) {
                world.coincidences.merged_events += u64::from(watch.changes > 1);
                (watch.is_news, watch.changes, watch.spurious) = (false, 0, Readiness::NONE);
            }
        }
        Whose::Real(key) => {
            if let Some(foreign) = world.foreign.get_mut(&key) {
                (foreign.watch.is_news, foreign.ready) = (false, Readiness::NONE);
            }
        }
    }
}
