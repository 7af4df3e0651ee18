//! Tests of kv without sockets: sessions on one state, which the tests inspect.

use std::cell::Cell;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::{Duration, Instant};

use protocol::resp::Server;
use protocol::{
    Buffer, Cause, ConnectionId, Context, Conversation, Effects, Flow, Limits, Output, Session,
};
use reactor::time_of_day;
use servers::kv::{App, Config, Connection, session};

/// Limits like those of the server: a session is read even if much output is unread.
const LIMITS: Limits = Limits {
    message_size_max: 1 << 30,
    output_high: 1 << 30,
    output_max: 1 << 30,
    ..Limits::DEFAULT
};

struct Client {
    session: Conversation<Server, Connection>,
    connection: ConnectionId,
    input: Buffer,
    output: Output,
}

fn app() -> App {
    app_at(Instant::now)
}

/// Returns an application that gets the time from `clock`.
fn app_at(clock: impl Fn() -> Instant + 'static) -> App {
    App::new(config(), clock, time_of_day)
}

fn config() -> Config {
    Config {
        memory_max: None,
        password: String::new(),
        pubsub_backlog_max: 10_000,
        normal_backlog_max: 1 << 20,
        clients_memory_max: 100 << 20,
        idle_timeout: None,
        connections_max: 10_000,
    }
}

/// Returns a clock that advances by ten milliseconds each time it is read, and the number of
/// readings.
fn stepping_clock() -> (impl Fn() -> Instant, Rc<Cell<u32>>) {
    let (start, readings) = (Instant::now(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&readings);
    let clock = move || {
        count.set(count.get() + 1);
        start + count.get() * Duration::from_millis(10)
    };
    (clock, readings)
}

impl Client {
    fn open(app: &mut App, number: u64) -> Self {
        let (input, output) = (Buffer::new(), Output::new());
        let mut client =
            Self { session: session(None), connection: ConnectionId(number.into()), input, output };
        assert_eq!(client.advance(app, Cause::Opened).0, Flow::Continue);
        client
    }

    /// Calls the session. Returns its flow, and the connections that it wakes.
    fn advance(&mut self, app: &mut App, cause: Cause) -> (Flow, Vec<ConnectionId>) {
        let mut effects = Effects::default();
        let mut context = Context::new(Instant::now(), self.connection, app, &LIMITS, &mut effects)
            .because(cause);
        let flow = self.session.advance(&mut self.input, &mut self.output, &mut context);
        // An error ends the conversation too.
        (flow.unwrap_or(Flow::Close), effects.take_wakes().collect())
    }

    /// Sends a line. Returns the reply.
    fn answer(&mut self, app: &mut App, line: &str) -> String {
        self.discard_output();
        assert_eq!(self.send(app, line).0, Flow::Continue);
        let output = String::from_utf8(self.output.to_vec()).expect("it is text");
        self.discard_output();
        output
    }

    fn send(&mut self, app: &mut App, line: &str) -> (Flow, Vec<ConnectionId>) {
        self.input.extend_from_slice(format!("{line}\r\n").as_bytes());
        self.advance(app, Cause::Input)
    }

    #[track_caller]
    fn run(&mut self, app: &mut App, lines: &str) {
        assert_eq!(self.send(app, lines).0, Flow::Continue);
    }

    /// Closes its connection.
    fn closed(&mut self, app: &mut App) {
        let mut effects = Effects::default();
        let mut context = Context::new(Instant::now(), self.connection, app, &LIMITS, &mut effects);
        Session::closed(&mut self.session, &protocol::Reason::Finished, &mut context);
    }

    fn discard_output(&mut self) {
        self.output.consume(self.output.len());
    }
}

/// Returns the address of the first bytes of an output.
fn place(output: &Output) -> (*const u8, usize) {
    let mut slices = [IoSlice::new(&[])];
    assert_eq!(output.gather(&mut slices), 1, "there is output");
    (slices[0].as_ptr(), slices[0].len())
}

#[test]
fn five_thousand_subscribers_share_one_copy_of_a_message() {
    let mut app = app();
    let mut subscribers: Vec<Client> = (1..=5000).map(|it| Client::open(&mut app, it)).collect();
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.send(&mut app, "subscribe news").0, Flow::Continue);
        subscriber.discard_output();
    }
    let mut publisher = Client::open(&mut app, 9999);
    let message = "x".repeat(1024);
    let (_, woken) = publisher.send(&mut app, &format!("publish news {message}"));
    assert_eq!(publisher.output.to_vec(), b":5000\r\n");
    assert_eq!(woken.len(), 5000);
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.advance(&mut app, Cause::Woken).0, Flow::Continue);
    }
    let first = place(&subscribers[0].output);
    assert!(first.1 > 1024);
    assert!(subscribers.iter().all(|it| place(&it.output) == first), "the message was copied");
}

#[test]
fn a_backlog_over_the_limit_is_dropped_and_does_not_grow() {
    let mut app = app();
    let mut subscriber = Client::open(&mut app, 1);
    assert_eq!(subscriber.send(&mut app, "subscribe news").0, Flow::Continue);
    let mut publisher = Client::open(&mut app, 2);
    let message = format!("publish news {}", "x".repeat(1000));
    let mut delivered = 0;
    loop {
        assert_eq!(publisher.send(&mut app, &message).0, Flow::Continue);
        let (flow, _) = subscriber.advance(&mut app, Cause::Woken);
        if flow == Flow::Close {
            break;
        }
        delivered += 1;
        assert!(delivered < 20, "the limit does not hold");
    }
    assert_eq!(delivered, 9);
    assert!(subscriber.output.is_empty(), "output for a closed client is kept");
    publisher.discard_output();
    assert_eq!(publisher.send(&mut app, &message).0, Flow::Continue);
    assert_eq!(publisher.output.to_vec(), b":0\r\n");
}

#[test]
fn unread_replies_have_their_own_limit() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    let value = "x".repeat(200_000);
    assert_eq!(
        client.send(&mut app, &format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$200000\r\n{value}")).0,
        Flow::Continue
    );
    // It is over the limit of subscribers. Other clients may have more unread output.
    assert_eq!(client.send(&mut app, "get k").0, Flow::Continue);
    assert!(client.output.len() > 200_000);
    client.discard_output();
    let many = "mget".to_owned() + &" k".repeat(6);
    assert_eq!(client.send(&mut app, &many).0, Flow::Close);
    assert!(client.output.is_empty());
}

#[test]
fn kept_requests_of_blocked_clients_are_limited() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    assert_eq!(client.send(&mut app, "blpop list 0").0, Flow::Continue);
    let line = format!("*2\r\n$4\r\necho\r\n$1000000\r\n{}", "x".repeat(1_000_000));
    let mut asked = 0;
    while client.send(&mut app, &line).0 == Flow::Continue {
        asked += 1;
        assert!(asked < 100, "its kept requests have no limit");
    }
    let mut other = Client::open(&mut app, 2);
    let (_, woken) = other.send(&mut app, "rpush list x");
    assert_eq!(woken, [ConnectionId(1)]);
    assert_eq!(client.advance(&mut app, Cause::Woken).0, Flow::Pause);
    assert!(client.output.to_vec().starts_with(b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n$1000000\r\n"));
    // The replies come in portions. Here they are read at once.
    let mut output = 0;
    loop {
        output += client.output.to_vec().iter().filter(|byte| **byte == b'$').count();
        client.discard_output();
        if client.advance(&mut app, Cause::Woken).0 == Flow::Continue {
            break;
        }
    }
    output += client.output.to_vec().iter().filter(|byte| **byte == b'$').count();
    assert_eq!(output, 2 + asked + 1);
}

#[test]
fn a_publisher_of_many_messages_yields_to_its_subscribers() {
    let mut app = app();
    let mut subscribers: Vec<Client> = (1..=100).map(|it| Client::open(&mut app, it)).collect();
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.send(&mut app, "subscribe news").0, Flow::Continue);
    }
    let mut publisher = Client::open(&mut app, 999);
    let (flow, woken) = publisher.send(&mut app, &"publish news x\r\n".repeat(1000));
    assert_eq!(flow, Flow::Pause);
    assert_eq!(woken.len(), 101, "each is woken once, and the publisher last");
    assert_eq!(woken.last(), Some(&publisher.connection));
    let output = publisher.output.len() / 6;
    assert!((160..170).contains(&output), "{output} messages were published at once");
    while publisher.advance(&mut app, Cause::Woken).0 == Flow::Pause {}
    assert_eq!(publisher.output.len(), 6 * 1000);
}

#[test]
fn the_reply_to_a_wait_comes_before_later_replies() {
    let mut app = app();
    let mut waiting = Client::open(&mut app, 1);
    waiting.run(&mut app, "blpop list 0.001\r\nping");
    let mut other = Client::open(&mut app, 2);
    assert_eq!(other.send(&mut app, "rpush list x").1, [ConnectionId(1)]);
    // Its deadline passes in the same turn, before it has sent the item.
    assert_eq!(waiting.advance(&mut app, Cause::Timeout(0)).0, Flow::Continue);
    waiting.run(&mut app, "echo last");
    assert_eq!(waiting.advance(&mut app, Cause::Woken).0, Flow::Continue);
    let output = String::from_utf8(waiting.output.to_vec()).expect("it is text");
    assert_eq!(output, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+PONG\r\n$4\r\nlast\r\n");
}

#[test]
fn a_message_is_sent_before_the_end_of_its_subscription() {
    let mut app = app();
    let mut subscriber = Client::open(&mut app, 1);
    subscriber.run(&mut app, "subscribe news");
    subscriber.discard_output();
    Client::open(&mut app, 2).run(&mut app, "publish news x");
    subscriber.run(&mut app, "unsubscribe news");
    assert_eq!(subscriber.advance(&mut app, Cause::Woken).0, Flow::Continue);
    let output = String::from_utf8(subscriber.output.to_vec()).expect("it is text");
    let (first, second) = (output.find("message"), output.find("unsubscribe"));
    assert!(first.is_some() && first < second, "{output}");
}

#[test]
fn items_and_messages_for_a_killed_client_go_to_others() {
    let mut app = app();
    let mut killed = Client::open(&mut app, 1);
    killed.run(&mut app, "blpop list 0\r\nset asked later");
    let mut subscriber = Client::open(&mut app, 2);
    subscriber.run(&mut app, "subscribe news");
    let mut killer = Client::open(&mut app, 3);
    let lines = "client kill type normal\r\nclient kill type pubsub\r\nclient kill type normal\r\n\
                 rpush list x\r\nllen list\r\npublish news x\r\nexists asked";
    killer.run(&mut app, lines);
    let output = String::from_utf8(killer.output.to_vec()).expect("it is text");
    assert_eq!(output, ":1\r\n:1\r\n:0\r\n:1\r\n:1\r\n:0\r\n:0\r\n");
    // Requests that it sent before it learned of its end are not run.
    assert_eq!(killed.send(&mut app, "set asked later").0, Flow::Close);
    assert_eq!(subscriber.advance(&mut app, Cause::Woken).0, Flow::Close);
    killer.discard_output();
    killer.run(&mut app, "exists asked");
    assert_eq!(killer.output.to_vec(), b":0\r\n");
}

#[test]
fn a_client_without_replies_still_gets_messages() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    client.run(&mut app, "client reply off\r\nblpop list 0.001");
    assert_eq!(client.advance(&mut app, Cause::Timeout(0)).0, Flow::Continue);
    client.run(&mut app, "blpop list 0\r\nset done yes");
    assert!(client.output.is_empty());
    let mut other = Client::open(&mut app, 2);
    assert_eq!(other.send(&mut app, "rpush list x").1, [ConnectionId(1)]);
    assert_eq!(client.advance(&mut app, Cause::Woken).0, Flow::Continue);
    assert!(client.output.is_empty(), "the reply to the wait is sent");
    other.discard_output();
    other.run(&mut app, "exists done");
    assert_eq!(other.output.to_vec(), b":1\r\n", "its kept requests run");

    client.run(&mut app, "subscribe news\r\nping");
    assert_eq!(client.advance(&mut app, Cause::Woken).0, Flow::Continue);
    assert_eq!(client.output.to_vec(), b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    client.discard_output();
    client.run(&mut app, "reset\r\nping");
    assert_eq!(client.output.to_vec(), b"+RESET\r\n+PONG\r\n");
}

#[test]
fn keys_that_expire_at_once_do_not_pile_up_between_ticks() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    for number in 0..1000 {
        client.run(&mut app, &format!("set {number} x pxat 1"));
    }
    client.discard_output();
    client.run(&mut app, "dbsize");
    assert_eq!(client.output.to_vec(), b":1\r\n");
}

#[test]
fn moving_a_member_to_a_set_that_has_it_does_not_change_the_set() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    client.run(&mut app, "sadd from x\r\nsadd to x\r\nwatch to\r\nsmove from to x");
    client.discard_output();
    client.run(&mut app, "multi\r\nping\r\nexec");
    assert_eq!(client.output.to_vec(), b"+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
}

#[test]
fn a_failed_transaction_keeps_no_requests() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    client.run(&mut app, "multi\r\nnonsense");
    client.discard_output();
    let set = format!("set k {}\r\n", "x".repeat(1000));
    // More than the limit of a transaction.
    for _ in 0..700 {
        client.run(&mut app, &set.repeat(100));
        assert!(client.output.to_vec().ends_with(b"+QUEUED\r\n"));
        client.discard_output();
    }
    client.run(&mut app, "exec\r\nexists k");
    assert!(client.output.to_vec().starts_with(b"-EXECABORT"));
    assert!(client.output.to_vec().ends_with(b":0\r\n"));
}

#[test]
fn each_command_of_a_batch_has_its_own_time() {
    let (clock, _) = stepping_clock();
    let mut app = app_at(clock);
    let mut client = Client::open(&mut app, 1);
    client.run(&mut app, "set t 1 px 25\r\npttl t\r\npttl t\r\npttl t\r\nget t");
    assert_eq!(client.output.to_vec(), b"+OK\r\n:15\r\n:5\r\n:-2\r\n$-1\r\n");
    client.discard_output();
    // So does each request that was kept while the client was blocked.
    client.run(&mut app, "blpop list 0\r\nset t 1 px 15\r\npttl t\r\nexists t");
    Client::open(&mut app, 2).run(&mut app, "rpush list x");
    assert_eq!(client.advance(&mut app, Cause::Woken).0, Flow::Continue);
    assert!(client.output.to_vec().ends_with(b"+OK\r\n:5\r\n:0\r\n"));
}

#[test]
fn the_time_is_constant_within_a_transaction() {
    let (clock, _) = stepping_clock();
    let mut app = app_at(clock);
    let mut client = Client::open(&mut app, 1);
    client.run(&mut app, "multi\r\nset t 1 px 15\r\npttl t\r\npttl t\r\npttl t\r\nexec");
    assert!(client.output.to_vec().ends_with(b"*4\r\n+OK\r\n:15\r\n:15\r\n:15\r\n"));
    client.discard_output();
    client.run(&mut app, "pttl t\r\npttl t");
    assert_eq!(client.output.to_vec(), b":5\r\n:-2\r\n");
}

#[test]
fn commands_that_do_not_need_the_time_do_not_read_the_clock() {
    let (clock, readings) = stepping_clock();
    let mut app = app_at(clock);
    let mut client = Client::open(&mut app, 1);
    client.run(&mut app, "set other 1 ex 100");
    let before = readings.get();
    client.run(&mut app, &"set k v\r\nget k\r\nincr n\r\nrpush l x\r\n".repeat(100));
    assert_eq!(readings.get(), before);
    client.run(&mut app, "mget other other other");
    assert_eq!(readings.get(), before + 1);
}

#[test]
fn a_seed_repeats_every_reply() {
    let names: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let replies = || {
        let mut app = app();
        app.seed(7);
        let mut client = Client::open(&mut app, 1);
        let patterns: Vec<String> =
            (0..=20).map(|length| format!("{}*", "x".repeat(length))).collect();
        client.run(&mut app, &format!("hello 3\r\npsubscribe {}", patterns.join(" ")));
        client.run(&mut app, &format!("subscribe {}\r\npubsub channels", names.join(" ")));
        client.run(&mut app, &format!("publish {} message", "x".repeat(20)));
        client.run(&mut app, &format!("sadd set {0}\r\nhset hash {0}", names.join(" ")));
        client.run(&mut app, "spop set 3\r\nspop set\r\nsrandmember set -9\r\nhrandfield hash 5");
        names.iter().for_each(|name| client.run(&mut app, &format!("set {name} value")));
        client.run(&mut app, "randomkey\r\nrandomkey\r\nkeys *\r\nscan 0\r\nsmembers set");
        client.output.to_vec()
    };
    let first = replies();
    assert!(first.len() > 5000, "{} bytes", first.len());
    assert!((0..4).all(|_| replies() == first));
}

#[test]
fn a_time_of_day_that_was_set_counts_from_the_next_tick() {
    let day = Rc::new(Cell::new(Duration::from_secs(1000)));
    let (start, told) = (Instant::now(), Rc::clone(&day));
    let mut app = App::new(config(), move || start, move || told.get());
    let mut client = Client::open(&mut app, 1);
    assert_eq!(client.answer(&mut app, "set t 1 px 500"), "+OK\r\n");
    day.set(Duration::from_millis(1_000_499));
    app.tick();
    assert_eq!(client.answer(&mut app, "pttl t"), ":1\r\n");
    day.set(Duration::from_millis(1_000_500));
    assert_eq!(client.answer(&mut app, "pttl t"), ":1\r\n");
    app.tick();
    assert_eq!(client.answer(&mut app, "get t"), "$-1\r\n");
}

#[test]
fn an_ended_client_is_removed_at_once() {
    let mut app = app();
    let mut observer = Client::open(&mut app, 1);
    observer.run(&mut app, "client setname observer\r\nsubscribe other\r\nreset");
    let unread = "x".repeat(2_000_000);
    let set = format!("*3\r\n$3\r\nset\r\n$3\r\nbig\r\n$2000000\r\n{unread}");
    observer.run(&mut app, &set);
    let ways: [(&str, &[u8]); 6] = [
        ("quit", b"quit\r\n"),
        ("an error of the protocol", b"*x\r\n"),
        ("HTTP", b"POST / HTTP/1.1\r\n"),
        ("its own kill", b"client kill type normal skipme no\r\n"),
        ("the limit", b"get big\r\n"),
        ("the limit, in a transaction", b"multi\r\nget big\r\nexec\r\n"),
    ];
    for (number, (way, input)) in ways.into_iter().enumerate() {
        let mut client = Client::open(&mut app, 10 + number as u64);
        client.run(&mut app, "client setname ended\r\nwatch k\r\nsubscribe news\r\nunsubscribe");
        let list = observer.answer(&mut app, "client list");
        assert!(list.contains("name=ended"), "{list}");
        client.input.extend_from_slice(input);
        assert_eq!(client.advance(&mut app, Cause::Input).0, Flow::Close, "{way}");
        if way == "its own kill" {
            // It has ended the observer too.
            assert_eq!(observer.advance(&mut app, Cause::Woken).0, Flow::Close);
            observer = Client::open(&mut app, 1);
        }
        // Its connection lingers: `closed` has not been called.
        let list = observer.answer(&mut app, "client list");
        assert!(!list.contains("name=ended"), "{way}: {list}");
        let info = observer.answer(&mut app, "info clients");
        assert!(info.contains("connected_clients:1\r\n"), "{way}: {info}");
        assert_eq!(observer.answer(&mut app, "client kill type normal"), ":0\r\n", "{way}");
        // Another client may have its number by now, and must not be affected by its end.
        let mut next = Client::open(&mut app, 100);
        next.run(&mut app, "client setname next");
        client.closed(&mut app);
        assert!(next.answer(&mut app, "client list").contains("name=next"), "{way}");
        next.closed(&mut app);
    }
}

#[test]
fn a_killed_client_is_removed_before_its_session_runs() {
    let mut app = app();
    let mut killer = Client::open(&mut app, 1);
    let mut killed = Client::open(&mut app, 2);
    killed.run(&mut app, "blpop list 0");
    let output = killer.answer(&mut app, "client kill id 2\r\nclient kill id 2\r\ninfo clients");
    assert!(output.starts_with(":1\r\n:0\r\n"), "{output}");
    assert!(output.contains("connected_clients:1\r\n"), "{output}");
    assert!(output.contains("blocked_clients:0\r\n"), "{output}");
    assert_eq!(killed.advance(&mut app, Cause::Woken).0, Flow::Close);
}

#[test]
fn the_replies_to_a_long_pipeline_are_sent_in_portions() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    let value = "x".repeat(10_000);
    client.run(&mut app, &format!("set k {value}"));
    client.discard_output();
    client.input.extend_from_slice("get k\r\n".repeat(100).as_bytes());
    let mut cause = Cause::Input;
    for portion in 1.. {
        let (flow, woken) = client.advance(&mut app, cause);
        let output = client.output.len();
        assert!(output < portion * (256 * 1024 + 11_000), "{output} bytes in {portion} portions");
        if flow == Flow::Continue {
            // All replies are in the output, though nothing was read.
            assert!(portion > 3);
            assert_eq!(output, 100 * (10_000 + "$10000\r\n\r\n".len() as u64));
            break;
        }
        assert_eq!((flow, woken), (Flow::Pause, vec![client.connection]), "it wakes itself");
        cause = Cause::Woken;
    }
    // Output that was read in between does not make a portion longer.
    client.discard_output();
    client.input.extend_from_slice("get k\r\n".repeat(100).as_bytes());
    assert_eq!(client.advance(&mut app, Cause::Input).0, Flow::Pause);
    assert!(client.output.len() < 256 * 1024 + 11_000);
}

#[test]
fn kept_requests_are_answered_in_portions_and_in_order() {
    let mut app = app();
    let mut client = Client::open(&mut app, 1);
    let asked: String = (0..5000).map(|number| format!("echo {number}\r\n")).collect();
    client.run(&mut app, &format!("blpop list 0\r\n{asked}"));
    Client::open(&mut app, 2).run(&mut app, "rpush list x");
    // More requests come before it runs.
    let mut turns = 1;
    let mut flow = client.send(&mut app, "echo last").0;
    while flow == Flow::Pause {
        turns += 1;
        flow = client.advance(&mut app, Cause::Woken).0;
    }
    assert_eq!(turns, 3);
    let output = String::from_utf8(client.output.to_vec()).expect("it is text");
    let answer = |word: String| format!("${}\r\n{word}\r\n", word.len());
    let expected: String = (0..5000).map(|it| answer(it.to_string())).collect();
    let expected = format!("*2\r\n$4\r\nlist\r\n$1\r\nx\r\n{expected}$4\r\nlast\r\n");
    assert!(output == expected, "{} bytes, not {}", output.len(), expected.len());
}

#[test]
fn the_client_with_the_most_unread_output_is_closed_at_the_common_limit() {
    let mut app = app();
    let mut observer = Client::open(&mut app, 999);
    let value = "x".repeat(1_000_000);
    observer.run(&mut app, &format!("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1000000\r\n{value}"));
    let mut clients: Vec<Client> = (1..=100).map(|it| Client::open(&mut app, it)).collect();
    for client in &mut clients {
        assert_eq!(client.send(&mut app, "get k").0, Flow::Pause, "a portion is complete");
    }
    let held = observer.answer(&mut app, "info memory");
    assert!(held.contains(&format!("mem_clients_normal:{}\r\n", 100 * 1_000_012)), "{held}");
    // The bytes of clients that read are no longer counted.
    for client in &mut clients[50..] {
        client.discard_output();
        let _ = client.advance(&mut app, Cause::Drained);
    }
    let held = observer.answer(&mut app, "info memory");
    assert!(held.contains(&format!("mem_clients_normal:{}\r\n", 50 * 1_000_012)), "{held}");
    // A transaction counts as well.
    let queued = format!("*2\r\n$4\r\necho\r\n$1000000\r\n{value}");
    let mut keeper = Client::open(&mut app, 500);
    keeper.run(&mut app, "multi");
    let woken = loop {
        let (flow, woken) = keeper.send(&mut app, &queued);
        if flow == Flow::Close {
            break woken;
        }
    };
    assert_eq!(woken, [keeper.connection], "only the client with the most is closed");
    let info = observer.answer(&mut app, "info");
    assert!(info.contains("evicted_clients:1\r\n"), "{info}");
    assert!(info.contains(&format!("mem_clients_normal:{}\r\n", 50 * 1_000_012)), "{info}");
    keeper.closed(&mut app);
    clients.iter_mut().for_each(|client| client.closed(&mut app));
    assert!(observer.answer(&mut app, "info memory").contains("mem_clients_normal:0\r\n"));
}

#[test]
fn clients_with_no_evict_do_not_count_for_the_common_limit() {
    let mut app = app();
    let mut observer = Client::open(&mut app, 1);
    let queued = format!("*2\r\n$4\r\necho\r\n$1000000\r\n{}", "x".repeat(1_000_000));
    let held = |app: &mut App, observer: &mut Client| {
        let output = observer.answer(app, "info memory");
        let held = output.split("mem_clients_normal:").nth(1).expect("it is reported");
        held.lines().next().and_then(|it| it.parse::<u64>().ok()).expect("it is a number")
    };
    let mut client = Client::open(&mut app, 2);
    client.run(&mut app, "client no-evict on\r\nmulti");
    client.run(&mut app, &queued);
    assert_eq!(held(&mut app, &mut observer), 0);
    client.run(&mut app, "discard\r\nclient no-evict off\r\nmulti");
    client.run(&mut app, &queued);
    assert!(held(&mut app, &mut observer) > 1_000_000);
}
