use super::*;

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn transfer() -> Transfer {
    Transfer {
        id: "wear-study".parse().unwrap(),
        from: "CN".parse().unwrap(),
        to: "EU".parse().unwrap(),
        cargo: Cargo::Rows {
            pipeline: "cnc-state".parse().unwrap(),
            columns: vec!["spindle_load".to_owned()],
            filter: None,
            max_rows: 100,
        },
        ceiling: Class::General,
        purpose: "spindle wear".to_owned(),
        usage: TransferUse::Operation,
        recipient: "Stuttgart".to_owned(),
        basis: TransferBasis::Contract,
        reference: None,
        until: Some(day("2026-12-31")),
    }
}

fn voice(by: &str, transfer: &Transfer) -> Voice {
    Voice { by: by.to_owned(), definition: transfer.definition() }
}

fn store(zone: &str) -> StoreIdentity {
    StoreIdentity { zone: zone.parse().unwrap(), store_id: "s".to_owned() }
}

fn decided(
    transfer: &Transfer,
    standing: &Standing,
    today: &str,
    measured: &Measured,
) -> Result<TransferPermit, Refusal> {
    let (from, to) = (store("CN"), store("EU"));
    decide("wear-study.1", transfer, Route { from: &from, to: &to }, standing, day(today), measured)
}

fn standing(transfer: &Transfer) -> Standing {
    Standing { requested: Some(voice("Li Wei", transfer)), approved: Some(voice("Anna Berg", transfer)) }
}

#[test]
fn a_transfer_goes_only_as_it_was_requested_and_approved() {
    let asked = Transfer { reference: Some("no. 1".to_owned()), ..transfer() };
    let well = standing(&asked);
    let permit = decided(&asked, &well, "2026-12-31", &Measured::Rows(100)).unwrap();
    assert_eq!((permit.id(), permit.rows(), permit.to()), ("wear-study.1", 100, &store("EU")));

    let refused = |transfer: &Transfer, standing: &Standing, today: &str, rows: u64| {
        decided(transfer, standing, today, &Measured::Rows(rows)).unwrap_err().code()
    };
    let nobody = Standing::default();
    assert_eq!(refused(&asked, &nobody, "2026-12-31", 1), "unrequested");
    let unapproved = Standing { approved: None, ..well.clone() };
    assert_eq!(refused(&asked, &unapproved, "2026-12-31", 1), "unapproved");
    let own = Standing { approved: Some(voice(" li  WEI ", &asked)), ..well.clone() };
    assert_eq!(refused(&asked, &own, "2026-12-31", 1), "self-approved");
    assert_eq!(refused(&asked, &well, "2027-01-01", 1), "expired");
    assert_eq!(refused(&asked, &well, "2026-12-31", 101), "too-many-rows");
    assert_eq!(refused(&asked, &well, "2026-12-31", 0), "nothing");

    // Every part of the definition counts.
    let changes: [fn(&mut Transfer); 9] = [
        |t| t.to = "US".parse().unwrap(),
        |t| t.ceiling = Class::Important,
        |t| t.purpose.push('x'),
        |t| t.usage = TransferUse::Training,
        |t| t.recipient.push('x'),
        |t| t.basis = TransferBasis::Consent,
        |t| t.reference = Some("x".to_owned()),
        |t| t.until = Some(day("2027-01-01")),
        |t| {
            if let Cargo::Rows { columns, filter, max_rows, .. } = &mut t.cargo {
                columns.push("x".to_owned());
                *filter = Some("x > 1".to_owned());
                *max_rows += 1;
            }
        },
    ];
    for change in changes {
        let mut changed = asked.clone();
        change(&mut changed);
        assert_ne!(changed.definition(), asked.definition());
        assert_eq!(refused(&changed, &well, "2026-12-31", 1), "changed", "{changed:?}");
        let approved_other = Standing { requested: Some(voice("Li Wei", &changed)), ..well.clone() };
        assert_eq!(refused(&changed, &approved_other, "2026-12-31", 1), "changed", "{changed:?}");
    }
}

#[test]
fn core_and_unclassified_never_go_and_important_only_with_a_reference_until_a_day() {
    for ceiling in [Class::Core, Class::Unclassified] {
        let strict = Transfer { ceiling, reference: Some("r".to_owned()), ..transfer() };
        let refused = decided(&strict, &standing(&strict), "2026-01-01", &Measured::Rows(1));
        assert_eq!(refused, Err(Refusal::Ceiling(ceiling)));
        assert_eq!(requestable(&strict, day("2026-01-01")), Err(Refusal::Ceiling(ceiling)));
    }
    let important = Transfer { ceiling: Class::Important, ..transfer() };
    let with = |reference: Option<&str>, until: Option<&str>| {
        let reference = reference.map(str::to_owned);
        let transfer = Transfer { reference, until: until.map(day), ..important.clone() };
        decided(&transfer, &standing(&transfer), "2026-06-01", &Measured::Rows(1)).map(|_| ())
    };
    assert_eq!(with(Some("CAC 2026-17"), Some("2026-06-01")), Ok(()));
    assert_eq!(with(None, Some("2026-12-31")), Err(Refusal::WithoutReference));
    assert_eq!(with(Some("CAC 2026-17"), None), Err(Refusal::WithoutReference));
    assert!(matches!(with(Some("CAC 2026-17"), Some("2026-05-31")), Err(Refusal::Expired { .. })));
}

#[test]
fn each_row_is_judged_by_its_class_and_its_training() {
    let operation = transfer();
    let training = Transfer { usage: TransferUse::Training, ceiling: Class::Important, ..transfer() };
    for (_, class) in Class::WORDS {
        for (_, may) in Training::WORDS {
            let expected = if *class == Class::General { Ok(()) } else { Err(Stays::Class) };
            assert_eq!(operation.lets(*class, *may), expected);
            let goes = matches!(may, Training::WithApproval | Training::Allowed);
            let expected = match class {
                Class::General | Class::Important if goes => Ok(()),
                Class::General | Class::Important => Err(Stays::Training),
                Class::Core | Class::Unclassified => Err(Stays::Class),
            };
            assert_eq!(training.lets(*class, *may), expected);
        }
    }
}

#[test]
fn something_made_of_stricter_rows_does_not_go() {
    let cargo = Cargo::Derived { pipelines: vec!["cnc-state".parse().unwrap()] };
    let derived = Transfer { cargo, ..transfer() };
    let go = |transfer: &Transfer, rows: Option<(Class, Training)>| {
        decided(transfer, &standing(transfer), "2026-06-01", &Measured::MadeOf(rows)).map(|_| ())
    };
    assert_eq!(go(&derived, Some((Class::General, Training::Prohibited))), Ok(()));
    assert_eq!(go(&derived, None), Err(Refusal::Nothing));
    let refused = go(&derived, Some((Class::Core, Training::Allowed))).unwrap_err();
    assert_eq!(refused, Refusal::MadeOf { highest: Class::Core, ceiling: Class::General });

    // Made for training of rows that nobody elsewhere may learn from.
    let training = Transfer { usage: TransferUse::Training, ..derived };
    for (_, lowest) in Training::WORDS {
        let expected = match lowest {
            Training::WithApproval | Training::Allowed => Ok(()),
            lowest => Err(Refusal::MadeOfTraining { lowest: *lowest }),
        };
        assert_eq!(go(&training, Some((Class::General, *lowest))), expected);
    }
}

#[test]
fn names_that_look_alike_are_of_one_person() {
    for other in
        ["li  WEI", "Li\u{200b} Wei", "L\u{ad}i Wei", "LiWei", "Li-Wei.", "Li\u{3164}Wei", "\u{feff}li wei"]
    {
        assert!(same_person("Li Wei", other), "{other:?}");
    }
    for other in ["Li Wen", "Anna Berg", ""] {
        assert!(!same_person("Li Wei", other), "{other:?}");
    }
    assert!(is_unseen('\u{200d}') && is_unseen('\n') && !is_unseen(' ') && !is_unseen('\u{fc}'));
}

/// So that no two definitions have the same text, wherever a value ends.
#[test]
fn the_text_of_a_definition_is_unambiguous() {
    let one = Transfer { purpose: "a\nrecipient:1:b".to_owned(), ..transfer() };
    let other = Transfer { purpose: "a".to_owned(), recipient: "b".to_owned(), ..transfer() };
    assert_ne!(one.definition(), other.definition());
}
