//! A change of the zone in pieces: on the side that sends it, and on the side that takes it.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use skerry_agent::wire::{ZONE_BLOCKS, ZONE_BYTES_MAX, ZONE_PART_BYTES_MAX, ZonePart, ZoneRow};
use skerry_dns::plan::{Difference, Row};
use skerry_dns::prefix::Prefix;

use super::rows::{self, Digests, Edit, ROWS_MAX};
use super::{Whole, planned};

/// What becomes of rows, one after another.
type Edits = Box<dyn Iterator<Item = Edit> + Send>;

/// A change on its way out, piece by piece; always at least one.
pub(crate) struct Pieces {
    number: u64,
    dropped: Vec<u32>,
    edits: Peekable<Edits>,
    is_whole: bool,
}

impl Pieces {
    /// What makes a zone of that which a node said it has; `None` when it is the same.
    pub(crate) fn after_hello(number: u64, told: &[u8], to: &Whole) -> Option<Self> {
        let mut digests = Digests::default();
        to.rows.iter().for_each(|(key, value)| digests.add(key, value));
        to.state.plan.rows().for_each(|row| digests.add(&planned::key(row.prefix), &planned::value(row)));
        let has = if told.is_empty() { Some(Digests::default()) } else { Digests::read(told) };
        // What is said in another way than ours is of another version, and not believed.
        let blocks = has.map_or_else(|| (0..ZONE_BLOCKS).collect(), |has| digests.differing(&has));
        let edits = to.rows.iter().filter(|(key, _)| blocks.contains(&rows::block(key)));
        let edits: Vec<Edit> = edits.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        let is_in = |row: &&Row| blocks.contains(&rows::block(&planned::key(row.prefix)));
        let planned: Vec<Row> = to.state.plan.rows().filter(is_in).copied().collect();
        let dropped: Vec<u32> = blocks.into_iter().filter_map(|block| u32::try_from(block).ok()).collect();
        (!dropped.is_empty())
            .then(|| Self::new(number, dropped, Box::new(edits.into_iter().chain(planned.into_iter().map(|row| planned::edit(&row))))))
    }

    /// What makes a zone of another; `None` when it is the same.
    pub(crate) fn between(number: u64, from: &Whole, to: &Whole) -> Option<Self> {
        let edits = rows::edits(&from.rows, &to.rows);
        let Difference { rows, gone, .. } = match Arc::ptr_eq(&from.state.plan, &to.state.plan) {
            true => Difference::default(),
            false => to.state.plan.since(&from.state.plan),
        };
        let is_same = edits.is_empty() && rows.is_empty() && gone.is_empty();
        let gone = gone.into_iter().map(|prefix| (planned::key(prefix), None));
        let planned = gone.chain(rows.into_iter().map(|row| planned::edit(&row)));
        (!is_same).then(|| Self::new(number, Vec::new(), Box::new(edits.into_iter().chain(planned))))
    }

    fn new(number: u64, dropped: Vec<u32>, edits: Edits) -> Self {
        Self { number, dropped, edits: edits.peekable(), is_whole: false }
    }
}

impl Iterator for Pieces {
    type Item = ZonePart;

    fn next(&mut self) -> Option<ZonePart> {
        if self.is_whole {
            return None;
        }
        let mut part = ZonePart { number: self.number, dropped: std::mem::take(&mut self.dropped), rows: Vec::new(), last: false };
        let mut bytes = 0;
        while bytes < ZONE_PART_BYTES_MAX
            && let Some((key, value)) = self.edits.next()
        {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            part.rows.push(ZoneRow { key: key.into(), value: value.map(Into::into) });
        }
        self.is_whole = self.edits.peek().is_none();
        part.last = self.is_whole;
        Some(part)
    }
}

/// A change on its way in.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    number: u64,
    bytes: usize,
    dropped: BTreeSet<usize>,
    edits: Vec<Edit>,
    planned: Vec<Row>,
    unplanned: Vec<Prefix>,
    unread: usize,
}

/// A change that came whole.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Its number in the stream.
    pub(crate) number: u64,
    /// Blocks of which every row goes first.
    pub(crate) dropped: BTreeSet<usize>,
    /// What becomes of rows after that; of two words about one row the last one counts.
    pub(crate) edits: Vec<Edit>,
    /// What is planned for prefixes, and those for which nothing is any more.
    pub(crate) planned: Vec<Row>,
    /// See there.
    pub(crate) unplanned: Vec<Prefix>,
    /// How many rows about prefixes this version could not read, as those of another may be: for them nothing is planned.
    pub(crate) unread: usize,
}

impl Pending {
    /// Takes a piece; the change, when that was its last one.
    ///
    /// # Errors
    /// One sentence, when it is no next piece, or the change is larger than a zone may be: a node that is connected anew is told the whole.
    pub(crate) fn take(&mut self, part: ZonePart) -> Result<Option<Change>, String> {
        if part.number == 0 || (self.number != 0 && part.number != self.number) {
            return Err(format!("a piece of change {} of the zone came in the middle of change {}", part.number, self.number));
        }
        self.number = part.number;
        for block in part.dropped {
            let block = usize::try_from(block).ok().filter(|block| *block < ZONE_BLOCKS);
            self.dropped.insert(block.ok_or_else(|| format!("the zone has {ZONE_BLOCKS} blocks, and another one was to be dropped"))?);
        }
        for ZoneRow { key, value } in part.rows {
            self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            let rows = self.edits.len() + self.planned.len() + self.unplanned.len() + self.unread;
            if key.is_empty() || rows >= ROWS_MAX || self.bytes > ZONE_BYTES_MAX {
                return Err(format!("a row has no key, or a change has more than {ROWS_MAX} rows or {ZONE_BYTES_MAX} bytes"));
            }
            if !planned::is_key(&key) {
                self.edits.push((key.to_vec(), value.map(|value| value.to_vec())));
                continue;
            }
            let Some(prefix) = planned::prefix(&key) else {
                self.unread += 1;
                continue;
            };
            match value.map(|value| planned::row(prefix, &value)) {
                Some(Some(row)) => self.planned.push(row),
                Some(None) => {
                    self.unread += 1;
                    self.unplanned.push(prefix);
                }
                None => self.unplanned.push(prefix),
            }
        }
        if !part.last {
            return Ok(None);
        }
        let Self { number, dropped, edits, planned, unplanned, unread, .. } = std::mem::take(self);
        Ok(Some(Change { number, dropped, edits, planned, unplanned, unread }))
    }
}

#[cfg(test)]
mod tests;
