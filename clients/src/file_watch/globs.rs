//! Which names are watched.

use std::path::Path;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use reactor::watch::FileKind;

use crate::Failure;

/// The patterns that were given.
#[derive(Clone, Debug)]
pub(super) struct Globs {
    include: Option<Patterns>,
    exclude: Patterns,
}

/// Patterns for names, and for whole paths.
#[derive(Clone, Debug)]
struct Patterns {
    names: GlobSet,
    paths: GlobSet,
}

impl Globs {
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, Failure> {
        let include = (!include.is_empty()).then(|| Patterns::new(include)).transpose()?;
        Ok(Self { include, exclude: Patterns::new(exclude)? })
    }

    /// Returns whether a name is watched. Directories are entered unless they are left out.
    pub(super) fn watches(&self, path: &Path, kind: FileKind) -> bool {
        !self.exclude.match_path(path) && (kind == FileKind::Directory || self.shows(path))
    }

    /// Returns whether what happens to a name is shown, if it is watched.
    pub(super) fn shows(&self, path: &Path) -> bool {
        self.include.as_ref().is_none_or(|include| include.match_path(path))
    }
}

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self, Failure> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let set = if pattern.contains('/') { &mut paths } else { &mut names };
            set.add(glob(pattern)?);
        }
        let build = |set: &GlobSetBuilder| set.build().map_err(|it| Failure::new(it.to_string()));
        Ok(Self { names: build(&names)?, paths: build(&paths)? })
    }

    fn match_path(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        // The path as it is printed may begin with `./`.
        let path = path.strip_prefix(".").unwrap_or(path);
        self.names.is_match(name) || self.paths.is_match(path)
    }
}

fn glob(pattern: &str) -> Result<Glob, Failure> {
    let plain = pattern.strip_prefix("./").unwrap_or(pattern);
    // A slash at the end, as shells complete the name of a directory, means nothing.
    let plain = plain.strip_suffix('/').filter(|it| !it.is_empty()).unwrap_or(plain);
    GlobBuilder::new(plain).literal_separator(true).build().map_err(|error| {
        Failure::new(format!("the pattern {pattern:?} is wrong: {}", error.kind()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_with_a_slash_is_for_paths_and_any_other_for_names() {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let globs = Globs::new(&texts(&["*.rs", "docs/**"]), &texts(&["target", "src/x/*.rs"]));
        let globs = globs.expect("they are right");
        let file = |path: &str| globs.watches(Path::new(path), FileKind::File);
        assert!(file("a.rs") && file("./src/deep/a.rs") && file("docs/b/c.md"));
        assert!(!file("a.txt") && !file("src/x/a.rs") && !file("more/docs/c.md"));
        assert!(globs.watches(Path::new("src"), FileKind::Directory));
        assert!(!globs.watches(Path::new("some/target"), FileKind::Directory));
        let error = Globs::new(&[], &texts(&["a[b"])).expect_err("it has no end").to_string();
        assert!(error.contains("\"a[b\""), "{error}");
    }
}
