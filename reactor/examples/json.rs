//! A JSON service over HTTP/1.1: counters with names, in 40 lines.
//!
//! Try it with `cargo run -p myevent-reactor --example json`, then `curl -i 127.0.0.1:7000/counters`
//! and `curl -i -d 5 127.0.0.1:7000/counters/apples`.

use protocol::http::{Clock, Options, Response, RoutedRequest, Router, Server, Status};
use protocol::{Context, Limits};
use reactor::{ListenOptions, Listener, Reactor, Stream};
use std::collections::BTreeMap;
use std::sync::Arc;

type Counters = BTreeMap<String, i64>;

/// Answers `GET /counters`.
fn list(_: &RoutedRequest<'_>, response: &mut Response<'_>, context: &mut Context<'_, Counters>) {
    let all = context.app.iter().map(|(name, value)| format!("\"{name}\":{value}"));
    response.json(Status::OK, format!("{{{}}}", all.collect::<Vec<_>>().join(",")));
}

/// Answers `POST /counters/NAME`: adds the number in the body.
fn add(
    request: &RoutedRequest<'_>,
    response: &mut Response<'_>,
    context: &mut Context<'_, Counters>,
) {
    let name = request.param("name");
    let number = request.text().and_then(|text| text.trim().parse::<i64>().ok());
    let (true, Some(number)) = (name.bytes().all(|it| it.is_ascii_alphanumeric()), number) else {
        return response.json(Status::BAD_REQUEST, "{\"error\":\"a name and a number, please\"}");
    };
    let value = context.app.entry(name.to_owned()).or_default();
    *value = value.saturating_add(number);
    response.json(Status::OK, format!("{{\"name\":\"{name}\",\"value\":{value}}}"));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let router = Router::new().get("/counters", list).post("/counters/{name}", add).body_max(100);
    let (router, clock) = (router.shared(), Clock::new(reactor::time_of_day));
    let options = Options { clock: Some(clock), ..Options::default() }.shared()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    let mut reactor = Reactor::new(Counters::new())?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_peer| {
        Server::new(router.service(), Arc::clone(&options))
    })?;
    Ok(reactor.run()?)
}
