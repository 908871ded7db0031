//! Where things stand in a text of policies. Cedar tells the places of errors of its own, but not those of
//! the entities that a policy names.

use crate::policy::Place;

/// A statement: a policy with what stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// The entities that it names, as written.
    pub(super) literals: Vec<Literal>,
}

/// An entity that is named, such as `Situs::Zone::"EU"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    /// The type, without blanks.
    pub(super) kind: String,
    /// What stands between the quotes, escapes as they are.
    pub(super) id: String,
    /// Where it begins, in bytes.
    pub(super) start: usize,
}

/// The line and the column in characters of a byte of a text, both from 1.
pub(super) fn place(text: &str, at: usize) -> Place {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Place {
        line: number(before.bytes().filter(|byte| *byte == b'\n').count()),
        column: number(before[line_start..].chars().count()),
    }
}

/// The statements of a text, in order. A text that is no Cedar gives something too, of which places may be
/// wrong; nothing but places is taken from here.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let mut current: Option<Statement> = None;
    // A path that is being read: its text and where it began.
    let mut path: Option<(String, usize)> = None;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += text[at..].find('\n').unwrap_or(text.len() - at);
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b';' => {
                at += 1;
                path = None;
                found.extend(current.take());
                continue;
            }
            _ => {}
        }
        let statement = current.get_or_insert_with(|| Statement { start, literals: Vec::new() });
        match bytes[at] {
            b'"' => {
                let (id, end) = string(text, at);
                if let Some((kind, start)) = path.take()
                    && let Some(kind) = kind.strip_suffix("::")
                {
                    let kind = kind.to_owned();
                    statement.literals.push(Literal { kind, id: id.to_owned(), start });
                }
                at = end;
            }
            b':' if bytes.get(at + 1) == Some(&b':') => {
                if let Some((path, _)) = &mut path {
                    path.push_str("::");
                }
                at += 2;
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let length = text[at..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(text.len() - at);
                let word = &text[at..at + length];
                match &mut path {
                    Some((path, _)) if path.ends_with("::") => path.push_str(word),
                    _ => path = Some((word.to_owned(), start)),
                }
                at += length;
            }
            _ => {
                path = None;
                at += text[at..].chars().next().map_or(1, char::len_utf8);
            }
        }
    }
    found.extend(current);
    found
}

/// What stands between the quotes of a string that begins at `at`, and where it ends.
fn string(text: &str, at: usize) -> (&str, usize) {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(at + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return (&text[at + 1..index], index + 1),
            _ => {}
        }
    }
    (&text[at + 1..], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_found_with_their_places() {
        let text = "// Situs::Zone::\"NO\";\n@id(\"a;b\")\npermit (principal in Situs::Role::\"ä\\\"x\",\n  action, resource) when { context.purpose == Situs :: Purpose // why\n ::\"p\" };\nforbid (principal, action, resource);";
        let found = statements(text);
        assert_eq!(found.len(), 2);
        let literals: Vec<(&str, &str, (u32, u32))> = found[0]
            .literals
            .iter()
            .map(|literal| {
                let place = place(text, literal.start);
                (literal.kind.as_str(), literal.id.as_str(), (place.line, place.column))
            })
            .collect();
        assert_eq!(literals, [("Situs::Role", "ä\\\"x", (3, 22)), ("Situs::Purpose", "p", (4, 47))]);
        assert_eq!(place(text, found[0].start).line, 2);
        assert_eq!(place(text, found[1].start).line, 6);
    }

    #[test]
    fn no_text_is_too_broken() {
        for text in ["", "\"", "a::", "a::\"", "\\\"", "// x", "é\"é", ";;;", "a::\"\\"] {
            statements(text);
            place(text, usize::MAX);
        }
    }
}
