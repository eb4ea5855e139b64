//! Reading policy files: one, or all of a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Most bytes of one file. Lists of addresses have files of their own.
const LARGEST_BYTES: u64 = 4 << 20;

/// Most files of a folder.
const MOST_FILES: usize = 256;

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read: {0}")]
    Read(io::Error),
    #[error("larger than 4 MiB")]
    TooLarge,
    #[error("not UTF-8: the byte at {at} cannot be read")]
    NotText { at: String },
    #[error("more than {MOST_FILES} policy files in one folder")]
    TooMany,
    #[error("no policy file in this folder")]
    Empty,
}

impl FileError {
    /// What would be right.
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::Read(_) => "name a policy file or a folder that this user can read",
            Self::TooLarge => {
                "put lists of addresses into files of their own: `{file: partners.netset}`"
            }
            Self::NotText { .. } => "save the file as UTF-8; a policy is text",
            Self::TooMany => "is this the right folder? policies for one site fit in fewer",
            Self::Empty => {
                "policy files end in `.yaml` or `.yml`; those of tests (`.test.yaml`) and hidden \
                 ones are not read"
            }
        }
    }
}

/// The text of a file.
pub(super) fn read(path: &Path) -> Result<String, FileError> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(FileError::Read)?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(FileError::Read(io::ErrorKind::IsADirectory.into()));
    }
    file.take(LARGEST_BYTES + 1).read_to_end(&mut bytes).map_err(FileError::Read)?;
    if bytes.len() as u64 > LARGEST_BYTES {
        return Err(FileError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        FileError::NotText { at: format!("line {line}, column {column}") }
    })
}

/// The policy files of a folder, by name. Not those of tests, not hidden ones, and not those of
/// folders inside.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::Read)? {
        let path = entry.map_err(FileError::Read)?.path();
        if is_policy(&path) && path.is_file() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(FileError::TooMany);
        }
    }
    if files.is_empty() {
        return Err(FileError::Empty);
    }
    files.sort_unstable();
    Ok(files)
}

/// Whether a name is a policy file's.
fn is_policy(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".yml"));
    stem.is_some_and(|stem| !stem.starts_with('.') && !stem.ends_with(".test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_files_are_known_by_their_names() {
        for (name, expected) in [
            ("site.yaml", true),
            ("10-login.yml", true),
            ("login.test.yaml", false),
            ("login.test.yml", false),
            (".site.yaml.swp", false),
            (".site.yaml", false),
            ("site.yaml~", false),
            ("partners.netset", false),
        ] {
            assert_eq!(is_policy(Path::new(name)), expected, "{name}");
        }
    }
}
