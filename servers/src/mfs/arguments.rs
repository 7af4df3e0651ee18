//! Arguments that several programs have.

use std::time::Duration;

use reactor::Location;

use crate::args::parse_duration;

/// The shortest silence after which a master lets a connection be closed, in seconds.
const TIMEOUT_MIN: u64 = 10;

/// Returns the address of a master.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn parse_location(text: &str) -> Result<Location, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Returns the silence after which either side closes the connection to a master.
///
/// # Errors
/// What is expected.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    let is_possible =
        time.subsec_nanos() == 0 && (TIMEOUT_MIN..=u16::MAX.into()).contains(&time.as_secs());
    is_possible
        .then_some(time)
        .ok_or_else(|| "expected whole seconds from 10s to 65535s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_in_whole_seconds() {
        assert!(parse_timeout("9s").is_err() && parse_timeout("10500ms").is_err());
        assert!(parse_timeout("65536s").is_err());
        assert_eq!(parse_timeout("10s"), Ok(Duration::from_secs(10)));
    }
}
