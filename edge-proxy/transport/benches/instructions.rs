//! The case of the front door whose instructions `.ci/guards` counts: the head of an HTTP/1.1 request, from its bytes.
//!
//! `CASE TIMES` goes through it so often; without these two its name is printed. Measures nothing itself.

use std::hint::black_box;

use bytes::Bytes;
use skerry_config::process::Limits;
use skerry_transport::h1::request::{Finder, Request};

const CASE: &str = "http1_head";

/// What a browser sends.
const HEAD: &[u8] = b"GET /catalogue/shoes/001/picture.webp?width=640&v=3 HTTP/1.1\r\n\
Host: www.shop.example\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
Accept-Language: en-GB,en;q=0.5\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Connection: keep-alive\r\n\
Referer: https://www.shop.example/catalogue/shoes/\r\n\
Cookie: session=0123456789abcdef; theme=dark\r\n\
Sec-Fetch-Dest: image\r\n\
Sec-Fetch-Mode: no-cors\r\n\
Sec-Fetch-Site: same-origin\r\n\
\r\n";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, times] = &arguments[..] else { return println!("{CASE}") };
    assert!(name == CASE, "the case is {CASE}");
    measured(times.parse().expect("a number of times"));
}

/// Finds the end of a head and reads it.
///
/// What `.ci/guards` counts: all that happens in here, and nothing that a library does when the program starts.
#[inline(never)]
fn measured(times: usize) {
    let (bytes, limits) = (Bytes::from_static(HEAD), Limits::default());
    for _ in 0..times {
        let bytes = black_box(&bytes);
        let length = Finder::default().find(bytes, &limits).expect("a head");
        assert!(length == Some(bytes.len()));
        let request = Request::read(bytes, &limits, true).expect("a request");
        assert!(black_box(request).head.host() == "www.shop.example");
    }
}
