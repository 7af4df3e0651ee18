//! The order in which the datagrams of a batch are handled.

use std::net::SocketAddr;

use crate::sys::{BATCH_MAX, Batch, Remote};

/// The places of a batch in some order. Only the first ones count if the batch is not full.
pub(super) type Order = [u8; BATCH_MAX];

/// The order in which the datagrams have arrived.
pub(super) const ARRIVAL: Order = {
    let mut order = [0; BATCH_MAX];
    let mut place = 0;
    while place < BATCH_MAX {
        order[place] = place as u8;
        place += 1;
    }
    order
};

/// Returns the order in which those of one sender follow each other, in the order of their arrival, so
/// that answers of one length to it can be sent as one. Nothing is promised about the order of datagrams
/// of different senders, which the network changes as well.
#[inline(never)] // A single datagram needs none of this.
pub(super) fn by_sender(batch: &Batch, count: usize) -> Order {
    let mut keys = [0; BATCH_MAX];
    for (place, key) in keys.iter_mut().enumerate().take(count) {
        *key = key_of(batch.sender(place));
    }
    let (mut order, mut filled) = ([0; BATCH_MAX], 0);
    let mut rest = u32::MAX >> (BATCH_MAX - count.clamp(1, BATCH_MAX));
    while rest != 0 {
        let first = rest.trailing_zeros() as usize;
        let mut same = places_of(keys[first], &keys) & rest;
        rest &= !same;
        while same != 0 {
            order[filled] = same.trailing_zeros() as u8;
            filled += 1;
            same &= same - 1;
        }
    }
    order
}

/// The bit of each place in a set of places.
const BITS: [u32; BATCH_MAX] = {
    let mut bits = [0; BATCH_MAX];
    let mut place = 0;
    while place < BATCH_MAX {
        bits[place] = 1 << place;
        place += 1;
    }
    bits
};

/// Returns the set of places that have a key. The compiler compares several at a time, without a branch.
fn places_of(key: u32, keys: &[u32; BATCH_MAX]) -> u32 {
    let has = |(other, bit): (&u32, &u32)| if *other == key { *bit } else { 0 };
    keys.iter().zip(&BITS).map(has).fold(0, |set, bit| set | bit)
}

/// Returns a number that is the same for datagrams of one sender. If it is that of another sender as
/// well, theirs keep the order of their arrival. Sockets are bundled only over UDP.
fn key_of(sender: Remote<'_>) -> u32 {
    /// An odd number whose multiples spread (the golden ratio of 32 bits).
    const SPREAD: u32 = 0x9e37_79b1;
    match sender {
        Remote::Ip(SocketAddr::V4(address)) => {
            address.ip().to_bits().wrapping_mul(SPREAD) ^ u32::from(address.port())
        }
        Remote::Ip(SocketAddr::V6(address)) => {
            let bits = address.ip().to_bits();
            let folded = [bits, bits >> 32, bits >> 64, bits >> 96]
                .into_iter()
                .fold(0, |key: u32, part| (key ^ part as u32).wrapping_mul(SPREAD));
            folded ^ u32::from(address.port())
        }
        Remote::Connected | Remote::Unix(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::sys::Plain;

    fn order(senders: &[SocketAddr]) -> Vec<u8> {
        let mut batch = Batch::new(16);
        batch.begin_plain();
        for sender in senders {
            let from = Remote::Ip(*sender).into();
            batch.put_plain(b"x", Plain { length: 1, from, asked: None, missed: None });
        }
        by_sender(&batch, senders.len())[..senders.len()].to_vec()
    }

    #[test]
    fn datagrams_of_one_sender_follow_each_other_in_their_order() {
        let [a, b, c] = [1, 2, 3].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        assert_eq!(order(&[a, b, a, c, b, a]), [0, 2, 5, 1, 4, 3]);
        assert_eq!(order(&[a]), [0]);
        assert_eq!(order(&[c; BATCH_MAX]), ARRIVAL);
        let distinct: Vec<SocketAddr> = (0..BATCH_MAX as u16)
            .map(|number| {
                SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 1), 53))
            })
            .collect();
        assert_eq!(order(&distinct), ARRIVAL);
    }
}
