//! Routing by host and by rule.

use super::*;

fn document(sites: &[serde_json::Value]) -> Document {
    serde_json::from_value(serde_json::json!({ "version": 7, "sites": sites, "shields": [] })).unwrap()
}

fn site(name: &str, hosts: &[&str]) -> serde_json::Value {
    serde_json::json!({ "name": name, "hosts": hosts, "origin": { "urls": ["http://origin.example.net"] } })
}

#[test]
fn finds_the_exact_host_then_the_longest_wildcard_then_any() {
    let sites =
        [site("exact", &["Shop.example.com"]), site("wide", &["*.example.com"]), site("long", &["*.img.example.com"]), site("any", &["*"])];
    let snapshot = Snapshot::build(document(&sites)).unwrap();
    for (host, owner) in [
        ("shop.example.com", "exact"),
        ("SHOP.example.COM", "exact"),
        ("shop.example.com.", "exact"),
        ("www.example.com", "wide"),
        ("a.b.example.com", "wide"),
        ("img.example.com", "wide"),
        ("a.img.example.com", "long"),
        ("a.b.IMG.example.com.", "long"),
        ("example.com", "any"),
        (".example.com", "any"),
        ("badexample.com", "any"),
        ("", "any"),
        (".", "any"),
    ] {
        assert_eq!(snapshot.site_for_host(host).unwrap().site().name, owner, "{host}");
    }
    assert_eq!(snapshot.version(), 7);
    assert_eq!(snapshot.sites().count(), 4);
    let without = Snapshot::build(document(&sites[..3])).unwrap();
    assert!(without.site_for_host("example.com").is_none());
    assert!(without.site("any").is_none());
}

#[test]
fn a_rule_takes_the_place_of_the_defaults_where_it_says_so() {
    let mut shop = site("shop", &["shop.example.com", "*.img.example.com"]);
    shop["cache"] = serde_json::json!({
        "default_ttl": "5s",
        "stale_if_error": "1h",
        "key": { "headers": ["accept-language"] },
        "rules": [
            { "match": { "path": "/api/*", "host": "Shop.Example.com" }, "ttl": "1s", "key": { "query": { "keep": ["page"] } } },
            { "match": { "path": "/private/*" }, "bypass": true },
            { "match": { "path": "/api/*" }, "stale_if_error": "2h" },
        ]
    });
    let snapshot = Snapshot::build(document(&[shop])).unwrap();
    let served = snapshot.site("shop").unwrap();

    let first = served.policy("shop.example.com", "/api/x", &HeaderMap::new());
    assert_eq!((first.rule, first.ttl, first.default_ttl), (Some(0), Some(Period::from_secs(1)), Period::from_secs(5)));
    assert!(first.key.headers.is_empty(), "a rule's key takes the place of the site's");
    assert_eq!(served.policy("SHOP.example.com.", "/api/x", &HeaderMap::new()).rule, Some(0));

    let third = served.policy("a.img.example.com", "/api/x", &HeaderMap::new());
    assert_eq!((third.rule, third.ttl, third.stale_if_error), (Some(2), None, Some(Period::from_secs(7200))));
    assert_eq!(third.key.headers, ["accept-language"]);

    assert!(served.policy("shop.example.com", "/private/x", &HeaderMap::new()).bypass);
    let default = served.policy("shop.example.com", "/", &HeaderMap::new());
    assert_eq!((default.rule, default.default_stale_if_error), (None, Period::from_secs(3600)));
}

#[test]
fn refuses_a_document_with_faults_and_names_both_owners_of_a_host() {
    let sites = [site("one", &["a.example.com"]), site("two", &["b.example.com", "A.example.com"]), site("One", &["c.example.com"])];
    let faults = Snapshot::build(document(&sites)).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "sites[1].hosts[1]: \"A.example.com\" of site \"two\" belongs to site \"one\" already; a host belongs to one site\n\
         sites[2].name: \"One\" is not the name of a site; write 1 to 63 characters of a-z, 0-9 and -, the first and the last a letter or digit"
    );
}

#[test]
fn a_host_longer_than_any_name_is_looked_for_nowhere() {
    let snapshot = Snapshot::build(document(&[site("wide", &["*.example.com"])])).unwrap();
    let longest = format!("{}.example.com", "a.".repeat(120) + "a");
    assert_eq!(longest.len(), 253);
    assert!(snapshot.site_for_host(&longest).is_some());
    assert!(snapshot.site_for_host(&format!("a{longest}")).is_none());
}

#[test]
fn a_request_is_located_and_a_stranger_told_its_nearest() {
    let mut shop = site("shop", &["shop.example.com", "*.img.example.com"]);
    shop["cache"] = serde_json::json!({ "rules": [{ "match": { "path": "/a/*" } }, { "match": { "header": "x-beta" }, "ttl": "1s" }] });
    let snapshot = Snapshot::build(document(&[shop])).unwrap();
    let rule = |host, path, headers: &HeaderMap| snapshot.locate(host, path, headers).rule.map(|rule| rule.index);
    let mut beta = HeaderMap::new();
    beta.insert("x-beta", http::HeaderValue::from_static("1"));
    assert_eq!(rule("SHOP.example.com.", "/a/b", &beta), Some(0));
    assert_eq!(rule("x.img.example.com", "/b", &beta), Some(1));
    assert_eq!(rule("shop.example.com", "/b", &HeaderMap::new()), None);
    let why = |host| snapshot.locate(host, "/", &HeaderMap::new()).unserved.unwrap();
    assert_eq!(why("img.example.com"), "no site owns img.example.com: *.img.example.com of site shop means the names below it");
    assert_eq!(why("Shp.example.com"), "no site owns shp.example.com; the nearest is shop.example.com of site shop");
    assert_eq!(why("example.org"), "no site owns example.org, nor anything like it");
    let empty = Snapshot::default().locate("a", "/", &HeaderMap::new());
    assert_eq!((empty.site, empty.unserved.as_deref()), (None, Some("there is no site in configuration 0")));
}
