//! What is checked of every answer: the length and the digest of its body, and whether it says that it came from a cache.

use http::HeaderMap;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

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
}
