//! The scheduler: which host runs next, and when.

use std::io;
use std::time::Duration;

use crate::kernel;
use crate::reactor::clock::nanos;
use crate::sim::Sim;
use crate::sim::fault::Fault;
use crate::sim::world::{Happening, Life, World};

/// How many turns a loop may take without getting anything done. More means that it spins.
const IDLE_TURNS_MAX: u32 = 20_000;

/// What the scheduler does next.
enum Next {
    Happening,
    Turn(usize),
}

impl Sim {
    /// Lets time pass.
    ///
    /// # Errors
    /// The wait of a program failed for good, a program that was to start again did not, or a loop
    /// spins: it took 20,000 turns without getting anything done.
    pub fn run_for(&mut self, time: Duration) -> io::Result<()> {
        let until = self.world.lock().now.saturating_add(nanos(time));
        self.run(until, |_| false).map(drop)
    }

    /// Lets time pass until `done` returns true, but no longer than `limit`. Returns whether it did.
    /// `done` is called after everything that happens.
    ///
    /// # Errors
    /// As for [`run_for`](Self::run_for).
    pub fn run_until(
        &mut self,
        limit: Duration,
        done: impl FnMut(&mut Self) -> bool,
    ) -> io::Result<bool> {
        let until = self.world.lock().now.saturating_add(nanos(limit));
        self.run(until, done)
    }

    fn run(&mut self, until: u64, mut done: impl FnMut(&mut Self) -> bool) -> io::Result<bool> {
        loop {
            if done(self) {
                return Ok(true);
            }
            let mut world = self.world.lock();
            world.sweep()?;
            let Some((at, next)) = world.next().filter(|(at, _)| *at <= until) else {
                world.now = world.now.max(until);
                return Ok(false);
            };
            world.now = world.now.max(at);
            let Next::Turn(host) = next else {
                let happening = world.queue.pop_first().map(|(_, happening)| happening);
                drop(world);
                if let Some(happening) = happening {
                    self.happen(happening)?;
                }
                continue;
            };
            drop(world);
            self.turn(host)?;
        }
    }

    fn happen(&mut self, happening: Happening) -> io::Result<()> {
        match happening {
            Happening::Start { host } => return self.start_later(host),
            Happening::Kill { host } => self.kill_now(host),
            Happening::Tick => return self.tick(),
            other => self.world.lock().happen(other),
        }
        Ok(())
    }

    /// Turns the loop of a host once.
    fn turn(&mut self, host: usize) -> io::Result<()> {
        let kernel = self.kernel(host);
        let Some(program) = self.programs[host].as_mut() else { return Ok(()) };
        let before = program.progress();
        kernel::enter(kernel, || program.turn()).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.display(host)))
        })?;
        let Some(program) = self.programs[host].as_ref() else { return Ok(()) };
        let (is_idle, has_ended) = (program.progress() == before, program.has_ended());
        {
            let state = &mut self.world.lock().hosts[host];
            state.turns += 1;
            state.idle_turns = if is_idle { state.idle_turns + 1 } else { 0 };
            if state.idle_turns > IDLE_TURNS_MAX {
                let text = format!(
                    "{}: the loop spins: {IDLE_TURNS_MAX} turns got nothing done",
                    state.ip
                );
                return Err(io::Error::other(text));
            }
        }
        if has_ended {
            self.world.lock().note(host, format_args!("its loop has ended"));
            // The program drops its loop, which resets connections with output unsent, and exits.
            self.world.lock().submit(host);
            let kernel = self.kernel(host);
            if let Some(program) = self.programs[host].as_mut() {
                kernel::enter(kernel, || program.end());
            }
            self.world.lock().sweep()?;
            self.end(host, Life::Idle);
        } else {
            self.park(host);
        }
        Ok(())
    }

    /// Records how long the next wait of a host lasts.
    pub(super) fn park(&mut self, host: usize) {
        self.world.lock().submit(host);
        let waits_for = self.programs[host].as_ref().and_then(|program| program.waits_for());
        let world = &mut *self.world.lock();
        let from = world.time_of(host);
        let mut wakes_at = waits_for.map(|time| world.hosts[host].clocks.after(from, time));
        if let Some(at) = wakes_at.as_mut().filter(|at| **at > from)
            && let Some(mut bits) = world.strikes(Fault::LateTimer, host, host as u32)
        {
            *at += bits.between(10_000, 500_000_000);
        }
        world.hosts[host].wakes_at = wakes_at;
    }

    /// Starts the program of a host, unless it runs. Unless `is_spared`, faults strike it already
    /// while it makes its reactor.
    pub(super) fn start_now(&mut self, host: usize, is_spared: bool) -> io::Result<()> {
        if matches!(self.world.lock().hosts[host].life, Life::Running | Life::Stopped) {
            return Ok(());
        }
        let kernel = self.kernel(host);
        let Some(program) = self.programs[host].as_mut() else { return Ok(()) };
        {
            let world = &mut *self.world.lock();
            world.begin(host);
            world.dice.is_paused = is_spared;
        }
        let started = kernel::enter(kernel, || program.start());
        self.world.lock().dice.is_paused = false;
        if let Err(error) = started {
            self.end(host, Life::Idle);
            return Err(error);
        }
        self.park(host);
        Ok(())
    }

    /// Ends the program of a host at once.
    pub(super) fn end(&mut self, host: usize, life: Life) {
        {
            let world = &mut *self.world.lock();
            world.end(host, life);
        }
        let kernel = self.kernel(host);
        let Some(program) = self.programs[host].as_mut() else { return };
        // Its last output is discarded: its sockets are gone.
        kernel::enter(kernel, || program.end());
        self.world.lock().forget_all_foreign(host);
    }

    fn display(&self, host: usize) -> String {
        self.world.lock().hosts[host].to_string()
    }
}

impl World {
    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrival(parcel) => self.arrive(parcel),
            Happening::Retry { from, attempt } => self.retry(from, attempt),
            Happening::GiveUp { socket } => self.give_up(socket),
            Happening::Probe { socket, count } => self.probe(socket, count),
            Happening::Unblock { path: (from, to) } => self.unblock_due(from, to),
            Happening::HoldAll { host, until } => self.hold_all(host, until),
            Happening::Continue { host } => self.resume(host),
            Happening::Answer { host, lookup } => self.answer(host, lookup),
            // The scheduler looks at the hosts after everything that happens.
            Happening::Nudge => {}
            // These concern programs, which the world does not have.
            Happening::Start { .. } | Happening::Kill { .. } | Happening::Tick => {}
        }
    }

    /// Returns what comes next, and when.
    fn next(&self) -> Option<(u64, Next)> {
        let happening = self.queue.first_key_value().map(|((at, _), _)| (*at, Next::Happening));
        let turns = (0..self.hosts.len()).filter_map(|host| Some((self.turns_at(host)?, host)));
        let turn = turns.min().map(|(at, host)| (at, Next::Turn(host)));
        match (happening, turn) {
            (Some(happening), Some(turn)) if turn.0 < happening.0 => Some(turn),
            (None, turn) => turn,
            (happening, _) => happening,
        }
    }

    /// Returns when the program of a host runs next, unless something happens before.
    fn turns_at(&self, host: usize) -> Option<u64> {
        let state = &self.hosts[host];
        if state.life != Life::Running {
            return None;
        }
        let now = self.time_of(host);
        if state.is_interrupted || self.has_events(host) {
            return Some(now);
        }
        state.wakes_at.map(|at| at.max(now))
    }
}
