//! Output that a driver gives back.

use super::{Output, Segment};

impl Output {
    /// Puts bytes in front that were consumed and not sent.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // What was sent of the first segment goes, so that nothing precedes them.
        let sent = std::mem::take(&mut self.sent);
        match self.queue.front_mut() {
            None => drop(self.tail.drain(..sent as usize)),
            Some(Segment::Bytes(own)) => drop(own.drain(..sent as usize)),
            Some(Segment::Block(block)) => block.consume(sent as usize),
            Some(shared @ Segment::Shared(_)) => {
                let Segment::Shared(message) = &*shared else { return };
                *shared = Segment::Bytes(message[sent as usize..].to_vec());
            }
            Some(Segment::File(range)) => {
                range.offset += sent;
                range.length -= sent;
                self.file_bytes -= sent;
            }
        }
        self.len += bytes.len() as u64;
        self.queue.push_front(Segment::Bytes(bytes.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Buffer;

    #[test]
    fn what_is_put_back_comes_first_whatever_was_sent_of_what_follows() {
        let fillers: [fn(&mut Output); 4] = [
            |_| {},
            |output| output.append(&[b'a'; 200_000]),
            |output| output.share(Arc::from(&[b'b'; 5000][..])),
            |output| output.take_input(&mut Buffer::from(vec![b'c'; 9000])),
        ];
        for fill in fillers {
            for sent in [0, 1, 4999] {
                let mut output = Output::new();
                fill(&mut output);
                output.append(b"tail of some length");
                let all = output.to_vec();
                let sent = sent.min(all.len() - 1);
                output.consume(sent as u64);
                output.put_back(b"");
                output.put_back(b"back");
                let expected = [&b"back"[..], &all[sent..]].concat();
                assert_eq!(output.len(), expected.len() as u64);
                assert!(output.to_vec() == expected, "after {sent} bytes");
                output.consume(3);
                assert!(output.to_vec() == expected[3..], "after {sent} bytes");
            }
        }
    }
}
