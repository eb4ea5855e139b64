//! Stages as files change and policies move, and as they are kept.

use std::path::Path;

use rusqlite::Connection;

use super::*;
use crate::{
    journal::Actor,
    policy::{self, CompiledPolicy, Revived, ServiceIds},
};

const SITE: &str = "\
kind: Site
services: {login: {tcp: [443]}, api: {tcp: [8443]}}
ladders: {careful: [{at: 50, action: drop, for: 10m}]}
defaults: {ladder: careful}
---
kind: Policy
metadata: {name: login}
applies: [login]
rules: [{name: busy, points: 60, when: source.connections_10s >= 60}]
";

/// What a person changes: the policy does something else.
const STRICTER: [&str; 2] = [">= 60", ">= 6"];

struct Host {
    stages: Stages,
    text: String,
    now: Instant,
}

impl Host {
    fn new(begin: Stage) -> Self {
        let boot_id = "boot".into();
        let now = Instant { unix_s: 1_000_000, monotonic_ns: 5_000_000_000, boot_id };
        let mut host = Self { stages: Stages::default(), text: SITE.to_owned(), now };
        let moved = host.read(begin);
        assert!(matches!(moved.as_slice(), [Moved { what: Move::Began, .. }]), "{moved:?}");
        host
    }

    fn mover(&self, why: &str) -> Mover {
        Mover { at: self.now.clone(), by: Actor::Daemon, why: why.to_owned() }
    }

    fn compile(&self) -> (CompiledPolicy, Vec<Revived>) {
        let folder = std::env::temp_dir().join(format!("weir-stages-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{:?}.yaml", std::thread::current().id()));
        std::fs::write(&file, &self.text).unwrap();
        let loaded =
            policy::load_beside(Path::new(&file), &ServiceIds::default(), &self.stages.kept());
        std::fs::remove_file(&file).unwrap();
        loaded.unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Reads the files, a second later.
    fn read(&mut self, begin: Stage) -> Vec<Moved> {
        self.now.monotonic_ns += 1_000_000_000;
        self.now.unix_s += 1;
        let (compiled, revived) = self.compile();
        let mover = self.mover("read");
        self.stages.take_up(&compiled, &revived, begin, &mover)
    }

    fn edit(&mut self, from: &str, to: &str) -> Vec<Moved> {
        assert!(self.text.contains(from), "{from}");
        self.text = self.text.replacen(from, to, 1);
        self.read(Stage::Monitor)
    }

    fn stage(&self) -> Stage {
        self.stages.of("login").unwrap().stage
    }

    /// Names and versions of what judges.
    fn judges(&self) -> Vec<(String, usize)> {
        let (compiled, revived) = self.compile();
        let both = with_shadows(&compiled, &self.stages, revived);
        let asks_for = |policy: &crate::policy::Policy| {
            let met = |n: f64| policy.rules[0].when.evaluate(&mut |_| Some(n)) == Some(true);
            (1..=60).find(|n| met(f64::from(*n))).map_or(0, |n| n as usize)
        };
        both.policies.iter().map(|policy| (policy.name.to_string(), asks_for(policy))).collect()
    }
}

#[test]
fn a_policy_begins_where_the_operator_says_and_stays_there() {
    let mut host = Host::new(Stage::Enforce);
    assert_eq!(host.stage(), Stage::Enforce);
    assert!(host.read(Stage::Monitor).is_empty(), "it is known");
    assert_eq!(host.stage(), Stage::Enforce);
}

#[test]
fn a_changed_policy_that_acts_watches_beside_the_one_before() {
    let mut host = Host::new(Stage::Enforce);
    let moved = host.edit(STRICTER[0], STRICTER[1]);
    assert!(matches!(moved.as_slice(), [Moved { what: Move::Shadowed, .. }]), "{moved:?}");
    assert_eq!(host.judges(), [("login".into(), 60), ("login~shadow".into(), 6)]);
    let since = host.stages.of("login").unwrap().shadow.clone().unwrap().since;
    assert!(host.read(Stage::Monitor).is_empty(), "nothing new");
    assert_eq!(host.stages.of("login").unwrap().shadow.clone().unwrap().since, since);
    let (compiled, _) = host.compile();
    let moved = host.stages.replace(&compiled.policies[0], &host.mover("its gates hold"));
    assert_eq!(moved.unwrap().what, Move::Replaced);
    assert_eq!(host.judges(), [("login".into(), 6)]);
    assert_eq!(host.stage(), Stage::Enforce);
}

#[test]
fn a_change_that_is_taken_back_leaves_what_acts() {
    let mut host = Host::new(Stage::Canary);
    host.edit(STRICTER[0], STRICTER[1]);
    host.edit(STRICTER[1], STRICTER[0]);
    assert_eq!(host.judges(), [("login".into(), 60)]);
    assert!(host.stages.of("login").unwrap().shadow.is_none());
}

#[test]
fn where_nothing_acts_or_the_site_says_so_a_change_counts_at_once() {
    let mut host = Host::new(Stage::Monitor);
    host.edit(STRICTER[0], STRICTER[1]);
    assert_eq!(host.judges(), [("login".into(), 6)]);
    let mut host = Host::new(Stage::Enforce);
    host.edit("kind: Site\n", "kind: Site\nchanges: at-once\n");
    host.edit(STRICTER[0], STRICTER[1]);
    assert_eq!(host.judges(), [("login".into(), 6)]);
    assert_eq!(host.stage(), Stage::Enforce);
}

#[test]
fn what_does_not_fit_the_site_any_more_gives_way_and_nothing_acts() {
    let mut host = Host::new(Stage::Enforce);
    let renamed = host.text.replace("login: {tcp", "portal: {tcp").replace("[login]", "[portal]");
    host.text = renamed;
    let moved = host.read(Stage::Enforce);
    assert_eq!(host.stage(), Stage::Monitor);
    assert!(moved[0].now.why.contains("does not fit the Site"), "{moved:?}");
    assert_eq!(host.judges(), [("login".into(), 60)]);
}

#[test]
fn a_lower_ceiling_holds_at_once_and_a_higher_one_moves_nothing() {
    let mut host = Host::new(Stage::Enforce);
    let moved = host.edit("applies:", "stage_max: canary\napplies:");
    assert_eq!(moved.len(), 1);
    assert_eq!(host.stage(), Stage::Canary);
    assert!(host.edit("stage_max: canary\n", "").is_empty());
    assert_eq!(host.stage(), Stage::Canary);
}

#[test]
fn a_shadow_is_held_by_the_ceiling_of_today_too() {
    let mut host = Host::new(Stage::Enforce);
    host.edit(STRICTER[0], STRICTER[1]);
    host.edit("applies:", "stage_max: monitor\napplies:");
    assert_eq!(host.stage(), Stage::Monitor);
}

#[test]
fn time_in_a_stage_survives_reboots_and_jumps_of_the_wall_clock() {
    let at = |unix_s, monotonic_s: u64, boot: &str| Instant {
        unix_s,
        monotonic_ns: monotonic_s * 1_000_000_000,
        boot_id: boot.into(),
    };
    let begun = at(1_000, 50, "a");
    assert_eq!(at(1_010, 60, "a").since_ns(&begun), 10_000_000_000);
    assert_eq!(at(9_999_999, 60, "a").since_ns(&begun), 10_000_000_000, "the clock jumped");
    assert_eq!(at(1_100, 3, "b").since_ns(&begun), 100_000_000_000);
    assert_eq!(at(900, 3, "b").since_ns(&begun), 0);
}

#[test]
fn stages_and_the_secret_survive_in_the_store() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(kept::SCHEMA).unwrap();
    let mut host = Host::new(Stage::Canary);
    host.edit(STRICTER[0], STRICTER[1]);
    host.stages.go_back("login", &host.mover("a gate broke")).unwrap();
    host.stages.go("login", Stage::Enforce, &host.mover("by hand")).unwrap();
    let record = host.stages.of("login").unwrap().clone();
    let transaction = connection.transaction().unwrap();
    kept::write(&transaction, "login", &record).unwrap();
    kept::write_secret(&transaction, &[7; 32]).unwrap();
    kept::write_secret(&transaction, &[8; 32]).unwrap();
    transaction.commit().unwrap();
    let (stages, trouble) = kept::read(&connection).unwrap();
    assert!(trouble.is_empty(), "{trouble:?}");
    assert_eq!(stages.of("login"), Some(&record));
    assert_eq!(kept::secret(&connection).unwrap(), Some([7; 32]), "the first one stays");
    connection.execute("UPDATE stages SET acting = 'nonsense'", []).unwrap();
    let (stages, trouble) = kept::read(&connection).unwrap();
    assert_eq!((stages.of("login"), trouble.len()), (None, 1));
}
