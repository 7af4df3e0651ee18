//! The loop of smol: async-io, the safe interface of `polling` 3, with a local executor.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use async_io::{Async, Timer, block_on};

use crate::computation::compute_for;
use crate::net;
use crate::scene::{self, Chain, Runs};
use crate::timing::{self, Phases, Timers};

/// Serves echo for ever, with a task for each connection.
///
/// # Errors
/// Fails if accepting fails.
pub fn echo(listener: TcpListener) -> io::Result<()> {
    let listener = Async::new_nonblocking(listener)?;
    let executor = Rc::new(LocalExecutor::new());
    // Tasks do not wait while they use the buffer, so all can share it.
    let buffer = Rc::new(RefCell::new(vec![0; net::READ_SIZE]));
    block_on(executor.run(async {
        loop {
            match net::accept(listener.get_ref())? {
                Some(fd) => {
                    let stream = Async::new_nonblocking(std::net::TcpStream::from(fd))?;
                    let buffer = Rc::clone(&buffer);
                    executor.spawn(serve(stream, buffer)).detach();
                }
                None => listener.readable().await?,
            }
        }
    }))
}

/// Echoes until the peer ends.
async fn serve(stream: Async<std::net::TcpStream>, buffer: Rc<RefCell<Vec<u8>>>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let mut unsent = match echo_once(stream.get_ref(), &mut buffer.borrow_mut())? {
            Some(unsent) => unsent,
            None => return Ok(()),
        };
        while !unsent.is_empty() {
            stream.writable().await?;
            let written = net::write(stream.get_ref(), &unsent)?.unwrap_or(0);
            unsent.drain(..written);
        }
    }
}

/// Reads once and writes the bytes back. Returns the bytes that the socket did not accept, or
/// `None` at the end. Unread bytes are reported again.
fn echo_once(stream: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Vec<u8>>> {
    match net::read(&stream, buffer)? {
        None => Ok(Some(Vec::new())),
        Some(0) => Ok(None),
        Some(count) => {
            compute_for(count);
            let written = net::write(&stream, &buffer[..count])?.unwrap_or(0);
            Ok(Some(buffer[written..count].to_vec()))
        }
    }
}

/// Passes bytes along a chain of pairs.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(count: usize) -> io::Result<()> {
    let (readers, chain) = scene::pairs(count)?;
    let chain = Rc::new(RefCell::new(chain));
    let executor = LocalExecutor::new();
    for (pair, reader) in readers.into_iter().enumerate() {
        let reader = Async::new_nonblocking(std::os::unix::net::UnixStream::from(reader))?;
        executor.spawn(link(pair, reader, Rc::clone(&chain))).detach();
    }
    block_on(executor.run(async {
        let mut runs = Runs::new();
        while runs.start(&mut chain.borrow_mut())? {
            poll_fn(|context| chain.borrow_mut().poll_done(context)).await;
            runs.end(&chain.borrow());
        }
        Ok(())
    }))
}

/// Runs the reading end of a pair.
async fn link(
    pair: usize,
    reader: Async<std::os::unix::net::UnixStream>,
    chain: Rc<RefCell<Chain>>,
) -> io::Result<()> {
    let mut buffer = [0; scene::READ_SIZE];
    loop {
        reader.readable().await?;
        if let Some(count) = net::read(reader.get_ref(), &mut buffer)? {
            chain.borrow_mut().received(pair, count)?;
        }
    }
}

/// Timers, each a separate future.
struct Futures {
    now: Instant,
    timers: Vec<Option<Timer>>,
}

impl Timers for Futures {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        let mut timer = Timer::at(self.now + delay);
        // A timer is armed when it is polled.
        let _ = Pin::new(&mut timer).poll(&mut Context::from_waker(Waker::noop()));
        self.timers[place] = Some(timer);
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        if let Some(timer) = &mut self.timers[place] {
            timer.set_at(self.now + delay);
        }
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        self.timers[place] = None;
        Ok(())
    }
}

/// Arms, moves, cancels and fires timers.
///
/// # Errors
/// Never fails.
pub fn timers(count: usize) -> io::Result<()> {
    let timers = (0..count).map(|_| None).collect();
    timing::measure(&mut Futures { now: Instant::now(), timers }, count)?;

    let mut random = testkit::Random::new(1);
    let executor = LocalExecutor::new();
    let start = Instant::now() + timing::lead(count);
    let tasks: Vec<_> =
        (0..count).map(|_| executor.spawn(Timer::at(start + timing::short(&mut random)))).collect();
    while executor.try_tick() {}
    // The thread of async-io fires timers while no thread blocks on a future.
    let mut phases = Phases::new(count);
    timing::sleep_until_due(start);
    block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
    phases.end("expire_ns");
    Ok(())
}
