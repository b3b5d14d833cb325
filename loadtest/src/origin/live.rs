//! A live stream (HLS, RFC 8216): a playlist whose window moves on with time, and segments that are objects like all others.

use std::fmt::Write as _;
use std::time::Duration;

use crate::object::{Kind, Object};

/// How many segments a playlist has; three is what a client needs to begin (RFC 8216 section 6.3.3).
pub(crate) const WINDOW: u32 = 5;
/// The numbers of segments begin here, so that they are no object of anything else.
const NUMBERS: u64 = 1 << 62;

/// A stream, as its path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) segment_ms: u64,
    pub(crate) segment_bytes: u64,
    /// Which one.
    pub(crate) number: u64,
}

impl Stream {
    /// The path of its playlist.
    pub(crate) fn path(self) -> String {
        format!("/live/{}/{}/{}/index.m3u8", self.segment_ms, self.segment_bytes, self.number)
    }

    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("/live/")?.strip_suffix("/index.m3u8")?.split('/').map(|part| part.parse().ok());
        let stream = Self { segment_ms: parts.next()??, segment_bytes: parts.next()??, number: parts.next()?? };
        (parts.next().is_none() && stream.segment_ms > 0).then_some(stream)
    }

    /// The segment of a number, as an object.
    pub(crate) fn segment(self, sequence: u64) -> Object {
        let number = NUMBERS + (self.number % (1 << 20)) * (1 << 40) + sequence;
        Object { kind: Kind::Plain, number, bytes: self.segment_bytes }
    }

    /// The playlist so long after the beginning: the last segments that are whole. At the beginning the window is full already.
    pub(crate) fn playlist(self, elapsed: Duration) -> String {
        let window = u64::from(WINDOW);
        let end = window + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX - window) / self.segment_ms;
        let seconds = self.segment_ms as f64 / 1000.0;
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            self.segment_ms.div_ceil(1000),
            end - window
        );
        for sequence in end - window..end {
            let _ = writeln!(text, "#EXTINF:{seconds:.3},\n{}", self.segment(sequence).path());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_moves_on_by_a_segment_at_a_time() {
        let stream = Stream { segment_ms: 2_000, segment_bytes: 10, number: 7 };
        assert_eq!(Stream::of(&stream.path()), Some(stream));
        let at = |milliseconds| stream.playlist(Duration::from_millis(milliseconds));
        assert!(at(0).contains("#EXT-X-MEDIA-SEQUENCE:0\n") && at(1_999) == at(0));
        assert!(at(2_000).contains("#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:1\n"));
        let named: Vec<Object> = at(2_000).lines().filter_map(Object::of).collect();
        assert_eq!(named, (1..6).map(|sequence| stream.segment(sequence)).collect::<Vec<_>>());
        for wrong in ["/live/0/1/1/index.m3u8", "/live/1/1/index.m3u8", "/live/1/1/1/1/index.m3u8", "/live/a/1/1/index.m3u8"] {
            assert_eq!(Stream::of(wrong), None, "{wrong}");
        }
    }
}
