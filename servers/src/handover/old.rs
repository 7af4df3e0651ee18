//! The side of the old program.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};
use reactor::{Credentials, Departure, Interest, LoopCx, Registration, Token};

use super::attempt::{Attempt, Stage};
use super::channel::Channel;
use super::conclusion::Postponed;
use super::launch::Launch;
use super::loops::{Loops, Manner, Whole};
use super::order::{Answer, Ask, Report, line};
use super::successor::{Door, Successor};
use super::together::Together;
use super::wire::Frame;
use crate::service_manager::ServiceManager;

/// How often the loop looks whether the new program still runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Hands a server over to a new program. It lives on the loop that talks to that program, whose state
/// is `B`.
pub(crate) struct Handover<B: 'static> {
    pub(super) launch: Launch,
    pub(super) whole: Box<dyn Whole<B>>,
    pub(super) loops: Loops,
    /// What the application leaves to the new program.
    legacy: Vec<u8>,
    pub(super) manager: Rc<ServiceManager>,
    pub(super) progress: RefCell<Progress>,
    /// Connections of the program that this one replaces are still coming.
    pub(super) is_arriving: Cell<bool>,
    /// What this program was told to do as soon as no connection is on its way from one program to
    /// another.
    pub(super) postponed: Cell<Option<Postponed>>,
}

/// How far the handover is.
pub(super) enum Progress {
    /// No new program was started.
    Idle,
    /// A new program was started.
    Going(Box<Attempt>),
    /// The new program has failed, and the loops take their sockets back. So many have not answered,
    /// and this source gets the answers.
    Resuming(usize, Token),
    /// The new program has everything that could be handed over.
    Done,
}

impl<B: 'static> Handover<B> {
    /// Prepares for handing `loops` over, which make up `whole`, and the `legacy` of the application.
    pub(crate) fn new(
        launch: Launch,
        whole: impl Whole<B> + 'static,
        loops: Loops,
        legacy: Vec<u8>,
        manager: Rc<ServiceManager>,
    ) -> Rc<Self> {
        let progress = RefCell::new(Progress::Idle);
        let whole = Box::new(whole);
        let (is_arriving, postponed) = (Cell::new(false), Cell::new(None));
        Rc::new(Self { launch, whole, loops, legacy, manager, progress, is_arriving, postponed })
    }

    /// Returns whether a new program is responsible.
    pub(crate) fn has_begun(&self) -> bool {
        match &*self.progress.borrow() {
            Progress::Going(attempt) => attempt.has_begun(),
            Progress::Idle | Progress::Resuming(..) => false,
            Progress::Done => true,
        }
    }

    /// Returns whether it is intended that this program has no listener.
    pub(crate) fn has_released(&self) -> bool {
        match &*self.progress.borrow() {
            Progress::Going(attempt) => attempt.has_released(),
            Progress::Idle => false,
            Progress::Resuming(..) | Progress::Done => true,
        }
    }

    /// Returns whether the server was told to stop.
    pub(super) fn is_stopping(&self, cx: &LoopCx<'_, B>) -> bool {
        self.whole.is_stopping(cx)
    }

    /// Starts a new program, with the arguments of this one.
    pub(crate) fn start(self: &Rc<Self>, cx: &mut LoopCx<'_, B>) {
        let (is_stopping, is_idle) =
            (self.is_stopping(cx), matches!(&*self.progress.borrow(), Progress::Idle));
        if is_stopping || !is_idle || self.postponed.get() == Some(Postponed::Stop) {
            warn!("no new program is started: this one stops, or one takes over already");
            return;
        }
        if self.is_arriving.get() {
            info!("a new program is started when this one has taken over");
            self.postponed.set(Some(Postponed::Start));
            return;
        }
        match self.try_start(cx) {
            Ok(attempt) => {
                let (process, timeout) = (attempt.child.id(), self.launch.timeout);
                info!("started process {process}, which is to take over within {timeout:?}");
                self.manager.reloading();
                *self.progress.borrow_mut() = Progress::Going(Box::new(attempt));
            }
            Err(failure) => error!("cannot start a new program, and this one goes on: {failure}"),
        }
    }

    fn try_start(self: &Rc<Self>, cx: &mut LoopCx<'_, B>) -> io::Result<Attempt> {
        // No other program knows the name, so none has it.
        let name = format!(
            "{}-handover-{}-{:x}",
            self.launch.server,
            std::process::id(),
            fastrand::u64(..)
        );
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let (reports, listening) = line()?;
        let handover = Rc::clone(self);
        let listening = listening.register(cx, move |report, cx| {
            report.into_iter().for_each(|report| handover.heed(report, cx));
        })?;
        let door = Door::open(listener, self, cx).inspect_err(|_| cx.close(listening))?;
        let child = self.launch.start(name).inspect_err(|_| {
            cx.close(door);
            cx.close(listening);
        })?;
        let until = cx.now() + self.launch.timeout;
        let (channel, stage) = (Rc::default(), Stage::Starting);
        let handover = Rc::clone(self);
        cx.after(CHECK_INTERVAL, move |cx| handover.check(cx))?;
        Ok(Attempt { child, until, door, successor: None, channel, reports, listening, stage })
    }

    /// Looks whether the new program still runs, and answers in time.
    fn check(self: Rc<Self>, cx: &mut LoopCx<'_, B>) {
        let mut progress = self.progress.borrow_mut();
        let Progress::Going(attempt) = &mut *progress else { return };
        if attempt.owes_nothing() {
            attempt.until = cx.now() + self.launch.timeout;
        }
        let failure = match attempt.child.try_wait() {
            Ok(Some(status)) => Some(format!("it has ended with {status}")),
            Ok(None) if cx.now() >= attempt.until => {
                Some(format!("it has not answered within {:?}", self.launch.timeout))
            }
            Ok(None) => None,
            Err(error) => Some(format!("it cannot be waited for: {error}")),
        };
        if let Some(failure) = failure {
            if attempt.has_begun() {
                // It may have taken connections, and its last answers are still to be read. The end
                // of its channel follows.
                error!("the new program is ended: {failure}");
                attempt.end_child();
            } else {
                drop(progress);
                self.fail(&failure, cx);
            }
            return;
        }
        drop(progress);
        let handover = Rc::clone(&self);
        if let Err(error) = cx.after(CHECK_INTERVAL, move |cx| handover.check(cx)) {
            self.fail(&error, cx);
        }
    }

    /// Talks to the new program, which has connected: asks the loops for the sockets that it gets.
    pub(super) fn meet(
        self: &Rc<Self>,
        stream: UnixStream,
        cx: &mut LoopCx<'_, B>,
    ) -> io::Result<()> {
        let peer = Credentials::of_peer(&stream)?;
        let mut progress = self.progress.borrow_mut();
        let attempt = match &mut *progress {
            Progress::Going(attempt) if attempt.successor.is_none() => attempt,
            _ => return Err(io::Error::other("no new program is expected")),
        };
        if peer.pid != Some(attempt.child.id()) {
            return Err(io::Error::other("it is not the process that was started"));
        }
        let successor = Successor::new(Rc::clone(self), Rc::clone(&attempt.channel));
        let token = cx.register(stream.into(), Registration::new(Interest::BOTH), successor)?;
        attempt.successor = Some(token);
        let left = self.loops.ask_all(Ask::Duplicates, &attempt.reports)?;
        attempt.stage = Stage::Gathering { left, sockets: Vec::new() };
        Ok(())
    }

    /// Records that the new program has answered, so that its time begins anew.
    pub(super) fn note_answer(&self, cx: &LoopCx<'_, B>) {
        if let Progress::Going(attempt) = &mut *self.progress.borrow_mut() {
            attempt.until = cx.now() + self.launch.timeout;
        }
    }

    /// Stops accepting, since the new program is ready.
    pub(super) fn release(&self, cx: &mut LoopCx<'_, B>) -> io::Result<()> {
        if self.is_stopping(cx) {
            return Err(io::Error::other("this program was told to stop meanwhile"));
        }
        let mut progress = self.progress.borrow_mut();
        let Progress::Going(attempt) = &mut *progress else {
            return Err(io::Error::other("no new program is expected"));
        };
        if !matches!(attempt.stage, Stage::Offered) {
            return Err(io::Error::other("it says at the wrong time that it is ready"));
        }
        cx.close(attempt.door);
        attempt.stage = match self.loops.ask_acceptor(Ask::Release, &attempt.reports)? {
            0 => {
                let left = self.loops.ask_serving(Ask::Release, &attempt.reports)?;
                Stage::Releasing { left, is_acceptor: false }
            }
            left => Stage::Releasing { left, is_acceptor: true },
        };
        Ok(())
    }

    /// Heeds the answer of a loop.
    fn heed(self: &Rc<Self>, report: Report, cx: &mut LoopCx<'_, B>) {
        let mut progress = self.progress.borrow_mut();
        let result = match &mut *progress {
            Progress::Going(attempt) => self.go_on(attempt, report, cx),
            Progress::Resuming(left, _) => {
                if matches!(report.answer, Answer::Resumed) {
                    *left -= 1;
                }
                Ok(())
            }
            Progress::Idle | Progress::Done => Ok(()),
        };
        drop(progress);
        self.end_resuming(cx);
        if let Err(failure) = result {
            self.fail(&failure, cx);
        }
    }

    /// Goes on with an attempt after the answer of a loop.
    fn go_on(
        &self,
        attempt: &mut Attempt,
        report: Report,
        cx: &mut LoopCx<'_, B>,
    ) -> io::Result<()> {
        match (report.answer, &mut attempt.stage) {
            (Answer::Duplicates(given), Stage::Gathering { left, sockets }) => {
                sockets.extend(given?);
                *left -= 1;
                if *left == 0 {
                    let sockets = std::mem::take(sockets);
                    let mut channel = attempt.channel.borrow_mut();
                    channel.greet(self.launch.server, &self.legacy, sockets)?;
                    drop(channel);
                    attempt.stage = Stage::Offered;
                    attempt.flush(cx);
                }
            }
            (Answer::Released(result), Stage::Releasing { left, is_acceptor }) => {
                result?;
                *left -= 1;
                if *left == 0 && *is_acceptor {
                    *left = self.loops.ask_serving(Ask::Release, &attempt.reports)?;
                    *is_acceptor = false;
                } else if *left == 0 {
                    self.begin(attempt, cx)?;
                }
            }
            (Answer::Departure(departure), Stage::HandingOver { .. }) => {
                self.depart(report.index, departure, attempt, cx);
            }
            (answer, Stage::Together(together)) => {
                together.heed(answer, &mut attempt.channel.borrow_mut(), &self.loops)?;
                attempt.flush(cx);
            }
            _ => {}
        }
        Ok(())
    }

    /// Goes on with connections that share a state: all that was said has been sent.
    pub(super) fn all_sent(&self, cx: &mut LoopCx<'_, B>) -> io::Result<()> {
        let mut progress = self.progress.borrow_mut();
        if let Progress::Going(attempt) = &mut *progress
            && let Attempt { stage: Stage::Together(together), channel, reports, .. } =
                &mut **attempt
        {
            together.go_on(&mut channel.borrow_mut(), &self.loops, reports)?;
            if !channel.borrow().is_all_sent() {
                attempt.flush(cx);
            }
        }
        Ok(())
    }

    /// Makes the new program responsible, since it has the connections and the state that they share.
    pub(super) fn loaded(&self) -> io::Result<()> {
        match &mut *self.progress.borrow_mut() {
            Progress::Going(attempt) => match &mut attempt.stage {
                Stage::Together(it) => it.loaded(&mut attempt.channel.borrow_mut()),
                _ => Err(io::Error::other("it says at the wrong time that it has everything")),
            },
            _ => Ok(()),
        }
    }

    /// Makes the new program responsible, and hands the connections of all loops over. Where they share
    /// a state, it becomes responsible at the end.
    fn begin(&self, attempt: &mut Attempt, cx: &mut LoopCx<'_, B>) -> io::Result<()> {
        if self.loops.manner == Manner::Together {
            let together = Together::start(cx.now(), &self.loops, &attempt.reports)?;
            attempt.stage = Stage::Together(together);
            return Ok(());
        }
        attempt.channel.borrow_mut().say(&Frame::Begin, None)?;
        let left = self.loops.hand_over(&attempt.reports)?;
        attempt.stage = Stage::HandingOver { left, departed: 0, stayed: 0 };
        attempt.flush(cx);
        Ok(())
    }

    /// Gives a connection to the new program, or says that there are no more.
    fn depart(
        &self,
        index: usize,
        departure: Departure,
        attempt: &mut Attempt,
        cx: &mut LoopCx<'_, B>,
    ) {
        let Stage::HandingOver { left, departed, stayed } = &mut attempt.stage else { return };
        let mut channel = attempt.channel.borrow_mut();
        match departure {
            Departure::Connection { token, descriptor, state } => {
                if let Err(error) = channel.give((index, token), descriptor, state) {
                    warn!("a connection stays: {error}");
                    self.loops.stays(index, token);
                }
            }
            Departure::Finished { departed: more, stayed: others } => {
                (*left, *departed, *stayed) = (*left - 1, *departed + more, *stayed + others);
                if *left == 0 {
                    info!("handed over: {departed} connections; {stayed} stay here to the end");
                    if let Err(error) = channel.say(&Frame::Done, None) {
                        warn!("the new program is not told that this was all: {error}");
                    }
                    channel.is_done = true;
                }
            }
            // This loop does not hand them over together.
            Departure::Frozen { .. } | Departure::Unsaved { .. } => {}
        }
        drop(channel);
        attempt.flush(cx);
    }

    /// Tells the loop of a connection whether the new program has taken it.
    pub(super) fn answer(&self, channel: &RefCell<Channel>, id: u64, is_taken: bool) {
        let Some((index, token)) = channel.borrow_mut().away.remove(&id) else { return };
        match is_taken {
            true => self.loops.departed(index, token),
            false => self.loops.stays(index, token),
        }
    }
}
