//! The crate `http-cache-semantics`, asked about the same responses: whether a shared cache may store them, and how long they are fresh.
//!
//! Where the two disagree, [`CLASSES`] says why, in a sentence for whoever reads it; a disagreement that no class explains fails, and so
//! does a class that explains nothing. The crate follows RFC 7234, the predecessor of RFC 9111.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response as Answer, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use proptest::prelude::*;
use skerry_config::snapshot::Policy;

use crate::cacheable::{Question, Refusal, Response, judge};
use crate::control::Control;
use crate::exchange::tests::house::{START, policy};
use crate::freshness::{HEURISTIC_MAX, Source};

/// One response and what of its request counts.
#[derive(Clone, Debug)]
struct Case {
    status: u16,
    authorized: bool,
    fields: Vec<(&'static str, String)>,
}

/// What a cache makes of it: `None` is not stored, else the seconds for which it is used without asking.
type Opinion = Option<u64>;

impl Case {
    fn new(status: u16, authorized: bool, fields: &[(&'static str, &str)]) -> Self {
        Self { status, authorized, fields: fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect() }
    }

    fn headers(&self) -> HeaderMap {
        self.fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn request(&self) -> HeaderMap {
        let authorization = self.authorized.then(|| (HeaderName::from_static("authorization"), HeaderValue::from_static("Basic eA==")));
        authorization.into_iter().collect()
    }

    fn ours(&self) -> Result<u64, Refusal> {
        let headers = self.headers();
        let response = Response {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers: &headers,
            age: None,
            requested_at: START,
            responded_at: START,
        };
        let policy = Policy { obey_request: true, ..policy() };
        let kept = judge(Question { path: "/", headers: &self.request(), ranged: false }, response, &policy)?;
        Ok(if kept.freshness.no_cache { 0 } else { kept.freshness.lifetime.as_secs() })
    }

    fn theirs(&self) -> Opinion {
        let mut request = Request::builder().method(Method::GET).uri("https://a.example/").body(()).unwrap();
        *request.headers_mut() = self.request();
        let mut answer = Answer::builder().status(self.status).body(()).unwrap();
        *answer.headers_mut() = self.headers();
        let now = UNIX_EPOCH + Duration::from_millis(START.0);
        let policy = CachePolicy::new_options(&request, &answer, now, CacheOptions::default());
        policy.is_storable().then(|| policy.time_to_live(now).as_secs())
    }

    fn control(&self) -> Control {
        Control::of(&self.headers())
    }

    fn says(&self, text: &str) -> bool {
        self.fields.iter().any(|(name, value)| *name == "cache-control" && value.contains(text))
    }

    fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| *name == field)
    }

    fn source(&self) -> Option<Source> {
        let headers = self.headers();
        let status = StatusCode::from_u16(self.status).unwrap();
        let freshness = crate::freshness::Freshness::of(status, &headers, &self.control(), &policy(), None, START, START);
        Some(freshness.source)
    }

    /// Whether `Cache-Control` gives a directive twice, not written the same or in quotes, which the crate never takes for the same.
    fn contradicts_itself(&self) -> bool {
        let members: Vec<&str> =
            self.fields.iter().filter(|(field, _)| *field == "cache-control").flat_map(|(_, value)| value.split(", ")).collect();
        let name = |member: &str| member.split('=').next().unwrap_or_default().to_owned();
        members
            .iter()
            .enumerate()
            .any(|(at, one)| members[at + 1..].iter().any(|other| (one != other || one.contains('"')) && name(one) == name(other)))
    }
}

/// A kind of disagreement: which cases it covers, an example of it, and why we stay with ours.
struct Class {
    why: &'static str,
    covers: fn(&Case, &Result<u64, Refusal>, Opinion) -> bool,
    example: fn() -> Case,
}

const CLASSES: &[Class] = &[
    Class {
        why: "a response without lifetime and validator could never be used: it may be stored, and we do not",
        covers: |_, ours, theirs| *ours == Err(Refusal::Unusable) && theirs == Some(0),
        example: || Case::new(200, false, &[]),
    },
    Class {
        why: "the crate knows 14 statuses; RFC 9111 section 3 lets any final one be stored that the origin allows",
        covers: |case, ours, theirs| theirs.is_none() && ours.is_ok() && !THEIR_STATUSES.contains(&case.status),
        example: || Case::new(500, false, &[("cache-control", "max-age=60")]),
    },
    Class {
        why: "RFC 9111 section 5.2.2.3: no-store does not count beside must-understand, which RFC 7234 did not have",
        covers: |case, ours, theirs| theirs.is_none() && ours.is_ok() && case.control().must_understand,
        example: || Case::new(200, false, &[("cache-control", "no-store, must-understand, max-age=60")]),
    },
    Class {
        why: "RFC 9111 section 5.2.2.7: private with field names keeps out those fields; the crate keeps out the response",
        covers: |case, ours, theirs| theirs.is_none() && ours.is_ok() && !case.control().private_fields.is_empty(),
        example: || Case::new(200, false, &[("cache-control", "private=\"x-a\", max-age=60")]),
    },
    Class {
        why: "RFC 9111 section 5.2.2.4: no-cache with field names is about those fields, which we do not store; to the crate it is the plain form",
        covers: |case, ours, theirs| theirs == Some(0) && ours.is_ok() && !case.control().no_cache_fields.is_empty(),
        example: || Case::new(200, false, &[("cache-control", "no-cache=\"x-a\", max-age=60")]),
    },
    Class {
        why: "a cookie without public or s-maxage is not stored at all; the crate stores it as stale, and takes immutable for a permission",
        covers: |case, ours, _| *ours == Err(Refusal::SetCookie) && case.has("set-cookie"),
        example: || Case::new(200, false, &[("cache-control", "max-age=60"), ("set-cookie", "a=b")]),
    },
    Class {
        why: "s-maxage is the origin's word to shared caches, beside a cookie too; the crate wants public",
        covers: |case, ours, theirs| theirs == Some(0) && ours.is_ok() && case.has("set-cookie") && case.control().s_maxage.is_some(),
        example: || Case::new(200, false, &[("cache-control", "s-maxage=60"), ("set-cookie", "a=b")]),
    },
    Class {
        why: "RFC 9111 section 5.2.2.8: proxy-revalidate is about what is stale; to the crate it makes everything stale",
        covers: |case, ours, theirs| theirs == Some(0) && ours.is_ok() && case.control().proxy_revalidate,
        example: || Case::new(200, false, &[("cache-control", "proxy-revalidate, max-age=60")]),
    },
    Class {
        why: "RFC 9111 section 4.1: what varies on * answers no request; it is not stored, where the crate stores it as stale",
        covers: |case, ours, theirs| *ours == Err(Refusal::VaryStar) && theirs.is_some() && case.has("vary"),
        example: || Case::new(200, false, &[("cache-control", "max-age=60"), ("vary", "*")]),
    },
    Class {
        why: "RFC 9111 section 4.2.1: lifetimes that contradict each other make the response stale; the crate takes the first and adds must-revalidate, which lets an authorized answer in",
        covers: |case, ours, _| matches!(ours, Ok(_) | Err(Refusal::Unusable | Refusal::Authorization)) && case.contradicts_itself(),
        example: || Case::new(200, false, &[("cache-control", "max-age=60, max-age=50"), ("etag", "\"1\"")]),
    },
    Class {
        why: "RFC 9111 section 5.2: directives have no case; the crate finds them in lower case only",
        covers: |case, _, _| case.says("MAX-AGE") || case.says("No-Store"),
        example: || Case::new(200, false, &[("cache-control", "MAX-AGE=60")]),
    },
    Class {
        why: "whitespace beside the equals sign is not in the grammar: no lifetime is taken from it; the crate takes it",
        covers: |case, _, _| case.says("max-age ="),
        example: || Case::new(200, false, &[("cache-control", "max-age = 60"), ("etag", "\"1\"")]),
    },
    Class {
        why: "a directive that has a lifetime and gives none makes the response stale; the crate looks for another source",
        covers: |case, ours, _| {
            let bare = |name: &str| {
                case.fields.iter().any(|(field, value)| *field == "cache-control" && value.split(',').any(|member| member.trim() == name))
            };
            (bare("max-age") || bare("s-maxage")) && matches!(ours, Ok(0) | Err(Refusal::Unusable))
        },
        example: || Case::new(200, false, &[("cache-control", "max-age"), ("etag", "\"1\""), ("expires", "Thu, 01 Jan 2026 01:00:00 GMT")]),
    },
    Class {
        why: "RFC 9111 section 1.2.2: seconds are told apart up to 2^31; the crate takes more, and stale where the number is beyond 64 bits",
        covers: |case, ours, theirs| {
            case.says("99999999999") && matches!((ours, theirs), (Ok(_), Some(_)) | (Err(Refusal::Unusable), Some(_)))
        },
        example: || Case::new(200, false, &[("cache-control", "max-age=99999999999")]),
    },
    Class {
        why: "RFC 8246: immutable gives no lifetime; the crate gives a day, also in place of an Expires in the past",
        covers: |case, ours, theirs| case.control().immutable && matches!((ours, theirs), (Ok(_) | Err(Refusal::Unusable), Some(86_400..))),
        example: || Case::new(200, false, &[("cache-control", "immutable"), ("etag", "\"1\"")]),
    },
    Class {
        why: "a heuristic lifetime is at most a day here, and without bound in the crate",
        covers: |case, ours, theirs| {
            let ours = ours.as_ref().copied();
            case.source() == Some(Source::Heuristic) && ours == Ok(HEURISTIC_MAX.as_secs()) && theirs > Some(HEURISTIC_MAX.as_secs())
        },
        example: || Case::new(200, false, &[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")]),
    },
    Class {
        why: "RFC 9111 section 5.4: Pragma is a request field; the crate reads no-cache from a response without Cache-Control",
        covers: |case, ours, theirs| case.has("pragma") && ours.is_ok() && theirs == Some(0),
        example: || Case::new(200, false, &[("pragma", "no-cache"), ("expires", "Thu, 01 Jan 2026 01:00:00 GMT")]),
    },
    Class {
        why: "RFC 9213: the targeted field counts in place of Cache-Control and Expires; the crate does not know it",
        covers: |case, _, _| case.control().targeted,
        example: || Case::new(200, false, &[("cdn-cache-control", "max-age=60"), ("cache-control", "no-store")]),
    },
    Class {
        why: "RFC 9111 section 4.2: a date in any of its three forms is one; the crate reads the first",
        covers: |case, ours, theirs| {
            let first_form = |value: &str| value.len() == 29 && value.ends_with("GMT");
            case.fields
                .iter()
                .any(|(name, value)| matches!(*name, "expires" | "last-modified" | "date") && !first_form(value) && value != "0")
                && theirs.is_some()
                && matches!(ours, Ok(_) | Err(Refusal::Unusable))
        },
        example: || Case::new(200, false, &[("expires", "Thu Jan  1 01:00:00 2026")]),
    },
];

/// Those the crate understands.
const THEIR_STATUSES: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];

/// Whether the two say the same. What we do not store and they store as stale has its classes.
fn agree(ours: &Result<u64, Refusal>, theirs: Opinion) -> bool {
    ours.as_ref().copied().ok() == theirs
}

#[test]
fn every_class_of_disagreement_is_one() {
    for class in CLASSES {
        let case = (class.example)();
        let (ours, theirs) = (case.ours(), case.theirs());
        assert!(!agree(&ours, theirs), "nobody disagrees: {}: {ours:?} {theirs:?}", class.why);
        assert!((class.covers)(&case, &ours, theirs), "not its own example: {}: {ours:?} {theirs:?}", class.why);
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let directive = prop_oneof![
        6 => prop_oneof![Just("max-age=60"), Just("max-age=0"), Just("max-age=10"), Just("s-maxage=30"), Just("s-maxage=0"), Just("public"), Just("x=y")],
        2 => prop_oneof![Just("no-store"), Just("private"), Just("no-cache"), Just("must-revalidate"), Just("proxy-revalidate")],
        1 => prop_oneof![
            Just("immutable"), Just("must-understand"), Just("private=\"x-a\""), Just("no-cache=\"x-a\""), Just("MAX-AGE=60"), Just("No-Store"),
            Just("max-age = 60"), Just("max-age=99999999999"), Just("max-age=x"), Just("max-age=-1"), Just("max-age"), Just("max-age=\"60\""),
            Just("stale-while-revalidate=5"),
        ],
    ];
    let control = proptest::collection::vec(directive, 0..4);
    let date = proptest::option::weighted(0.7, 0..200_000_i64);
    let moment = || proptest::option::weighted(0.4, -20_000_000..2_000_000_i64);
    let flags = proptest::collection::vec(proptest::bool::weighted(0.15), 6);
    let status = prop_oneof![4 => Just(200_u16), 2 => proptest::sample::select(THEIR_STATUSES.to_vec()), 1 => 200..600_u16];
    (status, control, date, moment(), moment(), flags).prop_map(|(status, control, date, expires, modified, flags)| {
        let mut fields = Vec::new();
        let mut put = |name: &'static str, value: String| fields.push((name, value));
        let at = |offset: i64| {
            let seconds = START.seconds().saturating_add_signed(offset);
            httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
        };
        if !control.is_empty() {
            put("cache-control", control.join(", "));
        }
        // The apparent age is ours alone to compute: a date behind the time of arrival is not sent here.
        if date.is_some() {
            put("date", at(0));
        }
        expires.into_iter().for_each(|offset| put("expires", at(offset)));
        modified.into_iter().for_each(|offset| put("last-modified", at(offset)));
        let extra = [("etag", "\"1\""), ("set-cookie", "a=b"), ("vary", "*"), ("pragma", "no-cache"), ("cdn-cache-control", "max-age=5")];
        extra.iter().zip(&flags).filter(|(_, given)| **given).for_each(|((name, value), _)| put(name, (*value).to_owned()));
        Case { status, authorized: flags[5], fields }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn two_caches_agree_or_somebody_says_why(case in any_case()) {
        let (ours, theirs) = (case.ours(), case.theirs());
        let explained = CLASSES.iter().any(|class| (class.covers)(&case, &ours, theirs));
        prop_assert!(agree(&ours, theirs) || explained, "ours {:?}, theirs {:?}", ours, theirs);
    }
}
