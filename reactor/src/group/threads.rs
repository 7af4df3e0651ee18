//! What the threads of a group run.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use log::{error, info};

use crate::group::entrance::Entrance;
use crate::group::shared::Shared;
use crate::group::watch::Running;
use crate::{Counters, LoopLimits, Member, Outcome, Pinning, Reactor, Remote, WhenOneFails, sys};

/// What a thread says once it has made its loop.
pub(crate) struct Made<A> {
    pub(crate) index: usize,
    pub(crate) result: io::Result<Remote<A>>,
}

/// What the thread of a loop needs.
pub(crate) struct Start<A: 'static> {
    pub(crate) member: Member<A>,
    pub(crate) made: Sender<Made<A>>,
    /// It is closed without a word if the group does not come about.
    pub(crate) gate: Receiver<()>,
}

/// Makes a loop and runs it to its end. Returns `None` if the group did not come about.
pub(crate) fn run_member<A: 'static, R>(
    start: Start<A>,
    make: &dyn Fn(&Member<A>) -> io::Result<Reactor<A>>,
    finish: &dyn Fn(&mut A) -> R,
) -> Option<Outcome<R>> {
    let Start { member, made, gate } = start;
    let (index, shared) = (member.index(), Arc::clone(&member.shared));
    let result = contained(|| {
        pin(&member)?;
        make(&member)
    });
    drop(member);
    let running = Running::new(&shared.watch);
    let mut reactor = match result {
        Ok(mut reactor) => {
            let result = Ok(reactor.cx().remote());
            made.send(Made { index, result }).ok()?;
            reactor
        }
        Err(error) => {
            // If nothing receives it, another loop has failed before.
            let _ = made.send(Made { index, result: Err(error) });
            return None;
        }
    };
    drop(made);
    gate.recv().ok()?;
    let result = contained(|| reactor.run());
    let outcome = end(index, &mut reactor, result, finish);
    drop(running);
    report(&shared, outcome.result.as_ref(), &format!("loop {index}"));
    shared.loop_ended();
    Some(outcome)
}

/// Restricts this thread to the processor that is meant for it.
fn pin<A: 'static>(member: &Member<A>) -> io::Result<()> {
    if member.shared.options.pinning == Pinning::None {
        return Ok(());
    }
    let named = |call, error: io::Error| {
        io::Error::new(error.kind(), format!("cannot pin: {call}: {error}"))
    };
    let allowed = sys::allowed_processors().map_err(|error| named("sched_getaffinity", error))?;
    let processor = allowed.get(member.index() % allowed.len().max(1)).copied();
    let result = processor.map_or(Ok(()), sys::run_only_on);
    result.map_err(|error| named("sched_setaffinity", error))
}

/// Ends the sources of a loop and makes its outcome.
fn end<A: 'static, R>(
    index: usize,
    reactor: &mut Reactor<A>,
    result: io::Result<()>,
    finish: &dyn Fn(&mut A) -> R,
) -> Outcome<R> {
    let panic = reactor.end_for_good();
    let counters = reactor.counters();
    let (state, last) = match catch_unwind(AssertUnwindSafe(|| finish(&mut reactor.app))) {
        Ok(state) => (Some(state), None),
        Err(panic) => (None, Some(panic)),
    };
    let result = match panic.or(last) {
        Some(panic) => result.and(Err(panicked(panic.as_ref()))),
        None => result,
    };
    Outcome { index, state, counters, result }
}

/// Logs how a thread has ended. If it has failed, the others stop if they are to.
fn report<A: 'static>(shared: &Shared<A>, result: Result<&(), &io::Error>, name: &str) {
    match result {
        Ok(()) => info!("{name} has ended"),
        Err(error) if shared.options.when_one_fails == WhenOneFails::StopAll => {
            error!("{name} has failed: {error}: all stop");
            shared.stop_gracefully(shared.options.patience);
        }
        Err(error) => error!("{name} has failed: {error}: the others go on"),
    }
}

/// Runs the loop that accepts connections and hands them over. It says once whether it listens.
pub(crate) fn run_acceptor<A: 'static>(
    shared: &Shared<A>,
    made: &Sender<io::Result<Remote<()>>>,
    gate: &Receiver<()>,
) -> Outcome<()> {
    let outcome = |counters, result| Outcome { index: 0, state: Some(()), counters, result };
    let mut reactor = match contained(|| make_acceptor(shared)) {
        Ok(reactor) => reactor,
        Err(error) => {
            let said = io::Error::new(error.kind(), error.to_string());
            // If nothing receives it, the group has not come about.
            let _ = made.send(Err(said));
            return outcome(Counters::default(), Err(error));
        }
    };
    let said = made.send(Ok(reactor.cx().remote()));
    if said.is_err() || gate.recv().is_err() {
        return outcome(reactor.counters(), Ok(()));
    }
    let result = contained(|| reactor.run());
    let panic = reactor.end_for_good();
    let result = panic.map_or(result, |panic| Err(panicked(panic.as_ref())));
    report(shared, result.as_ref(), "the acceptor");
    shared.acceptor_ended();
    outcome(reactor.counters(), result)
}

fn make_acceptor<A: 'static>(shared: &Shared<A>) -> io::Result<Reactor> {
    let backend = shared.options.acceptor.open()?;
    let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, ())?;
    for (index, entrance) in shared.entrances.iter().enumerate() {
        let Entrance::HandedOver { listener, .. } = entrance else { continue };
        let Some(listener) = listener.take() else { continue };
        shared.admit(index, listener, &mut reactor.cx())?;
    }
    Ok(reactor)
}

/// Returns a panic as an error.
fn contained<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

fn panicked(panic: &(dyn Any + Send)) -> io::Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    io::Error::other(format!("it panicked: {}", text.unwrap_or("(no message)")))
}
