//! RFC 9111 through the request machine, one file a group of sections; a test's name begins with the section it holds.
//!
//! `conformance/rfc9111.toml` names these tests beside the requirements.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use skerry_config::snapshot::Policy;

use super::house::{House, Reply, START, Upstream, policy, read};
use crate::exchange::Bounds;
use crate::fetch::FetchErrorKind;
use crate::request::Request;
use crate::time::Time;

mod directives;
mod freshness;
mod invalidation;
mod partial;
mod reuse;
mod storing;
mod validation;

/// Fields of a message.
type Fields = &'static [(&'static str, &'static str)];

/// The `Date` of [`START`].
const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
/// Ten days earlier.
const TEN_DAYS_BEFORE: &str = "Mon, 22 Dec 2025 00:00:00 GMT";

/// How a request came to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// From the store; nobody was asked.
    Reused,
    /// Upstream was asked whether what is stored holds.
    Validated,
    /// Upstream was asked as if nothing were stored.
    Fetched,
    /// No answer.
    Failed,
}

/// An answer and how it came.
#[derive(Debug)]
struct Seen {
    how: How,
    /// 504 where there is no answer.
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Asks, reads the answer to its end, and waits until nothing is under way any more.
async fn ask(house: &House, request: Request, now: Time) -> Seen {
    let before = house.upstream.calls();
    let Ok(answer) = house.run(request, now).await else {
        house.settled().await;
        return Seen { how: How::Failed, status: 504, headers: HeaderMap::new(), body: Bytes::new() };
    };
    let calls = house.upstream.calls();
    let validates = |index: usize| {
        let headers = house.upstream.call(index).request.headers;
        headers.contains_key("if-none-match") || headers.contains_key("if-modified-since")
    };
    let how = match calls {
        _ if calls == before => How::Reused,
        _ if validates(before) => How::Validated,
        _ => How::Fetched,
    };
    let (status, headers) = (answer.status.as_u16(), answer.headers.clone());
    let body = read(answer).await.unwrap();
    house.settled().await;
    Seen { how, status, headers, body }
}

/// What `second` finds at `at`, after `first` was answered with `reply`; every later question is answered `other`, which nobody may store.
async fn again(policy: Policy, reply: Reply, first: Request, second: Request, at: Time) -> Seen {
    let upstream = Upstream::new(move |index, _| if index == 0 { reply.clone() } else { other(at) });
    let house = house(&upstream, policy);
    ask(&house, first, START).await;
    ask(&house, second, at).await
}

/// The same for one GET twice, in the cache of a site that says nothing.
async fn twice(reply: Reply, request: Request, at: Time) -> Seen {
    again(policy(), reply, request.clone(), request, at).await
}

fn other(at: Time) -> Reply {
    Reply::new(200, &[("cache-control", "no-store")], "other").at(at)
}

fn house(upstream: &std::sync::Arc<Upstream>, policy: Policy) -> House {
    House::with(upstream, policy, Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 })
}

/// An HTTP date so many seconds from [`START`].
fn date(offset: i64) -> String {
    let millis = START.0.saturating_add_signed(offset * 1_000);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(millis))
}

/// The origin cannot be reached.
fn down() -> Reply {
    Reply::error(FetchErrorKind::Connect)
}

/// A 200 with `Cache-Control` and a body.
fn ok(control: &str) -> Reply {
    Reply::new(200, &[("cache-control", control)], "stored")
}

fn head(request: Request) -> Request {
    Request { head_only: true, ..request }
}
