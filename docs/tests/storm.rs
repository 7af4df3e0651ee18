//! What the pages on simulation say of faults is what the code has.

mod common;

use std::fs;

use common::root;
use reactor::sim::Fault;

/// The marks around the table of faults.
const MARKS: (&str, &str) = ("<!-- faults -->\n", "<!-- end of faults -->");
/// The environment variable with which the test writes the table anew.
const UPDATE: &str = "UPDATE_BOOK";

/// Returns the kinds as the source declares them: the group, the name, and the text about each.
fn declared() -> Vec<(String, String, String)> {
    let source = fs::read_to_string(root().join("reactor/src/sim/fault.rs")).expect("it is there");
    let kinds = source.split_once("pub enum Fault {\n").expect("it declares the kinds").1;
    let kinds = kinds.split_once("\n}").expect("the declaration ends").0;
    let (mut group, mut text, mut found) = (String::new(), Vec::new(), Vec::new());
    for line in kinds.lines().map(str::trim) {
        if let Some(line) = line.strip_prefix("/// ") {
            text.push(line);
        } else if let Some(line) = line.strip_prefix("// ") {
            group = line.trim_end_matches('.').to_owned();
        } else {
            let name = line.trim_end_matches(',').to_owned();
            found.push((group.clone(), name, plain(&text.join(" "))));
            text.clear();
        }
    }
    found
}

/// Returns a text of the documentation without its links, which lead nowhere in the book.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, after) = link.split_once("`]").expect("the link ends");
        let target = after.strip_prefix('(').and_then(|it| it.split_once(')'));
        plain.extend([before, "`", name, "`"]);
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// Returns the table of faults as the page has to show it.
fn table() -> String {
    let mut table = "\n| fault | what happens |\n|---|---|\n".to_owned();
    let mut last = String::new();
    for ((group, _, text), fault) in declared().into_iter().zip(Fault::ALL) {
        if group != last {
            table += &format!("| **{group}** | |\n");
            last = group;
        }
        table += &format!("| `{fault}` | {} |\n", text.replace('|', "\\|"));
    }
    table + "\n"
}

#[test]
fn the_page_lists_every_fault() {
    let declared: Vec<String> = declared().into_iter().map(|(_, name, _)| name).collect();
    let known: Vec<String> = Fault::ALL.iter().map(|fault| format!("{fault:?}")).collect();
    assert_eq!(declared, known, "the table is made from the declaration");
    let path = root().join("docs/src/storm.md");
    let page = fs::read_to_string(&path).expect("the page can be read");
    let (before, rest) = page.split_once(MARKS.0).expect("the table has a beginning");
    let (shown, after) = rest.split_once(MARKS.1).expect("the table has an end");
    let expected = table();
    if std::env::var_os(UPDATE).is_some() {
        let (open, close) = MARKS;
        fs::write(&path, [before, open, &expected, close, after].concat()).expect("it is written");
        return;
    }
    let command = format!("{UPDATE}=1 cargo test -p myevent-docs --test storm");
    assert!(shown == expected, "the table is not that of the code; write it anew with {command}");
}

#[test]
fn links_of_the_documentation_become_words() {
    let text = "It is [`one`](super::one), [`Two`] and `three` (`four`).";
    assert_eq!(plain(text), "It is `one`, `Two` and `three` (`four`).");
}

#[test]
fn the_comparison_names_faults_that_exist() {
    let page = include_str!("../src/storm-comparison.md");
    let table = page.split_once("## Table").expect("it has a table").1;
    let table = table.split("\n## ").next().unwrap_or_default();
    let mut named = 0;
    for row in table.lines().filter(|line| line.starts_with('|')) {
        let here = row.split('|').nth(2).unwrap_or_default();
        let is_kind = |name: &&str| name.bytes().all(|it| it == b'-' || it.is_ascii_lowercase());
        for name in here.split('`').skip(1).step_by(2).filter(is_kind) {
            assert!(
                Fault::ALL.iter().any(|fault| fault.name() == name),
                "there is no fault {name}"
            );
            named += 1;
        }
    }
    assert!(named > 40, "only {named} faults are named");
}
