//! A receiver that collects the whole response.

use protocol::http::ResponseHead;
use protocol::{Context, Flow};
use reactor::LoopCx;
use url::Url;

use super::{Error, ErrorKind, Receiver, Request, Summary};

/// A whole response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The fields of the head, in order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, decoded.
    pub body: Vec<u8>,
    /// The URL that it is from, after all redirections.
    pub url: Url,
    /// How often the request was sent, and the like.
    pub summary: Summary,
}

impl Response {
    /// Returns the value of the first field of this name, if it is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(it, _)| it.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }
}

/// Collects a response for a closure.
pub(super) struct Collector<F> {
    size_max: usize,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    completion: F,
}

impl<F> Collector<F> {
    pub(super) fn new(size_max: usize, completion: F) -> Self {
        Self { size_max, fields: Vec::new(), body: Vec::new(), completion }
    }
}

impl<A, F> Receiver<A> for Collector<F>
where
    F: FnOnce(Result<Response, Error>, &mut LoopCx<'_, A>) + Send,
{
    fn head(&mut self, head: &ResponseHead<'_>, _: &mut Context<'_, A>) -> Result<Flow, Error> {
        self.fields = owned(head);
        self.body.clear();
        Ok(Flow::Continue)
    }

    fn body(&mut self, piece: &[u8], _: &mut Context<'_, A>) -> Result<Flow, Error> {
        if self.body.len() + piece.len() > self.size_max {
            let text = format!("the body is larger than {} bytes", self.size_max);
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        self.body.extend_from_slice(piece);
        Ok(Flow::Continue)
    }

    fn again(&mut self, _: &mut Request, _: &Error) -> bool {
        // What was collected is dropped.
        true
    }

    fn done(self: Box<Self>, result: Result<Summary, Error>, cx: &mut LoopCx<'_, A>) {
        let this = *self;
        let response = result.map(|summary| Response {
            status: summary.status,
            fields: this.fields,
            body: this.body,
            url: summary.url.clone(),
            summary,
        });
        (this.completion)(response, cx);
    }
}

/// Returns the fields of a head.
pub(crate) fn owned(head: &ResponseHead<'_>) -> Vec<(String, Vec<u8>)> {
    head.fields().iter().map(|it| (it.name.to_owned(), it.value.to_vec())).collect()
}
