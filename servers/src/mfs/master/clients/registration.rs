//! How a client gets a session: it opens one, resumes one, or closes it.

use std::time::Instant;

use log::info;
use protocol::ConnectionId;
use protocol::mfs::{
    ClientRegister, ClientRegisterAnswer, CloseSession, Ip, OpenRest, OpenSession, ResumeSession,
    SessionOpened, Status, Version, password_digest,
};

use super::{EXPORT, EXPORTED};
use crate::mfs::master::app::Master;
use crate::mfs::master::port::Refused;

/// How often a random number is drawn for a session.
const DRAWS_MAX: usize = 100;

/// What a connection is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing yet.
    Unregistered,
    /// The requests of a session.
    Session(u32),
    /// Commands of tools. It gets no signs of life.
    Tools,
    /// Its session was closed.
    Ended,
}

/// The registration of one connection.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) role: Role,
    ip: Ip,
    challenge: Option<[u8; 32]>,
}

impl Registration {
    pub(super) const fn new(ip: Ip) -> Self {
        Self { role: Role::Unregistered, ip, challenge: None }
    }

    /// Carries out what a client asks for, and returns the answer.
    ///
    /// # Errors
    /// When it is out of order. The connection is closed then.
    pub(super) fn step(
        &mut self,
        step: ClientRegister<'_>,
        (me, now): (ConnectionId, Instant),
        app: &mut Master,
    ) -> Result<ClientRegisterAnswer, Refused> {
        if let ClientRegister::Close(close) = step {
            return self.close(close, app);
        }
        if self.role != Role::Unregistered {
            return Err(Refused::new("it registers twice"));
        }
        Ok(match step {
            ClientRegister::Challenge => {
                let challenge = random()?;
                self.challenge = Some(challenge);
                ClientRegisterAnswer::Challenge(challenge)
            }
            ClientRegister::Open(open) => match self.open(&open, (me, now), app) {
                Ok(opened) => ClientRegisterAnswer::Opened(opened),
                Err(status) => ClientRegisterAnswer::Status(status),
            },
            ClientRegister::Resume(resume) => {
                let status = self.resume(resume, me, app);
                ClientRegisterAnswer::Resumed { version: Version::OURS, status }
            }
            ClientRegister::Tools { session, .. } => {
                let is_known = app.clients.sessions.get(session).is_some();
                if is_known {
                    self.role = Role::Tools;
                }
                let status = if is_known { Status::OK } else { Status::BADSESSIONID };
                ClientRegisterAnswer::Status(status)
            }
            // There is no trash, so nothing is exported for it.
            ClientRegister::OpenMeta(_) => ClientRegisterAnswer::Status(Status::EACCES),
            ClientRegister::Close(_) => ClientRegisterAnswer::Status(Status::EINVAL),
        })
    }

    fn open(
        &mut self,
        open: &OpenSession<'_>,
        (me, now): (ConnectionId, Instant),
        app: &mut Master,
    ) -> Result<SessionOpened, Status> {
        if open.path.trimmed() != EXPORTED {
            return Err(Status::EACCES);
        }
        self.check_password(&open.rest, app)?;
        let (about, info) = ((self.ip, open.version), open.info.trimmed());
        let session = app.open_session(about, info, &open.rest, now)?;
        info!("session {session} was opened by {} at {}", self.ip, info.escape_ascii());
        self.attach(session, me, app);
        let (version, meta_id) = (Version::OURS, app.meta_id);
        Ok(SessionOpened { version, session, meta_id, export: EXPORT })
    }

    fn check_password(&mut self, rest: &OpenRest, app: &Master) -> Result<(), Status> {
        let Some(password) = &app.options.client_password else { return Ok(()) };
        match (self.challenge.take(), rest.proof) {
            (Some(challenge), Some(proof)) if password_digest(&challenge, password) == proof => {
                Ok(())
            }
            (_, Some(_)) => Err(Status::BADPASSWORD),
            (_, None) => Err(Status::NOPASSWORD),
        }
    }

    fn resume(&mut self, resume: ResumeSession, me: ConnectionId, app: &mut Master) -> Status {
        let is_known = app.clients.sessions.get(resume.session).is_some_and(|it| it.ip == self.ip);
        if !is_known || resume.meta_id != app.meta_id {
            return Status::BADSESSIONID;
        }
        info!("session {} was resumed by {}", resume.session, self.ip);
        self.attach(resume.session, me, app);
        Status::OK
    }

    fn attach(&mut self, session: u32, me: ConnectionId, app: &mut Master) {
        self.role = Role::Session(session);
        app.clients.sessions.attach(session, me);
        app.clients.mailboxes.insert(me, Vec::new());
    }

    fn close(
        &mut self,
        close: CloseSession,
        app: &mut Master,
    ) -> Result<ClientRegisterAnswer, Refused> {
        let Role::Session(session) = self.role else {
            return Err(Refused::new("it closes a session and has none"));
        };
        if close.session != session || close.meta_id.is_some_and(|id| id != app.meta_id) {
            return Ok(ClientRegisterAnswer::Status(Status::EINVAL));
        }
        info!("session {session} was closed by {}", self.ip);
        app.end_session(session);
        self.role = Role::Ended;
        Ok(ClientRegisterAnswer::Status(Status::OK))
    }

    /// Takes the connection from its session, at its end.
    pub(super) fn end(&self, (me, now): (ConnectionId, Instant), app: &mut Master) {
        app.clients.mailboxes.remove(&me);
        if let Role::Session(session) = self.role {
            app.clients.sessions.detach(session, me, now);
        }
    }
}

impl Master {
    /// Opens a session. One that the client had before and could not resume goes on in it.
    fn open_session(
        &mut self,
        about: (Ip, Version),
        info: &[u8],
        rest: &OpenRest,
        now: Instant,
    ) -> Result<u32, Status> {
        let before = rest.session.filter(|_| rest.meta_id == Some(self.meta_id));
        if let Some(number) = before
            && let Some(session) = self.clients.sessions.get(number)
            && session.connections.is_empty()
            && session.ip == about.0
        {
            return Ok(number);
        }
        if self.clients.sessions.len() >= self.options.sessions_max {
            let oldest = self.clients.sessions.longest_idle().ok_or(Status::EAGAIN)?;
            self.end_session(oldest);
        }
        for _ in 0..DRAWS_MAX {
            let [a, b, c, d, ..] = random().map_err(|_| Status::EAGAIN)?;
            let number = u32::from_be_bytes([a, b, c, d]);
            if self.clients.sessions.open(number, about, info, now) {
                return Ok(number);
            }
        }
        Err(Status::EAGAIN)
    }
}

fn random() -> Result<[u8; 32], Refused> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refused::new(format!("no random numbers: {error}")))?;
    Ok(bytes)
}
