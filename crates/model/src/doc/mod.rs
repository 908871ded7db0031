//! Reading configuration documents: a tree that knows its lines, and every problem at once.
//!
//! YAML 1.2 is read, and JSON as its subset. In YAML 1.2 `NO` is a string, so that Norway can be
//! a jurisdiction. Anchors and aliases are refused: a document says what it says where it says it.
//!
//! ```
//! use situs_model::doc::Document;
//! let doc = Document::parse("site.yaml", "zone: EU\nrots: /data\n");
//! let root = doc.root().unwrap();
//! let map = doc.map(root, "site", &["zone", "root"]).unwrap();
//! assert_eq!(map.string("zone").as_deref(), Some("EU"));
//! let problems = doc.problems();
//! assert_eq!(
//!     problems[0].to_string(),
//!     "site.yaml:2:1: unknown key `rots` in site; did you mean `root`?"
//! );
//! ```

mod json;
mod map;
mod node;
mod substitute;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

pub use map::Map;
pub use node::{Kind, Node};
pub use substitute::Variable;

/// One problem in a document: where, what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Name of the file as the user gave it.
    pub file: Arc<str>,
    /// Line, from 1; 0 when the problem is the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 when the problem is the file as a whole.
    pub column: u32,
    /// What is wrong and what was expected.
    pub message: String,
    /// The nearest valid word, where there is one.
    pub suggestion: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        }
        if let Some(word) = &self.suggestion {
            write!(f, "; did you mean `{word}`?")?;
        }
        Ok(())
    }
}

/// All problems of one document; the error type of everything that reads one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A parsed document with the problems found in it so far.
///
/// Readers report problems and go on, so that the user sees all of them in one run.
#[derive(Debug)]
pub struct Document {
    file: Arc<str>,
    root: Option<Node>,
    problems: RefCell<Vec<Diagnostic>>,
    /// Places of values that [`substitute`](Self::substitute) could not make: what they are is told already, and
    /// that they are nothing of what is expected there is no news.
    unmade: Vec<(u32, u32)>,
}

impl Document {
    /// Parses YAML or JSON text. A syntax error becomes the document's only problem, and its
    /// [`root`](Self::root) is then `None`.
    pub fn parse(file: &str, text: &str) -> Self {
        let file: Arc<str> = file.into();
        match node::parse(&file, text) {
            Ok(root) => Self { file, root: Some(root), problems: RefCell::default(), unmade: Vec::new() },
            Err(problem) => {
                Self { file, root: None, problems: RefCell::new(vec![problem]), unmade: Vec::new() }
            }
        }
    }

    /// Parses strict JSON (RFC 8259), for files that other programs read as JSON too; otherwise as
    /// [`parse`](Self::parse).
    pub fn parse_json(file: &str, text: &str) -> Self {
        let file: Arc<str> = file.into();
        match json::parse(&file, text) {
            Ok(root) => Self { file, root: Some(root), problems: RefCell::default(), unmade: Vec::new() },
            Err(problem) => {
                Self { file, root: None, problems: RefCell::new(vec![problem]), unmade: Vec::new() }
            }
        }
    }

    /// The document's top value, if it could be parsed.
    pub fn root(&self) -> Option<&Node> {
        self.root.as_ref()
    }

    /// The name of the file.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Reports a problem at `node`.
    pub fn report(&self, node: &Node, message: impl Into<String>) {
        self.push(node, message.into(), None);
    }

    /// Reports a problem at `node` where `word` is not one of `valid`, suggesting the nearest.
    pub fn report_word<'a>(
        &self,
        node: &Node,
        message: impl Into<String>,
        word: &str,
        valid: impl IntoIterator<Item = &'a str>,
    ) {
        self.push(node, message.into(), nearest(word, valid));
    }

    fn push(&self, node: &Node, message: String, suggestion: Option<String>) {
        if self.unmade.contains(&(node.line, node.column)) {
            return;
        }
        self.problems.borrow_mut().push(Diagnostic {
            file: self.file.clone(),
            line: node.line,
            column: node.column,
            message,
            suggestion,
        });
    }

    /// Opens `node` as a mapping with the given keys; anything else is reported. `what` names the
    /// mapping in messages.
    pub fn map<'d>(&'d self, node: &'d Node, what: &str, keys: &[&str]) -> Option<Map<'d>> {
        Map::open(self, node, what, keys)
    }

    /// Opens `node` as a mapping whose keys the user chooses (names of zones, of columns).
    pub fn entries<'d>(&'d self, node: &'d Node, what: &str) -> &'d [(Node, Node)] {
        let Kind::Mapping(entries) = &node.kind else {
            self.report(node, format!("{what}: expected a mapping, found {}", node.describe()));
            return &[];
        };
        for (i, (key, _)) in entries.iter().enumerate() {
            if entries[..i].iter().any(|(k, _)| k.text() == key.text()) {
                self.report(key, format!("key `{}` is given twice in {what}", key.shown()));
            }
        }
        entries
    }

    /// Opens `node` as a sequence.
    pub fn items<'d>(&'d self, node: &'d Node, what: &str) -> &'d [Node] {
        match &node.kind {
            Kind::Sequence(items) => items,
            _ => {
                self.report(node, format!("{what}: expected a list, found {}", node.describe()));
                &[]
            }
        }
    }

    /// The text of a scalar.
    pub fn text<'d>(&'d self, node: &'d Node, what: &str) -> Option<&'d str> {
        let text = node.text();
        if text.is_none() {
            self.report(node, format!("{what}: expected text, found {}", node.describe()));
        }
        text
    }

    /// Parses a scalar; the type's error text says what was expected.
    pub fn parsed<T>(&self, node: &Node, what: &str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        match self.text(node, what)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(node, format!("{what}: {}", node.hiding(error.to_string())));
                None
            }
        }
    }

    /// Reads one word out of a fixed set.
    pub fn word<T: Copy>(&self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let valid: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.report_word(
            node,
            format!("{what}: expected one of {}, found `{}`", list(&valid), node.shown()),
            text,
            valid,
        );
        None
    }

    /// The problems reported so far, in the order of the text.
    pub fn problems(&self) -> Vec<Diagnostic> {
        let mut problems = self.problems.borrow().clone();
        problems.sort();
        problems.dedup();
        problems
    }

    /// `value` if there are no problems, all problems otherwise.
    pub fn finish<T>(&self, value: Option<T>) -> Result<T, Diagnostics> {
        let problems = self.problems();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ if problems.is_empty() => Err(Diagnostics(vec![whole_file(&self.file, "nothing was read")])),
            _ => Err(Diagnostics(problems)),
        }
    }
}

/// A diagnostic about a file as a whole.
pub fn whole_file(file: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic { file: file.into(), line: 0, column: 0, message: message.into(), suggestion: None }
}

/// The valid word nearest to `word`, if one is near enough to be a slip of the fingers.
pub fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = word.to_lowercase();
    valid
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            let candidate = candidate.to_lowercase();
            let longest = candidate.chars().count().max(lower.chars().count());
            *distance <= (longest / 2).max(1)
                || lower.starts_with(&candidate)
                || !lower.is_empty() && candidate.starts_with(&lower)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// `a, b or c`, each in backticks.
pub fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".into(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests;
