//! The source that asks the sentinels, and the server that they name.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use reactor::{Cx, Handler, LoopCx, Reason, Timeout};

use super::follow::Shared;
use super::message::{Event, PROMOTION_CHANNEL, SWITCH_CHANNEL, Switch, VOTE_CHANNEL, Vote};
use super::{
    Claim, Election, ParseError, Place, Report, Role, SentinelOptions, Verdict, parse_address,
};
use crate::resp::{Answer, Client, Command, Error, Message};

/// The channels of sentinels that are listened to.
const CHANNELS: [&str; 3] = [SWITCH_CHANNEL, VOTE_CHANNEL, PROMOTION_CHANNEL];

/// How long a server that is being promoted may take to say that it is the master. The sentinels give
/// up in the end, which they may not say.
const PROMOTION_MAX: Duration = Duration::from_secs(10);

/// What the source is told.
#[derive(Debug)]
pub(super) enum Note {
    /// The sentinel of this index can be asked.
    Connected(usize),
    /// Its subscription is restored on each connection from now on, or is not.
    Subscribed(usize, bool),
    /// A sentinel says that a master has another address.
    Switched,
    /// A sentinel elects the leader of a failover.
    Voted(usize, Vote),
    /// A sentinel makes a replica the master.
    Promotes(usize, Place),
    /// What a sentinel has answered.
    Told(usize, Result<Told, String>),
    /// What a server has answered. `None`: nothing.
    Role(Place, Option<Role>),
    /// There is a new hook.
    Hooked,
    /// The last handle was dropped.
    Dropped,
}

/// What a sentinel says.
#[derive(Debug)]
pub(super) struct Told {
    claim: Option<Claim>,
    replicas: Vec<Report>,
    id: Option<String>,
}

impl Told {
    /// Reads the answers to `SENTINEL GET-MASTER-ADDR-BY-NAME`, `MASTER`, `REPLICAS` and `MYID`.
    fn parse(answers: Vec<Result<Answer, Error>>) -> Result<Self, String> {
        let text = |error: ParseError| error.to_string();
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Answer::Null));
        let address = next().map_err(|error| error.to_string())?;
        let Some(place) = parse_address(&address).map_err(text)? else {
            return Err("it does not know the master".to_owned());
        };
        let report = next().map_err(|error| error.to_string())?;
        let report = Report::parse(&report).map_err(text)?;
        let replicas = next().map_err(|error| error.to_string())?;
        let replicas = Report::parse_all(&replicas).map_err(text)?;
        // Before Redis 6.2, there is no such command.
        let id = next().ok().and_then(|id| id.as_str().map(str::to_owned));
        Ok(Self { claim: Some(Claim { place, epoch: report.epoch }), replicas, id })
    }
}

/// One sentinel.
struct Asked<A> {
    client: Client<A>,
    is_subscribed: bool,
    /// A question has no answer yet.
    is_asked: bool,
    replicas: Vec<Report>,
    /// Why it could not say where the master is, for logs.
    trouble: Option<String>,
}

/// The server whose role is asked.
struct Checked<A> {
    place: Place,
    client: Client<A>,
    is_asked: bool,
}

/// The source that follows a master.
pub(super) struct Keeper<A> {
    shared: Arc<Shared<A>>,
    options: SentinelOptions,
    sentinels: Vec<Asked<A>>,
    election: Election,
    checked: Option<Checked<A>>,
    /// When the sentinels and the master are asked next.
    next_round: Instant,
    /// When a candidate is asked next, if there is one.
    next_check: Option<Instant>,
    /// When the promotions that sentinels have announced count no more.
    promotions_end: Option<Instant>,
}

impl<A: 'static> Keeper<A> {
    pub(super) fn open<T: AsRef<str>, P>(
        shared: &Arc<Shared<A>>,
        addresses: impl IntoIterator<Item = T>,
        options: SentinelOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        let mut sentinels = Vec::new();
        for (index, address) in addresses.into_iter().enumerate() {
            let (resp, asking) = (options.of_sentinels(), options.asking());
            let client =
                Client::open(address.as_ref(), &resp, asking, cx).map_err(io::Error::other)?;
            listen(&client, index, shared);
            sentinels.push(Asked {
                client,
                is_subscribed: false,
                is_asked: false,
                replicas: Vec::new(),
                trouble: None,
            });
        }
        if sentinels.is_empty() {
            let text = format!("no sentinel was given to ask for {}", shared.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let count = sentinels.len();
        Ok(Self {
            shared: Arc::clone(shared),
            election: Election::new(count, options.agreement(count)),
            options,
            sentinels,
            checked: None,
            next_round: cx.now(),
            next_check: None,
            promotions_end: None,
        })
    }

    fn handle(&mut self, note: Note, cx: &mut Cx<'_, A>) {
        match note {
            Note::Connected(index) => {
                self.election.lost(index);
                self.subscribe(index);
                self.ask(index);
            }
            Note::Subscribed(index, done) => self.sentinels[index].is_subscribed = done,
            Note::Switched => (0..self.sentinels.len()).for_each(|index| self.ask(index)),
            Note::Voted(index, vote) => {
                self.election.vote(index, vote);
                self.hasten(cx);
            }
            Note::Promotes(index, place) => self.promotes(index, place, cx),
            Note::Told(index, told) => self.told(index, told, cx),
            Note::Role(place, role) => self.role(&place, role.as_ref(), cx),
            Note::Hooked => {
                if let Some(master) = self.election.master() {
                    self.shared.set_master(master, &mut cx.outside());
                }
            }
            Note::Dropped => cx.end(Reason::Finished),
        }
    }

    fn subscribe(&mut self, index: usize) {
        if self.sentinels[index].is_subscribed {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let done = move |result: Result<(), Error>, _: &mut LoopCx<'_, A>| {
            shared.note(Note::Subscribed(index, result.is_ok()));
        };
        // The next connection tries again.
        let accepted = self.sentinels[index].client.subscribe(CHANNELS, done);
        self.sentinels[index].is_subscribed = accepted.is_ok();
    }

    /// Asks a sentinel, unless it owes an answer.
    fn ask(&mut self, index: usize) {
        let sentinel = &mut self.sentinels[index];
        if std::mem::replace(&mut sentinel.is_asked, true) {
            return;
        }
        let name = self.shared.name.as_str();
        let questions = ["GET-MASTER-ADDR-BY-NAME", "MASTER", "REPLICAS"];
        let questions = questions.map(|what| Command::new(["SENTINEL", what, name]));
        let questions = questions.into_iter().chain([Command::new(["SENTINEL", "MYID"])]);
        let shared = Arc::clone(&self.shared);
        let done = move |answers, _: &mut LoopCx<'_, A>| {
            shared.note(Note::Told(index, Told::parse(answers)));
        };
        if let Err(error) = sentinel.client.pipeline(questions, done) {
            self.shared.note(Note::Told(index, Err(error.to_string())));
        }
    }

    fn told(&mut self, index: usize, told: Result<Told, String>, cx: &mut Cx<'_, A>) {
        let sentinel = &mut self.sentinels[index];
        sentinel.is_asked = false;
        let claim = match told {
            Ok(Told { claim, replicas, id }) => {
                (sentinel.replicas, sentinel.trouble) = (replicas, None);
                self.election.identify(index, id);
                claim
            }
            Err(why) => {
                if sentinel.trouble.is_none() {
                    let address = sentinel.client.address();
                    warn!("sentinel {address}, asked for {}: {why}", self.shared.name);
                }
                sentinel.trouble = Some(why);
                sentinel.replicas.clear();
                self.election.lost(index);
                None
            }
        };
        self.election.claim(index, claim);
        self.shared.set_replicas(self.replicas());
        self.hasten(cx);
    }

    /// Takes that a sentinel promotes a server, if that is a replica.
    fn promotes(&mut self, index: usize, place: Place, cx: &mut Cx<'_, A>) {
        if self.replicas().contains(&place) {
            self.election.promote(index, place);
            // Not later than this, whatever a wrong sentinel goes on to announce.
            self.promotions_end.get_or_insert(cx.now() + PROMOTION_MAX);
            self.hasten(cx);
        }
    }

    /// Asks a candidate for its role now, if there is one that is not being asked.
    fn hasten(&mut self, cx: &mut Cx<'_, A>) {
        if self.election.candidate().is_some() && self.next_check.is_none() {
            self.next_check = Some(cx.now());
        }
    }

    /// Returns the replicas that enough sentinels name and consider up.
    fn replicas(&self) -> Vec<Place> {
        let named = |place: &Place| {
            let names = |it: &&Asked<A>| {
                it.replicas.iter().any(|it| it.place == *place && !it.flags.is_down)
            };
            self.sentinels.iter().filter(names).count()
        };
        let enough = self.options.agreement(self.sentinels.len()).max(1);
        let all = self.sentinels.iter().flat_map(|it| &it.replicas).map(|it| &it.place);
        let mut replicas: Vec<Place> =
            all.filter(|place| named(place) >= enough).cloned().collect();
        replicas.retain(|place| self.election.master() != Some(place));
        replicas.sort();
        replicas.dedup();
        replicas
    }

    /// Asks the candidate or, if there is none, the master for its role.
    fn check(&mut self, cx: &mut Cx<'_, A>) {
        let candidate = self.election.candidate().map(|it| it.place);
        let Some(place) = candidate.or_else(|| self.election.master().cloned()) else { return };
        if self.checked.as_ref().is_none_or(|checked| checked.place != place) {
            let (resp, asking) = (self.options.of_servers(), self.options.asking());
            match Client::open(&place.address(), &resp, asking, cx) {
                Ok(client) => {
                    let place = place.clone();
                    self.checked = Some(Checked { place, client, is_asked: false });
                }
                Err(error) => return self.shared.note(Note::Role(place, refused(&error))),
            }
        }
        let Some(checked) = self.checked.as_mut().filter(|it| !it.is_asked) else { return };
        checked.is_asked = true;
        let (shared, asked) = (Arc::clone(&self.shared), place.clone());
        let done = move |answer: Result<Answer, Error>, _: &mut LoopCx<'_, A>| {
            let role = match answer {
                Ok(answer) => Role::parse(&answer).ok(),
                Err(error) => refused(&error),
            };
            shared.note(Note::Role(asked, role));
        };
        if let Err(error) = checked.client.call(["ROLE"], done) {
            self.shared.note(Note::Role(place, refused(&error)));
        }
    }

    fn role(&mut self, place: &Place, role: Option<&Role>, cx: &mut Cx<'_, A>) {
        match self.checked.as_mut().filter(|checked| checked.place == *place) {
            Some(checked) => checked.is_asked = false,
            // It was asked before there was another candidate.
            None => return,
        }
        if self.election.verify(place, role) == Verdict::Elected {
            let name = &self.shared.name;
            info!("the master {name} is {place}, epoch {}", self.election.epoch().unwrap_or(0));
            self.shared.set_replicas(self.replicas());
            self.shared.set_master(place, &mut cx.outside());
        }
        let is_open = self.election.candidate().is_some();
        self.next_check = is_open.then(|| cx.now() + self.options.retry);
    }

    /// Does what is due, and sets when it has to be called again.
    fn proceed(&mut self, cx: &mut Cx<'_, A>) {
        for note in self.shared.take_notes() {
            self.handle(note, cx);
        }
        if self.promotions_end.is_some_and(|at| at <= cx.now()) {
            self.promotions_end = None;
            self.election.end_promotions();
        }
        if self.next_round <= cx.now() {
            self.next_round = cx.now() + self.options.interval;
            (0..self.sentinels.len()).for_each(|index| self.ask(index));
            self.check(cx);
        }
        if self.next_check.is_some_and(|at| at <= cx.now()) {
            self.next_check = None;
            self.check(cx);
        }
        let next = self.next_check.map_or(self.next_round, |at| at.min(self.next_round));
        cx.set_timeout(Some(next.saturating_duration_since(cx.now())));
    }
}

/// Sets the hooks with which a sentinel's client notes what happens.
fn listen<A: 'static>(client: &Client<A>, index: usize, shared: &Arc<Shared<A>>) {
    let noted = Arc::clone(shared);
    client.on_connect(move |_| noted.note(Note::Connected(index)));
    let noted = Arc::clone(shared);
    client.on_message(move |message, _| {
        if let Message::Published { channel, payload, .. } = message
            && let (Ok(channel), Ok(text)) = (str::from_utf8(&channel), str::from_utf8(&payload))
            && let Some(note) = read(index, channel, text, &noted.name)
        {
            noted.note(note);
        }
    });
}

/// Reads a message of a sentinel. Returns `None` if it is about another master, or not valid.
fn read(index: usize, channel: &str, text: &str, name: &str) -> Option<Note> {
    match channel {
        SWITCH_CHANNEL => {
            let switch = Switch::parse(text).ok()?;
            (switch.name == name).then_some(Note::Switched)
        }
        VOTE_CHANNEL => Some(Note::Voted(index, Vote::parse(text).ok()?)),
        PROMOTION_CHANNEL => {
            let event = Event::parse(channel, text).ok()?;
            (event.master == name).then_some(Note::Promotes(index, event.place))
        }
        _ => None,
    }
}

/// Logs why a server has not said its role.
fn refused(error: &Error) -> Option<Role> {
    info!("{error}");
    None
}

impl<A: 'static> Handler<A> for Keeper<A> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx);
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx);
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_, A>) {
        for sentinel in &self.sentinels {
            sentinel.client.close();
        }
        if let Some(checked) = &self.checked {
            checked.client.close();
        }
        self.shared.end();
    }

    fn name(&self) -> &'static str {
        "clients::Sentinels"
    }
}
