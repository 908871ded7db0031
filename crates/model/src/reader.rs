//! What a reader may see of a table. Who may is decided in `policy`; `query` keeps to it (RES-6).

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::Field;

use crate::columns::{CLASS_BY_METADATA, CLASS_ELSE_METADATA, CLASS_METADATA, PSEUDONYM_METADATA, names};
use crate::mask::ClassBy;
use crate::words::{Class, FieldClass, TableName, ZoneId};

/// The classes of a column's values, as far as they decide who sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnClasses {
    /// The classes that values which are stored may have. All of them must be seen.
    pub stored: BTreeSet<FieldClass>,
    /// Whether the class varies by row, and values that are personal are null: then nobody needs to see that
    /// class.
    pub personal_is_null: bool,
}

impl ColumnClasses {
    /// Values of this one class.
    pub fn of(class: FieldClass) -> Self {
        Self { stored: BTreeSet::from([class]), personal_is_null: false }
    }

    /// What is not understood is for those who see every class.
    pub fn unknown() -> Self {
        Self { stored: FieldClass::WORDS.iter().map(|(_, class)| *class).collect(), personal_is_null: false }
    }

    /// What the metadata of a column says; nothing for a column without a class.
    pub fn of_column(column: &Field) -> Self {
        Self::read(column).unwrap_or_else(Self::unknown)
    }

    /// `None` if the metadata is not understood.
    fn read(column: &Field) -> Option<Self> {
        let class = |key: &str| match column.metadata().get(key) {
            None => Some(None),
            Some(word) => FieldClass::from_word(word).map(Some),
        };
        let strictest = class(CLASS_METADATA)?;
        let Some(by) = column.metadata().get(CLASS_BY_METADATA) else {
            return Some(Self { stored: strictest.into_iter().collect(), personal_is_null: false });
        };
        let by = ClassBy::from_text(by)?;
        let mut stored: BTreeSet<_> = by.words.into_values().chain(class(CLASS_ELSE_METADATA)?).collect();
        // What is masked is decided by this class: where it is another, nothing is known.
        if stored.first() != strictest.as_ref() {
            return None;
        }
        let pseudonym = column.metadata().contains_key(PSEUDONYM_METADATA);
        let personal_is_null = !pseudonym && stored.remove(&FieldClass::Personal);
        Some(Self { stored, personal_is_null })
    }

    /// Whether no class is known of the column.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

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
    pub columns: BTreeMap<String, ColumnClasses>,
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

    /// Whether a column is seen. Its classes are those of today's schema and those of the table: all must be
    /// seen. `_extra` holds fields that no schema knows, so it is for those who see every class.
    pub fn sees_column(&self, column: &Field) -> bool {
        if column.name() == names::EXTRA {
            return FieldClass::WORDS.iter().all(|(_, class)| self.fields.contains(class));
        }
        let of_table = ColumnClasses::of_column(column);
        let Some(of_schema) = self.columns.get(column.name()) else {
            return of_table.stored.is_subset(&self.fields);
        };
        // Personal values are null only if they were so when the table's rows were written.
        let personal = of_schema.personal_is_null && !of_table.personal_is_null;
        of_table.stored.is_subset(&self.fields)
            && of_schema.stored.is_subset(&self.fields)
            && (!personal || self.fields.contains(&FieldClass::Personal))
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
            columns: BTreeMap::from([("operator".to_owned(), ColumnClasses::of(FieldClass::Personal))]),
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

    /// A column whose class varies was seen by whoever saw the strictest class, so programs were seen by
    /// those who may see persons only.
    #[test]
    fn a_column_whose_class_varies_needs_every_class_of_what_is_stored() {
        use FieldClass::{Personal, Process, TradeSecret};
        let varying = |strictest: &str, by: &str, pseudonym: bool| {
            let mut metadata = HashMap::from([
                (CLASS_METADATA.to_owned(), strictest.to_owned()),
                (CLASS_BY_METADATA.to_owned(), by.to_owned()),
                (CLASS_ELSE_METADATA.to_owned(), "process".to_owned()),
            ]);
            metadata.extend(pseudonym.then(|| (PSEUDONYM_METADATA.to_owned(), "true".to_owned())));
            Field::new("value", DataType::Utf8, true).with_metadata(metadata)
        };
        let by = "type\npersonal:USER\ntrade-secret:BLOCK";
        let sees = |fields: &[FieldClass], schema: Option<&Field>, table: &Field| {
            let mut grant = grant(&[], fields);
            grant.columns.extend(schema.map(|field| ("value".to_owned(), ColumnClasses::of_column(field))));
            grant.sees_column(table)
        };
        let (null, pseudonyms) = (varying("personal", by, false), varying("personal", by, true));
        let plain = column("value", None);
        for (schema, table) in [(Some(&null), &null), (None, &null)] {
            assert!(sees(&[TradeSecret, Process], schema, table));
            assert!(!sees(&[Personal], schema, table));
            assert!(!sees(&[Personal, Process], schema, table));
            assert!(!sees(&[Personal, TradeSecret], schema, table));
        }
        // Persons are in it, or were when its rows were written, or nobody knows.
        let wrong = varying("process", by, false);
        let unknown = varying("personal", "type\nsecret:USER", false);
        for (schema, table) in [
            (Some(&pseudonyms), &pseudonyms),
            (Some(&pseudonyms), &null),
            (Some(&null), &pseudonyms),
            (Some(&null), &plain),
            (None, &pseudonyms),
        ] {
            assert!(!sees(&[TradeSecret, Process], schema, table), "{schema:?} {table:?}");
            assert!(sees(&[Personal, TradeSecret, Process], schema, table), "{schema:?} {table:?}");
        }
        let all: Vec<FieldClass> = FieldClass::WORDS.iter().map(|(_, class)| *class).collect();
        for table in [&wrong, &unknown] {
            assert!(!sees(&[Personal, TradeSecret, Process], None, table), "{table:?}");
            assert!(sees(&all, None, table), "{table:?}");
        }
    }
}
