//! What one pass reads and writes, so that other connections have their turn.

use std::time::{Duration, Instant};

use protocol::link::{Link, Moment, Passed, Scratch};
use protocol::{Buffer, Cause, ConnectionId, Context, Flow, Limits, Output, Reason, Session};

use crate::driver::{Counts, Driver};

const BUDGET: usize = 5000;
/// The most that one read moves where the high mark is small.
const READ_MAX: usize = 4096;

const LIMITS: Limits = Limits {
    output_low: 10,
    output_high: 100,
    output_max: 1 << 20,
    read_budget: BUDGET,
    ..Limits::DEFAULT
};

/// What the session was told.
type Told = Vec<Cause>;

/// Drops its input, and appends so many bytes when it is opened and when its output has drained, as
/// long as there are any.
struct Says {
    count: usize,
    left: usize,
}

impl Session<Told> for Says {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Told>,
    ) -> Result<Flow, Reason> {
        context.app.push(context.cause);
        input.clear();
        if matches!(context.cause, Cause::Opened | Cause::Drained) {
            let count = self.count.min(self.left);
            self.left -= count;
            output.append(&vec![b'x'; count]);
        }
        Ok(Flow::Continue)
    }
}

/// A connection, and the buffers of its driver.
struct Play {
    driver: Driver<Says>,
    scratch: Scratch,
    moment: Moment,
    told: Told,
}

impl Play {
    fn new(session: Says) -> Self {
        let now = Instant::now();
        Self {
            driver: Driver::new(Link::new(session, LIMITS.into()), ConnectionId(1)),
            scratch: Scratch::new(now),
            moment: Moment { now, lost: Duration::ZERO },
            told: Told::new(),
        }
    }

    fn pass(&mut self) -> Counts {
        self.driver.pass(&mut self.scratch, self.moment, &mut self.told, |_, _| Passed::GoesOn)
    }
}

#[test]
fn a_pass_reads_no_more_than_its_budget_and_one_read() {
    const SENT: usize = 10 * BUDGET;
    let mut play = Play::new(Says { count: 0, left: 0 });
    play.driver.incoming.extend(vec![b'i'; SENT]);
    let mut passes = 0;
    while !play.driver.incoming.is_empty() {
        let Counts { read, .. } = play.pass();
        passes += 1;
        assert!(read < BUDGET + READ_MAX, "{read} bytes in one pass");
        assert!(read >= BUDGET || play.driver.incoming.is_empty(), "{read} bytes, and more wait");
        assert!(play.driver.wait.read, "the rest is waited for");
    }
    assert!(passes >= SENT / (BUDGET + READ_MAX), "{passes} passes");
}

#[test]
fn a_pass_writes_no_more_than_its_budget_and_one_write() {
    const PIECE: usize = 1000;
    let mut play = Play::new(Says { count: 3 * BUDGET, left: 3 * BUDGET });
    play.driver.ways.piece = PIECE;
    for rest in [2, 1, 0] {
        assert_eq!(play.pass().sent, BUDGET as u64);
        assert_eq!(play.driver.link.unsent_kept(), (rest * BUDGET) as u64);
        let wait = play.driver.wait;
        assert_eq!((wait.is_unsent, wait.is_full), (rest > 0, false));
        // The last pass has used all of its budget: the session is told in the next.
        assert!(wait.write);
    }
    play.driver.ways.piece = BUDGET - 1;
    let mut play = Play::new(Says { count: 3 * BUDGET, left: 3 * BUDGET });
    play.driver.ways.piece = BUDGET - 1;
    assert_eq!(play.pass().sent, 2 * (BUDGET as u64 - 1), "the last write begins below the budget");
}

#[test]
fn a_session_whose_peer_takes_everything_has_one_budget_in_a_pass() {
    const SAID: usize = 2000;
    let mut play = Play::new(Says { count: SAID, left: 20 * SAID });
    let mut told = 0;
    for pass in 0.. {
        let counts = play.pass();
        let sent = counts.sent as usize;
        assert!(sent < BUDGET + SAID, "{sent} bytes in one pass");
        let news = play.told.split_off(0);
        told += news.len();
        let is_first = pass == 0;
        assert_eq!(news.iter().filter(|it| **it == Cause::Opened).count(), usize::from(is_first));
        if play.driver.counts.sent == 20 * SAID as u64 && !play.driver.wait.write {
            break;
        }
        // The budget ended the pass. Nothing is unsent, and the session is told in the next one.
        assert_eq!((news.len(), sent), (3, 3 * SAID), "pass {pass}");
        let wait = play.driver.wait;
        assert!(wait.write && !wait.is_unsent && !wait.is_full, "{wait:?}");
    }
    assert_eq!(told, 21, "once opened, and drained whenever it had said something");
    assert_eq!(play.driver.counts.passes, 7);
}

#[test]
fn a_drain_that_was_put_off_is_told_after_a_wake_and_before_input() {
    let mut play = Play::new(Says { count: BUDGET, left: 2 * BUDGET });
    assert_eq!(play.pass().sent, BUDGET as u64);
    assert_eq!(play.told.split_off(0), [Cause::Opened]);
    play.driver.link.tell(protocol::link::Event::Woken);
    play.driver.incoming.push_back(b'i');
    let counts = play.pass();
    assert_eq!(play.told, [Cause::Woken, Cause::Drained, Cause::Input]);
    assert_eq!((counts.read, counts.sent), (1, BUDGET as u64));
}
