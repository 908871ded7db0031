//! Where the roots of a site's stores lie: apart, and on devices of their own where it asks for that.

use std::path::PathBuf;

use situs_model::ZoneId;
use situs_model::doc::{Diagnostic, Document, Map};
use situs_store::RootError;

use super::Site;
use super::place::Place;

const KEY: &str = "separate-devices";

/// `separate-devices` in `site.yaml`: whether each root must lie on a device of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeparateDevices(Option<Place>);

impl SeparateDevices {
    /// Reads the key of the site.
    pub(super) fn read(doc: &Document, site: &Map<'_>) -> Self {
        let asked = site.optional_bool(KEY).unwrap_or(false);
        Self(site.optional(KEY).filter(|_| asked).map(|node| Place::of(doc, node)))
    }

    /// Whether the site asks for it.
    pub fn asked(&self) -> bool {
        self.0.is_some()
    }
}

impl Site {
    fn roots(&self) -> Vec<(ZoneId, PathBuf)> {
        self.stores.iter().map(|(zone, root)| (zone.clone(), root.clone())).collect()
    }

    /// Checks that the roots lie apart (RES-2), and on devices of their own if the site asks for that. Whoever
    /// writes to a store asks this first.
    ///
    /// # Errors
    /// For the first pair of which it does not hold, or if a path cannot be resolved.
    pub fn check_roots(&self) -> Result<(), RootError> {
        let roots = self.roots();
        situs_store::check_disjoint(&roots)?;
        if self.separate_devices.asked() { situs_store::check_separate(&roots) } else { Ok(()) }
    }

    /// What can be said without the stores of roots that shall be on devices of their own, at the key that asks
    /// for it. Only of roots that are there: where the configuration is checked the volumes may be another
    /// machine's.
    pub(crate) fn shared_device(&self) -> Option<Diagnostic> {
        let place = self.separate_devices.0.as_ref()?;
        let mut roots = self.roots();
        roots.retain(|(_, root)| root.exists());
        let error = situs_store::check_separate(&roots).err()?;
        Some(place.problem(format!("`{KEY}`: {error}")))
    }
}
