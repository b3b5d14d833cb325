//! Interim answers (1xx, RFC 9110 section 15.2): which of them go on to a client, and how they come from a shield to an edge.
//!
//! Between the tiers a shield writes them into a field of the final head, which an edge takes out again: they arrive with the final head and not
//! before it.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hygiene;
use crate::sound::{HEAD_BYTES_MAX, head_bytes};

/// The head of an interim answer: a status between 102 and 199, and end-to-end fields.
pub type Interim = http::Response<()>;

/// One interim answer in the final head of a shield; never said to a client, never believed of an origin.
pub const INTERIM: HeaderName = HeaderName::from_static("skerry-interim");
/// Interim answers before one final answer.
pub const INTERIM_MAX: usize = 8;
/// Their heads together, in bytes as HTTP/1.1 writes them; what is above is left out.
const INTERIM_BYTES_MAX: usize = 8 * 1024;
/// Bytes left free in a final head beside interim ones, for what is still written into it.
const SPARE_BYTES: usize = 1024;

/// The interim answers that came before one final answer, as far as they go on.
#[derive(Debug, Default)]
pub struct Arrived {
    heads: Vec<Interim>,
    bytes: usize,
}

impl Arrived {
    /// Takes a head, without what belongs to the connection it came over. A 100 is an answer to the request of this very hop, and a 101 is no
    /// interim answer.
    pub fn add(&mut self, status: StatusCode, mut headers: HeaderMap) {
        if !status.is_informational() || status == StatusCode::CONTINUE || status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        hygiene::strip_hop_by_hop(&mut headers);
        hygiene::strip_own(&mut headers);
        // RFC 9110 section 8.6: a 1xx has none.
        headers.remove(header::CONTENT_LENGTH);
        let bytes = head_bytes(&headers);
        if self.heads.len() == INTERIM_MAX || self.bytes + bytes > INTERIM_BYTES_MAX {
            return tracing::debug!(status = status.as_u16(), bytes, "interim answer left out: there are too many");
        }
        self.bytes += bytes;
        let mut head = Interim::new(());
        *head.status_mut() = status;
        *head.headers_mut() = headers;
        self.heads.push(head);
    }

    /// Hands on what came as far as there is room for it; what finds none stays, and what comes behind it.
    pub(crate) fn hand_on(&mut self, early: &Early) {
        if let [_] = self.heads.as_slice() {
            self.heads = self.heads.pop().and_then(|head| early.put(head)).into_iter().collect();
        }
    }

    /// In the order they came in.
    #[must_use]
    pub fn into_heads(self) -> Vec<Interim> {
        self.heads
    }
}

/// Interim answers on their way to the one client whose request they answer, ahead of the final head.
///
/// The lock covers the queue and is held for as long as it takes to put a head in or to take one out.
#[derive(Debug, Default)]
pub struct Early {
    /// At most [`INTERIM_MAX`].
    heads: Mutex<VecDeque<Interim>>,
    come: Notify,
}

impl Early {
    /// Puts one in; gives it back when there is no room.
    fn put(&self, head: Interim) -> Option<Interim> {
        let mut heads = self.heads.lock();
        if heads.len() == INTERIM_MAX {
            return Some(head);
        }
        heads.push_back(head);
        drop(heads);
        self.come.notify_one();
        None
    }

    /// The next one, if there is one.
    pub fn take(&self) -> Option<Interim> {
        self.heads.lock().pop_front()
    }

    /// The next one. Nothing is lost when it is not waited for to the end.
    pub async fn next(&self) -> Interim {
        loop {
            if let Some(head) = self.take() {
                return head;
            }
            self.come.notified().await;
        }
    }
}

/// Writes interim answers into a final head, as far as there is room in it.
pub fn carry(headers: &mut HeaderMap, interim: &[Interim]) {
    let mut room = HEAD_BYTES_MAX.saturating_sub(SPARE_BYTES + head_bytes(headers));
    for head in interim {
        let Ok(value) = HeaderValue::try_from(written(head)) else { continue };
        let bytes = INTERIM.as_str().len() + value.len() + 4;
        if bytes > room {
            return tracing::debug!(bytes, "interim answers left out: the final head is too large");
        }
        room -= bytes;
        headers.append(INTERIM, value);
    }
}

/// Takes the interim answers out of a shield's final head, in the order they came in.
#[must_use]
pub fn take(headers: &mut HeaderMap) -> Vec<Interim> {
    let mut arrived = Arrived::default();
    if let header::Entry::Occupied(carried) = headers.entry(INTERIM) {
        for (status, fields) in carried.remove_entry_mult().1.filter_map(|value| read(&value)) {
            arrived.add(status, fields);
        }
    }
    arrived.into_heads()
}

/// The status and the fields, a line each, as base64: a field's value may be bytes that are no text.
fn written(head: &Interim) -> String {
    let mut text = head.status().as_str().as_bytes().to_vec();
    for (name, value) in head.headers() {
        text.extend_from_slice(b"\n");
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b":");
        text.extend_from_slice(value.as_bytes());
    }
    STANDARD_NO_PAD.encode(text)
}

fn read(value: &HeaderValue) -> Option<(StatusCode, HeaderMap)> {
    let text = STANDARD_NO_PAD.decode(value).ok()?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let status = StatusCode::from_bytes(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        headers.append(HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A status and its fields.
    type Said<'a> = (u16, &'a [(&'static str, &'a [u8])]);

    fn arrived(heads: &[Said<'_>]) -> Vec<Interim> {
        let mut arrived = Arrived::default();
        for (status, fields) in heads {
            let mut headers = HeaderMap::new();
            for (name, value) in *fields {
                headers.append(*name, HeaderValue::from_bytes(value).unwrap());
            }
            arrived.add(StatusCode::from_u16(*status).unwrap(), headers);
        }
        arrived.into_heads()
    }

    fn said(heads: &[Interim]) -> Vec<(u16, HeaderMap)> {
        heads.iter().map(|head| (head.status().as_u16(), head.headers().clone())).collect()
    }

    #[test]
    fn what_belongs_to_the_hop_stays_there() {
        let fields: &[(&str, &[u8])] = &[
            ("link", b"</a.css>"),
            ("connection", b"x-here"),
            ("x-here", b"1"),
            ("keep-alive", b"1"),
            ("content-length", b"5"),
            ("skerry-interim", b"MTAz"),
        ];
        let heads = arrived(&[(100, fields), (103, fields), (101, fields), (200, fields), (199, &[])]);
        assert_eq!(
            said(&heads),
            [(103, HeaderMap::from_iter([(header::LINK, HeaderValue::from_static("</a.css>"))])), (199, HeaderMap::new())]
        );
    }

    #[tokio::test]
    async fn they_are_handed_on_in_their_order_as_long_as_there_is_room() {
        let early = Early::default();
        let mut left = Arrived::default();
        for status in 102..102 + INTERIM_MAX as u16 + 2 {
            let mut came = Arrived { heads: std::mem::take(&mut left.heads), bytes: 0 };
            came.add(StatusCode::from_u16(status).unwrap(), HeaderMap::new());
            came.hand_on(&early);
            left = came;
        }
        assert_eq!(early.next().await.status().as_u16(), 102);
        assert_eq!(said(&left.into_heads()).iter().map(|(status, _)| *status).collect::<Vec<_>>(), [110, 111]);
        let rest: Vec<u16> = std::iter::from_fn(|| early.take()).map(|head| head.status().as_u16()).collect();
        assert_eq!(rest, (103..110).collect::<Vec<_>>());
    }

    #[test]
    fn they_cross_a_link_in_the_final_head() {
        let heads = arrived(&[(102, &[]), (103, &[("link", b"</a:b>"), ("link", b" \xff, "), ("x-empty", b"")]), (104, &[("x-a", b"1")])]);
        let mut headers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"1\""))]);
        carry(&mut headers, &heads);
        assert_eq!(headers.get_all(INTERIM).iter().count(), 3);
        assert_eq!(said(&take(&mut headers)), said(&heads));
        assert_eq!(headers.len(), 1);
        assert!(take(&mut headers).is_empty());
    }

    #[test]
    fn what_is_above_a_bound_is_left_out() {
        let many: [Said<'_>; INTERIM_MAX + 1] = [(103, &[]); INTERIM_MAX + 1];
        assert_eq!(arrived(&many).len(), INTERIM_MAX);
        let (large, small) = (vec![b'a'; INTERIM_BYTES_MAX - 100], vec![b'a'; 200]);
        let heads = arrived(&[(103, &[("x-a", &large)]), (104, &[("x-a", &small)]), (105, &[("x-a", b"1")])]);
        assert_eq!(heads.iter().map(|head| head.status().as_u16()).collect::<Vec<_>>(), [103, 105]);
        let mut full = HeaderMap::from_iter([(header::ETAG, HeaderValue::try_from("a".repeat(HEAD_BYTES_MAX - 2 * SPARE_BYTES)).unwrap())]);
        carry(&mut full, &heads);
        assert!(!full.contains_key(INTERIM), "the final head would be too large");
    }

    #[test]
    fn what_is_no_interim_answer_is_not_taken_for_one() {
        for text in ["", "103", "no base64", &STANDARD_NO_PAD.encode("103\nno colon"), &STANDARD_NO_PAD.encode("200\na:b")] {
            let mut headers = HeaderMap::from_iter([(INTERIM, HeaderValue::from_str(text).unwrap())]);
            assert!(take(&mut headers).is_empty() && headers.is_empty(), "{text:?}");
        }
    }
}
