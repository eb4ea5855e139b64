//! Folders, includes, and what goes over what.

use std::{fs, path::PathBuf};

use super::*;

/// A folder of its own for a test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("weir-policy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for (file, text) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(path)
    }

    fn load(&self, file: &str) -> Result<CompiledPolicy, PolicyErrors> {
        load(&self.0.join(file), &ServiceIds::default())
    }

    /// The mistakes, with file names from this folder.
    fn mistakes(&self, file: &str) -> Vec<String> {
        let folder = format!("{}/", self.0.display());
        let errors = self.load(file).unwrap_err();
        errors.diagnostics.iter().map(|d| d.to_string().replace(&folder, "")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SITE: &str = "\
kind: Site
services: {login: {tcp: [443], syn_guard: {rate: 5/s, burst: 9}}, api: {tcp: [8443]}}
ladders: {careful: [{at: 50, action: drop, for: 10m}]}
defaults: {ladder: careful}
";

const LOGIN: &str = "\
kind: Policy
metadata: {name: login}
applies: [login]
rules: [{name: busy, points: 60, when: source.connections_10s >= 60}]
";

#[test]
fn a_folder_is_read_as_one() {
    let api = LOGIN.replace("login", "api");
    let folder = Folder::new(
        "folder",
        &[
            ("site.yaml", SITE),
            ("10-login.yaml", LOGIN),
            ("20-api.yml", &api),
            ("login.test.yaml", "no: policy"),
            (".login.yaml.swp", "no: policy"),
            ("partners.netset", "10.0.0.0/8"),
        ],
    );
    let policy = folder.load("").unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<&str> = policy.policies.iter().map(|policy| &*policy.name).collect();
    assert_eq!(names, ["login", "api"]);
    let single = parse("x", &format!("{SITE}---\n{LOGIN}"), Path::new("."), &ServiceIds::default());
    assert_eq!(
        policy.policies[0].version,
        single.unwrap().policies[0].version,
        "which file a document is in does not count"
    );
}

#[test]
fn a_mistake_names_the_file_that_it_is_in() {
    let wrong = LOGIN.replace("connections_10s", "conections_10s").replace("[login]", "[logon]");
    let folder = Folder::new("named", &[("site.yaml", SITE), ("a.yaml", &wrong), ("z.yaml", SITE)]);
    assert_eq!(
        folder.mistakes(""),
        [
            "a.yaml:3:11: there is no service `logon`
   |
 3 | applies: [logon]
   |           ^
   help: did you mean `login`?",
            "a.yaml:4:40: there is no feature `source.conections_10s`
   |
 4 | rules: [{name: busy, points: 60, when: source.conections_10s >= 60}]
   |                                        ^
   help: did you mean `source.connections_10s`?",
            "z.yaml:1:1: there is a second `kind: Site` document
   |
 1 | kind: Site
   | ^
   help: the first one is on site.yaml:1: merge the two",
        ]
    );
}

#[test]
fn what_includes_goes_over_what_is_included() {
    let staging = "\
kind: Site
include: [base/site.yaml, base/login.yaml]
services: {login: {tcp: [4443], syn_guard: }}
defaults: {stage_max: canary}
---
kind: Policy
metadata: {name: login}
stage_max: monitor
---
kind: Policy
metadata: {name: api}
applies: [api]
rules: [{name: busy, points: 60, when: source.connections_10s >= 60}]
";
    let folder = Folder::new(
        "include",
        &[("base/site.yaml", SITE), ("base/login.yaml", LOGIN), ("staging.yaml", staging)],
    );
    let policy = folder.load("staging.yaml").unwrap_or_else(|errors| panic!("{errors}"));
    let login = policy.services.iter().find(|service| service.name == "login").unwrap();
    assert_eq!((login.tcp.as_slice(), login.syn_guard), (&[4443][..], None));
    let ceilings: Vec<(&str, Stage)> =
        policy.policies.iter().map(|policy| (&*policy.name, policy.stage_max)).collect();
    assert_eq!(ceilings, [("login", Stage::Monitor), ("api", Stage::Canary)]);
    let before = policy.policies[0].version.clone();
    fs::write(folder.0.join("base/site.yaml"), SITE.replace("10m", "20m")).unwrap();
    let after = folder.load("staging.yaml").unwrap();
    assert_ne!(after.policies[0].version, before, "what is included counts");
    assert_eq!(folder.load("").unwrap().policies.len(), 2, "the same as a folder");
}

#[test]
fn includes_stay_in_the_folder_and_come_to_an_end() {
    let site = |include: &str| format!("kind: Site\ninclude: [{include}]\n");
    let folder = Folder::new("hostile", &[("p/b.yaml", &site("a.yaml")), ("out.yaml", SITE)]);
    for (include, message) in [
        ("/etc/passwd", "`/etc/passwd` is not relative"),
        ("../out.yaml", "`../out.yaml` lies outside the policy's folder"),
        ("none/../../out.yaml", "`none/../../out.yaml`: cannot read"),
        ("none.yaml", "`none.yaml`: cannot read"),
        (".", "`.`: cannot read: is a directory"),
        ("a.yaml", "files include each other: a.yaml → a.yaml"),
        ("b.yaml", "files include each other: a.yaml → b.yaml → a.yaml"),
        ("7", "expected the name of a file, found the number 7"),
    ] {
        fs::write(folder.0.join("p/a.yaml"), site(include)).unwrap();
        for path in ["p/a.yaml", "p"] {
            let found = folder.mistakes(path);
            assert!(found.iter().any(|text| text.contains(message)), "{path} {include}: {found:?}");
        }
    }
    for n in 0..9 {
        let file = format!("p/deep{n}.yaml");
        fs::write(folder.0.join(file), site(&format!("deep{}.yaml", n + 1))).unwrap();
    }
    let found = folder.mistakes("p/deep0.yaml");
    assert!(found.iter().any(|text| text.contains("more than 8 deep")), "{found:?}");
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = Folder::new("unreadable", &[("empty/x.txt", ""), ("latin.yaml", "")]);
    fs::write(folder.0.join("latin.yaml"), b"kind: Site\n# caf\xe9\n").unwrap();
    let large = fs::File::create(folder.0.join("large.yaml")).unwrap();
    large.set_len((4 << 20) + 1).unwrap();
    for (file, message) in [
        ("latin.yaml", "latin.yaml: not UTF-8: the byte at line 2, column 6 cannot be read"),
        ("large.yaml", "large.yaml: larger than 4 MiB"),
        ("none.yaml", "none.yaml: cannot read: No such file"),
        ("empty", "empty: no policy file in this folder"),
    ] {
        let found = folder.mistakes(file);
        assert!(found[0].starts_with(message), "{file}: {found:?}");
    }
}
