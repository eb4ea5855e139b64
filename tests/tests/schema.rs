//! What editors make of policy files with the published schema: they take every file that compiles,
//! and refuse every file with a mistake of form.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use weir_sensor::policy::{self, ServiceIds, schema::schema};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const RIGHT: &str = "sensor-user/src/policy/tests/right";

/// What the schema says of the documents of a file.
fn refusals(text: &str) -> Vec<String> {
    let validator = jsonschema::draft7::new(&schema()).unwrap();
    // A key twice is refused before a schema is asked.
    let documents: Vec<Value> = match serde_saphyr::from_multiple(text) {
        Ok(documents) => documents,
        Err(error) => return vec![error.to_string()],
    };
    let errors = documents.iter().flat_map(|document| validator.iter_errors(document));
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Policy files of a folder whose names begin like this.
fn files(folder: &str, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(begin) && name.ends_with(".yaml") && !name.ends_with(".test.yaml")
    });
    names.collect()
}

#[test]
fn the_schema_is_one() {
    assert!(jsonschema::draft7::meta::is_valid(&schema()));
}

#[test]
fn what_compiles_fits() {
    let mut seen = 0;
    for path in ["policies/default", "policies/demo.yaml", RIGHT] {
        let path = Path::new(ROOT).join(path);
        policy::load(&path, &ServiceIds::default()).unwrap_or_else(|errors| panic!("{errors}"));
    }
    for folder in ["policies", "policies/default", RIGHT] {
        for path in files(folder, "") {
            let found = refusals(&fs::read_to_string(&path).unwrap());
            assert!(found.is_empty(), "{}: {found:#?}", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 3, "only {seen} files");
}

#[test]
fn what_is_wrong_in_form_is_refused() {
    let files = files("sensor-user/src/policy/tests/mistakes", "form-");
    for path in &files {
        assert!(policy::load(path, &ServiceIds::default()).is_err(), "{}", path.display());
        let found = refusals(&fs::read_to_string(path).unwrap());
        assert!(!found.is_empty(), "{} fits the schema", path.display());
    }
    assert!(files.len() >= 10, "only {} files", files.len());
}
