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

/// Seconds since 1970 modulo 2^32.
fn unix_s() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as u32
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
    let from_s = unix_s() - 60;
    let secret = |nth: u32, octet: u8| Secret { from_s: from_s + nth, octets: [octet; 16] };
    let shared = |first: u8| Secrets::new([secret(0, first), secret(1, 9)]);
    for running in [&one, &other] {
        running.state.store(Arc::new(State { cookies: shared(1), ..sample::state() }));
        running.says(&["+header-only", "+nobadcookie", &forged], "status: BADCOOKIE").await;
    }
    let cookie = format!("+cookie={}", cookie_of(&one).await);
    other.has(&["+header-only", "+nobadcookie", &cookie], &["status: NOERROR"]).await;
    // Another one that takes its place: the cookie holds as long as its secret is known.
    let after = Secrets::new([secret(1, 9), secret(2, 5)]);
    other.state.store(Arc::new(State { cookies: after, serial: 8, ..sample::state() }));
    other.says(&["TXT", "cdn.test"], "serial=8").await;
    other.has(&["+header-only", "+nobadcookie", &cookie], &["status: NOERROR"]).await;
    let told = other.dig(&["+header-only", &cookie]).await;
    assert!(
        told.contains("; COOKIE: ") && !told.contains(&format!("; COOKIE: {}", &cookie[8..])),
        "and its client gets one by the secret in use"
    );
    other.state.store(Arc::new(State { cookies: Secrets::new([secret(0, 6)]), serial: 9, ..sample::state() }));
    other.says(&["+header-only", "+nobadcookie", &cookie], "status: BADCOOKIE").await;
}

#[tokio::test]
async fn a_secret_that_was_used_for_too_long_is_used_no_more() {
    let running = start().await;
    let spent = Secrets::new([Secret { from_s: unix_s() - 36 * 86_400, octets: [9; 16] }]);
    running.state.store(Arc::new(State { cookies: spent, serial: 8, ..sample::state() }));
    running.says(&["TXT", "cdn.test"], "serial=8").await;
    let told = running.dig(&["shop.cdn.test", "+cookie=0102030405060708"]).await;
    let cookie = told.split("; COOKIE: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a cookie");
    let octets =
        |hex: &str| (0..hex.len() / 2).map(|nth| u8::from_str_radix(&hex[2 * nth..2 * nth + 2], 16).expect("hex")).collect::<Vec<u8>>();
    let server = octets(&cookie[16..]);
    let made_s = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
    let by_the_spent_one = crate::cookie::Cookies::with([9; 16]).make(&[1, 2, 3, 4, 5, 6, 7, 8], running.address.ip(), made_s);
    assert_ne!(server, by_the_spent_one);
    running.has(&["+header-only", "+nobadcookie", &format!("+cookie={cookie}")], &["status: NOERROR"]).await;
}
