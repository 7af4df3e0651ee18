//! The book refers to pages, drawings and tests that exist.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use common::{collect, root, sources};

fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    collect(&root().join("docs/src"), "md", &mut pages);
    pages
}

fn read(path: &PathBuf) -> String {
    fs::read_to_string(path).expect("the file can be read")
}

/// Returns what `text` has between each `open` and the `close` behind it.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.split(open).skip(1).filter_map(|rest| rest.split(close).next()).collect()
}

/// Returns the anchors of a page's headings, as mdBook and GitHub make them.
fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            heading.chars().filter(|it| it.is_alphanumeric() || "-_".contains(*it)).collect()
        })
        .collect()
}

#[test]
fn links_lead_to_files_and_headings_of_the_book() {
    let mut broken = Vec::new();
    for page in pages() {
        let folder = page.parent().expect("a page is in a folder");
        for link in between(&read(&page), "](", ')').into_iter().filter(|it| !it.contains("://")) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if target.is_empty() { page.clone() } else { folder.join(target) };
            let leads =
                file.is_file() && (anchor.is_empty() || anchors(&read(&file)).contains(anchor));
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_summary_names_every_page() {
    let summary = include_str!("../src/SUMMARY.md");
    let named: BTreeSet<&str> = between(summary, "](", ')').into_iter().collect();
    let source = root().join("docs/src");
    for page in pages() {
        let name = page.strip_prefix(&source).expect("it is in the folder").display().to_string();
        assert!(name == "SUMMARY.md" || named.contains(name.as_str()), "{name} is not in SUMMARY");
    }
}

#[test]
fn the_tests_that_hold_requirements_exist() {
    let page = include_str!("../src/requirements.md");
    let code: String = sources().iter().map(read).collect();
    let mut count = 0;
    for paragraph in page.split("\n\n") {
        for tests in between(paragraph, "\nTest", '\u{0}') {
            for name in tests.split('`').skip(1).step_by(2) {
                assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
                count += 1;
            }
        }
    }
    assert!(count > 60, "only {count} tests were found on the page");
}

/// Returns the planted faults and the numbers of the requirements that they break, in the order of
/// the numbers.
fn planted(pairs: impl Iterator<Item = (String, u32)>) -> Vec<(u32, String)> {
    let mut planted: Vec<(u32, String)> = pairs.map(|(name, number)| (number, name)).collect();
    planted.sort_unstable();
    planted
}

#[test]
fn every_planted_fault_is_named_beside_the_requirement_that_it_breaks() {
    let source = read(&root().join("reactor/src/planted.rs"));
    let kinds = between_headings(&source, "pub enum Planted {");
    let kinds = kinds.split("\n}").next().unwrap_or_default();
    let mut number = 0;
    let declared = planted(kinds.lines().map(str::trim).filter_map(|line| {
        if let Some((it, _)) = line.strip_prefix("/// P").and_then(|it| it.split_once(':')) {
            number = it.parse().unwrap_or(0);
        }
        let name = line.strip_suffix(',').filter(|it| it.chars().all(char::is_alphabetic))?;
        Some((name.to_owned(), number))
    }));
    let page = include_str!("../src/requirements.md");
    let named = planted(page.split("\n\n**P").skip(1).flat_map(|entry| {
        let number = entry.split('.').next().and_then(|it| it.parse().ok()).unwrap_or(0);
        // The sentence may take several lines.
        let begun = entry.split_once("\nPlanted: ").map_or("", |it| it.1);
        let sentence = begun.split_once('.').map_or(begun, |it| it.0);
        sentence.split('`').skip(1).step_by(2).map(move |name| (name.to_owned(), number))
    }));
    assert!(declared.len() > 20, "{declared:?}");
    assert_eq!(named, declared, "the page and the source name different faults");
}

/// Returns the numbers of the laws that a text cites, also across the lines of a comment.
fn cited_laws(text: &str) -> BTreeSet<u32> {
    let words: Vec<&str> =
        text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty()).collect();
    words
        .windows(2)
        .filter(|pair| ["law", "laws"].iter().any(|it| pair[0].eq_ignore_ascii_case(it)))
        .filter_map(|pair| pair[1].parse().ok())
        .collect()
}

/// Returns the numbers of the laws that the page on the architecture states.
fn stated_laws() -> BTreeSet<u32> {
    let page = include_str!("../src/architecture.md");
    let section = between_headings(page, "## Eight laws");
    section.lines().filter_map(|line| line.split_once(". **")?.0.parse().ok()).collect()
}

/// Returns the text of a page from a heading to the next one.
fn between_headings<'a>(page: &'a str, heading: &str) -> &'a str {
    let section = page.split_once(heading).expect("the page has that heading").1;
    section.split("\n#").next().unwrap_or_default()
}

#[test]
fn every_law_that_a_comment_or_a_page_cites_is_stated() {
    let stated = stated_laws();
    assert!(stated.iter().copied().eq(1..=8), "the page states {stated:?}");
    let mut found = BTreeSet::new();
    for file in sources().into_iter().chain(pages()) {
        let cited = cited_laws(&read(&file));
        assert!(cited.is_subset(&stated), "{} cites one of {cited:?}", file.display());
        found.extend(cited);
    }
    assert!(found.len() > 4, "only the laws {found:?} were found in comments");
    assert_eq!(cited_laws("/// (Law\n    /// 9)"), BTreeSet::from([9]));
}

#[test]
fn every_requirement_that_a_comment_cites_is_explained() {
    let page = include_str!("../src/requirements.md");
    for file in sources() {
        for word in read(&file).split(|it: char| !it.is_alphanumeric()) {
            let number = word.strip_prefix('P').and_then(|it| it.parse::<u32>().ok());
            if number.is_some_and(|it| it < 100) {
                let entry = format!("**{word}.**");
                assert!(page.contains(&entry), "{} cites {word}", file.display());
            }
        }
    }
}
