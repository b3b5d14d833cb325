//! Ten thousand slow connections at once, and a normal client among them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

use crate::house::cdn::SOON;
use crate::house::live::limit;
use crate::house::{Cdn, curl, get, wait_until};

const HOST: &str = "www.example.com";
/// The slow connections, where this machine allows that many open files to a process; and the fewest that mean anything.
const SLOW_MAX: usize = 10_000;
const SLOW_MIN: usize = 2_000;
/// Open files of the edge and of this test that are no slow connections.
const OTHER_FILES: usize = 1_000;
/// The slow connections of one client address.
const OF_ONE_ADDRESS: usize = 500;
/// How long they are held; `SKERRY_HOLD_SECONDS` says otherwise, a minute being what is worth saying.
const HOLD: Duration = Duration::from_secs(5);
/// How many connections are opened at a time.
const AT_ONCE: usize = 128;

/// How many slow connections there can be; raises this process's own limit of open files to the most it may have.
fn affordable() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let files = maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let slow = files.saturating_sub(OTHER_FILES).min(SLOW_MAX);
    assert!(slow >= SLOW_MIN, "{files} open files are too few for {SLOW_MIN} slow connections; raise ulimit -Hn");
    slow
}

/// What a slow client says first, and then again and again one byte of: nothing at all, a head without end, the beginning of a TLS handshake.
const MANNERS: [(&[u8], &[u8]); 4] = [
    (b"", b""),
    (b"GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Slow: ", b"a"),
    (b"P", b""),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0"),
];

/// A slow client, from an address of the loopback network that many may share.
async fn slow(number: usize, http: SocketAddr, https: SocketAddr) -> (TcpStream, &'static [u8]) {
    let (first, then) = MANNERS[number % MANNERS.len()];
    let address = number / OF_ONE_ADDRESS;
    let from = Ipv4Addr::new(127, 1, u8::try_from(address / 250).unwrap(), u8::try_from(address % 250 + 1).unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(if first.starts_with(b"\x16") { https } else { http }).await.unwrap();
    assert_eq!(stream.try_write(first).unwrap(), first.len());
    (stream, then)
}

/// Has `count` slow clients connect, and send a byte every second until told to stop.
async fn crowd(count: usize, edge: [SocketAddr; 2], is_there: Arc<AtomicBool>, is_over: Arc<AtomicBool>) {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let next = all.len()..(all.len() + AT_ONCE).min(count);
        let opening: Vec<_> = next.map(|number| tokio::spawn(slow(number, edge[0], edge[1]))).collect();
        for each in opening {
            all.push(each.await.unwrap());
        }
    }
    is_there.store(true, Ordering::Relaxed);
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    while !is_over.load(Ordering::Relaxed) {
        for (stream, byte) in &all {
            // Whether one was closed is seen by what the edge counts.
            let _ = stream.try_write(byte);
        }
        pace.tick().await;
    }
}

/// The memory of a process that is in use, in bytes.
fn memory(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn ten_thousand_slow_connections_harm_nobody() {
    let count = affordable();
    let hold = std::env::var("SKERRY_HOLD_SECONDS").map_or(HOLD, |seconds| Duration::from_secs(seconds.parse().unwrap()));
    let cdn = Cdn::start(&["--edges", "1"]);
    // They would be closed for being slow; here they are to be held.
    cdn.change(1, "applied", |settings| {
        for time in ["handshake_time", "head_time", "idle_time"] {
            limit(settings, time, "1h");
        }
    });
    let (pid, _) = cdn.process("edge-1");
    let before = memory(pid);
    let (is_there, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let edge = [cdn.edge(1).parse().unwrap(), cdn.at("/edges/0/https").parse().unwrap()];
    let crowd = std::thread::spawn({
        let (is_there, is_over) = (Arc::clone(&is_there), Arc::clone(&is_over));
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(crowd(count, edge, is_there, is_over));
        }
    });
    let open = || -> f64 {
        ["opening", "HTTP/1.1", "HTTP/2"].iter().map(|name| cdn.metric(1, &format!("skerry_edge_connections{{protocol=\"{name}\"}}"))).sum()
    };
    let secure = ["--cacert", cdn.at("/control/ca"), "--connect-to", &format!("::{}", cdn.at("/edges/0/https"))].map(str::to_owned);
    let secure: Vec<&str> = secure.iter().map(String::as_str).chain(["https://default.cdn.test/"]).collect();
    let answered = std::cell::Cell::new(0);
    let ask = || {
        // Over new connections each time, in cleartext and TLS: curl fails when anything is wrong.
        assert_eq!(get(cdn.edge(1), HOST, "/").status, 200);
        assert_eq!(curl(&secure).status, 200);
        answered.set(answered.get() + 2);
    };
    while !is_there.load(Ordering::Relaxed) && !crowd.is_finished() {
        ask();
    }
    assert!(!crowd.is_finished(), "the slow clients did not come in");
    wait_until("all connections to be counted", SOON, || open() >= count as f64);
    let since = Instant::now();
    while since.elapsed() < hold {
        ask();
    }
    assert!(open() >= count as f64, "{} of {count} are open", open());
    let each = memory(pid).saturating_sub(before) / count as u64;
    println!("{count} slow connections held for {:?} at {each} bytes each; {} requests answered", since.elapsed(), answered.get());
    is_over.store(true, Ordering::Relaxed);
    crowd.join().unwrap();
    wait_until("the end of all connections", SOON, || open() == 0.0);
    ask();
}
