//! The description of a command: flags, keys, arity.

use protocol::resp::parse_integer;

use super::call::Call;
use super::error::Done;

/// The properties of a command that are checked before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const PLAIN: Self = Self(0);
    pub(crate) const READ: Self = Self(1);
    pub(crate) const WRITE: Self = Self(1 << 1);
    /// It may add to the memory used, so it is refused when memory is full.
    pub(crate) const GROWS: Self = Self(1 << 2);
    pub(crate) const BLOCKS: Self = Self(1 << 3);
    pub(crate) const ADMIN: Self = Self(1 << 4);
    /// It has subcommands, which have rows of their own in the table.
    pub(crate) const CONTAINER: Self = Self(1 << 5);
    /// It is allowed before the password was given.
    pub(crate) const NO_AUTH: Self = Self(1 << 6);
    /// It runs at once in a transaction instead of being queued.
    pub(crate) const IMMEDIATE: Self = Self(1 << 7);
    /// It is allowed to a subscriber in RESP2, where replies and messages look alike.
    pub(crate) const WHILE_SUBSCRIBED: Self = Self(1 << 8);
    pub(crate) const PUBSUB: Self = Self(1 << 9);

    /// Returns the union of two sets of flags.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// Returns the names that Redis has for these flags.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let names = [
            (Self::READ, "readonly"),
            (Self::WRITE, "write"),
            (Self::GROWS, "denyoom"),
            (Self::BLOCKS, "blocking"),
            (Self::ADMIN, "admin"),
            (Self::NO_AUTH, "no_auth"),
            (Self::PUBSUB, "pubsub"),
        ];
        names.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    None,
    /// The first key, the last one (counted from the end if negative), and the step between keys.
    From(i16, i16, i16),
    /// A number of keys, which the argument at this index gives; the keys follow it.
    Counted(usize),
}

impl Keys {
    /// Returns the first key, the last and the step, as `COMMAND` reports them.
    pub(crate) fn numbers(self) -> [i16; 3] {
        match self {
            Self::From(first, last, step) => [first, last, step],
            Self::None | Self::Counted(_) => [0; 3],
        }
    }

    /// Returns the keys of a request, or `None` if it has fewer than it claims.
    pub(crate) fn of<'a>(self, args: &[&'a [u8]]) -> Option<Vec<&'a [u8]>> {
        let (first, last, step) = match self {
            Self::None => return None,
            Self::From(first, last, step) => {
                let last = if last < 0 { args.len() as i64 } else { 0 } + i64::from(last);
                (first as usize, usize::try_from(last).ok()?, step as usize)
            }
            Self::Counted(place) => {
                let count = parse_integer(args.get(place)?)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
                (place + 1, place.checked_add(count)?, 1)
            }
        };
        Some(args.get(first..=last)?.iter().copied().step_by(step).collect())
    }
}

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    /// The index among all commands, from 0 on.
    pub(crate) number: usize,
    pub(crate) name: &'static str,
    /// The number of parts of a request, the name included; if negative, the least number.
    pub(crate) arity: i16,
    pub(crate) flags: Flags,
    pub(crate) keys: Keys,
    pub(crate) run: fn(&mut Call<'_>) -> Done,
    pub(crate) summary: &'static str,
    pub(crate) group: &'static str,
}

impl Command {
    /// Returns Redis's names of its flags.
    pub(crate) fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        let moves = matches!(self.keys, Keys::Counted(_)).then_some("movablekeys");
        self.flags.names().chain(moves)
    }

    /// Returns whether a request may have this many parts.
    pub(crate) fn takes(&self, parts: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { parts >= arity } else { parts == arity }
    }
}

type Run = fn(&mut Call<'_>) -> Done;
/// The fields of a command in their order, without the first and the last.
pub(crate) type Row = (&'static str, i16, Flags, Keys, Run, &'static str);

/// Makes commands from the rows of one group. The first gets the number `first`.
pub(crate) const fn group<const N: usize>(
    group: &'static str,
    first: usize,
    rows: [Row; N],
) -> [Command; N] {
    const BLANK: Command = Command {
        number: 0,
        name: "",
        arity: 0,
        flags: Flags::PLAIN,
        keys: Keys::None,
        run: |_| Ok(()),
        summary: "",
        group: "",
    };
    let mut commands = [BLANK; N];
    let mut at = 0;
    while at < N {
        let (name, arity, flags, keys, run, summary) = rows[at];
        let number = first + at;
        commands[at] = Command { number, name, arity, flags, keys, run, summary, group };
        at += 1;
    }
    commands
}
