//! Requests that are accounted for: each increments a key of its own. So the stores of all lives of the
//! servers together show how often it was carried out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use protocol::Reply;
use protocol::exchange::{Exchange, Heard};
use protocol::resp::{self, Item, Value};
use reactor::sim::{HostId, Outcome, Sim};
use reactor::{NotSent, Unanswered};
use servers::kv::App;

use super::ground::Ground;

/// What a request was completed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Answered,
    NotSent,
    Unknown,
}

impl Told {
    /// Returns what a result tells.
    ///
    /// # Panics
    /// Panics if the answer is that to another request.
    pub(super) fn of(tag: &str, result: &Result<Option<i64>, Unanswered>) -> Self {
        match result {
            Ok(Some(1)) => Self::Answered,
            Ok(answer) => panic!("the first increment of {tag} is answered with {answer:?}"),
            Err(why) if why.may_be_done() => Self::Unknown,
            Err(_) => Self::NotSent,
        }
    }
}

/// The requests of one program, which outlive it.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Those that were accepted.
    begun: BTreeSet<String>,
    told: BTreeMap<String, Told>,
    /// Those that have to be answered.
    wanted: BTreeSet<String>,
}

impl Record {
    /// Records that a request was accepted. If it `is_wanted`, it has to be answered.
    pub(super) fn begin(&mut self, tag: String, is_wanted: bool) {
        if is_wanted {
            self.wanted.insert(tag.clone());
        }
        self.begun.insert(tag);
    }

    /// Records what a request was completed with.
    ///
    /// # Panics
    /// Panics if it was completed before.
    pub(super) fn complete(&mut self, tag: String, told: Told) {
        let before = self.told.insert(tag.clone(), told);
        assert_eq!(before, None, "{tag} completes twice");
    }

    /// Returns how many requests are not completed.
    pub(super) fn open(&self) -> usize {
        self.begun.len() - self.told.len()
    }

    /// Finds contradictions between what was told and what was `done`.
    pub(super) fn judge(&self, done: &BTreeMap<String, u64>) -> Outcome {
        for tag in &self.begun {
            let (count, told) = (done.get(tag).copied().unwrap_or(0), self.told.get(tag));
            let wrong = match told {
                None => "never completed",
                Some(told) if self.wanted.contains(tag) && *told != Told::Answered => {
                    "not answered in the calm"
                }
                _ if count > 1 => "carried out more than once",
                Some(Told::Answered) if count == 0 => "answered and not carried out",
                Some(Told::NotSent) if count > 0 => "told not sent, and carried out",
                Some(_) => continue,
            };
            return Err(format!("{tag} was {wrong}: told {told:?}, done {count} times").into());
        }
        Ok(())
    }
}

/// A record that a program and its scenario share.
pub(super) type Shared = Rc<RefCell<Record>>;

/// The records of all programs, and how often each request was carried out in the lives of the servers
/// that are over.
#[derive(Debug, Default)]
pub(super) struct Tally {
    records: Vec<Shared>,
    done: BTreeMap<String, u64>,
}

impl Tally {
    /// Returns the record of one more program.
    pub(super) fn record(&mut self) -> Shared {
        self.records.push(Shared::default());
        Rc::clone(&self.records[self.records.len() - 1])
    }

    /// Returns whether all requests are completed.
    pub(super) fn is_complete(&self) -> bool {
        self.records.iter().all(|record| record.borrow().open() == 0)
    }

    /// Adds how often each request was carried out in this life of a server.
    pub(super) fn count(&mut self, sim: &mut Sim, server: HostId) -> Outcome {
        let records = self.records.iter();
        let tags: Vec<String> =
            records.flat_map(|it| it.borrow().begun.iter().cloned().collect::<Vec<_>>()).collect();
        let counts = sim.with::<App, _>(server, |cx| {
            let count = |tag: String| {
                let text = String::from_utf8(cx.app.text(tag.as_bytes())?).ok()?;
                Some((tag, text.parse().ok()?))
            };
            tags.into_iter().filter_map(count).collect::<Vec<(String, u64)>>()
        });
        for (tag, count) in counts.ok_or("a server does not run")? {
            *self.done.entry(tag).or_default() += count;
        }
        Ok(())
    }

    /// Kills a server, and starts it again after some time.
    pub(super) fn replace(
        &mut self,
        sim: &mut Sim,
        server: HostId,
        ground: &mut Ground,
    ) -> Outcome {
        self.count(sim, server)?;
        sim.kill(server);
        sim.run_for(Duration::from_millis(ground.random.below(1000)))?;
        sim.restart(server)?;
        Ok(())
    }

    /// Demands that each request was carried out as its program was told.
    pub(super) fn judge(&self) -> Outcome {
        self.records.iter().try_for_each(|record| record.borrow().judge(&self.done))
    }
}

/// Returns whether a request was refused because of a limit, or since there is no connection.
pub(super) fn is_refused(why: &NotSent) -> bool {
    matches!(why, NotSent::Full(_) | NotSent::Down(_))
}

/// A request to `kv`.
pub(super) enum Request {
    /// Increments a key.
    Increment(String),
    /// Asks whether the server lives.
    Ping,
}

/// The client's side of what is needed of RESP.
pub(super) struct Counting;

impl Exchange for Counting {
    type Codec = resp::Client;
    type Request = Request;
    type Reply = Option<i64>;
    type Push = ();

    const WHOLE_ONLY: bool = true;

    fn codec(&self) -> resp::Client {
        resp::Client::default()
    }

    fn size(request: &Request) -> usize {
        match request {
            Request::Increment(tag) => 30 + tag.len(),
            Request::Ping => 14,
        }
    }

    fn write(&mut self, request: &Request, _number: u64, reply: &mut Reply<'_, resp::Client>) {
        match request {
            Request::Increment(tag) => reply.command(["INCR", tag]),
            Request::Ping => reply.command(["PING"]),
        }
    }

    fn hear(
        &mut self,
        value: Value<'_>,
        _oldest: Option<&Request>,
        _reply: &mut Reply<'_, resp::Client>,
    ) -> Heard<Option<i64>, ()> {
        match value.item() {
            Item::Integer(number) => Heard::Reply(Some(number)),
            Item::Simple(b"PONG") => Heard::Reply(None),
            _ => Heard::Refused(format!("the server answers {value:?}").into()),
        }
    }

    fn health(&self) -> Option<Request> {
        Some(Request::Ping)
    }
}
