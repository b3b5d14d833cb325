//! What every implementation of [`Store`] promises, as tests. One that is added says `conformance!(open)` in its own tests, where `open` opens the
//! store at a path, and opens it again after it was closed.

use std::sync::Arc;

use super::{Change, Condition, Lost, Store, Subject, Transaction, Watch};

/// Makes a test of each promise.
macro_rules! conformance {
    ($open:expr) => {
        crate::store::conformance::conformance!(
            $open,
            a_transaction_happens_whole_or_not_at_all,
            keys_are_listed_in_order_by_prefix,
            the_purge_log_numbers_from_one_and_keeps_the_newest,
            what_was_done_is_there_after_a_restart,
            one_of_many_that_change_the_same_key_at_once_wins,
            a_revision_is_one_change_and_never_comes_again,
            a_watch_tells_changes_of_its_subject_in_order,
            who_watches_from_what_is_no_longer_known_reads_anew,
            a_store_that_is_closed_says_so,
        );
    };
    ($open:expr, $($promise:ident),+ $(,)?) => {
        $(
            #[test]
            fn $promise() {
                let place = tempfile::tempdir().unwrap();
                crate::store::conformance::$promise(&|| $open(&place.path().join("store")));
            }
        )+
    };
}
pub(super) use conformance;

type Open<'a> = &'a dyn Fn() -> Arc<dyn Store>;

fn put(key: &str, value: &str) -> Change {
    Change::Put(key.to_owned(), value.into())
}

fn does(then: Vec<Change>) -> Transaction {
    Transaction { then, ..Transaction::default() }
}

fn text(store: &dyn Store, key: &str) -> Option<String> {
    store.get(key).unwrap().map(|value| String::from_utf8(value).unwrap())
}

pub(super) fn a_transaction_happens_whole_or_not_at_all(open: Open<'_>) {
    let store = open();
    let swap = |holds: Option<&str>, value: &str| Transaction {
        when: vec![Condition { key: "a".into(), holds: holds.map(Into::into) }, Condition { key: "none".into(), holds: None }],
        then: vec![put("a", value), put("b/1", value)],
        may_be_lost: false,
    };
    assert!(store.transact(&swap(None, "1")).unwrap());
    assert!(!store.transact(&swap(None, "2")).unwrap());
    assert!(!store.transact(&swap(Some("2"), "2")).unwrap());
    assert_eq!(text(&*store, "b/1").as_deref(), Some("1"));
    assert!(store.transact(&swap(Some("1"), "3")).unwrap());
    assert_eq!((text(&*store, "a").as_deref(), text(&*store, "b/1").as_deref()), (Some("3"), Some("3")));
    assert!(store.transact(&does(vec![Change::Delete("a".into()), Change::Delete("never".into())])).unwrap());
    assert_eq!(text(&*store, "a"), None);
    assert!(store.transact(&does(vec![put("a", "1"), Change::Delete("a".into()), put("a", "2")])).unwrap(), "in order");
    assert_eq!(text(&*store, "a").as_deref(), Some("2"));
}

pub(super) fn keys_are_listed_in_order_by_prefix(open: Open<'_>) {
    let store = open();
    for key in ["b/2", "b/10", "c", "b", "b/", "a/1", "b0"] {
        store.transact(&does(vec![put(key, key)])).unwrap();
    }
    let list = |prefix| store.list(prefix).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(list("b/"), ["b/", "b/10", "b/2"]);
    assert_eq!(list(""), ["a/1", "b", "b/", "b/10", "b/2", "b0", "c"]);
    assert!(list("d").is_empty());
    assert_eq!(store.list("c").unwrap(), [("c".to_owned(), b"c".to_vec())]);
}

pub(super) fn the_purge_log_numbers_from_one_and_keeps_the_newest(open: Open<'_>) {
    let store = open();
    let append =
        |entries: &[&str], above| store.append_purges(&entries.iter().map(|entry| (*entry).into()).collect::<Vec<_>>(), above, 3).unwrap();
    assert_eq!((store.purge_bounds().unwrap(), store.purges(0, 9).unwrap()), ((1, 0), vec![]));
    assert_eq!(append(&["a", "b"], 0), 1);
    assert_eq!(append(&["c", "d"], 0), 3);
    assert_eq!(store.purge_bounds().unwrap(), (2, 4));
    assert_eq!(store.purges(2, 1).unwrap(), [(3, b"c".to_vec())]);
    assert_eq!(append(&["e"], 9), 10, "above what is asked for");
    assert_eq!(append(&["f"], 4), 11, "and above what is there");
    assert_eq!((store.purge_bounds().unwrap(), store.purges(0, 9).unwrap().len()), ((10, 11), 2));
}

pub(super) fn what_was_done_is_there_after_a_restart(open: Open<'_>) {
    let store = open();
    store.transact(&does(vec![put("a", "1")])).unwrap();
    store.append_purges(&[b"p".to_vec(), b"q".to_vec()], 0, 9).unwrap();
    let revision = store.revision().unwrap();
    store.close();
    drop(store);
    let store = open();
    assert_eq!((text(&*store, "a").as_deref(), store.revision().unwrap()), (Some("1"), revision));
    assert_eq!(store.purges(1, 9).unwrap(), [(2, b"q".to_vec())]);
    assert_eq!(store.append_purges(&[b"r".to_vec()], 0, 9).unwrap(), 3);
    assert_eq!(store.revision().unwrap(), revision + 1);
}

pub(super) fn one_of_many_that_change_the_same_key_at_once_wins(open: Open<'_>) {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let store = open();
    let count = |store: &dyn Store| {
        loop {
            let holds = store.get("count").unwrap();
            let next = holds.as_deref().map_or(0, |held| String::from_utf8_lossy(held).parse::<usize>().unwrap()) + 1;
            let when = vec![Condition { key: "count".into(), holds }];
            if store.transact(&Transaction { when, then: vec![put("count", &next.to_string())], may_be_lost: true }).unwrap() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| (0..EACH).for_each(|_| count(&*store)));
        }
    });
    assert_eq!(text(&*store, "count").unwrap(), (WRITERS * EACH).to_string());
}

pub(super) fn a_revision_is_one_change_and_never_comes_again(open: Open<'_>) {
    let store = open();
    let first = store.revision().unwrap();
    store.transact(&does(vec![put("a", "1"), put("b", "1")])).unwrap();
    assert_eq!(store.revision().unwrap(), first + 1, "a transaction is one change");
    let refused = Transaction { when: vec![Condition { key: "a".into(), holds: None }], then: vec![put("a", "2")], may_be_lost: false };
    assert!(!store.transact(&refused).unwrap());
    assert_eq!(store.revision().unwrap(), first + 1, "what did not happen is none");
    store.append_purges(&[b"p".to_vec(), b"q".to_vec()], 0, 9).unwrap();
    assert_eq!(store.revision().unwrap(), first + 2, "what is appended at once is one");
}

/// What a watch tells, as far as it goes without waiting.
fn told(watch: &mut Watch) -> Result<Vec<String>, Lost> {
    let mut all = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        loop {
            tokio::select! {
                biased;
                step = watch.next() => {
                    let step = step?;
                    let keys = step.keys.iter().map(|change| match change {
                        Change::Put(key, value) => format!("{key}={}", String::from_utf8_lossy(value)),
                        Change::Delete(key) => format!("{key} gone"),
                    });
                    let purges = step.purges.map(|through| format!("purges to {through}"));
                    all.push(keys.chain(purges).collect::<Vec<_>>().join(", "));
                }
                () = std::future::ready(()) => return Ok(all),
            }
        }
    })
}

pub(super) fn a_watch_tells_changes_of_its_subject_in_order(open: Open<'_>) {
    let store = open();
    let start = store.revision().unwrap();
    store.transact(&does(vec![put("site/a", "1")])).unwrap();
    store.append_purges(&[b"p".to_vec(), b"q".to_vec()], 0, 9).unwrap();
    let now = store.revision().unwrap();
    store.transact(&does(vec![put("node/n", "1")])).unwrap();
    store.transact(&does(vec![put("site/b", "1"), Change::Delete("site/a".into())])).unwrap();
    let sites = || Subject::Keys("site/".to_owned());
    let mut watch = store.watch(sites(), start);
    assert_eq!(told(&mut watch).unwrap(), ["site/a=1", "site/b=1, site/a gone"]);
    assert!(told(&mut watch).unwrap().is_empty());
    store.transact(&does(vec![put("site/b", "2")])).unwrap();
    store.append_purges(&[b"r".to_vec()], 0, 9).unwrap();
    assert_eq!(told(&mut watch).unwrap(), ["site/b=2"]);
    assert_eq!(told(&mut store.watch(sites(), now)).unwrap(), ["site/b=1, site/a gone", "site/b=2"]);
    assert_eq!(told(&mut store.watch(Subject::Purges, start)).unwrap(), ["purges to 2", "purges to 3"]);
    assert!(told(&mut store.watch(Subject::Purges, store.revision().unwrap())).unwrap().is_empty());
}

pub(super) fn who_watches_from_what_is_no_longer_known_reads_anew(open: Open<'_>) {
    let store = open();
    let before = store.revision().unwrap();
    let all = || Subject::Keys(String::new());
    store.transact(&does(vec![put("a", "1")])).unwrap();
    let ahead = store.revision().unwrap() + 1;
    assert_eq!(told(&mut store.watch(all(), ahead)).unwrap_err(), Lost::Behind, "a revision of a store that was put back");
    store.close();
    drop(store);
    let store = open();
    match told(&mut store.watch(all(), before)) {
        // Either is right: a store may remember over a restart.
        Ok(steps) => assert_eq!(steps, ["a=1"]),
        Err(lost) => assert_eq!(lost, Lost::Behind),
    }
    assert!(told(&mut store.watch(all(), store.revision().unwrap())).unwrap().is_empty());
}

pub(super) fn a_store_that_is_closed_says_so(open: Open<'_>) {
    let store = open();
    let mut watch = store.watch(Subject::Purges, store.revision().unwrap());
    store.close();
    assert_eq!(told(&mut watch).unwrap_err(), Lost::Closed);
    assert!(store.get("a").is_err() && store.list("").is_err() && store.purge_bounds().is_err() && store.revision().is_err());
    assert!(store.transact(&does(Vec::new())).is_err() && store.append_purges(&[], 0, 1).is_err());
}
