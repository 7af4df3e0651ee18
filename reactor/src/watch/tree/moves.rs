//! Names that are moved. The kernel writes two events with the same cookie, for the old name and for
//! the new one. Only the first comes if the new name is not watched.

use super::*;

/// The most names that wait for their second half. The first of more waits no longer.
const MOVES_MAX: usize = 1024;

/// A name that was moved away.
#[derive(Debug)]
pub(super) struct Moving {
    cookie: u32,
    /// Its number in the steps.
    number: u64,
    from: PathBuf,
    child: Child,
    /// When it stops waiting.
    until: Instant,
}

impl Tree {
    /// The first half of a move.
    pub(super) fn left(&mut self, id: usize, name: &OsStr, cookie: u32, now: Instant) {
        let Some(child) = self.folders[id].children.get(name) else { return };
        let known = child.mark;
        if self.look(id, name).is_some_and(|mark| mark.is_same_file(&known)) {
            // Another file has left: this one came later, or the two have changed places
            // (`RENAME_EXCHANGE`, `rename(2)`). The events of an exchange are those of two moves, one
            // after the other, so the second name leaves after the first has come to it.
            return;
        }
        let Some(child) = self.take(id, name) else { return };
        if self.moving.len() >= MOVES_MAX {
            self.give_up_first();
        }
        let (from, number) = (self.path_in(id, name), self.moves);
        self.moves += 1;
        if let Some(folder) = child.folder {
            self.folders[folder].place = Place::Left(from.clone());
        }
        let until = now + self.options.pairing;
        self.moving.push_back(Moving { cookie, number, from, child, until });
        self.steps.push_back(Step::Leaving(number));
    }

    /// The second half of a move, or the only one.
    pub(super) fn arrived(
        &mut self,
        id: usize,
        name: &OsStr,
        kind: FileKind,
        cookie: u32,
    ) -> io::Result<()> {
        let Some(at) = self.moving.iter().position(|moving| moving.cookie == cookie) else {
            return self.appeared(id, name, kind, What::MovedIn);
        };
        let Some(moving) = self.moving.remove(at) else { return Ok(()) };
        let Moving { number, from, child, .. } = moving;
        let path = self.path_in(id, name);
        let found = self.look(id, name);
        let before = self.folders[id].children.get(name).map(|child| child.mark);
        // A scan has found what came to the old name later.
        let is_another = |mark: Mark| !mark.is_same_file(&child.mark) && !child.mark.is_unseen();
        // It was away and is back, and what has left its name was not entered.
        let is_back = |mark: Mark| {
            mark.is_directory() && before.is_some_and(|before| mark.is_same_file(&before))
        };
        if found.is_some_and(|mark| is_another(mark) || is_back(mark)) {
            self.moved_out(number, from, &child);
            return self.appeared(id, name, kind, What::MovedIn);
        }
        if !self.wants(&path, child.mark.kind) {
            self.moved_out(number, from, &child);
            return Ok(());
        }
        // Its times may have changed with its name.
        let mark = found.unwrap_or(child.mark);
        self.put(id, name, mark)?;
        self.moved(number, from, path, before, mark);
        match child.folder {
            Some(folder) => {
                if self.is_scanning() {
                    // The scan may be past its new place, and not yet at its old one.
                    self.scans.push_back(Scan { folder, is_deep: true });
                }
                self.folders[folder].place = Place::In { folder: id, name: name.to_owned() };
                if let Some(child) = self.folders[id].children.get_mut(name) {
                    child.folder = Some(folder);
                }
                Ok(())
            }
            None => self.open_child(id, name, mark).map(drop),
        }
    }

    /// A directory that is known was found at another place, before its events were read or after they
    /// were lost. The name there is known.
    pub(super) fn relocate(&mut self, folder: usize, id: usize, name: &OsStr) {
        let path = self.path_in(id, name);
        let is_it = |moving: &Moving| moving.child.folder == Some(folder);
        let moving = self.moving.iter().position(is_it).and_then(|at| self.moving.remove(at));
        let from = self.path_of(folder);
        if let Place::In { folder: parent, name } = &self.folders[folder].place {
            let (parent, name) = (*parent, name.clone());
            self.take(parent, &name);
            // Another one may have the name.
            self.scans.push_back(Scan { folder: parent, is_deep: false });
        }
        self.folders[folder].place = Place::In { folder: id, name: name.to_owned() };
        // Its own events may be lost too.
        self.scans.push_back(Scan { folder, is_deep: true });
        let Some(child) = self.folders[id].children.get_mut(name) else { return };
        child.folder = Some(folder);
        let mark = child.mark;
        let Some(Moving { number, from, child, .. }) = moving else {
            self.changed(path, What::Moved { from }, None, Some(mark));
            return;
        };
        // In the place of the first half, the new one may be told before the directory it is in.
        let (what, before) = (What::MovedOut, Some(child.mark));
        self.decide(number, Changed { path: from, what, before, now: None });
        self.changed(path.clone(), What::MovedIn, None, Some(mark));
        for (path, mark) in self.marks_below(&[folder]) {
            self.changed(path, What::Created, None, Some(mark));
        }
    }

    /// Puts the move in the place of its first half: what comes after that may be about the old name.
    fn moved(
        &mut self,
        number: u64,
        from: PathBuf,
        path: PathBuf,
        before: Option<Mark>,
        mark: Mark,
    ) {
        let what = What::Moved { from };
        self.decide(number, Changed { path, what, before, now: Some(mark) });
    }

    /// A name was moved to where it is not watched.
    fn moved_out(&mut self, number: u64, from: PathBuf, child: &Child) {
        self.close_child(child);
        let (what, before) = (What::MovedOut, Some(child.mark));
        self.decide(number, Changed { path: from, what, before, now: None });
    }

    fn decide(&mut self, number: u64, changed: Changed) {
        let is_it = |step: &Step| matches!(step, Step::Leaving(other) if *other == number);
        if let Some(at) = self.steps.iter().rposition(is_it) {
            self.steps[at] = Step::Changed(changed);
        }
    }

    /// Returns until when the first name waits that was moved away. While a scan goes on, all wait: it
    /// may find where they are.
    pub(in crate::watch) fn waits_until(&self) -> Option<Instant> {
        self.moving.front().filter(|_| !self.is_scanning()).map(|moving| moving.until)
    }

    /// Gives up names that have waited long enough.
    pub(in crate::watch) fn expire(&mut self, now: Instant) {
        while self.waits_until().is_some_and(|until| until <= now) {
            self.give_up_first();
        }
    }

    /// Gives up all names that were moved away.
    pub(in crate::watch) fn give_up_moves(&mut self) {
        while !self.moving.is_empty() {
            self.give_up_first();
        }
    }

    fn give_up_first(&mut self) {
        if let Some(Moving { number, from, child, .. }) = self.moving.pop_front() {
            self.moved_out(number, from, &child);
        }
    }

    /// Gives up a name that was moved away.
    pub(super) fn give_up(&mut self, number: u64) {
        let Some(at) = self.moving.iter().position(|moving| moving.number == number) else {
            return;
        };
        if let Some(Moving { from, child, .. }) = self.moving.remove(at) {
            self.moved_out(number, from, &child);
        }
    }

    /// Returns the number of the move that a directory takes part in, itself or with one above it.
    pub(super) fn departure(&self, id: usize) -> Option<u64> {
        if self.moving.is_empty() {
            return None;
        }
        let mut at = id;
        while let Place::In { folder, .. } = &self.folders[at].place {
            at = *folder;
        }
        self.moving.iter().find(|it| it.child.folder == Some(at)).map(|it| it.number)
    }
}
