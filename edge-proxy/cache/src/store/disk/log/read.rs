//! Reading a value from the place where it is known to be.
//!
//! Owns the threads' part in it: what the page cache has is copied at once by whoever asks, which waits for no device; what it does not have the
//! kernel is already fetching by then, and one of the device's threads waits for it. Large values always go to a thread, because copying
//! them takes long. Whether it is the value that was asked for is seen by its slot; whether it is whole, by the checksum of its record.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::runtime::Handle;

use super::places::Place;
use super::{Slot, Trouble};

/// The header of an entry: lengths of key and value 4 + 4 | hash 8 | sequence 8 | checksum 8 | magic and compression 4. The value follows, which
/// begins with its length in 8 bytes, least significant first, and then the slot.
const HEADER_BYTES: usize = 36;
const LENGTH_BYTES: usize = 8;
const SLOT_BYTES: usize = 16;
/// Up to so many bytes are copied by whoever asks.
const AT_ONCE_MAX: usize = 256 << 10;
/// Buffers of large values that are kept for the next one, in bytes: new memory costs more than reading into it.
const SPARE_MAX: usize = 4 << 20;
/// A buffer is longer than what it is used for by one part in so many at most.
const SPARE_SHARE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    threads: Handle,
    spare: Arc<Spare>,
    read_bytes: AtomicU64,
}

/// Buffers that nobody uses.
#[derive(Debug, Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

/// A buffer that comes back when the last one that shares it is gone.
struct Lent {
    buffer: Vec<u8>,
    spare: Arc<Spare>,
}

impl Spare {
    fn take(&self, bytes: usize) -> Vec<u8> {
        let mut buffers = self.0.lock();
        let at = buffers.iter().position(|buffer| buffer.len() >= bytes && buffer.len() - bytes <= bytes / SPARE_SHARE);
        let taken = at.map(|at| buffers.swap_remove(at));
        drop(buffers);
        taken.unwrap_or_else(|| vec![0; bytes])
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffers = self.spare.0.lock();
        if buffers.iter().map(Vec::len).sum::<usize>() + self.buffer.len() <= SPARE_MAX {
            buffers.push(std::mem::take(&mut self.buffer));
        }
    }
}

impl Reader {
    pub(super) fn new(threads: Handle) -> Self {
        Self { threads, spare: Arc::default(), read_bytes: AtomicU64::new(0) }
    }

    /// Bytes read so far.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// What is at a place, if it was stored under this slot, is not large, and can be had without waiting.
    pub(super) fn read_now(&self, file: &File, place: Place, slot: Slot) -> Option<Bytes> {
        let bytes = place.bytes as usize;
        if bytes > AT_ONCE_MAX {
            return None;
        }
        let mut buffer = vec![0; bytes];
        if now(file, &mut buffer, place.offset()) != Some(bytes) {
            return None;
        }
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        value(buffer.into(), bytes, slot)
    }

    /// What is at a place, if it was stored under this slot.
    ///
    /// # Errors
    /// When the device fails.
    pub(super) async fn read(&self, file: &Arc<File>, place: Place, slot: Slot) -> Result<Option<Bytes>, Trouble> {
        let bytes = place.bytes as usize;
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let (mut buffer, mut done) = (Vec::new(), 0);
        if bytes <= AT_ONCE_MAX {
            buffer = vec![0; bytes];
            done = now(file, &mut buffer, place.offset()).unwrap_or(0);
            if done == bytes {
                return Ok(value(buffer.into(), bytes, slot));
            }
        }
        let (file, spare) = (Arc::clone(file), Arc::clone(&self.spare));
        let reading = self.threads.spawn_blocking(move || {
            if buffer.is_empty() {
                return read_large(&file, &spare, bytes, place.offset());
            }
            file.read_exact_at(&mut buffer[done..], place.offset() + done as u64)?;
            Ok(Bytes::from(buffer))
        });
        match reading.await {
            Ok(Ok(read)) => Ok(value(read, bytes, slot)),
            // The file is shorter than it was; foyer says what that means.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Ok(Err(error)) => Err(Trouble::Read(error.to_string())),
            Err(error) => Err(Trouble::Read(error.to_string())),
        }
    }
}

fn read_large(file: &File, spare: &Arc<Spare>, bytes: usize, offset: u64) -> io::Result<Bytes> {
    let mut lent = Lent { buffer: spare.take(bytes), spare: Arc::clone(spare) };
    file.read_exact_at(&mut lent.buffer[..bytes], offset)?;
    Ok(Bytes::from_owner(lent))
}

/// Reads what the page cache has and waits for nothing; none where that is nothing, or the file system does not know how.
fn now(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT).ok()
}

/// The value in an entry of so many bytes, if it is the slot's.
fn value(entry: Bytes, bytes: usize, slot: Slot) -> Option<Bytes> {
    let value_bytes = bytes.checked_sub(HEADER_BYTES + LENGTH_BYTES + SLOT_BYTES)?;
    let length = entry.get(HEADER_BYTES..HEADER_BYTES + LENGTH_BYTES)?;
    let is_it = length == (value_bytes as u64).to_le_bytes() && entry.get(bytes - SLOT_BYTES..bytes)? == slot.0.to_be_bytes();
    is_it.then(|| entry.slice(HEADER_BYTES + LENGTH_BYTES..bytes - SLOT_BYTES))
}
