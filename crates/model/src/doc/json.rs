//! Strict JSON (RFC 8259) into the same tree.
//!
//! YAML contains nearly all of JSON, but not quite: its keys end at 1024 characters, surrogate
//! pairs in escapes are no characters to it, and it accepts what a schema registry would refuse
//! (comments, trailing commas, unquoted text). Files that other programs read as JSON are read
//! as JSON here too.

use std::sync::Arc;

use super::Diagnostic;
use super::node::{Kind, MAX_DEPTH, Node};

/// Parses one JSON text.
pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Node, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { text, at: 0, line: 1, column: 1 };
    reader.space();
    let root = reader.value(0).and_then(|root| {
        reader.space();
        if reader.peek().is_some() { Err("one JSON value was expected, found more".into()) } else { Ok(root) }
    });
    root.map_err(|message| Diagnostic {
        file: file.clone(),
        line: reader.line,
        column: reader.column,
        message,
        suggestion: None,
    })
}

/// A place in the text.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    column: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next character, consumed.
    fn next(&mut self) -> Option<char> {
        let c = self.text[self.at..].chars().next()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.next();
        }
    }

    fn found(&self) -> String {
        match self.text[self.at..].chars().next() {
            Some(c) => format!("found `{c}`"),
            None => "found the end of the text".into(),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(format!("expected `{}`, {}", char::from(byte), self.found()));
        }
        self.next();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, String> {
        let (line, column) = (self.line, self.column);
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        let kind = match self.peek() {
            Some(b'{') => {
                let mut entries = Vec::new();
                self.list(b'}', |reader| {
                    let (line, column) = (reader.line, reader.column);
                    let text = reader.string()?;
                    let kind = Kind::Scalar { text, quoted: true };
                    let key = Node { kind, line, column, written: None };
                    reader.space();
                    reader.expect(b':')?;
                    reader.space();
                    entries.push((key, reader.value(depth + 1)?));
                    Ok(())
                })?;
                Kind::Mapping(entries)
            }
            Some(b'[') => {
                let mut items = Vec::new();
                self.list(b']', |reader| {
                    items.push(reader.value(depth + 1)?);
                    Ok(())
                })?;
                Kind::Sequence(items)
            }
            Some(b'"') => Kind::Scalar { text: self.string()?, quoted: true },
            _ => Kind::Scalar { text: self.word()?, quoted: false },
        };
        Ok(Node { kind, line, column, written: None })
    }

    /// What stands between the present bracket and `close`, separated by commas.
    fn list(
        &mut self,
        close: u8,
        mut entry: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.next();
        self.space();
        if self.peek() == Some(close) {
            self.next();
            return Ok(());
        }
        loop {
            entry(self)?;
            self.space();
            match self.peek() {
                Some(b',') => {
                    self.next();
                    self.space();
                }
                Some(byte) if byte == close => {
                    self.next();
                    return Ok(());
                }
                _ => return Err(format!("expected `,` or `{}`, {}", char::from(close), self.found())),
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err("a string has no end".into()),
                Some(0..0x20) => return Err("a control character in a string must be escaped".into()),
                Some(b'"') => {
                    self.next();
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.next();
                    text.push(self.escape()?);
                }
                Some(_) => text.extend(self.next()),
            }
        }
    }

    /// The character that an escape stands for, its backslash already consumed.
    fn escape(&mut self) -> Result<char, String> {
        let letter = self.next().ok_or("a string has no end")?;
        Ok(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex()?;
                let code = if (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u") {
                    self.next();
                    self.next();
                    let second = self.hex()?;
                    0x10000 + ((first - 0xd800) << 10) + second.wrapping_sub(0xdc00)
                } else {
                    first
                };
                char::from_u32(code).ok_or("half of a surrogate pair is no character")?
            }
            other => return Err(format!("`\\{other}` is no escape in JSON")),
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit =
                self.next().and_then(|c| c.to_digit(16)).ok_or("`\\u` needs four hexadecimal digits")?;
            code = code << 4 | digit;
        }
        Ok(code)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<String, String> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        if !matches!(word, "true" | "false" | "null") && !is_number(word) {
            let what = if word.is_empty() { self.found() } else { format!("found `{word:.40}`") };
            return Err(format!("expected a JSON value, {what}"));
        }
        let word = word.to_owned();
        self.at += end;
        self.column += u32::try_from(end).unwrap_or(u32::MAX);
        Ok(word)
    }
}

/// Whether this is a number as RFC 8259 writes it.
fn is_number(text: &str) -> bool {
    fn digits(text: &str) -> Option<&str> {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        (rest.len() < text.len()).then_some(rest)
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let integer = match unsigned.strip_prefix('0') {
        Some(rest) => Some(rest),
        None => digits(unsigned),
    };
    let fraction = integer.and_then(|rest| match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => Some(rest),
    });
    let exponent = fraction.and_then(|rest| match rest.strip_prefix(['e', 'E']) {
        Some(rest) => digits(rest.strip_prefix(['+', '-']).unwrap_or(rest)),
        None => Some(rest),
    });
    exponent == Some("")
}
