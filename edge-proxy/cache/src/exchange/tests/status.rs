//! What `Cache-Status` says of an answer (RFC 9211).

use skerry_config::snapshot::Policy;

use super::house::{House, Reply, START, Upstream, get, get_with, policy, seconds};
use crate::exchange::Bounds;
use crate::request::Request;
use crate::time::Time;

const BOUNDS: Bounds = Bounds { memory: 1 << 20, object_max: 1 << 20, filling_max: 1 << 20 };

/// `Cache-Status` of the last of these requests.
async fn said(policy: &Policy, requests: &[(Request, Time)]) -> String {
    let upstream = Upstream::new(|_, forward| {
        let mut fields = vec![("cache-control", "max-age=10"), ("vary", "x-a"), ("etag", "\"1\"")];
        if forward.request.headers.contains_key("range") {
            fields.push(("content-range", "bytes 2000000-2000001/4000000"));
            return Reply::new(206, &fields, "ab");
        }
        Reply::new(200, &fields, "whole")
    });
    let house = House::with(&upstream, policy.clone(), BOUNDS);
    let mut said = String::new();
    for (request, at) in requests {
        let Ok(answer) = house.run(request.clone(), *at).await else { continue };
        said = answer.status_of_cache.render("c").to_str().unwrap().to_owned();
        drop(answer);
        house.settled().await;
    }
    said
}

#[tokio::test]
async fn rfc9211_2_2_the_reason_is_the_most_specific_one_and_never_beside_a_hit() {
    let variant = |value: &str| get_with("/", &[("x-a", value)]);
    let part = (get_with("/", &[("range", "bytes=2000000-2000001")]), START);
    let reload = get_with("/", &[("cache-control", "no-cache")]);
    let obeying = Policy { obey_request: true, ..policy() };
    let bypassing = Policy { bypass: true, ..policy() };
    let first = (get("/"), START);
    for (policy, requests, expected) in [
        (&bypassing, vec![first.clone()], "fwd=bypass"),
        (&policy(), vec![first.clone()], "fwd=uri-miss"),
        (&policy(), vec![first.clone(), (get("/other"), START)], "fwd=uri-miss"),
        (&policy(), vec![(variant("1"), START), (variant("2"), START)], "fwd=vary-miss"),
        (&policy(), vec![(variant("1"), START), (variant("1"), START)], "hit"),
        (&policy(), vec![first.clone(), (get("/"), seconds(10))], "fwd=stale"),
        (&policy(), vec![part.clone(), first.clone()], "fwd=partial"),
        (&policy(), vec![part.clone(), part.clone()], "hit"),
        (&obeying, vec![first.clone(), (reload.clone(), START)], "fwd=request"),
        (&policy(), vec![first.clone(), (reload, START)], "hit"),
    ] {
        let said = said(policy, &requests).await;
        assert_eq!(said.split("; ").nth(1), Some(expected), "{said}");
        assert!(said.contains("; hit") != said.contains("; fwd="), "{said}");
    }
}
