//! What is known of servers from one configuration to the next.

use skerry_config::check::{self, Format};
use skerry_config::snapshot::{Change, Document, Shield};

use super::*;

/// A site with these lines in its table of the origin.
pub(super) fn site(name: &str, origin: &str) -> Site {
    let text = format!("name = \"{name}\"\nhosts = [\"{name}.example.com\"]\n[origin]\n{origin}\n");
    check::site_text(&text, Format::Toml, None).unwrap()
}

fn snapshot(sites: Vec<Site>) -> Snapshot {
    Snapshot::build(Document { version: 1, sites, ..Document::default() }).unwrap()
}

const TWO: &str = "urls = [\"http://192.0.2.1\", \"http://192.0.2.2\"]";

#[tokio::test]
async fn a_server_that_stays_keeps_what_is_known_of_it_and_one_that_goes_does_not() {
    let client = Client::new(&skerry_config::process::Origins::default());
    let origins = client.origins();
    let (shop, news) = (site("shop", TWO), site("news", TWO));
    client.configure(&snapshot(vec![shop.clone(), news.clone()]));
    let guards = |site: &Site| origins.targets(site).into_iter().filter_map(|target| target.guard).collect::<Vec<_>>();
    let before = guards(&shop);
    assert!(!Arc::ptr_eq(&before[0], &guards(&news)[0]), "the same server of two sites is two");
    let permit = before[1].enter(1).await.unwrap();

    let other = site("shop", "urls = [\"http://192.0.2.2\"]\nlimits = { concurrent = 1, queue = 0 }");
    client.configure(&snapshot(vec![other.clone()]));
    let after = guards(&other);
    assert!(Arc::ptr_eq(&before[1], &after[0]));
    assert_eq!(after[0].enter(1).await.unwrap_err().kind, UpstreamErrorKind::QueueFull, "the request under way counts");
    drop(permit);
    assert!(after[0].enter(1).await.is_ok());
    assert_eq!(origins.pools.load().size(), 1, "a site that is gone is forgotten");
    assert_eq!(guards(&news).len(), 2, "what is under way can still be asked for");
}

#[tokio::test]
async fn a_change_touches_the_servers_of_the_sites_that_it_names() {
    let client = Client::new(&skerry_config::process::Origins::default());
    let pools = || client.origins().pools.load_full();
    let before = snapshot(vec![site("shop", TWO), site("news", TWO), site("old", TWO)]);
    client.configure(&before);
    let first = pools();
    let sites = vec![site("shop", "urls = [\"http://192.0.2.9\"]"), site("new", TWO)];
    let change = Change { from: 1, version: 2, sites, gone: vec!["old".to_owned()], ..Change::default() };
    client.configure(&before.apply(change).unwrap());
    let second = pools();
    assert!(Arc::ptr_eq(&first["news"], &second["news"]) && !Arc::ptr_eq(&first["shop"], &second["shop"]));
    assert_eq!((second.size(), second.contains_key("new")), (3, true));
}

#[test]
fn requests_for_one_path_of_one_host_take_one_turn() {
    assert_eq!(turn("a", "/x?1"), turn("a", "/x?2"));
    assert_ne!(turn("a", "/x"), turn("a", "/y"));
    assert_ne!(turn("a", "/x"), turn("b", "/x"));
}

fn told(status: u16, wait: &str) -> (StatusCode, HeaderMap) {
    let fields = [(header::RETRY_AFTER, wait)].into_iter().filter(|(_, wait)| !wait.is_empty());
    let headers = fields.map(|(name, wait)| (name, wait.parse().unwrap())).collect();
    (StatusCode::from_u16(status).unwrap(), headers)
}

/// Asks the first server, and has it answer so; why not, where it is not to be asked.
async fn asked(origins: &Origins, site: &Site, (status, headers): (StatusCode, HeaderMap), is_passed: bool) -> Option<UpstreamError> {
    let guard = origins.targets(site).remove(0).guard.unwrap();
    match guard.enter(1).await {
        Ok(permit) => {
            permit.answered(status, &headers, is_passed);
            None
        }
        Err(error) => Some(error),
    }
}

#[tokio::test]
async fn a_server_is_left_alone_when_it_says_so() {
    for (status, wait, is_passed, times, seconds) in [
        (503, "30", false, 1, Some(30)),
        (503, "30", true, 1, Some(30)),
        (503, "", false, 3, None),
        (429, "30", false, 3, Some(30)),
        (429, "30", true, 3, None),
        (200, "30", false, 3, None),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", false, 1, Some(1)),
        (503, "Fri, 31 Dec 2100 23:59:59 GMT", false, 1, Some(60)),
        (503, "soon", false, 3, None),
    ] {
        let (client, shop) = (Client::new(&skerry_config::process::Origins::default()), site("shop", "urls = [\"http://192.0.2.1\"]"));
        let origins = client.origins();
        client.configure(&snapshot(vec![shop.clone()]));
        for _ in 0..times {
            assert_eq!(asked(origins, &shop, told(status, wait), is_passed).await, None);
        }
        let refused = asked(origins, &shop, told(200, ""), false).await;
        assert_eq!(refused.as_ref().and_then(|error| error.retry_after), seconds, "{status} {wait:?} {is_passed}");
        assert!(refused.is_none_or(|error| error.kind == UpstreamErrorKind::BreakerOpen));
    }
}

#[tokio::test]
async fn a_server_that_fails_goes_behind_the_others_and_half_of_them_stay() {
    let four = (1..5).map(|number| format!("\"http://192.0.2.{number}\"")).collect::<Vec<_>>().join(", ");
    let shop = site("shop", &format!("urls = [{four}]\nejection = {{ errors = 2 }}"));
    let client = Client::new(&skerry_config::process::Origins::default());
    let origins = client.origins();
    client.configure(&snapshot(vec![shop.clone()]));
    let order = || origins.targets(&shop).iter().map(|target| target.endpoint.host()[8..].to_owned()).collect::<Vec<_>>().concat();
    assert_eq!(order(), "1234");
    for expected in ["2341", "3412", "3412"] {
        for _ in 0..2 {
            asked(origins, &shop, told(500, ""), false).await;
        }
        assert_eq!(order(), expected, "half of them stay");
    }
}

#[tokio::test]
async fn what_is_repeated_is_counted_against_the_site() {
    let shop = site("shop", "urls = [\"http://192.0.2.1\"]\nretries = { percent = 50, floor = 0 }");
    let client = Client::new(&skerry_config::process::Origins::default());
    let origins = client.origins();
    client.configure(&snapshot(vec![shop.clone()]));
    assert!(!origins.may_repeat(&shop));
    for _ in 0..4 {
        origins.goes_up(&shop);
    }
    assert!(origins.may_repeat(&shop) && origins.may_repeat(&shop) && !origins.may_repeat(&shop));
}

#[tokio::test]
async fn servers_of_a_group_take_turns_by_weight_and_the_next_group_waits() {
    let servers =
        "servers = [{ url = \"http://192.0.2.1\", group = 1 }, { url = \"http://192.0.2.2\", weight = 3 }, { url = \"http://192.0.2.3\" }]";
    let shop = site("shop", &format!("{servers}\nejection = {{ errors = 1 }}"));
    let client = Client::new(&skerry_config::process::Origins::default());
    client.configure(&snapshot(vec![shop.clone()]));
    let order = || client.origins().targets(&shop).iter().map(|target| target.endpoint.host()[8..].to_owned()).collect::<Vec<_>>().concat();
    let first: String = (0..8).map(|_| order().remove(0)).collect();
    assert_eq!(first, "22322232");
    assert!(order().ends_with('1'));
    // The first one to be asked fails and goes behind all others.
    let failing = client.origins().targets(&shop).remove(0);
    failing.guard.unwrap().enter(1).await.unwrap().failed(UpstreamErrorKind::Connect);
    assert!(order().ends_with(&failing.endpoint.host()[8..]), "{}", order());
}

#[tokio::test]
async fn a_shield_that_cannot_be_reached_is_left_alone_and_its_answers_say_nothing_of_it() {
    let shield = Shield { name: "shield-1".to_owned(), region: "r".to_owned(), address: "192.0.2.9:1".parse().unwrap() };
    let client = Client::new(&skerry_config::process::Origins::default());
    client.configure(&Snapshot::build(Document { version: 1, shields: vec![shield], ..Document::default() }).unwrap());
    let guard = client.origins().shield("shield-1").unwrap();
    for _ in 0..10 {
        let (status, headers) = told(503, "30");
        guard.enter(1).await.unwrap().answered(status, &headers, false);
        guard.enter(1).await.unwrap().failed(UpstreamErrorKind::Timeout);
    }
    for _ in 0..SHIELD_ERRORS {
        guard.enter(1).await.unwrap().failed(UpstreamErrorKind::Connect);
    }
    assert_eq!(guard.enter(1).await.unwrap_err().kind, UpstreamErrorKind::BreakerOpen);
}

#[test]
fn an_answer_may_say_when_to_come_back_in_two_ways() {
    let wait = |value: &str| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]));
    assert_eq!(wait("7"), Some(Duration::from_secs(7)));
    assert_eq!(wait("99999999999999999999"), Some(Duration::from_secs(u64::from(u32::MAX))));
    assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
    assert_eq!((wait("-1"), wait(""), wait("1.5")), (None, None, None));
}
