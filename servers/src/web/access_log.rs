//! The lines of the access log.

use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;

use super::stamp::Stamp;

/// The form of the lines of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Common log format: peer, time, request, status, bytes.
    Common,
    /// Common log format, followed by the fields Referer and User-Agent.
    Combined,
    /// One JSON object a line.
    Json,
}

/// What a line says. Text is as the client has sent it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record<'a> {
    pub(crate) peer: String,
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) version: &'a str,
    pub(crate) host: &'a str,
    pub(crate) status: u16,
    /// Bytes of the body that were appended to the output.
    pub(crate) bytes: u64,
    pub(crate) referer: &'a [u8],
    pub(crate) agent: &'a [u8],
    /// From the head of the request to the end of the answer.
    pub(crate) took: Duration,
}

impl LogFormat {
    /// Appends a line, with its end.
    pub(crate) fn write(self, record: &Record<'_>, time: &Stamp, to: &mut String) {
        match self {
            Self::Json => write_json(record, time, to),
            Self::Common | Self::Combined => {
                quote(if record.peer.is_empty() { b"-" } else { record.peer.as_bytes() }, to);
                to.push_str(" - - [");
                time.write_common(to);
                to.push_str("] \"");
                quote(record.method.as_bytes(), to);
                to.push(' ');
                quote(record.target.as_bytes(), to);
                to.push(' ');
                quote(record.version.as_bytes(), to);
                // Writing to a string cannot fail.
                let _ = write!(to, "\" {} {}", record.status, record.bytes);
                if self == Self::Combined {
                    for field in [record.referer, record.agent] {
                        to.push_str(" \"");
                        quote(if field.is_empty() { b"-" } else { field }, to);
                        to.push('"');
                    }
                }
                to.push('\n');
            }
        }
    }
}

/// Appends text as Apache does: quotation marks and backslashes with a backslash, and what is not
/// printable ASCII as `\xHH`. So a client can end neither its field nor its line.
fn quote(text: &[u8], to: &mut String) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => {
                to.push('\\');
                to.push(char::from(byte));
            }
            b' '..=b'~' => to.push(char::from(byte)),
            _ => {
                let _ = write!(to, "\\x{byte:02x}");
            }
        }
    }
}

fn write_json(record: &Record<'_>, time: &Stamp, to: &mut String) {
    to.push_str("{\"time\":\"");
    time.write_rfc3339(to);
    to.push('"');
    for (name, value) in [
        ("peer", record.peer.as_bytes()),
        ("method", record.method.as_bytes()),
        ("target", record.target.as_bytes()),
        ("version", record.version.as_bytes()),
        ("host", record.host.as_bytes()),
        ("referer", record.referer),
        ("agent", record.agent),
    ] {
        let _ = write!(to, ",\"{name}\":");
        quote_json(value, to);
    }
    let (status, bytes) = (record.status, record.bytes);
    let took = record.took.as_micros();
    let _ = writeln!(to, ",\"status\":{status},\"bytes\":{bytes},\"microseconds\":{took}}}");
}

/// Appends a JSON string (RFC 8259, section 7). What is not UTF-8 is replaced.
fn quote_json(text: &[u8], to: &mut String) {
    to.push('"');
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' | '\\' => {
                to.push('\\');
                to.push(character);
            }
            // Some readers of lines take these for the end of one.
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(to, "\\u{:04x}", u32::from(character));
            }
            _ => to.push(character),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp::new(784_111_777)
    }

    fn record() -> Record<'static> {
        Record {
            peer: "192.0.2.7".to_owned(),
            method: "GET",
            target: "/a?b=\"c\"",
            version: "HTTP/1.1",
            host: "www.example",
            status: 200,
            bytes: 42,
            referer: b"",
            agent: b"x\\y\r\n\xff\"",
            took: Duration::from_micros(1500),
        }
    }

    fn line(format: LogFormat, record: &Record<'_>) -> String {
        let mut line = String::new();
        format.write(record, &stamp(), &mut line);
        line
    }

    #[test]
    fn each_format_is_as_its_readers_expect() {
        let common = "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \
                      \"GET /a?b=\\\"c\\\" HTTP/1.1\" 200 42";
        assert_eq!(line(LogFormat::Common, &record()), format!("{common}\n"));
        assert_eq!(
            line(LogFormat::Combined, &record()),
            format!("{common} \"-\" \"x\\\\y\\x0d\\x0a\\xff\\\"\"\n")
        );
        assert_eq!(
            line(LogFormat::Json, &record()),
            "{\"time\":\"1994-11-06T08:49:37Z\",\"peer\":\"192.0.2.7\",\"method\":\"GET\",\
             \"target\":\"/a?b=\\\"c\\\"\",\"version\":\"HTTP/1.1\",\"host\":\"www.example\",\
             \"referer\":\"\",\"agent\":\"x\\\\y\\u000d\\u000a\u{fffd}\\\"\",\
             \"status\":200,\"bytes\":42,\"microseconds\":1500}\n"
        );
    }

    #[test]
    fn no_byte_of_a_client_ends_a_line_or_leaves_its_quotation_marks() {
        for byte in 0..=u8::MAX {
            let agent = [byte, b'z'];
            let record = Record { agent: &agent, peer: String::new(), ..record() };
            for format in [LogFormat::Combined, LogFormat::Json] {
                let line = line(format, &record);
                assert_eq!(line.matches('\n').count(), 1, "{byte}");
                assert!(line.ends_with('\n') && line.bytes().all(|it| it >= b' ' || it == b'\n'));
            }
            let line = line(LogFormat::Combined, &record);
            let plain = line.replace("\\\\", "").replace("\\\"", "");
            assert_eq!(plain.matches('"').count(), 6, "{line}");
        }
    }
}
