//! The backend of a loop on a simulated host.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::reactor::clock::nanos;
use crate::sim::calls::{Simulated, error};
use crate::sim::fault::Fault;
use crate::sim::script::Call;
use crate::sim::socket::Watch;
use crate::sim::world::World;
use crate::{Backend, Coverage, Event, Interest, Readiness, Tag, Trigger};

impl Backend for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn trigger(&self) -> Trigger {
        self.world.lock().hosts[self.host].trigger
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let world = &mut *self.world.lock();
        let host = &mut world.hosts[self.host];
        host.ctl_calls += 1;
        if let Some(plan) = host.dictated(Call::Add { fd: fd.as_raw_fd(), tag, interest }) {
            return plan.add();
        }
        world.spend(self.host);
        let watch =
            Watch { tag, interest, is_news: true, held_until: 0, spurious: Readiness::NONE };
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
        world.hosts[self.host].watched.remove(&id);
        let socket = world.sockets.get_mut(&id);
        match socket.and_then(|socket| socket.watch.take()) {
            Some(_) => Ok(()),
            None => error(libc::ENOENT),
        }
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
        "epoll_pwait"
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
    collect(world, host, events);
    if events.is_empty() {
        return Ok(pass(world, host, timeout));
    }
    if events.len() > 1
        && let Some(mut bits) = world.strikes(Fault::Reorder, host, place)
    {
        for place in (1..events.len()).rev() {
            events.swap(place, bits.between(0, place as u64) as usize);
        }
    }
    let mut coverage = Coverage::Complete;
    if events.len() > 1
        && let Some(mut bits) = world.strikes(Fault::FullArray, host, place)
    {
        events.truncate(bits.between(1, events.len() as u64 - 1) as usize);
        coverage = Coverage::Partial;
    }
    for event in events.iter() {
        told(world, host, event.tag);
    }
    world.note(host, format_args!("wakes with {} events", events.len()));
    Ok(coverage)
}

/// Passes the time of a wait without events.
fn pass(world: &mut World, host: usize, timeout: Option<Duration>) -> Coverage {
    let now = world.time_of(host);
    match (timeout, world.hosts[host].wakes_at) {
        (Some(Duration::ZERO), _) => Coverage::Complete,
        // It was called since the time has passed.
        (Some(_), Some(at)) if at <= now => Coverage::Complete,
        (Some(timeout), _) => {
            world.hosts[host].local = now.saturating_add(nanos(timeout));
            Coverage::Complete
        }
        (None, _) => Coverage::Partial,
    }
}

/// Collects what there is to report.
fn collect(world: &mut World, host: usize, events: &mut Vec<Event>) {
    let is_edge = world.hosts[host].trigger == Trigger::Edge;
    let at = world.time_of(host);
    if let Some(mut bits) = world.strikes(Fault::Spurious, host, host as u32) {
        let last = world.hosts[host].watched.len() as u64;
        let chosen = bits.between(0, last.saturating_sub(1)) as usize;
        let id = world.hosts[host].watched.iter().nth(chosen).copied();
        let socket = id.and_then(|id| world.sockets.get_mut(&id));
        if let Some(watch) = socket.and_then(|socket| socket.watch.as_mut()) {
            watch.is_news = true;
            let both = [Readiness::READABLE, Readiness::WRITABLE];
            watch.spurious = both[usize::from(bits.coin())];
        }
    }
    for id in &world.hosts[host].watched {
        let Some(socket) = world.sockets.get(id) else { continue };
        if let (Some(readiness), Some(watch)) = (socket.report(is_edge, at), &socket.watch) {
            events.push(Event { tag: watch.tag, readiness });
        }
    }
    for foreign in world.foreign.values().filter(|it| it.host == host) {
        if let Some(readiness) = foreign.report(is_edge) {
            events.push(Event { tag: foreign.watch.tag, readiness });
        }
    }
}

/// Records that an event was reported.
fn told(world: &mut World, host: usize, tag: Tag) {
    let at = world.time_of(host);
    let ids = &world.hosts[host].watched;
    for id in ids {
        let watch = world.sockets.get_mut(id).and_then(|socket| socket.watch.as_mut());
        if let Some(watch) = watch.filter(|watch| watch.tag == tag && watch.held_until <= at) {
            (watch.is_news, watch.spurious) = (false, Readiness::NONE);
        }
    }
    for foreign in world.foreign.values_mut() {
        if foreign.host == host && foreign.watch.tag == tag {
            (foreign.watch.is_news, foreign.ready) = (false, Readiness::NONE);
        }
    }
}
