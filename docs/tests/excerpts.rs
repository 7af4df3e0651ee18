//! What the book shows of the code is what stands there.

use std::fs;
use std::path::Path;

/// Returns the code that a page shows: its blocks that are marked as text.
fn excerpts(page: &str) -> Vec<&str> {
    let blocks = page.split("```text\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Returns the content of all files in some folders of the workspace.
fn content(folders: &[&str]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("docs is in the workspace");
    folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("the folder can be read"))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("the file can be read"))
        .collect()
}

/// Checks that a page shows code, all of which is in `source`.
fn check(page: &str, source: &str) {
    let excerpts = excerpts(page);
    assert!(!excerpts.is_empty(), "the chapter shows no code");
    for excerpt in excerpts {
        assert!(source.contains(excerpt), "not in the source any more:\n{excerpt}");
    }
}

#[test]
fn excerpts_of_kv_stand_in_its_source() {
    let source = content(&["servers/src/kv", "servers/src/kv/commands"]);
    check(include_str!("../src/kv.md"), &source);
}

#[test]
fn excerpts_of_the_storm_stand_in_the_example() {
    check(include_str!("../src/storm.md"), include_str!("../../reactor/examples/storm.rs"));
}

#[test]
fn excerpts_of_http_stand_in_the_example() {
    check(include_str!("../src/http.md"), include_str!("../../reactor/examples/json.rs"));
}

#[test]
fn excerpts_of_websocket_stand_in_the_example() {
    check(include_str!("../src/websocket.md"), include_str!("../../reactor/examples/websocket.rs"));
}

#[test]
fn excerpts_of_the_market_stand_in_the_example() {
    check(include_str!("../src/ws.md"), include_str!("../../clients/examples/binance.rs"));
}

#[test]
fn excerpts_of_the_programs_of_a_course_stand_in_them() {
    let folders = ["reactor/examples/coming_from", "reactor/tests/twins"];
    check(include_str!("../src/coming-from-libevent.md"), &content(&folders));
}

#[test]
fn excerpts_of_the_models_of_io_stand_in_the_examples() {
    check(include_str!("../src/completion.md"), &content(&["reactor/examples/io_models"]));
}
