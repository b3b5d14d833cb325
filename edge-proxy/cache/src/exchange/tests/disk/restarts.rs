//! What is there after a restart, and what is not.

use std::fs;
use std::sync::Arc;

use http::HeaderMap;
use skerry_config::purge::{Purge, Targets};
use skerry_config::site::Key;
use skerry_config::snapshot::Policy;

use super::super::house::{House, Reply, START, Upstream, get, get_with, policy, seconds, snapshot, until};
use super::{KIB, Lasting, MIB, bounds, large, settings};
use crate::disk::{Settings, State};
use crate::exchange::Exchange;
use crate::store::disk::log::Noop;
use crate::store::disk::shaky::Faults;

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=600"), ("etag", "\"1\""), ("cache-tag", "red, blue")];

fn named() -> Arc<Upstream> {
    Upstream::new(|index, call| Reply::new(200, FRESH, format!("{} {index}", call.request.path_and_query)))
}

fn purge(exchange: &Exchange, seq: u64, targets: Targets) {
    exchange.purge(&[Purge { seq, targets }], &snapshot(Key::default()));
}

#[tokio::test]
async fn what_was_stored_is_there_as_it_was() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/a"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.exchange.figures().disk.unwrap().recovered_permille, 1_000);
    let answer = lasting.house.run(get("/a"), seconds(10)).await.unwrap();
    assert_eq!((answer.field("age"), answer.field("etag"), answer.field("cache-tag")), (Some("10"), Some("\"1\""), Some("red, blue")));
    let again = lasting.house.ask(get_with("/a", &[("if-none-match", "\"1\"")]), seconds(11)).await;
    assert_eq!(again, (304, "c; hit; ttl=589".to_owned(), "".into()));
    assert_eq!(lasting.house.ask(get_with("/a", &[("range", "bytes=1-2")]), seconds(11)).await.2, "a ");
    assert_eq!(upstream.calls(), 1);
    assert_eq!(lasting.house.exchange.figures().disk.unwrap().hits, 1, "then it is in memory");
}

#[tokio::test]
async fn variants_heads_and_rules_of_queries_are_found_again() {
    let upstream = Upstream::new(|index, call| {
        let language = call.request.headers.get("accept-language").map_or("none", |value| value.to_str().unwrap()).to_owned();
        let fields = [("cache-control", "max-age=600"), ("vary", "accept-language"), ("no-vary-search", "params=(\"utm\")")];
        Reply::new(200, &fields, format!("{language} {index}"))
    });
    let mut lasting = Lasting::with(&upstream, Policy { no_vary_search: true, ..policy() }, |_| {}).await;
    let mut first = Vec::new();
    for language in ["de", "en"] {
        first.push(lasting.house.ask(get_with("/?q=1&utm=1", &[("accept-language", language)]), START).await.2);
    }
    let mut head = get("/head");
    head.head_only = true;
    lasting.house.ask(head.clone(), START).await;
    lasting.settled().await;
    lasting.restart().await;
    for (language, body) in ["de", "en"].into_iter().zip(first) {
        assert_eq!(lasting.house.ask(get_with("/?q=1&utm=2", &[("accept-language", language)]), START).await.2, body);
    }
    assert_eq!(lasting.house.ask(head, START).await.1, "c; hit; ttl=600");
    assert_eq!(upstream.calls(), 3);
    // Markers are never mistaken for those of an earlier run.
    lasting.house.ask(get_with("/other", &[("accept-language", "de")]), START).await;
    assert_eq!(lasting.house.ask(get_with("/other", &[("accept-language", "en")]), START).await.2, "en 4");
}

#[tokio::test]
async fn what_only_the_disk_has_is_explained_and_stays_there() {
    let upstream = Upstream::new(|_, call| {
        let vary: &[(&str, &str)] = &[("cache-control", "max-age=600"), ("vary", "accept-language")];
        Reply::new(200, if call.request.path_and_query == "/vary" { vary } else { FRESH }, "body")
    });
    let mut lasting = Lasting::new(&upstream).await;
    let german = get_with("/vary", &[("accept-language", "de")]);
    for request in [get("/a"), get("/b"), german.clone()] {
        lasting.house.ask(request, START).await;
    }
    lasting.settled().await;
    assert_eq!(lasting.house.explain(&get("/a"), START).await["stored"]["tier"], "memory");
    lasting.restart().await;
    purge(&lasting.house.exchange, 1, Targets { urls: vec!["https://shop.example/b".to_owned()], ..Targets::default() });
    for _ in 0..2 {
        let kept = lasting.house.explain(&get("/a"), seconds(10)).await;
        assert_eq!((&kept["stored"]["tier"], &kept["stored"]["length"]), (&"disk".into(), &4.into()), "{kept:#}");
        assert_eq!((&kept["next"]["outcome"], &kept["stored"]["age"]["current_ms"]), (&"hit".into(), &10_000.into()));
        let purged = lasting.house.explain(&get("/b"), seconds(10)).await;
        assert_eq!((&purged["stored"]["tier"], &purged["purges"]["verdict"]), (&"disk".into(), &"gone".into()), "{purged:#}");
        assert_eq!(
            (&purged["next"]["outcome"], &purged["next"]["why"]),
            (&"miss".into(), &"purge 1 (by url) removed what is stored".into())
        );
        let variant = lasting.house.explain(&german, seconds(10)).await;
        assert_eq!((&variant["next"]["outcome"], &variant["variant"]["fields"][0]["value"]), (&"hit".into(), &"de".into()), "{variant:#}");
        let other = lasting.house.explain(&get_with("/vary", &[("accept-language", "en")]), seconds(10)).await;
        assert_eq!((&other["next"]["fwd"], &other["stored"]), (&"vary-miss".into(), &serde_json::Value::Null), "{other:#}");
    }
    let figures = lasting.house.exchange.figures();
    assert_eq!((figures.entries, figures.disk.unwrap().hits, upstream.calls()), (0, 0, 3));
    // A request uses it, and memory has it from then on.
    assert_eq!(lasting.house.ask(get("/a"), seconds(10)).await.1, "c; hit; ttl=590");
    assert_eq!(lasting.house.explain(&get("/a"), seconds(10)).await["stored"]["tier"], "memory");
}

#[tokio::test]
async fn purges_of_every_kind_hold() {
    let targets: [Targets; 7] = [
        Targets { urls: vec!["https://shop.example/a".to_owned()], ..Targets::default() },
        Targets { prefixes: vec!["https://shop.example/".to_owned()], ..Targets::default() },
        Targets { tags: vec!["blue".to_owned()], ..Targets::default() },
        Targets { hosts: vec!["shop.example".to_owned()], ..Targets::default() },
        Targets { sites: vec!["shop".to_owned()], ..Targets::default() },
        Targets { all: true, ..Targets::default() },
        Targets { soft: true, all: true, ..Targets::default() },
    ];
    for targets in targets {
        let upstream = named();
        let mut lasting = Lasting::new(&upstream).await;
        lasting.house.ask(get("/a"), START).await;
        lasting.settled().await;
        purge(&lasting.house.exchange, 1, targets.clone());
        for _ in 0..3 {
            lasting.restart().await;
            assert_eq!(lasting.house.exchange.purge_seq(), 1);
        }
        let (_, status, body) = lasting.house.ask(get("/a"), START).await;
        assert!(!status.contains("hit"), "{targets:?}: {status}");
        assert_eq!(body, "/a 1", "{targets:?}");
        // What came after the purge is there after the next start.
        lasting.settled().await;
        lasting.restart().await;
        assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 1", "{targets:?}");
    }
}

#[tokio::test]
async fn what_the_node_invalidates_itself_holds() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    for path in ["/a", "/b"] {
        lasting.house.ask(get(path), START).await;
    }
    lasting.settled().await;
    let house = &lasting.house;
    house.exchange.invalidate(&get("/a"), &house.policy, &HeaderMap::new());
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 2");
    assert_eq!(lasting.house.ask(get("/b"), START).await.2, "/b 1");
    lasting.settled().await;
    // An invalidation of this run means what was stored in the one before.
    lasting.restart().await;
    let house = &lasting.house;
    house.exchange.invalidate(&get("/b"), &house.policy, &HeaderMap::new());
    assert_eq!(lasting.house.ask(get("/b"), START).await.2, "/b 3");
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 2");
}

#[tokio::test]
async fn what_was_dropped_stays_dropped_and_what_came_after_stays() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/a"), START).await;
    lasting.settled().await;
    lasting.house.exchange.purge_all_through(9);
    lasting.restart().await;
    assert_eq!((lasting.house.exchange.purge_seq(), lasting.house.ask(get("/a"), START).await.2), (9, "/a 1".into()));
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 1");
    // Twice in a run and once in the next: each is another one.
    lasting.house.exchange.purge_all_through(9);
    lasting.house.exchange.purge_all_through(9);
    lasting.house.ask(get("/b"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    lasting.house.exchange.purge_all_through(9);
    assert_eq!(lasting.house.ask(get("/b"), START).await.2, "/b 3");
}

#[tokio::test]
async fn a_table_that_is_gone_damaged_or_behind_drops_everything() {
    for harm in ["gone", "damaged", "behind"] {
        let upstream = named();
        let mut lasting = Lasting::new(&upstream).await;
        purge(&lasting.house.exchange, 1, Targets { all: true, ..Targets::default() });
        lasting.house.ask(get("/a"), START).await;
        lasting.settled().await;
        match harm {
            "gone" => fs::remove_file(&lasting.journal).unwrap(),
            "damaged" => {
                let mut content = fs::read(&lasting.journal).unwrap();
                content[20] ^= 1;
                fs::write(&lasting.journal, content).unwrap();
            }
            _ => {}
        }
        lasting.come_back().await;
        lasting.house.exchange.resume_at(if harm == "behind" { 2 } else { 1 });
        lasting.house.exchange.caught_up();
        assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 1", "{harm}");
    }
}

#[tokio::test]
async fn nothing_is_served_from_disk_before_the_node_knows_what_it_missed() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    for path in ["/a", "/b"] {
        lasting.house.ask(get(path), START).await;
    }
    lasting.settled().await;
    lasting.come_back().await;
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 2");
    purge(&lasting.house.exchange, 1, Targets { urls: vec!["shop.example/b".to_owned()], ..Targets::default() });
    lasting.house.exchange.caught_up();
    assert_eq!(lasting.house.ask(get("/b"), START).await.2, "/b 3");
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 2");
}

/// What the disk has at hand is sent without a session under the same conditions as what memory has.
#[tokio::test]
async fn what_is_on_disk_and_at_hand_is_ready_unless_it_is_damaged_purged_or_too_early() {
    let upstream = Upstream::new(|_, call| {
        let vary: &[(&str, &str)] = &[("cache-control", "max-age=600"), ("vary", "x")];
        let fields = if call.request.path_and_query == "/vary" { vary } else { FRESH };
        Reply::new(200, fields, call.request.path_and_query.clone())
    });
    let mut lasting = Lasting::new(&upstream).await;
    for path in ["/a", "/b", "/c", "/vary"] {
        lasting.house.ask(get_with(path, &[("x", "1")]), START).await;
    }
    lasting.settled().await;
    lasting.come_back().await;
    let ready = |lasting: &Lasting, path: &str, x: &str| {
        let hit = lasting.house.exchange.ready(&mut get_with(path, &[("x", x)]), &lasting.house.policy, seconds(10));
        hit.map(|hit| (hit.age, String::from_utf8(hit.body().concat()).unwrap()))
    };
    assert_eq!(ready(&lasting, "/a", "1"), None, "nobody knows what was purged meanwhile");
    lasting.house.exchange.caught_up();
    purge(&lasting.house.exchange, 1, Targets { urls: vec!["shop.example/b".to_owned()], ..Targets::default() });
    lasting.log.set_faults(Faults { damaged: 1_000, ..Faults::default() });
    assert_eq!(ready(&lasting, "/c", "1"), None, "it is damaged");
    lasting.log.set_faults(Faults { delayed: 1_000, ..Faults::default() });
    assert_eq!(ready(&lasting, "/a", "1"), None, "it had to be waited for");
    lasting.log.set_faults(Faults::default());
    assert_eq!(ready(&lasting, "/a", "1"), Some((10, "/a".to_owned())));
    assert_eq!(ready(&lasting, "/b", "1"), None, "it was purged");
    assert_eq!(ready(&lasting, "/vary", "1"), Some((10, "/vary".to_owned())));
    assert_eq!(ready(&lasting, "/vary", "2"), None, "it is another variant");
    assert_eq!(lasting.house.exchange.ready(&mut get("/a"), &lasting.house.policy, seconds(601)).map(|hit| hit.age), None);
    // What was purged was found first.
    assert_eq!((upstream.calls(), lasting.house.exchange.figures().disk.unwrap().hits), (4, 4));
}

#[tokio::test]
async fn a_later_answer_takes_the_place_of_an_earlier_one_for_good() {
    let upstream = Upstream::new(|index, call| {
        Reply::new(200, FRESH, format!("{} {index}", call.request.path_and_query)).at(seconds(700 * index as u64))
    });
    let mut lasting = Lasting::new(&upstream).await;
    for round in 0..4 {
        let (_, _, body) = lasting.house.ask(get("/a"), seconds(round * 700)).await;
        assert_eq!(body, format!("/a {round}"));
        lasting.settled().await;
        lasting.restart().await;
        assert_eq!(lasting.house.ask(get("/a"), seconds(round * 700)).await.2, body);
        lasting.forget_memory();
    }
    // What may no longer be stored takes what is stored away.
    let refusing = Upstream::new(|_, _| Reply::new(200, &[("cache-control", "no-store")], "private"));
    lasting.house.upstream = refusing;
    assert_eq!(lasting.house.ask(get("/a"), seconds(9_000)).await.2, "private");
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/a"), seconds(2_200)).await.2, "private");
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_nothing_younger() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/a"), START).await;
    lasting.settled().await;
    lasting.restart().await;
    let before = crate::time::Time(START.0 - 3_600_000);
    assert_eq!(lasting.house.ask(get("/a"), before).await.2, "/a 1");
}

#[tokio::test]
async fn what_is_asked_for_once_need_not_be_written() {
    let upstream = named();
    let mut lasting = Lasting::with(&upstream, policy(), |settings| settings.second_hit_below = 1 << 20).await;
    for path in ["/once", "/twice", "/twice"] {
        lasting.house.ask(get(path), START).await;
    }
    lasting.settled().await;
    assert_eq!(lasting.house.exchange.figures().disk.unwrap().skipped, 2);
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/twice"), START).await.2, "/twice 1");
    assert_eq!(lasting.house.ask(get("/once"), START).await.2, "/once 2");
}

#[tokio::test]
async fn small_and_large_may_have_to_be_asked_for_twice_and_what_is_between_not() {
    let sizes = [2 * KIB, 60 * KIB, 150 * KIB, 600 * KIB, 3 * MIB];
    let upstream = Upstream::new(move |_, call| {
        let size = call.request.path_and_query[1..].parse::<u64>().unwrap();
        large::reply(call, "\"1\"", size)
    });
    let set = |settings: &mut Settings| {
        (settings.second_hit_below, settings.second_hit_above, settings.resident_max) = (4 * KIB, 100 * KIB, 256 * KIB);
    };
    let mut lasting = Lasting::with(&upstream, policy(), set).await;
    let called = |size: u64| (0..upstream.calls()).filter(|call| upstream.call(*call).request.path_and_query == format!("/{size}")).count();
    for round in 0..3 {
        for size in sizes {
            assert_eq!(lasting.house.ask(get(&format!("/{size}")), START).await.2, large::body(size), "{size}");
        }
        lasting.settled().await;
        until("what was asked for again to be written", || round == 0 || lasting.house.exchange.figures().disk.unwrap().written >= 66)
            .await;
        lasting.settled().await;
        // What neither fits in memory nor was asked for before is only passed on.
        assert_eq!(sizes.map(called), if round == 0 { [1, 1, 1, 1, 1] } else { [1, 1, 1, 2, 2] }, "round {round}");
        if round == 0 {
            let disk = lasting.house.exchange.figures().disk.unwrap();
            assert_eq!((disk.skipped, disk.written), (4, 1));
        }
    }
    lasting.restart().await;
    for size in sizes {
        assert_eq!(lasting.house.ask(get(&format!("/{size}")), START).await.2, large::body(size), "{size}");
    }
    assert_eq!(upstream.calls(), 7);
}

#[tokio::test]
async fn a_failing_device_is_taken_out_and_memory_goes_on() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    lasting.house.ask(get("/a"), START).await;
    lasting.settled().await;
    lasting.log.set_faults(Faults { write_fails: 1_000, ..Faults::default() });
    lasting.house.ask(get("/b"), START).await;
    let exchange = Arc::clone(&lasting.house.exchange);
    until("the disk to be taken out", || exchange.figures().disk.unwrap().state == State::Out).await;
    for path in ["/a", "/b", "/c", "/c"] {
        lasting.house.ask(get(path), START).await;
    }
    assert_eq!(upstream.calls(), 3, "all of it is in memory");
    // It comes back empty: nobody knows what it missed.
    lasting.log.set_faults(Faults::default());
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 3");
    lasting.settled().await;
    lasting.restart().await;
    assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 3");
}

#[tokio::test]
async fn reads_that_fail_are_misses_and_many_of_them_take_the_device_out() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    for number in 0..12 {
        lasting.house.ask(get(&format!("/{number}")), START).await;
    }
    lasting.settled().await;
    lasting.restart().await;
    lasting.log.set_faults(Faults { read_fails: 1_000, ..Faults::default() });
    for number in 0..12 {
        assert_eq!(lasting.house.ask(get(&format!("/{number}")), START).await.0, 200);
    }
    let figures = lasting.house.exchange.figures().disk.unwrap();
    assert_eq!((figures.state, figures.read_errors), (State::Out, 8));
    lasting.house.exchange.close().await;
    assert_eq!(lasting.house.exchange.figures().disk.unwrap().state, State::Out, "a stop does not hide it");
}

#[tokio::test]
async fn a_log_that_holds_nothing_changes_nothing_in_memory() {
    let upstream = named();
    let data = tempfile::tempdir().unwrap();
    let exchange = Exchange::with_log(bounds(), settings(data.path()), &data.path().join("journal"), Arc::new(Noop));
    exchange.caught_up();
    let house = House { exchange, upstream: Arc::clone(&upstream), policy: Arc::new(policy()) };
    for _ in 0..2 {
        assert_eq!(house.ask(get("/a"), START).await.2, "/a 0");
    }
    house.exchange.settled().await;
    house.exchange.store.clear();
    assert_eq!(house.ask(get("/a"), START).await.2, "/a 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_this_over_files() {
    let data = tempfile::tempdir().unwrap();
    let upstream = named();
    let path = data.path().join("disk");
    let journal = data.path().join("journal");
    let open = || Exchange::with_disk(bounds(), settings(&path), &journal);
    let house = House { exchange: open().unwrap(), upstream: Arc::clone(&upstream), policy: Arc::new(policy()) };
    let again = open().unwrap_err();
    assert!(again.contains(&format!("process {}", std::process::id())), "{again}");
    for path in ["/a", "/b"] {
        house.ask(get(path), START).await;
    }
    house.settled().await;
    purge(&house.exchange, 1, Targets { urls: vec!["shop.example/b".to_owned()], ..Targets::default() });
    house.exchange.sync_purges().unwrap();
    house.settled().await;
    house.exchange.close().await;
    drop(house);
    let reopened = async {
        loop {
            match open() {
                Ok(exchange) => return exchange,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let exchange = tokio::time::timeout(std::time::Duration::from_secs(10), reopened).await.unwrap();
    exchange.caught_up();
    until("the disk to serve", || exchange.figures().disk.unwrap().state == State::Serving).await;
    let house = House { exchange, upstream: Arc::clone(&upstream), policy: Arc::new(policy()) };
    assert_eq!(house.ask(get("/a"), START).await.2, "/a 0");
    assert_eq!(house.ask(get("/b"), START).await.2, "/b 2");
    let figures = house.exchange.figures().disk.unwrap();
    assert!(figures.entries >= 2 && figures.bytes > 0, "{figures:?}");
}

#[tokio::test]
async fn a_device_that_never_answers_a_read_costs_a_wait_and_then_is_not_asked() {
    let upstream = named();
    let lasting = Lasting::new(&upstream).await;
    for number in 0..8 {
        lasting.house.ask(get(&format!("/{number}")), START).await;
    }
    lasting.settled().await;
    lasting.forget_memory();
    lasting.log.stick();
    tokio::time::pause();
    for number in 0..8 {
        let asked = get(&format!("/{number}"));
        let answer = tokio::time::timeout(std::time::Duration::from_secs(3_600), lasting.house.ask(asked, START)).await;
        assert_eq!(answer.expect("an answer").2, format!("/{number} {}", 8 + number));
    }
    assert_eq!(lasting.house.exchange.figures().disk.unwrap().state, State::Out);
}

#[tokio::test]
async fn what_came_before_purges_began_anew_keeps_nothing_out_that_comes_after() {
    let upstream = named();
    let mut lasting = Lasting::new(&upstream).await;
    purge(&lasting.house.exchange, 9, Targets { all: true, ..Targets::default() });
    lasting.house.ask(get("/a"), START).await;
    lasting.settled().await;
    lasting.come_back().await;
    // The control plane was put back to an earlier state: its numbers compare nothing with those before.
    lasting.house.exchange.purge_all_through(3);
    for _ in 0..2 {
        assert_eq!(lasting.house.ask(get("/a"), START).await.2, "/a 1");
    }
}
