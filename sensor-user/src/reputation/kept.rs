//! The last good copy of each feed, in the state directory: what a feed says is there at once after a
//! restart, and a list that is suddenly another is seen to be that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    fetch::Validators,
    list::{self, Format},
    prefixes::PrefixSet,
    watch::digest_of,
};
use crate::system::durable::{self, DurableError};

/// How the first line begins.
const HEAD: &str = "# weir feed 1 ";

/// How the files' names end.
const ENDING: &str = "netset";

/// A copy.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Copy {
    pub(super) set: PrefixSet,
    pub(super) about: About,
}

/// What is said of a copy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct About {
    /// The file or address that it came from; another one is another feed.
    pub(super) source: String,
    /// Whether it was fetched.
    pub(super) is_fetched: bool,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) read_at_unix_s: u64,
    pub(super) changed_at_unix_s: u64,
    /// SHA-256 of the lines below, in hexadecimal; set when it is written.
    pub(super) digest: String,
}

impl About {
    pub(super) fn validators(&self) -> Validators {
        Validators { etag: self.etag.clone(), last_modified: self.last_modified.clone() }
    }
}

/// The folder of copies.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The copy of a feed, if it is whole and came from `source`.
    pub(super) fn read(&self, feed: &str, source: &str) -> Option<Copy> {
        let path = self.path(feed);
        let is_huge =
            fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 2 * list::LARGEST_BYTES);
        let text = if is_huge { None } else { durable::read(&path).ok()? }?;
        let text = String::from_utf8(text).ok()?;
        let (head, body) = text.split_once('\n')?;
        let about: About = serde_json::from_str(head.strip_prefix(HEAD)?).ok()?;
        if about.source != source || about.digest != hexadecimal(body) {
            return None;
        }
        let nets = list::parse(body.as_bytes(), Format::Plain).ok()?;
        Some(Copy { set: PrefixSet::new(&nets), about })
    }

    /// Keeps a copy.
    pub(super) fn write(&self, feed: &str, copy: &Copy) -> Result<(), DurableError> {
        let mut body = String::new();
        for net in copy.set.prefixes() {
            body.push_str(&net.to_string());
            body.push('\n');
        }
        let about = About { digest: hexadecimal(&body), ..copy.about.clone() };
        // Texts and numbers can always be written as JSON, on one line.
        let head = serde_json::to_string(&about).unwrap_or_default();
        durable::write(&self.path(feed), format!("{HEAD}{head}\n{body}").as_bytes())
    }

    /// Removes copies of feeds that there are no longer.
    pub(super) fn keep_only(&self, feeds: &[&str]) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_copy = path.extension().is_some_and(|ending| ending == ENDING);
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if is_copy && !stem.is_some_and(|stem| feeds.contains(&stem)) {
                // What cannot be removed is not read either.
                let _ = durable::remove(&path);
            }
        }
    }

    fn path(&self, feed: &str) -> PathBuf {
        // Names of feeds are small letters, digits and `_`.
        self.folder.join(Path::new(feed).with_extension(ENDING))
    }
}

fn hexadecimal(text: &str) -> String {
    digest_of(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_comes_back_if_it_is_whole_and_of_the_same_source() {
        let folder = std::env::temp_dir().join(format!("weir-kept-{}", std::process::id()));
        let kept = Kept::new(folder.clone());
        let nets = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/33"];
        let nets: Vec<_> = nets.iter().map(|net| net.parse().unwrap()).collect();
        let about = About {
            source: "https://example.com/list".into(),
            etag: Some("\"a\\b\n\"".into()),
            read_at_unix_s: 7,
            ..About::default()
        };
        let copy = Copy { set: PrefixSet::new(&nets), about };
        kept.write("bad", &copy).unwrap();
        let read = kept.read("bad", "https://example.com/list").unwrap();
        assert_eq!((&read.set, &read.about.etag), (&copy.set, &copy.about.etag));
        assert_eq!(kept.read("bad", "https://example.com/other"), None);
        assert_eq!(kept.read("other", "https://example.com/list"), None);
        let path = folder.join("bad.netset");
        let text = fs::read_to_string(&path).unwrap();
        for torn in [text.replace("192.0.2.0/24", "0.0.0.0/0"), text[..text.len() - 4].into()] {
            assert_ne!(torn, text);
            fs::write(&path, torn).unwrap();
            assert_eq!(kept.read("bad", "https://example.com/list"), None);
        }
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        kept.keep_only(&["bad"]);
        assert!(path.exists());
        kept.keep_only(&["good"]);
        assert!(!path.exists() && folder.join("notes.txt").exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
