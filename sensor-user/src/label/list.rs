//! Labels as people write them: `ADDR|DECISION human|bot [why]`, one a line.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::abi::SourceKey;

use super::{About, Verdict};
use crate::{
    api::message::{BadLine, Failure, FailureKind},
    system::address,
};

/// Most labels of one request.
const MOST: usize = 10_000;
/// Bad lines that are listed one by one.
const LISTED_MAX: usize = 1000;
/// Longest reason that is kept, bytes.
const WHY_MAX: usize = 500;

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LabelLine {
    /// About whom.
    pub about: About,
    /// What it was.
    pub verdict: Verdict,
    /// Why.
    pub why: Option<String>,
    /// Which line of the request it was, from 1.
    pub line: usize,
}

/// A list that was read.
pub type LabelList = Vec<LabelLine>;

/// Reads a list. Blank lines and what follows a `#` at a line's beginning do not count.
///
/// # Errors
/// Every bad line, with what would be right.
pub fn parse(text: &str) -> Result<LabelList, Failure> {
    let mut labels = Vec::new();
    let mut bad: Vec<BadLine> = Vec::new();
    let mut more_bad = 0;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match read(line) {
            Ok((about, verdict, why)) if labels.len() < MOST => {
                labels.push(LabelLine { about, verdict, why, line: line_number });
            }
            Ok(_) => {
                let message = format!("at most {MOST} labels go in one request");
                return Err(Failure::new(FailureKind::BadRequest, message));
            }
            Err(_) if bad.len() >= LISTED_MAX => more_bad += 1,
            Err(message) => bad.push(BadLine { line: line_number, message }),
        }
    }
    if !bad.is_empty() {
        return Err(refused(bad, more_bad));
    }
    if labels.is_empty() {
        return Err(Failure::new(FailureKind::BadRequest, "there is no label in it"));
    }
    Ok(labels)
}

/// The failure of a list with bad lines.
#[must_use]
pub fn refused(bad: Vec<BadLine>, more_bad: usize) -> Failure {
    let count = bad.len() + more_bad;
    let lines = if count == 1 { "line" } else { "lines" };
    Failure {
        kind: FailureKind::BadList,
        message: format!("{count} {lines} cannot be used; nothing was labelled"),
        lines: bad,
        more_lines: more_bad,
    }
}

fn read(line: &str) -> Result<(About, Verdict, Option<String>), String> {
    let (whom, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim_start();
    let (word, why) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let about = about(whom)?;
    let verdict = match word {
        "human" => Verdict::Human,
        "bot" => Verdict::Bot,
        "" => return Err(format!("`{}` needs `human` or `bot` behind it", shown(whom))),
        other => return Err(format!("`{}` is neither `human` nor `bot`", shown(other))),
    };
    let why = why.trim();
    if why.len() > WHY_MAX {
        return Err(format!("a reason has at most {WHY_MAX} bytes"));
    }
    if why.chars().any(char::is_control) {
        return Err("a reason is one line of text".into());
    }
    Ok((about, verdict, (!why.is_empty()).then(|| why.to_owned())))
}

/// Whom a word means: an address, an IPv6 /64, or a decision by its id.
fn about(word: &str) -> Result<About, String> {
    let is_id = word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        return Ok(About::Decision(word.to_ascii_lowercase()));
    }
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(About::Source(source(address)));
    }
    let net = word
        .parse::<IpNet>()
        .map_err(|_| format!("`{}` is neither an address nor the id of a decision", shown(word)))?;
    let is_source = match net {
        IpNet::V4(v4) => v4.prefix_len() == 32,
        IpNet::V6(v6) => v6.prefix_len() >= 64,
    };
    if !is_source {
        return Err(format!("{net} is many sources: label them one by one"));
    }
    Ok(About::Source(source(net.addr())))
}

fn source(address: IpAddr) -> SourceKey {
    SourceKey::from_address(&address::words(address.to_canonical()))
}

/// Not more of a word than one wants to see in a message.
fn shown(word: &str) -> String {
    word.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_people_write_them() {
        let text =
            "# ours\n192.0.2.7 human  ticket 4711 \n\n0123456789ABCdef\tbot\n2001:db8::9 bot x\n";
        let labels = parse(text).unwrap();
        assert_eq!(labels[0].about, About::Source(source("192.0.2.7".parse().unwrap())));
        assert_eq!(
            (labels[0].verdict, labels[0].why.as_deref()),
            (Verdict::Human, Some("ticket 4711"))
        );
        assert_eq!(labels[1].about, About::Decision("0123456789abcdef".into()));
        assert_eq!((labels[1].verdict, &labels[1].why, labels[1].line), (Verdict::Bot, &None, 4));
        assert_eq!(
            labels[2].about,
            About::Source(source("2001:db8::1".parse().unwrap())),
            "its /64"
        );
    }

    #[test]
    fn every_bad_line_is_reported_and_nothing_taken() {
        let long = format!("192.0.2.1 bot {}", "x".repeat(501));
        let text = format!(
            "192.0.2.7 human\nnonsense bot\n192.0.2.8\n192.0.2.9 alien\n10.0.0.0/8 bot\n{long}\n192.0.2.1 bot a\u{1b}b"
        );
        let failure = parse(&text).unwrap_err();
        let told: Vec<(usize, &str)> =
            failure.lines.iter().map(|bad| (bad.line, bad.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (2, "`nonsense` is neither an address nor the id of a decision"),
                (3, "`192.0.2.8` needs `human` or `bot` behind it"),
                (4, "`alien` is neither `human` nor `bot`"),
                (5, "10.0.0.0/8 is many sources: label them one by one"),
                (6, "a reason has at most 500 bytes"),
                (7, "a reason is one line of text"),
            ]
        );
        assert_eq!(failure.message, "6 lines cannot be used; nothing was labelled");
    }

    #[test]
    fn nothing_is_no_list() {
        assert_eq!(parse("\n# nothing\n").unwrap_err().message, "there is no label in it");
    }
}
