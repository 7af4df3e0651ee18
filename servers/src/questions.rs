//! What the thread that watches over several loops asks them. A question is answered when it is dropped,
//! so a loop that ends with one in its mailbox is not waited for.

use log::info;
use reactor::{Counters, Remote};

use crate::many::Owner;
use crate::run::Figures;

/// The counters of the loops, which arrive one by one.
#[derive(Default)]
pub(crate) struct Tally {
    /// How often counters were asked for.
    pub(crate) round: u64,
    /// How many loops have not answered in this round.
    pub(crate) left: usize,
    pub(crate) sum: Counters,
}

impl Tally {
    /// Logs the counters of a loop, unless it has ended before it could say them, and the sum after
    /// those of the last.
    fn add(&mut self, round: u64, name: &str, counters: Option<Counters>) {
        match &counters {
            Some(counters) => info!("{name}: {counters}"),
            None => info!("{name} has ended"),
        }
        if round != self.round {
            return;
        }
        self.left -= 1;
        self.sum = self.sum + counters.unwrap_or_default();
        if self.left == 0 {
            info!("all loops: {}", Figures(self.sum));
        }
    }
}

/// A question for the counters of a loop. It is answered when it is dropped: at the latest with the
/// loop.
pub(crate) struct Question<A: 'static> {
    name: String,
    round: u64,
    owner: Remote<Owner<A>>,
    counters: Option<Counters>,
}

impl<A: 'static> Question<A> {
    pub(crate) fn new(name: String, round: u64, owner: &Remote<Owner<A>>) -> Self {
        Self { name, round, owner: owner.clone(), counters: None }
    }

    /// Asks a loop, whose answer the owner gets.
    pub(crate) fn ask<B: 'static>(self, remote: &Remote<B>) {
        // A question that cannot be asked is dropped, and so answered.
        let _ = remote.post(move |cx| self.answer(cx.counters()));
    }

    fn answer(mut self, counters: Counters) {
        self.counters = Some(counters);
    }
}

impl<A: 'static> Drop for Question<A> {
    fn drop(&mut self) {
        let (round, counters) = (self.round, self.counters.take());
        let name = std::mem::take(&mut self.name);
        // An owner that is gone asks no more.
        let _ = self.owner.post(move |cx| cx.app.tally.add(round, &name, counters));
    }
}

/// The answer of a loop that lives. It is dropped unanswered only with the loop, which is then not
/// waited for.
pub(crate) struct SignOfLife<A: 'static>(pub(crate) Remote<Owner<A>>);

impl<A: 'static> Drop for SignOfLife<A> {
    fn drop(&mut self) {
        // An owner that is gone gives no sign any more.
        let _ = self.0.post(|cx| cx.app.silent -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::rc::Rc;
    use std::sync::Arc;

    use reactor::Reactor;

    use super::*;

    #[test]
    fn a_loop_that_ends_with_a_question_is_not_waited_for() -> io::Result<()> {
        let owner = Owner::<()> {
            group: None,
            observer: None,
            handover: None,
            has_no_listener: false,
            tally: Tally { round: 1, left: 2, sum: Counters::default() },
            manager: Rc::default(),
            silent: 2,
            reload: Arc::default(),
        };
        let mut owner = Reactor::new(owner)?;
        let remote = owner.cx().remote();
        let mut reactor = Reactor::new(())?;
        let asked = reactor.cx().remote();
        let ask = || {
            let (name, owner) = ("a loop".to_owned(), remote.clone());
            Question::new(name, 1, &owner).ask(&asked);
            let sign = SignOfLife(owner);
            let _ = asked.post(move |_| drop(sign));
        };
        // One question waits at the loop when it ends, the other comes after that.
        ask();
        drop(reactor);
        ask();
        while owner.app.silent > 0 || owner.app.tally.left > 0 {
            owner.run_once(None)?;
        }
        Ok(())
    }
}
