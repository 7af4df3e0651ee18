//! Error texts that quote the request.

use super::error::{Error, errorf};

/// How much of a name, or of all arguments together, is quoted.
const QUOTED_MAX: usize = 128;

/// Returns the part of a client's bytes that Redis quotes: C strings end at the first zero byte.
fn quoted(bytes: &[u8], max: usize) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(max)]
}

/// Returns an error that quotes a client's bytes.
pub(crate) fn quoting(before: &str, text: &[u8], behind: &str) -> Error {
    let text = quoted(text, usize::MAX);
    errorf([before.as_bytes(), text, behind.as_bytes()].concat())
}

pub(crate) fn unknown_command(args: &[&[u8]]) -> Error {
    let mut list = Vec::new();
    for argument in &args[1..] {
        if list.len() >= QUOTED_MAX {
            break;
        }
        let room = QUOTED_MAX - list.len();
        list.extend([b"'", quoted(argument, room), b"' "].concat());
    }
    let name = quoted(args[0], QUOTED_MAX);
    let parts: [&[u8]; 4] =
        [b"ERR unknown command '", name, b"', with args beginning with: ", &list];
    errorf(parts.concat())
}

fn about_subcommand(what: &str, args: &[&[u8]]) -> Error {
    let container = quoted(args[0], QUOTED_MAX).to_ascii_uppercase();
    let name = quoted(args[1], QUOTED_MAX);
    let parts: [&[u8]; 6] =
        [b"ERR unknown subcommand ", what.as_bytes(), b"'", name, b"'. Try ", &container];
    errorf([parts.concat(), b" HELP.".to_vec()].concat())
}

pub(crate) fn unknown_subcommand(args: &[&[u8]]) -> Error {
    about_subcommand("", args)
}

/// Returns the error for a subcommand that checks the number of its arguments itself.
pub(crate) fn wrong_subcommand(args: &[&[u8]]) -> Error {
    about_subcommand("or wrong number of arguments for ", args)
}

pub(crate) fn wrong_arity(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

pub(crate) fn not_while_subscribed(name: &str) -> String {
    format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
         are allowed in this context"
    )
}
