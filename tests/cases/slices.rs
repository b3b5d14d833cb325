//! What is large comes in slices, several at once, through both tiers.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::house::cdn::SOON;
use crate::house::{Cdn, curl, get, wait_until};

const HOST: &str = "shop.example.com";
/// What a connection gets at once, and how often.
const STEP_BYTES: usize = 64 << 10;
const STEP: Duration = Duration::from_millis(10);
const BODY_BYTES: usize = 32 << 20;
/// A slice where nothing else is set.
const SLICE_BYTES: usize = 1 << 20;

fn body() -> Vec<u8> {
    (0..BODY_BYTES as u64 / 8).flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect()
}

/// What a request asked for: a range of bytes, or everything.
type Asked = Option<(usize, usize)>;

/// An origin of one file that gives every connection the same pace, however many there are.
struct Paced {
    address: SocketAddr,
    /// First byte and the one after the last of every answer; the whole is none.
    asked: Arc<Mutex<Vec<Asked>>>,
    at_once: Arc<AtOnce>,
}

/// How many answers are under way, and how many there were at most.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl AtOnce {
    fn begin(&self) -> Answering<'_> {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Answering(self)
    }
}

/// An answer under way.
struct Answering<'a>(&'a AtOnce);

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Paced {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (body, asked, at_once): (_, Arc<Mutex<Vec<_>>>, Arc<AtOnce>) = (Arc::new(body()), Arc::default(), Arc::default());
        let (noted, counted) = (Arc::clone(&asked), Arc::clone(&at_once));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (body, noted, counted) = (Arc::clone(&body), Arc::clone(&noted), Arc::clone(&counted));
                std::thread::spawn(move || while answer(&stream, &body, &noted, &counted).is_some() {});
            }
        });
        Self { address, asked, at_once }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers one request; none when the connection is over.
fn answer(stream: &TcpStream, body: &[u8], noted: &Mutex<Vec<Asked>>, at_once: &AtOnce) -> Option<()> {
    let (mut reader, mut out) = (BufReader::new(stream), stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let range = head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("range"));
    let range = range.and_then(|(_, value)| value.trim().strip_prefix("bytes=")?.split_once('-'));
    let range = range.map(|(first, last)| {
        let last = last.parse().unwrap_or(BODY_BYTES - 1).min(BODY_BYTES - 1);
        (first.parse::<usize>().unwrap(), last + 1)
    });
    if !head.starts_with("GET /large.bin ") {
        // Asked by who looks whether anybody is there.
        write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
        return Some(());
    }
    noted.lock().unwrap().push(range);
    let _answering = at_once.begin();
    let (start, end) = range.unwrap_or((0, BODY_BYTES));
    let status = match range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{BODY_BYTES}", end - 1),
        None => "200 OK".to_owned(),
    };
    let fields = "Accept-Ranges: bytes\r\nCache-Control: max-age=600\r\nETag: \"1\"";
    write!(out, "HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: {}\r\n\r\n", end - start).ok()?;
    // Nobody sends: it is a clock.
    let (_clock, ticks) = mpsc::channel::<()>();
    let began = Instant::now();
    for (number, step) in (1..).zip(body[start..end].chunks(STEP_BYTES)) {
        let due = (began + STEP * number).saturating_duration_since(Instant::now());
        assert_eq!(ticks.recv_timeout(due), Err(RecvTimeoutError::Timeout));
        out.write_all(step).ok()?;
    }
    Some(())
}

fn cdn(origin: &Paced) -> Cdn {
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    wait_until("the disks to serve", SOON, || {
        let admins = [cdn.at("/edges/0/admin"), cdn.at("/shields/0/admin")];
        admins.iter().all(|admin| curl(&[&format!("{admin}/metrics")]).text().contains("skerry_disk_state{state=\"serving\"} 1"))
    });
    cdn
}

#[test]
fn a_large_answer_comes_over_several_connections_to_the_origin_at_once() {
    let origin = Paced::start();
    let cdn = cdn(&origin);
    let began = Instant::now();
    let direct = curl(&[&format!("{}/large.bin", origin.url())]);
    let alone = began.elapsed();
    assert!(direct.body == body());
    origin.asked.lock().unwrap().clear();
    let began = Instant::now();
    let got = get(cdn.edge(1), HOST, "/large.bin");
    let took = began.elapsed();
    assert!(got.status == 200 && got.body == body(), "{}", got.body.len());
    let at_once = origin.at_once.most.load(Ordering::SeqCst);
    assert!(at_once >= 6 && took < alone, "{at_once} at once, {took:?} where one connection takes {alone:?}");
    let mut times: HashMap<Option<(usize, usize)>, u32> = HashMap::new();
    for range in origin.asked.lock().unwrap().iter() {
        *times.entry(*range).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1) && times.len() == BODY_BYTES / SLICE_BYTES, "each slice once: {times:?}");
    let before = origin.asked.lock().unwrap().len();
    let again = get(cdn.edge(1), HOST, "/large.bin");
    assert!(again.is_hit_at("edge-1") && again.body == body());
    assert_eq!(origin.asked.lock().unwrap().len(), before);
}

#[test]
fn a_jump_into_a_large_answer_fetches_the_slices_that_it_touches() {
    let origin = Paced::start();
    let cdn = cdn(&origin);
    let url = format!("http://{}/large.bin", cdn.edge(1));
    let ask = |range: &str| curl(&["--header", &format!("Host: {HOST}"), "--range", range, &url]);
    let got = ask("20000000-22000000");
    assert!(got.status == 206 && got.body == body()[20_000_000..=22_000_000]);
    let asked = || origin.asked.lock().unwrap().iter().map(|range| range.unwrap().0 / SLICE_BYTES).collect::<Vec<_>>();
    assert_eq!(asked(), [19, 20]);
    let got = ask("21000000-21000099");
    assert!(got.is_hit_at("edge-1") && got.body == body()[21_000_000..=21_000_099]);
    assert_eq!(asked().len(), 2);
}
