//! Slices for which there is no room: a device that is behind, one that stands still, and readers that hold what there is.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::super::super::house::{START, get, get_with, policy, read};
use super::super::{Lasting, MIB};
use super::{SLICE, asked, body, large};

/// So many readers of all of it, on their way.
fn crowd(lasting: &Lasting, readers: usize) -> Vec<tokio::task::JoinHandle<Bytes>> {
    let read = |_| {
        let house = lasting.house.clone();
        tokio::spawn(async move { house.ask(get("/large"), START).await.2 })
    };
    (0..readers).map(read).collect()
}

/// The clock stands, and goes on only where nothing is left to do.
#[tokio::test(start_paused = true)]
async fn a_device_that_is_behind_has_readers_wait_rather_than_fetch_a_slice_each() {
    let upstream = large(4 * MIB);
    let lasting = Lasting::new(&upstream).await;
    lasting.log.hold(true);
    let readers = crowd(&lasting, 6);
    let (mut calls, mut idle) = (0, 0);
    while idle < 10_000 {
        tokio::task::yield_now().await;
        idle = if upstream.calls() == calls { idle + 1 } else { 0 };
        calls = upstream.calls();
    }
    assert!(calls < 60, "{calls} calls while nothing is written");
    lasting.log.hold(false);
    for reader in readers {
        assert!(reader.await.unwrap() == body(1, 4 * MIB));
    }
    assert_eq!(asked(&upstream), (1..64).collect::<Vec<_>>(), "each slice once, for whoever wants it");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_stands_still_keeps_no_reader_from_his_bytes() {
    let upstream = large(4 * MIB);
    let lasting = Lasting::new(&upstream).await;
    lasting.log.stick();
    let began = tokio::time::Instant::now();
    for reader in crowd(&lasting, 6) {
        assert!(reader.await.unwrap() == body(1, 4 * MIB));
    }
    let (took, dropped) = (began.elapsed(), lasting.house.exchange.figures().disk.unwrap().dropped);
    assert!(took < Duration::from_secs(10) && dropped > 0, "{took:?}, {dropped} dropped");
    let asked = asked(&upstream);
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn readers_without_room_for_slices_get_every_byte_too() {
    let upstream = large(2 * MIB);
    let lasting = Lasting::with(&upstream, policy(), |settings| settings.reading_max = 3 * SLICE).await;
    let mut readers = Vec::new();
    for reader in 0..8_usize {
        let range = format!("bytes={}-", reader * 100_000);
        let mut answer = lasting.house.run(get_with("/large", &[("range", &range)]), START).await.unwrap();
        let first = answer.body.chunk().await.unwrap().unwrap();
        readers.push((reader, first, answer));
    }
    for (reader, first, answer) in readers {
        assert!([first, read(answer).await.unwrap()].concat() == body(1, 2 * MIB).slice(reader * 100_000..), "reader {reader}");
    }
}
