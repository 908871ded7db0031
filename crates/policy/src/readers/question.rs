//! Asking the policies.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Entities, Entity, EntityUid, Request,
    RestrictedExpression,
};
use situs_model::doc::nearest;
use situs_model::{Class, FieldClass, PurposeId};

use super::cedar::uid;
use super::{Answer, PermitError, Permitted, Reader, Readers, TableAnswer, TableFacts, TablePipeline};

/// The entities that do not depend on readers and tables: the order of the classes.
pub(super) fn constants() -> Result<Vec<Entity>, String> {
    let mut classes = Vec::new();
    for (index, (word, _)) in Class::WORDS.iter().enumerate() {
        let parents: HashSet<EntityUid> = Class::WORDS
            .get(index + 1)
            .map(|(stricter, _)| uid("Class", stricter))
            .transpose()?
            .into_iter()
            .collect();
        classes.push(Entity::new_no_attrs(uid("Class", word)?, parents));
    }
    Ok(classes)
}

pub(super) fn permit(
    readers: &Readers,
    reader: &str,
    purpose: &str,
    tables: &[TableFacts],
) -> Result<Permitted, PermitError> {
    let shown = |name: &str| name.chars().take(60).flat_map(char::escape_default).collect::<String>();
    let found = readers.readers().find(|known| known.id.as_str() == reader).ok_or_else(|| {
        let names = readers.readers().map(|known| known.id.as_str());
        PermitError::UnknownReader { name: shown(reader), nearest: nearest(reader, names) }
    })?;
    let purpose = readers.purposes().find(|known| known.as_str() == purpose).ok_or_else(|| {
        let names = readers.purposes().map(PurposeId::as_str);
        PermitError::UnknownPurpose { name: shown(purpose), nearest: nearest(purpose, names) }
    })?;
    let questions = Questions::new(readers, found, tables).map_err(PermitError::Engine)?;
    let tables = tables
        .iter()
        .map(|table| questions.about(table, purpose))
        .collect::<Result<Vec<_>, _>>()
        .map_err(PermitError::Engine)?;
    Ok(Permitted {
        reader: found.clone(),
        purpose: purpose.clone(),
        version: readers.version().clone(),
        tables,
    })
}

/// A reader's questions about tables.
pub(super) struct Questions<'r> {
    readers: &'r Readers,
    reader: EntityUid,
    entities: Entities,
    authorizer: Authorizer,
}

impl<'r> Questions<'r> {
    pub(super) fn new(readers: &'r Readers, reader: &Reader, tables: &[TableFacts]) -> Result<Self, String> {
        let mut entities = readers.rules.constants.clone();
        let entity = entity_of_reader(reader)?;
        let uid = entity.uid().clone();
        entities.push(entity);
        let mut seen = HashSet::new();
        for table in tables {
            if let Some(pipeline) = &table.pipeline
                && seen.insert(&pipeline.name)
            {
                entities.push(entity_of_pipeline(pipeline)?);
            }
            entities.push(entity_of_table(table)?);
        }
        let entities = Entities::from_entities(entities, Some(&readers.rules.schema))
            .map_err(|error| error.to_string())?;
        Ok(Self { readers, reader: uid, entities, authorizer: Authorizer::new() })
    }

    /// All answers about a table.
    pub(super) fn about(&self, table: &TableFacts, purpose: &PurposeId) -> Result<TableAnswer, String> {
        let mut answer = TableAnswer { table: table.clone(), rows: Vec::new(), fields: Vec::new() };
        if table.pipeline.is_none() {
            answer.rows.push(self.rows(table, purpose, table.class_of_kept())?);
            return Ok(answer);
        }
        for (_, class) in Class::WORDS {
            answer.rows.push(self.rows(table, purpose, *class)?);
        }
        for (_, class) in FieldClass::WORDS {
            answer.fields.push(self.ask(
                "see",
                table,
                purpose,
                ("field", "FieldClass", class.as_str()),
                *class,
            )?);
        }
        Ok(answer)
    }

    /// Whether rows of a class may be read.
    pub(super) fn rows(
        &self,
        table: &TableFacts,
        purpose: &PurposeId,
        class: Class,
    ) -> Result<Answer<Class>, String> {
        self.ask("read", table, purpose, ("class", "Class", class.as_str()), class)
    }

    fn ask<T>(
        &self,
        action: &str,
        table: &TableFacts,
        purpose: &PurposeId,
        (key, kind, word): (&str, &str, &str),
        of: T,
    ) -> Result<Answer<T>, String> {
        let rules = &self.readers.rules;
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let entity = |uid| RestrictedExpression::new_entity_uid(uid);
        let context = Context::from_pairs([
            ("purpose".to_owned(), entity(uid("Purpose", purpose.as_str())?)),
            (key.to_owned(), entity(uid(kind, word)?)),
        ])
        .map_err(|error| text(&error))?;
        let (action, table) = (uid("Action", action)?, uid_of_table(table)?);
        let request = Request::new(self.reader.clone(), action, table, context, Some(&rules.schema))
            .map_err(|error| text(&error))?;
        let response = self.authorizer.is_authorized(&request, &rules.policies, &self.entities);
        let sorted = |mut ids: Vec<String>| {
            ids.sort_by_key(|id| rules.entries.iter().position(|entry| entry.id == *id));
            ids
        };
        let failed = response.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id().to_string(),
        });
        let failed = sorted(failed.collect());
        Ok(Answer {
            of,
            // Cedar passes over a policy that fails. It may be one that forbids.
            allowed: response.decision() == Decision::Allow && failed.is_empty(),
            policies: sorted(response.diagnostics().reason().map(ToString::to_string).collect()),
            failed,
        })
    }
}

fn entity_of_reader(reader: &Reader) -> Result<Entity, String> {
    let roles = reader.roles.iter().map(|role| uid("Role", role.as_str()));
    let organisation = reader.organisation.iter().map(|name| uid("Organisation", name.as_str()));
    let parents = roles.chain(organisation).collect::<Result<HashSet<_>, _>>()?;
    with_zone(uid("Reader", reader.id.as_str())?, reader.zone.as_str(), parents)
}

fn entity_of_pipeline(pipeline: &TablePipeline) -> Result<Entity, String> {
    let scenario = uid("Scenario", pipeline.scenario.as_str())?;
    Ok(Entity::new_no_attrs(uid("Pipeline", pipeline.name.as_str())?, HashSet::from([scenario])))
}

fn uid_of_table(table: &TableFacts) -> Result<EntityUid, String> {
    uid(if table.pipeline.is_some() { "Table" } else { "SystemTable" }, &table.full_name())
}

fn entity_of_table(table: &TableFacts) -> Result<Entity, String> {
    let parents = match &table.pipeline {
        Some(pipeline) => {
            HashSet::from([uid("Zone", table.zone.as_str())?, uid("Pipeline", pipeline.name.as_str())?])
        }
        None => HashSet::from([uid("Kind", table.name.as_str())?]),
    };
    with_zone(uid_of_table(table)?, table.zone.as_str(), parents)
}

fn with_zone(entity: EntityUid, zone: &str, parents: HashSet<EntityUid>) -> Result<Entity, String> {
    let zone = RestrictedExpression::new_entity_uid(uid("Zone", zone)?);
    Entity::new(entity, HashMap::from([("zone".to_owned(), zone)]), parents)
        .map_err(|error| error.to_string())
}
