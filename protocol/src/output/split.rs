//! Splitting an output where something begins that is sent otherwise, and copying it as a whole.

use std::io::IoSlice;

use super::{FileRange, Front, Output, Segment};

impl Output {
    /// Returns all waiting bytes as slices, or `None` if some are in a file.
    pub(crate) fn memory_parts(&self) -> Option<Vec<&[u8]>> {
        if self.file_bytes > 0 {
            return None;
        }
        let segments = self.queue.iter().filter_map(Segment::memory);
        let mut parts: Vec<&[u8]> = segments.chain([&self.tail[..]]).collect();
        // `sent` counts from the first of them only.
        if let Some(first) = parts.first_mut() {
            *first = &first[self.sent as usize..];
        }
        Some(parts)
    }

    /// Moves the first `count` bytes to a new output. Copies those in memory, unless they are all that
    /// is waiting.
    ///
    /// # Panics
    /// When `count` is more than [`len`](Self::len).
    pub(crate) fn split_to(&mut self, count: u64) -> Output {
        assert!(count <= self.len, "the first {count} of {} waiting bytes", self.len);
        let mut rest = self.take();
        if count == rest.len {
            return rest;
        }
        let mut first = Output::new();
        while first.len < count {
            let before = first.len;
            let left = count - before;
            let mut slices = [IoSlice::new(&[])];
            match rest.front() {
                Front::File(range) => {
                    first.file(FileRange { length: range.length.min(left), ..range });
                }
                Front::Whole(_) | Front::Memory | Front::Empty => {
                    rest.gather(&mut slices);
                    let length = left.min(slices[0].len() as u64) as usize;
                    first.append(&slices[0][..length]);
                }
            }
            rest.consume(first.len - before);
        }
        *self = rest;
        first
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;
    use crate::output::Segment;

    fn range(length: u64) -> FileRange {
        let file = Arc::new(File::open("/dev/null").expect("/dev/null opens"));
        FileRange { file, offset: 100, length }
    }

    #[test]
    fn an_output_may_be_split_at_every_byte() {
        for count in 0..=14 {
            let mut output = Output::new();
            output.append(b"gone");
            output.consume(4);
            output.append(b"abc");
            output.enqueue(Segment::Shared(Arc::from(&b"def"[..])));
            output.file(range(4));
            output.append(b"ghij");
            let mut first = output.split_to(count);
            assert_eq!((first.len(), output.len()), (count, 14 - count), "split at {count}");
            let mut all = Vec::new();
            for half in [&mut first, &mut output] {
                while !half.is_empty() {
                    let before = all.len();
                    match half.front() {
                        Front::File(rest) => {
                            all.extend((rest.offset..rest.offset + rest.length).map(|it| it as u8));
                        }
                        _ => {
                            let mut slices = [IoSlice::new(&[])];
                            half.gather(&mut slices);
                            all.extend_from_slice(&slices[0]);
                        }
                    }
                    half.consume((all.len() - before) as u64);
                }
            }
            assert_eq!(all, b"abcdefdefgghij", "split at {count}");
        }
    }
}
