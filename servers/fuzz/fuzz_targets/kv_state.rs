//! Restores the state of `kv` from any bytes, in pieces that end where the input says: it is refused,
//! or what is saved of it can be restored again.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use protocol::{SavedState, State};
use servers::kv::{App, Config};
use servers::{Progress, SharedState};

fn app(start: Instant) -> App {
    let config = Config {
        memory_max: None,
        password: String::new(),
        pubsub_backlog_max: 1 << 20,
        normal_backlog_max: 1 << 20,
        clients_memory_max: 1 << 30,
        idle_timeout: None,
        connections_max: 100,
    };
    App::new(config, move || start, || Duration::from_secs(1_000_000_000))
}

fn load<'a>(start: Instant, pieces: impl Iterator<Item = &'a [u8]>) -> Option<App> {
    let mut app = app(start);
    for piece in pieces {
        app.restore(SavedState::new(piece)).ok()?;
    }
    app.restored().ok()?;
    Some(app)
}

fn save(app: &mut App) -> Vec<Vec<u8>> {
    app.freeze();
    let mut pieces = Vec::new();
    loop {
        let mut piece = State::new();
        let progress = app.save(&mut piece);
        pieces.push(piece.into_bytes());
        if progress == Progress::Whole {
            app.stays();
            return pieces;
        }
    }
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let start = Instant::now();
    let (sizes, bytes) = input;
    let mut rest = &bytes[..];
    let pieces = sizes.iter().map(|size| {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*size)));
        rest = after;
        piece
    });
    let Some(mut app) = load(start, pieces) else { return };
    let saved = save(&mut app);
    let mut again = load(start, saved.iter().map(Vec::as_slice)).expect("what is saved is valid");
    assert_eq!(saved, save(&mut again), "the same state");
});
