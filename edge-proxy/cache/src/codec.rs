//! Numbers and bytes in a row, for what is kept on disk.
//!
//! Pure. Numbers are big-endian; bytes come behind their length. What ends early is none, never a panic.

use bytes::Bytes;

/// Writes them.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// One with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn short(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn word(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn name(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.word(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(value);
    }

    pub(crate) fn names<'a>(&mut self, values: impl ExactSizeIterator<Item = &'a u128>) {
        self.word(u32::try_from(values.len()).unwrap_or(u32::MAX));
        values.for_each(|value| self.name(*value));
    }

    /// A field: its tag, and what `write` makes of it behind its length. Readers that do not know the tag pass over it.
    pub(crate) fn field(&mut self, tag: u8, write: impl FnOnce(&mut Self)) {
        self.byte(tag);
        self.behind_length(write);
    }

    /// What `write` writes, behind its length.
    pub(crate) fn behind_length(&mut self, write: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.word(0);
        let from = self.0.len();
        write(self);
        let length = u32::try_from(self.0.len() - from).unwrap_or(u32::MAX);
        self.0[at..from].copy_from_slice(&length.to_be_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads them.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has not been read.
    pub(crate) fn rest(self) -> Bytes {
        self.0
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.0.len() >= length).then(|| self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub(crate) fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn name(&mut self) -> Option<u128> {
        self.array().map(u128::from_be_bytes)
    }

    /// The bytes behind a length, shared with what is read.
    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.word()?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.into()).ok()
    }

    pub(crate) fn names(&mut self) -> Option<Vec<u128>> {
        let length = usize::try_from(self.word()?).ok()?;
        // Never more room than there are bytes to fill it.
        if length > self.0.len() / 16 {
            return None;
        }
        (0..length).map(|_| self.name()).collect()
    }

    /// The next field.
    pub(crate) fn field(&mut self) -> Option<(u8, Self)> {
        Some((self.byte()?, Self(self.bytes()?)))
    }
}
