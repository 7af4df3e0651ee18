//! How a client behaves, and its limits.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use protocol::mfs::{Credentials, append_all};
use reactor::Location;

/// How many blocks a chain may have without an acknowledgement: as many as the real client has.
pub const WINDOW_MAX: usize = 64;

/// How a [`Client`](super::Client) behaves. All limits are finite.
#[derive(Clone, Debug)]
pub struct Options {
    /// The master's port for clients, which is 9421 by default.
    pub master: Location,
    /// The password of the export. Default: none.
    pub password: Option<String>,
    /// The exported directory that is `/` for this client. Default `/`.
    pub directory: PathBuf,
    /// What lists of sessions show as the mount point. Default `/mfs-client`.
    pub info: String,
    /// The user and the groups that requests are made for. Default: those of this process.
    pub identity: Identity,
    /// How long connecting to the master may take. Default 5 s.
    pub connect_timeout: Duration,
    /// The silence after which the connection to the master is given up. Default 10 s: the master gives
    /// a sign of life each second, and gives a client up after as long a silence.
    pub master_silence_max: Duration,
    /// The silence after which a chunkserver is given up, and the time to connect to one. Default 2 s:
    /// a chunkserver gives a sign of life each second while it looks for data. One that gives only signs
    /// of life is given up after five times as long.
    pub silence_max: Duration,
    /// How long an operation is tried again without any progress: while the master is away, a chunk is
    /// locked, no copy can be read, or no chunkserver has room. Default 60 s: the master gives a silent
    /// chunkserver up after 10 s, and a restart of it takes seconds.
    pub patience: Duration,
    /// How many parts are read at a time, each on a connection of its own. Default 4.
    pub reads_max: usize,
    /// How many chunks of a file are written at a time, each through a chain of its own. Default 2.
    pub writes_max: usize,
    /// How many blocks of 64 KiB a chain may have without an acknowledgement. Default and at most
    /// [`WINDOW_MAX`].
    pub window: usize,
    /// The largest answer of the master, in bytes. Default 64 MiB, a directory with about a million
    /// names.
    pub answer_size_max: u32,
}

impl Options {
    /// Returns the defaults for a master.
    pub fn new(master: Location) -> Self {
        Self {
            master,
            password: None,
            directory: PathBuf::from("/"),
            info: "/mfs-client".to_owned(),
            identity: Identity::of_this_process().unwrap_or_default(),
            connect_timeout: Duration::from_secs(5),
            master_silence_max: Duration::from_secs(10),
            silence_max: Duration::from_secs(2),
            patience: Duration::from_secs(60),
            reads_max: 4,
            writes_max: 2,
            window: WINDOW_MAX,
            answer_size_max: 64 * 1024 * 1024,
        }
    }

    /// Returns how long a chunkserver may give signs of life and nothing else.
    pub(super) fn stall_max(&self) -> Duration {
        5 * self.silence_max
    }

    /// Returns why these options cannot be used.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let times =
            [self.connect_timeout, self.master_silence_max, self.silence_max, self.patience];
        if times.iter().any(Duration::is_zero) {
            return Some("a limit of time is 0, which would allow nothing");
        }
        if self.reads_max == 0 || self.writes_max == 0 || self.answer_size_max == 0 {
            return Some("a limit is 0, which would allow nothing");
        }
        if self.window == 0 || self.window > WINDOW_MAX {
            return Some("the window has to be 1 to 64 blocks");
        }
        None
    }
}

/// Who makes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group of new files.
    pub gid: u32,
    /// The other groups.
    pub groups: Vec<u32>,
    /// Permissions that new files do not get.
    pub umask: u16,
}

impl Default for Identity {
    /// Returns the superuser.
    fn default() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), umask: 0o022 }
    }
}

impl Identity {
    /// Returns the effective user and the groups of this process, and its umask (`/proc/self/status`,
    /// `proc(5)`).
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Self::read(&fs::read_to_string("/proc/self/status")?))
    }

    fn read(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().split_whitespace()
        };
        // The real one comes before the effective one.
        let effective = |name| field(name).nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
        let umask = field("Umask:").next().and_then(|it| u16::from_str_radix(it, 8).ok());
        Self {
            uid: effective("Uid:"),
            gid: effective("Gid:"),
            groups: field("Groups:").filter_map(|it| it.parse().ok()).collect(),
            umask: umask.unwrap_or(0o022),
        }
    }

    /// Returns who makes requests, as requests have it.
    pub(super) fn requester(&self) -> Requester {
        let others = self.groups.iter().copied().filter(|group| *group != self.gid);
        let groups = append_all(std::iter::once(self.gid).chain(others));
        Requester { uid: self.uid, gid: self.gid, groups }
    }
}

/// Who makes requests.
#[derive(Clone, Debug)]
pub(super) struct Requester {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// All groups, that of new files first, as a list of numbers.
    groups: Vec<u8>,
}

impl Requester {
    pub(super) fn credentials(&self) -> Credentials<'_> {
        Credentials::new(self.uid, &self.groups).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_from_the_status_of_a_process() {
        let status =
            "Name:\tx\nUmask:\t0027\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t6 9 10 \n";
        let identity = Identity::read(status);
        assert_eq!(identity, Identity { uid: 2, gid: 6, groups: vec![6, 9, 10], umask: 0o27 });
        let requester = identity.requester();
        assert_eq!(requester.credentials().groups().collect::<Vec<_>>(), [6, 9, 10]);
        assert!(Identity::of_this_process().is_ok());
    }

    #[test]
    fn what_would_allow_nothing_is_refused() {
        let options = Options::new("127.0.0.1:9421".parse().expect("it is an address"));
        assert_eq!(options.fault(), None);
        for wrong in [
            Options { patience: Duration::ZERO, ..options.clone() },
            Options { reads_max: 0, ..options.clone() },
            Options { window: WINDOW_MAX + 1, ..options },
        ] {
            assert!(wrong.fault().is_some());
        }
    }
}
