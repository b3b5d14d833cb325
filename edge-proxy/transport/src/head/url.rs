//! The head that a client would send for a URL, for requests that are only talked about.

use http::header::{HOST, HeaderName, HeaderValue};
use http::uri::Uri;
use pingora::http::RequestHeader;
use skerry_config::process::Limits;

use super::{Head, Refusal};

impl Head {
    /// The head of a GET of `url` with these header fields. A `Host` among them takes the place of the URL's, as with curl.
    ///
    /// # Errors
    /// One sentence: the URL is not an absolute one of http or https, a field is none, or a node would refuse such a request.
    pub fn of_url(url: &str, fields: &[(String, String)]) -> Result<Self, String> {
        let wrong = |why: &str| format!("the URL {url:?} {why}; write it as http://HOST/PATH or https://HOST/PATH");
        let uri: Uri = url.parse().map_err(|_| wrong("cannot be read"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("is neither http nor https")),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).filter(|authority| !authority.contains('@'));
        let authority = authority.ok_or_else(|| wrong("has no host, or a user"))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let mut request =
            RequestHeader::build("GET", target.as_bytes(), Some(fields.len() + 1)).map_err(|_| wrong("has no usable path"))?;
        let names_host = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(HOST.as_str()));
        let own_host = (HOST.as_str().to_owned(), authority.to_owned());
        for (name, value) in fields.iter().chain((!names_host).then_some(&own_host)) {
            let field = (HeaderName::from_bytes(name.as_bytes()).ok(), HeaderValue::from_bytes(value.as_bytes()).ok());
            let (Some(parsed), Some(value)) = field else {
                return Err(format!("{name:?} is not a header field; write it as 'Name: value'"));
            };
            request.append_header(parsed, value).map_err(|error| format!("the header field {name:?} cannot be used: {error}"))?;
        }
        // What may be asked differs from edge to edge; this is the most of all.
        let read = Self::read(&request, tls).and_then(|head| head.within(&Limits::between_tiers()).map(|()| head));
        read.map_err(|refusal| match refusal {
            Refusal::Host => wrong("names no host that a request can have"),
            Refusal::Target => wrong("has no usable path"),
            Refusal::TargetLength => wrong("is too long"),
            Refusal::HeadLength => "the header fields are too long".to_owned(),
            Refusal::Framing => "the header fields announce a body; leave Content-Length and Transfer-Encoding out".to_owned(),
            other => wrong(&format!("makes no request that a node would take: {}", other.text())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_url_is_read_as_a_client_sends_it() {
        for (url, scheme, authority, target) in [
            ("http://Shop.Example.com", "http", "shop.example.com", "/"),
            ("https://shop.example.com:443/a?b#c", "https", "shop.example.com", "/a?b"),
            ("http://shop.example.com:8080?b", "http", "shop.example.com:8080", "/?b"),
        ] {
            let head = Head::of_url(url, &[]).unwrap();
            assert_eq!((head.scheme, head.authority.as_str(), head.path_and_query.as_str()), (scheme, authority, target), "{url}");
        }
        let head = Head::of_url("http://127.0.0.1:1/", &fields(&[("host", "a.test"), ("X-A", "1"), ("connection", "x-a")])).unwrap();
        assert_eq!((head.host(), head.headers.len()), ("a.test", 0));
    }

    #[test]
    fn what_no_client_could_send_is_refused() {
        for url in ["", "/a", "shop.example.com/a", "ftp://a/", "http:///a", "http://me@a/", "http://a b/", "http://a:99999999/"] {
            let why = Head::of_url(url, &[]).unwrap_err();
            assert!(why.contains("http://HOST/PATH"), "{url}: {why}");
        }
        assert!(Head::of_url("http://a/", &fields(&[("a b", "1")])).unwrap_err().contains("is not a header field"));
        assert!(Head::of_url("http://a/", &fields(&[("a", "1\n2")])).unwrap_err().contains("is not a header field"));
        assert!(Head::of_url("http://a/", &fields(&[("content-length", "x")])).unwrap_err().contains("body"));
    }
}
