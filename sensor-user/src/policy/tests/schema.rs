//! The schema that is published is the one that the forms make.

use std::fs;

use crate::policy::schema::schema;

const PUBLISHED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/weir-policy.schema.json");

#[test]
fn the_published_schema_is_this_one() {
    let text = format!("{:#}\n", schema());
    if std::env::var_os("WEIR_BLESS").is_some() {
        fs::write(PUBLISHED, &text).unwrap();
    }
    let published = fs::read_to_string(PUBLISHED).unwrap_or_default();
    assert!(published == text, "docs/schema is old: run the tests once with WEIR_BLESS=1");
}
