//! Cases of the cache whose instructions `.ci/guards` counts: the key of a request, the freshness of an answer, a hit in memory.
//!
//! `CASE TIMES` goes through one of them so often; without these two the names of all are printed. Measures nothing itself.

use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use skerry_cache::control::Control;
use skerry_cache::exchange::{Bounds, Exchange};
use skerry_cache::fetch::{Body, Fetch, FetchError, Fetched, Forward};
use skerry_cache::freshness::Freshness;
use skerry_cache::key::Key;
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::site::Key as Rules;
use skerry_config::snapshot::Policy;

/// Thu, 01 Jan 2026 00:00:00 GMT.
const ASKED: Time = Time(1_767_225_600_000);
/// A tenth of a second later.
const ANSWERED: Time = Time(ASKED.0 + 100);
/// A minute later.
const NOW: Time = Time(ASKED.0 + 60_000);
/// So many answers are stored, and asked for in turn: what the tables' seeds do to one of them evens out.
const ANSWERS: usize = 256;
/// The length of a stored body.
const BODY_BYTES: usize = 1_000;
const MIB: u64 = 1 << 20;

/// By name, each to be gone through so often.
type Case = (&'static str, fn(usize));

const CASES: [Case; 3] = [("cache_key", key), ("freshness", freshness), ("memory_hit", hit)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else { return CASES.iter().for_each(|(name, _)| println!("{name}")) };
    let (_, case) = CASES.iter().find(|(case, _)| case == name).expect("one of the cases");
    measured(*case, times.parse().expect("a number of times"));
}

/// What `.ci/guards` counts: all that happens in here, and nothing that a library does when the program starts.
#[inline(never)]
fn measured(case: fn(usize), times: usize) {
    case(times);
    black_box(());
}

fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// What a browser asks for.
fn request(number: usize) -> Request {
    let headers = fields(&[
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ]);
    let path_and_query = format!("/catalogue/shoes/{number:03}/picture.webp?width=640&v=3");
    Request { head_only: false, scheme: "https", authority: "www.shop.example".to_owned(), path_and_query, headers }
}

/// What an origin says of an answer.
fn answered() -> HeaderMap {
    fields(&[
        ("age", "7"),
        ("cache-control", "public, max-age=3600, stale-while-revalidate=60, stale-if-error=86400"),
        ("content-type", "image/webp"),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("etag", "\"0123456789abcdef\""),
        ("last-modified", "Mon, 01 Dec 2025 00:00:00 GMT"),
    ])
}

fn key(times: usize) {
    let (request, rules) = (request(1), Rules::default());
    for _ in 0..times {
        black_box(Key::of(black_box(&request), black_box(&rules)));
    }
}

/// From the fields of an answer to whether it is fresh.
fn freshness(times: usize) {
    let (headers, policy) = (answered(), Policy::default());
    for _ in 0..times {
        let headers = black_box(&headers);
        let freshness = Freshness::of(StatusCode::OK, headers, &Control::of(headers), black_box(&policy), None, ASKED, ANSWERED);
        assert!(black_box(freshness).is_fresh(black_box(NOW)));
    }
}

/// From a request to what is sent, as the front door asks for it.
fn hit(times: usize) {
    let policy = Arc::new(Policy::default());
    let exchange = Exchange::new(Bounds { memory: 64 * MIB, object_max: MIB, filling_max: 8 * MIB });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(store(&exchange, &policy));
    let mut requests: Vec<Request> = (0..ANSWERS).map(request).collect();
    for turn in 0..times {
        let hit = exchange.ready(black_box(&mut requests[turn % ANSWERS]), &policy, NOW).expect("a hit");
        assert!(black_box(hit).length() == BODY_BYTES as u64);
    }
}

struct Origin;

struct Whole(Option<Bytes>);

#[async_trait]
impl Body for Whole {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        Ok(self.0.take())
    }
}

#[async_trait]
impl Fetch for Origin {
    async fn fetch(&self, _: Forward) -> Result<Fetched, FetchError> {
        let mut headers = answered();
        headers.insert("content-length", HeaderValue::from(BODY_BYTES));
        let body = Box::new(Whole(Some(Bytes::from(vec![7; BODY_BYTES]))));
        Ok(Fetched { status: StatusCode::OK, headers, interim: Vec::new(), body, age: None, requested_at: ASKED, responded_at: ANSWERED })
    }
}

async fn store(exchange: &Arc<Exchange>, policy: &Arc<Policy>) {
    for number in 0..ANSWERS {
        let answer = exchange.run(request(number), "shop", policy, ASKED, Arc::new(Origin)).await;
        let mut answer = answer.expect("an answer");
        while answer.body.chunk().await.expect("a piece").is_some() {}
    }
}
