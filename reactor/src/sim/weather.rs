//! The faults of hosts and of pairs of hosts, and their ends.

use std::io;

use crate::sim::dice::Bits;
use crate::sim::fault::Fault;
use crate::sim::names::Lookups;
use crate::sim::network::place;
use crate::sim::world::{Happening, Life, TICK, World};
use crate::sim::{Faults, Sim};

const MILLISECOND: u64 = 1_000_000;
/// The place of the faults of all hosts together.
const EVERYWHERE: u32 = u32::MAX;

impl Sim {
    /// Draws the faults of hosts and of pairs.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        let hosts = self.programs.len();
        for host in 0..hosts {
            let is_running = self.world.lock().hosts[host].life == Life::Running;
            if !is_running {
                continue;
            }
            self.world.lock().trouble(host);
            for (fault, life) in [(Fault::Kill, Life::Idle), (Fault::Crash, Life::Down)] {
                let struck = self.world.lock().strikes(fault, host, host as u32);
                if let Some(mut bits) = struck {
                    let time = bits.between(100 * MILLISECOND, 5_000 * MILLISECOND);
                    self.end_for(host, life, time);
                    break;
                }
            }
        }
        self.kill_many();
        let world = &mut *self.world.lock();
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| *to != from) {
                world.obstruct(from, to);
            }
            world.isolate(from);
        }
        world.divide();
        world.swizzle();
        let at = world.now + TICK;
        world.later(at, Happening::Tick);
        Ok(())
    }

    /// Ends the programs of several hosts at once.
    fn kill_many(&mut self) {
        let hosts = self.programs.len();
        if hosts < 2 {
            return;
        }
        let Some(mut bits) = self.world.lock().strikes_all(Fault::KillMany) else { return };
        let spared = bits.between(0, hosts as u64 * 2) as usize;
        for host in (0..hosts).filter(|host| *host != spared) {
            if matches!(self.world.lock().hosts[host].life, Life::Running | Life::Stopped) {
                let life = if bits.coin() { Life::Idle } else { Life::Down };
                self.end_for(host, life, bits.between(100 * MILLISECOND, 10_000 * MILLISECOND));
            }
        }
    }

    /// Ends the program of a host, and starts it again after a time.
    fn end_for(&mut self, host: usize, life: Life, time: u64) {
        let what = if life == Life::Down { "crashes" } else { "is killed" };
        self.world.lock().note(host, format_args!("{what}"));
        self.end(host, life);
        let world = &mut *self.world.lock();
        let at = world.now + time;
        world.later(at, Happening::Start { host });
    }

    /// Kills a program that runs, unless it became calm meanwhile.
    pub(super) fn kill_now(&mut self, host: usize) {
        let is_due = {
            let world = self.world.lock();
            world.hosts[host].life == Life::Running && world.dice.faults != Faults::NONE
        };
        if is_due {
            self.end_for(host, Life::Idle, 500 * MILLISECOND);
        }
    }

    /// Starts a program again after it was killed. If that fails, as it may while faults are drawn,
    /// it is tried again later, as a supervisor does.
    pub(super) fn start_later(&mut self, host: usize) -> io::Result<()> {
        if let Err(error) = self.start_now(host, false) {
            let world = &mut *self.world.lock();
            world.note(host, format_args!("does not start: {error}"));
            let at = world.now + 1_000 * MILLISECOND;
            world.later(at, Happening::Start { host });
            return Ok(());
        }
        let world = &mut *self.world.lock();
        if let Some(mut bits) = world.strikes(Fault::KillStarting, host, host as u32) {
            let at = world.now + bits.between(0, 20 * MILLISECOND);
            world.later(at, Happening::Kill { host });
        }
        Ok(())
    }
}

impl World {
    /// Sets the time of day of a host forward or back, in nanoseconds, and tells its program.
    pub(super) fn step_wall_clock(&mut self, host: usize, by: i64) {
        let host = &mut self.hosts[host];
        host.clocks.jump_wall(by);
        if let Some(watch) = &host.step_watch {
            watch.notify();
        }
    }

    /// Draws the faults of a running host, besides its end.
    fn trouble(&mut self, host: usize) {
        let place = host as u32;
        if let Some(mut bits) = self.strikes(Fault::ClockJump, host, place) {
            self.hosts[host].clocks.jump(bits.between(MILLISECOND, 10_000 * MILLISECOND));
        }
        if let Some(mut bits) = self.strikes(Fault::WallClockJump, host, place) {
            let time = bits.between(MILLISECOND, 3_600_000 * MILLISECOND) as i64;
            self.step_wall_clock(host, if bits.coin() { time } else { -time });
        }
        if let Some(mut bits) = self.strikes(Fault::Stall, host, place) {
            self.hosts[host].stall = bits.between(10 * MILLISECOND, 3_000 * MILLISECOND);
        }
        if let Some(mut bits) = self.strikes(Fault::Stop, host, place) {
            self.stop(host);
            let at = self.now + bits.between(10 * MILLISECOND, 5_000 * MILLISECOND);
            self.later(at, Happening::Continue { host });
        }
    }

    /// Draws a fault of all hosts together.
    fn strikes_all(&mut self, fault: Fault) -> Option<Bits> {
        let bits = self.dice.draw(fault, EVERYWHERE)?;
        let now = self.now;
        self.trace.note(now, &"-", format_args!("! {fault}"));
        Some(bits)
    }

    /// Draws the faults of the way from one host to another.
    fn obstruct(&mut self, from: usize, to: usize) {
        let place = place(from, to);
        let both = (from < to).then(|| self.strikes(Fault::Partition, from, place)).flatten();
        if let Some(mut bits) = both {
            let at = self.now + bits.between(10 * MILLISECOND, 10_000 * MILLISECOND);
            self.cut_until(from, to, at);
            self.cut_until(to, from, at);
        }
        if let Some(mut bits) = self.strikes(Fault::PartitionOneWay, from, place) {
            let at = self.now + bits.between(10 * MILLISECOND, 10_000 * MILLISECOND);
            self.cut_until(from, to, at);
        }
        if let Some(mut bits) = self.strikes(Fault::Hold, from, place) {
            let at = self.now + bits.between(MILLISECOND, 3_000 * MILLISECOND);
            self.hold_until(from, to, at);
        }
    }

    /// Draws whether a host is cut from all others.
    fn isolate(&mut self, host: usize) {
        let Some(mut bits) = self.strikes(Fault::Isolate, host, host as u32) else { return };
        let at = self.now + bits.between(10 * MILLISECOND, 10_000 * MILLISECOND);
        let directions = bits.between(1, 3);
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            if directions & 1 != 0 {
                self.cut_until(host, other, at);
            }
            if directions & 2 != 0 {
                self.cut_until(other, host, at);
            }
        }
    }

    /// Draws whether the hosts are divided into two groups.
    fn divide(&mut self) {
        let hosts = self.hosts.len();
        if hosts < 2 {
            return;
        }
        let Some(mut bits) = self.strikes_all(Fault::Divide) else { return };
        let at = self.now + bits.between(10 * MILLISECOND, 10_000 * MILLISECOND);
        let mut groups: Vec<bool> = (0..hosts).map(|_| bits.coin()).collect();
        // Neither group is empty.
        let first = groups[0];
        if groups.iter().all(|group| *group == first) {
            groups[bits.between(0, hosts as u64 - 1) as usize] = !first;
        }
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| groups[*to] != groups[from]) {
                self.cut_until(from, to, at);
            }
        }
    }

    /// Draws whether hosts are held one after another, and released in another order.
    fn swizzle(&mut self) {
        if self.hosts.len() < 2 {
            return;
        }
        let Some(mut bits) = self.strikes_all(Fault::Swizzle) else { return };
        let mut at = self.now;
        let held: Vec<usize> = (0..self.hosts.len()).filter(|_| bits.coin()).collect();
        let last = held.len() as u64 * 500 * MILLISECOND;
        for host in held {
            at += bits.between(0, 500 * MILLISECOND);
            let until = self.now + last + bits.between(MILLISECOND, 3_000 * MILLISECOND);
            self.later(at, Happening::HoldAll { host, until });
        }
    }

    /// Holds what a host sends and is sent.
    pub(super) fn hold_all(&mut self, host: usize, until: u64) {
        if self.dice.faults == Faults::NONE {
            // It became calm meanwhile.
            return;
        }
        self.note(host, format_args!("is held"));
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            self.hold_until(host, other, until);
            self.hold_until(other, host, until);
        }
    }

    fn cut_until(&mut self, from: usize, to: usize, at: u64) {
        let path = self.path(from, to);
        path.cut_until = path.cut_until.max(at);
        self.later(at, Happening::Unblock { path: (from, to) });
    }

    fn hold_until(&mut self, from: usize, to: usize, at: u64) {
        let path = self.path(from, to);
        path.held_until = path.held_until.max(at);
        self.later(at, Happening::Unblock { path: (from, to) });
    }

    /// Ends what blocks the way from one host to another, if its time has passed.
    pub(super) fn unblock_due(&mut self, from: usize, to: usize) {
        let now = self.now;
        let path = self.path(from, to);
        if (1..=now).contains(&path.held_until) {
            self.release(from, to);
        }
        if (1..=now).contains(&self.path(from, to).cut_until) {
            self.heal(from, to);
        }
    }

    pub(super) fn heal(&mut self, from: usize, to: usize) {
        let was_cut = std::mem::take(&mut self.path(from, to).cut_until) > 0;
        if was_cut {
            let other = self.hosts[to].ip;
            self.note(from, format_args!("reaches {other} again"));
            self.unblock(from, to, was_cut);
        }
    }

    pub(super) fn release(&mut self, from: usize, to: usize) {
        self.path(from, to).held_until = 0;
        self.unblock(from, to, false);
    }

    /// Ends everything that blocks or slows the ways between hosts.
    pub(super) fn clear_up(&mut self) {
        let paths: Vec<_> = self.paths.keys().copied().collect();
        for (from, to) in paths {
            let path = self.path(from, to);
            (path.held_until, path.deaf_until, path.slower) = (0, 0, None);
            let was_cut = std::mem::take(&mut path.cut_until) > 0;
            self.unblock(from, to, was_cut);
        }
        for host in &mut self.hosts {
            host.stall = 0;
        }
        // What is reported late because of a fault is reported now. On a host that stalls, the
        // fault would outlast the calm by as much as the stall does.
        for watch in self.sockets.values_mut().filter_map(|socket| socket.watch.as_mut()) {
            watch.held_until = 0;
        }
        self.deaf_ports.clear();
        self.unblock_connections();
    }

    pub(super) fn stop(&mut self, host: usize) {
        if self.hosts[host].life == Life::Running {
            self.hosts[host].life = Life::Stopped;
            self.note(host, format_args!("is stopped"));
        }
    }

    pub(super) fn resume(&mut self, host: usize) {
        if self.hosts[host].life == Life::Stopped {
            let state = &mut self.hosts[host];
            (state.life, state.is_interrupted) = (Life::Running, true);
            self.note(host, format_args!("goes on"));
        }
    }

    /// A program begins on a host.
    pub(super) fn begin(&mut self, host: usize) {
        let now = self.now;
        let state = &mut self.hosts[host];
        (state.life, state.local, state.stall) = (Life::Running, now.max(state.local), 0);
        (state.wakes_at, state.is_interrupted, state.idle_turns) = (None, false, 0);
        self.note(host, format_args!("starts"));
        if let Some(mut bits) = self.strikes(Fault::ClockDrift, host, host as u32) {
            let local = self.time_of(host);
            let drift = bits.between(0, 2_000) as i64 - 1_000;
            let day = 86_400_000 * MILLISECOND;
            let off = bits.between(0, 2 * day) as i64 - day as i64;
            let clock = &mut self.hosts[host].clocks;
            clock.set_drift(local, drift);
            clock.jump_wall(off);
        }
        self.repeat_for(host);
    }

    /// The program of a host ends. Its kernel closes its sockets, unless it goes down too.
    pub(super) fn end(&mut self, host: usize, life: Life) {
        let state = &mut self.hosts[host];
        if matches!(state.life, Life::Idle | Life::Down) && life == Life::Idle {
            return;
        }
        state.life = life;
        state.subscriptions.clear();
        state.step_watch = None;
        state.lookups = Lookups::default();
        state.turned_to = None;
        let own = |socket: &crate::sim::socket::Socket| socket.host == host;
        let ids: Vec<_> =
            self.sockets.iter().filter(|(_, it)| own(it)).map(|(id, _)| *id).collect();
        for id in ids {
            match life {
                Life::Down => drop(self.forget(id)),
                _ => self.close(id),
            }
        }
    }
}
