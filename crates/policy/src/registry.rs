//! The site registry: from authenticated facts to the site.

mod devices;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use situs_model::ClusterName;

use self::devices::Devices;
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
/// 24 to 40 bytes per device, and those of its id.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    devices: Devices,
    /// Topics that authenticate a site by themselves, or with the cluster that they are of. Of the sites of a
    /// topic either one has no cluster, and is the only one, or all have different ones.
    spots_of_topic: HashMap<Arc<str>, Vec<(Option<ClusterName>, u32)>>,
    spots: Vec<Spot>,
}

impl Registry {
    /// The registry of these sites, in which no device and no such topic is given twice.
    pub(crate) fn new(sites: &[SiteEntry]) -> Self {
        let mut registry = Self::default();
        for (index, entry) in sites.iter().enumerate() {
            let site = &entry.site;
            let spot = registry.add(Spot { site: index, line: None });
            registry.devices.extend(&site.devices, spot);
            if site.any_device {
                for topic in site.topics.iter().flatten() {
                    let spots = registry.spots_of_topic.entry(topic.clone()).or_default();
                    spots.push((site.cluster.clone(), spot));
                }
            }
            for (line, (_, devices)) in site.lines.iter().enumerate() {
                let spot = registry.add(Spot { site: index, line: Some(line) });
                registry.devices.extend(devices, spot);
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
        let of_spot = vec![OnceCell::new(); self.spots.len()];
        OnTopic { registry: self, sites, cluster, topic, unregistered, of_spot }
    }
}

/// The registry as it answers for the records of one topic of a cluster.
#[derive(Debug)]
pub(crate) struct OnTopic<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) sites: &'a [SiteEntry],
    cluster: &'a ClusterName,
    topic: &'a str,
    /// The answer for devices that no site has.
    pub(crate) unregistered: Origin,
    /// What each spot gives here, once it has been asked for.
    of_spot: Vec<OnceCell<Origin>>,
}

impl OnTopic<'_> {
    /// Gives the origin of records with each of these device ids to `each`, in order. Ids are compared byte for
    /// byte.
    pub(crate) fn origins<'t>(
        &self,
        devices: impl Iterator<Item = Option<&'t str>>,
        mut each: impl FnMut(Origin),
    ) {
        self.registry.devices.spots(devices, |spot| {
            each(spot.map_or(self.unregistered, |spot| self.of_spot(spot)));
        });
    }

    /// Where a record of a device comes from that is registered at this spot.
    fn of_spot(&self, index: u32) -> Origin {
        let known = self.of_spot.get(index as usize);
        known.map_or(Origin::UnknownDevice, |known| *known.get_or_init(|| self.work_out(index)))
    }

    fn work_out(&self, index: u32) -> Origin {
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
