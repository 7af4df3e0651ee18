//! Choosing a handler by path and method.

mod tree;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::query_pairs;
use super::{BodyLength, Fields, OwnedRequestHead, RequestHead, Response, Service, Status, Target};
use crate::{Context, Flow};
use tree::Tree;

/// A whole request, as a handler of a [`Router`] gets it.
#[derive(Debug)]
pub struct RoutedRequest<'a> {
    /// The head.
    pub head: &'a RequestHead<'a>,
    /// The whole body.
    pub body: &'a [u8],
    /// The trailers of the body.
    pub trailers: Fields<'a>,
    names: &'a [String],
    values: &'a [Cow<'a, str>],
}

impl<'a> RoutedRequest<'a> {
    /// Returns the part of the path that a pattern names, decoded. It is empty if the pattern has no
    /// such name.
    pub fn param(&self, name: &str) -> &str {
        let place = self.names.iter().position(|it| it == name);
        place.and_then(|place| self.values.get(place)).map_or("", |value| value)
    }

    /// Returns the first value of a name in the query, decoded as that of a form.
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        let pairs = query_pairs(self.head.query().unwrap_or_default());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value).next()
    }

    /// Returns the body as text, unless it is not UTF-8.
    pub fn text(&self) -> Option<&'a str> {
        str::from_utf8(self.body).ok()
    }
}

type Handler<A> =
    Box<dyn Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>) + Send + Sync>;

struct Route<A> {
    method: String,
    names: Vec<String>,
    body_max: Option<u64>,
    handler: Handler<A>,
}

/// Chooses a handler for each request by its path and its method: for services whose requests and
/// responses are small. The handler gets the whole body and writes the whole response.
///
/// A pattern is a path. A segment `{name}` matches any one segment, and `{*name}` at the end matches
/// the rest of the path. Fixed segments are preferred. Paths are compared after percent-decoding,
/// segment by segment.
///
/// A path without a handler is answered with 404, another method with 405 and `Allow`. `HEAD` is
/// answered by the handler of `GET`, and `OPTIONS` with `Allow`, unless there are handlers for them.
///
/// ```
/// use protocol::http::{Options, Router, Server, Status};
/// use protocol::{Context, testing};
///
/// struct Counters {
///     total: u64,
/// }
///
/// let router = Router::new()
///     .get("/health", |_, response, _| response.text(Status::OK, "ok"))
///     .post("/add/{count}", |request, response, context: &mut Context<'_, Counters>| {
///         let Ok(count) = request.param("count").parse::<u64>() else {
///             return response.error(Status::BAD_REQUEST);
///         };
///         context.app.total += count;
///         response.json(Status::OK, format!("{{\"total\": {}}}", context.app.total));
///     })
///     .shared();
///
/// let mut server = Server::new(router.service(), Options::default().shared()?);
/// let request = b"POST /add/5 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
/// let sent = testing::drive(&mut server, &mut Counters { total: 2 }, &[request])?;
/// assert!(sent.ends_with(b"{\"total\": 7}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Router<A = ()> {
    tree: Tree,
    routes: Vec<Route<A>>,
    fallback: Option<Handler<A>>,
}

impl<A> Router<A> {
    /// Returns a router without handlers.
    pub fn new() -> Self {
        Self { tree: Tree::default(), routes: Vec::new(), fallback: None }
    }

    /// Adds a handler for a method and a pattern.
    ///
    /// # Panics
    /// When the pattern does not begin with `/`, when it has a name twice, or `{*name}` before its
    /// end, and when there is a handler for the method and the pattern already.
    #[must_use]
    pub fn route(
        mut self,
        method: &str,
        pattern: &str,
        handler: impl Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let (names, endpoints) = self.tree.insert(pattern);
        let is_new = endpoints.iter().all(|it| self.routes[*it].method != method);
        assert!(is_new, "there is a handler for {method} {pattern} already");
        endpoints.push(self.routes.len());
        let (method, handler) = (method.to_owned(), Box::new(handler));
        self.routes.push(Route { method, names, body_max: None, handler });
        self
    }

    /// Adds a handler for `GET`, which also answers `HEAD`. It panics as [`route`](Self::route) does.
    #[must_use]
    pub fn get(
        self,
        pattern: &str,
        handler: impl Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.route("GET", pattern, handler)
    }

    /// Adds a handler for `POST`. It panics as [`route`](Self::route) does.
    #[must_use]
    pub fn post(
        self,
        pattern: &str,
        handler: impl Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.route("POST", pattern, handler)
    }

    /// Adds a handler for `PUT`. It panics as [`route`](Self::route) does.
    #[must_use]
    pub fn put(
        self,
        pattern: &str,
        handler: impl Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.route("PUT", pattern, handler)
    }

    /// Adds a handler for `DELETE`. It panics as [`route`](Self::route) does.
    #[must_use]
    pub fn delete(
        self,
        pattern: &str,
        handler: impl Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.route("DELETE", pattern, handler)
    }

    /// Allows the bodies of the last route that was added this many bytes, instead of
    /// [`Options::body_size_max`](super::Options::body_size_max). The whole body is held in memory.
    ///
    /// # Panics
    /// When there is no route.
    #[must_use]
    pub fn body_max(mut self, size: u64) -> Self {
        self.routes.last_mut().expect("a route was added before").body_max = Some(size);
        self
    }

    /// Sets the handler for paths that have none. The default answers with 404.
    #[must_use]
    pub fn fallback(
        mut self,
        handler: impl Fn(&RoutedRequest<'_>, &mut Response<'_>, &mut Context<'_, A>)
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.fallback = Some(Box::new(handler));
        self
    }

    /// Returns the router in an `Arc`, for the connections that share it.
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Returns the service of one connection.
    pub fn service(self: &Arc<Self>) -> RouterService<A> {
        RouterService { router: Arc::clone(self), pending: None }
    }

    /// Returns the handler for a request, or what it is answered with instead.
    fn choose(&self, head: &RequestHead<'_>, endpoints: &[usize]) -> Choice {
        let named = |method: &str| {
            endpoints.iter().copied().find(|endpoint| self.routes[*endpoint].method == method)
        };
        let method = head.method();
        let is_head = method == "HEAD";
        match named(method).or_else(|| if is_head { named("GET") } else { None }) {
            Some(route) => Choice::Route(route),
            None if endpoints.is_empty() => Choice::Nothing,
            None => Choice::Allow,
        }
    }

    /// Returns the methods of a path, as the field `Allow` has them.
    fn allowed(&self, endpoints: &[usize]) -> String {
        let mut methods: Vec<&str> =
            endpoints.iter().map(|endpoint| self.routes[*endpoint].method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        methods.dedup();
        methods.join(", ")
    }
}

impl<A> Default for Router<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> fmt::Debug for Router<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Router({} routes)", self.routes.len())
    }
}

/// What answers a request.
#[derive(Clone, Copy)]
enum Choice {
    Route(usize),
    /// The path has other methods.
    Allow,
    Nothing,
}

/// The [`Service`] of a [`Router`] for one connection.
#[derive(Debug)]
pub struct RouterService<A = ()> {
    router: Arc<Router<A>>,
    /// The request whose body is being received. Requests without one need no place.
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    head: OwnedRequestHead,
    body: Vec<u8>,
}

impl<A> RouterService<A> {
    /// Calls the handler of a request whose body is complete.
    fn answer(
        &self,
        head: &RequestHead<'_>,
        (body, trailers): (&[u8], Fields<'_>),
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) {
        let router = &*self.router;
        let mut values = Vec::new();
        let endpoints = router.tree.find(head.path(), &mut values);
        let (names, handler): (&[String], _) = match router.choose(head, endpoints) {
            Choice::Route(route) => {
                (&router.routes[route].names, Some(&router.routes[route].handler))
            }
            Choice::Allow => return self.allow(head, endpoints, response),
            Choice::Nothing => (&[], router.fallback.as_ref()),
        };
        match handler {
            Some(handler) => {
                let request = RoutedRequest { head, body, trailers, names, values: &values };
                handler(&request, response, context);
            }
            None if head.target() == Target::Asterisk => {
                response.head(Status::NO_CONTENT).empty();
            }
            None => response.error(Status::NOT_FOUND),
        }
        if !response.is_begun() {
            response.error(Status::INTERNAL_SERVER_ERROR);
        }
        response.finish();
    }

    fn allow(&self, head: &RequestHead<'_>, endpoints: &[usize], response: &mut Response<'_>) {
        let allowed = self.router.allowed(endpoints);
        if head.method() == "OPTIONS" {
            return response.head(Status::NO_CONTENT).field("Allow", allowed).empty();
        }
        let head = response.head(Status::METHOD_NOT_ALLOWED).field("Allow", &allowed);
        let text = format!("The methods of this path are {allowed}.\n");
        head.field("Content-Type", "text/plain; charset=utf-8").body(text.as_bytes());
    }
}

impl<A> Service<A> for RouterService<A> {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        if head.body().is_empty() {
            self.answer(head, (&[], Fields::EMPTY), response, context);
            return Flow::Continue;
        }
        let router = &*self.router;
        let endpoints = router.tree.find(head.path(), &mut Vec::new());
        match router.choose(head, endpoints) {
            Choice::Route(route) => {
                if let Some(size) = router.routes[route].body_max {
                    response.set_body_max(size);
                }
            }
            Choice::Nothing if router.fallback.is_some() => {}
            // The body makes no difference: it is dropped.
            Choice::Nothing | Choice::Allow => {
                self.answer(head, (&[], Fields::EMPTY), response, context);
                return Flow::Continue;
            }
        }
        /// No more is reserved because of what a client announces.
        const RESERVED_MAX: u64 = 64 * 1024;
        let size = match head.body() {
            BodyLength::Known(length) => length.min(RESERVED_MAX) as usize,
            BodyLength::Chunked | BodyLength::UntilClose => 0,
        };
        let body = Vec::with_capacity(size);
        self.pending = Some(Box::new(Pending { head: head.to_owned(), body }));
        Flow::Continue
    }

    fn body(&mut self, piece: &mut [u8], _: &mut Response<'_>, _: &mut Context<'_, A>) -> Flow {
        if let Some(pending) = &mut self.pending {
            pending.body.extend_from_slice(piece);
        }
        Flow::Continue
    }

    fn end(
        &mut self,
        trailers: Fields<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        if let Some(pending) = self.pending.take() {
            self.answer(&pending.head.view(), (&pending.body, trailers), response, context);
        }
        Flow::Continue
    }
}
