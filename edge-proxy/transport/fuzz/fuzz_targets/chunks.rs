//! Chunked bodies: the first byte says where the bytes behind it are cut in two. What is taken is compared with a reader that has it all at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skerry_transport::h1::chunks::Chunks;
use skerry_transport::head::Refusal;

fn take(bytes: &[u8], cut: usize) -> Result<(usize, Chunks), Refusal> {
    let mut chunks = Chunks::default();
    let first = chunks.take(&bytes[..cut], 0)?;
    let second = if first == cut { chunks.take(&bytes[cut..], 0)? } else { 0 };
    Ok((first + second, chunks))
}

/// The end of a line without its CR and LF, from `at`.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[at..end], end + 2))
}

/// Where a whole body ends and how much content it has, read the simple way.
fn simple(bytes: &[u8]) -> Option<(usize, u64)> {
    let (mut at, mut content) = (0, 0);
    loop {
        let (size, next) = line(bytes, at)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = u64::from_str_radix(std::str::from_utf8(&size[..digits]).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        content += size;
        at = usize::try_from(size).ok()?.checked_add(at)?.checked_add(2)?;
        if at > bytes.len() || &bytes[at - 2..at] != b"\r\n" {
            return None;
        }
    }
    loop {
        let (trailer, next) = line(bytes, at)?;
        at = next;
        if trailer.is_empty() {
            return Some((at, content));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else { return };
    let whole = take(bytes, 0);
    let again = take(bytes, usize::from(*cut).min(bytes.len()));
    match (whole, again) {
        (Ok((taken, chunks)), Ok((taken_again, chunks_again))) => {
            assert!(taken == taken_again && chunks.is_done() == chunks_again.is_done() && chunks.length() == chunks_again.length());
            if chunks.is_done() {
                assert_eq!(simple(bytes), Some((taken, chunks.length())));
            } else {
                assert_eq!(taken, bytes.len());
            }
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("where it is cut makes a difference: {one:?}, {other:?}"),
    }
});
