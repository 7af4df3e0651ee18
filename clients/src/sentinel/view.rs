//! Everything that sentinels and servers say, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Election, Hello, Place, Replication, Report, Role};

/// How many servers and sentinels are watched at most. A wrong sentinel may name any number.
const PLACES_MAX: usize = 500;

/// What the sentinels call a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Most sentinels name it as the master.
    Master,
    /// A replica.
    Replica,
    /// Some sentinels name it as the master, but not most.
    Named,
    /// A sentinel.
    Sentinel,
}

/// What this program has seen of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not answered yet.
    #[default]
    New,
    /// It answers.
    Up,
    /// It does not answer, and why.
    Down(String),
}

/// One server or sentinel of the group of one master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the master.
    pub master: String,
    /// What the sentinels call it.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// What matters: a change of it is an event.
    pub status: Status,
    /// What changes all the time.
    pub figures: Figures,
}

/// What matters about a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What this program has seen of it.
    pub state: State,
    /// The role that it says it has.
    pub role: Option<&'static str>,
    /// Whether a replica is connected to its master, as it says.
    pub link_is_up: Option<bool>,
    /// The sentinels in whose eyes it is down.
    pub down_for: Vec<Place>,
    /// Whether one of them says that a quorum agrees.
    pub is_agreed_down: bool,
    /// Whether a sentinel says that a failover is in progress.
    pub is_failing_over: bool,
    /// How many sentinels name it as the master.
    pub named_by: usize,
}

/// What changes all the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How long its last answer took.
    pub ping: Option<Duration>,
    /// How much of the replication stream it has, in bytes.
    pub offset: Option<i64>,
    /// How many bytes a replica is behind its master.
    pub behind: Option<i64>,
    /// How long ago a replica acknowledged something, as its master says.
    pub lag: Option<Duration>,
    /// How long ago a sentinel said hello.
    pub hello: Option<Duration>,
    /// The epoch that the sentinel knows, or the largest one that any says of a master.
    pub epoch: Option<u64>,
}

/// What was seen of one place.
#[derive(Debug, Default)]
struct Seen {
    state: State,
    ping: Option<Duration>,
    replication: Option<Replication>,
}

/// What one sentinel says about the group of one master.
#[derive(Debug, Default)]
struct Opinion {
    master: Option<Report>,
    replicas: Vec<Report>,
    sentinels: Vec<Report>,
}

#[derive(Debug, Default)]
struct Sentinel {
    opinions: BTreeMap<String, Opinion>,
    hello: Option<(Instant, u64)>,
}

/// Everything that sentinels and servers have said. The caller asks them, and tells the view what
/// they answer: it performs no I/O.
#[derive(Debug)]
pub struct View {
    /// The only master that is watched. `None`: all.
    only: Option<String>,
    /// The sentinels that were given, and those that these know.
    sentinels: BTreeMap<Place, Sentinel>,
    seen: BTreeMap<Place, Seen>,
}

impl View {
    /// Returns a view of the master `only`, or of all masters that the sentinels know.
    pub fn new(only: Option<&str>, sentinels: impl IntoIterator<Item = Place>) -> Self {
        let sentinels = sentinels.into_iter().map(|place| (place, Sentinel::default())).collect();
        Self { only: only.map(str::to_owned), sentinels, seen: BTreeMap::new() }
    }

    /// Takes the masters that a sentinel watches.
    pub fn masters(&mut self, sentinel: &Place, mut reports: Vec<Report>) {
        reports.retain(|it| self.only.as_ref().is_none_or(|only| *only == it.name));
        let opinions = &mut self.sentinels.entry(sentinel.clone()).or_default().opinions;
        opinions.retain(|name, _| reports.iter().any(|it| it.name == *name));
        for report in reports {
            let opinion = opinions.entry(report.name.clone()).or_default();
            opinion.master = Some(report);
        }
    }

    /// Takes the replicas of a master, as a sentinel says.
    pub fn replicas(&mut self, sentinel: &Place, master: &str, reports: Vec<Report>) {
        if let Some(opinion) = self.opinion(sentinel, master) {
            opinion.replicas = reports;
        }
    }

    /// Takes the other sentinels that watch a master, as a sentinel says.
    pub fn sentinels(&mut self, sentinel: &Place, master: &str, reports: Vec<Report>) {
        let places: Vec<Place> = reports.iter().map(|it| it.place.clone()).collect();
        let Some(opinion) = self.opinion(sentinel, master) else { return };
        opinion.sentinels = reports;
        places.into_iter().for_each(|place| self.discover(place));
    }

    fn opinion(&mut self, sentinel: &Place, master: &str) -> Option<&mut Opinion> {
        self.sentinels.get_mut(sentinel)?.opinions.get_mut(master)
    }

    fn discover(&mut self, sentinel: Place) {
        if self.sentinels.len() < PLACES_MAX {
            self.sentinels.entry(sentinel).or_default();
        }
    }

    /// Takes a hello message.
    pub fn hello(&mut self, hello: &Hello, now: Instant) {
        if self.only.as_ref().is_none_or(|only| *only == hello.name) {
            self.discover(hello.sentinel.clone());
            if let Some(sentinel) = self.sentinels.get_mut(&hello.sentinel) {
                sentinel.hello = Some((now, hello.current_epoch));
            }
        }
    }

    /// Takes what a server says about its replication.
    pub fn replication(&mut self, place: &Place, replication: Replication) {
        self.seen.entry(place.clone()).or_default().replication = Some(replication);
    }

    /// Notes that a server or a sentinel has answered, and how long that took.
    pub fn answered(&mut self, place: &Place, ping: Duration) {
        let seen = self.seen.entry(place.clone()).or_default();
        (seen.state, seen.ping) = (State::Up, Some(ping));
    }

    /// Notes that a server or a sentinel does not answer.
    pub fn failed(&mut self, place: &Place, why: impl Into<String>) {
        let state = State::Down(why.into());
        self.seen.insert(place.clone(), Seen { state, ..Seen::default() });
    }

    /// Returns the names of the masters.
    pub fn names(&self) -> BTreeSet<&str> {
        self.sentinels.values().flat_map(|it| it.opinions.keys()).map(String::as_str).collect()
    }

    /// Returns the masters that a sentinel watches.
    pub fn names_of(&self, sentinel: &Place) -> Vec<&str> {
        let sentinel = self.sentinels.get(sentinel);
        sentinel.into_iter().flat_map(|it| it.opinions.keys()).map(String::as_str).collect()
    }

    /// Returns the sentinels to ask.
    pub fn sentinel_places(&self) -> impl Iterator<Item = &Place> {
        self.sentinels.keys()
    }

    /// Returns the sentinels that do not answer, and why.
    pub fn failed_sentinels(&self) -> impl Iterator<Item = (&Place, &str)> {
        self.sentinels.keys().filter_map(|place| match &self.seen.get(place)?.state {
            State::Down(why) => Some((place, why.as_str())),
            State::New | State::Up => None,
        })
    }

    /// Returns the masters and replicas to ask, 500 at most.
    pub fn server_places(&self) -> BTreeSet<Place> {
        let names = self.names().into_iter();
        names.flat_map(|name| self.members(name).into_keys()).take(PLACES_MAX).collect()
    }

    /// Returns whether everything that is known was asked at least once.
    pub fn is_complete(&self) -> bool {
        let is_new =
            |place: &Place| self.seen.get(place).is_none_or(|seen| seen.state == State::New);
        !self.sentinels.keys().any(is_new) && !self.server_places().iter().any(is_new)
    }

    fn is_up(&self, place: &Place) -> bool {
        self.seen.get(place).is_some_and(|seen| seen.state == State::Up)
    }

    /// Returns what each sentinel says about one master: those that answer, or all if none does.
    fn opinions<'a>(&'a self, name: &'a str) -> Vec<(&'a Place, &'a Opinion)> {
        let all = || {
            let sentinels = self.sentinels.iter();
            sentinels.filter_map(move |(place, it)| Some((place, it.opinions.get(name)?)))
        };
        let up: Vec<_> = all().filter(|(place, _)| self.is_up(place)).collect();
        if up.is_empty() { all().collect() } else { up }
    }

    /// Returns the masters and replicas of a group, what they are called, and how many sentinels name
    /// each as the master.
    fn members(&self, name: &str) -> BTreeMap<Place, (Kind, usize)> {
        let opinions = self.opinions(name);
        let mut members = BTreeMap::new();
        for (_, opinion) in &opinions {
            if let Some(master) = &opinion.master {
                members.entry(master.place.clone()).or_insert((Kind::Named, 0)).1 += 1;
            }
        }
        let majority = Election::majority(opinions.len());
        members.values_mut().filter(|it| it.1 >= majority).for_each(|it| it.0 = Kind::Master);
        let named = opinions.iter().flat_map(|(_, it)| &it.replicas).map(|it| &it.place);
        let masters = members.keys().filter_map(|place| self.seen.get(place));
        let connected = masters.filter_map(|seen| seen.replication.as_ref());
        let connected = connected.flat_map(|it| &it.replicas).map(|it| &it.place);
        let replicas: Vec<Place> = named.chain(connected).cloned().collect();
        for place in replicas {
            let member = members.entry(place).or_insert((Kind::Replica, 0));
            if member.0 == Kind::Named {
                member.0 = Kind::Replica;
            }
        }
        members
    }

    /// Returns the rows of all groups: the master first, the sentinels last.
    pub fn rows(&self, now: Instant) -> Vec<Row> {
        self.names().into_iter().flat_map(|name| self.rows_of(name, now)).collect()
    }

    fn rows_of(&self, name: &str, now: Instant) -> Vec<Row> {
        let members = self.members(name);
        let master = members.iter().find(|(_, it)| it.0 == Kind::Master);
        let master = master.and_then(|(place, _)| self.seen.get(place)?.replication.as_ref());
        let servers = members.iter().map(|(place, (kind, named_by))| {
            let mut row = self.row(name, *kind, place);
            row.status.named_by = *named_by;
            self.add_replication(&mut row, master);
            row
        });
        let opinions = self.opinions(name);
        let watches = self.sentinels.iter().filter(|(place, it)| {
            let known = |opinion: &Opinion| opinion.sentinels.iter().any(|it| it.place == **place);
            it.opinions.contains_key(name) || opinions.iter().any(|(_, opinion)| known(opinion))
        });
        let sentinels = watches.map(|(place, sentinel)| {
            let mut row = self.row(name, Kind::Sentinel, place);
            let hello = sentinel.hello;
            row.figures.hello = hello.map(|(at, _)| now.saturating_duration_since(at));
            row.figures.epoch = hello.map(|(_, epoch)| epoch);
            row
        });
        let mut rows: Vec<Row> = servers.chain(sentinels).collect();
        rows.sort_by(|a, b| (a.kind, &a.place).cmp(&(b.kind, &b.place)));
        rows
    }

    /// Returns a row with what this program and the sentinels have seen.
    fn row(&self, name: &str, kind: Kind, place: &Place) -> Row {
        let (mut status, mut figures) = (Status::default(), Figures::default());
        if let Some(seen) = self.seen.get(place) {
            status.state = seen.state.clone();
            figures.ping = seen.ping;
        }
        for (sentinel, opinion) in self.opinions(name) {
            let others =
                if kind == Kind::Sentinel { &opinion.sentinels } else { &opinion.replicas };
            let master = opinion.master.iter().filter(|_| kind != Kind::Sentinel);
            let reports = master.chain(others).filter(|it| it.place == *place);
            for report in reports {
                if report.flags.is_down && status.down_for.last() != Some(sentinel) {
                    status.down_for.push(sentinel.clone());
                }
                status.is_agreed_down |= report.flags.is_agreed_down;
                status.is_failing_over |= report.flags.is_failing_over;
                if kind == Kind::Master {
                    figures.epoch = figures.epoch.max(Some(report.epoch));
                }
            }
        }
        Row { master: name.to_owned(), kind, place: place.clone(), status, figures }
    }

    /// Adds what a server says about itself, and its master about it.
    fn add_replication(&self, row: &mut Row, master: Option<&Replication>) {
        let seen = self.seen.get(&row.place).and_then(|seen| seen.replication.as_ref());
        let Some(replication) = seen else { return };
        let (status, figures) = (&mut row.status, &mut row.figures);
        status.role = Some(replication.role.name());
        match &replication.role {
            Role::Master { offset } => figures.offset = Some(*offset),
            Role::Replica { is_connected, offset, .. } => {
                status.link_is_up = Some(*is_connected);
                figures.offset = Some(*offset);
                if let Some(Role::Master { offset: all }) = master.map(|it| &it.role) {
                    figures.behind = Some(all.saturating_sub(*offset).max(0));
                }
            }
            Role::Sentinel => {}
        }
        let copied = master.and_then(|it| it.replicas.iter().find(|it| it.place == row.place));
        figures.lag = copied.and_then(|it| it.lag);
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::super::samples::any_answer;
    use super::super::{Copied, Flags};
    use super::*;

    fn at(port: u64) -> Place {
        Place::parse("::1", &port.to_string()).expect("it is valid")
    }

    fn report(name: &str, port: u64, flags: &str) -> Report {
        Report {
            name: name.to_owned(),
            place: at(port),
            run_id: String::new(),
            flags: Flags::parse(flags),
            epoch: 3,
            quorum: None,
            down_after: None,
            silence: None,
            link_is_up: None,
            offset: None,
            other_sentinels: None,
        }
    }

    fn master(offset: i64, replicas: Vec<Copied>) -> Replication {
        let role = Role::Master { offset };
        Replication { role, master_silence: None, is_syncing: false, replicas }
    }

    fn replica(offset: i64) -> Replication {
        let role = Role::Replica { master: Some(at(1)), is_connected: true, offset };
        Replication { role, master_silence: None, is_syncing: false, replicas: vec![] }
    }

    /// A view of the master `m` at port 1 with a replica at port 2, and sentinels at 11 to 13.
    fn view() -> View {
        let mut view = View::new(Some("m"), [at(11)]);
        for sentinel in [at(11), at(12), at(13)] {
            view.answered(&sentinel, Duration::from_millis(1));
            view.masters(&sentinel, vec![report("m", 1, ""), report("other", 9, "")]);
            view.replicas(&sentinel, "m", vec![report("r", 2, "")]);
            let others = [11, 12, 13].map(|port| report("s", port, ""));
            let others = others.into_iter().filter(|it| it.place != sentinel);
            view.sentinels(&sentinel, "m", others.collect());
        }
        view.answered(&at(1), Duration::from_millis(1));
        view.answered(&at(2), Duration::from_millis(1));
        view
    }

    fn row(view: &View, port: u64) -> Row {
        let mut rows = view.rows(Instant::now()).into_iter();
        rows.find(|row| row.place == at(port)).expect("it is in the view")
    }

    #[test]
    fn a_group_has_a_master_replicas_and_sentinels() {
        let view = view();
        let rows = view.rows(Instant::now());
        let found: Vec<_> = rows.iter().map(|row| (row.kind, row.place.port())).collect();
        assert_eq!(
            found,
            [
                (Kind::Master, 1),
                (Kind::Replica, 2),
                (Kind::Sentinel, 11),
                (Kind::Sentinel, 12),
                (Kind::Sentinel, 13)
            ]
        );
        assert_eq!((rows[0].status.named_by, rows[0].figures.epoch), (3, Some(3)));
        assert!(rows.iter().all(|row| row.master == "m" && row.status.state == State::Up));
        assert!(view.is_complete());
        assert_eq!(view.server_places(), BTreeSet::from([at(1), at(2)]));
        assert_eq!(view.sentinel_places().count(), 3, "one leads to the others");
    }

    #[test]
    fn the_view_says_in_whose_eyes_a_server_is_down() {
        let mut view = view();
        view.masters(&at(11), vec![report("m", 1, "master,s_down")]);
        view.masters(&at(12), vec![report("m", 1, "master,s_down,o_down,failover_in_progress")]);
        view.sentinels(&at(11), "m", vec![report("s", 13, "sentinel,s_down")]);
        let status = row(&view, 1).status;
        assert_eq!(status.down_for, [at(11), at(12)]);
        assert!(status.is_agreed_down && status.is_failing_over);
        assert_eq!(row(&view, 13).status.down_for, [at(11)]);
        assert_eq!(row(&view, 2).status.down_for, []);
        // A sentinel that does not answer has no say.
        view.failed(&at(12), "refused");
        let status = row(&view, 1).status;
        assert_eq!(status.down_for, [at(11)]);
        assert!(!status.is_agreed_down);
        assert_eq!(row(&view, 12).status.state, State::Down("refused".to_owned()));
    }

    #[test]
    fn what_was_known_stays_when_all_sentinels_are_gone() {
        let mut view = view();
        for sentinel in [at(11), at(12), at(13)] {
            view.failed(&sentinel, "gone");
        }
        assert_eq!((row(&view, 1).kind, row(&view, 2).kind), (Kind::Master, Kind::Replica));
    }

    #[test]
    fn a_server_that_only_some_name_is_no_master() {
        let mut view = view();
        view.masters(&at(13), vec![report("m", 666, "")]);
        assert_eq!((row(&view, 1).kind, row(&view, 1).status.named_by), (Kind::Master, 2));
        assert_eq!((row(&view, 666).kind, row(&view, 666).status.named_by), (Kind::Named, 1));
        assert!(!view.is_complete(), "it was not asked yet");
    }

    #[test]
    fn the_lag_is_the_difference_of_offsets() {
        let mut view = view();
        let lag = Some(Duration::from_secs(1));
        let copied = |port| Copied { place: at(port), is_online: true, offset: 90, lag };
        view.replication(&at(1), master(100, vec![copied(2), copied(3)]));
        view.replication(&at(2), replica(90));
        let found = row(&view, 2);
        assert_eq!((found.figures.behind, found.figures.lag), (Some(10), lag));
        assert_eq!((found.status.role, found.status.link_is_up), (Some("replica"), Some(true)));
        assert_eq!(row(&view, 1).figures.offset, Some(100));
        assert_eq!(row(&view, 3).kind, Kind::Replica, "the master knows it before the sentinels");
        view.replication(&at(2), replica(i64::MIN));
        assert_eq!(row(&view, 2).figures.behind, Some(i64::MAX));
    }

    #[test]
    fn hello_messages_have_an_age_and_lead_to_sentinels() {
        let mut view = view();
        let now = Instant::now();
        let hello = Hello::parse("::1,14,x,5,m,::1,1,5").expect("it is valid");
        view.hello(&hello, now);
        view.hello(&Hello::parse("::1,15,x,5,other,::1,1,5").expect("it is valid"), now);
        let places: Vec<_> = view.sentinel_places().map(Place::port).collect();
        assert_eq!(places, [11, 12, 13, 14]);
        view.hello(&Hello::parse("::1,11,x,5,m,::1,1,5").expect("it is valid"), now);
        let rows = view.rows(now + Duration::from_secs(2));
        let row = rows.iter().find(|row| row.place == at(11)).expect("it is known");
        assert_eq!(row.figures.hello, Some(Duration::from_secs(2)));
        assert_eq!(row.figures.epoch, Some(5));
    }

    #[test]
    fn a_wrong_sentinel_cannot_have_the_view_grow_without_limit() {
        let mut view = view();
        view.sentinels(&at(13), "m", (1000..9000).map(|it| report("s", it, "")).collect());
        view.replicas(&at(13), "m", (1000..9000).map(|it| report("r", it, "")).collect());
        for port in 1000..9000 {
            let hello = Hello::parse(&format!("::1,{port},x,9,m,::1,666,9"));
            view.hello(&hello.expect("it is valid"), Instant::now());
        }
        assert!(view.sentinel_places().count() <= PLACES_MAX);
        assert!(view.server_places().len() <= PLACES_MAX);
    }

    #[test]
    fn no_answers_make_the_view_panic() {
        let mut random = Random::new(2);
        let mut view = View::new(None, [at(11)]);
        let now = Instant::now();
        for _ in 0..3_000 {
            let place = at(1 + random.below(15));
            let reports = Report::parse_all(&any_answer(&mut random, 3)).unwrap_or_else(|_| {
                let count = random.index(3);
                let port = |random: &mut Random| 1 + random.below(15);
                let name = random.pick(&["m", "n"]).to_owned();
                (0..count).map(|_| report(&name, port(&mut random), "s_down,o_down")).collect()
            });
            match random.below(7) {
                0 => view.masters(&place, reports),
                1 => view.replicas(&place, "m", reports),
                2 => view.sentinels(&place, "m", reports),
                3 => view.answered(&place, Duration::ZERO),
                4 => view.failed(&place, "x"),
                5 => view.replication(&place, replica(random.number() as i64)),
                _ => view.replication(&place, master(random.number() as i64, vec![])),
            }
            for row in view.rows(now) {
                assert!(row.status.down_for.len() <= view.sentinel_places().count());
            }
        }
    }
}
