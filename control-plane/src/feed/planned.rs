//! What is planned for a client prefix as a row of the zone: a key of nine bytes, and a value of at most 41.
//!
//! These rows are in bytes rather than in JSON, because there are a million of them. What a plan has beside them is in rows like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skerry_dns::plan::{Difference, Geography, Network, Node, Plan, RANKED_MAX, Ranked, Row, Summary, Why};
use skerry_dns::prefix::Prefix;

use super::rows::Edit;

/// The first byte of a key; no other kind of row has it.
const KEY: u8 = 0;

/// Bytes of a ranked node: its number, the latency, how sure that is.
const RANKED_BYTES: usize = 5;

/// Why a node is first, by the byte that stands for it.
const WHY: [Why; 4] = [Why::Measured, Why::Estimated, Why::Held, Why::Spilled];

/// What a plan has once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    made: f64,
    geography: Geography,
    summary: Summary,
}

/// What a plan has beside its rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    pub(super) head: Head,
    /// By number.
    pub(super) nodes: BTreeMap<u16, Node>,
    pub(super) networks: BTreeMap<u32, Network>,
}

impl Head {
    pub(super) fn of(plan: &Plan) -> Self {
        Self { made: plan.made, geography: plan.geography, summary: plan.summary }
    }
}

impl Beside {
    /// The plan with what is here beside its rows, these of which are other ones, and those of `gone` none any more.
    pub(crate) fn around(self, plan: &Arc<Plan>, rows: Vec<Row>, gone: Vec<Prefix>) -> Arc<Plan> {
        let Self { head: Head { made, geography, summary }, nodes, networks } = self;
        let networks_gone = plan.networks.keys().filter(|number| !networks.contains_key(number)).copied().collect();
        let networks = networks.into_iter().filter(|(number, network)| plan.networks.get(number) != Some(network)).collect();
        let nodes = by_number(nodes);
        Arc::new(plan.after(&Difference { made, nodes, geography, summary, networks, networks_gone, rows, gone }))
    }
}

/// Nodes in the places that their numbers say. The place of one that could not be read is held by one that is called nothing.
fn by_number(mut nodes: BTreeMap<u16, Node>) -> Vec<Node> {
    let nobody = || Node { name: String::new(), price_ms: 0.0, utilization: None };
    let end = nodes.last_key_value().map_or(0, |(last, _)| u32::from(*last) + 1);
    (0..end).filter_map(|number| u16::try_from(number).ok()).map(|number| nodes.remove(&number).unwrap_or_else(nobody)).collect()
}

/// The key of a prefix.
pub(crate) fn key(prefix: Prefix) -> Vec<u8> {
    let mut key = vec![KEY];
    key.extend_from_slice(&prefix.packed().to_be_bytes());
    key
}

/// The prefix of a key; `None` when it is that of another kind of row.
pub(crate) fn prefix(key: &[u8]) -> Option<Prefix> {
    let packed = key.strip_prefix(&[KEY])?;
    let prefix = Prefix::unpacked(u64::from_be_bytes(packed.try_into().ok()?));
    (prefix.packed().to_be_bytes() == packed).then_some(prefix)
}

/// Whether a key is of this kind of row.
pub(crate) fn is_key(key: &[u8]) -> bool {
    key.first() == Some(&KEY)
}

/// What is planned for a prefix, without it.
pub(crate) fn value(row: &Row) -> Vec<u8> {
    let mut value = Vec::with_capacity(3 + RANKED_MAX * RANKED_BYTES + 6);
    value.push(WHY.iter().zip(0..).find(|(why, _)| **why == row.why).map_or(1, |(_, byte)| byte));
    value.push(row.ttl_s);
    value.push(u8::try_from(row.ranked().count()).unwrap_or_default());
    for Ranked { node, ms, spread_ms } in row.ranked() {
        value.extend_from_slice(&node.to_be_bytes());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rows have whole tenths and whole ms, within these types"
        )]
        let (tenths, spread) = ((ms * 10.0).round() as u16, spread_ms.round() as u8);
        value.extend_from_slice(&tenths.to_be_bytes());
        value.push(spread);
    }
    if let Some((node, until)) = row.trial(0.0) {
        value.extend_from_slice(&node.to_be_bytes());
        value.extend_from_slice(&until.to_be_bytes());
    }
    value
}

/// A row as an edit that puts it.
pub(crate) fn edit(row: &Row) -> Edit {
    (key(row.prefix), Some(value(row)))
}

/// The row of a prefix; `None` when the value says something else.
pub(crate) fn row(prefix: Prefix, value: &[u8]) -> Option<Row> {
    let (&[why, ttl_s, count], rest) = value.split_first_chunk::<3>()?;
    let why = *WHY.get(usize::from(why))?;
    let count = Some(usize::from(count)).filter(|count| *count <= RANKED_MAX)?;
    let (ranked, trial) = rest.split_at_checked(count * RANKED_BYTES)?;
    let ranked = ranked.chunks_exact(RANKED_BYTES).filter_map(|bytes| {
        let &[node_high, node_low, ms_high, ms_low, spread] = bytes else { return None };
        let ms = f32::from(u16::from_be_bytes([ms_high, ms_low])) / 10.0;
        Some(Ranked { node: u16::from_be_bytes([node_high, node_low]), ms, spread_ms: f32::from(spread) })
    });
    let trial = match trial.split_first_chunk::<2>() {
        None if trial.is_empty() => None,
        None => return None,
        Some((node, until)) => Some((u16::from_be_bytes(*node), u32::from_be_bytes(until.try_into().ok()?))),
    };
    Some(Row::new(prefix, ranked).with(why, ttl_s).trying(trial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_its_bytes_say_and_other_bytes_are_none() {
        for (net, nodes, trial) in [("10.1.2.0/24", 6_u16, Some((3, 1_900_000_000))), ("2001:db8::/48", 1, None), ("10.0.0.0/8", 0, None)] {
            let net: ipnet::IpNet = net.parse().unwrap();
            let ranked = (0..nodes).map(|node| Ranked { node, ms: f32::from(node) * 7.3 + 0.1, spread_ms: f32::from(node) });
            for why in WHY {
                let planned = Row::new(Prefix::of(net.addr(), net.prefix_len()), ranked.clone()).with(why, 20).trying(trial);
                let (key, value) = (key(planned.prefix), value(&planned));
                assert!(is_key(&key) && value.len() <= 41, "{}", value.len());
                assert_eq!(row(prefix(&key).unwrap(), &value), Some(planned));
                for end in 0..value.len() {
                    assert_ne!(row(planned.prefix, &value[..end]), Some(planned), "cut at {end}");
                }
            }
        }
        let some = Prefix::of("10.1.2.0".parse().unwrap(), 24);
        for wrong in [&[][..], &[9, 0, 0], &[0, 0, 7], &[0, 0, 1, 0, 0], &[0, 0, 0, 1]] {
            assert_eq!(row(some, wrong), None, "{wrong:?}");
        }
        for wrong in [&b""[..], b"settings", &[0], &[0; 10], &[0, 255, 255, 255, 255, 255, 255, 255, 24]] {
            assert_eq!(prefix(wrong), None, "{wrong:?}");
        }
    }
}
