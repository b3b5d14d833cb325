//! The table alone; with fetches under way see the tests of the exchange.

use http::HeaderMap;
use proptest::prelude::*;
use skerry_config::purge::{Purge, Targets};
use skerry_config::site::{Key, Query};
use skerry_config::snapshot::Snapshot;

use super::tags::{TAG_BYTES_MAX, TAGS_MAX};
use super::url::Location;
use super::{Identity, Mark, Position, Table, Tags, Verdict};
use crate::request::Request;

fn identity(authority: &str, path: &str, rules: &Key) -> Identity {
    let request = Request {
        head_only: false,
        scheme: "https",
        authority: authority.to_owned(),
        path_and_query: path.to_owned(),
        headers: HeaderMap::new(),
    };
    Identity::of(&request, "shop", rules)
}

fn mark(seq: u64, tags: Tags) -> Mark {
    Mark::new(Position { seq, ..Position::default() }, tags, Box::default())
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

/// What a purge numbered 5 makes of an object that was fetched at 4.
fn verdict(targets: Targets, object: &Identity, tags: &str) -> Verdict {
    let table = Table::default();
    table.raise(&[Purge { seq: 5, targets }], &Snapshot::default());
    let mut headers = HeaderMap::new();
    headers.insert("cache-tag", tags.parse().unwrap());
    let new = table.verdict(object, &mark(5, Tags::of(&headers)));
    assert_eq!(new, Verdict::Untouched, "an object fetched after the purge");
    table.verdict(object, &mark(4, Tags::of(&headers)))
}

#[test]
fn each_kind_means_what_it_names_and_nothing_else() {
    let object = identity("shop.example", "/a/b?q=1", &Key::default());
    let none = Targets::default();
    let cases: Vec<(Targets, bool)> = vec![
        (Targets { all: true, ..none.clone() }, true),
        (Targets { sites: texts(&["shop"]), ..none.clone() }, true),
        (Targets { sites: texts(&["shop.example"]), ..none.clone() }, false),
        (Targets { hosts: texts(&["SHOP.example"]), ..none.clone() }, true),
        (Targets { hosts: texts(&["shop.example:443"]), ..none.clone() }, true),
        (Targets { hosts: texts(&["other.example"]), ..none.clone() }, false),
        (Targets { tags: texts(&["red"]), ..none.clone() }, true),
        (Targets { tags: texts(&["Red", "re", "redd"]), ..none.clone() }, false),
        (Targets { urls: texts(&["https://shop.example/a/b?q=1"]), ..none.clone() }, true),
        (Targets { urls: texts(&["http://SHOP.example:80/a/b?q=1#top"]), ..none.clone() }, true),
        (Targets { urls: texts(&["https://shop.example/a/b"]), ..none.clone() }, false),
        (Targets { urls: texts(&["https://shop.example/A/b?q=1"]), ..none.clone() }, false),
        (Targets { prefixes: texts(&["https://shop.example/a"]), ..none.clone() }, true),
        (Targets { prefixes: texts(&["https://shop.example/a/b?q=1"]), ..none.clone() }, true),
        (Targets { prefixes: texts(&["https://shop.example"]), ..none.clone() }, true),
        (Targets { prefixes: texts(&["https://shop.example/a/b?q=12"]), ..none.clone() }, false),
        (Targets { prefixes: texts(&["https://shop.example/b", "https://other.example/a"]), ..none.clone() }, false),
        (Targets { urls: texts(&["", "https://", "/a/b?q=1"]), ..none.clone() }, false),
    ];
    for (targets, means) in cases {
        let hard = if means { Verdict::Gone } else { Verdict::Untouched };
        let soft = if means { Verdict::Stale } else { Verdict::Untouched };
        assert_eq!(verdict(targets.clone(), &object, "blue, red"), hard, "{targets:?}");
        assert_eq!(verdict(Targets { soft: true, ..targets.clone() }, &object, "blue, red"), soft, "{targets:?}");
    }
}

#[test]
fn a_name_without_port_means_every_port_and_one_with_port_only_that() {
    let object = identity("shop.example:8443", "/a", &Key::default());
    for (host, means) in [("shop.example", true), ("shop.example:8443", true), ("shop.example:8444", false)] {
        let expected = if means { Verdict::Gone } else { Verdict::Untouched };
        let url = format!("https://{host}/a");
        assert_eq!(verdict(Targets { hosts: texts(&[host]), ..Targets::default() }, &object, "x"), expected, "{host}");
        assert_eq!(verdict(Targets { urls: texts(&[&url]), ..Targets::default() }, &object, "x"), expected, "{url}");
        assert_eq!(verdict(Targets { prefixes: texts(&[&url]), ..Targets::default() }, &object, "x"), expected, "{url}");
    }
}

#[test]
fn a_url_means_what_the_key_rules_make_of_it() {
    let keep = Key { query: Some(Query { keep: Some(texts(&["page"])), ..Query::default() }), ..Key::default() };
    let object = identity("shop.example", "/a?utm=1&page=2", &keep);
    let purge = |url: &str, key: Key| {
        let table = Table::default();
        let targets = Targets { urls: texts(&[url]), ..Targets::default() };
        table.raise(&[Purge { seq: 5, targets }], &crate::exchange::tests::house::snapshot(key));
        table.verdict(&object, &mark(4, Tags::default()))
    };
    assert_eq!(purge("https://shop.example/a?utm=9&page=2", keep.clone()), Verdict::Gone);
    assert_eq!(purge("https://shop.example/a?page=2", keep.clone()), Verdict::Gone);
    assert_eq!(purge("https://shop.example/a?page=3", keep.clone()), Verdict::Untouched);
    // Even after the rules changed: as it was asked for.
    assert_eq!(purge("https://shop.example/a?utm=1&page=2", Key::default()), Verdict::Gone);
}

#[test]
fn an_answer_that_hosts_share_is_purged_by_any_of_them() {
    let alias =
        Key { host: Some("Shop.example".to_owned()), query: Some(Query { keep: Some(vec![]), ..Query::default() }), ..Key::default() };
    let snapshot = crate::exchange::tests::house::snapshot(alias.clone());
    let gone = |targets: &Targets, object: &Identity| {
        let table = Table::default();
        table.raise(&[Purge { seq: 5, targets: targets.clone() }], &snapshot);
        table.verdict(object, &mark(4, Tags::default())) == Verdict::Gone
    };
    for stored_by in ["img1.example", "img2.example:8080", "shop.example", "shop.example:8443"] {
        let object = identity(stored_by, "/a/b?v=1", &alias);
        for purged_by in ["img1.example", "img2.example", "img3.example:81", "shop.example", "SHOP.example:8443"] {
            let named = format!("{purged_by} purges what {stored_by} stored");
            assert!(gone(&Targets { hosts: texts(&[purged_by]), ..Targets::default() }, &object), "host: {named}");
            let url = format!("https://{purged_by}/a/b?v=2");
            assert!(gone(&Targets { urls: vec![url], ..Targets::default() }, &object), "URL: {named}");
            let prefix = format!("https://{purged_by}/a/");
            assert!(gone(&Targets { prefixes: vec![prefix], ..Targets::default() }, &object), "prefix: {named}");
        }
        let other =
            Targets { urls: texts(&["https://img1.example/a/c"]), prefixes: texts(&["https://img1.example/b"]), ..Targets::default() };
        assert!(!gone(&other, &object), "{stored_by}");
    }
}

#[test]
fn locations_are_read_from_urls() {
    for (text, expected) in [
        ("https://a/b", Some(("a", "/b"))),
        ("//A:443", Some(("a", "/"))),
        ("a.example?x", Some(("a.example", "/?x"))),
        ("http://u@a:81/ü z", Some(("a:81", "/%C3%BC%20z"))),
        ("http://[::1]:80/", Some(("[::1]", "/"))),
        ("", None),
        ("https:///x", None),
    ] {
        let expected = expected.map(|(host, path)| Location { host: host.to_owned(), path_and_query: path.to_owned() });
        assert_eq!(Location::of(text), expected, "{text}");
    }
}

#[test]
fn tags_beyond_the_bound_make_any_tag_purge_the_object() {
    let many: Vec<String> = (0..=TAGS_MAX).map(|tag| format!("t{tag}")).collect();
    let long = "x".repeat(TAG_BYTES_MAX + 1);
    let object = identity("shop.example", "/", &Key::default());
    let targets = Targets { tags: texts(&["another"]), ..Targets::default() };
    assert_eq!(verdict(targets.clone(), &object, &many.join(",")), Verdict::Gone);
    assert_eq!(verdict(targets.clone(), &object, &long), Verdict::Gone);
    assert_eq!(verdict(targets, &object, &many[..TAGS_MAX].join(",")), Verdict::Untouched);
    let mut headers = HeaderMap::new();
    headers.insert("surrogate-key", "a b  c".parse().unwrap());
    headers.append("cache-tag", ",d, e ,".parse().unwrap());
    let tags = Tags::of(&headers);
    assert_eq!((tags.iter().count(), tags.overflowed()), (5, false));
}

#[test]
fn missed_purges_and_positions() {
    let table = Table::default();
    table.resume(7);
    let object = identity("shop.example", "/", &Key::default());
    assert_eq!(table.seq(), 7);
    assert_eq!(table.verdict(&object, &mark(7, Tags::default())), Verdict::Untouched);
    table.drop_all(9);
    assert_eq!(table.seq(), 9);
    assert_eq!(table.verdict(&object, &mark(8, Tags::default())), Verdict::Gone);
    assert_eq!(table.verdict(&object, &Mark::new(table.position(), Tags::default(), Box::default())), Verdict::Untouched);
}

#[test]
fn a_full_table_purges_too_much_but_never_too_little() {
    let table = Table::default();
    table.bound_names(10);
    for seq in 1..=100_u64 {
        let text = vec![format!("https://shop.example/{seq}")];
        let tags = vec![format!("t{seq}")];
        let targets = match seq % 3 {
            0 => Targets { urls: text, ..Targets::default() },
            1 => Targets { prefixes: text, ..Targets::default() },
            _ => Targets { tags, soft: true, ..Targets::default() },
        };
        table.raise(&[Purge { seq, targets }], &Snapshot::default());
    }
    for seq in 1..=100_u64 {
        let object = identity("shop.example", &format!("/{seq}"), &Key::default());
        let mut headers = HeaderMap::new();
        headers.insert("cache-tag", format!("t{seq}").parse().unwrap());
        let verdict = table.verdict(&object, &mark(seq - 1, Tags::of(&headers)));
        assert_ne!(verdict, Verdict::Untouched, "purge {seq} is lost");
        assert!(verdict == Verdict::Gone || seq % 3 == 2, "hard purge {seq} became soft");
    }
    let newest = identity("shop.example", "/other", &Key::default());
    assert_eq!(table.verdict(&newest, &mark(100, Tags::default())), Verdict::Untouched);
    let epochs = table.epochs.read();
    assert!(epochs.urls.len() <= 10 && epochs.tags.len() <= 10 && epochs.prefixes.len() <= 10);
}

proptest! {
    /// A prefix matches exactly the paths that start with it.
    #[test]
    fn prefixes_match_character_by_character(prefix in "/[ab/]{0,6}", path in "/[ab/]{0,8}") {
        let object = identity("shop.example", &path, &Key::default());
        let targets = Targets { prefixes: vec![format!("https://shop.example{prefix}")], ..Targets::default() };
        let gone = verdict(targets, &object, "x") == Verdict::Gone;
        prop_assert_eq!(gone, path.starts_with(&prefix));
    }

    /// However purges and fetches interleave: after a purge that names an object, a fetch that began before it is never used.
    #[test]
    fn a_purged_object_never_comes_back(purges in proptest::collection::vec((0..3_usize, any::<bool>()), 1..30), stamps in proptest::collection::vec(0..30_u64, 1..10)) {
        let table = Table::default();
        let objects: Vec<Identity> = (0..3).map(|at| identity("shop.example", &format!("/{at}"), &Key::default())).collect();
        let marks: Vec<(usize, Mark)> = stamps.iter().enumerate().map(|(at, &stamp)| (at % 3, mark(stamp, Tags::default()))).collect();
        let mut last_hard = [0_u64; 3];
        for (at, &(target, soft)) in purges.iter().enumerate() {
            let seq = at as u64 + 1;
            let targets = Targets { urls: vec![format!("https://shop.example/{target}")], soft, ..Targets::default() };
            table.raise(&[Purge { seq, targets }], &Snapshot::default());
            if !soft { last_hard[target] = seq; }
            for (object, mark) in &marks {
                let gone = table.verdict(&objects[*object], mark) == Verdict::Gone;
                prop_assert_eq!(gone, mark.stamp() < last_hard[*object]);
            }
        }
    }
}
