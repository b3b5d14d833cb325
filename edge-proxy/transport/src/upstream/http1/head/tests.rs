//! Heads of answers, good and bad, in every cut.

use super::*;

/// The status, the fields, and the bytes that are left.
type Taken = Result<Option<(u16, Vec<(String, String)>, usize)>, UpstreamErrorKind>;

/// What is read of these bytes, which come in two parts.
fn taken(text: &[u8], cut: usize) -> Taken {
    let (mut coming, mut buffer) = (Coming::default(), BytesMut::from(&text[..cut]));
    let mut head = coming.take(&mut buffer)?;
    if head.is_none() {
        buffer.extend_from_slice(&text[cut..]);
        head = coming.take(&mut buffer)?;
    } else {
        buffer.extend_from_slice(&text[cut..]);
    }
    let said = |head: Head| {
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        (head.status.as_u16(), fields.collect(), buffer.len())
    };
    Ok(head.map(said))
}

fn take(text: &str) -> Taken {
    let whole = taken(text.as_bytes(), text.len());
    for cut in 0..text.len() {
        assert_eq!(taken(text.as_bytes(), cut), whole, "{text:?} cut at {cut}");
    }
    whole
}

#[test]
fn a_head_ends_with_its_empty_line_wherever_it_is_cut() {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (text, status, fields) in [
        ("HTTP/1.1 200 OK\r\n\r\n", 200, vec![]),
        ("HTTP/1.0 404\r\nA: 1\r\n\r\n", 404, vec![field("a", "1")]),
        ("HTTP/1.1 200 OK\nA: 1\nB: 2\n\n", 200, vec![field("a", "1"), field("b", "2")]),
        ("HTTP/1.1 200 OK\r\nX-A : 1\r\nX-A:\r\n\r\n", 200, vec![field("x-a", "1"), field("x-a", "")]),
        ("HTTP/1.1 200 OK\r\nA: one\r\n\t two \r\n three\r\nB: 1\r\n\r\n", 200, vec![field("a", "one two three"), field("b", "1")]),
        ("HTTP/1.1 200 OK\r\nA: \u{e9}\r\n\r\n", 200, vec![field("a", "\u{e9}")]),
    ] {
        assert_eq!(take(text), Ok(Some((status, fields.clone(), 0))), "{text:?}");
        let more = format!("{text}HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(taken(more.as_bytes(), 0), Ok(Some((status, fields, 19))), "what follows stays: {text:?}");
        assert_eq!(taken(&text.as_bytes()[..text.len() - 1], 0), Ok(None), "{text:?}");
    }
}

#[test]
fn what_is_no_head_is_refused() {
    use UpstreamErrorKind::{BadHead, BadLength, HeadTooLarge};
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: 1\r\n".repeat(FIELDS_MAX + 1));
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
    for (text, kind) in [
        ("garbage\r\n\r\n", BadHead),
        ("HTTP/2 200 OK\r\n\r\n", BadHead),
        ("HTTP/1.1 2000 OK\r\n\r\n", BadHead),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", BadHead),
        ("HTTP/1.1 200 OK\r\nA B: 1\r\n\r\n", BadHead),
        ("HTTP/1.1 200 OK\r\nA: 1\rB: 2\r\n\r\n", BadHead),
        ("HTTP/1.1 200 OK\r\nA: 1\0\r\n\r\n", BadHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", BadLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", BadLength),
        (&many, HeadTooLarge),
        (&large, HeadTooLarge),
        (&large[..large.len() - 4], HeadTooLarge),
    ] {
        assert_eq!(taken(text.as_bytes(), 0).err(), Some(kind), "{:?}", &text[..text.len().min(60)]);
    }
}

#[test]
fn what_drips_is_not_read_anew_with_each_drop() {
    let (mut coming, mut buffer) = (Coming::default(), BytesMut::new());
    let mut looked = 0;
    for byte in format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(10_000)).bytes() {
        buffer.extend_from_slice(&[byte]);
        let before = coming.again_at;
        assert!(coming.take(&mut buffer).unwrap().is_none());
        looked += usize::from(coming.again_at != before);
    }
    assert!(looked < 20, "{looked}");
}

#[test]
fn a_connection_is_kept_when_both_sides_mean_it() {
    let most = Duration::from_secs(50);
    for (text, kept) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Some(50)),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\n\r\n", Some(5)),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=500\r\n\r\n", Some(50)),
        ("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\n\r\n", None),
        ("HTTP/1.0 200 OK\r\n\r\n", None),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", Some(50)),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ] {
        let head = Coming::default().take(&mut BytesMut::from(text)).unwrap().unwrap();
        assert_eq!(head.keeps(most), kept.map(Duration::from_secs), "{text:?}");
    }
}

#[test]
fn empty_lines_without_end_are_too_much() {
    let (mut coming, mut buffer) = (Coming::default(), BytesMut::new());
    let lines = "\r\n".repeat(512);
    let refused = (0..2 * HEAD_BYTES_MAX / lines.len()).find_map(|_| {
        buffer.extend_from_slice(lines.as_bytes());
        coming.take(&mut buffer).err()
    });
    assert_eq!((refused, buffer.len()), (Some(UpstreamErrorKind::HeadTooLarge), HEAD_BYTES_MAX + lines.len()));
    assert!(taken(b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 3).is_ok_and(|head| head.is_some()));
}
