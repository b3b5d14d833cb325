//! HTTP dates (RFC 9110 section 5.6.7).
//!
//! All three forms, in any case (RFC 9111 section 4.2), with the day of the week not compared with the date: senders get it wrong and it
//! tells nothing more. Anything else is no date: a zone other than GMT, a missing comma, one digit where there are two.

use crate::time::Time;

/// 2026-01-01: what years of two digits are measured from where no time is given.
pub(super) const REFERENCE: Time = Time(1_767_225_600_000);

/// How far ahead a year of two digits may be.
const AHEAD_YEARS_MAX: u64 = 50;

/// Seconds since the epoch of an HTTP date, with years of two digits read as of 2026. 0 for what is before the epoch.
///
/// For validators, which are compared with each other; what a lifetime or an age depends on is read by [`http_date_at`].
#[must_use]
pub fn http_date(text: &str) -> Option<u64> {
    http_date_at(text, REFERENCE)
}

/// Seconds since the epoch of an HTTP date as read at `now`: a year of two digits that appears to be more than 50 years ahead is the past
/// one that ends so.
#[must_use]
pub fn http_date_at(text: &str, now: Time) -> Option<u64> {
    let text = text.trim_matches([' ', '\t']).as_bytes();
    fixdate(text).or_else(|| rfc850(text, now)).or_else(|| asctime(text))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn fixdate(text: &[u8]) -> Option<u64> {
    let (day_name, rest) = text.split_at_checked(3)?;
    is_one_of(day_name, &DAYS, 3).then_some(())?;
    let rest: &[u8; 26] = rest.try_into().ok()?;
    let (b',', b' ', b' ', b' ', b' ', b' ') = (rest[0], rest[1], rest[4], rest[8], rest[13], rest[22]) else { return None };
    is_gmt(&rest[23..]).then_some(())?;
    seconds(digits(&rest[9..13])?, month(&rest[5..8])?, digits(&rest[2..4])?, &rest[14..22])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc850(text: &[u8], now: Time) -> Option<u64> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    let (day_name, rest) = text.split_at(comma);
    is_one_of(day_name, &DAYS, usize::MAX).then_some(())?;
    let rest: &[u8; 24] = rest.try_into().ok()?;
    let (b' ', b'-', b'-', b' ', b' ') = (rest[1], rest[4], rest[8], rest[11], rest[20]) else { return None };
    is_gmt(&rest[21..]).then_some(())?;
    let (day, month, short) = (digits(&rest[2..4])?, month(&rest[5..8])?, digits(&rest[9..11])?);
    let this_year = year_of(now.seconds());
    let read = |year| seconds(year, month, day, &rest[12..20]);
    let mut year = (this_year + AHEAD_YEARS_MAX) / 100 * 100 + short;
    // In the last year that may be, what is later in the year than now is too far ahead.
    let later = || read(this_year).is_some_and(|at| at > now.seconds());
    if year > this_year + AHEAD_YEARS_MAX || (year == this_year + AHEAD_YEARS_MAX && later()) {
        year -= 100;
    }
    read(year)
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(text: &[u8]) -> Option<u64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let (b' ', b' ', b' ', b' ') = (text[3], text[7], text[10], text[19]) else { return None };
    is_one_of(&text[..3], &DAYS, 3).then_some(())?;
    let day = if text[8] == b' ' { digits(&text[9..10])? } else { digits(&text[8..10])? };
    seconds(digits(&text[20..])?, month(&text[4..7])?, day, &text[11..19])
}

const DAY: u64 = 86_400;
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MONTH_DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn is_one_of(text: &[u8], names: &[&str], letters: usize) -> bool {
    names.iter().any(|name| name.as_bytes()[..name.len().min(letters)].eq_ignore_ascii_case(text))
}

fn is_gmt(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"GMT")
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

/// The month, from 0.
fn month(text: &[u8]) -> Option<usize> {
    MONTHS.iter().position(|name| name.as_bytes().eq_ignore_ascii_case(text))
}

fn seconds(year: u64, month: usize, day: u64, time: &[u8]) -> Option<u64> {
    let leap_day = u64::from(month == 1 && is_leap(year));
    if day == 0 || day > MONTH_DAYS.get(month)? + leap_day {
        return None;
    }
    let &[h1, h0, b':', m1, m0, b':', s1, s0] = time else { return None };
    let (hour, minute, second) = (digits(&[h1, h0])?, digits(&[m1, m0])?, digits(&[s1, s0])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    let before: u64 = MONTH_DAYS[..month].iter().sum::<u64>() + u64::from(month > 1 && is_leap(year));
    let days = days_before(year) + before + day - 1;
    // A leap second is the one before it: the nearest time that is not later (RFC 9111 section 4.2).
    Some(days * DAY + hour * 3_600 + minute * 60 + second.min(59))
}

/// The days from the epoch to a year's first, 1970 or later.
fn days_before(year: u64) -> u64 {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The year of a time, at most 9999.
fn year_of(seconds: u64) -> u64 {
    let days = (seconds / DAY).min(days_before(10_000) - 1);
    // Never late: a year has at most 366 days.
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    year
}

#[cfg(test)]
mod tests;
