//! tokio, on its current-thread runtime.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, UdpSocket as StdUdpSocket};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::Sleep;

use crate::computation::compute_for;
use crate::load::accept::UNDER_WAY;
use crate::net;
use crate::scene::{self, Chain, Runs};
use crate::timing::{self, Phases, Timers};

/// Returns the runtime for all works in this file.
///
/// # Errors
/// Fails with the error of the system call.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves echo for ever, with a task for each connection.
///
/// # Errors
/// Fails if accepting fails.
pub fn echo(listener: StdListener) -> io::Result<()> {
    // Tasks do not wait while they use the buffer, so all can share it.
    let buffer = Rc::new(RefCell::new(vec![0; net::READ_SIZE]));
    LocalSet::new().block_on(&runtime()?, async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream, Rc::clone(&buffer)));
        }
    })
}

/// Serves echo of datagrams for ever.
///
/// # Errors
/// Fails if receiving or sending fails.
pub fn udp(socket: StdUdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; net::READ_SIZE];
    runtime()?.block_on(async {
        let socket = UdpSocket::from_std(socket)?;
        loop {
            let (count, sender) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..count], sender).await?;
        }
    })
}

/// Makes connections for ever, with a task for each that is under way.
///
/// # Errors
/// Fails if a connection fails.
pub fn dial(server: SocketAddr) -> io::Result<()> {
    LocalSet::new().block_on(&runtime()?, async {
        let tasks = (0..UNDER_WAY).map(|_| tokio::task::spawn_local(make_connections(server)));
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
        Ok(())
    })
}

/// Makes one connection after the other, each until the server ends it.
async fn make_connections(server: SocketAddr) -> io::Result<()> {
    loop {
        let mut stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        if stream.read(&mut [0]).await? > 0 {
            return Err(io::Error::other("the server sent something"));
        }
    }
}

/// Echoes until the peer ends.
async fn serve(mut stream: TcpStream, buffer: Rc<RefCell<Vec<u8>>>) -> io::Result<()> {
    loop {
        let unsent =
            poll_fn(|context| poll_echo(Pin::new(&mut stream), &mut buffer.borrow_mut(), context));
        match unsent.await? {
            Some(unsent) if unsent.is_empty() => {}
            Some(unsent) => stream.write_all(&unsent).await?,
            None => return Ok(()),
        }
    }
}

/// Reads once and writes the bytes back. Returns the bytes that the socket did not accept, or
/// `None` at the end. `poll_read` takes a short read to mean that the socket is empty, `try_read`
/// does not.
fn poll_echo(
    mut stream: Pin<&mut TcpStream>,
    buffer: &mut [u8],
    context: &mut Context<'_>,
) -> Poll<io::Result<Option<Vec<u8>>>> {
    let mut read = ReadBuf::new(buffer);
    ready!(stream.as_mut().poll_read(context, &mut read))?;
    let bytes = read.filled();
    if bytes.is_empty() {
        return Poll::Ready(Ok(None));
    }
    compute_for(bytes.len());
    let written = match stream.try_write(bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        result => result?,
    };
    Poll::Ready(Ok(Some(bytes[written..].to_vec())))
}

/// Passes bytes along a chain of pairs, with a task for each.
///
/// # Errors
/// Fails if a system call fails.
pub fn dispatch(count: usize) -> io::Result<()> {
    let (readers, chain) = scene::pairs(count)?;
    let chain = Rc::new(RefCell::new(chain));
    LocalSet::new().block_on(&runtime()?, async {
        for (pair, reader) in readers.into_iter().enumerate() {
            let reader = UnixStream::from_std(std::os::unix::net::UnixStream::from(reader))?;
            tokio::task::spawn_local(link(pair, reader, Rc::clone(&chain)));
        }
        // Each task waits before the first byte is sent.
        tokio::task::yield_now().await;
        let mut runs = Runs::new();
        while runs.start(&mut chain.borrow_mut())? {
            poll_fn(|context| chain.borrow_mut().poll_done(context)).await;
            runs.end(&chain.borrow());
        }
        Ok(())
    })
}

/// Runs the reading end of a pair.
async fn link(pair: usize, mut reader: UnixStream, chain: Rc<RefCell<Chain>>) -> io::Result<()> {
    use tokio::io::AsyncReadExt;
    let mut buffer = [0; scene::READ_SIZE];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        chain.borrow_mut().received(pair, count)?;
    }
}

/// Timers, each a separate [`Sleep`].
struct Sleeps {
    now: tokio::time::Instant,
    timers: Vec<Option<Pin<Box<Sleep>>>>,
}

impl Timers for Sleeps {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        let mut sleep = Box::pin(tokio::time::sleep_until(self.now + delay));
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

/// Arms, moves, cancels and fires timers, each a [`Sleep`].
///
/// # Errors
/// Fails if the runtime cannot be made.
pub fn timers(count: usize) -> io::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let timers = (0..count).map(|_| None).collect();
        timing::measure(&mut Sleeps { now: tokio::time::Instant::now(), timers }, count)
    })?;
    let mut random = testkit::Random::new(1);
    LocalSet::new().block_on(&runtime, async {
        let start = Instant::now() + timing::lead(count);
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let due = start + timing::short(&mut random);
                tokio::task::spawn_local(tokio::time::sleep_until(due.into()))
            })
            .collect();
        tokio::task::yield_now().await;
        let mut phases = Phases::new(count);
        timing::sleep_until_due(start);
        for task in tasks {
            task.await?;
        }
        phases.end("expire_ns");
        Ok(())
    })
}
