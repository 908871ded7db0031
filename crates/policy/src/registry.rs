//! The site registry: from authenticated facts to the site.

use std::collections::HashMap;
use std::sync::Arc;

use crate::policy::SiteEntry;

/// What the registry says of a device id on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// No site has the device, and the topic alone names none.
    UnknownDevice,
    /// The device is registered at a site that does not send on the topic.
    ForeignTopic,
    /// The index of the site.
    Site(u32),
}

/// Device ids and topics of all sites.
///
/// # Memory
/// About 60 bytes per device beside its id, which is shared with [`Site`](crate::Site).
#[derive(Debug, Default)]
pub(crate) struct Registry {
    site_of_device: HashMap<Arc<str>, u32>,
    /// Topics that authenticate a site by themselves.
    site_of_topic: HashMap<Arc<str>, u32>,
}

impl Registry {
    /// The registry of these sites, in which no device and no such topic is given twice.
    pub(crate) fn new(sites: &[SiteEntry]) -> Self {
        let mut registry = Self::default();
        for (index, entry) in (0..).zip(sites) {
            let site = &entry.site;
            registry.site_of_device.extend(site.devices.iter().map(|device| (device.clone(), index)));
            if site.any_device {
                let topics = site.topics.iter().flatten();
                registry.site_of_topic.extend(topics.map(|topic| (topic.clone(), index)));
            }
        }
        registry
    }

    /// The registry as it answers for the records of one topic.
    pub(crate) fn on_topic<'a>(&'a self, sites: &'a [SiteEntry], topic: &'a str) -> OnTopic<'a> {
        let unregistered = match self.site_of_topic.get(topic) {
            Some(site) => Origin::Site(*site),
            None => Origin::UnknownDevice,
        };
        OnTopic { registry: self, sites, topic, unregistered }
    }
}

/// The registry as it answers for the records of one topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnTopic<'a> {
    registry: &'a Registry,
    sites: &'a [SiteEntry],
    topic: &'a str,
    /// The answer for devices that no site has.
    unregistered: Origin,
}

impl OnTopic<'_> {
    /// Where a record with this device id comes from. Ids are compared byte for byte.
    pub(crate) fn origin(&self, device: Option<&str>) -> Origin {
        let Some(&site) = device.and_then(|device| self.registry.site_of_device.get(device)) else {
            return self.unregistered;
        };
        let topics = self.sites.get(site as usize).and_then(|entry| entry.site.topics.as_ref());
        match topics {
            Some(topics) if !topics.iter().any(|topic| **topic == *self.topic) => Origin::ForeignTopic,
            _ => Origin::Site(site),
        }
    }
}
