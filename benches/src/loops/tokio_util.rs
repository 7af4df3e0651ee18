//! tokio-util: codecs and many timers on tokio.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener as StdListener;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec, LinesCodecError};
use tokio_util::time::{DelayQueue, delay_queue};

use super::tokio::runtime;
use crate::timing::{self, Phases, Timers};

/// The longest line that is accepted: the limit of our own codec.
const LINE_MAX: usize = protocol::codecs::Lines::SIZE_MAX_DEFAULT;

/// Serves lines in upper case for ever, with a task for each connection.
///
/// # Errors
/// Fails if accepting fails.
pub fn lines(listener: StdListener) -> io::Result<()> {
    LocalSet::new().block_on(&runtime()?, async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream));
        }
    })
}

/// Answers until the peer ends. `forward` flushes when there is no further line, so lines that
/// arrive together are answered with one write.
async fn serve(mut stream: TcpStream) -> Result<(), LinesCodecError> {
    let (reader, writer) = stream.split();
    let codec = || LinesCodec::new_with_max_length(LINE_MAX);
    let shout = |line: Result<String, LinesCodecError>| {
        line.map(|mut line| {
            line.make_ascii_uppercase();
            line
        })
    };
    FramedRead::new(reader, codec()).map(shout).forward(FramedWrite::new(writer, codec())).await
}

/// Timers, all in one [`DelayQueue`].
struct Queue {
    now: tokio::time::Instant,
    queue: DelayQueue<usize>,
    keys: Vec<Option<delay_queue::Key>>,
}

impl Timers for Queue {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        self.keys[place] = Some(self.queue.insert_at(place, self.now + delay));
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        if let Some(key) = &self.keys[place] {
            self.queue.reset_at(key, self.now + delay);
        }
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        if let Some(key) = self.keys[place].take() {
            self.queue.remove(&key);
        }
        Ok(())
    }
}

/// Arms, moves, cancels and fires timers, all in one [`DelayQueue`].
///
/// # Errors
/// Fails if the runtime cannot be made.
pub fn timers(count: usize) -> io::Result<()> {
    runtime()?.block_on(async {
        let (now, queue) = (tokio::time::Instant::now(), DelayQueue::new());
        let mut timers = Queue { now, queue, keys: vec![None; count] };
        timing::measure(&mut timers, count)?;

        let (now, mut random) = (Instant::now(), testkit::Random::new(1));
        let queue = &mut timers.queue;
        for key in 0..count {
            queue.insert_at(key, (now + timing::short(&mut random)).into());
        }
        timing::sleep_until_due(now);
        let mut phases = Phases::new(count);
        for _ in 0..count {
            poll_fn(|context| queue.poll_expired(context)).await;
        }
        phases.end("expire_ns");
        Ok(())
    })
}
