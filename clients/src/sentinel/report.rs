//! What a sentinel says about the servers that it watches.

use std::time::Duration;

use super::{ParseError, Place};
use crate::resp::Answer;

/// What a sentinel says about one server: an element of the answer to `SENTINEL MASTERS`, `SENTINEL
/// REPLICAS` or `SENTINEL SENTINELS`, or the answer to `SENTINEL MASTER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name: that of the group for a master; otherwise the address, or the ID of a sentinel.
    pub name: String,
    /// Where the server is.
    pub place: Place,
    /// The ID of this run of the server. Empty if the sentinel has not learned it.
    pub run_id: String,
    /// What the sentinel thinks of the server.
    pub flags: Flags,
    /// The epoch of the configuration, for a master. A failover makes it larger.
    pub epoch: u64,
    /// How many sentinels have to agree that a master is down.
    pub quorum: Option<u64>,
    /// After how much silence the sentinel considers the server down.
    pub down_after: Option<Duration>,
    /// How long ago the server answered a ping.
    pub silence: Option<Duration>,
    /// Whether a replica is connected to its master.
    pub link_is_up: Option<bool>,
    /// How much of the replication stream a replica has processed, in bytes.
    pub offset: Option<i64>,
    /// How many other sentinels watch a master, as far as this one knows.
    pub other_sentinels: Option<u64>,
}

/// What a sentinel thinks of a server, from the field `flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// It does not answer this sentinel (`s_down`).
    pub is_down: bool,
    /// A quorum of sentinels considers it down (`o_down`).
    pub is_agreed_down: bool,
    /// The sentinel has no connection to it (`disconnected`).
    pub is_disconnected: bool,
    /// A failover is in progress (`failover_in_progress`).
    pub is_failing_over: bool,
    /// It is a replica that becomes the master (`promoted`).
    pub is_promoted: bool,
}

impl Flags {
    /// Parses flags that are separated by commas. Those that this version does not know are ignored.
    pub fn parse(text: &str) -> Self {
        let mut flags = Self::default();
        for flag in text.split(',') {
            match flag {
                "s_down" => flags.is_down = true,
                "o_down" => flags.is_agreed_down = true,
                "disconnected" => flags.is_disconnected = true,
                "failover_in_progress" => flags.is_failing_over = true,
                "promoted" => flags.is_promoted = true,
                _ => {}
            }
        }
        flags
    }
}

impl Report {
    /// Parses the answer to `SENTINEL MASTER`: names and values of fields.
    ///
    /// # Errors
    /// When the name or the address is missing or not valid.
    pub fn parse(answer: &Answer) -> Result<Self, ParseError> {
        let text = |key: &str| answer.get(key).and_then(Answer::as_str);
        let number = |key: &str| text(key).and_then(|text| text.parse::<u64>().ok());
        let time = |key: &str| number(key).map(Duration::from_millis);
        let name = text("name").ok_or(ParseError("a server has no name"))?;
        let host = text("ip").ok_or(ParseError("a server has no address"))?;
        let port = text("port").ok_or(ParseError("a server has no port"))?;
        Ok(Self {
            name: name.to_owned(),
            place: Place::parse(host, port)?,
            run_id: text("runid").unwrap_or_default().to_owned(),
            flags: Flags::parse(text("flags").unwrap_or_default()),
            epoch: number("config-epoch").unwrap_or(0),
            quorum: number("quorum"),
            down_after: time("down-after-milliseconds"),
            silence: time("last-ok-ping-reply"),
            link_is_up: text("master-link-status").map(|status| status == "ok"),
            offset: answer.get("slave-repl-offset").and_then(Answer::as_integer),
            other_sentinels: number("num-other-sentinels"),
        })
    }

    /// Parses the answer to `SENTINEL MASTERS`, `SENTINEL REPLICAS` or `SENTINEL SENTINELS`.
    ///
    /// # Errors
    /// When the answer is no array, or one of its elements is not valid.
    pub fn parse_all(answer: &Answer) -> Result<Vec<Self>, ParseError> {
        match answer {
            Answer::Array(elements) => elements.iter().map(Self::parse).collect(),
            _ => Err(ParseError("the answer is no list of servers")),
        }
    }
}

/// Parses the answer to `SENTINEL GET-MASTER-ADDR-BY-NAME`. It is `None` if the sentinel does not
/// know the name.
///
/// # Errors
/// When it is neither a null nor a host and a port.
pub fn parse_address(answer: &Answer) -> Result<Option<Place>, ParseError> {
    match answer {
        Answer::Null => Ok(None),
        Answer::Array(parts) => match &parts[..] {
            [host, port] => match (host.as_str(), port.as_str()) {
                (Some(host), Some(port)) => Place::parse(host, port).map(Some),
                _ => Err(ParseError("the address of the master is no text")),
            },
            _ => Err(ParseError("the address of the master has not two parts")),
        },
        _ => Err(ParseError("the answer is no address")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bulk, fields};
    use super::*;

    #[test]
    fn a_master_is_described_as_redis_describes_it() {
        let answer = fields(&[
            ("name", "mymaster"),
            ("ip", "127.0.0.1"),
            ("port", "17001"),
            ("runid", "28738608a4bd3cab39a51a43443ed6bc435e5de6"),
            ("flags", "s_down,o_down,master,disconnected"),
            ("last-ok-ping-reply", "343"),
            ("down-after-milliseconds", "500"),
            ("config-epoch", "7"),
            ("num-other-sentinels", "2"),
            ("quorum", "2"),
        ]);
        let report = Report::parse(&answer).expect("it is complete");
        assert_eq!(report.name, "mymaster");
        assert_eq!(report.place.to_string(), "127.0.0.1:17001");
        assert_eq!((report.epoch, report.quorum, report.other_sentinels), (7, Some(2), Some(2)));
        assert_eq!(report.silence, Some(Duration::from_millis(343)));
        assert!(report.flags.is_down && report.flags.is_agreed_down);
        assert!(report.flags.is_disconnected && !report.flags.is_failing_over);
        assert_eq!(report.link_is_up, None);
        // In RESP3 the fields are a map.
        let Answer::Array(list) = &answer else { panic!("it is an array") };
        let pairs = list.chunks_exact(2).map(|it| (it[0].clone(), it[1].clone()));
        assert_eq!(Report::parse(&Answer::Map(pairs.collect())), Ok(report));
    }

    #[test]
    fn a_replica_has_a_link_and_an_offset() {
        let answer = Answer::Array(vec![fields(&[
            ("name", "127.0.0.1:17002"),
            ("ip", "127.0.0.1"),
            ("port", "17002"),
            ("flags", "slave"),
            ("master-link-status", "err"),
            ("slave-repl-offset", "1"),
        ])]);
        let reports = Report::parse_all(&answer).expect("it is complete");
        assert_eq!((reports[0].link_is_up, reports[0].offset), (Some(false), Some(1)));
        assert_eq!(Report::parse_all(&Answer::Array(vec![])), Ok(vec![]));
    }

    #[test]
    fn an_incomplete_report_is_refused() {
        for missing in ["name", "ip", "port"] {
            let all = [("name", "m"), ("ip", "::1"), ("port", "1")];
            let rest: Vec<_> = all.into_iter().filter(|(key, _)| *key != missing).collect();
            assert!(Report::parse(&fields(&rest)).is_err(), "without {missing}");
            assert!(Report::parse_all(&Answer::Array(vec![fields(&rest)])).is_err());
        }
        assert!(Report::parse_all(&Answer::Null).is_err());
    }

    #[test]
    fn the_address_of_a_master_has_two_parts() {
        let address = Answer::Array(vec![bulk("127.0.0.1"), bulk("17001")]);
        let place = parse_address(&address).expect("it is valid").expect("it is known");
        assert_eq!(place.to_string(), "127.0.0.1:17001");
        assert_eq!(parse_address(&Answer::Null), Ok(None));
        for parts in [vec![], vec![bulk("::1")], vec![bulk("::1"), Answer::Null]] {
            assert!(parse_address(&Answer::Array(parts)).is_err());
        }
        assert!(parse_address(&bulk("127.0.0.1:1")).is_err());
    }
}
