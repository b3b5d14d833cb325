//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 section 14.6).

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::{content_range, set_length};
use crate::answer::{Answer, Piece, Reader};
use crate::object::Object;

/// Makes of an answer with the object's head one with these ranges of it, each with its own small head. `None` when the body takes no more
/// readers.
pub(super) fn make(answer: &mut Answer, object: &Object, ranges: &[(u64, u64)]) -> Option<()> {
    let boundary = boundary();
    let content_type = answer.headers.remove(header::CONTENT_TYPE);
    let mut pieces = VecDeque::with_capacity(ranges.len() * 2 + 1);
    let mut length = 0;
    for &(start, end) in ranges {
        let head = head(&boundary, content_type.as_ref(), &content_range(&format!("{start}-{}", end - 1), object.length()));
        let mut cursor = object.body.cursor()?;
        cursor.limit(start - object.offset(), end - object.offset());
        length += head.len() as u64 + (end - start);
        pieces.extend([Piece::Text(head), Piece::Part(cursor)]);
    }
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    length += tail.len() as u64;
    pieces.push_back(Piece::Text(tail));
    answer.status = StatusCode::PARTIAL_CONTENT;
    answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&format!("multipart/byteranges; boundary={boundary}")).ok()?);
    set_length(&mut answer.headers, Some(length));
    answer.body = Reader::of_pieces(pieces);
    Some(())
}

/// What opens a part.
fn head(boundary: &str, content_type: Option<&HeaderValue>, content_range: &HeaderValue) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    for (name, value) in [("Content-Type", content_type), ("Content-Range", Some(content_range))] {
        if let Some(value) = value {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

/// Text that nobody who wrote the body could know.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}
