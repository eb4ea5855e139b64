//! Lists of prefixes: one a line, `#` begins a comment.

use std::{fs, io::Read, net::IpAddr, path::Path};

use ipnet::IpNet;

/// Largest list that is read: a million prefixes of usual length fit twice.
const LARGEST_BYTES: u64 = 64 << 20;

/// What is wrong with a list.
#[derive(Debug, thiserror::Error)]
pub enum NetsetError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Read {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any list should be.
    #[error("{file} is larger than 64 MiB: split it, or merge its prefixes")]
    TooLarge {
        /// Which file.
        file: String,
    },
    /// A line is not a prefix.
    #[error(
        "{file}:{line}: `{text}` is not an address or prefix, like `192.0.2.7` or `2001:db8::/32`"
    )]
    Line {
        /// Which file.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
}

/// An address (as a full-length prefix) or a prefix. Bits beyond the length are cleared.
///
/// # Errors
/// If the text is neither.
pub fn prefix(text: &str) -> Result<IpNet, ipnet::AddrParseError> {
    let text = text.trim();
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().map(|net| net.trunc()),
    }
}

/// Reads a list from a file.
///
/// # Errors
/// If the file cannot be read, or a line is not a prefix.
pub fn read(path: &Path) -> Result<Vec<IpNet>, NetsetError> {
    let file = path.display().to_string();
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|opened| opened.take(LARGEST_BYTES + 1).read_to_string(&mut text))
        .map_err(|source| NetsetError::Read { file: file.clone(), source })?;
    if text.len() as u64 > LARGEST_BYTES {
        return Err(NetsetError::TooLarge { file });
    }
    parse(&file, &text)
}

/// Reads a list from text; `file` is its name in errors.
///
/// # Errors
/// If a line is not a prefix.
pub fn parse(file: &str, text: &str) -> Result<Vec<IpNet>, NetsetError> {
    let mut nets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim();
        if entry.is_empty() {
            continue;
        }
        nets.push(prefix(entry).map_err(|_| NetsetError::Line {
            file: file.to_owned(),
            line: index + 1,
            text: entry.to_owned(),
        })?);
    }
    Ok(nets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_prefixes_and_comments() {
        let nets = parse("x", "# partners\n192.0.2.7\n\n10.1.2.3/8 # whole ten\n2001:db8::/32\n");
        let texts: Vec<_> = nets.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.7/32", "10.0.0.0/8", "2001:db8::/32"]);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let error = parse("partners.netset", "10.0.0.0/8\n10.0.0.0/33\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "partners.netset:2: `10.0.0.0/33` is not an address or prefix, like `192.0.2.7` or `2001:db8::/32`"
        );
    }
}
