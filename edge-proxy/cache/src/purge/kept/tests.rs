//! The table while it is written, and after it was.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key;

use super::*;
use crate::exchange::tests::house::snapshot;

const SOON: Duration = Duration::from_secs(20);

fn purge(seq: u64, tag: &str) -> Purge {
    Purge { seq, targets: Targets { tags: vec![tag.to_owned()], ..Targets::default() } }
}

/// Everything that is in force, in one order.
fn all(table: &Table) -> Vec<String> {
    let mut all: Vec<String> = table.epochs.read().changes().map(|change| format!("{change:?}")).collect();
    table.local.with_all(|_, floor, names| all.extend(names.map(|name| format!("{name:?}")).chain([format!("before {floor}")])));
    all.sort();
    all
}

#[test]
fn a_device_that_is_slow_to_take_the_table_keeps_neither_purges_nor_requests_waiting() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("journal");
    let table = Arc::new(Table::open(&path).unwrap().0);
    // Who opens it to write waits until somebody reads.
    let slow = data.path().join("journal.new");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &slow, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let syncing = {
        let table = Arc::clone(&table);
        thread::spawn(move || table.sync())
    };
    let (told, done) = mpsc::channel();
    let changing = {
        let table = Arc::clone(&table);
        thread::spawn(move || {
            // Not before the table was put together, so that what comes now is what came while it was written.
            while !table.journal.as_ref().unwrap().is_begun_anew() {
                thread::yield_now();
            }
            table.raise(&[purge(1, "red")], &snapshot(Key::default()));
            table.invalidate(&[], &[7]);
            told.send(table.position()).unwrap();
        })
    };
    let position = done.recv_timeout(SOON);
    // It cannot be synced, whatever it is: the table is written at the next time.
    let reader = thread::spawn({
        let slow = slow.clone();
        move || std::fs::read(slow)
    });
    assert!(syncing.join().unwrap().is_err());
    reader.join().unwrap().unwrap();
    changing.join().unwrap();
    assert_eq!(position.map(|position| position.seq), Ok(1), "it waited for the device");
    std::fs::remove_file(&slow).unwrap();
    table.sync().unwrap();
    let again = Table::open(&path).unwrap().0;
    assert_eq!((again.seq(), all(&again)), (1, all(&table)));
}

#[test]
fn what_changes_while_the_table_is_written_again_and_again_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("journal");
    let table = Arc::new(Table::open(&path).unwrap().0);
    table.sync().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let writing = {
        let (table, ended) = (Arc::clone(&table), Arc::clone(&ended));
        thread::spawn(move || {
            let mut times = 0;
            while !ended.load(Ordering::SeqCst) {
                table.journal.as_ref().unwrap().grow();
                table.sync().unwrap();
                times += 1;
            }
            times
        })
    };
    let until = Instant::now() + Duration::from_millis(500);
    let mut seq = 0;
    while Instant::now() < until || seq < 100 {
        seq += 1;
        table.raise(&[purge(seq, &format!("tag {}", seq % 1_000))], &snapshot(Key::default()));
        table.invalidate(&[], &[u128::from(seq % 1_000)]);
        if seq % 400 == 0 {
            table.give_up(seq);
        }
    }
    ended.store(true, Ordering::SeqCst);
    assert!(writing.join().unwrap() > 1);
    // As after a kill: nothing is synced once more.
    let again = Table::open(&path).unwrap().0;
    assert_eq!((again.seq(), again.given_up()), (seq, table.given_up()));
    assert_eq!(all(&again), all(&table));
}
