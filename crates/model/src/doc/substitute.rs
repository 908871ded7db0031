//! Variables within scalar values: `${NAME}`, `${NAME:-default}`, and `$${` for a `${` that stays.
//!
//! Substitution works on parsed values, so whatever a variable holds stays one text: it can make no key, no list and
//! no mapping, and it is not looked through for further variables.

use super::{Diagnostic, Document, Kind, Node};

/// What a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// It has this value.
    Is(String),
    /// There is none of this name.
    Unset,
    /// Its value is not UTF-8.
    NotText,
}

impl Document {
    /// Replaces variables in every scalar value by what `lookup` says of them; keys stay as they are. A variable
    /// that is not there, without a default, is reported at its value by its name; no value of one is ever told,
    /// here or later: messages show what the file says.
    ///
    /// An empty variable counts as unset for a default, as in a shell. An unquoted value that becomes empty is
    /// nothing, as if nothing stood there; one that becomes `null` or `~` is that text.
    #[must_use]
    pub fn substitute(mut self, lookup: &dyn Fn(&str) -> Variable) -> Self {
        let mut problems = Vec::new();
        if let Some(root) = &mut self.root {
            walk(root, lookup, &mut |line, column, message| {
                problems.push(Diagnostic {
                    file: self.file.clone(),
                    line,
                    column,
                    message,
                    suggestion: None,
                });
            });
        }
        self.unmade.extend(problems.iter().map(|problem: &Diagnostic| (problem.line, problem.column)));
        self.problems.borrow_mut().append(&mut problems);
        self
    }
}

fn walk(node: &mut Node, lookup: &dyn Fn(&str) -> Variable, report: &mut dyn FnMut(u32, u32, String)) {
    match &mut node.kind {
        Kind::Scalar { text, quoted } => {
            if !text.contains("${") {
                return;
            }
            match expand(text, lookup) {
                Ok(value) => {
                    *quoted |= !value.is_empty();
                    node.written = Some(std::mem::replace(text, value));
                }
                Err(messages) => {
                    messages.into_iter().for_each(|message| report(node.line, node.column, message));
                }
            }
        }
        Kind::Sequence(items) => items.iter_mut().for_each(|item| walk(item, lookup, report)),
        Kind::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| walk(value, lookup, report)),
    }
}

/// The text with its variables replaced, or what is wrong with each of them.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Variable) -> Result<String, Vec<String>> {
    let (mut value, mut problems, mut rest) = (String::with_capacity(text.len()), Vec::new(), text);
    while let Some(at) = rest.find('$') {
        value.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            value.push_str("${");
            rest = after;
            continue;
        }
        let Some(inner) = rest.strip_prefix("${") else {
            value.push('$');
            rest = &rest[1..];
            continue;
        };
        let Some((inner, after)) = inner.split_once('}') else {
            problems.push("`${` has no end: expected `${NAME}`, or `$${` for a `${` that stays".to_owned());
            break;
        };
        rest = after;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            problems.push(
                "`${` without a variable's name: expected `${NAME}` or `${NAME:-default}` with letters, digits and \
                 `_`, or `$${` for a `${` that stays"
                    .to_owned(),
            );
            continue;
        }
        match (lookup(name), default) {
            (Variable::Is(found), default) if !found.is_empty() || default.is_none() => {
                value.push_str(&found)
            }
            (Variable::Is(_) | Variable::Unset, Some(default)) => value.push_str(default),
            (Variable::NotText, _) => problems.push(format!("the variable `{name}` is not UTF-8")),
            (_, None) => problems.push(format!(
                "the variable `{name}` is not set: expected it in the environment, or a default as in \
                 `${{{name}:-default}}`"
            )),
        }
    }
    value.push_str(rest);
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn environment(name: &str) -> Variable {
        match name {
            "AGE" => Variable::Is("5s".into()),
            "SIZE" => Variable::Is("512MiB".into()),
            "EMPTY" => Variable::Is(String::new()),
            "NULL" => Variable::Is("null".into()),
            "EVIL" => Variable::Is("x\nother: {a: 1}\n${AGE}".into()),
            "WORD" => Variable::Is("hunter2".into()),
            "BYTES" => Variable::NotText,
            _ => Variable::Unset,
        }
    }

    fn read(text: &str) -> Document {
        Document::parse("site.yaml", text).substitute(&environment)
    }

    fn value(text: &str) -> Option<String> {
        let doc = read(&format!("a: {text}\n"));
        assert!(doc.problems().is_empty(), "{:?}", doc.problems());
        doc.root()?.get("a")?.text().map(str::to_owned)
    }

    #[test]
    fn variables_stand_for_their_values() {
        assert_eq!(value("${AGE}").as_deref(), Some("5s"));
        assert_eq!(value("\"x-${AGE}-${SIZE}\"").as_deref(), Some("x-5s-512MiB"));
        assert_eq!(value("'${AGE}'").as_deref(), Some("5s"));
        assert_eq!(value("${NONE:-7d}").as_deref(), Some("7d"));
        assert_eq!(value("${EMPTY:-7d}").as_deref(), Some("7d"));
        assert_eq!(value("${AGE:-7d}").as_deref(), Some("5s"));
        assert_eq!(value("${NONE:-127.0.0.1:9092}").as_deref(), Some("127.0.0.1:9092"));
        // Nothing, as if nothing stood there; quoted, an empty text.
        assert_eq!(value("${EMPTY}"), None);
        assert_eq!(value("${NONE:-}"), None);
        assert_eq!(value("\"${EMPTY}\"").as_deref(), Some(""));
        assert_eq!(value("${NULL}").as_deref(), Some("null"));
    }

    #[test]
    fn dollars_stay_where_no_variable_is_meant() {
        for (text, stays) in [
            ("a$b", "a$b"),
            ("$$", "$$"),
            ("$AGE", "$AGE"),
            ("$${AGE}", "${AGE}"),
            ("$$${AGE}", "$${AGE}"),
            ("5$${AGE}${AGE}$", "5${AGE}5s$"),
        ] {
            assert_eq!(value(text).as_deref(), Some(stays), "{text}");
        }
    }

    #[test]
    fn a_value_makes_no_structure_and_is_not_looked_through() {
        let doc = read("a: ${EVIL}\nb: [\"${EVIL}\", z]\n");
        let root = doc.root().unwrap();
        assert_eq!(root.get("a").unwrap().text(), Some("x\nother: {a: 1}\n${AGE}"));
        assert!(root.get("other").is_none());
        assert_eq!(doc.items(root.get("b").unwrap(), "b").len(), 2);
    }

    #[test]
    fn keys_are_as_they_are() {
        let doc = read("\"${AGE}\": 1\n");
        assert!(doc.root().unwrap().get("${AGE}").is_some());
    }

    #[test]
    fn types_are_read_as_if_written() {
        let doc =
            read("age: ${AGE}\nsize: ${SIZE}\nlist: [\"${AGE}\"]\nrows: ${NONE:-17}\non: ${NONE:-true}\n");
        let map = doc.map(doc.root().unwrap(), "it", &["age", "size", "list", "rows", "on"]).unwrap();
        assert_eq!(map.optional_duration("age"), Some(Duration::from_secs(5)));
        assert_eq!(map.optional_bytes("size"), Some(512 << 20));
        assert_eq!(map.optional_integer("rows", 1..=20), Some(17));
        assert_eq!(map.optional_bool("on"), Some(true));
        assert!(doc.problems().is_empty());
    }

    #[test]
    fn what_is_wrong_has_a_place_and_a_name_and_no_value() {
        let doc = read("a: ${NO_SUCH}\nb:\n  - \"${WORD}${\"\n  - ${A B}\n  - ${BYTES}\n  - ${X}${Y}\n");
        // What cannot be made is told once, whatever was expected there.
        assert_eq!(doc.map(doc.root().unwrap(), "it", &["a", "b"]).unwrap().optional_duration("a"), None);
        let shown: Vec<String> = doc.problems().iter().map(ToString::to_string).collect();
        let expected = [
            "site.yaml:1:4: the variable `NO_SUCH` is not set: expected it in the environment, or a default as in \
             `${NO_SUCH:-default}`",
            "site.yaml:3:5: `${` has no end",
            "site.yaml:4:5: `${` without a variable's name",
            "site.yaml:5:5: the variable `BYTES` is not UTF-8",
            "site.yaml:6:5: the variable `X` is not set",
            "site.yaml:6:5: the variable `Y` is not set",
        ];
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn messages_show_what_the_file_says_and_never_a_value() {
        /// Refuses everything, quoting it, with a word around.
        #[derive(Debug)]
        struct Never;
        impl std::str::FromStr for Never {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Err(format!("expected something else, found `{text}` ({text})"))
            }
        }
        let doc = read("a: ${WORD}\nb: ${WORD}\nc: ${WORD}\nd: x${WORD}\ne: ${WORD}\n");
        let map = doc.map(doc.root().unwrap(), "it", &["a", "b", "c", "d", "e"]).unwrap();
        assert_eq!(map.optional_duration("a"), None);
        assert_eq!(map.optional_integer("b", 1..=2), None);
        assert_eq!(map.optional_bool("c"), None);
        assert!(map.optional_parsed::<Never>("d").is_none());
        assert!(doc.map(map.optional("e").unwrap(), "e", &[]).is_none());
        let problems = doc.problems();
        assert_eq!(problems.len(), 5);
        for problem in &problems {
            let shown = problem.to_string();
            assert!(shown.contains("${WORD}") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
