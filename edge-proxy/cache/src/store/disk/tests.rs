//! The tier before its log is open.

use super::*;

#[tokio::test]
async fn more_keys_to_be_forgotten_than_wait_give_up_what_was_stored_before() {
    let data = tempfile::tempdir().unwrap();
    let (table, life) = Table::open(&data.path().join("journal")).unwrap();
    let table = Arc::new(table);
    let order = Arc::new(AtomicU64::new(life.first() + 7));
    let settings = crate::exchange::tests::disk::settings(data.path());
    let disk = Disk::new(settings, life, Arc::clone(&table), order, Arc::default(), None);
    let mut number = 0_u32;
    // No key is left behind without a word, whichever call finds that there are too many.
    while table.given_up() == 0 && number < 70_000 {
        disk.forget(&Key::from_text(number.to_be_bytes().to_vec()));
        number += 1;
    }
    assert_eq!(table.given_up(), life.first() + 7, "after {number}");
}
