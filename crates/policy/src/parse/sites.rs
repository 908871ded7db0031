//! The site registry.

use std::collections::HashMap;
use std::sync::Arc;

use situs_model::doc::{Diagnostic, Map, Node, whole_file};
use situs_model::pipeline::is_topic_name;
use situs_model::{ClusterName, Jurisdiction, LineId, SiteId, Subdivision};

use super::{Reader, place};
use crate::devices::MAX_DEVICE_ID;
use crate::policy::{Place, Site, SiteEntry};

/// The key of a site that names a file of devices.
pub(super) const DEVICES_FILE: &str = "devices-file";

/// Keys of a site.
const KEYS: &[&str] =
    &["jurisdiction", "subdivision", "cluster", "topics", "devices", "lines", DEVICES_FILE, "any-device"];

/// Whether a text can name a file of devices: a path below the policy's folder.
pub(super) fn is_file_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=255).contains(&name.len())
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain))
}

/// What the sites before have already.
#[derive(Default)]
struct Taken {
    devices: HashMap<Arc<str>, SiteId>,
    /// Topics that alone say which site it is, with the cluster if there is one.
    topics: HashMap<Arc<str>, Vec<(Option<ClusterName>, SiteId)>>,
}

impl Taken {
    /// Takes a device for a site; if it is taken already, what to say of that.
    fn device(&mut self, device: &Arc<str>, site: &SiteId) -> Option<String> {
        let other = self.devices.insert(device.clone(), site.clone())?;
        let shown: String = device.chars().take(60).collect();
        Some(if other == *site {
            format!("device `{shown}` is given twice in site `{site}`")
        } else {
            format!("device `{shown}` is registered at site `{other}` too")
        })
    }

    /// Takes a topic for a site with `any-device`; the site that has it already.
    fn topic(&mut self, topic: &Arc<str>, cluster: Option<&ClusterName>, site: &SiteId) -> Option<SiteId> {
        let sites = self.topics.entry(topic.clone()).or_default();
        let clash = |(other, _): &&(Option<ClusterName>, SiteId)| match (other, cluster) {
            (Some(other), Some(cluster)) => other == cluster,
            _ => true,
        };
        let other = sites.iter().find(clash).map(|(_, site)| site.clone());
        sites.push((cluster.cloned(), site.clone()));
        other
    }
}

impl<'d> Reader<'d> {
    pub(super) fn sites(&self, map: &Map<'d>) -> Vec<SiteEntry> {
        let mut taken = Taken::default();
        let site = |(key, value): &'d (Node, Node)| self.site(key, value, &mut taken);
        self.named(map, "sites").iter().filter_map(site).collect()
    }

    fn site(&self, key: &'d Node, value: &'d Node, taken: &mut Taken) -> Option<SiteEntry> {
        let id = self.doc.parsed::<SiteId>(key, "a name in `sites`")?;
        let what = format!("site `{id}`");
        let map = self.doc.map(value, &what, KEYS)?;
        let any_device = map.optional_bool("any-device").unwrap_or(false);
        let cluster = map.optional_parsed::<ClusterName>("cluster");
        let mut devices = self.devices(&map, "devices", &id, taken);
        let mut lines = self.lines(&map, &id, taken);
        let devices_file = self.add_file(&map, &id, taken, &mut devices, &mut lines);
        let (topics, topic_places) = self.topics(&map, &id, any_device, cluster.as_ref(), taken);
        let jurisdiction = map.parsed::<Jurisdiction>("jurisdiction");
        let subdivision = map.optional_parsed::<Subdivision>("subdivision");
        if let (Some(jurisdiction), Some(part), Some(node)) =
            (jurisdiction, &subdivision, map.optional("subdivision"))
            && part.jurisdiction() != jurisdiction
        {
            let message = format!("`subdivision` in {what}: `{part}` is no part of `{jurisdiction}`");
            self.doc.report(node, message);
        }
        let place = place(map.optional("jurisdiction")?);
        let jurisdiction = jurisdiction?;
        let site =
            Site { id, jurisdiction, subdivision, cluster, topics, devices, lines, devices_file, any_device };
        Some(SiteEntry { site, place, topic_places })
    }

    /// A list of device ids under a key.
    fn devices(&self, map: &Map<'d>, key: &str, site: &SiteId, taken: &mut Taken) -> Vec<Arc<str>> {
        let mut devices = Vec::new();
        for (node, device) in map.optional_strings(key) {
            if device.is_empty() || device.len() > MAX_DEVICE_ID {
                let message = format!("`{key}` in site `{site}`: a device id has 1 to {MAX_DEVICE_ID} bytes");
                self.doc.report(node, message);
                continue;
            }
            let device: Arc<str> = device.into();
            if let Some(message) = taken.device(&device, site) {
                self.doc.report(node, message);
            }
            devices.push(device);
        }
        devices
    }

    fn lines(&self, map: &Map<'d>, site: &SiteId, taken: &mut Taken) -> Vec<(LineId, Vec<Arc<str>>)> {
        let Some(node) = map.optional("lines") else { return Vec::new() };
        let what = format!("`lines` in site `{site}`");
        let names: Vec<&str> = super::names_in(node);
        // Opened as one mapping, so that each line's devices are read like the site's.
        let Some(lines) = self.doc.map(node, &what, &names) else { return Vec::new() };
        let mut read: Vec<(LineId, Vec<Arc<str>>)> = Vec::new();
        for (key, _) in self.doc.entries(node, &what) {
            let Some(id) = self.doc.parsed::<LineId>(key, &format!("a name in {what}")) else { continue };
            // A name that is given twice is reported already.
            if !read.iter().any(|(known, _)| *known == id) {
                let devices = self.devices(&lines, id.as_str(), site, taken);
                read.push((id, devices));
            }
        }
        read
    }

    /// Adds the devices of the site's file.
    fn add_file(
        &self,
        map: &Map<'d>,
        site: &SiteId,
        taken: &mut Taken,
        devices: &mut Vec<Arc<str>>,
        lines: &mut Vec<(LineId, Vec<Arc<str>>)>,
    ) -> Option<String> {
        let name = map.optional_string(DEVICES_FILE)?;
        let node = map.optional(DEVICES_FILE)?;
        if !is_file_name(&name) {
            let message = format!(
                "`{DEVICES_FILE}` in site `{site}`: expected a path below the policy's folder, of letters, digits, `.`, `_`, `-` and `/`, such as `registry/{site}.csv`"
            );
            self.doc.report(node, message);
            return None;
        }
        if !self.used.borrow().contains(&name) {
            self.used.borrow_mut().push(name.clone());
        }
        let Some(file) = self.files.iter().find(|file| file.name == name) else {
            let message = format!("`{DEVICES_FILE}` in site `{site}`: the file `{name}` was not given");
            let given = self.files.iter().map(|file| file.name.as_str());
            self.doc.report_word(node, message, &name, given);
            return None;
        };
        let mut line_of_name: HashMap<&str, usize> = HashMap::new();
        let known: Vec<String> = lines.iter().map(|(line, _)| line.to_string()).collect();
        line_of_name.extend(known.iter().map(String::as_str).zip(0..));
        let mut problems: Vec<Diagnostic> = Vec::new();
        for row in &file.rows {
            let mut report = |message: String| {
                problems.push(Diagnostic { line: row.at, column: 1, ..whole_file(&name, message) })
            };
            let device = row.device.as_str();
            if !(1..=MAX_DEVICE_ID).contains(&device.len()) || device.chars().any(char::is_control) {
                report(format!(
                    "a device id has 1 to {MAX_DEVICE_ID} bytes, and no control characters in a file"
                ));
                continue;
            }
            let device: Arc<str> = device.into();
            if let Some(message) = taken.device(&device, site) {
                report(message);
            }
            let Some(line) = &row.line else {
                devices.push(device);
                continue;
            };
            let index = match line_of_name.get(line.as_str()) {
                Some(index) => *index,
                None => match line.parse::<LineId>() {
                    Ok(id) => {
                        lines.push((id, Vec::new()));
                        line_of_name.insert(line, lines.len() - 1);
                        lines.len() - 1
                    }
                    Err(error) => {
                        report(format!("`line`: {error}"));
                        continue;
                    }
                },
            };
            lines[index].1.push(device);
        }
        self.beside.borrow_mut().extend(problems);
        Some(name)
    }

    fn topics(
        &self,
        map: &Map<'d>,
        site: &SiteId,
        any_device: bool,
        cluster: Option<&ClusterName>,
        taken: &mut Taken,
    ) -> (Option<Vec<Arc<str>>>, Vec<Place>) {
        let what = format!("site `{site}`");
        let (mut topics, mut places) = (Vec::new(), Vec::new());
        for (node, topic) in map.optional_strings("topics") {
            if !is_topic_name(&topic) {
                self.doc.report(node, "a topic name has 1 to 249 letters, digits, `.`, `_` or `-`");
                continue;
            }
            let topic: Arc<str> = topic.into();
            if topics.contains(&topic) {
                self.doc.report(node, format!("topic `{topic}` is given twice in {what}"));
            } else if any_device && let Some(other) = taken.topic(&topic, cluster, site) {
                let message = format!(
                    "topic `{topic}` alone already says `{other}`: only one site with `any-device` may have it, unless each names a cluster of its own"
                );
                self.doc.report(node, message);
            }
            topics.push(topic);
            places.push(place(node));
        }
        let topics = match map.optional("topics") {
            None => {
                if any_device {
                    let message = format!("{what} has `any-device`, so it needs a key `topics`");
                    self.doc.report(map.node(), message);
                }
                None
            }
            Some(node) => {
                if node.text().is_none() && self.doc.items(node, &format!("`topics` in {what}")).is_empty() {
                    self.doc.report(node, format!("`topics` in {what}: expected at least one topic"));
                }
                Some(topics)
            }
        };
        (topics, places)
    }
}
