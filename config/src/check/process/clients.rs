//! Where an edge stands, what it measures of its clients, and what it can do for them: whether that can be.

use super::within;
use crate::check::fault::Findings;
use crate::limits::BANDWIDTH_MIN;
use crate::process::{Edge, Location, Measuring};
use crate::units::BitRate;

pub(super) fn check(edge: &Edge, findings: &mut Findings) {
    if let Some(Location { latitude, longitude }) = edge.location.filter(|location| !location.is_on_earth()) {
        let says = "is no place; write [latitude, longitude] in degrees, -90 to 90 and -180 to 180, such as [52.52, 13.41]";
        findings.add("location", format!("[{latitude}, {longitude}] {says}"));
    }
    within(edge.measuring.keep, "measuring.keep", Measuring::KEEP_MIN, Measuring::KEEP_MAX, findings);
    if let Some(bandwidth) = edge.capacity.bandwidth.filter(|bandwidth| bandwidth.0 < BANDWIDTH_MIN) {
        let says = format!("\"{bandwidth}\" is too little for an edge; write at least \"{}\", such as \"10Gbit\"", BitRate(BANDWIDTH_MIN));
        findings.add("capacity.bandwidth", says);
    }
}
