//! monoio: a single-threaded runtime, on epoll (its legacy driver, which is built on mio) or on
//! io_uring.
//!
//! Its operations take their buffer and return it, so each connection has its own buffer. The other
//! tasks share one. Its epoll driver does not take a short read to mean that the socket is empty.
//! So each message needs a second read, which finds nothing unless the next message has come. On
//! io_uring the kernel waits for input. On a non-blocking descriptor it would report that there is
//! none, so the descriptors of this driver block.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use monoio::io::{AsyncBufReadExt, AsyncReadRent, AsyncWriteRentExt, BufReader, Splitable};
use monoio::net::{TcpListener, TcpStream, UnixStream};
use monoio::time::Sleep;
use monoio::{Buildable, Driver, IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use crate::computation::compute_for;
use crate::net;
use crate::scene::{self, Chain, Runs};
use crate::timing::{self, Phases, Timers};

/// A driver of monoio that the works can run on.
pub trait Kind: Buildable + Driver {
    /// Whether its descriptors have to block.
    const BLOCKS: bool;
}

impl Kind for LegacyDriver {
    const BLOCKS: bool = false;
}

impl Kind for IoUringDriver {
    const BLOCKS: bool = true;
}

fn runtime<D: Kind>() -> io::Result<Runtime<D>> {
    D::build(RuntimeBuilder::new())
}

/// Returns the reason if io_uring cannot be used on this machine.
pub fn no_io_uring() -> Option<String> {
    if let Err(error) = runtime::<IoUringDriver>() {
        // 2 forbids it to all processes, 1 to processes without a capability or a group
        // (Documentation/admin-guide/sysctl/kernel.rst in the source of the kernel).
        let path = "/proc/sys/kernel/io_uring_disabled";
        let disabled = std::fs::read_to_string(path).unwrap_or_default();
        let disabled = if disabled.is_empty() { "not there" } else { disabled.trim() };
        return Some(format!("the kernel allows no io_uring: {error} ({path}: {disabled})"));
    }
    let is_whole = monoio::utils::detect_uring();
    (!is_whole).then(|| "the kernel's io_uring lacks operations that monoio needs".to_owned())
}

/// Serves echo for ever, with a task for each connection.
///
/// # Errors
/// Fails if the runtime cannot be made or accepting fails.
pub fn echo<D: Kind>(listener: StdListener) -> io::Result<()> {
    serve::<D, _>(listener, echo_to)
}

/// Serves lines in upper case for ever, with a task for each connection.
///
/// # Errors
/// Fails if the runtime cannot be made or accepting fails.
pub fn lines<D: Kind>(listener: StdListener) -> io::Result<()> {
    serve::<D, _>(listener, shout_to)
}

fn serve<D: Kind, F>(listener: StdListener, task: fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    listener.set_nonblocking(!D::BLOCKS)?;
    runtime::<D>()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            // A failed connection ends like a finished one.
            drop(monoio::spawn(task(stream)));
        }
    })
}

/// Echoes until the peer ends.
async fn echo_to(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(net::READ_SIZE);
    loop {
        let (count, read) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        compute_for(read.len());
        let (written, read) = stream.write_all(read).await;
        written?;
        buffer = read;
        buffer.clear();
    }
}

/// Answers lines in upper case until the peer ends. Lines that arrive together are answered with
/// one write.
async fn shout_to(stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(net::READ_SIZE, reader);
    let mut answers = Vec::new();
    loop {
        let from = answers.len();
        if reader.read_until(b'\n', &mut answers).await? == 0 {
            return Ok(());
        }
        answers[from..].make_ascii_uppercase();
        if reader.buffer().is_empty() {
            let (written, sent) = writer.write_all(answers).await;
            written?;
            answers = sent;
            answers.clear();
        }
    }
}

/// Passes bytes along a chain of pairs, with a task for each.
///
/// # Errors
/// Fails if the runtime cannot be made or a system call fails.
pub fn dispatch<D: Kind>(count: usize) -> io::Result<()> {
    let (readers, chain) = scene::pairs(count)?;
    let chain = Rc::new(RefCell::new(chain));
    runtime::<D>()?.block_on(async {
        for (pair, reader) in readers.into_iter().enumerate() {
            drop(monoio::spawn(link(pair, stream::<D>(reader)?, Rc::clone(&chain))));
        }
        let mut runs = Runs::new();
        while runs.start(&mut chain.borrow_mut())? {
            poll_fn(|context| chain.borrow_mut().poll_done(context)).await;
            runs.end(&chain.borrow());
        }
        Ok(())
    })
}

fn stream<D: Kind>(reader: OwnedFd) -> io::Result<UnixStream> {
    let reader = StdUnixStream::from(reader);
    reader.set_nonblocking(!D::BLOCKS)?;
    UnixStream::from_std(reader)
}

/// Runs the reading end of a pair.
async fn link(pair: usize, mut reader: UnixStream, chain: Rc<RefCell<Chain>>) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(scene::READ_SIZE);
    loop {
        let (count, read) = reader.read(buffer).await;
        match count? {
            0 => return Ok(()),
            count => chain.borrow_mut().received(pair, count)?,
        }
        buffer = read;
        buffer.clear();
    }
}

/// Timers, each a separate [`Sleep`].
struct Sleeps {
    now: monoio::time::Instant,
    timers: Vec<Option<Pin<Box<Sleep>>>>,
}

impl Timers for Sleeps {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        let mut sleep = Box::pin(monoio::time::sleep_until(self.now + delay));
        // A sleep is armed when it is polled.
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.timers[place] = Some(sleep);
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        if let Some(sleep) = &mut self.timers[place] {
            sleep.as_mut().reset(self.now + delay);
        }
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        self.timers[place] = None;
        Ok(())
    }
}

/// Arms, moves, cancels and fires timers, each a [`Sleep`]. They are the same on both drivers.
///
/// # Errors
/// Fails if the runtime cannot be made.
pub fn timers(count: usize) -> io::Result<()> {
    RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(async {
        let timers = (0..count).map(|_| None).collect();
        timing::measure(&mut Sleeps { now: monoio::time::Instant::now(), timers }, count)?;

        let mut random = testkit::Random::new(1);
        let start = Instant::now() + timing::lead(count);
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let due = start + timing::short(&mut random);
                monoio::spawn(monoio::time::sleep_until(due.into()))
            })
            .collect();
        // Each task arms its timer before the measurement starts.
        monoio::time::sleep(Duration::ZERO).await;
        let mut phases = Phases::new(count);
        timing::sleep_until_due(start);
        for task in tasks {
            task.await;
        }
        phases.end("expire_ns");
        Ok(())
    })
}
