//! The rules of `CONTRIBUTING.md` that a machine can check.

mod common;

use std::fs;

use common::{root, sources};

/// Lines that a file may have before its tests.
const LINES_MAX: usize = 450;
/// Lines that a file of tests may have: it is a list of sentences, in which one is looked up.
const TEST_LINES_MAX: usize = 750;
/// A file that may be longer: its path, its lines, and the reason.
type Exception = (&'static str, usize, &'static str);
/// The only files that may be longer: none now. A number here may become smaller and nothing else,
/// and a file that is short enough leaves the list.
const LONG: [Exception; 0] = [];
const REACTOR_DEPENDENCIES: [&str; 4] = ["libc", "log", "protocol", "slab"];

/// What is wrong with a file, if anything. The path is relative to the workspace.
type Rule = fn(path: &str, text: &str) -> Option<String>;

const RULES: [Rule; 5] = [is_short, is_safe, shares_no_cell, points_one_way, is_finished];

/// The code of a file: without its comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default())
}

fn is_short(path: &str, text: &str) -> Option<String> {
    is_short_beside(&LONG, path, text)
}

fn is_short_beside(exceptions: &[Exception], path: &str, text: &str) -> Option<String> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    let rule = if path.contains("/tests/") { TEST_LINES_MAX } else { LINES_MAX };
    let long = exceptions.iter().find(|(name, ..)| *name == path).map(|(_, most, _)| *most);
    let most = long.unwrap_or(rule);
    if lines > most {
        return Some(format!("{lines} lines before its tests, of at most {most}"));
    }
    (long.is_some() && lines <= rule)
        .then(|| "is short enough to leave the list of LONG".to_owned())
}

fn is_safe(path: &str, text: &str) -> Option<String> {
    let word = ["un", "safe"].concat();
    let found = code(text).any(|line| has_word(line, &word));
    (!path.starts_with("reactor/src/sys/") && found).then(|| format!("{word} outside of sys"))
}

fn shares_no_cell(path: &str, text: &str) -> Option<String> {
    let cell = ["Rc<", "RefCell"].concat();
    let library = path.starts_with("reactor/src/") || path.starts_with("protocol/src/");
    (library && code(text).any(|line| line.contains(&cell))).then(|| format!("{cell} in a library"))
}

/// Whether a line has a whole word.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|it: char| !it.is_alphanumeric() && it != '_').any(|it| it == word)
}

fn points_one_way(path: &str, text: &str) -> Option<String> {
    let may = ["stream", "datagrams", "client"].iter().any(|driver| {
        let place = format!("reactor/src/net/{driver}");
        path == format!("{place}.rs") || path.starts_with(&format!("{place}/"))
    });
    // The decoders of what the kernel writes are in protocol too.
    let folders = ["reactor/src/blocking/", "reactor/src/netlink/", "reactor/src/watch/"];
    let may = may || folders.iter().any(|folder| path.starts_with(folder));
    // The word alone: a path may go through another name, as in `use protocol as p`.
    let name = ["proto", "col"].concat();
    let imports = code(text).any(|line| has_word(line, &name));
    // A re-export would let everything else use what only the driver may, and another name would
    // hide one.
    let renamed = format!("{name} as ");
    let exports = code(text).filter(|line| has_word(line, &name)).any(|line| {
        let is_public = line.trim_start().starts_with("pub");
        let lends = ["use", "type", "extern"].iter().any(|word| has_word(line, word));
        is_public && lends || line.contains(&renamed)
    });
    (path.starts_with("reactor/src/") && (imports && !may || exports)).then(|| {
        "imports protocol, which only net, netlink, watch and blocking may, or exports it"
            .to_owned()
    })
}

fn is_finished(_path: &str, text: &str) -> Option<String> {
    let unfinished = ["to", "do!("].concat();
    // A test that is left out says why, and .ci/run runs it.
    let (ignored, why) = (["#[ig", "nore"].concat(), " = \"");
    let has_no_reason =
        |line: &str| line.split_once(&ignored).is_some_and(|(_, rest)| !rest.starts_with(why));
    [
        (unfinished.clone(), code(text).any(|line| line.contains(&unfinished))),
        (format!("{ignored} without a reason"), code(text).any(has_no_reason)),
    ]
    .into_iter()
    .find_map(|(mark, found)| found.then_some(mark))
}

/// Which dependencies of the reactor it should not have.
fn strange_dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['=', '.']).next().map(str::trim))
        .filter(|name| !name.is_empty() && !REACTOR_DEPENDENCIES.contains(name))
        .collect()
}

#[test]
fn every_file_keeps_the_rules() {
    let root = root();
    let mut broken = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).expect("the file can be read");
        let path = file.strip_prefix(&root).expect("it is in the workspace").display().to_string();
        broken.extend(
            RULES.iter().filter_map(|rule| rule(&path, &text)).map(|it| format!("{path}: {it}")),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reactor_depends_on_four_packages() {
    let manifest = fs::read_to_string(root().join("reactor/Cargo.toml")).expect("it can be read");
    assert_eq!(strange_dependencies(&manifest), [""; 0]);
}

#[test]
fn each_rule_catches_what_it_is_for() {
    let long = "x\n".repeat(LINES_MAX + 1);
    // Put together here, so that this file itself keeps the rules.
    let block = ["un", "safe { y() }"].concat();
    let mark = ["to", "do!()"].concat();
    let ignored = ["#[ig", "nore]"].concat();
    let very_long = "x\n".repeat(TEST_LINES_MAX + 1);
    let planted: [(Rule, &str, &str); 17] = [
        (is_short, "reactor/src/x.rs", &long),
        (is_short, "benches/src/x.rs", &long),
        (is_short, "reactor/tests/x.rs", &very_long),
        (is_finished, "reactor/tests/x.rs", &ignored),
        (is_safe, "servers/src/lib.rs", &block),
        (shares_no_cell, "protocol/src/x.rs", "x: Rc<RefCell<u8>>,"),
        (points_one_way, "reactor/src/reactor/core.rs", "use protocol::Flow;"),
        (points_one_way, "reactor/src/net/mod.rs", "use protocol as p;"),
        (points_one_way, "reactor/src/net/datagram.rs", "use protocol::Flow;"),
        (points_one_way, "reactor/src/net/streams.rs", "use ::protocol::Flow;"),
        (points_one_way, "reactor/src/lib.rs", "pub use protocol;"),
        (points_one_way, "reactor/src/net/stream.rs", "pub(crate) use protocol::Flow;"),
        (points_one_way, "reactor/src/net/stream/files.rs", "    pub use protocol;"),
        (points_one_way, "reactor/src/net/stream.rs", "pub type X = protocol::Flow;"),
        (points_one_way, "reactor/src/net/stream.rs", "use protocol as p;"),
        (points_one_way, "reactor/src/net/stream.rs", "pub extern crate protocol;"),
        (is_finished, "clients/src/lib.rs", &mark),
    ];
    for (number, (rule, path, text)) in planted.into_iter().enumerate() {
        assert!(rule(path, text).is_some(), "rule {number} does not catch {text:.20}");
        let comment = format!("let fine = 1; // {block}, {mark}, protocol::Flow");
        assert!(rule(path, &comment).is_none(), "rule {number} reads comments");
    }
    assert!(is_short("reactor/tests/x.rs", &long).is_none());
    let exceptions = [("reactor/src/x.rs", LINES_MAX + 1, "it is a table")];
    assert!(is_short_beside(&exceptions, "reactor/src/x.rs", &long).is_none());
    assert!(is_short_beside(&exceptions, "reactor/src/y.rs", &long).is_some());
    let short = is_short_beside(&exceptions, "reactor/src/x.rs", "x");
    assert!(short.is_some(), "a short file stays in the list");
    let reasoned = ignored.replace(']', " = \"it takes a quiet machine\"]");
    assert!(is_finished("reactor/tests/x.rs", &reasoned).is_none());
    let driver = "use protocol::Flow;\npub(crate) fn wait(wait: protocol::link::Wait) {}";
    assert!(points_one_way("reactor/src/net/stream.rs", driver).is_none());
    assert!(points_one_way("reactor/src/net/stream/files.rs", driver).is_none());
    assert!(points_one_way("reactor/src/net/client/life.rs", driver).is_none());
    assert!(points_one_way("reactor/src/watch/source.rs", driver).is_none());
    assert!(points_one_way("reactor/src/lib.rs", "let protocols = 1;").is_none());
    assert!(is_safe("reactor/src/sys/x.rs", &block).is_none());
    assert!(is_safe("reactor/src/x.rs", "#![forbid(unsafe_code)]").is_none());
    assert_eq!(strange_dependencies("[dependencies]\nmio = \"1\"\nlog = \"1\"\n"), ["mio"]);
}
