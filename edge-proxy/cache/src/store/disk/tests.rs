//! The tier before its log is open.

use std::path::Path;

use http::HeaderName;

use super::shaky::{Faults, Shaky};
use super::*;
use crate::store::Marker;

/// More keys than are remembered one by one.
const MANY: u32 = 100_000;

/// A node that comes back again and again.
struct Node {
    data: tempfile::TempDir,
    log: Arc<Shaky>,
}

impl Node {
    fn new() -> Self {
        Self { data: tempfile::tempdir().unwrap(), log: Shaky::new(1, Faults::default()) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.data.path().join("disk")
    }

    /// Comes back; the log opens when it is told to.
    fn starts(&self) -> (Arc<Disk>, tokio::sync::oneshot::Sender<()>) {
        self.log.restart();
        let (table, life) = Table::open(&self.data.path().join("journal")).unwrap();
        table.sync().unwrap();
        let settings = crate::exchange::tests::disk::settings(&self.path());
        let directory = Directory::claim(Path::new(&settings.path), life, 0, 1).unwrap();
        let order = Arc::new(AtomicU64::new(life.first() + 1));
        let disk = Disk::new(settings, life, Arc::new(table), order, Arc::default(), Some(directory));
        disk.begin().unwrap();
        disk.caught_up();
        let (open, opened) = tokio::sync::oneshot::channel();
        let log: Arc<dyn Log> = Arc::clone(&self.log) as _;
        disk.start(async move { opened.await.map(|()| log).map_err(|_| Trouble::Stuck) });
        (disk, open)
    }

    /// The same, and its log is open.
    async fn serves(&self) -> Arc<Disk> {
        let (disk, open) = self.starts();
        open.send(()).unwrap();
        serving(&disk).await;
        disk
    }
}

async fn serving(disk: &Disk) {
    let serving = async {
        while !disk.is_serving() || disk.queue.log().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), serving).await.expect("in time");
}

fn key(name: &str) -> Key {
    Key::from_text(name.as_bytes().to_vec())
}

fn put(disk: &Disk, key: &Key, generation: u64) {
    disk.order.fetch_add(1, Ordering::AcqRel);
    let fields = [HeaderName::from_static("accept")].into();
    disk.keep(key, &Entry::Marker(Arc::new(Marker { fields, generation })));
}

async fn there(disk: &Arc<Disk>, key: &Key) -> Option<u64> {
    match disk.load(key, Time(1)).await?.entry {
        Entry::Marker(marker) => Some(marker.generation),
        _ => None,
    }
}

fn forget_many(disk: &Disk) {
    (0..MANY).for_each(|number| disk.forget(&key(&format!("{number}"))));
}

#[tokio::test]
async fn many_keys_that_are_forgotten_while_it_opens_take_little_else_with_them() {
    let node = Node::new();
    let disk = node.serves().await;
    let others: Vec<Key> = (0..1_000).map(|number| key(&format!("other {number}"))).collect();
    let (early, late, anew) = (key("early"), key("late"), key("anew"));
    others.iter().chain([&early, &late, &anew]).for_each(|key| put(&disk, key, 1));
    disk.settled().await;
    disk.close().await;
    drop(disk);
    let (disk, open) = node.starts();
    disk.forget(&early);
    forget_many(&disk);
    disk.forget(&late);
    put(&disk, &anew, 2);
    open.send(()).unwrap();
    serving(&disk).await;
    disk.settled().await;
    let mut disk = disk;
    for run in 0..3 {
        assert_eq!((there(&disk, &early).await, there(&disk, &late).await, there(&disk, &anew).await), (None, None, Some(2)), "{run}");
        let mut left = 0;
        for key in &others {
            left += usize::from(there(&disk, key).await == Some(1));
        }
        assert!(left > 900, "{run}: {left} of {} are left", others.len());
        disk.close().await;
        drop(disk);
        disk = node.serves().await;
    }
    put(&disk, &early, 3);
    disk.settled().await;
    assert_eq!(there(&disk, &early).await, Some(3));
}

#[tokio::test]
async fn where_nobody_can_tell_what_is_void_everything_is_given_up() {
    let node = Node::new();
    let disk = node.serves().await;
    let (kept, forgotten) = (key("kept"), key("forgotten"));
    put(&disk, &kept, 1);
    put(&disk, &forgotten, 1);
    disk.settled().await;
    disk.close().await;
    drop(disk);
    let (disk, open) = node.starts();
    forget_many(&disk);
    disk.forget(&forgotten);
    // It cannot be written.
    std::fs::create_dir_all(disk.directory.as_ref().unwrap().log.join("void.new")).unwrap();
    open.send(()).unwrap();
    serving(&disk).await;
    assert_eq!((there(&disk, &kept).await, there(&disk, &forgotten).await), (None, None));
    disk.close().await;
    drop(disk);
    let disk = node.serves().await;
    assert_eq!((there(&disk, &kept).await, there(&disk, &forgotten).await), (None, None));
    put(&disk, &kept, 2);
    disk.settled().await;
    assert_eq!(there(&disk, &kept).await, Some(2));
}

/// One life of a node, in a runtime of its own, so that nothing of it goes on.
fn live<T>(life: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(life)
}

#[test]
fn a_stop_while_it_opens_brings_nothing_older_back() {
    let node = Node::new();
    let (kept, forgotten, anew) = (key("kept"), key("forgotten"), key("anew"));
    live(async {
        let disk = node.serves().await;
        [&kept, &forgotten, &anew].iter().for_each(|key| put(&disk, key, 1));
        disk.settled().await;
        disk.close().await;
    });
    live(async {
        let (disk, _open) = node.starts();
        disk.forget(&forgotten);
        put(&disk, &anew, 2);
        disk.close().await;
    });
    live(async {
        let disk = node.serves().await;
        assert_eq!((there(&disk, &kept).await, there(&disk, &forgotten).await, there(&disk, &anew).await), (Some(1), None, None));
    });
}
