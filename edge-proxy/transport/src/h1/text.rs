//! The head of an answer as HTTP/1.1 writes it (RFC 9112 sections 2.1 and 4).

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName};

/// Bytes for which there is room in a head for the status line and for each field.
const LINE_BYTES: usize = 64;

/// A guess at the bytes of a head with these fields, which is seldom too low.
pub(crate) fn room_for(headers: &HeaderMap) -> usize {
    (headers.len() + 2) * LINE_BYTES
}

/// Writes the status line and the fields, every line with its end; the empty line behind them is still to be written.
pub(crate) fn put(text: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    for piece in [&b"HTTP/1.1 "[..], status.as_str().as_bytes(), b" ", status.canonical_reason().unwrap_or_default().as_bytes(), b"\r\n"] {
        text.extend_from_slice(piece);
    }
    for (name, value) in headers {
        for piece in [titled(name).as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(piece);
        }
    }
}

/// A name as Pingora writes it, so that what it passes through and what is answered here look alike.
fn titled(name: &HeaderName) -> &str {
    match *name {
        header::ACCEPT_RANGES => "Accept-Ranges",
        header::AGE => "Age",
        header::CACHE_CONTROL => "Cache-Control",
        header::CONNECTION => "Connection",
        header::CONTENT_TYPE => "Content-Type",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::CONTENT_LENGTH => "Content-Length",
        header::DATE => "Date",
        header::TRANSFER_ENCODING => "Transfer-Encoding",
        header::SERVER => "Server",
        header::SET_COOKIE => "Set-Cookie",
        _ => name.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use http::HeaderValue;
    use pingora::http::ResponseHeader;

    use super::*;

    #[test]
    fn a_head_looks_as_pingora_writes_it() {
        let names = ["accept-ranges", "age", "cache-control", "connection", "content-type", "content-encoding", "content-length"];
        let names = names.iter().chain(&["date", "transfer-encoding", "server", "set-cookie", "set-cookie", "etag", "vary", "via", "x-a"]);
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(*name, HeaderValue::from_static("1, b"));
        }
        let mut theirs = ResponseHeader::build(StatusCode::PARTIAL_CONTENT, None).unwrap();
        for (name, value) in &headers {
            theirs.append_header(name.clone(), value.clone()).unwrap();
        }
        let mut wire = BytesMut::new();
        theirs.header_to_h1_wire(&mut wire);
        let mut ours = Vec::new();
        put(&mut ours, StatusCode::PARTIAL_CONTENT, &headers);
        let expected = format!("HTTP/1.1 206 Partial Content\r\n{}", String::from_utf8_lossy(&wire));
        assert_eq!(String::from_utf8(ours).unwrap(), expected);
    }
}
