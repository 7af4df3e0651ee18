//! Writes a run as a page of the book, with its plots.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// The mark in a page before the part that a program writes. The part above it is written by hand.
const MARK: &str = "<!-- What follows is written by a program. -->\n";

/// A page of the book that a program writes.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The name of its file, which is in the summary of the book.
    pub name: &'static str,
    /// The start of the page: its title, and how to read it. If the page exists already, this
    /// contains only the part that is written by hand.
    pub preface: &'static str,
    /// The plots on the page, with their descriptions.
    pub plots: &'static [(&'static str, &'static str)],
}

/// The page of `compare`.
pub const COMPARISON: Page = Page {
    name: "recorded.md",
    preface: "# A recorded run\n\n[The comparison](../comparison.md) tells how to read this page, \
              which `compare --record` has written.\n",
    plots: &[
        ("dispatch.svg", "Dispatch: the cost of an event against the descriptors watched"),
        ("echo-cpu.svg", "Echo: processor time of a message against connections"),
        ("echo-cpu-depth-16.svg", "Echo, 16 under way: processor time against connections"),
        ("echo-throughput.svg", "Echo: messages a second against connections"),
        ("echo-p99.svg", "Echo: p99 latency against connections"),
        ("models-cpu.svg", "Models: processor time of a message against connections"),
        ("models-throughput.svg", "Models: messages a second against connections"),
        ("models-memory.svg", "Models: memory of a connection against connections"),
    ],
};

/// The page of `against_redis`.
pub const AGAINST_REDIS: Page =
    Page { name: "kv-speed.md", preface: include_str!("../../docs/src/kv-speed.md"), plots: &[] };

/// The highest share of the cores that other processes may have used. Beyond it, the medians are
/// not valid.
pub const OTHERS_MAX: f64 = 0.2;

/// A file of a report: its name and its text.
pub type File = (&'static str, String);

/// Returns the reason if a run should not be recorded.
pub fn refusal(is_complete: bool, others: Option<f64>) -> Option<String> {
    if !is_complete {
        return Some("not everything was measured".to_owned());
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    match others {
        Some(share) if share <= OTHERS_MAX => None,
        Some(share) => {
            let (share, limit) = (percent(share), percent(OTHERS_MAX));
            Some(format!("others had {share} of the cores, and the limit is {limit}"))
        }
        None => Some("the share of the cores that others had is unknown".to_owned()),
    }
}

/// Returns the text of a page: its preface, the head of a report, its tables, its last lines, and
/// its plots.
pub fn text(page: &Page, head: &str, tables: &str, last: &str, plots: &[File]) -> String {
    let mut text = match page.preface.split_once(MARK) {
        Some((by_hand, _)) => format!("{by_hand}{MARK}"),
        None => page.preface.to_owned(),
    };
    let _ = write!(text, "\n```text\n{}\n\n{}\n```\n", head.trim(), last.trim());
    for (name, about) in page.plots.iter().filter(|(name, _)| plots.iter().any(|it| it.0 == *name))
    {
        let _ = write!(text, "\n![{about}]({name})\n");
    }
    for section in tables.split("\n== ").skip(1) {
        let (kind, rest) = section.split_once('\n').unwrap_or((section, ""));
        let _ = write!(text, "\n## {kind}\n\n```text\n{}\n```\n", rest.trim());
    }
    text
}

/// Writes a page and its plots into a folder of the book, and replaces existing ones.
///
/// # Errors
/// Fails if the folder cannot be created or written to.
pub fn write(folder: &Path, page: &Page, text: &str, plots: &[File]) -> io::Result<()> {
    let failed = |error: io::Error| {
        let text = format!("cannot record to {} (--record): {error}", folder.display());
        io::Error::new(error.kind(), text)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, _) in page.plots {
        match plots.iter().find(|it| it.0 == *name) {
            Some((_, svg)) => fs::write(folder.join(name), svg).map_err(failed)?,
            // A plot of an earlier run would not match the new tables.
            None => match fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            },
        }
    }
    fs::write(folder.join(page.name), text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_on_a_busy_machine_is_not_recorded() {
        assert_eq!(refusal(true, Some(0.05)), None);
        let text = refusal(true, Some(0.36)).expect("others had too much");
        assert!(text.contains("36 %") && text.contains("20 %"), "{text}");
        assert!(refusal(true, None).is_some());
        assert!(refusal(false, Some(0.0)).is_some());
    }

    #[test]
    fn the_handwritten_part_of_a_page_stays_and_an_older_run_is_replaced() {
        let before: &'static str = "# Title\n\nBy hand.\n\n<!-- What follows is written by a \
                                    program. -->\n\n```text\nkernel 5\n```\n";
        let page = Page { name: "x.md", preface: before, plots: &[] };
        let text = text(&page, "kernel 6\n", "\n== kind\nraw 1\n", "\n9 s in all\n", &[]);
        assert!(text.starts_with("# Title\n\nBy hand.\n\n<!--"), "{text}");
        assert!(text.contains("kernel 6") && !text.contains("kernel 5"), "{text}");
        assert_eq!(text.matches(MARK).count(), 1, "{text}");
        assert!(AGAINST_REDIS.preface.contains(MARK), "the page of the book has no mark");
    }

    #[test]
    fn a_page_has_the_head_the_tables_and_the_existing_plots() {
        let tables = "\n== echo\nA note.\n\necho, 64 B\n\nraw 1\n\n== churn\nMore.\n\nraw 2\n";
        let plots = [("echo-cpu.svg", "<svg/>".to_owned()), ("unknown.svg", String::new())];
        let page = text(&COMPARISON, "kernel 6\n", tables, "\n9 s in all\n", &plots);
        for expected in [
            "```text\nkernel 6\n\n9 s in all\n```\n",
            "](echo-cpu.svg)\n",
            "\n## echo\n\n```text\nA note.\n\necho, 64 B\n\nraw 1\n```\n",
            "\n## churn\n\n```text\nMore.\n\nraw 2\n```\n",
        ] {
            assert!(page.contains(expected), "no {expected:?} in {page}");
        }
        assert!(!page.contains("dispatch.svg") && !page.contains("unknown.svg"), "{page}");
    }
}
