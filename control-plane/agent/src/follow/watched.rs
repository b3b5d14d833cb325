//! Reporting what was done for the sites that the control plane watches.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::{End, say};
use crate::wire::{self, Report, SITES_WATCHED_MAX, SiteCounts, report};
use crate::{Duties, SiteFigures};

/// The sites that one stream has been told to watch. The control plane tells them anew on the next stream.
pub(super) type Watched = watch::Sender<Arc<[String]>>;

/// Takes the sites to watch in place of those before; those above the bound are left out.
pub(super) fn take(watched: &Watched, order: wire::Watch) {
    watched.send_replace(order.sites.into_iter().take(SITES_WATCHED_MAX).collect());
}

/// Reports at once when the watch changes and then every second, as long as a site is watched.
pub(super) async fn tell(duties: &Arc<dyn Duties>, watched: &Watched, reports: &mpsc::Sender<Report>) -> End {
    let mut changes = watched.subscribe();
    loop {
        let sites = Arc::clone(&changes.borrow_and_update());
        if !sites.is_empty() {
            let counts = sites.iter().filter_map(|site| duties.site_figures(site).map(|figures| counts(site, figures)));
            let told = wire::SiteFigures { sites: counts.collect() };
            if let Err(end) = say(reports, report::What::SiteFigures(told)).await {
                return end;
            }
        }
        let next = async {
            if sites.is_empty() {
                std::future::pending().await
            } else {
                tokio::time::sleep(wire::LOAD_INTERVAL).await;
            }
        };
        // An error cannot be: the sender outlives this.
        tokio::select! {
            _ = changes.changed() => {}
            () = next => {}
        }
    }
}

fn counts(site: &str, figures: SiteFigures) -> SiteCounts {
    let SiteFigures { hits, misses, passes, failures, errors, bytes, heads, head_micros } = figures;
    SiteCounts { site: site.to_owned(), hits, misses, passes, failures, errors, bytes, heads: heads.into(), head_micros }
}

impl From<SiteCounts> for SiteFigures {
    fn from(counts: SiteCounts) -> Self {
        let SiteCounts { site: _, hits, misses, passes, failures, errors, bytes, heads, head_micros } = counts;
        let heads = std::array::from_fn(|class| heads.get(class).copied().unwrap_or(0));
        Self { hits, misses, passes, failures, errors, bytes, heads, head_micros }
    }
}
