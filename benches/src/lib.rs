//! The comparison of the reactor with other loops, side by side: see the `compare` program. And of
//! `kv` with Redis: see `against_redis`.
//!
//! - `loops` holds one file for each loop written in Rust, `c/` one for each written in C: each
//!   does the same works as its own users would write them, and can be read by itself.
//! - `subject` is the table of them: what each does and how it is run. `process` starts one in a process
//!   of its own, `load` is the client that loads it.
//! - `kinds` is the table of works: all that differs from one to another. `work` says what stands in it.
//! - `benchmark` is the client of `kv` and Redis, which is `redis-benchmark`; `neighbour` takes half of
//!   the server's core.
//! - `plan` says what is measured, `run` does it in alternating rounds, each as `drive` measures it;
//!   `report` and `plots` tell, `record` puts it into the book. `program` is what both programs have in common.
//!
//! The criterion benches are in `benches/`: `cargo bench -p myevent-benches`.

#![forbid(unsafe_code)]

pub mod benchmark;
pub mod calls;
pub mod drive;
pub mod kinds;
pub mod load;
pub mod loops;
pub mod machine;
pub mod measure;
pub mod neighbour;
pub mod net;
pub mod plan;
pub mod plots;
pub mod process;
pub mod program;
pub mod record;
pub mod report;
pub mod run;
pub mod scene;
pub mod subject;
pub mod timing;
pub mod work;
