//! Sources that watch files and directories, on every backend.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::turn_until;
use reactor::sim::Sim;
use reactor::watch::{
    Change, Delivery, FileOptions, FileWatch, Links, Notice, TreeOptions, TreeWatch, What,
};
use reactor::{BackendKind, LoopLimits, Reactor};
use testkit::{Folder, in_namespace};

/// What a watch has told.
#[derive(Default)]
struct App {
    is_ready: bool,
    overruns: usize,
    changes: Vec<Change>,
    names: BTreeSet<PathBuf>,
    reports: usize,
    ended: Option<String>,
}

impl App {
    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Ready { .. } => self.is_ready = true,
            Notice::Overrun => self.overruns += 1,
            Notice::Changes(changes) => {
                self.reports += 1;
                for change in changes {
                    self.apply(&change);
                    self.changes.push(change);
                }
            }
            Notice::Skipped { path, error } => panic!("{}: {error}", path.display()),
            Notice::Ended(reason) => self.ended = Some(reason.to_string()),
        }
    }

    /// Keeps the set of names that exist.
    fn apply(&mut self, change: &Change) {
        let path = &change.path;
        match &change.what {
            What::Created | What::MovedIn => {
                self.names.insert(path.clone());
            }
            What::Moved { from } => {
                for name in self.below(from) {
                    self.names.remove(&name);
                    let rest = name.strip_prefix(from).expect("it is below it");
                    // Joining nothing would append a slash.
                    self.names.insert(path.components().chain(rest.components()).collect());
                }
            }
            What::MovedOut | What::Removed => {
                for name in self.below(path) {
                    self.names.remove(&name);
                }
            }
            _ => {}
        }
    }

    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let all = self.names.range(path.to_owned()..);
        all.take_while(|it| it.starts_with(path)).cloned().collect()
    }

    /// Takes what has happened since the last call.
    fn told(&mut self, folder: &Path) -> Vec<(String, What)> {
        let short =
            |path: &Path| path.strip_prefix(folder).expect("it is in it").display().to_string();
        self.changes.drain(..).map(|change| (short(&change.path), change.what)).collect()
    }
}

fn reactor(kind: BackendKind) -> Reactor<App> {
    let backend = kind.open().expect("it opens");
    Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default()).expect("it opens")
}

fn watch(reactor: &mut Reactor<App>, folder: &Path, options: TreeOptions) {
    let watch = TreeWatch::new(options).path(folder);
    watch.register(&mut reactor.cx(), |notice, cx| cx.app.take(notice)).expect("it is watched");
    reactor.run_until(|app| app.is_ready).expect("the loop runs");
}

/// Returns the names that exist, as the program `find` prints them.
fn find(folder: &Path) -> BTreeSet<PathBuf> {
    let output = std::process::Command::new("find").arg(folder).output().expect("find is there");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
}

const SETTLED: TreeOptions = TreeOptions { delivery: Delivery::SETTLED, ..TreeOptions::DEFAULT };

#[test]
fn each_event_is_told_on_every_backend() {
    for kind in BackendKind::ALL {
        let folder = Folder::new("watching");
        let mut reactor = reactor(kind);
        watch(&mut reactor, folder.path(), TreeOptions::DEFAULT);
        fs::create_dir(folder.path().join("new")).expect("it is writable");
        fs::write(folder.path().join("new/file"), "content").expect("it is writable");
        fs::rename(folder.path().join("new/file"), folder.path().join("moved")).expect("it moves");
        fs::remove_dir(folder.path().join("new")).expect("it is empty");
        let expected = folder.path().to_owned();
        turn_until(&mut reactor, |reactor| {
            reactor
                .app
                .changes
                .iter()
                .any(|it| it.what == What::Removed && it.path == expected.join("new"))
        });
        let told = reactor.app.told(folder.path());
        assert_eq!(told.first(), Some(&("new".to_owned(), What::Created)), "{kind}");
        assert!(told.iter().any(|(path, _)| path == "moved"), "{kind}: {told:?}");
        let expected = BTreeSet::from([folder.path().join("moved")]);
        turn_until(&mut reactor, |reactor| reactor.app.names == expected);
    }
}

/// How many directories there are.
const DIRECTORIES: usize = 99;

fn directory(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("d{}", number % DIRECTORIES))
}

/// Makes `files` in directories, moves some and deletes others.
fn churn(folder: &Path, files: usize) {
    for number in 0..files {
        let path = directory(folder, number).join(format!("f{number}"));
        fs::write(&path, "").expect("it is writable");
        match number % 4 {
            0 => {
                let to = directory(folder, number + 7).join(format!("m{number}"));
                fs::rename(&path, to).expect("it moves");
            }
            1 => fs::remove_file(&path).expect("it is there"),
            _ => {}
        }
    }
    for number in (0..DIRECTORIES).step_by(3) {
        let to = directory(folder, number + 1).join(format!("moved{number}"));
        fs::rename(directory(folder, number), to).expect("it moves");
    }
}

/// P30: the kernel loses most of the events, since the loop does not turn meanwhile.
fn overrun(files: usize, options: TreeOptions) {
    let folder = Folder::new("overrun");
    let mut reactor = reactor(BackendKind::Epoll);
    for number in 0..DIRECTORIES {
        fs::create_dir(directory(folder.path(), number)).expect("it is writable");
    }
    let options = TreeOptions { existing: true, ..options };
    watch(&mut reactor, folder.path(), options);
    churn(folder.path(), files);
    let found = find(folder.path());
    assert!(found.len() > files / 2);
    let expected = found.clone();
    turn_until(&mut reactor, |reactor| reactor.app.names == expected);
    assert!(reactor.app.overruns > 0, "the queue of the kernel was large enough");
    assert_eq!(reactor.app.ended, None);
    // It goes on.
    fs::write(folder.path().join("last"), "").expect("it is writable");
    let expected = find(folder.path());
    turn_until(&mut reactor, |reactor| reactor.app.names == expected);
}

#[test]
fn after_an_overrun_of_the_queue_the_names_are_those_of_find() {
    overrun(20_000, TreeOptions::DEFAULT);
}

#[test]
fn after_an_overrun_what_differs_in_the_end_leads_to_the_names_of_find() {
    overrun(20_000, SETTLED);
}

#[test]
#[ignore = "it makes 100,000 files, which takes long on a busy machine"]
fn after_a_hundred_thousand_files_the_names_are_those_of_find() {
    overrun(100_000, TreeOptions::DEFAULT);
    overrun(100_000, SETTLED);
}

#[test]
fn what_editors_do_to_save_a_file_is_one_change_of_it() {
    let folder = Folder::new("editors");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "one").expect("it is writable");
    let mut reactor = reactor(BackendKind::Epoll);
    watch(&mut reactor, folder.path(), SETTLED);
    let vim = || {
        fs::write(path("4913"), "").expect("it is writable");
        fs::remove_file(path("4913")).expect("it is there");
        fs::rename(path("file"), path("file~")).expect("it moves");
        fs::write(path("file"), "by vim").expect("it is writable");
        fs::remove_file(path("file~")).expect("it is there");
    };
    let atomic = || {
        fs::write(path(".file.tmp"), "atomic").expect("it is writable");
        fs::rename(path(".file.tmp"), path("file")).expect("it moves");
    };
    let in_place = || fs::write(path("file"), "in place").expect("it is writable");
    let sed = || {
        let mut sed = std::process::Command::new("sed");
        let status = sed.args(["-i", "s/a/b/"]).arg(path("file")).status();
        assert!(status.expect("sed is there").success());
    };
    for save in [&vim as &dyn Fn(), &atomic, &in_place, &sed] {
        save();
        turn_until(&mut reactor, |reactor| !reactor.app.changes.is_empty());
        assert_eq!(reactor.app.told(folder.path()), [("file".to_owned(), What::Modified)]);
    }
    assert_eq!(reactor.app.reports, 4);
}

#[test]
fn a_report_comes_at_the_latest_after_a_while_though_it_is_never_quiet() {
    let folder = Folder::new("busy");
    let mut reactor = reactor(BackendKind::Epoll);
    let delivery = Delivery::Settled {
        quiet: Duration::from_secs(3600),
        delay_max: Duration::from_millis(50),
    };
    watch(&mut reactor, folder.path(), TreeOptions { delivery, ..TreeOptions::DEFAULT });
    fs::write(folder.path().join("file"), "").expect("it is writable");
    turn_until(&mut reactor, |reactor| reactor.app.reports == 1);
}

#[test]
fn a_file_that_is_given_is_followed_by_its_name_and_its_neighbours_are_not_told() {
    let folder = Folder::new("one-file");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "one").expect("it is writable");
    let mut reactor = reactor(BackendKind::Epoll);
    watch(&mut reactor, &path("file"), SETTLED);
    fs::write(path("other"), "").expect("it is writable");
    for content in ["two", "three"] {
        fs::write(path("new"), content).expect("it is writable");
        fs::rename(path("new"), path("file")).expect("it moves");
        turn_until(&mut reactor, |reactor| !reactor.app.changes.is_empty());
        assert_eq!(reactor.app.told(folder.path()), [("file".to_owned(), What::Modified)]);
    }
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_watched_again() {
    let folder = Folder::new("again");
    let root = folder.path().join("root");
    fs::create_dir(&root).expect("it is writable");
    let mut reactor = reactor(BackendKind::Epoll);
    watch(&mut reactor, &root, TreeOptions { existing: true, ..TreeOptions::DEFAULT });
    fs::remove_dir(&root).expect("it is empty");
    turn_until(&mut reactor, |reactor| reactor.app.names.is_empty());
    fs::create_dir_all(root.join("deep")).expect("it is writable");
    let expected = find(&root);
    turn_until(&mut reactor, |reactor| reactor.app.names == expected);
    fs::write(root.join("deep/file"), "").expect("it is writable");
    let expected = find(&root);
    turn_until(&mut reactor, |reactor| reactor.app.names == expected);
}

#[test]
fn a_directory_that_is_moved_away_is_told_and_is_watched_again_when_it_returns() {
    let folder = Folder::new("away");
    let (root, away) = (folder.path().join("root"), folder.path().join("away"));
    fs::create_dir_all(root.join("deep")).expect("it is writable");
    let mut reactor = reactor(BackendKind::Epoll);
    watch(&mut reactor, &root, TreeOptions { existing: true, ..TreeOptions::DEFAULT });
    fs::rename(&root, &away).expect("it moves");
    turn_until(&mut reactor, |reactor| reactor.app.names.is_empty());
    fs::write(away.join("deep/file"), "").expect("it is writable");
    fs::rename(&away, &root).expect("it moves");
    for name in ["deep/other", "last"] {
        fs::write(root.join(name), "").expect("it is writable");
        let expected = find(&root);
        turn_until(&mut reactor, |reactor| reactor.app.names == expected);
    }
    assert!(reactor.app.changes.iter().all(|change| change.path.starts_with(&root)));
}

#[test]
fn what_is_behind_a_file_system_that_is_unmounted_is_told_and_watched() {
    let test = "what_is_behind_a_file_system_that_is_unmounted_is_told_and_watched";
    if !in_namespace(test, "true") {
        return;
    }
    let folder = Folder::new("unmounted");
    let place = folder.path().join("place");
    fs::create_dir_all(place.join("behind")).expect("it is writable");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments).arg(&place).status().expect("it runs");
        assert!(status.success(), "{program}: {status}");
    };
    run("mount", &["-t", "tmpfs", "none"]);
    fs::create_dir_all(place.join("above/deep")).expect("it is writable");
    let mut reactor = reactor(BackendKind::Epoll);
    watch(&mut reactor, folder.path(), TreeOptions { existing: true, ..TreeOptions::DEFAULT });
    assert!(reactor.app.names.contains(&place.join("above/deep")));
    run("umount", &[]);
    for name in ["place", "place/behind"] {
        let expected = find(folder.path());
        turn_until(&mut reactor, |reactor| reactor.app.names == expected);
        fs::write(folder.path().join(name).join("file"), "").expect("it is writable");
    }
    let expected = find(folder.path());
    turn_until(&mut reactor, |reactor| reactor.app.names == expected);
    assert_eq!(reactor.app.ended, None);
}

#[test]
fn links_are_followed_only_if_that_is_asked_for_and_never_in_circles() {
    let (folder, elsewhere) = (Folder::new("follow"), Folder::new("followed"));
    let path = |name: &str| folder.path().join(name);
    symlink(elsewhere.path(), path("link")).expect("it is writable");
    fs::create_dir(path("real")).expect("it is writable");
    symlink("..", path("real/up")).expect("it is writable");
    for links in [Links::Kept, Links::Followed] {
        let mut reactor = reactor(BackendKind::Epoll);
        watch(&mut reactor, folder.path(), TreeOptions { links, ..TreeOptions::DEFAULT });
        fs::write(elsewhere.path().join("file"), "").expect("it is writable");
        fs::write(path("last"), "").expect("it is writable");
        turn_until(&mut reactor, |reactor| {
            reactor.app.changes.iter().any(|change| change.path == path("last"))
        });
        let told = reactor.app.told(folder.path());
        let is_followed = told.iter().any(|(path, _)| path == "link/file");
        assert_eq!(is_followed, links == Links::Followed, "{told:?}");
        fs::remove_file(elsewhere.path().join("file")).expect("it is there");
        fs::remove_file(path("last")).expect("it is there");
    }
}

#[test]
fn a_limit_and_a_path_that_does_not_exist_are_named() {
    let folder = Folder::new("limits");
    for number in 0..4 {
        fs::create_dir(folder.path().join(format!("d{number}"))).expect("it is writable");
    }
    let mut reactor = reactor(BackendKind::Epoll);
    let missing = TreeWatch::new(TreeOptions::DEFAULT).path(folder.path().join("missing"));
    let error = missing.register(&mut reactor.cx(), |_, _| {}).expect_err("it is not there");
    assert!(error.to_string().contains("limits/missing: No such file"), "{error}");
    let few = TreeOptions { watches_max: 3, ..TreeOptions::DEFAULT };
    let names = TreeOptions { entries_max: 3, ..TreeOptions::DEFAULT };
    for (options, limit) in [(few, "(watches_max)"), (names, "(entries_max)")] {
        let watch = TreeWatch::new(options).path(folder.path());
        let took = watch.register(&mut reactor.cx(), |notice, cx| cx.app.take(notice));
        took.expect("the path can be watched");
        turn_until(&mut reactor, |reactor| reactor.app.ended.is_some());
        let ended = reactor.app.ended.take().expect("it has ended");
        assert!(ended.contains(limit), "{ended}");
    }
}

#[test]
fn a_simulated_host_has_no_inotify() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    let program = || {
        let mut reactor = Reactor::new(())?;
        let watch = TreeWatch::new(TreeOptions::DEFAULT).path("/");
        let error = watch.register(&mut reactor.cx(), |_, _| {}).expect_err("there is none");
        assert_eq!(error.to_string(), "a simulated host has no inotify");
        let (files, options) = ([PathBuf::from("/etc/hosts")], FileOptions::DEFAULT);
        let watched = FileWatch::register(&files, options, &mut reactor.cx(), |_, _| {});
        assert_eq!(watched.expect_err("there is none").to_string(), error.to_string());
        Ok(reactor)
    };
    sim.start(host, program).expect("it runs");
}

/// Watches files, and collects those that have changed.
fn watch_files(paths: &[PathBuf]) -> Reactor<Vec<PathBuf>> {
    let mut reactor = Reactor::new(Vec::new()).expect("it opens");
    let mut cx = reactor.cx();
    let call = |changed, cx: &mut reactor::LoopCx<'_, Vec<PathBuf>>| cx.app.extend(changed);
    FileWatch::register(paths, FileOptions::DEFAULT, &mut cx, call).expect("they are watched");
    reactor
}

#[track_caller]
fn expect_change(reactor: &mut Reactor<Vec<PathBuf>>, path: &Path) {
    turn_until(reactor, |reactor| !reactor.app.is_empty());
    assert_eq!(std::mem::take(&mut reactor.app), [path]);
}

#[test]
fn a_file_is_watched_by_its_name_through_all_that_can_happen_to_it() {
    let folder = Folder::new("by-name");
    let path = |name: &str| folder.path().join(name);
    let file = path("etc/conf/hosts");
    // Not even its directory is there.
    let mut reactor = watch_files(&[file.clone(), path("other")]);
    fs::create_dir_all(path("etc/conf")).expect("it is writable");
    fs::write(&file, "one").expect("it is writable");
    expect_change(&mut reactor, &file);
    fs::write(&file, "two").expect("it is writable");
    expect_change(&mut reactor, &file);
    fs::write(path("new"), "three").expect("it is writable");
    fs::rename(path("new"), &file).expect("it moves");
    expect_change(&mut reactor, &file);
    // A directory above it is replaced.
    fs::create_dir_all(path("etc2/conf")).expect("it is writable");
    fs::write(path("etc2/conf/hosts"), "four").expect("it is writable");
    fs::rename(path("etc"), path("etc-old")).expect("it moves");
    fs::rename(path("etc2"), path("etc")).expect("it moves");
    expect_change(&mut reactor, &file);
    // What is done to the old one is of no interest, and what is done to the new one is.
    fs::write(path("etc-old/conf/hosts"), "old").expect("it is writable");
    fs::write(&file, "five").expect("it is writable");
    expect_change(&mut reactor, &file);
    fs::remove_file(&file).expect("it is there");
    expect_change(&mut reactor, &file);
}

#[test]
fn links_on_the_way_to_a_file_are_watched_too() {
    let folder = Folder::new("links");
    let path = |name: &str| folder.path().join(name);
    for version in ["v1", "v2"] {
        fs::create_dir(path(version)).expect("it is writable");
        fs::write(path(version).join("conf"), version).expect("it is writable");
    }
    symlink("v1", path("data")).expect("it is writable");
    symlink("data/conf", path("conf")).expect("it is writable");
    let mut reactor = watch_files(&[path("conf")]);
    // The file behind both links.
    fs::write(path("v1/conf"), "changed").expect("it is writable");
    expect_change(&mut reactor, &path("conf"));
    // The link in the middle is replaced at once, as for a mounted configuration.
    symlink("v2", path("data.new")).expect("it is writable");
    fs::rename(path("data.new"), path("data")).expect("it moves");
    expect_change(&mut reactor, &path("conf"));
    fs::write(path("v2/conf"), "changed").expect("it is writable");
    expect_change(&mut reactor, &path("conf"));
}
