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

/// Returns the index of the first control byte of ASCII other than the tabulator.
#[cfg(feature = "http")]
#[inline]
pub(crate) fn find_control(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let place = from + find_low_or_delete(&bytes[from..])?;
        if bytes[place] != b'\t' {
            return Some(place);
        }
        from = place + 1;
    }
}

/// Returns the index of the first byte below 32 or equal to 127, word by word.
#[cfg(feature = "http")]
#[inline]
fn find_low_or_delete(bytes: &[u8]) -> Option<usize> {
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    const LOW: u64 = !HIGH;
    const TO_SPACE: u64 = u64::from_ne_bytes([0x80 - 0x20; 8]);
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // No sum of a byte reaches the next one.
        let low = word & LOW;
        let found = (!(low + TO_SPACE) | (low + ONES)) & !word & HIGH;
        if found != 0 {
            return Some(place * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|it| *it < 0x20 || *it == 0x7f)?;
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

    #[cfg(feature = "http")]
    #[test]
    fn control_bytes_are_found_wherever_they_stand() {
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=255_u8 {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = byte;
                    if place > 0 {
                        bytes[place - 1] = b'\t';
                    }
                    let is_control = byte.is_ascii_control() && byte != b'\t';
                    let expected = is_control.then_some(place);
                    assert_eq!(find_control(&bytes), expected, "{byte} at {place} of {length}");
                }
            }
        }
    }
}
