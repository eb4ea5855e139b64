//! Every labelled source of the corpus under the default policies: a table, and the rules that it must
//! keep.
//!
//! Where the environment variable `WEIR_CORPUS` names a folder with `live-labels.tsv`, every capture is
//! replayed as it is, stretched to three times its length, with every second connection of its
//! attackers taken out, and with both. `WEIR_POLICY` names other policies than `policies/default`,
//! `WEIR_TURNS` fewer turns (`as recorded`, `slow`, `half`, `slow half`; separated by commas).
//!
//! Run it with `cargo test -p weir-sensor --test labelled -- --nocapture`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's setup fails loudly")]

mod expected;
mod labels;
mod observed;
mod traffic;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use labels::Labelled;
use observed::Observed;
use traffic::{Traffic, Turn};
use weir_sensor::{
    policy::{self, CompiledPolicy, ServiceIds},
    replay::{Files, Player},
};

/// The protected server of the labelled captures.
const SERVERS: [&str; 2] = ["198.51.100.10", "2001:db8:51::10"];

fn default_policies() -> PathBuf {
    if let Some(path) = env::var_os("WEIR_POLICY") {
        return path.into();
    }
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let folder = policies.join("default");
    if folder.is_dir() { folder } else { policies.join("default.yaml") }
}

fn turns() -> Vec<Turn> {
    let wanted = env::var("WEIR_TURNS").ok();
    let wanted: Option<Vec<&str>> = wanted.as_deref().map(|text| text.split(',').collect());
    let is_wanted = |turn: &Turn| wanted.as_ref().is_none_or(|it| it.contains(&turn.name()));
    Turn::ALL.into_iter().filter(is_wanted).collect()
}

/// Replays one capture's traffic; what was made of each labelled source.
fn replay(policy: &Arc<CompiledPolicy>, path: &Path, traffic: &Traffic) -> Observed {
    let servers = Files::servers(&[path.to_owned()], policy);
    let names = servers.names();
    assert!(
        !names.is_empty() && names.iter().all(|name| SERVERS.contains(&name.as_str())),
        "{}: {names:?} are taken for the server",
        path.display()
    );
    let mut player = Player::new(Arc::clone(policy), servers, traffic.first_ns());
    let mut observed = Observed::new(Arc::clone(policy), player.clock());
    for frame in traffic.frames() {
        observed.frame(&frame);
        player.frame(&frame, &mut observed);
    }
    player.finish(&mut observed);
    observed
}

#[test]
fn every_labelled_source_is_judged_as_it_deserves() {
    let Some(corpus) = env::var_os("WEIR_CORPUS").map(PathBuf::from) else {
        println!("WEIR_CORPUS is not set: 0 captures");
        return;
    };
    let policies = default_policies();
    let policy = policy::load(&policies, &ServiceIds::default()).unwrap_or_else(|errors| {
        panic!("{errors}");
    });
    let policy = Arc::new(policy);
    let mut captures: BTreeMap<String, Vec<Labelled>> = BTreeMap::new();
    for row in labels::read(&corpus.join("live-labels.tsv")) {
        captures.entry(row.file.clone()).or_default().push(row);
    }
    let mut wrong = Vec::new();
    for turn in turns() {
        println!("\n{} under {}\n{}", turn.name(), policies.display(), expected::HEADING);
        let mut rows = 0;
        for (file, labelled) in &captures {
            let path = corpus.join(file);
            let traffic = Traffic::read(&path, labelled).turned(turn, labelled);
            let observed = replay(&policy, &path, &traffic);
            for row in labelled {
                let seen = observed.of(row);
                let faults = expected::faults(row, &seen);
                println!("{}", expected::line(row, &seen, &faults));
                wrong.extend(
                    faults.iter().map(|fault| {
                        format!("{}, {} {}: {fault}", turn.name(), row.file, row.source)
                    }),
                );
                rows += 1;
            }
            wrong.extend(observed.strangers(labelled).map(|stranger| {
                format!("{}, {file}: {stranger} is named, and was never there", turn.name())
            }));
        }
        println!("{rows} labelled sources in {} captures", captures.len());
        assert!(rows > 0, "no labelled source");
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
