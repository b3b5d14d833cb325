//! What is learned, in octets: for a file, so that a restart of the control plane does not begin from nothing.
//!
//! Numbers are little-endian; a sum stands at the end. What is read is bounded and checked like anything from outside, and nothing of it that is old
//! counts: it is forgotten by the first plan.

use xxhash_rust::xxh3::xxh3_64;

use super::groups::{Group, PAIRS_MAX, Pair};
use super::table::{CHANGES_MAX, Entry, NOBODY, Place, SLOTS, Slot};
use super::{Learner, NodeKnown, PREFIXES_MAX, Settings};
use crate::plan::{Geography, NODES_MAX, Number};
use crate::prefix::Prefix;

/// What the octets begin with: the name and the version.
const HEAD: &[u8; 8] = b"skerryL3";
/// The version before, in which no number was without a node.
const HEAD_BEFORE: &[u8; 8] = b"skerryL2";
/// The octets of the sum.
const SUM: usize = 8;
/// The longest name of a node, in octets.
const NAME_OCTETS_MAX: usize = 255;

/// What is wrong with octets that are no learner.
const DAMAGED: &str = "what was learned cannot be read: it is cut off or damaged";

impl Learner {
    /// All that is learned. About 109 octets for each prefix and 22 for each pair of a group and a node.
    #[must_use]
    pub fn to_octets(&self) -> Vec<u8> {
        let mut out = Writer(HEAD.to_vec());
        out.number(self.nodes.len());
        for node in &self.nodes {
            let name = node.name.as_bytes();
            out.put(&[name.len().min(NAME_OCTETS_MAX) as u8]);
            out.put(&name[..name.len().min(NAME_OCTETS_MAX)]);
        }
        let Geography { base_ms, ms_per_km, spread_ms } = self.geography;
        [base_ms, ms_per_km, spread_ms].iter().for_each(|value| out.put(&value.to_le_bytes()));
        out.number(self.table.entries().len());
        self.table.entries().iter().for_each(|entry| entry_out(entry, self.clock as u32, &mut out));
        out.number(self.groups.all().count());
        for (group, pairs) in self.groups.all() {
            let (kind, key) = match group {
                Group::Neighbours(prefix) => (0, prefix.packed()),
                Group::Network(number) => (1, u64::from(*number)),
            };
            out.put(&[kind]);
            out.put(&key.to_le_bytes());
            out.number(pairs.len());
            for Pair { node, ms, km, variance, weight, at } in pairs {
                out.put(&node.to_le_bytes());
                [ms, km, variance, weight].iter().for_each(|value| out.put(&value.to_le_bytes()));
                out.put(&at.to_le_bytes());
            }
        }
        let sum = xxh3_64(&out.0);
        out.put(&sum.to_le_bytes());
        out.0
    }

    /// From what [`Learner::to_octets`] gave.
    ///
    /// # Errors
    /// A sentence: they are cut off, damaged, or of another version.
    pub fn from_octets(octets: &[u8], settings: Settings) -> Result<Self, String> {
        let (content, sum) = octets.split_last_chunk::<SUM>().ok_or(DAMAGED)?;
        if xxh3_64(content).to_le_bytes() != *sum {
            return Err(DAMAGED.to_owned());
        }
        let content = content
            .strip_prefix(HEAD)
            .or_else(|| content.strip_prefix(HEAD_BEFORE))
            .ok_or("what was learned is of another version of skerry")?;
        read(&mut Reader(content), settings).ok_or_else(|| DAMAGED.to_owned())
    }
}

/// A trial is not kept: what ends with it is the change back, which counts as if it were made now.
fn entry_out(entry: &Entry, now: u32, out: &mut Writer) {
    out.put(&entry.prefix.packed().to_le_bytes());
    let place = entry.location.degrees();
    out.put(&[u8::from(entry.is_placed) | u8::from(place.is_some()) << 1]);
    let (latitude, longitude) = place.unwrap_or_default();
    [latitude, longitude].iter().for_each(|value| out.put(&value.to_le_bytes()));
    [entry.network, entry.heard].iter().for_each(|value| out.put(&value.to_le_bytes()));
    [entry.rate, entry.slow_rate].iter().for_each(|value| out.put(&value.to_le_bytes()));
    [entry.held, entry.brought_by].iter().for_each(|number| out.put(&number.to_le_bytes()));
    let changes = if entry.trial == NOBODY { entry.change_times() } else { entry.change_times_with(now) };
    changes.iter().for_each(|at| out.put(&at.to_le_bytes()));
    for slot in &entry.slots {
        let (node, tenths, weight, at) = slot.parts();
        [node, tenths, weight].iter().for_each(|value| out.put(&value.to_le_bytes()));
        out.put(&at.to_le_bytes());
    }
}

fn read(input: &mut Reader<'_>, settings: Settings) -> Option<Learner> {
    let mut learner = Learner::new(settings);
    for _ in 0..input.number(NODES_MAX)? {
        let length = usize::from(input.array::<1>()?[0]);
        let name = std::str::from_utf8(input.take(length)?).ok()?.to_owned();
        learner.restore_number(name)?;
    }
    learner.geography = Geography { base_ms: input.real()?, ms_per_km: input.real()?, spread_ms: input.real()? };
    for _ in 0..input.number(PREFIXES_MAX)? {
        let prefix = Prefix::unpacked(u64::from_le_bytes(input.array()?));
        let entry = entry_in(prefix, input, &learner.nodes)?;
        if let Some(node) = learner.nodes.get_mut(usize::from(entry.brought_by)) {
            node.brought += 1;
        }
        learner.table.put(entry)?;
    }
    for _ in 0..input.number(PAIRS_MAX)? {
        let kind = input.array::<1>()?[0];
        let key = u64::from_le_bytes(input.array()?);
        let group = if kind == 0 { Group::Neighbours(Prefix::unpacked(key)) } else { Group::Network(u32::try_from(key).ok()?) };
        let pairs: Option<Vec<Pair>> = (0..input.number(NODES_MAX)?).map(|_| pair_in(input, &learner.nodes)).collect();
        learner.groups.put(group, pairs?)?;
    }
    input.0.is_empty().then_some(learner)
}

fn entry_in(prefix: Prefix, input: &mut Reader<'_>, nodes: &[NodeKnown]) -> Option<Entry> {
    let known = |number: Number| number == NOBODY || is_node(nodes, number);
    let mut entry = Entry::new(prefix, NOBODY);
    let flags = input.array::<1>()?[0];
    let place = (i16::from_le_bytes(input.array()?), i16::from_le_bytes(input.array()?));
    entry.is_placed = flags & 1 != 0;
    entry.location = Place::at((flags & 2 != 0).then_some(place));
    (entry.network, entry.heard) = (u32::from_le_bytes(input.array()?), u32::from_le_bytes(input.array()?));
    (entry.rate, entry.slow_rate) = (input.real()?, input.real()?);
    entry.held = Some(Number::from_le_bytes(input.array()?)).filter(|held| known(*held))?;
    entry.brought_by = Some(Number::from_le_bytes(input.array()?)).filter(|by| known(*by))?;
    let mut changes = [0; CHANGES_MAX];
    for at in &mut changes {
        *at = u32::from_le_bytes(input.array()?);
    }
    let mut slots = [Slot::EMPTY; SLOTS];
    for slot in &mut slots {
        let [node, tenths, weight] = [input.array()?, input.array()?, input.array()?].map(u16::from_le_bytes);
        *slot = Slot::of_parts(Some(node).filter(|node| known(*node))?, tenths, weight, u32::from_le_bytes(input.array()?));
    }
    Some(entry.restored(slots, changes))
}

/// Whether a number stands for a node.
fn is_node(nodes: &[NodeKnown], number: Number) -> bool {
    nodes.get(usize::from(number)).is_some_and(NodeKnown::is_someone)
}

fn pair_in(input: &mut Reader<'_>, nodes: &[NodeKnown]) -> Option<Pair> {
    let node = Some(Number::from_le_bytes(input.array()?)).filter(|node| is_node(nodes, *node))?;
    let [ms, km, variance, weight] = [input.real()?, input.real()?, input.real()?, input.real()?];
    Some(Pair { node, ms, km, variance, weight, at: u32::from_le_bytes(input.array()?) })
}

/// Octets that grow.
struct Writer(Vec<u8>);

impl Writer {
    fn put(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn number(&mut self, number: usize) {
        self.put(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
}

/// Octets that are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self, most: usize) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.array()?)).ok().filter(|number| *number <= most)
    }

    /// A number that is one, and not negative.
    fn real(&mut self) -> Option<f32> {
        Some(f32::from_le_bytes(self.array()?)).filter(|value| value.is_finite() && *value >= 0.0)
    }
}
