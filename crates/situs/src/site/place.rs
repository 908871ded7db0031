//! Where the configuration says something, so that what is wrong with it can be told there later.

use std::sync::Arc;

use situs_model::doc::{Diagnostic, Document, Node};

/// A place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl Place {
    /// That of a node.
    pub(super) fn of(doc: &Document, node: &Node) -> Self {
        Self { file: doc.file().clone(), line: node.line, column: node.column }
    }

    /// A problem there.
    pub(super) fn problem(&self, message: String) -> Diagnostic {
        let Self { file, line, column } = self.clone();
        Diagnostic { file, line, column, message, suggestion: None }
    }
}
