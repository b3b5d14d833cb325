//! Slices that readers hold: all who are in the same one share it.
//!
//! It is read from the device once, with the room of who came first, and stays as long as anybody is in it. So many readers of one body take the room, the
//! reads and the checks of a few.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, OwnedSemaphorePermit};

/// An object and the number of a slice.
type Name = (u64, u32);

/// Those that are held; bounded by the room that each of them has.
#[derive(Debug, Default)]
pub(in crate::store::disk) struct Shared {
    map: Arc<Mutex<HashMap<Name, Weak<Slice>>>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Slice {
    name: Name,
    /// None where it was lost.
    bytes: OnceCell<Option<Bytes>>,
    room: Mutex<Option<OwnedSemaphorePermit>>,
    map: Arc<Mutex<HashMap<Name, Weak<Self>>>>,
}

impl Shared {
    /// The slice, if somebody holds it or there is room, which is taken only by who is the first.
    pub(super) fn join(&self, object: u64, number: u32, room: &mut Option<OwnedSemaphorePermit>) -> Option<Arc<Slice>> {
        let name = (object, number);
        let mut map = self.map.lock();
        if let Some(slice) = map.get(&name).and_then(Weak::upgrade) {
            return Some(slice);
        }
        let room = Mutex::new(Some(room.take()?));
        let slice = Arc::new(Slice { name, bytes: OnceCell::new(), room, map: Arc::clone(&self.map) });
        map.insert(name, Arc::downgrade(&slice));
        Some(slice)
    }
}

impl Slice {
    /// Its place in the body.
    pub(super) fn number(&self) -> u32 {
        self.name.1
    }

    /// Its bytes, which the first of those who wait reads; another one does when that one leaves. None where it was lost.
    pub(super) async fn read(&self, load: impl Future<Output = Option<Bytes>>) -> Option<&Bytes> {
        self.bytes.get_or_init(|| load).await.as_ref()
    }

    /// Its bytes, once they were read.
    pub(super) fn bytes(&self) -> Option<&Bytes> {
        self.bytes.get()?.as_ref()
    }

    /// The room of one that was lost, for who is the first to ask.
    pub(super) fn give_back(&self) -> Option<OwnedSemaphorePermit> {
        self.room.lock().take()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        let mut map = self.map.lock();
        // Somebody may have begun anew since the last one left.
        if map.get(&self.name).is_some_and(|slice| slice.strong_count() == 0) {
            map.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn all_in_one_slice_take_one_room_and_one_reading_and_the_last_one_frees_it() {
        let rooms = Arc::new(Semaphore::new(2));
        let room = || Arc::clone(&rooms).try_acquire_owned().ok();
        let shared = Shared::default();
        assert!(shared.join(1, 7, &mut None).is_none(), "nobody holds it, and there is no room");
        let first = shared.join(1, 7, &mut room()).unwrap();
        let mut unused = room();
        let second = shared.join(1, 7, &mut unused).unwrap();
        assert!(Arc::ptr_eq(&first, &second) && unused.is_some());
        drop(unused);
        let third = shared.join(1, 7, &mut None).unwrap();
        assert_eq!((rooms.available_permits(), third.number()), (1, 7));

        // Who reads it leaves before it came.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), first.read(std::future::pending())).await.is_err());
        assert_eq!(second.read(async { Some(Bytes::from_static(b"x")) }).await.unwrap(), "x");
        assert_eq!(third.read(async { unreachable!("read twice") }).await.unwrap(), "x");
        drop((first, second));
        assert_eq!((rooms.available_permits(), third.bytes().unwrap().as_ref()), (1, b"x".as_slice()));
        drop(third);
        assert_eq!((rooms.available_permits(), shared.map.lock().len()), (2, 0));

        let lost = shared.join(1, 8, &mut room()).unwrap();
        assert!(lost.read(async { None }).await.is_none() && lost.bytes().is_none());
        assert!(lost.give_back().is_some() && lost.give_back().is_none());
    }
}
