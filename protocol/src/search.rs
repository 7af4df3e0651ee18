//! Searching input for the byte that ends something.

/// The place of the first `byte`. Blocks are tested as a whole first, which compilers turn into
/// vector instructions.
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
    bytes[from..].iter().position(|it| *it == byte).map(|place| from + place)
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
}
