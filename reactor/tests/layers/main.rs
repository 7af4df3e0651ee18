//! Layers over sockets: what a link does through a layer, on every backend, whichever side dials.

#[path = "../common/mod.rs"]
mod common;
mod far;
mod handshakes;

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use common::turn_until;
use far::{
    ALERT, App, CHUNK, Counted, Far, LIMITS, MANY, RECORDS_MAX, SEALED_AHEAD, Tally, Way, chunk,
    chunks, ends, everywhere, turn_until_still,
};
use protocol::codecs::{Bytes, Lines};
use protocol::link::{Link, Scratch};
use protocol::testing::ToyCipher;
use protocol::{
    Buffer, Cause, Context, Conversation, FileRange, Flow, Limits, Output, Reason, Reply, Service,
    Session,
};
use reactor::{Reactor, Token};
use testkit::Folder;

fn layered<S>(session: S, limits: Limits) -> Link<S, ToyCipher> {
    Link::with_layer(session, ToyCipher::default(), limits.into())
}

/// Answers messages with themselves.
struct Returns;

impl Service<Lines, App> for Returns {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, App>,
    ) -> Flow {
        reply.send(line);
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

impl Service<Bytes, App> for Returns {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, App>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

#[test]
fn messages_come_back_wherever_the_sealed_stream_is_split() {
    everywhere(|reactor, way| {
        for split in 0.. {
            let mut far =
                way.meet(reactor, layered(Conversation::new(Lines::default(), Returns), LIMITS));
            let mut sealed = far.hello();
            for message in [&b"one\n"[..], b"two\r\n\nlast\nun", b"finished\n"] {
                sealed.extend(far.seal(message));
            }
            sealed.extend(far.end());
            if split > sealed.len() {
                break;
            }
            far.put_and_wait(&sealed[..split], reactor);
            far.put_and_wait(&sealed[split..], reactor);
            far.wait_for(b"one\ntwo\n\nlast\nunfinished\n", reactor);
            far.wait_for_end(reactor);
            far.open();
            assert!(far.has_ended, "split at {split}: it does not say that it ends");
            assert!(!far.raw.windows(3).any(|bytes| bytes == b"one"), "it is not sealed");
            drop(far);
            assert_eq!(ends(reactor), ["peer closed"], "split at {split}");
        }
    });
}

#[test]
fn messages_come_back_when_they_come_byte_by_byte() {
    everywhere(|reactor, way| {
        let mut far =
            way.meet(reactor, layered(Conversation::new(Lines::default(), Returns), LIMITS));
        let sealed = [far.hello(), far.seal(b"one\ntwo\n"), far.seal(b"three\n"), far.end()];
        for byte in sealed.concat() {
            far.put_and_wait(&[byte], reactor);
        }
        far.wait_for(b"one\ntwo\nthree\n", reactor);
        far.wait_for_end(reactor);
        drop(far);
        assert_eq!(ends(reactor), ["peer closed"]);
    });
}

/// Says so many messages, up to the high mark at a time, and closes.
struct Pours {
    count: usize,
    said: usize,
}

impl Session<App> for Pours {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        input.clear();
        while self.said < self.count && output.len() < context.limits.output_high {
            output.append(&chunk(self.said));
            self.said += 1;
        }
        context.app.said = (self.said * CHUNK) as u64;
        context.app.waited_max = context.app.waited_max.max(output.len());
        Ok(if self.said < self.count { Flow::Continue } else { Flow::Close })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

/// Checks how much waits in a link, and returns how much was written.
fn check_waiting(reactor: &Reactor<App>, tally: &Tally) -> u64 {
    let written = reactor.counters().bytes_written;
    let sealed = tally.wire.get() - written;
    assert!(sealed < SEALED_AHEAD + RECORDS_MAX, "{sealed} bytes were sealed ahead");
    let plain = reactor.app.said - tally.plain.get();
    assert!(plain < LIMITS.output_high + CHUNK as u64, "{plain} bytes wait to be sealed");
    written
}

#[test]
fn a_reader_that_is_slow_holds_up_what_is_said_and_little_is_sealed_ahead() {
    everywhere(|reactor, way| {
        let (layer, tally) = Counted::new();
        let session = Pours { count: MANY, said: 0 };
        let mut far = way.meet(reactor, Link::with_layer(session, layer, LIMITS.into()));
        let hello = far.hello();
        far.put(&hello);
        turn_until_still(reactor, |reactor| check_waiting(reactor, &tally));
        assert!(reactor.app.said < (MANY * CHUNK) as u64, "the kernel takes everything");
        turn_until(reactor, |reactor| {
            check_waiting(reactor, &tally);
            far.pull();
            far.is_over
        });
        far.open();
        assert!(far.plain == chunks(MANY), "{} bytes came", far.plain.len());
        assert!(far.has_ended);
        drop(far);
        assert_eq!(ends(reactor), ["finished"]);
        let waited = reactor.app.waited_max;
        assert!(waited < LIMITS.output_high + CHUNK as u64, "{waited} bytes have waited");
    });
}

#[test]
fn a_peer_that_does_not_read_is_not_read_from() {
    everywhere(|reactor, way| {
        let (layer, tally) = Counted::new();
        let session = Conversation::new(Bytes, Returns);
        let mut far = way.meet(reactor, Link::with_layer(session, layer, LIMITS.into()));
        let messages = chunks(MANY);
        far.outgoing = [far.hello(), far.seal(&messages), far.end()].concat();
        // One read may be under way when the mark is reached.
        let most = LIMITS.output_high + Scratch::INPUT_SIZE as u64 + SEALED_AHEAD + RECORDS_MAX;
        let check = |reactor: &Reactor<App>| {
            let counters = reactor.counters();
            let sealed = tally.wire.get() - counters.bytes_written;
            assert!(sealed < SEALED_AHEAD + RECORDS_MAX, "{sealed} bytes were sealed ahead");
            // Each side says the same number of bytes about the same plaintext.
            let kept = counters.bytes_read.saturating_sub(counters.bytes_written);
            assert!(kept <= most, "{kept} bytes are kept");
        };
        turn_until_still(reactor, |reactor| {
            far.push();
            check(reactor);
            reactor.counters().bytes_read
        });
        let read = reactor.counters().bytes_read;
        assert!(read < far.outgoing.len() as u64, "everything was read");
        turn_until(reactor, |reactor| {
            far.push();
            check(reactor);
            far.pull();
            far.is_over
        });
        far.open();
        assert!(far.plain == messages, "{} bytes came", far.plain.len());
        drop(far);
        assert_eq!(ends(reactor), ["peer closed"]);
    });
}

/// Says a range of a file between two words, and ends its output.
struct SendsFile(FileRange);

impl Session<App> for SendsFile {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        context.app.got.extend_from_slice(input.filled());
        input.clear();
        if context.cause == Cause::Opened {
            output.append(b"<");
            output.file(self.0.clone());
            output.append(b">");
            context.effects.end_output();
        }
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

/// Makes a file. It is removed with its folder.
fn file(content: &[u8]) -> (Folder, Arc<File>) {
    let folder = Folder::new("layers");
    std::fs::write(folder.file("content"), content).expect("there is room");
    let file = File::open(folder.file("content")).expect("it was just made");
    (folder, Arc::new(file))
}

#[test]
fn a_range_of_a_file_arrives_whole_and_the_peer_may_go_on_after_it() {
    everywhere(|reactor, way| {
        let content = chunks(MANY);
        let (_folder, file) = file(&content);
        let length = content.len() as u64 - 12;
        let (layer, tally) = Counted::new();
        let session = SendsFile(FileRange { file, offset: 5, length });
        let mut far = way.meet(reactor, Link::with_layer(session, layer, LIMITS.into()));
        let hello = far.hello();
        far.put(&hello);
        let check = |reactor: &Reactor<App>| {
            let sealed = tally.wire.get() - reactor.counters().bytes_written;
            assert!(sealed < SEALED_AHEAD + RECORDS_MAX, "{sealed} bytes were sealed ahead");
            tally.plain.get()
        };
        turn_until_still(reactor, |reactor| check(reactor));
        assert!(tally.plain.get() < length, "the kernel takes everything");
        turn_until(reactor, |reactor| {
            check(reactor);
            far.pull();
            far.is_over
        });
        far.open();
        assert!(far.plain == [b"<", &content[5..][..length as usize], b">"].concat());
        assert!(far.has_ended, "the layer says that nothing more comes, and then the socket");
        let later = [far.seal(b"and now "), far.seal(b"the other way"), far.end()].concat();
        far.put(&later);
        drop(far);
        assert_eq!(ends(reactor), ["peer closed"]);
        assert_eq!(reactor.app.got, b"and now the other way");
    });
}

#[test]
fn a_file_that_is_shorter_than_promised_never_ends_in_order() {
    let check = |reactor: &mut Reactor<App>, way: Way, mut far: Far| {
        turn_until(reactor, |reactor| reactor.cx().connections() == 0);
        let end = &reactor.app.ends[0];
        assert!(end.contains("the file is shorter than the range that was promised"), "{end}");
        let mut rest = Vec::new();
        far.socket.set_nonblocking(false).expect("it is set");
        let result = far.socket.read_to_end(&mut rest);
        assert!(!rest.ends_with(&[0, 0]), "the layer says that it ends in order");
        assert_eq!(result.is_err(), way.is_tcp, "a Unix socket cannot be reset");
    };
    everywhere(|reactor, way| {
        let (_folder, file) = file(b"short");
        let session = SendsFile(FileRange { file, offset: 0, length: 6 });
        let mut far = way.meet(reactor, layered(session, LIMITS));
        let hello = far.hello();
        far.put(&hello);
        check(reactor, way, far);
    });
    everywhere(|reactor, way| {
        let (_folder, file) = file(b"short");
        let session = SendsFile(FileRange { file, offset: 0, length: 6 });
        let far = way.meet(reactor, Link::new(session, LIMITS.into()));
        check(reactor, way, far);
    });
}

/// Answers lines in the clear until one of them is `start`.
struct Starts {
    has_started: bool,
}

impl Session<App> for Starts {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        while let Some(end) = input.filled().iter().position(|byte| *byte == b'\n') {
            let line = input.filled()[..=end].to_vec();
            input.consume(line.len());
            if line == b"start\n" && !self.has_started {
                self.has_started = true;
                output.append(b"go\n");
                context.effects.start_layer(output);
                return Ok(Flow::Continue);
            }
            output.append(&line);
        }
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

fn later<S>(session: S) -> Link<S, ToyCipher> {
    Link::with_layer_later(session, ToyCipher::default(), LIMITS.into())
}

#[test]
fn a_layer_that_starts_late_gets_what_came_in_the_segment_that_started_it() {
    everywhere(|reactor, way| {
        for split in 0.. {
            let mut far = way.meet(reactor, later(Starts { has_started: false }));
            let mut segment = b"clear\nstart\n".to_vec();
            segment.extend([far.hello(), far.seal(b"secret\n"), far.end()].concat());
            if split > segment.len() {
                break;
            }
            far.put_and_wait(&segment[..split], reactor);
            far.put_and_wait(&segment[split..], reactor);
            far.wait_for_end(reactor);
            let answer = b"clear\ngo\n";
            assert_eq!(far.raw[..answer.len()], *answer, "split at {split}");
            far.opened = answer.len();
            far.open();
            assert_eq!(far.plain, b"secret\n", "split at {split}");
            drop(far);
            assert_eq!(ends(reactor), ["peer closed"], "split at {split}");
        }
    });
}

/// Asks its peer to start, and says a secret when it may.
struct Asks;

impl Session<App> for Asks {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        match context.cause {
            Cause::Opened => output.append(b"start\n"),
            // It was woken behind the start of the layer.
            Cause::Woken => output.append(b"secret\n"),
            Cause::Input if input.filled().starts_with(b"go\n") => {
                input.consume(3);
                context.effects.start_layer(output);
                context.effects.wake(context.me);
            }
            _ => {}
        }
        if context.app.got.is_empty() && input.filled().starts_with(b"news\n") {
            context.app.got.extend_from_slice(input.filled());
            return Ok(Flow::Close);
        }
        Ok(Flow::Continue)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

#[test]
fn a_session_that_asks_for_the_layer_says_nothing_in_the_clear_behind_its_start() {
    everywhere(|reactor, way| {
        for with_greeting in [false, true] {
            reactor.app = App::default();
            let mut far = way.meet(reactor, later(Asks));
            turn_until(reactor, |_| {
                far.pull();
                far.raw == b"start\n"
            });
            let mut answer = b"go\n".to_vec();
            let hello = far.hello();
            if with_greeting {
                answer.extend(&hello);
            }
            far.put_and_wait(&answer, reactor);
            if !with_greeting {
                far.put_and_wait(&hello, reactor);
            }
            far.opened = b"start\n".len();
            far.wait_for(b"secret\n", reactor);
            let news = far.seal(b"news\n");
            far.put(&news);
            far.wait_for_end(reactor);
            far.open();
            assert!(far.has_ended);
            drop(far);
            assert_eq!(ends(reactor), ["finished"]);
            assert_eq!(reactor.app.got, b"news\n");
        }
    });
}

/// Says a word and ends its output, and goes on reading.
struct SaysAndListens;

impl Session<App> for SaysAndListens {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            output.append(b"hello");
            context.effects.end_output();
        }
        context.app.got.extend_from_slice(input.filled());
        input.clear();
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

#[test]
fn a_side_that_has_ended_its_output_still_hears_the_other() {
    everywhere(|reactor, way| {
        for has_fin in [false, true] {
            reactor.app = App::default();
            let mut far = way.meet(reactor, layered(SaysAndListens, LIMITS));
            let hello = far.hello();
            far.put(&hello);
            far.wait_for_end(reactor);
            far.open();
            assert_eq!(far.plain, b"hello");
            assert!(far.has_ended, "the layer ends before the socket");
            for word in [&b"and "[..], b"on"] {
                let sealed = far.seal(word);
                far.put_and_wait(&sealed, reactor);
            }
            assert_eq!(reactor.app.got, b"and on");
            let end = far.end();
            far.put(&end);
            if has_fin {
                far.end_socket();
            } else {
                drop(far);
            }
            assert_eq!(ends(reactor), ["peer closed"]);
        }
    });
}

/// Says a word to the first input, whatever more there is, and closes.
struct Leaves;

impl Session<App> for Leaves {
    fn advance(
        &mut self,
        _input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        if context.cause != Cause::Input {
            return Ok(Flow::Continue);
        }
        output.append(b"bye");
        Ok(Flow::Close)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

#[test]
fn a_session_that_closes_lingers_so_that_its_last_word_arrives() {
    everywhere(|reactor, way| {
        let mut far = way.meet(reactor, layered(Leaves, LIMITS));
        // Less than a lingering link throws away.
        far.outgoing = [far.hello(), far.seal(&chunks(100)), far.end()].concat();
        turn_until(reactor, |_| {
            far.push();
            far.written == far.outgoing.len()
        });
        far.wait_for(b"bye", reactor);
        far.wait_for_end(reactor);
        assert!(far.has_ended);
        assert_eq!(reactor.cx().connections(), 1, "it waits for the other end");
        drop(far);
        assert_eq!(ends(reactor), ["finished"]);
    });
}

/// What the far end sends that cannot be opened, and what follows from it.
struct Broken {
    /// The bytes, after a greeting where there is one,
    has_greeted: bool,
    bytes: &'static [u8],
    /// and perhaps the end of the socket.
    is_cut: bool,
    reason: &'static str,
    /// What the link says last.
    last: &'static [u8],
}

const BROKEN: [Broken; 7] = [
    Broken {
        has_greeted: true,
        bytes: &[0x20, 0],
        is_cut: false,
        reason: "refused: a record of 8192 bytes, more than 4096",
        last: ALERT,
    },
    Broken {
        has_greeted: true,
        bytes: ALERT,
        is_cut: false,
        reason: "refused: the peer cannot open what it was sent",
        last: b"",
    },
    Broken {
        has_greeted: false,
        bytes: b"GET / HTTP/1.1\r\n",
        is_cut: false,
        reason: "refused: the peer does not greet as this layer does",
        last: ALERT,
    },
    Broken {
        has_greeted: false,
        bytes: b"to",
        is_cut: true,
        reason: "refused: the stream was cut short, with 2 bytes that cannot be opened",
        last: b"",
    },
    Broken {
        has_greeted: false,
        bytes: b"toy1\0\0",
        is_cut: false,
        reason: "peer closed",
        last: &[0, 0],
    },
    Broken {
        has_greeted: true,
        bytes: b"",
        is_cut: true,
        reason: "refused: the stream was cut short, with 0 bytes that cannot be opened",
        last: b"",
    },
    Broken {
        has_greeted: true,
        bytes: &[0, 9, 1, 2, 3],
        is_cut: true,
        reason: "refused: the stream was cut short, with 5 bytes that cannot be opened",
        last: b"",
    },
];

#[test]
fn what_cannot_be_opened_ends_the_connection_with_an_alert_and_the_reason() {
    everywhere(|reactor, way| {
        for broken in &BROKEN {
            eprintln!("{}", broken.reason);
            let session = Conversation::new(Lines::default(), Returns);
            let mut far = way.meet(reactor, layered(session, LIMITS));
            let mut said = b"toy1".to_vec();
            if broken.has_greeted {
                let sealed = [far.hello(), far.seal(b"one\n")].concat();
                far.put(&sealed);
                far.wait_for(b"one\n", reactor);
                said.clone_from(&far.raw);
            }
            far.put(broken.bytes);
            if broken.is_cut {
                far.end_socket();
            }
            far.wait_for_end(reactor);
            assert_eq!(far.raw, [&said, broken.last].concat());
            // A link whose wire has ended has nothing to wait for.
            let far = Some(far).filter(|_| broken.is_cut);
            assert_eq!(ends(reactor), [broken.reason]);
            drop(far);
        }
    });
}

/// Answers when it is woken, and closes.
struct AnswersLater;

impl Session<App> for AnswersLater {
    fn advance(
        &mut self,
        _input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        context.app.last = Some(context.me);
        context.app.input_ended = context.input_ended;
        if context.cause != Cause::Woken {
            return Ok(Flow::Continue);
        }
        output.append(&chunk(1));
        Ok(Flow::Close)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.ends.push(reason.to_string());
    }
}

#[test]
fn what_comes_behind_the_end_of_the_layer_is_ignored_and_does_no_harm() {
    everywhere(|reactor, way| {
        for stray in [&b""[..], b"stray"] {
            reactor.app = App::default();
            let mut far = way.meet(reactor, layered(AnswersLater, LIMITS));
            let sealed = [far.hello(), far.end()].concat();
            far.put(&sealed);
            turn_until(reactor, |reactor| reactor.app.input_ended);
            // RFC 8446, section 6.1: data behind a closure alert is ignored.
            far.put(stray);
            let session = reactor.app.last.expect("it was called");
            reactor.cx().wake(Token::from(session));
            far.wait_for(&chunk(1), reactor);
            far.wait_for_end(reactor);
            assert!(far.has_ended);
            drop(far);
            assert_eq!(ends(reactor), ["peer closed"]);
        }
    });
}

/// Exchanges a message for its answer, of the same size. Returns how many calls that took: reads,
/// writes, those of them that would have blocked, and calls of the backend about a descriptor.
fn cost(reactor: &mut Reactor<App>, far: &mut Far, message: &[u8]) -> [u64; 4] {
    let calls = |reactor: &Reactor<App>| {
        let counters = reactor.counters();
        [counters.reads, counters.writes, counters.would_blocks, counters.ctl_calls]
    };
    let (before, wanted) = (calls(reactor), far.raw.len() + message.len());
    far.put(message);
    turn_until(reactor, |_| {
        far.pull();
        far.raw.len() == wanted
    });
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    let after = calls(reactor);
    std::array::from_fn(|place| after[place] - before[place])
}

#[test]
fn a_message_costs_as_many_calls_as_without_a_layer() {
    everywhere(|reactor, way| {
        let echo = || Conversation::new(Bytes, Returns);
        let mut far = way.meet(reactor, Link::new(echo(), LIMITS.into()));
        cost(reactor, &mut far, b"warm");
        let without: Vec<_> = (0..20).map(|_| cost(reactor, &mut far, &[7; 66])).collect();
        drop(far);
        assert_eq!(ends(reactor), ["peer closed"]);
        let mut far = way.meet(reactor, layered(echo(), LIMITS));
        let hello = far.hello();
        cost(reactor, &mut far, &hello);
        let sealed: Vec<_> = (0..21).map(|_| far.seal(&[7; 64])).collect();
        let with: Vec<_> = sealed.iter().map(|it| cost(reactor, &mut far, it)).collect();
        assert_eq!(with[1..], without);
        let writes = with.iter().map(|[_, writes, ..]| writes).sum::<u64>();
        assert_eq!(writes, with.len() as u64);
    });
}

#[test]
fn a_large_transfer_costs_a_write_for_what_is_sealed_ahead() {
    everywhere(|reactor, way| {
        let (layer, tally) = Counted::new();
        let session = Pours { count: MANY, said: 0 };
        let mut far = way.meet(reactor, Link::with_layer(session, layer, LIMITS.into()));
        let hello = far.hello();
        far.put(&hello);
        far.wait_for_end(reactor);
        let counters = reactor.counters();
        // The last write of each call of the handler may be shorter.
        let most = tally.wire.get() / SEALED_AHEAD + counters.runs;
        assert!(counters.writes - counters.would_blocks <= most, "{counters}");
        drop(far);
        assert_eq!(ends(reactor), ["finished"]);
    });
}
