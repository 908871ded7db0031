//! The files of the keys with which fields are masked.

use std::io;
use std::path::Path;

use situs_model::FieldKey;

use crate::durable::{self, FileError};
use crate::key::KeyError;
use crate::secret::{SecretAccess, read_secret};

/// Makes a key of random bytes and keeps it in a new file (64 hexadecimal digits, 0600), which is synced.
///
/// # Errors
/// If the file exists or cannot be written, or the system gives no random bytes.
pub fn create_field_key(path: &Path) -> Result<FieldKey, KeyError> {
    let path = std::path::absolute(path).map_err(FileError::new("resolve", path))?;
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).map_err(|error| {
        FileError::new("get random bytes for", &path)(io::Error::other(error.to_string()))
    })?;
    let key = FieldKey::new(secret);
    if !durable::create(&path, key.secret_text().as_bytes())? {
        return Err(KeyError::Exists { path });
    }
    Ok(key)
}

/// Reads a key from a file that nobody may use but those whom `access` names.
///
/// # Errors
/// If the file cannot be read, others may use it, or it holds no such key.
pub fn read_field_key(path: &Path, access: SecretAccess) -> Result<FieldKey, KeyError> {
    let text = String::from_utf8(read_secret(path, access)?).unwrap_or_default();
    FieldKey::parse(&text).map_err(|_| KeyError::NotAKey {
        path: path.to_owned(),
        expected: "a key of 64 hexadecimal digits",
        found: if text.contains("-----BEGIN ") { "PEM" } else { "something else" },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_pseudonym_key_is_made_once_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("eu.key");
        let made = create_field_key(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(read_field_key(&path, SecretAccess::Owner).unwrap(), made);
        assert!(matches!(create_field_key(&path).unwrap_err(), KeyError::Exists { .. }));
        assert_ne!(create_field_key(&dir.path().join("cn.key")).unwrap(), made);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let exposed = read_field_key(&path, SecretAccess::Owner).unwrap_err().to_string();
        assert!(exposed.contains("(mode 0640), expected 0600 or 0400"), "{exposed}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "hunter2").unwrap();
        let refused = read_field_key(&path, SecretAccess::Owner).unwrap_err().to_string();
        assert!(refused.contains("expected a key of 64 hexadecimal digits"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
