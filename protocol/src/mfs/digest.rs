//! The digest with which a password is proven: MD5 (RFC 1321). The protocol prescribes it; nothing else
//! should use it.

/// The size of a digest, in bytes.
const SIZE: usize = 16;
const BLOCK: usize = 64;

/// How far the four steps of each round rotate.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The constants of the steps: the sines of their numbers, times 2^32.
const SINES: [[u32; 4]; 16] = [
    [0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee],
    [0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501],
    [0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be],
    [0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821],
    [0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa],
    [0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8],
    [0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed],
    [0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a],
    [0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c],
    [0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70],
    [0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05],
    [0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665],
    [0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039],
    [0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1],
    [0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1],
    [0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391],
];

/// Returns the proof of a password that is sent for a challenge of the master: the digest of half of the
/// challenge, the digest of the password, and the other half.
pub fn password_digest(challenge: &[u8; 32], password: &[u8]) -> [u8; SIZE] {
    digest_between(challenge, &md5(&[password]))
}

/// Returns the proof of a chunkserver that it has the code of its master: the digest of half of the
/// challenge, the code itself, and the other half.
pub fn auth_code_digest(challenge: &[u8; 32], auth_code: &[u8]) -> [u8; SIZE] {
    digest_between(challenge, auth_code)
}

fn digest_between(challenge: &[u8; 32], secret: &[u8]) -> [u8; SIZE] {
    let (start, end) = challenge.split_at(challenge.len() / 2);
    md5(&[start, secret, end])
}

/// Returns the digest of the parts of a message, one after the other.
fn md5(parts: &[&[u8]]) -> [u8; SIZE] {
    let mut message = parts.concat();
    let bits = (message.len() as u64).wrapping_mul(8);
    message.push(0x80);
    message.resize((message.len() + 8).next_multiple_of(BLOCK) - 8, 0);
    message.extend_from_slice(&bits.to_le_bytes());
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in message.as_chunks::<BLOCK>().0 {
        state = after(state, block);
    }
    let mut digest = [0; SIZE];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = u32::to_le_bytes(word);
    }
    digest
}

/// Returns the state after a block.
fn after(state: [u32; 4], block: &[u8; BLOCK]) -> [u32; 4] {
    let words = block.as_chunks().0;
    let [mut a, mut b, mut c, mut d] = state;
    for step in 0..64 {
        let (mixed, place) = match step / 16 {
            0 => (b & c | !b & d, step),
            1 => (d & b | !d & c, 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        let word = u32::from_le_bytes(words[place % 16]);
        let sum = a.wrapping_add(mixed).wrapping_add(SINES[step / 4][step % 4]).wrapping_add(word);
        let turned = sum.rotate_left(TURNS[step / 16][step % 4]);
        (a, d, c, b) = (d, c, b, b.wrapping_add(turned));
    }
    let [s0, s1, s2, s3] = state;
    [s0.wrapping_add(a), s1.wrapping_add(b), s2.wrapping_add(c), s3.wrapping_add(d)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn it_has_the_values_of_the_rfc() {
        let long = "1234567890".repeat(8);
        let cases = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (&long, "57edf4a22be3c955ac49da2e2107b67a"),
        ];
        for (text, digest) in cases {
            assert_eq!(hexadecimal(&md5(&[text.as_bytes()])), digest, "{text}");
            // Parts make no difference.
            let (start, end) = text.as_bytes().split_at(text.len() / 2);
            assert_eq!(hexadecimal(&md5(&[start, end])), digest, "{text}");
        }
    }

    #[test]
    fn a_proof_is_between_the_halves_of_the_challenge() {
        let challenge: [u8; 32] = std::array::from_fn(|place| place as u8);
        let (start, end) = challenge.split_at(16);
        let inner = md5(&[b"secret"]);
        assert_eq!(password_digest(&challenge, b"secret"), md5(&[start, &inner, end]));
        assert_eq!(auth_code_digest(&challenge, b"secret"), md5(&[start, b"secret", end]));
    }
}
