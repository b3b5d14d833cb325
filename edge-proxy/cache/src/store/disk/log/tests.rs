//! foyer as it is: what it is known for must not reach us.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::super::queue::Queue;
use super::super::record::Record;
use super::blocks::paged;
use super::order::block_file;
use super::*;

const MIB: u64 = 1 << 20;

fn shape(directory: &Path, capacity: u64) -> Shape {
    Shape { directory: directory.to_owned(), capacity, buffer_bytes: 4 * MIB, progress: Progress::default() }
}

fn value(number: u64, bytes: usize) -> Bytes {
    number.to_be_bytes().iter().copied().cycle().take(bytes).collect::<Vec<u8>>().into()
}

async fn loaded(log: &Blocks, slot: u64) -> Option<Bytes> {
    log.load(Slot(u128::from(slot))).await.unwrap()
}

/// A log that is open and no longer makes room for what is written next, which it would go on with beside the log that follows it: nothing that
/// was killed does that.
async fn restarted(shape: &Shape) -> Blocks {
    let log = Blocks::open(shape.clone()).await.unwrap();
    log.close().await;
    log
}

/// Stores in batches that fit.
async fn store(log: &Blocks, slots: impl Iterator<Item = (u64, Bytes)>) {
    let mut batch = Vec::new();
    let mut room = log.batch_bytes();
    for (slot, value) in slots {
        if log.room_of(value.len()) > room {
            log.store(&batch).await.unwrap();
            batch.clear();
            room = log.batch_bytes();
        }
        room -= log.room_of(value.len());
        batch.push((Slot(u128::from(slot)), value));
    }
    log.store(&batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_start_without_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let first = Blocks::open(shape(directory.path(), 64 * MIB)).await.unwrap();
    // Written anew again and again, small beside large.
    for round in 0..3 {
        store(&first, (0..400).map(|slot| (slot, value(slot + round, 3_000 + usize::try_from(slot).unwrap())))).await;
    }
    store(&first, (1_000..1_010).map(|slot| (slot, value(slot, 1_000_000)))).await;
    assert_eq!(first.counts().entries, 1_210);
    // As after kill -9: the first one never ends in order, and a second one finds what the files hold.
    let again = shape(directory.path(), 64 * MIB);
    let progress = again.progress.clone();
    assert_eq!(progress.get(), 0);
    let second = Blocks::open(again).await.unwrap();
    // All 16 blocks; the rest is told by who waits for all of it.
    assert_eq!(progress.get(), 1_000 * 16 / 17);
    for slot in 0..400 {
        assert_eq!(loaded(&second, slot).await, Some(value(slot + 2, 3_000 + usize::try_from(slot).unwrap())), "slot {slot}");
    }
    for slot in 1_000..1_010 {
        assert_eq!(loaded(&second, slot).await, Some(value(slot, 1_000_000)));
    }
    assert_eq!(loaded(&second, 5_000).await, None);
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_lose_nothing_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(Blocks::open(shape(directory.path(), 64 * MIB)).await.unwrap());
    let queue = Arc::new(Queue::new(64 * MIB));
    let writer = tokio::spawn({
        let (queue, log) = (Arc::clone(&queue), Arc::clone(&log) as Arc<dyn Log>);
        async move { queue.write(log).await }
    });
    let storing: Vec<_> = (0..8_u64)
        .map(|task| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                for number in 0..250 {
                    let slot = task * 1_000 + number;
                    assert!(queue.store_when_room(Slot(u128::from(slot)), value(slot, 5_000)).await);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in storing {
        task.await.unwrap();
    }
    queue.close();
    writer.await.unwrap().unwrap();
    assert_eq!((queue.written.get(), queue.dropped.get()), (2_000, 0));
    let again = Blocks::open(shape(directory.path(), 64 * MIB)).await.unwrap();
    for slot in (0..8_u64).flat_map(|task| (0..250).map(move |number| task * 1_000 + number)) {
        assert_eq!(loaded(&again, slot).await, Some(value(slot, 5_000)), "slot {slot}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_leave_first_also_after_a_restart_and_nothing_older_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
    let mut evicted = 0;
    // One slot is written anew all the time between others that fill the log several times over.
    for round in 0..60_u64 {
        store(&log, (0..2).map(|nth| (100 + round * 2 + nth, value(round, 1_000_000)))).await;
        if round % 7 == 0 {
            store(&log, [(1, value(round, 2_000))].into_iter()).await;
        }
        if round % 20 == 19 {
            evicted += log.counts().evicted;
            log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
            let newest = round / 7 * 7;
            let found = loaded(&log, 1).await;
            assert!(found.is_none() || found == Some(value(newest, 2_000)), "round {round}");
        }
    }
    let there: Vec<bool> = {
        let mut there = Vec::new();
        for slot in 100..220 {
            there.push(loaded(&log, slot).await.is_some());
        }
        there
    };
    let first = there.iter().position(|found| *found).unwrap();
    assert!(first > 60, "the log holds fewer than half of them");
    assert!(there[first..].iter().all(|found| *found), "younger ones left before older ones: {there:?}");
    assert!(evicted > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_blocks_give_nothing_wrong_and_missing_ones_are_trouble() {
    let directory = tempfile::tempdir().unwrap();
    let log = Blocks::open(shape(directory.path(), 32 * MIB)).await.unwrap();
    let record = |slot: u64| Record::nothing(slot).encode(&[value(slot, 3_900)]);
    store(&log, (0..100).map(|slot| (slot, record(slot)))).await;
    let file = (0..8).map(|block| directory.path().join(block_file(block))).find(|path| {
        let content = fs::read(path).unwrap();
        content[..8].iter().any(|byte| *byte != 0)
    });
    let file = file.unwrap();
    let mut content = fs::read(&file).unwrap();
    // The first page is the index, two pages have one value each.
    for page in (1..200).step_by(3) {
        content[page * 4_096 + 700] ^= 1;
    }
    fs::write(&file, &content).unwrap();
    let mut lost = 0;
    for slot in 0..100 {
        match loaded(&log, slot).await.filter(|found| Record::decode(found).is_some()) {
            Some(found) => assert_eq!(found, record(slot)),
            None => lost += 1,
        }
    }
    assert!((20..80).contains(&lost), "{lost} lost");
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(0).unwrap();
    let troubles = {
        let mut troubles = 0;
        for slot in 0..100 {
            troubles += u32::from(log.load(Slot(slot)).await.is_err());
        }
        troubles
    };
    assert!(troubles > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_larger_than_a_batch_is_dropped_and_counted_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(Blocks::open(shape(directory.path(), 64 * MIB)).await.unwrap());
    let queue = Arc::new(Queue::new(64 * MIB));
    let _writer = tokio::spawn({
        let (queue, log) = (Arc::clone(&queue), Arc::clone(&log));
        async move { queue.write(log).await }
    });
    queue.store(Slot(1), value(1, 8 << 20), 1).unwrap();
    queue.store(Slot(2), value(2, 1 << 20), 2).unwrap();
    queue.settled().await;
    assert_eq!((queue.dropped.get(), queue.written.get()), (1, 1));
    assert!(queue.load(Slot(1)).await.unwrap().is_none());
    assert_eq!(log.load(Slot(2)).await.unwrap(), Some(value(2, 1 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_is_gone_at_once_and_too_little_room_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let log = Blocks::open(shape(directory.path(), 32 * MIB)).await.unwrap();
    store(&log, (0..2).map(|slot| (slot, value(slot, 100)))).await;
    log.remove(Slot(0));
    assert_eq!((log.may_hold(Slot(0)), loaded(&log, 0).await, loaded(&log, 1).await), (false, None, Some(value(1, 100))));
    let refused = Blocks::open(shape(directory.path(), 16 * MIB)).await.unwrap_err();
    assert!(refused.to_string().contains("at least"), "{refused}");
    assert_eq!((paged(0), paged(1), paged(4_097)), (0, 4_096, 8_192));
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_that_come_while_a_slot_is_written_are_no_failure_of_the_device() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(Blocks::open(shape(directory.path(), 64 * MIB)).await.unwrap());
    let hinting = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            while Arc::strong_count(&log) > 1 {
                (0..20).for_each(|slot| log.remove(Slot(slot)));
                std::thread::yield_now();
            }
        })
    };
    for round in 0..20 {
        let batch: Vec<_> = (0..20).map(|slot| (Slot(slot), value(round, 10_000))).collect();
        assert_eq!(log.store(&batch).await, Ok(()), "round {round}");
    }
    drop(log);
    hinting.join().unwrap();
}

/// What may have become of what is written down beside the blocks.
#[derive(Clone, Copy, Debug)]
enum Note {
    Whole,
    Gone,
    Empty,
    Foreign,
    /// As it was when half of it was written, as after a loss of power.
    Old,
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_blocks_leave_in_the_order_they_were_written_in_and_not_in_that_of_their_numbers() {
    for note in [Note::Whole, Note::Gone, Note::Empty, Note::Foreign, Note::Old] {
        for written in (41..56_u64).step_by(4) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("order");
            let log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
            // More than there is room for, so that the first blocks have the youngest values.
            store(&log, (0..written / 2).map(|slot| (slot, value(slot, 1_000_000)))).await;
            let old = fs::read(&path).unwrap();
            store(&log, (written / 2..written).map(|slot| (slot, value(slot, 1_000_000)))).await;
            match note {
                Note::Whole => {}
                Note::Gone => fs::remove_file(&path).unwrap(),
                Note::Empty => fs::write(&path, "").unwrap(),
                Note::Foreign => fs::write(&path, [0xff, b' ', b'1', b'\n', b'x']).unwrap(),
                Note::Old => fs::write(&path, &old).unwrap(),
            }
            // As after kill -9, and again before anything was written.
            restarted(&shape(directory.path(), 48 * MIB)).await;
            let again = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
            store(&again, (written..written + 8).map(|slot| (slot, value(slot, 1_000_000)))).await;
            for slot in written - 20..written + 8 {
                let found = loaded(&again, slot).await;
                assert_eq!(found, Some(value(slot, 1_000_000)), "slot {slot} of {written} left before older ones, {note:?}");
            }
        }
    }
}

/// Values of many sizes, written anew, removed, and driven out, over restarts as after kill -9: each is the last one of its slot or none, and
/// where the youngest are is known, so that foyer is not asked for them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_from_known_places_is_the_last_value_of_its_slot_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
    let mut last: std::collections::HashMap<u64, Bytes> = std::collections::HashMap::new();
    let (mut found, mut evicted) = (0, 0);
    for round in 0..120_u64 {
        let mut batch = std::collections::HashMap::new();
        for _ in 0..draw(40) + 200 {
            let bytes = if draw(60) == 0 { 300_000 + draw(300_000) } else { draw(9_000) };
            batch.insert(draw(600), value(round, usize::try_from(bytes).unwrap()));
        }
        last.extend(batch.iter().map(|(slot, value)| (*slot, value.clone())));
        store(&log, batch.iter().map(|(slot, value)| (*slot, value.clone()))).await;
        let unknown = batch.keys().filter(|slot| !log.knows_place_of(Slot(u128::from(**slot)))).count();
        assert!(unknown * 20 <= batch.len(), "round {round}: the places of {unknown} of {} are not known", batch.len());
        let removed = draw(600);
        log.remove(Slot(u128::from(removed)));
        assert!(loaded(&log, removed).await.is_none(), "round {round}: {removed} is there after its removal");
        if round % 10 == 9 {
            evicted += log.counts().evicted;
            log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
            let unknown = batch.keys().filter(|slot| !log.knows_place_of(Slot(u128::from(**slot)))).count();
            assert!(unknown * 20 <= batch.len(), "round {round}: after a start the places of {unknown} are not known");
        }
        for (slot, value) in &last {
            // What was removed may be back after a restart, but only as it was last.
            if let Some(there) = loaded(&log, *slot).await {
                assert!(there == *value, "round {round}: slot {slot} has a value that was not its last");
                found += 1;
            }
        }
    }
    assert!(found > 10_000 && evicted > 1_000, "{found} found, {evicted} driven out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_value_never_outlives_a_newer_one_though_batches_span_several_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let wide = |directory: &Path| Shape { buffer_bytes: 24 * MIB, ..shape(directory, 48 * MIB) };
    for round in 0..30_u64 {
        let log = Blocks::open(wide(directory.path())).await.unwrap();
        // One slot that is written anew each time, at another place among what fills six blocks.
        let values = (0..18).map(|nth| (if nth == round % 18 { 1 } else { 1_000 + round * 18 + nth }, value(round, 1_000_000)));
        store(&log, values).await;
        if round % 3 == 0 {
            let _ = fs::remove_file(directory.path().join("order"));
        }
        let found = loaded(&log, 1).await;
        assert!(found.is_none() || found == Some(value(round, 1_000_000)), "round {round}");
        drop(log);
        let found = loaded(&restarted(&wide(directory.path())).await, 1).await;
        assert!(found.is_none() || found == Some(value(round, 1_000_000)), "round {round} after a restart");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_made_smaller_keeps_its_youngest_values_and_gives_back_its_room() {
    let directory = tempfile::tempdir().unwrap();
    let open = |mib: u64| Blocks::open(shape(directory.path(), mib * MIB));
    let log = open(64).await.unwrap();
    // The first and the last block have a value of one slot each.
    store(&log, [(1, value(0, 3_000))].into_iter()).await;
    store(&log, (100..152).map(|slot| (slot, value(slot, 1_000_000)))).await;
    store(&log, [(1, value(1, 3_000))].into_iter()).await;
    drop(log);
    // Free ones before those that stay.
    for block in [12, 13] {
        fs::rename(directory.path().join(block_file(block)), directory.path().join(block_file(block + 20))).unwrap();
        fs::write(directory.path().join(block_file(block)), "").unwrap();
    }
    let log = open(48).await.unwrap();
    assert!(loaded(&log, 1).await == Some(value(1, 3_000)), "an older value came back, or the youngest is gone");
    for slot in 120..152 {
        assert!(loaded(&log, slot).await == Some(value(slot, 1_000_000)), "slot {slot}");
    }
    let is_block = |name: std::ffi::OsString| name.to_string_lossy().starts_with("foyer-storage");
    let files = || fs::read_dir(directory.path()).unwrap().filter(|entry| is_block(entry.as_ref().unwrap().file_name())).count();
    assert_eq!(files(), 12);
    store(&log, [(1, value(2, 3_000))].into_iter()).await;
    drop(log);
    let log = open(64).await.unwrap();
    assert!(loaded(&log, 1).await == Some(value(2, 3_000)), "an older value came back when it was made larger again");
    assert_eq!(files(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_which_no_block_is_free_is_written_to_again() {
    let directory = tempfile::tempdir().unwrap();
    let log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
    store(&log, (0..60).map(|slot| (slot, value(slot, 1_000_000)))).await;
    drop(log);
    // As when it was killed after the last free block had been written to, and before the next was free.
    let files: Vec<_> = (0..12).map(|block| directory.path().join(block_file(block))).collect();
    let is_free = |path: &&std::path::PathBuf| fs::read(path).unwrap()[..8].iter().all(|byte| *byte == 0);
    let (free, full): (Vec<_>, Vec<_>) = files.iter().partition(is_free);
    assert!((1..=2).contains(&free.len()));
    for path in free {
        fs::copy(full[0], path).unwrap();
    }
    let log = Blocks::open(shape(directory.path(), 48 * MIB)).await.unwrap();
    let writing = store(&log, (100..110).map(|slot| (slot, value(slot, 1_000_000))));
    tokio::time::timeout(std::time::Duration::from_secs(20), writing).await.expect("it waits for ever");
    for slot in (40..60).chain(100..110) {
        assert!(loaded(&log, slot).await == Some(value(slot, 1_000_000)), "slot {slot}");
    }
}
