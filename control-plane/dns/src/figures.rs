//! What is counted about DNS service. Owns the names of the metrics; the loops count.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use crate::packet::{Dropped, Response, Transport};

/// The figures of one DNS service.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Queries answered, by transport and type.
    queries: IntCounterVec,
    /// Answers sent, by outcome.
    answers: IntCounterVec,
    /// Packets that got no answer, by reason.
    dropped: IntCounterVec,
    /// UDP answers cut to "ask over TCP".
    truncated: IntCounter,
    /// Queries that came with a client subnet.
    subnets: IntCounter,
    /// TCP connections that are open.
    pub connections: IntGauge,
    /// TCP connections closed at once because too many were open.
    pub connections_refused: IntCounter,
}

impl Figures {
    /// Registers the figures.
    ///
    /// # Errors
    /// One of the names is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vector = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let figures = Self {
            queries: vector("skerry_dns_queries_total", "DNS queries answered, by transport and type.", &["transport", "type"])?,
            answers: vector("skerry_dns_answers_total", "DNS answers sent, by outcome.", &["rcode"])?,
            dropped: vector("skerry_dns_dropped_total", "DNS packets that got no answer, by reason.", &["reason"])?,
            truncated: IntCounter::new("skerry_dns_truncated_total", "DNS answers over UDP cut to \"ask over TCP\".")?,
            subnets: IntCounter::new("skerry_dns_client_subnet_total", "DNS queries that came with a client subnet.")?,
            connections: IntGauge::new("skerry_dns_tcp_connections", "DNS connections over TCP that are open.")?,
            connections_refused: IntCounter::new(
                "skerry_dns_tcp_connections_refused_total",
                "DNS connections over TCP closed at once because too many were open.",
            )?,
        };
        registry.register(Box::new(figures.queries.clone()))?;
        registry.register(Box::new(figures.answers.clone()))?;
        registry.register(Box::new(figures.dropped.clone()))?;
        registry.register(Box::new(figures.truncated.clone()))?;
        registry.register(Box::new(figures.subnets.clone()))?;
        registry.register(Box::new(figures.connections.clone()))?;
        registry.register(Box::new(figures.connections_refused.clone()))?;
        Ok(figures)
    }

    /// Counts what became of one packet.
    pub fn count(&self, transport: Transport, outcome: Result<&Response, Dropped>) {
        let response = match outcome {
            Ok(response) => response,
            Err(dropped) => {
                let reason = match dropped {
                    Dropped::Short => "short",
                    Dropped::Response => "response",
                    Dropped::Unwritable => "unwritable",
                };
                self.dropped.with_label_values(&[reason]).inc();
                return;
            }
        };
        let transport = match transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        self.queries.with_label_values(&[transport, type_label(response.record_type)]).inc();
        self.answers.with_label_values(&[rcode_label(response.rcode)]).inc();
        self.truncated.inc_by(u64::from(response.truncated));
        self.subnets.inc_by(u64::from(response.subnet));
    }
}

/// The types that are told apart; a client must not be able to make series.
fn type_label(record_type: Option<RecordType>) -> &'static str {
    match record_type {
        Some(RecordType::A) => "A",
        Some(RecordType::AAAA) => "AAAA",
        Some(RecordType::HTTPS) => "HTTPS",
        Some(RecordType::CNAME) => "CNAME",
        Some(RecordType::NS) => "NS",
        Some(RecordType::SOA) => "SOA",
        Some(RecordType::TXT) => "TXT",
        Some(RecordType::ANY) => "ANY",
        Some(_) => "other",
        None => "unread",
    }
}

fn rcode_label(rcode: ResponseCode) -> &'static str {
    match rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::BADVERS => "BADVERS",
        _ => "other",
    }
}
