//! What a link keeps between two passes, while others use the buffers that all of them share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use protocol::link::{Layer, Link, Moment, Passed, Plain, Scratch};
use protocol::testing::ToyCipher;
use protocol::{Buffer, ConnectionId, Context, Flow, Limits, Output, Random, Reason, Session};

use crate::driver::{Driver, Watch};

/// What one session heard, and how much of its input it takes in its next call.
#[derive(Default)]
struct Ear {
    heard: Vec<u8>,
    takes: usize,
    /// It takes nothing before there is so much.
    waits_for: usize,
}

/// The ears of all sessions, by the number of the connection.
struct Ears(Vec<Ear>);

impl Watch for Ears {}

/// Takes as much as it is told to, and leaves the rest.
struct Takes;

impl Session<Ears> for Takes {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Ears>,
    ) -> Result<Flow, Reason> {
        let ear = &mut context.app.0[context.me.0 as usize];
        let is_enough = input.len() >= ear.waits_for;
        let count = if is_enough { ear.takes.min(input.len()) } else { 0 };
        ear.takes -= count;
        ear.heard.extend_from_slice(&input.filled()[..count]);
        output.append(&input.filled()[..count]);
        input.consume(count);
        Ok(Flow::Continue)
    }
}

/// Connections that share the buffers of one driver.
struct Crowd<L = Plain> {
    drivers: Vec<Driver<Takes, L>>,
    ears: Ears,
    scratch: Scratch,
    moment: Moment,
}

impl Crowd {
    fn new(count: usize) -> Self {
        Self::of(count, |limits| Link::new(Takes, limits))
    }
}

impl<L: Layer> Crowd<L> {
    fn of(count: usize, make: impl Fn(Arc<Limits>) -> Link<Takes, L>) -> Self {
        let limits = Limits { output_low: 1000, output_high: 200_000, ..Limits::DEFAULT };
        let limits = limits.shared().expect("they are in order");
        let now = Instant::now();
        let make = |place| Driver::new(make(limits.clone()), ConnectionId(place));
        Self {
            drivers: (0..count as u128).map(make).collect(),
            ears: Ears((0..count).map(|_| Ear::default()).collect()),
            scratch: Scratch::new(now),
            moment: Moment { now, lost: Duration::ZERO },
        }
    }

    /// Feeds one connection, whose session takes so much of what it has.
    fn run(&mut self, place: usize, bytes: &[u8], takes: usize) {
        self.ears.0[place].takes = takes;
        let driver = &mut self.drivers[place];
        driver.incoming.extend(bytes);
        driver.run(&mut self.scratch, self.moment, &mut self.ears);
    }

    /// The session takes so much of what it has, without news from the peer.
    fn take(&mut self, place: usize, takes: usize) {
        self.ears.0[place].takes = takes;
        let driver = &mut self.drivers[place];
        driver.link.tell(protocol::link::Event::Woken);
        driver.pass(&mut self.scratch, self.moment, &mut self.ears, |_, _| Passed::GoesOn);
    }
}

/// The byte at a place of what the peer of a connection sends.
fn byte(connection: usize, place: usize) -> u8 {
    (place.wrapping_mul(167) >> 3) as u8 ^ (place >> 8) as u8 ^ (connection * 59) as u8
}

fn bytes(connection: usize, from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|place| byte(connection, place)).collect()
}

#[test]
fn every_link_has_its_own_input_again_however_much_the_others_keep() {
    const COUNT: usize = 7;
    let mut random = Random::new(1);
    let sizes = [0, 1, 100, 4096, 32 * 1024, 32 * 1024 + 1, 65_000, 64 * 1024, 150_000];
    let mut crowd = Crowd::new(COUNT);
    let mut fed = [0; COUNT];
    for _ in 0..300 {
        let place = random.index(COUNT);
        let size = sizes[random.index(sizes.len())];
        let kept = fed[place] - crowd.ears.0[place].heard.len();
        if kept + size > 900_000 || random.one_in(3) {
            crowd.take(place, kept / (1 + random.index(3)));
        } else {
            let news = bytes(place, fed[place], size);
            fed[place] += size;
            crowd.run(place, &news, (kept + size) / (1 + random.index(4)));
        }
        if random.one_in(4) {
            crowd.drivers[place].ways.room = random.below(50_000);
        }
    }
    for (place, fed) in fed.into_iter().enumerate() {
        crowd.drivers[place].ways.room = u64::MAX;
        crowd.take(place, usize::MAX);
        crowd.run(place, b"", usize::MAX);
        let (ear, driver) = (&crowd.ears.0[place], &crowd.drivers[place]);
        assert!(fed > 100_000, "connection {place} had little to do");
        assert!(ear.heard == bytes(place, 0, fed), "connection {place} heard otherwise");
        assert!(driver.sent == ear.heard, "connection {place} said otherwise");
    }
}

#[test]
fn a_rest_of_the_input_takes_no_more_memory_than_its_bytes_and_gives_it_back() {
    const COUNT: usize = 50;
    const KEPT: usize = 40_000;
    let mut crowd = Crowd::new(COUNT);
    // What the driver and the test itself need is there before anything is measured.
    let news = bytes(0, 0, KEPT);
    for place in 0..COUNT {
        crowd.ears.0[place].heard.reserve(3 * KEPT);
        crowd.drivers[place].sent.reserve(3 * KEPT);
        crowd.drivers[place].incoming.reserve(3 * KEPT);
        crowd.run(place, &news, usize::MAX);
    }
    let keeping = measure(|| (0..COUNT).for_each(|place| crowd.run(place, &news, 1)));
    let most = (COUNT * (KEPT + 1000)) as i64;
    assert!(keeping.bytes_current < most, "{} bytes for {most}", keeping.bytes_current);
    let all = measure(|| (0..COUNT).for_each(|place| crowd.take(place, KEPT)));
    let left = keeping.bytes_current + all.bytes_current;
    // The boxes of the pool, and the shared buffers that have grown a little.
    assert!(left < 100_000, "{left} bytes are left");
    let rounds = 10;
    let again = measure(|| {
        for _ in 0..rounds {
            crowd.run(3, b"ab", 1);
            crowd.take(3, 1);
        }
    });
    assert!(again.bytes_current < 1000, "{again:?}");
    // The byte that is left, and no box for it: that comes from the pool.
    assert!(again.count_total <= rounds, "{again:?}");
}

#[test]
fn what_is_left_of_much_input_does_not_keep_the_room_of_all_of_it() {
    const FED: usize = 300_000;
    let mut crowd = Crowd::new(2);
    let news = bytes(0, 0, FED);
    for place in [0, 1] {
        crowd.ears.0[place].heard.reserve(2 * FED);
        crowd.drivers[place].sent.reserve(2 * FED);
        crowd.drivers[place].incoming.reserve(2 * FED);
    }
    crowd.run(0, &news, usize::MAX);
    let kept = measure(|| {
        crowd.run(1, &news, 0);
        crowd.take(1, FED - 10);
    });
    // The shared buffer may have grown to its own size again.
    let most = 2 * Scratch::INPUT_SIZE as i64;
    assert!(kept.bytes_current < most, "{} bytes for 10", kept.bytes_current);
    crowd.take(1, 10);
    assert!(crowd.ears.0[1].heard == news);
}

#[test]
fn a_rest_of_the_output_gives_its_memory_back_once_it_is_sent() {
    const COUNT: usize = 50;
    const KEPT: usize = 40_000;
    let mut crowd = Crowd::new(COUNT);
    let news = bytes(0, 0, KEPT);
    for place in 0..COUNT {
        crowd.ears.0[place].heard.reserve(3 * KEPT);
        crowd.drivers[place].sent.reserve(3 * KEPT);
        crowd.drivers[place].incoming.reserve(3 * KEPT);
        crowd.run(place, &news, usize::MAX);
    }
    let all = measure(|| {
        for place in 0..COUNT {
            crowd.drivers[place].ways.room = 0;
            crowd.run(place, &news, usize::MAX);
        }
        for place in 0..COUNT {
            crowd.drivers[place].ways.room = u64::MAX;
            crowd.run(place, b"", usize::MAX);
        }
    });
    assert!(all.bytes_max > (COUNT * KEPT) as u64, "{all:?}");
    assert!(all.bytes_current < 100_000, "{} bytes are left", all.bytes_current);
}

#[test]
fn much_input_that_was_taken_in_one_pass_leaves_no_room_behind() {
    const FED: usize = 200_000;
    let mut crowd = Crowd::new(1);
    crowd.ears.0[0].waits_for = FED;
    crowd.ears.0[0].heard.reserve(2 * FED);
    crowd.drivers[0].sent.reserve(2 * FED);
    crowd.drivers[0].incoming.reserve(2 * FED);
    let news = bytes(0, 0, FED);
    let pass = measure(|| crowd.run(0, &news, usize::MAX));
    assert_eq!(crowd.drivers[0].counts.passes, 1, "it was read at once");
    assert!(crowd.ears.0[0].heard == news);
    assert!(pass.bytes_max > FED as u64, "{pass:?}");
    // The shared buffer is of its own size again, and the output keeps its last block.
    let most = 2 * Scratch::INPUT_SIZE as i64;
    assert!(pass.bytes_current < most, "{} bytes are left", pass.bytes_current);
}

#[test]
fn a_crowd_whose_rests_are_gone_leaves_few_boxes_behind() {
    const COUNT: usize = 1000;
    let mut crowd = Crowd::new(COUNT);
    for place in 0..COUNT {
        crowd.ears.0[place].heard.reserve(100);
        crowd.drivers[place].sent.reserve(100);
        crowd.drivers[place].incoming.reserve(100);
    }
    crowd.run(0, b"warm", usize::MAX);
    let all = measure(|| {
        (0..COUNT).for_each(|place| crowd.run(place, b"ab", 1));
        (0..COUNT).for_each(|place| crowd.take(place, 1));
    });
    assert!(all.bytes_max > (COUNT * 100) as u64, "{all:?}");
    assert!(all.bytes_current < (COUNT * 50) as i64, "{} bytes are left", all.bytes_current);
}

#[test]
fn a_driver_of_one_link_may_leave_it_the_buffers() {
    let mut crowd = Crowd::new(1);
    crowd.drivers[0].keeps_buffers = true;
    let (mut random, mut fed) = (Random::new(2), 0);
    for _ in 0..100 {
        let size = [0, 1, 5000, 70_000][random.index(4)];
        let kept = fed - crowd.ears.0[0].heard.len();
        crowd.drivers[0].ways.room = random.below(50_000);
        let news = bytes(0, fed, size);
        fed += size;
        crowd.run(0, &news, (kept + size) / (1 + random.index(2)));
    }
    crowd.drivers[0].ways.room = u64::MAX;
    crowd.take(0, usize::MAX);
    crowd.run(0, b"", usize::MAX);
    assert!(crowd.ears.0[0].heard == bytes(0, 0, fed), "it heard otherwise");
    assert!(crowd.drivers[0].sent == crowd.ears.0[0].heard, "it said otherwise");
}

#[test]
fn the_shared_buffer_has_its_size_again_once_a_large_rest_was_taken() {
    const KEPT: usize = 40_000;
    let mut crowd = Crowd::new(2);
    crowd.run(0, &bytes(0, 0, KEPT), 1);
    crowd.take(0, KEPT);
    assert_eq!(crowd.ears.0[0].heard.len(), KEPT);
    crowd.run(1, &bytes(1, 0, 60_000), usize::MAX);
    assert_eq!(crowd.drivers[1].counts.transfers, 2, "one read and one write");
}

#[test]
fn a_large_rest_of_the_output_is_not_copied_again_by_each_pass() {
    const KEPT: usize = 60_000;
    let mut crowd = Crowd::new(1);
    crowd.drivers[0].ways.room = 0;
    crowd.drivers[0].sent.reserve(1000);
    crowd.run(0, &bytes(0, 0, KEPT), usize::MAX);
    let passes = measure(|| {
        for _ in 0..100 {
            crowd.drivers[0].ways.room = 1;
            crowd.run(0, b"", 0);
        }
    });
    assert_eq!((crowd.drivers[0].counts.sent, passes.count_total), (100, 0), "{passes:?}");
}

#[test]
fn an_idle_connection_with_a_layer_keeps_no_buffers() {
    const COUNT: usize = 50;
    const SIZE: usize = 10_000;
    let (mut layer, message) = (ToyCipher::default(), bytes(0, 0, SIZE));
    let mut seal = |greets: bool| {
        let mut wire = Output::new();
        if greets {
            layer.start(&mut wire);
        }
        layer.seal(&message, &mut wire).expect("it can seal all");
        wire.to_vec()
    };
    let (first, second) = (seal(true), seal(false));
    let make = |limits| Link::with_layer(Takes, ToyCipher::default(), limits);
    let mut crowd = Crowd::of(COUNT, make);
    for place in 0..COUNT {
        crowd.ears.0[place].heard.reserve(3 * SIZE);
        crowd.drivers[place].sent.reserve(3 * SIZE);
        crowd.drivers[place].incoming.reserve(3 * SIZE);
    }
    // What is shared grows with the first.
    crowd.run(0, &first, usize::MAX);
    let idle = measure(|| (1..COUNT).for_each(|place| crowd.run(place, &first, usize::MAX)));
    assert!(idle.bytes_current < 1000, "{idle:?}");
    // The rest of a record takes its bytes and a box, and gives them back.
    let (front, back) = second.split_at(5000);
    let kept = 5000 - 4096 - 2;
    let halves = measure(|| (0..COUNT).for_each(|place| crowd.run(place, front, usize::MAX)));
    let most = COUNT * (kept + 500);
    let range = (COUNT * kept) as i64..most as i64;
    assert!(range.contains(&halves.bytes_current), "{halves:?} for {range:?}");
    let wholes = measure(|| (0..COUNT).for_each(|place| crowd.run(place, back, usize::MAX)));
    let left = halves.bytes_current + wholes.bytes_current;
    // The boxes of the pool.
    assert!(left < 500 * COUNT as i64, "{left} bytes are left");
    for (driver, ear) in crowd.drivers.iter().zip(&crowd.ears.0) {
        assert_eq!((driver.link.unsent_kept(), driver.sent.len()), (0, first.len() + second.len()));
        assert!(ear.heard[..SIZE] == message && ear.heard[SIZE..] == message);
    }
}
