//! Many hosts in one thread, on virtual time, with a network and kernels that misbehave on request.
//!
//! A [`Sim`] has hosts. A program that builds a [`Reactor`] is started on one of them
//! ([`Sim::start`]), unchanged: while it runs there, [`Reactor::new`], [`Listener`], [`Connector`],
//! [`Stream`], timers, signals and [`Remote`] use the clock, the network and the kernel of that
//! host. Time passes only when every program waits, so minutes take seconds.
//!
//! Everything that is random comes from one seed, so a run can be repeated byte for byte. A
//! [`Storm`] runs a test for many seeds with [`Faults`], and reduces a run that fails to the faults
//! that it needs.
//!
//! The loop of a host works as the [kind](crate::BackendKind) of its backend does. That of
//! [`Uring`](crate::BackendKind::Uring) has a simulated ring, which moves the bytes of connections.
//!
//! A [`Script`] is a host on its own: a test dictates what each wait of one loop reports.
//!
//! ```
//! use protocol::codecs::Lines;
//! use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
//! use reactor::sim::Sim;
//! use reactor::{ListenOptions, Listener, Reactor, Stream};
//! use std::io;
//! use std::time::Duration;
//!
//! # struct Shout;
//! # impl Service<Lines> for Shout {
//! #     fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
//! #         line.make_ascii_uppercase();
//! #         reply.send(line);
//! #         Flow::Continue
//! #     }
//! # }
//! /// Builds the program. `main` runs the reactor that this returns.
//! fn daemon() -> io::Result<Reactor> {
//!     let mut reactor = Reactor::new(())?;
//!     let listener = Listener::bind(&"0.0.0.0:80".parse().unwrap(), &ListenOptions::DEFAULT)?;
//!     Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
//!         Conversation::new(Lines::default(), Shout)
//!     })?;
//!     Ok(reactor)
//! }
//!
//! let mut sim = Sim::new(42);
//! let server = sim.host("10.0.0.1");
//! sim.start(server, daemon)?;
//! sim.run_for(Duration::from_secs(600))?;
//! assert_eq!(sim.reactor::<()>(server).map(|it| it.listeners()), Some(1));
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # What passes by
//!
//! The loop and its sockets ask the simulated kernel. What a program asks the system itself is not
//! simulated, and differs from run to run unless the program takes care:
//! - [`Instant::now`] and [`SystemTime`](std::time::SystemTime): call [`now`](crate::now),
//!   [`time_of_day`](crate::time_of_day) or [`Cx::now`](crate::Cx::now) instead;
//! - random numbers, such as the order of a `HashMap`: seed them;
//! - what [`Cx::try_io`](crate::Cx::try_io) calls: the descriptor of a simulated connection is a
//!   pipe, on which nothing else works. Descriptors that the simulation does not know, such as pipes
//!   and files, are watched and used as they are;
//! - other threads, which run when they like, and sleeping. The jobs of a
//!   [`ThreadPool`](crate::ThreadPool) run on the loop instead.
//!
//! [`Reactor`]: crate::Reactor
//! [`Reactor::new`]: crate::Reactor::new
//! [`Listener`]: crate::Listener
//! [`Connector`]: crate::Connector
//! [`Stream`]: crate::Stream
//! [`Remote`]: crate::Remote

mod backend;
pub(crate) mod calls;
mod clock;
mod completion;
mod datagram;
mod datagram_socket;
mod descriptors;
mod dice;
mod ending;
mod fault;
mod faults;
mod flow;
mod foreign;
mod handshake;
mod moving;
mod names;
mod network;
mod operations;
mod program;
mod run;
mod script;
mod socket;
mod storm;
mod trace;
mod weather;
mod world;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::sim::calls::Simulated;
use crate::sim::program::{Program, Started};
use crate::sim::world::{Happening, Life, Shared, TICK, World};
use crate::{LoopCx, Reactor, Signal, kernel};

pub use fault::{Drawn, Fault};
pub use faults::Faults;
pub use script::{Call, Script};
pub use storm::{Coincidences, FAULTS_VARIABLE, Failure, Outcome, SEED_VARIABLE, Storm, Summary};
pub use trace::Tracing;

/// Returns true now and then in a simulated program ([`Fault::Chance`]), and false everywhere else,
/// at the cost of one test. A program marks a point with it where it may do something unusual:
/// give up early, flush a cache, choose the smallest size of a buffer. `name` tells the points of a
/// program apart.
///
/// ```
/// let room = if reactor::sim::chance("tiny buffer") { 1 } else { 4096 };
/// assert_eq!(room, 4096);
/// ```
#[inline]
pub fn chance(name: &str) -> bool {
    kernel::chance(name)
}

/// A host of a [`Sim`]. It names nothing, or another host, in any other `Sim`, whose methods may
/// panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(usize);

/// A simulated world. See the [module](self).
pub struct Sim {
    world: Shared,
    programs: Vec<Option<Box<dyn Program>>>,
    seed: u64,
}

impl Sim {
    /// Returns a world without hosts, without faults.
    ///
    /// # Panics
    /// When the system has no descriptor left for it.
    pub fn new(seed: u64) -> Self {
        let mut world = World::new(seed).expect("the system has a descriptor for a poller");
        world.later(TICK, Happening::Tick);
        Self { world: Shared::new(world), programs: Vec::new(), seed }
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds a host with an IP address. Hosts reach each other by their addresses.
    ///
    /// # Panics
    /// When `address` is not an IP address, or another host has it.
    pub fn host(&mut self, address: &str) -> HostId {
        let ip: IpAddr = address.parse().expect("a host is named by its IP address");
        let mut world = self.world.lock();
        assert!(world.hosts.iter().all(|host| host.ip != ip), "{ip} is the address of two hosts");
        self.programs.push(None);
        HostId(world.add_host(ip))
    }

    /// Gives a name to some IP addresses, in order, for all hosts, in place of those that it had. It is
    /// resolved for programs of the simulation ([`Resolver`](crate::Resolver),
    /// [`Query::look_up`](crate::Query::look_up)) after a round trip of the network, unless
    /// [`Fault::NameSlow`] or [`Fault::NameFails`] strikes. Without addresses, the name exists but has
    /// none.
    ///
    /// `localhost` is there from the start. These services are known: `echo`, `discard`, `daytime`,
    /// `ftp`, `ssh`, `telnet`, `smtp`, `domain`, `http`, `https` and `redis`.
    ///
    /// # Panics
    /// When one of `addresses` is not an IP address.
    pub fn name(&mut self, name: &str, addresses: &[&str]) {
        let ip = |text: &&str| text.parse().expect("a name stands for IP addresses");
        let addresses = addresses.iter().map(ip).collect();
        self.world.lock().names.set(name, addresses);
    }

    /// Takes a name away: it is unknown then.
    pub fn forget_name(&mut self, name: &str) {
        self.world.lock().names.forget(name);
    }

    /// Starts a program on a host. `build` makes its reactor, and makes another one whenever the
    /// program is started again after it was killed. Faults strike this first call only once it has
    /// returned.
    ///
    /// # Errors
    /// The error of `build`.
    ///
    /// # Panics
    /// When the host has a program already.
    pub fn start<A: 'static>(
        &mut self,
        host: HostId,
        build: impl FnMut() -> io::Result<Reactor<A>> + 'static,
    ) -> io::Result<()> {
        assert!(self.programs[host.0].is_none(), "a host runs one program");
        self.programs[host.0] = Some(Box::new(Started::new(build)));
        self.start_now(host.0, true)
    }

    /// Returns the kernel of a host.
    fn kernel(&self, host: usize) -> Simulated {
        Simulated { world: self.world.clone(), host }
    }

    /// Returns the reactor of the program on a host, if it runs and has this state.
    pub fn reactor<A: 'static>(&mut self, host: HostId) -> Option<&mut Reactor<A>> {
        let program = self.programs[host.0].as_mut()?;
        program.as_any().downcast_mut::<Started<A>>()?.reactor.as_mut()
    }

    /// Lends the loop of a host to `call`, as if one of its handlers were called. Returns `None`
    /// when its program does not run, or has another state.
    pub fn with<A: 'static, T>(
        &mut self,
        host: HostId,
        call: impl FnOnce(&mut LoopCx<'_, A>) -> T,
    ) -> Option<T> {
        let kernel = self.kernel(host.0);
        {
            // The clock of a program that sleeps shows the time when it fell asleep.
            let world = &mut *self.world.lock();
            world.hosts[host.0].local = world.time_of(host.0);
        }
        let reactor = self.reactor::<A>(host)?;
        let result = kernel::enter(kernel, || {
            let result = call(&mut reactor.cx());
            reactor.prepare_host();
            result
        });
        self.park(host.0);
        Some(result)
    }

    /// Returns the time since the start of the run.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.world.lock().now)
    }

    /// Returns the same time as an `Instant`. The clocks of the hosts show it unless they have
    /// jumped.
    pub fn instant(&self) -> Instant {
        let world = self.world.lock();
        world.epoch + Duration::from_nanos(world.now)
    }

    /// Sets how long a segment takes between two hosts: a random time from `low` to `high`. By
    /// default, it is 50 to 500 microseconds. [`Fault::Tail`], [`Fault::SlowPair`] and
    /// [`Fault::Delay`] add to it.
    pub fn set_latency(&mut self, low: Duration, high: Duration) {
        let nanos = crate::reactor::clock::nanos;
        self.world.lock().latency = (nanos(low), nanos(high.max(low)));
    }

    /// Sets which faults are drawn from now on. [`Faults::NONE`] draws none; what is cut, held,
    /// stopped or down stays so until its time has passed or [`calm`](Self::calm) is called.
    pub fn set_faults(&mut self, faults: Faults) {
        self.world.lock().dice.faults = faults;
    }

    /// Sets how much of the run is kept in text.
    pub fn set_tracing(&mut self, tracing: Tracing) {
        self.world.lock().trace.tracing = tracing;
    }

    /// Returns the lines that were kept: when, where and what.
    pub fn trace(&self) -> String {
        self.world.lock().trace.to_string()
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        let world = &mut *self.world.lock();
        let now = world.now;
        world.trace.note(now, &"-", what);
    }

    /// Returns the faults that were drawn, in order.
    pub fn drawn(&self) -> Vec<Drawn> {
        self.world.lock().dice.drawn.clone()
    }

    /// Returns how often things coincided that no fault has to arrange.
    pub fn coincidences(&self) -> Coincidences {
        self.world.lock().coincidences
    }

    /// Returns how often programs of a host have written to a connection after they had read the end
    /// of the peer's side. Many servers do so; a client whose peer is not to answer any more does not.
    pub fn late_writes(&self, host: HostId) -> u64 {
        self.world.lock().hosts[host.0].late_writes
    }

    /// Delivers a signal to the program of a host. Returns whether it listens to it.
    ///
    /// # Panics
    /// When the number of the signal is not one from 1 to 64.
    pub fn signal(&mut self, host: HostId, signal: Signal) -> bool {
        assert!((1..=64).contains(&signal.number()), "{signal} does not exist");
        self.world.lock().raise(host.0, signal.number())
    }

    /// Sets the clock of the wall of a host to a time since 1970, as `clock_settime(2)` does. Its other
    /// clock goes on. [`Fault::WallClockJump`] does it at random.
    ///
    /// # Panics
    /// When `time` is further away than the clock can show: some 290 years.
    pub fn set_time_of_day(&mut self, host: HostId, time: Duration) {
        let time = i64::try_from(time.as_nanos()).expect("the clock can show it");
        let world = &mut *self.world.lock();
        let now = world.hosts[host.0].clocks.time_of_day(world.time_of(host.0));
        world.step_wall_clock(host.0, time - now as i64);
    }

    /// Stops the program of a host (`SIGSTOP`) until [`resume`](Self::resume). Its kernel goes on.
    pub fn stop(&mut self, host: HostId) {
        self.world.lock().stop(host.0);
    }

    /// Continues a stopped program (`SIGCONT`).
    pub fn resume(&mut self, host: HostId) {
        self.world.lock().resume(host.0);
    }

    /// Kills the program of a host (`SIGKILL`). Its kernel ends its connections.
    pub fn kill(&mut self, host: HostId) {
        self.world.lock().note(host.0, format_args!("killed"));
        self.end(host.0, Life::Idle);
    }

    /// Cuts the power of a host. No peer is told.
    pub fn crash(&mut self, host: HostId) {
        self.world.lock().note(host.0, format_args!("crashes"));
        self.end(host.0, Life::Down);
    }

    /// Starts a program again that was killed, has ended, or was on a host that crashed. It does
    /// nothing if the program runs.
    ///
    /// # Errors
    /// The error of the function that makes its reactor.
    pub fn restart(&mut self, host: HostId) -> io::Result<()> {
        self.start_now(host.0, true)
    }

    /// Lets nothing through between two hosts, in both directions.
    pub fn partition(&mut self, one: HostId, other: HostId) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Lets nothing through from one host to another. What has to arrive is repeated until it does.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.world.lock().path(from.0, to.0).cut_until = u64::MAX;
    }

    /// Ends [`partition`](Self::partition) and [`cut`](Self::cut) between two hosts.
    pub fn heal(&mut self, one: HostId, other: HostId) {
        let mut world = self.world.lock();
        world.heal(one.0, other.0);
        world.heal(other.0, one.0);
    }

    /// Holds what is sent from one host to another.
    pub fn hold(&mut self, from: HostId, to: HostId) {
        self.world.lock().path(from.0, to.0).held_until = u64::MAX;
    }

    /// Lets what was held from one host to another arrive, in order.
    pub fn release(&mut self, from: HostId, to: HostId) {
        self.world.lock().release(from.0, to.0);
    }

    /// Ends the faults that stand in the way: heals, releases, continues, and starts what was killed.
    /// What connections have swallowed arrives, and ports answer again. Draws no fault from now on. A
    /// program that works recovers now. What remains is a stall under way, the clocks as they are, and
    /// the small buffers of open connections.
    ///
    /// # Errors
    /// The error of a program that does not start.
    pub fn calm(&mut self) -> io::Result<()> {
        self.set_faults(Faults::NONE);
        let hosts = self.programs.len();
        self.world.lock().clear_up();
        for host in 0..hosts {
            let life = self.world.lock().hosts[host].life;
            match life {
                Life::Running => {}
                Life::Stopped => self.world.lock().resume(host),
                Life::Idle | Life::Down => self.start_now(host, true)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The programs end on their own hosts.
        for host in 0..self.programs.len() {
            self.end(host, Life::Down);
        }
    }
}
