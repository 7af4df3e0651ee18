//! Searches input for a byte.

/// Returns the index of the first `byte`. Long runs without it are skipped in blocks, which
/// compilers turn into vector instructions; the rest is searched word by word.
pub(crate) fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut from = 0;
    for block in bytes.chunks_exact(BLOCK) {
        let found = block.iter().fold(false, |found, it| found | (*it == byte));
        if found {
            break;
        }
        from += BLOCK;
    }
    find_in_words(&bytes[from..], byte).map(|place| from + place)
}

fn find_in_words(bytes: &[u8], byte: u8) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let wanted = ONES * u64::from(byte);
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        // Bytes equal to `byte` are zero here. Subtracting one borrows from the lowest of them,
        // which sets its highest bit. The effect on the bytes above it does not matter.
        let difference = u64::from_le_bytes(*word) ^ wanted;
        let zeros = difference.wrapping_sub(ONES) & !difference & (ONES << 7);
        if zeros != 0 {
            return Some(place * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|it| *it == byte)?;
    Some(words.len() * 8 + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_stands() {
        for place in 0..300 {
            let mut bytes = vec![0; 300];
            bytes[place..].fill(7);
            assert_eq!(find_byte(&bytes, 7), Some(place));
            assert_eq!(find_byte(&bytes[..place], 7), None);
        }
    }

    #[test]
    fn neighbours_of_the_wanted_byte_do_not_mislead() {
        for byte in 0..=255_u8 {
            for other in 0..=255_u8 {
                let bytes = [other, other, byte, other, byte, other, other, other, other];
                let first = if other == byte { 0 } else { 2 };
                assert_eq!(find_byte(&bytes, byte), Some(first), "{byte} among {other}");
            }
        }
    }
}
