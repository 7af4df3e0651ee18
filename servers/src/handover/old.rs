//! The side of the old program.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::{error, info, warn};
use protocol::Session;
use reactor::{Credentials, Cx, Departure, Handler, Interest, LoopCx, Reason, Registration, Token};

use super::VARIABLE;
use super::channel::Channel;
use super::new::Given;
use super::wire::{Frame, Incoming};
use crate::listening::Listening;
use crate::service_manager::ServiceManager;

/// How many connections wait for an answer of the new program at a time.
const AWAY_MAX: usize = 16;
/// How often the loop looks whether the new program still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long connections that stay may go on, before the old program ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);

/// Hands a server with one loop over to a new program.
pub(crate) struct Handover<A: 'static, S> {
    server: &'static str,
    listening: Rc<Listening<A, S>>,
    program: Option<PathBuf>,
    timeout: Duration,
    manager: Rc<ServiceManager>,
    progress: RefCell<Progress>,
}

/// How far the handover is.
enum Progress {
    /// No new program was started.
    Idle,
    /// A new program was started, and is to be ready in time.
    Started(Attempt),
    /// The new program accepts connections, and gets those of this one. The sockets are kept for the
    /// case that it fails.
    Begun(Attempt, Vec<Given>),
    /// The new program has everything that could be handed over.
    Done,
}

/// A new program.
struct Attempt {
    child: Child,
    until: Instant,
    /// The socket on which it connects.
    door: Token,
    /// The connection to it.
    channel: Option<Token>,
}

impl<A: 'static, S: Session<A> + 'static> Handover<A, S> {
    /// Prepares for handing `listening` over. A new program has `timeout` to come up.
    pub(crate) fn new(
        server: &'static str,
        listening: Rc<Listening<A, S>>,
        timeout: Duration,
        manager: Rc<ServiceManager>,
    ) -> Rc<Self> {
        // Later, the file may have been replaced, and then the system has no path of it.
        let program = std::env::current_exe().ok();
        let progress = RefCell::new(Progress::Idle);
        Rc::new(Self { server, listening, program, timeout, manager, progress })
    }

    /// Returns whether a new program is responsible: this one has no listener, and that is intended.
    pub(crate) fn has_begun(&self) -> bool {
        matches!(&*self.progress.borrow(), Progress::Begun(..) | Progress::Done)
    }

    /// Starts a new program, with the arguments of this one.
    pub(crate) fn start(self: &Rc<Self>, cx: &mut LoopCx<'_, A>) {
        if cx.is_stopping() || !matches!(&*self.progress.borrow(), Progress::Idle) {
            warn!("no new program is started: this one stops, or one takes over already");
            return;
        }
        match self.try_start(cx) {
            Ok(attempt) => {
                let (process, timeout) = (attempt.child.id(), self.timeout);
                info!("started process {process}, which is to take over within {timeout:?}");
                self.manager.reloading();
                *self.progress.borrow_mut() = Progress::Started(attempt);
            }
            Err(failure) => error!("cannot start a new program, and this one goes on: {failure}"),
        }
    }

    fn try_start(self: &Rc<Self>, cx: &mut LoopCx<'_, A>) -> io::Result<Attempt> {
        let Some(program) = &self.program else {
            return Err(io::Error::other("the path of this program is unknown"));
        };
        // No other program knows the name, so none has it.
        let name =
            format!("{}-handover-{}-{:x}", self.server, std::process::id(), fastrand::u64(..));
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        listener.set_nonblocking(true)?;
        let descriptor = listener.try_clone()?.into();
        let door = Door { listener, handover: Rc::clone(self) };
        let door = cx.register(descriptor, Registration::new(Interest::READ), door)?;
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let mut command = Command::new(program);
        command.args(arguments).env(VARIABLE, name);
        // The service manager's watchdog is meant for the new process then, its sockets are not.
        for variable in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(variable);
        }
        let child = command.spawn();
        let child = child.inspect_err(|_| cx.close(door)).map_err(|failure| {
            io::Error::new(failure.kind(), format!("{}: {failure}", program.display()))
        })?;
        let handover = Rc::clone(self);
        cx.after(CHECK_INTERVAL, move |cx| handover.check(cx))?;
        Ok(Attempt { child, until: cx.now() + self.timeout, door, channel: None })
    }

    /// Looks whether the new program still runs, and answers in time.
    fn check(self: Rc<Self>, cx: &mut LoopCx<'_, A>) {
        let failure = match &mut *self.progress.borrow_mut() {
            Progress::Started(attempt) | Progress::Begun(attempt, _) => {
                match attempt.child.try_wait() {
                    Ok(Some(status)) => Some(format!("it has ended with {status}")),
                    Ok(None) if cx.now() >= attempt.until => {
                        Some(format!("it has not answered within {:?}", self.timeout))
                    }
                    Ok(None) => None,
                    Err(error) => Some(format!("it cannot be waited for: {error}")),
                }
            }
            Progress::Idle | Progress::Done => return,
        };
        if let Some(failure) = failure {
            if self.has_begun() {
                // It may have taken connections, and its last answers are still to be read. The end
                // of its channel follows.
                error!("the new program is ended: {failure}");
                self.end_child();
            } else {
                self.fail(&failure, cx);
            }
            return;
        }
        let handover = Rc::clone(&self);
        if let Err(error) = cx.after(CHECK_INTERVAL, move |cx| handover.check(cx)) {
            self.fail(&error, cx);
        }
    }

    /// Talks to the new program, which has connected.
    fn meet(self: &Rc<Self>, stream: UnixStream, cx: &mut LoopCx<'_, A>) -> io::Result<()> {
        let peer = Credentials::of_peer(&stream)?;
        let mut progress = self.progress.borrow_mut();
        let attempt = match &mut *progress {
            Progress::Started(attempt) if attempt.channel.is_none() => attempt,
            _ => return Err(io::Error::other("no new program is expected")),
        };
        if peer.pid != Some(attempt.child.id()) {
            return Err(io::Error::other("it is not the process that was started"));
        }
        let channel = Rc::new(RefCell::new(Channel::default()));
        let sockets = self.listening.duplicates(cx)?;
        channel.borrow_mut().greet(self.server, sockets)?;
        let heir = Successor {
            handover: Rc::clone(self),
            incoming: Incoming::new(),
            channel: Rc::clone(&channel),
        };
        let token = cx.register(stream.into(), Registration::new(Interest::BOTH), heir)?;
        attempt.channel = Some(token);
        channel.borrow_mut().me = Some(token);
        Ok(())
    }

    /// Records that the new program has answered, so that its time begins anew.
    fn note_answer(&self, cx: &LoopCx<'_, A>) {
        if let Progress::Started(attempt) | Progress::Begun(attempt, _) =
            &mut *self.progress.borrow_mut()
        {
            attempt.until = cx.now() + self.timeout;
        }
    }

    /// Stops accepting, since the new program is ready, and hands the connections over.
    fn begin(
        self: &Rc<Self>,
        channel: &Rc<RefCell<Channel>>,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<()> {
        if cx.is_stopping() {
            return Err(io::Error::other("this program was told to stop meanwhile"));
        }
        let duplicates = self.listening.duplicates(cx)?;
        let attempt = match self.progress.replace(Progress::Idle) {
            Progress::Started(attempt) => attempt,
            other => {
                *self.progress.borrow_mut() = other;
                return Err(io::Error::other("it says twice that it is ready"));
            }
        };
        cx.close(attempt.door);
        *self.progress.borrow_mut() = Progress::Begun(attempt, duplicates);
        self.listening.release(cx);
        channel.borrow_mut().say(&Frame::Begin, None)?;
        let (handover, channel) = (Rc::clone(self), Rc::clone(channel));
        cx.hand_over(AWAY_MAX, move |departure, cx| handover.depart(departure, &channel, cx))
    }

    /// Gives a connection to the new program, or ends this one when there are no more.
    fn depart(
        self: &Rc<Self>,
        departure: Departure,
        channel: &RefCell<Channel>,
        cx: &mut LoopCx<'_, A>,
    ) {
        let mut channel = channel.borrow_mut();
        match departure {
            Departure::Connection { token, descriptor, state } => {
                if let Err(error) = channel.give(token, descriptor, state) {
                    warn!("a connection stays: {error}");
                    cx.stays(token);
                }
            }
            Departure::Finished { departed, stayed } if self.has_begun() => {
                info!("handed over: {departed} connections; {stayed} stay here to the end");
                if let Err(error) = channel.say(&Frame::Done, None) {
                    warn!("the new program is not told that this was all: {error}");
                }
                channel.is_done = true;
            }
            Departure::Finished { .. } => {}
        }
        if let Some(me) = channel.me {
            cx.wake(me);
        }
    }

    /// Ends this program, since the new one has everything.
    fn finish(&self, cx: &mut LoopCx<'_, A>) {
        let attempt = self.progress.replace(Progress::Done);
        if let Progress::Begun(attempt, _) = attempt {
            info!("process {} has taken over", attempt.child.id());
        }
        cx.stop_gracefully(DRAIN_TIMEOUT);
    }

    /// Leaves everything to the new program, since this one was told to stop while it handed over.
    fn abandon(&self) {
        if let Progress::Begun(attempt, _) = self.progress.replace(Progress::Done) {
            info!("process {} goes on alone", attempt.child.id());
        }
    }

    /// Ends the new program. It may run and not be the one that is expected, and must not accept
    /// beside this one.
    fn end_child(&self) {
        if let Progress::Started(attempt) | Progress::Begun(attempt, _) =
            &mut *self.progress.borrow_mut()
        {
            let child = &mut attempt.child;
            if let Err(error) = child.kill().and_then(|()| child.wait().map(drop)) {
                warn!("process {} cannot be ended: {error}", child.id());
            }
        }
    }

    /// Goes on as if no new program had been started.
    fn fail(&self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, A>) {
        self.end_child();
        let (attempt, released) = match self.progress.replace(Progress::Idle) {
            Progress::Started(attempt) => (attempt, None),
            Progress::Begun(attempt, released) => (attempt, Some(released)),
            other @ (Progress::Idle | Progress::Done) => {
                *self.progress.borrow_mut() = other;
                return;
            }
        };
        match cx.is_stopping() {
            true => info!("the new program is ended too: {why}"),
            false => error!("the new program does not take over, and this one goes on: {why}"),
        }
        cx.close(attempt.door);
        attempt.channel.into_iter().for_each(|channel| cx.close(channel));
        if let Some(released) = released {
            cx.stop_handing_over();
            self.listening.resume(released, cx);
        }
        if !cx.is_stopping() {
            self.manager.ready();
        }
    }
}

/// The socket on which the new program connects. It does not count as a listener, so a server at its
/// limit of connections can be replaced.
struct Door<A: 'static, S> {
    listener: UnixListener,
    handover: Rc<Handover<A, S>>,
}

impl<A: 'static, S: Session<A> + 'static> Handler<A> for Door<A, S> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let listener = &self.listener;
        while let Some((stream, _)) =
            cx.try_io("accept", Interest::READ, |_| listener.accept().map(Some))?
        {
            if let Err(error) = self.handover.meet(stream, &mut cx.outside()) {
                warn!("a program that wants to take over is refused: {error}");
            }
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "servers::Handover"
    }
}

/// The connection to the new program.
struct Successor<A: 'static, S> {
    handover: Rc<Handover<A, S>>,
    incoming: Incoming,
    channel: Rc<RefCell<Channel>>,
}

impl<A: 'static, S: Session<A> + 'static> Successor<A, S> {
    /// Handles all frames that have arrived.
    fn handle(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        while let Some((frame, _)) = self.incoming.next()? {
            self.handover.note_answer(&cx.outside());
            let mut channel = self.channel.borrow_mut();
            let away = &mut channel.away;
            match frame {
                Frame::Ready => {
                    drop(channel);
                    self.handover.begin(&self.channel, &mut cx.outside())?;
                }
                Frame::Taken { id } => away.remove(&id).into_iter().for_each(|it| cx.departed(it)),
                Frame::Refused { id } => away.remove(&id).into_iter().for_each(|it| cx.stays(it)),
                frame => {
                    let text = format!("it has sent {frame:?} at the wrong time");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        Ok(())
    }
}

impl<A: 'static, S: Session<A> + 'static> Handler<A> for Successor<A, S> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        loop {
            self.handle(cx)?;
            match self.incoming.receive(|room| cx.receive_descriptors(room, 0))? {
                Some(true) => {}
                Some(false) => {
                    cx.end(Reason::PeerClosed);
                    return Ok(());
                }
                None => break,
            }
        }
        let mut channel = self.channel.borrow_mut();
        let is_sent = channel.send(cx)?;
        cx.set_interest(if is_sent { Interest::READ } else { Interest::BOTH });
        if is_sent && channel.is_done {
            cx.end(Reason::Finished);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        match reason {
            Reason::Finished => self.handover.finish(cx),
            Reason::Stopped if self.handover.has_begun() => self.handover.abandon(),
            _ if self.handover.has_begun() && cx.is_stopping() => self.handover.abandon(),
            reason => self.handover.fail(&reason, cx),
        }
    }

    fn name(&self) -> &'static str {
        "servers::Handover"
    }
}
