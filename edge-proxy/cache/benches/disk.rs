//! Figures of the disk tier: hits against `pread` of the same bytes, a large body against reading its file system, memory an answer.
//! `cargo bench -p skerry-cache --bench disk [-- [DIRECTORY [SMALL-OBJECTS]] [--only PART] [--write FILE]]`, PART being `small`, `large` or
//! `many`. It prints docs/performance-disk.md, and writes it with `--write`, which needs root: only then can the page cache be emptied before
//! what is to be cold.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use skerry_cache::disk::{Settings, State};
use skerry_cache::exchange::{Bounds, Exchange};
use skerry_cache::fetch::{Body, Fetch, FetchError, Fetched, Forward};
use skerry_cache::request::Request;
use skerry_cache::time::Time;
use skerry_config::snapshot::Policy;

const MIB: u64 = 1 << 20;
const NOW: Time = Time(1_767_225_600_000);

/// An origin whose paths say how long their bodies are.
struct Origin;

struct Bytewise(u64);

#[async_trait]
impl Body for Bytewise {
    async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        static PIECE: [u8; 64 << 10] = [7; 64 << 10];
        let bytes = self.0.min(PIECE.len() as u64);
        self.0 -= bytes;
        Ok((bytes > 0).then(|| Bytes::from_static(&PIECE[..usize::try_from(bytes).unwrap_or(0)])))
    }
}

#[async_trait]
impl Fetch for Origin {
    async fn fetch(&self, forward: Forward) -> Result<Fetched, FetchError> {
        let bytes: u64 = forward.request.path_and_query.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("max-age=86400"));
        headers.insert("etag", HeaderValue::from_static("\"1\""));
        headers.insert("content-type", HeaderValue::from_static("application/octet-stream"));
        headers.insert("content-length", HeaderValue::from(bytes));
        let body = Box::new(Bytewise(bytes));
        Ok(Fetched { status: StatusCode::OK, headers, interim: Vec::new(), body, age: None, requested_at: NOW, responded_at: NOW })
    }
}

fn get(path: String) -> Request {
    Request { head_only: false, scheme: "https", authority: "bench.example".to_owned(), path_and_query: path, headers: HeaderMap::new() }
}

async fn ask(exchange: &Arc<Exchange>, policy: &Arc<Policy>, path: String) -> u64 {
    let answer = exchange.run(get(path), policy, NOW, Arc::new(Origin)).await;
    let Ok(mut answer) = answer else { return 0 };
    let mut bytes = 0;
    while let Ok(Some(piece)) = answer.body.chunk().await {
        bytes += piece.len() as u64;
    }
    bytes
}

async fn open(directory: &Path, memory: u64, size: u64) -> Arc<Exchange> {
    let settings = Settings {
        path: directory.join("disk"),
        size,
        slice: MIB,
        waiting_max: 32 * MIB,
        buffer: 8 * MIB,
        reading_max: 16 * MIB,
        second_hit_below: 0,
        second_hit_above: u64::MAX,
        resident_max: MIB,
    };
    let bounds = Bounds { memory, object_max: size / 4, filling_max: 32 * MIB };
    // A store that was closed has its directory for some seconds more.
    let until = Instant::now() + Duration::from_secs(20);
    let exchange = loop {
        match Exchange::with_disk(bounds, settings.clone(), &directory.join("journal")) {
            Ok(exchange) => break exchange,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    exchange.caught_up();
    while exchange.figures().disk.is_some_and(|disk| disk.state == State::Opening) {
        tokio::task::yield_now().await;
    }
    exchange
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Writes back and empties the page cache; whether it could.
fn go_cold() -> bool {
    let synced = std::process::Command::new("sync").status().is_ok_and(|status| status.success());
    synced && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn blocks(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![directory.join("disk")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with("foyer-storage") {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

/// One reader after another, each place as far from the last as the stride says: read-ahead is no help to either side.
fn preads(directory: &Path, count: u64, bytes: usize) -> Duration {
    let files: Vec<File> = blocks(directory).iter().filter_map(|path| File::open(path).ok()).collect();
    let mut buffer = vec![0; bytes];
    let began = Instant::now();
    // Blocks that are full, so that what is read is data.
    let files = &files[..files.len().min(5)];
    let places = files[0].metadata().map_or(1, |found| found.len() / bytes as u64).max(1);
    for index in 0..count {
        let file = &files[usize::try_from(index).unwrap_or(0) % files.len()];
        file.read_exact_at(&mut buffer, index * 7_919 % places * bytes as u64).expect("the file is that long");
    }
    began.elapsed()
}

/// What a row of the page says.
struct Row {
    what: String,
    ours: String,
    beside: String,
    ratio: String,
    aim: String,
}

impl Row {
    fn new(what: impl Into<String>, ours: impl Into<String>) -> Self {
        Self { what: what.into(), ours: ours.into(), beside: String::new(), ratio: String::new(), aim: String::new() }
    }

    fn beside(self, beside: impl Into<String>, ratio: impl Into<String>, aim: impl Into<String>) -> Self {
        Self { beside: beside.into(), ratio: ratio.into(), aim: aim.into(), ..self }
    }
}

/// Both sides of one round, in seconds or bytes a second.
type Pair = (f64, f64);

/// The round whose ratio is in the middle.
fn middle(mut rounds: Vec<Pair>) -> Pair {
    rounds.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    rounds[rounds.len() / 2]
}

fn kept(is_kept: bool, aim: &str) -> String {
    format!("{aim}, {}", if is_kept { "kept" } else { "**not kept**" })
}

async fn small_hits(directory: &Path, policy: &Arc<Policy>) -> Vec<Row> {
    const COUNT: u64 = 6_000;
    const EACH_ROUND: u64 = 600;
    const ROUNDS: u64 = 9;
    // Memory holds next to none of them.
    let exchange = open(directory, 64 << 10, 1 << 30).await;
    for index in 0..COUNT {
        ask(&exchange, policy, format!("/{index}/16384")).await;
    }
    exchange.settled().await;
    let mut rows = Vec::new();
    for cold in [true, false] {
        let mut rounds = Vec::new();
        if !cold {
            read_plainly(directory, u64::MAX);
        }
        for round in 0..ROUNDS {
            assert!(!cold || go_cold(), "the page cache cannot be emptied");
            let before = exchange.figures().disk.unwrap_or_default().hits;
            let began = Instant::now();
            for index in 0..EACH_ROUND {
                let found = ask(&exchange, policy, format!("/{}/16384", (round * EACH_ROUND + index) * 7_919 % COUNT)).await;
                assert_eq!(found, 16_384);
            }
            let ours = began.elapsed().as_secs_f64() / EACH_ROUND as f64;
            let hits = exchange.figures().disk.unwrap_or_default().hits - before;
            assert!(hits * 100 >= EACH_ROUND * 99, "only {hits} of {EACH_ROUND} came from disk");
            assert!(!cold || go_cold(), "the page cache cannot be emptied");
            rounds.push((ours, preads(directory, EACH_ROUND, 20_480).as_secs_f64() / EACH_ROUND as f64));
        }
        let (ours, theirs) = middle(rounds);
        let ratio = ours / theirs;
        let aim = if cold { kept(ratio <= 1.3, "1.3") } else { String::new() };
        let what = format!("16 KB hit from disk, page cache {}", if cold { "cold" } else { "hot" });
        let beside = format!("`pread` of 20 KB, {:.1} us", theirs * 1e6);
        rows.push(Row::new(what, format!("{:.1} us", ours * 1e6)).beside(beside, format!("{ratio:.2}"), aim));
    }
    exchange.close().await;
    rows
}

/// The files that hold a body, read one after another by one thread.
fn read_plainly(directory: &Path, all: u64) -> f64 {
    let began = Instant::now();
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    'files: for path in blocks(directory) {
        let Ok(mut file) = File::open(path) else { continue };
        while let Ok(bytes) = file.read(&mut buffer) {
            read += bytes as u64;
            if read >= all {
                break 'files;
            }
            if bytes == 0 {
                break;
            }
        }
    }
    rate(read, began.elapsed())
}

async fn large_body(directory: &Path, policy: &Arc<Policy>) -> Vec<Row> {
    const BYTES: u64 = 1_000_000_000;
    const ROUNDS: usize = 9;
    let exchange = open(directory, 16 * MIB, 5 << 30).await;
    let before = resident();
    let began = Instant::now();
    ask(&exchange, policy, format!("/{BYTES}")).await;
    exchange.settled().await;
    let (stored, more) = (rate(BYTES, began.elapsed()), resident().saturating_sub(before) / 1_000_000);
    let mut rows = Vec::new();
    for cold in [true, false] {
        let mut rounds = Vec::new();
        if !cold {
            read_plainly(directory, u64::MAX);
        }
        for _ in 0..ROUNDS {
            assert!(!cold || go_cold(), "the page cache cannot be emptied");
            let began = Instant::now();
            let bytes = ask(&exchange, policy, format!("/{BYTES}")).await;
            assert_eq!(bytes, BYTES);
            let ours = rate(bytes, began.elapsed());
            assert!(!cold || go_cold(), "the page cache cannot be emptied");
            rounds.push((ours, read_plainly(directory, BYTES)));
        }
        let (ours, theirs) = middle(rounds);
        let aim = if cold { kept(ours >= 0.8 * theirs, "80 %") } else { String::new() };
        let what = format!("1 GB body from disk, {}", if cold { "cold" } else { "hot" });
        let beside = format!("reading the same files, {theirs:.0} MB/s");
        rows.push(Row::new(what, format!("{ours:.0} MB/s")).beside(beside, format!("{:.0} %", 100.0 * ours / theirs), aim));
    }
    rows.push(Row::new("1 GB body stored", format!("{stored:.0} MB/s, {more} MB more resident")));
    exchange.close().await;
    rows
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

async fn bookkeeping(directory: &Path, policy: &Arc<Policy>, objects: u64) -> Vec<Row> {
    let exchange = open(directory, 8 * MIB, objects * 4_096 * 5 / 4 + (1 << 30)).await;
    // What memory holds, buffers among it, is there before the count begins.
    for index in 0..20_000 {
        ask(&exchange, policy, format!("/warm-{index}/500")).await;
    }
    exchange.settled().await;
    let before = resident();
    let began = Instant::now();
    for index in 0..objects {
        ask(&exchange, policy, format!("/{index}/500")).await;
        if index % 4_096 == 0 {
            exchange.settled().await;
        }
    }
    exchange.settled().await;
    let disk = exchange.figures().disk.unwrap_or_default();
    let each = resident().saturating_sub(before) as f64 / objects as f64;
    let per_second = objects as f64 / began.elapsed().as_secs_f64();
    let stored = format!("{per_second:.0} stored a second, {} dropped, {} MB resident", disk.dropped, resident() / 1_000_000);
    exchange.close().await;
    drop(exchange);
    // Until nothing has the directory any more, which is not what is measured.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let began = Instant::now();
    let exchange = open(directory, 8 * MIB, objects * 4_096 * 5 / 4 + (1 << 30)).await;
    let (again, after) = (began.elapsed(), resident() / 1_000_000);
    let sample = 2_000;
    let mut there = 0;
    for index in 0..sample {
        let before = exchange.figures().disk.unwrap_or_default().hits;
        ask(&exchange, policy, format!("/{}/500", index * (objects / sample))).await;
        there += u64::from(exchange.figures().disk.unwrap_or_default().hits > before);
    }
    exchange.close().await;
    vec![
        Row::new(format!("memory an answer on disk, {objects} of 500 B"), format!("{each:.0} B")).beside(
            stored,
            "",
            if objects >= 1_000_000 { kept(each <= 128.0, "128 B") } else { "128 B at 1,000,000".to_owned() },
        ),
        Row::new("finding them again at a start", format!("{:.2} s", again.as_secs_f64())).beside(
            format!("{there} of {sample} are there, {after} MB resident"),
            "",
            "",
        ),
    ]
}

const HEAD: &str = "# Performance of the disk tier

Made by `cargo bench -p skerry-cache --bench disk -- --write docs/performance-disk.md`, not to be edited by hand. The cache is called without
sockets, by one caller at a time; the page cache is emptied before what is cold. Each ratio is that of the round in the middle, the two sides in turn;
ratios within a run say more than times.
";

fn page(objects: u64, rows: &[Row]) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim().to_owned();
    let mut page = format!("{HEAD}\n{processors} processors, Linux {kernel}, {objects} small answers.\n\n");
    page.push_str("| what | ours | beside | ratio | aim |\n|---|--:|--:|--:|---|\n");
    for Row { what, ours, beside, ratio, aim } in rows {
        let _ = writeln!(page, "| {what} | {ours} | {beside} | {ratio} | {aim} |");
    }
    page + "\nThe hit ratio of memory is in [What stays in memory](performance-memory.md).\n"
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut places, mut only, mut write) = (Vec::new(), None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = arguments.next(),
            "--write" => write = arguments.next(),
            // What cargo adds.
            "--bench" => {}
            _ => places.push(argument),
        }
    }
    assert!(write.is_none() || only.is_none(), "a page is written of all parts, so that --write goes without --only");
    let is_asked = |part: &str| only.as_ref().is_none_or(|only| only == part);
    let place = tempfile::tempdir().expect("a directory");
    let given = places.first().map_or_else(|| place.path().to_owned(), PathBuf::from);
    let objects = places.get(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let policy = Arc::new(Policy::default());
    let mut rows = Vec::new();
    runtime.block_on(async {
        // Memory first, while the allocator holds nothing of what was.
        for name in ["many", "small", "large"].into_iter().filter(|name| is_asked(name)) {
            let directory = given.join(name);
            std::fs::create_dir_all(&directory).expect("the directory can be written");
            rows.extend(match name {
                "small" => small_hits(&directory, &policy).await,
                "large" => large_body(&directory, &policy).await,
                _ => bookkeeping(&directory, &policy, objects).await,
            });
        }
    });
    let page = page(objects, &rows);
    print!("{page}");
    if let Some(path) = write {
        // cargo runs a bench in the folder of its crate, and who types a path stands at the top of the project.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        std::fs::write(path, page).expect("the page can be written");
    }
}
