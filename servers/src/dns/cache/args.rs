//! The arguments for the cache.

use std::time::Duration;

use clap::Args;

use super::CacheOptions;
use crate::args::parse_duration;
use crate::kv::parse_size;

/// How long a stale answer may be used at most: more than the three days that RFC 8767 section 5 has as
/// the longest time in use.
const STALE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// The arguments for the cache.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cache")]
pub struct CacheArgs {
    /// Memory for answers of upstreams, such as 16mb; with several threads, of each. 0 keeps none
    #[arg(long, value_name = "BYTES", default_value = "16mb", value_parser = parse_cache_size)]
    pub(in crate::dns) cache_size: usize,

    /// For how many seconds an answer is kept at most: 1 to 604800, a week
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400,
          value_parser = clap::value_parser!(u32).range(1..=604_800))]
    pub(in crate::dns) cache_ttl_max: u32,

    /// For how many seconds it is known at most that there is no such name or no such record (RFC
    /// 2308), up to 10800; 0 keeps no such answer
    #[arg(long, value_name = "SECONDS", default_value_t = 3600,
          value_parser = clap::value_parser!(u32).range(0..=10_800))]
    pub(in crate::dns) cache_negative_ttl_max: u32,

    /// For how many seconds a question that no upstream could answer is not asked again at most: one after
    /// the first failure, then twice as many each time (RFC 9520), until an answer comes or an upstream
    /// that was down is back, up to 300; 0 asks again at once. 4096 such questions are known
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(0..=300))]
    cache_failure_ttl_max: u16,

    /// For how long after its end an answer is used if no upstream answers, such as 1d, at most 7d (RFC
    /// 8767). Without it, the client is told SERVFAIL
    #[arg(long, value_name = "TIME", value_parser = parse_stale)]
    pub(in crate::dns) serve_stale: Option<Duration>,
}

impl CacheArgs {
    /// Returns for how long a failure is kept at most.
    pub(in crate::dns) fn failure_kept_max(&self) -> Duration {
        Duration::from_secs(self.cache_failure_ttl_max.into())
    }

    /// Returns the limits of the cache.
    pub(in crate::dns) fn options(&self) -> CacheOptions {
        CacheOptions {
            size_max: self.cache_size,
            ttl_max: self.cache_ttl_max,
            negative_ttl_max: self.cache_negative_ttl_max,
            stale: self.serve_stale,
        }
    }
}

fn parse_cache_size(text: &str) -> Result<usize, String> {
    if text == "0" {
        return Ok(0);
    }
    let size = parse_size(text).map_err(|error| format!("{error}, or 0"))?;
    usize::try_from(size).map_err(|_| "expected less memory".to_owned())
}

fn parse_stale(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        time if time > STALE_MAX => Err("expected 7d at most".to_owned()),
        time => Ok(time),
    }
}
