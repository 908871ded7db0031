//! The key that signs receipts, and the public keys that check them.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::chain;
use crate::durable::{self, FileError};
use crate::secret::{SecretAccess, read_secret};

/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 16;

/// What a receipt's signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureState {
    /// The receipt is not signed.
    Unsigned,
    /// It is that of the named key, which is known.
    Holds(String),
    /// The named key is not known, so nothing can be said.
    UnknownKey(String),
    /// It is not that of the named key.
    Broken(String),
}

impl SignatureState {
    /// Of what a receipt says: its hash, the id of the key that signed it, and the signature in hexadecimal.
    pub(crate) fn of<'k>(
        hash: Option<&[u8; 32]>,
        key_id: Option<&str>,
        signature: Option<&str>,
        known: impl FnOnce(&str) -> Option<&'k PublicKey>,
    ) -> Self {
        let Some(id) = key_id else { return Self::Unsigned };
        let Some(key) = known(id) else { return Self::UnknownKey(id.to_owned()) };
        let signature = signature.and_then(chain::unhex::<64>);
        if hash.zip(signature).is_some_and(|(hash, signature)| key.verifies(hash, &signature)) {
            Self::Holds(id.to_owned())
        } else {
            Self::Broken(id.to_owned())
        }
    }
}

/// Why a key cannot be used. Nothing of what a file holds is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system refused something.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Others may use the file than those who are meant to.
    #[error("{}: {why} (mode {mode:04o}), expected {expected}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Who, or what is not known of them.
        why: &'static str,
        /// Its mode.
        mode: u32,
        /// Modes that are taken.
        expected: &'static str,
    },
    /// The file holds something else.
    #[error("{}: expected {expected}, found {found}", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// The file is there already; a key is never overwritten.
    #[error("{}: exists already, and a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl From<FileError> for KeyError {
    fn from(FileError { action, path, source }: FileError) -> Self {
        Self::Io { action, path, source }
    }
}

/// An Ed25519 key that signs receipts. Its debug text shows the key's id and nothing else.
pub struct ReceiptKey {
    key: SigningKey,
    public: PublicKey,
}

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

impl ReceiptKey {
    /// Makes a key and keeps it in a new file (PKCS#8 PEM, 0600), which is synced.
    ///
    /// # Errors
    /// If the file exists or cannot be written, or the system gives no random bytes.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let path = std::path::absolute(path).map_err(FileError::new("resolve", path))?;
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).map_err(|error| {
            FileError::new("get random bytes for", &path)(io::Error::other(error.to_string()))
        })?;
        // Without the public key in it, which OpenSSL does not read (RFC 5958, version 2).
        let pem = KeypairBytes { secret_key: secret, public_key: None }
            .to_pkcs8_pem(Default::default())
            .map_err(|_| FileError::new("encode the key for", &path)(io::Error::other("no PEM form")))?;
        if !durable::create(&path, pem.as_bytes())? {
            return Err(KeyError::Exists { path });
        }
        Ok(Self::new(SigningKey::from_bytes(&secret)))
    }

    /// Reads a key from a file (PKCS#8 PEM) that nobody may use but those whom `access` names.
    ///
    /// # Errors
    /// If the file cannot be read, others may use it, or it holds no such key.
    pub fn read(path: &Path, access: SecretAccess) -> Result<Self, KeyError> {
        let text = String::from_utf8(read_secret(path, access)?).unwrap_or_default();
        let key = SigningKey::from_pkcs8_pem(text.trim()).map_err(|_| KeyError::NotAKey {
            path: path.to_owned(),
            expected: "an Ed25519 private key as PKCS#8 PEM",
            found: described(&text),
        })?;
        Ok(Self::new(key))
    }

    fn new(key: SigningKey) -> Self {
        let public = PublicKey::new(key.verifying_key());
        Self { key, public }
    }

    /// The key that checks what this one signed.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs these bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes).to_bytes()
    }
}

/// An Ed25519 key that checks the signatures of receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: String,
}

impl PublicKey {
    fn new(key: VerifyingKey) -> Self {
        let id = situs_model::sha256_hex(key.as_bytes())[..ID_DIGITS].to_owned();
        Self { key, id }
    }

    /// Reads a public key from a file (SubjectPublicKeyInfo as PEM).
    ///
    /// # Errors
    /// If the file cannot be read or holds no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = text_of(path)?;
        Self::parse(&text).ok_or_else(|| KeyError::NotAKey {
            path: path.to_owned(),
            expected: "an Ed25519 public key as PEM",
            found: described(&text),
        })
    }

    /// Reads a public key from its PEM text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        VerifyingKey::from_public_key_pem(text.trim()).ok().map(Self::new)
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the key's 32 bytes; receipts name keys by it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key as PEM.
    pub fn pem(&self) -> String {
        // Only a key that is too large has no PEM form, and these have 32 bytes.
        self.key.to_public_key_pem(Default::default()).unwrap_or_default()
    }

    /// Whether the signature of these bytes is this key's.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

fn text_of(path: &Path) -> Result<String, KeyError> {
    let bytes = fs::read(path).map_err(FileError::new("read", path))?;
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// What a text is that is not the key that it should be.
fn described(text: &str) -> &'static str {
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if has("PUBLIC KEY") {
        "a public key"
    } else if has("ENCRYPTED PRIVATE KEY") {
        "an encrypted key"
    } else if has("PRIVATE KEY") {
        "a private key of another kind, or a damaged one"
    } else if text.contains("-----BEGIN ") {
        "PEM of another kind"
    } else {
        "no PEM text"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receipts.pem");
        let made = ReceiptKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{text}");
        assert!(matches!(ReceiptKey::create(&path).unwrap_err(), KeyError::Exists { .. }));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);

        let read = ReceiptKey::read(&path, SecretAccess::Owner).unwrap();
        assert_eq!(read.public(), made.public());
        let signature = read.sign(b"hash");
        assert!(made.public().verifies(b"hash", &signature));
        assert!(!made.public().verifies(b"hush", &signature));

        let public = dir.path().join("public.pem");
        fs::write(&public, made.public().pem()).unwrap();
        assert_eq!(&PublicKey::read(&public).unwrap(), made.public());
        assert_eq!(made.public().id().len(), 16);
    }

    /// The example of RFC 8410, section 10.3, as OpenSSL writes keys.
    #[test]
    fn a_key_of_another_tool_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rfc8410.pem");
        let text = "-----BEGIN PRIVATE KEY-----\n\
                    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                    -----END PRIVATE KEY-----\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let key = ReceiptKey::read(&path, SecretAccess::Owner).unwrap();
        let public = "-----BEGIN PUBLIC KEY-----\n\
                      MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                      -----END PUBLIC KEY-----\n";
        assert_eq!(key.public().pem(), public);
        assert!(!format!("{key:?}").contains("d4ee"), "no secret is shown");
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let missing = ReceiptKey::read(&path, SecretAccess::Owner).unwrap_err().to_string();
        assert!(missing.contains("key.pem: cannot read: "), "{missing}");

        let made = ReceiptKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let exposed = ReceiptKey::read(&path, SecretAccess::Owner).unwrap_err().to_string();
            assert!(exposed.contains(&format!("(mode {mode:04o}), expected 0600 or 0400")), "{exposed}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let private = fs::read_to_string(&path).unwrap();
        for (text, found) in [
            (made.public().pem(), "found a public key"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n".to_owned(), "found an encrypted key"),
            (private.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vu"), "of another kind, or a damaged one"),
            ("-----BEGIN CERTIFICATE-----\n".to_owned(), "found PEM of another kind"),
            ("hunter2".to_owned(), "found no PEM text"),
        ] {
            fs::write(&path, &text).unwrap();
            let refused = ReceiptKey::read(&path, SecretAccess::Owner).unwrap_err().to_string();
            assert!(refused.contains(found) && !refused.contains("hunter2"), "{refused}");
        }
        let refused = PublicKey::read(&path).unwrap_err().to_string();
        assert!(refused.contains("expected an Ed25519 public key as PEM, found no PEM text"), "{refused}");
    }
}
