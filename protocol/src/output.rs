//! The output of a conversation: a queue of bytes, shared messages and file ranges.

mod put_back;
mod sent;
mod split;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::IoSlice;
use std::sync::Arc;

use crate::{Buffer, copying};

/// The size at which a segment of appended bytes is complete, so that a long backlog frees its
/// memory as it is sent, and is never copied as a whole to grow.
const CHUNK_SIZE: usize = 64 * 1024;

/// Input that passes through is copied if it has fewer bytes.
const TAKEN_MIN: usize = 4 * 1024;

/// Shared messages are copied if they have fewer bytes.
const SHARED_MIN: usize = 64;

enum Segment {
    Bytes(Vec<u8>),
    /// Input that passes through, in the block that it was received in.
    Block(Buffer),
    Shared(Arc<[u8]>),
    File(FileRange),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Block(block) => block.len() as u64,
            Self::Shared(bytes) => bytes.len() as u64,
            Self::File(range) => range.length,
        }
    }

    /// Returns the bytes of the segment, unless they are in a file.
    fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Block(block) => Some(block.filled()),
            Self::Shared(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }
}

/// A range of an open file, to be sent without passing through user memory (`sendfile(2)`).
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The open file. It is closed when the last range of it has been sent.
    pub file: Arc<File>,
    /// Where the range starts, in bytes from the beginning of the file.
    pub offset: u64,
    /// The length of the range in bytes.
    pub length: u64,
}

/// The front of an [`Output`]: what has to be sent next. See [`Output::front`].
#[derive(Debug)]
pub enum Front<'a> {
    /// Nothing is waiting.
    Empty,
    /// All waiting bytes are contiguous.
    Whole(&'a [u8]),
    /// The waiting bytes are in several segments: collect them with [`Output::gather`].
    Memory,
    /// A file range is waiting. This is the part of it that has not been sent.
    File(FileRange),
}

/// A queue of bytes for the peer: appended bytes, messages that many connections share, and file
/// ranges.
///
/// A new output owns no heap memory; one that is flushed after each message keeps a small buffer. A driver
/// flushes with [`front`](Self::front), [`gather`](Self::gather) and [`consume`](Self::consume).
///
/// ```
/// use protocol::Output;
/// use std::sync::Arc;
///
/// let news: Arc<[u8]> = Arc::from(&b"news\n"[..]);
/// let mut output = Output::new();
/// output.append(b"hello\n");
/// output.share(Arc::clone(&news)); // no copy, however many outputs share it
/// assert_eq!(output.len(), 11);
/// assert_eq!(output.to_vec(), b"hello\nnews\n");
/// ```
#[derive(Default)]
pub struct Output {
    queue: VecDeque<Segment>,
    /// The segment being appended to. It comes after all of `queue`.
    tail: Vec<u8>,
    /// How much of the first segment has been sent.
    sent: u64,
    len: u64,
    /// How many bytes of the segments are file ranges, sent or not.
    file_bytes: u64,
    /// An empty block for the next input that passes through.
    spare: Option<Buffer>,
}

impl Output {
    /// Returns an empty output that owns no heap memory.
    pub const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            tail: Vec::new(),
            sent: 0,
            len: 0,
            file_bytes: 0,
            spare: None,
        }
    }

    /// Returns how many bytes are waiting to be sent, including those of files.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns how many bytes are waiting in memory: all except those of files.
    pub fn memory(&self) -> u64 {
        let sent = match self.queue.front() {
            Some(Segment::File(_)) => self.sent,
            _ => 0,
        };
        self.len - (self.file_bytes - sent)
    }

    /// Returns whether no bytes are waiting.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        // An insertion may have made the tail longer than a segment.
        let room = self.tail.capacity().min(CHUNK_SIZE).saturating_sub(self.tail.len());
        if bytes.len() <= room.min(copying::LARGE_MIN) {
            self.tail.extend_from_slice(bytes);
            self.len += bytes.len() as u64;
        } else {
            self.append_across(bytes);
        }
    }

    /// Appends many bytes, or bytes that do not fit into the tail.
    fn append_across(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = CHUNK_SIZE.saturating_sub(self.tail.len());
            if room == 0 {
                self.seal();
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.grow(now.len());
            copying::append(&mut self.tail, now);
            rest = later;
        }
        self.len += bytes.len() as u64;
    }

    /// Appends the bytes that `fill` writes to the beginning of its room, and returns as their number.
    /// The room has `most` bytes, all zero.
    ///
    /// # Errors
    /// With the error of `fill`; then nothing is appended.
    ///
    /// # Panics
    /// If `fill` returns more than `most`.
    pub fn append_with<E>(
        &mut self,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let room = CHUNK_SIZE.saturating_sub(self.tail.len());
        if most > room && !self.tail.is_empty() {
            self.seal();
        }
        let before = self.tail.len();
        self.tail.resize(before + most, 0);
        let result = fill(&mut self.tail[before..]);
        let count = *result.as_ref().unwrap_or(&0);
        assert!(count <= most, "{count} bytes in a room of {most}");
        self.tail.truncate(before + count);
        self.len += count as u64;
        result.map(drop)
    }

    /// Makes room in the tail. It doubles, but does not exceed a segment.
    fn grow(&mut self, more: usize) {
        let (length, capacity) = (self.tail.len(), self.tail.capacity());
        let wanted = length + more;
        if wanted > capacity {
            self.tail.reserve_exact(wanted.max(capacity * 2).min(CHUNK_SIZE) - length);
        }
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.append(&[byte]);
    }

    /// Inserts `bytes` before the last `after` bytes. A length that precedes its content can be
    /// inserted when the content is complete. Moves the bytes of one segment at most.
    ///
    /// # Panics
    /// When fewer than `after` bytes are waiting, or when the position is inside a shared message
    /// or a file.
    pub fn insert(&mut self, after: u64, bytes: &[u8]) {
        assert!(after <= self.len, "inserting before {after} of {} waiting bytes", self.len);
        self.len += bytes.len() as u64;
        let mut behind = self.tail.len() as u64;
        if after <= behind {
            let place = (behind - after) as usize;
            self.tail.splice(place..place, bytes.iter().copied());
            return;
        }
        for (index, segment) in self.queue.iter_mut().enumerate().rev() {
            let length = segment.len();
            behind += length;
            match segment {
                Segment::Bytes(own) if after <= behind => {
                    let place = (behind - after) as usize;
                    own.splice(place..place, bytes.iter().copied());
                    return;
                }
                _ if after == behind => {
                    self.queue.insert(index, Segment::Bytes(bytes.to_vec()));
                    return;
                }
                _ => assert!(after > behind, "inserting into a shared message or a file"),
            }
        }
    }

    /// Appends bytes that other outputs share, without copying them. Fewer than 64 bytes are
    /// copied, since a segment would cost more.
    pub fn share(&mut self, bytes: Arc<[u8]>) {
        if bytes.len() < SHARED_MIN {
            self.append(&bytes);
        } else {
            self.enqueue(Segment::Shared(bytes));
        }
    }

    /// Moves all bytes of `input` to the end of the output. A block that is nearly full is not
    /// copied: the output takes it over, and `input` gets an empty block, which is one that was
    /// sent before if possible. Use this for an echo, a relay, or a body that passes through.
    #[inline]
    pub fn take_input(&mut self, input: &mut Buffer) {
        // The unused room of a block stays allocated while its bytes wait.
        if input.len() < TAKEN_MIN || input.len() < input.capacity() - input.capacity() / 8 {
            self.append(input.filled());
            input.clear();
        } else {
            self.take_block(input);
        }
    }

    #[cold]
    fn take_block(&mut self, input: &mut Buffer) {
        let empty = self.spare.take().unwrap_or_default();
        self.enqueue(Segment::Block(std::mem::replace(input, empty)));
    }

    /// Appends a range of a file, without reading it.
    ///
    /// If the file is shorter than the range when it is sent, the connection fails, since the peer
    /// was promised the bytes.
    ///
    /// # Panics
    /// When the range ends beyond 2^63 - 1 bytes, the limit of the size of a file.
    pub fn file(&mut self, range: FileRange) {
        let end = range.offset.checked_add(range.length);
        assert!(end.is_some_and(|end| end <= i64::MAX as u64), "no file has {range:?}");
        self.enqueue(Segment::File(range));
    }

    fn enqueue(&mut self, segment: Segment) {
        let length = segment.len();
        if length == 0 {
            return;
        }
        self.seal();
        self.len += length;
        if let Segment::File(_) = segment {
            self.file_bytes += length;
        }
        self.queue.push_back(segment);
    }

    /// Moves the tail into the queue, so that the next bytes start a new segment.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let sealed = std::mem::take(&mut self.tail);
            self.queue.push_back(Segment::Bytes(sealed));
        }
    }

    /// Returns what has to be sent next.
    #[inline]
    pub fn front(&self) -> Front<'_> {
        if self.queue.is_empty() && !self.tail.is_empty() {
            return Front::Whole(&self.tail[self.sent as usize..]);
        }
        self.front_segment()
    }

    fn front_segment(&self) -> Front<'_> {
        match self.queue.front() {
            Some(Segment::File(range)) => Front::File(FileRange {
                file: Arc::clone(&range.file),
                offset: range.offset + self.sent,
                length: range.length - self.sent,
            }),
            Some(segment) if self.queue.len() == 1 && self.tail.is_empty() => {
                Front::Whole(segment.memory().map_or(&[], |bytes| &bytes[self.sent as usize..]))
            }
            Some(_) => Front::Memory,
            None => Front::Empty,
        }
    }

    /// Fills `slices` with the bytes that are waiting in memory, up to the next file range, for one
    /// vectored write (`writev(2)`). Returns how many slices were filled.
    pub fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let memory = self.queue.iter().map_while(Segment::memory).chain(self.memory_tail());
        let mut filled = 0;
        for (slot, bytes) in slices.iter_mut().zip(memory) {
            // `sent` counts from the first segment only.
            let skip = if filled == 0 { self.sent as usize } else { 0 };
            *slot = IoSlice::new(&bytes[skip..]);
            filled += 1;
        }
        filled
    }

    /// Returns the tail, unless a file range precedes it.
    fn memory_tail(&self) -> Option<&[u8]> {
        (self.file_bytes == 0 && !self.tail.is_empty()).then_some(self.tail.as_slice())
    }

    /// Removes the first `count` bytes, which have been sent.
    ///
    /// # Panics
    /// When `count` is more than [`len`](Self::len).
    #[inline]
    pub fn consume(&mut self, count: u64) {
        assert!(count <= self.len, "sent {count} of {} waiting bytes", self.len);
        self.len -= count;
        self.sent += count;
        if !self.queue.is_empty() {
            self.drop_sent();
        }
        // A tail that was sent completely keeps its storage for the next reply.
        if self.queue.is_empty() && self.sent == self.tail.len() as u64 {
            self.tail.clear();
            self.sent = 0;
        }
    }

    /// Moves everything that is waiting to a new output, without copying large segments. This
    /// output is empty then and keeps the storage of its tail.
    #[must_use]
    pub fn take(&mut self) -> Output {
        let mut queue = std::mem::take(&mut self.queue);
        let mut sent = std::mem::take(&mut self.sent);
        for segment in &mut queue {
            // A small rest is copied, so that it does not keep the whole block allocated.
            if let Segment::Block(block) = segment
                && block.len() < block.capacity() / 4
            {
                *segment = Segment::Bytes(block.filled().to_vec());
            }
        }
        let skip = if queue.is_empty() { std::mem::take(&mut sent) } else { 0 };
        let tail = self.tail[skip as usize..].to_vec();
        self.tail.clear();
        let (len, file_bytes) =
            (std::mem::take(&mut self.len), std::mem::take(&mut self.file_bytes));
        Output { queue, tail, sent, len, file_bytes, spare: None }
    }

    /// Returns a copy of the bytes that are waiting in memory, for tests and logs. File ranges are
    /// left out.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut sent = self.sent as usize;
        for segment in &self.queue {
            let skip = std::mem::take(&mut sent);
            all.extend_from_slice(segment.memory().map_or(&[], |bytes| &bytes[skip..]));
        }
        all.extend_from_slice(&self.tail[sent..]);
        all
    }

    /// Removes everything that is waiting.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.tail.clear();
        self.sent = 0;
        self.len = 0;
        self.file_bytes = 0;
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.queue.len() + usize::from(!self.tail.is_empty());
        write!(f, "Output({} bytes in {segments} segments)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::sent::{SEGMENTS_KEPT, TAIL_KEPT};
    use super::*;

    fn gathered(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = output.gather(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn range(length: u64) -> FileRange {
        let file = Arc::new(File::open("/dev/null").expect("/dev/null opens"));
        FileRange { file, offset: 100, length }
    }

    #[test]
    fn what_is_sent_leaves_from_the_front_across_segments() {
        let mut output = Output::new();
        output.append(b"abc");
        output.share(Arc::from(&b"defg"[..]));
        output.append(b"hi");
        for sent in 0..=9 {
            assert_eq!(gathered(&output), b"abcdefghi"[sent..].to_vec(), "after {sent} bytes");
            assert_eq!(output.to_vec(), b"abcdefghi"[sent..].to_vec());
            if sent < 9 {
                output.consume(1);
            }
        }
        assert!(output.is_empty());
        assert!(matches!(output.front(), Front::Empty));
    }

    #[test]
    fn a_flushed_output_keeps_its_small_buffer() {
        let mut output = Output::new();
        output.append(b"one");
        let before = output.tail.capacity();
        output.consume(3);
        output.append(b"two");
        assert_eq!(output.tail.capacity(), before);
        assert_eq!(gathered(&output), b"two");
    }

    #[test]
    fn the_storage_of_a_small_segment_serves_the_next_one() {
        let mut output = Output::new();
        let mut places = Vec::new();
        for size in [100, 100, TAIL_KEPT, 2 * TAIL_KEPT, 100] {
            output.append(&vec![b'h'; size]);
            places.push(output.tail.as_ptr());
            output.file(range(10));
            output.consume(size as u64 + 5);
            assert_eq!(gathered(&output), b"");
            output.consume(5);
            assert!(output.is_empty() && matches!(output.front(), Front::Empty));
            assert!(output.tail.capacity() <= TAIL_KEPT, "{}", output.tail.capacity());
        }
        assert_eq!(places[0], places[1]);
        output.append(b"head");
        output.file(range(10));
        output.append(b"next");
        output.consume(14);
        assert_eq!(gathered(&output), b"next", "a tail that is in use stays");
    }

    #[test]
    fn a_long_backlog_is_held_in_chunks() {
        let mut output = Output::new();
        output.append(&vec![7; 3 * CHUNK_SIZE + 5]);
        assert_eq!(output.queue.len(), 3);
        assert_eq!(output.len(), 3 * CHUNK_SIZE as u64 + 5);
        output.consume(2 * CHUNK_SIZE as u64);
        assert_eq!(output.queue.len(), 1);
    }

    #[test]
    fn what_is_put_in_stands_before_what_was_said_since() {
        for size in [1, 5, CHUNK_SIZE - 4, CHUNK_SIZE - 3, CHUNK_SIZE, 2 * CHUNK_SIZE] {
            let mut output = Output::new();
            output.append(b"gone");
            output.consume(3);
            output.append(b"abc");
            output.append(&vec![b'x'; size]);
            output.insert(size as u64, b"head");
            output.append(b"z");
            let expected = [b"eabchead", vec![b'x'; size].as_slice(), b"z"].concat();
            assert_eq!(output.to_vec(), expected, "{size}");
            assert_eq!(gathered(&output), expected);
            assert_eq!(output.len(), expected.len() as u64);
            output.consume(expected.len() as u64);
            assert!(output.is_empty());
        }
    }

    #[test]
    fn something_can_be_put_in_before_a_shared_message() {
        let mut output = Output::new();
        output.share(Arc::from(&b"one"[..]));
        output.share(Arc::from(&b"two"[..]));
        output.insert(3, b"+");
        output.insert(7, b"-");
        assert_eq!(gathered(&output), b"-one+two");
    }

    #[test]
    #[should_panic(expected = "into a shared message")]
    fn nothing_can_be_put_into_a_shared_message() {
        let mut output = Output::new();
        output.share(Arc::from(vec![1; 1000]));
        output.insert(2, b"+");
    }

    #[test]
    fn shared_bytes_are_never_copied() {
        let message: Arc<[u8]> = Arc::from(vec![1; 1000]);
        let mut outputs: Vec<Output> = (0..10).map(|_| Output::new()).collect();
        for output in &mut outputs {
            output.share(Arc::clone(&message));
        }
        assert_eq!(Arc::strong_count(&message), 11);
        for output in &mut outputs {
            output.consume(1000);
        }
        assert_eq!(Arc::strong_count(&message), 1);
    }

    #[test]
    fn a_file_range_stands_between_what_came_before_and_after() {
        let mut output = Output::new();
        output.append(b"head");
        output.file(range(10));
        output.append(b"foot");
        assert_eq!(gathered(&output), b"head");
        output.consume(4 + 3);
        match output.front() {
            Front::File(rest) => assert_eq!((rest.offset, rest.length), (103, 7)),
            other => panic!("expected the file range, got {other:?}"),
        }
        assert_eq!(gathered(&output), b"");
        output.consume(7);
        assert_eq!(gathered(&output), b"foot");
    }

    #[test]
    fn moving_keeps_order_and_what_was_sent() {
        let mut hot = Output::new();
        hot.append(b"abc");
        hot.share(Arc::from(&b"def"[..]));
        hot.file(range(4));
        hot.append(b"ghi");
        hot.consume(4);
        let mut cold = hot.take();
        assert!(hot.is_empty() && hot.memory() == 0);
        assert_eq!((cold.len(), cold.memory()), (2 + 4 + 3, 2 + 3));
        assert_eq!(gathered(&cold), b"ef");
        cold.consume(2 + 1);
        assert_eq!((cold.len(), cold.memory()), (3 + 3, 3));
        cold.consume(3);
        assert_eq!(gathered(&cold), b"ghi");
    }

    #[test]
    fn a_message_that_is_shared_and_half_sent_is_still_not_copied() {
        let news: Arc<[u8]> = vec![1; 1 << 20].into();
        let mut hot = Output::new();
        let kept: Vec<Output> = (0..10)
            .map(|_| {
                hot.share(Arc::clone(&news));
                hot.consume(1000);
                hot.take()
            })
            .collect();
        assert_eq!(Arc::strong_count(&news), 11);
        assert!(kept.iter().all(|output| output.memory() == (1 << 20) - 1000));
    }

    #[test]
    fn a_backlog_of_appended_bytes_takes_no_more_room_than_there_are() {
        let mut output = Output::new();
        for _ in 0..100 {
            output.append(&[7; 10_007]);
        }
        let room = output.queue.iter().map(|segment| match segment {
            Segment::Bytes(bytes) => bytes.capacity(),
            _ => 0,
        });
        let room = room.sum::<usize>() + output.tail.capacity();
        assert!(room <= output.len() as usize + CHUNK_SIZE, "{room} for {}", output.len());
    }

    #[test]
    fn a_crowd_of_segments_leaves_no_room_behind_once_it_is_sent() {
        let news: Arc<[u8]> = vec![1; SHARED_MIN].into();
        let mut output = Output::new();
        for _ in 0..100_000 {
            output.share(Arc::clone(&news));
        }
        let mut shrunk = 0;
        while output.len() > SHARED_MIN as u64 {
            let before = output.queue.capacity();
            output.consume(SHARED_MIN as u64);
            shrunk += usize::from(output.queue.capacity() < before);
        }
        assert!(output.queue.capacity() <= 4 * SEGMENTS_KEPT, "{}", output.queue.capacity());
        assert!(shrunk <= 20, "{shrunk} times");
        for _ in 0..100_000 {
            output.share(Arc::clone(&news));
        }
        output.consume(output.len());
        assert!(output.queue.capacity() <= 100_000, "half of it goes at once");
    }

    #[test]
    fn nothing_appended_is_nothing_queued() {
        let mut output = Output::new();
        output.append(b"");
        output.share(Arc::from(&b""[..]));
        output.file(range(0));
        assert!(output.is_empty());
        assert!(matches!(output.front(), Front::Empty));
    }
}
