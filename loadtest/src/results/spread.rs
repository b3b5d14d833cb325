//! Several values of the same thing: where their middle is, how far they are apart, and how far they may be.

/// The ratios of the rounds of one row may differ by so much, in percent of their median; beyond that the row is noise.
pub const SPREAD_MAX_PERCENT: f64 = 15.0;

/// What else ran on the machine may use so much in any round, in percent of one core; beyond that it was in the way.
pub const OTHERS_MAX_PERCENT: f64 = 20.0;

/// With fewer rounds than these, how far they are apart says nothing.
pub const ROUNDS_MIN: usize = 3;

/// The middle of some values, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of values; none of none.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (below, above) = (*values.get(values.len().saturating_sub(1) / 2)?, *values.get(values.len() / 2)?);
        Some(Self { min: *values.first()?, median: f64::midpoint(below, above), max: *values.last()? })
    }

    /// How far the ends are apart, in percent of the middle.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.max <= self.min {
            return 0.0;
        }
        if self.median > 0.0 { (self.max - self.min) * 100.0 / self.median } else { f64::INFINITY }
    }

    /// The same, if it is beyond so many percent.
    #[must_use]
    pub fn beyond(&self, percent: f64) -> Option<f64> {
        Some(self.percent()).filter(|apart| *apart > percent)
    }
}
