//! A live HLS stream (RFC 8216): a segment comes every two seconds, and the playlist names the last six.
//!
//! The number of a segment is its time, so the stream goes on where it was after a restart.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, StatusCode};

use super::answer::{self, Answer, Said};
use super::ts::{self, SEGMENT_SECONDS};

/// How many segments the playlist names.
const WINDOW: u64 = 6;
/// How many segments can be fetched: a player may be as far behind as the playlist is long (RFC 8216 section 6.2.2).
const KEPT: u64 = 2 * WINDOW;

/// Answers the playlist or a segment.
pub(super) fn respond<B>(request: &Request<B>, path: &str) -> Answer {
    let newest = newest(SystemTime::now());
    if path == "/live/index.m3u8" {
        let said = Said { kind: "application/vnd.apple.mpegurl", cache: "public, max-age=1", tags: "live", modified: "" };
        return at_hand(request, said, &format!("\"live-{newest}\""), Bytes::from(playlist(newest)));
    }
    match numbered(path).filter(|number| (newest.saturating_sub(KEPT - 1)..=newest).contains(number)) {
        Some(number) => {
            let said = Said { kind: "video/mp2t", cache: "public, max-age=86400, immutable", tags: "live, segments", modified: "" };
            at_hand(request, said, &format!("\"segment-{number}\""), Bytes::from(ts::segment(number)))
        }
        None => answer::text(StatusCode::NOT_FOUND, "this segment is gone or not there yet\n"),
    }
}

fn at_hand<B>(request: &Request<B>, said: Said, etag: &str, body: Bytes) -> Answer {
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    answer::representation(request, said, etag, body.len() as u64, |range| {
        answer::whole(StatusCode::OK, body.slice(index(range.start)..index(range.end)))
    })
}

/// The last segment that is complete.
fn newest(now: SystemTime) -> u64 {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (seconds / SEGMENT_SECONDS).saturating_sub(1)
}

fn numbered(path: &str) -> Option<u64> {
    path.strip_prefix("/live/segment-")?.strip_suffix(".ts")?.parse().ok()
}

fn playlist(newest: u64) -> String {
    let first = newest.saturating_sub(WINDOW - 1);
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{SEGMENT_SECONDS}\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    for number in first..=newest {
        // Writing to a string cannot fail.
        let _ = write!(text, "#EXTINF:{SEGMENT_SECONDS}.000,\nsegment-{number}.ts\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_window_slides_by_one_every_two_seconds() {
        let at = |seconds| playlist(newest(UNIX_EPOCH + Duration::from_secs(seconds)));
        assert_eq!(at(1_000), at(1_001));
        assert!(at(1_000).contains("MEDIA-SEQUENCE:494\n") && at(1_000).ends_with("segment-499.ts\n"));
        assert!(at(1_002).contains("MEDIA-SEQUENCE:495\n") && at(1_002).ends_with("segment-500.ts\n"));
        assert_eq!(at(1_000).matches("#EXTINF").count(), 6);
    }

    #[test]
    fn every_segment_that_is_named_is_there_and_the_future_is_not() {
        let ask = |path: &str| respond(&Request::get(path).body(()).unwrap(), path).status();
        let now = newest(SystemTime::now());
        assert_eq!(ask(&format!("/live/segment-{}.ts", now - 5)), StatusCode::OK);
        assert_eq!(ask(&format!("/live/segment-{}.ts", now + 10)), StatusCode::NOT_FOUND);
        assert_eq!(ask("/live/segment-1.ts"), StatusCode::NOT_FOUND);
        assert_eq!(ask("/live/segment-x.ts"), StatusCode::NOT_FOUND);
    }
}
