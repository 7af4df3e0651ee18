//! The table of all commands: name, arity, flags, keys, function and summary of each.

use super::call::Call;
use super::command::{Command, Flags, Keys, group};
use super::commands::{
    connection, hashes, info, keys, lists, pubsub, server, sets, strings, transactions,
};
use super::error::{Done, errorf};
use super::text;

/// Returns all commands.
pub(crate) fn commands() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|group| group.iter())
}

/// Refuses a container without a subcommand.
fn container(call: &mut Call<'_>) -> Done {
    let name = String::from_utf8_lossy(call.args[0]).to_lowercase();
    Err(errorf(text::wrong_arity(&name)))
}

const PLAIN: Flags = Flags::PLAIN;
const READ: Flags = Flags::READ;
const WRITE: Flags = Flags::WRITE;
const GROW: Flags = WRITE.and(Flags::GROWS);
const BLOCK: Flags = Flags::BLOCKS;
const ADMIN: Flags = Flags::ADMIN;
const CONTAINER: Flags = Flags::CONTAINER;
const NO_AUTH: Flags = Flags::NO_AUTH;
const NOW: Flags = Flags::IMMEDIATE;
const SUBSCRIBED: Flags = Flags::WHILE_SUBSCRIBED;
const MESSAGES: Flags = Flags::PUBSUB;
const LISTEN: Flags = MESSAGES.and(SUBSCRIBED);
const LAST: Flags = NO_AUTH.and(NOW).and(SUBSCRIBED);

const NONE: Keys = Keys::None;
const ONE: Keys = Keys::From(1, 1, 1);
const TWO: Keys = Keys::From(1, 2, 1);
const ALL: Keys = Keys::From(1, -1, 1);
const PAIRS: Keys = Keys::From(1, -1, 2);
const BUT_LAST: Keys = Keys::From(1, -2, 1);
/// The key after a subcommand.
const SECOND: Keys = Keys::From(2, 2, 1);

/// Returns the number of the first command after a group.
const fn behind(group: &[Command]) -> usize {
    group[0].number + group.len()
}

static GROUPS: [&[Command]; 10] = [
    &STRING,
    &GENERIC,
    &LIST,
    &HASH,
    &SET,
    &TRANSACTIONS,
    &PUBSUB,
    &CONNECTION,
    &SERVER,
    &SCRIPTING,
];

static STRING: [Command; 21] = group(
    "string",
    0,
    [
        ("append", 3, GROW, ONE, strings::append, "Appends to a string"),
        ("decr", 2, GROW, ONE, strings::decr, "Subtracts one from a number"),
        ("decrby", 3, GROW, ONE, strings::decrby, "Subtracts an amount from a number"),
        ("get", 2, READ, ONE, strings::get, "Returns a string"),
        ("getdel", 2, WRITE, ONE, strings::getdel, "Returns a string and removes it"),
        ("getex", -2, WRITE, ONE, strings::getex, "Returns a string and sets its expiry"),
        ("getrange", 4, READ, ONE, strings::getrange, "Returns a part of a string"),
        ("getset", 3, GROW, ONE, strings::getset, "Replaces a string and returns the old one"),
        ("incr", 2, GROW, ONE, strings::incr, "Adds one to a number"),
        ("incrby", 3, GROW, ONE, strings::incrby, "Adds an amount to a number"),
        ("incrbyfloat", 3, GROW, ONE, strings::incrbyfloat, "Adds a fraction to a number"),
        ("mget", -2, READ, ALL, strings::mget, "Returns several strings"),
        ("mset", -3, GROW, PAIRS, strings::mset, "Sets several strings"),
        ("msetnx", -3, GROW, PAIRS, strings::msetnx, "Sets several strings if none exists"),
        ("psetex", 4, GROW, ONE, strings::psetex, "Sets a string with an expiry in milliseconds"),
        ("set", -3, GROW, ONE, strings::set, "Sets a string"),
        ("setex", 4, GROW, ONE, strings::setex, "Sets a string with an expiry in seconds"),
        ("setnx", 3, GROW, ONE, strings::setnx, "Sets a string if it does not exist"),
        ("setrange", 4, GROW, ONE, strings::setrange, "Overwrites a part of a string"),
        ("strlen", 2, READ, ONE, strings::strlen, "Returns the length of a string"),
        ("substr", 4, READ, ONE, strings::getrange, "Returns a part of a string"),
    ],
);

static GENERIC: [Command; 23] = group(
    "generic",
    behind(&STRING),
    [
        ("copy", -3, GROW, TWO, keys::copy, "Copies the value of a key"),
        ("del", -2, WRITE, ALL, keys::del, "Removes keys"),
        ("exists", -2, READ, ALL, keys::exists, "Counts the keys that exist"),
        ("expire", -3, WRITE, ONE, keys::expire, "Sets a key's expiry in seconds"),
        ("expireat", -3, WRITE, ONE, keys::expireat, "Sets a key's expiry as a Unix time"),
        ("expiretime", 2, READ, ONE, keys::expiretime, "Returns a key's expiry as a Unix time"),
        ("keys", 2, READ, NONE, keys::keys, "Returns all keys that match a pattern"),
        ("move", 3, WRITE, ONE, keys::move_to, "Moves a key to another database"),
        ("object", -2, CONTAINER, NONE, container, "Inspects values"),
        ("object|encoding", 3, READ, SECOND, keys::object_encoding, "Returns Redis's encoding"),
        ("persist", 2, WRITE, ONE, keys::persist, "Removes a key's expiry"),
        ("pexpire", -3, WRITE, ONE, keys::pexpire, "Sets a key's expiry in milliseconds"),
        ("pexpireat", -3, WRITE, ONE, keys::pexpireat, "Sets a key's expiry in Unix milliseconds"),
        (
            "pexpiretime",
            2,
            READ,
            ONE,
            keys::pexpiretime,
            "Returns a key's expiry in Unix milliseconds",
        ),
        ("pttl", 2, READ, ONE, keys::pttl, "Returns the milliseconds until a key expires"),
        ("randomkey", 1, READ, NONE, keys::randomkey, "Returns a random key"),
        ("rename", 3, WRITE, TWO, keys::rename, "Renames a key"),
        ("renamenx", 3, WRITE, TWO, keys::renamenx, "Renames a key if the new name is free"),
        ("scan", -2, READ, NONE, keys::scan, "Returns some keys and a cursor"),
        ("touch", -2, READ, ALL, keys::exists, "Counts the keys that exist"),
        ("ttl", 2, READ, ONE, keys::ttl, "Returns the seconds until a key expires"),
        ("type", 2, READ, ONE, keys::type_of, "Returns the type of a key"),
        ("unlink", -2, WRITE, ALL, keys::del, "Removes keys"),
    ],
);

static LIST: [Command; 22] = group(
    "list",
    behind(&GENERIC),
    [
        ("blmove", 6, GROW.and(BLOCK), TWO, lists::blmove, "Moves an item; waits if there is none"),
        (
            "blmpop",
            -5,
            WRITE.and(BLOCK),
            Keys::Counted(2),
            lists::blmpop,
            "Removes items of one of several lists; waits if all are empty",
        ),
        (
            "blpop",
            -3,
            WRITE.and(BLOCK),
            BUT_LAST,
            lists::blpop,
            "Removes the first item; waits if there is none",
        ),
        (
            "brpop",
            -3,
            WRITE.and(BLOCK),
            BUT_LAST,
            lists::brpop,
            "Removes the last item; waits if there is none",
        ),
        (
            "brpoplpush",
            4,
            GROW.and(BLOCK),
            TWO,
            lists::brpoplpush,
            "Moves the last item; waits if there is none",
        ),
        ("lindex", 3, READ, ONE, lists::lindex, "Returns an item"),
        ("linsert", 5, GROW, ONE, lists::linsert, "Inserts an item beside another"),
        ("llen", 2, READ, ONE, lists::llen, "Returns the length of a list"),
        ("lmove", 5, GROW, TWO, lists::lmove, "Moves an item to another list"),
        ("lmpop", -4, WRITE, Keys::Counted(1), lists::lmpop, "Removes items of one list"),
        ("lpop", -2, WRITE, ONE, lists::lpop, "Removes the first items"),
        ("lpos", -3, READ, ONE, lists::lpos, "Returns the index of an item"),
        ("lpush", -3, GROW, ONE, lists::lpush, "Prepends items"),
        ("lpushx", -3, GROW, ONE, lists::lpushx, "Prepends items if the list exists"),
        ("lrange", 4, READ, ONE, lists::lrange, "Returns a part of a list"),
        ("lrem", 4, WRITE, ONE, lists::lrem, "Removes items of one value"),
        ("lset", 4, GROW, ONE, lists::lset, "Replaces an item"),
        ("ltrim", 4, WRITE, ONE, lists::ltrim, "Keeps a part of a list"),
        ("rpop", -2, WRITE, ONE, lists::rpop, "Removes the last items"),
        ("rpoplpush", 3, GROW, TWO, lists::rpoplpush, "Moves the last item to another list"),
        ("rpush", -3, GROW, ONE, lists::rpush, "Appends items"),
        ("rpushx", -3, GROW, ONE, lists::rpushx, "Appends items if the list exists"),
    ],
);

static HASH: [Command; 16] = group(
    "hash",
    behind(&LIST),
    [
        ("hdel", -3, WRITE, ONE, hashes::hdel, "Removes fields"),
        ("hexists", 3, READ, ONE, hashes::hexists, "Returns whether a field exists"),
        ("hget", 3, READ, ONE, hashes::hget, "Returns the value of a field"),
        ("hgetall", 2, READ, ONE, hashes::hgetall, "Returns all fields and values"),
        ("hincrby", 4, GROW, ONE, hashes::hincrby, "Adds an amount to a field"),
        ("hincrbyfloat", 4, GROW, ONE, hashes::hincrbyfloat, "Adds a fraction to a field"),
        ("hkeys", 2, READ, ONE, hashes::hkeys, "Returns the names of all fields"),
        ("hlen", 2, READ, ONE, hashes::hlen, "Counts fields"),
        ("hmget", -3, READ, ONE, hashes::hmget, "Returns the values of several fields"),
        ("hmset", -4, GROW, ONE, hashes::hmset, "Sets several fields"),
        ("hrandfield", -2, READ, ONE, hashes::hrandfield, "Returns random fields"),
        ("hscan", -3, READ, ONE, hashes::hscan, "Returns some fields and a cursor"),
        ("hset", -4, GROW, ONE, hashes::hset, "Sets fields"),
        ("hsetnx", 4, GROW, ONE, hashes::hsetnx, "Sets a field if it does not exist"),
        ("hstrlen", 3, READ, ONE, hashes::hstrlen, "Returns the length of a field's value"),
        ("hvals", 2, READ, ONE, hashes::hvals, "Returns the values of all fields"),
    ],
);

static SET: [Command; 17] = group(
    "set",
    behind(&HASH),
    [
        ("sadd", -3, GROW, ONE, sets::sadd, "Adds members"),
        ("scard", 2, READ, ONE, sets::scard, "Counts members"),
        ("sdiff", -2, READ, ALL, sets::sdiff, "Returns the difference of sets"),
        ("sdiffstore", -3, GROW, ALL, sets::sdiffstore, "Stores the difference of sets"),
        ("sinter", -2, READ, ALL, sets::sinter, "Returns the intersection of sets"),
        ("sintercard", -3, READ, Keys::Counted(1), sets::sintercard, "Counts an intersection"),
        ("sinterstore", -3, GROW, ALL, sets::sinterstore, "Stores the intersection of sets"),
        ("sismember", 3, READ, ONE, sets::sismember, "Returns whether a member is in a set"),
        ("smembers", 2, READ, ONE, sets::smembers, "Returns all members"),
        ("smismember", -3, READ, ONE, sets::smismember, "Returns which members are in a set"),
        ("smove", 4, WRITE, TWO, sets::smove, "Moves a member to another set"),
        ("spop", -2, WRITE, ONE, sets::spop, "Removes random members"),
        ("srandmember", -2, READ, ONE, sets::srandmember, "Returns random members"),
        ("srem", -3, WRITE, ONE, sets::srem, "Removes members"),
        ("sscan", -3, READ, ONE, sets::sscan, "Returns some members and a cursor"),
        ("sunion", -2, READ, ALL, sets::sunion, "Returns the union of sets"),
        ("sunionstore", -3, GROW, ALL, sets::sunionstore, "Stores the union of sets"),
    ],
);

static TRANSACTIONS: [Command; 5] = group(
    "transactions",
    behind(&SET),
    [
        ("discard", 1, NOW, NONE, transactions::discard, "Drops a transaction"),
        ("exec", 1, NOW, NONE, transactions::exec, "Runs a transaction"),
        ("multi", 1, NOW, NONE, transactions::multi, "Begins a transaction"),
        ("unwatch", 1, PLAIN, NONE, transactions::unwatch, "Stops watching keys"),
        ("watch", -2, NOW, ALL, transactions::watch, "Makes a transaction fail if keys change"),
    ],
);

static PUBSUB: [Command; 9] = group(
    "pubsub",
    behind(&TRANSACTIONS),
    [
        ("psubscribe", -2, LISTEN, NONE, pubsub::psubscribe, "Subscribes to patterns of channels"),
        ("publish", 3, MESSAGES, NONE, pubsub::publish, "Sends a message to a channel"),
        ("pubsub", -2, CONTAINER, NONE, container, "Inspects subscriptions"),
        (
            "pubsub|channels",
            -2,
            MESSAGES,
            NONE,
            pubsub::channels,
            "Returns the channels with subscribers",
        ),
        ("pubsub|numpat", 2, MESSAGES, NONE, pubsub::numpat, "Counts the subscribed patterns"),
        ("pubsub|numsub", -2, MESSAGES, NONE, pubsub::numsub, "Counts the subscribers of channels"),
        ("punsubscribe", -1, LISTEN, NONE, pubsub::punsubscribe, "Unsubscribes from patterns"),
        ("subscribe", -2, LISTEN, NONE, pubsub::subscribe, "Subscribes to channels"),
        ("unsubscribe", -1, LISTEN, NONE, pubsub::unsubscribe, "Unsubscribes from channels"),
    ],
);

static CONNECTION: [Command; 17] = group(
    "connection",
    behind(&PUBSUB),
    [
        ("auth", -2, NO_AUTH, NONE, connection::auth, "Authenticates"),
        ("client", -2, CONTAINER, NONE, container, "Manages clients"),
        (
            "client|getname",
            2,
            PLAIN,
            NONE,
            connection::client_getname,
            "Returns the name of this client",
        ),
        ("client|id", 2, PLAIN, NONE, connection::client_id, "Returns the number of this client"),
        ("client|info", 2, PLAIN, NONE, connection::client_info, "Describes this client"),
        ("client|kill", -3, ADMIN, NONE, connection::client_kill, "Closes clients"),
        ("client|list", -2, ADMIN, NONE, connection::client_list, "Describes clients"),
        (
            "client|no-evict",
            3,
            ADMIN,
            NONE,
            connection::client_no_evict,
            "Protects this client from being closed when clients hold too much",
        ),
        ("client|reply", 3, PLAIN, NONE, connection::client_reply, "Switches replies on or off"),
        ("client|setname", 3, PLAIN, NONE, connection::client_setname, "Names this client"),
        ("client|unblock", -3, ADMIN, NONE, connection::client_unblock, "Ends a client's wait"),
        ("echo", 2, PLAIN, NONE, connection::echo, "Returns its argument"),
        ("hello", -1, NO_AUTH, NONE, connection::hello, "Chooses the version of the protocol"),
        (
            "ping",
            -1,
            PLAIN.and(SUBSCRIBED),
            NONE,
            connection::ping,
            "Checks that the server answers",
        ),
        ("quit", -1, LAST, NONE, connection::quit, "Closes the connection"),
        ("reset", 1, LAST, NONE, connection::reset, "Resets the state of the connection"),
        ("select", 2, PLAIN, NONE, connection::select, "Selects a database"),
    ],
);

static SERVER: [Command; 20] = group(
    "server",
    behind(&CONNECTION),
    [
        ("command", -1, CONTAINER, NONE, server::command, "Describes all commands"),
        ("command|count", 2, PLAIN, NONE, server::command_count, "Counts commands"),
        (
            "command|docs",
            -2,
            PLAIN,
            NONE,
            server::command_docs,
            "Returns the summaries of commands",
        ),
        (
            "command|getkeys",
            -4,
            PLAIN,
            NONE,
            server::command_getkeys,
            "Returns the keys of a request",
        ),
        ("command|info", -2, PLAIN, NONE, server::command_info, "Describes commands"),
        ("command|list", -2, PLAIN, NONE, server::command_list, "Returns the names of commands"),
        ("config", -2, CONTAINER, NONE, container, "Reads and changes settings"),
        ("config|get", -3, ADMIN, NONE, server::config_get, "Returns settings"),
        ("config|resetstat", 2, ADMIN, NONE, server::config_resetstat, "Resets the statistics"),
        ("config|set", -4, ADMIN, NONE, server::config_set, "Changes settings"),
        ("dbsize", 1, READ, NONE, server::dbsize, "Counts keys"),
        ("debug", -2, CONTAINER.and(ADMIN), NONE, container, "Helps tests"),
        ("debug|sleep", 3, ADMIN, NONE, server::debug_sleep, "Stops the server for a while"),
        ("flushall", -1, WRITE, NONE, server::flushall, "Removes all keys of all databases"),
        ("flushdb", -1, WRITE, NONE, server::flushdb, "Removes all keys of the database"),
        ("info", -1, PLAIN, NONE, info::info, "Returns facts about the server"),
        ("memory", -2, CONTAINER, NONE, container, "Inspects memory"),
        ("memory|usage", -3, READ, SECOND, keys::memory_usage, "Returns the memory of a key"),
        ("swapdb", 3, WRITE, NONE, server::swapdb, "Exchanges the keys of two databases"),
        ("time", 1, PLAIN, NONE, server::time, "Returns the time"),
    ],
);

static SCRIPTING: [Command; 2] = group(
    "scripting",
    behind(&SERVER),
    [
        ("function", -2, CONTAINER, NONE, container, "Manages functions"),
        ("function|flush", -2, WRITE, NONE, server::function_flush, "Removes all functions"),
    ],
);
