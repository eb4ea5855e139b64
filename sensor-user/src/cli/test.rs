//! `weir test`

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use clap::Args;

use super::Outcome;
use crate::{
    policy::{self, CompiledPolicy, ServiceIds, cases},
    replay::trial,
};

/// Run the tests of policies.
///
/// Tests are files beside a policy whose names end in `.test.yaml`: cases, each with a capture or a
/// description of traffic, and what is to follow for which sources. Of a folder, all its tests are
/// run with all its policies; of a policy file, those of the same name; of a test file, that one.
/// A test file can name another policy.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir test /etc/weir\n  \
    weir test policies/default/web.yaml\n  \
    weir test policies/default/web.test.yaml --only stuffing")]
pub(super) struct Test {
    /// Folders, policy files, or test files.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Run only cases whose names contain this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// What was run.
#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Test {
    pub(super) fn execute(self) -> anyhow::Result<Outcome> {
        let mut policies = BTreeMap::new();
        let mut count = Count::default();
        let mut is_sound = true;
        for path in &self.paths {
            let files = tests_of(path)?;
            if files.is_empty() {
                bail!("{} has no tests: files whose names end in .test.yaml", path.display());
            }
            for file in files {
                match cases::load(&file) {
                    Ok(tests) => {
                        let policy = tests.policy.clone().unwrap_or_else(|| policy_of(path, &file));
                        match known(&mut policies, &policy) {
                            Some(policy) => self.run(&tests, &policy, &mut count),
                            None => is_sound = false,
                        }
                    }
                    Err(errors) => {
                        eprintln!("{errors}");
                        is_sound = false;
                    }
                }
            }
        }
        println!("{} passed, {} failed", count.passed, count.failed);
        if is_sound && count.passed + count.failed == 0 {
            bail!("no case has a name with `{}` in it", self.only);
        }
        Ok(if is_sound && count.failed == 0 { Outcome::Done } else { Outcome::Unfit })
    }

    fn run(&self, tests: &cases::TestFile, policy: &Arc<CompiledPolicy>, count: &mut Count) {
        for case in tests.cases.iter().filter(|case| case.name.contains(&self.only)) {
            let faults = trial::run(case, policy).unwrap_or_else(|error| vec![error.to_string()]);
            if faults.is_empty() {
                count.passed += 1;
                println!("ok      {}: {}", case.place, case.name);
                continue;
            }
            count.failed += 1;
            println!("FAILED  {}: {}", case.place, case.name);
            for fault in faults {
                println!("        {fault}");
            }
        }
    }
}

/// A policy, read once; `None` if it has mistakes, which were told.
fn known(
    policies: &mut BTreeMap<PathBuf, Option<Arc<CompiledPolicy>>>,
    path: &Path,
) -> Option<Arc<CompiledPolicy>> {
    let read = || match policy::load(path, &ServiceIds::default()) {
        Ok(policy) => Some(Arc::new(policy)),
        Err(errors) => {
            eprintln!("{errors}");
            None
        }
    };
    policies.entry(path.to_owned()).or_insert_with(read).clone()
}

/// The test files that a path means, by name.
fn tests_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if is_test(path) {
        return Ok(vec![path.to_owned()]);
    }
    let told = || format!("cannot read {}", path.display());
    if !fs::metadata(path).with_context(told)?.is_dir() {
        let own = path.with_extension("test.yaml");
        return Ok(if own.exists() { vec![own] } else { Vec::new() });
    }
    let entries = fs::read_dir(path).with_context(told)?;
    let paths: io::Result<Vec<PathBuf>> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut tests: Vec<PathBuf> =
        paths.with_context(told)?.into_iter().filter(|path| is_test(path)).collect();
    tests.sort_unstable();
    Ok(tests)
}

/// The policy that a test file is about, if it does not say: the one that was named, else the one of
/// the same name, else all of its folder.
fn policy_of(named: &Path, test: &Path) -> PathBuf {
    if !is_test(named) {
        return named.to_owned();
    }
    let name = test.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.rsplit_once(".test.").map_or(name, |(stem, _)| stem);
    let own = test.with_file_name(format!("{stem}.yaml"));
    if own.exists() {
        return own;
    }
    let folder = test.parent().unwrap_or(Path::new(""));
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
}

fn is_test(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".test.yaml") || name.ends_with(".test.yml")
}
