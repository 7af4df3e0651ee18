//! tokio-util: what stands on tokio for those who want codecs and many timers.

use std::future::poll_fn;
use std::io;
use std::net::TcpListener as StdListener;
use std::time::Instant;

use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_util::codec::{FramedRead, FramedWrite, LinesCodec, LinesCodecError};
use tokio_util::time::DelayQueue;

use super::tokio::runtime;
use crate::timing::{self, Delays, Phases};

/// The longest line that is taken: our own codec's limit.
const LINE_MAX: usize = protocol::codecs::Lines::SIZE_MAX_DEFAULT;

/// Serves lines in upper case for ever, a task for each connection.
///
/// # Errors
/// When accepting fails.
pub fn lines(listener: StdListener) -> io::Result<()> {
    LocalSet::new().block_on(&runtime()?, async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream));
        }
    })
}

/// Answers until the peer ends. `forward` flushes when no further line is there, so a burst of
/// lines is answered with one write.
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

/// Arms, moves, cancels and fires timers, all in one `DelayQueue`.
///
/// # Errors
/// When the runtime can not be made.
pub fn timers(count: usize) -> io::Result<()> {
    runtime()?.block_on(async {
        let mut delays = Delays::new();
        let mut queue = DelayQueue::new();
        let mut timers: Vec<_> = (0..count).map(|_| None).collect();
        let mut phases = Phases::new(count);
        let now = tokio::time::Instant::now();
        for (key, timer) in timers.iter_mut().enumerate() {
            *timer = Some(queue.insert_at(key, now + delays.long()));
        }
        phases.end("arm_ns");
        phases.weigh();
        phases.begin();
        for place in timing::order(count) {
            if let Some(timer) = &timers[place] {
                queue.reset_at(timer, now + delays.long());
            }
        }
        phases.end("rearm_ns");
        phases.begin();
        for place in timing::order(count) {
            if let Some(timer) = timers[place].take() {
                queue.remove(&timer);
            }
        }
        phases.end("cancel_ns");

        let now = Instant::now();
        for key in 0..count {
            queue.insert_at(key, (now + delays.short()).into());
        }
        timing::sleep_until_due(now);
        phases.begin();
        for _ in 0..count {
            poll_fn(|context| queue.poll_expired(context)).await;
        }
        phases.end("expire_ns");
        Ok(())
    })
}
