//! The secret keys of zones, and HMAC-SHA-256 with them.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::HASH_DIGITS;
use crate::words::{ZoneId, sha256_hex};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Bytes of a key.
const BYTES: usize = 32;
/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 16;

/// The text is no key. Nothing of it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits")]
pub struct BadKey;

/// The secret key of a zone, with which its pseudonyms are made: 32 random bytes. Its debug text shows the
/// key's id and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldKey([u8; BYTES]);

impl FieldKey {
    /// A key of these bytes, which must be random.
    pub fn new(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads a key from its text, which may end in white space.
    ///
    /// # Errors
    /// If it is no key.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let digits = text.trim_ascii_end().as_bytes();
        if digits.len() != 2 * BYTES {
            return Err(BadKey);
        }
        let digit = |digit: u8| (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut key = [0; BYTES];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0]).ok_or(BadKey)? << 4 | digit(pair[1]).ok_or(BadKey)?;
        }
        Ok(Self(key))
    }

    /// The key as text: 64 hexadecimal digits and a line feed. It is the secret itself.
    pub fn secret_text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect()
    }

    /// The first 16 hexadecimal digits of the key's SHA-256, by which it can be told from others.
    pub fn id(&self) -> String {
        sha256_hex(&self.0)[..ID_DIGITS].to_owned()
    }
}

impl fmt::Debug for FieldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The keys of the zones.
#[derive(Debug, Clone)]
pub struct KeyRing(Ring);

#[derive(Debug, Clone)]
enum Ring {
    Zones(BTreeMap<ZoneId, FieldKey>),
    Trial,
}

impl Default for KeyRing {
    /// No zone has a key.
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl KeyRing {
    /// These keys.
    pub fn new(keys: BTreeMap<ZoneId, FieldKey>) -> Self {
        Self(Ring::Zones(keys))
    }

    /// Keys that anybody can compute, another for each zone: for what is shown and thrown away, such as
    /// `situs try` and cases. Rows that were masked with them get no permit for any store.
    pub fn trial() -> Self {
        Self(Ring::Trial)
    }

    /// Whether the zone has a key.
    pub fn has(&self, zone: &ZoneId) -> bool {
        match &self.0 {
            Ring::Zones(keys) => keys.contains_key(zone),
            Ring::Trial => true,
        }
    }

    pub(super) fn on_trial(&self) -> bool {
        matches!(self.0, Ring::Trial)
    }

    /// What hashes the values of a column for a purpose with the key of a zone; `None` if it has none.
    pub(super) fn hasher(&self, zone: &ZoneId, purpose: &str, column: &str) -> Option<Hasher> {
        let key = match &self.0 {
            Ring::Zones(keys) => keys.get(zone)?.0,
            Ring::Trial => Sha256::digest(format!("situs-trial/1\n{zone}")).into(),
        };
        Some(Hasher::new(&key, format!("{purpose}\n{column}\n").as_bytes()))
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key, of values that all begin alike.
#[derive(Debug, Clone)]
pub(super) struct Hasher {
    inner: Sha256,
    outer: Sha256,
}

impl Hasher {
    /// `key` is not longer than a block.
    pub(super) fn new(key: &[u8], begin: &[u8]) -> Self {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        let mut inner = padded(0x36);
        inner.update(begin);
        Self { inner, outer: padded(0x5c) }
    }

    /// The code of a value, whole.
    pub(super) fn code(&self, value: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(value).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }

    /// Writes the first digits of a value's code.
    pub(super) fn write_digits(&self, value: &[u8], out: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in &self.code(value)[..HASH_DIGITS / 2] {
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
    }
}
