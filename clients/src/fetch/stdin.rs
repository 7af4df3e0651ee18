//! Standard input as the body of a request.

use std::io::{self};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::Buffer;
use reactor::{Cx, Handler, Interest, LoopCx, Reason, Registration, Waker};

use super::run::Run;
use crate::http::{Client, ExchangeId, Filled, Upload};

/// How many bytes are read ahead.
const QUEUE_MAX: usize = 256 * 1024;

/// Standard input, read as fast as the server takes it.
#[derive(Clone)]
pub(super) struct Standard(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    client: Client<Run>,
}

#[derive(Default)]
struct Queue {
    bytes: Buffer,
    has_ended: bool,
    error: Option<io::Error>,
    exchange: Option<ExchangeId>,
    source: Option<Waker>,
}

impl Standard {
    /// Begins to read standard input.
    pub(super) fn open(client: Client<Run>, cx: &mut LoopCx<'_, Run>) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), client });
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        // The descriptor is shared with other processes, such as the shell.
        let registration = Registration::new(Interest::READ).keep_blocking();
        let token = cx.register(input, registration, Source(Arc::clone(&shared)))?;
        let waker = cx.waker_of(token);
        shared.with(|queue| queue.source = Some(waker));
        cx.wake(token);
        Ok(Self(shared))
    }

    /// Records which exchange takes the bytes.
    pub(super) fn belongs_to(&self, exchange: ExchangeId) {
        self.0.with(|queue| queue.exchange = Some(exchange));
    }
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the exchange that there is more.
    fn tell(&self) {
        if let Some(exchange) = self.with(|queue| queue.exchange) {
            self.client.resume(exchange);
        }
    }
}

impl Upload for Standard {
    fn fill(&mut self, room: &mut [u8]) -> io::Result<Filled> {
        self.0.with(|queue| {
            let count = room.len().min(queue.bytes.len());
            if count == 0 {
                return match (queue.error.take(), queue.has_ended) {
                    (Some(error), _) => Err(error),
                    (None, true) => Ok(Filled::End),
                    (None, false) => Ok(Filled::Later),
                };
            }
            room[..count].copy_from_slice(&queue.bytes.filled()[..count]);
            queue.bytes.consume(count);
            if let Some(source) = &queue.source {
                // A source that has ended has nothing more to read.
                let _ = source.wake();
            }
            Ok(Filled::Bytes(count))
        })
    }
}

/// The source that reads standard input.
struct Source(Arc<Shared>);

impl Handler<Run> for Source {
    fn ready(&mut self, cx: &mut Cx<'_, Run>) -> io::Result<()> {
        let mut chunk = vec![0; 64 * 1024];
        let (mut is_full, mut moved) = (self.0.with(|queue| queue.bytes.len() >= QUEUE_MAX), false);
        while !is_full {
            let Some(count) = cx.read(&mut chunk)? else { break };
            moved = true;
            is_full = self.0.with(|queue| {
                queue.bytes.extend_from_slice(&chunk[..count]);
                queue.has_ended = count == 0;
                queue.has_ended || queue.bytes.len() >= QUEUE_MAX
            });
        }
        cx.set_interest(if is_full { Interest::NONE } else { Interest::READ });
        if moved {
            self.0.tell();
        }
        if self.0.with(|queue| queue.has_ended) {
            cx.end(Reason::Finished);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _: &mut LoopCx<'_, Run>) {
        if let Reason::Failed { error, .. } = reason {
            self.0.with(|queue| queue.error = Some(error));
            self.0.tell();
        }
    }
}
