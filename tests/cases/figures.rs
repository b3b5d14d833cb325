//! What nodes count by site is what clients did.

use std::collections::BTreeMap;

use crate::house::cdn::SOON;
use crate::house::{Cdn, Reply, Scripted, curl, get, wait_until};

/// Bytes of the body that every whole answer has.
const BODY: &str = "0123456789";

fn origin() -> Scripted {
    Scripted::start(|seen| match seen.line() {
        line if line.contains("/bad") => Reply::whole("500 Internal Server Error", "", BODY),
        line if line.contains("/cut") => Reply::bytes("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n0123").then_close(),
        line if line.starts_with("POST") => Reply::whole("200 OK", "", BODY),
        _ => Reply::whole("200 OK", "Cache-Control: max-age=600\r\n", BODY),
    })
}

/// The metrics of a node that have a site, by name and labels.
fn of_sites(admin: &str) -> BTreeMap<String, f64> {
    let text = curl(&[&format!("{admin}/metrics")]).text();
    let lines = text.lines().filter(|line| line.contains("_site_") && !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn the_counts_of_a_site_are_what_its_clients_did() {
    let origin = origin();
    let cdn = Cdn::start(&["--origin", &origin.url()]);
    for site in ["shop", "blog"] {
        let text = format!("name = \"{site}\"\nhosts = [\"{site}.test\"]\n[origin]\nurls = [\"{}\"]\n", origin.url());
        cdn.skerry(&["site", "apply", &cdn.file(&format!("{site}.toml"), &text)]).fine();
    }
    wait_until("the sites", SOON, || cdn.follows("edge-1") && cdn.follows("shield-1"));

    // Three misses with six hits behind two of them, three passed, two errors of the origin, one answer cut off.
    for path in ["/a", "/b", "/c", "/a", "/a", "/a", "/b", "/b", "/b"] {
        assert_eq!(get(cdn.edge(1), "shop.test", path).text(), BODY);
    }
    for _ in 0..3 {
        let got = curl(&["-H", "Host: shop.test", "--data", "x", &format!("http://{}/form", cdn.edge(1))]);
        assert_eq!((got.status, got.text().as_str()), (200, BODY), "{got:?}");
    }
    for path in ["/bad/1", "/bad/2"] {
        assert_eq!(get(cdn.edge(1), "shop.test", path).status, 500);
    }
    let cut = format!("http://{}/cut", cdn.edge(1));
    let (_, ran) = crate::house::clients::curl_to_the_end(&["-H", "Host: shop.test", &cut]);
    assert_ne!(ran.code, 0, "{ran:?}");
    get(cdn.edge(1), "blog.test", "/a");

    let found = of_sites(cdn.at("/edges/0/admin"));
    let at = |name: &str| found.get(&format!("skerry_edge_site_{name}")).copied();
    let how = |cache: &str| at(&format!("requests_total{{cache=\"{cache}\",site=\"shop\"}}"));
    assert_eq!((how("hit"), how("miss"), how("pass"), how("error")), (Some(6.0), Some(5.0), Some(3.0), Some(1.0)), "{found:#?}");
    assert_eq!(at("errors_total{site=\"shop\"}"), Some(3.0), "{found:#?}");
    assert_eq!(at("head_seconds_count{site=\"shop\"}"), Some(15.0), "{found:#?}");
    let cut_bytes = at("body_bytes_total{site=\"shop\"}").unwrap() - 140.0;
    assert!((0.0..=4.0).contains(&cut_bytes), "{found:#?}");
    assert_eq!(at("requests_total{cache=\"miss\",site=\"blog\"}"), Some(1.0), "{found:#?}");

    // What the edge could not answer itself, and the site's share of it that reached the origin.
    let found = of_sites(cdn.at("/shields/0/admin"));
    let asked: f64 =
        found.iter().filter(|(name, _)| name.contains("requests_total") && name.contains("\"shop\"")).map(|(_, count)| count).sum();
    assert!(asked >= 9.0, "{found:#?}");
    assert!(found.contains_key("skerry_shield_site_requests_total{cache=\"pass\",site=\"shop\"}"), "{found:#?}");
}
