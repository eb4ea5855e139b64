//! The policies that Weir ships, with another Site's words where the lab has other ports: what an
//! operator edits, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Where they are: a folder of files, or one file.
const PLACES: [&str; 2] = ["../policies/default", "../policies/default.yaml"];

/// The documents of the shipped policies, the Site first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shipped {
    site: String,
    policies: Vec<String>,
}

impl Shipped {
    /// Reads them.
    pub fn read() -> Result<Self> {
        let mut documents = Vec::new();
        for file in files()? {
            let text = fs::read_to_string(&file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            documents.extend(text.split("\n---\n").map(str::to_owned));
        }
        let is_site = |text: &String| text.lines().any(|line| line == "kind: Site");
        let place = documents.iter().position(is_site).context("no Site among the policies")?;
        let site = documents.remove(place);
        Ok(Self { site, policies: documents })
    }

    /// Puts `block`, which begins with its name, where the Site says something under that name, or
    /// after all it says.
    #[must_use]
    pub fn with(mut self, block: &str) -> Self {
        let name = block.split_inclusive(':').next().unwrap_or_default();
        let mut lines: Vec<&str> = self.site.lines().collect();
        let begins = lines.iter().position(|line| line.starts_with(name));
        let place = begins.unwrap_or(lines.len());
        let goes_on = |line: &&&str| line.is_empty() || line.starts_with([' ', '#']);
        let after = lines.get(place + 1..).unwrap_or_default();
        let length = begins.map_or(0, |_| 1 + after.iter().take_while(goes_on).count());
        lines.splice(place..place + length, block.lines());
        self.site = lines.join("\n");
        self
    }

    /// Adds a document.
    #[must_use]
    pub fn and(mut self, document: &str) -> Self {
        self.policies.push(document.to_owned());
        self
    }

    /// Puts `after` for `before` everywhere.
    #[must_use]
    pub fn replacing(mut self, before: &str, after: &str) -> Self {
        self.site = self.site.replace(before, after);
        self.policies = self.policies.iter().map(|text| text.replace(before, after)).collect();
        self
    }

    /// All of it as one file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut documents = vec![self.site.as_str()];
        documents.extend(self.policies.iter().map(String::as_str));
        documents.join("\n---\n")
    }
}

/// All files of the shipped policies, in order; not their tests.
fn files() -> Result<Vec<PathBuf>> {
    let places = PLACES.map(|place| Path::new(env!("CARGO_MANIFEST_DIR")).join(place));
    let place = places.iter().find(|place| place.exists()).context("no shipped policies")?;
    if place.is_file() {
        return Ok(vec![place.clone()]);
    }
    let entries =
        fs::read_dir(place).with_context(|| format!("cannot list {}", place.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| {
        let name = file.to_string_lossy();
        name.ends_with(".yaml") && !name.ends_with(".test.yaml")
    });
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_replaced_or_added() {
        let site = "kind: Site\nservices:\n  web: 1\n\n# more\ngroups:\n  a: b".to_owned();
        let shipped = Shipped { site, policies: vec!["kind: Policy".to_owned()] };
        let edited = shipped.clone().with("services:\n  shop: 2\n");
        assert_eq!(
            edited.text(),
            "kind: Site\nservices:\n  shop: 2\ngroups:\n  a: b\n---\nkind: Policy"
        );
        let edited = shipped.with("logs: {}").text();
        assert!(edited.contains("  a: b\nlogs: {}\n---"), "{edited}");
    }
}
