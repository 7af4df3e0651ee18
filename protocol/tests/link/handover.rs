//! Connections that another process goes on with: nothing is lost, wherever they are handed over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::codecs::Lines;
use protocol::link::{Event, Link, Moment, Scratch, Step, Wait};
use protocol::testing::Wire;
use protocol::{
    Cause, ConnectionId, Context, Conversation, FileRange, Flow, Limits, NotSaved, Random, Reason,
    Reply, SavedState, Service, State, StateError,
};

/// Answers each line with its number. "wait" pauses until a timeout, "end" ends the output, "file"
/// sends one.
#[derive(Default)]
struct Count {
    lines: u64,
    opened: u32,
    restored: u32,
}

const WAIT: Duration = Duration::from_secs(3);

impl Service<Lines> for Count {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        self.opened += 1;
        reply.send(b"hello");
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_>,
    ) -> Flow {
        self.lines += 1;
        match &*line {
            b"wait" => {
                context.effects.set_timeout(7, Some(WAIT));
                return Flow::Pause;
            }
            b"end" => context.effects.end_output(),
            b"file" => {
                let path = std::env::current_exe().expect("the test has a file");
                let file = std::fs::File::open(path).expect("it opens");
                reply.file(FileRange { file: Arc::new(file), offset: 0, length: 10 });
            }
            _ => {}
        }
        reply.send(format!("{} {}", self.lines, String::from_utf8_lossy(line)).as_bytes());
        Flow::Continue
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        reply.send(b"woken");
        Flow::Continue
    }

    fn timeout(&mut self, key: u8, reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        reply.send(format!("timeout {key}").as_bytes());
        Flow::Continue
    }

    fn save(&self, _app: &(), state: &mut State) -> Result<(), NotSaved> {
        state.number(self.lines);
        Ok(())
    }

    fn restore(&mut self, _app: &mut (), state: &mut SavedState<'_>) -> Result<(), StateError> {
        self.lines = state.number()?;
        Ok(())
    }

    fn restored(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_>) -> Flow {
        assert_eq!(context.cause, Cause::Restored);
        self.restored += 1;
        Flow::Continue
    }
}

type Counting = Conversation<Lines, Count>;

fn counting() -> Counting {
    Conversation::new(Lines::default(), Count::default())
}

fn text(wire: &mut Wire<Counting>) -> String {
    String::from_utf8(wire.take_sent()).expect("it answers in text")
}

#[test]
fn another_process_goes_on_in_the_middle_of_a_line() {
    let mut wire = Wire::new(counting());
    wire.feed(b"one\ntw", &mut ());
    assert_eq!(text(&mut wire), "hello\n1 one\n");
    wire.hand_over(counting(), &mut ()).expect("it can be handed over");
    wire.feed(b"o\n", &mut ());
    assert_eq!(text(&mut wire), "2 two\n");
    let service = wire.link().session().service();
    assert_eq!((service.opened, service.restored), (0, 1));
}

#[test]
fn a_pause_and_its_timeout_go_on_for_the_rest_of_their_time() {
    let mut wire = Wire::new(counting());
    wire.feed(b"wait\ntwo\n", &mut ());
    wire.pass(WAIT / 3, &mut ());
    wire.hand_over(counting(), &mut ()).expect("it can be handed over");
    wire.pass(WAIT / 3, &mut ());
    assert_eq!(text(&mut wire), "hello\n", "it waits");
    wire.pass(WAIT / 3, &mut ());
    assert_eq!(text(&mut wire), "timeout 7\n2 two\n");
}

#[test]
fn unsent_output_is_sent_and_the_end_of_a_stream_stays_known() {
    let mut wire = Wire::new(counting());
    wire.set_room(8, &mut ());
    wire.feed(b"one\nend\n", &mut ());
    wire.hand_over(counting(), &mut ()).expect("it can be handed over");
    wire.set_room(u64::MAX, &mut ());
    assert_eq!(text(&mut wire), "hello\n1 one\n2 end\n");
    assert!(wire.is_shut_down(), "the end of the output was to follow");
    wire.end_input(&mut ());
    assert!(wire.reason().is_some_and(Reason::is_orderly));
}

#[test]
fn what_cannot_be_said_as_bytes_stays() {
    let mut wire = Wire::new(counting());
    wire.set_room(0, &mut ());
    wire.feed(b"file\n", &mut ());
    assert_eq!(wire.hand_over(counting(), &mut ()), Err(NotSaved), "a file waits");
    wire.set_room(u64::MAX, &mut ());
    assert_eq!(wire.hand_over(counting(), &mut ()), Ok(()), "it was sent");
    wire.stop(&mut ());
    assert_eq!(wire.hand_over(counting(), &mut ()), Err(NotSaved), "the loop stops");
    wire.end_input(&mut ());
    assert_eq!(wire.hand_over(counting(), &mut ()), Err(NotSaved), "it has ended");
}

/// Runs a pass of a link whose peer takes `room` bytes. Returns what it waits for, and what was sent.
fn pass(
    link: &mut Link<Counting>,
    scratch: &mut Scratch,
    now: Instant,
    input: &[u8],
    room: usize,
) -> (Wait, String) {
    let (mut input, mut room, mut sent) = (input, room, Vec::new());
    link.begin(scratch, Moment { now, lost: Duration::ZERO });
    let wait = loop {
        match link.step(scratch) {
            Step::Call => link.call(scratch, ConnectionId(1), &mut ()),
            Step::Read(_) if input.is_empty() => link.read_blocked(scratch),
            Step::Read(room) => {
                room[..input.len()].copy_from_slice(input);
                let count = std::mem::take(&mut input).len();
                link.received(scratch, count, true);
            }
            Step::Write if room == 0 => link.write_blocked(scratch),
            Step::Write => {
                let output = link.output(scratch).to_vec();
                let count = output.len().min(room);
                sent.extend_from_slice(&output[..count]);
                room -= count;
                link.sent(scratch, count as u64, true);
            }
            Step::Wait(wait) => break wait,
            other => panic!("unexpected: {other:?}"),
        }
    };
    link.end(scratch);
    (wait, String::from_utf8(sent).expect("it answers in text"))
}

/// A frozen link does nothing, and goes on where it was.
#[test]
fn a_link_that_is_not_taken_goes_on() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut scratch = Scratch::new(now);
    let mut link = Link::new(counting(), Limits::DEFAULT.into());
    assert_eq!(pass(&mut link, &mut scratch, now, b"wait\ntwo\n", 99).1, "hello\n");
    assert!(link.freeze());
    let state = link.save(&(), now).expect("it can be saved");
    assert!(link.is_frozen() && link.deadline().is_none());
    assert_eq!(link.save(&(), now), Ok(state), "it stands still");
    link.tell(Event::Woken);
    let nothing = (Wait::default(), String::new());
    assert_eq!(pass(&mut link, &mut scratch, later, b"", 99), nothing);
    link.thaw();
    assert_eq!(link.deadline(), Some(now + WAIT));
    assert_eq!(pass(&mut link, &mut scratch, later, b"", 99).1, "woken\n2 two\n");
}

/// At every place of many random conversations: what the peer receives is the same.
#[test]
fn the_peer_receives_the_same_wherever_a_connection_is_handed_over() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let pieces = (0..20).map(|_| {
            let words: [&[u8]; 6] = [b"a", b"bcd\n", b"\n", b"wait\n", &[b'x'; 3000], b"e\nf\ng"];
            words[random.index(words.len())].to_vec()
        });
        let pieces: Vec<_> = pieces.collect();
        let rooms: Vec<_> = (0..20).map(|_| random.index(40) as u64).collect();
        let handed_over: Vec<_> = (0..20).map(|_| random.index(3) == 0).collect();
        let play = |hands_over: bool| {
            let limits = Limits { output_high: 200, output_low: 50, ..Limits::DEFAULT };
            let mut wire = Wire::over(Link::new(counting(), limits.into()));
            let mut seen = Vec::new();
            for ((piece, room), here) in pieces.iter().zip(&rooms).zip(&handed_over) {
                wire.set_room(*room, &mut ());
                wire.feed(piece, &mut ());
                wire.pass(Duration::from_secs(1), &mut ());
                if hands_over && *here {
                    wire.hand_over(counting(), &mut ()).expect("it can be handed over");
                }
                seen.push((wire.take_sent(), wire.unread()));
            }
            wire.set_room(u64::MAX, &mut ());
            wire.pass(WAIT * 20, &mut ());
            wire.end_input(&mut ());
            seen.push((wire.take_sent(), wire.unread()));
            seen
        };
        assert_eq!(play(true), play(false), "seed {seed}");
    }
}

#[test]
fn a_state_that_is_cut_or_altered_is_refused_and_panics_nowhere() {
    let now = Instant::now();
    let (mut link, mut scratch) =
        (Link::new(counting(), Limits::DEFAULT.into()), Scratch::new(now));
    let (_, sent) = pass(&mut link, &mut scratch, now, b"one\nwait\nthree\n", 3);
    assert_eq!(sent, "hel");
    let state = link.save(&(), now).expect("it can be saved");
    // What is restored goes on, whatever it is.
    let restored = |state: &[u8]| {
        let link = Link::restored(counting(), Limits::DEFAULT.into(), state, now, &mut ())?;
        let mut wire = Wire::over(link);
        wire.feed(b"more\n", &mut ());
        wire.pass(WAIT, &mut ());
        wire.wake(&mut ());
        wire.end_input(&mut ());
        Ok(())
    };
    assert_eq!(restored(&state), Ok(()));
    for length in 0..state.len() {
        assert!(restored(&state[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(restored(&[&state[..], b"x"].concat()), Err(StateError::TooLong));
    let format = [&2_u64.to_le_bytes(), &state[8..]].concat();
    assert_eq!(restored(&format), Err(StateError::Format { format: 2 }));
    for place in 0..state.len() {
        for bit in 0..8 {
            let mut altered = state.clone();
            altered[place] ^= 1 << bit;
            let _ = restored(&altered);
        }
    }
}
