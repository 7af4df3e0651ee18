//! The faults of hosts and of pairs of hosts, and their ends.

use std::io;

use crate::sim::Sim;
use crate::sim::fault::Fault;
use crate::sim::network::place;
use crate::sim::world::{Happening, Life, TICK, World};

const MILLISECOND: u64 = 1_000_000;

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
                    self.end(host, life);
                    let world = &mut *self.world.lock();
                    let at = world.now + bits.between(100 * MILLISECOND, 5_000 * MILLISECOND);
                    world.later(at, Happening::Start { host });
                }
            }
        }
        let world = &mut *self.world.lock();
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| *to != from) {
                world.obstruct(from, to);
            }
        }
        let at = world.now + TICK;
        world.later(at, Happening::Tick);
        Ok(())
    }

    /// Starts a program again after it was killed. If that fails, as it may while faults are drawn,
    /// it is tried again later, as a supervisor does.
    pub(super) fn start_later(&mut self, host: usize) -> io::Result<()> {
        if let Err(error) = self.start_now(host) {
            let world = &mut *self.world.lock();
            world.note(host, format_args!("does not start: {error}"));
            let at = world.now + 1_000 * MILLISECOND;
            world.later(at, Happening::Start { host });
        }
        Ok(())
    }
}

impl World {
    /// Draws the faults of a running host, besides its end.
    fn trouble(&mut self, host: usize) {
        let place = host as u32;
        if let Some(mut bits) = self.strikes(Fault::ClockJump, host, place) {
            self.hosts[host].ahead += bits.between(MILLISECOND, 10_000 * MILLISECOND);
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
            self.paths.entry((from, to)).or_default().is_held = true;
            self.later(at, Happening::Release { path: (from, to) });
        }
    }

    fn cut_until(&mut self, from: usize, to: usize, at: u64) {
        self.paths.entry((from, to)).or_default().is_cut = true;
        self.later(at, Happening::Heal { path: (from, to) });
    }

    pub(super) fn heal(&mut self, from: usize, to: usize) {
        let Some(path) = self.paths.get_mut(&(from, to)) else { return };
        let was_cut = std::mem::take(&mut path.is_cut);
        let other = self.hosts[to].ip;
        self.note(from, format_args!("reaches {other} again"));
        self.unblock(from, to, was_cut);
    }

    pub(super) fn release(&mut self, from: usize, to: usize) {
        let Some(path) = self.paths.get_mut(&(from, to)) else { return };
        path.is_held = false;
        self.unblock(from, to, false);
    }

    /// Ends what blocks the ways between hosts.
    pub(super) fn clear_up(&mut self) {
        let paths: Vec<_> = self.paths.keys().copied().collect();
        for (from, to) in paths {
            if let Some(path) = self.paths.get_mut(&(from, to)) {
                path.is_held = false;
            }
            self.heal(from, to);
        }
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
    }

    /// The program of a host ends. Its kernel closes its sockets, unless it goes down too.
    pub(super) fn end(&mut self, host: usize, life: Life) {
        let state = &mut self.hosts[host];
        if matches!(state.life, Life::Idle | Life::Down) && life == Life::Idle {
            return;
        }
        state.life = life;
        state.subscriptions.clear();
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
