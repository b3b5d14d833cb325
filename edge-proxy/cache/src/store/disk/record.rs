//! The form in which everything is written to the disk, and the check of what comes back.
//!
//! A record says what it is about: the whole key, the identity of the object, the number of the slice, the length of the whole, and where its
//! node stood. What is damaged, of another format, or about something else is none. Owns the frame; what a head says is [`super::head`]'s.
//!
//! ```text
//! magic 4 | format 1 | kind 1 | 0 0 | checksum 8 | object 8 | number 4 | key length 4 | total 8 | stamp 4 x 8 | key | payload
//! ```
//!
//! The checksum is XXH3 over all that follows it, with what is before it as the seed. Numbers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The first bytes of a record.
const MAGIC: &[u8; 4] = b"SkRy";
/// The format of what follows.
const FORMAT: u8 = 1;
/// Where the checksum is, and where what it covers begins.
const CHECKSUM_AT: usize = 8;
const CHECKED_FROM: usize = 16;
/// Where the key begins.
const KEY_AT: usize = 72;
/// The longest key, in bytes: longer than any request has.
const KEY_BYTES_MAX: usize = 1 << 20;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object: its head, and its body if that is small.
    Object,
    /// That answers for a key vary.
    Marker,
    /// What answers say of queries.
    Search,
    /// A slice of a body.
    Slice,
    /// That there is nothing any more.
    Nothing,
}

const KINDS: [(u8, Kind); 5] = [(1, Kind::Object), (2, Kind::Marker), (3, Kind::Search), (4, Kind::Slice), (5, Kind::Nothing)];

/// Where the node stood when what a record holds was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number of the last purge in force.
    pub(crate) seq: u64,
    /// How often the node had invalidated something itself.
    pub(crate) invalidations: u64,
    /// Which of the times it is at which everything was dropped.
    pub(crate) drops: u64,
    /// The place among all heads.
    pub(crate) order: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    /// The text of the key it is stored under.
    pub(crate) key: Bytes,
    /// The object it is of.
    pub(crate) object: u64,
    /// Which slice it is; 0 for what is none.
    pub(crate) number: u32,
    /// The length of the whole body, in bytes.
    pub(crate) total: u64,
    pub(crate) stamp: Stamp,
    pub(crate) payload: Bytes,
}

impl Record {
    /// That a slot has nothing.
    pub(crate) fn nothing(order: u64) -> Self {
        let stamp = Stamp { order, ..Stamp::default() };
        Self { kind: Kind::Nothing, key: Bytes::new(), object: 0, number: 0, total: 0, stamp, payload: Bytes::new() }
    }

    /// Writes it, with the pieces of `body` behind the payload.
    pub(crate) fn encode(&self, body: &[Bytes]) -> Bytes {
        let rest = self.payload.len() + body.iter().map(Bytes::len).sum::<usize>();
        let mut out = BytesMut::with_capacity(KEY_AT + self.key.len() + rest);
        out.put_slice(MAGIC);
        out.put_u8(FORMAT);
        out.put_u8(KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or(0, |(code, _)| *code));
        out.put_u16(0);
        out.put_u64(0);
        out.put_u64(self.object);
        out.put_u32(self.number);
        out.put_u32(u32::try_from(self.key.len()).unwrap_or(u32::MAX));
        out.put_u64(self.total);
        for number in [self.stamp.seq, self.stamp.invalidations, self.stamp.drops, self.stamp.order] {
            out.put_u64(number);
        }
        out.put_slice(&self.key);
        out.put_slice(&self.payload);
        body.iter().for_each(|piece| out.put_slice(piece));
        let checksum = checksum(&out);
        out[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
        out.freeze()
    }

    /// Reads one; none when it is not whole and right. The payload shares the bytes.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let head = bytes.get(..KEY_AT)?;
        if head.get(..4)? != MAGIC || head[4] != FORMAT || number(head, CHECKSUM_AT)? != checksum(bytes) {
            return None;
        }
        let kind = KINDS.iter().find(|(code, _)| *code == head[5])?.1;
        let key_end = KEY_AT + usize::try_from(short(head, 28)?).ok().filter(|length| *length <= KEY_BYTES_MAX)?;
        if bytes.len() < key_end {
            return None;
        }
        Some(Self {
            kind,
            key: bytes.slice(KEY_AT..key_end),
            object: number(head, 16)?,
            number: short(head, 24)?,
            total: number(head, 32)?,
            stamp: Stamp { seq: number(head, 40)?, invalidations: number(head, 48)?, drops: number(head, 56)?, order: number(head, 64)? },
            payload: bytes.slice(key_end..),
        })
    }
}

/// Over everything but the checksum itself.
fn checksum(bytes: &[u8]) -> u64 {
    let before = number(bytes, 0).unwrap_or_default();
    xxh3_64_with_seed(bytes.get(CHECKED_FROM..).unwrap_or_default(), before)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: Kind, key: Vec<u8>, numbers: (u64, u32, u64), stamp: [u64; 4], payload: Vec<u8>) -> Record {
        let [seq, invalidations, drops, order] = stamp;
        let stamp = Stamp { seq, invalidations, drops, order };
        let (object, number, total) = numbers;
        Record { kind, key: key.into(), object, number, total, stamp, payload: payload.into() }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in 0_usize..KINDS.len(),
            key in prop::collection::vec(any::<u8>(), 0..80),
            numbers in any::<(u64, u32, u64)>(),
            stamp in any::<[u64; 4]>(),
            payload in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0_usize..300,
        ) {
            let whole = record(KINDS[kind].1, key.clone(), numbers, stamp, payload.clone());
            let at = cut.min(payload.len());
            let parts = record(KINDS[kind].1, key, numbers, stamp, payload[..at].to_vec());
            let written = parts.encode(&[Bytes::copy_from_slice(&payload[at..])]);
            prop_assert_eq!(&written, &whole.encode(&[]));
            prop_assert_eq!(Record::decode(&written), Some(whole));
        }

        #[test]
        fn one_wrong_byte_or_a_missing_one_makes_it_none(
            payload in prop::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
        ) {
            let written = record(Kind::Slice, b"key".to_vec(), (1, 2, 3), [4, 5, 6, 7], payload).encode(&[]);
            let at = at.index(written.len());
            let mut wrong = written.to_vec();
            wrong[at] ^= flip;
            prop_assert_eq!(Record::decode(&wrong.into()), None);
            prop_assert_eq!(Record::decode(&written.slice(..at)), None);
        }

        #[test]
        fn anything_at_all_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Record::decode(&bytes.into()), None);
        }
    }
}
