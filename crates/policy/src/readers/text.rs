//! Reading `readers.yaml`, and both files as one text.

use std::collections::BTreeSet;

use situs_model::doc::{Diagnostic, Diagnostics, Document, Node};
use situs_model::{ContentVersion, OrganisationId, PurposeId, ReaderId, RoleId, ZoneId};

use super::cedar::{self, Known};
use super::{Reader, ReaderEntry, Readers};
use crate::policy::Place;

/// Begins each line of the policies behind the readers.
const MARK: &str = "#@";
/// Keys of the file.
const KEYS: &[&str] = &["description", "purposes", "readers"];
/// Keys of a reader.
const READER_KEYS: &[&str] = &["zone", "organisation", "roles"];

pub(super) fn parse_files(
    file: &str,
    text: &str,
    cedar_file: &str,
    policies: &str,
) -> Result<Readers, Diagnostics> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with(MARK) {
            problems.push(Diagnostic {
                file: file.into(),
                line: u32::try_from(index + 1).unwrap_or(u32::MAX),
                column: 1,
                message: format!("a line must not begin with `{MARK}`: policies are kept in such lines"),
                suggestion: None,
            });
        }
    }
    match parse(file, text, cedar_file, policies) {
        Ok(readers) if problems.is_empty() => Ok(readers),
        other => {
            problems.extend(other.err().map_or_else(Vec::new, |problems| problems.0));
            Err(sorted(problems))
        }
    }
}

pub(super) fn parse_whole(file: &str, whole: &str) -> Result<Readers, Diagnostics> {
    let end = whole.find(&format!("\n{MARK}")).map_or(whole.len(), |at| at + 1);
    let line = |line: &str| {
        let rest = line.strip_prefix(MARK).unwrap_or(line);
        rest.strip_prefix(' ').unwrap_or(rest).to_owned()
    };
    let policies: Vec<String> = whole[end..].lines().map(line).collect();
    parse(file, &whole[..end], file, &policies.join("\n"))
}

fn sorted(mut problems: Vec<Diagnostic>) -> Diagnostics {
    problems.sort();
    problems.dedup();
    Diagnostics(problems)
}

fn parse(file: &str, text: &str, cedar_file: &str, policies: &str) -> Result<Readers, Diagnostics> {
    let doc = Document::parse(file, text);
    let found = doc.root().and_then(|root| {
        let map = doc.map(root, "the readers", KEYS)?;
        map.optional_string("description");
        let mut purposes = BTreeSet::new();
        if map.required("purposes").is_some() {
            for (node, _) in map.optional_strings("purposes") {
                let purpose = doc.parsed::<PurposeId>(node, "an entry of `purposes`");
                if let Some(purpose) = purpose
                    && !purposes.insert(purpose.clone())
                {
                    doc.report(node, format!("purpose `{purpose}` is given twice"));
                }
            }
        }
        let mut readers = Vec::new();
        if let Some(node) = map.required("readers") {
            for (key, value) in doc.entries(node, "`readers`") {
                readers.extend(read_reader(&doc, key, value));
            }
        }
        Some((purposes, readers))
    });
    // Policies are read even if the readers have problems: all problems at once. What the readers would
    // have been is then not known, so names of readers are not compared.
    let well = doc.problems().is_empty();
    let known = found.as_ref().filter(|_| well).map(|(purposes, readers)| Known::new(purposes, readers));
    let rules = cedar::parse(cedar_file, policies, known.as_ref());
    match (doc.finish(found), rules) {
        (Ok((purposes, readers)), Ok(rules)) => {
            let text = whole(text, policies);
            Ok(Readers {
                file: file.into(),
                version: ContentVersion::of(text.as_bytes()),
                text,
                readers,
                purposes,
                rules,
            })
        }
        (readers, rules) => {
            let mut problems = readers.err().map_or_else(Vec::new, |problems| problems.0);
            problems.extend(rules.err().unwrap_or_default());
            Err(sorted(problems))
        }
    }
}

/// Both texts as one. Reading it again and putting it together again gives the same.
fn whole(text: &str, policies: &str) -> String {
    let mut whole = text.to_owned();
    if !whole.ends_with('\n') {
        whole.push('\n');
    }
    for line in policies.lines() {
        whole.push_str(MARK);
        if !line.is_empty() {
            whole.push(' ');
            whole.push_str(line);
        }
        whole.push('\n');
    }
    whole
}

fn read_reader(doc: &Document, key: &Node, value: &Node) -> Option<ReaderEntry> {
    let id = doc.parsed::<ReaderId>(key, "a key of `readers`");
    let map = doc.map(value, &format!("reader `{}`", key.shown()), READER_KEYS)?;
    let zone = map.parsed::<ZoneId>("zone");
    let organisation = map.optional_parsed::<OrganisationId>("organisation");
    let mut roles = BTreeSet::new();
    for (node, _) in map.optional_strings("roles") {
        let role = doc.parsed::<RoleId>(node, "an entry of `roles`");
        if let Some(role) = role
            && !roles.insert(role.clone())
        {
            doc.report(node, format!("role `{role}` is given twice"));
        }
    }
    let place = |node: &Node| Place { line: node.line, column: node.column };
    Some(ReaderEntry {
        place: place(key),
        zone_place: place(map.optional("zone")?),
        reader: Reader { id: id?, zone: zone?, organisation, roles },
    })
}
