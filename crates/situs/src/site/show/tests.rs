use situs_model::doc::Variable;

use super::*;
use crate::site::keys::{KEYS, Need};

/// Every key, none with its default.
const ALL: &str = "\
home: { site: stuttgart-1, zone: EU }
kafka:
  cluster: plant
  brokers: \"${BROKERS}\"
  group: group-1
  properties:
    client.id: \"$${POD}\"
    session.timeout.ms: 10000
    sasl.password: hunter2
    ssl.key.password: \"${PASSWORD}\"
    sasl.oauthbearer.client.secret: hunter2
    sasl.jaas.config: hunter2
  secrets: { ssl.key.pem: key.pem }
pipelines: somewhere
schemas: ../else
policy: policy.yaml
policy-reload: false
enabled: [cnc-state, cnc-observation]
stores: { EU: /data/eu, CN: 'with space: and #' }
separate-devices: true
receipts: { signing-key: receipts-key.pem, trusted-keys: [a.pem, /b.pem] }
key-files: { group-readable: true }
ledgers: { keep: 3y }
pseudonym-keys: { EU: eu.key }
flush: { age: 1500ms, rows: 5, bytes: 1000 }
memory: 1GiB
workers: 3
drain-timeout: 90s
http: { listen: \"[::1]:9464\", ready-lag: 3m }
metrics: { partitions: 5 }
logs: { format: json, filter: \"info,situs_ingest=debug\" }
maintenance:
  every: 2h
  optimize: false
  sealed-after: 2d
  target-size: 1MiB
  sort-memory: 2KiB
  vacuum: false
  retention: 8d
  orphans-after: 3d
  log-retention: 31d
";

const LEAST: &str = "\
home: { site: s, zone: EU }
kafka: { brokers: b, group: g }
stores: { EU: eu }
receipts: { allow-unsigned: true }
";

fn parse(text: &str) -> Site {
    let lookup = |name: &str| match name {
        "BROKERS" => Variable::Is("one:9092, two: \"x\"".into()),
        "PASSWORD" => Variable::Is("hunter2".into()),
        _ => Variable::Unset,
    };
    Site::parse_with(Path::new("/conf/site.yaml"), text, &lookup)
        .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// Without the places of values, which are others in another text.
fn facts(site: &Site) -> String {
    let text = format!("{site:#?}");
    let mut kept = String::new();
    for line in text.lines() {
        if !["file: ", "line: ", "column: "].iter().any(|part| line.trim_start().starts_with(part)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[test]
fn what_is_shown_is_the_same_site_again() {
    for text in [ALL, LEAST] {
        let site = parse(text);
        let shown = site.effective();
        for again in [as_yaml(&shown), shown.to_string()] {
            let again = parse(&again);
            assert_eq!(facts(&again), facts(&site));
            assert_eq!(again.effective(), shown);
            assert_eq!(again.kafka.properties.len(), site.kafka.properties.len());
            for (name, value) in &again.kafka.properties {
                let expected = if is_secret(name) { MASK } else { &site.kafka.properties[name] };
                assert_eq!(value, expected, "{name}");
            }
        }
    }
}

#[test]
fn no_secret_is_shown() {
    let shown = parse(ALL).effective();
    assert!(!shown.to_string().contains("hunter2"), "{shown:#}");
    for masked in ["sasl.password", "ssl.key.password", "sasl.oauthbearer.client.secret"] {
        assert_eq!(shown["kafka"]["properties"][masked], MASK, "{masked}");
    }
    assert_eq!(shown["kafka"]["secrets"]["ssl.key.pem"], "/conf/key.pem");
    for secret in
        ["sasl.jaas.config", "ssl.key.pem", "sasl.oauthbearer.token.endpoint.url", "ssl.keystore.password"]
    {
        assert!(is_secret(secret), "{secret}");
    }
    for open in ["sasl.username", "ssl.key.location", "ssl.ca.pem", "client.id", "sasl.mechanism"] {
        assert!(!is_secret(open), "{open}");
    }
}

/// The keys of what is shown, as the table has them.
fn paths(shown: &Value) -> BTreeSet<String> {
    let known = |path: &str| KEYS.iter().any(|key| key.path == path);
    let mut paths = BTreeSet::new();
    for (key, value) in shown.as_object().unwrap() {
        match value {
            Value::Object(section) if !known(key) => {
                paths.extend(section.keys().map(|inner| format!("{key}.{inner}")));
            }
            _ => {
                paths.insert(key.clone());
            }
        }
    }
    paths
}

#[test]
fn every_key_is_shown_and_every_default_is_that_of_the_table() {
    let mut shown = paths(&parse(ALL).effective());
    shown.extend(paths(&parse(LEAST).effective()));
    assert_eq!(shown, KEYS.iter().map(|key| key.path.to_owned()).collect());

    let least = parse(LEAST).effective();
    for key in KEYS.iter().filter(|key| key.need == Need::No) {
        // `like this`, and nothing else.
        let Some(default) = key.default.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
            continue;
        };
        if default.contains('`') || ["pipelines", "schemas", "policy"].contains(&key.path) {
            continue;
        }
        let (section, name) = key.path.split_once('.').unwrap_or(("", key.path));
        let found = if section.is_empty() { &least[name] } else { &least[section][name] };
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        assert_eq!(found, default, "{}", key.path);
    }
    assert_eq!(least["pipelines"], "/conf/pipelines");
    assert_eq!(least["schemas"], "/conf/schemas");
    assert_eq!(least["policy"], "/conf/pipelines/policy.yaml");
}

#[test]
fn sites_that_differ_are_told_apart_by_their_keys_and_never_by_values() {
    let site = parse(ALL);
    assert_eq!(differences(&site, &site), [""; 0]);
    let other = ALL
        .replace("sasl.password: hunter2", "sasl.password: hunter3")
        .replace("client.id: \"$${POD}\"", "socket.timeout.ms: 5000")
        .replace("CN: 'with space: and #'", "US: us")
        .replace("workers: 3", "workers: 4")
        .replace("http: { listen: \"[::1]:9464\", ready-lag: 3m }\n", "")
        .replace("secrets: { ssl.key.pem: key.pem }", "secrets: { ssl.key.pem: other.pem }")
        .replace("every: 2h", "every: 3h");
    let expected = [
        "http.listen",
        "http.ready-lag",
        "kafka.properties.client.id",
        "kafka.properties.sasl.password",
        "kafka.properties.socket.timeout.ms",
        "kafka.secrets.ssl.key.pem",
        "maintenance.every",
        "stores.CN",
        "stores.US",
        "workers",
    ];
    assert_eq!(differences(&site, &parse(&other)), expected);
    assert_eq!(differences(&parse(&other), &site), expected);
}
