//! What happened to the questions of a file: counts and latencies.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use protocol::dns::ResponseCode;

/// The longest latency that the histogram distinguishes, in microseconds: one hour and a half, longer than
/// the longest timeout.
const LATENCY_MAX: u64 = 5_400_000_000;
/// The quantiles that are shown.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// No question with its number waits: it is late, doubled, or forged.
    Number,
    /// It is no answer to the question with its number.
    Question,
    /// The case of the letters in its name differs from that of the question.
    Case,
    /// It cannot be read.
    Malformed,
    /// Its cookie is not that of the question.
    Cookie,
}

/// What happened to questions.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Questions that were begun.
    pub(super) asked: u64,
    /// Questions of which no server has answered any attempt.
    pub(super) unanswered: u64,
    /// Messages that were sent.
    pub(super) sent: u64,
    /// Attempts after the first one of a question.
    pub(super) repeated: u64,
    /// Answers that were truncated, and asked for again over TCP.
    pub(super) truncated: u64,
    /// Messages that were dropped: wrong number, wrong question, wrong case, malformed, wrong
    /// cookie.
    pub(super) dropped: [u64; 5],
    /// How many answers have each response code.
    codes: BTreeMap<u16, u64>,
    /// The time from the first attempt of a question to its answer, in microseconds. The clock is the
    /// loop's, which is read once a turn.
    latency: Histogram<u64>,
    pub(super) started: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            asked: 0,
            unanswered: 0,
            sent: 0,
            repeated: 0,
            truncated: 0,
            dropped: [0; 5],
            codes: BTreeMap::new(),
            latency: Histogram::new_with_max(LATENCY_MAX, 3).expect("the bounds make sense"),
            started: None,
            ended: None,
        }
    }

    pub(super) fn count_dropped(&mut self, dropped: Dropped) {
        self.dropped[dropped as usize] += 1;
    }

    pub(super) fn count_answer(&mut self, code: ResponseCode, latency: Duration) {
        *self.codes.entry(code.0).or_default() += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros.max(1));
    }

    /// Returns how many questions were answered.
    pub(super) fn answered(&self) -> u64 {
        self.codes.values().sum()
    }

    /// Returns the time from the first question to the last answer.
    pub(super) fn elapsed(&self) -> Duration {
        match (self.started, self.ended) {
            (Some(started), Some(ended)) => ended - started,
            _ => Duration::ZERO,
        }
    }

    /// Returns it as a JSON object in a line: `asked`, `answered`, `unanswered`, `sent`, `repeated`,
    /// `truncated`; `dropped`, an object with `number`, `question`, `case`, `malformed` and `cookie`;
    /// `codes`, an object with the number of answers of each response code; `elapsed_us`; and `latency_us`, an object
    /// with `p50`, `p90`, `p99`, `p99.9` and `max`.
    pub(super) fn json(&self) -> String {
        let codes =
            self.codes.iter().map(|(code, count)| format!("\"{}\":{count}", ResponseCode(*code)));
        let latencies = QUANTILES
            .map(|(name, at)| format!("\"{name}\":{}", self.latency.value_at_quantile(at)));
        let [number, question, case, malformed, cookie] = self.dropped;
        format!(
            "{{\"asked\":{},\"answered\":{},\"unanswered\":{},\"sent\":{},\"repeated\":{},\"truncated\":{},\
             \"dropped\":{{\"number\":{number},\"question\":{question},\"case\":{case},\
             \"malformed\":{malformed},\"cookie\":{cookie}}},\"codes\":{{{}}},\"elapsed_us\":{},\"latency_us\":{{{},\"max\":{}}}}}",
            self.asked,
            self.answered(),
            self.unanswered,
            self.sent,
            self.repeated,
            self.truncated,
            codes.collect::<Vec<_>>().join(","),
            self.elapsed().as_micros(),
            latencies.join(","),
            self.latency.max(),
        )
    }
}

/// The lines of the summary.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed().as_secs_f64();
        let rate = self.answered() as f64 / seconds.max(1e-6);
        writeln!(f, "questions    {} in {seconds:.2} s, {rate:.0} answers/s", self.asked)?;
        write!(f, "answered     {}", self.answered())?;
        let codes =
            self.codes.iter().map(|(code, count)| format!("{} {count}", ResponseCode(*code)));
        let codes: Vec<String> = codes.collect();
        if !codes.is_empty() {
            write!(f, ": {}", codes.join(", "))?;
        }
        writeln!(f, "\nno reply     {}", self.unanswered)?;
        f.write_str("latency      ")?;
        for (name, at) in QUANTILES {
            write!(f, "{name} {} us, ", self.latency.value_at_quantile(at))?;
        }
        writeln!(f, "max {} us", self.latency.max())?;
        let Self { sent, repeated, truncated, .. } = self;
        writeln!(f, "sent         {sent}, of which repeated {repeated}, truncated {truncated}")?;
        let [number, question, case, malformed, cookie] = self.dropped;
        write!(f, "dropped      {}", self.dropped.iter().sum::<u64>())?;
        if self.dropped != [0; 5] {
            write!(
                f,
                ": wrong number {number}, wrong question {question}, wrong case {case}, malformed \
                 {malformed}, wrong cookie {cookie}"
            )?;
        }
        f.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_all_counts_as_text_and_as_json() {
        let mut tally = Tally::new();
        (tally.asked, tally.unanswered, tally.sent, tally.repeated) = (3, 1, 5, 2);
        tally.count_answer(ResponseCode::NOERROR, Duration::from_micros(500));
        tally.count_answer(ResponseCode::NXDOMAIN, Duration::from_micros(700));
        tally.count_dropped(Dropped::Case);
        let text = tally.to_string();
        for part in [
            "questions    3 in 0.00 s",
            "answered     2: NOERROR 1, NXDOMAIN 1\n",
            "no reply     1\n",
            "p50 500 us",
            "max 700 us",
            "sent         5, of which repeated 2, truncated 0\n",
            "dropped      1: wrong number 0, wrong question 0, wrong case 1, malformed 0, wrong cookie 0\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let json = tally.json();
        for part in [
            "{\"asked\":3,\"answered\":2,\"unanswered\":1,\"sent\":5,",
            "\"case\":1,",
            "\"codes\":{\"NOERROR\":1,\"NXDOMAIN\":1}",
            "\"latency_us\":{\"p50\":500,",
            "\"max\":700}}",
        ] {
            assert!(json.contains(part), "{json}");
        }
    }
}
