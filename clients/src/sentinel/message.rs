//! What sentinels publish: hello messages and events.

use super::{ParseError, Place};

/// The channel of masters and replicas in which sentinels say that they are there.
pub const HELLO_CHANNEL: &str = "__sentinel__:hello";

/// The channel of sentinels in which they say that a master has a new address.
pub const SWITCH_CHANNEL: &str = "+switch-master";

/// The channel of sentinels in which they say which of them they elect as the leader of a failover.
pub const VOTE_CHANNEL: &str = "+vote-for-leader";

/// The channel of sentinels in which the leader of a failover says that it has told a replica to
/// become the master: an [`Event`] with the place of the replica.
pub const PROMOTION_CHANNEL: &str = "+failover-state-wait-promotion";

/// A message of a sentinel on [`HELLO_CHANNEL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Where the sentinel is.
    pub sentinel: Place,
    /// The ID of this run of the sentinel.
    pub run_id: String,
    /// The newest epoch that the sentinel knows.
    pub current_epoch: u64,
    /// The name of the master.
    pub name: String,
    /// Where the master is, in the eyes of the sentinel.
    pub master: Place,
    /// The epoch of that knowledge.
    pub master_epoch: u64,
}

impl Hello {
    /// Parses `IP,PORT,RUN ID,EPOCH,NAME,IP OF THE MASTER,ITS PORT,ITS EPOCH`.
    ///
    /// # Errors
    /// When it has not eight parts, or one of them is not valid.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split(',').collect();
        let [host, port, run_id, epoch, name, master_host, master_port, master_epoch] = parts[..]
        else {
            return Err(ParseError("a hello message has not eight parts"));
        };
        let number = |text: &str| text.parse().map_err(|_| ParseError("an epoch is not a number"));
        Ok(Self {
            sentinel: Place::parse(host, port)?,
            run_id: run_id.to_owned(),
            current_epoch: number(epoch)?,
            name: name.to_owned(),
            master: Place::parse(master_host, master_port)?,
            master_epoch: number(master_epoch)?,
        })
    }
}

/// A message of a sentinel on [`SWITCH_CHANNEL`]: a master has a new address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The name of the master.
    pub name: String,
    /// Where it was.
    pub from: Place,
    /// Where it is now.
    pub to: Place,
}

impl Switch {
    /// Parses `NAME OLD-IP OLD-PORT NEW-IP NEW-PORT`.
    ///
    /// # Errors
    /// When it has not five parts, or an address is not valid.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [name, from, from_port, to, to_port] = parts[..] else {
            return Err(ParseError("a switch has not five parts"));
        };
        Ok(Self {
            name: name.to_owned(),
            from: Place::parse(from, from_port)?,
            to: Place::parse(to, to_port)?,
        })
    }
}

/// A message of a sentinel on [`VOTE_CHANNEL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The ID of the sentinel that is to be the leader: its answer to `SENTINEL MYID`.
    pub leader: String,
    /// The epoch of the election. It becomes the epoch of the new master.
    pub epoch: u64,
}

impl Vote {
    /// Parses `ID EPOCH`.
    ///
    /// # Errors
    /// When it has not two parts, or the epoch is not a number.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (leader, epoch) = text.split_once(' ').ok_or(ParseError("a vote has not two parts"))?;
        let epoch = epoch.parse().map_err(|_| ParseError("an epoch is not a number"))?;
        Ok(Self { leader: leader.to_owned(), epoch })
    }
}

/// An event of a sentinel, on a channel such as `+sdown`: `KIND NAME IP PORT`, and for all but
/// masters ` @ MASTER IP PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What has happened: the name of the channel, such as `+sdown`.
    pub what: String,
    /// The name of the master whose group the server belongs to.
    pub master: String,
    /// The server that it has happened to.
    pub place: Place,
}

impl Event {
    /// Parses an event. Further parts are ignored.
    ///
    /// # Errors
    /// When it names no server.
    pub fn parse(what: &str, text: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = text.split(' ').collect();
        let (master, host, port) = match parts[..] {
            ["master", name, host, port, ..] => (name, host, port),
            [_, _, host, port, "@", name, ..] => (name, host, port),
            _ => return Err(ParseError("an event names no server")),
        };
        let place = Place::parse(host, port)?;
        Ok(Self { what: what.to_owned(), master: master.to_owned(), place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_messages_have_eight_parts() {
        let text = "127.0.0.1,17003,67e3b3dab97d,4,mymaster,127.0.0.1,17001,3";
        let hello = Hello::parse(text).expect("it is valid");
        assert_eq!(hello.sentinel.to_string(), "127.0.0.1:17003");
        assert_eq!(hello.master.to_string(), "127.0.0.1:17001");
        assert_eq!((hello.current_epoch, hello.master_epoch), (4, 3));
        assert_eq!((hello.name.as_str(), hello.run_id.as_str()), ("mymaster", "67e3b3dab97d"));
        for (at, _) in text.match_indices(',') {
            assert!(Hello::parse(&text[..at]).is_err(), "a part of it");
        }
        assert!(Hello::parse(&format!("{text},5")).is_err());
        assert!(Hello::parse(&text.replace(",4,", ",-4,")).is_err());
    }

    #[test]
    fn a_switch_has_two_addresses() {
        let switch = Switch::parse("mymaster 127.0.0.1 17001 ::1 17002").expect("it is valid");
        assert_eq!(switch.from.to_string(), "127.0.0.1:17001");
        assert_eq!(switch.to.to_string(), "[::1]:17002");
        for text in ["", "mymaster", "mymaster 127.0.0.1 17001 ::1", "m a 1 b 2 c", "m a 1 b x"] {
            assert!(Switch::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_vote_has_an_id_and_an_epoch() {
        let vote = Vote::parse("67e3b3dab97d 4").expect("it is valid");
        assert_eq!((vote.leader.as_str(), vote.epoch), ("67e3b3dab97d", 4));
        for text in ["", "67e3b3dab97d", "67e3b3dab97d ", "67e3b3dab97d -1", "67e3b3dab97d 4 4"] {
            assert!(Vote::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_names_its_server_and_the_master() {
        let event = |text| Event::parse("+sdown", text).map(|it| (it.master, it.place.to_string()));
        let found = |name: &str, place: &str| Ok((name.to_owned(), place.to_owned()));
        assert_eq!(event("master m 127.0.0.1 1"), found("m", "127.0.0.1:1"));
        assert_eq!(event("slave ::1:2 ::1 2 @ m 127.0.0.1 1"), found("m", "[::1]:2"));
        assert_eq!(event("sentinel 67e3 127.0.0.1 3 @ m 127.0.0.1 1"), found("m", "127.0.0.1:3"));
        assert!(event("slave ::1:2 ::1 2").is_err());
        assert!(event("").is_err());
    }
}
