//! What the book shows of the code is what stands there.

use std::fs;
use std::path::Path;

#[test]
fn excerpts_of_kv_stand_in_its_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("docs is in the workspace");
    let chapter = include_str!("../src/kv.md");
    let excerpts: Vec<&str> = chapter
        .split("```text\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(!excerpts.is_empty(), "the chapter shows no code");
    let source: String = ["servers/src/kv", "servers/src/kv/commands"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).expect("the folder can be read"))
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).expect("the file can be read"))
        .collect();
    for excerpt in excerpts {
        assert!(source.contains(excerpt), "not in the source any more:\n{excerpt}");
    }
}
