//! Cookies, by which a server and a client recognize each other (RFC 7873), in the form in which servers make
//! them (RFC 9018).

use std::fmt;
use std::net::IpAddr;

/// The size of the cookie of a client, in bytes.
pub const CLIENT_COOKIE_SIZE: usize = 8;
/// The size of the cookie of a server as [`CookieSecret`] makes it, in bytes.
pub const SERVER_COOKIE_SIZE: usize = 16;
/// The least and the largest size of the cookie of a server (RFC 7873 section 4).
const SERVER_SIZES: std::ops::RangeInclusive<usize> = 8..=32;
/// The version of the cookies that RFC 9018 section 4 defines.
const VERSION: u8 = 1;
/// How old a cookie may be, and how far in the future: the clocks of servers with one secret differ a little
/// (RFC 9018 section 4.3).
const AGE_MAX: u32 = 3600;
const AHEAD_MAX: u32 = 300;

/// The content of a COOKIE option ([`option::COOKIE`](super::option::COOKIE)).
///
/// ```
/// use protocol::dns::Cookie;
///
/// let cookie = Cookie::parse(b"8 bytes.of a client and a server").ok_or("malformed")?;
/// assert_eq!((&cookie.client, cookie.server), (b"8 bytes.", &b"of a client and a server"[..]));
/// assert!(Cookie::parse(b"too short").is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie<'a> {
    /// What the client has chosen. The server repeats it, so the client knows that the answer is one to its
    /// question.
    pub client: [u8; CLIENT_COOKIE_SIZE],
    /// What the server has made, from 8 to 32 bytes: the client repeats it, so the server knows that the
    /// client receives what is sent to its address. Empty if the client has heard none yet.
    pub server: &'a [u8],
}

impl<'a> Cookie<'a> {
    /// Reads the content of an option. Returns `None` if it has a wrong size, which is an error of the format
    /// (RFC 7873 section 5.2.2).
    pub fn parse(content: &'a [u8]) -> Option<Self> {
        let (client, server) = content.split_first_chunk()?;
        let is_whole = server.is_empty() || SERVER_SIZES.contains(&server.len());
        is_whole.then_some(Self { client: *client, server })
    }
}

/// The secret with which a server makes cookies, the same on all servers of one address (RFC 9018).
///
/// ```
/// use protocol::dns::{Cookie, CookieSecret};
/// use std::net::IpAddr;
///
/// let secret = CookieSecret::new(*b"known to no one.");
/// let (client, address) = (*b"a client", IpAddr::from([192, 0, 2, 1]));
/// let server = secret.make(client, address, 1_700_000_000);
/// let cookie = Cookie { client, server: &server };
/// assert!(secret.has_made(&cookie, address, 1_700_000_060));
/// // It is worth nothing at another address, and after an hour.
/// assert!(!secret.has_made(&cookie, IpAddr::from([192, 0, 2, 2]), 1_700_000_060));
/// assert!(!secret.has_made(&cookie, address, 1_700_003_601));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CookieSecret([u8; 16]);

impl CookieSecret {
    /// Returns a secret, which should be random bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the secret, for another server that is to know its cookies.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the cookie for a client at an address. `now` is the time in seconds since 1970, whose upper
    /// bits do not count.
    pub fn make(
        &self,
        client: [u8; CLIENT_COOKIE_SIZE],
        address: IpAddr,
        now: u32,
    ) -> [u8; SERVER_COOKIE_SIZE] {
        let [a, b, c, d] = now.to_be_bytes();
        let head = [VERSION, 0, 0, 0, a, b, c, d];
        let mut cookie = [0; SERVER_COOKIE_SIZE];
        cookie[..8].copy_from_slice(&head);
        cookie[8..].copy_from_slice(&self.hash(client, head, address));
        cookie
    }

    /// Returns whether a cookie was made with this secret for the same client at the same address, an hour
    /// before `now` at most, and five minutes after it at most.
    pub fn has_made(&self, cookie: &Cookie<'_>, address: IpAddr, now: u32) -> bool {
        let Ok(server) = <[u8; SERVER_COOKIE_SIZE]>::try_from(cookie.server) else { return false };
        let [version, a, b, c, d, e, f, g, hash @ ..] = server;
        // The difference is right when the seconds begin at zero again, too.
        let age = now.wrapping_sub(u32::from_be_bytes([d, e, f, g]));
        let is_recent = age <= AGE_MAX || age.wrapping_neg() <= AHEAD_MAX;
        let head = [version, a, b, c, d, e, f, g];
        version == VERSION && is_recent && hash == self.hash(cookie.client, head, address)
    }

    /// Returns the hash of a cookie (RFC 9018 section 4.4).
    fn hash(&self, client: [u8; 8], head: [u8; 8], address: IpAddr) -> [u8; 8] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&client);
        bytes[8..16].copy_from_slice(&head);
        let size = match address {
            IpAddr::V4(address) => {
                bytes[16..20].copy_from_slice(&address.octets());
                20
            }
            IpAddr::V6(address) => {
                bytes[16..].copy_from_slice(&address.octets());
                32
            }
        };
        siphash_2_4(&self.0, &bytes[..size]).to_le_bytes()
    }
}

/// It does not show the secret.
impl fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieSecret(..)")
    }
}

/// Returns the keyed hash SipHash-2-4 of bytes (Aumasson and Bernstein, 2012). The standard library has
/// another variant, SipHash-1-3.
fn siphash_2_4(key: &[u8; 16], bytes: &[u8]) -> u64 {
    let [k0, k1] = [word(&key[..8]), word(&key[8..])];
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut chunks = bytes.chunks_exact(8);
    let mut compress = |word: u64| {
        state[3] ^= word;
        (0..2).for_each(|_| round(&mut state));
        state[0] ^= word;
    };
    chunks.by_ref().map(word).for_each(&mut compress);
    compress(word(chunks.remainder()) | (bytes.len() as u64) << 56);
    state[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut state));
    state.iter().fold(0, |all, part| all ^ part)
}

/// Returns a word of up to eight bytes, the first of which is the least.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *c = c.wrapping_add(*d);
    *b = b.rotate_left(13) ^ *a;
    *d = d.rotate_left(16) ^ *c;
    *a = a.rotate_left(32).wrapping_add(*d);
    *c = c.wrapping_add(*b);
    *d = d.rotate_left(21) ^ *a;
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const SIZE: usize>(hex: &str) -> [u8; SIZE] {
        assert_eq!(hex.len(), 2 * SIZE);
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
    }

    /// RFC 9018 appendix A: the secret, the client, its address, the time, and the cookie.
    const EXAMPLES: [(&str, &str, &str, u32, &str); 4] = [
        (
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "2464c4abcf10c957",
            "198.51.100.100",
            1_559_731_985,
            "010000005cf79f111f8130c3eee29480",
        ),
        (
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "2464c4abcf10c957",
            "198.51.100.100",
            1_559_734_385,
            "010000005cf7a871d4a564a1442aca77",
        ),
        (
            "e5e973e5a6b2a43f48e7dc849e37bfcf",
            "fc93fc62807ddb86",
            "203.0.113.203",
            1_559_734_700,
            "010000005cf7a9acf73a7810aca2381e",
        ),
        (
            "445536bcd2513298075a5d379663c962",
            "22681ab97d52c298",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1_559_741_961,
            "010000005cf7c609a6bb79d16625507a",
        ),
    ];

    #[test]
    fn cookies_are_those_of_the_rfc() {
        for (secret, client, address, now, expected) in EXAMPLES {
            let (secret, client) = (CookieSecret::new(bytes(secret)), bytes(client));
            let address = address.parse().expect("an address");
            let server = secret.make(client, address, now);
            assert_eq!(server, bytes(expected));
            assert!(secret.has_made(&Cookie { client, server: &server }, address, now));
        }
        // A client has set bits that are reserved, and they are part of the hash.
        let secret = CookieSecret::new(bytes(EXAMPLES[2].0));
        let server: [u8; 16] = bytes("01abcdef5cf78f71a314227b6679ebf5");
        let cookie = Cookie { client: bytes(EXAMPLES[2].1), server: &server };
        assert!(secret.has_made(&cookie, IpAddr::from([203, 0, 113, 203]), 0x5cf7_8f71));
    }

    #[test]
    fn a_cookie_is_worth_something_for_an_hour_with_all_of_its_bits() {
        let secret = CookieSecret::new([7; 16]);
        let (client, address) = ([1; 8], IpAddr::from([192, 0, 2, 1]));
        for made_at in [0_u32, 100, 1_700_000_000, u32::MAX] {
            let server = secret.make(client, address, made_at);
            let cookie = Cookie { client, server: &server };
            let is_good = |now: u32| secret.has_made(&cookie, address, now);
            assert!(is_good(made_at.wrapping_add(3600)) && is_good(made_at.wrapping_sub(300)));
            assert!(!is_good(made_at.wrapping_add(3601)) && !is_good(made_at.wrapping_sub(301)));
            for bit in 0..8 * (CLIENT_COOKIE_SIZE + SERVER_COOKIE_SIZE) {
                let (mut client, mut server) = (client, server);
                match bit / 8 {
                    at @ 0..8 => client[at] ^= 1 << (bit % 8),
                    at => server[at - 8] ^= 1 << (bit % 8),
                }
                assert!(!secret.has_made(&Cookie { client, server: &server }, address, made_at));
            }
        }
    }

    #[test]
    fn the_size_of_a_cookie_is_checked() {
        let sizes = (0..64).filter(|size| Cookie::parse(&vec![0; *size]).is_some());
        assert_eq!(sizes.collect::<Vec<_>>(), [&[8][..], &(16..=40).collect::<Vec<_>>()].concat());
        for size in 0..8 {
            let secret = CookieSecret::new([0; 16]);
            let cookie = Cookie { client: [0; 8], server: &[VERSION; 32][..size * 4] };
            assert!(!secret.has_made(&cookie, IpAddr::from([192, 0, 2, 1]), 0x0101_0101));
        }
    }

    #[test]
    fn the_hash_is_that_of_its_authors() {
        // The example of the paper: the key and the bytes count from zero.
        let key = std::array::from_fn(|at| at as u8);
        let text: [u8; 15] = std::array::from_fn(|at| at as u8);
        assert_eq!(siphash_2_4(&key, &text), 0xa129_ca61_49be_45e5);
        assert_eq!(siphash_2_4(&key, &[]), 0x726f_db47_dd0e_0e31);
    }
}
