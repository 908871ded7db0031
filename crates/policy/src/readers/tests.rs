mod random;

use std::collections::HashMap;

use arrow_schema::{DataType, Field, Schema};
use situs_model::columns::{CLASS_BY_METADATA, CLASS_METADATA, DROPPED_METADATA, PSEUDONYM_METADATA};

use super::*;
use crate::testing;

const READERS: &str = "purposes: [maintenance, training]
readers:
  ana: { zone: EU, organisation: plant-stuttgart, roles: [data-science, service] }
  bo: { zone: CN, roles: [data-science] }
  cy: { zone: EU }
";

fn policy() -> Policy {
    Policy::parse("policy.yaml", testing::POLICY).unwrap()
}

/// The pipeline `cnc-state` of the small installation, with classes of fields, and another.
pub(super) fn pipelines() -> Vec<PipelineFacts> {
    let classed = |name: &str, class: &str| {
        let metadata = HashMap::from([(CLASS_METADATA.to_owned(), class.to_owned())]);
        Field::new(name, DataType::Utf8, true).with_metadata(metadata)
    };
    let state = testing::facts();
    let mut fields =
        vec![classed("operator", "personal"), classed("program", "trade-secret"), classed("mode", "process")];
    fields.extend(state.schema.fields().iter().map(|field| field.as_ref().clone()));
    let pose = PipelineFacts {
        name: "ar-pose".parse().unwrap(),
        scenario: Scenario::ArCalibration,
        topics: vec!["ar.pose".into()],
        ..testing::facts()
    };
    vec![PipelineFacts { schema: Arc::new(Schema::new(fields)), ..state }, pose]
}

fn parsed(cedar: &str) -> Readers {
    match Readers::parse_files("readers.yaml", READERS, "readers.cedar", cedar) {
        Ok(readers) => readers,
        Err(problems) => panic!("{problems}"),
    }
}

fn problems(readers: &str, cedar: &str) -> Vec<String> {
    match Readers::parse_files("readers.yaml", readers, "readers.cedar", cedar) {
        Ok(found) => found.check(&policy(), &pipelines()),
        Err(problems) => problems.0,
    }
    .iter()
    .map(ToString::to_string)
    .collect()
}

fn table(permitted: &Permitted, name: &str) -> TableAnswer {
    permitted.tables.iter().find(|answer| answer.table.full_name() == name).unwrap().clone()
}

/// The classes of rows and fields that are permitted, as words.
fn words(answer: &TableAnswer) -> (Vec<&'static str>, Vec<&'static str>) {
    let rows = answer.rows.iter().filter(|answer| answer.allowed).map(|answer| answer.of.as_str());
    let fields = answer.fields.iter().filter(|answer| answer.allowed).map(|answer| answer.of.as_str());
    (rows.collect(), fields.collect())
}

#[test]
fn mistakes_in_the_file_of_readers_have_places() {
    for (right, wrong, expected) in [
        (
            "purposes:",
            "purpose:",
            "readers.yaml:1:1: unknown key `purpose` in the readers; did you mean `purposes`?",
        ),
        ("training]", "training, training]", "readers.yaml:1:35: purpose `training` is given twice"),
        (
            "ana:",
            "Ana:",
            "readers.yaml:3:3: a key of `readers`: expected a reader's name of lower-case letters, digits or `-`, beginning with a letter, found `Ana`",
        ),
        // A Cyrillic small a.
        (
            "ana:",
            "\u{430}na:",
            "readers.yaml:3:3: a key of `readers`: expected a reader's name of lower-case letters, digits or `-`, beginning with a letter, found `\u{430}na`",
        ),
        ("cy:", "ana:", "readers.yaml:5:3: key `ana` is given twice in `readers`"),
        (
            "zone: CN",
            "zone: Cn",
            "readers.yaml:4:15: `zone` in reader `bo`: expected a zone name of 1 to 16 capital letters, digits or `_`, beginning with a letter, found `Cn`",
        ),
        (
            "zone: CN",
            "zone: CM",
            "readers.yaml:4:15: reader `bo`: the policy does not know zone `CM`; did you mean `CN`?",
        ),
        ("cy: { zone: EU }", "cy: { rolls: [x] }", "readers.yaml:5:7: reader `cy` needs a key `zone`"),
        (
            "cy: { zone: EU }",
            "cy: { zone: EU, rolls: [x] }",
            "readers.yaml:5:19: unknown key `rolls` in reader `cy`; did you mean `roles`?",
        ),
        (
            "purposes:",
            "#@ permit\npurposes:",
            "readers.yaml:1:1: a line must not begin with `#@`: policies are kept in such lines",
        ),
    ] {
        assert!(READERS.contains(right));
        let found = problems(&READERS.replace(right, wrong), "");
        assert!(found.contains(&expected.to_owned()), "{wrong}: {found:#?}");
    }
}

#[test]
fn mistakes_in_policies_have_places_and_the_nearest_word() {
    let read = "@id(\"a\") permit (principal, action == Situs::Action::\"read\", resource)";
    let when = |condition: &str| format!("{read}\nwhen {{ {condition} }};");
    for (cedar, expected) in [
        ("permt (principal, action, resource);".to_owned(), "readers.cedar:1:1: "),
        (format!("{read}\nwhen {{ "), "readers.cedar:2:7: unexpected end of input: expected "),
        (when("resource.zonne == principal.zone"), "readers.cedar:2:8: "),
        (when("context.purpose == \"training\""), "readers.cedar:2:8: "),
        (when("resource.zone"), "readers.cedar:2:8: "),
        (read.replace("read", "raed") + ";", "readers.cedar:1:"),
        (when("principal in Situs::Group::\"x\""), "readers.cedar:2:"),
        (
            "permit (principal, action, resource);".to_owned(),
            "readers.cedar:1:1: a policy needs an id, such as `@id(\"home-only\")` before `permit` or `forbid`",
        ),
        (
            "@id(\"A b\") permit (principal, action, resource);".to_owned(),
            "readers.cedar:1:1: `@id` of a policy: expected lower-case letters, digits or `-`, beginning with a letter, found `A b`",
        ),
        (format!("{read};\n\n {read};"), "readers.cedar:3:2: policy id `a` is given twice"),
        (format!("@mask(\"personal\") {read};"), "readers.cedar:1:1: unknown annotation `@mask` of a policy"),
        (
            "@id(\"a\") permit (principal == ?principal, action, resource);".to_owned(),
            "readers.cedar:1:1: a policy must not have slots such as `?principal`: nobody would fill them",
        ),
        (
            when("context.purpose == Situs::Purpose::\"trainig\""),
            "readers.cedar:2:27: policy `a` names Situs::Purpose::\"trainig\", which is none of `purposes`; did you mean `training`?",
        ),
        (
            when("principal in Situs::Role::\"servce\""),
            "readers.cedar:2:21: policy `a` names Situs::Role::\"servce\", which no reader has; did you mean `service`?",
        ),
        (
            when("principal == Situs::Reader::\"anna\""),
            "readers.cedar:2:21: policy `a` names Situs::Reader::\"anna\", whom `readers` does not have; did you mean `ana`?",
        ),
        (
            when("principal in Situs::Organisation::\"plant-stutgart\""),
            "readers.cedar:2:21: policy `a` names Situs::Organisation::\"plant-stutgart\", to which no reader belongs; did you mean `plant-stuttgart`?",
        ),
        (
            when("context.class in Situs::Class::\"importnt\""),
            "readers.cedar:2:25: policy `a` names Situs::Class::\"importnt\", which does not exist; did you mean `important`?",
        ),
        (
            when("resource in Situs::Zone::\"EV\""),
            "readers.cedar:2:20: policy `a` names Situs::Zone::\"EV\", which the policy does not know; did you mean `EU`?",
        ),
        // A Cyrillic capital Es, and the zone as it is called in SQL.
        (
            when("resource in Situs::Zone::\"\u{421}N\""),
            "readers.cedar:2:20: for policy `a`, identifier `\u{421}N` contains mixed scripts",
        ),
        (
            when("resource in Situs::Zone::\"eu\""),
            "readers.cedar:2:20: policy `a` names Situs::Zone::\"eu\", which the policy does not know; did you mean `EU`?",
        ),
        (
            when("resource in Situs::Pipeline::\"cnc-stat\""),
            "readers.cedar:2:20: policy `a` names Situs::Pipeline::\"cnc-stat\", which does not exist; did you mean `cnc-state`?",
        ),
        (
            when("resource == Situs::Table::\"eu.cnc-state\""),
            "readers.cedar:2:20: policy `a` names Situs::Table::\"eu.cnc-state\", which no pipeline fills in that zone; did you mean `eu.cnc_state`?",
        ),
        (
            when("resource == Situs::SystemTable::\"receipts\""),
            "readers.cedar:2:20: policy `a` names Situs::SystemTable::\"receipts\", which does not exist; did you mean `cn.receipts`?",
        ),
        (
            when("resource in Situs::Kind::\"receipt\""),
            "readers.cedar:2:20: policy `a` names Situs::Kind::\"receipt\", which does not exist; did you mean `receipts`?",
        ),
        (
            when("resource in Situs::Scenario::\"remote\""),
            "readers.cedar:2:20: policy `a` names Situs::Scenario::\"remote\", which does not exist; did you mean `remote-maintenance`?",
        ),
        (
            "@id(\"a\") permit (principal, action == Situs::Action::\"see\", resource) when { context.field == Situs::FieldClass::\"secret\" };".to_owned(),
            "readers.cedar:1:95: policy `a` names Situs::FieldClass::\"secret\", which does not exist; did you mean `trade-secret`?",
        ),
    ] {
        let found = problems(READERS, &cedar);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{cedar}\n{expected}\n{found:#?}");
    }
}

#[test]
fn all_problems_of_both_files_are_told_at_once() {
    let cedar = "@id(\"a\") permit (principal in Situs::Role::\"x\", action, resource);\npermit (principal, action, resource);";
    let found = problems(&READERS.replace("zone: CN", "zone: cn"), cedar);
    // While the readers are not known, nobody can say who has which role.
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(problems(READERS, cedar).len(), 2);
    let right =
        "@id(\"b\") permit (principal in Situs::Role::\"x\", action, resource in Situs::Zone::\"EU\");";
    assert_eq!(
        problems(READERS, &cedar.replace("permit (principal, ", "@id(\"b\") permit (principal, ")).len(),
        1,
        "{right}"
    );
}

#[test]
fn both_files_are_one_text_that_is_read_again() {
    let cedar = "@id(\"a\")\npermit (principal, action, resource)\n\nwhen { context.purpose == Situs::Purpose::\"training\" }; // \u{e9}\n";
    let readers = parsed(cedar);
    let again = Readers::parse("archive", readers.text()).unwrap();
    assert_eq!((again.version(), again.text()), (readers.version(), readers.text()));
    assert_eq!(*readers.version(), ContentVersion::of(readers.text().as_bytes()));
    let tables = TableFacts::all(&policy(), &pipelines());
    let answers = |readers: &Readers| readers.permit("ana", "training", &tables).unwrap();
    assert_eq!(answers(&again), answers(&readers));
    assert!(answers(&readers).tables.iter().all(TableAnswer::is_allowed));
    // Each of the two files makes the version, the ends of lines do not.
    assert_ne!(parsed("").version(), readers.version());
    assert_eq!(parsed(&cedar.replace('\n', "\r\n")).version(), readers.version());
    let other = READERS.replace("zone: CN", "zone: EU");
    let other = Readers::parse_files("readers.yaml", &other, "readers.cedar", cedar).unwrap();
    assert_ne!(other.version(), readers.version());
    // Nobody may read, and this can be kept too.
    assert_eq!(Readers::parse("archive", parsed("").text()).unwrap().version(), parsed("").version());
}

/// A reader, a purpose and a table, and what may be seen: the classes of rows and of fields.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

#[test]
fn decisions() {
    let readers = parsed(
        r#"
        @id("home-only")
        forbid (principal, action, resource) unless { resource.zone == principal.zone };
        @id("science")
        permit (principal in Situs::Role::"data-science", action == Situs::Action::"read", resource is Situs::Table)
        when { context.purpose == Situs::Purpose::"training" && context.class in Situs::Class::"important" };
        @id("all-state")
        permit (principal == Situs::Reader::"ana", action == Situs::Action::"read", resource in Situs::Pipeline::"cnc-state")
        when { context.purpose == Situs::Purpose::"maintenance" };
        @id("not-core")
        forbid (principal in Situs::Organisation::"plant-stuttgart", action == Situs::Action::"read", resource)
        when { context.class == Situs::Class::"core" };
        @id("process")
        permit (principal, action == Situs::Action::"see", resource)
        when { context.field == Situs::FieldClass::"process" };
        @id("programs")
        permit (principal, action == Situs::Action::"see", resource in Situs::Scenario::"remote-maintenance")
        when { context.field == Situs::FieldClass::"trade-secret" && context.purpose == Situs::Purpose::"maintenance" };
        @id("receipts")
        permit (principal == Situs::Reader::"cy", action == Situs::Action::"read", resource in Situs::Kind::"receipts");
        @id("quarantine")
        permit (principal == Situs::Reader::"cy", action == Situs::Action::"read", resource in Situs::Kind::"quarantine")
        when { context.class in Situs::Class::"core" };
        "#,
    );
    let up_to_important: &[&str] = &["general", "important"];
    let cases: &[Case] = &[
        ("ana", "training", "eu.cnc_state", up_to_important, &["process"]),
        ("ana", "training", "eu.ar_pose", up_to_important, &["process"]),
        // Another zone is forbidden whoever permits it, and a reader there reads at home.
        ("ana", "training", "cn.cnc_state", &[], &[]),
        ("bo", "training", "cn.cnc_state", up_to_important, &["process"]),
        ("bo", "training", "eu.cnc_state", &[], &[]),
        // What forbids wins over what permits everything.
        (
            "ana",
            "maintenance",
            "eu.cnc_state",
            &["general", "important", "unclassified"],
            &["trade-secret", "process"],
        ),
        ("ana", "maintenance", "eu.ar_pose", &[], &["process"]),
        // A purpose that nothing permits, a reader without roles.
        ("bo", "maintenance", "cn.cnc_state", &[], &["trade-secret", "process"]),
        ("cy", "training", "eu.cnc_state", &[], &["process"]),
        // Tables that Situs keeps itself are no tables of a zone.
        ("ana", "training", "eu.receipts", &[], &[]),
        ("cy", "training", "eu.receipts", &["general"], &[]),
        ("cy", "training", "cn.receipts", &[], &[]),
        ("cy", "training", "eu.releases", &[], &[]),
        // Quarantine is unclassified, whatever a ceiling below that says.
        ("cy", "training", "eu.quarantine", &[], &[]),
    ];
    let tables = TableFacts::all(&policy(), &pipelines());
    assert_eq!(tables.len(), 2 * (2 + 4));
    for (reader, purpose, name, rows, fields) in cases {
        let permitted = readers.permit(reader, purpose, &tables).unwrap();
        let answer = table(&permitted, name);
        assert_eq!(words(&answer), (rows.to_vec(), fields.to_vec()), "{reader} {purpose} {name}");
        assert_eq!(answer.is_allowed(), !rows.is_empty());
        assert_eq!(answer.grant().is_some(), !rows.is_empty());
    }

    // Who decided, in the order of the text.
    let permitted = readers.permit("ana", "maintenance", &tables).unwrap();
    let answer = table(&permitted, "eu.cnc_state");
    let policies: Vec<Vec<String>> = answer.rows.iter().map(|answer| answer.policies.clone()).collect();
    assert_eq!(policies, [vec!["all-state"], vec!["all-state"], vec!["not-core"], vec!["all-state"]]);
    let abroad = table(&permitted, "cn.cnc_state");
    assert_eq!(abroad.rows[2].policies, ["home-only", "not-core"]);
    assert!(table(&permitted, "eu.ar_pose").rows.iter().take(2).all(|answer| answer.policies.is_empty()));

    // The right that comes of it.
    assert_eq!(answer.hidden_columns(), ["operator"]);
    assert_eq!(permitted.grants().len(), 1);
    let grant = &permitted.grants()[0];
    assert!(!grant.is_of_all_rows() && !grant.sees_rows_of(Some("core")) && grant.sees_rows_of(None));
    let receipts = readers.permit("cy", "training", &tables).unwrap().grants();
    assert!(receipts.len() == 1 && receipts[0].is_of_all_rows(), "{receipts:?}");
}

/// What a table got before the schema dropped it stayed visible; a claim was seen in `_claimed` by those to
/// whom its own column is hidden; and of a class that varies only the strictest was asked for.
#[test]
fn columns_are_hidden_by_every_way_in_which_they_have_a_class() {
    let mut facts = pipelines().remove(0);
    let mut fields: Vec<Field> = facts.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let classed = |name: &str, metadata: &[(&str, &str)]| {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Field::new(name, DataType::Utf8, true).with_metadata(metadata.collect())
    };
    let varying =
        [(CLASS_METADATA, "personal"), (CLASS_BY_METADATA, "mode\npersonal:USER\ntrade-secret:BLOCK")];
    let pseudonyms = [varying[0], varying[1], (PSEUDONYM_METADATA, "true")];
    fields.push(classed("value", &varying));
    fields.push(classed("who", &pseudonyms));
    fields.push(classed("claimed_plant", &[(CLASS_METADATA, "asset-identity")]));
    let dropped = HashMap::from([(DROPPED_METADATA.to_owned(), "badge,name".to_owned())]);
    facts.schema = Arc::new(Schema::new_with_metadata(fields, dropped));
    facts.claim_columns = vec!["claimed_plant".to_owned()];
    let tables = TableFacts::all(&policy(), &[facts]);
    let hidden = |classes: &[&str]| {
        let see = |class: &&str| {
            format!(
                "@id(\"see-{class}\") permit (principal, action == Situs::Action::\"see\", resource) \
                 when {{ context.field == Situs::FieldClass::\"{class}\" }};"
            )
        };
        let read =
            "@id(\"read\") permit (principal, action == Situs::Action::\"read\", resource);".to_owned();
        let cedar: Vec<String> = classes.iter().map(see).chain([read]).collect();
        let permitted = parsed(&cedar.join("\n")).permit("ana", "training", &tables).unwrap();
        let answer = table(&permitted, "eu.cnc_state");
        let grant = answer.grant().unwrap();
        for name in answer.hidden_columns() {
            assert!(!grant.sees_column(&Field::new(name, DataType::Utf8, true)), "{name}");
        }
        answer.hidden_columns().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let persons = ["badge", "name", "operator", "who"];
    assert_eq!(hidden(&["process", "trade-secret", "asset-identity"]), persons);
    assert_eq!(
        hidden(&["process", "personal"]),
        ["_claimed", "claimed_plant", "program", "value", "who"],
        "programs are in `value` and `who`"
    );
    assert_eq!(hidden(&["process", "personal", "asset-identity"]), ["program", "value", "who"]);
    assert_eq!(hidden(&["process", "personal", "trade-secret", "asset-identity"]), [""; 0]);
}

#[test]
fn names_are_taken_as_they_are() {
    let readers = parsed("@id(\"a\") permit (principal, action, resource);");
    for name in [
        "",
        "Ana",
        "ana ",
        "\u{430}na",
        "ana\u{200b}",
        "an\u{e1}",
        "ana'--",
        "ana\" || true",
        "Situs::Reader::\"ana\"",
        "*",
    ] {
        let error = readers.permit(name, "training", &[]).unwrap_err();
        assert!(matches!(error, PermitError::UnknownReader { .. }), "{name}: {error}");
        assert!(error.to_string().is_ascii(), "{error}");
        let error = readers.permit("ana", name, &[]).unwrap_err();
        assert!(matches!(error, PermitError::UnknownPurpose { .. }), "{name}: {error}");
    }
    let error = readers.permit("anna", "training", &[]).unwrap_err().to_string();
    assert_eq!(error, "there is no reader `anna`; did you mean `ana`?");
    let error = readers.permit("ana", "trainings", &[]).unwrap_err().to_string();
    assert_eq!(error, "there is no purpose `trainings`; did you mean `training`?");
}

/// Cedar passes over policies that fail, and with them over what they forbid.
#[test]
fn while_a_policy_fails_nothing_is_permitted() {
    let readers = parsed(
        "@id(\"a\") permit (principal, action, resource);
         @id(\"fails\") forbid (principal, action, resource is Situs::Table)
         when { 9223372036854775807 + (if principal == Situs::Reader::\"ana\" then 1 else 0) == 0 };",
    );
    let tables = TableFacts::all(&policy(), &pipelines());
    let ana = readers.permit("ana", "training", &tables).unwrap();
    let state = table(&ana, "eu.cnc_state");
    assert!(!state.is_allowed() && state.grant().is_none());
    assert!(state.rows.iter().all(|answer| answer.failed == ["fails"]), "{state:?}");
    assert!(table(&ana, "eu.receipts").is_allowed());
    assert!(table(&readers.permit("bo", "training", &tables).unwrap(), "eu.cnc_state").is_allowed());
}

#[test]
fn what_is_idle_is_warned_of() {
    let readers = parsed(
        "@id(\"home\") permit (principal in Situs::Role::\"data-science\", action == Situs::Action::\"read\", resource)
         when { resource.zone == principal.zone };
         @id(\"never\") permit (principal, action, resource) when { 1 == 2 };
         @id(\"nothing-left\") permit (principal == Situs::Reader::\"cy\", action == Situs::Action::\"read\", resource is Situs::Table);
         @id(\"not-cy\") forbid (principal == Situs::Reader::\"cy\", action == Situs::Action::\"read\", resource);",
    );
    let found: Vec<String> = readers.lint(&policy(), &pipelines()).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("readers.cedar:3:"), "{found:#?}");
    assert!(found[1].starts_with("readers.cedar:4:10: policy `nothing-left` decides nothing"), "{found:#?}");
    assert_eq!(found[2], "readers.yaml:5:3: reader `cy` may read no table for any purpose");
}

/// What ships, read here so that a mistake in it is found where it is made.
#[test]
fn what_ships_permits_readers_at_home_only() {
    let read = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/").to_owned() + name;
        std::fs::read_to_string(path).unwrap()
    };
    let readers =
        Readers::parse_files("readers.yaml", &read("readers.yaml"), "readers.cedar", &read("readers.cedar"));
    let readers = readers.unwrap_or_else(|problems| panic!("{problems}"));
    let tables = TableFacts::all(&policy(), &pipelines());
    let mut granted = 0;
    for reader in readers.readers() {
        for purpose in readers.purposes() {
            let permitted = readers.permit(reader.id.as_str(), purpose.as_str(), &tables).unwrap();
            for grant in permitted.grants() {
                assert_eq!(grant.zone, reader.zone);
                assert!(!grant.fields.contains(&FieldClass::Personal) || grant.table.is_reserved());
                assert!(grant.table != TableName::quarantine());
                granted += 1;
            }
        }
    }
    assert_eq!(granted, 2 * 2 + 2 * 2 + 2 * 2, "service, trainers, auditors");
}
