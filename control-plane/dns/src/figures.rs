//! What is counted about DNS service. Owns the names of the metrics; the loops count.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::kind::{Rcode, Type};
use crate::packet::{Known, Response, Transport};
use crate::query::Silence;
use crate::steer::Reason;
use crate::zone::Zone;

/// The types that are told apart; a client must not be able to make series.
const TYPES: [(Type, &str); 10] = [
    (Type::A, "A"),
    (Type::AAAA, "AAAA"),
    (Type::HTTPS, "HTTPS"),
    (Type::CNAME, "CNAME"),
    (Type::NS, "NS"),
    (Type::SOA, "SOA"),
    (Type::TXT, "TXT"),
    (Type::CAA, "CAA"),
    (Type::MX, "MX"),
    (Type::ANY, "ANY"),
];
/// The types that are not, and those of queries that could not be read.
const TYPES_REST: [&str; 2] = ["other", "unread"];
/// The outcomes that are told apart.
const RCODES: [(Rcode, &str); 8] = [
    (Rcode::NOERROR, "NOERROR"),
    (Rcode::NXDOMAIN, "NXDOMAIN"),
    (Rcode::FORMERR, "FORMERR"),
    (Rcode::NOTIMP, "NOTIMP"),
    (Rcode::REFUSED, "REFUSED"),
    (Rcode::BADVERS, "BADVERS"),
    (Rcode::BADCOOKIE, "BADCOOKIE"),
    (Rcode::SERVFAIL, "SERVFAIL"),
];

/// What became of an answer that would have been too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// "Ask over TCP" was sent in its place.
    Slipped,
    /// Nothing was sent.
    Dropped,
}

/// The figures of one DNS service.
#[derive(Debug)]
pub struct Figures {
    /// Queries answered, by transport, type and outcome; made when they are first counted.
    queries: IntCounterVec,
    queries_made: Vec<OnceLock<IntCounter>>,
    /// Answers that name an edge, by edge and reason.
    steered: IntCounterVec,
    short: IntCounter,
    response: IntCounter,
    unsent: IntCounter,
    slipped: IntCounter,
    dropped: IntCounter,
    /// UDP answers cut to "ask over TCP" because of their size.
    truncated: IntCounter,
    /// Queries that came with a client subnet.
    subnets: IntCounter,
    cookies_asked: IntCounter,
    cookies_proven: IntCounter,
    /// TCP connections that are open.
    pub connections: IntGauge,
    /// TCP connections closed because too many were open, of all and of one address.
    pub connections_refused: [IntCounter; 2],
}

/// The counters of the edges of one zone, by their numbers in its state, and reason.
#[derive(Debug)]
pub struct Steered {
    made: Vec<OnceLock<IntCounter>>,
}

impl Figures {
    /// Registers the figures.
    ///
    /// # Errors
    /// One of the names is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vector = |name: &str, help: &str, labels: &[&str]| {
            let vector = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vector.clone()))?;
            Ok::<_, prometheus::Error>(vector)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let dropped = vector("skerry_dns_dropped_total", "DNS packets that got no answer, by reason.", &["reason"])?;
        let limited =
            vector("skerry_dns_limited_total", "DNS answers over UDP that were too many for their prefix, by what was sent.", &["sent"])?;
        let cookies = vector("skerry_dns_cookies_total", "DNS queries that came with a cookie, by whether it was proven.", &["proven"])?;
        let refused = vector(
            "skerry_dns_tcp_connections_refused_total",
            "DNS connections over TCP closed because too many were open, of all clients or of one address.",
            &["of"],
        )?;
        let connections = IntGauge::new("skerry_dns_tcp_connections", "DNS connections over TCP that are open.")?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self {
            queries: vector(
                "skerry_dns_queries_total",
                "DNS queries for which an answer was made, sent or not: by `transport` (`udp`, `tcp`), the `type` asked for (`A` and eight more by name, `ANY`, `other`; `unread` without a question that could be read) and the outcome `rcode`.",
                &["transport", "type", "rcode"],
            )?,
            queries_made: (0..2 * (TYPES.len() + TYPES_REST.len()) * (RCODES.len() + 1)).map(|_| OnceLock::new()).collect(),
            steered: vector(
                "skerry_dns_steered_total",
                "DNS answers with the addresses of edges, by the one named first and why it was.",
                &["node", "reason"],
            )?,
            short: dropped.with_label_values(&["short"]),
            response: dropped.with_label_values(&["response"]),
            unsent: dropped.with_label_values(&["unsent"]),
            slipped: limited.with_label_values(&["truncated"]),
            dropped: limited.with_label_values(&["nothing"]),
            truncated: counter("skerry_dns_truncated_total", "DNS answers over UDP cut to \"ask over TCP\" because of their size.")?,
            subnets: counter("skerry_dns_client_subnet_total", "DNS queries that came with a client subnet.")?,
            cookies_asked: cookies.with_label_values(&["no"]),
            cookies_proven: cookies.with_label_values(&["yes"]),
            connections,
            connections_refused: [refused.with_label_values(&["all"]), refused.with_label_values(&["address"])],
        })
    }

    /// The counters of a zone's edges.
    #[must_use]
    pub fn steered(zone: &Zone) -> Steered {
        Steered { made: (0..zone.state().edges.len() * Reason::ALL.len()).map(|_| OnceLock::new()).collect() }
    }

    /// Forgets what was counted of edges, by name. A loop that answers from the zone before may still count one of them.
    pub fn forget(&self, gone: &BTreeSet<String>) {
        for name in gone {
            for reason in Reason::ALL {
                // One that was never counted is not there to be removed.
                let _ = self.steered.remove_label_values(&[name, reason.word()]);
            }
        }
    }

    /// Counts a packet that got no answer.
    pub fn silent(&self, silence: Silence) {
        match silence {
            Silence::Short => self.short.inc(),
            Silence::Response => self.response.inc(),
        }
    }

    /// Counts an answer that the system did not take.
    pub fn unsent(&self) {
        self.unsent.inc();
    }

    /// Counts an answer that was made, sent or not.
    pub fn answered(&self, transport: Transport, response: &Response<'_>) {
        let of_transport = usize::from(transport == Transport::Tcp);
        let of_type = match response.record_type {
            Some(record_type) => TYPES.iter().position(|(known, _)| *known == record_type).unwrap_or(TYPES.len()),
            None => TYPES.len() + 1,
        };
        let of_rcode = RCODES.iter().position(|(known, _)| *known == response.rcode).unwrap_or(RCODES.len());
        let at = (of_transport * (TYPES.len() + TYPES_REST.len()) + of_type) * (RCODES.len() + 1) + of_rcode;
        if let Some(place) = self.queries_made.get(at) {
            place.get_or_init(|| self.queries.with_label_values(&labels(of_transport, of_type, of_rcode))).inc();
        }
        if response.truncated {
            self.truncated.inc();
        }
        if response.subnet {
            self.subnets.inc();
        }
        match response.cookie {
            Known::Without => {}
            Known::Asks => self.cookies_asked.inc(),
            Known::Proven => self.cookies_proven.inc(),
        }
    }

    /// Counts the edge that an answer names first.
    pub fn chosen(&self, steered: &Steered, zone: &Zone, response: &Response<'_>) {
        let Some((number, reason)) = response.chosen else { return };
        let (Some(place), Some(edge)) = (steered.made.get(number * Reason::ALL.len() + reason as usize), zone.state().edges.get(number))
        else {
            return;
        };
        place.get_or_init(|| self.steered.with_label_values(&[edge.name.as_str(), reason.word()])).inc();
    }

    /// Counts an answer that was not sent as it was.
    pub fn limited(&self, limited: Limited) {
        match limited {
            Limited::Slipped => self.slipped.inc(),
            Limited::Dropped => self.dropped.inc(),
        }
    }
}

fn labels(of_transport: usize, of_type: usize, of_rcode: usize) -> [&'static str; 3] {
    let transport = if of_transport == 0 { "udp" } else { "tcp" };
    let rest = of_type.checked_sub(TYPES.len()).and_then(|rest| TYPES_REST.get(rest)).copied();
    let of_type = TYPES.get(of_type).map(|(_, name)| *name).or(rest).unwrap_or("other");
    [transport, of_type, RCODES.get(of_rcode).map_or("other", |(_, name)| name)]
}
