//! The class of a client's device, from what it says of itself.
//!
//! Four classes, the first that fits:
//!
//! 1. `bot`: the user agent names a crawler: a word that ends in `bot` (but for the phones called Cubot), `crawler` or `spider`, or one of
//!    the crawlers that call themselves otherwise. Programs such as curl are no crawlers.
//! 2. `desktop`: a television, whatever it is built on.
//! 3. `tablet`: an iPad, a Kindle, Firefox's word `Tablet`, or Android that does not say `Mobile`.
//! 4. `mobile`: `Sec-CH-UA-Mobile: ?1`, or `Mobi`, which every browser on a phone says (an iPhone too).
//! 5. `desktop`: everything else, a client that says nothing among them. So is an iPad that asks for desktop pages: it says it is a Macintosh.

use http::header::{HeaderMap, HeaderValue, USER_AGENT};

/// The longest part of a user agent that is looked at, in bytes.
const LOOKED_AT_MAX: usize = 1_024;

const CRAWLERS: &[&str] = &[
    "crawler",
    "spider",
    "slurp",
    "facebookexternalhit",
    "mediapartners-google",
    "bingpreview",
    "google-inspectiontool",
    "chrome-lighthouse",
    "headlesschrome",
];
const TELEVISIONS: &[&str] = &["android tv", "googletv", "smart-tv", "smarttv", "hbbtv", "bravia", "appletv"];
const TABLETS: &[&str] = &["ipad", "kindle", "silk/", "playbook", "tablet;"];

/// `bot`, `tablet`, `mobile` or `desktop`.
pub(crate) fn class(headers: &HeaderMap) -> &'static str {
    let agent = headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    let agent = String::from_utf8_lossy(&agent[..agent.len().min(LOOKED_AT_MAX)]).to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    let mobile = headers.get("sec-ch-ua-mobile").is_some_and(|mobile| mobile == "?1") || agent.contains("mobi");
    if says(CRAWLERS) || has_bot(&agent) {
        "bot"
    } else if says(TELEVISIONS) {
        "desktop"
    } else if says(TABLETS) && !(agent.contains("silk/") && mobile) || agent.contains("android") && !mobile {
        "tablet"
    } else if mobile {
        "mobile"
    } else {
        "desktop"
    }
}

/// Whether a word ends in `bot`.
fn has_bot(agent: &str) -> bool {
    agent.match_indices("bot").any(|(at, _)| {
        let ends = !agent[at + 3..].starts_with(|next: char| next.is_ascii_alphabetic());
        ends && !agent[..at].ends_with("cu")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(agent: &str, hint: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        for (name, value) in [("user-agent", agent), ("sec-ch-ua-mobile", hint)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        class(&headers)
    }

    #[test]
    fn user_agents_of_the_wild() {
        for (expected, hint, agent) in [
            (
                "desktop",
                "?0",
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            ),
            (
                "desktop",
                "",
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
            ),
            ("desktop", "", "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"),
            ("desktop", "", "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; Tablet PC 2.0)"),
            (
                "desktop",
                "",
                "Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/98.0.4758.102 Safari/537.36",
            ),
            ("desktop", "", "curl/8.5.0"),
            ("desktop", "", ""),
            (
                "mobile",
                "",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            ),
            (
                "mobile",
                "?1",
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
            ),
            ("mobile", "?1", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"),
            ("mobile", "", "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0"),
            (
                "mobile",
                "",
                "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/74.0.3729.157 Mobile Safari/537.36",
            ),
            ("mobile", "", "Opera/9.80 (J2ME/MIDP; Opera Mini/9.80; U; en) Presto/2.8.119 Version/11.10 Opera Mobi"),
            (
                "tablet",
                "",
                "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1",
            ),
            (
                "tablet",
                "?0",
                "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            ),
            ("tablet", "", "Mozilla/5.0 (Android 12; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0"),
            (
                "tablet",
                "",
                "Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/124.1.1 like Chrome/124.0.6367.82 Safari/537.36",
            ),
            ("bot", "", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
            (
                "bot",
                "?1",
                "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)",
            ),
            ("bot", "", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
            ("bot", "", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
            ("bot", "", "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"),
        ] {
            assert_eq!(of(agent, hint), expected, "{agent} {hint}");
        }
    }

    #[test]
    fn what_is_no_text_is_a_desktop() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_bytes(&[0xff; 3_000]).unwrap());
        assert_eq!(class(&headers), "desktop");
    }
}
