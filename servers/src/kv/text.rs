//! Error texts that quote what was asked for.

/// How much of a name or of all arguments is quoted.
const QUOTED_MAX: usize = 128;

fn quoted(bytes: &[u8], max: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(max)]).into_owned()
}

pub(crate) fn unknown_command(args: &[&[u8]]) -> String {
    let mut list = String::new();
    for argument in &args[1..] {
        if list.len() >= QUOTED_MAX {
            break;
        }
        let room = QUOTED_MAX - list.len();
        list.push_str(&format!("'{}' ", quoted(argument, room)));
    }
    let name = quoted(args[0], QUOTED_MAX);
    format!("ERR unknown command '{name}', with args beginning with: {list}")
}

pub(crate) fn unknown_subcommand(args: &[&[u8]]) -> String {
    let container = quoted(args[0], QUOTED_MAX).to_uppercase();
    let name = quoted(args[1], QUOTED_MAX);
    format!("ERR unknown subcommand '{name}'. Try {container} HELP.")
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
