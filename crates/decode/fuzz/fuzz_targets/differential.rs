//! Both paths of the decoder and an oracle on any bytes: see tests/differential.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use situs_decode::Schema;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/differential/support.rs"]
mod support;

static SCHEMAS: LazyLock<Vec<(&'static str, Arc<Schema>)>> = LazyLock::new(support::schemas);

fuzz_target!(|data: &[u8]| support::fuzz(&SCHEMAS, data));
