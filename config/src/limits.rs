//! The bounds of what an operator may write, each with its unit. Past a bound there is a fault that names it.

use std::time::Duration;

/// Bytes of one file or API body.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Tables and lists inside each other.
pub const DEPTH_MAX: usize = 32;
/// Keys of one table in YAML and JSON.
pub const TABLE_KEYS_MAX: usize = 256;
/// Bytes that the anchors and aliases of one YAML file may add up to.
pub const YAML_EXPANDED_BYTES_MAX: usize = 8 << 20;
/// Faults told at once; the rest is counted.
pub const FAULTS_MAX: usize = 100;

/// Entries of one purge: URLs, prefixes, tags, hosts and sites together.
pub const PURGE_ENTRIES_MAX: u32 = 1_000;
/// Entries that one API token may purge in a second, or at once.
pub const PURGE_ENTRIES_RATE_MAX: u32 = 1_000_000;
/// Purges kept in the log.
pub const PURGES_KEPT_MAX: u32 = 1_000_000;

/// Sites in a document.
pub const SITES_MAX: usize = 10_000;
/// Shields in a document.
pub const SHIELDS_MAX: usize = 1_000;
/// Shields, or regions of shields, that one site names.
pub const SHIELDS_NAMED_MAX: usize = 64;
/// Regions in the fence of one site.
pub const FENCE_REGIONS_MAX: usize = 64;
/// Host names of one site.
pub const HOSTS_MAX: usize = 256;
/// Origin servers of one site.
pub const ORIGINS_MAX: usize = 16;
/// Rules of one site.
pub const RULES_MAX: usize = 256;
/// Bytes of a rule's path pattern.
pub const PATTERN_BYTES_MAX: usize = 1_024;
/// Request header fields in a key.
pub const KEY_HEADERS_MAX: usize = 16;
/// Query parameters in `keep` or `drop`.
pub const QUERY_NAMES_MAX: usize = 256;
/// Cookies in a key.
pub const KEY_COOKIES_MAX: usize = 16;
/// Lifetimes by answer in one list.
pub const TTLS_MAX: usize = 64;
/// Statuses, or media types, in one list.
pub const ANSWERS_MAX: usize = 64;
/// Patterns of cookies in one list.
pub const COOKIE_PATTERNS_MAX: usize = 64;
/// How long an uncacheable key is remembered.
pub const HIT_FOR_MISS_MAX: Duration = Duration::from_secs(3_600);
/// Bytes of a query parameter's name, a header field's name, a cookie's name or a media type.
pub const FIELD_NAME_BYTES_MAX: usize = 256;
/// Time allowed to connect.
pub const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Time allowed for the head of an answer, or between two pieces of its body.
pub const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// Requests that one origin server may be asked at once, or that may wait for it.
pub const ORIGIN_AT_ONCE_MAX: u32 = 65_536;
/// How long a request may wait for an origin server.
pub const ORIGIN_QUEUE_TIME_MAX: Duration = Duration::from_secs(300);

/// Errors in a row after which an origin server is left alone, or taken out of its pool.
pub const ORIGIN_ERRORS_MAX: u32 = 10_000;
/// How long it may be left alone after them at first.
pub const ORIGIN_OPEN_MAX: Duration = Duration::from_secs(300);
/// How long it may be left alone because it says so.
pub const ORIGIN_RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Retries in a minute beyond their share of requests.
pub const ORIGIN_RETRIES_MAX: u32 = 1_000;
/// How long an origin server may be taken out of its pool at first.
pub const ORIGIN_EJECTION_MAX: Duration = Duration::from_secs(300);

/// The weight of an origin server in its group.
pub const ORIGIN_WEIGHT_MAX: u32 = 1_000;
/// The last group of origin servers.
pub const ORIGIN_GROUP_MAX: u32 = 15;
/// The shortest time from one check of an origin server to the next.
pub const CHECK_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// The time that a check may take.
pub const CHECK_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Checks in a row that it may take to change what is thought of a server.
pub const CHECKS_IN_A_ROW_MAX: u32 = 100;
/// Bytes of the path of a check.
pub const CHECK_PATH_BYTES_MAX: usize = 1_024;
/// Bytes of PEM text in a site.
pub const PEM_BYTES_MAX: usize = 64 << 10;
/// Time allowed for a whole answer.
pub const TOTAL_TIMEOUT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// How long an exchange that is passed through may be allowed to be idle.
pub const PASS_IDLE_MAX: Duration = Duration::from_secs(86_400);
/// How long it may be allowed to take as a whole.
pub const PASS_TIME_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Rate limits of one site.
pub const RATE_LIMITS_MAX: usize = 16;
/// Requests that a rate limit may allow in its period, or at once.
pub const RATE_REQUESTS_MAX: u32 = 1_000_000;
/// The period of a rate limit.
pub const RATE_PERIOD_MAX: Duration = Duration::from_secs(86_400);

/// Bytes of a DNS name in text, without the dot at its end (RFC 1035 section 3.1).
pub const DNS_NAME_BYTES_MAX: usize = 253;
/// Bytes of a label (RFC 1035 section 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;
/// Lifetime of a DNS answer; the shortest is one second.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(86_400);
/// How long a stage of a rollout may be held.
pub const HOLD_MAX: Duration = Duration::from_secs(3_600);
/// Name servers of the zone.
pub const NAMESERVERS_MAX: usize = 16;
/// Declared records of the zone, by name and type.
pub const RECORDS_MAX: usize = 1_024;
/// Values of one of them.
pub const RECORD_VALUES_MAX: usize = 16;
/// Answers of DNS in a second to one prefix.
pub const DNS_RATE_MAX: u32 = 1_000_000;
/// Answers over a limit of which one is sent truncated.
pub const SLIP_MAX: u32 = 100;
/// Connections to DNS over TCP.
pub const DNS_CONNECTIONS_MAX: u32 = 65_536;
/// The largest share of clients that may be explored with, in percent: all others are to have the best.
pub const EXPLORE_PERCENT_MAX: u32 = 20;
/// Regions in the order, and regions with coverage.
pub const REGIONS_MAX: usize = 1_024;
/// Prefixes in the whole coverage.
pub const PREFIXES_MAX: usize = 100_000;
/// Names in the control plane's certificate.
pub const NAMES_MAX: usize = 64;
/// Addresses in a list: listeners of a kind, public addresses, addresses of a name server.
pub const ADDRESSES_MAX: usize = 16;
/// How long a node's certificate is valid at least; so little is for tests.
pub const CERTIFICATE_LIFE_MIN: Duration = Duration::from_secs(10);
/// How long at most.
pub const CERTIFICATE_LIFE_MAX: Duration = Duration::from_secs(3_650 * 86_400);
/// How long a node may be behind at least until that is told.
pub const BEHIND_MIN: Duration = Duration::from_secs(1);
/// How long at most.
pub const BEHIND_MAX: Duration = Duration::from_secs(86_400);
/// Certificates of an edge.
pub const CERTIFICATES_MAX: usize = 1_024;
/// Bytes of a join token.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Bytes of the smallest memory tier.
pub const MEMORY_BYTES_MIN: u64 = 1 << 20;
/// Bits in a second of the least bandwidth that an edge may be said to have.
pub const BANDWIDTH_MIN: u64 = 1_000_000;
/// Bytes of the smallest memory that a node may be limited to.
pub const MEMORY_LIMIT_MIN: u64 = 64 << 20;
/// Bytes of the smallest disk tier.
pub const DISK_BYTES_MIN: u64 = 64 << 20;
/// Bytes of the smallest slice.
pub const SLICE_BYTES_MIN: u64 = 256 << 10;
/// Bytes of the largest slice.
pub const SLICE_BYTES_MAX: u64 = 2 << 20;
/// Prefixes in which origins may be, beside the public internet.
pub const ORIGIN_PREFIXES_MAX: usize = 256;
/// Address ranges of load balancers of one listener.
pub const PROXIES_MAX: usize = 256;
/// The largest head of a request that may be allowed, in bytes. What an edge adds to it must still fit into the 64 KiB that a shield takes, or the
/// shield's refusal would pass for the origin's answer.
pub const HEAD_BYTES_MAX: u64 = 48 << 10;
/// The smallest that may be: browsers send half of it.
pub const HEAD_BYTES_MIN: u64 = 4 << 10;
/// The most header fields that may be allowed; the HTTP library takes no more.
pub const HEAD_FIELDS_MAX: u32 = 256;
/// The longest a client may be given for a handshake, a head, or between two requests, and the longest drain.
pub const CLIENT_TIME_MAX: Duration = Duration::from_secs(3_600);
/// The most requests at once that one HTTP/2 or HTTP/3 connection may be allowed.
pub const STREAMS_MAX: u32 = 1_024;
/// The most connections, or requests at once, that may be allowed.
pub const AT_ONCE_MAX: u32 = 1_000_000;
