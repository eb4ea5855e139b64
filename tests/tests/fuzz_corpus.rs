//! Every input that fuzzing kept, and every one that once broke something, through the same
//! functions as under the fuzzer.

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use weir_lab::fuzz::TARGETS;

/// Inputs of a target, by name.
fn inputs(target: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files =
        entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    files.sort();
    Ok(files)
}

#[test]
fn everything_holds_for_every_input_that_was_kept() {
    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let files = inputs(name).unwrap();
        println!("{name}: {} inputs", files.len());
        assert!(files.len() >= 10, "{name} has lost its inputs");
        for file in files {
            let input = fs::read(&file).unwrap();
            if catch_unwind(|| target(&input)).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "these inputs break something: {broken:#?}");
}

/// What is cut off goes on with zeros: no input asks for more than there is.
#[test]
fn inputs_end_anywhere() {
    for (name, target) in TARGETS {
        let Some(file) =
            inputs(name).unwrap().into_iter().max_by_key(|file| fs::metadata(file).unwrap().len())
        else {
            panic!("{name} has no input");
        };
        let input = fs::read(&file).unwrap();
        for end in (0..input.len()).step_by(1 + input.len() / 100) {
            target(&input[..end]);
        }
    }
}
