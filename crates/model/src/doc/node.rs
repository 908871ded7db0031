//! The tree of a document, with the line and column of every value.

use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::Diagnostic;

/// How deep a document may nest; configuration never does.
pub(super) const MAX_DEPTH: usize = 64;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What the file says where [`substitute`](super::Document::substitute) put something else in its place.
    pub written: Option<String>,
}

/// The kinds of value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Text, number, boolean or null: the reader decides by what it expects.
    Scalar {
        /// The text without its quotes.
        text: String,
        /// Whether it was quoted, and so is text whatever it looks like.
        quoted: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order of the text. Keys are nodes, so that they have a place too.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Whether this is an unquoted `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// The value of `key` in a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => {
                entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// What this is, for messages: the kind, and a scalar's text.
    pub fn describe(&self) -> String {
        match &self.kind {
            _ if self.is_null() => "nothing".into(),
            Kind::Scalar { .. } => format!("`{}`", self.shown()),
            Kind::Sequence(_) => "a list".into(),
            Kind::Mapping(_) => "a mapping".into(),
        }
    }

    /// A scalar's text as the file has it, cut to a length fit for a message: what a variable stands for may be
    /// secret.
    pub fn shown(&self) -> String {
        let text = self.written.as_deref().or(self.text()).unwrap_or_default();
        match text.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    /// A message without what variables stand for here.
    pub(super) fn hiding(&self, message: String) -> String {
        let (Some(written), Some(text)) = (&self.written, self.text()) else { return message };
        let message = message.replace(&format!("`{text}`"), &format!("`{written}`"));
        // It quotes the value in another way, or only a part of what it says is the value.
        if message.contains(text) {
            format!("`{written}` stands for what is not allowed here")
        } else {
            message
        }
    }

    fn at(kind: Kind, span: Span) -> Self {
        Self {
            kind,
            written: None,
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
        }
    }
}

/// Parses one document.
pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Node, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            problem(file, Span::new(*marker, *marker), error.info())
        })?;
        builder.event(event, span).map_err(|message| problem(file, span, &message))?;
    }
    builder.root.ok_or_else(|| super::whole_file(file, "the file is empty"))
}

fn problem(file: &Arc<str>, span: Span, message: &str) -> Diagnostic {
    let at = Node::at(Kind::Sequence(Vec::new()), span);
    Diagnostic {
        file: file.clone(),
        line: at.line,
        column: at.column,
        message: message.to_owned(),
        suggestion: None,
    }
}

/// Builds the tree from the parser's events.
#[derive(Default)]
struct Builder {
    /// Open collections, innermost last; a mapping also keeps a key that waits for its value.
    open: Vec<(Node, Option<Node>)>,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                refuse_anchor(anchor)?;
                let quoted = !matches!(style, ScalarStyle::Plain);
                self.value(Node::at(Kind::Scalar { text: text.into_owned(), quoted }, span))
            }
            Event::SequenceStart(anchor, _) => self.open(Kind::Sequence(Vec::new()), anchor, span),
            Event::MappingStart(anchor, _) => self.open(Kind::Mapping(Vec::new()), anchor, span),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((node, _)) => self.value(node),
                None => Ok(()),
            },
            Event::Alias(_) => Err("aliases (`*name`) are not supported; write the value out".into()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err("one document per file was expected, found a second one".into())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, kind: Kind, anchor: usize, span: Span) -> Result<(), String> {
        refuse_anchor(anchor)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.open.push((Node::at(kind, span), None));
        Ok(())
    }

    fn value(&mut self, node: Node) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Node { kind: Kind::Sequence(items), .. }, _)) => items.push(node),
            Some((Node { kind: Kind::Mapping(entries), .. }, key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None if matches!(node.kind, Kind::Scalar { .. }) => *key = Some(node),
                None => return Err("a key must be text".into()),
            },
            Some(_) => {}
        }
        Ok(())
    }
}

fn refuse_anchor(anchor: usize) -> Result<(), String> {
    if anchor > 0 {
        return Err("anchors (`&name`) are not supported; write the value out".into());
    }
    Ok(())
}
