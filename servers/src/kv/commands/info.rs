//! `INFO`: facts about the server.

use std::fmt::{Display, Write};

use nix::sys::resource::{UsageWho, getrusage};

use super::connection::VERSION;
use crate::kv::app::App;
use crate::kv::call::{Call, is};
use crate::kv::error::Done;

/// Adds the facts of a section.
type Add = fn(&mut Facts, &App);

/// The sections: name, whether plain `INFO` includes it, and the function that adds its facts.
const SECTIONS: [(&str, bool, Add); 10] = [
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, commandstats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
];

/// The text of a section: a name and a value on each line.
#[derive(Default)]
struct Facts(String);

impl Facts {
    fn add(&mut self, name: impl Display, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

pub(crate) fn info(call: &mut Call<'_>) -> Done {
    let asked = &call.args[1..];
    let is_asked = |word: &str| asked.iter().any(|it| is(it, word));
    let all = is_asked("all") || is_asked("everything");
    let default = asked.is_empty() || is_asked("default");
    let mut texts = Vec::new();
    for (name, is_default, tell) in SECTIONS {
        if all || default && is_default || is_asked(name) {
            let mut facts = Facts::default();
            tell(&mut facts, call.app);
            texts.push(format!("# {name}\r\n{}", facts.0));
        }
    }
    call.out.verbatim(*b"txt", texts.join("\r\n"));
    Ok(())
}

fn server(facts: &mut Facts, app: &App) {
    facts.add("redis_version", VERSION);
    facts.add("redis_mode", "standalone");
    facts.add("arch_bits", usize::BITS);
    facts.add("process_id", std::process::id());
    facts.add("uptime_in_seconds", app.clock.uptime().as_secs());
}

fn clients(facts: &mut Facts, app: &App) {
    let blocked = app.connected().filter(|(_, it)| it.blocked.is_some()).count();
    facts.add("connected_clients", app.connected().count());
    facts.add("maxclients", app.config.connections_max);
    facts.add("blocked_clients", blocked);
}

fn memory(facts: &mut Facts, app: &App) {
    facts.add("used_memory", app.store.used());
    facts.add("maxmemory", app.config.memory_max.unwrap_or_default());
    facts.add("maxmemory_policy", "noeviction");
    facts.add("mem_clients_normal", app.held);
}

/// Clients check these fields to see whether the server is still loading.
fn persistence(facts: &mut Facts, _: &App) {
    facts.add("loading", 0);
}

fn stats(facts: &mut Facts, app: &App) {
    facts.add("total_connections_received", app.stats.connections);
    facts.add("total_commands_processed", app.counters.calls());
    facts.add("expired_keys", app.store.expired());
    facts.add("evicted_clients", app.stats.evicted);
    facts.add("client_output_buffer_limit_disconnections", app.stats.over_limit);
    facts.add("keyspace_hits", app.stats.hits);
    facts.add("keyspace_misses", app.stats.misses);
    facts.add("pubsub_channels", app.channels.counts().0);
    facts.add("pubsub_patterns", app.channels.counts().1);
}

fn replication(facts: &mut Facts, _: &App) {
    facts.add("role", "master");
    facts.add("connected_slaves", 0);
}

fn cpu(facts: &mut Facts, _: &App) {
    let targets = [
        ("", UsageWho::RUSAGE_SELF),
        ("_children", UsageWho::RUSAGE_CHILDREN),
        ("_main_thread", UsageWho::RUSAGE_THREAD),
    ];
    for (suffix, target) in targets {
        // getrusage fails only for values that the kernel does not know, and it knows these.
        let Ok(usage) = getrusage(target) else { continue };
        for (kind, time) in [("sys", usage.system_time()), ("user", usage.user_time())] {
            let name = format_args!("used_cpu_{kind}{suffix}");
            facts.add(name, format_args!("{}.{:06}", time.tv_sec(), time.tv_usec()));
        }
    }
}

/// The counts of each command. Times are estimates from the calls that were timed.
fn commandstats(facts: &mut Facts, app: &App) {
    for (command, counter) in app.counters.iter() {
        let each = counter.microseconds_per_call();
        let name = format_args!("cmdstat_{}", command.name);
        facts.add(
            name,
            format_args!(
                "calls={},usec={:.0},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                counter.calls,
                each * counter.calls as f64,
                counter.rejected,
                counter.failed
            ),
        );
    }
}

fn cluster(facts: &mut Facts, _: &App) {
    facts.add("cluster_enabled", 0);
}

/// One line for each database that has keys.
fn keyspace(facts: &mut Facts, app: &App) {
    for (number, store) in app.store.iter().filter(|(_, store)| store.len() > 0) {
        let (keys, expires) = (store.len(), store.expiring());
        let db = format_args!("db{number}");
        facts.add(db, format_args!("keys={keys},expires={expires},avg_ttl=0"));
    }
}
