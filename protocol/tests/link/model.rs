//! A model of a link, and plays in which links that share their buffers have to do what it says. All
//! choices come from bytes: those of a seed (`property.rs`) or of a fuzzer (`protocol/fuzz`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::link::{Event, IdleLimit, Link, Moment, Scratch, Stop};
use protocol::testing::Choices;
use protocol::{Buffer, Cause, ConnectionId, Context, Flow, Limits, Output, Reason, Session};

use super::driver::{Driver, Watch, Ways};

/// How many events one play has, and how many connections, at most.
const EVENTS_MAX: usize = 250;
const CONNECTIONS_MAX: usize = 10;
/// How many connections are open at once.
const OPEN: usize = 2;
/// How many steps a link takes for each event and each transfer at most.
const STEPS_MAX: usize = 32;

/// Returns bytes that differ from their neighbours and from those of other streams.
fn pattern(stream: usize, from: usize, count: usize) -> impl Iterator<Item = u8> {
    (from..from + count)
        .map(move |place| ((place * 167) >> 3) as u8 ^ (place >> 7) as u8 ^ (stream * 59) as u8)
}

/// A timeout that a session has set.
#[derive(Clone, Copy)]
struct Set {
    key: u8,
    at: Instant,
    /// The number of the call that has set it.
    call: usize,
}

/// What one session was told and has done, and what follows from it.
pub(crate) struct Seen {
    limits: Arc<Limits>,
    /// Hears nothing, as long as anything is chosen.
    is_deaf: bool,
    /// What the peer has sent, and how much of it the link has read and the session has heard.
    fed: Vec<u8>,
    read: usize,
    heard: usize,
    input_ended: bool,
    /// What the session has said before its output ended, and how much of it was sent.
    said: Vec<u8>,
    sent: usize,
    output_ended: bool,
    /// The peer would not notice that the output ends now.
    is_incomplete: bool,
    is_shut_down: bool,
    is_pipe: bool,
    calls: usize,
    flow: Flow,
    /// What it still has to be told.
    is_woken: bool,
    is_stopping: bool,
    is_above_low: bool,
    timeouts: Vec<Set>,
    /// What it was told.
    told_stop: bool,
    told_hung_up: bool,
    silence: IdleLimit,
    /// What its driver knows of that, and how much of what the peer got was compared.
    held_silence: IdleLimit,
    compared: usize,
    /// What it has asked for in this pass.
    wakes: Vec<ConnectionId>,
    closes: Vec<ConnectionId>,
    stop: Option<Stop>,
    /// How the connection is to end, since the session's part is over.
    ending: Option<String>,
    /// When the session's part was over, or something was sent after that.
    patient_since: Instant,
    closed: usize,
}

impl Seen {
    fn new(limits: Arc<Limits>, is_deaf: bool, now: Instant) -> Self {
        Self {
            limits,
            is_deaf,
            fed: Vec::new(),
            read: 0,
            heard: 0,
            input_ended: false,
            said: Vec::new(),
            sent: 0,
            output_ended: false,
            is_incomplete: false,
            is_shut_down: false,
            is_pipe: false,
            calls: 0,
            flow: Flow::Continue,
            is_woken: false,
            is_stopping: false,
            is_above_low: false,
            timeouts: Vec::new(),
            told_stop: false,
            told_hung_up: false,
            silence: IdleLimit::ByLoop,
            held_silence: IdleLimit::ByLoop,
            compared: 0,
            wakes: Vec::new(),
            closes: Vec::new(),
            stop: None,
            ending: None,
            patient_since: now,
            closed: 0,
        }
    }

    fn unsent(&self) -> usize {
        self.said.len() - self.sent
    }

    /// Judges that the session is called for this cause, with this input and output.
    fn judge_call(&mut self, context: &Context<'_, ()>, input: &Buffer, output: &Output) {
        let cause = context.cause;
        assert!(self.ending.is_none() && self.closed == 0, "{cause:?} after the end");
        assert_eq!(cause == Cause::Opened, self.calls == 0, "{cause:?} in call {}", self.calls);
        assert!(input.filled() == &self.fed[self.heard..self.read], "{cause:?}: other input");
        assert_eq!(output.len(), self.unsent() as u64, "{cause:?}: other output");
        assert_eq!(context.input_ended, self.input_ended, "{cause:?}: the end of the input");
        let is_first = !self.is_stopping && (!self.is_woken || cause == Cause::Woken);
        let is_first = is_first || matches!(cause, Cause::Opened | Cause::Stopping);
        assert!(is_first, "{cause:?} before what comes first");
        match cause {
            Cause::Opened => {}
            Cause::Restored => panic!("nothing is handed over here"),
            Cause::Stopping => assert!(std::mem::take(&mut self.is_stopping)),
            Cause::Woken => assert!(std::mem::take(&mut self.is_woken)),
            Cause::Timeout(key) => {
                let first = self.timeouts.iter().map(|it| it.at).min().expect("one was set");
                let of_key = |it: &Set| it.key == key;
                let place = self.timeouts.iter().position(of_key).expect("it was set");
                assert_eq!(self.timeouts.remove(place).at, first, "another comes first");
                assert!(first <= context.now, "a timeout is early");
            }
            Cause::Drained => {
                let is_low = output.len() <= self.limits.output_low;
                assert!(std::mem::take(&mut self.is_above_low) && is_low, "it has not drained");
            }
            Cause::HungUp => {
                assert!(self.flow == Flow::Pause && !self.input_ended && !self.told_hung_up);
                self.told_hung_up = true;
                self.silence = IdleLimit::ByLoop;
            }
            // Ending the output of a pipe ends its input, whatever the session does.
            Cause::Input if self.is_pipe && self.input_ended => {}
            Cause::Input => assert!(self.flow != Flow::Pause, "input while the session pauses"),
        }
        self.calls += 1;
    }

    /// Judges what a link that waits waits for.
    fn judge_wait(&self, driver: &Driver<Chance>) {
        let (wait, unsent) = (driver.wait, self.unsent());
        assert_eq!(self.closed, 0, "told that it is closed, and is open");
        assert_eq!(driver.link.unsent_kept(), unsent as u64, "what it keeps");
        assert_eq!(wait.is_unsent, unsent > 0 || self.is_incomplete);
        assert!(wait.write || unsent == 0, "does not wait to write what is unsent");
        assert!(unsent as u64 <= self.limits.output_max, "{unsent} bytes are unsent");
        assert!(unsent == 0 || !self.is_shut_down, "shut down before all was sent");
        assert_eq!(driver.deadline, driver.link.deadline(), "a change of the deadline is not told");
        if self.ending.is_some() {
            assert!(driver.deadline.is_some(), "waits for its end for ever");
            assert!(unsent > 0 || !self.is_incomplete, "waits for the peer instead of a reset");
            assert_eq!(driver.link.is_lingering(), unsent == 0);
            assert_eq!((wait.read, self.is_shut_down), (unsent == 0, unsent == 0));
            return;
        }
        assert!(self.calls > 0 && !self.is_woken && !self.is_stopping, "not told");
        let kept = self.read - self.heard;
        let most = self.limits.message_size_max + Scratch::INPUT_SIZE;
        assert!(kept < most, "keeps {kept} bytes of input");
        let pauses = self.flow == Flow::Pause;
        assert_eq!(wait.read, !pauses && !self.input_ended);
        let heeds_end = pauses && !self.input_ended && !self.told_hung_up;
        assert_eq!(wait.hang_up, heeds_end);
        assert!(!heeds_end || !driver.knows_end(), "not told that the peer has hung up");
        let is_drained = self.is_above_low && unsent as u64 <= self.limits.output_low;
        assert!(!is_drained || wait.write, "not told that its output has drained");
        assert_eq!(self.is_shut_down, self.output_ended && unsent == 0);
        assert_eq!(driver.deadline, self.timeouts.iter().map(|it| it.at).min());
    }

    /// Judges the reason for which a connection was closed.
    fn judge_end(&self, driver: &Driver<Chance>, reason: &Reason, event: Happens, now: Instant) {
        let text = reason.to_string();
        assert_eq!(self.closed, 1, "{text}: told its end so often");
        assert_eq!(driver.link.is_incomplete(), self.is_incomplete, "{text}");
        let (is_done, unsent) = (self.ending.is_some(), self.unsent());
        let had_patience = now >= self.patient_since + self.limits.linger;
        match reason {
            Reason::Limit(limit) if limit.starts_with("output_max") => {
                assert!(unsent as u64 > self.limits.output_max, "{unsent} bytes are unsent");
            }
            Reason::Failed { .. } => assert!(driver.ways.read_fails || driver.ways.write_fails),
            Reason::Cancelled => assert_eq!(event, Happens::Cancel),
            Reason::Idle => assert!(event == Happens::Idle && !self.told_stop),
            Reason::Stopped => {
                let is_owed = self.flow == Flow::Pause || unsent > 0;
                assert!(event == Happens::Idle && self.told_stop && !is_done && !is_owed);
            }
            Reason::Deadline => {
                assert!(event == Happens::Deadline && is_done && unsent > 0 && had_patience);
            }
            _ => {
                assert_eq!(Some(&text), self.ending.as_ref());
                assert_eq!(unsent, 0, "{text}: not everything that was said was sent");
                let left = self.fed.len() - self.heard;
                let has_ended = driver.has_ended || driver.ways.read_fails || driver.ways.is_pipe;
                assert!(
                    self.is_incomplete
                        || has_ended
                        || left > self.limits.linger_bytes_max
                        || event == Happens::Idle
                        || event == Happens::Deadline && had_patience,
                    "{text}: did not wait for its peer"
                );
            }
        }
    }
}

/// The state that all sessions share.
struct World {
    choices: Choices,
    now: Instant,
    seen: Vec<Seen>,
}

impl World {
    fn of(&mut self, me: ConnectionId) -> &mut Seen {
        &mut self.seen[me.0 as usize]
    }
}

impl Watch for World {
    fn read(&mut self, me: ConnectionId, count: usize) {
        self.of(me).read += count;
    }

    fn input_ended(&mut self, me: ConnectionId) {
        self.of(me).input_ended = true;
    }

    fn sent(&mut self, me: ConnectionId, count: u64) {
        self.of(me).sent += count as usize;
        self.of(me).patient_since = self.now;
    }

    fn shut_down(&mut self, me: ConnectionId) {
        self.of(me).is_shut_down = true;
    }
}

/// A session that does what is chosen.
struct Chance;

impl Chance {
    /// Hears some of the input, and says something.
    fn talk(seen: &mut Seen, choices: &mut Choices, input: &mut Buffer, output: &mut Output) {
        let count = match choices.below(4) {
            _ if seen.is_deaf && !choices.is_over() => 0,
            0 | 1 => input.len(),
            2 => 0,
            _ => choices.below(input.len().min(1 << 15) + 1),
        };
        let is_all = count == input.len();
        let said: Vec<u8> = match choices.below(8) {
            0..4 => input.filled()[..count].to_vec(),
            4 => pattern(77, seen.said.len(), choices.below(5000)).collect(),
            5 => pattern(78, seen.said.len(), choices.below(2000)).collect(),
            _ => Vec::new(),
        };
        match choices.below(3) {
            1 if said.len() == count && is_all && said == input.filled() => {
                output.take_input(input);
            }
            2 => output.share(said.as_slice().into()),
            _ => output.append(&said),
        }
        input.consume(if input.is_empty() { 0 } else { count });
        seen.heard += count;
        if !seen.is_shut_down {
            seen.said.extend(said);
        }
    }

    /// Asks for something besides bytes.
    fn ask(seen: &mut Seen, choices: &mut Choices, context: &mut Context<'_, ()>) {
        let effects = &mut *context.effects;
        match choices.below(26) {
            25 => {
                effects.end_output();
                seen.output_ended = true;
                seen.is_incomplete = false;
            }
            it @ (23 | 24) => {
                effects.set_incomplete(it == 24);
                seen.is_incomplete = it == 24 && !seen.output_ended;
            }
            it @ (20..=22) => {
                let key = choices.below(3) as u8;
                let after = (it != 20).then(|| Duration::from_millis(choices.below(200) as u64));
                effects.set_timeout(key, after);
                seen.timeouts.retain(|it| it.key != key);
                let (now, call) = (context.now, seen.calls);
                seen.timeouts.extend(after.map(|after| Set { key, at: now + after, call }));
            }
            it @ (18 | 19) => {
                effects.allow_silence(it == 19);
                let is_never = it == 19 && !seen.told_hung_up;
                seen.silence = if is_never { IdleLimit::Never } else { IdleLimit::ByLoop };
            }
            17 => {
                seen.wakes.push(ConnectionId(choices.below(8) as u128));
                effects.wake(seen.wakes[seen.wakes.len() - 1]);
            }
            16 => {
                seen.closes.push(ConnectionId(choices.below(8) as u128));
                effects.close(seen.closes[seen.closes.len() - 1]);
            }
            15 => {
                seen.stop = Some(Stop::Soon);
                effects.stop();
            }
            14 => {
                let patience = Duration::from_millis(choices.below(200) as u64);
                seen.stop = Some(Stop::Gracefully(patience));
                effects.stop_gracefully(patience);
            }
            _ => {}
        }
    }

    /// What it wants next, and how the connection is to end if its part is over.
    fn want(
        seen: &Seen,
        choices: &mut Choices,
        input: &Buffer,
        output: &Output,
    ) -> (Result<Flow, Reason>, Option<String>) {
        let closed = if seen.input_ended { Reason::PeerClosed } else { Reason::Finished };
        let closed = Some(closed.to_string());
        let bug = "refused: bug in the session: it hands over, and no other comes after it";
        let flow = match choices.below(64) {
            63 => return (Ok(Flow::Close), closed),
            62 => return (Err(Reason::refused("chance")), Some("refused: chance".to_owned())),
            61 => return (Ok(Flow::Upgrade), Some(bug.to_owned())),
            55..61 => Flow::Pause,
            // A session whose output does not answer its input goes on, however full it is.
            53..55 => Flow::Continue,
            _ if output.len() >= seen.limits.output_high => Flow::Pause,
            it if seen.input_ended && input.is_empty() && it < 30 => {
                return (Ok(Flow::Close), closed);
            }
            _ => Flow::Continue,
        };
        let is_limited = input.len() >= seen.limits.message_size_max + Scratch::INPUT_SIZE;
        let text = "limit reached: message_size_max: the session does not consume its input";
        (Ok(flow), is_limited.then(|| text.to_owned()))
    }
}

impl Session<World> for Chance {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, World>,
    ) -> Result<Flow, Reason> {
        let World { choices, now, seen } = &mut *context.app;
        assert_eq!(context.now, *now);
        let seen = &mut seen[context.me.0 as usize];
        let (limits, effects) = (context.limits, &mut *context.effects);
        let mut context = Context {
            now: context.now,
            me: context.me,
            app: &mut (),
            limits,
            cause: context.cause,
            input_ended: context.input_ended,
            unsent: context.unsent,
            secured: context.secured,
            effects,
        };
        seen.judge_call(&context, input, output);
        Self::talk(seen, choices, input, output);
        Self::ask(seen, choices, &mut context);
        seen.is_above_low |= output.len() > limits.output_low;
        let (wanted, ending) = Self::want(seen, choices, input, output);
        seen.flow = *wanted.as_ref().unwrap_or(&Flow::Close);
        if ending.is_some() {
            seen.ending = ending;
            seen.patient_since = context.now;
        }
        wanted
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, World>) {
        let me = context.me;
        let seen = context.app.of(me);
        seen.closed += 1;
        // What it asks for in the end reaches its driver too.
        seen.wakes.push(me);
        context.effects.wake(me);
    }
}

/// What happens to a connection, as far as its end has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happens {
    Usual,
    Deadline,
    Idle,
    Cancel,
}

/// One play: some connections, and the driver that they share.
struct Play {
    world: World,
    scratch: Scratch,
    lost: Duration,
    drivers: Vec<Driver<Chance>>,
    events: usize,
}

impl Play {
    fn new(bytes: Vec<u8>) -> Self {
        let now = Instant::now();
        let choices = Choices::new(bytes);
        Self {
            world: World { choices, now, seen: Vec::new() },
            scratch: Scratch::new(now),
            lost: Duration::ZERO,
            drivers: Vec::new(),
            events: 0,
        }
    }

    fn connect(&mut self) {
        let choices = &mut self.world.choices;
        let low = 1 + choices.below(2000) as u64;
        let high = low + 1 + choices.below(4000) as u64;
        let limits = Limits {
            message_size_max: 1 + choices.below(3000),
            output_low: low,
            output_high: high,
            output_max: high + 4000 + choices.below(30_000) as u64,
            read_budget: 1 + choices.below(20_000),
            linger_bytes_max: 1 + choices.below(10_000),
            ..Limits::DEFAULT
        };
        let limits = limits.shared().expect("they are in order");
        let me = ConnectionId(self.drivers.len() as u128);
        let is_deaf = choices.below(8) == 7;
        self.world.seen.push(Seen::new(Arc::clone(&limits), is_deaf, self.world.now));
        self.drivers.push(Driver::new(Link::new(Chance, limits), me));
    }

    /// Lets something happen to a connection, chosen by chance.
    fn event(&mut self, place: usize) {
        self.events += 1;
        let World { choices, seen, now } = &mut self.world;
        let (driver, seen) = (&mut self.drivers[place], &mut seen[place]);
        let mut happens = Happens::Usual;
        match choices.below(24) {
            0..7 if !driver.has_ended => {
                let most = [16, 3000, 3000, 40_000][choices.below(4)];
                let count = choices.below(most);
                let bytes = pattern(place, seen.fed.len(), count);
                driver.incoming.extend(bytes);
                seen.fed.extend(pattern(place, seen.fed.len(), count));
            }
            7 | 8 => driver.ways.room = choices.below(5000) as u64,
            9 => driver.ways.room = u64::MAX,
            10 => {
                driver.link.tell(Event::Woken);
                seen.is_woken = seen.ending.is_none();
            }
            11 if choices.below(4) == 0 => {
                driver.link.tell(Event::Stopping);
                seen.is_stopping = seen.ending.is_none();
                seen.told_stop = true;
            }
            12 if choices.below(4) == 0 => driver.has_ended = true,
            13 => driver.ways.piece = 1 + choices.below(5000),
            14 => driver.ways.piece = [7, 100, usize::MAX][choices.below(3)],
            15 => driver.ways.is_short_last = choices.below(2) == 0,
            16 => driver.ways.is_end_known = choices.below(2) == 0,
            17 => *now += Duration::from_millis(choices.below(300) as u64),
            18 => *now = driver.deadline.map_or(*now, |at| at.max(*now)),
            19 => {
                let time = Duration::from_millis(choices.below(300) as u64);
                *now += time;
                self.lost += time;
            }
            20 => happens = Happens::Idle,
            21 => driver.ways.unacknowledged = choices.below(4) as u32,
            22 => match choices.below(20) {
                0 => driver.ways.read_fails = true,
                1 => driver.ways.write_fails = true,
                2 => {
                    driver.ways.is_pipe = true;
                    seen.is_pipe = true;
                }
                3 => happens = Happens::Cancel,
                _ => {}
            },
            _ => {}
        }
        self.happen(place, happens);
        for other in 0..self.drivers.len() {
            let driver = &self.drivers[other];
            let is_due = driver.deadline.is_some_and(|at| at <= self.world.now);
            if driver.reason.is_none() && is_due {
                self.happen(other, Happens::Deadline);
            }
        }
    }

    /// Tells a connection what has happened, runs it, and judges what it has done.
    fn happen(&mut self, place: usize, happens: Happens) {
        let moment = Moment { now: self.world.now, lost: self.lost };
        let (driver, scratch) = (&mut self.drivers[place], &mut self.scratch);
        let world = &mut self.world;
        let unacknowledged = driver.ways.unacknowledged;
        let calls = world.seen[place].calls;
        match happens {
            Happens::Usual => {}
            Happens::Cancel => driver.close(Reason::Cancelled, scratch, moment, world),
            Happens::Idle => {
                driver.pass(scratch, moment, world, |link, scratch| {
                    link.idle_passed(scratch, || unacknowledged)
                });
            }
            Happens::Deadline => {
                driver.pass(scratch, moment, world, |link, scratch| {
                    link.deadline_passed(scratch, || unacknowledged)
                });
                let is_due = |it: &Set| it.call <= calls && it.at <= moment.now;
                let seen = &world.seen[place];
                let is_late = seen.ending.is_none() && seen.timeouts.iter().any(is_due);
                assert!(!is_late || driver.reason.is_some(), "a timeout that passed is not told");
            }
        }
        if driver.reason.is_none() {
            driver.run(scratch, moment, world);
        }
        self.judge(place, happens);
    }

    fn judge(&mut self, place: usize, happens: Happens) {
        let (driver, effects) = (&self.drivers[place], self.scratch.effects_mut());
        let seen = &mut self.world.seen[place];
        let is_asked = !seen.wakes.is_empty() || !seen.closes.is_empty() || seen.stop.is_some();
        assert!(effects.take_asked() || !is_asked, "the driver does not look");
        assert!(effects.take_wakes().eq(seen.wakes.drain(..)), "other wakes");
        assert!(effects.take_closes().eq(seen.closes.drain(..)), "other closes");
        assert_eq!(effects.take_stop(), seen.stop.take());
        seen.held_silence = effects.take_idle_limit().unwrap_or(seen.held_silence);
        // The limit of a connection that is gone does not matter.
        assert!(seen.held_silence == seen.silence || driver.reason.is_some(), "another idle limit");
        assert_eq!(driver.sent.len(), seen.sent);
        // What was compared before is not compared again.
        let news = seen.compared..driver.sent.len();
        assert!(driver.sent[news.clone()] == seen.said[news], "sent otherwise than said");
        seen.compared = driver.sent.len();
        match &driver.reason {
            Some(reason) => seen.judge_end(driver, reason, happens, self.world.now),
            None => seen.judge_wait(driver),
        }
    }

    /// The peer takes everything and ends its stream, and the session is woken until it has closed.
    fn end(&mut self, place: usize) {
        let driver = &mut self.drivers[place];
        driver.ways = Ways { is_pipe: driver.ways.is_pipe, ..Ways::default() };
        driver.has_ended = true;
        self.happen(place, Happens::Usual);
        while self.drivers[place].reason.is_none() {
            self.events += 1;
            assert!(self.events < 2 * EVENTS_MAX, "does not end when its peer does");
            self.drivers[place].link.tell(Event::Woken);
            self.world.seen[place].is_woken = self.world.seen[place].ending.is_none();
            self.happen(place, Happens::Usual);
        }
    }

    /// The peer is silent, and time passes until the connection is closed.
    fn abandon(&mut self, place: usize) {
        for _ in 0..20 {
            let driver = &self.drivers[place];
            if driver.reason.is_some() {
                return;
            }
            self.events += 1;
            match driver.deadline {
                Some(at) => {
                    self.world.now = self.world.now.max(at);
                    self.happen(place, Happens::Deadline);
                }
                None => self.happen(place, Happens::Idle),
            }
        }
        let seen = &self.world.seen[place];
        let is_owed = seen.flow == Flow::Pause || seen.unsent() > 0;
        let waits = seen.told_stop && seen.ending.is_none() && is_owed;
        assert!(waits, "waits for a silent peer for ever");
        // The patience of the loop is over.
        self.happen(place, Happens::Cancel);
    }
}

/// Plays connections as `bytes` choose. Returns the reasons for which they were closed.
///
/// # Panics
/// When a link does what the model does not say.
pub(crate) fn play(bytes: Vec<u8>) -> Vec<String> {
    let mut play = Play::new(bytes);
    let is_silent = play.world.choices.below(4) == 3;
    while !play.world.choices.is_over() && play.events < EVENTS_MAX {
        let is_open = |place: &usize| play.drivers[*place].reason.is_none();
        let open: Vec<usize> = (0..play.drivers.len()).filter(is_open).collect();
        if open.len() < OPEN && play.drivers.len() < CONNECTIONS_MAX {
            play.connect();
        } else if open.is_empty() {
            break;
        } else {
            let place = open[play.world.choices.below(open.len())];
            play.event(place);
        }
    }
    // What is not chosen is the simplest.
    play.world.choices.finish();
    for place in 0..play.drivers.len() {
        match play.drivers[place].reason {
            Some(_) => {}
            None if is_silent => play.abandon(place),
            None => play.end(place),
        }
    }
    let chosen = play.world.choices.asked();
    play.drivers.iter().for_each(|driver| {
        let counts = driver.counts;
        let most = STEPS_MAX * (play.events + chosen + counts.transfers);
        assert!(counts.steps <= most, "it spins: {counts:?}, of {most} at most");
    });
    play.drivers.iter().filter_map(|it| Some(it.reason.as_ref()?.to_string())).collect()
}
