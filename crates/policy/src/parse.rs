//! Reads `policy.yaml`, reporting every problem that can be seen without the pipelines.

mod retention;
mod rules;
mod sites;
pub(crate) mod transfers;
mod zones;

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use situs_model::doc::{Diagnostic, Diagnostics, Document, Kind, Map, Node, whole_file};
use situs_model::{ContentVersion, Jurisdiction, groups};

use crate::condition::{Condition, Fault};
use crate::devices::{self, DevicesFile};
use crate::policy::{Place, Policy};
use crate::registry::Registry;

/// Keys of a policy.
const KEYS: &[&str] = &["description", "zones", "sites", "rules", "models", "transfers", "retention"];

/// Most bytes of a policy with the rows of its files, so that the registry can number what it holds by four
/// bytes: a fleet of a million devices takes 20 MB.
const MAX_BYTES: usize = 512 << 20;

/// Reads a policy with its files of devices; those that stand behind the text need not be given.
pub(crate) fn parse(file: &str, text: &str, given: Vec<DevicesFile>) -> Result<Policy, Diagnostics> {
    let bytes = text.len() + given.iter().map(DevicesFile::bytes).sum::<usize>();
    if bytes > MAX_BYTES {
        let message = format!("a policy with its files of devices may have {MAX_BYTES} bytes, found {bytes}");
        return Err(Diagnostics(vec![whole_file(file, message)]));
    }
    let (end, kept) = devices::split(file, text)?;
    let doc = Document::parse(file, &text[..end]);
    let is_whole = end < text.len();
    let files = if is_whole { kept } else { given };
    let reader = Reader { doc: &doc, files: &files, used: RefCell::default(), beside: RefCell::default() };
    let policy = doc.root().and_then(|root| {
        let map = doc.map(root, "the policy", KEYS)?;
        map.optional_string("description");
        let zones = reader.zones(&map);
        let sites = reader.sites(&map);
        let rules = reader.rules(&map, &zones);
        let models = reader.models(&map);
        let transfers = reader.transfers(&map);
        let retention = reader.retention(&map);
        let registry = Registry::new(&sites);
        let mut whole = text.to_owned();
        if !is_whole {
            // In the order in which the policy names them.
            for name in reader.used.borrow().iter() {
                files.iter().filter(|file| file.name == *name).for_each(|file| file.append_to(&mut whole));
            }
        }
        Some(Policy {
            file: doc.file().clone(),
            version: ContentVersion::of(whole.as_bytes()),
            text: whole,
            zones,
            sites,
            rules,
            models,
            transfers,
            retention,
            registry,
        })
    });
    for unused in files.iter().filter(|file| !reader.used.borrow().contains(&file.name)) {
        let message = format!("no site names `{}` as its `devices-file`", unused.name);
        reader.beside.borrow_mut().push(whole_file(file, message));
    }
    let beside = reader.beside.take();
    match doc.finish(policy) {
        Ok(policy) if beside.is_empty() => Ok(policy),
        // A text that is no mapping names no file either.
        Err(problems) if doc.root().is_none() => Err(problems),
        other => {
            let mut problems = other.err().map_or_else(Vec::new, |problems| problems.0);
            problems.extend(beside);
            problems.sort();
            Err(Diagnostics(problems))
        }
    }
}

/// The names of the files that sites want their devices from.
pub(crate) fn devices_files(text: &str) -> Vec<String> {
    if !text.contains(sites::DEVICES_FILE) || devices::appendix(text).is_some() {
        return Vec::new();
    }
    let doc = Document::parse("", text);
    let Some(Kind::Mapping(sites)) = doc.root().and_then(|root| root.get("sites")).map(|sites| &sites.kind)
    else {
        return Vec::new();
    };
    let name = |(_, site): &(Node, Node)| site.get(sites::DEVICES_FILE)?.text().map(str::to_owned);
    let mut names: Vec<String> =
        sites.iter().filter_map(name).filter(|name| sites::is_file_name(name)).collect();
    names.sort();
    names.dedup();
    names
}

fn place(node: &Node) -> Place {
    Place { line: node.line, column: node.column }
}

/// Reads the parts. What has a problem is reported and left out; the policy is not used then.
struct Reader<'d> {
    doc: &'d Document,
    /// Files of devices.
    files: &'d [DevicesFile],
    /// Names of those that sites name, in order.
    used: RefCell<Vec<String>>,
    /// Problems of other texts than the policy's.
    beside: RefCell<Vec<Diagnostic>>,
}

impl<'d> Reader<'d> {
    /// The entries of a required mapping whose keys are names.
    fn named(&self, map: &Map<'d>, key: &str) -> &'d [(Node, Node)] {
        match map.required(key) {
            Some(node) => self.doc.entries(node, &format!("`{key}` in the policy")),
            None => &[],
        }
    }

    /// What to call an item of a list in messages: by its id if it has one.
    fn title(&self, item: &Node, kind: &str) -> String {
        match item.get("id") {
            Some(id) if id.text().is_some() => format!("{kind} `{}`", id.shown()),
            _ => format!("a {kind}"),
        }
    }

    /// The required id of an item, which no item before it has.
    fn id<T>(&self, map: &Map<'d>, seen: &mut Vec<T>) -> Option<T>
    where
        T: FromStr + Clone + PartialEq + fmt::Display,
        T::Err: fmt::Display,
    {
        let id = map.parsed::<T>("id")?;
        if seen.contains(&id) {
            self.doc.report(map.optional("id")?, format!("id `{id}` is given twice"));
        }
        seen.push(id.clone());
        Some(id)
    }

    /// A list of texts.
    fn strings(&self, map: &Map<'d>, key: &str, what: &str, may_be_empty: bool) -> Vec<(&'d Node, String)> {
        let strings = map.optional_strings(key);
        if let (Some(node), true) = (map.optional(key), strings.is_empty())
            && node.text().is_none()
            && self.doc.items(node, what).is_empty()
            && !may_be_empty
        {
            self.doc.report(node, format!("`{key}`: expected at least one entry"));
        }
        strings
    }

    /// A list of values that parse.
    fn list<T>(&self, map: &Map<'d>, key: &str, may_be_empty: bool) -> Vec<(&'d Node, T)>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let what = format!("an entry of `{key}`");
        self.strings(map, key, &what, may_be_empty)
            .into_iter()
            .filter_map(|(node, _)| Some((node, self.doc.parsed::<T>(node, &what)?)))
            .collect()
    }

    /// A list of jurisdictions in which groups of states may stand, each with the node that names it.
    fn jurisdictions(&self, map: &Map<'d>, key: &str, what: &str) -> Vec<(&'d Node, Jurisdiction)> {
        let label = format!("an entry of `{key}`");
        let mut found: Vec<(&Node, Jurisdiction)> = Vec::new();
        for (node, text) in self.strings(map, key, &label, false) {
            let names_group = text.contains('@') || groups::is_name(&text);
            let members = if names_group {
                groups::members(&text).unwrap_or_else(|error| {
                    let word = error.suggestion.as_deref();
                    self.doc.report_word(
                        node,
                        format!("{label}: {}", error.message),
                        word.unwrap_or_default(),
                        word,
                    );
                    Vec::new()
                })
            } else {
                match text.parse::<Jurisdiction>() {
                    Ok(jurisdiction) => vec![jurisdiction],
                    Err(error) => {
                        let group = "or a group on a day, such as `EEA@2020-02-01`";
                        let message =
                            format!("{label}: expected {}, {group}, found `{}`", error.expected, error.found);
                        self.doc.report(node, message);
                        Vec::new()
                    }
                }
            };
            for jurisdiction in members {
                if found.iter().any(|(_, known)| *known == jurisdiction) {
                    self.doc.report(node, format!("jurisdiction `{jurisdiction}` is given twice in {what}"));
                } else {
                    found.push((node, jurisdiction));
                }
            }
        }
        found
    }

    /// An optional condition with its text.
    fn condition(&self, map: &Map<'d>, key: &str, what: &str) -> Option<(String, Condition)> {
        let node = map.optional(key)?;
        let text = self.doc.text(node, &format!("`{key}` in {what}"))?;
        match Condition::parse(text, place(node)) {
            Ok(condition) => Some((text.to_owned(), condition)),
            Err(Fault { message, suggestion }) => {
                let word = suggestion.as_deref().unwrap_or_default();
                self.doc.report_word(
                    node,
                    format!("`{key}` in {what}: {message}"),
                    word,
                    suggestion.as_deref(),
                );
                None
            }
        }
    }
}

/// The keys of a mapping.
fn names_in(node: &Node) -> Vec<&str> {
    match &node.kind {
        situs_model::doc::Kind::Mapping(entries) => {
            entries.iter().filter_map(|(key, _)| key.text()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
