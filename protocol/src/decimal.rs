//! Decimal numbers, as text protocols write them.

/// The length of the longest number: `i64::MIN`, or `u64::MAX`.
pub(crate) const SIZE_MAX: usize = 20;

const PAIRS: &[u8; 200] = b"\
    0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// Writes `value` at the end of `room`. Returns the offset of its first digit.
///
/// # Panics
/// When the room is too small.
pub(crate) fn write(value: u64, room: &mut [u8]) -> usize {
    let (mut rest, mut at) = (value, room.len());
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        let pair = rest as usize * 2;
        at -= 2;
        room[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        room[at] = b'0' + rest as u8;
    }
    at
}
