//! Comparable forms of replies: which differences between two servers are allowed.

use clients::resp::Answer;
use protocol::resp::{Item, Value};

use super::commands::Request;

/// The comparable form of a reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Comparable {
    /// Every byte.
    Exactly(Vec<u8>),
    /// A remaining time: the value, and the allowed difference.
    About(i64, i64),
    /// An aggregate: its type, and the comparable forms of its elements.
    All(u8, Vec<Comparable>),
    /// Only the type of the reply.
    Kind(u8),
}

impl Comparable {
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::About(left, near), Self::About(right, _)) => {
                left.abs_diff(*right) <= *near as u64
            }
            (Self::All(kind, left), Self::All(other, right)) => {
                let mut pairs = left.iter().zip(right);
                kind == other && left.len() == right.len() && pairs.all(|(a, b)| a.agrees(b))
            }
            _ => self == other,
        }
    }
}

/// Returns the elements of an aggregate in a fixed order.
fn sorted(value: Value<'_>, of_each: usize) -> Comparable {
    let kind = value.encoded()[0];
    let elements: Vec<Vec<u8>> = value.elements().map(|it| it.encoded().to_vec()).collect();
    let mut groups: Vec<Vec<u8>> = elements.chunks(of_each).map(<[_]>::concat).collect();
    groups.sort();
    // An incomplete pair is detected because the number of all elements is compared.
    groups.push(elements.len().to_string().into_bytes());
    Comparable::All(kind, groups.into_iter().map(Comparable::Exactly).collect())
}

/// Returns the comparable form of a reply to `request`. `queued` are the commands of the
/// transaction.
pub(crate) fn comparable(request: &Request, queued: &[Request], value: Value<'_>) -> Comparable {
    let bytes = value.encoded();
    let (name, kind) = (request[0].to_ascii_uppercase(), bytes[0]);
    let exactly = Comparable::Exactly(bytes.to_vec());
    let is_aggregate = matches!(kind, b'*' | b'~' | b'%') && !bytes.starts_with(b"*-1");
    let is_part = |name: &[u8]| request.get(1).is_some_and(|it| it.eq_ignore_ascii_case(name));
    if let Item::Integer(number @ 100..) = value.item() {
        // A minute, for busy machines.
        match name.as_slice() {
            b"TTL" | b"EXPIRETIME" => return Comparable::About(number, 60),
            b"PTTL" | b"PEXPIRETIME" => return Comparable::About(number, 60_000),
            _ => {}
        }
    }
    match name.as_slice() {
        b"CLIENT" if kind == b':' && request.len() == 2 => Comparable::Kind(kind),
        b"MEMORY" if kind == b':' => Comparable::Kind(kind),
        b"COMMAND" if is_part(b"GETKEYS") => exactly,
        b"PUBSUB" if is_part(b"CHANNELS") && is_aggregate => sorted(value, 1),
        b"TIME" | b"HELLO" | b"CONFIG" | b"COMMAND" if is_aggregate => Comparable::Kind(kind),
        b"COMMAND" if kind == b':' => Comparable::Kind(kind),
        b"RANDOMKEY" => Comparable::Kind(kind),
        _ if !is_aggregate => exactly,
        b"EXEC" => {
            let replies = queued.iter().zip(value.elements());
            Comparable::All(
                kind,
                replies.map(|(request, it)| comparable(request, &[], it)).collect(),
            )
        }
        b"KEYS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"SPOP" | b"SRANDMEMBER"
        | b"HKEYS" | b"HVALS" => sorted(value, 1),
        // In RESP3, fields and values are pairs already.
        b"HRANDFIELD" if request.len() == 3 || bytes.windows(3).any(|it| it == b"\n*2") => {
            sorted(value, 1)
        }
        b"HGETALL" | b"HRANDFIELD" => sorted(value, 2),
        b"SCAN" | b"SSCAN" | b"HSCAN" => {
            let of_each = if name == b"HSCAN" { 2 } else { 1 };
            let mut parts = value.elements();
            let cursor = parts.next().map(|it| Comparable::Exactly(it.encoded().to_vec()));
            let found = parts.next().map(|it| sorted(it, of_each));
            Comparable::All(kind, cursor.into_iter().chain(found).collect())
        }
        _ => exactly,
    }
}

/// Returns how many subscribers received the messages of a request, or of its transaction.
pub(crate) fn receivers(request: &Request, queued: &[Request], value: Value<'_>) -> i64 {
    match (request[0].to_ascii_uppercase().as_slice(), Answer::from(value)) {
        (b"PUBLISH", Answer::Integer(count)) => count,
        (b"EXEC", Answer::Array(_)) => {
            let replies = queued.iter().zip(value.elements());
            replies.map(|(request, it)| receivers(request, &[], it)).sum()
        }
        _ => 0,
    }
}
