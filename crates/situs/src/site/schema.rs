//! What is made of the keys of `site.yaml`: a JSON Schema for editors, and the table of docs/config.md.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::kafka::FIXED_PROPERTIES;
use super::keys::{Form, KEYS, Key, Need, keys_of};

/// The table of docs/config.md, in Markdown.
pub fn table() -> String {
    let mut table = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for Key { path, form, need, default, meaning } in KEYS {
        let default = if *need == Need::Always { "required" } else { default };
        let default = if default.is_empty() { String::new() } else { format!("{default} ") };
        // Writing to a text cannot fail.
        let _ = writeln!(table, "| `{path}` | {} | {default}| {meaning} |", form.words());
    }
    table
}

/// A JSON Schema (draft 7, which editors know best) of `site.yaml`. It takes what the parser takes, as far as a
/// schema can say that: not that the home zone has a store, say.
pub fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "site.yaml of Situs",
        "description": "The configuration of a home. Made by `situs config schema`.",
    });
    let Some(top) = schema.as_object_mut() else { return schema };
    top.extend(object("", &|path| match KEYS.iter().find(|key| key.path == path) {
        Some(key) => of_key(key),
        None => section(path),
    }));
    top.insert("definitions".to_owned(), definitions());
    schema
}

/// A mapping with the keys of a section, and no others.
fn object(section: &str, of: &dyn Fn(&str) -> Value) -> Map<String, Value> {
    let path = |name: &str| if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") };
    let names = keys_of(section);
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), of(&path(name)))).collect();
    let required: Vec<&str> = names.into_iter().filter(|name| is_required(&path(name))).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        object.insert("required".to_owned(), json!(required));
    }
    object.insert("properties".to_owned(), Value::Object(properties));
    object
}

/// Whether a key must be in its section, or a section at the top.
fn is_required(path: &str) -> bool {
    match KEYS.iter().find(|key| key.path == path) {
        Some(key) => key.need != Need::No,
        // Neither of its keys is required, and one of them is.
        None if path == RECEIPTS => true,
        None => KEYS.iter().any(|key| {
            key.need == Need::Always && key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
        }),
    }
}

const RECEIPTS: &str = "receipts";

fn section(path: &str) -> Value {
    let mut section =
        object(path, &|path| KEYS.iter().find(|key| key.path == path).map_or(json!(false), of_key));
    if path == RECEIPTS {
        let one = json!([{ "required": ["signing-key"] }, { "required": ["allow-unsigned"] }]);
        section.insert("anyOf".to_owned(), one);
    }
    Value::Object(section)
}

fn of_key(key: &Key) -> Value {
    let mut schema = Map::new();
    let mut description = plain(key.meaning);
    if !key.default.is_empty() {
        let _ = write!(description, " Default: {}.", plain(key.default).trim_end_matches('.'));
    }
    schema.insert("description".to_owned(), json!(description));
    let form = of_form(key.form);
    if let Value::Object(form) = form {
        schema.extend(form);
    }
    Value::Object(schema)
}

/// A definition, or a text with a variable in its place.
fn scalar(definition: &str) -> Value {
    let reference = format!("#/definitions/{definition}");
    json!({ "anyOf": [{ "$ref": reference }, { "$ref": "#/definitions/variable" }] })
}

/// A list, or one in its place.
fn list(definition: &str) -> Value {
    let one = scalar(definition);
    json!({ "anyOf": [{ "type": "array", "items": one }, one] })
}

fn zones(definition: &str) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "$ref": "#/definitions/zone" },
        "additionalProperties": scalar(definition),
    })
}

fn properties(definition: &str) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "not": { "enum": FIXED_PROPERTIES } },
        "additionalProperties": scalar(definition),
    })
}

fn of_form(form: Form) -> Value {
    let variable = json!({ "$ref": "#/definitions/variable" });
    match form {
        Form::Text | Form::Filter => scalar("text"),
        Form::Site | Form::Cluster => scalar("name"),
        Form::Zone => scalar("zone"),
        Form::Pipelines => list("name"),
        Form::Duration => scalar("duration"),
        Form::Size { .. } => scalar("size"),
        // Quotes around numbers are allowed.
        Form::Number(low, high) => json!({ "anyOf": [
            { "type": "integer", "minimum": low, "maximum": high },
            { "type": "string", "pattern": "^[0-9_]+$" },
            variable,
        ] }),
        Form::Switch => scalar("switch"),
        Form::Words(words) => json!({ "anyOf": [{ "enum": words }, variable] }),
        Form::Address => scalar("address"),
        Form::File | Form::Folder => scalar("path"),
        Form::Files => list("path"),
        Form::ZoneFolders | Form::ZoneFiles => zones("path"),
        Form::Properties => properties("text"),
        Form::PropertyFiles => properties("path"),
    }
}

fn definitions() -> Value {
    json!({
        "variable": {
            "description": "A value from the environment.",
            "type": "string",
            "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}",
        },
        // YAML makes numbers and booleans of what is read as text.
        "text": { "type": ["string", "number", "boolean"] },
        "path": { "type": "string", "minLength": 1 },
        "name": { "type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$" },
        "zone": { "type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,15}$" },
        "switch": { "enum": [true, false, "true", "false"] },
        "duration": { "type": "string", "pattern": "^0*[1-9][0-9]* *(ms|s|m|h|d)$" },
        "size": { "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^0*[1-9][0-9]* *(B|kB|KiB|MB|MiB|GB|GiB)?$" },
        ] },
        "address": { "type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$" },
    })
}

/// Markdown without its links, which lead nowhere in an editor.
fn plain(markdown: &str) -> String {
    let (mut text, mut rest) = (String::new(), markdown);
    while let Some(at) = rest.find("](") {
        let Some((open, close)) = rest[..at].rfind('[').zip(rest[at..].find(')')) else { break };
        text.push_str(&rest[..open]);
        text.push_str(&rest[open + 1..at]);
        rest = &rest[at + close + 1..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests;
