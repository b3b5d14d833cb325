//! Values with a unit, as an operator writes them: `"30s"`, `"256MiB"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::check::fault::quoted;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest period accepted: ten years. RFC 9111 section 1.2.2 allows a cache to cap delta-seconds.
pub const PERIOD_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A length of time, written as a number and a unit: `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// A number of bytes, written as a number and a unit: `B`, `KiB`, `MiB`, `GiB`, `TiB`, or the decimal `kB`, `MB`, `GB`, `TB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Bits in a second, written as a number and a unit: `kbit`, `Mbit`, `Gbit`, `Tbit`, all decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(pub u64);

const PERIOD_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const BIT_UNITS: &[(&str, u64)] = &[("bit", 1), ("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000), ("Tbit", 1_000_000_000_000)];

impl Period {
    /// A period of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Size {
    /// A size of whole mebibytes.
    #[must_use]
    pub const fn from_mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{} is not a duration; write a whole number and a unit, such as \"500ms\", \"30s\", \"5m\", \"1h\" or \"7d\"",
                quoted(text)
            )
        };
        let millis = scaled(text, PERIOD_UNITS).ok_or_else(wrong)?;
        let period = Duration::from_millis(millis);
        if period > PERIOD_MAX {
            return Err(format!("{} is longer than ten years; write at most \"3660d\"", quoted(text)));
        }
        Ok(Self(period))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, SIZE_UNITS).map(Self).ok_or_else(|| {
            format!("{} is not a size; write a whole number and a unit, such as \"64KiB\", \"256MiB\" or \"10GB\"", quoted(text))
        })
    }
}

impl FromStr for BitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, BIT_UNITS).map(Self).ok_or_else(|| {
            format!("{} is not a bandwidth; write a whole number and a unit, such as \"500Mbit\" or \"10Gbit\"", quoted(text))
        })
    }
}

/// The number in `text` times the factor of its unit; `None` when either is missing, unknown or too large.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.checked_mul(*factor)
}

/// The value in the largest unit that divides it.
fn shortest(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) =
        units.iter().filter(|(_, factor)| value.is_multiple_of(*factor)).max_by_key(|(_, factor)| *factor).copied().unwrap_or(units[0]);
    format!("{}{name}", value / factor)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        f.write_str(&shortest(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), PERIOD_UNITS))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0B");
        }
        f.write_str(&shortest(self.0, &SIZE_UNITS[..5]))
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shortest(self.0, if self.0 == 0 { &BIT_UNITS[..1] } else { BIT_UNITS }))
    }
}

macro_rules! as_text {
    ($type:ty, $name:literal, $pattern:literal, $says:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $says })
            }
        }
    };
}

as_text!(Period, "Period", "^[0-9]+ *(ms|s|m|h|d)$", "A whole number and a unit: ms, s, m, h or d, such as \"30s\".");
as_text!(
    Size,
    "Size",
    "^[0-9]+ *(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$",
    "A whole number and a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB or TB, such as \"256MiB\"."
);
as_text!(BitRate, "BitRate", "^[0-9]+ *(bit|kbit|Mbit|Gbit|Tbit)$", "Bits in a second: a whole number and a unit, such as \"10Gbit\".");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        for (text, millis) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("5 m", 300_000), ("1h", 3_600_000), ("3660d", 316_224_000_000)]
        {
            assert_eq!(text.parse(), Ok(Period(Duration::from_millis(millis))), "{text}");
        }
        for (text, bytes) in
            [("0B", 0), ("64KiB", 65_536), ("10GB", 10_000_000_000), ("1 TiB", 1 << 40), ("18446744073709551615B", u64::MAX)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_other_units_signs_fractions_and_overflow() {
        for text in [
            "",
            "s",
            "30",
            "30S",
            "30 sec",
            "1w",
            "1.5s",
            "-1s",
            "+1s",
            " 1s",
            "1s ",
            "1h30m",
            "3661d",
            "18446744073709551615s",
            "99999999999999999999ms",
            "1µs",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text:?}");
        }
        for text in ["", "B", "1", "1K", "1kb", "1kiB", "1MIB", "1.5MiB", "-1B", "16777216TiB", "18446744073709551616B"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn writes_the_largest_unit_that_divides() {
        for (text, written) in [("60000ms", "1m"), ("90s", "90s"), ("48h", "2d"), ("0d", "0s"), ("1001ms", "1001ms")] {
            assert_eq!(text.parse::<Period>().unwrap().to_string(), written);
        }
        for (text, written) in [("1024B", "1KiB"), ("1000B", "1000B"), ("1024GiB", "1TiB"), ("0MiB", "0B")] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0u64..=316_224_000_000, bytes in any::<u64>()) {
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}", number in "[0-9]{1,25} ?(ms|s|m|h|d|B|KiB|TiB|TB)") {
            for text in [text, number] {
                if let Ok(period) = text.parse::<Period>() {
                    prop_assert!(period.0 <= PERIOD_MAX);
                }
                drop(text.parse::<Size>());
            }
        }
    }
}
