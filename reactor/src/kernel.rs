//! The door to the kernel: all that a loop and its sockets ask of it, besides waiting.
//!
//! While a simulated host runs on this thread, its kernel answers ([`crate::sim`]); otherwise the
//! system does. The choice belongs to the thread, not to the loop, since a
//! [`Listener`](crate::Listener) is bound before any loop has the socket. It costs one test of a flag in thread-local storage, which is predicted.
//! Reads and writes of a source do not test it: a source knows since its registration whether it is
//! simulated (`Mode::Simulated`), so their system calls stay in line.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sim::calls::Simulated;
use crate::sys::{self, Batch, Connecting, DatagramOption, Endpoint, Outgoing, Refusal, SendRoom};
pub(crate) use crate::sys::{boottime, boottime_timer, read_step};
use crate::{Interest, Readiness};

thread_local! {
    /// Whether a simulated host runs on this thread. It is apart from the host, so that the test of
    /// every operation is one load.
    static IS_SIMULATED: Cell<bool> = const { Cell::new(false) };
    /// The kernel of that host.
    static CURRENT: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

/// Runs `call` as a program of a simulated host. The host before is restored however it ends.
pub(crate) fn enter<T>(kernel: Simulated, call: impl FnOnce() -> T) -> T {
    struct Restore(Option<Simulated>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            IS_SIMULATED.set(before.is_some());
            CURRENT.replace(before);
        }
    }
    let _restore = Restore(CURRENT.replace(Some(kernel)));
    IS_SIMULATED.set(true);
    call()
}

/// Returns whether a simulated host runs on this thread.
#[inline]
pub(crate) fn is_simulated() -> bool {
    IS_SIMULATED.get()
}

/// Returns the kernel of the simulated host that runs on this thread.
pub(crate) fn simulated() -> Option<Simulated> {
    if IS_SIMULATED.get() { CURRENT.with_borrow(Clone::clone) } else { None }
}

/// Asks the simulated kernel, which returns `None` about a descriptor that is not its own.
#[cold]
fn ask<T>(call: impl FnOnce(&Simulated) -> Option<T>) -> Option<T> {
    call(&simulated()?)
}

/// Asks the simulated kernel if there is one, and the system otherwise.
#[inline(always)]
fn choose<T>(simulated: impl FnOnce(&Simulated) -> Option<T>, system: impl FnOnce() -> T) -> T {
    if IS_SIMULATED.get()
        && let Some(answer) = ask(simulated)
    {
        return answer;
    }
    system()
}

/// Returns the time: of the simulated host that runs on this thread, otherwise of the system. A
/// program that reads clocks through this function and [`time_of_day`] can be simulated
/// ([`sim`](crate::sim)).
pub fn now() -> Instant {
    choose(|kernel| Some(kernel.now()), Instant::now)
}

/// Returns the time since 1970, in UTC: of the simulated host that runs on this thread, otherwise of
/// the system; zero if the system's clock is set to a time before that.
pub fn time_of_day() -> Duration {
    let system = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    choose(|kernel| Some(kernel.time_of_day()), system)
}

/// Returns a descriptor that becomes readable when the clock of the wall is set. A simulated host has an
/// event in its place.
pub(crate) fn step_watch() -> io::Result<OwnedFd> {
    choose(|kernel| Some(kernel.step_watch()), sys::step_watch)
}

/// Makes such a descriptor report the next change.
pub(crate) fn watch_steps(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|_| Some(Ok(())), || sys::watch_steps(fd))
}

/// Returns by how many seconds the local time is ahead of UTC at a time since 1970. A simulated host is
/// in UTC.
pub(crate) fn utc_offset(at: i64) -> i64 {
    choose(|_| Some(0), || sys::utc_offset(at))
}

/// Returns whether a point of a simulated program does something unusual now.
#[inline]
pub(crate) fn chance(name: &str) -> bool {
    choose(|kernel| Some(kernel.chance(name)), || false)
}

/// A subscription to signals of the process, or of the simulated host.
pub(crate) enum Subscription {
    System(sys::Subscription),
    Simulated(Arc<AtomicU64>),
}

impl Subscription {
    /// Listens to `numbers`. The returned descriptor becomes readable when a signal arrives.
    pub(crate) fn new(numbers: &[i32]) -> io::Result<(Self, OwnedFd)> {
        sys::check_catchable(numbers)?;
        if let Some(kernel) = simulated() {
            let mask = numbers.iter().fold(0, |mask, number| mask | 1 << (number - 1));
            return kernel.subscribe(mask).map(|(pending, fd)| (Self::Simulated(pending), fd));
        }
        sys::Subscription::new(numbers).map(|(it, fd)| (Self::System(it), fd))
    }

    /// Returns a descriptor for this process, after a fork; `None` on a simulated host, which has none.
    pub(crate) fn renewed(&self) -> io::Result<Option<OwnedFd>> {
        match self {
            Self::System(subscription) => subscription.renewed().map(Some),
            Self::Simulated(_) => Ok(None),
        }
    }

    /// Returns the signals that have arrived since the last call, one bit each. Call it after
    /// reading the descriptor: a signal in between makes that readable again.
    pub(crate) fn take_pending(&self) -> u64 {
        match self {
            Self::System(subscription) => subscription.take_pending(),
            Self::Simulated(pending) => pending.swap(0, Ordering::SeqCst),
        }
    }
}

/// Returns what has sent a signal last. A simulated host has no processes.
pub(crate) fn last_sender(number: i32) -> Option<sys::Sent> {
    choose(|_| Some(None), || sys::last_sender(number))
}

pub(crate) fn is_ignored(number: i32) -> bool {
    choose(|_| Some(false), || sys::is_ignored(number))
}

#[cold]
#[inline(never)]
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    if IS_SIMULATED.get()
        && let Some(answer) = ask(|kernel| kernel.read(fd, buffer))
    {
        return answer;
    }
    sys::read(fd, buffer)
}

#[cold]
#[inline(never)]
pub(crate) fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    choose(|kernel| kernel.send(fd, slices), || sys::send(fd, slices))
}

pub(crate) fn writev(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    choose(|kernel| kernel.send(fd, slices), || sys::writev(fd, slices))
}

pub(crate) fn sendfile(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    length: u64,
    known: &mut sys::Sigpipe,
) -> io::Result<usize> {
    choose(
        |kernel| kernel.sendfile(fd, file, offset, length),
        || sys::sendfile(fd, file, offset, length, known),
    )
}

pub(crate) fn ready_now(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Readiness> {
    choose(|kernel| kernel.ready_now(fd, interest), || sys::ready_now(fd, interest))
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then_some(Ok(())), || sys::set_nonblocking(fd))
}

pub(crate) fn stream_socket(endpoint: Endpoint<'_>) -> io::Result<OwnedFd> {
    choose(|kernel| Some(kernel.stream_socket()), || sys::stream_socket(endpoint))
}

pub(crate) fn datagram_socket(endpoint: Endpoint<'_>) -> io::Result<OwnedFd> {
    choose(|kernel| Some(kernel.datagram_socket()), || sys::datagram_socket(endpoint))
}

/// Receives up to `most` datagrams. Fewer mean that no more are there, or that an error waits.
#[inline]
pub(crate) fn receive_batch(
    fd: BorrowedFd<'_>,
    batch: &mut Batch,
    most: usize,
) -> io::Result<usize> {
    if IS_SIMULATED.get()
        && let Some(answer) = ask(|kernel| kernel.receive_batch(fd, batch, most))
    {
        return answer;
    }
    sys::receive_batch(fd, batch, most)
}

/// Sends the first of `datagrams`, and returns how many: at least one.
#[inline]
pub(crate) fn send_batch<'a>(
    fd: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = Outgoing<'a>> + Clone,
    room: &mut SendRoom,
) -> io::Result<usize> {
    if IS_SIMULATED.get() {
        let all: Vec<Outgoing<'_>> = datagrams.clone().collect();
        if let Some(answer) = ask(|kernel| kernel.send_batch(fd, &all)) {
            return answer;
        }
    }
    sys::send_batch(fd, datagrams, room)
}

/// Sends one datagram.
pub(crate) fn send_one(fd: BorrowedFd<'_>, datagram: &Outgoing<'_>) -> io::Result<()> {
    if IS_SIMULATED.get()
        && let Some(answer) = ask(|kernel| kernel.send_batch(fd, std::slice::from_ref(datagram)))
    {
        return answer.map(drop);
    }
    sys::send_one(fd, datagram)
}

/// Returns the error of something that a simulated host does not have.
pub(crate) fn no_such(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("a simulated host has no {what}"))
}

/// Returns an error for a socket of a simulated host, which does not have `what`.
pub(crate) fn refuse_simulated(fd: BorrowedFd<'_>, what: &str) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then(|| Err(no_such(what))), || Ok(()))
}

/// Takes a refusal of the network out of the queue of a socket. It would block if there is none.
pub(crate) fn take_refusal(fd: BorrowedFd<'_>) -> io::Result<Refusal> {
    choose(|kernel| kernel.take_refusal(fd), || sys::take_refusal(fd))
}

pub(crate) fn set_datagram_option(
    fd: BorrowedFd<'_>,
    option: DatagramOption,
    is_ipv6: bool,
    value: i32,
) -> io::Result<()> {
    choose(
        |kernel| kernel.set_datagram_option(fd, option, value),
        || sys::set_datagram_option(fd, option, is_ipv6, value),
    )
}

pub(crate) fn join_group(fd: BorrowedFd<'_>, group: IpAddr, interface: u32) -> io::Result<()> {
    choose(|kernel| kernel.join_group(fd, group), || sys::join_group(fd, group, interface))
}

pub(crate) fn set_multicast_interface(
    fd: BorrowedFd<'_>,
    is_ipv6: bool,
    interface: u32,
) -> io::Result<()> {
    choose(
        |kernel| kernel.is_own(fd).then_some(Ok(())),
        || sys::set_multicast_interface(fd, is_ipv6, interface),
    )
}

pub(crate) fn bind(fd: BorrowedFd<'_>, endpoint: Endpoint<'_>) -> io::Result<()> {
    choose(|kernel| kernel.bind(fd, endpoint), || sys::bind(fd, endpoint))
}

pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    choose(|kernel| kernel.listen(fd, backlog), || sys::listen(fd, backlog))
}

pub(crate) fn connect(fd: BorrowedFd<'_>, endpoint: Endpoint<'_>) -> io::Result<Connecting> {
    choose(|kernel| kernel.connect(fd, endpoint), || sys::connect(fd, endpoint))
}

pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    choose(|kernel| kernel.accept(fd), || sys::accept(fd))
}

pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    choose(|kernel| kernel.local_address(fd), || sys::local_address(fd))
}

pub(crate) fn local_unix_name(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    choose(|kernel| kernel.local_unix_name(fd), || sys::local_unix_name(fd))
}

pub(crate) fn remote_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    choose(|kernel| kernel.remote_address(fd), || sys::remote_address(fd))
}

pub(crate) fn set_reuse_address(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then_some(Ok(())), || sys::set_reuse_address(fd))
}

pub(crate) fn set_reuse_port(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.set_reuse_port(fd), || sys::set_reuse_port(fd))
}

pub(crate) fn set_ipv6_only(fd: BorrowedFd<'_>, only: bool) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then_some(Ok(())), || sys::set_ipv6_only(fd, only))
}

pub(crate) fn set_nodelay(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then_some(Ok(())), || sys::set_nodelay(fd))
}

pub(crate) fn set_keepalive(fd: BorrowedFd<'_>, idle: Duration) -> io::Result<()> {
    choose(|kernel| kernel.set_keepalive(fd, idle), || sys::set_keepalive(fd, idle))
}

pub(crate) fn set_user_timeout(fd: BorrowedFd<'_>, limit: Duration) -> io::Result<()> {
    choose(|kernel| kernel.set_user_timeout(fd, limit), || sys::set_user_timeout(fd, limit))
}

pub(crate) fn bind_to_device(fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then_some(Ok(())), || sys::bind_to_device(fd, name))
}

pub(crate) fn choose_port_late(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.is_own(fd).then_some(Ok(())), || sys::choose_port_late(fd))
}

pub(crate) fn unacknowledged(fd: BorrowedFd<'_>) -> io::Result<u32> {
    choose(|kernel| kernel.unacknowledged(fd), || sys::unacknowledged(fd))
}

pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.reset_on_close(fd), || sys::reset_on_close(fd))
}

pub(crate) fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    choose(|kernel| kernel.shutdown_write(fd), || sys::shutdown_write(fd))
}

pub(crate) fn sends_messages(fd: BorrowedFd<'_>) -> bool {
    choose(|kernel| kernel.is_own(fd).then_some(false), || sys::sends_messages(fd))
}

pub(crate) fn is_stream_socket(fd: BorrowedFd<'_>) -> bool {
    choose(|kernel| kernel.is_own(fd).then_some(true), || sys::is_stream_socket(fd))
}

pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    choose(|kernel| kernel.is_listening(fd), || sys::is_listening(fd))
}

pub(crate) fn backlog(fd: BorrowedFd<'_>) -> Option<u32> {
    choose(|kernel| kernel.backlog(fd), || sys::backlog(fd))
}

pub(crate) fn turned_away(fd: BorrowedFd<'_>) -> u32 {
    choose(|kernel| kernel.turned_away(fd), || sys::turned_away(fd))
}

pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    choose(|kernel| kernel.take_error(fd), || sys::take_error(fd))
}
