//! A statement with its mark: what is said, and where it comes from.

use std::fmt;

use serde::Serialize;

use crate::explain::Mark;

/// A statement about stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// Where it comes from.
    pub mark: Mark,
    /// The zone whose store it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What it is about.
    pub about: &'static str,
    /// What is said, for a person.
    pub text: String,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.zone.as_deref().unwrap_or("all");
        write!(f, "{:<13} {zone:<6} {:<15} {}", self.mark.as_str(), self.about, Shown(&self.text))
    }
}

/// Text that came from a file or a machine, so that it cannot steer a terminal.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}
