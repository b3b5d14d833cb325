//! What an operator declared of DNS, as it is answered from: records of the zone, and limits.

use skerry_config::process::{Dns, DnsLimits, RecordData};
use skerry_dns::limit::Limits;
use skerry_dns::state::{Data, Record};

/// The declared records. A value that says nothing is left out with a warning; checks let none through.
pub(crate) fn records(dns: &Dns) -> Vec<Record> {
    let of = |record: &skerry_config::process::DnsRecord| {
        let data = record.values.iter().filter_map(|value| match record.data(value) {
            Ok(data) => Some(data),
            Err(why) => {
                tracing::warn!(name = record.name, value, why, "a declared record is left out");
                None
            }
        });
        data.map(|data| Record { name: record.name.clone(), ttl: record.ttl.0, data: data_of(data) }).collect::<Vec<_>>()
    };
    dns.records.iter().flat_map(of).collect()
}

fn data_of(data: RecordData) -> Data {
    match data {
        RecordData::A(address) => Data::Address(address.into()),
        RecordData::Aaaa(address) => Data::Address(address.into()),
        RecordData::Cname(name) => Data::Cname(name),
        RecordData::Txt(text) => Data::Txt(text),
        RecordData::Mx { preference, exchange } => Data::Mx { preference, exchange },
        RecordData::Caa { critical, tag, value } => Data::Caa { critical, tag, value },
    }
}

/// The limits, as DNS has them.
pub(crate) fn limits(limits: &DnsLimits) -> Limits {
    Limits {
        same_per_second: limits.same_per_second,
        errors_per_second: limits.errors_per_second,
        all_per_second: limits.all_per_second,
        slip: limits.slip,
        exempt: limits.exempt.clone(),
        connections: limits.connections,
        connections_per_address: limits.connections_per_address,
    }
}
