//! The connection to the master: one session, any number of requests under way.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::mfs::{
    Answer, ClientRegister, ClientRegisterAnswer, CloseSession, Kind, Message, Nop, Numbered,
    OpenRest, OpenSession, ResumeSession, SessionOpened, Status, Text, Version, password_digest,
};

use super::error::{Cause, Error};
use super::options::Options;
use super::packets::{Fault, Rhythm, Wire, wait_for};

/// After how long a silence of ours the master gets a sign of life: as often as from the real client.
const NOP_EVERY: Duration = Duration::from_secs(2);
/// How long after a failed attempt the next one to connect is made.
const RETRY: Duration = Duration::from_secs(2);
/// How long closing a session may take. The master forgets one that is not closed after a day.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A request that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u32);

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body(Vec<u8>);

impl Body {
    /// Reads the answer.
    pub(super) fn read<'a, A: Message<'a> + Clone + Default>(&'a self) -> Result<A, Cause> {
        match Numbered::<Answer<A>>::parse(&self.0) {
            Ok(answer) => answer.message.done().map_err(Cause::Status),
            Err(error) => Err(Cause::Master(error.to_string())),
        }
    }

    /// Reads an answer that is only a status.
    pub(super) fn done(&self) -> Result<(), Cause> {
        self.status().map_or(Ok(()), |status| status.done().map_err(Cause::Status))
    }

    /// Returns the status, if the answer is one.
    pub(super) fn status(&self) -> Option<Status> {
        match self.0[..] {
            [_, _, _, _, status] => Some(Status(status)),
            _ => None,
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
struct Asked {
    answer: Kind,
    packet: Arc<[u8]>,
}

/// The connection to the master.
#[derive(Debug)]
pub(super) struct Master {
    options: Arc<Options>,
    address: String,
    wire: Option<Wire>,
    session: Option<SessionOpened>,
    next: u32,
    /// The requests without an answer, the oldest first. After a new connection, they are sent again.
    asked: BTreeMap<u32, Asked>,
    /// The answers that were not taken.
    answers: BTreeMap<u32, Body>,
    /// Since when nothing was answered and a connection was lost.
    failing: Option<Instant>,
    /// When the next attempt to connect is made, without a connection.
    next_attempt: Instant,
}

impl Master {
    /// Connects to the master and opens a session.
    pub(super) fn open(options: Arc<Options>) -> Result<Self, Error> {
        let mut master = Self {
            address: options.master.to_string(),
            options,
            wire: None,
            session: None,
            next: 0,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            failing: None,
            next_attempt: Instant::now(),
        };
        master.connect()?;
        Ok(master)
    }

    /// Returns the connection, if there is one, to wait for.
    pub(super) fn wire(&self) -> Option<&Wire> {
        self.wire.as_ref()
    }

    /// Returns when the next attempt to connect is made.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wire.is_none().then_some(self.next_attempt)
    }

    /// Asks something. Further requests may follow before it is answered.
    pub(super) fn ask<'a, R: Message<'a> + Clone + Default>(&mut self, request: R) -> Ticket {
        // The number 0 is for notices of the master.
        self.next = self.next.checked_add(1).unwrap_or(1);
        let packet = Numbered { number: self.next, message: request }.packet();
        if let Some(wire) = &mut self.wire {
            wire.share(Arc::clone(&packet));
        }
        self.asked.insert(self.next, Asked { answer: Kind(R::KIND.0 + 1), packet });
        Ticket(self.next)
    }

    /// Takes the answer, if it is there.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Body> {
        self.answers.remove(&ticket.0)
    }

    /// Asks something and waits for the answer. While the answer is a status that passes, asks again.
    pub(super) fn call<'a, R: Message<'a> + Clone + Default>(
        &mut self,
        request: R,
    ) -> Result<Body, Error> {
        let begun = Instant::now();
        for attempt in 0.. {
            let ticket = self.ask(request.clone());
            let body = self.wait(ticket)?;
            match body.status().and_then(|status| pause(status, attempt)) {
                Some(pause) if begun.elapsed() < self.options.patience => self.idle(pause)?,
                _ => return Ok(body),
            }
        }
        unreachable!("it is asked as often as there is time")
    }

    /// Waits for an answer.
    pub(super) fn wait(&mut self, ticket: Ticket) -> Result<Body, Error> {
        loop {
            self.pass()?;
            if let Some(body) = self.take(ticket) {
                return Ok(body);
            }
            self.wait_once(None)?;
        }
    }

    /// Waits for a time, and keeps the session alive meanwhile.
    fn idle(&mut self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.pass()?;
            self.wait_once(Some(until))?;
        }
        Ok(())
    }

    fn wait_once(&self, due: Option<Instant>) -> Result<(), Error> {
        let due = due.into_iter().chain(self.due()).min();
        wait_for(self.wire.iter(), due).map_err(|error| self.error(Cause::from(error)))
    }

    /// Reads and writes what is possible without waiting. A lost connection is made again; that fails
    /// when nothing was answered for too long.
    pub(super) fn pass(&mut self) -> Result<(), Error> {
        let Self { wire: Some(wire), asked, answers, failing, .. } = self else {
            return self.connect_again();
        };
        let passed = wire.pass(&mut |kind, body| {
            receive(kind, body, asked, answers)?;
            *failing = None;
            Ok(())
        });
        match passed {
            Ok(()) => Ok(()),
            Err(fault) => self.lose(fault),
        }
    }

    /// Gives the connection up. The first attempt to make it again is made at once.
    fn lose(&mut self, fault: Fault) -> Result<(), Error> {
        log::warn!("{}: {fault}: connecting again", self.address);
        self.wire = None;
        let now = Instant::now();
        let since = *self.failing.get_or_insert(now);
        if since == now {
            self.next_attempt = now;
            return Ok(());
        }
        self.next_attempt = now + RETRY;
        match now - since {
            time if time >= self.options.patience => {
                Err(self.error(Cause::Master(fault.to_string())))
            }
            _ => Ok(()),
        }
    }

    /// Makes a lost connection again, when it is time.
    fn connect_again(&mut self) -> Result<(), Error> {
        if Instant::now() < self.next_attempt {
            return Ok(());
        }
        let since = *self.failing.get_or_insert_with(Instant::now);
        match self.connect() {
            Ok(()) => {
                if self.asked.is_empty() {
                    self.failing = None;
                }
                Ok(())
            }
            Err(error) if !matches!(error.cause(), Cause::Master(_)) => Err(error),
            Err(error) if since.elapsed() >= self.options.patience => Err(error),
            Err(error) => {
                log::warn!("{error}");
                self.next_attempt = Instant::now() + RETRY;
                Ok(())
            }
        }
    }

    /// Connects, opens or resumes the session, and sends what was not answered.
    fn connect(&mut self) -> Result<(), Error> {
        let rhythm = Rhythm {
            nop: Nop { padding: Some(0) },
            every: NOP_EVERY,
            silence_max: self.options.master_silence_max,
        };
        let (target, timeout) = (self.options.master.clone(), self.options.connect_timeout);
        let connected = Wire::connect(target, timeout, self.options.answer_size_max, rhythm);
        let mut wire = connected.map_err(|fault| self.error(Cause::Master(fault.to_string())))?;
        match self.session {
            Some(session) => self.resume(&mut wire, session)?,
            None => self.register(&mut wire, OpenRest::default())?,
        }
        for asked in self.asked.values() {
            wire.share(Arc::clone(&asked.packet));
        }
        self.wire = Some(wire);
        Ok(())
    }

    /// Resumes the session, or opens another if the master no longer has it.
    fn resume(&mut self, wire: &mut Wire, before: SessionOpened) -> Result<(), Error> {
        let SessionOpened { session, meta_id, .. } = before;
        let resume = ResumeSession { session, version: Version::OURS, meta_id };
        match self.converse(wire, ClientRegister::Resume(resume))? {
            ClientRegisterAnswer::Resumed { status: Status::OK, .. } => Ok(()),
            // The exports have changed.
            ClientRegisterAnswer::Resumed { status: Status::EPERM, .. } => {
                let (session, meta_id) = (Some(session), Some(meta_id));
                self.register(wire, OpenRest { session, meta_id, proof: None })
            }
            ClientRegisterAnswer::Resumed { .. } | ClientRegisterAnswer::Status(_) => {
                self.register(wire, OpenRest::default())
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// Opens a session.
    fn register(&mut self, wire: &mut Wire, mut rest: OpenRest) -> Result<(), Error> {
        let options = Arc::clone(&self.options);
        if let Some(password) = &options.password {
            match self.converse(wire, ClientRegister::Challenge)? {
                ClientRegisterAnswer::Challenge(challenge) => {
                    rest.proof = Some(password_digest(&challenge, password.as_bytes()));
                }
                other => return Err(self.unexpected(&other)),
            }
        }
        let zero_ended = |text: &[u8]| [text, b"\0"].concat();
        let info = zero_ended(options.info.as_bytes());
        let path = zero_ended(options.directory.as_os_str().as_bytes());
        let open =
            OpenSession { version: Version::OURS, info: Text(&info), path: Text(&path), rest };
        match self.converse(wire, ClientRegister::Open(open))? {
            ClientRegisterAnswer::Opened(opened) => {
                self.session = Some(opened);
                Ok(())
            }
            ClientRegisterAnswer::Status(status) => Err(self.error(Cause::Session(status))),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Registers, and waits for the answer. Signs of life may come before it.
    fn converse(
        &self,
        wire: &mut Wire,
        register: ClientRegister<'_>,
    ) -> Result<ClientRegisterAnswer, Error> {
        wire.send(&register);
        let until = Instant::now() + self.options.master_silence_max;
        let failed = |fault: Fault| self.error(Cause::Master(fault.to_string()));
        let mut answer = None;
        while answer.is_none() {
            let passed = wire.pass(&mut |kind, body| {
                if kind != Kind::CLIENT_REGISTER_ANSWER || answer.is_some() {
                    return Err(Fault::Nonsense(format!("{kind} during the registration")));
                }
                answer = Some(ClientRegisterAnswer::parse(body)?);
                Ok(())
            });
            if answer.is_some() {
                break;
            }
            passed.map_err(failed)?;
            // Signs of life without an answer are none.
            if Instant::now() >= until {
                return Err(failed(Fault::Silent(self.options.master_silence_max)));
            }
            wait_for(std::iter::once(&*wire), Some(until))
                .map_err(|error| self.error(Cause::from(error)))?;
        }
        answer.ok_or_else(|| failed(Fault::Silent(Duration::ZERO)))
    }

    /// Closes the session, within a second. The master closes the connection.
    pub(super) fn close(&mut self) {
        let (Some(mut wire), Some(opened)) = (self.wire.take(), self.session.take()) else {
            return;
        };
        let SessionOpened { session, meta_id, .. } = opened;
        let close = CloseSession { session, meta_id: Some(meta_id) };
        wire.send(&ClientRegister::Close(close));
        let until = Instant::now() + CLOSE_MAX;
        // The answer and the end of the connection are the same news.
        while wire.pass(&mut |kind, _| match kind {
            Kind::CLIENT_REGISTER_ANSWER => Err(Fault::Lost(String::new())),
            _ => Ok(()),
        }) == Ok(())
            && Instant::now() < until
            && wait_for(std::iter::once(&wire), Some(until)).is_ok()
        {}
    }

    fn error(&self, cause: Cause) -> Error {
        Error::new("master", self.address.clone(), cause)
    }

    fn unexpected(&self, answer: &ClientRegisterAnswer) -> Error {
        self.error(Cause::Master(format!("unexpected {}", answer.text())))
    }
}

/// Takes a packet of the master.
fn receive(
    kind: Kind,
    body: &[u8],
    asked: &mut BTreeMap<u32, Asked>,
    answers: &mut BTreeMap<u32, Body>,
) -> Result<(), Fault> {
    let Some((number, _)) = body.split_first_chunk() else {
        return Err(Fault::Nonsense(format!("{kind} without a number")));
    };
    let number = u32::from_be_bytes(*number);
    if number == 0 {
        // What has changed is not kept here.
        return Ok(());
    }
    // A request without its answer is asked again on the next connection.
    match asked.get(&number) {
        Some(it) if it.answer == kind => {
            asked.remove(&number);
            answers.insert(number, Body(body.to_vec()));
            Ok(())
        }
        Some(_) => {
            Err(Fault::Nonsense(format!("{kind} is not the answer to the request {number}")))
        }
        None => Err(Fault::Nonsense(format!("{kind} answers {number}, which was not asked"))),
    }
}

/// Returns how long to wait before something is asked again that was answered with `status`, or `None`
/// if that does not help. `attempt` is the number of attempts before.
pub(super) fn pause(status: Status, attempt: u32) -> Option<Duration> {
    let milliseconds = match status {
        _ if !status.is_passing() => return None,
        Status::LOCKED | Status::CHUNKBUSY | Status::EAGAIN => match attempt {
            0 => 1,
            1 => 100,
            _ => 500,
        },
        _ => 250_u64.saturating_mul(1 << attempt.min(10)).min(5_000),
    };
    Some(Duration::from_millis(milliseconds))
}
