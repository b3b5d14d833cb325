//! Heads with their dates, through pipes that take them in pieces.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const NOW: &str = "HTTP/1.1 200 OK\r\nX-Date: Date: no\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\nContent-Length: 4\r\n\r\n";
const THEN: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

fn then() -> Option<HeaderValue> {
    Some(HeaderValue::from_static(THEN))
}

fn dated(text: &str) -> String {
    text.replace("Sun, 22 Nov 2026 22:00:00 GMT", THEN)
}

/// Writes these pieces, each with the date set before it, through a pipe of this many bytes; what came out.
async fn through(pipe_bytes: usize, pieces: &[(Option<HeaderValue>, &str)]) -> String {
    let (near, mut far) = tokio::io::duplex(pipe_bytes);
    let mut connection = Dated::new(Box::new(near));
    let writing = async {
        for (date, piece) in pieces {
            if date.is_some() {
                *connection.date.lock() = date.clone();
            }
            connection.write_all(piece.as_bytes()).await.unwrap();
        }
        connection.flush().await.unwrap();
        drop(connection);
    };
    let mut out = String::new();
    let (read, ()) = tokio::join!(far.read_to_string(&mut out), writing);
    read.unwrap();
    out
}

#[tokio::test]
async fn the_date_of_the_head_is_replaced_however_the_writes_are_split() {
    let body = "x".repeat(40_000) + "\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\n\r\n";
    let expected = format!("{}{body}", dated(NOW));
    for pipe_bytes in [1, 7, 1_000, 100_000] {
        assert_eq!(through(pipe_bytes, &[(then(), NOW), (None, &body)]).await, expected, "{pipe_bytes}");
    }
}

#[tokio::test]
async fn nothing_else_is_touched() {
    let early = "HTTP/1.1 103 Early Hints\r\nDate: Sun, 22 Nov 2026 22:00:00 GMT\r\n\r\n";
    let expected = format!("{early}{}{NOW}{NOW}", dated(NOW));
    // The second head comes without a date of its own, and so does a body that looks like a head.
    assert_eq!(through(10, &[(then(), early), (None, NOW), (None, NOW), (None, NOW)]).await, expected);
    let dateless = "HTTP/1.1 200 OK\r\n\r\nDate: x\r\n\r\n";
    assert_eq!(through(10, &[(then(), dateless)]).await, dateless);
}

#[tokio::test]
async fn a_date_of_another_length_fits() {
    let odd = HeaderValue::from_static("Saturday, 01-Jan-00 00:00:00 GMT");
    let out = through(5, &[(Some(odd), NOW), (None, "body")]).await;
    assert_eq!(out, NOW.replace("Sun, 22 Nov 2026 22:00:00 GMT", "Saturday, 01-Jan-00 00:00:00 GMT") + "body");
}

#[tokio::test]
async fn a_head_leaves_with_its_body_in_one_piece_or_with_a_flush() {
    let (near, mut far) = tokio::io::duplex(100_000);
    let mut connection = Dated::new(Box::new(near));
    let mut out = vec![0; 1_000];
    *connection.date.lock() = then();
    connection.write_all(NOW.as_bytes()).await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, far.read(&mut out)).await.is_err(), "the head waits");
    connection.write_all(b"body").await.unwrap();
    let read = far.read(&mut out).await.unwrap();
    assert_eq!(&out[..read], format!("{}body", dated(NOW)).as_bytes());
    *connection.date.lock() = then();
    connection.write_all(NOW.as_bytes()).await.unwrap();
    connection.flush().await.unwrap();
    assert_eq!(far.read(&mut out).await.unwrap(), NOW.len());
    assert!(connection.held.capacity() == 0, "an idle connection holds no buffer");
}
