//! What side-by-side runs measured.

mod spread;

pub use self::spread::{OTHERS_MAX_PERCENT, SPREAD_MAX_PERCENT, Spread};
