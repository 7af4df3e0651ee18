//! The table of commands: what there is, how it is called, and where it is done.

use super::call::Call;
use super::command::{Command, Flags, Keys, group};
use super::commands::{
    connection, hashes, info, keys, lists, pubsub, server, sets, strings, transactions,
};
use super::error::{Done, errorf};
use super::text;

/// All commands.
pub(crate) fn commands() -> impl Iterator<Item = &'static Command> {
    GROUPS.iter().flat_map(|group| group.iter())
}

/// What a container does by itself.
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
const HEARD: Flags = Flags::PUBSUB;
const LISTEN: Flags = HEARD.and(SUBSCRIBED);
const LAST: Flags = NO_AUTH.and(NOW).and(SUBSCRIBED);

const NONE: Keys = Keys::None;
const ONE: Keys = Keys::From(1, 1, 1);
const TWO: Keys = Keys::From(1, 2, 1);
const ALL: Keys = Keys::From(1, -1, 1);
const PAIRS: Keys = Keys::From(1, -1, 2);
const BUT_LAST: Keys = Keys::From(1, -2, 1);
/// Behind the name of a part.
const SECOND: Keys = Keys::From(2, 2, 1);

/// The number of the first command behind a group.
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
        ("append", 3, GROW, ONE, strings::append, "Adds to the end of a string"),
        ("decr", 2, GROW, ONE, strings::decr, "Takes one from a number"),
        ("decrby", 3, GROW, ONE, strings::decrby, "Takes an amount from a number"),
        ("get", 2, READ, ONE, strings::get, "Says a string"),
        ("getdel", 2, WRITE, ONE, strings::getdel, "Says a string and removes it"),
        ("getex", -2, WRITE, ONE, strings::getex, "Says a string and sets when it ends"),
        ("getrange", 4, READ, ONE, strings::getrange, "Says a part of a string"),
        ("getset", 3, GROW, ONE, strings::getset, "Says a string and sets another"),
        ("incr", 2, GROW, ONE, strings::incr, "Adds one to a number"),
        ("incrby", 3, GROW, ONE, strings::incrby, "Adds an amount to a number"),
        ("incrbyfloat", 3, GROW, ONE, strings::incrbyfloat, "Adds a fraction to a number"),
        ("mget", -2, READ, ALL, strings::mget, "Says several strings"),
        ("mset", -3, GROW, PAIRS, strings::mset, "Sets several strings"),
        ("msetnx", -3, GROW, PAIRS, strings::msetnx, "Sets several strings if none exists"),
        ("psetex", 4, GROW, ONE, strings::psetex, "Sets a string that ends in milliseconds"),
        ("set", -3, GROW, ONE, strings::set, "Sets a string"),
        ("setex", 4, GROW, ONE, strings::setex, "Sets a string that ends in seconds"),
        ("setnx", 3, GROW, ONE, strings::setnx, "Sets a string if it does not exist"),
        ("setrange", 4, GROW, ONE, strings::setrange, "Overwrites a part of a string"),
        ("strlen", 2, READ, ONE, strings::strlen, "Says how long a string is"),
        ("substr", 4, READ, ONE, strings::getrange, "Says a part of a string"),
    ],
);

static GENERIC: [Command; 23] = group(
    "generic",
    behind(&STRING),
    [
        ("copy", -3, GROW, TWO, keys::copy, "Copies what stands behind a key"),
        ("del", -2, WRITE, ALL, keys::del, "Removes keys"),
        ("exists", -2, READ, ALL, keys::exists, "Counts those keys that exist"),
        ("expire", -3, WRITE, ONE, keys::expire, "Has a key end in seconds"),
        ("expireat", -3, WRITE, ONE, keys::expireat, "Has a key end at a second"),
        ("expiretime", 2, READ, ONE, keys::expiretime, "Says at which second a key ends"),
        ("keys", 2, READ, NONE, keys::keys, "Says all keys that match a pattern"),
        ("move", 3, WRITE, ONE, keys::move_to, "Moves a key to another database"),
        ("object", -2, CONTAINER, NONE, container, "Says how values are kept"),
        ("object|encoding", 3, READ, SECOND, keys::object_encoding, "Says how Redis would keep it"),
        ("persist", 2, WRITE, ONE, keys::persist, "Has a key not end by itself"),
        ("pexpire", -3, WRITE, ONE, keys::pexpire, "Has a key end in milliseconds"),
        ("pexpireat", -3, WRITE, ONE, keys::pexpireat, "Has a key end at a millisecond"),
        ("pexpiretime", 2, READ, ONE, keys::pexpiretime, "Says at which millisecond a key ends"),
        ("pttl", 2, READ, ONE, keys::pttl, "Says how many milliseconds a key has left"),
        ("randomkey", 1, READ, NONE, keys::randomkey, "Says any key"),
        ("rename", 3, WRITE, TWO, keys::rename, "Gives a key another name"),
        ("renamenx", 3, WRITE, TWO, keys::renamenx, "Gives a key a name that is free"),
        ("scan", -2, READ, NONE, keys::scan, "Says some keys and where to go on"),
        ("touch", -2, READ, ALL, keys::exists, "Counts those keys that exist"),
        ("ttl", 2, READ, ONE, keys::ttl, "Says how many seconds a key has left"),
        ("type", 2, READ, ONE, keys::type_of, "Says what stands behind a key"),
        ("unlink", -2, WRITE, ALL, keys::del, "Removes keys"),
    ],
);

static LIST: [Command; 22] = group(
    "list",
    behind(&GENERIC),
    [
        ("blmove", 6, GROW.and(BLOCK), TWO, lists::blmove, "Moves an item or waits for one"),
        (
            "blmpop",
            -5,
            WRITE.and(BLOCK),
            Keys::Counted(2),
            lists::blmpop,
            "Takes items of one of several lists or waits for some",
        ),
        (
            "blpop",
            -3,
            WRITE.and(BLOCK),
            BUT_LAST,
            lists::blpop,
            "Takes the first item or waits for one",
        ),
        (
            "brpop",
            -3,
            WRITE.and(BLOCK),
            BUT_LAST,
            lists::brpop,
            "Takes the last item or waits for one",
        ),
        (
            "brpoplpush",
            4,
            GROW.and(BLOCK),
            TWO,
            lists::brpoplpush,
            "Moves the last item or waits for one",
        ),
        ("lindex", 3, READ, ONE, lists::lindex, "Says an item"),
        ("linsert", 5, GROW, ONE, lists::linsert, "Puts an item beside another"),
        ("llen", 2, READ, ONE, lists::llen, "Says how long a list is"),
        ("lmove", 5, GROW, TWO, lists::lmove, "Moves an item to another list"),
        ("lmpop", -4, WRITE, Keys::Counted(1), lists::lmpop, "Takes items of one of several lists"),
        ("lpop", -2, WRITE, ONE, lists::lpop, "Takes the first items"),
        ("lpos", -3, READ, ONE, lists::lpos, "Says where an item stands"),
        ("lpush", -3, GROW, ONE, lists::lpush, "Puts items before the first"),
        ("lpushx", -3, GROW, ONE, lists::lpushx, "Puts items before the first of a list"),
        ("lrange", 4, READ, ONE, lists::lrange, "Says a part of a list"),
        ("lrem", 4, WRITE, ONE, lists::lrem, "Removes items of one value"),
        ("lset", 4, GROW, ONE, lists::lset, "Replaces an item"),
        ("ltrim", 4, WRITE, ONE, lists::ltrim, "Keeps a part of a list"),
        ("rpop", -2, WRITE, ONE, lists::rpop, "Takes the last items"),
        ("rpoplpush", 3, GROW, TWO, lists::rpoplpush, "Moves the last item to another list"),
        ("rpush", -3, GROW, ONE, lists::rpush, "Puts items behind the last"),
        ("rpushx", -3, GROW, ONE, lists::rpushx, "Puts items behind the last of a list"),
    ],
);

static HASH: [Command; 16] = group(
    "hash",
    behind(&LIST),
    [
        ("hdel", -3, WRITE, ONE, hashes::hdel, "Removes fields"),
        ("hexists", 3, READ, ONE, hashes::hexists, "Says whether a field exists"),
        ("hget", 3, READ, ONE, hashes::hget, "Says a field"),
        ("hgetall", 2, READ, ONE, hashes::hgetall, "Says all fields and values"),
        ("hincrby", 4, GROW, ONE, hashes::hincrby, "Adds an amount to a field"),
        ("hincrbyfloat", 4, GROW, ONE, hashes::hincrbyfloat, "Adds a fraction to a field"),
        ("hkeys", 2, READ, ONE, hashes::hkeys, "Says the names of all fields"),
        ("hlen", 2, READ, ONE, hashes::hlen, "Counts fields"),
        ("hmget", -3, READ, ONE, hashes::hmget, "Says several fields"),
        ("hmset", -4, GROW, ONE, hashes::hmset, "Sets several fields"),
        ("hrandfield", -2, READ, ONE, hashes::hrandfield, "Says any fields"),
        ("hscan", -3, READ, ONE, hashes::hscan, "Says some fields and where to go on"),
        ("hset", -4, GROW, ONE, hashes::hset, "Sets fields"),
        ("hsetnx", 4, GROW, ONE, hashes::hsetnx, "Sets a field if it does not exist"),
        ("hstrlen", 3, READ, ONE, hashes::hstrlen, "Says how long a field is"),
        ("hvals", 2, READ, ONE, hashes::hvals, "Says the values of all fields"),
    ],
);

static SET: [Command; 17] = group(
    "set",
    behind(&HASH),
    [
        ("sadd", -3, GROW, ONE, sets::sadd, "Adds members"),
        ("scard", 2, READ, ONE, sets::scard, "Counts members"),
        ("sdiff", -2, READ, ALL, sets::sdiff, "Says what only the first set has"),
        ("sdiffstore", -3, GROW, ALL, sets::sdiffstore, "Keeps what only the first set has"),
        ("sinter", -2, READ, ALL, sets::sinter, "Says what all sets have"),
        ("sintercard", -3, READ, Keys::Counted(1), sets::sintercard, "Counts what all sets have"),
        ("sinterstore", -3, GROW, ALL, sets::sinterstore, "Keeps what all sets have"),
        ("sismember", 3, READ, ONE, sets::sismember, "Says whether a member is in a set"),
        ("smembers", 2, READ, ONE, sets::smembers, "Says all members"),
        ("smismember", -3, READ, ONE, sets::smismember, "Says which members are in a set"),
        ("smove", 4, WRITE, TWO, sets::smove, "Moves a member to another set"),
        ("spop", -2, WRITE, ONE, sets::spop, "Takes any members"),
        ("srandmember", -2, READ, ONE, sets::srandmember, "Says any members"),
        ("srem", -3, WRITE, ONE, sets::srem, "Removes members"),
        ("sscan", -3, READ, ONE, sets::sscan, "Says some members and where to go on"),
        ("sunion", -2, READ, ALL, sets::sunion, "Says what any set has"),
        ("sunionstore", -3, GROW, ALL, sets::sunionstore, "Keeps what any set has"),
    ],
);

static TRANSACTIONS: [Command; 5] = group(
    "transactions",
    behind(&SET),
    [
        ("discard", 1, NOW, NONE, transactions::discard, "Forgets a transaction"),
        ("exec", 1, NOW, NONE, transactions::exec, "Carries out a transaction"),
        ("multi", 1, NOW, NONE, transactions::multi, "Begins a transaction"),
        ("unwatch", 1, PLAIN, NONE, transactions::unwatch, "Watches no keys any more"),
        ("watch", -2, NOW, ALL, transactions::watch, "Has a transaction fail if keys change"),
    ],
);

static PUBSUB: [Command; 9] = group(
    "pubsub",
    behind(&TRANSACTIONS),
    [
        ("psubscribe", -2, LISTEN, NONE, pubsub::psubscribe, "Listens to channels by patterns"),
        ("publish", 3, HEARD, NONE, pubsub::publish, "Sends a message to a channel"),
        ("pubsub", -2, CONTAINER, NONE, container, "Says who listens to what"),
        ("pubsub|channels", -2, HEARD, NONE, pubsub::channels, "Says what channels there are"),
        ("pubsub|numpat", 2, HEARD, NONE, pubsub::numpat, "Counts patterns"),
        ("pubsub|numsub", -2, HEARD, NONE, pubsub::numsub, "Counts who listens to channels"),
        ("punsubscribe", -1, LISTEN, NONE, pubsub::punsubscribe, "Listens to patterns no more"),
        ("subscribe", -2, LISTEN, NONE, pubsub::subscribe, "Listens to channels"),
        ("unsubscribe", -1, LISTEN, NONE, pubsub::unsubscribe, "Listens to channels no more"),
    ],
);

static CONNECTION: [Command; 17] = group(
    "connection",
    behind(&PUBSUB),
    [
        ("auth", -2, NO_AUTH, NONE, connection::auth, "Gives the password"),
        ("client", -2, CONTAINER, NONE, container, "Says and does things about clients"),
        (
            "client|getname",
            2,
            PLAIN,
            NONE,
            connection::client_getname,
            "Says the name of this client",
        ),
        ("client|id", 2, PLAIN, NONE, connection::client_id, "Says the number of this client"),
        (
            "client|info",
            2,
            PLAIN,
            NONE,
            connection::client_info,
            "Says what is known of this client",
        ),
        ("client|kill", -3, ADMIN, NONE, connection::client_kill, "Closes clients"),
        ("client|list", -2, ADMIN, NONE, connection::client_list, "Says what is known of clients"),
        (
            "client|no-evict",
            3,
            ADMIN,
            NONE,
            connection::client_no_evict,
            "Says whether the client is spared when memory is full",
        ),
        (
            "client|reply",
            3,
            PLAIN,
            NONE,
            connection::client_reply,
            "Says whether replies are wanted",
        ),
        ("client|setname", 3, PLAIN, NONE, connection::client_setname, "Gives this client a name"),
        ("client|unblock", -3, ADMIN, NONE, connection::client_unblock, "Ends a client's wait"),
        ("echo", 2, PLAIN, NONE, connection::echo, "Says what it is told"),
        ("hello", -1, NO_AUTH, NONE, connection::hello, "Agrees on a version of the protocol"),
        (
            "ping",
            -1,
            PLAIN.and(SUBSCRIBED),
            NONE,
            connection::ping,
            "Says that the server is there",
        ),
        ("quit", -1, LAST, NONE, connection::quit, "Ends the connection"),
        ("reset", 1, LAST, NONE, connection::reset, "Forgets all about the connection"),
        ("select", 2, PLAIN, NONE, connection::select, "Chooses a database"),
    ],
);

static SERVER: [Command; 20] = group(
    "server",
    behind(&CONNECTION),
    [
        ("command", -1, CONTAINER, NONE, server::command, "Says all about commands"),
        ("command|count", 2, PLAIN, NONE, server::command_count, "Counts commands"),
        ("command|docs", -2, PLAIN, NONE, server::command_docs, "Says what commands do"),
        ("command|getkeys", -4, PLAIN, NONE, server::command_getkeys, "Says which parts are keys"),
        ("command|info", -2, PLAIN, NONE, server::command_info, "Says how commands are called"),
        ("command|list", -2, PLAIN, NONE, server::command_list, "Says the names of commands"),
        ("config", -2, CONTAINER, NONE, container, "Says and changes settings"),
        ("config|get", -3, ADMIN, NONE, server::config_get, "Says settings"),
        ("config|resetstat", 2, ADMIN, NONE, server::config_resetstat, "Counts from 0 again"),
        ("config|set", -4, ADMIN, NONE, server::config_set, "Changes settings"),
        ("dbsize", 1, READ, NONE, server::dbsize, "Counts keys"),
        ("debug", -2, CONTAINER.and(ADMIN), NONE, container, "Does what tests need"),
        ("debug|sleep", 3, ADMIN, NONE, server::debug_sleep, "Stops the server for a while"),
        ("flushall", -1, WRITE, NONE, server::flushall, "Removes all keys of all databases"),
        ("flushdb", -1, WRITE, NONE, server::flushdb, "Removes all keys of the database"),
        ("info", -1, PLAIN, NONE, info::info, "Says how the server is"),
        ("memory", -2, CONTAINER, NONE, container, "Says what takes memory"),
        ("memory|usage", -3, READ, SECOND, keys::memory_usage, "Says what a key takes"),
        ("swapdb", 3, WRITE, NONE, server::swapdb, "Exchanges the keys of two databases"),
        ("time", 1, PLAIN, NONE, server::time, "Says what time it is"),
    ],
);

static SCRIPTING: [Command; 2] = group(
    "scripting",
    behind(&SERVER),
    [
        ("function", -2, CONTAINER, NONE, container, "Does things about functions"),
        ("function|flush", -2, WRITE, NONE, server::function_flush, "Removes all functions"),
    ],
);
