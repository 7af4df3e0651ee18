//! What becomes of segments that have been sent.

use super::{Output, Segment};

/// The number of segments for which room is kept after they have been sent.
pub(super) const SEGMENTS_KEPT: usize = 64;

/// A segment of appended bytes with at most this storage becomes the next tail once it has been sent:
/// the head of a response before a file.
pub(super) const TAIL_KEPT: usize = 4 * 1024;

impl Output {
    /// Removes the segments that have been sent. Shrinks the queue if most of it is unused.
    pub(super) fn drop_sent(&mut self) {
        self.drop_whole();
        let room = self.queue.capacity();
        if room > SEGMENTS_KEPT && self.queue.len() < room / 4 {
            self.queue.shrink_to(SEGMENTS_KEPT.max(room / 2));
        }
    }

    fn drop_whole(&mut self) {
        while let Some(first) = self.queue.front().map(Segment::len) {
            if self.sent < first {
                return;
            }
            self.sent -= first;
            match self.queue.pop_front() {
                Some(Segment::File(_)) => self.file_bytes -= first,
                Some(Segment::Block(mut block)) => {
                    block.clear();
                    self.spare = Some(block);
                }
                Some(Segment::Bytes(mut bytes))
                    if bytes.capacity() <= TAIL_KEPT && self.tail.capacity() == 0 =>
                {
                    bytes.clear();
                    self.tail = bytes;
                }
                _ => {}
            }
        }
    }
}
