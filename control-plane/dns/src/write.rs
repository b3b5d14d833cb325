//! Writes the octets of a message: records behind a question, with the names of the zone compressed (RFC 1035 section 4.1.4).
//!
//! Owns where in a message a name stands that can be pointed to. Knows no zone and decides no outcome.

use crate::kind::Type;
use crate::name::{self, Name};
use crate::query::{CLASS_IN, HEADER_OCTETS, Query};
use crate::records::{Data, Set};

/// The octets of the largest message (RFC 1035 section 4.2.2).
pub const MESSAGE_OCTETS_MAX: usize = 65_535;
/// The largest offset that a pointer can name (RFC 1035 section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// The octets of a record with an IPv4 address behind a pointer.
const ADDRESS_RECORD_OCTETS: usize = 16;

/// The three sections of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Answers.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// Who owns a record.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The name that was asked for, letter case included.
    Asked,
    /// Another name.
    Name(&'a Name),
    /// The name that stands at an offset of the message.
    At(u16),
}

/// A message being written.
#[derive(Debug)]
pub struct Writer<'a> {
    octets: &'a mut Vec<u8>,
    /// The zone that the question is in, in octets, and where in the message it stands.
    zone: (usize, u16),
    section: Section,
    counts: [u16; 3],
    /// Whether a record was left out because the message would have been larger than any may be.
    is_over: bool,
}

impl<'a> Writer<'a> {
    /// Begins a message with the header and question of the query `raw`, which is read as `query`. `zone` is the name of a zone around the question;
    /// names in it are compressed.
    #[must_use]
    pub fn begin(octets: &'a mut Vec<u8>, raw: &[u8], query: &Query, zone: Option<&Name>) -> Self {
        octets.clear();
        octets.extend_from_slice(raw.get(..query.question_end).unwrap_or_default());
        let zone = zone.map_or(0, |zone| zone.octets().len());
        let at = (HEADER_OCTETS + query.name().len()).checked_sub(zone).and_then(|at| u16::try_from(at).ok());
        Self { octets, zone: (zone, at.unwrap_or(0)), section: Section::Answer, counts: [0; 3], is_over: false }
    }

    /// Goes on with a later section.
    pub fn section(&mut self, section: Section) {
        self.section = section;
    }

    /// How many records a section has.
    #[must_use]
    pub fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// The length of the message so far, in octets.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets.len()
    }

    /// Whether a record was left out because the message would have been larger than [`MESSAGE_OCTETS_MAX`].
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes away all sections from this one on, and what was written after the first `octets`.
    pub fn cut(&mut self, octets: usize, from: Section) {
        self.octets.truncate(octets);
        self.counts[from as usize..].fill(0);
    }

    /// The counts of the sections.
    #[must_use]
    pub fn counts(&self) -> [u16; 3] {
        self.counts
    }

    /// A record whose data is octets.
    pub fn record(&mut self, owner: Owner<'_>, record_type: Type, ttl_s: u32, data: &[u8]) {
        self.with(owner, record_type, ttl_s, |octets, _| octets.extend_from_slice(data));
    }

    /// A record whose data is a name, which may own the records that follow.
    pub fn name<'name>(&mut self, owner: Owner<'_>, record_type: Type, ttl_s: u32, name: &'name Name) -> Owner<'name> {
        let mut at = 0;
        self.with(owner, record_type, ttl_s, |octets, zone| {
            at = octets.len();
            put_name(octets, name, zone);
        });
        u16::try_from(at).ok().filter(|at| (1..=POINTER_MAX).contains(&usize::from(*at))).map_or(Owner::Name(name), Owner::At)
    }

    /// All records of a set.
    pub fn set(&mut self, owner: Owner<'_>, set: &Set) {
        set.data.iter().for_each(|data| self.data(owner, set.record_type, set.ttl_s, data));
    }

    /// A record with names in its data.
    pub fn data(&mut self, owner: Owner<'_>, record_type: Type, ttl_s: u32, data: &Data) {
        self.with(owner, record_type, ttl_s, |octets, zone| {
            octets.extend_from_slice(&data.before);
            data.names.iter().for_each(|name| put_name(octets, name, zone));
            octets.extend_from_slice(&data.after);
        });
    }

    /// A record whose data `put` writes; it is told the zone, for the names in it.
    fn with(&mut self, owner: Owner<'_>, record_type: Type, ttl_s: u32, put: impl FnOnce(&mut Vec<u8>, (usize, u16))) {
        let start = self.octets.len();
        self.octets.reserve(ADDRESS_RECORD_OCTETS);
        match owner {
            Owner::Asked => self.octets.extend_from_slice(&pointer(HEADER_OCTETS as u16)),
            Owner::At(at) => self.octets.extend_from_slice(&pointer(at)),
            Owner::Name(name) => put_name(self.octets, name, self.zone),
        }
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&record_type.0.to_be_bytes());
        fixed[2..4].copy_from_slice(&CLASS_IN.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl_s.to_be_bytes());
        self.octets.extend_from_slice(&fixed);
        let data_at = self.octets.len();
        put(self.octets, self.zone);
        let length = u16::try_from(self.octets.len() - data_at).ok().filter(|_| self.octets.len() <= MESSAGE_OCTETS_MAX);
        match (length, self.octets.get_mut(data_at - 2..data_at)) {
            (Some(length), Some(place)) => {
                place.copy_from_slice(&length.to_be_bytes());
                self.counts[self.section as usize] += 1;
            }
            _ => {
                self.octets.truncate(start);
                self.is_over = true;
            }
        }
    }
}

fn pointer(at: u16) -> [u8; 2] {
    (0xc000 | at).to_be_bytes()
}

/// A name; one in the zone of the question ends in a pointer to where the zone stands there.
fn put_name(octets: &mut Vec<u8>, name: &Name, (zone, at): (usize, u16)) {
    let whole = name.octets();
    let asked = octets.get(usize::from(at)..usize::from(at) + zone).unwrap_or_default();
    let is_in_zone = |suffix: &&[u8]| suffix.len() == zone && suffix.eq_ignore_ascii_case(asked);
    if usize::from(at) <= POINTER_MAX && name::suffixes(whole).find(is_in_zone).is_some() {
        octets.extend_from_slice(whole.get(..whole.len() - zone).unwrap_or_default());
        octets.extend_from_slice(&pointer(at));
    } else {
        octets.extend_from_slice(whole);
    }
}
