//! Cookies over real sockets: alone, and at several name servers.

use super::*;
use crate::cookie::{Secret, Secrets};

#[tokio::test]
async fn a_cookie_can_be_asked_for_alone_and_so_often() {
    let running = start_with("127.0.0.1:0", Limits { same_per_second: 5, slip: 0, ..Limits::default() }).await;
    for transport in ["+notcp", "+tcp"] {
        let told = running.dig(&["+header-only", "+cookie=0102030405060708", transport]).await;
        assert!(told.contains("status: NOERROR") && told.contains("QUERY: 0, ANSWER: 0"), "{told}");
        let cookie = told.split("; COOKIE: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a cookie").to_owned();
        assert!(cookie.len() == 48 && told.contains("(good)"), "{told}");
        running.has(&["+header-only", &format!("+cookie={cookie}"), transport], &["status: NOERROR", &cookie]).await;
        let forged = format!("+cookie={}{}", &cookie[..16], "07".repeat(16));
        running.has(&["+header-only", "+nobadcookie", &forged, transport], &["status: BADCOOKIE", &cookie[..16]]).await;
    }
    assert!(running.series("skerry_dns_queries_total").contains("BADCOOKIE udp unread"), "{}", running.series("skerry_dns_queries_total"));
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.connect(running.address).await.expect("an address");
    let before = running.value("skerry_dns_queries_total");
    // Header, OPT of 4 + 8 octets: that of a client without a cookie of ours.
    let query = [&[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8][..], &[3; 8]].concat();
    for _ in 0..50 {
        socket.send(&query).await.expect("sent");
    }
    running.wait_for_value("skerry_dns_queries_total", before + 50.0).await;
    assert!(running.value("skerry_dns_limited_total") > 40.0, "{}", running.value("skerry_dns_limited_total"));
    running.has(&["none.cdn.test", "+nocookie"], &["status: NXDOMAIN"]).await;
}

#[tokio::test]
async fn name_servers_with_the_same_secrets_know_each_others_clients() {
    let (one, other) = (start().await, start().await);
    let cookie_of = async |running: &Running| {
        let told = running.dig(&["shop.cdn.test", "+cookie=0102030405060708"]).await;
        told.split("; COOKIE: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a cookie").to_owned()
    };
    let forged = format!("+cookie={}", cookie_of(&one).await);
    other.has(&["+header-only", "+nobadcookie", &forged], &["status: BADCOOKIE"]).await;
    let shared = |first: u8| Secrets::new([Secret { from_s: 0, octets: [first; 16] }, Secret { from_s: 1, octets: [9; 16] }]);
    for running in [&one, &other] {
        running.state.store(Arc::new(State { cookies: shared(1), ..sample::state() }));
        running.says(&["+header-only", "+nobadcookie", &forged], "status: BADCOOKIE").await;
    }
    let cookie = format!("+cookie={}", cookie_of(&one).await);
    other.has(&["+header-only", "+nobadcookie", &cookie], &["status: NOERROR"]).await;
    // Another one that takes its place: the cookie holds as long as its secret is known.
    let after = Secrets::new([Secret { from_s: 1, octets: [9; 16] }, Secret { from_s: 2, octets: [5; 16] }]);
    other.state.store(Arc::new(State { cookies: after, serial: 8, ..sample::state() }));
    other.says(&["TXT", "cdn.test"], "serial=8").await;
    other.has(&["+header-only", "+nobadcookie", &cookie], &["status: NOERROR"]).await;
    let told = other.dig(&["+header-only", &cookie]).await;
    assert!(
        told.contains("; COOKIE: ") && !told.contains(&format!("; COOKIE: {}", &cookie[8..])),
        "and its client gets one by the secret in use"
    );
    other.state.store(Arc::new(State { cookies: Secrets::new([Secret { from_s: 0, octets: [6; 16] }]), serial: 9, ..sample::state() }));
    other.says(&["+header-only", "+nobadcookie", &cookie], "status: BADCOOKIE").await;
}
