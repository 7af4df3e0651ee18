//! The page that lists what is in a folder.

use std::fmt::Write;

use super::path::encode;
use super::root::Entry;
use super::stamp::Stamp;

/// The head of a page: with its title in front and behind. No script runs, and nothing is loaded.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;\
                     padding:0 1em;color-scheme:light dark}table{border-collapse:collapse}\
                     td,th{padding:.1em 1em .1em 0;text-align:left;white-space:nowrap}\
                     td:first-child{white-space:normal;word-break:break-word}\
                     td:nth-child(2){text-align:right}";

/// Returns the page of the folder with this path.
pub(crate) fn page(path: &str, entries: &[Entry], has_more: bool) -> String {
    let mut page = String::with_capacity(1024 + entries.len() * 160);
    let title = format!("Index of {path}");
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\"><title>");
    escape(&title, &mut page);
    page.push_str("</title><style>");
    page.push_str(STYLE);
    page.push_str("</style></head>\n<body><h1>");
    escape(&title, &mut page);
    page.push_str("</h1>\n<table><tr><th>Name</th><th>Size</th><th>Changed (UTC)</th></tr>\n");
    if path != "/" {
        page.push_str("<tr><td><a href=\"../\">../</a></td><td></td><td></td></tr>\n");
    }
    for entry in entries {
        row(entry, &mut page);
    }
    page.push_str("</table>\n");
    if has_more {
        page.push_str("<p>The folder has more entries than are shown.</p>\n");
    }
    page.push_str("</body></html>\n");
    page
}

fn row(entry: &Entry, page: &mut String) {
    let slash = if entry.is_folder { "/" } else { "" };
    // The dot keeps a name with a colon from being a scheme.
    page.push_str("<tr><td><a href=\"./");
    encode(entry.name.as_bytes(), page);
    page.push_str(slash);
    page.push_str("\">");
    escape(&entry.name, page);
    page.push_str(slash);
    page.push_str("</a></td><td>");
    if !entry.is_folder {
        size(entry.size, page);
    }
    let changed = Stamp::new(u64::try_from(entry.modified).unwrap_or(0));
    page.push_str("</td><td>");
    changed.write_short(page);
    page.push_str("</td></tr>\n");
}

/// Appends text so that it is text in HTML too, also within quotation marks.
pub(crate) fn escape(text: &str, to: &mut String) {
    for character in text.chars() {
        match character {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            _ => to.push(character),
        }
    }
}

/// Appends a number of bytes in the unit that leaves at most four digits.
fn size(bytes: u64, to: &mut String) {
    let (mut value, mut units) = (bytes as f64, ["B", "KiB", "MiB", "GiB", "TiB"].iter());
    let mut unit = units.next();
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = Some(next);
    }
    let digits = usize::from(bytes >= 1024);
    // Writing to a string cannot fail.
    let _ = write!(to, "{value:.digits$} {}", unit.unwrap_or(&"B"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_in_text_and_in_links() {
        let entry = |name: &str, is_folder| Entry {
            name: name.to_owned(),
            is_folder,
            size: 1536,
            modified: 784_111_777,
        };
        let all = [
            entry("sub folder", true),
            entry("<script>alert(1)</script>", false),
            entry("\"onmouseover=\"x", false),
            entry("javascript:alert(1)", false),
            entry("a&b'c.txt", false),
            entry("100%.txt", false),
        ];
        let page = page("/<b>/", &all, false);
        for part in [
            "<title>Index of /&lt;b&gt;/</title>",
            "<a href=\"../\">",
            "<a href=\"./sub%20folder/\">sub folder/</a></td><td></td>",
            "<a href=\"./%3Cscript%3Ealert%281%29%3C/script%3E\">&lt;script&gt;",
            "<a href=\"./%22onmouseover%3D%22x\">&quot;onmouseover=&quot;x</a>",
            "<a href=\"./javascript%3Aalert%281%29\">",
            "<a href=\"./a%26b%27c.txt\">a&amp;b&#39;c.txt</a>",
            "<a href=\"./100%25.txt\">100%.txt</a>",
            "<td>1.5 KiB</td><td>1994-11-06 08:49</td>",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("more entries"));
        assert!(!super::page("/", &all, true).contains("../"));
        assert!(super::page("/", &all, true).contains("more entries"));
    }

    #[test]
    fn sizes_have_few_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            let mut text = String::new();
            size(bytes, &mut text);
            assert_eq!(text, expected);
        }
    }
}
