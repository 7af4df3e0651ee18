//! A driver that runs one pass at a time, moves as many bytes at once as a test says, and counts what
//! its link does. Several connections can share its buffers, as in a loop.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use protocol::link::{Front, Layer, Link, Moment, Passed, Plain, Scratch, Step, Wait};
use protocol::{ConnectionId, Reason, Session};

/// How many steps a pass takes that moves nothing, at most: each cause, each operation that would
/// block, and the end.
const STEPS_IDLE: usize = 24;

/// The state of an application that is told what its connections move.
pub(crate) trait Watch {
    fn read(&mut self, _me: ConnectionId, _count: usize) {}
    /// The link is told that the stream has ended.
    fn input_ended(&mut self, _me: ConnectionId) {}
    fn sent(&mut self, _me: ConnectionId, _count: u64) {}
    fn shut_down(&mut self, _me: ConnectionId) {}
}

/// What sessions were told is all that most tests want to know.
impl<T> Watch for Vec<T> {}

/// How the peer and the system of a connection behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    /// The most bytes that one read or write moves.
    pub(crate) piece: usize,
    /// How many more bytes the peer takes.
    pub(crate) room: u64,
    /// How many sent bytes the peer has not acknowledged.
    pub(crate) unacknowledged: u32,
    /// A read or write of less than there was room for tells that the next one would block.
    pub(crate) is_short_last: bool,
    /// The end of the peer's stream is known before everything that it sent was read.
    pub(crate) is_end_known: bool,
    /// Reading fails once everything that the peer has sent was read.
    pub(crate) read_fails: bool,
    pub(crate) write_fails: bool,
    /// The descriptor is no socket, and its sending side cannot be ended.
    pub(crate) is_pipe: bool,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            piece: usize::MAX,
            room: u64::MAX,
            unacknowledged: 0,
            is_short_last: false,
            is_end_known: false,
            read_fails: false,
            write_fails: false,
            is_pipe: false,
        }
    }
}

/// What a link did in one pass, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passes: usize,
    pub(crate) steps: usize,
    pub(crate) calls: usize,
    pub(crate) read: usize,
    pub(crate) sent: u64,
    /// Reads and writes that moved something.
    pub(crate) transfers: usize,
}

impl Counts {
    fn add(&mut self, pass: Self) {
        self.passes += pass.passes;
        self.steps += pass.steps;
        self.calls += pass.calls;
        self.read += pass.read;
        self.sent += pass.sent;
        self.transfers += pass.transfers;
    }
}

/// One connection.
pub(crate) struct Driver<S, L = Plain> {
    pub(crate) link: Link<S, L>,
    pub(crate) me: ConnectionId,
    /// What the peer has sent and the link has not read.
    pub(crate) incoming: VecDeque<u8>,
    /// The peer has ended its stream.
    pub(crate) has_ended: bool,
    pub(crate) ways: Ways,
    /// What the peer got.
    pub(crate) sent: Vec<u8>,
    pub(crate) wait: Wait,
    pub(crate) is_shut_down: bool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) reason: Option<Reason>,
    /// No other link uses the buffers: the link is lent them for ever.
    pub(crate) keeps_buffers: bool,
    /// What all passes have counted.
    pub(crate) counts: Counts,
}

impl<S, L: Layer> Driver<S, L> {
    pub(crate) fn new(link: Link<S, L>, me: ConnectionId) -> Self {
        Self {
            link,
            me,
            incoming: VecDeque::new(),
            has_ended: false,
            ways: Ways::default(),
            sent: Vec::new(),
            wait: Wait::default(),
            is_shut_down: false,
            deadline: None,
            reason: None,
            keeps_buffers: false,
            counts: Counts::default(),
        }
    }

    /// Returns whether the driver knows without reading that the peer has ended its stream.
    pub(crate) fn knows_end(&self) -> bool {
        self.has_ended && (self.incoming.is_empty() || self.ways.is_end_known)
    }

    /// Returns whether something that the link waits for is there.
    fn is_due(&self) -> bool {
        let can_read = !self.incoming.is_empty() || self.has_ended || self.ways.read_fails;
        let can_write = self.ways.room > 0 || self.ways.write_fails || self.is_shut_down;
        let Wait { read, write, hang_up, .. } = self.wait;
        let is_due = read && can_read || write && can_write || hang_up && self.knows_end();
        is_due && self.reason.is_none()
    }

    /// Runs passes until nothing is there that the link waits for.
    pub(crate) fn run<A: Watch>(&mut self, scratch: &mut Scratch, moment: Moment, app: &mut A)
    where
        S: Session<A>,
    {
        self.pass(scratch, moment, app, |_, _| Passed::GoesOn);
        while self.is_due() {
            let pass = self.pass(scratch, moment, app, |_, _| Passed::GoesOn);
            let has_moved = pass.transfers > 0 || pass.calls > 0 || self.reason.is_some();
            assert!(has_moved, "it spins: it waits for what is there, and does nothing with it");
        }
    }

    /// Runs one pass, which begins with what `before` tells the link.
    pub(crate) fn pass<A: Watch>(
        &mut self,
        scratch: &mut Scratch,
        moment: Moment,
        app: &mut A,
        before: impl FnOnce(&mut Link<S, L>, &mut Scratch) -> Passed,
    ) -> Counts
    where
        S: Session<A>,
    {
        assert!(self.reason.is_none(), "a connection that is closed has no passes");
        let mut counts = Counts { passes: 1, ..Counts::default() };
        self.link.begin(scratch, moment);
        let reason = match before(&mut self.link, scratch) {
            Passed::Over(reason) => Some(reason),
            Passed::GoesOn | Passed::Progress => self.steps(scratch, app, &mut counts),
        };
        if scratch.deadline_changed() {
            self.deadline = self.link.deadline();
        }
        if !self.keeps_buffers {
            self.link.end(scratch);
        }
        self.counts.add(counts);
        if let Some(reason) = reason {
            self.close(reason, scratch, moment, app);
        }
        counts
    }

    /// Closes the connection, whatever its link waits for.
    pub(crate) fn close<A>(
        &mut self,
        reason: Reason,
        scratch: &mut Scratch,
        moment: Moment,
        app: &mut A,
    ) where
        S: Session<A>,
    {
        self.link.closed(&reason, scratch, moment, self.me, app);
        self.reason = Some(reason);
    }

    fn steps<A: Watch>(
        &mut self,
        scratch: &mut Scratch,
        app: &mut A,
        counts: &mut Counts,
    ) -> Option<Reason>
    where
        S: Session<A>,
    {
        if self.knows_end() {
            self.link.hung_up(scratch);
        }
        loop {
            counts.steps += 1;
            let most = STEPS_IDLE + 4 * counts.transfers;
            assert!(counts.steps <= most, "it spins: {counts:?}");
            match self.link.step(scratch) {
                Step::Call => {
                    counts.calls += 1;
                    self.link.call(scratch, self.me, app);
                }
                Step::Read(room) => {
                    let budget = self.link.limits().read_budget;
                    assert!(counts.read < budget, "reads beyond its budget: {counts:?}");
                    let count = room.len().min(self.incoming.len()).min(self.ways.piece);
                    let is_last = self.ways.is_short_last && count < room.len();
                    for (place, byte) in room.iter_mut().zip(self.incoming.drain(..count)) {
                        *place = byte;
                    }
                    if count > 0 {
                        counts.read += count;
                        counts.transfers += 1;
                        app.read(self.me, count);
                        self.link.received(scratch, count, !is_last);
                    } else if self.ways.read_fails && !self.link.is_lingering() {
                        return Some(failed("read"));
                    } else if self.ways.read_fails || self.has_ended {
                        self.end_input(scratch, app);
                    } else {
                        self.link.read_blocked(scratch);
                    }
                }
                Step::Write if self.ways.write_fails => return Some(failed("write")),
                Step::Write => {
                    let budget = self.link.limits().read_budget as u64;
                    assert!(counts.sent < budget, "writes beyond its budget: {counts:?}");
                    let (count, is_last) = self.write(scratch);
                    if count == 0 {
                        self.link.write_blocked(scratch);
                    } else {
                        counts.sent += count;
                        counts.transfers += 1;
                        app.sent(self.me, count);
                        self.link.sent(scratch, count, !is_last);
                    }
                }
                Step::ReadFile => {
                    let (range, room) = self.link.file(scratch).expect("a range is at the front");
                    let count = range.file.read_at(room, range.offset).expect("it can be read");
                    counts.transfers += 1;
                    self.link.file_read(scratch, count);
                }
                Step::ShutDown => {
                    assert!(!self.is_shut_down, "the sending side is ended twice");
                    self.is_shut_down = true;
                    app.shut_down(self.me);
                    if self.ways.is_pipe {
                        self.end_input(scratch, app);
                    }
                }
                Step::Close => return Some(self.link.take_reason()),
                Step::Wait(wait) => {
                    self.wait = wait;
                    if wait.is_full {
                        self.link.unacknowledged(self.ways.unacknowledged);
                    }
                    return None;
                }
            }
        }
    }

    fn end_input<A: Watch>(&mut self, scratch: &mut Scratch, app: &mut A) {
        app.input_ended(self.me);
        self.link.received(scratch, 0, false);
    }

    /// Moves what stands at the front to the peer, as far as it has room. Returns how much, and
    /// whether the next write is known to block.
    fn write(&mut self, scratch: &Scratch) -> (u64, bool) {
        let room = usize::try_from(self.ways.room).unwrap_or(usize::MAX).min(self.ways.piece);
        let before = self.sent.len();
        let mut offered = 0;
        let mut take = |bytes: &[u8]| {
            let count = bytes.len().min(room - offered.min(room));
            self.sent.extend_from_slice(&bytes[..count]);
            offered += bytes.len();
        };
        match self.link.front(scratch) {
            Front::Empty => panic!("there is nothing to write"),
            Front::Whole(bytes) => take(bytes),
            Front::Memory => {
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = self.link.output(scratch).gather(&mut slices);
                slices[..filled].iter().for_each(|slice| take(slice));
            }
            Front::File(range) => {
                let mut bytes = vec![0; range.length.min(1 << 16) as usize];
                range.file.read_exact_at(&mut bytes, range.offset).expect("it is long enough");
                take(&bytes);
            }
        }
        let count = self.sent.len() - before;
        self.ways.room -= if self.ways.room == u64::MAX { 0 } else { count as u64 };
        (count as u64, self.ways.is_short_last && count < offered)
    }
}

fn failed(operation: &'static str) -> Reason {
    Reason::Failed { operation, error: io::ErrorKind::ConnectionReset.into(), hint: "" }
}
