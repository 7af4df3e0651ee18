//! Transactions: requests that are kept and then run without other commands in between.

use protocol::Output;
use protocol::resp::Writer;

use crate::kv::app::App;
use crate::kv::call::Call;
use crate::kv::client::{Kept, Transaction};
use crate::kv::dispatch;
use crate::kv::error::{Done, Error, error, errorf};

pub(crate) fn multi(call: &mut Call<'_>) -> Done {
    if call.client().transaction.is_some() {
        return error("ERR MULTI calls can not be nested");
    }
    call.client().transaction = Some(Transaction::default());
    call.out.ok();
    Ok(())
}

pub(crate) fn discard(call: &mut Call<'_>) -> Done {
    if call.client().transaction.take().is_none() {
        return error("ERR DISCARD without MULTI");
    }
    forget_watched(call.app, call.me);
    call.out.ok();
    Ok(())
}

/// Ends the transaction of a client whose `EXEC` is refused. Returns the error to reply.
pub(crate) fn abort(app: &mut App, me: usize, refusal: &Error) -> Error {
    app.clients[me].transaction = None;
    forget_watched(app, me);
    let reason = refusal.0.strip_prefix(b"ERR ").unwrap_or(&refusal.0);
    errorf([b"EXECABORT Transaction discarded because of: ", reason].concat())
}

pub(crate) fn exec(call: &mut Call<'_>) -> Done {
    let Some(transaction) = call.client().transaction.take() else {
        return error("ERR EXEC without MULTI");
    };
    let has_changed = has_changed(call);
    forget_watched(call.app, call.me);
    if transaction.failed {
        return error("EXECABORT Transaction discarded because of previous errors.");
    }
    if transaction.grows && call.app.is_full() {
        return error(
            "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > \
             'maxmemory'.",
        );
    }
    if has_changed {
        call.out.null_array();
        return Ok(());
    }
    call.out.array(transaction.requests.len());
    let mut requests = transaction.requests.iter();
    while let Some(request) = requests.next() {
        dispatch::run_kept(call, request);
        if call.is_over_limit() {
            run_without_replies(call, requests.as_slice());
            break;
        }
    }
    Ok(())
}

/// Runs the rest of a transaction whose client will not receive the replies.
fn run_without_replies(call: &mut Call<'_>, requests: &[Kept]) {
    for request in requests {
        let mut unheard = Output::new();
        let out = Writer::new(&mut unheard, call.out.protocol());
        let app = &mut *call.app;
        let mut silent = Call { out, app, ..*call };
        dispatch::run_kept(&mut silent, request);
    }
}

fn has_changed(call: &mut Call<'_>) -> bool {
    let app = &mut *call.app;
    let mut watched = app.clients[call.me].watched.iter();
    watched.any(|((db, key), since)| app.store.within(*db, |it| it.has_changed(key, *since)))
}

pub(crate) fn forget_watched(app: &mut App, me: usize) {
    let watched = std::mem::take(&mut app.clients[me].watched);
    for (db, key) in watched.keys() {
        app.store.within(*db, |store| store.watched.remove(key));
    }
}

pub(crate) fn watch(call: &mut Call<'_>) -> Done {
    if call.client().transaction.is_some() {
        return error("ERR WATCH inside MULTI is not allowed");
    }
    for key in &call.args[1..] {
        let key = (call.client().db, Box::from(*key));
        if !call.client().watched.contains_key(&key) {
            let changes = call.app.store.watch(&key.1);
            call.client().watched.insert(key, changes);
        }
    }
    call.out.ok();
    Ok(())
}

pub(crate) fn unwatch(call: &mut Call<'_>) -> Done {
    forget_watched(call.app, call.me);
    call.out.ok();
    Ok(())
}
