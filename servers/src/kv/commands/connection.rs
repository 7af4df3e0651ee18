//! The commands of the connection: greetings, passwords, names, other clients.

use protocol::resp::{Protocol, parse_integer};

use super::{pubsub, transactions};
use crate::kv::blocking::{self, Wait};
use crate::kv::call::{Call, Options, integer, is};
use crate::kv::client::{Client, Replies};
use crate::kv::databases::database;
use crate::kv::error::{Done, Error, SYNTAX, error, errorf, fixed};
use crate::kv::text::{quoting, wrong_subcommand};

/// The release of Redis whose commands and texts are followed.
pub(crate) const VERSION: &str = "7.0.15";

pub(crate) fn ping(call: &mut Call<'_>) -> Done {
    if call.args.len() > 2 {
        return Err(errorf(crate::kv::text::wrong_arity("ping")));
    }
    let message = call.args.get(1).copied();
    let client = call.client();
    if client.subscriptions() > 0 && client.protocol == Protocol::Resp2 {
        call.out.array(2);
        call.out.bulk("pong");
        call.out.bulk(message.unwrap_or_default());
        return Ok(());
    }
    match message {
        Some(message) => call.out.bulk(message),
        None => call.out.simple("PONG"),
    }
    Ok(())
}

pub(crate) fn echo(call: &mut Call<'_>) -> Done {
    call.out.bulk(call.args[1]);
    Ok(())
}

pub(crate) fn quit(call: &mut Call<'_>) -> Done {
    call.client().ending = true;
    call.out.ok();
    Ok(())
}

pub(crate) fn reset(call: &mut Call<'_>) -> Done {
    call.client().transaction = None;
    transactions::forget_watched(call.app, call.me);
    pubsub::forget(call.app, call.me);
    choose(call, 0);
    let needs_password = !call.app.config.password.is_empty();
    let client = call.client();
    client.protocol = Protocol::Resp2;
    client.name = Box::default();
    client.replies = Replies::On;
    client.authenticated = !needs_password;
    call.out.set_protocol(Protocol::Resp2);
    call.out.simple("RESET");
    Ok(())
}

pub(crate) fn select(call: &mut Call<'_>) -> Done {
    let number = database(call.args[1])?;
    choose(call, number);
    call.out.ok();
    Ok(())
}

fn choose(call: &mut Call<'_>, number: usize) {
    call.client().db = number;
    call.app.store.select(number);
}

/// Compares two secrets in a time that does not depend on where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b));
    left.len() == right.len() && differences == 0
}

fn authenticate(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Done {
    let expected = call.app.config.password.as_bytes();
    // A user without a password accepts any, as in Redis.
    if user != b"default" || !expected.is_empty() && !same(password, expected) {
        return error("WRONGPASS invalid username-password pair or user is disabled.");
    }
    call.client().authenticated = true;
    Ok(())
}

pub(crate) fn auth(call: &mut Call<'_>) -> Done {
    match &call.args[1..] {
        [_] if call.app.config.password.is_empty() => {
            return error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
        }
        [password] => authenticate(call, b"default", password)?,
        [user, password] => authenticate(call, user, password)?,
        _ => return Err(SYNTAX),
    }
    call.out.ok();
    Ok(())
}

pub(crate) fn hello(call: &mut Call<'_>) -> Done {
    let wanted = match call.args.get(1) {
        None => None,
        Some(version) => match parse_integer(version) {
            Some(2) => Some(Protocol::Resp2),
            Some(3) => Some(Protocol::Resp3),
            Some(_) => return error("NOPROTO unsupported protocol version"),
            None => return error("ERR Protocol version is not an integer or out of range"),
        },
    };
    let mut options = Options::new(call.args.get(2..).unwrap_or_default());
    let mut name = None;
    while let Some(option) = options.next() {
        let wrong = || quoting("ERR Syntax error in HELLO option '", option, "'");
        if is(option, "AUTH") {
            let user = options.next().ok_or_else(wrong)?;
            let password = options.next().ok_or_else(wrong)?;
            authenticate(call, user, password)?;
        } else if is(option, "SETNAME") {
            name = Some(checked_name(options.next().ok_or_else(wrong)?)?);
        } else {
            return Err(wrong());
        }
    }
    if !call.client().authenticated {
        return error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
             AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
             protocol version at the same time",
        );
    }
    let client = call.client();
    client.protocol = wanted.unwrap_or(client.protocol);
    if let Some(name) = name {
        client.name = name.into();
    }
    reply_hello(call);
    Ok(())
}

fn reply_hello(call: &mut Call<'_>) {
    let (id, protocol) = (call.client().id, call.client().protocol);
    let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
    let out = &mut call.out;
    out.set_protocol(protocol);
    out.map(7);
    for (key, value) in [("server", "redis"), ("version", VERSION)] {
        out.bulk(key);
        out.bulk(value);
    }
    for (key, value) in [("proto", number), ("id", id as i64)] {
        out.bulk(key);
        out.integer(value);
    }
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        out.bulk(key);
        out.bulk(value);
    }
    out.bulk("modules");
    out.array(0);
}

/// Returns a name if it can be shown in a list: without spaces, line ends and the like.
fn checked_name(name: &[u8]) -> Result<&[u8], Error> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(name);
    }
    error("ERR Client names cannot contain spaces, newlines or special characters.")
}

pub(crate) fn client_id(call: &mut Call<'_>) -> Done {
    let id = call.client().id;
    call.out.integer(id as i64);
    Ok(())
}

pub(crate) fn client_getname(call: &mut Call<'_>) -> Done {
    let name = call.client().name.clone();
    call.reply((!name.is_empty()).then_some(&*name));
    Ok(())
}

pub(crate) fn client_setname(call: &mut Call<'_>) -> Done {
    call.client().name = checked_name(call.args[2])?.into();
    call.out.ok();
    Ok(())
}

pub(crate) fn client_reply(call: &mut Call<'_>) -> Done {
    call.client().replies = match call.args[2] {
        word if is(word, "ON") => {
            call.out.ok();
            Replies::On
        }
        word if is(word, "OFF") => Replies::Off,
        word if is(word, "SKIP") => match call.client().replies {
            Replies::Off => Replies::Off,
            _ => Replies::SkipNext,
        },
        _ => return Err(SYNTAX),
    };
    Ok(())
}

pub(crate) fn client_info(call: &mut Call<'_>) -> Done {
    let now = call.app.clock.instant();
    let text = format!("{}\n", call.client().line(now));
    call.out.verbatim(*b"txt", text);
    Ok(())
}

/// The filter of `CLIENT LIST` and `CLIENT KILL`.
#[derive(Default)]
struct Filter {
    ids: Option<Vec<u64>>,
    address: Option<String>,
    listens: Option<bool>,
    excluded: Option<usize>,
}

impl Filter {
    fn takes(&self, number: usize, client: &Client) -> bool {
        // Clients of Unix sockets have no address and match none.
        let is_at = |wanted: &str| client.address.is_some_and(|it| it.to_string() == wanted);
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.address.as_ref().is_none_or(|wanted| is_at(wanted))
            && self.listens.is_none_or(|listens| listens == (client.subscriptions() > 0))
            && self.excluded != Some(number)
    }

    fn read_type(&mut self, kind: &[u8]) -> Done {
        self.listens = match kind {
            kind if is(kind, "normal") => Some(false),
            kind if is(kind, "pubsub") => Some(true),
            _ => return Err(quoting("ERR Unknown client type '", kind, "'")),
        };
        Ok(())
    }
}

fn id(argument: &[u8], text: &'static str) -> Result<u64, Error> {
    let id = parse_integer(argument).and_then(|id| u64::try_from(id).ok());
    id.filter(|id| *id > 0).ok_or(fixed(text))
}

pub(crate) fn client_list(call: &mut Call<'_>) -> Done {
    let mut filter = Filter::default();
    match &call.args[2..] {
        [] => {}
        [word, kind] if is(word, "TYPE") => filter.read_type(kind)?,
        [word, ids @ ..] if is(word, "ID") && !ids.is_empty() => {
            let ids = ids.iter().map(|it| id(it, "ERR Invalid client ID"));
            filter.ids = Some(ids.collect::<Result<_, _>>()?);
        }
        _ => return Err(SYNTAX),
    }
    let now = call.app.clock.instant();
    let clients = call.app.connected().filter(|(number, it)| filter.takes(*number, it));
    let mut clients: Vec<&Client> = clients.map(|(_, client)| client).collect();
    clients.sort_by_key(|client| client.id);
    let text: String = clients.iter().map(|client| client.line(now) + "\n").collect();
    call.out.verbatim(*b"txt", text);
    Ok(())
}

pub(crate) fn client_kill(call: &mut Call<'_>) -> Done {
    if let [address] = &call.args[2..] {
        let address = Some(String::from_utf8_lossy(address).into_owned());
        if kill(call, &Filter { address, ..Filter::default() }) == 0 {
            return error("ERR No such client");
        }
        call.out.ok();
        return Ok(());
    }
    let mut filter = Filter { excluded: Some(call.me), ..Filter::default() };
    for pair in call.args[2..].chunks(2) {
        let [word, value] = pair else { return Err(SYNTAX) };
        match *word {
            word if is(word, "ID") => {
                filter.ids = Some(vec![id(value, "ERR client-id should be greater than 0")?]);
            }
            word if is(word, "ADDR") => {
                filter.address = Some(String::from_utf8_lossy(value).into_owned());
            }
            word if is(word, "TYPE") => filter.read_type(value)?,
            word if is(word, "SKIPME") && is(value, "yes") => filter.excluded = Some(call.me),
            word if is(word, "SKIPME") && is(value, "no") => filter.excluded = None,
            _ => return Err(SYNTAX),
        }
    }
    let killed = kill(call, &filter);
    call.reply_count(killed);
    Ok(())
}

pub(crate) fn client_no_evict(call: &mut Call<'_>) -> Done {
    call.client().no_evict = match call.args[2] {
        word if is(word, "ON") => true,
        word if is(word, "OFF") => false,
        _ => return Err(SYNTAX),
    };
    call.out.ok();
    Ok(())
}

pub(crate) fn client_unblock(call: &mut Call<'_>) -> Done {
    let end = match &call.args[3..] {
        [] => Wait::Over,
        [word] if is(word, "TIMEOUT") => Wait::Over,
        [word] if is(word, "ERROR") => Wait::Broken,
        [_] => return error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        _ => return Err(wrong_subcommand(call.args)),
    };
    let id = integer(call.args[2])?;
    let mut clients = call.app.clients.iter();
    let number = clients.find(|(_, it)| it.id as i64 == id).map(|(number, _)| number);
    let unblocked = number.is_some_and(|number| blocking::unblock(call.app, number, end));
    call.out.integer(i64::from(unblocked));
    Ok(())
}

fn kill(call: &mut Call<'_>, filter: &Filter) -> usize {
    let app = &mut *call.app;
    let chosen = app.connected().filter(|(number, client)| filter.takes(*number, client));
    let chosen: Vec<usize> = chosen.map(|(number, _)| number).collect();
    for number in &chosen {
        if *number == call.me {
            app.clients[*number].ending = true;
        } else {
            // From now on, what others send it is dropped.
            app.kill(*number);
        }
    }
    chosen.len()
}
