//! What the memory tier weighs, beside what the allocator has given out for it.
//!
//! One test alone in its process: the counters are of the whole process.

use std::alloc::System;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use skerry_cache::exchange::{Bounds, Exchange};
use skerry_cache::fetch::{Body, Fetch, FetchError, Fetched, Forward};
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::Policy;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NOW: Time = Time(1_767_225_600_000);
const MIB: u64 = 1 << 20;
/// What an allocator takes beside what it was asked for: a header, and the rest of a step of 16 bytes.
const ALLOCATION_COST: u64 = 16;
/// How far the weight may be below what is taken, and how far above, in percent.
const BELOW_MAX: u64 = 10;
const ABOVE_MAX: u64 = 50;

/// A shape of answers: what the fields and the body of one of them are.
#[derive(Clone, Copy, Debug)]
struct Shape {
    name: &'static str,
    count: usize,
    body: usize,
    /// The length of the path.
    path: usize,
    /// The pieces in which the body comes.
    pieces: usize,
    fields: fn(usize) -> Vec<(&'static str, String)>,
    /// Fields of the request.
    asked: fn(usize) -> Vec<(&'static str, String)>,
}

const PLAIN: Shape = Shape { name: "plain", count: 4_000, body: 1_000, path: 20, pieces: 1, fields: |_| Vec::new(), asked: |_| Vec::new() };

fn shapes() -> Vec<Shape> {
    let many = |number: usize| (0..60).map(|field| (FIELDS[field], format!("value {field} of {number}"))).collect();
    let tags = |number: usize| vec![("cache-tag", (0..60).map(|tag| format!("tag-{number}-{tag}")).collect::<Vec<_>>().join(","))];
    let usual = |_| {
        let fields = ["date", "vary", "x-cache", "x-served-by", "age", "via", "accept-ranges", "x-timer"];
        fields.map(|name| (name, if name == "date" { "Thu, 01 Jan 2026 00:00:00 GMT".to_owned() } else { "7".to_owned() })).to_vec()
    };
    let dated = |_| vec![("date", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned())];
    let varied = |_| vec![("vary", "accept-language".to_owned())];
    let part = |number: usize| vec![("content-range", format!("bytes {}-{}/100000", number % 9 * 10_000, number % 9 * 10_000 + 999))];
    vec![
        PLAIN,
        Shape { name: "dated", fields: dated, ..PLAIN },
        Shape { name: "thirteen fields", fields: usual, ..PLAIN },
        Shape { name: "empty", body: 0, ..PLAIN },
        Shape { name: "16 KB", count: 1_000, body: 16_000, ..PLAIN },
        Shape { name: "16 KB in crumbs", count: 1_000, body: 16_000, pieces: 160, ..PLAIN },
        Shape { name: "200 KB", count: 100, body: 200_000, pieces: 13, ..PLAIN },
        Shape { name: "long keys", path: 3_000, ..PLAIN },
        Shape { name: "many fields", count: 1_000, fields: many, ..PLAIN },
        Shape { name: "tags", count: 1_000, fields: tags, ..PLAIN },
        Shape { name: "variants", fields: varied, asked: |number| vec![("accept-language", format!("l{number}"))], ..PLAIN },
        Shape {
            name: "parts",
            fields: part,
            asked: |number| vec![("range", format!("bytes={}-{}", number % 9 * 10_000, number % 9 * 10_000 + 999))],
            ..PLAIN
        },
        Shape { name: "rules for queries", fields: |_| vec![("no-vary-search", "params=(\"a\" \"b\")".to_owned())], ..PLAIN },
    ]
}

/// Names of header fields, as long as the process lives.
static FIELDS: std::sync::LazyLock<Vec<&'static str>> =
    std::sync::LazyLock::new(|| (0..60).map(|field| &*format!("x-field-{field}").leak()).collect());

struct Origin(Shape, usize);

struct Pieces(Vec<Bytes>);

#[async_trait]
impl Body for Pieces {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        Ok(self.0.pop())
    }
}

#[async_trait]
impl Fetch for Origin {
    async fn fetch(&self, _: Forward) -> Result<Fetched, FetchError> {
        let Self(shape, number) = self;
        let mut headers = HeaderMap::new();
        let fields = (shape.fields)(*number);
        let status = if fields.iter().any(|(name, _)| *name == "content-range") { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let usual = [
            ("cache-control", "max-age=86400".to_owned()),
            ("content-type", "text/html; charset=utf-8".to_owned()),
            ("etag", "\"0123456789abcdef\"".to_owned()),
            ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
            ("server", "nginx/1.22.1".to_owned()),
            ("content-length", shape.body.to_string()),
        ];
        for (name, value) in usual.into_iter().chain(fields) {
            headers.append(HeaderName::from_static(name), HeaderValue::try_from(value).expect("a value"));
        }
        let piece = shape.body.div_ceil(shape.pieces).max(1);
        let pieces = vec![7_u8; shape.body].chunks(piece).map(Bytes::copy_from_slice).collect();
        Ok(Fetched {
            status,
            headers,
            interim: Vec::new(),
            body: Box::new(Pieces(pieces)),
            age: None,
            requested_at: NOW,
            responded_at: NOW,
        })
    }
}

/// What is given out now, more than when the region began.
fn taken(region: &Region<'_, System>) -> u64 {
    let change = region.change();
    let bytes = change.bytes_allocated as u64 - change.bytes_deallocated as u64;
    bytes + ALLOCATION_COST * (change.allocations - change.deallocations) as u64
}

fn request(shape: Shape, number: usize) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in (shape.asked)(number) {
        headers.append(HeaderName::from_static(name), HeaderValue::try_from(value).expect("a value"));
    }
    let path_and_query = format!("/{}/{number}?c={number}", "p".repeat(shape.path));
    Request { head_only: false, scheme: "https", authority: "weight.example".to_owned(), path_and_query, headers }
}

/// Stores the answers of a shape, and has the front door make its heads of those that it can.
async fn store(exchange: &Arc<Exchange>, policy: &Arc<Policy>, shape: Shape) {
    for number in 0..shape.count {
        let answer = exchange.run(request(shape, number), policy, NOW, Arc::new(Origin(shape, number))).await;
        let mut answer = answer.expect("an answer");
        while answer.body.chunk().await.expect("a piece").is_some() {}
        drop(answer);
        if let Some(hit) = exchange.ready(&mut request(shape, number), policy, NOW) {
            let fields: usize = hit.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
            hit.text(|| Bytes::from(vec![0; fields]));
            hit.section(|| Bytes::from(vec![0; fields]));
        }
    }
}

fn exchange(memory: u64) -> Arc<Exchange> {
    Exchange::new(Bounds { memory, object_max: MIB, filling_max: 8 * MIB })
}

/// The weight of what is stored, and what it takes.
async fn weighed(policy: &Arc<Policy>, shape: Shape) -> (u64, u64) {
    // What is made once for all is there before the count begins.
    let first = exchange(256 * MIB);
    store(&first, policy, Shape { count: 1, ..shape }).await;
    drop(first);
    let exchange = exchange(256 * MIB);
    let region = Region::new(ALLOCATOR);
    store(&exchange, policy, shape).await;
    settle().await;
    let figures = exchange.figures();
    assert_eq!(figures.evictions, 0, "{}", shape.name);
    assert!(figures.entries as usize >= shape.count, "{}: {} entries", shape.name, figures.entries);
    (figures.bytes, taken(&region))
}

/// Lets tasks that the exchange began come to their end.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// What a memory tier that was filled several times over takes in all.
async fn overfilled(policy: &Arc<Policy>, shape: Shape) -> (u64, u64) {
    const ROOM: u64 = 8 * MIB;
    let region = Region::new(ALLOCATOR);
    let exchange = exchange(ROOM);
    store(&exchange, policy, Shape { count: 20_000, ..shape }).await;
    settle().await;
    assert!(exchange.figures().evictions > 5_000, "{} evicted", exchange.figures().evictions);
    (ROOM, taken(&region))
}

#[test]
fn the_weight_of_what_is_stored_is_what_the_allocator_has_given_for_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let policy = Arc::new(Policy::default());
    let mut faults = Vec::new();
    let mut judge = |name: &str, (weight, taken): (u64, u64), above_max: u64| {
        println!("{name}: {weight} bytes weighed, {taken} taken, {:.2}", weight as f64 / taken as f64);
        if weight * 100 < taken * (100 - BELOW_MAX) || weight * 100 > taken * (100 + above_max) {
            faults.push(format!("{name}: {weight} bytes weighed, {taken} taken"));
        }
    };
    runtime.block_on(async {
        for shape in shapes() {
            judge(shape.name, weighed(&policy, shape).await, ABOVE_MAX);
        }
        for shape in [PLAIN, Shape { name: "empty", body: 0, ..PLAIN }] {
            judge(&format!("{}, filled several times over", shape.name), overfilled(&policy, shape).await, ABOVE_MAX);
        }
    });
    assert!(faults.is_empty(), "weights that are wrong:\n{}", faults.join("\n"));
}
