use std::collections::HashMap;

use super::*;

/// `line` is deployed in one market of each zone, `old` is registered no more.
const POLICY: &str = "
zones: { CN: { jurisdictions: [CN] }, EU: { jurisdictions: [DE, FR] } }
sites: { c: { jurisdiction: DE, topics: [t], any-device: true } }
rules: [ { id: all, zone: innermost, basis: law, training: in-zone } ]
models:
  - { id: line, version: '2', pipelines: [cnc-state], markets: [CN, DE] }
  - { id: near, version: '1', pipelines: [cnc-state], markets: [DE] }
  - { id: idle, version: '1', pipelines: [other], markets: [FR] }
";

fn subject() -> SharesSubject {
    SharesSubject {
        stores: BTreeMap::new(),
        home: "EU".parse().unwrap(),
        policy: Arc::new(Policy::parse("policy.yaml", POLICY).unwrap()),
        pipelines: Vec::new(),
        model: None,
        market: None,
    }
}

/// `ZONE JURISDICTION SITE CLASS TRAINING POLICY` and models and markets with commas; `-` is null.
fn tagged(tags: &str, rows: u64, span_us: Option<(i64, i64)>) -> Tagged {
    let words: Vec<&str> = tags.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let list = |at: usize| words[at].split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let [zone, jurisdiction, site, class, training, policy] = std::array::from_fn(|at| words[at].to_owned());
    let tags = Tags { zone, jurisdiction, site, class, training, policy, models: list(6), markets: list(7) };
    Tagged { tags, rows, span_us }
}

fn table(zone: &str, name: &str, tagged: Vec<Tagged>) -> Table {
    let counted = TaggedRows { version: 3, tagged };
    Table { zone: zone.parse().unwrap(), name: name.parse().unwrap(), counted }
}

/// Rows of both zones, some of them twice by a transfer.
fn tables() -> Vec<Table> {
    vec![
        table(
            "CN",
            "cnc_state",
            vec![
                tagged("CN CN a general in-zone p line CN,DE", 60, Some((10, 90))),
                tagged("CN CN b core in-zone p line,near CN,DE", 30, Some((5, 20))),
                tagged("CN CN b core prohibited p - -", 7, Some((0, 1))),
                tagged("CN CN b general allowed p - -", 3, None),
            ],
        ),
        table(
            "EU",
            "cnc_state",
            vec![
                tagged("EU DE c general in-zone p line CN,DE", 10, Some((100, 200))),
                tagged("EU FR d general in-zone p near DE", 40, None),
                tagged("EU DE c general in-zone q old SE", 1, Some((1, 1))),
            ],
        ),
        table(
            "EU",
            "cnc_state_received",
            vec![tagged("CN CN a general in-zone p line CN,DE", 20, Some((10, 50)))],
        ),
    ]
}

fn found(subject: &SharesSubject, tables: &[Table]) -> Shares {
    // Of `q` no text is kept.
    let past = [("p".to_owned(), Some(declared(&subject.policy))), ("q".to_owned(), None)].into();
    report(subject, &Markets { today: declared(&subject.policy), past }, tables)
}

fn model<'a>(shares: &'a Shares, name: &str) -> &'a ModelShares {
    shares.models.iter().find(|model| model.model == name).unwrap()
}

#[test]
fn shares_are_of_the_rows_of_a_model_and_copies_are_counted_apart() {
    let shares = found(&subject(), &tables());
    let names: Vec<&str> = shares.models.iter().map(|model| model.model.as_str()).collect();
    assert_eq!(names, ["idle", "line", "near", "old"]);
    let line = model(&shares, "line");
    assert_eq!((line.rows, line.received_rows, line.rows_in_scope), (100, 20, 100));
    assert_eq!(
        (line.version.as_deref(), &line.markets[..]),
        (Some("2"), &["CN".to_owned(), "DE".to_owned()][..])
    );
    let places: Vec<_> = line
        .collected
        .iter()
        .map(|one| (one.jurisdiction.as_str(), one.lies_in.as_str(), one.received, one.rows, one.percent))
        .collect();
    assert_eq!(
        places,
        [("CN", "CN", false, 90, 90.0), ("DE", "EU", false, 10, 10.0), ("CN", "EU", true, 20, 100.0)]
    );
    let cn = &line.collected[0];
    assert_eq!((cn.first.as_deref(), cn.last.as_deref()), (Some(&*time_text(5)), Some(&*time_text(90))));
    assert_eq!((&cn.other_markets[..], cn.in_scope), (&["DE".to_owned()][..], true));
    let parts: Vec<_> =
        cn.parts.iter().map(|part| (&*part.site, &*part.class, part.rows, part.percent)).collect();
    assert_eq!(parts, [("a", "general", 60, 60.0), ("b", "core", 30, 30.0)]);
    // A copy in the zone of the market is in scope as what it is a copy of.
    assert!(line.collected[2].in_scope && line.collected[2].zone == "CN");
    // A model that no row feeds is named, with nothing.
    let idle = model(&shares, "idle");
    assert_eq!((idle.rows, idle.collected.len(), &idle.markets[..]), (0, 0, &["FR".to_owned()][..]));
}

/// A market in another jurisdiction of the zone is told, and is no reason to be in scope.
#[test]
fn in_scope_is_what_feeds_a_model_outside_of_its_zone() {
    let shares = found(&subject(), &tables());
    let near = model(&shares, "near");
    let scopes: HashMap<&str, (bool, &[String])> = near
        .collected
        .iter()
        .map(|one| (&*one.jurisdiction, (one.in_scope, &one.other_markets[..])))
        .collect();
    assert_eq!(scopes["FR"], (false, &["DE".to_owned()][..]));
    assert_eq!(scopes["CN"], (true, &["DE".to_owned()][..]));
    assert_eq!((near.rows, near.rows_in_scope), (70, 30));
    // Not registered today, and judged by a policy that is lost: what the rows say is taken.
    let old = model(&shares, "old");
    assert_eq!(
        (old.version.as_deref(), &old.markets[..], &old.markets_before[..]),
        (None, &[][..], &["SE".to_owned()][..])
    );
    assert_eq!((old.rows_in_scope, old.collected[0].in_scope), (1, true));
    let said: Vec<&str> = shares.statements.iter().map(|one| one.text.as_str()).collect();
    assert!(said.iter().any(|text| text.contains("policies that are not kept (q)")), "{said:?}");
    // A zone that is no more has no market within.
    let gone = found(
        &subject(),
        &[table("US", "cnc_state", vec![tagged("US US - general in-zone p near DE", 1, None)])],
    );
    assert!(model(&gone, "near").collected[0].in_scope);
    assert!(gone.statements.iter().any(|one| one.about == "scope" && one.text.contains("(US)")));
}

/// The policy of the time said another market than that of today.
#[test]
fn a_model_that_was_deployed_elsewhere_keeps_that_market() {
    let subject = subject();
    let before = POLICY.replace("markets: [DE]", "markets: [CN]");
    let before = declared(&Policy::parse("old", &before).unwrap());
    let rows = [table("EU", "cnc_state", vec![tagged("EU DE c general in-zone p line,near CN,DE", 5, None)])];
    let past = [("p".to_owned(), Some(before))].into();
    let shares = report(&subject, &Markets { today: declared(&subject.policy), past }, &rows);
    let near = model(&shares, "near");
    assert_eq!(
        (&near.markets[..], &near.markets_before[..]),
        (&["DE".to_owned()][..], &["CN".to_owned()][..])
    );
    assert_eq!(near.rows_in_scope, 5);
    let of_market = SharesSubject { market: "CN".parse().ok(), ..subject };
    let past = [("p".to_owned(), Some(declared(&of_market.policy)))].into();
    let names: Vec<String> = report(&of_market, &Markets { today: declared(&of_market.policy), past }, &rows)
        .models
        .into_iter()
        .map(|model| model.model)
        .collect();
    assert_eq!(names, ["line"]);
}

#[test]
fn what_is_prohibited_feeds_nothing_and_every_row_is_in_one_count() {
    let mut tables = tables();
    // Somebody has changed a tag.
    tables[0].counted.tagged.push(tagged("CN CN b core prohibited p line CN", 2, None));
    let shares = found(&subject(), &tables);
    assert_eq!(model(&shares, "line").rows, 100);
    let cn = &shares.tables[0];
    assert_eq!((cn.rows, cn.feeding, cn.without_model, cn.prohibited), (102, 90, 3, 9));
    assert!(
        shares.statements.iter().any(|one| one.about == "contradiction" && one.text.starts_with("2 rows"))
    );
    for table in &shares.tables {
        assert_eq!(table.rows, table.feeding + table.without_model + table.prohibited);
        assert_eq!(table.rows, table.jurisdictions.iter().map(|one| one.rows).sum::<u64>());
    }
    let eu = &shares.tables[1];
    let of: Vec<_> = eu.jurisdictions.iter().map(|one| (&*one.jurisdiction, one.rows, one.percent)).collect();
    assert_eq!(of, [("FR", 40, 78.43), ("DE", 11, 21.57)]);
    assert!(shares.tables[2].received);
}

#[test]
fn filters_take_models_and_leave_the_totals() {
    let asked = SharesSubject { model: Some("near".to_owned()), ..subject() };
    let shares = found(&asked, &tables());
    assert_eq!((shares.models.len(), shares.tables.len()), (1, 3));
    // `idle` learns from another pipeline only.
    let asked = SharesSubject { pipelines: vec!["cnc-state".parse().unwrap()], ..subject() };
    assert!(found(&asked, &tables()).models.iter().all(|model| model.model != "idle"));
    // No table at all.
    let nothing = found(&subject(), &[]);
    assert_eq!((nothing.models.len(), nothing.tables.len()), (3, 0));
    assert!(nothing.to_string().contains("model near, version 1, deployed in DE: 0 rows feed it"));
}

#[test]
fn percents_are_rounded_and_nothing_is_divided_by_nothing() {
    assert_eq!([percent(1, 3), percent(2, 3), percent(0, 0), percent(5, 5)], [33.33, 66.67, 0.0, 100.0]);
    assert_eq!(percent(1, u64::MAX), 0.0);
    assert_eq!(percent(u64::MAX, u64::MAX), 100.0);
}

#[test]
fn people_read_a_table_that_no_tag_can_steer() {
    let mut tables = tables();
    tables[1].counted.tagged.push(tagged("EU DE c\u{1b}[2J general in-zone p line CN,DE", 1, None));
    tables[1].counted.tagged.push(tagged("EU DE tiny general in-zone p near CN,DE", 1, None));
    tables[1].counted.tagged.push(tagged("EU - - - - p near CN,DE", 1_000_000, None));
    let text = found(&subject(), &tables).to_string();
    for part in [
        "model line, version 2, deployed in CN, DE: 101 rows feed it, 101 of them in scope; 20 received rows name it\n",
        "  CN, zone CN                                         90   89.11%  1970-01-01T00:00:00.000Z  1970-01-01T00:00:00.000Z  DE: in scope\n",
        "    a                          general                60   59.41%",
        "training in-zone 60\n",
        "  CN, received in EU ",
        "DE, of the same zone\n",
        "<0.01%",
        "    none                       none              1000000",
        "model old, not registered today, deployed in none, before also in SE: 1 rows",
        "table CN.cnc_state, version 3: 100 rows, 90 feed a model, 3 feed none, 7 are prohibited; CN 100.00%\n",
        "table EU.cnc_state_received (received), version 3",
        "not assessed  all    training        Situs keeps no training sets",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
}
