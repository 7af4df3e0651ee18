//! Masking of payloads (RFC 6455 section 5.3).

/// How many bytes are masked at once.
const WIDE: usize = 16;

/// Returns the key as it is applied to bytes that come after `from` bytes of the payload.
fn rotated(key: [u8; 4], from: u64) -> [u8; 4] {
    let mut key = key;
    key.rotate_left((from % 4) as usize);
    key
}

fn widened(key: [u8; 4]) -> u128 {
    let mut wide = [0; WIDE];
    for part in wide.as_chunks_mut::<4>().0 {
        *part = key;
    }
    u128::from_ne_bytes(wide)
}

/// Masks or unmasks bytes in place, which come after `from` bytes of the payload. Compilers turn the
/// loop into vector instructions.
pub(super) fn mask(bytes: &mut [u8], key: [u8; 4], from: u64) {
    let key = rotated(key, from);
    let wide = widened(key);
    let (blocks, rest) = bytes.as_chunks_mut::<WIDE>();
    for block in blocks {
        *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Writes masked bytes to the beginning of `room`. They come after `from` bytes of the payload.
pub(super) fn mask_into(bytes: &[u8], room: &mut [u8], key: [u8; 4], from: u64) {
    let key = rotated(key, from);
    let wide = widened(key);
    let room = &mut room[..bytes.len()];
    let (blocks, rest) = bytes.as_chunks::<WIDE>();
    let (places, last) = room.as_chunks_mut::<WIDE>();
    for (block, place) in blocks.iter().zip(places) {
        *place = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for ((byte, place), key) in rest.iter().zip(last).zip(key.iter().cycle()) {
        *place = byte ^ key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks as the RFC describes it.
    fn slowly(bytes: &[u8], key: [u8; 4], from: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(at, byte)| byte ^ key[(from + at) % 4]).collect()
    }

    #[test]
    fn every_length_and_phase_is_masked_as_the_rfc_says() {
        let (key, text) = ([0x37, 0xfa, 0x21, 0x3d], testing_bytes(200));
        for length in 0..text.len() {
            for from in 0..9 {
                let expected = slowly(&text[..length], key, from);
                let (mut own, mut copy) = (text[..length].to_vec(), vec![0; length + 3]);
                mask(&mut own, key, from as u64);
                mask_into(&text[..length], &mut copy, key, from as u64);
                assert_eq!((&own, &copy[..length]), (&expected, &expected[..]));
                assert_eq!(copy[length..], [0; 3], "no byte more is written");
            }
        }
    }

    #[test]
    fn a_payload_in_parts_is_masked_as_one() {
        let (key, text) = ([1, 2, 3, 4], testing_bytes(100));
        for split in 0..text.len() {
            let mut parts = text.clone();
            let (front, back) = parts.split_at_mut(split);
            mask(front, key, 0);
            mask(back, key, split as u64);
            assert_eq!(parts, slowly(&text, key, 0));
        }
    }

    fn testing_bytes(length: usize) -> Vec<u8> {
        crate::Random::new(1).bytes(length)
    }
}
