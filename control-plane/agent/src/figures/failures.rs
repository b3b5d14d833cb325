//! The last requests that were answered with an error of ours or of the origin, or cut off: what `skerry node errors` shows.
//!
//! The lock covers the ring. Queries are left out: they may hold secrets.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::wire::ANSWER_BYTES_MAX;

/// Failures kept; the oldest goes first.
const FAILURES_MAX: usize = 100;

/// Bytes of a host with its path that are kept, and of a reason.
const URL_BYTES_MAX: usize = 512;
const REASON_BYTES_MAX: usize = 256;

/// Room of an answer for what is around its failures, in bytes.
const ANSWER_REST_BYTES: usize = 1_024;

/// A request that went wrong.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// The name of its site.
    pub site: &'a str,
    /// Its method.
    pub method: &'a str,
    /// Authority, path and query, where they are known; the query is not kept.
    pub uri: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Why there was no other answer, or why it was not sent to its end.
    pub reason: &'a str,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    at: SystemTime,
    site: String,
    method: String,
    url: String,
    status: u16,
    reason: String,
}

impl Failures {
    pub(super) fn add(&self, failure: &Failure<'_>) {
        let url = failure.uri.split(['?', '#']).next().unwrap_or_default();
        let kept = Kept {
            at: SystemTime::now(),
            site: failure.site.to_owned(),
            method: cut(failure.method, REASON_BYTES_MAX),
            url: cut(url, URL_BYTES_MAX),
            status: failure.status,
            reason: cut(failure.reason, REASON_BYTES_MAX),
        };
        let mut ring = self.0.lock();
        if ring.len() >= FAILURES_MAX {
            ring.pop_front();
        }
        ring.push_back(kept);
    }

    /// The newest first, as many as an answer has room for.
    pub(super) fn to_json(&self) -> Value {
        let mut rest = ANSWER_BYTES_MAX - ANSWER_REST_BYTES;
        let mut list = Vec::new();
        for kept in self.0.lock().iter().rev() {
            let at_ms = kept.at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            let Kept { site, method, url, status, reason, .. } = kept;
            let one = json!({"at_ms": at_ms, "site": site, "method": method, "url": url, "status": status, "reason": reason});
            let bytes = one.to_string().len() + 1;
            if bytes > rest {
                break;
            }
            rest -= bytes;
            list.push(one);
        }
        json!({ "errors": list })
    }
}

/// The beginning of a text, at most so many bytes of it.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_without_their_queries_within_the_bounds() {
        let failures = Failures::default();
        let long = "/ä".repeat(2_000);
        for number in 0..150 {
            let uri = format!("shop.test/{number}{long}?token=secret");
            failures.add(&Failure { site: "shop", method: "GET", uri: &uri, status: 502, reason: &"\"".repeat(1_000) });
        }
        let json = failures.to_json();
        let text = json.to_string();
        assert!(text.len() <= ANSWER_BYTES_MAX && !text.contains("secret"), "{}", text.len());
        let list = json["errors"].as_array().unwrap();
        assert!(list.len() > 40 && list.len() < 100, "{}", list.len());
        assert!(list[0]["url"].as_str().unwrap().starts_with("shop.test/149/ä"), "{}", list[0]);
        assert!(list[0]["url"].as_str().unwrap().len() <= URL_BYTES_MAX);
        assert_eq!(failures.0.lock().len(), FAILURES_MAX);
    }
}
