use situs_model::columns::{dictionary_type, number_list_type, timestamp_type};

use super::*;

fn schema(fields: &[(&str, DataType, bool)]) -> Schema {
    Schema::new(
        fields.iter().map(|(name, t, nullable)| Field::new(*name, t.clone(), *nullable)).collect::<Vec<_>>(),
    )
}

#[test]
fn dictionaries_become_text_and_metadata_stays() {
    let unit = HashMap::from([("unit".to_owned(), "MILLIMETER".to_owned())]);
    let rows = Schema::new(vec![
        Field::new("d", dictionary_type(), true),
        Field::new("x", DataType::Float64, true).with_metadata(unit),
        Field::new("l", number_list_type(), true),
        Field::new("t", timestamp_type(), false),
    ]);
    let table = serde_json::to_value(table_schema(&rows).unwrap()).unwrap();
    assert_eq!(table["fields"][0]["type"], "string");
    assert_eq!(table["fields"][1]["metadata"]["unit"], "MILLIMETER");
    assert_eq!(table["fields"][2]["type"]["elementType"], "double");
    assert_eq!(table["fields"][3]["type"], "timestamp");
    assert_eq!(table["fields"][3]["nullable"], false);
}

#[test]
fn types_that_others_cannot_read_are_refused() {
    for data_type in [
        DataType::UInt64,
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::List(Field::new("element", DataType::UInt8, true).into()),
    ] {
        let fault = table_schema(&schema(&[("bad", data_type, true)])).unwrap_err();
        assert!(fault.message.contains("`bad`"), "{}", fault.message);
    }
}

#[test]
fn tables_widen_but_never_change_a_type() {
    let table =
        table_schema(&schema(&[("a", DataType::Int64, false), ("b", DataType::Utf8, false)])).unwrap();
    assert!(
        widened(&table, &schema(&[("b", DataType::Utf8, false), ("a", DataType::Int64, false)]))
            .unwrap()
            .is_none()
    );

    let wide = widened(&table, &schema(&[("a", DataType::Int64, true), ("c", DataType::Int32, false)]));
    let wide = wide.unwrap().unwrap();
    let fields: Vec<_> = wide.fields().map(|f| (f.name().as_str(), f.is_nullable())).collect();
    assert_eq!(fields, [("a", true), ("b", true), ("c", true)]);

    let fault = widened(&table, &schema(&[("a", DataType::Utf8, true)])).unwrap_err();
    assert!(fault.message.contains("`a`"), "{}", fault.message);
}
