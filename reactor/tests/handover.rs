//! Connections that another loop goes on with, as that of another process does: nothing is lost,
//! whether it takes them or not.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{PATIENCE, on_every_backend, turn_until};
use protocol::codecs::Lines;
use protocol::{
    Context, Conversation, Flow, Limits, NotSaved, Reply, SavedState, Service, State, StateError,
};
use reactor::{
    Accepted, Address, Departure, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Reason,
    Stream, Token,
};

/// Answers each line with how many there were. "later" is answered after a time.
struct Count {
    lines: u64,
    is_savable: bool,
}

type Counting = Conversation<Lines, Count>;

const LATER: Duration = Duration::from_millis(150);

fn counting(is_savable: bool) -> Counting {
    Conversation::new(Lines::default(), Count { lines: 0, is_savable })
}

impl Count {
    fn answer(&self, reply: &mut Reply<'_, Lines>, line: &[u8]) -> Flow {
        reply.send(format!("{} {}", self.lines, String::from_utf8_lossy(line)).as_bytes());
        Flow::Continue
    }
}

impl<A> Service<Lines, A> for Count {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        self.lines += 1;
        match &*line {
            b"later" => {
                context.effects.set_timeout(1, Some(LATER));
                Flow::Pause
            }
            b"much" => {
                (0..12_000).for_each(|_| _ = self.answer(reply, &[b'x'; 1000]));
                Flow::Continue
            }
            line => self.answer(reply, line),
        }
    }

    fn timeout(
        &mut self,
        _key: u8,
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        self.answer(reply, b"now")
    }

    fn save(&self, _app: &A, state: &mut State) -> Result<(), NotSaved> {
        if !self.is_savable {
            return Err(NotSaved);
        }
        state.number(self.lines);
        Ok(())
    }

    fn restore(&mut self, _app: &mut A, state: &mut SavedState<'_>) -> Result<(), StateError> {
        self.lines = state.number()?;
        Ok(())
    }
}

/// Listens with sessions from `make`. Returns the address.
fn listen(
    reactor: &mut Reactor<()>,
    mut make: impl FnMut() -> Counting + 'static,
) -> (SocketAddr, Token) {
    let any = Address::Tcp("127.0.0.1:0".parse().expect("an address"));
    let listener = Listener::bind(&any, &ListenOptions::DEFAULT).expect("it binds");
    let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
    let token = Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_| make());
    (address, token.expect("it registers"))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Returns the next `count` bytes, while `turn` runs the loops.
fn bytes(stream: &mut TcpStream, count: usize, mut turn: impl FnMut()) -> Vec<u8> {
    stream.set_nonblocking(true).expect("a mode");
    let (mut bytes, mut filled, start) = (vec![0; count], 0, Instant::now());
    while filled < count {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => panic!("the stream ends after {filled} bytes"),
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => turn(),
            Err(error) => panic!("read: {error}"),
        }
        assert!(start.elapsed() < PATIENCE, "only {filled} bytes come");
    }
    bytes
}

/// Returns the next line, while `turn` runs the loops.
fn line(stream: &mut TcpStream, mut turn: impl FnMut()) -> String {
    let mut line = Vec::new();
    loop {
        match bytes(stream, 1, &mut turn)[0] {
            b'\n' => return String::from_utf8(line).expect("text"),
            byte => line.push(byte),
        }
    }
}

type Away = Rc<RefCell<Vec<(Token, OwnedFd, Vec<u8>)>>>;
type Finished = Rc<Cell<Option<(usize, usize)>>>;

/// Hands over: the connections that are away, and what the end has told.
fn hand_over(reactor: &mut Reactor<()>, away_max: usize) -> (Away, Finished) {
    let (away, finished) = (Away::default(), Finished::default());
    let told = (Rc::clone(&away), Rc::clone(&finished));
    let receive = move |departure, _: &mut LoopCx<'_, ()>| match departure {
        Departure::Connection { token, descriptor, state } => {
            told.0.borrow_mut().push((token, descriptor, state));
            assert!(told.0.borrow().len() <= away_max, "too many are away");
        }
        Departure::Finished { departed, stayed } => told.1.set(Some((departed, stayed))),
        other => panic!("they are not handed over together: {other:?}"),
    };
    reactor.cx().hand_over(away_max, receive).expect("it hands over");
    (away, finished)
}

fn another(like: &Reactor<()>) -> Reactor<()> {
    let kind: reactor::BackendKind = like.backend_name().parse().expect("a name");
    let backend = kind.open().expect("it opens");
    Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("the reactor opens")
}

fn take(descriptor: OwnedFd, state: &[u8], new: &mut Reactor<()>) {
    let accepted = Accepted::from_fd(descriptor).expect("it is connected");
    let restored = Stream::restore(accepted, counting(true), Limits::DEFAULT, state, &mut new.cx());
    new.cx().thaw(restored.expect("it is restored"));
}

fn turn(reactors: &mut [&mut Reactor<()>]) {
    for reactor in reactors {
        reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
    }
}

#[test]
fn connections_go_on_here_or_there() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let mut new = another(&old);
        let made = Cell::new(0);
        let (address, listener) = listen(&mut old, move || {
            made.set(made.get() + 1);
            counting(made.get() % 5 != 0)
        });
        let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
        for client in &mut clients {
            client.write_all(b"one\ntw").expect("it takes bytes");
            assert_eq!(line(client, || turn(&mut [&mut old])), "1 one");
        }
        old.cx().close(listener);
        let (away, finished) = hand_over(&mut old, 7);
        let mut answered = 0;
        while finished.get().is_none() {
            turn(&mut [&mut old, &mut new]);
            for (token, descriptor, state) in away.take() {
                answered += 1;
                if answered % 2 == 0 {
                    take(descriptor, &state, &mut new);
                    old.cx().departed(token);
                } else {
                    old.cx().stays(token);
                }
            }
        }
        // Of a hundred, twenty cannot be saved, and every second of the others is not taken.
        assert_eq!(finished.get(), Some((40, 60)));
        turn_until(&mut old, |old| old.counters().connections == 60);
        assert_eq!(new.counters().connections, 40);
        assert_eq!(old.counters().closes[Reason::HandedOver.index()], 40);
        for client in &mut clients {
            client.write_all(b"o\nlater\nfour\n").expect("it takes bytes");
        }
        for client in &mut clients {
            let mut next = || line(client, || turn(&mut [&mut old, &mut new]));
            assert_eq!([next(), next(), next()], ["2 two", "3 now", "4 four"]);
        }
        assert_eq!((old.counters().cut_short, new.counters().cut_short), (0, 0));
    });
}

#[test]
fn output_and_timeouts_go_along() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let mut new = another(&old);
        let (address, _) = listen(&mut old, || counting(true));
        let mut client = connect(address);
        client.write_all(b"much\nlater\nlast\n").expect("it takes bytes");
        // The loop has written what the kernel takes.
        turn_until(&mut old, |old| old.counters().bytes_written > 0);
        let (away, finished) = hand_over(&mut old, 1);
        turn_until(&mut old, |_| !away.borrow().is_empty());
        let (token, descriptor, state) = away.borrow_mut().pop().expect("one is away");
        assert!(state.len() > 100_000, "the output goes along: {} bytes", state.len());
        // A frozen connection waits for nothing, however long it takes.
        let before = old.counters();
        for _ in 0..20 {
            turn(&mut [&mut old]);
        }
        let (runs, written) = (old.counters().runs, old.counters().bytes_written);
        assert_eq!((runs, written), (before.runs, before.bytes_written));
        take(descriptor, &state, &mut new);
        old.cx().departed(token);
        turn_until(&mut old, |_| finished.get().is_some());
        drop(old);
        let expected = [&b"1 "[..], &[b'x'; 1000], b"\n"].concat().repeat(12_000);
        let received = bytes(&mut client, expected.len(), || turn(&mut [&mut new]));
        assert!(received == expected, "other bytes");
        let mut next = || line(&mut client, || turn(&mut [&mut new]));
        assert_eq!([next(), next()], ["2 now", "3 last"]);
    });
}

#[test]
fn a_connection_that_ends_while_it_waits_neither_departs_nor_stays() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let (address, _) = listen(&mut old, || counting(true));
        let mut clients: Vec<_> = (0..10).map(|_| connect(address)).collect();
        turn_until(&mut old, |old| old.counters().connections == 10);
        let (away, finished) = hand_over(&mut old, 4);
        turn_until(&mut old, |_| away.borrow().len() == 4);
        clients.clear();
        // Those that are away are frozen.
        turn_until(&mut old, |old| old.counters().connections == 4);
        away.take().into_iter().for_each(|(token, ..)| old.cx().departed(token));
        turn_until(&mut old, |_| finished.get().is_some());
        assert_eq!(finished.get(), Some((4, 0)));
    });
}

#[test]
fn all_go_on_here_when_the_other_process_is_gone() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let (address, _) = listen(&mut old, || counting(true));
        let mut clients: Vec<_> = (0..10).map(|_| connect(address)).collect();
        turn_until(&mut old, |old| old.counters().connections == 10);
        let (away, finished) = hand_over(&mut old, 4);
        turn_until(&mut old, |_| away.borrow().len() == 4);
        assert!(old.cx().hand_over(1, |_, _| {}).is_err(), "it does so already");
        old.cx().stop_handing_over();
        turn_until(&mut old, |_| finished.get().is_some());
        assert_eq!(finished.get(), Some((0, 10)));
        away.borrow_mut().clear();
        for client in &mut clients {
            client.write_all(b"one\n").expect("it takes bytes");
            assert_eq!(line(client, || turn(&mut [&mut old])), "1 one");
        }
        // It can be tried again.
        let (away, finished) = hand_over(&mut old, 100);
        turn_until(&mut old, |_| away.borrow().len() == 10);
        for (token, ..) in away.take() {
            old.cx().stays(token);
            old.cx().departed(token);
        }
        turn_until(&mut old, |_| finished.get().is_some());
        assert_eq!(finished.get(), Some((0, 10)), "the first answer counts");
        assert!(old.cx().hand_over(0, |_, _| {}).is_err());
    });
}

/// What a loop has said while it hands over together, and how many connections it gives away.
type Told = Rc<RefCell<Vec<Departure>>>;

fn hand_over_together(reactor: &mut Reactor<()>) -> Told {
    let told = Told::default();
    let diary = Rc::clone(&told);
    let receive = move |departure, _: &mut LoopCx<'_, ()>| diary.borrow_mut().push(departure);
    reactor.cx().hand_over_together(receive).expect("it hands over");
    told
}

#[test]
fn connections_that_share_a_state_stand_still_together() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let mut new = another(&old);
        let made = Cell::new(0);
        let (address, listener) = listen(&mut old, move || {
            made.set(made.get() + 1);
            counting(made.get() != 3)
        });
        let mut clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        turn_until(&mut old, |old| old.counters().connections == 5);
        old.cx().close(listener);
        // The first attempt fails when some are given away already; the second goes through.
        for succeeds in [false, true] {
            let told = hand_over_together(&mut old);
            turn_until(&mut old, |_| !told.borrow().is_empty());
            assert!(matches!(told.take()[..], [Departure::Frozen { connections: 5 }]));
            clients.iter_mut().for_each(|it| it.write_all(b"one\n").expect("it takes bytes"));
            for _ in 0..20 {
                turn(&mut [&mut old]);
            }
            assert!(told.borrow().is_empty(), "none is given away before that is asked for");
            old.cx().give_away(if succeeds { 5 } else { 2 });
            turn_until(&mut old, |_| told.borrow().len() >= if succeeds { 5 } else { 2 });
            let mut unsaved = 0;
            for (number, departure) in told.take().into_iter().enumerate() {
                match departure {
                    Departure::Connection { token, .. } if number == 0 => old.cx().stays(token),
                    Departure::Connection { descriptor, state, .. } if succeeds => {
                        take(descriptor, &state, &mut new);
                    }
                    Departure::Connection { .. } => {}
                    Departure::Unsaved { .. } => unsaved += 1,
                    other => panic!("{other:?}"),
                }
            }
            for _ in 0..20 {
                turn(&mut [&mut old]);
            }
            assert!(told.borrow().is_empty(), "they stand still to the end");
            match succeeds {
                true => old.cx().finish_handing_over(),
                false => old.cx().stop_handing_over(),
            }
            turn_until(&mut old, |_| !told.borrow().is_empty());
            let [Departure::Finished { departed, stayed }] = told.take()[..] else { panic!() };
            assert_eq!((departed, stayed), if succeeds { (3, 2) } else { (0, 5) });
            assert!(!succeeds || unsaved == 1);
            for client in &mut clients {
                let expected = if succeeds { "2 one" } else { "1 one" };
                assert_eq!(line(client, || turn(&mut [&mut old, &mut new])), expected);
            }
        }
        assert_eq!((old.counters().connections, new.counters().connections), (2, 3));
        assert_eq!((old.counters().cut_short, new.counters().cut_short), (0, 0));
    });
}

#[test]
fn a_peer_that_resets_a_frozen_connection_is_noticed() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let (address, _) = listen(&mut old, || counting(true));
        let client = connect(address);
        turn_until(&mut old, |old| old.counters().connections == 1);
        let (away, _) = hand_over(&mut old, 1);
        turn_until(&mut old, |_| away.borrow().len() == 1);
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(client);
        for _ in 0..20 {
            turn(&mut [&mut old]);
        }
        assert_eq!(old.counters().connections, 1, "it has no answer");
        let (token, ..) = away.borrow_mut().pop().expect("one is away");
        old.cx().stays(token);
        turn_until(&mut old, |old| old.counters().connections == 0);
        assert_eq!(
            old.counters().closes
                [Reason::Failed { operation: "", error: ErrorKind::Other.into() }.index()],
            1
        );
    });
}

#[test]
fn a_restored_connection_does_nothing_before_it_is_thawed() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let mut new = another(&old);
        let (address, _) = listen(&mut old, || counting(true));
        let mut client = connect(address);
        client.write_all(b"later\n").expect("it takes bytes");
        turn_until(&mut old, |old| old.counters().bytes_read > 0);
        let (away, finished) = hand_over(&mut old, 1);
        turn_until(&mut old, |_| !away.borrow().is_empty());
        let (token, descriptor, state) = away.borrow_mut().pop().expect("one is away");
        let accepted = Accepted::from_fd(descriptor).expect("it is connected");
        let limits = Limits::DEFAULT;
        let restored = Stream::restore(accepted, counting(true), limits, &state, &mut new.cx());
        let restored = restored.expect("it is restored");
        client.write_all(b"two\n").expect("it takes bytes");
        let start = Instant::now();
        while start.elapsed() < 2 * LATER {
            turn(&mut [&mut new]);
        }
        let counters = new.counters();
        assert_eq!((counters.bytes_read, counters.bytes_written), (0, 0));
        old.cx().departed(token);
        turn_until(&mut old, |_| finished.get().is_some());
        new.cx().thaw(restored);
        // Its time has passed meanwhile.
        assert_eq!(line(&mut client, || turn(&mut [&mut new])), "1 now");
        assert_eq!(line(&mut client, || turn(&mut [&mut new])), "2 two");
    });
}

#[test]
fn what_arrives_is_not_lost_when_the_other_process_ends_before_it_answers() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let (address, _) = listen(&mut old, || counting(true));
        let mut client = connect(address);
        client.write_all(b"one\ntw").expect("it takes bytes");
        assert_eq!(line(&mut client, || turn(&mut [&mut old])), "1 one");
        for count in 2..5 {
            let mut new = another(&old);
            let (away, finished) = hand_over(&mut old, 1);
            turn_until(&mut old, |_| !away.borrow().is_empty());
            let (token, descriptor, state) = away.borrow_mut().pop().expect("one is away");
            let accepted = Accepted::from_fd(descriptor).expect("it is connected");
            let session = counting(true);
            Stream::restore(accepted, session, Limits::DEFAULT, &state, &mut new.cx())
                .expect("it is restored");
            client.write_all(b"o\ntw").expect("it takes bytes");
            for _ in 0..5 {
                turn(&mut [&mut new]);
            }
            drop(new);
            old.cx().stays(token);
            let expected = format!("{count} two");
            assert_eq!(line(&mut client, || turn(&mut [&mut old])), expected);
            assert_eq!(finished.get(), Some((0, 1)));
        }
        assert_eq!(old.counters().cut_short, 0);
    });
}

#[test]
fn silence_goes_on_in_the_new_process() {
    on_every_backend(LoopLimits::DEFAULT, |mut old: Reactor<()>| {
        let mut new = another(&old);
        let (address, _) = listen(&mut old, || counting(true));
        let mut clients = [connect(address), connect(address)];
        turn_until(&mut old, |old| old.counters().connections == 2);
        let (away, _) = hand_over(&mut old, 2);
        turn_until(&mut old, |_| away.borrow().len() == 2);
        // What the second client has sent counts, although the loop has not looked at it.
        clients[1].write_all(b"one\n").expect("it takes bytes");
        for (token, descriptor, state) in away.take() {
            let mut saved = SavedState::new(&state);
            let silence = saved.number().expect("it is the silence");
            assert!(silence < PATIENCE.as_nanos() as u64, "{silence} ns");
            let mut state = State::new();
            state.number(Duration::from_secs(3600).as_nanos() as u64);
            state.bytes(saved.bytes().expect("it is the link"));
            take(descriptor, &state.into_bytes(), &mut new);
            old.cx().departed(token);
        }
        turn_until(&mut new, |new| new.counters().connections == 1);
        let idle = Reason::TimedOut(reactor::Timeout::Idle).index();
        assert_eq!(new.counters().closes[idle], 1);
        assert_eq!(line(&mut clients[1], || turn(&mut [&mut new])), "1 one");
    });
}
