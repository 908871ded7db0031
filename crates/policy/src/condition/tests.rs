use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};

use super::*;
use crate::facts::PipelineFacts;
use crate::tags::dictionary;
use crate::testing;

const PLACE: Place = Place { line: 1, column: 1 };

fn facts() -> PipelineFacts {
    testing::facts()
}

fn compile(text: &str) -> Result<Compiled, CompileError> {
    Condition::parse(text, PLACE).unwrap().compile(&Scope::new(&facts()))
}

fn invalid(text: &str) -> String {
    match compile(text) {
        Err(CompileError::Invalid(message)) => message,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_no_condition_on_one_record_is_refused_when_parsed() {
    for (text, expected) in [
        ("", "not valid SQL: Expected: an expression"),
        ("load >", "not valid SQL: Expected: an expression"),
        ("load > 1; DROP TABLE cn", "expected the end of the expression, found: ;"),
        ("load > 1 load", "expected the end of the expression, found: load"),
        ("'open", "not valid SQL: Unterminated string literal"),
        ("(SELECT true)", "subqueries are not allowed"),
        ("EXISTS (SELECT 1)", "subqueries are not allowed"),
        ("load IN (SELECT 1)", "subqueries are not allowed"),
        ("uper(text) = 'X'", "there is no function `uper` in conditions"),
        ("count(load) > 1", "there is no function `count` in conditions"),
        ("sum(load) over () > 1", "there is no function `sum` in conditions"),
    ] {
        let message = Condition::parse(text, PLACE).unwrap_err();
        assert!(message.message.contains(expected), "{text}: {message:?}");
    }
    assert_eq!(Condition::parse(&"(".repeat(1000), PLACE).unwrap_err().message, "nested too deep");
    assert!(Condition::parse(&"1".repeat(MAX_LENGTH + 1), PLACE).is_err());
}

#[test]
fn the_deepest_condition_is_taken_on_a_thread_with_a_small_stack() {
    let chain = |links: usize| "count=1 or ".repeat(links) + "count=2";
    assert!(matches!(compile(&chain(MAX_DEPTH - 2)), Ok(Compiled::Ask(_))));
    for text in [chain(MAX_DEPTH), "a=1 or ".repeat(MAX_LENGTH / 7 - 1) + "a=2"] {
        assert!(Condition::parse(&text, PLACE).unwrap_err().message.contains("nested too deep"));
    }
    let deep = ["not ".repeat(900) + "true", "- ".repeat(2000) + "1 = 1", "((".repeat(1000) + "1"];
    for text in deep {
        assert!(Condition::parse(&text, PLACE).is_err(), "{text}");
    }
    let long = format!("count IN ({}1)", "1, ".repeat(MAX_LENGTH / 3 - 20));
    assert!(matches!(compile(&long), Ok(Compiled::Ask(_))));
}

#[test]
fn names_of_columns_are_found_once_each() {
    let text = "LOAD > 1 AND load < count AND \"Load\" = 1 AND upper(text) = 'x' AND a.b = 1";
    let condition = Condition::parse(text, PLACE).unwrap();
    assert_eq!(condition.columns, ["load", "count", "Load", "text", "a.b"]);
    assert_eq!(
        condition.compile(&Scope::new(&facts())).unwrap_err(),
        CompileError::Missing(vec!["Load".into(), "a.b".into()])
    );
}

#[test]
fn the_time_of_reading_cannot_decide() {
    let missing = compile("_ingest_time > _broker_time").unwrap_err();
    assert_eq!(missing, CompileError::Missing(vec!["_ingest_time".into()]));
    for text in ["uuid() = 'x'", "random() > 0.5", "now() > event_time", "CURRENT_TIMESTAMP > event_time"] {
        let fault = Condition::parse(text, PLACE).unwrap_err();
        assert!(fault.message.contains("there is no function"), "{text}: {fault:?}");
    }
}

#[test]
fn conditions_that_mean_nothing_are_refused() {
    for (text, expected) in [
        ("load", "expected a condition (BOOLEAN), found a value of type Float64"),
        ("'true'", "expected a condition (BOOLEAN)"),
        ("text > 10", "it compares text with a number"),
        ("device IN (1, 2)", "it compares text with a number"),
        ("count = 'x'", ""),
        ("load = $1", "Placeholder is not allowed"),
        ("1 / 0 = 1", ""),
    ] {
        let message = invalid(text);
        assert!(message.contains(expected), "{text}: {message}");
        assert!(!message.contains('\n'), "{text}: {message}");
    }
}

#[test]
fn what_the_pipeline_fixes_is_settled_at_once() {
    for (text, always) in [
        ("_class = 'general'", true),
        ("_pipeline IN ('cnc-state', 'x') AND _scenario LIKE 'remote%'", true),
        ("_class = 'core' AND load > 1", false),
        ("NULL", false),
        ("_jurisdiction = NULL", false),
        ("true", true),
        ("1 = 1 OR load > 3", true),
    ] {
        match compile(text) {
            Ok(Compiled::Always) => assert!(always, "{text}"),
            Ok(Compiled::Never) => assert!(!always, "{text}"),
            // NULL alone has no type; it is refused, which is as good.
            Err(CompileError::Invalid(_)) if text == "NULL" => {}
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn facts_alone_are_told_from_columns() {
    for (text, only_facts) in [
        ("_jurisdiction = 'CN' OR _site LIKE 'a%'", true),
        ("_topic = 'a' AND _claimed IS NULL", true),
        ("_jurisdiction = 'CN' AND device = 'x'", false),
        ("_offset > 3", false),
    ] {
        let Ok(Compiled::Ask(question)) = compile(text) else { panic!("{text}") };
        assert_eq!(question.only_facts(), only_facts, "{text}");
    }
}

/// Answers of a condition that reads one column.
fn answers(text: &str, column: &ArrayRef) -> Vec<Answer> {
    match compile(text) {
        Ok(Compiled::Ask(question)) => question.ask(std::slice::from_ref(column), column.len()),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn null_is_no_and_a_failure_stays_with_its_record() {
    use Answer::{Failed, No, Yes};
    let load: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(11.0), Some(f64::NAN)]));
    assert_eq!(answers("load > 10", &load), [No, No, Yes, Yes]);
    assert_eq!(answers("load IS NULL", &load), [No, Yes, No, No]);
    assert_eq!(answers("NOT (load > 10)", &load), [Yes, No, No, No]);

    let count: ArrayRef =
        Arc::new(Int64Array::from(vec![Some(5), Some(0), None, Some(0), Some(-1), Some(200)]));
    assert_eq!(answers("100 / count >= 1", &count), [Yes, Failed, No, Failed, No, No]);
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("7"), Some("x"), None]));
    assert_eq!(answers("CAST(text AS BIGINT) = 7", &text), [Yes, Failed, No]);
    assert_eq!(answers("TRY_CAST(text AS BIGINT) = 7", &text), [Yes, No, No]);
    assert!(answers("load > 1", &(Arc::new(Float64Array::from(Vec::<f64>::new())) as ArrayRef)).is_empty());
}

#[test]
fn a_comparison_alone_answers_as_the_whole_expression_does() {
    let special = [
        0.0,
        -0.0,
        1.5,
        -1.5,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MIN_POSITIVE / 2.0,
        f64::MAX,
        f64::MIN,
    ];
    let column: Float64Array = special.into_iter().map(Some).chain([None]).collect();
    // It may begin anywhere in its memory.
    let columns: [ArrayRef; 2] = [Arc::new(column.clone()), Arc::new(column.slice(3, 9))];
    let mut compared = 0;
    for operator in ["=", "<>", "<", "<=", ">", ">="] {
        for number in ["1.5", "-1.5", "0", "2", "1e308"] {
            let text = format!("load {operator} {number}");
            let Ok(Compiled::Ask(mut question)) = compile(&text) else { panic!("{text}") };
            assert_eq!(question.comparison.is_some(), number != "0", "{text}");
            let fast =
                columns.each_ref().map(|column| question.ask(std::slice::from_ref(column), column.len()));
            question.comparison = None;
            let slow =
                columns.each_ref().map(|column| question.ask(std::slice::from_ref(column), column.len()));
            assert_eq!(fast, slow, "{text}");
            compared += fast.iter().flatten().filter(|answer| **answer == Answer::Yes).count();
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn text_is_compared_byte_for_byte() {
    use Answer::{No, Yes};
    let sites = dictionary([Some("a"), Some("A"), Some("a "), None, Some("\u{430}"), Some("' OR 1=1 --")]);
    let text = "_site = 'a' OR _site = ''' OR 1=1 --'";
    assert_eq!(answers(text, &sites), [Yes, No, No, No, No, Yes]);
    assert_eq!(answers("_site IN ('a', 'b')", &sites), [Yes, No, No, No, No, No]);
    assert_eq!(answers("_site NOT IN ('a', 'b')", &sites), [No, Yes, Yes, No, Yes, Yes]);
    assert_eq!(answers("_site LIKE 'a%'", &sites), [Yes, No, Yes, No, No, No]);
    assert_eq!(answers("substr(_site, 1, 1) = 'a'", &sites), [Yes, No, Yes, No, No, No]);
    assert_eq!(answers("starts_with(lower(_site), 'a')", &sites), [Yes, Yes, Yes, No, No, No]);
}

#[test]
fn times_and_numbers_of_the_identity_columns_can_be_asked() {
    for text in [
        "event_time >= TIMESTAMP '2026-01-01T00:00:00Z'",
        "event_date < DATE '2026-03-01'",
        "_partition = 3 AND _offset BETWEEN 10 AND 20",
        "_quality IS NULL",
        "CASE WHEN load > 1 THEN true ELSE count > 2 END",
        "text ~ '^O[0-9]+$'",
        "coalesce(text, device) = 'x'",
        "position('a' IN text) > 0",
    ] {
        assert!(matches!(compile(text), Ok(Compiled::Ask(_))), "{text}: {:?}", compile(text));
    }
}
