//! The queue over a log that fails by seed.

use std::time::Duration;

use proptest::prelude::*;

use super::super::record::Kind;
use super::super::shaky::{Faults, Shaky};
use super::*;

const SLOTS: u128 = 6;

/// A record that says which version of its slot it is.
fn version(slot: Slot, version: u64, bytes: usize) -> Bytes {
    let payload = vec![u8::try_from(version % 251).unwrap(); bytes].into();
    let key = slot.0.to_be_bytes().to_vec().into();
    let record =
        Record { kind: Kind::Object, key, object: version, number: 0, total: 0, stamp: super::super::record::Stamp::default(), payload };
    record.encode(&[])
}

fn version_of(slot: Slot, value: &Bytes) -> Option<u64> {
    let record = Record::decode(value)?;
    if record.kind == Kind::Nothing {
        return None;
    }
    assert_eq!(&record.key[..], &slot.0.to_be_bytes());
    Some(record.object)
}

async fn read(queue: &Queue, slot: Slot) -> Option<u64> {
    let loaded = queue.load(slot).await.ok()??;
    version_of(slot, &loaded.value)
}

fn start(log: &Arc<Shaky>, bytes_max: u64) -> (Arc<Queue>, tokio::task::JoinHandle<Result<(), Trouble>>) {
    let queue = Arc::new(Queue::new(bytes_max));
    let log: Arc<dyn Log> = Arc::clone(log) as _;
    let writer = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.write(log).await }
    });
    (queue, writer)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("in time");
}

#[tokio::test]
async fn what_waits_is_read_and_what_finds_no_room_leaves_nothing_older_behind() {
    let log = Shaky::new(1, Faults::default());
    let (queue, _writer) = start(&log, 4_096);
    let slot = Slot(1);
    queue.store(slot, version(slot, 1, 100), 1).unwrap();
    queue.settled().await;
    assert_eq!(read(&queue, slot).await, Some(1));
    log.hold(true);
    queue.store(slot, version(slot, 2, 100), 2).unwrap();
    assert_eq!(read(&queue, slot).await, Some(2), "what waits counts");
    assert_eq!(queue.store(slot, version(slot, 3, 8_192), 3), Err(Full));
    assert_eq!((read(&queue, slot).await, queue.may_hold(slot), queue.dropped.get()), (None, false, 1));
    log.hold(false);
    queue.settled().await;
    assert_eq!(read(&queue, slot).await, None);
    log.restart();
    assert_eq!(read(&queue, slot).await, None, "also after a restart");
}

#[tokio::test]
async fn what_was_read_before_a_write_and_comes_after_it_is_not_the_last() {
    let log = Shaky::new(1, Faults::default());
    let (queue, _writer) = start(&log, 1 << 20);
    let slot = Slot(7);
    queue.store(slot, version(slot, 1, 100), 1).unwrap();
    queue.settled().await;
    log.hold(true);
    let reading = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { read(&queue, slot).await }
    });
    until(|| !reading.is_finished()).await;
    tokio::task::yield_now().await;
    queue.store(slot, version(slot, 2, 100), 2).unwrap();
    log.hold(false);
    assert_eq!(reading.await.unwrap(), Some(2), "the old value came although a newer one was stored meanwhile");
    assert_eq!(read(&queue, slot).await, Some(2));
}

#[tokio::test]
async fn room_is_waited_for_and_given_up_when_the_device_fails() {
    let log = Shaky::new(1, Faults::default());
    let (queue, writer) = start(&log, 1_000);
    log.hold(true);
    assert!(queue.store_when_room(Slot(1), version(Slot(1), 1, 500)).await);
    let second = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.store_when_room(Slot(2), version(Slot(2), 1, 500)).await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    log.hold(false);
    assert!(second.await.unwrap());
    queue.settled().await;
    log.set_faults(Faults { write_fails: 1_000, ..Faults::default() });
    assert!(queue.store_when_room(Slot(3), version(Slot(3), 1, 500)).await);
    assert_eq!(writer.await.unwrap(), Err(Trouble::Write(1)));
    assert!(!queue.store_when_room(Slot(4), version(Slot(4), 1, 500)).await);
    assert!(!queue.store_when_room(Slot(5), version(Slot(5), 1, 5_000)).await);
    assert_eq!(queue.store(Slot(6), version(Slot(6), 1, 5), 1), Err(Full));
    assert_eq!(queue.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_comes_soon_after_is_written_with_what_came_before_and_much_is_not_kept_waiting() {
    let log = Shaky::new(1, Faults::default());
    let (queue, _writer) = start(&log, 1 << 20);
    for number in 0..10 {
        queue.store(Slot(number), version(Slot(number), 1, 100), 1).unwrap();
        tokio::time::advance(GATHER / 20).await;
    }
    queue.settled().await;
    assert_eq!((log.stores(), queue.written.get()), (1, 10));
    // Far apart, each is written alone.
    for number in 0..3 {
        queue.store(Slot(number), version(Slot(number), 2, 100), 2).unwrap();
        tokio::time::advance(GATHER * 3).await;
        queue.settled().await;
    }
    assert_eq!(log.stores(), 4);
    let began = tokio::time::Instant::now();
    tokio::time::advance(GATHER * 3).await;
    for number in 0..4 {
        queue.store(Slot(number), version(Slot(number), 3, 16_000), 3).unwrap();
    }
    queue.settled().await;
    assert!(began.elapsed() < GATHER * 5, "{:?}", began.elapsed());
    assert!(log.stores() < 7, "{}", log.stores());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_answers_no_more_counts_as_failed() {
    let log = Shaky::new(1, Faults::default());
    let (queue, writer) = start(&log, 1_000);
    log.stick();
    assert!(queue.store_when_room(Slot(1), version(Slot(1), 1, 500)).await);
    assert!(!queue.store_when_room(Slot(2), version(Slot(2), 1, 500)).await);
    assert_eq!(writer.await.unwrap(), Err(Trouble::Stuck));
}

#[tokio::test]
async fn too_many_slots_to_empty_one_by_one_give_up_everything_before() {
    let log = Shaky::new(1, Faults::default());
    log.hold(true);
    // The log may hold something in all of them.
    let slots = || (0..=NOTHINGS_MAX).map(|slot| Slot(slot as u128));
    log.fill(slots());
    let (queue, _writer) = start(&log, 1 << 20);
    until(|| queue.log().is_some()).await;
    slots().enumerate().for_each(|(at, slot)| queue.forget(slot, 40 + at as u64));
    assert_eq!(queue.take_floor(), Some(40 + NOTHINGS_MAX as u64));
    assert_eq!(queue.take_floor(), None);
}

#[tokio::test]
async fn places_in_line_do_not_pile_up_for_one_slot() {
    let queue = Queue::new(1 << 20);
    for number in 0..10_000 {
        queue.store(Slot(1), version(Slot(1), number, 10), number).unwrap();
    }
    assert!(queue.waiting.lock().order.len() <= PLACES_MIN + 2);
    assert_eq!(read(&queue, Slot(1)).await, Some(9_999));
}

#[derive(Clone, Debug)]
enum Step {
    Store(u128, usize),
    Forget(u128),
    Read(u128),
    Wait,
    Settle,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SLOTS, 0_usize..3_000).prop_map(|(slot, bytes)| Step::Store(slot, bytes)),
        1 => (0..SLOTS).prop_map(Step::Forget),
        4 => (0..SLOTS).prop_map(Step::Read),
        2 => Just(Step::Wait),
        1 => Just(Step::Settle),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Against a map of the newest versions: what is read is the newest, or nothing; never an older one, whatever the device does short of
    /// failing to write, and whoever restarts in between.
    #[test]
    fn nothing_older_is_ever_read(steps in prop::collection::vec(step(), 1..80), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let log = Shaky::new(seed, Faults { delayed: 400, read_fails: 50, damaged: 50, lost: 50, write_fails: 0 });
            let (mut queue, mut writer) = start(&log, 6_000);
            let mut newest: HashMap<u128, u64> = HashMap::default();
            for (at, step) in steps.iter().enumerate() {
                let at = at as u64 + 1;
                match step {
                    Step::Store(slot, bytes) => {
                        // A dropped one is the newest all the same: nothing before it may be read.
                        let _ = queue.store(Slot(*slot), version(Slot(*slot), at, *bytes), at);
                        newest.insert(*slot, at);
                    }
                    Step::Forget(slot) => {
                        queue.forget(Slot(*slot), at);
                        newest.remove(slot);
                    }
                    Step::Read(slot) => {
                        if let Some(found) = read(&queue, Slot(*slot)).await {
                            assert_eq!(Some(&found), newest.get(slot));
                        }
                    }
                    // Long enough that a batch is begun, and no longer.
                    Step::Wait => tokio::time::advance(GATHER).await,
                    Step::Settle => queue.settled().await,
                    Step::Restart => {
                        queue.close();
                        writer.await.unwrap().unwrap();
                        log.restart();
                        (queue, writer) = start(&log, 6_000);
                        until(|| queue.log().is_some()).await;
                    }
                }
            }
        });
    }
}
