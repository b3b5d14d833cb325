//! A small JSON API: a version that can be raised, and an echo.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::answer::{self, Answer};

/// The largest upload that is echoed, in bytes.
const ECHO_BYTES_MAX: usize = 64 << 20;
/// Up to this many bytes the echo repeats the body; above it says only how long it was.
const ECHO_REPEATED_BYTES_MAX: usize = 64 << 10;

/// A version, and how often it was asked for.
#[derive(Debug)]
pub(super) struct Version {
    number: AtomicU64,
    served: AtomicU64,
}

impl Default for Version {
    fn default() -> Self {
        Self { number: AtomicU64::new(1), served: AtomicU64::new(0) }
    }
}

/// `GET` tells the version, `POST` raises it.
pub(super) fn version<B>(version: &Version, request: &Request<B>) -> Answer {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let served = version.served.fetch_add(1, Ordering::Relaxed) + 1;
            let number = version.number.load(Ordering::Relaxed);
            let mut answer = answer::json(&json!({"version": number, "served": served}), "public, max-age=2, stale-while-revalidate=10");
            answer::put(&mut answer, http::header::ETAG, &format!("\"v{number}-{served}\""));
            answer::put(&mut answer, http::HeaderName::from_static("cache-tag"), "api, version");
            answer
        }
        Method::POST => {
            let number = version.number.fetch_add(1, Ordering::Relaxed) + 1;
            answer::json(&json!({ "version": number }), "no-store")
        }
        _ => answer::not_allowed("GET, HEAD, POST"),
    }
}

/// Tells what arrived: the method, the target, the header fields, and the body or its length.
pub(super) async fn echo(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, ECHO_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes) else {
        return answer::text(StatusCode::PAYLOAD_TOO_LARGE, "the upload broke off or is over 64 MiB\n");
    };
    let mut fields = Map::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        fields.insert(name.as_str().to_owned(), Value::from(values.collect::<Vec<_>>().join(", ")));
    }
    let told = json!({
        "method": head.method.as_str(), "target": head.uri.to_string(), "headers": fields,
        "body_bytes": body.len(), "body": repeated(&body),
    });
    answer::json(&told, "no-store")
}

fn repeated(body: &Bytes) -> Option<String> {
    (body.len() <= ECHO_REPEATED_BYTES_MAX).then(|| String::from_utf8_lossy(body).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_raises_the_version() {
        let state = Version::default();
        let ask = |method| version(&state, &Request::builder().method(method).body(()).unwrap());
        assert_eq!(ask(Method::GET).headers()["etag"], "\"v1-1\"");
        assert_eq!(ask(Method::POST).headers()["cache-control"], "no-store");
        assert_eq!(ask(Method::GET).headers()["etag"], "\"v2-2\"");
        assert_eq!(ask(Method::DELETE).status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
