//! Copies of many bytes that take the same time wherever the bytes begin.
//!
//! The C library copies some KiB or more with the instruction `rep movsb`. On processors of AMD it is slow if the
//! destination begins 1 to 15 bytes behind the source, both counted within their pages of 4 KiB: 64 KiB then took
//! 18.7 us on an EPYC of family 25, model 17, and 1.1 us otherwise. Two buffers of whole pages that lie next to each
//! other are at such a distance for good, if the header of a message differs between them. Smaller copies do
//! not use the instruction, and have no such case.

/// From how many bytes on a copy may be slow. The C library uses the instruction from 2 KiB on at the earliest.
pub(crate) const LARGE_MIN: usize = 2048;
/// The size of a piece that the C library copies without the instruction.
const PIECE_SIZE: usize = 1024;
const PAGE_SIZE: usize = 4096;

/// Appends bytes.
pub(crate) fn append(to: &mut Vec<u8>, from: &[u8]) {
    to.reserve(from.len());
    let size = piece_size(to.as_ptr().addr() + to.len(), from);
    from.chunks(size).for_each(|piece| to.extend_from_slice(piece));
}

/// Copies bytes to as much room.
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let size = piece_size(to.as_ptr().addr(), from);
    to.chunks_mut(size).zip(from.chunks(size)).for_each(|(to, piece)| to.copy_from_slice(piece));
}

/// Returns in pieces of how many bytes a copy to an address is fast: at least 1.
fn piece_size(to: usize, from: &[u8]) -> usize {
    let behind = to.wrapping_sub(from.as_ptr().addr()) % PAGE_SIZE;
    match from.len() >= LARGE_MIN && (1..16).contains(&behind) {
        true => PIECE_SIZE,
        false => from.len().max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_split_only_where_it_is_slow() {
        let from = vec![0; 8 * PAGE_SIZE];
        let at = from.as_ptr().addr();
        let size = |distance: isize| piece_size(at.wrapping_add_signed(distance), &from);
        for slow in [1, 15, 4097, 5 * 4096 + 12, 1 - 4096] {
            assert_eq!(size(slow), PIECE_SIZE, "{slow} bytes behind");
        }
        for fast in [0, 16, -1, 4096, 4112, 2048, -4096] {
            assert_eq!(size(fast), from.len(), "{fast} bytes behind");
        }
        assert_eq!(piece_size(at + 1, &from[..LARGE_MIN - 1]), LARGE_MIN - 1);
        assert_eq!(piece_size(at + 1, &from[..LARGE_MIN]), PIECE_SIZE);
        assert_eq!(piece_size(at, &[]), 1);
    }

    #[test]
    fn every_byte_is_copied_at_any_distance_and_of_any_length() {
        let from: Vec<u8> = (0..3 * PAGE_SIZE).map(|at| (at % 251) as u8).collect();
        for length in
            [0, 1, PIECE_SIZE, LARGE_MIN - 1, LARGE_MIN, LARGE_MIN + 1, 5000, 2 * PAGE_SIZE]
        {
            for begin in 0..40 {
                let bytes = &from[begin..begin + length];
                // The distance is that of the buffers, and `begin` passes through all that are slow.
                let mut appended = Vec::with_capacity(3 * PAGE_SIZE);
                appended.extend_from_slice(&from[..20]);
                append(&mut appended, bytes);
                assert_eq!((&appended[..20], &appended[20..]), (&from[..20], bytes));
                let mut room = vec![0; length];
                copy(&mut room, bytes);
                assert_eq!(room, bytes);
            }
        }
    }
}
