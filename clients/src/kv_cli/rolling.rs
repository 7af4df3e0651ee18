//! Modes that ask the server repeatedly: latency and counters.

use std::time::{Duration, Instant};

use super::failure::{context, is_reconnectable};
use super::options::{Mode, Settings, integer};
use super::print::Form;
use super::session::{Loudness, Session, Trouble, print_all};
use crate::output::complain;
use crate::resp::Answer;

/// The pause between two measurements of latency.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// The time of measurement for one line of a history.
const HISTORY_INTERVAL: Duration = Duration::from_secs(15);
/// The time of measurement for the only line of an output that is not a terminal.
const SINGLE_INTERVAL: Duration = Duration::from_secs(1);

/// The pause between two lines of counters.
const STAT_INTERVAL: Duration = Duration::from_secs(1);
/// The number of lines below one header.
const LINES_BELOW_HEAD: u64 = 20;

/// The pause between two attempts to connect again.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// Moves the cursor to the left edge and clears the line.
const CLEAR_LINE: &str = "\r\x1b[0K";

/// Sends `command` until there is a reply, and connects again when needed. An error of the server
/// is a reply too: its text is returned.
fn insist(session: &mut Session, command: &str) -> Result<Result<Answer, String>, Trouble> {
    let mut attempts = 0;
    loop {
        while session.connection.as_ref().is_none_or(|connection| connection.is_lost()) {
            attempts += 1;
            print_all(format!("{CLEAR_LINE}Reconnecting... {attempts}\r").as_bytes());
            // The attempt is shown above, and the loop tries again.
            let _ = session.connect(Loudness::Quiet);
            std::thread::sleep(RECONNECT_INTERVAL);
        }
        let Some(connection) = &mut session.connection else { continue };
        let answer = connection.call([command]);
        if attempts > 0 && !connection.is_lost() {
            print_all(CLEAR_LINE.as_bytes());
        }
        match answer {
            Ok(answer) => return Ok(Ok(answer)),
            Err(error) => match error.server() {
                Some(words) => return Ok(Err(String::from_utf8_lossy(words).into_owned())),
                None if is_reconnectable(error.cause()) => {}
                None => {
                    complain(format_args!("Error: {}", context(error.cause())));
                    return Err(Trouble::Exit(1));
                }
            },
        }
    }
}

/// Statistics of the latency of the server, in milliseconds.
#[derive(Default)]
struct Latencies {
    count: u64,
    least: u128,
    most: u128,
    sum: u128,
}

impl Latencies {
    fn add(&mut self, latency: u128) {
        self.least = if self.count == 0 { latency } else { self.least.min(latency) };
        self.most = self.most.max(latency);
        self.sum += latency;
        self.count += 1;
    }

    fn text(&self, form: Form) -> String {
        let Self { count, least, most, sum } = *self;
        let average = sum as f64 / count as f64;
        match form {
            Form::Human => {
                format!("min: {least}, max: {most}, avg: {average:.2} ({count} samples)")
            }
            Form::Csv => format!("{least},{most},{average:.2},{count}\n"),
            Form::Raw => format!("{least} {most} {average:.2} {count}\n"),
            Form::Json | Form::QuotedJson => format!(
                "{{\"min\": {least}, \"max\": {most}, \"avg\": {average:.2}, \"count\": {count}}}\n"
            ),
        }
    }
}

/// Measures and shows the latency of the server: continuously on a terminal, otherwise once. With a
/// history, prints a line for each interval.
pub(super) fn latency(session: &mut Session) -> Result<(), Trouble> {
    let Settings { interval, form, mode, .. } = session.settings;
    let keeps_history = mode == Mode::LatencyHistory;
    let or = |usual| if interval.is_zero() { usual } else { interval };
    let (history, single) = (or(HISTORY_INTERVAL), or(SINGLE_INTERVAL));
    let (mut latencies, mut begun) = (Latencies::default(), Instant::now());
    loop {
        let asked = Instant::now();
        // The latency of an error counts too.
        let _ = insist(session, "PING")?;
        latencies.add(asked.elapsed().as_millis());
        let text = latencies.text(form);
        if form == Form::Human {
            print_all(format!("\x1b[0G\x1b[2K{text}").as_bytes());
        } else if keeps_history {
            print_all(text.as_bytes());
        } else if begun.elapsed() > single {
            print_all(text.as_bytes());
            return Ok(());
        }
        if keeps_history && begun.elapsed() > history {
            let seconds = begun.elapsed().as_secs_f64();
            print_all(format!(" -- {seconds:.2} seconds range\n").as_bytes());
            (latencies, begun) = (Latencies::default(), Instant::now());
        }
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}

/// Prints counters of the server, one line for each interval.
pub(super) fn stat(session: &mut Session) -> Result<(), Trouble> {
    let interval = Some(session.settings.interval).filter(|interval| !interval.is_zero());
    let (mut lines, mut requests) = (0_u64, 0);
    loop {
        let info = match insist(session, "INFO")? {
            Ok(answer) => {
                String::from_utf8_lossy(answer.as_bytes().unwrap_or_default()).into_owned()
            }
            Err(words) => {
                complain(format_args!("ERROR: {words}"));
                return Err(Trouble::Exit(1));
            }
        };
        if lines.is_multiple_of(LINES_BELOW_HEAD) {
            print_all(
                b"------- data ------ --------------------- load -------------------- - child -\n\
                  keys       mem      clients blocked requests            connections          \n",
            );
        }
        lines += 1;
        print_all(line(&info, &mut requests).as_bytes());
        std::thread::sleep(interval.unwrap_or(STAT_INTERVAL));
    }
}

/// Returns the number at the end of the first line of INFO that starts with `start`, if there is
/// one.
fn field(info: &str, start: &str) -> Option<i64> {
    info.lines().find_map(|line| line.strip_prefix(start)).map(integer)
}

/// Returns a line of counters. `requests` is the number of requests at the line before, 0 at first.
fn line(info: &str, requests: &mut i64) -> String {
    let number = |name| field(info, &format!("{name}:")).unwrap_or(0);
    let keys: i64 =
        (0..20).filter_map(|database| field(info, &format!("db{database}:keys="))).sum();
    let total = number("total_commands_processed");
    let new = if *requests == 0 { 0 } else { total - *requests };
    *requests = total;
    let is_on = |name| number(name) > 0;
    let saves = is_on("bgsave_in_progress") || is_on("rdb_bgsave_in_progress");
    let child = match (saves, is_on("aof_rewrite_in_progress"), is_on("loading")) {
        (false, false, false) => "",
        (true, false, false) => "SAVE",
        (false, true, false) => "AOF",
        (true, true, false) => "SAVE+AOF",
        (.., true) => "LOAD",
    };
    format!(
        "{keys:<11}{:<8} {:<8}{:<8}{:<19} {:<12}{child}\n",
        human_size(number("used_memory")),
        number("connected_clients"),
        number("blocked_clients"),
        format!("{total} (+{new})"),
        number("total_connections_received"),
    )
}

/// Formats a number of bytes in the largest unit that is not larger.
fn human_size(bytes: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / *unit as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_in_the_largest_unit() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_600_000, "1.53M"),
            (3 << 30, "3.00G"),
            (5 << 40, "5.00T"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }
}
