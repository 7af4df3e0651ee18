//! Finds the command of a request and checks it, in the order of Redis's `processCommand`.

use protocol::Output;
use protocol::resp::{Protocol, Writer};

use super::app::App;
use super::call::{Call, is};
use super::client::{Kept, Transaction};
use super::command::{Command, Flags};
use super::commands::transactions;
use super::error::{Error, error, errorf};
use super::names::{find, find_subcommand};
use super::{blocking, text};

/// Bytes of requests that one transaction may keep.
const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Returns the command of a request.
pub(crate) fn lookup(args: &[&[u8]]) -> Result<&'static Command, Error> {
    let unknown = || text::unknown_command(args);
    let command = find(args[0]).ok_or_else(unknown)?;
    if !command.flags.has(Flags::CONTAINER) || args.len() < 2 {
        return Ok(command);
    }
    let unknown = || text::unknown_subcommand(args);
    find_subcommand(command, args[1]).ok_or_else(unknown)
}

/// Returns whether a request begins like HTTP. Redis closes the connection in that case, too.
fn is_of_http(name: &[u8]) -> bool {
    is(name, "POST") || is(name, "Host:")
}

/// Runs one request of a client, or queues it for its transaction, and writes the reply.
pub(crate) fn request(app: &mut App, me: usize, args: &[&[u8]], out: &mut Output) {
    app.clock.begin();
    let command = match lookup(args) {
        Ok(command) => command,
        Err(_) if is_of_http(args[0]) => {
            // The body of a browser's request could contain commands, one on each line.
            let client = &mut app.clients[me];
            log::warn!("client {} closed: it speaks HTTP", client.id);
            (client.ending, client.killed) = (true, true);
            return;
        }
        Err(refusal) => return refuse(app, me, refusal, out),
    };
    if let Err(refusal) = admit(app, me, command, args) {
        app.counters.of(command).rejected += 1;
        let ends = command.name == "exec";
        let refusal = if ends { transactions::abort(app, me, &refusal) } else { refusal };
        return refuse(app, me, refusal, out);
    }
    let client = &mut app.clients[me];
    client.last_command = Some(command);
    app.store.select(client.db);
    let mut writer = Writer::new(out, client.protocol);
    match &mut client.transaction {
        Some(transaction) if !command.flags.has(Flags::IMMEDIATE) => {
            transaction.grows |= command.flags.has(Flags::GROWS);
            keep(transaction, args, &mut writer);
        }
        _ => {
            let mut call = Call { args, out: writer, app, me, in_transaction: false };
            run(command, &mut call);
            blocking::serve(app);
        }
    }
}

/// Runs a command, counts it, and writes the error if it fails.
#[inline(always)]
fn run(command: &Command, call: &mut Call<'_>) {
    if call.app.counters.of(command).is_timed() {
        return run_timed(command, call);
    }
    if let Err(refusal) = (command.run)(call) {
        fail(command, call, &refusal);
    }
    call.app.counters.of(command).calls += 1;
}

#[cold]
fn run_timed(command: &Command, call: &mut Call<'_>) {
    // Timed without the store's clock, whose time does not change during a command.
    let begun = reactor::now();
    if let Err(refusal) = (command.run)(call) {
        fail(command, call, &refusal);
    }
    let counter = call.app.counters.of(command);
    counter.add_time(reactor::now() - begun);
    counter.calls += 1;
}

#[cold]
fn fail(command: &Command, call: &mut Call<'_>, refusal: &Error) {
    call.app.counters.of(command).failed += 1;
    call.out.error(&*refusal.0);
}

/// Runs a request that a transaction has kept.
pub(crate) fn run_kept(call: &mut Call<'_>, kept: &Kept) {
    let args: Vec<&[u8]> = kept.iter().map(|part| &**part).collect();
    match lookup(&args) {
        Ok(command) => {
            let mut inner = Call {
                args: &args,
                out: call.out.reborrow(),
                app: call.app,
                me: call.me,
                in_transaction: true,
            };
            run(command, &mut inner);
        }
        // The command existed when the request was kept.
        Err(refusal) => call.out.error(&*refusal.0),
    }
    // The request may have been HELLO.
    let protocol = call.client().protocol;
    call.out.set_protocol(protocol);
}

/// Checks whether a command may run for this client now.
fn admit(app: &App, me: usize, command: &Command, args: &[&[u8]]) -> Result<(), Error> {
    let (client, flags) = (&app.clients[me], command.flags);
    if !command.takes(args.len()) {
        return Err(errorf(text::wrong_arity(command.name)));
    }
    if !app.trusts(client) && !flags.has(Flags::NO_AUTH) {
        return error("NOAUTH Authentication required.");
    }
    if flags.has(Flags::GROWS) && app.is_full() {
        return error("OOM command not allowed when used memory > 'maxmemory'.");
    }
    let listens = client.protocol == Protocol::Resp2 && client.subscriptions() > 0;
    if listens && !flags.has(Flags::WHILE_SUBSCRIBED) {
        return Err(errorf(text::not_while_subscribed(command.name)));
    }
    Ok(())
}

/// Writes why a request is refused, and marks the client's transaction as failed.
fn refuse(app: &mut App, me: usize, refusal: Error, out: &mut Output) {
    let client = &mut app.clients[me];
    if let Some(transaction) = &mut client.transaction {
        transaction.failed = true;
    }
    Writer::new(out, client.protocol).error(&*refusal.0);
}

/// Queues a request for `EXEC`.
fn keep(transaction: &mut Transaction, args: &[&[u8]], out: &mut Writer<'_>) {
    if transaction.failed {
        // `EXEC` will fail, so the request need not be kept.
        out.simple("QUEUED");
        return;
    }
    transaction.bytes += size_of_request(args);
    if transaction.bytes > TRANSACTION_BYTES_MAX {
        *transaction = Transaction { failed: true, ..Transaction::default() };
        out.error("ERR the transaction is too large");
    } else {
        transaction.requests.push(kept(args));
        out.simple("QUEUED");
    }
}

/// Copies a request.
pub(crate) fn kept(args: &[&[u8]]) -> Kept {
    args.iter().map(|part| Box::from(*part)).collect()
}

/// Returns about how many bytes it takes to keep a request.
pub(crate) fn size_of_request(args: &[&[u8]]) -> usize {
    args.iter().map(|part| part.len() + 32).sum()
}
