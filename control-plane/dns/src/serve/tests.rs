//! Real sockets, with dig as the client.

mod cookies;

use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::*;
use crate::sample;

/// How long a test waits for what must come, in seconds.
const DEADLINE_S: u64 = 20;

/// A time, in seconds, in which no idle connection is closed for being idle.
const QUERY_SOON_S: u64 = 1;

struct Running {
    address: SocketAddr,
    state: Arc<ArcSwap<State>>,
    registry: prometheus::Registry,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn sockets(address: &str) -> Sockets {
    Sockets::bind(address.parse().expect("an address")).await.expect("a port")
}

async fn start() -> Running {
    start_with("127.0.0.1:0", Limits::default()).await
}

async fn start_with(address: &str, limits: Limits) -> Running {
    let sockets = sockets(address).await;
    let address = sockets.address().expect("an address");
    let state = Arc::new(ArcSwap::from_pointee(sample::state()));
    let registry = prometheus::Registry::new();
    let (stop, stopped) = watch::channel(false);
    let task = serve(sockets, Arc::clone(&state), limits, &registry, stopped).expect("a service");
    Running { address, state, registry, stop, task }
}

impl Running {
    /// What dig prints.
    async fn dig(&self, arguments: &[&str]) -> String {
        let port = self.address.port().to_string();
        let output = Command::new("dig")
            .args(["@127.0.0.1", "-p", &port, "+time=5", "+tries=2", "+norecurse"])
            .args(arguments)
            .output()
            .await
            .expect("dig, of the Debian package bind9-dnsutils");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn has(&self, arguments: &[&str], expected: &[&str]) {
        let output = self.dig(arguments).await;
        let words: Vec<&str> = output.split_whitespace().collect();
        let text = words.join(" ");
        for expected in expected {
            assert!(text.contains(expected), "dig {arguments:?} does not say {expected:?}:\n{output}");
        }
    }

    /// Waits until dig is told so.
    async fn says(&self, arguments: &[&str], expected: &str) {
        let told = async { while !self.dig(arguments).await.split_whitespace().collect::<Vec<_>>().join(" ").contains(expected) {} };
        timeout(Duration::from_secs(DEADLINE_S), told).await.unwrap_or_else(|_| panic!("dig {arguments:?} does not say {expected:?}"));
    }

    /// The series of a figure: the values of their labels and what was counted, one a line.
    fn series(&self, name: &str) -> String {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        let line = |metric: &prometheus::proto::Metric| {
            let labels: Vec<&str> = metric.get_label().iter().map(|label| label.value()).collect();
            format!("{} {}\n", labels.join(" "), metric.get_counter().get_value())
        };
        metrics.map(line).collect()
    }

    fn value(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| {
            family.get_metric().iter().map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value()).sum()
        })
    }

    async fn wait_for_value(&self, name: &str, wanted: f64) {
        let reached = async {
            while (self.value(name) - wanted).abs() > 0.5 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(DEADLINE_S), reached).await.unwrap_or_else(|_| panic!("{name} is {}, not {wanted}", self.value(name)));
    }
}

#[tokio::test]
async fn dig_gets_what_the_zone_says() {
    let running = start().await;
    let (site, north, south) = ("shop.cdn.test", "shop.cdn.test. 20 IN A 192.0.2.1 ", "shop.cdn.test. 20 IN A 192.0.2.2 ");
    running
        .has(&[site, "+subnet=10.1.9.0/24"], &["status: NOERROR", "flags: qr aa;", north, "CLIENT-SUBNET: 10.1.9.0/24/16", "udp: 1232"])
        .await;
    running.has(&[site, "+subnet=10.2.9.0/24"], &[south, "CLIENT-SUBNET: 10.2.9.0/24/16"]).await;
    running.has(&[site, "+subnet=2001:db8:1::/56"], &[north, "CLIENT-SUBNET: 2001:db8:1::/56/48"]).await;
    running.has(&[site, "+subnet=0"], &["status: NOERROR", south, "CLIENT-SUBNET: 0.0.0.0/0/0"]).await;
    running.has(&[site, "+subnet=10.1.9.0/24", "+tcp"], &[north, "CLIENT-SUBNET: 10.1.9.0/24/16"]).await;
    running.has(&[site, "+noedns", "+noall", "+answer"], &[&south[..south.len() - 1]]).await;
    running.has(&[site, "+edns=1", "+noednsneg"], &["status: BADVERS", "EDNS: version: 0"]).await;
    running.has(&["ShOp.cdn.TEST"], &["ShOp.cdn.TEST. 20 IN A 192.0.2.2"]).await;
    running
        .has(&["-t", "HTTPS", site, "+subnet=10.1.9.0/24"], &["HTTPS 1 . alpn=\"h2,http/1.1\" ipv4hint=192.0.2.1 ipv6hint=2001:db8::1"])
        .await;
    running
        .has(&["AAAA", site], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", "cdn.test. 30 IN SOA ns1.cdn.test. hostmaster.cdn.test. 7"])
        .await;
    running.has(&["www.cdn.test"], &["www.cdn.test. 300 IN CNAME shop.cdn.test.", south]).await;
    running.has(&["none.cdn.test"], &["status: NXDOMAIN", "cdn.test. 30 IN SOA"]).await;
    running.has(&["ANY", site, "+notcp"], &["HINFO \"RFC8482\" \"\""]).await;
    running.has(&["NS", "cdn.test"], &["NS ns1.cdn.test.", "NS ns2.example.net.", "ns1.cdn.test. 300 IN A 192.0.2.53"]).await;
    running.has(&["TXT", "cdn.test"], &["\"skerry serial=7\""]).await;
    running.has(&["AXFR", "cdn.test"], &["Transfer failed."]).await;
    running.has(&["CH", "TXT", "version.bind"], &["status: REFUSED"]).await;
    running.has(&["example.com"], &["status: REFUSED"]).await;
    running.has(&[site, "+opcode=STATUS"], &["status: NOTIMP"]).await;
}

#[tokio::test]
async fn what_does_not_fit_is_asked_for_again_over_tcp() {
    let running = start().await;
    let mut state = sample::state();
    state.nameservers[0].1 = (0..60).map(|last| IpAddr::from([192, 0, 2, last])).collect();
    running.state.store(Arc::new(State { serial: 8, ..state }));
    running.says(&["ns1.cdn.test", "+bufsize=512", "+ignore"], "flags: qr aa tc; QUERY: 1, ANSWER: 0").await;
    running.has(&["ns1.cdn.test", "+bufsize=512"], &["Truncated, retrying in TCP mode", "ANSWER: 60"]).await;
    running.has(&["ns1.cdn.test", "+bufsize=1232", "+ignore"], &["flags: qr aa;", "ANSWER: 60"]).await;
    assert!(running.value("skerry_dns_truncated_total") > 1.5);
}

#[tokio::test]
async fn a_swapped_state_counts_soon_and_service_goes_on_meanwhile() {
    let running = start().await;
    let (site, north) = ("shop.cdn.test", "+subnet=10.1.9.0/24");
    running.has(&[site, north], &["192.0.2.1 "]).await;
    assert!(running.series("skerry_dns_steered_total").contains("edge-n declared"));
    let mut state = sample::state();
    state.serial = 8;
    state.edges.remove(0);
    running.state.store(Arc::new(state));
    running.says(&[site, north], "192.0.2.2 ").await;
    running.has(&["TXT", "cdn.test"], &["\"skerry serial=8\""]).await;
    let series = running.series("skerry_dns_steered_total");
    assert!(!series.contains("edge-n ") && series.contains("edge-s "), "an edge that is gone has no series: {series}");
    running.state.store(Arc::new(State::default()));
    running.says(&[site, north], "status: REFUSED").await;
}

#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    let running = start_with("0.0.0.0:0", Limits::default()).await;
    for server in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
        let asked = SocketAddr::new(server.parse().expect("an address"), running.address.port());
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.send_to(&query(), asked).await.expect("sent");
        let mut buffer = [0; 1500];
        let (_, from) = timeout(Duration::from_secs(DEADLINE_S), socket.recv_from(&mut buffer)).await.expect("in time").expect("an answer");
        assert_eq!(from, asked);
    }
}

#[tokio::test]
async fn who_asks_too_often_is_cut_short_and_gets_its_answer_over_tcp_or_with_a_cookie() {
    let limits = Limits { same_per_second: 5, slip: 1, ..Limits::default() };
    let running = start_with("127.0.0.1:0", limits).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(running.address).await.expect("an address");
    let mut buffer = [0; 1500];
    let mut cut = 0;
    for _ in 0..50 {
        socket.send(&query()).await.expect("sent");
        let length = timeout(Duration::from_secs(DEADLINE_S), socket.recv(&mut buffer)).await.expect("in time").expect("an answer");
        if buffer[2] & 0x02 != 0 {
            assert!(length < 60, "question and nothing else: {length}");
            cut += 1;
        }
    }
    assert!((40..=45).contains(&cut), "{cut}");
    assert!((running.value("skerry_dns_limited_total") - f64::from(cut)).abs() < 0.5);
    running.has(&["shop.cdn.test", "+nocookie"], &["Truncated, retrying in TCP mode", "192.0.2."]).await;
    // dig asks for a cookie with its first query and brings it with its next.
    let told = running.dig(&["shop.cdn.test", "+cookie"]).await;
    let cookie = told.split("; COOKIE: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a cookie").to_owned();
    for _ in 0..20 {
        running.has(&["shop.cdn.test", "+ignore", &format!("+cookie={cookie}")], &["flags: qr aa;", "192.0.2.", "(good)"]).await;
    }
    assert!(running.series("skerry_dns_cookies_total").contains("yes"));
}

#[tokio::test]
async fn a_forged_flood_gets_its_victim_little_and_leaves_others_alone() {
    let running = start_with("0.0.0.0:0", Limits { same_per_second: 10, slip: 2, ..Limits::default() }).await;
    let at = SocketAddr::new("127.0.0.1".parse().expect("an address"), running.address.port());
    let (victim, other) = (UdpSocket::bind("127.0.7.1:0").await.expect("a port"), UdpSocket::bind("127.0.8.1:0").await.expect("a port"));
    let (mut octets_in, mut octets_out, mut buffer) = (0, 0, [0; 1500]);
    for _ in 0..400 {
        octets_in += victim.send_to(&query(), at).await.expect("sent");
        while let Ok(length) = victim.try_recv(&mut buffer) {
            octets_out += length;
        }
    }
    other.send_to(&query(), at).await.expect("sent");
    timeout(Duration::from_secs(DEADLINE_S), other.recv(&mut buffer)).await.expect("in time").expect("an answer");
    assert_eq!(buffer[2] & 0x02, 0);
    running.wait_for_value("skerry_dns_queries_total", 401.0).await;
    while let Ok(length) = victim.try_recv(&mut buffer) {
        octets_out += length;
    }
    assert!(octets_out < octets_in, "a flood is made smaller, not larger: {octets_in} in, {octets_out} out");
}

#[tokio::test]
async fn malformed_packets_are_answered_or_dropped_and_service_goes_on() {
    let running = start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(running.address).await.expect("an address");
    let mut seed = 1_u64;
    let mut buffer = [0; 2048];
    for round in 0..500_usize {
        let packet: Vec<u8> = (0..round % 97)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed.to_be_bytes()[0]
            })
            .collect();
        socket.send(&packet).await.expect("sent");
        // Answered or not: what is there is read so that the queue stays short.
        while socket.try_recv(&mut buffer).is_ok() {}
    }
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    stream.write_all(&[0, 3, 1, 2, 3]).await.expect("sent");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(DEADLINE_S), stream.read_to_end(&mut rest)).await.expect("closed in time").expect("closed");
    assert!(rest.is_empty(), "too short to answer, so the connection is closed");
    running.has(&["shop.cdn.test"], &["status: NOERROR"]).await;
    assert!(running.value("skerry_dns_dropped_total") > 0.5);
}

#[tokio::test]
async fn queries_that_come_together_are_answered_in_their_order() {
    let running = start().await;
    let mut all = Vec::new();
    for number in 0..999_u16 {
        let mut query = query();
        query[..2].copy_from_slice(&number.to_be_bytes());
        all.extend_from_slice(&framed(&query));
    }
    let (mut receive, mut send) = TcpStream::connect(running.address).await.expect("connected").into_split();
    // In pieces that are no queries.
    let sending = tokio::spawn(async move {
        for piece in all.chunks(777) {
            send.write_all(piece).await.expect("sent");
        }
        send
    });
    for number in 0..999_u16 {
        let length = timeout(Duration::from_secs(DEADLINE_S), receive.read_u16()).await.expect("in time").expect("an answer");
        let mut answer = vec![0; usize::from(length)];
        receive.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer[..2], number.to_be_bytes());
    }
    let mut send = sending.await.expect("no panic");
    let mut last = query();
    last[..2].fill(0);
    send.write_all(&framed(&last).repeat(2)).await.expect("sent");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(DEADLINE_S), receive.read_to_end(&mut rest)).await.expect("in time").expect("closed");
    assert_eq!(rest.iter().filter(|octet| **octet == b'h').count(), 1, "one more answer, and no more on this connection");
}

#[tokio::test]
async fn what_was_answered_arrives_before_a_connection_is_closed() {
    let running = start().await;
    let good = framed(&query());
    for (sent, answers) in [
        (good.repeat(3), 3),
        ([good.repeat(3), vec![0, 3, 1, 2, 3], good.repeat(2)].concat(), 3),
        (good.repeat(3_000), 1_000),
        // A query is not that long, so nothing of it is read.
        ([good.repeat(3), vec![0x13, 0x88], vec![0; 5_000]].concat(), 3),
    ] {
        let (mut receive, mut send) = TcpStream::connect(running.address).await.expect("connected").into_split();
        let sending = tokio::spawn(async move {
            send.write_all(&sent).await.expect("sent");
            send.shutdown().await.expect("ended");
        });
        let mut told = Vec::new();
        timeout(Duration::from_secs(DEADLINE_S), receive.read_to_end(&mut told)).await.expect("in time").expect("closed, not reset");
        sending.await.expect("all is taken");
        let mut rest = told.as_slice();
        let mut count = 0;
        while let Some((length, after)) = rest.split_first_chunk() {
            rest = after.get(usize::from(u16::from_be_bytes(*length))..).expect("whole");
            count += 1;
        }
        assert_eq!(count, answers);
    }
}

#[tokio::test]
async fn who_holds_most_connections_makes_room() {
    let running = start_with("0.0.0.0:0", Limits { connections: 4, connections_per_address: 4, ..Limits::default() }).await;
    let at = SocketAddr::new("127.0.0.1".parse().expect("an address"), running.address.port());
    let connect = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{from}:0").parse().expect("an address")).expect("ours");
        socket.connect(at).await.expect("connected")
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect("127.0.0.1").await);
    }
    running.wait_for_value("skerry_dns_tcp_connections", 4.0).await;
    let mut other = connect("127.9.0.1").await;
    other.write_all(&framed(&query())).await.expect("sent");
    let length = timeout(Duration::from_secs(DEADLINE_S), other.read_u16()).await.expect("in time").expect("an answer");
    assert!(length > 40, "{length}");
    let end = timeout(Duration::from_secs(QUERY_SOON_S), held[0].read(&mut [0])).await.expect("closed before its time");
    assert!(matches!(end, Ok(0) | Err(_)), "the oldest made room");
    running.wait_for_value("skerry_dns_tcp_connections", 4.0).await;
}

#[tokio::test]
async fn connections_are_bound_for_each_address_and_in_all() {
    let limits = Limits { connections: 6, connections_per_address: 4, ..Limits::default() };
    let running = start_with("0.0.0.0:0", limits).await;
    let at = SocketAddr::new("127.0.0.1".parse().expect("an address"), running.address.port());
    let connect = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{from}:0").parse().expect("an address")).expect("ours");
        socket.connect(at).await.expect("connected")
    };
    let refused = async |mut stream: TcpStream| {
        let end = timeout(Duration::from_secs(DEADLINE_S), stream.read(&mut [0])).await.expect("in time");
        assert!(matches!(end, Ok(0) | Err(_)), "closed at once");
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect("127.0.0.1").await);
    }
    running.wait_for_value("skerry_dns_tcp_connections", 4.0).await;
    refused(connect("127.0.0.1").await).await;
    assert!(running.series("skerry_dns_tcp_connections_refused_total").contains("address 1"));
    for _ in 0..2 {
        held.push(connect("127.0.0.2").await);
    }
    running.wait_for_value("skerry_dns_tcp_connections", 6.0).await;
    refused(connect("127.0.0.3").await).await;
    assert!(running.series("skerry_dns_tcp_connections_refused_total").contains("all 1"));
    drop(held);
    running.wait_for_value("skerry_dns_tcp_connections", 0.0).await;
    running.has(&["shop.cdn.test", "+tcp"], &["status: NOERROR"]).await;
}

/// A query for the sample's site.
fn query() -> Vec<u8> {
    sample::asked(&hickory_proto::rr::Name::from_ascii("shop.cdn.test.").expect("a name"), hickory_proto::rr::RecordType::A)
}

fn framed(query: &[u8]) -> Vec<u8> {
    [&u16::try_from(query.len()).expect("short").to_be_bytes(), query].concat()
}

#[tokio::test]
async fn stop_ends_service_and_frees_the_sockets() {
    let running = start().await;
    running.has(&["shop.cdn.test"], &["status: NOERROR"]).await;
    running.stop.send(true).expect("someone listens");
    timeout(Duration::from_secs(DEADLINE_S), running.task).await.expect("in time").expect("no panic");
    UdpSocket::bind(running.address).await.expect("the port is free");
}

#[tokio::test]
async fn figures_that_are_registered_already_are_a_sentence() {
    let registry = prometheus::Registry::new();
    let (_stop, stopped) = watch::channel(false);
    let state = Arc::new(ArcSwap::from_pointee(State::default()));
    serve(sockets("127.0.0.1:0").await, Arc::clone(&state), Limits::default(), &registry, stopped.clone()).expect("the first");
    let error = serve(sockets("127.0.0.1:0").await, state, Limits::default(), &registry, stopped).expect_err("the second");
    assert!(error.starts_with("cannot register the figures of DNS service: "), "{error}");
}
