//! What other clients get: each refusal has its answer, and nobody else notices.

use std::net::UdpSocket;
use std::sync::atomic::Ordering;

use bytes::{BufMut as _, Bytes, BytesMut};
use h3::error::Code;
use quinn::{ConnectionError, ReadToEndError, RecvStream, VarInt};
use skerry_config::process::Limits;
use skerry_config::units::{Period, Size};
use skerry_transport::h3::frames::{self, Found, Frames, Stream, put_header};

use crate::house::{HIT, Running, SOON, ask, client, relay, request, start, until, within};

/// A frame.
fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    put_header(&mut bytes, kind, payload.len());
    bytes.put_slice(payload);
    bytes.to_vec()
}

/// The head of a request, its lines written out.
fn head(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in lines {
        // Names of up to 7 + 127 bytes, values of up to 127 + 127.
        match name.len() {
            length @ 0..7 => section.push(0x20 | length as u8),
            length => section.extend([0x27, (length - 7) as u8]),
        }
        section.extend(name.as_bytes());
        match value.len() {
            length @ 0..127 => section.push(length as u8),
            length => section.extend([0x7f, (length - 127) as u8]),
        }
        section.extend(value.as_bytes());
    }
    frame(frames::HEADERS, &section)
}

/// What requests begin with.
const BEGIN: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "https"), (":authority", "shop.test"), (":path", "/up")];

fn head_with(lines: &[(&str, &str)]) -> Vec<u8> {
    head(&[&BEGIN, lines].concat())
}

/// How a stream ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// With an answer of this status and text.
    Answer(u16, String),
    Reset(Code),
    Closed(u64),
}

/// Writes bytes to a request stream, ends it if told so, and waits for what comes of it.
async fn say(connection: &quinn::Connection, bytes: &[u8], ends: bool) -> End {
    let (mut send, mut receive) = within(connection.open_bi()).await.unwrap();
    let _ = send.write_all(bytes).await;
    if ends {
        let _ = send.finish();
    }
    match within(receive.read_to_end(1 << 20)).await {
        Ok(answer) => answer_of(answer),
        Err(ReadToEndError::Read(quinn::ReadError::Reset(code))) => End::Reset(Code::from(u64::from(code))),
        Err(ReadToEndError::Read(quinn::ReadError::ConnectionLost(ConnectionError::ApplicationClosed(closed)))) => {
            End::Closed(closed.error_code.into())
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn answer_of(bytes: Vec<u8>) -> End {
    let (mut frames, mut input) = (Frames::of(Stream::Request { head: 1 << 20 }), Bytes::from(bytes));
    let Ok(Some(Found::Frame(frames::HEADERS, section))) = frames.next(&mut input) else { panic!("no head") };
    // By the static table, or written out (RFC 9204 sections 4.5.2 and 4.5.4).
    let status = match section[2] {
        0x5f => std::str::from_utf8(&section[5..8]).unwrap().parse().unwrap(),
        0xd9 => 200,
        0xff => 63 + u16::from(section[3]),
        other => panic!("{other:x}"),
    };
    let status = if section[2] == 0xff { [100, 204, 206, 302, 400, 403, 421, 425, 500][usize::from(status) - 63] } else { status };
    let mut text = Vec::new();
    while let Some(Found::Data(piece)) = frames.next(&mut input).unwrap() {
        text.extend_from_slice(&piece);
    }
    frames.end().unwrap();
    End::Answer(status, String::from_utf8(text).unwrap())
}

fn refused(status: u16) -> End {
    End::Answer(status, "no".to_owned())
}

/// That another client is answered as if nothing had been.
async fn is_well(running: &Running) {
    let (mut asking, _driver) = running.client().await;
    assert_eq!(ask(&mut asking, request("GET", "/hit"), &[]).await.text(), HIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_no_heads_go_no_further() {
    let running = start(Limits { fields: 16, target: Size(1_000), ..Limits::default() }).await;
    let connection = running.connect().await;
    let long = format!("/{}", "a".repeat(200));
    let [method, scheme, authority, path] = BEGIN;
    let many: Vec<(String, &str)> = (0..20).map(|number| (format!("x-{number}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    for (bytes, status) in [
        (head(&[method, scheme, path]), 400),
        (head(&[method, scheme, authority]), 400),
        (head(&[method, authority, path]), 400),
        (head(&[scheme, authority, path]), 400),
        (head(&[method, scheme, authority, path, path]), 400),
        (head(&[method, method, scheme, authority, path]), 400),
        (head(&[method, scheme, authority, ("a", "b"), path]), 400),
        (head_with(&[(":status", "200")]), 400),
        (head_with(&[(":protocol", "websocket")]), 400),
        (head(&[method, ("scheme", "https"), authority, path]), 400),
        (head(&[method, (":scheme", "http"), authority, path]), 400),
        (head(&[method, scheme, (":authority", ""), path]), 400),
        (head(&[method, scheme, (":authority", "a b"), path]), 400),
        (head(&[method, scheme, (":authority", "user@shop.test"), path]), 400),
        (head(&[method, scheme, authority, (":path", "")]), 400),
        (head(&[method, scheme, authority, (":path", "*")]), 400),
        (head(&[method, scheme, authority, (":path", "/ HTTP/1.1\r\nx: y")]), 400),
        (head(&[(":method", "CONNECT"), authority]), 400),
        (head(&[(":method", "CONNECT"), scheme, authority, path]), 501),
        (head(&[(":method", "GE T"), scheme, authority, path]), 400),
        (head_with(&[("host", "other.test")]), 400),
        (head_with(&[("host", "shop.test"), ("host", "shop.test")]), 400),
        (head_with(&[("connection", "close")]), 400),
        (head_with(&[("transfer-encoding", "chunked")]), 400),
        (head_with(&[("upgrade", "websocket")]), 400),
        (head_with(&[("keep-alive", "1")]), 400),
        (head_with(&[("proxy-connection", "close")]), 400),
        (head_with(&[("te", "gzip")]), 400),
        (head_with(&[("X-Upper", "1")]), 400),
        (head_with(&[("x y", "1")]), 400),
        (head_with(&[("", "1")]), 400),
        (head_with(&[("x", "a\r\nb: c")]), 400),
        (head_with(&[("x", "a\0")]), 400),
        (head_with(&[("content-length", "1"), ("content-length", "1")]), 400),
        (head_with(&[("content-length", "+1")]), 400),
        (head_with(&[("content-length", "99999999999999999999999")]), 400),
        (head_with(&many), 431),
        (frame(frames::HEADERS, &[&[0, 0][..], &[0xc0 | 29; 5_000]].concat()), 431),
    ] {
        assert_eq!(say(&connection, &bytes, true).await, refused(status), "{}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(running.counts.refused.load(Ordering::Relaxed), 38);
    // What is fine is: the bound on the target is above this one.
    let fine = head(&[method, scheme, authority, (":path", &long), ("te", "trailers"), ("host", "shop.test")]);
    let End::Answer(200, text) = say(&connection, &fine, true).await else { panic!("not answered") };
    assert!(text.starts_with("POST shop.test /aaa"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_by_what_is_announced() {
    let limits = Limits { head: Size(8 << 10), target: Size(100), body: Size(10), head_time: Period::from_secs(1), ..Limits::default() };
    let running = start(limits).await;
    let connection = running.connect().await;
    let mut announced = BytesMut::new();
    put_header(&mut announced, frames::HEADERS, (8 << 10) + 1);
    assert_eq!(say(&connection, &announced, false).await, refused(431), "before any of it has come");
    let long = format!("/{}", "a".repeat(100));
    let [method, scheme, authority, path] = BEGIN;
    assert_eq!(say(&connection, &head(&[method, scheme, authority, (":path", &long)]), true).await, refused(414));
    assert_eq!(say(&connection, &head_with(&[("content-length", "11")]), false).await, refused(413));
    // Three never finish their heads, and one never says whether it has a body.
    let whole = head_with(&[]);
    let fetch = head(&[(":method", "GET"), scheme, authority, path]);
    let slow = [&[0x21][..], &[1], &whole[..whole.len() - 1], &fetch].map(|begin| say(&connection, begin, false));
    let [a, b, c, d] = slow;
    assert_eq!(tokio::join!(a, b, c, d), (refused(408), refused(408), refused(408), refused(408)));
    is_well(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_a_date_and_for_head_no_body() {
    let running = start(Limits { target: Size(100), ..Limits::default() }).await;
    let (mut asking, _driver) = running.client().await;
    let long = format!("/{}", "a".repeat(100));
    for (method, path, name, status) in [("GET", &*long, "x", 414), ("HEAD", &long, "x", 414), ("HEAD", "/", "keep-alive", 400)] {
        let got = ask(&mut asking, request(method, path).header(name, "1"), &[]).await;
        assert_eq!((got.status(), got.text()), (status, if method == "HEAD" { "" } else { "no" }), "{method} {path} {name}");
        assert!(got.end.is_ok() && got.head.headers().contains_key("date"), "{got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_what_their_heads_say() {
    let running = start(Limits { body: Size(10), ..Limits::default() }).await;
    let connection = running.connect().await;
    let data = |bytes: &[u8]| frame(frames::DATA, bytes);
    let trailers = frame(frames::HEADERS, b"\0\0\x21a\x01b");
    let answered = |length: usize| End::Answer(200, format!("POST shop.test /up 127.0.0.1 body={length} cookie=- early=-"));
    let malformed = || End::Reset(Code::H3_MESSAGE_ERROR);
    for (told, parts, expected) in [
        ("5", vec![data(b"four"), data(b"")], malformed()),
        ("3", vec![data(b"four")], malformed()),
        ("5", vec![], malformed()),
        ("0", vec![data(b"four")], refused(400)),
        ("4", vec![data(b"fo"), data(b""), frame(0x21, b"grease"), data(b"ur"), trailers.clone()], answered(4)),
        ("", vec![data(b"fo"), data(b""), data(b"ur")], answered(4)),
        ("", vec![data(b"x"), frame(frames::HEADERS, b"\0\0\xc1")], malformed()),
        ("", vec![data(b"123456"), data(b"78901")], End::Answer(413, String::new())),
    ] {
        let lines = if told.is_empty() { vec![] } else { vec![("content-length", told)] };
        let bytes = [vec![head_with(&lines)], parts].concat().concat();
        let end = say(&connection, &bytes, true).await;
        assert_eq!(end, expected, "{told} {bytes:?}");
    }
    is_well(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_out_of_place_end_the_connection() {
    let running = start(Limits::default()).await;
    let head = head_with(&[]);
    let unexpected = Code::H3_FRAME_UNEXPECTED.value();
    let trailers = frame(frames::HEADERS, b"\0\0");
    for (bytes, expected) in [
        (frame(frames::DATA, b"x"), unexpected),
        (frame(frames::SETTINGS, b""), unexpected),
        (frame(frames::GOAWAY, b"\0"), unexpected),
        (frame(0x2, b""), unexpected),
        ([&head[..], &frame(frames::MAX_PUSH_ID, b"\0")].concat(), unexpected),
        ([&head[..], &trailers, &frame(frames::DATA, b"x")].concat(), unexpected),
        ([&head[..], &trailers, &trailers].concat(), unexpected),
        (head[..head.len() - 1].to_vec(), Code::H3_FRAME_ERROR.value()),
        ([&head[..], &[0, 5, b'x']].concat(), Code::H3_FRAME_ERROR.value()),
        // A field of the dynamic table, and one that breaks off.
        (frame(frames::HEADERS, &[0, 0, 0x80]), 0x200),
        (frame(frames::HEADERS, &[0, 0, 0x51, 9]), 0x200),
    ] {
        let connection = running.connect().await;
        assert_eq!(say(&connection, &bytes, true).await, End::Closed(expected), "{bytes:x?}");
    }
    let connection = running.connect().await;
    assert_eq!(say(&connection, &frame(0x21, b"nothing else"), true).await, End::Reset(Code::H3_REQUEST_INCOMPLETE));
    is_well(&running).await;
    // Each of them is counted, and once.
    until(|| running.counts.refused.load(Ordering::Relaxed) == 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_streams_are_bounded() {
    let running = start(Limits::default()).await;
    let mut long = BytesMut::from(&[0][..]);
    put_header(&mut long, frames::SETTINGS, 1 << 20);
    let settings = frame(frames::SETTINGS, b"");
    let flood = [&[0][..], &settings, &frame(frames::MAX_PUSH_ID, b"\x01").repeat(2_000)].concat();
    // As much as there is, of what nobody knows: none of it is kept.
    let unknown = [&[0][..], &settings, &frame(0x21, &[0; 1 << 20]), &frame(frames::DATA, b"")].concat();
    for (bytes, ends, expected) in [
        (&long[..], false, Code::H3_EXCESSIVE_LOAD),
        (&flood, false, Code::H3_EXCESSIVE_LOAD),
        (&unknown, false, Code::H3_FRAME_UNEXPECTED),
        (&[&[0][..], &settings, &settings].concat(), false, Code::H3_FRAME_UNEXPECTED),
        (&[&[0][..], &frame(frames::MAX_PUSH_ID, b"\x01")].concat(), false, Code::H3_MISSING_SETTINGS),
        (&[&[0][..], &settings].concat(), true, Code::H3_CLOSED_CRITICAL_STREAM),
    ] {
        let connection = running.connect().await;
        let mut control = connection.open_uni().await.unwrap();
        let _ = within(control.write_all(bytes)).await;
        if ends {
            control.finish().unwrap();
        }
        let ConnectionError::ApplicationClosed(closed) = within(connection.closed()).await else { panic!("{expected:?}") };
        assert_eq!(closed.error_code, VarInt::from_u64(expected.value()).unwrap(), "{expected:?}");
    }
    is_well(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_may_be_said_at_any_time() {
    let running = start(Limits::default()).await;
    let connection = running.connect().await;
    let mut control = connection.open_uni().await.unwrap();
    let update = |id: u8, text: &str| frame(frames::PRIORITY_UPDATE, &[&[id], text.as_bytes()].concat());
    let words =
        [vec![0], frame(frames::SETTINGS, b""), update(0, "u=1"), update(4, "i, u=9"), frame(frames::PRIORITY_UPDATE, b"")].concat();
    control.write_all(&words).await.unwrap();
    for number in 0..3 {
        let End::Answer(200, _) = say(&connection, &head_with(&[("priority", "u=0;x, i=?2")]), true).await else { panic!("{number}") };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_are_bounded_and_given_back() {
    let running = start(Limits { streams: 4, ..Limits::default() }).await;
    let connection = running.connect().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let (mut send, receive) = within(connection.open_bi()).await.unwrap();
        send.write_all(&[1]).await.unwrap();
        held.push((send, receive));
    }
    let mut fifth = Box::pin(connection.open_bi());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), &mut fifth).await.is_err(), "a fifth stream was allowed");
    let (mut send, mut receive) = held.pop().unwrap();
    send.reset(VarInt::from_u32(0x10c)).unwrap();
    let _ = receive.stop(VarInt::from_u32(0x10c));
    within(fifth).await.unwrap();
    // Again and again: none of them leaves a trace.
    for _ in 0..40 {
        let (mut send, mut receive) = within(connection.open_bi()).await.unwrap();
        send.reset(VarInt::from_u32(0x10c)).unwrap();
        let _ = receive.stop(VarInt::from_u32(0x10c));
    }
    is_well(&running).await;
}

/// The stream on which the server says goodbye, with nothing of it read.
async fn control(connection: &quinn::Connection) -> RecvStream {
    loop {
        let mut stream = within(connection.accept_uni()).await.unwrap();
        let mut kind = [1];
        within(stream.read_exact(&mut kind)).await.unwrap();
        if kind == [0] {
            return stream;
        }
    }
}

/// Waits for the next GOAWAY, and tells from which stream on requests go unseen.
async fn goodbye(control: &mut RecvStream) -> u64 {
    loop {
        let mut header = [0; 2];
        within(control.read_exact(&mut header)).await.unwrap();
        let mut payload = vec![0; usize::from(header[1])];
        within(control.read_exact(&mut payload)).await.unwrap();
        if u64::from(header[0]) == frames::GOAWAY {
            return frames::varint(&mut &payload[..]).unwrap();
        }
    }
}

/// Whether a request that was on its way when a stop was asked for was taken; if not, it was refused as it should be.
async fn is_taken_while_ending() -> bool {
    let running = start(Limits::default()).await;
    let connection = running.connect().await;
    let mut control = control(&connection).await;
    let [_, scheme, authority, _] = BEGIN;
    let held = head(&[(":method", "GET"), scheme, authority, (":path", "/held")]);
    let held = say(&connection, &held, true);
    let others = async {
        until(|| running.seen.lock().contains(&"/held".to_owned())).await;
        running.stop.send(true).unwrap();
        let under_way = say(&connection, &head_with(&[]), true).await;
        assert!(goodbye(&mut control).await > 4, "the first word allows for what is under way");
        let is_taken = matches!(under_way, End::Answer(200, _));
        assert!(is_taken || under_way == End::Reset(Code::H3_REQUEST_REJECTED), "{under_way:?}");
        assert_eq!(goodbye(&mut control).await, if is_taken { 8 } else { 4 }, "the last word names what was taken");
        // Nothing was done with what comes behind it, and the client is told so.
        assert_eq!(say(&connection, &head_with(&[]), true).await, End::Reset(Code::H3_REQUEST_REJECTED));
        running.release.notify_one();
        is_taken
    };
    let (held, is_taken) = tokio::join!(held, others);
    assert!(matches!(held, End::Answer(200, _)), "{held:?}");
    assert_eq!(running.seen.lock().len(), 1 + usize::from(is_taken));
    let ConnectionError::ApplicationClosed(closed) = within(connection.closed()).await else { panic!("not closed") };
    assert_eq!(closed.error_code, VarInt::from_u64(Code::H3_NO_ERROR.value()).unwrap());
    within(running.drained).await.unwrap();
    is_taken
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_a_stop_is_taken_and_what_comes_later_is_refused() {
    // The time for it is short, and a busy machine may miss it.
    for _ in 0..5 {
        if is_taken_while_ending().await {
            return;
        }
    }
    panic!("no request that was under way was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_or_takes_too_little_is_cut_off() {
    let running = start(Limits::default()).await;
    let connection = running.connect().await;
    let slow_body = async {
        let begin = [head_with(&[("content-length", "1000")]), frame(frames::DATA, b"x")].concat();
        // Nobody waits for the rest, and what was read is no request.
        assert_eq!(say(&connection, &begin, false).await, End::Answer(400, String::new()));
    };
    let [_, scheme, authority, _] = BEGIN;
    let endless = head(&[(":method", "GET"), scheme, authority, (":path", "/endless")]);
    let slow_reader = async {
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&endless).await.unwrap();
        send.finish().unwrap();
        // It reads the reset, when that has come, and nothing before.
        within(receive.received_reset()).await.unwrap()
    };
    let (code, ()) = tokio::join!(slow_reader, slow_body);
    assert_eq!(code, Some(VarInt::from_u64(Code::H3_REQUEST_CANCELLED.value()).unwrap()));
    is_well(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_nonsense_are_nobodys_business() {
    let running = start(Limits::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut state = 1_u64;
    for length in 0..1_500 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(length)
        .collect();
        socket.send_to(&bytes, running.address).unwrap();
    }
    // A version that there is not (RFC 9000 section 6.1) is answered with those there are.
    let mut hello = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8];
    hello.extend(b"abcdefgh\x08ABCDEFGH");
    hello.resize(1_200, 0);
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.set_read_timeout(Some(SOON)).unwrap();
    connected.send_to(&hello, running.address).unwrap();
    let mut answer = [0; 1_500];
    let (length, _) = connected.recv_from(&mut answer).unwrap();
    let answer = &answer[..length];
    assert_eq!((&answer[1..5], &answer[5..23]), (&[0; 4][..], &b"\x08ABCDEFGH\x08abcdefgh"[..]));
    assert!(answer[23..].chunks(4).any(|version| version == [0, 0, 0, 1]), "{answer:x?}");
    is_well(&running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_checked_when_many_handshakes_hang() {
    let running = start(Limits { handshake_time: Period::from_secs(5), ..Limits::default() }).await;
    let (through, open, retries) = relay(running.address);
    let endpoint = running.endpoint();
    // Their clients hear nothing.
    let hanging: Vec<quinn::Connecting> = (0..400).map(|_| endpoint.connect(through, "shop.test").unwrap()).collect();
    until(|| retries.load(Ordering::Relaxed) > 0).await;
    // One who has the address it says is answered all the same.
    is_well(&running).await;
    drop(hanging);
    endpoint.close(VarInt::from_u32(0), b"");
    open.store(true, Ordering::Relaxed);
    let (mut asking, _driver) = client(within(running.endpoint().connect(running.address, "shop.test").unwrap()).await.unwrap()).await;
    assert_eq!(ask(&mut asking, request("GET", "/hit"), &[]).await.text(), HIT);
}
