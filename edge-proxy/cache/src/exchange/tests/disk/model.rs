//! Storing, purging, invalidating and restarting at random, against a plain map.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use proptest::prelude::*;
use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key;

use super::super::house::{Reply, START, Upstream, get, snapshot};
use super::{KIB, Lasting};
use crate::store::disk::shaky::Faults;

const PATHS: usize = 5;

#[derive(Clone, Debug)]
enum Event {
    /// Asks for a path.
    Ask(usize),
    /// The origin has another version of it.
    Changes(usize),
    PurgeUrl(usize),
    PurgeTag(usize),
    PurgePrefix,
    PurgeAll,
    Invalidate(usize),
    DropAll,
    ForgetMemory,
    Settle,
    /// Dies with what is on disk.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0..PATHS).prop_map(Event::Ask),
        6 => (0..PATHS).prop_map(Event::Changes),
        2 => (0..PATHS).prop_map(Event::PurgeUrl),
        1 => (0..PATHS).prop_map(Event::PurgeTag),
        1 => Just(Event::PurgePrefix),
        1 => Just(Event::PurgeAll),
        2 => (0..PATHS).prop_map(Event::Invalidate),
        1 => Just(Event::DropAll),
        3 => Just(Event::ForgetMemory),
        3 => Just(Event::Settle),
        3 => Just(Event::Crash),
    ]
}

/// The versions at the origin, and the oldest that may still be answered with of each path.
struct Model {
    versions: Arc<Vec<AtomicUsize>>,
    oldest: HashMap<usize, usize>,
    seq: u64,
}

impl Model {
    fn out(&mut self, paths: impl Iterator<Item = usize>) {
        for path in paths {
            self.oldest.insert(path, self.versions[path].load(Ordering::SeqCst));
        }
    }
}

/// Paths differ in how large their answers are: some with their heads, some in slices.
fn answer(path: usize, version: usize) -> String {
    let bytes = [10, 5_000, 70 * usize::try_from(KIB).unwrap(), 200 * usize::try_from(KIB).unwrap(), 400 * usize::try_from(KIB).unwrap()];
    format!("{path} {version} ").repeat(bytes[path] / 5 + 1)
}

async fn run(events: &[Event], seed: u64) {
    let versions: Arc<Vec<AtomicUsize>> = Arc::new((0..PATHS).map(|_| AtomicUsize::new(0)).collect());
    let upstream = {
        let versions = Arc::clone(&versions);
        Upstream::new(move |_, call| {
            let path: usize = call.request.path_and_query.trim_start_matches('/').parse().unwrap();
            let version = versions[path].load(Ordering::SeqCst);
            let etag = format!("\"{path}-{version}\"");
            let fields = [("cache-control", "max-age=600"), ("etag", etag.as_str()), ("cache-tag", ["a", "b"][path % 2])];
            let whole = answer(path, version);
            let asked = |name: &str| call.request.headers.get(name).map(|value| value.to_str().unwrap());
            if let Some(range) = asked("range")
                && asked("if-range") == Some(etag.as_str())
            {
                let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                let mut part = Reply::new(206, &fields, whole[first..=last].to_owned());
                part.headers.push(("content-range", format!("bytes {first}-{last}/{}", whole.len())));
                return part;
            }
            Reply::new(200, &fields, whole)
        })
    };
    let mut lasting = Lasting::new(&upstream).await;
    lasting.log.set_faults(Faults { delayed: 300, read_fails: 10, damaged: 30, lost: 30, write_fails: 0 });
    let mut model = Model { versions, oldest: HashMap::new(), seq: 0 };
    for event in events {
        match event {
            Event::Ask(path) => ask(&lasting, &mut model, *path).await,
            Event::Changes(path) => drop(model.versions[*path].fetch_add(1, Ordering::SeqCst)),
            Event::PurgeUrl(path) => {
                purge(&lasting, &mut model, Targets { urls: vec![format!("shop.example/{path}")], ..Targets::default() });
                model.out(std::iter::once(*path));
            }
            Event::PurgeTag(tag) => {
                purge(&lasting, &mut model, Targets { tags: vec![["a", "b"][tag % 2].to_owned()], ..Targets::default() });
                model.out((0..PATHS).filter(|path| path % 2 == tag % 2));
            }
            Event::PurgePrefix => {
                purge(&lasting, &mut model, Targets { prefixes: vec!["shop.example/".to_owned()], ..Targets::default() });
                model.out(0..PATHS);
            }
            Event::PurgeAll => {
                purge(&lasting, &mut model, Targets { all: true, ..Targets::default() });
                model.out(0..PATHS);
            }
            Event::Invalidate(path) => {
                let house = &lasting.house;
                house.exchange.invalidate(&get(&format!("/{path}")), &house.policy, &HeaderMap::new());
                model.out(std::iter::once(*path));
            }
            Event::DropAll => {
                lasting.house.exchange.purge_all_through(model.seq);
                model.out(0..PATHS);
            }
            Event::ForgetMemory => lasting.forget_memory(),
            Event::Settle => lasting.settled().await,
            Event::Crash => {
                lasting.house.settled().await;
                lasting.restart().await;
                lasting.log.reseed(seed);
            }
        }
    }
}

fn purge(lasting: &Lasting, model: &mut Model, targets: Targets) {
    model.seq += 1;
    lasting.house.exchange.purge(&[Purge { seq: model.seq, targets }], &snapshot(Key::default()));
}

/// What is answered is one version, whole, not older than what was taken out of use.
async fn ask(lasting: &Lasting, model: &mut Model, path: usize) {
    let newest = model.versions[path].load(Ordering::SeqCst);
    let oldest = model.oldest.get(&path).copied().unwrap_or(0);
    let version_of = |etag: &str| etag.trim_matches('"').split_once('-').unwrap().1.parse::<usize>().unwrap();
    // What is at hand without waiting is held to the same.
    if let Some(hit) = lasting.house.exchange.ready(&mut get(&format!("/{path}")), &lasting.house.policy, START) {
        let version = version_of(hit.headers()["etag"].to_str().unwrap());
        assert!((oldest..=newest).contains(&version), "/{path}: {version} is ready where {oldest} to {newest} may be");
        assert_eq!(hit.body().concat(), answer(path, version).as_bytes());
    }
    let answered = lasting.house.run(get(&format!("/{path}")), START).await.unwrap();
    let version = version_of(answered.field("etag").unwrap());
    assert!((oldest..=newest).contains(&version), "/{path}: {version} where {oldest} to {newest} may be");
    // A lost slice that the origin has no more ends it early, visibly.
    match super::super::house::read(answered).await {
        Ok(body) => assert_eq!(body, answer(path, version)),
        Err(error) => assert!(version < newest, "{error:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn nothing_purged_wrong_or_mixed_is_answered(events in prop::collection::vec(event(), 1..90), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&events, seed));
    }
}
