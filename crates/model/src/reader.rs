//! What a reader may see of a table. Who may is decided in `policy`; `query` keeps to it (RES-6).

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::Field;

use crate::columns::{CLASS_METADATA, names};
use crate::words::{Class, FieldClass, TableName, ZoneId};

/// A table that may be read, and how much of it. A table without a grant does not exist for its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadGrant {
    /// The zone whose store holds the table.
    pub zone: ZoneId,
    /// The table.
    pub table: TableName,
    /// The classes of the rows that are seen; the others are not counted either.
    pub classes: BTreeSet<Class>,
    /// The classes of the fields that are seen. Columns without a class are seen.
    pub fields: BTreeSet<FieldClass>,
    /// The classes that fields have by today's schema, whatever the table's own columns say.
    pub columns: BTreeMap<String, FieldClass>,
}

impl ReadGrant {
    /// Whether rows of every class are seen.
    pub fn is_of_all_rows(&self) -> bool {
        Class::WORDS.iter().all(|(_, class)| self.classes.contains(class))
    }

    /// Whether rows with this text in `_class` are seen. What has no class, or one that is not known, is
    /// unclassified.
    pub fn sees_rows_of(&self, class: Option<&str>) -> bool {
        let known = class.and_then(|text| Class::WORDS.iter().find(|(word, _)| *word == text));
        self.classes.contains(&known.map_or(Class::Unclassified, |(_, class)| *class))
    }

    /// Whether a column is seen. Its class is that of today's schema and that of the table: both must be
    /// seen. `_extra` holds fields that no schema knows, so it is for those who see every class.
    pub fn sees_column(&self, column: &Field) -> bool {
        if column.name() == names::EXTRA {
            return FieldClass::WORDS.iter().all(|(_, class)| self.fields.contains(class));
        }
        let of_table = match column.metadata().get(CLASS_METADATA) {
            None => true,
            Some(text) => {
                FieldClass::WORDS.iter().any(|(word, class)| word == text && self.fields.contains(class))
            }
        };
        let of_schema = self.columns.get(column.name()).is_none_or(|class| self.fields.contains(class));
        of_table && of_schema
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow_schema::DataType;

    use super::*;

    fn grant(classes: &[Class], fields: &[FieldClass]) -> ReadGrant {
        ReadGrant {
            zone: "EU".parse().unwrap(),
            table: "cnc_state".parse().unwrap(),
            classes: classes.iter().copied().collect(),
            fields: fields.iter().copied().collect(),
            columns: BTreeMap::from([("operator".to_owned(), FieldClass::Personal)]),
        }
    }

    fn column(name: &str, class: Option<&str>) -> Field {
        let metadata = class.map(|class| (CLASS_METADATA.to_owned(), class.to_owned()));
        Field::new(name, DataType::Utf8, true).with_metadata(metadata.into_iter().collect::<HashMap<_, _>>())
    }

    #[test]
    fn rows_without_a_known_class_count_as_unclassified() {
        let some = grant(&[Class::General, Class::Core], &[]);
        assert!(some.sees_rows_of(Some("general")) && some.sees_rows_of(Some("core")));
        for class in [None, Some("important"), Some("unclassified"), Some(""), Some("General"), Some("x")] {
            assert!(!some.sees_rows_of(class), "{class:?}");
        }
        let strictest = grant(&[Class::Unclassified], &[]);
        assert!(strictest.sees_rows_of(None) && strictest.sees_rows_of(Some("x")));
        assert!(!some.is_of_all_rows());
        let all: Vec<Class> = Class::WORDS.iter().map(|(_, class)| *class).collect();
        assert!(grant(&all, &[]).is_of_all_rows());
    }

    #[test]
    fn a_column_is_seen_if_schema_and_table_allow_it() {
        let process = grant(&[], &[FieldClass::Process]);
        assert!(process.sees_column(&column("load", Some("process"))));
        assert!(process.sees_column(&column("_offset", None)));
        for hidden in [
            column("program", Some("trade-secret")),
            // A class that this version does not know.
            column("program", Some("secret")),
            // The table was made before the schema said what the field is, or the schema has changed since.
            column("operator", None),
            column("operator", Some("process")),
            column(names::EXTRA, None),
        ] {
            assert!(!process.sees_column(&hidden), "{hidden:?}");
        }
        let all: Vec<FieldClass> = FieldClass::WORDS.iter().map(|(_, class)| *class).collect();
        assert!(grant(&[], &all).sees_column(&column(names::EXTRA, None)));
    }
}
