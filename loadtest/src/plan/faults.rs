//! What is wrong with settings: collected, so that all of it is told at once.

use std::fmt::Display;

/// The faults that were found so far, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    /// Something that must hold, and what is wrong if it does not.
    pub(crate) fn must(&mut self, holds: bool, fault: impl Into<String>) {
        if !holds {
            self.0.push(fault.into());
        }
    }

    /// A value that must be within bounds, ends among them; what is no number is within none.
    pub(crate) fn within<T: PartialOrd + Display>(&mut self, name: &str, value: T, least: T, most: T) {
        let fits = least <= value && value <= most;
        self.must(fits, format!("{name} = {value} is not between {least} and {most}"));
    }

    /// What came of something; a fault is kept.
    pub(crate) fn found<T>(&mut self, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|fault| self.0.push(fault)).ok()
    }

    /// Nothing, if there is no fault.
    ///
    /// # Errors
    /// All of them, one a line.
    pub(crate) fn into_result(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("\n")) }
    }

    /// The same, each behind what all of them are of.
    ///
    /// # Errors
    /// All of them, one a line.
    pub(crate) fn into_result_of(self, what: &str) -> Result<(), String> {
        Self(self.0.into_iter().map(|fault| format!("{what}{fault}")).collect()).into_result()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_told() {
        let mut faults = Faults::default();
        assert_eq!(faults.clone().into_result(), Ok(()));
        faults.must(true, "nothing");
        faults.must(false, "a is wrong");
        faults.within("b", 2, 1, 2);
        faults.within("c", 3, 1, 2);
        faults.within("d", f64::NAN, 0.0, 1.0);
        assert_eq!(faults.found(Ok(1)), Some(1));
        assert_eq!(faults.found(Err::<(), _>("e is wrong".to_owned())), None);
        let said = ["a is wrong", "c = 3 is not between 1 and 2", "d = NaN is not between 0 and 1", "e is wrong"];
        assert_eq!(faults.clone().into_result(), Err(said.join("\n")));
        assert_eq!(faults.into_result_of("x: "), Err(said.map(|fault| format!("x: {fault}")).join("\n")));
    }
}
