//! Figures of the disk tier: hits against `pread` of the same bytes, a large body against reading its file system, memory an answer, and the hit
//! ratio of ways to choose what stays in memory. `cargo bench -p skerry-cache --bench disk [-- DIRECTORY [SMALL-OBJECTS]]`; as root it also
//! empties the page cache before what is to be cold.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use foyer::{Cache, CacheBuilder, CacheProperties, DefaultHasher, LruConfig, S3FifoConfig};
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
        Ok(Fetched { status: StatusCode::OK, headers, interim: Vec::new(), body, requested_at: NOW, responded_at: NOW })
    }
}

fn get(path: String) -> Request {
    Request { head_only: false, scheme: "https", authority: "bench.example".to_owned(), path_and_query: path, headers: HeaderMap::new() }
}

async fn ask(exchange: &Arc<Exchange>, policy: &Arc<Policy>, path: String) -> u64 {
    let answer = exchange.run(get(path), "bench", policy, NOW, Arc::new(Origin)).await;
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
        resident_max: MIB,
    };
    let bounds = Bounds { memory, object_max: size / 4, filling_max: 32 * MIB };
    let exchange = Exchange::with_disk(bounds, settings, &directory.join("journal")).expect("the directory can be used");
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

async fn small_hits(directory: &Path, policy: &Arc<Policy>) {
    const COUNT: u64 = 6_000;
    let exchange = open(directory, MIB, 1 << 30).await;
    for index in 0..COUNT {
        ask(&exchange, policy, format!("/{index}/16384")).await;
    }
    exchange.settled().await;
    for cold in [false, true] {
        if cold && !go_cold() {
            println!("16 KB hits, cold: not measured, the page cache cannot be emptied");
            continue;
        }
        let began = Instant::now();
        let mut found = 0;
        for index in 0..COUNT / 2 {
            found += u64::from(ask(&exchange, policy, format!("/{}/16384", index * 7_919 % COUNT)).await == 16_384);
        }
        let ours = began.elapsed();
        if cold {
            go_cold();
        }
        let theirs = preads(directory, COUNT / 2, 20_480);
        let (cold, each) = (if cold { "cold" } else { "hot" }, |all: Duration| all / u32::try_from(COUNT / 2).unwrap_or(1));
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("16 KB hits, {cold}: {:?} each, pread {:?}, {ratio:.2}x ({found} of {})", each(ours), each(theirs), COUNT / 2);
    }
    let disk = exchange.figures().disk.unwrap_or_default();
    println!("  from disk {}, misses {}, dropped {}", disk.hits, disk.misses, disk.dropped);
    exchange.close().await;
}

async fn large_body(directory: &Path, policy: &Arc<Policy>) {
    const BYTES: u64 = 1_000_000_000;
    let exchange = open(directory, 16 * MIB, 5 << 30).await;
    let before = resident();
    let began = Instant::now();
    ask(&exchange, policy, format!("/{BYTES}")).await;
    exchange.settled().await;
    println!("1 GB in: {:.0} MB/s, {} MB more resident", rate(BYTES, began.elapsed()), (resident().saturating_sub(before)) / 1_000_000);
    for cold in [false, true] {
        if cold && !go_cold() {
            println!("1 GB out, cold: not measured");
            continue;
        }
        let began = Instant::now();
        let bytes = ask(&exchange, policy, format!("/{BYTES}")).await;
        let ours = rate(bytes, began.elapsed());
        if cold {
            go_cold();
        }
        let began = Instant::now();
        let mut read = 0;
        let mut buffer = vec![0; 1 << 20];
        'files: for path in blocks(directory) {
            let Ok(mut file) = File::open(path) else { continue };
            while let Ok(bytes) = file.read(&mut buffer) {
                read += bytes as u64;
                if read >= BYTES {
                    break 'files;
                }
                if bytes == 0 {
                    break;
                }
            }
        }
        let theirs = rate(read, began.elapsed());
        let cold = if cold { "cold" } else { "hot" };
        println!("1 GB out, {cold}: {ours:.0} MB/s, plain reading {theirs:.0} MB/s, {:.0} %", 100.0 * ours / theirs);
    }
    exchange.close().await;
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

async fn bookkeeping(directory: &Path, policy: &Arc<Policy>, objects: u64) {
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
    println!(
        "{objects} answers of 500 B: {each:.0} B of memory each, {per_second:.0} stored a second, {} dropped, {} MB resident",
        disk.dropped,
        resident() / 1_000_000
    );
    exchange.close().await;
    drop(exchange);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let exchange = open(directory, 8 * MIB, objects * 4_096 * 5 / 4 + (1 << 30)).await;
    println!("  found again in {:?}, {} MB resident", began.elapsed(), resident() / 1_000_000);
    let sample = 2_000;
    let mut there = 0;
    for index in 0..sample {
        let before = exchange.figures().disk.unwrap_or_default().hits;
        ask(&exchange, policy, format!("/{}/500", index * (objects / sample))).await;
        there += u64::from(exchange.figures().disk.unwrap_or_default().hits > before);
    }
    println!("  {there} of {sample} are there");
    exchange.close().await;
}

/// Zipf's law with an exponent of 0.9 over a catalogue of which a part is replaced all the time, from a seed.
fn trace(length: usize) -> Vec<u64> {
    const CATALOGUE: usize = 100_000;
    let mut sums = Vec::with_capacity(CATALOGUE);
    let mut sum = 0.0;
    for rank in 1..=CATALOGUE {
        sum += (rank as f64).powf(-0.9);
        sums.push(sum);
    }
    let mut names: Vec<u64> = (0..CATALOGUE as u64).collect();
    let mut next = CATALOGUE as u64;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..length)
        .map(|at| {
            if at % 50 == 0 {
                let rank = ((draw() * CATALOGUE as f64) as usize).min(CATALOGUE - 1);
                names[rank] = next;
                next += 1;
            }
            // One in ten is never asked for again.
            if draw() < 0.1 {
                next += 1;
                return u64::MAX - next;
            }
            names[sums.partition_point(|sum_to| *sum_to < draw() * sum).min(CATALOGUE - 1)]
        })
        .collect()
}

fn hit_ratios() {
    let trace = trace(2_000_000);
    println!("hit ratio over {} requests, Zipf 0.9 with churn and one-hit wonders:", trace.len());
    for room in [1_000_u64, 10_000, 50_000] {
        let tiny = moka::sync::Cache::builder().max_capacity(room).build();
        let tiny = ratio(&trace, |name| {
            tiny.get(&name).is_some() || {
                tiny.insert(name, ());
                false
            }
        });
        let lru: Cache<u64, (), DefaultHasher, CacheProperties> =
            CacheBuilder::new(usize::try_from(room).unwrap_or(0)).with_shards(1).with_eviction_config(LruConfig::default()).build();
        let lru = ratio(&trace, |name: u64| {
            lru.get(&name).is_some() || {
                lru.insert(name, ());
                false
            }
        });
        let fifo: Cache<u64, (), DefaultHasher, CacheProperties> =
            CacheBuilder::new(usize::try_from(room).unwrap_or(0)).with_shards(1).with_eviction_config(S3FifoConfig::default()).build();
        let fifo = ratio(&trace, |name: u64| {
            fifo.get(&name).is_some() || {
                fifo.insert(name, ());
                false
            }
        });
        println!("  room for {room}: TinyLFU (moka) {tiny:.2} %, LRU {lru:.2} %, S3-FIFO {fifo:.2} %");
    }
}

fn ratio(trace: &[u64], mut is_hit: impl FnMut(u64) -> bool) -> f64 {
    100.0 * trace.iter().filter(|name| is_hit(**name)).count() as f64 / trace.len() as f64
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let place = tempfile::tempdir().expect("a directory");
    let given = arguments.next().map(PathBuf::from).unwrap_or_else(|| place.path().to_owned());
    let objects = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let policy = Arc::new(Policy::default());
    hit_ratios();
    runtime.block_on(async {
        for name in ["small", "large", "many"] {
            std::fs::create_dir_all(given.join(name)).expect("the directory can be written");
        }
        small_hits(&given.join("small"), &policy).await;
        large_body(&given.join("large"), &policy).await;
        bookkeeping(&given.join("many"), &policy, objects).await;
    });
}
