//! Reading `site.yaml` again, on SIGHUP: the filter of the log changes, and whatever else has changed is named.

use situs_model::doc::{Diagnostics, whole_file};
use situs_observe::change_log_filter;

use super::Reload;
use crate::site::{Site, differences};

/// The one key that takes effect without a restart.
const LOG_FILTER: &str = "logs.filter";

impl Reload {
    /// Reads the site again. One with a problem changes nothing.
    pub(super) async fn read_site(&mut self) {
        let path = self.site.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let problem = whole_file(&path.display().to_string(), format!("cannot be read: {error}"));
                Diagnostics(vec![problem])
            })?;
            Site::parse(&path, &text)
        });
        // Its panic has been logged.
        let Ok(read) = read.await else { return };
        let site = match read {
            Ok(site) => site,
            Err(problems) => {
                for problem in &problems.0 {
                    tracing::error!(event = "site-rejected", "{problem}");
                }
                return;
            }
        };
        let mut changed = differences(&self.site, &site);
        if let Some(at) = changed.iter().position(|key| key == LOG_FILTER) {
            changed.remove(at);
            // It was parsed with the site.
            if change_log_filter(&site.logs.filter).is_ok() {
                self.site.logs.filter = site.logs.filter;
                tracing::info!(
                    event = "log-filter-changed",
                    "the log has the filter that the site names now"
                );
            }
        }
        if !changed.is_empty() {
            tracing::warn!(
                event = "needs-a-restart",
                keys = changed.join(" "),
                "keys of the site have changed: they take effect at the next start"
            );
        }
    }
}
