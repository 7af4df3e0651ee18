//! The results of a load: counters, and the report as text.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that the histogram distinguishes, in microseconds: one hour.
const LATENCY_MAX: u64 = 3_600_000_000;
/// The maximum number of values that are recorded for one slot of the load that was stuck.
const PARTS_MAX: u32 = 100;
/// If this program used a processor for a larger share of the time than this, the report warns.
const BUSY_MAX: f64 = 0.9;
/// If this program waited for a processor for a larger share of the time than this, the report
/// warns.
const STARVED_MAX: f64 = 0.05;

/// The results of a load.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of messages that were answered within the time measured and verified.
    pub messages: u64,
    /// The number of bytes of these messages in one direction.
    pub bytes: u64,
    /// The number of messages that were sent within that time, answered after it, and verified.
    pub late: u64,
    /// The number of messages without a correct reply: the reply never came or was wrong, or the
    /// connection failed before.
    pub unanswered: u64,
    /// The longest waiting time among these messages.
    pub unanswered_age_max: Duration,
    /// The duration of the measurement.
    pub elapsed: Duration,
    /// The time from sending a message to its complete reply, in microseconds. The clock is the
    /// loop's, which is read once a turn. A message that was not answered within the time counts
    /// with its waiting time. It counts several times: once for each message that its slot of the
    /// load could have carried meanwhile. Otherwise a server that stops would have better figures
    /// than a slow one (coordinated omission).
    pub latency: Histogram<u64>,
    /// The number of connections that were open when measuring began.
    pub connected: usize,
    /// The number of connections that failed or were lost.
    pub errors: u64,
    /// The reason of the first of these errors.
    pub first_error: Option<String>,
    /// The share of the time for which this program ran on a processor, from 0 to 1.
    pub busy: f64,
    /// The share of the time for which this program was ready to run and waited for a processor,
    /// from 0 to 1.
    pub starved: f64,
    /// The sum of all latencies within the time measured.
    total: Duration,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            messages: 0,
            bytes: 0,
            late: 0,
            unanswered: 0,
            unanswered_age_max: Duration::ZERO,
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_max(LATENCY_MAX, 3).expect("the bounds make sense"),
            connected: 0,
            errors: 0,
            first_error: None,
            busy: 0.0,
            starved: 0.0,
            total: Duration::ZERO,
        }
    }

    /// Returns whether at least one message was sent and every message got a correct reply.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.unanswered == 0 && self.messages + self.late > 0
    }

    /// Counts a connection that failed.
    pub(super) fn fail(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// Counts a correct reply within the time measured.
    pub(super) fn record(&mut self, latency: Duration, size: u64) {
        self.messages += 1;
        self.bytes += size;
        self.total += latency;
        self.latency.saturating_record(microseconds(latency));
    }

    /// Counts a correct reply that came after the time measured.
    pub(super) fn record_late(&mut self, latency: Duration) {
        self.late += 1;
        self.record_stuck(latency);
    }

    /// Counts a message without a correct reply, `age` after it was sent.
    pub(super) fn record_unanswered(&mut self, age: Duration) {
        self.unanswered += 1;
        self.unanswered_age_max = self.unanswered_age_max.max(age);
        self.record_stuck(age);
    }

    /// Records that one message occupied its slot of the load for `held`. If the slot had been
    /// free, a message would have been sent in it after each usual latency. Each of them would have
    /// waited until the same moment.
    fn record_stuck(&mut self, held: Duration) {
        let held = microseconds(held);
        // Without any reply, the usual latency is unknown.
        let missed = match self.messages {
            0 => 1,
            count => (held / (self.total.as_micros() as u64 / count).max(1)).max(1),
        };
        let parts = missed.min(u64::from(PARTS_MAX));
        for part in 0..parts {
            let age = held - held * part / parts;
            self.latency.saturating_record_n(age, missed / parts);
        }
    }
}

/// Converts to microseconds. Returns at least 1, so that no part of it is zero.
fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let rate = self.messages as f64 / seconds;
        let megabytes = self.bytes as f64 / seconds / 1e6;
        writeln!(f, "connections  {}", self.connected)?;
        write!(f, "messages     {} in {seconds:.2} s", self.messages)?;
        if self.late > 0 {
            write!(f, " and {} after it", self.late)?;
        }
        let verdict = if self.is_clean() { ", every byte verified" } else { " answered correctly" };
        writeln!(f, "{verdict}")?;
        writeln!(f, "throughput   {rate:.0} messages/s, {megabytes:.1} MB/s each way")?;
        write!(f, "latency      ")?;
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            write!(f, "{name} {} us, ", self.latency.value_at_quantile(quantile))?;
        }
        writeln!(f, "max {} us", self.latency.max())?;
        write!(f, "unanswered   {}", self.unanswered)?;
        if self.unanswered > 0 {
            let age = self.unanswered_age_max.as_secs_f64();
            write!(f, ", the oldest for {age:.2} s; the latencies include their waiting time")?;
        }
        write!(f, "\nerrors       {}", self.errors)?;
        if let Some(error) = &self.first_error {
            write!(f, ", the first: {error}")?;
        }
        if !self.is_clean() {
            write!(f, "\nFAILED       {}", self.why_not_clean())?;
        }
        self.warn(f)
    }
}

impl Report {
    fn why_not_clean(&self) -> &'static str {
        match (self.errors, self.unanswered) {
            (0, 0) => "no message was answered",
            (0, _) => "replies are missing",
            _ => "connections failed, or a reply was wrong",
        }
    }

    /// Warns if the figures describe this program rather than the server.
    fn warn(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| share * 100.0;
        if self.busy > BUSY_MAX {
            let busy = percent(self.busy);
            write!(f, "\nwarning      this load generator was busy for {busy:.0} % of the ")?;
            write!(f, "time: the server may be able to do more")?;
        }
        if self.starved > STARVED_MAX {
            let starved = percent(self.starved);
            write!(
                f,
                "\nwarning      this load generator waited for a processor for {starved:.0} "
            )?;
            write!(f, "% of the time: the latencies include that, and the server may be able to ")?;
            write!(f, "do more")?;
        }
        Ok(())
    }
}

/// The times that the scheduler has counted for this thread so far (`proc(5)`, schedstat).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Processor {
    /// The time for which the thread ran.
    pub(super) ran: Duration,
    /// The time for which the thread was ready to run and waited for a processor.
    pub(super) waited: Duration,
}

impl Processor {
    /// Returns the times until now. They are zero if the kernel does not count them.
    pub(super) fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap_or(0));
        let mut next = || Duration::from_nanos(numbers.next().unwrap_or(0));
        Self { ran: next(), waited: next() }
    }

    /// Returns the times since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// A report of a thousand messages with a latency of a millisecond.
    fn healthy() -> Report {
        let mut report = Report::new();
        (0..1000).for_each(|_| report.record(MILLISECOND, 64));
        report
    }

    #[test]
    fn only_a_clean_report_claims_that_every_byte_was_verified() {
        let success = "every byte verified";
        assert!(healthy().is_clean() && healthy().to_string().contains(success));
        let spoilt: [fn(&mut Report); 2] = [
            |report| report.fail("it was lost".to_owned()),
            |report| report.record_unanswered(MILLISECOND),
        ];
        for spoil in spoilt {
            let mut report = healthy();
            spoil(&mut report);
            let said = report.to_string();
            assert!(!report.is_clean() && !said.contains(success), "{said}");
            assert!(said.contains("\nFAILED "), "{said}");
        }
        let said = Report::new().to_string();
        assert!(!said.contains(success) && said.contains("no message was answered"), "{said}");
    }

    #[test]
    fn a_stuck_slot_counts_once_for_each_message_it_could_have_carried() {
        let mut report = healthy();
        // As long as the whole measurement: half of the values are slow now.
        report.record_unanswered(1000 * MILLISECOND);
        assert_eq!((report.unanswered, report.latency.len()), (1, 2000));
        let median_of_the_stuck = report.latency.value_at_quantile(0.75);
        assert!((480_000..520_000).contains(&median_of_the_stuck), "{median_of_the_stuck}");
        assert!(report.latency.max() >= 1_000_000);
        assert!(report.to_string().contains("unanswered   1, the oldest for 1.00 s"), "{report}");
    }

    #[test]
    fn a_late_reply_of_the_usual_latency_counts_once() {
        let mut report = healthy();
        report.record_late(MILLISECOND);
        assert_eq!((report.late, report.latency.len()), (1, 1001));
        assert!(report.to_string().contains("1000 in 0.00 s and 1 after it, every"), "{report}");
    }

    #[test]
    fn an_unanswered_message_counts_once_if_nothing_was_answered() {
        let mut report = Report::new();
        report.record_unanswered(5 * MILLISECOND);
        assert_eq!((report.latency.len(), report.latency.max()), (1, 5003));
    }

    #[test]
    fn waiting_for_a_processor_and_using_one_are_reported_separately() {
        let before = Processor::parse("5000000 1000000 7\n");
        let used = Processor::parse("6000000 901000000 9\n").since(before);
        assert_eq!((used.ran, used.waited), (MILLISECOND, 900 * MILLISECOND));
        assert_eq!(Processor::parse("").ran, Duration::ZERO);
        let mut report = healthy();
        assert!(!report.to_string().contains("warning"), "{report}");
        report.starved = 0.9;
        assert!(report.to_string().contains("waited for a processor for 90 %"), "{report}");
        report.busy = 0.95;
        assert!(report.to_string().contains("busy for 95 %"), "{report}");
    }
}
