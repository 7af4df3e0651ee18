//! CRC-32 as zlib and Ethernet have it: reflected, with the polynomial 0xEDB88320, and inverted at both
//! ends.

const POLYNOMIAL: u32 = 0xEDB8_8320;
/// How many bytes are taken at once.
#[cfg(any(test, not(feature = "mfs-crc")))]
const WIDTH: usize = 16;

/// `TABLES[k][b]` is the remainder of the byte `b` with `k` zero bytes after it.
#[cfg(any(test, not(feature = "mfs-crc")))]
static TABLES: [[u32; 256]; WIDTH] = tables();

#[cfg(any(test, not(feature = "mfs-crc")))]
const fn tables() -> [[u32; 256]; WIDTH] {
    let mut tables = [[0; 256]; WIDTH];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < WIDTH {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// Returns the CRC-32 of bytes.
///
/// ```
/// assert_eq!(protocol::mfs::crc32(b"123456789"), 0xCBF4_3926);
/// assert_eq!(protocol::mfs::crc32(&[0; 65536]), 0xD797_8EEB);
/// ```
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32_from(0, bytes)
}

/// Returns the CRC-32 of what has the CRC-32 `before`, followed by `bytes`.
///
/// With the feature `mfs-crc`, it uses the instructions that the processor has for it.
pub fn crc32_from(before: u32, bytes: &[u8]) -> u32 {
    #[cfg(feature = "mfs-crc")]
    {
        let mut hasher = crc32fast::Hasher::new_with_initial(before);
        hasher.update(bytes);
        hasher.finalize()
    }
    #[cfg(not(feature = "mfs-crc"))]
    from_tables(before, bytes)
}

/// Does the same with tables alone.
#[cfg(any(test, not(feature = "mfs-crc")))]
fn from_tables(before: u32, bytes: &[u8]) -> u32 {
    let mut crc = !before;
    let (blocks, rest) = bytes.as_chunks::<WIDTH>();
    for block in blocks {
        let mut folded = *block;
        let start = u32::from_le_bytes([block[0], block[1], block[2], block[3]]) ^ crc;
        folded[..4].copy_from_slice(&start.to_le_bytes());
        crc = 0;
        for (place, byte) in folded.iter().enumerate() {
            crc ^= TABLES[WIDTH - 1 - place][usize::from(*byte)];
        }
    }
    for byte in rest {
        crc = crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

/// Returns the CRC-32 of A followed by B, of which only the CRC-32s and the size of B in bytes are known.
///
/// ```
/// use protocol::mfs::{crc32, crc32_combine};
///
/// assert_eq!(crc32_combine(crc32(b"1234"), crc32(b"56789"), 5), crc32(b"123456789"));
/// ```
pub fn crc32_combine(first: u32, second: u32, second_size: u64) -> u32 {
    // The CRC-32 of A is multiplied by x to the number of bits of B.
    let (mut size, mut power, mut shifted) = (second_size, BYTE, first);
    while size > 0 {
        if size & 1 == 1 {
            shifted = product(power, shifted);
        }
        power = product(power, power);
        size >>= 1;
    }
    shifted ^ second
}

/// x to the power of 8, reflected.
const BYTE: u32 = 1 << (31 - 8);

/// Returns the product of two polynomials modulo that of the CRC, all of them reflected.
const fn product(a: u32, b: u32) -> u32 {
    let (mut b, mut sum, mut bit) = (b, 0, 1 << 31);
    while bit != 0 {
        if a & bit != 0 {
            sum ^= b;
        }
        b = b >> 1 ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
        bit >>= 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// The definition, bit by bit.
    fn slowly(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc: u32, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }
            })
        })
    }

    #[test]
    fn it_is_that_of_the_definition_and_combines_at_every_place() {
        let mut random = Random::new(17);
        for size in (0..70).chain([1000, 65536]) {
            let bytes = random.bytes(size);
            let whole = crc32(&bytes);
            assert_eq!(whole, slowly(&bytes), "{size} bytes");
            assert_eq!(whole, from_tables(0, &bytes), "{size} bytes");
            for place in (0..=size).step_by(1 + size / 70) {
                let (a, b) = bytes.split_at(place);
                let combined = crc32_combine(crc32(a), crc32(b), b.len() as u64);
                assert_eq!((combined, crc32_from(crc32(a), b)), (whole, whole), "at {place}");
                assert_eq!(from_tables(crc32(a), b), whole, "at {place}");
            }
        }
    }
}
