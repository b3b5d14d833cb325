//! What the settings of the control plane mean together, but for those of DNS.

use std::net::IpAddr;

use super::{allowed, data, distinct, dns, many, within};
use crate::check::fault::{Findings, quoted};
use crate::check::names;
use crate::limits::{
    BEHIND_MAX, BEHIND_MIN, CERTIFICATE_LIFE_MAX, CERTIFICATE_LIFE_MIN, HOLD_MAX, NAMES_MAX, PURGE_ENTRIES_MAX, PURGE_ENTRIES_RATE_MAX,
    PURGES_KEPT_MAX,
};
use crate::process::{ApiTls, Control, Purges, Rollout};
use crate::units::Period;

pub(super) fn check(control: &Control, findings: &mut Findings) {
    data(&control.data, findings);
    let listen = &control.listen;
    let fixed = [("listen.api", listen.api), ("listen.nodes", listen.nodes), ("listen.dns", listen.dns)];
    distinct(&fixed.into_iter().chain(listen.route.map(|address| ("listen.route", address))).collect::<Vec<_>>(), findings);
    many(control.names.len(), NAMES_MAX, "names", findings);
    for (index, name) in control.names.iter().enumerate().take(NAMES_MAX) {
        if name.parse::<IpAddr>().is_err()
            && let Err(why) = names::host(name)
        {
            findings.add(format!("names[{index}]"), format!("{} {why}", quoted(name)));
        }
    }
    if control.names.is_empty() && listen.nodes.ip().is_unspecified() {
        let says = "missing; listen.nodes is a wildcard address, so write the names or addresses by which nodes reach it";
        findings.add_because("names", &["listen.nodes"], says);
    }
    dns::check(&control.dns, findings);
    rollout(&control.rollout, findings);
    purges(&control.purges, findings);
    if let Some(tls) = &control.api.tls {
        api_tls(tls, findings);
    }
    allowed(&control.webhooks.allow, "webhooks.allow", findings);
    within(control.certificates.life, "certificates.life", CERTIFICATE_LIFE_MIN, CERTIFICATE_LIFE_MAX, findings);
    within(control.alarm.behind, "alarm.behind", BEHIND_MIN, BEHIND_MAX, findings);
}

fn rollout(rollout: &Rollout, findings: &mut Findings) {
    if rollout.hold.0 > HOLD_MAX {
        findings.add(
            "rollout.hold",
            format!("\"{}\" is longer than a stage may be held; write at most \"{}\"", rollout.hold, Period(HOLD_MAX)),
        );
    }
    if rollout.requests_min == 0 {
        findings.add("rollout.requests_min", "0 requests say nothing; write at least 1");
    }
    for (path, percent) in [("errors_percent", rollout.errors_percent), ("hits_percent", rollout.hits_percent)] {
        if percent > 100 {
            findings.add(
                format!("rollout.{path}"),
                format!("{percent} is more than all requests; write at most 100, with which it is not compared"),
            );
        }
    }
}

fn purges(purges: &Purges, findings: &mut Findings) {
    for (name, value, least, most) in [
        ("rate", purges.rate, 1, PURGE_ENTRIES_RATE_MAX),
        ("burst", purges.burst, PURGE_ENTRIES_MAX, PURGE_ENTRIES_RATE_MAX),
        ("keep", purges.keep, 1, PURGES_KEPT_MAX),
    ] {
        if value < least || value > most {
            findings.add(format!("purges.{name}"), format!("{value} is out of bounds; write {least} to {most}"));
        }
    }
}

fn api_tls(tls: &ApiTls, findings: &mut Findings) {
    for (field, file, other, has_other) in [("cert", &tls.cert, "key", tls.key.is_some()), ("key", &tls.key, "cert", tls.cert.is_some())] {
        let at = format!("api.tls.{field}");
        match file {
            None if has_other => {
                let because = format!("api.tls.{other}");
                let says =
                    "missing; write the path of the other PEM file too, or leave both out for a certificate of the CDN's own authority";
                findings.add_because(at, &[because.as_str()], says);
            }
            Some(path) if path.as_os_str().is_empty() => findings.add(at, "the path is empty; write the path of a PEM file"),
            _ => {}
        }
    }
}
