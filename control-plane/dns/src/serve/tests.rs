//! Real sockets, with dig as the client.

use std::net::IpAddr;

use tokio::process::Command;

use super::*;
use crate::sample;

/// How long a test waits for what must come, in seconds.
const DEADLINE_S: u64 = 20;

struct Running {
    address: SocketAddr,
    state: Arc<ArcSwap<State>>,
    registry: prometheus::Registry,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Both sockets on one free port.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")).await {
            return (udp, tcp);
        }
    }
}

async fn start() -> Running {
    let (udp, tcp) = sockets().await;
    let address = udp.local_addr().expect("an address");
    let state = Arc::new(ArcSwap::from_pointee(sample::state()));
    let registry = prometheus::Registry::new();
    let (stop, stopped) = watch::channel(false);
    let task = serve(udp, tcp, Arc::clone(&state), &registry, stopped).expect("a service");
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
    running.state.store(Arc::new(state));
    running.has(&["ns1.cdn.test", "+bufsize=512", "+ignore"], &["flags: qr aa tc;", "ANSWER: 0"]).await;
    running.has(&["ns1.cdn.test", "+bufsize=512"], &["Truncated, retrying in TCP mode", "ANSWER: 60"]).await;
    running.has(&["ns1.cdn.test", "+bufsize=1232", "+ignore"], &["flags: qr aa;", "ANSWER: 60"]).await;
    assert!(running.value("skerry_dns_truncated_total") > 1.5);
}

#[tokio::test]
async fn a_swapped_state_counts_from_the_next_query_on() {
    let running = start().await;
    let (site, north) = ("shop.cdn.test", "+subnet=10.1.9.0/24");
    running.has(&[site, north], &["192.0.2.1 "]).await;
    let mut state = sample::state();
    state.serial = 8;
    state.edges[0].up = false;
    running.state.store(Arc::new(state));
    running.has(&[site, north], &["192.0.2.2 "]).await;
    running.has(&["TXT", "cdn.test"], &["\"skerry serial=8\""]).await;
    running.state.store(Arc::new(State::default()));
    running.has(&[site, north], &["status: REFUSED"]).await;
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
async fn one_connection_brings_many_queries_and_too_many_connections_are_refused() {
    let running = start().await;
    let name = hickory_proto::rr::Name::from_ascii("shop.cdn.test.").expect("a name");
    let mut query = hickory_proto::op::Message::query();
    query.add_query(hickory_proto::op::Query::query(name, hickory_proto::rr::RecordType::A));
    let octets = query.to_vec().expect("a message");
    let framed = [&u16::try_from(octets.len()).expect("short").to_be_bytes(), octets.as_slice()].concat();
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    stream.write_all(&framed.repeat(3)).await.expect("sent");
    for _ in 0..3 {
        let length = timeout(Duration::from_secs(DEADLINE_S), stream.read_u16()).await.expect("in time").expect("an answer");
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer[..2], octets[..2]);
    }

    let mut held = vec![stream];
    while held.len() < CONNECTIONS_MAX {
        held.push(TcpStream::connect(running.address).await.expect("connected"));
    }
    running.wait_for_value("skerry_dns_tcp_connections", 256.0).await;
    let mut refused = TcpStream::connect(running.address).await.expect("connected");
    let end = timeout(Duration::from_secs(DEADLINE_S), refused.read(&mut [0])).await.expect("in time");
    assert!(matches!(end, Ok(0) | Err(_)), "closed at once");
    running.wait_for_value("skerry_dns_tcp_connections_refused_total", 1.0).await;
    drop(held);
    running.wait_for_value("skerry_dns_tcp_connections", 0.0).await;
    running.has(&["shop.cdn.test", "+tcp"], &["status: NOERROR"]).await;
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
    let (udp, tcp) = sockets().await;
    serve(udp, tcp, Arc::clone(&state), &registry, stopped.clone()).expect("the first");
    let (udp, tcp) = sockets().await;
    let error = serve(udp, tcp, state, &registry, stopped).expect_err("the second");
    assert!(error.starts_with("cannot register the figures of DNS service: "), "{error}");
}
