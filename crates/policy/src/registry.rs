//! The site registry: from authenticated facts to the site.

use std::collections::HashMap;
use std::sync::Arc;

use situs_model::ClusterName;

use crate::policy::SiteEntry;

/// What the registry says of a device id on a topic of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// No site has the device, and cluster and topic alone name none.
    UnknownDevice,
    /// The device is registered at a site that does not send on the topic.
    ForeignTopic,
    /// The device is registered at a site that sends to another cluster.
    ForeignCluster,
    /// The index of the spot.
    Spot(u32),
}

/// A site, or a line of a site: what a device id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Index of the site.
    pub(crate) site: usize,
    /// Index of the line among the site's.
    pub(crate) line: Option<usize>,
}

/// Device ids, clusters and topics of all sites.
///
/// # Memory
/// About 60 bytes per device beside its id, which is shared with [`Site`](crate::Site).
#[derive(Debug, Default)]
pub(crate) struct Registry {
    spot_of_device: HashMap<Arc<str>, u32>,
    /// Topics that authenticate a site by themselves, or with the cluster that they are of. Of the sites of a
    /// topic either one has no cluster, and is the only one, or all have different ones.
    spots_of_topic: HashMap<Arc<str>, Vec<(Option<ClusterName>, u32)>>,
    spots: Vec<Spot>,
}

impl Registry {
    /// The registry of these sites, in which no device and no such topic is given twice.
    pub(crate) fn new(sites: &[SiteEntry]) -> Self {
        let mut registry = Self::default();
        registry.spot_of_device.reserve(sites.iter().map(|entry| entry.site.all_devices().count()).sum());
        for (index, entry) in sites.iter().enumerate() {
            let site = &entry.site;
            let spot = registry.add(Spot { site: index, line: None });
            registry.spot_of_device.extend(site.devices.iter().map(|device| (device.clone(), spot)));
            if site.any_device {
                for topic in site.topics.iter().flatten() {
                    let spots = registry.spots_of_topic.entry(topic.clone()).or_default();
                    spots.push((site.cluster.clone(), spot));
                }
            }
            for (line, (_, devices)) in site.lines.iter().enumerate() {
                let spot = registry.add(Spot { site: index, line: Some(line) });
                registry.spot_of_device.extend(devices.iter().map(|device| (device.clone(), spot)));
            }
        }
        registry
    }

    fn add(&mut self, spot: Spot) -> u32 {
        self.spots.push(spot);
        // A policy of 4 billion lines does not fit into memory.
        self.spots.len() as u32 - 1
    }

    /// The spot of this index.
    pub(crate) fn spot(&self, index: u32) -> Option<Spot> {
        self.spots.get(index as usize).copied()
    }

    /// The registry as it answers for the records of one topic of a cluster.
    pub(crate) fn on_topic<'a>(
        &'a self,
        sites: &'a [SiteEntry],
        cluster: &'a ClusterName,
        topic: &'a str,
    ) -> OnTopic<'a> {
        let spots = self.spots_of_topic.get(topic).map_or(&[][..], Vec::as_slice);
        let here = |(of, _): &&(Option<ClusterName>, u32)| of.as_ref().is_none_or(|of| of == cluster);
        let unregistered =
            spots.iter().find(here).map_or(Origin::UnknownDevice, |(_, spot)| Origin::Spot(*spot));
        OnTopic { registry: self, sites, cluster, topic, unregistered }
    }
}

/// The registry as it answers for the records of one topic of a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnTopic<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) sites: &'a [SiteEntry],
    cluster: &'a ClusterName,
    topic: &'a str,
    /// The answer for devices that no site has.
    unregistered: Origin,
}

impl OnTopic<'_> {
    /// Where a record with this device id comes from. Ids are compared byte for byte.
    pub(crate) fn origin(&self, device: Option<&str>) -> Origin {
        let Some(&index) = device.and_then(|device| self.registry.spot_of_device.get(device)) else {
            return self.unregistered;
        };
        let spot = self.registry.spot(index).and_then(|spot| self.sites.get(spot.site));
        let Some(SiteEntry { site, .. }) = spot else { return Origin::UnknownDevice };
        if site.cluster.as_ref().is_some_and(|cluster| cluster != self.cluster) {
            return Origin::ForeignCluster;
        }
        match &site.topics {
            Some(topics) if !topics.iter().any(|topic| **topic == *self.topic) => Origin::ForeignTopic,
            _ => Origin::Spot(index),
        }
    }
}
