//! What is checked of every answer: the length and the digest of its body, and whether it says that it came from a cache.
//!
//! The first body that has the right digest is kept, and later ones are compared with it: that is the same check, at a tenth of the work of
//! making a digest, which the generator would otherwise do instead of asking.

use std::sync::OnceLock;

use http::HeaderMap;
use ring::digest::{Context, SHA256};

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// The longest body that is kept, in bytes; of longer ones the digest is made every time.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What every body of a run must be. Its two cells are written once.
#[derive(Debug)]
pub(crate) struct Expected {
    digest: OnceLock<Digest>,
    body: OnceLock<Vec<u8>>,
}

/// The check of one body.
pub(crate) struct Check<'a> {
    expected: &'a Expected,
    octets: u64,
    way: Way<'a>,
}

enum Way<'a> {
    /// It is so far the beginning of the kept body, up to here.
    Same(&'a [u8], usize),
    /// It is put together, if it may be kept, and its digest is made.
    Digest(Box<Context>, Option<Vec<u8>>),
}

impl Expected {
    /// Bodies with a digest, or with that of the first one.
    pub(crate) fn new(digest: Option<Digest>) -> Self {
        Self { digest: digest.map_or_else(OnceLock::new, OnceLock::from), body: OnceLock::new() }
    }

    /// Begins with a body.
    pub(crate) fn check(&self) -> Check<'_> {
        let way = match self.body.get() {
            Some(body) => Way::Same(body, 0),
            None => Way::Digest(Box::new(Context::new(&SHA256)), Some(Vec::new())),
        };
        Check { expected: self, octets: 0, way }
    }
}

impl Check<'_> {
    /// The next part of the body.
    pub(crate) fn take(&mut self, part: &[u8]) {
        self.octets += part.len() as u64;
        match &mut self.way {
            Way::Same(body, at) if body.get(*at..*at + part.len()) == Some(part) => *at += part.len(),
            Way::Same(body, at) => {
                let mut context = Context::new(&SHA256);
                context.update(&body[..*at]);
                context.update(part);
                self.way = Way::Digest(Box::new(context), None);
            }
            Way::Digest(context, kept) => {
                context.update(part);
                if let Some(body) = kept.as_mut().filter(|body| body.len() + part.len() <= KEPT_BYTES_MAX) {
                    body.extend_from_slice(part);
                } else {
                    *kept = None;
                }
            }
        }
    }

    /// Its length so far, in bytes.
    pub(crate) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether the whole body is what it must be.
    ///
    /// # Errors
    /// A sentence: it is another.
    pub(crate) fn finish(self) -> Result<(), String> {
        let (context, kept) = match self.way {
            Way::Same(body, at) if at == body.len() => return Ok(()),
            Way::Same(body, at) => {
                let mut context = Context::new(&SHA256);
                context.update(&body[..at]);
                (Box::new(context), None)
            }
            Way::Digest(context, kept) => (context, kept),
        };
        let mut seen = [0; 32];
        seen.copy_from_slice(context.finish().as_ref());
        let expected = self.expected.digest.get_or_init(|| seen);
        if *expected != seen {
            return Err(format!("a body has SHA-256 {} where {} is expected", hex(&seen), hex(expected)));
        }
        if let Some(body) = kept {
            // Another stream may have been first, with the same one.
            let _ = self.expected.body.set(body);
        }
        Ok(())
    }
}

/// Whether an answer says that the cache nearest to the client had it: the `X-Cache-Status` that the configuration of a peer adds,
/// else the last member of `Cache-Status` (RFC 9211), which a peer would hand on from behind it.
pub(crate) fn is_hit(headers: &HeaderMap) -> bool {
    if let Some(peer) = headers.get("x-cache-status") {
        return peer.as_bytes() == b"HIT";
    }
    let nearest = headers.get_all("cache-status").iter().next_back().and_then(|value| value.to_str().ok()?.rsplit(',').next());
    nearest.is_some_and(|member| member.split(';').skip(1).any(|parameter| parameter.trim() == "hit"))
}

/// A digest as people write it.
#[must_use]
pub fn hex(digest: &Digest) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads a digest of 64 hexadecimal digits.
///
/// # Errors
/// A sentence: it is something else.
pub fn digest(text: &str) -> Result<Digest, String> {
    let wrong = || format!("`{text}` is no SHA-256 digest of 64 hexadecimal digits");
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (octet, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
        *octet = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let text = "00ff10".to_owned() + &"ab".repeat(29);
        assert_eq!(digest(&text).map(|digest| hex(&digest)), Ok(text));
        for wrong in ["", "zz", &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(digest(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_nearest_cache_decides_what_a_hit_is() {
        let hit = |name: &'static str, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, http::HeaderValue::from_static(value));
            }
            is_hit(&headers)
        };
        assert!(hit("cache-status", &["edge-1; hit; ttl=3"]));
        assert!(hit("cache-status", &["shield-1; fwd=miss, edge-1; hit"]));
        assert!(hit("cache-status", &["shield-1; fwd=miss", "edge-1;hit"]));
        assert!(!hit("cache-status", &["shield-1; hit, edge-1; fwd=miss; stored"]));
        assert!(!hit("cache-status", &["hit"]));
        assert!(hit("x-cache-status", &["HIT"]));
        assert!(!hit("x-cache-status", &["MISS"]));
    }

    #[test]
    fn a_body_is_told_from_others_however_it_comes_and_whichever_was_first() {
        let checked = |expected: &Expected, parts: &[&[u8]]| {
            let mut check = expected.check();
            parts.iter().for_each(|part| check.take(part));
            assert_eq!(check.octets(), parts.iter().map(|part| part.len() as u64).sum::<u64>());
            check.finish()
        };
        let of = |text: &[u8]| {
            let mut digest = [0; 32];
            digest.copy_from_slice(ring::digest::digest(&SHA256, text).as_ref());
            digest
        };
        let expected = Expected::new(None);
        // The second time it is compared with what the first left.
        for _ in 0..2 {
            assert_eq!(checked(&expected, &[b"the ", b"body"]), Ok(()));
            assert_eq!(checked(&expected, &[b"the body"]), Ok(()));
            for wrong in [&[&b"tho body"[..]][..], &[b"the ", b"bodY"], &[b"the bod"], &[b"the body", b"."], &[b""], &[]] {
                let all = wrong.concat();
                let said = format!("a body has SHA-256 {} where {} is expected", hex(&of(&all)), hex(&of(b"the body")));
                assert_eq!(checked(&expected, wrong), Err(said), "{wrong:?}");
            }
        }
        // One that is given is not replaced by the first body.
        let expected = Expected::new(Some(of(b"the body")));
        assert!(checked(&expected, &[b"tho body"]).is_err() && checked(&expected, &[b"the body"]).is_ok());
        // Longer ones than are kept.
        let (expected, long) = (Expected::new(None), vec![7; KEPT_BYTES_MAX]);
        assert!(checked(&expected, &[&long, b"7"]).is_ok() && expected.body.get().is_none());
        assert!(checked(&expected, &[&long, b"7"]).is_ok() && checked(&expected, &[&long, b"8"]).is_err());
        assert!(checked(&Expected::new(None), &[&long]).is_ok());
    }
}
