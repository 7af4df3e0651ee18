//! Watches links, addresses, routes and neighbours, and prints what changes.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use clients::net_watch::{Form, Scope, Watch, run};
use clients::output::arguments;
use protocol::netlink::Selection;

/// Watches links, addresses, routes and neighbours, and prints what changes
#[derive(Parser)]
#[command(
    name = "net-watch",
    version,
    after_help = "Without --once and --present, nothing is printed until something changes. The text \
    is that of ip monitor; --json prints an object a line, in the fields of ip -j, with \"deleted\": \
    true for what is gone.\n\nIPv4 routes that end with their link or their source address are \
    printed too, about 50 ms later: the kernel does not tell, so routes are read again. When changes \
    come faster than they are read, the state is read again and the differences are printed; a line \
    on standard error says so. The known state has at most 256 MiB.\n\nREACTOR_BACKEND chooses epoll, \
    epoll-lt, poll, select or uring.\n\nExit codes: 0 after --once, SIGINT, SIGTERM or SIGHUP; 1 when \
    net-watch could not run or print; 2 on wrong arguments; 141 without a message, as after SIGPIPE, \
    when standard output is closed."
)]
struct Cli {
    /// What to watch. Everything, by default
    #[arg(value_name = "OBJECT", value_enum)]
    objects: Vec<Object>,
    /// Print the present state, and end
    #[arg(long, conflicts_with = "present")]
    once: bool,
    /// Print the present state first
    #[arg(long)]
    present: bool,
    /// Print a JSON object for each change
    #[arg(long)]
    json: bool,
    /// Size of the receive buffer, in which changes wait to be read. The kernel allows
    /// net.core.rmem_max at most, and has net.core.rmem_default by default
    #[arg(long, value_name = "BYTES")]
    receive_buffer: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Object {
    /// Network interfaces
    Link,
    /// Their addresses
    Address,
    /// Routes of all tables
    Route,
    /// Addresses of hardware of other machines
    Neigh,
}

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("net-watch") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let has = |object| cli.objects.is_empty() || cli.objects.contains(&object);
    let selection = Selection {
        links: has(Object::Link),
        addresses: has(Object::Address),
        routes: has(Object::Route),
        neighbours: has(Object::Neigh),
    };
    let scope = match (cli.once, cli.present) {
        (true, _) => Scope::State,
        (false, true) => Scope::StateAndChanges,
        (false, false) => Scope::Changes,
    };
    let form = if cli.json { Form::Json } else { Form::Text };
    match run(Watch { selection, scope, form, receive_buffer: cli.receive_buffer }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("net-watch").into(),
    }
}
