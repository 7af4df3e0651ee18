//! The dependencies that the documentation tells a program to declare exist in a checkout.

mod common;

use std::fs;

use common::{collect, root};

/// A line of `[dependencies]` that names a package and a folder.
#[derive(Debug, PartialEq, Eq)]
struct Dependency<'a> {
    package: &'a str,
    path: &'a str,
}

/// Returns the value of a key in an inline table of TOML.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(&format!("{key} = \""))?.1.split('"').next()
}

/// Returns the dependencies with a path in the TOML snippets of a page.
fn dependencies(page: &str) -> Vec<Dependency<'_>> {
    page.split("```toml\n")
        .skip(1)
        .flat_map(|rest| rest.split("```").next().unwrap_or_default().lines())
        .filter_map(|line| {
            Some(Dependency { package: value(line, "package")?, path: value(line, "path")? })
        })
        .collect()
}

/// Returns what is wrong with a dependency, if anything: a project beside a checkout named `myevent`
/// has to find the package in that folder.
fn problem(dependency: &Dependency<'_>) -> Option<String> {
    let Some(folder) = dependency.path.strip_prefix("../myevent/") else {
        return Some(format!("{} does not lead into a checkout beside it", dependency.path));
    };
    let manifest = root().join(folder).join("Cargo.toml");
    let Ok(text) = fs::read_to_string(&manifest) else {
        return Some(format!("{} cannot be read", manifest.display()));
    };
    let package = text.split("[package]\n").nth(1).unwrap_or_default();
    let package = package.split("\n[").next().unwrap_or_default();
    let name = format!("name = \"{}\"", dependency.package);
    (!package.lines().any(|line| line == name))
        .then(|| format!("{} is not the package in {folder}", dependency.package))
}

#[test]
fn the_declared_dependencies_are_folders_and_packages_of_a_checkout() {
    let mut pages = vec![root().join("README.md")];
    collect(&root().join("docs/src"), "md", &mut pages);
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).expect("the page can be read");
        let declared = dependencies(&text);
        assert!(!page.ends_with("README.md") || declared.len() == 2, "{declared:?}");
        broken.extend(declared.iter().filter_map(problem));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_wrong_folder_or_package_is_found() {
    let page =
        "```toml\n[dependencies]\nx = { package = \"myevent-reactor\", path = \"PATH\" }\n```\n";
    for (path, is_right) in [
        ("../myevent/reactor", true),
        ("../myevent/protocol", false),
        ("../myevent/nothing", false),
        ("../reactor", false),
    ] {
        let page = page.replace("PATH", path);
        let declared = dependencies(&page);
        assert_eq!(declared, [Dependency { package: "myevent-reactor", path }]);
        assert_eq!(problem(&declared[0]).is_none(), is_right, "{path}");
    }
}
