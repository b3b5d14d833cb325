//! The numbers of DNS that answers are made of: types of records, and outcomes.

/// The type of a record, or of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type(pub u16);

impl Type {
    /// IPv4 address (RFC 1035).
    pub const A: Self = Self(1);
    /// Name server (RFC 1035).
    pub const NS: Self = Self(2);
    /// Another name for the same (RFC 1035).
    pub const CNAME: Self = Self(5);
    /// Start of a zone (RFC 1035).
    pub const SOA: Self = Self(6);
    /// Host information (RFC 1035): the answer to ANY (RFC 8482).
    pub const HINFO: Self = Self(13);
    /// Mail exchange (RFC 1035).
    pub const MX: Self = Self(15);
    /// Text (RFC 1035).
    pub const TXT: Self = Self(16);
    /// IPv6 address (RFC 3596).
    pub const AAAA: Self = Self(28);
    /// EDNS (RFC 6891).
    pub const OPT: Self = Self(41);
    /// Service binding of HTTPS (RFC 9460).
    pub const HTTPS: Self = Self(65);
    /// The first of the types that are no records but what to do (RFC 6895 section 3.1).
    pub const FIRST_META: Self = Self(128);
    /// Transfer of what changed (RFC 1995).
    pub const IXFR: Self = Self(251);
    /// Transfer of a zone (RFC 5936).
    pub const AXFR: Self = Self(252);
    /// Whatever there is (RFC 8482).
    pub const ANY: Self = Self(255);
    /// Who may issue certificates (RFC 8659).
    pub const CAA: Self = Self(257);
}

/// An outcome (RFC 6895 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

impl Rcode {
    /// Fine, with records or without.
    pub const NOERROR: Self = Self(0);
    /// The query is malformed.
    pub const FORMERR: Self = Self(1);
    /// The answer could not be made.
    pub const SERVFAIL: Self = Self(2);
    /// There is no such name.
    pub const NXDOMAIN: Self = Self(3);
    /// What is asked for is not done here.
    pub const NOTIMP: Self = Self(4);
    /// Not ours to answer.
    pub const REFUSED: Self = Self(5);
    /// This version of EDNS is not spoken (RFC 6891 section 9).
    pub const BADVERS: Self = Self(16);
    /// The server's cookie is none that holds (RFC 7873 section 8).
    pub const BADCOOKIE: Self = Self(23);

    /// The four bits in the header.
    #[must_use]
    pub fn low(self) -> u8 {
        (self.0 & 0x0f) as u8
    }

    /// The eight bits in the OPT record.
    #[must_use]
    pub fn high(self) -> u8 {
        ((self.0 >> 4) & 0xff) as u8
    }
}
