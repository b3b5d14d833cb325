//! HTTP/2 over real sockets: clients nobody here wrote, and one that writes frame by frame what an honest client would not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};
use std::time::Duration;

use skerry_config::process::Limits;
use skerry_config::units::{Period, Size};
use skerry_transport::asker::Unsent;
use skerry_transport::head::Refusal;

#[path = "http2/frames.rs"]
mod frames;
#[path = "http2/server.rs"]
mod server;

use frames::*;
use server::{LARGE, SMALL, Server, start};

async fn run(command: &str, args: Vec<String>) -> Output {
    let command = command.to_owned();
    tokio::task::spawn_blocking(move || Command::new(command).args(args).output().unwrap()).await.unwrap()
}

fn args(list: &[&str]) -> Vec<String> {
    list.iter().map(|arg| (*arg).to_owned()).collect()
}

/// A client that does everything right gets its answer, whatever others do.
async fn is_well(server: &Server) {
    let mut honest = Raw::open(server.address, &[]).await;
    honest.ask(1, &get("/small", &[])).await;
    let answer = tokio::time::timeout(Duration::from_secs(5), honest.answer(1)).await.expect("an honest client has to wait");
    assert_eq!(answer, (200, Ok(SMALL)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_hand_is_answered_without_a_session() {
    let server = start(Limits::default()).await;
    let (small, large) = (format!("http://{}/small", server.address), format!("http://{}/large", server.address));
    let got = run("curl", args(&["-sS", "--http2-prior-knowledge", &small])).await;
    assert_eq!(String::from_utf8(got.stdout).unwrap(), "x".repeat(SMALL));
    let got = run("curl", args(&["-sS", "--http2-prior-knowledge", "-I", &small])).await;
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.starts_with("HTTP/2 200"), "{text}");
    assert!(text.contains("\r\ncontent-length: 1000\r\n") && text.contains("\r\ndate: "), "{text}");
    assert_eq!(server.ended(), [("/small".to_owned(), SMALL as u64, true), ("/small".to_owned(), 0, true)]);
    let got = run("nghttp", args(&["-w", "24", "-W", "24", &large])).await;
    assert_eq!(got.stdout.len(), LARGE);
    assert_eq!(server.ended(), [("/large".to_owned(), LARGE as u64, true)]);
    assert_eq!(server.sessions(), 0);
    let upload = run("curl", args(&["-sS", "--http2-prior-knowledge", "--data-binary", "12345", &small])).await;
    assert_eq!((String::from_utf8(upload.stdout).unwrap().as_str(), server.sessions()), ("5", 1), "a body needs a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_side_by_side_lose_nothing() {
    let server = start(Limits::default()).await;
    for (path, requests, length) in [("small", 3_000, SMALL), ("large", 12, LARGE), ("waited", 12, LARGE), ("none", 1_000, 1)] {
        let url = format!("http://{}/{path}", server.address);
        let got = run("h2load", args(&["-n", &requests.to_string(), "-c", "3", "-m", "40", "-w", "20", &url])).await;
        let text = String::from_utf8(got.stdout).unwrap();
        assert!(text.contains(&format!("{requests} succeeded, 0 failed, 0 errored")), "{path}: {text}");
        assert!(text.contains(&format!("({}) data", requests * length)), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_malformed_gets_no_further() {
    let server = start(Limits::default()).await;
    let own = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/none")];
    let without = |name: &str| fields(&own.iter().copied().filter(|(found, _)| *found != name).collect::<Vec<_>>());
    let with = |name: &str, value: &[u8]| [fields(&own), literal(name.as_bytes(), value)].concat();
    let path = |value: &[u8]| [without(":path"), literal(b":path", value)].concat();
    let (reset, told, ended) = ("reset", "400", "connection ended");
    for (why, block, outcome) in [
        ("a pseudo-field twice", with(":path", b"/b"), reset),
        ("a pseudo-field behind others", [get("/none", &[("a", "b")]), literal(b":authority", b"a.test")].concat(), reset),
        ("no method", without(":method"), reset),
        ("no scheme", without(":scheme"), reset),
        ("an unknown pseudo-field", with(":foo", b"1"), ended),
        ("a status", with(":status", b"200"), reset),
        ("a protocol", with(":protocol", b"websocket"), reset),
        ("Connection", with("connection", b"close"), reset),
        ("Keep-Alive", with("keep-alive", b"1"), reset),
        ("Proxy-Connection", with("proxy-connection", b"close"), reset),
        ("Transfer-Encoding", with("transfer-encoding", b"chunked"), reset),
        ("Upgrade", with("upgrade", b"h2c"), reset),
        ("TE with more than trailers", with("te", b"gzip"), reset),
        ("upper case", with("Foo", b"1"), ended),
        ("space in a name", with("a b", b"1"), ended),
        ("NUL in a value", with("a", b"1\x002"), ended),
        ("LF in a value", with("a", b"1\n2"), ended),
        ("space before a value", with("a", b" 1"), told),
        ("space behind a value", with("a", b"1\t"), told),
        ("another host", with("host", b"b.test"), told),
        ("two hosts", [with("host", b"a.test"), literal(b"host", b"a.test")].concat(), told),
        ("no host", without(":authority"), told),
        ("an authority with a user", [without(":authority"), literal(b"host", b"me@a.test")].concat(), told),
        ("an asterisk", path(b"*"), told),
        ("a relative path", path(b"none"), reset),
        ("an empty path", path(b""), reset),
        ("space in a path", path(b"/a b"), reset),
        ("CR in a path", path(b"/a\rb"), reset),
        ("DEL in a path", path(b"/a\x7fb"), reset),
        ("a length that is none", with("content-length", b"+5"), reset),
        ("two lengths", [with("content-length", b"0"), literal(b"content-length", b"0")].concat(), told),
        ("a length without a body", with("content-length", b"5"), reset),
    ] {
        let mut client = Raw::open(server.address, &[]).await;
        client.ask(1, &block).await;
        let frames = client.rest().await;
        let goaway = frames.iter().filter(|frame| frame.kind == GOAWAY).map(Frame::reason).max();
        let found = match frames.iter().find(|frame| frame.stream == 1) {
            None if goaway == Some(PROTOCOL_ERROR) => ended,
            Some(frame) if frame.kind == RST_STREAM && frame.reason() == PROTOCOL_ERROR && goaway == Some(0) => reset,
            Some(frame) if frame.kind == HEADERS && status_of(&frame.payload) == 400 && goaway == Some(0) => told,
            _ => panic!("{why}: {frames:?}"),
        };
        assert_eq!((found, server.refused(1).await.len(), server.sessions()), (outcome, 1, 0), "{why}");
    }
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn above_a_limit_is_a_status_and_the_connection_goes_on() {
    let limits = Limits { head: Size(4096), fields: 10, target: Size(100), body: Size(1000), ..Limits::default() };
    let server = start(limits).await;
    let long = "a".repeat(5000);
    let many: Vec<(&str, &str)> = (0..11).map(|_| ("a", "b")).collect();
    for (block, flags, status, refusal) in [
        (get("/small", &[("a", &long)]), END_STREAM, 431, Refusal::HeadLength),
        (get("/small", &many), END_STREAM, 431, Refusal::FieldCount),
        (get(&format!("/{}", "a".repeat(100)), &[]), END_STREAM, 414, Refusal::TargetLength),
        (get("/small", &[("content-length", "1001")]), 0, 413, Refusal::BodyLength),
    ] {
        let mut client = Raw::open(server.address, &[]).await;
        client.write(&frame(HEADERS, flags | END_HEADERS, 1, &block)).await;
        assert_eq!((client.answer(1).await.0, server.refused(1).await), (status, vec![refusal]));
        client.ask(3, &get("/small", &[])).await;
        assert_eq!(client.answer(3).await, (200, Ok(SMALL)));
    }
    assert_eq!(server.sessions(), 0);
    let url = format!("http://{}/{}", server.address, "a".repeat(100));
    let got = run("curl", args(&["-sS", "--http2-prior-knowledge", "-I", &url])).await;
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.starts_with("HTTP/2 414") && text.contains("\r\ndate: "), "{text}");
    // Larger than the crate lets through: it says 431 itself.
    let mut client = Raw::open(server.address, &[]).await;
    client.ask(1, &get("/small", &[("a", &"a".repeat(10_000))])).await;
    assert_eq!(client.answer(1).await.0, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_as_long_as_it_says_and_no_longer_than_it_may_be() {
    let server = start(Limits { body: Size(1000), ..Limits::default() }).await;
    let post = |length: Option<&'static str>| {
        let own = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", "/up")];
        fields(&own.into_iter().chain(length.map(|length| ("content-length", length))).collect::<Vec<_>>())
    };
    for (length, body, status, end) in [
        (Some("5"), "12345", 200, Ok(1)),
        (Some("5"), "1234", 0, Err(PROTOCOL_ERROR)),
        (Some("5"), "123456", 0, Err(PROTOCOL_ERROR)),
        (None, &*"x".repeat(1000), 200, Ok(4)),
    ] {
        let mut client = Raw::open(server.address, &[]).await;
        let sent = [frame(HEADERS, END_HEADERS, 1, &post(length)), frame(DATA, END_STREAM, 1, body.as_bytes())].concat();
        client.write(&sent).await;
        assert_eq!(client.answer(1).await, (status, end), "{length:?} {body:?}");
    }
    let mut client = Raw::open(server.address, &[]).await;
    client.write(&frame(HEADERS, END_HEADERS, 1, &post(None))).await;
    client.write(&frame(DATA, 0, 1, &[0; 1001])).await;
    let (status, end) = client.answer(1).await;
    assert!(status == 413 || (status == 0 && end.is_err()), "{status} {end:?}");
    is_well(&server).await;
}

/// Floods with `bytes` until the server has enough, and says how it ended the connection.
async fn flood(server: &Server, opening: &[u8], bytes: &[u8], times: usize) -> Option<u32> {
    let mut client = Raw::open(server.address, &[]).await;
    client.write(opening).await;
    client.pump(bytes, times).await;
    // What the server said last may be lost with what it had not read.
    client.rest().await.iter().filter(|frame| frame.kind == GOAWAY).map(Frame::reason).max()
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_the_connection_and_nobody_elses() {
    let server = start(Limits::default()).await;
    let half = frame(HEADERS, 0, 1, &get("/none", &[]));
    let open = frame(HEADERS, END_HEADERS, 1, &get("/none", &[]));
    for (why, opening, bytes) in [
        ("SETTINGS", &b""[..], settings(&[(INITIAL_WINDOW, 65_535)])),
        ("PING", b"", frame(PING, 0, 0, &[0; 8])),
        ("PRIORITY", b"", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16])),
        ("PRIORITY_UPDATE", b"", frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1")),
        ("frames nobody knows", b"", frame(0xfe, 0, 0, &[])),
        ("WINDOW_UPDATE", b"", window(1, 1)),
        ("empty DATA", &open, frame(DATA, 0, 1, &[])),
        ("CONTINUATION", &half, frame(CONTINUATION, 0, 1, &literal(b"a", b"b"))),
        ("empty CONTINUATION", &half, frame(CONTINUATION, 0, 1, &[])),
    ] {
        let opening = if why == "WINDOW_UPDATE" { &open[..] } else { opening };
        let reason = flood(&server, opening, &bytes, 200_000).await;
        assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{why}: {reason:?}");
        server.has_refused(Refusal::Flood).await;
        is_well(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_at_once_are_bounded() {
    let server = start(Limits::default()).await;
    for together in [1, 100] {
        let mut client = Raw::open(server.address, &[]).await;
        let (mut stream, mut taken) = (1, 0);
        let closed = loop {
            let mut bytes = Vec::new();
            for _ in 0..together {
                bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &get("/large", &[])));
                bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                (stream, taken) = (stream + 2, taken + 1);
            }
            client.write(&bytes).await;
            // An answer to a PING says that the server has seen all before it; the end, that it had enough.
            client.write(&frame(PING, 0, 0, &[7; 8])).await;
            match client.pong().await {
                true => assert!(taken < 2_000, "{taken} requests were taken"),
                false => break client.goaway(),
            }
        };
        assert!(closed.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{closed:?}");
        server.has_refused(Refusal::Flood).await;
        is_well(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_grow_are_bounded() {
    let server = start(Limits::default()).await;
    // 4 KB said once, and then again by a byte each: 16 MB from 4 KB.
    let bomb = [get("/none", &[]), remembered(b"a", &[b'x'; 4000]), vec![LAST_REMEMBERED; 4096]].concat();
    let mut client = Raw::open(server.address, &[]).await;
    client.ask(1, &bomb).await;
    let ends: Vec<u32> = client.rest().await.iter().filter(|frame| frame.kind == GOAWAY).map(Frame::reason).collect();
    assert_eq!((ends, server.refused(1).await), (vec![ENHANCE_YOUR_CALM], vec![Refusal::Flood]));

    // One field without end, frame after frame.
    let mut endless = literal(b"a", &[b'x'; 100]);
    endless[3..4].copy_from_slice(&[0x7f]);
    endless.splice(4..4, [0xff, 0xff, 0xff, 0x07]);
    let mut client = Raw::open(server.address, &[]).await;
    client.write(&frame(HEADERS, 0, 1, &[get("/none", &[]), endless].concat())).await;
    client.pump(&frame(CONTINUATION, 0, 1, &[b'x'; 16_000]), 10_000).await;
    assert_eq!(server.refused(1).await.len(), 1);

    let mut client = Raw::open(server.address, &[]).await;
    client.write(&frame(HEADERS, END_HEADERS, 1, &[0; 17_000])).await;
    let ends: Vec<u32> = client.rest().await.iter().filter(|frame| frame.kind == GOAWAY).map(Frame::reason).collect();
    assert_eq!(ends, [FRAME_SIZE_ERROR], "a frame larger than it may be");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_a_connection_for_nothing_loses_it() {
    let (short, long) = (Period(Duration::from_millis(300)), Period::from_secs(60));
    let times = |handshake_time, head_time, idle_time| Limits { handshake_time, head_time, idle_time, ..Limits::default() };
    let head = frame(HEADERS, END_HEADERS, 1, &get("/none", &[]));
    let half = frame(HEADERS, 0, 1, &get("/none", &[]));
    let opening = [PREFACE, &settings(&[])].concat();
    for (why, limits, said, reason, refused) in [
        ("half a frame", times(long, short, long), [&opening[..], &head[..20]].concat(), ENHANCE_YOUR_CALM, &[Refusal::HeadTime][..]),
        ("half a head", times(long, short, long), [&opening[..], &half].concat(), ENHANCE_YOUR_CALM, &[Refusal::HeadTime]),
        ("silence", times(long, long, short), opening.clone(), 0, &[]),
    ] {
        let server = start(limits).await;
        let mut client = Raw::silent(server.address).await;
        client.polite = false;
        client.write(&said).await;
        let ends: Vec<u32> = client.rest().await.iter().filter(|frame| frame.kind == GOAWAY).map(Frame::reason).collect();
        assert_eq!((ends, &server.refused(refused.len()).await[..]), (vec![reason], refused), "{why}");
        is_well(&server).await;
    }
    let server = start(times(short, long, long)).await;
    let mut client = Raw::silent(server.address).await;
    client.write(&PREFACE[..20]).await;
    assert_eq!(client.rest().await, [], "half a preface");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_requests_and_says_when_it_ends() {
    let server = start(Limits { requests_per_connection: 3, ..Limits::default() }).await;
    let mut client = Raw::open(server.address, &[]).await;
    for stream in [1, 3, 5] {
        client.ask(stream, &get("/small", &[])).await;
        assert_eq!(client.answer(stream).await, (200, Ok(SMALL)));
    }
    assert!(client.rest().await.iter().all(|frame| frame.kind == GOAWAY && frame.reason() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_runs() {
    let server = start(Limits::default()).await;
    let mut client = Raw::open(server.address, &[(INITIAL_WINDOW, 1000)]).await;
    client.ask(1, &get("/large", &[])).await;
    assert_eq!(client.next().await.unwrap().kind, HEADERS);
    server.stop.send(true).unwrap();
    while client.next().await.unwrap().kind != GOAWAY {}
    client.write(&[window(0, 1 << 30), window(1, 1 << 30)].concat()).await;
    assert_eq!(client.answer(1).await.1.unwrap() + 1000, LARGE);
    tokio::time::timeout(Duration::from_secs(5), server.drained).await.expect("the drain has no end").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_a_request_that_waits_is_noticed() {
    let server = start(Limits::default()).await;
    for leaves in [false, true] {
        let mut client = Raw::open(server.address, &[]).await;
        client.ask(1, &get("/held", &[])).await;
        let soon = Duration::from_secs(20);
        tokio::time::timeout(soon, server.seen.held.notified()).await.unwrap();
        if leaves {
            drop(client);
            tokio::time::timeout(soon, server.seen.left.notified()).await.expect("a client that left is waited for");
        } else {
            client.write(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
            tokio::time::timeout(soon, server.seen.left.notified()).await.expect("a client that gave up is waited for");
            client.ask(3, &get("/waited/small", &[])).await;
            assert_eq!(client.answer(3).await, (200, Ok(1)), "the connection goes on");
        }
    }
    assert_eq!(server.sessions(), 0);
}

/// By a paused clock: the ten seconds of a period pass while everybody waits.
#[tokio::test(start_paused = true)]
async fn who_gives_no_window_or_reads_nothing_is_cut_off() {
    let server = start(Limits { rate_min: Size(256), ..Limits::default() }).await;
    for path in ["/large", "/waited"] {
        for window in [0, 1, 2_000] {
            let mut client = Raw::open(server.address, &[(INITIAL_WINDOW, window)]).await;
            client.ask(1, &get(path, &[])).await;
            let since = tokio::time::Instant::now();
            assert_eq!(client.answer(1).await, (200, Err(if path == "/large" { ENHANCE_YOUR_CALM } else { 2 })), "{path} {window}");
            assert!(since.elapsed() <= Duration::from_secs(21), "{path} {window}: {:?}", since.elapsed());
            client.ask(3, &get("/small", &[])).await;
            client.write(&frames::window(3, 5_000)).await;
            assert_eq!(client.answer(3).await, (200, Ok(SMALL)), "the connection goes on");
        }
        // All the window one could wish, and nothing read.
        let mut client = Raw::open(server.address, &[(INITIAL_WINDOW, 1 << 30)]).await;
        client.write(&frames::window(0, 1 << 30)).await;
        for stream in (1..=63).step_by(2) {
            client.ask(stream, &get(path, &[])).await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(35), std::future::pending::<()>()).await;
        let got: usize = client.rest().await.iter().map(|frame| frame.payload.len()).sum();
        assert!(got < LARGE, "{path}: {got}");
        is_well(&server).await;
    }
    assert!(server.ended().iter().all(|(path, _, whole)| *whole == (path == "/small")));
    assert!(server.seen.waited.lock().iter().all(|(_, sent)| sent.end == Err(Unsent::Client)));
}

#[tokio::test(start_paused = true)]
async fn who_may_be_as_slow_as_it_likes_must_take_something_all_the_same() {
    let server = start(Limits { rate_min: Size(0), ..Limits::default() }).await;
    let mut client = Raw::open(server.address, &[(INITIAL_WINDOW, 0)]).await;
    client.ask(1, &get("/large", &[])).await;
    let told = tokio::time::timeout(Duration::from_secs(60), client.answer(1)).await;
    assert_eq!(told.expect("nothing is taken and nothing ends"), (200, Err(ENHANCE_YOUR_CALM)));
}

#[tokio::test(start_paused = true)]
async fn who_takes_little_but_enough_is_served() {
    let server = start(Limits { rate_min: Size(256), ..Limits::default() }).await;
    let mut client = Raw::open(server.address, &[(INITIAL_WINDOW, 0)]).await;
    client.ask(1, &get("/large", &[])).await;
    client.ask(3, &get("/waited", &[])).await;
    for _ in 0..60 {
        let _ = tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
        client.write(&[window(1, 300), window(3, 300)].concat()).await;
    }
    let mut got = [0, 0];
    while got != [18_000; 2] {
        let frame = client.next().await.unwrap();
        assert!(matches!(frame.kind, HEADERS | DATA), "{frame:?}");
        if frame.kind == DATA {
            got[usize::from(frame.stream == 3)] += frame.payload.len();
        }
    }
}

/// The order in which two large answers ended, and how often their frames took turns.
async fn order(server: &Server, first: &str, second: &str, then: &[u8]) -> (Vec<u32>, usize) {
    let mut client = Raw::open(server.address, &[(INITIAL_WINDOW, 1 << 30)]).await;
    client.write(&window(0, 1 << 30)).await;
    client.ask(1, &get("/large", &[("priority", first)])).await;
    // The first answer is on its way before there is a second request.
    while client.next().await.unwrap().kind != DATA {}
    client.ask(3, &get("/second", &[("priority", second)])).await;
    client.write(then).await;
    let (mut ends, mut turns, mut last) = (Vec::new(), 0, 1);
    while ends.len() < 2 {
        let frame = client.next().await.unwrap();
        if frame.kind == DATA {
            turns += usize::from(std::mem::replace(&mut last, frame.stream) != frame.stream);
            if frame.flags & END_STREAM != 0 {
                ends.push(frame.stream);
            }
        }
    }
    (ends, turns)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_more_urgent_answer_overtakes() {
    let server = start(Limits::default()).await;
    assert_eq!(order(&server, "u=3", "u=3", b"").await.0, [1, 3], "of one urgency, one after the other");
    assert_eq!(order(&server, "u=6", "u=1", b"").await.0, [3, 1]);
    assert_eq!(order(&server, "u=1", "u=6", b"").await.0, [1, 3]);
    let update = frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x03u=0");
    assert_eq!(order(&server, "u=3", "u=5", &update).await.0, [3, 1], "after another word");
    let (_, turns) = order(&server, "u=3, i", "u=3, i", b"").await;
    assert!(turns > 100, "incremental ones take turns: {turns}");
}
