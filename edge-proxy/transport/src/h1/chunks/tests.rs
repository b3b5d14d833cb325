//! Chunked bodies, good and bad, in every cut.

use super::*;

/// How many bytes of `text` belong to the body, and whether that is its end, when it comes in two parts.
fn taken(text: &str, cut: usize, length_max: u64) -> Result<(usize, bool), Refusal> {
    let mut chunks = Chunks::default();
    let first = chunks.take(&text.as_bytes()[..cut], length_max)?;
    let second = if first == cut { chunks.take(&text.as_bytes()[cut..], length_max)? } else { 0 };
    Ok((first + second, chunks.is_done()))
}

fn take(text: &str) -> Result<(usize, bool), Refusal> {
    let whole = taken(text, 0, 0);
    for cut in 1..=text.len() {
        assert_eq!(taken(text, cut, 0), whole, "{text:?} cut at {cut}");
    }
    whole
}

#[test]
fn a_body_ends_with_its_last_chunk() {
    for body in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
        "0\r\nX-Trailer: a b\r\nY:\r\n\r\n",
    ] {
        assert_eq!(take(body), Ok((body.len(), true)), "{body:?}");
        assert_eq!(take(&format!("{body}GET / HTTP/1.1")), Ok((body.len(), true)), "what follows belongs to the next request: {body:?}");
        assert_eq!(take(&body[..body.len() - 1]), Ok((body.len() - 1, false)), "{body:?}");
    }
}

#[test]
fn what_is_no_chunk_is_refused() {
    for body in [
        "x\r\n",
        "\r\n",
        ";a\r\n",
        " 5\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\rhello\r\n",
        "5 \r\nhello\r\n",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\r5",
        "5;a\nb\r\n",
        "5;a\0\r\n",
        "1234567890123456\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX : a\r\n\r\n",
        "0\r\n X: a\r\n\r\n",
        "0\r\n: a\r\n\r\n",
        "0\r\nX: a\nb\r\n\r\n",
        "0\r\nX: a\r\n b\r\n\r\n",
        "0\r\n\rX",
    ] {
        assert_eq!(take(body), Err(Refusal::Chunk), "{body:?}");
    }
}

#[test]
fn every_bound_holds() {
    let extended = |count: usize, length: usize| format!("1;{}\r\na\r\n", "e".repeat(length)).repeat(count);
    assert!(taken(&extended(1, 1024), 0, 0).is_ok());
    assert_eq!(taken(&extended(1, 1025), 0, 0), Err(Refusal::Chunk));
    assert!(taken(&extended(15, 1024), 0, 0).is_ok());
    assert_eq!(taken(&extended(17, 1024), 0, 0), Err(Refusal::Chunk));
    assert!(taken(&format!("0\r\nX:{}\r\n\r\n", "a".repeat(8_000)), 0, 0).is_ok());
    assert_eq!(taken(&format!("0\r\nX:{}\r\n\r\n", "a".repeat(9_000)), 0, 0), Err(Refusal::Chunk));
    assert!(taken("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 0, 5).is_ok());
    assert_eq!(taken("3\r\nabc\r\n3\r\n", 0, 5), Err(Refusal::BodyLength), "at its size, before its data");
    assert_eq!(taken("fffffffffffffff\r\n", 0, 5), Err(Refusal::BodyLength));
}
