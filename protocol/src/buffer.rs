//! The input of a conversation: bytes received and not yet consumed.

use std::fmt;

use crate::copying;

/// A contiguous run of received bytes. A driver fills it at the back, and a decoder consumes it at
/// the front.
///
/// A new buffer owns no heap memory, so an idle connection costs none. The storage is always
/// initialised, so this crate needs no `unsafe`: growing zeroes the new part once.
///
/// ```
/// use protocol::Buffer;
///
/// let mut buffer = Buffer::new();
/// buffer.extend_from_slice(b"PING\r\n");
/// buffer.consume(4);
/// assert_eq!(buffer.filled(), b"\r\n");
/// ```
#[derive(Default)]
pub struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Returns an empty buffer that owns no heap memory.
    pub const fn new() -> Self {
        Self { storage: Vec::new(), start: 0, end: 0 }
    }

    /// Returns an empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { storage: vec![0; capacity], start: 0, end: 0 }
    }

    /// Returns the number of waiting bytes: received and not yet consumed.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns whether no bytes are waiting.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the size of the storage in bytes, filled or not.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Returns the waiting bytes.
    pub fn filled(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// Returns the waiting bytes, for decoders that work in place.
    #[inline]
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Removes the first `count` waiting bytes.
    ///
    /// # Panics
    /// When `count` is more than [`len`](Self::len). A decoder that consumes more than it was given
    /// has a bug, which must not be hidden.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "consumed {count} of {} waiting bytes", self.len());
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Returns all free room behind the waiting bytes, which is at least `room` bytes.
    ///
    /// If there is less, the waiting bytes move to the front. If that is not enough, the storage
    /// grows to twice its size or more, so the work for a message that arrives in pieces is linear.
    #[inline]
    pub fn spare(&mut self, room: usize) -> &mut [u8] {
        if self.storage.len() - self.end < room {
            self.make_room(room);
        }
        &mut self.storage[self.end..]
    }

    fn make_room(&mut self, room: usize) {
        self.storage.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.end.saturating_add(room);
        if self.storage.len() < wanted {
            let doubled = self.storage.len().saturating_mul(2);
            self.storage.resize(wanted.max(doubled), 0);
        }
    }

    /// Marks the first `count` bytes of the room that [`spare`](Self::spare) returned as filled.
    ///
    /// # Panics
    /// When `count` is more than the room.
    #[inline]
    pub fn commit(&mut self, count: usize) {
        let room = self.storage.len() - self.end;
        assert!(count <= room, "committed {count} bytes into room for {room}");
        self.end += count;
    }

    /// Appends `bytes`. The storage grows if there is too little room.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        copying::copy(&mut self.spare(bytes.len())[..bytes.len()], bytes);
        self.commit(bytes.len());
    }

    /// Returns the storage, which may be exchanged for other storage of the same size.
    pub(crate) fn storage_mut(&mut self) -> &mut Vec<u8> {
        &mut self.storage
    }

    /// Removes all waiting bytes. The storage is kept.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

/// Takes over a filled block without copying it. All of its bytes are waiting.
impl From<Vec<u8>> for Buffer {
    fn from(storage: Vec<u8>) -> Self {
        let end = storage.len();
        Self { storage, start: 0, end }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len(), self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_buffer_owns_nothing() {
        assert_eq!(Buffer::new().capacity(), 0);
    }

    #[test]
    fn consuming_everything_reclaims_the_front_without_moving_bytes() {
        let mut buffer = Buffer::with_capacity(8);
        buffer.extend_from_slice(b"12345678");
        buffer.consume(8);
        assert_eq!(buffer.spare(8).len(), 8);
        assert_eq!(buffer.capacity(), 8);
    }

    #[test]
    fn room_is_made_by_moving_before_it_is_made_by_growing() {
        let mut buffer = Buffer::with_capacity(8);
        buffer.extend_from_slice(b"12345678");
        buffer.consume(5);
        assert_eq!(buffer.spare(5).len(), 5);
        assert_eq!(buffer.filled(), b"678");
        assert_eq!(buffer.capacity(), 8);
        buffer.spare(6);
        assert_eq!(buffer.capacity(), 16);
        assert_eq!(buffer.filled(), b"678");
    }

    #[test]
    fn what_goes_in_in_pieces_comes_out_whole() {
        let mut buffer = Buffer::new();
        for piece in [&b"a"[..], b"", b"bcd", b"efghijkl"] {
            buffer.extend_from_slice(piece);
        }
        assert_eq!(buffer.filled(), b"abcdefghijkl");
        buffer.filled_mut().make_ascii_uppercase();
        assert_eq!(buffer.filled(), b"ABCDEFGHIJKL");
    }

    #[test]
    fn a_foreign_block_is_adopted_without_a_copy() {
        let block = b"received elsewhere".to_vec();
        let place = block.as_ptr();
        let mut buffer = Buffer::from(block);
        assert_eq!(
            (buffer.filled(), buffer.filled().as_ptr()),
            (&b"received elsewhere"[..], place)
        );
        buffer.consume(9);
        assert_eq!(buffer.spare(9).len(), 9, "the front is used again");
        assert_eq!(buffer.filled(), b"elsewhere");
    }

    #[test]
    #[should_panic(expected = "consumed 2 of 1")]
    fn consuming_what_was_never_given_is_a_bug() {
        let mut buffer = Buffer::new();
        buffer.extend_from_slice(b"1");
        buffer.consume(2);
    }
}
