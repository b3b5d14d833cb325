//! Tags of an answer, from `Cache-Tag` (separated by commas) and `Surrogate-Key` (by spaces).

use http::HeaderMap;

use super::identity::values;
use super::url::hashed;
use crate::codec::{Reader, Writer};

/// The most tags of one answer that are told apart.
pub(crate) const TAGS_MAX: usize = 256;
/// The longest tag, in bytes.
pub(crate) const TAG_BYTES_MAX: usize = 256;

/// The tags of an answer, as hashes. With more or longer tags than are kept, a purge of any tag means the answer: too much is purged, never too little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags {
    names: Box<[u128]>,
    overflowed: bool,
}

impl Tags {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        let mut overflowed = false;
        for tag in each(headers) {
            if names.len() == TAGS_MAX || tag.len() > TAG_BYTES_MAX {
                overflowed = true;
                continue;
            }
            names.push(hashed("tag", &[tag]));
        }
        Self { names: names.into(), overflowed }
    }

    /// Writes them for the disk.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.byte(u8::from(self.overflowed));
        out.names(self.names.iter());
    }

    /// Reads them back.
    pub(crate) fn read(from: &mut Reader) -> Option<Self> {
        Some(Self { overflowed: from.byte()? != 0, names: from.names()?.into() })
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &u128> {
        self.names.iter()
    }

    /// Whether some tags are not kept.
    pub(crate) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(super) fn weight(&self) -> u64 {
        16 * self.names.len() as u64
    }
}

/// Every tag as it is written.
pub(super) fn each(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let by_comma = values(headers, "cache-tag").flat_map(|value| value.split(|&byte| byte == b','));
    let by_space = values(headers, "surrogate-key").flat_map(|value| value.split(u8::is_ascii_whitespace));
    by_comma.chain(by_space).map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty())
}
