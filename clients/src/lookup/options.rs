//! How questions are asked and answers are shown, and the options of `dig` that say so.

use std::time::Duration;

/// The longest time that one attempt may wait.
const TIMEOUT_MAX: u64 = 3600;
/// The largest number of attempts.
const TRIES_MAX: u32 = 100;

/// How questions are asked, and how answers are shown. The defaults are those of `dig` 9.18.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// What carries the first attempt.
    pub(super) transport: Transport,
    /// RD: the server is to ask others.
    pub(super) recursion_desired: bool,
    /// AD: the answer should say whether it was verified (RFC 6840 section 5.7).
    pub(super) authentic_data: bool,
    /// CD: the server need not verify the answer.
    pub(super) checking_disabled: bool,
    /// DO: records of DNSSEC are wanted.
    pub(super) dnssec_ok: bool,
    /// The largest datagram that the server may send, in bytes; `None` sends no OPT record (RFC 6891).
    pub(super) edns_size: Option<u16>,
    /// Whether the server is asked for its name (RFC 5001).
    pub(super) name_server_id: bool,
    /// Whether a cookie is sent, which has to be the same in the answer (RFC 7873).
    pub(super) cookie: bool,
    /// Whether the case of each letter of the name is random, and has to be the same in the answer.
    pub(super) random_case: bool,
    /// What follows an answer that says it was truncated.
    pub(super) truncated: Truncated,
    /// How long each attempt waits.
    pub(super) timeout: Duration,
    /// How many times each server is asked at most.
    pub(super) tries: u32,
    /// The form of an answer.
    pub(super) form: Form,
    /// What of an answer is shown in [`Form::Full`].
    pub(super) shown: Shown,
}

/// What carries a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    /// A datagram.
    Udp,
    /// A connection.
    Tcp,
}

/// What follows a truncated answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truncated {
    /// The question is asked again over TCP.
    AskOverTcp,
    /// The answer is shown as it is.
    Show,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The form of `dig`.
    Full,
    /// The data of the records of the answer, one a line.
    Short,
    /// One line for each question.
    Line,
    /// A JSON object on a line for each question.
    Json,
}

/// What of an answer is shown in the form of `dig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The line with the name of the tool and its arguments.
    pub(super) command: bool,
    /// The header, the OPT record and the titles of sections.
    pub(super) comments: bool,
    /// The question.
    pub(super) question: bool,
    /// The section with the answer.
    pub(super) answer: bool,
    /// The section about responsible servers.
    pub(super) authority: bool,
    /// The section of further records.
    pub(super) additional: bool,
    /// The time, the server and the size.
    pub(super) statistics: bool,
}

impl Shown {
    /// Everything, or nothing.
    pub(super) const fn all(is_shown: bool) -> Self {
        Self {
            command: is_shown,
            comments: is_shown,
            question: is_shown,
            answer: is_shown,
            authority: is_shown,
            additional: is_shown,
            statistics: is_shown,
        }
    }
}

impl Options {
    /// The defaults.
    pub(super) const DEFAULT: Self = Self {
        transport: Transport::Udp,
        recursion_desired: true,
        authentic_data: true,
        checking_disabled: false,
        dnssec_ok: false,
        // DNS Flag Day 2020: it passes through every usual network without fragments.
        edns_size: Some(1232),
        name_server_id: false,
        cookie: true,
        random_case: false,
        truncated: Truncated::AskOverTcp,
        timeout: Duration::from_secs(5),
        tries: 3,
        form: Form::Full,
        shown: Shown::all(true),
    };

    /// Follows an option as `dig` writes it, without its plus sign, such as `tcp`, `norec` or
    /// `bufsize=4096`.
    ///
    /// # Errors
    /// When there is no such option, or its value is missing or wrong.
    pub(super) fn set(&mut self, text: &str) -> Result<(), String> {
        if let Some((name, value)) = text.split_once('=') {
            return self.set_value(name, value);
        }
        if matches!(text, "bufsize" | "timeout" | "time" | "tries" | "retry") {
            return Err(format!("+{text} needs a value, as +{text}=2"));
        }
        let (name, is_on) = match text.strip_prefix("no") {
            Some(rest) => (rest, false),
            None => (text, true),
        };
        match name {
            "tcp" | "vc" => self.transport = if is_on { Transport::Tcp } else { Transport::Udp },
            "rec" | "recurse" | "rdflag" => self.recursion_desired = is_on,
            "ad" | "adflag" => self.authentic_data = is_on,
            "cd" | "cdflag" => self.checking_disabled = is_on,
            "dnssec" | "do" => {
                self.dnssec_ok = is_on;
                self.need_edns(is_on);
            }
            "edns" => self.edns_size = is_on.then_some(self.edns_size.unwrap_or(1232)),
            "nsid" => {
                self.name_server_id = is_on;
                self.need_edns(is_on);
            }
            "cookie" => {
                self.cookie = is_on;
                self.need_edns(is_on);
            }
            "0x20" => self.random_case = is_on,
            "ignore" if is_on => self.truncated = Truncated::Show,
            "ignore" => self.truncated = Truncated::AskOverTcp,
            "short" => self.form = if is_on { Form::Short } else { Form::Full },
            "cmd" => self.shown.command = is_on,
            "comments" => self.shown.comments = is_on,
            "question" => self.shown.question = is_on,
            "answer" => self.shown.answer = is_on,
            "authority" => self.shown.authority = is_on,
            "additional" => self.shown.additional = is_on,
            "stats" => self.shown.statistics = is_on,
            "all" => self.shown = Shown::all(is_on),
            _ => return Err(format!("there is no option +{text}: see --help")),
        }
        Ok(())
    }

    fn set_value(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |max: u64| {
            let number = value.parse().ok().filter(|number| (1..=max).contains(number));
            number.ok_or_else(|| format!("+{name}={value}: expected a number from 1 to {max}"))
        };
        match name {
            "bufsize" => self.edns_size = Some(number(u16::MAX.into())? as u16),
            "timeout" | "time" => self.timeout = Duration::from_secs(number(TIMEOUT_MAX)?),
            "tries" => self.tries = number(TRIES_MAX.into())? as u32,
            // The attempts after the first one.
            "retry" if value == "0" => self.tries = 1,
            "retry" => self.tries = number(u64::from(TRIES_MAX) - 1)? as u32 + 1,
            "edns" if value == "0" => self.need_edns(true),
            "edns" => return Err(format!("+edns={value}: lookup speaks version 0 only")),
            _ => return Err(format!("there is no option +{name}=: see --help")),
        }
        Ok(())
    }

    /// What an OPT record carries needs one.
    fn need_edns(&mut self, is_needed: bool) {
        if is_needed && self.edns_size.is_none() {
            self.edns_size = Self::DEFAULT.edns_size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(words: &[&str]) -> Options {
        let mut options = Options::DEFAULT;
        words.iter().for_each(|word| options.set(word).expect(word));
        options
    }

    #[test]
    fn options_have_the_meaning_that_dig_gives_them() {
        let options = with(&["tcp", "norec", "bufsize=4096", "dnssec", "cd", "noad", "timeout=1"]);
        assert_eq!(options.transport, Transport::Tcp);
        assert!(!options.recursion_desired && options.dnssec_ok && options.checking_disabled);
        assert!(!options.authentic_data);
        assert_eq!((options.edns_size, options.timeout.as_secs()), (Some(4096), 1));
        assert_eq!(with(&["noedns"]).edns_size, None);
        assert_eq!(with(&["noedns", "dnssec"]).edns_size, Some(1232));
        assert!(!with(&["nocookie"]).cookie);
        assert_eq!(with(&["noedns", "cookie"]).edns_size, Some(1232));
        assert_eq!((with(&["tries=1"]).tries, with(&["retry=0"]).tries), (1, 1));
        assert_eq!(with(&["noall", "answer"]).shown, Shown { answer: true, ..Shown::all(false) });
        assert_eq!(with(&["tcp", "notcp", "short", "noshort"]), Options::DEFAULT);
    }

    #[test]
    fn wrong_options_are_named() {
        for (text, part) in [
            ("frobnicate", "no option +frobnicate"),
            ("nofrobnicate", "no option +nofrobnicate"),
            ("bufsize=0", "from 1 to 65535"),
            ("bufsize=65536", "from 1 to 65535"),
            ("timeout=", "from 1 to 3600"),
            ("tries", "needs a value"),
            ("edns=1", "version 0"),
            ("x=1", "no option +x="),
        ] {
            let mut options = Options::DEFAULT;
            let error = options.set(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }
}
