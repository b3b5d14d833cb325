//! `/files/100mb.bin`: 100 MB that are the same at every look, made while they are sent and never held whole; and `/files/N.bin`, the
//! first N bytes of them, so that there is an object of any size.

use std::convert::Infallible;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};

use super::answer::{self, Answer, Said};

/// The length of the longest file, in bytes.
const LENGTH_MAX: u64 = 100_000_000;
/// How much is made at once, in bytes.
const CHUNK_BYTES: u64 = 64 << 10;

const SAID: Said =
    Said { kind: "application/octet-stream", cache: "public, max-age=3600", tags: "files", modified: "Mon, 01 Jan 2024 00:00:00 GMT" };

/// The length of the file at a path, if there is one.
pub(super) fn length(path: &str) -> Option<u64> {
    let name = path.strip_prefix("/files/")?.strip_suffix(".bin")?;
    if name == "100mb" {
        return Some(LENGTH_MAX);
    }
    // No other spelling of the same number: each would be an object of its own.
    let length = name.parse::<u64>().ok().filter(|length| (1..=LENGTH_MAX).contains(length))?;
    (length.to_string() == name).then_some(length)
}

/// Answers with the file of a length, or a range of it.
pub(super) fn respond<B>(request: &Request<B>, length: u64) -> Answer {
    answer::representation(request, SAID, &format!("\"{length}-1\""), length, |range| {
        let mut answer = answer::whole(StatusCode::OK, Bytes::new());
        *answer.body_mut() = Content { left: range }.boxed();
        answer
    })
}

/// What is still to be sent.
#[derive(Debug)]
struct Content {
    left: Range<u64>,
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let end = self.left.end.min(self.left.start + CHUNK_BYTES);
        let chunk = content(self.left.start..end);
        self.left.start = end;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.end - self.left.start)
    }
}

/// The bytes of a range: each word of eight is its own number, mixed.
fn content(range: Range<u64>) -> Bytes {
    let words = range.start / 8..range.end.div_ceil(8);
    let bytes: Vec<u8> = words.flat_map(|word| mixed(word).to_le_bytes()).collect();
    let skipped = usize::try_from(range.start % 8).unwrap_or(0);
    let length = usize::try_from(range.end - range.start).unwrap_or(0);
    Bytes::from(bytes).slice(skipped..skipped + length)
}

/// The finalizer of splitmix64.
fn mixed(word: u64) -> u64 {
    let z = word.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_whole() {
        let whole = content(0..1_000);
        for range in [0..1, 0..8, 3..5, 7..9, 13..1_000, 999..1_000, 500..500] {
            let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            assert_eq!(content(range), whole[start..end]);
        }
        assert_ne!(content(0..64), content(64..128));
    }

    #[test]
    fn the_last_byte_is_there_and_the_next_is_not() {
        let ask = |range: &str| respond(&Request::get("/").header("range", range).body(()).unwrap(), LENGTH_MAX);
        let last = ask("bytes=99999999-");
        assert_eq!((last.status(), &last.headers()["content-length"]), (StatusCode::PARTIAL_CONTENT, &"1".parse().unwrap()));
        assert_eq!(ask("bytes=100000000-").status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(ask("bytes=0-").body().size_hint().exact(), Some(LENGTH_MAX));
    }

    #[test]
    fn a_file_has_the_length_of_its_name_and_no_other_spelling() {
        for (path, expected) in [
            ("/files/100mb.bin", Some(LENGTH_MAX)),
            ("/files/1024.bin", Some(1024)),
            ("/files/100000000.bin", Some(LENGTH_MAX)),
            ("/files/100000001.bin", None),
            ("/files/0.bin", None),
            ("/files/01024.bin", None),
            ("/files/+1024.bin", None),
            ("/files/1024", None),
            ("/files/a.bin", None),
        ] {
            assert_eq!(length(path), expected, "{path}");
        }
        let answer = respond(&Request::get("/").body(()).unwrap(), 1024);
        assert_eq!((&answer.headers()["content-length"], answer.body().size_hint().exact()), (&"1024".parse().unwrap(), Some(1024)));
    }
}
