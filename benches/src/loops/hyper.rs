//! hyper 1, on tokio's current-thread runtime.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::HELLO;
use super::tokio::runtime;

/// Serves [`HELLO`] for ever, with a task for each connection. There is no limit of time: hyper has
/// one only with a timer, which costs more.
///
/// # Errors
/// Fails if accepting fails.
pub fn hello(listener: StdListener) -> io::Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            // It answers requests that arrive together with one write.
            let connection = http1::Builder::new()
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (path, text) = HELLO;
    if request.uri().path() != path {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let mut response = Response::new(Full::new(Bytes::from_static(text)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}
