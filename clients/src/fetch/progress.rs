//! The progress of the transfers, on a terminal.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How many columns a bar takes.
const BAR: usize = 24;
/// The most lines of transfers that are shown.
const LINES_MAX: usize = 16;

/// The progress of one transfer.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) name: String,
    /// How many bytes there were before.
    pub(crate) from: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// How many bytes there will be, if that is known.
    pub(crate) total: Option<u64>,
    pub(crate) begun: Instant,
}

/// What is shown.
#[derive(Default)]
pub(crate) struct Board {
    /// How many lines were drawn last.
    drawn: usize,
}

impl Board {
    /// Draws the transfers in place of what was drawn before.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in lines.iter().take(LINES_MAX) {
            let _ = writeln!(text, "\r\x1b[K{line}");
        }
        text.push_str("\r\x1b[J");
        self.drawn = lines.len().min(LINES_MAX);
        // Progress is not part of the result.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Removes what was drawn, so that something else can be printed.
    pub(crate) fn clear(&mut self) {
        if self.drawn > 0 {
            self.draw(&[]);
        }
    }
}

impl Progress {
    /// Returns the line of the transfer.
    pub(crate) fn line(&self, now: Instant) -> String {
        let took = now.saturating_duration_since(self.begun);
        let moved = self.received.max(self.sent);
        let speed = speed(moved, took);
        let there = self.from + moved;
        let name = shortened(&self.name, 24);
        match self.total.filter(|total| *total > 0) {
            None => format!("{name} {:>9}  {:>9}/s", size(there), size(speed)),
            Some(total) => {
                let part = (there.min(total) * 1000 / total) as usize;
                let filled = BAR * part / 1000;
                let bar: String = (0..BAR).map(|it| if it < filled { '#' } else { '.' }).collect();
                let left = total.saturating_sub(there).checked_div(speed);
                let left = left.map(|it| clock(Duration::from_secs(it))).unwrap_or_default();
                format!(
                    "{name} {:>3}% [{bar}] {:>9} of {:>9}  {:>9}/s  {left}",
                    part / 10,
                    size(there),
                    size(total),
                    size(speed),
                )
            }
        }
    }
}

/// Returns the bytes a second.
pub(crate) fn speed(bytes: u64, took: Duration) -> u64 {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

/// Returns a number of bytes as people read it: `999 B`, `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// Returns a time as a clock shows it: `7 s`, `3:05`, `2:00:01`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// Returns a name with so many columns: the end of a long one is left out.
fn shortened(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return format!("{name:<width$}");
    }
    let kept: String = name.chars().take(width - 3).collect();
    format!("{kept}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_how_far_a_transfer_is() {
        let begun = Instant::now();
        let mut progress = Progress {
            name: "file.iso".to_owned(),
            from: 0,
            received: 512 * 1024,
            sent: 0,
            total: Some(2 * 1024 * 1024),
            begun,
        };
        let line = progress.line(begun + Duration::from_secs(2));
        let expected = "file.iso                  25% [######..................] 512.0 KiB of   \
                        2.0 MiB  256.0 KiB/s  6 s";
        assert_eq!(line, expected);
        progress.total = None;
        let line = progress.line(begun + Duration::from_secs(2));
        assert_eq!(line, "file.iso                 512.0 KiB  256.0 KiB/s");
        // What was there before is not part of the speed.
        progress = Progress { from: 1024 * 1024, total: Some(1536 * 1024), ..progress };
        assert!(progress.line(begun + Duration::from_secs(2)).contains("100%"));
        assert!(progress.line(begun).contains("100%"), "no time has passed");
    }

    #[test]
    fn numbers_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024, "1.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (185, "3:05"), (7201, "2:00:01")] {
            assert_eq!(clock(Duration::from_secs(seconds)), text);
        }
        assert_eq!(shortened("a very long name of a file.iso", 24), "a very long name of a...");
    }
}
