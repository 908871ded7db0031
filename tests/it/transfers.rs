//! Transfers from end to end: requested, approved, carried out once, refused with a reason, told in both ledgers; and
//! whoever tampers with what they tell is found.

mod check;
mod shares;
mod trust;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use situs::catalog::Catalog;
use situs::site::Site;
use situs::transfer::{Answer, State, Step, Transfers};
use situs_model::transfer::Refusal;
use situs_model::{LedgerFact, LedgerKind};
use situs_store::{DeltaStore, ReceiptKey};

use crate::home::{Home, project, situs, state};

const TOPIC: &str = "cnc.state";

/// A rule by which some rows are important, and transfers of every kind.
const RULE: &str = "rules:\n  - id: cn-line\n    jurisdictions: [CN]\n    when: line = 7\n    zone: CN\n    class: important\n    basis: contract\n    training: with-approval\n";
const TRANSFERS: &str = "
transfers:
  - id: wear-study
    from: CN
    to: EU
    pipeline: cnc-state
    columns: [device, spindle_speed, line]
    where: line < 50
    ceiling: general
    purpose: Study of spindle wear over both plants
    use: operation
    recipient: Plant engineering, Stuttgart
    basis: contract
    reference: Service agreement, annex 3
    until: 2099-12-31
    max-rows: 60
  - id: wear-model
    from: CN
    to: EU
    pipeline: cnc-state
    columns: [line]
    ceiling: important
    purpose: Model of spindle wear
    use: training
    recipient: Condition monitoring, Stuttgart
    basis: security-assessment
    reference: CAC 2026-17
    until: 2099-12-31
    max-rows: 1000
  - id: wear-figures
    from: CN
    to: EU
    derived: true
    pipelines: [cnc-state]
    ceiling: important
    purpose: Figures for the board
    use: operation
    recipient: Board, Stuttgart
    basis: security-assessment
    reference: CAC 2026-18
    until: 2099-12-31
";

/// Gives a home a policy of its own: the one that ships, with these changes and these transfers.
fn with_policy(home: &Home, transfers: &str, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(project().join("pipelines/policy.yaml")).expect("a policy");
    for (right, changed) in changes {
        assert!(text.contains(right), "no `{right}` to change");
        text = text.replacen(right, changed, 1);
    }
    text.push_str(transfers);
    let path = home.site().with_file_name("policy.yaml");
    std::fs::write(&path, text).expect("written");
    let site = std::fs::read_to_string(home.site()).expect("a site");
    let line = |line: &str| match line.starts_with("policy: ") {
        true => format!("policy: {}\n", path.display()),
        false => format!("{line}\n"),
    };
    std::fs::write(home.site(), site.lines().map(line).collect::<String>()).expect("written");
}

/// A message of a machine that does not cut, so that it feeds no model.
fn idle(device: &str, line: usize) -> Vec<u8> {
    let text = String::from_utf8(state(device, line)).expect("UTF-8");
    text.replace("ACTIVE", "READY").into_bytes()
}

/// A home whose zone CN has 100 rows: line 7 is important, and the first ten lines feed no model.
fn filled() -> Home {
    let home = Home::new(&["cnc-state"], &[(TOPIC, 1)]);
    with_policy(&home, TRANSFERS, &[("rules:\n", RULE)]);
    let message = |n: usize| if n < 10 { idle("nn-cnc-001", n) } else { state("nn-cnc-001", n) };
    // Null leaves a code of quality.
    let message = |n: usize| {
        let text = String::from_utf8(message(n)).expect("UTF-8");
        text.replace(r#""line""#, r#""program":null,"line""#).into_bytes()
    };
    let messages: Vec<_> = (0..100).map(|n| Some(message(n))).chain([Some(state("st-cnc-001", 1))]).collect();
    home.send(TOPIC, 0, &messages);
    home.catch_up();
    home
}

fn transfer(home: &Home, arguments: &[&str]) -> Output {
    let (verb, rest) = arguments.split_first().expect("a verb");
    let mut command = situs();
    command.args(["transfer", verb, "--config"]).arg(home.site()).args(rest);
    command.output().expect("situs runs")
}

/// The JSON object of a command, and its exit code.
fn object(home: &Home, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = transfer(home, &[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), value)
}

fn requested(home: &Home, name: &str) -> String {
    let (code, value) = object(home, &["request", name, "--by", "Li Wei"]);
    assert_eq!((code, &value["outcome"]), (Some(0), &Value::from("requested")), "{value}");
    value["id"].as_str().expect("an id").to_owned()
}

fn approved(home: &Home, name: &str) -> String {
    let id = requested(home, name);
    let (code, value) = object(home, &["approve", &id, "--by", "Anna Berg"]);
    assert_eq!((code, &value["outcome"]), (Some(0), &Value::from("approved")), "{value}");
    id
}

fn refused(home: &Home, arguments: &[&str], code: &str) {
    let (exit, value) = object(home, arguments);
    assert_eq!((exit, &value["outcome"]), (Some(1), &Value::from("refused")), "{value}");
    assert_eq!(value["code"], code, "{value}");
    // The ledger of the zone that the rows live in tells of it.
    let ledger = home.sql("select * from cn.ledger order by number desc limit 1");
    assert_eq!(ledger[0]["kind"], "transfer-refused", "{ledger:?}");
    let body: Value = serde_json::from_str(ledger[0]["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!((&body["code"], &body["why"]), (&Value::from(code), &value["why"]));
    assert_eq!(ledger[0]["said_by"], arguments.last().copied().expect("a name"));
}

/// What verify finds.
fn findings(home: &Home) -> Vec<String> {
    let output =
        situs().args(["store", "verify", "--json", "--config"]).arg(home.site()).output().expect("runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().flat_map(|check| {
        let name = check["check"].as_str().unwrap_or_default();
        let found = check["found"].as_array().expect("findings");
        found.iter().map(move |finding| format!("{name}: {}", finding["what"].as_str().unwrap_or_default()))
    });
    found.collect()
}

fn load(home: &Home) -> (Site, Catalog) {
    let text = std::fs::read_to_string(home.site()).expect("a site");
    let site = Site::parse(&home.site(), &text).expect("a site");
    let catalog = Catalog::load(&site.library).expect("a catalog");
    (site, catalog)
}

/// Does something with the library, as the verbs do.
fn with<T>(home: &Home, what: impl AsyncFnOnce(Transfers<'_>) -> T) -> T {
    let (site, catalog) = load(home);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { what(Transfers::open(&site, &catalog).await.expect("open")).await })
}

#[test]
fn an_approved_transfer_goes_once_and_both_ledgers_tell_of_it() {
    let home = filled();
    let id = approved(&home, "wear-study");
    let (code, value) = object(&home, &["run", &id, "--by", "Li Wei"]);
    assert_eq!((code, &value["outcome"]), (Some(0), &Value::from("sent")), "{value}");
    // Fifty lines were asked for, and line 7 is of a stricter class.
    assert_eq!((&value["rows"], &value["left_out"]["class"]), (&49.into(), &1.into()), "{value}");

    let rows = home.sql("select * from eu.cnc_state_received order by _transfer_row");
    assert_eq!(rows.len(), 49);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!((&row["_transfer"], &row["_transfer_row"]), (&Value::from(id.as_str()), &n.into()));
        // The source's tags are kept.
        assert_eq!(
            (&row["_zone"], &row["_jurisdiction"], &row["_class"]),
            (&"CN".into(), &"CN".into(), &"general".into())
        );
        assert_eq!(row["device"], "nn-cnc-001");
        assert!(
            !row["_quality"].to_string().contains("program"),
            "no code tells of a column that does not go: {row:?}"
        );
        assert!(
            row["line"] != 7 && !row.contains_key("execution") && !row.contains_key("program"),
            "{row:?}"
        );
    }
    assert!(home.number("select count(*) from cn.cnc_state where _quality like '%program%'") > 49);
    let same = "select count(*) from eu.cnc_state_received r join cn.cnc_state s on r._offset = s._offset \
                and r._row = s._row and r._rule = s._rule and r._policy = s._policy and r._training = s._training \
                and r.event_time = s.event_time and r.event_date = s.event_date and r.spindle_speed = s.spindle_speed";
    assert_eq!(home.number(same), 49);

    let told = |zone: &str, kind: &str| {
        let rows = home.sql(&format!("select * from {zone}.ledger where kind = '{kind}'"));
        assert_eq!(rows.len(), 1, "{rows:?}");
        let body: Value = serde_json::from_str(rows[0]["body"].as_str().expect("a body")).expect("JSON");
        (rows[0].clone(), body)
    };
    let ((sent, body), (received, other)) = (told("cn", "transfer-sent"), told("eu", "transfer-received"));
    assert_eq!(body, other);
    assert_eq!((&sent["subject"], &received["subject"]), (&id.as_str().into(), &id.as_str().into()));
    for (part, value) in [
        ("requested_by", "Li Wei"),
        ("approved_by", "Anna Berg"),
        ("purpose", "Study of spindle wear over both plants"),
        ("recipient", "Plant engineering, Stuttgart"),
        ("basis", "contract"),
        ("reference", "Service agreement, annex 3"),
        ("table", "cnc_state_received"),
    ] {
        assert_eq!(body[part], value, "{body:#}");
    }
    assert_eq!((&body["rows"], &body["classes"]["general"]), (&49.into(), &49.into()));
    let file = &body["files"][0];
    let path = home.data().join("eu/cnc_state_received").join(file["path"].as_str().expect("a path"));
    let bytes = std::fs::read(path).expect("the file");
    assert_eq!(
        (&file["sha256"], &body["bytes"]),
        (&situs_model::sha256_hex(&bytes).into(), &bytes.len().into())
    );

    // Again: it is done, and nothing is moved twice.
    let (code, value) = object(&home, &["run", &id, "--by", "Li Wei"]);
    assert_eq!((code, &value["rows"], &value["left_out"]), (Some(0), &49.into(), &Value::Null), "{value}");
    assert_eq!(home.number("select count(*) from eu.cnc_state_received"), 49);
    let report = home.verify();
    let transfers = report["checks"].as_array().expect("checks").iter().find(|c| c["check"] == "transfers");
    assert_eq!(transfers.expect("the check")["figures"]["received rows"], 49);

    // The same transfer another time: the rows are there twice, each time under its own id.
    let again = approved(&home, "wear-study");
    assert_eq!(object(&home, &["run", &again, "--by", "Li Wei"]).1["rows"], 49);
    assert_eq!(home.number("select count(distinct _transfer) from eu.cnc_state_received"), 2);
    home.verify();

    // Another transfer brings other columns; what a row does not have is null in it.
    let other = approved(&home, "wear-model");
    assert_eq!(object(&home, &["run", &other, "--by", "Li Wei"]).1["rows"], 10);
    assert_eq!(home.number("select count(*) from eu.cnc_state_received where device is null"), 10);
    home.verify();

    // Maintenance leaves received rows as they are.
    let maintained = situs().args(["store", "optimize", "--config"]).arg(home.site()).output().expect("runs");
    assert!(maintained.status.success(), "{}", String::from_utf8_lossy(&maintained.stderr));
    let vacuumed =
        situs().args(["store", "vacuum", "--retention", "0s", "--config"]).arg(home.site()).output();
    assert!(vacuumed.expect("runs").status.success());
    assert_eq!(home.number("select count(*) from eu.cnc_state_received"), 108);
    home.verify();

    let (_, value) = object(&home, &["show", &id]);
    assert_eq!(
        (&value["state"], value["entries"].as_array().map(Vec::len)),
        (&"sent".into(), Some(4)),
        "{value}"
    );
    let listed = transfer(&home, &["list"]);
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(text.contains(&id) && text.contains("3 transfers"), "{text}");
}

/// For training only what may be learned from elsewhere goes; important rows only by a transfer that says so.
#[test]
fn training_takes_only_rows_that_may_be_learned_from_elsewhere() {
    let home = filled();
    let id = approved(&home, "wear-model");
    let (code, value) = object(&home, &["run", &id, "--by", "Li Wei"]);
    // Ten rows feed no model abroad, line 7 among them, which is important.
    assert_eq!(
        (code, &value["rows"], &value["left_out"]["training"]),
        (Some(0), &10.into(), &90.into()),
        "{value}"
    );
    assert_eq!((&value["classes"]["general"], &value["classes"]["important"]), (&9.into(), &1.into()));
    let may = home.sql("select distinct _training from eu.cnc_state_received");
    assert_eq!(may.len(), 1);
    assert_eq!(may[0]["_training"], "with-approval");
    home.verify();
}

#[test]
fn what_is_not_approved_is_refused_and_the_ledger_tells_why() {
    let home = filled();
    let id = requested(&home, "wear-study");
    refused(&home, &["run", &id, "--by", "Li Wei"], "unapproved");
    refused(&home, &["approve", &id, "--by", "li  WEI"], "self-approved");
    let unseen = transfer(&home, &["approve", &id, "--by", "Li\u{200b} Wei"]);
    assert_eq!(unseen.status.code(), Some(2), "a name with what nobody sees");
    refused(&home, &["run", &id, "--by", "Li Wei"], "unapproved");
    let (code, _) = object(&home, &["approve", &id, "--by", "Anna Berg"]);
    assert_eq!(code, Some(0));

    // Fewer rows may go than there are.
    let fewer = TRANSFERS.replace("max-rows: 60", "max-rows: 48");
    with_policy(&home, &fewer, &[("rules:\n", RULE)]);
    refused(&home, &["run", &id, "--by", "Li Wei"], "changed");
    let other = approved(&home, "wear-study");
    refused(&home, &["run", &other, "--by", "Li Wei"], "too-many-rows");

    // There is nothing to carry.
    let none = TRANSFERS.replace("line < 50", "line < 0");
    with_policy(&home, &none, &[("rules:\n", RULE)]);
    let nothing = approved(&home, "wear-study");
    refused(&home, &["run", &nothing, "--by", "Li Wei"], "nothing");

    with_policy(&home, "", &[("rules:\n", RULE)]);
    refused(&home, &["run", &other, "--by", "Li Wei"], "undefined");
    assert!(!home.data().join("eu/cnc_state_received").exists(), "not a byte was moved");
    home.verify();

    // Nobody has asked for it, or the policy does not know it.
    let unknown = transfer(&home, &["run", "wear-study.0", "--by", "Li Wei"]);
    assert_eq!(unknown.status.code(), Some(1));
    with_policy(&home, TRANSFERS, &[("rules:\n", RULE)]);
    let misspelt = transfer(&home, &["request", "wear-studi", "--by", "Li Wei"]);
    assert_eq!(misspelt.status.code(), Some(2));
    let text = String::from_utf8_lossy(&misspelt.stderr).into_owned();
    assert!(text.contains("did you mean `wear-study`?"), "{text}");
}

/// The last day passes between the approval and the run.
#[test]
fn an_expired_transfer_is_refused_but_what_has_begun_is_finished() {
    let home = filled();
    let late = "2100-01-01".parse::<situs_model::Date>().expect("a day").start_us();
    let (id, begun) = (approved(&home, "wear-study"), approved(&home, "wear-study"));
    with(&home, async |transfers| {
        let carried = transfers.run_to(&begun, "Li Wei", Step::Rows).await.expect("carried");
        assert!(matches!(carried, Answer::Done(_)), "{carried:?}");
    });
    with(&home, async |transfers| {
        let transfers = transfers.at(late);
        let refused = transfers.run(&id, "Li Wei").await.expect("decided");
        assert!(matches!(refused, Answer::Refused { why: Refusal::Expired { .. }, .. }), "{refused:?}");
        let told = transfers.show(&id).await.expect("told");
        assert!(
            told.state == State::Approved
                && told.entries.last().expect("one").1.fact.kind == LedgerKind::TransferRefused
        );
        let refused = transfers.request("wear-study", "Li Wei").await.expect("decided");
        assert!(matches!(refused, Answer::Refused { why: Refusal::Expired { .. }, .. }), "{refused:?}");

        // Its rows are there, so that they are is told.
        let finished = transfers.run(&begun, "Li Wei").await.expect("finished");
        assert!(
            matches!(finished, Answer::Done(carried) if carried.rows == 49 && carried.left_out.is_none())
        );
        assert_eq!(transfers.show(&begun).await.expect("told").state, State::Sent);
    });
    home.verify();
}

/// The process ends behind each step; whoever runs it again finishes it.
#[test]
fn a_transfer_that_was_cut_off_anywhere_is_finished_once() {
    let home = filled();
    for last in [Step::Rows, Step::Received, Step::Sent] {
        let id = approved(&home, "wear-study");
        for _ in 0..2 {
            with(&home, async |transfers| {
                let cut = transfers.run_to(&id, "Li Wei", last).await.expect("carried");
                assert!(matches!(cut, Answer::Done(carried) if carried.rows == 49));
            });
        }
        // What was cut off is told by verify, and by nothing else.
        let found = findings(&home);
        match last {
            Step::Rows => assert!(
                matches!(found.as_slice(), [what] if what.starts_with(&format!("transfers: transfer {id}: 49 rows are of it"))),
                "{found:?}"
            ),
            Step::Received => assert!(
                matches!(found.as_slice(), [what] if what.contains("does not tell that it was sent")),
                "{found:?}"
            ),
            Step::Sent => assert!(found.is_empty(), "{found:?}"),
        }
        let (code, value) = object(&home, &["run", &id, "--by", "Li Wei"]);
        assert_eq!((code, &value["rows"]), (Some(0), &49.into()), "{value}");
        home.verify();
        let count = format!("select count(*) from eu.cnc_state_received where _transfer = '{id}'");
        assert_eq!(home.number(&count), 49);
    }
}

/// Two processes carry the same transfer out at once.
#[test]
fn two_processes_move_the_rows_of_a_transfer_once() {
    let home = filled();
    let id = approved(&home, "wear-study");
    let runs: Vec<Output> = std::thread::scope(|scope| {
        let run = || transfer(&home, &["run", &id, "--by", "Li Wei"]);
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().expect("ran")).collect()
    });
    for run in runs {
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    assert_eq!(home.number("select count(*) from eu.cnc_state_received"), 49);
    home.verify();
}

#[test]
fn what_was_made_of_rows_is_entered_and_not_copied() {
    let home = filled();
    let id = approved(&home, "wear-figures");
    let file = home.site().with_file_name("figures.csv");
    std::fs::write(&file, "mean,49.5\n").expect("written");
    let path = file.to_str().expect("a path");
    let (code, value) = object(&home, &["run", &id, "--artifact", path, "--by", "Li Wei"]);
    assert_eq!(
        (code, &value["outcome"], &value["highest"]),
        (Some(0), &"sent".into(), &"important".into()),
        "{value}"
    );
    let hash = situs_model::sha256_hex(b"mean,49.5\n");
    for (zone, kind) in [("cn", "derived-sent"), ("eu", "derived-received")] {
        let rows =
            home.sql(&format!("select body from {zone}.ledger where kind = '{kind}' and subject = '{id}'"));
        let body: Value = serde_json::from_str(rows[0]["body"].as_str().expect("a body")).expect("JSON");
        let artifact = &body["artifact"];
        assert_eq!((&artifact["name"], &artifact["sha256"]), (&"figures.csv".into(), &hash.as_str().into()));
        assert_eq!(body["sources"][0]["table"], "cnc_state");
        assert!(body["sources"][0]["version"].is_u64(), "{body:#}");
        assert_eq!(body["sources"][0]["classes"]["important"], 1);
    }
    assert!(!home.data().join("eu/cnc_state_received").exists());
    home.verify();
    // The same file again is no second one; another file is another transfer.
    assert_eq!(object(&home, &["run", &id, "--artifact", path, "--by", "Li Wei"]).0, Some(0));
    assert_eq!(home.number("select count(*) from cn.ledger where kind = 'derived-sent'"), 1);
    std::fs::write(&file, "mean,50\n").expect("written");
    let other = transfer(&home, &["run", &id, "--artifact", path, "--by", "Li Wei"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("another file left by transfer"));

    // Made of rows that are stricter than may go.
    let general = TRANSFERS.replace(
        "pipelines: [cnc-state]\n    ceiling: important",
        "pipelines: [cnc-state]\n    ceiling: general",
    );
    with_policy(&home, &general, &[("rules:\n", RULE)]);
    let strict = approved(&home, "wear-figures");
    refused(&home, &["run", &strict, "--artifact", path, "--by", "Li Wei"], "made-of");

    // Made for training, of rows that nobody elsewhere may learn from.
    let board = "purpose: Figures for the board\n    use: operation";
    let training = TRANSFERS.replace(board, "purpose: A model\n    use: training");
    with_policy(&home, &training, &[("rules:\n", RULE)]);
    let model = approved(&home, "wear-figures");
    refused(&home, &["run", &model, "--artifact", path, "--by", "Li Wei"], "made-of-training");
}

/// Rewrites the text of a log entry or a Parquet file's bytes, as somebody would who may write the store.
fn newest(folder: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files.pop().expect("a file")
}

#[test]
fn received_rows_without_the_ledgers_word_are_found() {
    let home = filled();
    let id = approved(&home, "wear-study");
    assert_eq!(object(&home, &["run", &id, "--by", "Li Wei"]).0, Some(0));
    home.verify();

    // The target's ledger loses its entry: the last commit of its table is taken back.
    let entry = newest(&home.data().join("eu/ledger/_delta_log"));
    let text = std::fs::read(&entry).expect("read");
    std::fs::remove_file(&entry).expect("removed");
    let found = findings(&home);
    assert!(
        found.iter().any(|what| what.contains("49 rows are of it, and the ledger here does not tell")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|what| what.contains("it was sent from zone CN, but the ledger here")),
        "{found:?}"
    );
    std::fs::write(&entry, text).expect("written");
    home.verify();

    // The rows vanish from the table: the commit that brought them is taken back.
    let entry = newest(&home.data().join("eu/cnc_state_received/_delta_log"));
    let text = std::fs::read(&entry).expect("read");
    std::fs::remove_file(&entry).expect("removed");
    let found = findings(&home);
    assert!(
        found.iter().any(|what| what.contains("the ledger tells of 49 rows, the table holds 0")),
        "{found:?}"
    );
    std::fs::write(&entry, text).expect("written");

    // One byte of a file.
    let day = home.data().join("eu/cnc_state_received/event_date=2026-03-01");
    let file = newest(&day);
    let mut bytes = std::fs::read(&file).expect("read");
    let kept = bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let found = findings(&home);
    assert!(
        found.iter().any(|what| what.contains("its SHA-256 is not that which the ledger tells")),
        "{found:?}"
    );
    std::fs::write(&file, kept).expect("written");
    home.verify();
}
