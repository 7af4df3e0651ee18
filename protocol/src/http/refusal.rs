//! Why a message is refused.

use std::error::Error;
use std::fmt;

use super::Status;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:ident $text:literal;)*) => {
        /// The reason why a head or a body is refused: which rule it breaks, or which limit.
        ///
        /// [`Display`](fmt::Display) says what is wrong, for logs and for the peer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every refusal, for tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the status that a server answers with.
            pub fn status(self) -> Status {
                match self {
                    $(Self::$name => Status::$status,)*
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// The first line is not `METHOD TARGET HTTP/1.1`, with one space between the parts (RFC 9112
    /// section 3).
    RequestLine BAD_REQUEST "the first line is not that of an HTTP request";
    /// The target has a form that does not exist, that does not fit the method, or a byte that no
    /// URI has (RFC 9112 section 3.2).
    Target BAD_REQUEST "the request target is invalid";
    /// The target is longer than `target_size_max`.
    TargetTooLong URI_TOO_LONG "the request target is too long";
    /// The version is neither 1.0 nor 1.1, nor a later 1.x.
    Version VERSION_NOT_SUPPORTED "only HTTP/1.1 and HTTP/1.0 are spoken here";
    /// A first line of a response is not `HTTP/1.1 STATUS REASON` (RFC 9112 section 4).
    StatusLine BAD_GATEWAY "the first line is not that of an HTTP response";
    /// A line does not end with both a carriage return and a line feed, or has one of them inside
    /// (RFC 9112 section 2.2).
    LineEnd BAD_REQUEST "a line does not end with CR LF";
    /// There is a control byte where none is allowed (RFC 9110 section 5.5).
    Control BAD_REQUEST "there is a control byte in a line";
    /// A line begins with white space: it would continue the line before (RFC 9112 section 5.2).
    Folded BAD_REQUEST "a field goes on in the next line";
    /// The name of a field is empty, is no token, or is not followed by a colon at once (RFC 9112
    /// section 5.1).
    FieldName BAD_REQUEST "the name of a field is invalid";
    /// The head is longer than `head_size_max`.
    HeadTooLarge FIELDS_TOO_LARGE "the head is too large";
    /// There are more fields than `fields_max`.
    TooManyFields FIELDS_TOO_LARGE "the head has too many fields";
    /// A request of HTTP/1.1 has no `Host` (RFC 9112 section 3.2).
    NoHost BAD_REQUEST "the request has no Host";
    /// There is more than one `Host`.
    SeveralHosts BAD_REQUEST "the request has several Host fields";
    /// The value of `Host` is no host with an optional port.
    Host BAD_REQUEST "the Host is invalid";
    /// `Content-Length` is not a number of up to 64 bits, in digits alone (RFC 9112 section 6.3).
    Length BAD_REQUEST "the Content-Length is invalid";
    /// There is more than one `Content-Length`, or it is a list.
    SeveralLengths BAD_REQUEST "there are several Content-Lengths";
    /// There are both `Content-Length` and `Transfer-Encoding`: two programs could find different
    /// ends of the message.
    LengthAndCoding BAD_REQUEST "there are both Content-Length and Transfer-Encoding";
    /// `Transfer-Encoding` does not end with `chunked`, or has it twice, so the end of the body is
    /// not known (RFC 9112 section 6.1).
    Coding BAD_REQUEST "the Transfer-Encoding does not end with one chunked";
    /// `Transfer-Encoding` has other codings than `chunked`.
    UnknownCoding NOT_IMPLEMENTED "the only Transfer-Encoding understood here is chunked";
    /// A message of HTTP/1.0 has `Transfer-Encoding`, which that version does not know (RFC 9112
    /// section 6.1).
    CodingInHttp10 BAD_REQUEST "a message of HTTP/1.0 has a Transfer-Encoding";
    /// `Expect` asks for something other than `100-continue` (RFC 9110 section 10.1.1).
    Expectation EXPECTATION_FAILED "the only expectation understood here is 100-continue";
    /// The size of a chunk is not a number of up to 64 bits in hexadecimal digits, or its line is
    /// too long or malformed (RFC 9112 section 7.1).
    ChunkSize BAD_REQUEST "the size of a chunk is invalid";
    /// The data of a chunk is not followed by CR LF.
    ChunkEnd BAD_REQUEST "a chunk does not end where its size says";
    /// The body is larger than allowed.
    BodyTooLarge CONTENT_TOO_LARGE "the body is too large";
    /// The head did not arrive in time.
    HeadTimeout REQUEST_TIMEOUT "the head of the request did not arrive in time";
    /// The body did not arrive in time.
    BodyTimeout REQUEST_TIMEOUT "the body of the request arrived too slowly";
    /// A server closed the connection before it sent anything of a response.
    NoResponse BAD_GATEWAY "the server closed the connection before it answered";
    /// The head of a response did not arrive in time.
    ResponseTimeout GATEWAY_TIMEOUT "the server did not answer in time";
    /// The body of a response stopped arriving.
    ResponseStalled GATEWAY_TIMEOUT "the server stopped sending in the middle of a response";
    /// A server sent more interim responses than `interim_max`.
    TooManyInterims BAD_GATEWAY "the server sends too many interim responses";
    /// A server sent something that was not asked for.
    Unsolicited BAD_GATEWAY "the server sent something without a request";
    /// The stream ended in the middle of a message.
    Truncated BAD_REQUEST "the stream ended in the middle of a message";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Error for Refusal {}
