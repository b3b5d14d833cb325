//! Large answers in slices from origins that break off, lie or change under way: no wrong byte is served, and no other site's traffic is harmed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::house::clients::{Got, curl_to_the_end, fetch_and_compare};
use crate::house::scripted::Seen;
use crate::house::{Cdn, Nginx, Reply, Scripted, wait_until};

const HOST: &str = "a.test";
const NEIGHBOUR: &str = "good.test";
const MIB: usize = 1 << 20;
/// More than stays in memory whole, and no number of slices.
const BODY_BYTES: usize = 13 * MIB + 100_003;
/// The slice in which most of this goes wrong.
const WRONG: usize = 5;

/// Bytes that tell where they are, and of which version.
fn body(version: u8) -> &'static [u8] {
    static BODIES: [LazyLock<Vec<u8>>; 2] = [LazyLock::new(|| words(1)), LazyLock::new(|| words(2))];
    &BODIES[usize::from(version) - 1]
}

fn words(version: u64) -> Vec<u8> {
    let words = (0..).flat_map(|word: u64| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version).to_be_bytes());
    words.take(BODY_BYTES).collect()
}

/// A part of a version, or the whole of it, as it ought to be answered.
struct Part {
    version: u8,
    start: usize,
    end: usize,
    /// A part was asked for, and is still of this version.
    ranged: bool,
    /// What the head says, where a test has it lie.
    range: Option<String>,
    length: usize,
}

impl Part {
    fn of(seen: &Seen, version: u8) -> Self {
        let field = |name: &str| {
            let mut lines = seen.head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let range = field("range").filter(|_| field("if-range").is_none_or(|tag| tag == format!("\"{version}\"")));
        let range = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (start, end) = range.map_or((0, BODY_BYTES), |(first, last)| {
            (first.parse().unwrap(), last.parse().map_or(BODY_BYTES, |last: usize| (last + 1).min(BODY_BYTES)))
        });
        Self { version, start, end, ranged: range.is_some(), range: None, length: end - start }
    }

    fn is_slice(&self, number: usize) -> bool {
        self.ranged && (number * MIB..(number + 1) * MIB).contains(&self.start)
    }

    /// The head, and the body up to this byte of the whole.
    fn up_to(&self, end: usize) -> Reply {
        let honest = format!("bytes {}-{}/{BODY_BYTES}", self.start, self.end - 1);
        let status = match &self.range {
            Some(range) => format!("206 Partial Content\r\nContent-Range: {range}"),
            None if self.ranged => format!("206 Partial Content\r\nContent-Range: {honest}"),
            None => "200 OK".to_owned(),
        };
        let fields = format!("Cache-Control: max-age=600\r\nAccept-Ranges: bytes\r\nETag: \"{}\"\r\n", self.version);
        Reply::bytes(&format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", self.length))
            .then(&body(self.version)[self.start..end.clamp(self.start, self.end)])
    }

    fn whole(&self) -> Reply {
        self.up_to(self.end)
    }
}

/// Kind and number of `/kind/number`.
fn asked(seen: &Seen) -> (String, usize) {
    let path = seen.line().split(' ').nth(1).unwrap_or_default();
    let (kind, number) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    (kind.to_owned(), number.parse().unwrap_or_default())
}

/// Another site, whose large and small files are asked for all the time.
struct Neighbour {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    asking: Option<JoinHandle<Vec<String>>>,
    _origin: Nginx,
}

impl Neighbour {
    fn beside(cdn: &Cdn) -> Self {
        let origin = Nginx::start();
        origin.put("/large.bin", body(2));
        origin.put("/small.txt", b"small");
        let site = format!("name = \"good\"\nhosts = [\"{NEIGHBOUR}\"]\n[origin]\nurls = [\"{}\"]\n", origin.url());
        cdn.skerry(&["site", "apply", &cdn.file("good.toml", &site)]).fine();
        let edge = cdn.edge(1).to_owned();
        let mut number = 0;
        // A path of its own each time: until the site is in force the host is that of the first one, whose answers are stored.
        wait_until("the other site", Duration::from_secs(20), || {
            number += 1;
            fetch_and_compare(&edge, NEIGHBOUR, &format!("/small.txt?before-{number}"), b"small").is_ok()
        });
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let asking = {
            let (over, rounds) = (Arc::clone(&over), Arc::clone(&rounds));
            std::thread::spawn(move || {
                let mut wrong = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    let round = rounds.fetch_add(1, Ordering::SeqCst);
                    let began = Instant::now();
                    wrong.extend(fetch_and_compare(&edge, NEIGHBOUR, &format!("/small.txt?{round}"), b"small").err());
                    wrong.extend(Some(format!("{:?}", began.elapsed())).filter(|_| began.elapsed() > Duration::from_secs(10)));
                    wrong.extend(fetch_and_compare(&edge, NEIGHBOUR, &format!("/large.bin?{}", round / 8), body(2)).err());
                }
                wrong
            })
        };
        Self { over, rounds, asking: Some(asking), _origin: origin }
    }

    #[track_caller]
    fn was_unharmed(mut self) {
        wait_until("a round of the other site", Duration::from_secs(20), || self.rounds.load(Ordering::SeqCst) > 1);
        self.over.store(true, Ordering::SeqCst);
        assert_eq!(self.asking.take().unwrap().join().unwrap(), Vec::<String>::new());
    }
}

/// What a client gets, and whether all of it came.
fn ask(cdn: &Cdn, path: &str, more: &[&str]) -> (Got, bool) {
    let url = format!("http://{}{path}", cdn.edge(1));
    let (got, ran) = curl_to_the_end(&[&["--header", &format!("Host: {HOST}")], more, &[&url]].concat());
    (got, ran.code == 0)
}

#[test]
fn a_transfer_that_is_reset_goes_on_where_it_was_or_breaks_off_visibly() {
    let once: Mutex<HashMap<usize, usize>> = Mutex::default();
    let origin = Scripted::start(move |seen| {
        let (kind, at) = asked(seen);
        let part = Part::of(seen, 1);
        let is_hit = (part.start..part.end).contains(&at)
            && match kind.as_str() {
                "once" => std::mem::replace(once.lock().unwrap().entry(at).or_default(), 1) == 0,
                "always" => true,
                _ => false,
            };
        if is_hit { part.up_to(at).then_reset() } else { part.whole() }
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let neighbour = Neighbour::beside(&cdn);
    for at in [1, WRONG * MIB, WRONG * MIB + 1, WRONG * MIB + MIB / 2, (WRONG + 1) * MIB - 1, BODY_BYTES - 1] {
        let (got, is_whole) = ask(&cdn, &format!("/once/{at}"), &[]);
        assert!(got.status == 200 && is_whole && got.body == body(1), "reset at {at}: {} bytes", got.body.len());
        let (got, is_whole) = ask(&cdn, &format!("/always/{at}"), &[]);
        assert!(got.status == 200 && !is_whole, "reset at {at} each time: {}", got.status);
        assert!(got.body.len() <= at && got.body == body(1)[..got.body.len()], "reset at {at} each time: {} bytes", got.body.len());
        assert!(got.body.len() + 2 * MIB > at, "what came before byte {at} is served: {} bytes", got.body.len());
    }
    neighbour.was_unharmed();
}

#[test]
fn an_origin_that_lies_about_parts_is_not_believed() {
    let origin = Scripted::start(|seen| {
        let (kind, _) = asked(seen);
        let mut part = Part::of(seen, 1);
        let (start, last) = (part.start, part.end - 1);
        if kind == "whole" {
            part = Part { ranged: false, start: 0, end: BODY_BYTES, length: BODY_BYTES, ..part };
        }
        if !part.is_slice(WRONG) {
            return part.whole();
        }
        match kind.as_str() {
            "shifted" => part.range = Some(format!("bytes {}-{}/{BODY_BYTES}", start + 1, last + 1)),
            "total" => part.range = Some(format!("bytes {start}-{last}/{}", last)),
            "grown" => part.range = Some(format!("bytes {start}-{last}/{}", BODY_BYTES + 1)),
            "garbled" => part.range = Some(format!("bytes {start}..{last}")),
            "longer" => part.length += 1,
            "shorter" => part.length -= 1,
            "endless" => return part.whole().then_for_ever("without end "),
            "cut" => return part.up_to(part.end - 10).then_close(),
            _ => {}
        }
        part.whole()
    });
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let neighbour = Neighbour::beside(&cdn);
    for kind in ["honest", "whole", "shifted", "total", "grown", "garbled", "longer", "shorter", "endless", "cut"] {
        let first = WRONG * MIB + 1_000;
        let (got, is_whole) = ask(&cdn, &format!("/{kind}/1"), &["--range", &format!("{first}-{}", first + 99)]);
        match kind {
            "shifted" | "total" | "garbled" | "longer" | "shorter" => {
                assert_eq!(got.status, 502, "{kind}");
                assert!(got.field("cache-status").contains("detail=wrong-range"), "{kind}: {}", got.field("cache-status"));
            }
            _ => assert!(got.status == 206 && is_whole && got.body == body(1)[first..first + 100], "{kind}: {got:?}"),
        }
        let (got, is_whole) = ask(&cdn, &format!("/{kind}/2"), &[]);
        assert_eq!(got.status, 200, "{kind}");
        assert!(got.body == body(1)[..got.body.len()], "{kind}: a wrong byte among {}", got.body.len());
        assert_eq!(is_whole, got.body.len() == BODY_BYTES, "{kind}: cut off without a sign");
        assert!(got.body.len() >= WRONG * MIB, "{kind}: {} bytes", got.body.len());
        if matches!(kind, "honest" | "whole" | "endless") {
            assert!(is_whole, "{kind}: {} bytes", got.body.len());
        }
    }
    neighbour.was_unharmed();
}

#[test]
fn an_object_that_changes_between_slices_is_never_mixed_and_the_next_reader_gets_the_new_one() {
    let (slices, version) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(1)));
    let origin = {
        let version = Arc::clone(&version);
        Scripted::start(move |seen| {
            let (kind, after) = asked(seen);
            if kind == "changes" && slices.fetch_add(1, Ordering::SeqCst) == after {
                version.store(2, Ordering::SeqCst);
            }
            Part::of(seen, u8::try_from(version.load(Ordering::SeqCst)).unwrap()).whole()
        })
    };
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let neighbour = Neighbour::beside(&cdn);
    let (got, is_whole) = ask(&cdn, "/changes/6", &[]);
    assert!(got.status == 200 && !is_whole, "{}", got.status);
    assert!(got.body == body(1)[..got.body.len()], "another version among {} bytes", got.body.len());
    assert_eq!(version.load(Ordering::SeqCst), 2);
    let (got, is_whole) = ask(&cdn, "/changes/6", &[]);
    assert_eq!((got.status, got.field("etag").as_str(), is_whole), (200, "\"2\"", true));
    assert!(got.body == body(2), "the new version, and nothing of the old one");
    let (got, _) = ask(&cdn, "/changes/6", &["--range", "1000000-1000099"]);
    assert!(got.status == 206 && got.body == body(2)[1_000_000..1_000_100]);
    neighbour.was_unharmed();
}
