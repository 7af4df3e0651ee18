//! The comparison of the reactor with other loops, side by side: see the `compare` program. And of
//! `kv` with Redis: see `against_redis`.
//!
//! - `loops` holds one file for each loop written in Rust, `c/` one for each written in C: each
//!   does the same works as its own users would write them, and can be read by itself.
//! - `subject` runs one of them in a process of its own, `load` is the client that loads it.
//! - `benchmark` is the client of `kv` and Redis, which is `redis-benchmark`; `neighbour` takes half of
//!   the server's core.
//! - `plan` says what is measured, `run` does it in alternating rounds, `report` and `plots` tell,
//!   `record` puts it into the book. `program` is what both programs have in common.
//!
//! The criterion benches are in `benches/`: `cargo bench -p myevent-benches`.

#![forbid(unsafe_code)]

pub mod benchmark;
pub mod calls;
pub mod load;
pub mod loops;
pub mod measure;
pub mod neighbour;
pub mod net;
pub mod plan;
pub mod plots;
pub mod program;
pub mod record;
pub mod report;
pub mod run;
pub mod scene;
pub mod subject;
pub mod timing;
