//! `situs evidence shares` over stores that a run and a transfer have filled, against a naive count with SQL.

use std::collections::BTreeMap;

use super::*;

fn shares(home: &Home, arguments: &[&str]) -> Output {
    let mut command = situs();
    command.args(["evidence", "shares"]).args(arguments).arg("--config").arg(home.site());
    command.output().expect("situs runs")
}

fn json(home: &Home, arguments: &[&str]) -> Value {
    let output = shares(home, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// A place of rows: received or not, jurisdiction, zone, site, class.
type Place = (bool, String, String, String, String);

/// Rows, first and last time.
type Figures = (u64, String, String);

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// What a model is fed with, as the command says.
fn told(model: &Value) -> BTreeMap<Place, Figures> {
    let mut found = BTreeMap::new();
    for one in model["collected"].as_array().expect("a list") {
        for part in one["parts"].as_array().expect("a list") {
            let received = one["received"].as_bool().expect("a flag");
            let of = [&one["jurisdiction"], &one["zone"], &part["site"], &part["class"]];
            let [jurisdiction, zone, site, class] = of.map(text);
            let figures = (part["rows"].as_u64().expect("rows"), text(&part["first"]), text(&part["last"]));
            assert!(found.insert((received, jurisdiction, zone, site, class), figures).is_none());
        }
    }
    found
}

/// The same, counted with SQL.
fn counted(home: &Home, model: &str) -> BTreeMap<Place, Figures> {
    let mut found = BTreeMap::new();
    let time = |of: &str| format!("to_char({of}(event_time), '%Y-%m-%dT%H:%M:%S%.3fZ') as {of}_time");
    for (table, received) in
        [("cn.cnc_state", false), ("eu.cnc_state", false), ("eu.cnc_state_received", true)]
    {
        let statement = format!(
            "select _jurisdiction as j, _zone as z, _site as s, _class as c, count(*) as n, {}, {} from {table} \
             where array_has(_models, '{model}') and _training <> 'prohibited' group by 1, 2, 3, 4",
            time("min"),
            time("max")
        );
        for row in home.sql(&statement) {
            let place = (received, text(&row["j"]), text(&row["z"]), text(&row["s"]), text(&row["c"]));
            let rows = row["n"].as_u64().expect("rows");
            found.insert(place, (rows, text(&row["min_time"]), text(&row["max_time"])));
        }
    }
    found
}

#[test]
fn shares_agree_with_a_naive_count_and_say_what_is_in_scope() {
    let home = filled();
    let id = approved(&home, "wear-study");
    assert_eq!(object(&home, &["run", &id, "--by", "Li Wei"]).0, Some(0));

    let all = json(&home, &[]);
    let models = all["models"].as_array().expect("models");
    let model = |name: &str| models.iter().find(|model| model["model"] == name).expect("the model");
    let wear = model("spindle-wear");
    let naive = counted(&home, "spindle-wear");
    assert_eq!(told(wear), naive, "{wear:#}");
    // Lines 10 to 99 feed it, and one row of Stuttgart; 40 of the transfer's 49 rows do.
    let sum = |received: bool| -> u64 {
        naive.iter().filter(|(place, _)| place.0 == received).map(|(_, (rows, ..))| rows).sum()
    };
    assert_eq!((sum(false), sum(true)), (91, 40), "{naive:#?}");
    assert_eq!((&wear["rows"], &wear["received_rows"]), (&91.into(), &40.into()));
    assert_eq!(wear["markets"], serde_json::json!(["CN", "DE"]));
    assert_eq!(wear["markets_before"], serde_json::json!([]));

    // Each is deployed in the other's market, which is outside of its zone.
    let collected = wear["collected"].as_array().expect("a list");
    let lines: Vec<_> = collected
        .iter()
        .map(|one| {
            (text(&one["jurisdiction"]), text(&one["lies_in"]), one["percent"].as_f64(), &one["in_scope"])
        })
        .collect();
    let line = |jurisdiction: &str, lies_in: &str, percent: f64| {
        (jurisdiction.to_owned(), lies_in.to_owned(), Some(percent), &Value::Bool(true))
    };
    assert_eq!(lines, [line("CN", "CN", 98.9), line("DE", "EU", 1.1), line("CN", "EU", 100.0)]);
    assert_eq!(wear["rows_in_scope"], 91);
    assert_eq!(
        (&model("chatter")["rows"], &model("chatter")["collected"]),
        (&0.into(), &serde_json::json!([]))
    );

    // Totals of the tables, whatever feeds what.
    for table in all["tables"].as_array().expect("tables") {
        let name = format!("{}.{}", text(&table["zone"]).to_lowercase(), text(&table["table"]));
        let count = |of: &str| home.number(&format!("select count(*) from {name} where {of}"));
        let figure = |of: &str| table[of].as_i64().expect("a number");
        assert_eq!(figure("rows"), count("true"), "{name}");
        assert_eq!(figure("feeding"), count("_models is not null and _training <> 'prohibited'"), "{name}");
        assert_eq!(figure("without_model"), count("_models is null and _training <> 'prohibited'"), "{name}");
        assert_eq!(figure("prohibited"), count("_training = 'prohibited'"), "{name}");
        assert_eq!(table["received"], name.ends_with("_received"), "{name}");
    }
    assert_eq!(all["tables"].as_array().map(Vec::len), Some(3));

    // By model, market and pipeline.
    let names = |arguments: &[&str]| -> Vec<String> {
        let found = json(&home, arguments);
        found["models"].as_array().expect("models").iter().map(|model| text(&model["model"])).collect()
    };
    assert_eq!(names(&["--model", "spindle-wear", "--market", "DE"]), ["spindle-wear"]);
    assert!(names(&["--market", "FR"]).is_empty());
    assert_eq!(names(&["--pipeline", "cnc-state"]), ["spindle-wear"]);
    assert!(json(&home, &["--pipeline", "ar-pose"])["tables"].as_array().expect("tables").is_empty());
    for (arguments, part) in [
        (["--model", "spindle-wea"], "did you mean `spindle-wear`?"),
        (["--pipeline", "cnc-stat"], "did you mean `cnc-state`?"),
        (["--market", "XX"], "an ISO 3166-1 alpha-2 code"),
    ] {
        let refused = shares(&home, &arguments);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && text.contains(part), "{part}: {text}");
    }
    let people = shares(&home, &["--model", "spindle-wear"]);
    let said = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(said.contains("91 rows feed it, 91 of them in scope; 40 received rows name it"), "{said}");
    assert!(said.contains("  CN, received in EU "), "{said}");
}

/// The policy of today says another market; that of the time is kept and counts too.
#[test]
fn a_market_of_before_is_found_in_the_policy_that_judged_the_rows() {
    let home = filled();
    with_policy(&home, TRANSFERS, &[("rules:\n", RULE), ("markets: [CN, DE]", "markets: [FR]")]);
    let found = json(&home, &["--model", "spindle-wear"]);
    let wear = &found["models"][0];
    assert_eq!(wear["markets"], serde_json::json!(["FR"]), "{wear:#}");
    assert_eq!(wear["markets_before"], serde_json::json!(["CN", "DE"]), "{wear:#}");
    assert_eq!(wear["rows_in_scope"], 91);

    // Without the text of that policy, the rows' own tags tell.
    let kept = home.data().join("eu/_situs_policies");
    std::fs::remove_dir_all(&kept).expect("removed");
    let lost = json(&home, &["--model", "spindle-wear"]);
    assert_eq!(lost["models"], found["models"]);
    let statements = lost["statements"].as_array().expect("statements");
    let told = statements.iter().any(|one| text(&one["text"]).contains("policies that are not kept"));
    assert!(told, "{statements:#?}");
}
