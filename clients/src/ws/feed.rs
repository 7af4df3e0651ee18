//! Standard input, cut into messages.

use protocol::Buffer;
use protocol::websocket::{Kind, Sender};

use crate::pipes::QUEUE_MAX;

/// How standard input becomes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Each line is one.
    Lines,
    /// What was read is one.
    AsItComes,
    /// Everything is one.
    Whole,
}

/// Cuts standard input into messages. What does not fit in the queue is sent in parts, so a message
/// may be of any size.
pub(super) struct Feed {
    cut: Cut,
    kind: Kind,
    /// A part of a message was sent.
    has_begun: bool,
    /// So many bytes of the queue have no newline.
    scanned: usize,
}

/// The next piece of standard input that can be sent.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    length: usize,
    /// How many bytes it takes from the queue: one more with a newline.
    consumed: usize,
    is_last: bool,
}

/// Text that is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Feed {
    pub(super) fn new(cut: Cut, kind: Kind) -> Self {
        Self { cut, kind, has_begun: false, scanned: 0 }
    }

    /// Sends the next message, or a part of it. Returns whether there was one.
    pub(super) fn send(
        &mut self,
        queue: &mut Buffer,
        has_ended: bool,
        sender: &mut Sender<'_>,
    ) -> Result<bool, NotUtf8> {
        let Some(piece) = self.next(queue.filled(), has_ended) else { return Ok(false) };
        let Piece { mut length, mut consumed, is_last } = piece;
        let bytes = &queue.filled()[..length];
        if self.kind == Kind::Text {
            match std::str::from_utf8(bytes) {
                Ok(text) if is_last && !self.has_begun => sender.text(text),
                Ok(_) => sender.part(self.kind, bytes, is_last),
                // The part ends inside a character, which is left for the next one.
                Err(error) if !is_last && error.error_len().is_none() => {
                    (length, consumed) = (error.valid_up_to(), error.valid_up_to());
                    sender.part(self.kind, &bytes[..length], false);
                }
                Err(_) => return Err(NotUtf8),
            }
        } else if is_last && !self.has_begun {
            sender.binary(bytes);
        } else {
            sender.part(self.kind, bytes, is_last);
        }
        self.has_begun = !is_last;
        self.scanned = 0;
        queue.consume(consumed);
        Ok(true)
    }

    /// Returns the next piece, if the queue has one.
    fn next(&mut self, queue: &[u8], has_ended: bool) -> Option<Piece> {
        let all = |is_last| Some(Piece { length: queue.len(), consumed: queue.len(), is_last });
        if self.cut == Cut::Lines {
            let newline = queue[self.scanned..].iter().position(|byte| *byte == b'\n');
            if let Some(length) = newline.map(|place| self.scanned + place) {
                return Some(Piece { length, consumed: length + 1, is_last: true });
            }
            self.scanned = queue.len();
        }
        if queue.is_empty() && !self.has_begun {
            return None;
        }
        match self.cut {
            Cut::AsItComes => all(true),
            _ if has_ended => all(true),
            _ if queue.len() >= QUEUE_MAX => all(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(length: usize, consumed: usize, is_last: bool) -> Option<Piece> {
        Some(Piece { length, consumed, is_last })
    }

    #[test]
    fn lines_are_messages_and_the_last_one_may_have_no_newline() {
        let mut feed = Feed::new(Cut::Lines, Kind::Text);
        assert_eq!(feed.next(b"one\ntwo", false), piece(3, 4, true));
        assert_eq!(feed.next(b"two", false), None);
        assert_eq!(feed.scanned, 3);
        assert_eq!(feed.next(b"two\n", false), piece(3, 4, true));
        feed.scanned = 0;
        assert_eq!(feed.next(b"\n", false), piece(0, 1, true));
        assert_eq!(feed.next(b"end", true), piece(3, 3, true));
        feed.scanned = 0;
        assert_eq!(feed.next(b"", true), None);
    }

    #[test]
    fn what_does_not_fit_in_the_queue_is_sent_in_parts() {
        let long = vec![b'x'; QUEUE_MAX];
        for cut in [Cut::Lines, Cut::Whole] {
            let mut feed = Feed::new(cut, Kind::Text);
            assert_eq!(feed.next(&long[1..], false), None);
            assert_eq!(feed.next(&long, false), piece(QUEUE_MAX, QUEUE_MAX, false));
            (feed.has_begun, feed.scanned) = (true, 0);
            // The message ends although nothing is left of it.
            assert_eq!(feed.next(b"", false), None);
            assert_eq!(feed.next(b"", true), piece(0, 0, true));
        }
        let mut feed = Feed::new(Cut::Whole, Kind::Binary);
        assert_eq!(feed.next(b"a\nb", false), None);
        assert_eq!(feed.next(b"a\nb", true), piece(3, 3, true));
        let mut feed = Feed::new(Cut::AsItComes, Kind::Binary);
        assert_eq!(feed.next(b"a\nb", false), piece(3, 3, true));
        assert_eq!(feed.next(b"", true), None);
    }
}
