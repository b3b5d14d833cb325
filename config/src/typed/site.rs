//! How the tables of a site are read.

use super::read::{FromText, Reader, Typed, record};
use super::tree::{Kind, Node};
use crate::check::fault::quoted;
use crate::site::{
    AnswerTtl, Breaker, Cache, Cookies, Ejection, Fallback, ForwardedAs, Forwarding, Health, HttpVersion, Key, Lead, Match, Negative,
    Origin, OriginLimits, OriginServer, Pass, Query, RateBy, RateLimit, RequestDirectives, Retries, Route, RouteBy, RouteScheme, Rule,
    SetCookie, Shields, Site, between_bytes_timeout, check_fall, check_interval, check_rise, check_status, check_timeout, connect_timeout,
    first_byte_timeout, one, tls_timeout, yes,
};
use crate::status::StatusPattern;
use crate::units::Period;

record!(Site {
    name = "name": required("the name of the site, such as \"shop\""),
    hosts = "hosts": required("the host names of the site, such as [\"shop.example.com\"]"),
    regions = "regions": or(Vec::new()),
    origin = "origin": required("the table of the origin, with its urls"),
    shields = "shields": or(Shields::default()),
    cache = "cache": or(Cache::default()),
    pass = "pass": or(Pass::default()),
    rate_limits = "rate_limits": or(Vec::<RateLimit>::new()),
    forwarding = "forwarding": or(Forwarding::default()),
    route = "route": or(Route::default()),
} else Self {
    name: String::new(),
    hosts: Vec::new(),
    regions: Vec::new(),
    origin: Origin::stand_in(),
    shields: Shields::default(),
    cache: Cache::default(),
    pass: Pass::default(),
    rate_limits: Vec::new(),
    forwarding: Forwarding::default(),
    route: Route::default(),
});

record!(Origin {
    urls = "urls": or(Vec::new()),
    servers = "servers": or(Vec::<OriginServer>::new()),
    host_header = "host_header": optional,
    server_name = "server_name": optional,
    verify_tls = "verify_tls": or(yes()),
    ca = "ca": optional,
    client_certificate = "client_certificate": optional,
    client_key = "client_key": optional,
    http_version = "http_version": or(HttpVersion::default()),
    connect_timeout = "connect_timeout": or(connect_timeout()),
    tls_timeout = "tls_timeout": or(tls_timeout()),
    first_byte_timeout = "first_byte_timeout": or(first_byte_timeout()),
    between_bytes_timeout = "between_bytes_timeout": or(between_bytes_timeout()),
    total_timeout = "total_timeout": optional,
    limits = "limits": or(OriginLimits::default()),
    breaker = "breaker": or(Breaker::default()),
    retries = "retries": or(Retries::default()),
    ejection = "ejection": or(Ejection::default()),
    health = "health": optional,
} else Self {
    urls: Vec::new(),
    servers: Vec::new(),
    host_header: None,
    server_name: None,
    verify_tls: yes(),
    ca: None,
    client_certificate: None,
    client_key: None,
    http_version: HttpVersion::default(),
    connect_timeout: connect_timeout(),
    tls_timeout: tls_timeout(),
    first_byte_timeout: first_byte_timeout(),
    between_bytes_timeout: between_bytes_timeout(),
    total_timeout: None,
    limits: OriginLimits::default(),
    breaker: Breaker::default(),
    retries: Retries::default(),
    ejection: Ejection::default(),
    health: None,
});

record!(OriginServer {
    url = "url": required("the server, such as \"https://origin.example.net\""),
    weight = "weight": or(one()),
    group = "group": or(0),
    host_header = "host_header": optional,
    server_name = "server_name": optional,
} else Self { url: String::new(), weight: one(), group: 0, host_header: None, server_name: None });

record!(Health {
    path = "path": required("the path to ask for, such as \"/healthz\""),
    interval = "interval": or(check_interval()),
    timeout = "timeout": or(check_timeout()),
    status = "status": or(check_status()),
    rise = "rise": or(check_rise()),
    fall = "fall": or(check_fall()),
} else Self {
    path: String::new(),
    interval: check_interval(),
    timeout: check_timeout(),
    status: check_status(),
    rise: check_rise(),
    fall: check_fall(),
});

record!(Retries {
    percent = "percent": or(Self::default().percent),
    floor = "floor": or(Self::default().floor),
} else Self::default());

record!(Ejection {
    errors = "errors": or(Self::default().errors),
    percent = "percent": or(Self::default().percent),
    time = "time": or(Self::default().time),
} else Self::default());

record!(Breaker {
    errors = "errors": or(Self::default().errors),
    open = "open": or(Self::default().open),
    retry_after_max = "retry_after_max": or(Self::default().retry_after_max),
} else Self::default());

record!(OriginLimits {
    concurrent = "concurrent": or(Self::default().concurrent),
    queue = "queue": or(Self::default().queue),
    queue_time = "queue_time": or(Self::default().queue_time),
} else Self::default());

record!(Shields {
    names = "names": or(Vec::new()),
    regions = "regions": or(Vec::new()),
    lead = "lead": or(Lead::default()),
    fallback = "fallback": or(Fallback::default()),
} else Self::default());

record!(Cache {
    default_ttl = "default_ttl": or(Self::default().default_ttl),
    stale_while_revalidate = "stale_while_revalidate": or(Self::default().stale_while_revalidate),
    stale_if_error = "stale_if_error": or(Self::default().stale_if_error),
    ttls = "ttls": or(Vec::<AnswerTtl>::new()),
    negative = "negative": or(Negative::default()),
    object_max = "object_max": optional,
    cookies = "cookies": or(Cookies::default()),
    request_directives = "request_directives": or(RequestDirectives::default()),
    no_vary_search = "no_vary_search": or(Self::default().no_vary_search),
    deception_guard = "deception_guard": or(Self::default().deception_guard),
    show_key = "show_key": or(Self::default().show_key),
    hit_for_miss = "hit_for_miss": or(Self::default().hit_for_miss),
    key = "key": or(Key::default()),
    rules = "rules": or(Vec::<Rule>::new()),
} else Self::default());

record!(Pass {
    request_idle_timeout = "request_idle_timeout": or(Self::default().request_idle_timeout),
    request_timeout = "request_timeout": or(Self::default().request_timeout),
    websocket_idle_timeout = "websocket_idle_timeout": or(Self::default().websocket_idle_timeout),
    websocket_timeout = "websocket_timeout": or(Self::default().websocket_timeout),
    grpc_idle_timeout = "grpc_idle_timeout": or(Self::default().grpc_idle_timeout),
    grpc_timeout = "grpc_timeout": or(Self::default().grpc_timeout),
    events_idle_timeout = "events_idle_timeout": or(Self::default().events_idle_timeout),
    events_timeout = "events_timeout": or(Self::default().events_timeout),
} else Self::default());

record!(RateLimit {
    path = "path": optional,
    by = "by": or(RateBy::default()),
    requests = "requests": required("the requests allowed in a period, such as 100"),
    period = "period": required("the period, such as \"1m\""),
    burst = "burst": optional,
} else Self { path: None, by: RateBy::default(), requests: 1, period: Period::from_secs(1), burst: None });

record!(Forwarding {
    send = "send": or(Self::default().send),
    trust = "trust": or(Vec::new()),
} else Self::default());

record!(Route {
    by = "by": or(RouteBy::default()),
    scheme = "scheme": or(RouteScheme::default()),
} else Self::default());

record!(AnswerTtl {
    status = "status": or(Vec::new()),
    content_type = "content_type": or(Vec::new()),
    ttl = "ttl": required("the lifetime, such as \"10m\""),
} else Self { status: Vec::new(), content_type: Vec::new(), ttl: Period::default() });

record!(Negative {
    status = "status": or(Vec::new()),
    ttl = "ttl": or(Period::default()),
} else Self::default());

record!(Cookies {
    bypass = "bypass": or(Vec::new()),
    strip = "strip": or(Vec::new()),
    set_cookie = "set_cookie": or(SetCookie::default()),
} else Self::default());

record!(Rule {
    matches = "match": or(Match::default()),
    bypass = "bypass": or(false),
    ttl = "ttl": optional,
    stale_while_revalidate = "stale_while_revalidate": optional,
    stale_if_error = "stale_if_error": optional,
    ttls = "ttls": optional,
    negative = "negative": optional,
    object_max = "object_max": optional,
    cookies = "cookies": optional,
    request_directives = "request_directives": optional,
    key = "key": optional,
} else Self::default());

record!(Match {
    path = "path": optional,
    host = "host": optional,
    header = "header": optional,
    cookie = "cookie": optional,
} else Self::default());

record!(Key {
    scheme = "scheme": or(yes()),
    host = "host": optional,
    query = "query": optional,
    headers = "headers": or(Vec::new()),
    cookies = "cookies": or(Vec::new()),
    device = "device": or(false),
    country = "country": or(false),
} else Self::default());

record!(Query {
    keep = "keep": optional,
    drop = "drop": optional,
    sort = "sort": or(false),
} else Self::default());

impl FromText for RequestDirectives {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"ignore\" or \"obey\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "ignore" => Ok(Self::Ignore),
            "obey" => Ok(Self::Obey),
            _ => Err(format!("{} is unknown; write \"ignore\" or \"obey\"", quoted(text))),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for SetCookie {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"refuse\", \"store\" or \"strip\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "store" => Ok(Self::Store),
            "strip" => Ok(Self::Strip),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for HttpVersion {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"auto\", \"1.1\" or \"2\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "1.1" => Ok(Self::Http1),
            "2" => Ok(Self::Http2),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for Lead {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"key\" or \"auto\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "key" => Ok(Self::Key),
            "auto" => Ok(Self::Auto),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for Fallback {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"origin\" or \"fail\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "origin" => Ok(Self::Origin),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for RouteBy {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"latency\" or \"path\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "latency" => Ok(Self::Latency),
            "path" => Ok(Self::Path),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for RouteScheme {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"https\" or \"http\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "https" => Ok(Self::Https),
            "http" => Ok(Self::Http),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl FromText for ForwardedAs {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = "\"x-forwarded\" or \"forwarded\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "x-forwarded" => Ok(Self::XForwarded),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err(format!("{} is unknown; write {}", quoted(text), Self::WRITE)),
        }
    }

    fn stand_in() -> Self {
        Self::XForwarded
    }
}

impl FromText for RateBy {
    const WHAT: &'static str = "a text";
    const WRITE: &'static str = Self::WRITE;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn stand_in() -> Self {
        Self::default()
    }
}

impl Typed for StatusPattern {
    fn read(node: &Node, path: &str, reader: &mut Reader) -> Self {
        let read = match &node.kind {
            Kind::Text(text) | Kind::Number(text) => text.parse(),
            _ => Err(format!("{}, not a status; write one such as 404, or a class such as \"4xx\"", node.spoken())),
        };
        read.unwrap_or_else(|says| {
            reader.fault(path, node.at, says);
            <Self as Typed>::stand_in()
        })
    }

    fn stand_in() -> Self {
        Self::One(404)
    }
}
