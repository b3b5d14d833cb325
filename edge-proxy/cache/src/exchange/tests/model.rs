//! Many clients at once against an origin that changes, with purges and invalidations between any two steps.
//!
//! Held: an answer is the bytes of one version, says truly which of them, and is of no version older than the one that the last hard purge or
//! invalidation before the request left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::house::{House, Reply, Step, Upstream, gate, get_with, headers, seconds, snapshot, until};
use crate::answer::{Answer, Reader};
use crate::fetch::{FetchErrorKind, Forward};
use crate::range::{Wanted, wanted};
use crate::request::Request;

/// Versions that bytes can tell apart.
const VERSIONS: usize = 15;

/// The bytes from `start` up to `end` of a version; each tells its version and place.
fn bytes_of(version: usize, start: usize, end: usize) -> Vec<u8> {
    (start..end).map(|at| u8::try_from(version * 16 + at % 16).unwrap()).collect()
}

/// What the origin does, beside having the version of the moment.
#[derive(Clone, Copy, Debug)]
struct Manners {
    length: usize,
    /// All versions have one entity tag, though it is a strong one.
    careless: bool,
    /// Bodies have no `Content-Length`, and parts do not tell the length of the whole.
    vague: bool,
    /// Every so many bodies are cut in the middle.
    cuts: Option<usize>,
    varies: bool,
}

impl Manners {
    fn tag(self, version: usize) -> String {
        if self.careless { "\"same\"".to_owned() } else { format!("\"{version}\"") }
    }

    fn answer(self, index: usize, version: usize, forward: &Forward, gate: &Arc<Semaphore>) -> Reply {
        let tag = self.tag(version);
        let mut fields = vec![("cache-control", "max-age=10"), ("etag", tag.as_str())];
        if self.varies {
            fields.push(("vary", if index.is_multiple_of(5) { "x, y" } else { "x" }));
        }
        let asked = &forward.request.headers;
        if asked.get("if-none-match").is_some_and(|known| *known == *tag) {
            return Reply::new(304, &fields, "").gated(gate);
        }
        let length = self.length as u64;
        let range = wanted(asked).filter(|_| asked.get("if-range").is_none_or(|known| *known == *tag));
        // HEAD has no ranges. Where the length is not told, nothing tells what the end of the whole is.
        let range = range.filter(|range| !(forward.request.head_only || (self.vague && matches!(range, Wanted::Suffix(_)))));
        let (start, end, content_range) = match range.map(|range| range.within(length)) {
            None => (0, self.length, None),
            Some(None) => return Reply::new(416, &[("content-range", &format!("bytes */{length}"))], "").gated(gate),
            Some(Some((start, end))) => {
                let total = if self.vague { "*".to_owned() } else { length.to_string() };
                (usize::try_from(start).unwrap(), usize::try_from(end).unwrap(), Some(format!("bytes {start}-{}/{total}", end - 1)))
            }
        };
        let promised = (end - start).to_string();
        if !self.vague {
            fields.push(("content-length", &promised));
        }
        let status = if content_range.is_some() { 206 } else { 200 };
        fields.extend(content_range.as_deref().map(|range| ("content-range", range)));
        let reply = Reply::new(status, &fields, "").gated(gate);
        if forward.request.head_only {
            return reply;
        }
        let body = Bytes::from(bytes_of(version, start, end));
        let half = body.len() / 2;
        let mut steps = vec![Step::Gate(Arc::clone(gate))];
        if half > 0 {
            steps.insert(0, Step::Send(body.slice(..half)));
        }
        let cut = self.cuts.is_some_and(|every| index % every == every - 1);
        steps.push(if cut { Step::Fail } else { Step::Send(body.slice(half..)) });
        reply.steps(steps)
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    Ask {
        head: bool,
        range: Option<String>,
        if_range: Option<usize>,
        variant: u8,
    },
    Change,
    ChangeAndPurge,
    ChangeAndInvalidate,
    ChangeAndDrop,
    /// So many waits of the origin end.
    Release(usize),
    Passes(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let spec = prop_oneof![
        (0_usize..44, 0_usize..44).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        (0_usize..44).prop_map(|first| format!("{first}-")),
        (0_usize..44).prop_map(|suffix| format!("-{suffix}")),
    ];
    let range = proptest::collection::vec(spec, 0..4).prop_map(|specs| (!specs.is_empty()).then(|| format!("bytes={}", specs.join(","))));
    let ask = (prop::bool::weighted(0.15), range, prop::option::weighted(0.2, 0..VERSIONS), 0_u8..2);
    prop_oneof![
        8 => ask.prop_map(|(head, range, if_range, variant)| Event::Ask { head, range, if_range, variant }),
        1 => Just(Event::Change),
        2 => Just(Event::ChangeAndPurge),
        2 => Just(Event::ChangeAndInvalidate),
        1 => Just(Event::ChangeAndDrop),
        6 => (1_usize..5).prop_map(Event::Release),
        2 => (0_u64..8).prop_map(Event::Passes),
    ]
}

/// One client's request, and what was current when it was sent.
struct Sent {
    request: Request,
    floor: usize,
    answer: JoinHandle<Result<(Answer, Bytes), FetchErrorKind>>,
}

struct Model {
    manners: Manners,
    house: House,
    gate: Arc<Semaphore>,
    version: Arc<AtomicUsize>,
    clock: Arc<AtomicUsize>,
    floor: usize,
    sent: Vec<Sent>,
}

impl Model {
    fn new(manners: Manners) -> Self {
        let (version, clock) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gate = gate();
        let upstream = Upstream::new({
            let (version, clock, gate) = (Arc::clone(&version), Arc::clone(&clock), Arc::clone(&gate));
            move |index, forward| {
                let now = seconds(clock.load(Ordering::SeqCst) as u64);
                manners.answer(index, version.load(Ordering::SeqCst), forward, &gate).at(now)
            }
        });
        Self { manners, house: House::new(&upstream), gate, version, clock, floor: 0, sent: Vec::new() }
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Ask { head, range, if_range, variant } => self.ask(head, range, if_range, variant),
            // A careless origin that changes says so by a purge, or nobody could know.
            Event::Change if !self.manners.careless => drop(self.changed()),
            Event::Change => {}
            Event::ChangeAndPurge => {
                self.floor = self.changed();
                let seq = self.house.exchange.purge_seq() + 1;
                let targets = Targets { urls: vec!["https://shop.example/".to_owned()], ..Targets::default() };
                self.house.exchange.purge(&[Purge { seq, targets }], &snapshot(Key::default()));
            }
            Event::ChangeAndInvalidate => {
                self.floor = self.changed();
                self.house.exchange.invalidate(&get_with("/", &[]), &self.house.policy, &headers(&[]));
            }
            Event::ChangeAndDrop => {
                self.floor = self.changed();
                self.house.exchange.purge_all_through(0);
            }
            Event::Release(waits) => self.gate.add_permits(waits),
            Event::Passes(passed) => drop(self.clock.fetch_add(usize::try_from(passed).unwrap(), Ordering::SeqCst)),
        }
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    fn changed(&self) -> usize {
        let change = |version: usize| (version + 1 < VERSIONS).then_some(version + 1);
        let _ = self.version.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        self.version.load(Ordering::SeqCst)
    }

    fn ask(&mut self, head: bool, range: Option<String>, if_range: Option<usize>, variant: u8) {
        let (tag, variant) = (if_range.map(|version| self.manners.tag(version)), variant.to_string());
        let mut fields = vec![("x", variant.as_str())];
        fields.extend(range.as_deref().map(|range| ("range", range)));
        fields.extend(tag.as_deref().map(|tag| ("if-range", tag)));
        let request = Request { head_only: head, ..get_with("/", &fields) };
        let (house, now) = (self.house.clone(), seconds(self.clock.load(Ordering::SeqCst) as u64));
        let asking = request.clone();
        let answer = tokio::spawn(async move {
            let ready = house.exchange.ready(&mut asking.clone(), &house.policy, now);
            let mut answer = house.run(asking, now).await.map_err(|failed| failed.error.kind)?;
            let told = ready.as_ref().map(|ready| (ready.status(), ready.age, ready.status_of_cache.clone()));
            let mut body = std::mem::replace(&mut answer.body, Reader::empty());
            let mut bytes = Vec::new();
            while let Some(piece) = body.chunk().await.map_err(|error| error.kind)? {
                bytes.extend_from_slice(&piece);
            }
            if let (Some(ready), Some(told)) = (ready, told) {
                // What is ready is what the whole way comes to.
                let age = answer.field("age").map(|age| age.parse().unwrap());
                assert_eq!((answer.status, age.unwrap(), answer.status_of_cache.clone()), told);
                assert_eq!(ready.body().concat(), bytes);
                assert_eq!(answer.field("content-length"), Some(&*ready.length().to_string()));
            }
            Ok((answer, bytes.into()))
        });
        self.sent.push(Sent { request, floor: self.floor, answer });
    }

    /// Lets everything come to its end.
    async fn ends(mut self) {
        self.gate.add_permits(1_000_000);
        for sent in std::mem::take(&mut self.sent) {
            match sent.answer.await.unwrap() {
                Ok((answer, body)) => self.judge(&sent.request, sent.floor, &answer, &body),
                Err(FetchErrorKind::Cut) => {}
                Err(kind) => panic!("{kind} for {:?}", sent.request),
            }
        }
        self.house.settled().await;
        until("bodies to be let go", || self.house.exchange.figures().filling_bytes == 0).await;
    }

    fn judge(&self, request: &Request, floor: usize, answer: &Answer, body: &Bytes) {
        let seen = format!("{request:?}: {} {:?} {body:?} not before {floor}", answer.status, answer.headers);
        let length = self.manners.length;
        let promised = answer.field("content-length");
        if request.head_only {
            assert!(body.is_empty(), "{seen}");
            assert!(promised.is_none_or(|promised| promised == length.to_string()), "{seen}");
            return self.judge_tag(floor, answer, &seen);
        }
        assert!(promised.is_none_or(|promised| promised == body.len().to_string()), "{seen}");
        match (answer.status.as_u16(), answer.field("content-range")) {
            (416, Some(range)) => assert!(range == format!("bytes */{length}") && body.is_empty(), "{seen}"),
            (200, None) => {
                assert_eq!(body.len(), length, "{seen}");
                self.judge_bytes(floor, answer, 0, body, &seen);
            }
            (206, range) => {
                if let Some(tag) = request.headers.get("if-range") {
                    assert_eq!(answer.field("etag"), tag.to_str().ok(), "{seen}");
                }
                match range {
                    Some(range) => self.judge_part(floor, answer, range, body, &seen),
                    None => self.judge_parts(floor, answer, body, &seen),
                }
            }
            _ => panic!("{seen}"),
        }
    }

    fn judge_parts(&self, floor: usize, answer: &Answer, body: &Bytes, seen: &str) {
        let boundary = answer.field("content-type").and_then(|text| text.strip_prefix("multipart/byteranges; boundary=")).unwrap();
        let dashes = format!("\r\n--{boundary}");
        let mut rest = body.strip_prefix(dashes.as_bytes()).unwrap_or_else(|| panic!("{seen}"));
        while rest != b"--\r\n" {
            let (head, after) = split_at(rest, b"\r\n\r\n").unwrap_or_else(|| panic!("{seen}"));
            let head = std::str::from_utf8(head).unwrap();
            let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
            let (part, after) = split_at(after, dashes.as_bytes()).unwrap_or_else(|| panic!("{seen}"));
            self.judge_part(floor, answer, range, part, seen);
            rest = after;
        }
    }

    fn judge_part(&self, floor: usize, answer: &Answer, range: &str, part: &[u8], seen: &str) {
        let (range, total) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        assert!(total == "*" || total == self.manners.length.to_string(), "{seen}");
        assert_eq!(last + 1 - first, part.len(), "{seen}");
        self.judge_bytes(floor, answer, first, part, seen);
    }

    fn judge_bytes(&self, floor: usize, answer: &Answer, start: usize, bytes: &[u8], seen: &str) {
        self.judge_tag(floor, answer, seen);
        let end = start + bytes.len();
        if self.manners.careless {
            // Which version a byte is of the tag does not tell, so that those from after the purge may be mixed.
            let at = |at: usize| (floor..VERSIONS).any(|version| bytes_of(version, start + at, start + at + 1)[0] == bytes[at]);
            assert!((0..bytes.len()).all(at), "{seen}");
        } else {
            let of = |version: usize| bytes_of(version, start, end) == bytes && answer.field("etag") == Some(&self.manners.tag(version));
            assert!((floor..VERSIONS).any(of), "{seen}");
        }
    }

    fn judge_tag(&self, floor: usize, answer: &Answer, seen: &str) {
        let tag = answer.field("etag");
        assert!((floor..VERSIONS).any(|version| tag == Some(&self.manners.tag(version))), "{seen}");
    }
}

fn split_at<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_answer_is_of_one_version_and_none_from_before_it_was_taken_out_of_use(
        length in 1_usize..40,
        careless in any::<bool>(),
        vague in prop::bool::weighted(0.3),
        cuts in prop::option::weighted(0.5, 2_usize..5),
        varies in any::<bool>(),
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut model = Model::new(Manners { length, careless, vague, cuts, varies });
            for event in events {
                model.happens(event).await;
            }
            model.ends().await;
        });
    }
}
