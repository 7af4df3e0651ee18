//! The messages of one connection.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::websocket::{CloseCode, Message, Sender, Service};
use protocol::{Context, Flow, Reason};

use super::feed::{Cut, Feed};
use super::{App, Cli, exit};
use crate::fetch::Failed;
use crate::output::complain;
use crate::pipes::QUEUE_MAX;

/// The key of the timeout after the end of standard input.
const QUIET: u8 = 0;

/// How many bytes of output stop the sending. It is more than [`Limits::output_low`], at which it goes
/// on, and so much less than [`output_high`] that the connection is read meanwhile: a server that
/// echoes would wait for this side to read, and this side for the server.
///
/// [`Limits::output_low`]: protocol::Limits::output_low
const SENT_MAX: u64 = 128 * 1024;

/// Returns the output at which a connection is not read: more than what this side may ever send
/// before it waits.
pub(super) fn output_high() -> u64 {
    SENT_MAX + 2 * QUEUE_MAX as u64
}

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// As they are.
    Raw,
    /// Each as a line.
    Lines,
    /// Each as a line, without what a terminal would take for a command.
    Terminal,
}

/// Sends standard input, and prints messages.
pub(super) struct Messages {
    /// What messages call the server.
    peer: String,
    /// Messages that are sent before standard input.
    first: VecDeque<String>,
    feed: Feed,
    show: Show,
    is_verbose: bool,
    /// So many more messages are wanted.
    left: Option<u64>,
    /// How long to wait when everything was sent. `None`: for ever.
    quiet: Option<Duration>,
    is_open: bool,
    /// The close frame of the server.
    closed: Option<(Option<CloseCode>, String)>,
    /// This side closes.
    is_done: bool,
}

impl Messages {
    pub(super) fn new(cli: &Cli, peer: String, show: Show, is_verbose: bool) -> Self {
        use protocol::websocket::Kind;
        let (cut, kind) = match (cli.whole, cli.binary) {
            (false, false) => (Cut::Lines, Kind::Text),
            (false, true) => (Cut::AsItComes, Kind::Binary),
            (true, false) => (Cut::Whole, Kind::Text),
            (true, true) => (Cut::Whole, Kind::Binary),
        };
        Self {
            peer,
            first: cli.message.clone().into(),
            feed: Feed::new(cut, kind),
            show,
            is_verbose,
            left: cli.messages,
            quiet: cli.quiet_limit(),
            is_open: false,
            closed: None,
            is_done: false,
        }
    }

    /// Sends what was read, as far as there is room.
    fn send(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        let mut has_moved = false;
        while sender.backlog() < SENT_MAX {
            if let Some(text) = self.first.pop_front() {
                sender.text(&text);
                continue;
            }
            let app = &mut *context.app;
            match self.feed.send(&mut app.up, app.up_ended, sender) {
                Ok(true) => has_moved = true,
                Ok(false) => break,
                Err(_) => {
                    let text = "standard input is not UTF-8: use --binary";
                    app.tool.fail(Failed::new(exit::INPUT, text));
                    return self.finish(CloseCode::GOING_AWAY, sender);
                }
            }
        }
        if has_moved {
            context.effects.wake(context.app.input.into());
        }
        self.await_quiet(context);
        self.flow(context)
    }

    /// Waits for the last messages when everything was sent.
    fn await_quiet(&self, context: &mut Context<'_, App>) {
        if context.app.is_sent() && self.first.is_empty() && self.quiet.is_some() {
            context.effects.set_timeout(QUIET, self.quiet);
        }
    }

    /// Standard output wakes this session when it has room.
    fn flow(&self, context: &Context<'_, App>) -> Flow {
        if context.app.is_full() { Flow::Pause } else { Flow::Continue }
    }

    /// Closes the connection since there is nothing more to do.
    fn finish(&mut self, code: CloseCode, sender: &mut Sender<'_>) -> Flow {
        self.is_done = true;
        sender.close(code, "");
        Flow::Close
    }

    fn tell(&self, text: &str) {
        if self.is_verbose {
            complain(format_args!("ws: {}: {text}", self.peer));
        }
    }

    fn print(&self, message: &Message<'_>, context: &mut Context<'_, App>) {
        let down = &mut context.app.down;
        match (self.show, message) {
            (Show::Terminal, Message::Text(text)) => down.extend_from_slice(shown(text).as_bytes()),
            (Show::Terminal, Message::Binary(bytes)) => {
                down.extend_from_slice(format!("(binary) {}", bytes.escape_ascii()).as_bytes());
            }
            _ => down.extend_from_slice(message.bytes()),
        }
        if self.show != Show::Raw {
            down.extend_from_slice(b"\n");
        }
        context.effects.wake(context.app.output.into());
    }
}

/// Returns a text with escapes in place of characters that a terminal would take for commands.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\n' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

impl Service<App> for Messages {
    fn open(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        self.is_open = true;
        let chosen = sender.subprotocol().map(|it| format!(", {it}")).unwrap_or_default();
        let compressed = if sender.is_compressed() { ", compressed" } else { "" };
        self.tell(&format!("connected{chosen}{compressed}"));
        self.send(sender, context)
    }

    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.print(&message, context);
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return self.finish(CloseCode::NORMAL, sender);
            }
        }
        self.await_quiet(context);
        self.flow(context)
    }

    fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        _: &mut Sender<'_>,
        _: &mut Context<'_, App>,
    ) {
        self.tell(&exit::closing(code, reason));
        self.closed = Some((code, reason.to_owned()));
    }

    fn drained(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        self.send(sender, context)
    }

    fn resume(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        self.send(sender, context)
    }

    fn timeout(&mut self, _: u8, sender: &mut Sender<'_>, context: &mut Context<'_, App>) -> Flow {
        if sender.backlog() > 0 || context.app.is_full() {
            // The server has not taken everything, or standard output has not.
            self.await_quiet(context);
            return self.flow(context);
        }
        self.finish(CloseCode::NORMAL, sender)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        let failed = match &self.closed {
            _ if matches!(reason, Reason::Stopped) => None,
            // All messages that were wanted have come.
            _ if self.is_done && self.left == Some(0) => None,
            None if self.is_done && !reason.is_orderly() => {
                Some(exit::unanswered(&self.peer, reason))
            }
            _ if self.is_done => None,
            Some((code, text)) => exit::judge(&self.peer, *code, text, self.left),
            None if reason.is_orderly() && self.is_open => None,
            None => Some(exit::explain(&self.peer, reason, self.is_open)),
        };
        if let Some(failed) = failed {
            context.app.tool.fail(failed);
        }
        // What is left is printed, unless the user has had enough.
        context.app.down_ended = true;
        context.effects.wake(context.app.output.into());
        if context.app.tool.is_ended {
            context.effects.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_for_a_terminal_are_escaped() {
        assert_eq!(shown("tab\tand ä\n"), "tab\tand ä\n");
        assert_eq!(shown("a\x1b[2Jb\r\u{9b}"), "a\\u{1b}[2Jb\\r\\u{9b}");
    }
}
