//! Feeds and databases of addresses, and what is said of mistakes in them.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    reputation::{FeedSpec, list::Format},
    score::registry::Declared,
};

/// A folder with files of feeds, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("good.netset"), "203.0.113.0/24 # bad\n").unwrap();
        fs::write(path.join("wide.netset"), "203.0.113.0/24\n0.0.0.0/0\n").unwrap();
        fs::write(path.join("broken.netset"), "203.0.113.0/24\nmilk\n").unwrap();
        Self(path)
    }

    fn compile(&self, site: &str) -> Result<CompiledPolicy, PolicyErrors> {
        let text = format!("kind: Site\nservices: {{login: {{tcp: [443]}}}}\n{site}");
        parse("site.yaml", &text, &self.0, &ServiceIds::default())
    }

    /// Mistakes and warnings as they are shown, the folder's name left out.
    fn said(&self, site: &str) -> Vec<String> {
        let found = match self.compile(site) {
            Ok(compiled) => compiled.warnings,
            Err(errors) => errors.diagnostics,
        };
        let folder = format!("{}/", self.0.display());
        found.iter().map(|found| found.to_string().replace(&folder, "")).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_feed_becomes_a_feature() {
    let folder = Folder::new("feeds-right");
    let compiled = folder
        .compile(
            "feeds:\n  mine: {file: good.netset}\n  drop:\n    url: https://example.com/drop.json\n    \
             format: spamhaus-drop\n    refresh: 6h\n    max_change: 12.5%\n\
             ladders: {l: [{at: 30, action: mark, for: 10m}]}\n---\nkind: Policy\n\
             metadata: {name: p}\napplies: [login]\nladder: l\n\
             rules: [{name: listed, points: 30, when: feed.drop == 1 || feed.mine == 1}]\n",
        )
        .unwrap();
    assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
    let feeds = &compiled.reputation.feeds;
    assert_eq!(feeds[0].file.as_deref(), Some(folder.0.join("good.netset").as_path()));
    assert_eq!(
        feeds[1],
        FeedSpec {
            name: "drop".into(),
            file: None,
            url: Some("https://example.com/drop.json".into()),
            format: Format::SpamhausDrop,
            refresh_s: 6 * 3600,
            max_change: 0.125,
        }
    );
    let drop = compiled.features.find("feed.drop").unwrap();
    assert_eq!(compiled.features.measured(drop), Some(&Declared::Feed(1)));
    assert_eq!(compiled.features.explain(drop, Some(1.0)), "1 listing in the feed `drop`");
    assert_eq!(compiled.policies[0].rules[0].evidence, Evidence::Authentic);
}

#[test]
fn what_is_wrong_with_a_feed_is_said_where_it_stands() {
    let folder = Folder::new("feeds-wrong");
    for (site, expected) in [
        (
            "feeds: {drop: {fil: good.netset}}",
            "site.yaml:3:16: a feed has no field `fil`\n   |\n 3 | feeds: {drop: {fil: good.netset}}\n   \
             |                ^\n   help: did you mean `file`?",
        ),
        (
            "feeds: {drop: {format: plain}}",
            "site.yaml:3:9: the feed `drop` comes from nowhere\n   |\n 3 | feeds: {drop: {format: \
             plain}}\n   |         ^\n   help: file: drop.json, or url: \
             https://www.spamhaus.org/drop/drop_v4.json",
        ),
        (
            "feeds: {drop: {file: god.netset}}",
            "site.yaml:3:22: there is no file god.netset\n   |\n 3 | feeds: {drop: {file: \
             god.netset}}\n   |                      ^\n   help: files are found beside the policy; \
             create it, or correct the name",
        ),
    ] {
        let said = folder.said(site);
        assert!(said.iter().any(|said| said == expected), "{said:#?}");
    }
    for (site, line, help) in [
        (
            "feeds: {drop: {file: good.netset, format: spamhaus}}",
            "site.yaml:3:43: expected a format, found `spamhaus`",
            "auto, plain, netset, spamhaus-drop",
        ),
        (
            "feeds: {drop: {file: good.netset, format: nteset}}",
            "site.yaml:3:43: expected a format",
            "did you mean `netset`?",
        ),
        (
            "feeds: {drop: {url: http://example.com/x}}",
            "site.yaml:3:21: `http://example.com/x` is not an address",
            "use https: on the way of http, anybody can write the list",
        ),
        (
            "feeds: {drop: {url: 'https://me:secret@example.com/x'}}",
            "site.yaml:3:21: ",
            "policies are read by many",
        ),
        (
            "feeds: {drop: {file: good.netset, refresh: 1h}}",
            "site.yaml:3:44: nothing is asked that often",
            "a file is read again when it changes",
        ),
        (
            "feeds: {drop: {url: https://example.com/x, refresh: 5s}}",
            "site.yaml:3:53: this is too often",
            "at least 1m",
        ),
        (
            "feeds: {drop: {file: good.netset, max_change: 20}}",
            "site.yaml:3:47: `20` is not a share",
            "written like `20%`",
        ),
        ("feeds: {drop: {file: good.netset, max_change: 500%}}", "site.yaml:3:47: ", "1% to 100%"),
        ("feeds: {drop: {file: good.netset, max_change: NaN%}}", "site.yaml:3:47: ", "1% to 100%"),
        (
            "feeds: {Spam-House: {file: good.netset}}",
            "site.yaml:3:9: `Spam-House`",
            "small letters",
        ),
        ("feeds: [good.netset]", "site.yaml:3:8: expected feeds as a mapping", ""),
        ("geo: {asns: x.mmdb}", "site.yaml:3:7: geo has no field `asns`", "did you mean `asn`?"),
        ("geo: {asn: x.mmdb}", "site.yaml:3:12: there is no file x.mmdb", "its publisher"),
        // What is in files comes and goes: no reason not to start.
        (
            "feeds: {drop: {file: wide.netset}}",
            "site.yaml:3:22: warning: wide.netset: it lists 0.0.0.0/0, which is everybody",
            "not in use until",
        ),
        (
            "feeds: {drop: {file: broken.netset}}",
            "site.yaml:3:22: warning: broken.netset: line 2: `milk` is no address or prefix",
            "not in use until",
        ),
        (
            "geo: {country: good.netset}",
            "site.yaml:3:16: warning: good.netset: it is no MMDB file",
            "not in use",
        ),
    ] {
        let said = folder.said(site);
        let is_it = |said: &String| said.starts_with(line) && said.contains(help);
        assert!(said.iter().any(is_it), "{site}: {said:#?}");
    }
}

#[test]
fn a_condition_names_feeds_that_there_are() {
    let folder = Folder::new("feeds-named");
    let said = |when: &str| {
        folder.said(&format!(
            "feeds: {{drop: {{file: good.netset}}}}\n\
             ladders: {{l: [{{at: 30, action: mark, for: 10m}}]}}\n---\nkind: Policy\n\
             metadata: {{name: p}}\napplies: [login]\nladder: l\n\
             rules: [{{name: listed, points: 30, when: {when}}}]\n"
        ))
    };
    assert!(said("feed.drop == 1").is_empty());
    let unknown = said("feed.dorp == 1");
    assert!(unknown[0].contains("did you mean `feed.drop`?"), "{unknown:?}");
    let never = said("feed.drop >= 2");
    assert!(!never.is_empty(), "a feed lists a source once");
}

#[test]
fn networks_and_countries_are_compared_by_name() {
    let folder = Folder::new("feeds-geo");
    let said = |when: &str| {
        folder.said(&format!(
            "ladders: {{l: [{{at: 30, action: mark, for: 10m}}]}}\n---\nkind: Policy\n\
             metadata: {{name: p}}\napplies: [login]\nladder: l\n\
             rules: [{{name: there, points: 30, when: '{when}'}}]\n"
        ))
    };
    for right in ["source.country == \"DE\"", "source.asn in [64496, 64497]"] {
        let found = said(right);
        // No database tells it here, which is a warning and no mistake.
        let is_warning = |it: &String| it.contains("warning: ") && it.contains("stays unknown");
        assert!(found.len() == 1 && found.iter().all(is_warning), "{right}: {found:?}");
    }
    assert!(said("source.country == 7").iter().any(|it| it.contains("is a country")));
}
