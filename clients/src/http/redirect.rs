//! Redirections (RFC 9110 section 15.4).

use url::Url;

use super::origin::shown;
use super::request::Body;
use super::{Error, ErrorKind, Origin, Request};

/// Fields that describe a body, and go with it.
const CONTENT_FIELDS: [&str; 9] = [
    "content-type",
    "content-length",
    "content-encoding",
    "content-language",
    "content-location",
    "digest",
    "content-digest",
    "transfer-encoding",
    "expect",
];

/// Fields with credentials, which are meant for one origin alone.
const CREDENTIAL_FIELDS: [&str; 4] = ["authorization", "cookie", "cookie2", "www-authenticate"];

/// Returns whether a status redirects to its `Location`.
pub(super) fn is_redirection(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Changes `request` to the one that a redirection asks for.
///
/// - 303 asks for the result of what was done, with `GET`; `HEAD` stays. 301 and 302 do the same for
///   `POST`, as all clients have always done (RFC 9110 sections 15.4.2 and 15.4.3). The body is
///   dropped, and with it the fields that describe it.
/// - 307 and 308 keep the method and send the body again.
/// - Credentials and cookies do not leave their origin, nor does a field `Host` that was set by hand.
/// - A fragment stays unless the location has its own (RFC 9110 section 10.2.2).
///
/// # Errors
/// When there is no usable location, or the body cannot be sent again.
pub(super) fn follow(
    request: &mut Request,
    status: u16,
    location: Option<&[u8]>,
) -> Result<(), Error> {
    let refuse =
        |why: String| Error::new(ErrorKind::Redirect, format!("{}: {why}", shown(&request.url)));
    let location = location
        .ok_or_else(|| refuse(format!("the status {status} redirects and names no location")))?;
    let location = String::from_utf8_lossy(location);
    let mut target = request.url.join(&location).map_err(|error| {
        refuse(format!("it redirects to {location:?}, which is no URL: {error}"))
    })?;
    let from = Origin::of(&request.url)?;
    let to = Origin::of(&target).map_err(|error| refuse(format!("it redirects: {error}")))?;
    if target.fragment().is_none() {
        let fragment = request.url.fragment().map(str::to_owned);
        target.set_fragment(fragment.as_deref());
    }
    let becomes_get = match status {
        303 => request.method != "HEAD",
        301 | 302 => request.method == "POST",
        _ => false,
    };
    if becomes_get {
        request.method = "GET".to_owned();
        request.body = Body::Empty;
        remove(request, &CONTENT_FIELDS);
    } else if !request.body.restart() {
        let why = format!("it redirects to {target}, and the body cannot be sent a second time");
        return Err(refuse(why));
    }
    if from == to {
        keep_user(&request.url, &mut target);
    } else {
        remove(request, &CREDENTIAL_FIELDS);
        remove(request, &["host"]);
    }
    request.url = target;
    Ok(())
}

fn remove(request: &mut Request, names: &[&str]) {
    request.fields.retain(|(name, _)| !names.iter().any(|it| name.eq_ignore_ascii_case(it)));
}

/// Keeps the user and the password of a URL, unless the new one has its own.
fn keep_user(from: &Url, to: &mut Url) {
    if to.username().is_empty() && to.password().is_none() {
        // A URL of http has a host, so that neither fails.
        let _ = to.set_username(from.username());
        let _ = to.set_password(from.password());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(request: Request, status: u16, location: &str) -> Request {
        let mut request = request;
        follow(&mut request, status, Some(location.as_bytes())).expect("it can be followed");
        request
    }

    fn post() -> Request {
        Request::new("POST", "http://user:word@one.example/a/b?c#d")
            .expect("it is a URL")
            .field("Content-Type", "text/plain")
            .field("Authorization", "Basic x")
            .field("Cookie", "a=b")
            .field("Host", "other.example")
            .field("X-Mine", "1")
            .with_body(b"body".to_vec())
    }

    fn names(request: &Request) -> Vec<&str> {
        request.fields.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn the_method_changes_as_the_standard_says() {
        for (method, status, expected, keeps_body) in [
            ("POST", 301, "GET", false),
            ("POST", 302, "GET", false),
            ("POST", 303, "GET", false),
            ("POST", 307, "POST", true),
            ("POST", 308, "POST", true),
            ("PUT", 301, "PUT", true),
            ("PUT", 302, "PUT", true),
            ("PUT", 303, "GET", false),
            ("DELETE", 303, "GET", false),
            ("HEAD", 303, "HEAD", true),
            ("HEAD", 301, "HEAD", true),
            ("GET", 302, "GET", true),
        ] {
            let mut request = post();
            request.method = method.to_owned();
            let request = redirected(request, status, "/x");
            assert_eq!(request.method, expected, "{method} {status}");
            assert_eq!(matches!(request.body, Body::Bytes(_)), keeps_body, "{method} {status}");
            let has_type = names(&request).contains(&"Content-Type");
            assert_eq!(has_type, keeps_body, "{method} {status}");
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let same = redirected(post(), 307, "/x");
        assert_eq!(names(&same), ["Content-Type", "Authorization", "Cookie", "Host", "X-Mine"]);
        assert_eq!(same.url.as_str(), "http://user:word@one.example/x#d");
        for other in [
            "http://two.example/x",
            "https://one.example/x",
            "http://one.example:81/x",
            "//two.example/x",
        ] {
            let request = redirected(post(), 307, other);
            assert_eq!(names(&request), ["Content-Type", "X-Mine"], "{other}");
            assert_eq!((request.url.username(), request.url.password()), ("", None), "{other}");
        }
    }

    #[test]
    fn locations_are_relative_to_the_url() {
        for (location, expected) in [
            ("x", "http://user:word@one.example/a/x#d"),
            ("../x", "http://user:word@one.example/x#d"),
            ("?q=1", "http://user:word@one.example/a/b?q=1#d"),
            ("/x#own", "http://user:word@one.example/x#own"),
            ("http://one.example:80/y", "http://user:word@one.example/y#d"),
        ] {
            assert_eq!(redirected(post(), 308, location).url.as_str(), expected, "{location}");
        }
    }

    #[test]
    fn a_location_that_leads_nowhere_is_refused() {
        for (location, hint) in [
            (None, "names no location"),
            (Some("http://a b/"), "no URL"),
            (Some("file:///etc/passwd"), "the scheme file is not supported"),
            (Some("ftp://one.example/"), "the scheme ftp is not supported"),
        ] {
            let mut request = post();
            let error =
                follow(&mut request, 302, location.map(str::as_bytes)).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Redirect);
            assert!(error.to_string().contains(hint), "{error}");
        }
    }
}
