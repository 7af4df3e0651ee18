//! What a server says about itself: the answers to `ROLE` and `INFO replication`.

use std::fmt;
use std::time::Duration;

use super::{ParseError, Place};
use crate::resp::Answer;

/// The role of a server, as it says itself: the answer to `ROLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It accepts writes.
    Master {
        /// The length of its replication stream in bytes.
        offset: i64,
    },
    /// It copies another server.
    Replica {
        /// The server that it copies. `None` if it names no valid address.
        master: Option<Place>,
        /// Whether it is connected to that server and up to date with the stream.
        is_connected: bool,
        /// How much of the stream it has processed, in bytes. -1 before the first copy.
        offset: i64,
    },
    /// It watches masters.
    Sentinel,
}

impl Role {
    /// Parses the answer to `ROLE`.
    ///
    /// # Errors
    /// When it is not an array that begins with a role.
    pub fn parse(answer: &Answer) -> Result<Self, ParseError> {
        let parts = answer.elements();
        let text = |index: usize| parts.get(index).and_then(Answer::as_str);
        let number = |index: usize| parts.get(index).and_then(Answer::as_integer);
        match text(0) {
            Some("master") => {
                let offset = number(1).ok_or(ParseError("the role has no offset"))?;
                Ok(Self::Master { offset })
            }
            Some("slave") => {
                let port = number(2).map(|port| port.to_string());
                let master = text(1).zip(port).and_then(|it| Place::parse(it.0, &it.1).ok());
                let is_connected = text(3) == Some("connected");
                Ok(Self::Replica { master, is_connected, offset: number(4).unwrap_or(-1) })
            }
            Some("sentinel") => Ok(Self::Sentinel),
            _ => Err(ParseError("the answer to ROLE is no role")),
        }
    }

    /// Returns its name: `master`, `replica` or `sentinel`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Master { .. } => "master",
            Self::Replica { .. } => "replica",
            Self::Sentinel => "sentinel",
        }
    }

    /// Returns whether it is a master.
    pub fn is_master(&self) -> bool {
        matches!(self, Self::Master { .. })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a server says about its replication: the answer to `INFO replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Its role.
    pub role: Role,
    /// How long ago a replica last heard of its master. `None` if it is not connected, and for a
    /// master.
    pub master_silence: Option<Duration>,
    /// Whether a replica copies the whole data of its master at the moment.
    pub is_syncing: bool,
    /// The replicas that are connected to this server.
    pub replicas: Vec<Copied>,
}

/// What a master says about one of its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where the replica is.
    pub place: Place,
    /// Whether it receives the stream. If not, it copies the whole data first.
    pub is_online: bool,
    /// How much of the stream it has acknowledged, in bytes.
    pub offset: i64,
    /// How long ago it acknowledged something.
    pub lag: Option<Duration>,
}

impl Replication {
    /// Parses the text. Lines that this version does not know are ignored.
    ///
    /// # Errors
    /// When the text has no role.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let number = |name: &str| field(name).and_then(|text| text.parse::<i64>().ok());
        let role = match field("role") {
            Some("master") => Role::Master { offset: number("master_repl_offset").unwrap_or(0) },
            Some("slave") => Role::Replica {
                master: field("master_host")
                    .zip(field("master_port"))
                    .and_then(|(host, port)| Place::parse(host, port).ok()),
                is_connected: field("master_link_status") == Some("up"),
                offset: number("slave_repl_offset").unwrap_or(-1),
            },
            Some("sentinel") => Role::Sentinel,
            _ => return Err(ParseError("the answer to INFO has no role")),
        };
        let seconds = |text: i64| u64::try_from(text).ok().map(Duration::from_secs);
        Ok(Self {
            role,
            master_silence: number("master_last_io_seconds_ago").and_then(seconds),
            is_syncing: number("master_sync_in_progress") == Some(1),
            replicas: text.lines().filter_map(parse_copied).collect(),
        })
    }
}

/// Parses a line such as `slave0:ip=127.0.0.1,port=6380,state=online,offset=157,lag=0`.
fn parse_copied(line: &str) -> Option<Copied> {
    let (number, fields) = line.strip_prefix("slave")?.split_once(':')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field = |name: &str| {
        fields.trim().split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    Some(Copied {
        place: Place::parse(field("ip")?, field("port")?).ok()?,
        is_online: field("state") == Some("online"),
        offset: field("offset")?.parse().ok()?,
        lag: field("lag").and_then(|lag| lag.parse().ok()).map(Duration::from_secs),
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::bulk;
    use super::*;

    fn place(text: &str) -> Place {
        let (host, port) = text.rsplit_once(':').expect("it has a port");
        Place::parse(host, port).expect("it is valid")
    }

    #[test]
    fn roles_are_parsed_as_redis_answers() {
        let master = [bulk("master"), Answer::Integer(157), Answer::Array(vec![])];
        assert_eq!(Role::parse(&Answer::Array(master.into())), Ok(Role::Master { offset: 157 }));
        let replica = |state: &str| {
            let parts = [bulk("127.0.0.1"), Answer::Integer(17001), bulk(state)];
            let parts = [bulk("slave")].into_iter().chain(parts).chain([Answer::Integer(-1)]);
            Role::parse(&Answer::Array(parts.collect()))
        };
        for (state, is_connected) in [("handshake", false), ("connected", true)] {
            let master = Some(place("127.0.0.1:17001"));
            let role = Role::Replica { master, is_connected, offset: -1 };
            assert_eq!(replica(state), Ok(role));
        }
        let sentinel = Answer::Array(vec![bulk("sentinel"), Answer::Array(vec![bulk("m")])]);
        assert_eq!(Role::parse(&sentinel), Ok(Role::Sentinel));
        for nonsense in [Answer::Null, bulk("master"), Answer::Array(vec![bulk("master")])] {
            assert!(Role::parse(&nonsense).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn info_of_a_master_names_its_replicas() {
        let text = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
            slave0:ip=127.0.0.1,port=17002,state=wait_bgsave,offset=0,lag=0\r\n\
            slave1:ip=::1,port=17003,state=online,offset=150,lag=1\r\n\
            slave_something:ip=::1,port=1,offset=1\r\nslave2:ip=,port=1,offset=1\r\n\
            master_repl_offset:157\r\n";
        let found = Replication::parse(text).expect("it has a role");
        assert_eq!(found.role, Role::Master { offset: 157 });
        assert_eq!(found.replicas.len(), 2);
        assert_eq!(found.replicas[1].place.to_string(), "[::1]:17003");
        assert_eq!(found.replicas[1].lag, Some(Duration::from_secs(1)));
        assert!(!found.replicas[0].is_online && found.replicas[1].is_online);
    }

    #[test]
    fn info_of_a_replica_names_its_master() {
        let text = |link: &str, silence: &str| {
            format!(
                "role:slave\nmaster_host:127.0.0.1\nmaster_port:17001\nmaster_link_status:{link}\n\
                 master_last_io_seconds_ago:{silence}\nmaster_sync_in_progress:1\n\
                 slave_repl_offset:9\n"
            )
        };
        let up = Replication::parse(&text("up", "3")).expect("it has a role");
        let role = |is_connected| {
            let master = Some(place("127.0.0.1:17001"));
            Role::Replica { master, is_connected, offset: 9 }
        };
        assert_eq!((up.role, up.master_silence), (role(true), Some(Duration::from_secs(3))));
        assert!(up.is_syncing);
        let down = Replication::parse(&text("down", "-1")).expect("it has a role");
        assert_eq!((down.role, down.master_silence), (role(false), None));
        assert!(Replication::parse("redis_version:7\r\n").is_err());
    }
}
