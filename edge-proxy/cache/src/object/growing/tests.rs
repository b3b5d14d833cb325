//! Bytes in, bytes out.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Filling, Growing};
use crate::fetch::{FetchError, FetchErrorKind};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn an_error_comes_after_the_bytes_there_are_and_an_end_is_final() {
    block_on(async {
        let body = Growing::new(Arc::default());
        let mut reader = body.cursor().unwrap();
        body.append(b"ab");
        body.fail(FetchError { kind: FetchErrorKind::Cut, detail: String::new(), retry_after: None });
        body.fail(FetchError { kind: FetchErrorKind::Loop, detail: String::new(), retry_after: None });
        assert_eq!(reader.next().await.unwrap().unwrap(), "ab");
        assert_eq!(reader.next().await.unwrap_err().kind, FetchErrorKind::Cut);
        assert_eq!(reader.next().await.unwrap_err().kind, FetchErrorKind::Cut);
    });
}

#[test]
fn the_last_byte_there_is_can_be_read_before_the_end() {
    let body = Growing::new(Arc::default());
    let mut reader = body.cursor().unwrap();
    assert!(reader.ready().is_none());
    body.append(b"a");
    assert_eq!(reader.ready().unwrap().unwrap().unwrap(), "a");
    assert!(reader.ready().is_none());
    body.finish();
    assert_eq!(reader.ready().unwrap().unwrap(), None);
}

proptest! {
    /// However a body is cut in pieces and whenever its readers read, each gets exactly its bytes, and nothing stays counted.
    #[test]
    fn every_reader_gets_its_bytes(
        sizes in proptest::collection::vec(1..200_usize, 0..40),
        readers in proptest::collection::vec((0..3_000_u64, 1..3_000_u64, 0..40_usize), 1..6),
        window_at in proptest::option::of(0..40_usize),
    ) {
        let filling: Arc<Filling> = Arc::default();
        let body = Growing::new(Arc::clone(&filling));
        let whole: Vec<u8> = sizes.iter().enumerate().flat_map(|(at, &size)| vec![u8::try_from(at).unwrap(); size]).collect();
        block_on(async {
            let mut running = Vec::new();
            for &(start, length, _) in &readers {
                let mut cursor = body.cursor().unwrap();
                cursor.limit(start, start + length);
                running.push((start, start + length, cursor, Vec::new()));
            }
            let mut sent = 0;
            for (at, &size) in sizes.iter().enumerate() {
                body.append(&whole[sent..sent + size]);
                sent += size;
                if window_at == Some(at) {
                    body.make_window();
                }
                // Readers whose turn it is take one piece, if there is one for them.
                for (reader, (_, _, turn)) in running.iter_mut().zip(&readers) {
                    if at % (turn + 1) == 0 && reader.2.at < (sent as u64).min(reader.1) {
                        reader.3.extend_from_slice(&reader.2.next().await.unwrap().unwrap());
                    }
                }
            }
            body.finish();
            for (start, end, mut cursor, mut got) in running {
                while let Some(bytes) = cursor.next().await.unwrap() {
                    got.extend_from_slice(&bytes);
                }
                let end = usize::try_from(end).unwrap().min(whole.len());
                let start = usize::try_from(start).unwrap().min(end);
                assert_eq!(got, &whole[start..end]);
            }
        });
        drop(body);
        prop_assert_eq!(filling.bytes(), 0);
    }
}

#[tokio::test]
async fn the_writer_of_a_window_waits_the_sooner_the_less_it_may_run_ahead() {
    let body = Growing::new(Arc::default());
    let mut reader = body.cursor().unwrap();
    body.make_window();
    body.append(&[7; 100_000]);
    assert!(body.room(super::WINDOW_BYTES).await);
    let narrow = tokio::time::timeout(std::time::Duration::from_millis(20), body.room(super::NARROW_WINDOW_BYTES));
    assert!(narrow.await.is_err());
    // Who reads on lets it go on.
    let (room, read) = tokio::join!(body.room(super::NARROW_WINDOW_BYTES), reader.next());
    assert!(room && read.unwrap().is_some());
}
