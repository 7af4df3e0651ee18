//! Patterns of paths.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::http::decode_percent;

/// The patterns of a router, segment by segment.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    fixed: BTreeMap<String, Node>,
    any: Option<Box<Node>>,
    /// The routes of a pattern that matches the rest of the path.
    rest: Vec<usize>,
    /// The routes of the pattern that ends here.
    here: Vec<usize>,
}

impl Tree {
    /// Adds a pattern. Returns its names, and the place of its routes.
    ///
    /// # Panics
    /// When the pattern is invalid.
    pub(super) fn insert(&mut self, pattern: &str) -> (Vec<String>, &mut Vec<usize>) {
        let path = pattern.strip_prefix('/');
        let path = path.unwrap_or_else(|| panic!("the pattern {pattern:?} does not begin with /"));
        let (mut node, mut names) = (&mut self.root, Vec::new());
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let Some(name) = part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) else {
                node = node.fixed.entry(part.to_owned()).or_default();
                continue;
            };
            let (name, is_rest) = match name.strip_prefix('*') {
                Some(name) => (name.to_owned(), true),
                None => (name.to_owned(), false),
            };
            assert!(!names.contains(&name), "the pattern {pattern:?} has {name:?} twice");
            names.push(name);
            if is_rest {
                assert!(parts.peek().is_none(), "in {pattern:?}, something follows the rest");
                return (names, &mut node.rest);
            }
            node = node.any.get_or_insert_default();
        }
        (names, &mut node.here)
    }

    /// Returns the routes of the pattern that matches a path, and adds the values of its names.
    pub(super) fn find<'a>(&self, path: &'a str, values: &mut Vec<Cow<'a, str>>) -> &[usize] {
        match path.strip_prefix('/') {
            Some(path) => self.root.find(path, values).unwrap_or_default(),
            None => &[],
        }
    }
}

impl Node {
    /// Finds the routes for a path whose beginning has led to this node.
    fn find<'a>(&self, path: &'a str, values: &mut Vec<Cow<'a, str>>) -> Option<&[usize]> {
        let (part, rest) = match path.split_once('/') {
            Some((part, rest)) => (part, Some(rest)),
            None => (path, None),
        };
        let part = decoded(part);
        let known = values.len();
        if let Some(node) = self.fixed.get(&*part)
            && let Some(found) = node.follow(rest, values)
        {
            return Some(found);
        }
        if let Some(node) = &self.any
            && !part.is_empty()
        {
            values.push(part);
            if let Some(found) = node.follow(rest, values) {
                return Some(found);
            }
            values.truncate(known);
        }
        if self.rest.is_empty() {
            return None;
        }
        values.push(decoded(path));
        Some(&self.rest)
    }

    fn follow<'a>(
        &self,
        rest: Option<&'a str>,
        values: &mut Vec<Cow<'a, str>>,
    ) -> Option<&[usize]> {
        match rest {
            Some(rest) => self.find(rest, values),
            None if self.here.is_empty() => None,
            None => Some(&self.here),
        }
    }
}

/// Returns a part of a path decoded, or as it is if it cannot be.
fn decoded(part: &str) -> Cow<'_, str> {
    decode_percent(part).unwrap_or(Cow::Borrowed(part))
}
