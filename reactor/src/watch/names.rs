//! Where the names are through which the system finds a file.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::mark::Mark;

/// How many links the system follows (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// The way to a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The directories on it, each with the name that is looked up there. A change of one of these names
    /// may lead to another file. The paths of the directories have no links.
    pub(super) names: Vec<(PathBuf, OsString)>,
    /// The file at its end, if there is one.
    pub(super) mark: Option<Mark>,
}

impl Way {
    /// Follows `path`, which is absolute, as far as it leads.
    pub(super) fn follow(path: &Path) -> Self {
        let mut way = Self::default();
        let (mut at, mut links) = (PathBuf::from("/"), 0);
        let mut rest: VecDeque<OsString> = parts(path).collect();
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            way.names.push((at.clone(), name.clone()));
            let next = at.join(&name);
            let Ok(metadata) = fs::symlink_metadata(&next) else { return way };
            if metadata.is_symlink() {
                links += 1;
                let Some(target) = fs::read_link(&next).ok().filter(|_| links <= LINKS_MAX) else {
                    return way;
                };
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                let names: Vec<OsString> = parts(&target).collect();
                names.into_iter().rev().for_each(|name| rest.push_front(name));
            } else if rest.is_empty() {
                way.mark = Some(Mark::of(&metadata));
            } else {
                at = next;
            }
        }
        way
    }
}

/// Returns the names of a path, without its root.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_way_goes_through_links_and_ends_where_a_name_is_missing() {
        let folder = std::env::temp_dir().join(format!("way-{}", std::process::id()));
        let folder = folder.as_path();
        fs::create_dir_all(folder.join("real")).expect("it is writable");
        let real = folder.canonicalize().expect("it exists");
        symlink("real/../link", folder.join("first")).expect("it is writable");
        symlink(real.join("real/file"), folder.join("link")).expect("it is writable");
        let way = Way::follow(&real.join("first"));
        let expected = [
            (real.clone(), "first".into()),
            (real.clone(), "real".into()),
            (real.clone(), "link".into()),
        ];
        let at = way.names.iter().position(|it| *it == expected[0]).expect("it is on the way");
        assert_eq!(way.names[at..at + 3], expected);
        assert_eq!(way.names.last(), Some(&(real.join("real"), "file".into())));
        assert_eq!(way.mark, None);
        fs::write(folder.join("real/file"), "").expect("it is writable");
        let way = Way::follow(&real.join("first"));
        assert!(way.mark.is_some_and(|mark| !mark.is_directory()));
        // A loop of links leads nowhere.
        fs::remove_file(folder.join("link")).expect("it is there");
        symlink("first", folder.join("link")).expect("it is writable");
        assert_eq!(Way::follow(&real.join("first")).mark, None);
        fs::remove_dir_all(folder).expect("it is writable");
    }
}
