//! What the site's policy makes of a request's cookies, before its key is made.
//!
//! Owns the `Cookie` field of requests; `Set-Cookie` is judged with the answer.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use skerry_config::cookies::{is_named, of};
use skerry_config::site::Cookies;

/// Whether a cookie keeps the request away from the cache.
#[must_use]
pub(crate) fn bypasses(headers: &HeaderMap, rules: &Cookies) -> bool {
    !rules.bypass.is_empty() && of(headers).any(|(name, _)| rules.bypass.iter().any(|pattern| is_named(pattern, name)))
}

/// Takes the cookies out that the rules name. What is left is one field, or none; without a cookie to take out nothing changes.
pub(crate) fn strip(headers: &mut HeaderMap, rules: &Cookies) {
    if rules.strip.is_empty() || !headers.contains_key(COOKIE) {
        return;
    }
    let crumbs =
        || headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = crumbs().filter(|crumb| !crumb.is_empty() && !is_stripped(crumb, rules)).collect();
    if kept.len() == crumbs().filter(|crumb| !crumb.is_empty()).count() && !kept.is_empty() {
        return;
    }
    // A part of a field's value is a field's value.
    let joined = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|joined| !joined.is_empty());
    match joined {
        Some(joined) => drop(headers.insert(COOKIE, joined)),
        None => drop(headers.remove(COOKIE)),
    }
}

/// What is no `name=value` counts as a name, as some origins take it.
fn is_stripped(crumb: &[u8], rules: &Cookies) -> bool {
    let name = crumb.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii_end();
    rules.strip.iter().any(|pattern| is_named(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn one_cookie_that_is_named_is_enough_to_go_past_the_cache() {
        let rules = Cookies { bypass: list(&["session", "wp_*"]), ..Cookies::default() };
        for (lines, expected) in [
            (&["a=1; session=x"][..], true),
            (&["a=1", "session="], true),
            (&["wp_logged_in=1"], true),
            (&["wp_=1"], true),
            (&["sessions=1; xsession=2; Session=3; wp=4"], false),
            (&["a=session"], false),
            (&[], false),
        ] {
            assert_eq!(bypasses(&jar(lines), &rules), expected, "{lines:?}");
            assert!(!bypasses(&jar(lines), &Cookies::default()));
        }
    }

    #[test]
    fn what_is_named_is_taken_out_and_the_rest_stays() {
        let some = list(&["_ga*", "id"]);
        let all = list(&["*"]);
        for (strip_list, lines, expected) in [
            (&some, &["_ga=1; lang=de; _gat=2; id=3"][..], &["lang=de"][..]),
            (&some, &["a=1;  b=2 ;", "id=4"], &["a=1; b=2"]),
            (&some, &["a=1;b=2"], &["a=1;b=2"]),
            (&some, &["a=1", "b=2"], &["a=1", "b=2"]),
            (&some, &["_ga=1"], &[]),
            (&some, &["id; ; a=b=c; id =5"], &["a=b=c"]),
            (&some, &["ID=1; ids=2"], &["ID=1; ids=2"]),
            (&all, &["a=1; b", "c=2"], &[]),
            (&all, &[" ; "], &[]),
            (&some, &[], &[]),
        ] {
            let mut headers = jar(lines);
            strip(&mut headers, &Cookies { strip: strip_list.clone(), ..Cookies::default() });
            assert_eq!(headers, jar(expected), "{lines:?}");
        }
    }
}
