//! What the master orders, and what becomes of it.

use std::rc::Rc;
use std::sync::Arc;

use log::debug;
use protocol::mfs::{
    ChunkId, ChunkOperation, ChunkOperationAnswer, ConfigValue, CreateAnswer, DeleteAnswer,
    DuplicateAnswer, DuplicateTruncatedAnswer, Message, Name, SetVersionAnswer, Status,
    TruncateAnswer,
};
use reactor::{LoopCx, Offload};

use super::app::Chunkserver;
use super::disk::{Building, Chunk, Done, Trouble};
use super::exchange::Order;
use super::master::tell_new;
use super::questions::{self, Question};
use super::replica;

/// A length that leaves the length as it is.
const AS_IT_IS: u32 = u32::MAX;

/// What an order is answered with.
#[derive(Clone)]
pub(super) struct Ticket {
    /// The connection on which the order came.
    connection: u64,
    packet: Rc<dyn Fn(Status) -> Arc<[u8]>>,
}

impl Ticket {
    /// Returns the ticket of an order that has just come.
    pub(super) fn new<'a, M: Message<'a>>(
        app: &Chunkserver,
        message: impl Fn(Status) -> M + 'static,
    ) -> Self {
        let connection = app.shared.lock().connection;
        Self { connection, packet: Rc::new(move |status| message(status).packet()) }
    }

    /// Answers the order.
    pub(super) fn answer(&self, status: Status, app: &Chunkserver) {
        if status != Status::OK {
            debug!("an order of the master is answered with: {status}");
        }
        app.tell_on(self.connection, (self.packet)(status));
    }

    /// Answers an order to make a chunk, which is there now. The master learns of it in any case, if the
    /// connection is another one meanwhile.
    pub(super) fn made(&self, chunk: ChunkId, app: &mut Chunkserver) {
        self.answer(Status::OK, app);
        if app.shared.lock().connection != self.connection {
            tell_new(vec![chunk], app);
        }
    }
}

/// Carries an order out.
pub(super) fn carry_out(order: Order, cx: &mut LoopCx<'_, Chunkserver>) {
    cx.app.counts.orders += 1;
    let app = &mut *cx.app;
    match order {
        Order::Create(it) => {
            let ticket = Ticket::new(app, move |status| CreateAnswer { chunk: it.chunk, status });
            create(it.chunk, it.version, ticket, app);
        }
        Order::Delete(it) => {
            let ticket = Ticket::new(app, move |status| DeleteAnswer { chunk: it.chunk, status });
            delete(it.chunk, it.version, ticket, app);
        }
        Order::SetVersion(it) => {
            let ticket =
                Ticket::new(app, move |status| SetVersionAnswer { chunk: it.chunk, status });
            let work = move |chunk: &Chunk| chunk.set_version(it.old_version, it.version);
            change(it.chunk, work, ticket, app);
        }
        Order::Truncate(it) => {
            let ticket = Ticket::new(app, move |status| TruncateAnswer { chunk: it.chunk, status });
            let work = move |chunk: &Chunk| chunk.truncate(it.length, it.old_version, it.version);
            change(it.chunk, work, ticket, app);
        }
        Order::Duplicate(it) => {
            let ticket =
                Ticket::new(app, move |status| DuplicateAnswer { chunk: it.chunk, status });
            let copy = Copy::of(it.of, it.of_version, it.chunk, it.version);
            duplicate(copy, ticket, app);
        }
        Order::DuplicateTruncated(it) => {
            let ticket = Ticket::new(app, move |status| DuplicateTruncatedAnswer {
                chunk: it.chunk,
                status,
            });
            let copy = Copy::of(it.of, it.of_version, it.chunk, it.version);
            duplicate(Copy { length: Some(it.length), ..copy }, ticket, app);
        }
        Order::Operation(it) => operate(it, app),
        Order::Replicate(it) => replica::begin(&it, cx),
        Order::Blocks(it) => ask(Question::Blocks(it), app),
        Order::Checksum(it) => ask(Question::Checksum(it), app),
        Order::Checksums(it) => ask(Question::Checksums(it), app),
        Order::Version(it) => {
            let connection = app.shared.lock().connection;
            app.tell_on(connection, questions::version(it.number));
        }
        Order::Option(number) => app.tell(&ConfigValue { number, value: Name::default() }),
    }
}

/// Makes a chunk without blocks.
fn create(chunk: ChunkId, version: u32, ticket: Ticket, app: &mut Chunkserver) {
    if app.store.has(chunk) {
        return ticket.answer(Status::CHUNKEXIST, app);
    }
    let Some(disk) = app.store.roomiest() else {
        return ticket.answer(Status::NOSPACE, app);
    };
    let (folder, offload) = (Arc::clone(&disk.folder), disk.offload.clone());
    let work = move || {
        let made = Building::begin(folder, chunk, version).and_then(Building::finish);
        made.map_err(|error| Trouble::refused(&error))
    };
    make(chunk, None, &offload, work, ticket, app);
}

/// Makes a chunk in the background, out of another one if there is one.
fn make(
    chunk: ChunkId,
    source: Option<Arc<Chunk>>,
    offload: &Offload,
    work: impl FnOnce() -> Done<Arc<Chunk>> + Send + 'static,
    ticket: Ticket,
    app: &mut Chunkserver,
) {
    app.store.reserve(chunk);
    let later = ticket.clone();
    let begun = app.background.run(offload, work, move |made, cx: &mut LoopCx<'_, Chunkserver>| {
        cx.app.store.release(chunk);
        match made {
            Ok(Ok(made)) => {
                cx.app.store.add(made);
                later.made(chunk, cx.app);
            }
            Ok(Err(trouble)) => {
                let status = match &source {
                    Some(source) => cx.app.note(source, &trouble),
                    None => trouble.status(),
                };
                later.answer(status, cx.app);
            }
            Err(_) => later.answer(Status::NOTDONE, cx.app),
        }
    });
    if begun.is_err() {
        app.store.release(chunk);
        ticket.answer(Status::NOTDONE, app);
    }
}

/// A copy that is to be made of a chunk.
struct Copy {
    of: ChunkId,
    of_version: u32,
    /// What the version of the original is changed to first.
    of_new_version: u32,
    chunk: ChunkId,
    version: u32,
    /// The length of the copy in bytes, if it is another one.
    length: Option<u32>,
}

impl Copy {
    fn of(of: ChunkId, of_version: u32, chunk: ChunkId, version: u32) -> Self {
        Self { of, of_version, of_new_version: of_version, chunk, version, length: None }
    }
}

fn duplicate(copy: Copy, ticket: Ticket, app: &mut Chunkserver) {
    let original = match app.find(copy.of) {
        Ok(original) => original,
        Err(status) => return ticket.answer(status, app),
    };
    if app.store.has(copy.chunk) {
        return ticket.answer(Status::CHUNKEXIST, app);
    }
    let Some(offload) = app.store.offload_of(&original).cloned() else { return };
    let source = Arc::clone(&original);
    let work = move || {
        original.set_version(copy.of_version, copy.of_new_version)?;
        original.copy(copy.of_new_version, (copy.chunk, copy.version), copy.length)
    };
    make(copy.chunk, Some(source), &offload, work, ticket, app);
}

/// Changes a chunk in the background.
fn change(
    id: ChunkId,
    work: impl FnOnce(&Chunk) -> Done<()> + Send + 'static,
    ticket: Ticket,
    app: &mut Chunkserver,
) {
    work_on(id, work, ticket, |_, _| {}, app);
}

fn delete(id: ChunkId, version: u32, ticket: Ticket, app: &mut Chunkserver) {
    work_on(id, move |chunk| chunk.delete(version), ticket, |id, app| app.forget(id), app);
}

/// Does something with a chunk in the background, and something on the loop when it is done.
fn work_on(
    id: ChunkId,
    work: impl FnOnce(&Chunk) -> Done<()> + Send + 'static,
    ticket: Ticket,
    then: impl FnOnce(ChunkId, &mut Chunkserver) + 'static,
    app: &mut Chunkserver,
) {
    let chunk = match app.find(id) {
        Ok(chunk) => chunk,
        Err(status) => return ticket.answer(status, app),
    };
    let Chunkserver { store, background, .. } = &mut *app;
    let Some(offload) = store.offload_of(&chunk) else { return };
    let (worked_on, later) = (Arc::clone(&chunk), ticket.clone());
    let begun = background.run(
        offload,
        move || work(&chunk),
        move |result, cx: &mut LoopCx<'_, Chunkserver>| {
            let status = match result {
                Ok(Ok(())) => {
                    then(id, cx.app);
                    Status::OK
                }
                Ok(Err(trouble)) => cx.app.note(&worked_on, &trouble),
                Err(_) => Status::NOTDONE,
            };
            later.answer(status, cx.app);
        },
    );
    if begun.is_err() {
        ticket.answer(Status::NOTDONE, app);
    }
}

/// Carries out one of the operations that the numbers of an order tell apart.
fn operate(order: ChunkOperation, app: &mut Chunkserver) {
    let ticket = Ticket::new(app, move |status| {
        let ChunkOperation { chunk, version, new_version, copy, copy_version, length } = order;
        ChunkOperationAnswer { chunk, version, new_version, copy, copy_version, length, status }
    });
    let ChunkOperation { chunk, version, new_version, copy, copy_version, length } = order;
    let has_copy = copy != ChunkId(0);
    match (new_version, length) {
        (0, 0) => delete(chunk, version, ticket, app),
        (0, 1) => create(chunk, version, ticket, app),
        (0, 2) => change(chunk, move |chunk| chunk.test(version), ticket, app),
        (0, _) => ticket.answer(Status::EINVAL, app),
        _ if has_copy => {
            let length = (length != AS_IT_IS).then_some(length);
            let copy = Copy::of(chunk, version, copy, copy_version);
            duplicate(Copy { of_new_version: new_version, length, ..copy }, ticket, app);
        }
        (_, AS_IT_IS) => {
            change(chunk, move |it| it.set_version(version, new_version), ticket, app);
        }
        _ => change(chunk, move |it| it.truncate(length, version, new_version), ticket, app),
    }
}

/// Answers a question of the master.
fn ask(question: Question, app: &mut Chunkserver) {
    let connection = app.shared.lock().connection;
    let chunk = match app.find(question.chunk()) {
        Ok(chunk) => chunk,
        Err(status) => return app.tell_on(connection, question.refused(status)),
    };
    let Chunkserver { store, background, .. } = &mut *app;
    let Some(offload) = store.offload_of(&chunk) else { return };
    let asked = Arc::clone(&chunk);
    let begun = background.run(
        offload,
        move || question.answer(&asked),
        move |result, cx: &mut LoopCx<'_, Chunkserver>| {
            let answer = match result {
                Ok(Ok(packet)) => packet,
                Ok(Err(trouble)) => question.refused(cx.app.note(&chunk, &trouble)),
                Err(_) => question.refused(Status::NOTDONE),
            };
            cx.app.tell_on(connection, answer);
        },
    );
    if begun.is_err() {
        app.tell_on(connection, question.refused(Status::NOTDONE));
    }
}
