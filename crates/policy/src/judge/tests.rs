use std::sync::Arc;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int32Type;
use arrow_schema::{DataType, Field};
use situs_model::Masks;
use situs_model::columns::names;
use situs_model::mask::Outside;
use situs_model::{Verdict, split};

use super::*;
use crate::testing::{POLICY, Row, Tags, batch, facts, judge, policy, tags};

mod random;

fn verdicts(policy_text: &str, topic: &str, rows: &[Row]) -> Vec<String> {
    tags(&judge(policy_text, topic, rows)).into_iter().map(|tags| tags.verdict).collect()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_record_of_one_zone_that_feeds_a_model_of_another_stays_and_the_tags_say_so() {
    let rows = [Row::of("nn-1").load(11.0), Row::of("nn-1").load(1.0), Row::of("st-1").load(20.0)];
    let tagged = judge(POLICY, "cnc.state", &rows);
    let resident = Tags {
        verdict: "CN".into(),
        jurisdiction: some("CN"),
        site: some("nanning-1"),
        claimed: None,
        zone: some("CN"),
        rule: some("cn-resident"),
        class: "general".into(),
        training: "in-zone".into(),
        models: Some(vec!["wear".into()]),
        markets: Some(vec!["CN".into(), "DE".into()]),
    };
    let feeds_none =
        Tags { training: "with-approval".into(), models: None, markets: None, ..resident.clone() };
    let stuttgart = Tags {
        verdict: "EU".into(),
        jurisdiction: some("DE"),
        site: some("stuttgart-2"),
        zone: some("EU"),
        rule: some("eu-resident"),
        ..resident.clone()
    };
    assert_eq!(tags(&tagged), [resident, feeds_none, stuttgart]);
    assert_eq!(tagged.verdicts.len(), 2);

    // Nothing else changes, and the columns are those that the schema promises.
    let batch = batch("cnc.state", &rows);
    let n = batch.rows.num_columns();
    assert_eq!(tagged.decoded.rows.columns()[..n], *batch.rows.columns());
    assert_eq!(tagged.decoded.message_of_row, [0, 1, 2]);
    let judge = policy(POLICY).judge(&facts()).unwrap();
    assert_eq!(tagged.decoded.rows.schema_ref(), judge.schema());
    for (field, expected) in judge.schema().fields()[n..].iter().zip(columns::tag_fields()) {
        assert_eq!(**field, expected);
    }
    let policy_column = tagged.decoded.rows.column_by_name(names::POLICY).unwrap();
    let versions =
        policy_column.as_dictionary::<Int32Type>().downcast_dict::<arrow_array::StringArray>().unwrap();
    assert!(versions.into_iter().all(|version| version == Some(judge.policy_version().as_str())));
    let classes = tagged.decoded.rows.column_by_name(names::CLASS).unwrap().as_dictionary::<Int32Type>();
    assert_eq!(classes.values().as_string::<i32>().value(0), "general");
}

#[test]
fn device_and_topic_give_the_site() {
    let rows = [
        Row::of("nn-1"),
        Row::of("st-1"),
        Row::of("nobody"),
        Row::default(),
        Row::of("NN-1"),
        Row::of("nn-1 "),
        Row::of(""),
        Row::of("'; DROP TABLE cn; --"),
    ];
    assert_eq!(
        verdicts(POLICY, "cnc.state", &rows),
        [
            "CN",
            "EU",
            "unknown-device",
            "unknown-device",
            "unknown-device",
            "unknown-device",
            "unknown-device",
            "unknown-device"
        ]
    );
    // A registered device is told by its registration even on a topic that names a site.
    let halden = tags(&judge(POLICY, "edge.halden", &rows));
    assert_eq!(halden[0].verdict, "foreign-topic");
    assert_eq!((halden[0].site.as_ref(), halden[0].jurisdiction.as_ref()), (None, None));
    assert_eq!(halden[1].site, some("stuttgart-2"));
    for tags in &halden[2..] {
        assert_eq!((tags.site.clone(), tags.verdict.as_str()), (some("halden-1"), "EU"));
    }
    let other = verdicts(POLICY, "other", &rows[..4]);
    assert_eq!(other, ["foreign-topic", "EU", "unknown-device", "unknown-device"]);
}

#[test]
fn a_pipeline_without_devices_is_placed_by_its_topic() {
    let mut facts = facts();
    facts.device_column = None;
    let mut judge = policy(POLICY).judge(&facts).unwrap();
    let tagged = judge.judge(batch("edge.halden", &[Row::of("nn-1"), Row::default()])).unwrap();
    assert!(tags(&tagged).iter().all(|tags| tags.site == some("halden-1")));
    let tagged = judge.judge(batch("cnc.state", &[Row::of("nn-1")])).unwrap();
    assert_eq!(tags(&tagged)[0].verdict, "unknown-device");
}

#[test]
fn claims_must_say_what_the_registry_says_byte_for_byte() {
    let claims = [
        ("CN", true),
        ("nanning-1", true),
        ("DE", false),
        ("stuttgart-2", false),
        ("\u{421}N", false),
        ("\u{ff23}\u{ff2e}", false),
        ("C\u{200b}N", false),
        ("cn", false),
        ("CN ", false),
        (" CN", false),
        ("CN\0", false),
        ("Nanning-1", false),
        ("", false),
        ("CN,nanning-1", false),
        ("x' OR '1'='1", false),
    ];
    let rows: Vec<Row> = claims.iter().map(|(claim, _)| Row::of("nn-1").country(claim)).collect();
    for (tags, (claim, agrees)) in tags(&judge(POLICY, "cnc.state", &rows)).iter().zip(claims) {
        let verdict = if agrees { "CN" } else { "claim-contradicts-registry" };
        assert_eq!(tags.verdict, verdict, "{claim:?}");
        assert_eq!(tags.claimed, some(claim));
        // The registry's facts stand, whatever is claimed.
        assert_eq!((tags.site.clone(), tags.jurisdiction.clone()), (some("nanning-1"), some("CN")));
        assert_eq!(tags.zone.is_some(), agrees);
        assert_eq!(tags.rule.is_some(), agrees);
        assert_eq!(tags.training, if agrees { "with-approval" } else { "prohibited" });
    }
}

#[test]
fn several_claims_must_all_agree_and_are_joined() {
    let row = |country: Option<&str>, plant: Option<&str>| Row {
        country: country.map(str::to_owned),
        plant: plant.map(str::to_owned),
        ..Row::of("nn-1")
    };
    let rows = [
        row(Some("CN"), Some("nanning-1")),
        row(None, Some("CN")),
        row(Some("CN"), Some("DE")),
        row(Some("DE"), None),
        row(None, None),
        Row { device: None, ..row(Some("CN"), Some("CN")) },
    ];
    let tags = tags(&judge(POLICY, "cnc.state", &rows));
    let told: Vec<_> = tags.iter().map(|tags| (tags.verdict.as_str(), tags.claimed.as_deref())).collect();
    let contradicts = "claim-contradicts-registry";
    assert_eq!(
        told,
        [
            ("CN", Some("CN,nanning-1")),
            ("CN", Some("CN")),
            (contradicts, Some("CN,DE")),
            (contradicts, Some("DE")),
            ("CN", None),
            ("unknown-device", Some("CN,CN")),
        ]
    );
}

#[test]
fn the_first_rule_that_is_true_decides_and_null_is_not_true() {
    let text = POLICY.replace(
        "rules:",
        "rules:
  - { id: heavy, when: load > 50, zone: CN, basis: law, training: prohibited }
  - { id: not-light, when: NOT (load < 10), zone: CN, basis: law }
  - { id: absent, when: no_such_column > 3 OR true, zone: CN, basis: law }
  - { id: counted, when: \"_jurisdiction = 'CN' AND count = 1\", zone: CN, basis: voluntary, training: allowed }",
    );
    let rows = [
        Row::of("nn-1").load(51.0),
        Row::of("nn-1").load(11.0),
        Row::of("nn-1").load(1.0),
        Row::of("nn-1"),
        Row::of("nn-1").count(1),
        Row::of("st-1").count(1),
        Row::of("st-1").load(60.0),
        Row::of("nobody").load(60.0),
    ];
    let tags = tags(&judge(&text, "cnc.state", &rows));
    let told: Vec<_> = tags.iter().map(|tags| (tags.verdict.as_str(), tags.rule.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("CN", Some("heavy")),
            ("CN", Some("not-light")),
            ("CN", Some("cn-resident")),
            ("CN", Some("cn-resident")),
            ("CN", Some("counted")),
            ("EU", Some("eu-resident")),
            // The first rule that matches decides, and its zone does not hold DE.
            ("jurisdiction-outside-zone", None),
            ("unknown-device", None),
        ]
    );
    // Prohibited records feed no model.
    assert_eq!((tags[0].models.as_ref(), tags[0].training.as_str()), (None, "prohibited"));
    assert_eq!(tags[1].models, None);
}

#[test]
fn without_a_rule_there_is_no_zone() {
    let text = POLICY.replace("IN ('DE', 'NO')", "= 'DE'");
    let tags = tags(&judge(&text, "edge.halden", &[Row::default().load(99.0)]));
    assert_eq!(
        tags,
        [Tags {
            verdict: "no-rule".into(),
            jurisdiction: some("NO"),
            site: some("halden-1"),
            class: "general".into(),
            training: "prohibited".into(),
            ..Tags::default()
        }]
    );
}

#[test]
fn a_condition_without_an_answer_places_nothing_and_harms_no_other_record() {
    let text = POLICY.replace(
        "rules:",
        "rules:\n  - { id: ratio, when: 100 / count > 10, zone: CN, basis: law, training: allowed }",
    );
    let rows = [
        Row::of("nn-1").count(5),
        Row::of("nn-1").count(0),
        Row::of("nn-1"),
        Row::of("nobody").count(0),
        Row::of("nn-2").count(50),
    ];
    let found = tags(&judge(&text, "cnc.state", &rows));
    let told: Vec<_> = found.iter().map(|tags| (tags.verdict.as_str(), tags.rule.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("CN", Some("ratio")),
            ("condition-failed", None),
            ("CN", Some("cn-resident")),
            ("unknown-device", None),
            ("CN", Some("cn-resident")),
        ]
    );
    // The same of a model; but only where the model could be fed.
    let text = POLICY.replace("load > 10", "CAST(text AS BIGINT) > 10");
    let rows =
        [Row::of("nn-1").text("11"), Row::of("nn-1").text("x"), Row::of("nn-1"), Row::of("st-1").text("1")];
    assert_eq!(verdicts(&text, "cnc.state", &rows), ["CN", "condition-failed", "CN", "EU"]);
    let text = text.replace("with-approval", "prohibited");
    assert_eq!(verdicts(&text, "cnc.state", &rows), ["CN", "CN", "CN", "EU"]);
}

#[test]
fn a_rule_is_for_its_jurisdictions_and_asks_no_others() {
    let text = POLICY.replace(
        "rules:",
        "rules:
  - { id: ratio, jurisdictions: [EEA@2020-02-01], when: 100 / count > 10, zone: EU, basis: law }",
    );
    let rows =
        [Row::of("nn-1").count(0), Row::of("st-1").count(0), Row::of("st-1").count(5), Row::of("st-1")];
    let found = tags(&judge(&text, "cnc.state", &rows));
    let told: Vec<_> = found.iter().map(|tags| (tags.verdict.as_str(), tags.rule.as_deref())).collect();
    let expected = [
        ("CN", Some("cn-resident")),
        ("condition-failed", None),
        ("EU", Some("ratio")),
        ("EU", Some("eu-resident")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_nested_zone_is_chosen_by_innermost_and_the_zone_around_it_by_name() {
    let nested = |rule: &str| {
        POLICY.replace("sites:", "  DE: { within: EU, jurisdictions: [DE] }\nsites:").replace(
            "rules:",
            &format!("rules:\n{rule}\n  - {{ id: de, when: count = 7, zone: DE, basis: law }}"),
        )
    };
    let placed = |rule: &str| {
        let rows = [Row::of("st-1").load(1.0), Row::of("nobody").load(1.0), Row::of("nn-1").load(1.0)];
        let text = nested(rule);
        tags(&judge(&text, "edge.halden", &rows)).into_iter().map(|tags| tags.verdict).collect::<Vec<_>>()
    };
    let innermost = "  - { id: i, jurisdictions: [EEA@2020-02-01], zone: innermost, basis: law }";
    assert_eq!(placed(innermost), ["DE", "EU", "foreign-topic"]);
    assert_eq!(placed(&innermost.replace("innermost", "EU")), ["EU", "EU", "foreign-topic"]);
    assert_eq!(
        placed(&innermost.replace("innermost", "DE")),
        ["DE", "jurisdiction-outside-zone", "foreign-topic"]
    );
    // A market in the zone around it is outside the nested zone.
    let text = nested(&innermost.replace("law", "law, training: allowed"))
        .replace("markets: [DE, CN]", "markets: ['NO']");
    let rows = [Row::of("st-1").load(11.0), Row::of("nobody").load(11.0), Row::of("st-1")];
    let training: Vec<String> =
        tags(&judge(&text, "edge.halden", &rows)).into_iter().map(|tags| tags.training).collect();
    assert_eq!(training, ["in-zone", "allowed", "allowed"]);
    // No zone has it: `innermost` gives none.
    let text = nested(&innermost.replace("[EEA@2020-02-01]", "[VN]"))
        .replace("jurisdiction: CN", "jurisdiction: VN");
    assert_eq!(verdicts(&text, "cnc.state", &[Row::of("nn-1")]), ["jurisdiction-outside-zone"]);
}

#[test]
fn days_are_those_of_the_broker() {
    let text = POLICY
        .replace("zone: CN, basis", "from: 2026-01-02, until: 2026-01-03, zone: CN, basis")
        .replace("when: _jurisdiction = 'CN'", "jurisdictions: [CN]")
        .replace("load > 10,", "load > 10, until: 2026-01-02,");
    let at = |day: &str, us: i64| Row {
        time: Some(Row::of("").on(day).time.unwrap() + us),
        ..Row::of("nn-1").load(11.0)
    };
    let rows = [
        at("2026-01-01", 86_399_999_999),
        at("2026-01-02", 0),
        at("2026-01-02", 86_399_999_999),
        at("2026-01-03", 0),
        at("2026-01-03", 86_399_999_999),
        at("2026-01-04", 0),
        Row::of("nn-1").load(11.0),
        // A rule with days is not for Germany, and a model with days is asked only where models may learn.
        Row { device: some("st-1"), ..at("2026-01-03", 0) },
        Row::of("st-1"),
    ];
    let found = tags(&judge(&text, "cnc.state", &rows));
    let told: Vec<_> = found.iter().map(|tags| (tags.verdict.as_str(), tags.models.is_some())).collect();
    assert_eq!(
        told,
        [
            ("no-rule", false),
            ("CN", true),
            ("CN", true),
            ("CN", false),
            ("CN", false),
            ("no-rule", false),
            // A record without a time is on no side of a day.
            ("condition-failed", false),
            ("EU", false),
            ("condition-failed", false),
        ]
    );
    let prohibited = text.replace("training: allowed", "training: prohibited");
    assert_eq!(verdicts(&prohibited, "cnc.state", &[Row::of("st-1")]), ["EU"]);
}

#[test]
fn a_rule_can_make_a_class_stricter_and_never_laxer() {
    for (of_pipeline, of_rule, expected) in [
        (Class::General, "important", "important"),
        (Class::Core, "general", "core"),
        (Class::Unclassified, "core", "unclassified"),
        (Class::Important, "unclassified", "unclassified"),
    ] {
        let text = POLICY.replace("zone: CN, basis", &format!("class: {of_rule}, zone: CN, basis"));
        let mut judge = policy(&text).judge(&PipelineFacts { class: of_pipeline, ..facts() }).unwrap();
        let rows = [Row::of("nn-1"), Row::of("st-1"), Row::of("nobody")];
        let found = tags(&judge.judge(batch("cnc.state", &rows)).unwrap());
        let classes: Vec<&str> = found.iter().map(|tags| tags.class.as_str()).collect();
        assert_eq!(classes, [expected, of_pipeline.as_str(), of_pipeline.as_str()]);
    }
    // In conditions `_class` is that of the pipeline, whatever a rule before gave.
    let text = POLICY
        .replace("zone: CN, basis", "class: core, zone: CN, basis")
        .replace("load > 10", "_class = 'core'");
    assert_eq!(tags(&judge(&text, "cnc.state", &[Row::of("nn-1")]))[0].models, None);
}

#[test]
fn lines_subdivisions_and_clusters() {
    let text = POLICY
        .replace(
            "    topics: [cnc.state]\n",
            "    topics: [cnc.state]\n    subdivision: CN-GX\n    lines: { l-1: [nn-3] }\n",
        )
        .replace("    jurisdiction: DE\n", "    jurisdiction: DE\n    cluster: kafka-st\n")
        .replace(
            "rules:",
            "rules:
  - { id: line, when: _line = 'l-1', zone: CN, basis: contract }
  - { id: part, when: _subdivision = 'CN-GX' AND count = 1, zone: CN, basis: contract }",
        );
    let rows = [Row::of("nn-1"), Row::of("nn-3").count(1), Row::of("nn-1").count(1), Row::of("st-1")];
    let mut judge = policy(&text).judge(&facts()).unwrap();
    let mut told = |cluster: &str| -> Vec<String> {
        let found = tags(&judge.judge(crate::testing::batch_of(cluster, "cnc.state", &rows)).unwrap());
        found.into_iter().map(|tags| tags.rule.unwrap_or(tags.verdict)).collect()
    };
    assert_eq!(told("kafka"), ["cn-resident", "line", "part", "foreign-cluster"]);
    assert_eq!(told("kafka-st"), ["cn-resident", "line", "part", "eu-resident"]);
}

#[test]
fn models_and_markets_are_gathered() {
    let text = POLICY.replace(
        "models:",
        "models:
  - { id: local, version: 1, pipelines: [cnc-state], markets: [CN] }
  - { id: nowhere, version: 1, pipelines: [cnc-state], where: _site = 'nanning-1' }
  - { id: abroad, version: 1, pipelines: [cnc-state, other], where: count = 1, markets: [US, FR] }
  - { id: elsewhere, version: 1, pipelines: [other], where: no_such_column, markets: [US] }",
    );
    let rows =
        [Row::of("nn-1"), Row::of("nn-1").count(1), Row::of("nn-1").load(11.0).count(1), Row::of("st-1")];
    let told: Vec<String> = tags(&judge(&text, "cnc.state", &rows))
        .into_iter()
        .map(|tags| {
            format!(
                "{} {} {}",
                tags.training,
                tags.models.unwrap().join("+"),
                tags.markets.unwrap().join("+")
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "with-approval local+nowhere CN",
            "in-zone local+nowhere+abroad CN+FR+US",
            "in-zone local+nowhere+abroad+wear CN+DE+FR+US",
            "in-zone local CN",
        ]
    );
}

#[test]
fn a_model_with_no_market_gives_an_empty_list_of_markets() {
    let text = POLICY.replace("where: load > 10, markets: [DE, CN]", "markets: []");
    let tags = tags(&judge(&text, "cnc.state", &[Row::of("nn-1")]));
    assert_eq!((tags[0].models.clone(), tags[0].markets.clone()), (Some(vec!["wear".into()]), Some(vec![])));
}

#[test]
fn a_batch_without_rows() {
    let tagged = judge(POLICY, "cnc.state", &[]);
    assert_eq!((tagged.decoded.rows.num_rows(), tagged.verdicts.len()), (0, 0));
}

#[test]
fn a_uniform_batch_has_one_value_per_column() {
    let rows = vec![Row::of("nn-1").load(1.0); 1000];
    let tagged = judge(POLICY, "cnc.state", &rows);
    for name in [names::ZONE, names::RULE, names::SITE, names::POLICY, names::TRAINING] {
        let column = tagged.decoded.rows.column_by_name(name).unwrap().as_dictionary::<Int32Type>();
        assert_eq!((column.values().len(), column.null_count()), (1, 0), "{name}");
    }
    assert_eq!(tagged.decoded.rows.column_by_name(names::CLAIMED).unwrap().null_count(), 1000);
    assert_eq!(tagged.verdicts, [Verdict::Resident("CN".parse().unwrap())]);
}

#[test]
fn rows_are_split_by_their_verdicts() {
    let rows = [Row::of("nn-1"), Row::of("st-1"), Row::of("nobody"), Row::of("nn-1").country("DE")];
    let stores = ["CN", "EU"].map(|zone| zone.parse().unwrap()).into();
    let judged = judge(POLICY, "cnc.state", &rows);
    let masks = Masks::new(judged.decoded.rows.schema(), Outside::new(), Arc::default());
    let split = split(judged, &stores, &masks).unwrap();
    for batch in &split.resident {
        let zones = batch.rows().column_by_name(names::ZONE).unwrap().as_dictionary::<Int32Type>();
        let zones = zones.downcast_dict::<arrow_array::StringArray>().unwrap();
        assert!(zones.into_iter().all(|zone| zone == Some(batch.zone().as_str())));
    }
    assert_eq!(split.quarantined.len(), 2);
}

#[test]
fn rows_of_another_shape_are_refused_without_a_word_of_them() {
    let mut judge = policy(POLICY).judge(&facts()).unwrap();
    let mut other = batch("cnc.state", &[Row::of("canary")]);
    other.rows = other.rows.project(&[0, 1]).unwrap();
    let error = judge.judge(other).unwrap_err().to_string();
    assert!(error.contains("cnc-state") && !error.contains("canary"), "{error}");
}

#[test]
fn a_pipeline_that_the_policy_cannot_judge() {
    let changed = |change: &dyn Fn(&mut PipelineFacts)| {
        let mut facts = facts();
        change(&mut facts);
        policy(POLICY).judge(&facts).unwrap_err().to_string()
    };
    let with_field = |facts: &mut PipelineFacts, field: Field| {
        let mut fields: Vec<Field> =
            facts.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.retain(|known| known.name() != field.name());
        fields.push(field);
        facts.schema = Arc::new(Schema::new(fields));
    };
    // A payload's own `_zone` never becomes a column, and if one did it would be refused.
    let text = changed(&|facts| with_field(facts, Field::new("_zone", DataType::Utf8, true)));
    assert_eq!(text, "policy.yaml: pipeline `cnc-state`: a decoded column may not be named `_zone`");
    let text = changed(&|facts| facts.device_column = Some("devise".into()));
    assert_eq!(
        text,
        "policy.yaml: pipeline `cnc-state` has no device column `devise`; did you mean `device`?"
    );
    let text = changed(&|facts| facts.claim_columns = vec!["count".into()]);
    assert_eq!(
        text,
        "policy.yaml: pipeline `cnc-state`: the claim column `count` must be `utf8` or `dictionary`"
    );
    let text = changed(&|facts| with_field(facts, Field::new("load", DataType::Utf8, true)));
    assert!(text.contains("`where` in model `wear`, on pipeline `cnc-state`: it compares text"), "{text}");
}

#[test]
fn a_model_needs_its_columns_and_a_rule_does_not() {
    let text = POLICY.replace("load > 10", "loads > 10");
    let problems = policy(&text).judge(&facts()).unwrap_err().to_string();
    assert_eq!(
        problems,
        "policy.yaml:21:62: `where` in model `wear`: pipeline `cnc-state` has no column `loads`; did you mean `load`?"
    );
}

#[test]
fn judging_can_move_to_another_thread() {
    fn sendable<T: Send + 'static>(_: &T) {}
    sendable(&policy(POLICY).judge(&facts()).unwrap());
}

/// A function may take what it is given for a length, and memory for it. So it is asked only of the records that
/// come to it.
#[test]
fn a_function_is_asked_only_of_records_that_come_to_it() {
    let judged = |when: &str, jurisdictions: &str, rows: &[Row]| {
        let rule = format!(
            "rules:\n  - {{ id: first, {jurisdictions} when: \"{when}\", zone: EU, basis: law, reference: text }}\n"
        );
        let text = POLICY.replace("rules:\n", &rule);
        tags(&judge(&text, "cnc.state", rows)).into_iter().map(|tags| tags.rule.unwrap()).collect::<Vec<_>>()
    };
    let rows = [Row::of("st-1").count(4), Row::of("nn-1").count(-1), Row::of("nn-1").count(1 << 40)];
    let expected = ["eu-resident", "cn-resident", "cn-resident"];
    assert_eq!(judged("lpad(device, count) = 'x'", "jurisdictions: [DE],", &rows), expected);
    let (rows, expected) = (&rows[1..2], &expected[1..2]);
    assert_eq!(judged("count >= 0 AND lpad(device, count) = 'x'", "", rows), expected);
    assert_eq!(judged("_jurisdiction = 'DE' AND lpad(device, count) = 'x'", "", rows), expected);
}
