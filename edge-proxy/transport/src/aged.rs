//! How old an answer is that one tier sends to the next, to the millisecond: `Age` counts whole seconds, and does not tell what of the time in which the
//! next tier waited is in it already.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// `900;took=3000`: the age when the head was sent, and how long the tier took to send it, in milliseconds. Believed of a shield alone.
pub const AGE_MS: HeaderName = HeaderName::from_static("skerry-age-ms");

/// What a tier says of the age of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// How old it was when its head was sent.
    pub age: Duration,
    /// The time from the request to then, which the age has in it as far as it belongs there.
    pub took: Duration,
}

impl Aged {
    /// Writes it into the head of an answer.
    pub fn write(self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(format!("{};took={}", self.age.as_millis(), self.took.as_millis())) {
            headers.insert(AGE_MS, value);
        }
    }

    /// Takes it out of the head of an answer, where it can be read.
    pub fn take(headers: &mut HeaderMap) -> Option<Self> {
        let value = headers.remove(AGE_MS)?;
        let (age, took) = value.to_str().ok()?.split_once(";took=")?;
        let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
        Some(Self { age: millis(age)?, took: millis(took)? })
    }

    /// How old the answer was when its head arrived, `waited` after it was asked for: only the way there and back comes on top.
    #[must_use]
    pub fn on_arrival(self, waited: Duration) -> Duration {
        self.age.saturating_add(waited.saturating_sub(self.took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_once() {
        let aged = Aged { age: Duration::from_millis(900), took: Duration::from_secs(3) };
        let mut headers = HeaderMap::new();
        aged.write(&mut headers);
        assert_eq!(headers[AGE_MS], "900;took=3000");
        assert_eq!((Aged::take(&mut headers), Aged::take(&mut headers)), (Some(aged), None));
        for nonsense in ["", "900", "900;took=", "-1;took=0", "1.5;took=2", "900; took=3000", "99999999999999999999;took=1"] {
            headers.insert(AGE_MS, HeaderValue::from_static(nonsense));
            assert_eq!((Aged::take(&mut headers), headers.len()), (None, 0), "{nonsense}");
        }
    }

    #[test]
    fn only_the_way_comes_on_top_of_an_age() {
        let millis = Duration::from_millis;
        let aged = Aged { age: millis(3_200), took: millis(3_000) };
        assert_eq!(aged.on_arrival(millis(3_040)), millis(3_240));
        // Two clocks may differ by a little.
        assert_eq!(aged.on_arrival(millis(2_990)), millis(3_200));
    }
}
