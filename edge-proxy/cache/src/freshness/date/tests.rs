//! Tables, by section of the RFC.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::{REFERENCE, http_date, http_date_at};
use crate::time::Time;

#[test]
fn rfc9110_5_6_7_three_forms() {
    for text in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", " Sun Nov 06 08:49:37 1994\t"]
    {
        assert_eq!(http_date(text), Some(784_111_777), "{text}");
    }
    for (text, expected) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Tue, 19 Jan 2038 03:14:08 GMT", 1 << 31),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
        ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
        ("Fri, 31 Dec 1960 00:00:00 GMT", 0),
        ("Thu Aug  8 02:01:18 2050", 2_543_536_878),
    ] {
        assert_eq!(http_date(text), Some(expected), "{text}");
    }
}

#[test]
fn rfc9111_4_2_case_means_nothing_nor_does_a_wrong_day_name() {
    for text in
        ["sun, 06 NOV 1994 08:49:37 gmt", "SUNDAY, 06-nov-94 08:49:37 Gmt", "sUN nOV  6 08:49:37 1994", "Mon, 06 Nov 1994 08:49:37 GMT"]
    {
        assert_eq!(http_date(text), Some(784_111_777), "{text}");
    }
}

#[test]
fn rfc9111_4_2_a_leap_second_is_the_one_before_it() {
    assert_eq!(http_date("Sat, 31 Dec 2016 23:59:60 GMT"), http_date("Sat, 31 Dec 2016 23:59:59 GMT"));
}

#[test]
fn rfc9111_5_3_what_is_no_date() {
    for text in [
        "",
        "0",
        "-1",
        "now",
        "784111777",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06  Nov  1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 29 Feb 2001 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nuv 1994 08:49:37 GMT",
        "Sin, 06 Nov 1994 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sün, 06 Nov 1994 08:49:37 GM",
    ] {
        assert_eq!(http_date(text), None, "{text}");
    }
}

#[test]
fn rfc9110_5_6_7_a_year_of_two_digits_is_at_most_50_years_ahead() {
    let year = |text: &str, now: &str| {
        let now = Time(http_date(now).unwrap() * 1_000);
        let read = http_date_at(&format!("Sunday, {text} 00:00:00 GMT"), now).unwrap();
        super::year_of(read)
    };
    let now = "Mon, 01 Jun 2026 00:00:00 GMT";
    for (text, expected) in [
        ("01-Jan-26", 2026),
        ("01-Jan-50", 2050),
        ("01-Jan-76", 2076),
        ("01-Jun-76", 2076),
        ("02-Jun-76", 1976),
        ("01-Jan-77", 1977),
        ("01-Jan-99", 1999),
    ] {
        assert_eq!(year(text, now), expected, "{text}");
    }
    assert_eq!(year("01-Jan-10", "Fri, 01 Jan 2066 00:00:00 GMT"), 2110);
    assert_eq!(year("01-Jan-94", "Thu, 01 Jan 1970 00:00:00 GMT"), 1994);
}

#[test]
fn the_reference_is_the_first_moment_of_2026() {
    assert_eq!(http_date("Thu, 01 Jan 2026 00:00:00 GMT"), Some(REFERENCE.seconds()));
}

proptest! {
    /// Another parser agrees on every date it can write.
    #[test]
    fn every_second_is_read_back(seconds in 0..253_402_300_799_u64) {
        prop_assert_eq!(http_date(&httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))), Some(seconds));
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,40}", almost in "[A-Za-z]{3,9},? [0-9]{0,2}[- ][A-Z][a-z]{2}[- ][0-9]{0,5} [0-9:]{0,9} GMT", now in any::<u64>()) {
        let _ = http_date_at(&text, Time(now));
        let _ = http_date_at(&almost, Time(now));
        let _ = http_date_at("Monday, 29-Feb-00 00:00:00 GMT", Time(now));
    }
}
