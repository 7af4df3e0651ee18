//! The commands of the server: settings, statistics, the list of commands, whole databases.

use std::time::Duration;

use protocol::resp::{Item, Writer};

use super::strings::STRING_SIZE_MAX;
use crate::kv::app::{App, Stats};
use crate::kv::call::{Call, is};
use crate::kv::command::{Command, Flags, Keys};
use crate::kv::counters::Counters;
use crate::kv::databases::{DATABASES, Databases, in_range, int};
use crate::kv::dispatch::lookup;
use crate::kv::error::{Done, SYNTAX, error, errorf, fixed};
use crate::kv::glob;
use crate::kv::names;
use crate::kv::table::commands;
use crate::kv::text::{quoting, wrong_subcommand};

/// The longest time that `DEBUG SLEEP` takes, in seconds.
const SLEEP_MAX: f64 = 3600.0;

pub(crate) fn dbsize(call: &mut Call<'_>) -> Done {
    let count = call.app.store.len();
    call.reply_count(count);
    Ok(())
}

/// Removes keys and replies. `SYNC` and `ASYNC` are the same here, as there is one thread.
fn flushed(call: &mut Call<'_>, flush: impl FnOnce(&mut Databases)) -> Done {
    match &call.args[1..] {
        [] => {}
        [word] if is(word, "SYNC") || is(word, "ASYNC") => {}
        _ => return Err(SYNTAX),
    }
    flush(&mut call.app.store);
    call.out.ok();
    Ok(())
}

pub(crate) fn flushdb(call: &mut Call<'_>) -> Done {
    flushed(call, |store| store.clear())
}

pub(crate) fn flushall(call: &mut Call<'_>) -> Done {
    flushed(call, Databases::clear_all)
}

pub(crate) fn swapdb(call: &mut Call<'_>) -> Done {
    let number = |place, wrong| int(call.args[place]).map_err(|_| fixed(wrong));
    let one = number(1, "ERR invalid first DB index")?;
    let other = number(2, "ERR invalid second DB index")?;
    let (one, other) = (in_range(one)?, in_range(other)?);
    call.app.store.swap(one, other);
    call.out.ok();
    Ok(())
}

/// Succeeds: there are no functions to remove.
pub(crate) fn function_flush(call: &mut Call<'_>) -> Done {
    match &call.args[2..] {
        [] => {}
        [word] if is(word, "SYNC") || is(word, "ASYNC") => {}
        [_] => return error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        _ => return Err(wrong_subcommand(call.args)),
    }
    call.out.ok();
    Ok(())
}

pub(crate) fn time(call: &mut Call<'_>) -> Done {
    let now = call.app.clock.time_of_day();
    call.out.array(2);
    call.out.bulk_display(now.as_secs());
    call.out.bulk_display(now.subsec_micros());
    Ok(())
}

/// Stops the whole server for a while, so that tests can see how clients cope.
pub(crate) fn debug_sleep(call: &mut Call<'_>) -> Done {
    let seconds = crate::kv::call::float(call.args[2])?;
    std::thread::sleep(Duration::from_secs_f64(seconds.clamp(0.0, SLEEP_MAX)));
    call.out.ok();
    Ok(())
}

/// Returns the settings that `CONFIG GET` shows, with Redis's names.
fn settings(app: &App) -> Vec<(&'static str, String)> {
    let config = &app.config;
    let limits = format!(
        "normal {} 0 0 pubsub {} 0 0",
        config.normal_backlog_max, config.pubsub_backlog_max
    );
    vec![
        ("appendonly", "no".to_owned()),
        ("client-output-buffer-limit", limits),
        ("databases", DATABASES.to_string()),
        ("maxclients", config.connections_max.to_string()),
        ("maxmemory", config.memory_max.unwrap_or_default().to_string()),
        ("maxmemory-clients", config.clients_memory_max.to_string()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("proto-max-bulk-len", STRING_SIZE_MAX.to_string()),
        ("requirepass", config.password.clone()),
        ("save", String::new()),
        ("timeout", config.idle_timeout.unwrap_or_default().as_secs().to_string()),
    ]
}

pub(crate) fn config_get(call: &mut Call<'_>) -> Done {
    let settings = settings(call.app);
    let patterns = &call.args[2..];
    let wanted = |name: &str| {
        patterns.iter().any(|it| glob::matches(&it.to_ascii_lowercase(), name.as_bytes()))
    };
    call.out.counted(Item::Map, |out| {
        let found = settings.iter().filter(|(name, _)| wanted(name));
        found.map(|(name, value)| [*name, value].iter().for_each(|part| out.bulk(part))).count()
    });
    Ok(())
}

pub(crate) fn config_resetstat(call: &mut Call<'_>) -> Done {
    call.app.stats = Stats::default();
    call.app.counters = Counters::new();
    call.app.store.forget_expired();
    call.out.ok();
    Ok(())
}

/// Reads a size such as `1000`, `64mb` or `1g`, in the syntax of Redis's configuration.
pub(crate) fn memory_size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(crate) fn config_set(call: &mut Call<'_>) -> Done {
    let pairs = &call.args[2..];
    if pairs.len() % 2 == 1 {
        return Err(errorf(crate::kv::text::wrong_arity("config|set")));
    }
    // All settings are changed or none: they are tried on a copy.
    let mut config = call.app.config.clone();
    for (number, pair) in pairs.chunks(2).enumerate() {
        let mut before = pairs.chunks(2).take(number);
        if before.any(|other| other[0].eq_ignore_ascii_case(pair[0])) {
            let failed = "ERR CONFIG SET failed (possibly related to argument '";
            return Err(quoting(failed, pair[0], "') - duplicate parameter"));
        }
        let (name, value) = (pair[0], String::from_utf8_lossy(pair[1]));
        if is(name, "maxmemory") {
            let Some(size) = memory_size(&value) else {
                return error(
                    "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument \
                     must be a memory value",
                );
            };
            config.memory_max = (size > 0).then_some(size);
        } else if is(name, "requirepass") {
            let Ok(password) = String::from_utf8(pair[1].to_vec()) else {
                return error(
                    "ERR CONFIG SET failed (possibly related to argument 'requirepass') - argument \
                     must be UTF-8",
                );
            };
            config.password = password;
        } else {
            let known = settings(call.app).iter().any(|(it, _)| is(name, it));
            return Err(if known {
                let failed = "ERR CONFIG SET failed (possibly related to argument '";
                quoting(failed, name, "') - can't set immutable config")
            } else {
                let unknown = "ERR Unknown option or number of arguments for CONFIG SET - '";
                quoting(unknown, name, "'")
            });
        }
    }
    call.app.config = config;
    call.out.ok();
    Ok(())
}

/// Returns the commands without subcommands.
fn top_level() -> impl Iterator<Item = &'static Command> {
    commands().filter(|command| !command.name.contains('|'))
}

fn parts(container: &Command) -> impl Iterator<Item = &'static Command> {
    let container = container.name;
    commands().filter(move |it| it.name.split_once('|').is_some_and(|(of, _)| of == container))
}

pub(crate) fn command(call: &mut Call<'_>) -> Done {
    call.out.array(top_level().count());
    top_level().for_each(|command| write_command(&mut call.out, command));
    Ok(())
}

pub(crate) fn command_count(call: &mut Call<'_>) -> Done {
    call.reply_count(top_level().count());
    Ok(())
}

pub(crate) fn command_list(call: &mut Call<'_>) -> Done {
    let pattern: &[u8] = match &call.args[2..] {
        [] => b"*",
        [word, kind, pattern] if is(word, "FILTERBY") && is(kind, "PATTERN") => pattern,
        _ => return Err(SYNTAX),
    };
    // COMMAND LIST includes subcommands, unlike COMMAND COUNT.
    call.out.counted(Item::Array, |out| {
        let found = commands().filter(|it| glob::matches(pattern, it.name.as_bytes()));
        found.map(|command| out.bulk(command.name)).count()
    });
    Ok(())
}

pub(crate) fn command_info(call: &mut Call<'_>) -> Done {
    if call.args.len() == 2 {
        return command(call);
    }
    call.out.array(call.args.len() - 2);
    for name in &call.args[2..] {
        match names::find_any(name) {
            Some(command) => write_command(&mut call.out, command),
            None => call.out.null(),
        }
        if call.is_over_limit() {
            break;
        }
    }
    Ok(())
}

fn write_command(out: &mut Writer<'_>, command: &Command) {
    out.array(10);
    out.bulk(command.name);
    out.integer(command.arity.into());
    out.counted(Item::Set, |out| command.flag_names().map(|flag| out.simple(flag)).count());
    for number in command.keys.numbers() {
        out.integer(number.into());
    }
    out.counted(Item::Set, |out| {
        out.simple(format!("@{}", command.group));
        1
    });
    // Tips and key specifications, which are left empty.
    out.array(0);
    out.array(0);
    out.array(parts(command).count());
    parts(command).for_each(|part| write_command(out, part));
}

pub(crate) fn command_getkeys(call: &mut Call<'_>) -> Done {
    let request = &call.args[2..];
    let command = lookup(request).or(error("ERR Invalid command specified"))?;
    if matches!(command.keys, Keys::None) {
        return error("ERR The command has no key arguments");
    }
    if !command.takes(request.len()) {
        return error("ERR Invalid number of arguments specified for command");
    }
    let Some(keys) = command.keys.of(request) else {
        return error("ERR Invalid arguments specified for command");
    };
    call.out.array(keys.len());
    keys.iter().for_each(|key| call.out.bulk(key));
    Ok(())
}

pub(crate) fn command_docs(call: &mut Call<'_>) -> Done {
    let names = &call.args[2..];
    let found: Vec<&Command> = match names {
        [] => top_level().collect(),
        names => names.iter().filter_map(|name| names::find_any(name)).collect(),
    };
    call.out.map(found.len());
    for command in found {
        write_docs(&mut call.out, command);
        if call.is_over_limit() {
            break;
        }
    }
    Ok(())
}

fn write_docs(out: &mut Writer<'_>, command: &Command) {
    let is_container = command.flags.has(Flags::CONTAINER);
    out.bulk(command.name);
    out.map(if is_container { 3 } else { 2 });
    for (key, value) in [("summary", command.summary), ("group", command.group)] {
        out.bulk(key);
        out.bulk(value);
    }
    if is_container {
        out.bulk("subcommands");
        out.map(parts(command).count());
        parts(command).for_each(|part| write_docs(out, part));
    }
}

#[cfg(test)]
mod tests {
    use super::memory_size;

    #[test]
    fn sizes_are_read_with_their_units() {
        let sizes = [("0", 0), ("100", 100), ("1k", 1000), ("1Kb", 1024), ("2gb", 2 << 30)];
        for (text, size) in sizes {
            assert_eq!(memory_size(text), Some(size), "{text}");
        }
        for wrong in ["", "mb", "-1", "1tb", "99999999999gb"] {
            assert_eq!(memory_size(wrong), None, "{wrong}");
        }
    }
}
