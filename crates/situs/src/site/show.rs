//! A site as a process takes it: defaults filled in, variables replaced, paths absolute, secrets masked. It is
//! `site.yaml` again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use situs_observe::LogFormat;
use situs_store::SecretAccess;

use super::kafka::{MASK, is_secret};
use super::{KeyFile, Receipts, Site};
use crate::library::Library;

impl Site {
    /// What holds, key by key as `site.yaml` has them.
    pub fn effective(&self) -> Value {
        let mut shown = Shown(Map::new());
        shown.put("home.site", self.home_site.as_str());
        shown.put("home.zone", self.home_zone.as_str());
        shown.put("kafka.cluster", self.kafka.cluster.as_str());
        shown.put("kafka.brokers", &*self.kafka.brokers);
        shown.put("kafka.group", &*self.kafka.group);
        let properties = self.kafka.properties.iter();
        shown.map(
            "kafka.properties",
            properties.map(|(name, value)| {
                (name.as_str(), if is_secret(name) { MASK.to_owned() } else { value.clone() })
            }),
        );
        // What they hold is not here at all.
        shown.map("kafka.secrets", self.kafka.secrets.iter().map(|(name, file)| (name.as_str(), of(file))));
        if let Library::Disk { pipelines, schemas, policy } = &self.library {
            shown.put("pipelines", absolute(pipelines));
            shown.put("schemas", absolute(schemas));
            shown.put("policy", absolute(policy));
        }
        shown.put("policy-reload", self.policy_reload);
        shown.list("enabled", self.enabled.iter().map(|name| name.as_str().to_owned()));
        shown.map("stores", self.stores.iter().map(|(zone, root)| (zone.as_str(), absolute(root))));
        shown.put("separate-devices", self.separate_devices.asked());
        match &self.receipts {
            Receipts::Signed(key) => {
                shown.put("receipts.signing-key", of(key));
                shown.list("receipts.trusted-keys", self.trusted_keys.iter().map(of));
            }
            Receipts::AllowUnsigned => shown.put("receipts.allow-unsigned", true),
        }
        shown.put("key-files.group-readable", self.secret_access == SecretAccess::OwnerAndGroup);
        shown.put("ledgers.keep", self.ledgers_keep.to_string());
        let keys = self.pseudonym_keys.files();
        shown.map("pseudonym-keys", keys.map(|(zone, file)| (zone.as_str(), of(file))));
        shown.put("flush.age", duration(self.flush.age));
        shown.put("flush.rows", self.flush.rows);
        shown.put("flush.bytes", size(self.flush.bytes));
        shown.put("memory", size(self.memory));
        shown.put("workers", self.workers);
        shown.put("drain-timeout", duration(self.drain_timeout));
        if let Some(address) = self.http {
            shown.put("http.listen", address.to_string());
            if let Some(lag) = self.ready_lag {
                shown.put("http.ready-lag", duration(lag));
            }
        }
        shown.put("metrics.partitions", self.partition_series);
        let format = match self.logs.format {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        };
        shown.put("logs.format", format);
        shown.put("logs.filter", &*self.logs.filter);
        let maintenance = &self.maintenance;
        shown.put("maintenance.every", duration(maintenance.every));
        shown.put("maintenance.optimize", maintenance.optimizes);
        shown.put("maintenance.sealed-after", duration(maintenance.optimize.sealed_after));
        shown.put("maintenance.target-size", size(maintenance.optimize.target_size));
        shown.put("maintenance.sort-memory", size(maintenance.optimize.memory));
        shown.put("maintenance.vacuum", maintenance.vacuums);
        shown.put("maintenance.retention", duration(maintenance.vacuum.retention));
        shown.put("maintenance.orphans-after", duration(maintenance.vacuum.orphans_after));
        shown.put("maintenance.log-retention", duration(maintenance.log_retention));
        Value::Object(shown.0)
    }
}

/// The keys in which two sites differ, with those of the sections whose keys the user chooses (properties, zones):
/// `kafka.properties.client.id`. No values.
pub(crate) fn differences(one: &Site, other: &Site) -> Vec<String> {
    let mut found = Vec::new();
    let secrets = |site: &Site| -> Value {
        let secret = site.kafka.properties.iter().filter(|(name, _)| is_secret(name));
        json!({ "kafka": { "properties": secret.collect::<BTreeMap<_, _>>() } })
    };
    // Masked values are the same, whatever they stand for.
    differ(&secrets(one), &secrets(other), "", &mut found);
    differ(&one.effective(), &other.effective(), "", &mut found);
    found.sort();
    found.dedup();
    found
}

fn differ(one: &Value, other: &Value, path: &str, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |entries: &Map<String, Value>| entries.get(key).cloned().unwrap_or_default();
                differ(&of(one), &of(other), &path, found);
            }
        }
        // A section that is there only once: each of its keys has changed.
        (Value::Object(section), Value::Null) | (Value::Null, Value::Object(section)) => {
            found.extend(section.keys().map(|key| format!("{path}.{key}")));
        }
        _ if one != other => found.push(path.to_owned()),
        _ => {}
    }
}

/// What is shown so far.
struct Shown(Map<String, Value>);

impl Shown {
    /// Puts a value at a key.
    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::String(text) => Value::String(escaped(&text)),
            other => other,
        };
        match path.split_once('.') {
            Some((section, key)) => {
                let section = self.0.entry(section).or_insert_with(|| json!({}));
                if let Value::Object(section) = section {
                    section.insert(key.to_owned(), value);
                }
            }
            None => {
                self.0.insert(path.to_owned(), value);
            }
        }
    }

    fn map<'k>(&mut self, path: &str, entries: impl Iterator<Item = (&'k str, String)>) {
        let entries: Map<String, Value> =
            entries.map(|(key, value)| (key.to_owned(), Value::String(escaped(&value)))).collect();
        if !entries.is_empty() {
            self.put(path, entries);
        }
    }

    fn list(&mut self, path: &str, entries: impl Iterator<Item = String>) {
        self.put(path, entries.map(|entry| escaped(&entry)).collect::<Vec<_>>());
    }
}

/// So that it is no variable when it is read again.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

fn of(file: &KeyFile) -> String {
    absolute(&file.path)
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// With the largest unit that it is a whole number of.
fn in_units(value: u128, units: &[(&str, u128)], smallest: &str) -> String {
    match units.iter().find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", value / scale),
        None => format!("{value}{smallest}"),
    }
}

fn duration(value: Duration) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    in_units(value.as_millis(), &units, "ms")
}

fn size(value: u64) -> String {
    in_units(value.into(), &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)], "B")
}

/// A value as YAML that reads as the same again.
pub fn as_yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(value, 0, &mut text);
    text
}

// Writing to a text cannot fail.
fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(text, "{indent}{}:", word(key));
                match value {
                    Value::Object(entries) if !entries.is_empty() => {
                        text.push('\n');
                        write_yaml(value, depth + 1, text);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        text.push('\n');
                        write_yaml(value, depth + 1, text);
                    }
                    _ => {
                        text.push(' ');
                        write_yaml(value, depth, text);
                        text.push('\n');
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(text, "{indent}- ");
                write_yaml(item, depth, text);
                text.push('\n');
            }
        }
        Value::String(scalar) => text.push_str(&word(scalar)),
        // JSON's empty collections, numbers and words are YAML's.
        other => text.push_str(&other.to_string()),
    }
}

/// A text as YAML has it: as it is where nothing can take it for something else, else in JSON's quotes, which are
/// YAML's too.
fn word(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(safe)
        && text.parse::<f64>().is_err()
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off"
        );
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests;
