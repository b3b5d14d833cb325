//! Buckets over crashes, lost acknowledgements and outages.

use super::*;

fn load(requests: u64) -> Load {
    Load { requests, hits: requests / 2, bytes: requests * 10, ..Load::default() }
}

fn site(name: &str, hits: u64) -> (String, SiteFigures) {
    (name.to_owned(), SiteFigures { hits, ..SiteFigures::default() })
}

/// What is to be sent: number, first second, requests.
fn sent(history: &History) -> Vec<(u64, u64, u64)> {
    let entries = history.next().map(|report| report.entries).unwrap_or_default();
    entries.iter().map(|entry| (entry.seq, entry.from, entry.sums.unwrap().requests)).collect()
}

fn taken(history: &History, through: u64) -> wire::HistoryTaken {
    wire::HistoryTaken { log: history.inner.lock().log.clone(), through }
}

#[test]
fn a_bucket_is_closed_when_its_time_is_over_and_sent_when_it_is_on_disk() {
    let data = tempfile::tempdir().unwrap();
    let history = History::load(data.path()).unwrap();
    history.count(1_000, &load(4), vec![site("a", 4)], false);
    history.count(1_100, &load(6), vec![site("a", 6)], false);
    assert_eq!(sent(&history), []);
    history.count(1_200, &load(7), vec![site("a", 6), site("b", 1)], false);
    assert_eq!(sent(&history), [], "it is not on disk");
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 900, 7)]);
    let sites: Vec<_> = history.next().unwrap().entries[0].sites.iter().map(|site| (site.site.clone(), site.sums.unwrap().hits)).collect();
    assert_eq!(sites, [("a".to_owned(), 6), ("b".to_owned(), 1)]);
    history.count(1_300, &load(9), Vec::new(), true);
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 900, 7), (2, 1_200, 2)]);
    history.taken(&taken(&history, 1));
    assert_eq!(sent(&history), [(2, 1_200, 2)]);
    history.taken(&wire::HistoryTaken { log: "another".to_owned(), through: 9 });
    assert_eq!(sent(&history), [(2, 1_200, 2)]);
    history.count(1_400, &load(9), Vec::new(), true);
    history.store().unwrap();
    assert_eq!(sent(&history), [(2, 1_200, 2)], "nothing was counted");
}

#[test]
fn what_is_on_disk_outlives_a_crash_and_counts_once() {
    let data = tempfile::tempdir().unwrap();
    let history = History::load(data.path()).unwrap();
    history.count(1_000, &load(4), vec![site("a", 4)], false);
    history.store().unwrap();
    history.count(1_004, &load(5), Vec::new(), false);
    drop(history);
    // The process counts from nothing again; one request was not on disk.
    let history = History::load(data.path()).unwrap();
    history.count(1_010, &load(3), vec![site("a", 3)], true);
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 900, 7)]);
    drop(history);
    let again = History::load(data.path()).unwrap();
    assert_eq!(sent(&again), [(1, 900, 7)], "the same, under the same number");
    again.taken(&taken(&again, 1));
    again.count(2_000, &load(1), Vec::new(), true);
    again.store().unwrap();
    drop(again);
    assert_eq!(sent(&History::load(data.path()).unwrap()), [(2, 1_800, 1)]);
}

#[test]
fn a_crash_between_the_two_files_counts_nothing_twice() {
    let data = tempfile::tempdir().unwrap();
    let history = History::load(data.path()).unwrap();
    history.count(1_000, &load(4), Vec::new(), false);
    history.store().unwrap();
    let open = std::fs::read(data.path().join(OPEN)).unwrap();
    history.count(1_001, &load(6), Vec::new(), true);
    history.store().unwrap();
    // The second file was not written.
    std::fs::write(data.path().join(OPEN), open).unwrap();
    drop(history);
    let history = History::load(data.path()).unwrap();
    history.count(1_010, &load(1), Vec::new(), true);
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 900, 6), (2, 900, 1)]);
}

#[test]
fn the_oldest_are_dropped_and_counted_and_a_damaged_file_begins_another_log() {
    let data = tempfile::tempdir().unwrap();
    let history = History::load(data.path()).unwrap();
    for turn in 0..2 * (CLOSED_MAX as u64 + 3) {
        history.count(turn * BUCKET_SECONDS, &load(2 * (turn + 1)), Vec::new(), false);
    }
    history.store().unwrap();
    let report = history.next().unwrap();
    assert_eq!((report.dropped, report.dropped_requests, report.entries[0].seq), (3, 12, 4));
    assert_eq!(report.entries.len(), wire::HISTORY_PER_REPORT_MAX);
    drop(history);
    for file in [OPEN, CLOSED] {
        std::fs::write(data.path().join(file), b"{\"log\":").unwrap();
    }
    let again = History::load(data.path()).unwrap();
    assert_ne!(again.inner.lock().log, report.log);
    assert!(data.path().join("history.json.damaged").exists());
}

/// The log and the number of the open bucket.
fn stands(history: &History) -> (String, u64) {
    let inner = history.inner.lock();
    (inner.log.clone(), inner.open.seq)
}

/// A history whose first two buckets are taken.
fn two_taken(data: &std::path::Path) -> History {
    let history = History::load(data).unwrap();
    for requests in [4, 6] {
        history.count(1_000, &load(requests), Vec::new(), true);
    }
    history.store().unwrap();
    history.taken(&taken(&history, 2));
    history.store().unwrap();
    history
}

#[test]
fn a_damaged_open_bucket_uses_no_number_twice() {
    let data = tempfile::tempdir().unwrap();
    let (log, next) = stands(&two_taken(data.path()));
    assert_eq!(next, 3);
    std::fs::write(data.path().join(OPEN), b"{\"log\":").unwrap();
    let (another, first) = stands(&History::load(data.path()).unwrap());
    assert!(another != log && first == 1, "nothing says which number comes next: {another} {first}");

    // A bucket that waits says it.
    let data = tempfile::tempdir().unwrap();
    let history = two_taken(data.path());
    history.count(1_000, &load(9), Vec::new(), true);
    history.store().unwrap();
    let (log, next) = stands(&history);
    drop(history);
    std::fs::write(data.path().join(OPEN), b"").unwrap();
    assert_eq!(stands(&History::load(data.path()).unwrap()), (log, next));
}

#[test]
fn a_number_that_fell_back_begins_another_log() {
    let data = tempfile::tempdir().unwrap();
    let (log, _) = stands(&two_taken(data.path()));
    let open = std::fs::read_to_string(data.path().join(OPEN)).unwrap();
    std::fs::write(data.path().join(OPEN), open.replace("\"seq\":3", "\"seq\":1")).unwrap();
    let history = History::load(data.path()).unwrap();
    history.count(1_000, &load(5), Vec::new(), true);
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 900, 5)]);
    history.taken(&wire::HistoryTaken { log: log.clone(), through: 2 });
    let (another, next) = stands(&history);
    assert!(another != log && next == 1 && sent(&history).is_empty(), "{another} {next}");
    history.count(1_300, &load(7), Vec::new(), true);
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 1_200, 2)]);
    drop(history);
    assert_eq!(stands(&History::load(data.path()).unwrap()), (another, 2));
}

#[test]
fn what_is_written_of_one_log_is_no_word_of_another_that_begins_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    let history = History::load(data.path()).unwrap();
    for requests in [1, 2, 3] {
        history.count(1_000, &load(requests), Vec::new(), true);
    }
    // While the files are written the control plane says that it has what this log has not come to.
    let mut written = history.written.lock();
    let changed = history.inner.lock().changed(*written);
    history.taken(&taken(&history, 9));
    let changes = changed.changes;
    history.bring(changed, *written).unwrap();
    *written = changes;
    drop(written);
    history.count(1_300, &load(5), Vec::new(), true);
    assert_eq!(sent(&history), [], "it is not on disk");
    history.store().unwrap();
    assert_eq!(sent(&history), [(1, 1_200, 2)]);
}

#[test]
fn a_bucket_has_the_busiest_sites() {
    let data = tempfile::tempdir().unwrap();
    let history = History::load(data.path()).unwrap();
    let sites = (0..100).map(|number| site(&format!("s{number:02}"), number)).collect();
    history.count(0, &load(4_950), sites, true);
    history.store().unwrap();
    let names: Vec<_> = history.next().unwrap().entries[0].sites.iter().map(|site| site.site.clone()).collect();
    assert_eq!(names, (100 - HISTORY_SITES_MAX..100).map(|number| format!("s{number:02}")).collect::<Vec<_>>());
}
