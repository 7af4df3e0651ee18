//! Compares the reactor with other loops (the program `compare`), and `kv` with Redis (the program
//! `against_redis`). Hunts for faults of the loop and the servers on simulated hosts (the program
//! `storm`).
//!
//! - `loops` has one file for each loop written in Rust, `c/` one for each written in C. Each does
//!   the same works in the style of its users, and can be read alone.
//! - `subject` is the table of the loops: their works and how to run them. `process` starts a
//!   subject in its own process, and `load` is the client. `files` are what servers of files serve.
//! - `kinds` is the table of works: everything that differs between them. `work` defines its
//!   columns.
//! - `computation` is what servers compute for each message if the server is to be the limit.
//!   `benchmark` is the client of `kv` and Redis, which is `redis-benchmark`. `neighbour` occupies
//!   half of the server's core.
//! - `plan` selects the measurements, and `run` executes them in alternating rounds, each with a
//!   function of `drive`. `report` and `plots` present the results, `aims` judges them, and `record`
//!   writes them to the book. `program` has the shared parts of both programs.
//! - `storm` has the scenarios that run on simulated hosts with faults, and judges what clients of
//!   `kv` have seen. `tests/storm_seeds.rs` runs them, and `tests/planted.rs` shows that they find
//!   the mistakes of `reactor::planted`.
//!
//! The criterion benches are in `benches/`: `cargo bench -p myevent-benches`.

#![forbid(unsafe_code)]

pub mod aims;
pub mod benchmark;
pub mod calls;
pub mod computation;
pub mod drive;
pub mod files;
pub mod kinds;
pub mod load;
pub mod loops;
pub mod machine;
pub mod measure;
pub mod neighbour;
pub mod net;
pub mod paired;
pub mod plan;
pub mod plots;
pub mod process;
pub mod program;
pub mod record;
pub mod report;
pub mod run;
pub mod scene;
pub mod storm;
pub mod subject;
pub mod timing;
pub mod work;
