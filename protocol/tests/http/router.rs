//! The router: patterns, methods, bodies.

use std::sync::Arc;

use super::recorder::options;
use protocol::http::{Router, Server, Status};
use protocol::testing::{self, Wire};

/// Returns a router whose handlers say which they are, and with what they were called.
fn router() -> Arc<Router> {
    Router::new()
        .get("/", |_, response, _| response.text(Status::OK, "root"))
        .get("/a", |_, response, _| response.text(Status::OK, "a"))
        .get("/users/{id}", |request, response, _| {
            response.text(Status::OK, &format!("user {}", request.param("id")));
        })
        .get("/users/me", |_, response, _| response.text(Status::OK, "me"))
        .get("/users/{id}/posts/{post}", |request, response, _| {
            let text = format!("post {} of {}", request.param("post"), request.param("id"));
            response.text(Status::OK, &text);
        })
        .get("/users/me/{*rest}", |request, response, _| {
            response.text(Status::OK, &format!("mine: {}", request.param("rest")));
        })
        .post("/echo", |request, response, _| response.head(Status::OK).body(request.body))
        .body_max(10)
        .put("/echo", |request, response, _| response.head(Status::OK).body(request.body))
        .get("/query", |request, response, _| {
            response.text(Status::OK, request.query("q").as_deref().unwrap_or("none"));
        })
        .get("/lazy", |_, _, _| {})
        .get("/stream", |_, response, _| {
            response.head(Status::OK).streamed();
            response.write(b"piece");
        })
        .shared()
}

/// Returns what the router sends for a request.
fn ask(method: &str, path: &str, body: &str) -> String {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut whole = Vec::new();
    for cut in [0, request.len() / 2, request.len()] {
        let mut wire = Wire::new(Server::new(router().service(), options()));
        let (front, back) = request.as_bytes().split_at(cut);
        wire.feed(front, &mut ());
        wire.feed(back, &mut ());
        let sent = wire.take_sent();
        assert!(cut == 0 || sent == whole, "{method} {path} cut at {cut}");
        whole = sent;
    }
    String::from_utf8(whole).expect("it is text")
}

#[test]
fn paths_choose_the_handler() {
    let cases = [
        ("/", "root"),
        ("/a", "a"),
        ("/a?x", "a"),
        ("/%61", "a"),
        ("http://b/a", "a"),
        ("/users/7", "user 7"),
        ("/users/a%2Fb%20c", "user a/b c"),
        ("/users/100%", "user 100%"),
        ("/users/me", "me"),
        ("/users/me/posts/1", "mine: posts/1"),
        ("/users/me/", "mine: "),
        ("/users/x/posts/y", "post y of x"),
        ("/query?a=b&q=1+2%26", "1 2&"),
        ("/query", "none"),
        ("/stream", "5\r\npiece\r\n0\r\n\r\n"),
    ];
    for (path, expected) in cases {
        let sent = ask("GET", path, "");
        assert!(sent.ends_with(&format!("\r\n\r\n{expected}")), "{path}: {sent}");
        let head = ask("HEAD", path, "");
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{path}: {head}");
    }
    for path in ["/b", "/a/", "//a", "/users", "/users/", "/users/x/posts", "/users/x/posts/y/z"] {
        assert!(ask("GET", path, "").starts_with("HTTP/1.1 404 "), "{path}");
        assert!(ask("POST", path, "body").starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[test]
fn methods_that_a_path_has_not_are_answered_with_those_that_it_has() {
    let sent = ask("DELETE", "/echo", "");
    assert!(sent.starts_with("HTTP/1.1 405 "), "{sent}");
    assert!(sent.contains("\r\nAllow: OPTIONS, POST, PUT\r\n"), "{sent}");
    let sent = ask("OPTIONS", "/a", "");
    assert!(sent.starts_with("HTTP/1.1 204 "), "{sent}");
    assert!(sent.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{sent}");
    assert!(ask("OPTIONS", "*", "").starts_with("HTTP/1.1 204 "));
    assert!(ask("get", "/a", "").starts_with("HTTP/1.1 405 "), "methods have a case");
}

#[test]
fn handlers_get_whole_bodies_up_to_a_limit() {
    assert!(ask("POST", "/echo", "0123456789").ends_with("\r\n\r\n0123456789"));
    assert!(ask("POST", "/echo", "0123456789x").starts_with("HTTP/1.1 413 "));
    assert!(ask("PUT", "/echo", "0123456789x").ends_with("\r\n\r\n0123456789x"));
    assert!(ask("GET", "/lazy", "").starts_with("HTTP/1.1 500 "));
}

#[test]
fn the_fallback_answers_what_no_pattern_matches() {
    let router = Router::<()>::new()
        .get("/a", |_, response, _| response.text(Status::OK, "a"))
        .fallback(|request, response, _| response.head(Status::OK).body(request.body))
        .shared();
    let mut server = Server::new(router.service(), options());
    let request = b"PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let sent = testing::drive(&mut server, &mut (), &[request]).expect("it ends in order");
    assert!(sent.ends_with(b"\r\n\r\nabc"));
}

#[test]
#[should_panic(expected = "already")]
fn a_handler_that_is_there_is_not_replaced() {
    let router = Router::<()>::new().get("/{a}", |_, _, _| {});
    let _ = router.get("/{b}", |_, _, _| {});
}
