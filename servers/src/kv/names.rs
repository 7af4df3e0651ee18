//! Finds commands by their names.

use std::sync::LazyLock;

use super::command::Command;
use super::table::commands;

/// More than twice as many slots as there are names, so that most commands are in their first slot.
const PLACES: usize = 512;

/// The commands, each in the slot that the hash of its name gives or in the next free one.
static INDEX: LazyLock<[Option<&'static Command>; PLACES]> = LazyLock::new(|| {
    let mut index = [None; PLACES];
    for command in commands().filter(|command| !command.name.contains('|')) {
        let mut place = first_place(command.name.as_bytes());
        while index[place].is_some() {
            place = (place + 1) % PLACES;
        }
        index[place] = Some(command);
    }
    index
});

/// Returns the first slot to look at for a name, in either case. The names are fixed and few, so
/// this hash has only to be fast: it uses the beginning, the end and the length.
#[inline]
fn first_place(name: &[u8]) -> usize {
    let letter = |byte: Option<&u8>| u64::from(byte.map_or(0, |byte| byte | 0x20));
    let mut word = name.len() as u64;
    for byte in [name.first(), name.get(1), name.get(2), name.get(name.len() / 2)] {
        word = word << 8 | letter(byte);
    }
    word = word << 8 | letter(name.last());
    (word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize % PLACES
}

/// Returns the command of this name, in either case, if it is not a subcommand.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let mut place = first_place(name);
    while let Some(command) = INDEX[place] {
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        place = (place + 1) % PLACES;
    }
    None
}

/// Returns the subcommand of a container, in either case.
pub(crate) fn find_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    let of_container = |it: &&Command| {
        let own = it.name.strip_prefix(container.name).and_then(|own| own.strip_prefix('|'));
        own.is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(name))
    };
    commands().find(of_container)
}

/// Returns the command of this name, in either case; subcommands are written `client|id`.
pub(crate) fn find_any(name: &[u8]) -> Option<&'static Command> {
    commands().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_quickly_in_either_case() {
        let mut steps = 0;
        let plain = || commands().filter(|command| !command.name.contains('|'));
        for command in plain() {
            let name = command.name;
            for spelling in [name.to_owned(), name.to_uppercase()] {
                let found = find(spelling.as_bytes()).expect(name);
                assert!(std::ptr::eq(found, command), "{name} is in the table twice");
            }
            let place = INDEX.iter().position(|it| it.is_some_and(|it| it.name == name));
            steps += (place.expect(name) + PLACES - first_place(name.as_bytes())) % PLACES;
        }
        assert!(plain().count() * 2 < PLACES);
        assert!(steps < plain().count() / 2, "{steps} steps to {} names", plain().count());
        for name in ["", "g", "gett", "client|id", "no such command, and a long one at that"] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn subcommands_are_found_in_their_container() {
        let client = find(b"CLIENT").expect("it is there");
        let id = find_subcommand(client, b"Id").expect("it is there");
        assert!(std::ptr::eq(id, find_any(b"CLIENT|id").expect("it is there")));
        assert!(find_subcommand(client, b"docs").is_none());
        assert!(find_any(b"client|").is_none());
    }
}
