//! What clients send reaches the origin as they sent it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::house::{Cdn, Reply, Scripted, curl};

#[test]
fn a_chunked_upload_ends_once() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "", &seen.body.len().to_string()));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let url = format!("http://{}/up", cdn.edge(1));
    // A second end of the body would be read as the next request of a connection that is used again.
    for _ in 0..5 {
        let sent = curl(&["--http1.1", "--header", "Transfer-Encoding: chunked", "--data-binary", "hello", &url]);
        assert_eq!((sent.status, sent.text().as_str()), (200, "5"));
    }
    let seen = origin.seen("/up");
    assert_eq!(seen.iter().map(|seen| (seen.line(), seen.body.as_slice())).collect::<Vec<_>>(), [("POST /up HTTP/1.1", &b"hello"[..]); 5]);
}

#[test]
fn what_is_no_chunk_is_told_so() {
    let origin = Scripted::start(|_| Reply::whole("200 OK", "", "ok"));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    let mut stream = TcpStream::connect(cdn.edge(1)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_large_upload_and_its_echo_are_whole_over_both_protocols() {
    let origin = Scripted::start(|seen| Reply::whole("200 OK", "", &String::from_utf8_lossy(&seen.body)));
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    // Larger than every window on the way.
    let text: String = (0..600_000).map(|number| format!("{number:07} ")).collect();
    let file = cdn.file("upload", &text);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let sent = curl(&[version, "--data-binary", &format!("@{file}"), &format!("http://{}/up", cdn.edge(1))]);
        assert_eq!(sent.status, 200, "{version}");
        assert!(sent.text() == text, "{version}: {} bytes came back", sent.body.len());
    }
}
