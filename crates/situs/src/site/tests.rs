use super::*;

pub(super) const GOOD: &str = "\
home: { site: stuttgart-1, zone: EU }
kafka:
  brokers: 127.0.0.1:9092
  group: situs
  properties: { security.protocol: ssl }
stores: { EU: stores/eu, CN: /data/cn }
receipts: { signing-key: receipts-key.pem }
flush: { age: 2s }
http: { listen: 127.0.0.1:9464 }
maintenance: { every: 5m, vacuum: false, target-size: 128MiB, log-retention: 60d }
";

#[test]
fn a_whole_site() {
    let site = Site::parse(Path::new("conf/site.yaml"), GOOD).unwrap();
    assert_eq!(site.stores[&"EU".parse().unwrap()], Path::new("conf/stores/eu"));
    assert_eq!(site.stores[&"CN".parse().unwrap()], Path::new("/data/cn"));
    let Receipts::Signed(key) = &site.receipts else { panic!("{:?}", site.receipts) };
    assert_eq!(key.path, Path::new("conf/receipts-key.pem"));
    assert_eq!(site.flush.age, Duration::from_secs(2));
    assert_eq!(site.memory, 512 << 20);
    assert_eq!(site.kafka.cluster.as_str(), "kafka");
    assert_eq!(site.kafka.properties["security.protocol"], "ssl");
    let maintenance = site.maintenance;
    assert_eq!(maintenance.every, Duration::from_secs(300));
    assert_eq!(maintenance.log_retention, Duration::from_secs(60 * 86_400));
    assert_eq!(maintenance.optimize.target_size, 128 << 20);
    assert!(maintenance.optimizes && !maintenance.vacuums);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = "\
home: { site: Stuttgart, zone: EUU }
kafak: {}
kafka: { group: g, properties: { enable.auto.commit: true } }
stores: { eu: x, EU: y }
flush: { age: 5 sec, rows: 0 }
memory: 1MiB
http: { listen: localhost }
logs: { format: jsn }
maintenance: { optimise: true, vacuum: maybe, retention: 7 }
";
    let problems = Site::parse(Path::new("site.yaml"), text).unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    let expected = [
        ("1:1", "the site needs a key `receipts`"),
        ("1:15", "a site name"),
        ("1:32", "did you mean `EU`?"),
        ("2:1", "did you mean `kafka`?"),
        ("3:8", "needs a key `brokers`"),
        ("3:34", "set by Situs itself"),
        ("4:11", "a zone name"),
        ("5:15", "did you mean `s`?"),
        ("5:28", "a whole number"),
        ("6:9", "at least `16MiB`"),
        ("7:17", "an address"),
        ("8:17", "did you mean `json`?"),
        ("9:16", "did you mean `optimize`?"),
        ("9:40", "expected one of `true` or `false`"),
        ("9:58", "a duration"),
    ];
    assert_eq!(lines.len(), expected.len(), "{problems}");
    for (line, (place, text)) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("site.yaml:{place}: ")), "{line} at {place}");
        assert!(line.contains(text), "{line} with {text}");
    }
}

#[test]
fn values_come_from_the_environment() {
    let text = "\
home: { site: \"${SITE:-stuttgart-1}\", zone: \"${ZONE}\" }
kafka:
  brokers: ${BROKERS}
  group: situs-${NAME:-x}
  properties: { group.instance.id: \"${POD}\", client.id: \"$${POD}\" }
stores: { EU: \"${DATA}/eu\" }
receipts: { allow-unsigned: \"${UNSIGNED:-true}\" }
flush: { age: \"${AGE}\", rows: \"${ROWS}\", bytes: \"${BYTES}\" }
http:
  listen: ${IP:-127.0.0.1}:${PORT:-0}
memory: ${MEMORY:-}
";
    let lookup = |name: &str| match name {
        "ZONE" => Variable::Is("EU".into()),
        "BROKERS" => Variable::Is("one:9092, group: evil".into()),
        "POD" => Variable::Is("situs-0".into()),
        "DATA" => Variable::Is("/data".into()),
        "AGE" => Variable::Is("3s".into()),
        "ROWS" => Variable::Is("7".into()),
        "BYTES" => Variable::Is("2MiB".into()),
        _ => Variable::Unset,
    };
    let site = Site::parse_with(Path::new("site.yaml"), text, &lookup).unwrap();
    assert_eq!((site.home_site.as_str(), site.home_zone.as_str()), ("stuttgart-1", "EU"));
    assert_eq!((&*site.kafka.brokers, &*site.kafka.group), ("one:9092, group: evil", "situs-x"));
    assert_eq!(site.kafka.properties["group.instance.id"], "situs-0");
    assert_eq!(site.kafka.properties["client.id"], "${POD}");
    assert_eq!(site.stores[&"EU".parse().unwrap()], Path::new("/data/eu"));
    assert_eq!((site.flush.age, site.flush.rows, site.flush.bytes), (Duration::from_secs(3), 7, 2 << 20));
    assert_eq!(site.http.unwrap().to_string(), "127.0.0.1:0");
    assert_eq!((site.memory, &site.receipts), (DEFAULT_MEMORY, &Receipts::AllowUnsigned));

    let problems = Site::parse_with(Path::new("site.yaml"), text, &|_| Variable::Unset).unwrap_err();
    let problems = problems.to_string();
    for (place, name) in [
        ("1:45", "ZONE"),
        ("3:12", "BROKERS"),
        ("5:36", "POD"),
        ("6:15", "DATA"),
        ("8:15", "AGE"),
        ("8:31", "ROWS"),
        ("8:49", "BYTES"),
    ] {
        let expected = format!("site.yaml:{place}: the variable `{name}` is not set");
        assert!(problems.contains(&expected), "{problems}: {expected}");
    }
    assert_eq!(problems.lines().count(), 7, "{problems}");
}

#[test]
fn ledgers_are_kept_for_one_of_four_times() {
    let site = |more: &str| Site::parse(Path::new("site.yaml"), &format!("{}\n{more}", GOOD.trim_end()));
    assert_eq!(site("").unwrap().ledgers_keep.to_string(), "184d");
    for keep in ["184d", "3y", "5y", "10y"] {
        assert_eq!(site(&format!("ledgers: {{ keep: {keep} }}")).unwrap().ledgers_keep.to_string(), keep);
    }
    for (ledgers, what) in
        [("{ keep: 90d }", "expected one of `184d`"), ("{ kep: 3y }", "did you mean `keep`?")]
    {
        let problem = site(&format!("ledgers: {ledgers}")).unwrap_err().to_string();
        assert!(problem.contains(what), "{problem}");
    }
}

/// What is said of a site with these `receipts`.
fn problem_of(receipts: &str) -> String {
    let text = GOOD.replace("receipts: { signing-key: receipts-key.pem }", receipts);
    Site::parse(Path::new("site.yaml"), &text).unwrap_err().to_string()
}

#[test]
fn receipts_are_signed_or_said_not_to_be() {
    let text = GOOD.replace("{ signing-key: receipts-key.pem }", "{ allow-unsigned: true }");
    let site = Site::parse(Path::new("site.yaml"), &text).unwrap();
    assert_eq!(site.receipts, Receipts::AllowUnsigned);
    assert!(site.receipts.key().unwrap().is_none());

    for (receipts, expected) in [
        ("", "site.yaml:1:1: the site needs a key `receipts`: expected `receipts: { signing-key: FILE }`"),
        ("receipts: {}", "site.yaml:7:11: receipts needs a key `signing-key`"),
        ("receipts: { allow-unsigned: false }", "site.yaml:7:11: receipts needs a key `signing-key`"),
        (
            "receipts: { allow-unsigned: yes }",
            "site.yaml:7:29: `allow-unsigned` in receipts: expected one of",
        ),
        (
            "receipts: { allow-unsigned: true, signing-key: k }",
            "site.yaml:7:29: `allow-unsigned` in receipts",
        ),
        (
            "receipts: { allow-unsigned: true, trusted-keys: [k] }",
            "site.yaml:7:49: `trusted-keys` in receipts: expected only beside `signing-key`",
        ),
        (
            "receipts: { signing-kye: k }",
            "site.yaml:7:13: unknown key `signing-kye` in receipts; did you mean",
        ),
    ] {
        let problem = problem_of(receipts);
        assert!(problem.contains(expected), "{problem} of {receipts}");
    }
}

#[test]
fn ledgers_are_kept_for_184_days_or_for_years() {
    use situs_model::Age;
    let keep = |text: &str| {
        let site = Site::parse(std::path::Path::new("site.yaml"), &format!("{GOOD}{text}"));
        site.map(|site| site.maintenance.vacuum.keep_ledgers).map_err(|problems| problems.to_string())
    };
    assert_eq!(keep(""), Ok(Age::Days(184)));
    for (word, age) in
        [("184d", Age::Days(184)), ("3y", Age::Years(3)), ("5y", Age::Years(5)), ("10y", Age::Years(10))]
    {
        assert_eq!(keep(&format!("\nledgers: {{ keep: {word} }}\n")), Ok(age));
    }
    for (text, part) in [
        ("\nledgers: { keep: 30d }\n", "expected one of `184d`, `3y`, `5y` or `10y`"),
        ("\nledgers: { kep: 3y }\n", "unknown key `kep` in ledgers; did you mean `keep`?"),
    ] {
        let problem = keep(text).unwrap_err();
        assert!(problem.contains(part), "{problem}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_reported_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.yaml");
    let site = Site::parse(&path, GOOD).unwrap();
    let problem = site.receipts.key().unwrap_err().to_string();
    assert!(problem.contains("site.yaml:7:26: `signing-key` in receipts: "), "{problem}");
    let made = situs_store::ReceiptKey::create(&folder.path().join("receipts-key.pem")).unwrap();
    assert_eq!(site.receipts.key().unwrap().unwrap().public(), made.public());
}

#[test]
fn devices_are_shared_unless_the_site_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.yaml");
    let stores = "stores: { EU: stores/eu, CN: stores/cn }";
    let site =
        |text: &str| Site::parse(&path, &GOOD.replace("stores: { EU: stores/eu, CN: /data/cn }", text));
    for text in [stores.to_owned(), format!("{stores}\nseparate-devices: false")] {
        let site = site(&text).unwrap();
        assert!(!site.separate_devices.asked());
        site.check_roots().unwrap();
    }
    let separate = site(&format!("{stores}\nseparate-devices: true")).unwrap();
    assert!(separate.separate_devices.asked());
    // Neither root exists, so whoever would make them is told, and whoever checks the configuration is not.
    assert!(matches!(separate.check_roots(), Err(situs_store::RootError::SameDevice { .. })));
    assert_eq!(separate.shared_device(), None);
    std::fs::create_dir_all(folder.path().join("stores/eu")).unwrap();
    assert_eq!(separate.shared_device(), None);
    std::fs::create_dir_all(folder.path().join("stores/cn")).unwrap();
    let problem = separate.shared_device().unwrap().to_string();
    assert!(
        problem.contains("site.yaml:7:19: `separate-devices`: zones CN and EU have their roots"),
        "{problem}"
    );
    let problem = site(&format!("{stores}\nseparate-devises: true")).unwrap_err().to_string();
    assert!(problem.contains("did you mean `separate-devices`?"), "{problem}");
}

/// The examples of docs/config.md are read.
#[test]
fn the_page_of_the_configuration_is_true() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.md");
    let page = std::fs::read_to_string(page).unwrap();
    let examples: Vec<&str> =
        page.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(examples.len() > 2);
    for example in &examples {
        Site::parse_with(Path::new("site.yaml"), example, &|_| Variable::Unset)
            .unwrap_or_else(|problems| panic!("{problems}\n{example}"));
    }
}

#[test]
fn secrets_of_kafka_come_from_files_that_nobody_else_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.yaml");
    let site = |kafka: &str, more: &str| {
        let text = GOOD.replace("properties: { security.protocol: ssl }", kafka) + more;
        Site::parse(&path, &text)
    };
    let secrets = "secrets: { sasl.password: secrets/password }";
    let file = folder.path().join("secrets/password");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let write = |text: &str, mode: u32| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let problem = |more: &str| {
        let problem = site(secrets, more).unwrap().kafka.checked_properties().unwrap_err().to_string();
        assert!(problem.contains("site.yaml:5:29: `sasl.password` in secrets: "), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
        problem
    };
    let value = |more: &str| {
        let mut properties = site(secrets, more).unwrap().kafka.checked_properties().unwrap();
        properties.remove("sasl.password").unwrap()
    };
    assert!(problem("").contains("cannot read: No such file"));
    for (text, expected) in
        [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), ("a\n\n", "a\n")]
    {
        write(text, 0o600);
        assert_eq!(value(""), expected);
    }
    write("\n", 0o600);
    assert!(problem("").contains("it is empty"));
    write("hunter2\0", 0o600);
    assert!(problem("").contains("a NUL character"));
    std::fs::write(&file, [0xff, b'h']).unwrap();
    assert!(problem("").contains("not UTF-8"));

    // As Kubernetes mounts it.
    write("hunter2", 0o440);
    let refused = problem("");
    assert!(refused.contains("(mode 0440)") && refused.contains("group-readable: true"), "{refused}");
    let allowed = "key-files: { group-readable: true }\n";
    assert_eq!(value(allowed), "hunter2");
    assert!(problem("key-files: { group-readable: false }\n").contains("(mode 0440)"));
    write("hunter2", 0o444);
    assert!(!problem("").contains("group-readable"), "it would not help");
    assert!(problem(allowed).contains("others may use it"));

    // The same rule for the other keys.
    let key = folder.path().join("receipts-key.pem");
    situs_store::ReceiptKey::create(&key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o440)).unwrap();
    assert!(site("", "").unwrap().receipts.key().unwrap_err().to_string().contains("group-readable: true"));
    assert!(site("", allowed).unwrap().receipts.key().unwrap().is_some());

    let twice = "properties: { sasl.password: x }\n  secrets: { sasl.password: y, group.id: z }";
    let problems = site(twice, "").unwrap_err().to_string();
    assert!(
        problems.contains("6:14: `sasl.password` in secrets: it is in `properties` already"),
        "{problems}"
    );
    assert!(problems.contains("6:32: `group.id` is set by Situs itself"), "{problems}");
}

#[test]
fn a_password_in_plain_text_is_warned_of_and_never_shown() {
    let kafka = "properties: { sasl.password: hunter2, client.id: x, ssl.key.pem: \"${PEM}\" }";
    let text = GOOD.replace("properties: { security.protocol: ssl }", kafka);
    let pem = |_: &str| Variable::Is("hunter3".into());
    let site = Site::parse_with(Path::new("site.yaml"), &text, &pem).unwrap();
    let warnings: Vec<String> = site.kafka.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("site.yaml:5:17: `sasl.password` stands in plain text in the site"),
        "{warnings:?}"
    );
    assert!(!format!("{warnings:?}{site:?}").contains("hunter"), "{site:?}");
}

#[test]
fn librdkafka_is_asked_for_the_properties() {
    let text = GOOD.replace(
        "{ security.protocol: ssl }",
        "{ sesion.timeout.ms: 5, \n    session.timeout.ms: hunter2, client.id: x }",
    );
    let site = Site::parse(Path::new("site.yaml"), &text).unwrap();
    let problems = site.kafka.checked_properties().unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 2, "{problems}");
    assert!(
        lines[0].starts_with("site.yaml:5:17: `sesion.timeout.ms` in kafka: librdkafka knows no"),
        "{problems}"
    );
    assert!(
        lines[1].starts_with("site.yaml:6:5: `session.timeout.ms` in kafka: Invalid value"),
        "{problems}"
    );
    assert!(!problems.contains("hunter2"), "{problems}");
    let text = GOOD.replace("protocol: ssl }", "protocol: ssl, ssl.ca.location: /no/such/ca.pem }");
    let site = Site::parse(Path::new("site.yaml"), &text).unwrap();
    let problems = site.kafka.checked_properties().unwrap_err().to_string();
    assert!(problems.starts_with("site.yaml:5:41: `ssl.ca.location` in kafka: "), "{problems}");
}
