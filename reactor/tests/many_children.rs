//! A thousand children over four loops (P17). It counts descriptors and children of the process, so it
//! is the only test of its program.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use reactor::{BackendKind, Child, ChildOptions, LoopLimits, Reactor};
use testkit::wait_until;

/// Children of each loop, and how many of them run at the same time.
const CHILDREN: usize = 250;
const AT_ONCE: usize = 25;

#[derive(Default)]
struct Nursery {
    started: usize,
    /// How each child has ended, and how it should have.
    ends: Vec<(Option<i32>, i32)>,
}

fn start(cx: &mut reactor::LoopCx<'_, Nursery>) {
    let code = (cx.app.started % 200) as i32;
    cx.app.started += 1;
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exit {code}")]).stdin(Stdio::null());
    Child::spawn(command, &ChildOptions::DEFAULT, cx, move |status, cx| {
        cx.app.ends.push((status.expect("it is this loop's own").code(), code));
        if cx.app.started < CHILDREN {
            start(cx);
        }
    })
    .expect("it starts");
}

/// Returns the children of all threads of this process, zombies too.
fn children() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("it has threads");
    let count = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("children")).unwrap_or_default();
        text.split_whitespace().count()
    };
    threads.map(|thread| count(thread.expect("it is listed").path())).sum()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("it has descriptors").count()
}

#[test]
fn a_thousand_children_over_four_loops_are_reaped_by_their_own_loop_alone() {
    let before = descriptors();
    let starts = Barrier::new(BackendKind::ALL.len() + 1);
    thread::scope(|scope| {
        let mut loops = Vec::new();
        for kind in BackendKind::ALL {
            let starts = &starts;
            loops.push(scope.spawn(move || -> io::Result<Nursery> {
                let backend = kind.open()?;
                let mut reactor =
                    Reactor::with_backend(backend, LoopLimits::DEFAULT, Nursery::default())?;
                starts.wait();
                (0..AT_ONCE).for_each(|_| start(&mut reactor.cx()));
                reactor.run_until(|nursery| nursery.ends.len() == CHILDREN)?;
                // No end is delivered twice.
                reactor.run_once(Some(std::time::Duration::from_millis(20)))?;
                assert_eq!(reactor.counters().live(), 0);
                Ok(std::mem::take(&mut reactor.app))
            }));
        }
        starts.wait();
        // Children of other code, which end meanwhile. Only that code reaps them.
        let mut foreign: Vec<_> = (0..20)
            .map(|code| {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("sleep 0.{code:02}; exit {code}")]);
                (code, command.spawn().expect("it starts"))
            })
            .collect();
        assert!(children() > 0, "the kernel lists no children: it needs CONFIG_PROC_CHILDREN");
        for nursery in loops.into_iter().map(|it| it.join().expect("it does not panic")) {
            let ends = nursery.expect("it runs").ends;
            assert_eq!(ends.len(), CHILDREN);
            assert!(ends.iter().all(|(code, expected)| *code == Some(*expected)), "{ends:?}");
        }
        for (code, child) in &mut foreign {
            assert_eq!(child.wait().expect("no other code reaps it").code(), Some(*code));
        }
    });
    wait_until("no child is left, not even as a zombie", || children() == 0);
    assert_eq!(descriptors(), before);
}
