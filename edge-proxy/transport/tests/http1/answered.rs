//! What is answered, in which order, and who answers.

use std::time::Duration;

use skerry_config::process::Limits;
use skerry_config::units::Period;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, SOON, one, split};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn last(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_sent_ahead_are_answered_in_order_whoever_answers() {
    let house = House::start(Limits::default()).await;
    let chunked =
        "POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n";
    let ahead = [
        get("/hit/1"),
        get("/miss"),
        get("/hit/2"),
        get("/hit/3"),
        post("/p", "body"),
        get("/hit/4"),
        chunked.to_owned(),
        "HEAD /hit/5 HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        get("/other"),
        "\r\n\r\n".to_owned() + &get("/hit/6"),
        last("/hit/7"),
    ];
    let without_head = |said: &str| {
        split(&said.replacen(
            "Content-Length: 1\r\nX-At: door\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6",
            "Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6",
            1,
        ))
    };
    for apart in [false, true] {
        let said = house.say(&ahead.concat(), apart).await;
        let answers = without_head(&said);
        let mut bodies: Vec<String> = answers.iter().map(|(_, body)| body.clone()).collect();
        // What was sent in chunks comes back as the origin got it, in chunks as they were at hand.
        bodies[6] = bodies[6].split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(bodies, ["1", "/miss", "2", "3", "body", "4", "abcde", "", "/other", "6", "7"], "{said}");
        assert!(answers.last().unwrap().0.ends_with("Connection: close"), "{said}");
        assert!(answers[0].0.ends_with("X-At: door"), "{said}");
    }
    let ended = house.tier.ended.lock().clone();
    let mut expected: Vec<(String, u64, bool)> = (1..=7).map(|number| (format!("/hit/{number}"), u64::from(number != 5), true)).collect();
    expected.extend(expected.clone());
    assert_eq!(ended, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_comes_back_after_each_answer() {
    let house = House::start(Limits::default()).await;
    let mut socket = house.connect().await;
    for (asked, body) in
        [(get("/hit/1"), "1"), (get("/miss"), "/miss"), (post("/p", "body"), "body"), (get("/hit/2"), "2"), (last("/hit/3"), "3")]
    {
        socket.write_all(asked.as_bytes()).await.unwrap();
        assert!(one(&mut socket).await.ends_with(&format!("\r\n\r\n{body}")), "{asked:?}");
    }
    assert_eq!(tokio::time::timeout(SOON, socket.read(&mut [0; 10])).await.unwrap().unwrap(), 0);
    assert_eq!(house.origin.connections.lock().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_an_answer_is_waited_for_is_answered_after_it() {
    let house = House::start(Limits::default()).await;
    let mut socket = house.connect().await;
    socket.write_all(get("/slow").as_bytes()).await.unwrap();
    tokio::time::timeout(SOON, house.tier.asked.notified()).await.unwrap();
    let early = [get("/hit/1"), post("/p", "body"), last("/hit/2")].concat();
    for byte in early.as_bytes() {
        socket.write_all(&[*byte]).await.unwrap();
    }
    house.tier.go.notify_one();
    let mut said = String::new();
    tokio::time::timeout(SOON, socket.read_to_string(&mut said)).await.unwrap().unwrap();
    let bodies: Vec<String> = split(&said).into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["/slow", "1", "body", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn early_bytes_wait_while_the_origin_is_asked_and_a_client_that_leaves_is_noticed() {
    let house = House::start(Limits::default()).await;
    let mut socket = house.connect().await;
    socket.write_all(post("/stalled", "body").as_bytes()).await.unwrap();
    house.origin.wait(|all| all.iter().any(|(got, _)| got.ends_with(b"body"))).await;
    socket.write_all(get("/hit/1").as_bytes()).await.unwrap();
    drop(socket);
    house.origin.wait(|all| all.iter().all(|(_, ended)| *ended)).await;
    assert!(!house.origin.got().contains("/hit/1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_kept_only_where_it_asks() {
    let house = House::start(Limits::default()).await;
    for path in ["/hit/1", "/miss"] {
        let old = format!("GET {path} HTTP/1.0\r\nHost: a.test\r\n");
        let kept = format!("{old}Connection: keep-alive\r\n\r\n");
        let said = house.say(&format!("{kept}{old}\r\n{kept}"), false).await;
        let answers = split(&said);
        assert_eq!(answers.len(), 2, "{said}");
        let connection =
            |head: &str| head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("connection: ").map(str::to_owned));
        assert_eq!(connection(&answers[0].0).as_deref(), Some("keep-alive"), "{said}");
        assert_eq!(connection(&answers[1].0).as_deref(), Some("close"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_request_of_a_connection_is_told_so() {
    let house = House::start(Limits { requests_per_connection: 3, ..Limits::default() }).await;
    for path in ["/hit/1", "/miss"] {
        let said = house.say(&get(path).repeat(5), false).await;
        let answers = split(&said);
        assert_eq!(answers.len(), 3, "{said}");
        for (number, (head, _)) in answers.iter().enumerate() {
            assert_eq!(head.to_ascii_lowercase().contains("connection: close"), number == 2, "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_after_its_time_and_with_a_stop() {
    let house = House::start(Limits { idle_time: Period(Duration::from_millis(200)), ..Limits::default() }).await;
    assert_eq!(split(&house.say(&get("/hit/1"), false).await).len(), 1);
    assert_eq!(split(&house.say(&get("/miss"), false).await).len(), 1);
    assert_eq!(house.say("\r\n", false).await, "");

    for path in ["/hit/1", "/miss"] {
        let house = House::start(Limits::default()).await;
        let mut socket = house.connect().await;
        socket.write_all(get(path).as_bytes()).await.unwrap();
        one(&mut socket).await;
        house.stop.send_replace(true);
        assert_eq!(tokio::time::timeout(SOON, socket.read(&mut [0; 10])).await.unwrap().unwrap(), 0, "{path}");
    }
}
