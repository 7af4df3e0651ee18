//! Operations on chunks: each gives orders to several chunkservers, and ends when all have answered.

use protocol::mfs::{
    ChunkId, Create, Delete, Duplicate, DuplicateTruncated, Replicate, SetVersion, Status, Truncate,
};

use super::Outcome;
use super::table::Holder;
use crate::mfs::master::app::Master;
use crate::mfs::master::chunkservers::Order;

/// The version of a new chunk.
const FIRST_VERSION: u32 = 1;

/// An operation that is under way.
pub(super) struct Operation {
    /// What its orders are about.
    chunk: ChunkId,
    /// The version that the chunk has when it is done.
    version: u32,
    /// How many chunkservers have not answered.
    left: usize,
    done_at: Vec<Holder>,
    /// What the first one that failed has said.
    failure: Status,
    finish: Finish,
}

/// What has come of an operation.
struct Finished {
    chunk: ChunkId,
    version: u32,
    /// Where it was done.
    copies: Vec<Holder>,
    failure: Status,
}

/// Keeps what an operation has made, and ends it.
type Finish = Box<dyn FnOnce(&mut Master, Finished)>;

/// Is called at the end of an operation with what has become of it.
type Done = Box<dyn FnOnce(Outcome, &mut Master)>;

impl Master {
    /// Creates a chunk on as many chunkservers as copies are wanted, or fewer if there are not so many
    /// with room. `done` is called with where it is, or with [`Status::NOCHUNKSERVERS`],
    /// [`Status::NOSPACE`], or the status of a chunkserver if all have failed.
    pub fn create(&mut self, done: impl FnOnce(Outcome, &mut Self) + 'static) {
        let copies = match self.choose(self.options.goal) {
            Ok(copies) if self.chunks.len() < self.options.chunks_max => copies,
            Ok(_) => return done(Err(Status::NOSPACE), self),
            Err(status) => return done(Err(status), self),
        };
        let Some(chunk) = self.chunks.next() else { return done(Err(Status::NOSPACE), self) };
        self.chunks.occupy(chunk);
        let order = move |_: &Holder| Order::Create(Create { chunk, version: FIRST_VERSION });
        self.operate(chunk, FIRST_VERSION, &copies, order, move |master, finished| {
            let outcome = master.keep(finished);
            master.release(chunk);
            done(outcome, master);
        });
    }

    /// Deletes a chunk. It is not known any more at once, and `done` is called when its chunkservers have
    /// answered: with where it was deleted. Copies of chunkservers that are not connected stay there.
    pub fn delete(&mut self, chunk: ChunkId, done: impl FnOnce(Outcome, &mut Self) + 'static) {
        self.when_free(chunk, Box::new(done), move |master, version, copies, done| {
            master.chunks.remove(chunk);
            master.tell_change(&super::change(chunk, 0));
            let order = move |_: &Holder| Order::Delete(Delete { chunk, version });
            master.operate(chunk, version, &copies, order, move |master, finished| {
                let Finished { copies, failure, .. } = finished;
                let outcome = match copies.is_empty() {
                    true if failure != Status::OK => Err(failure),
                    _ => Ok(master.located(chunk, version, &copies)),
                };
                master.release(chunk);
                done(outcome, master);
            });
        });
    }

    /// Gives a chunk the next version on all chunkservers that have it. Those that fail do not have it
    /// any more: after a write that has failed, this leaves the copies that are good.
    pub fn raise_version(
        &mut self,
        chunk: ChunkId,
        done: impl FnOnce(Outcome, &mut Self) + 'static,
    ) {
        self.change_copies(chunk, Box::new(done), move |version, old_version| {
            Order::SetVersion(SetVersion { chunk, version, old_version })
        });
    }

    /// Changes the length of a chunk, in bytes, and gives it the next version.
    pub fn truncate(
        &mut self,
        chunk: ChunkId,
        length: u32,
        done: impl FnOnce(Outcome, &mut Self) + 'static,
    ) {
        self.change_copies(chunk, Box::new(done), move |version, old_version| {
            Order::Truncate(Truncate { chunk, length, version, old_version })
        });
    }

    /// Copies a chunk on all chunkservers that have it. `done` is called with the copy, which is another
    /// chunk.
    pub fn duplicate(&mut self, of: ChunkId, done: impl FnOnce(Outcome, &mut Self) + 'static) {
        self.copy(of, Box::new(done), move |chunk, version, of_version| {
            Order::Duplicate(Duplicate { chunk, version, of, of_version })
        });
    }

    /// Copies the beginning of a chunk, of `length` bytes, as [`duplicate`](Self::duplicate) does.
    pub fn duplicate_truncated(
        &mut self,
        of: ChunkId,
        length: u32,
        done: impl FnOnce(Outcome, &mut Self) + 'static,
    ) {
        self.copy(of, Box::new(done), move |chunk, version, of_version| {
            Order::DuplicateTruncated(DuplicateTruncated { chunk, version, of, of_version, length })
        });
    }

    /// Gives a chunk another copy, on the emptiest chunkserver that has none.
    pub fn replicate(&mut self, chunk: ChunkId, done: impl FnOnce(Outcome, &mut Self) + 'static) {
        self.when_free(chunk, Box::new(done), move |master, version, copies, done| {
            let source = master.located(chunk, version, &copies).places.first().copied();
            let taken: Vec<u16> = copies.iter().map(|copy| copy.csid).collect();
            let target = master.candidates().into_iter().find(|it| !taken.contains(&it.csid));
            let (Some(source), Some(target)) = (source, target) else {
                master.release(chunk);
                return done(Err(Status::NOCHUNKSERVERS), master);
            };
            let source = source.endpoint;
            let order = move |_: &Holder| Order::Replicate(Replicate { chunk, version, source });
            master.operate(chunk, version, &[target], order, move |master, finished| {
                let result = match finished.copies.first() {
                    Some(copy) => {
                        master.chunks.found(chunk, version, *copy);
                        Ok(())
                    }
                    None => Err(finished.failure),
                };
                master.release(chunk);
                let located = master.locate(chunk).ok_or(Status::NOCHUNK);
                done(result.and(located), master);
            });
        });
    }

    /// Gives the orders of an operation that changes the copies of a chunk, and its version.
    fn change_copies(
        &mut self,
        chunk: ChunkId,
        done: Done,
        order: impl Fn(u32, u32) -> Order + 'static,
    ) {
        self.when_free(chunk, done, move |master, version, copies, done| {
            // Version 0 would say that it is deleted.
            let Some(next) = version.checked_add(1) else {
                master.release(chunk);
                return done(Err(Status::WRONGVERSION), master);
            };
            let order = move |_: &Holder| order(next, version);
            master.operate(chunk, next, &copies, order, move |master, finished| {
                let outcome = master.keep(finished);
                master.release(chunk);
                done(outcome, master);
            });
        });
    }

    /// Gives the orders of an operation that makes a chunk from another.
    fn copy(
        &mut self,
        of: ChunkId,
        done: Done,
        order: impl Fn(ChunkId, u32, u32) -> Order + 'static,
    ) {
        self.when_free(of, done, move |master, version, copies, done| {
            let Some(chunk) = master.chunks.next() else {
                master.release(of);
                return done(Err(Status::NOSPACE), master);
            };
            master.chunks.occupy(chunk);
            let order = move |_: &Holder| order(chunk, FIRST_VERSION, version);
            master.operate(chunk, FIRST_VERSION, &copies, order, move |master, finished| {
                let outcome = master.keep(finished);
                master.release(chunk);
                master.release(of);
                done(outcome, master);
            });
        });
    }

    /// Calls `begin` with a chunk once no other operation is about it. It is occupied then.
    fn when_free(
        &mut self,
        chunk: ChunkId,
        done: Done,
        begin: impl FnOnce(&mut Self, u32, Vec<Holder>, Done) + 'static,
    ) {
        if !self.chunks.occupy(chunk) {
            if self.chunks.is_crowded(chunk) {
                return done(Err(Status::CHUNKBUSY), self);
            }
            let again = move |master: &mut Self| master.when_free(chunk, done, begin);
            return self.chunks.wait(chunk, Box::new(again));
        }
        let Some(version) = self.chunks.version(chunk) else {
            self.release(chunk);
            return done(Err(Status::NOCHUNK), self);
        };
        let copies = self.chunks.copies(chunk, &self.chunkservers);
        begin(self, version, copies, done);
    }

    /// Gives an order to each of these chunkservers, and calls `finish` when all have answered.
    fn operate(
        &mut self,
        chunk: ChunkId,
        version: u32,
        copies: &[Holder],
        order: impl Fn(&Holder) -> Order,
        finish: impl FnOnce(&mut Self, Finished) + 'static,
    ) {
        let failure = if copies.is_empty() { Status::NOCHUNKSERVERS } else { Status::OK };
        if copies.is_empty() {
            return finish(self, Finished { chunk, version, copies: Vec::new(), failure });
        }
        let operation = Operation {
            chunk,
            version,
            left: copies.len(),
            done_at: Vec::new(),
            failure,
            finish: Box::new(finish),
        };
        let id = self.chunks.operations.insert(operation);
        for copy in copies.iter().copied() {
            let order = order(&copy);
            self.order(copy.csid, order, move |status, master| master.answered(id, copy, status));
        }
    }

    /// Notes an answer to an order of an operation.
    fn answered(&mut self, id: usize, copy: Holder, status: Status) {
        let Some(operation) = self.chunks.operations.get_mut(id) else { return };
        operation.left -= 1;
        match status {
            Status::OK => operation.done_at.push(copy),
            status if operation.failure == Status::OK => operation.failure = status,
            _ => {}
        }
        if operation.left > 0 {
            return;
        }
        let Operation { chunk, version, done_at: copies, failure, finish, .. } =
            self.chunks.operations.remove(id);
        finish(self, Finished { chunk, version, copies, failure });
    }

    /// Keeps what an operation has made of a chunk. If it has failed everywhere, the chunk stays as it
    /// was known; copies whose chunkservers have another version are told anew when those come back.
    fn keep(&mut self, finished: Finished) -> Outcome {
        let Finished { chunk, version, copies, failure } = finished;
        if copies.is_empty() {
            return Err(failure);
        }
        let located = self.located(chunk, version, &copies);
        self.chunks.set(chunk, version, copies);
        self.tell_change(&super::change(chunk, version));
        Ok(located)
    }

    /// Ends an operation on a chunk, and begins those that wait for it.
    fn release(&mut self, chunk: ChunkId) {
        for waiting in self.chunks.release(chunk) {
            waiting(self);
        }
    }

    /// Returns the chunkservers with room, the emptiest first. Those that are about as full are in random
    /// order.
    fn candidates(&self) -> Vec<Holder> {
        const STEP: u64 = 50;
        let with_room = self.chunkservers.iter().filter(|(_, server)| server.has_room());
        let mut candidates: Vec<(u64, Holder)> = with_room
            .map(|(csid, server)| (server.fullness() / STEP, Holder { csid, epoch: server.epoch }))
            .collect();
        fastrand::shuffle(&mut candidates);
        candidates.sort_by_key(|(fullness, _)| *fullness);
        candidates.into_iter().map(|(_, copy)| copy).collect()
    }

    /// Chooses chunkservers for the copies of a new chunk.
    fn choose(&self, count: usize) -> Result<Vec<Holder>, Status> {
        let mut candidates = self.candidates();
        candidates.truncate(count);
        match candidates.is_empty() {
            true if self.chunkservers.connected() > 0 => Err(Status::NOSPACE),
            true => Err(Status::NOCHUNKSERVERS),
            false => Ok(candidates),
        }
    }
}
