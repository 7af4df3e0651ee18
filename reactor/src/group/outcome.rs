//! What is left of a group when its loops have ended.

use std::io;

use crate::Counters;

/// What is left of one loop of a [`Group`](crate::Group).
#[derive(Debug)]
pub struct Outcome<R> {
    /// The number of the loop.
    pub index: usize,
    /// What `finish` has made of the state of the application; `None` if it panicked.
    pub state: Option<R>,
    /// The counters of the loop, after all its sources have ended.
    pub counters: Counters,
    /// Why the loop failed, if it did: its wait failed for good, or it panicked.
    pub result: io::Result<()>,
}

/// What is left of a [`Group`](crate::Group).
#[derive(Debug)]
pub struct Ended<R> {
    /// The loops, in the order of their numbers.
    pub loops: Vec<Outcome<R>>,
    /// The loop that handed connections over, if there was one.
    pub acceptor: Option<Outcome<()>>,
}

impl<R> Ended<R> {
    /// Returns the counters of all loops together, that of the acceptor among them.
    pub fn counters(&self) -> Counters {
        let acceptor = self.acceptor.iter().map(|it| it.counters);
        self.loops.iter().map(|it| it.counters).chain(acceptor).sum()
    }

    /// Returns the first failure, with the number of the loop.
    ///
    /// # Errors
    /// When a loop, or the acceptor, has failed.
    pub fn check(&self) -> io::Result<()> {
        let named = |name: String, result: &io::Result<()>| match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        };
        for outcome in &self.loops {
            named(format!("loop {}", outcome.index), &outcome.result)?;
        }
        let acceptor = self.acceptor.as_ref();
        acceptor.map_or(Ok(()), |it| named("the acceptor".to_owned(), &it.result))
    }
}
