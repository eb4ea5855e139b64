//! Words and signs of a condition, each with its place.

use super::{Comparator, ConditionError};
use crate::policy::quantity;

/// A word or sign.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// `source.age`
    Name(String),
    /// `60`, `0.1`, `1e3`, `5u`
    Number(f64),
    /// `"DE"`
    Text(String),
    /// `>=`
    Compare(Comparator),
    /// `&&`
    And,
    /// `||`
    Or,
    /// `!`
    Not,
    /// `-`
    Minus,
    /// `*`
    Times,
    /// `,`
    Comma,
    /// `[`
    OpenList,
    /// `]`
    CloseList,
    /// `(`
    Open,
    /// `)`
    Close,
    /// Behind the last one.
    End,
}

impl Token {
    /// What it is, for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => format!("the text \"{text}\""),
            Self::Compare(comparator) => format!("`{}`", comparator.sign()),
            Self::And => "`&&`".into(),
            Self::Or => "`||`".into(),
            Self::Not => "`!`".into(),
            Self::Minus => "`-`".into(),
            Self::Times => "`*`".into(),
            Self::Comma => "`,`".into(),
            Self::OpenList => "`[`".into(),
            Self::CloseList => "`]`".into(),
            Self::Open => "`(`".into(),
            Self::Close => "`)`".into(),
            Self::End => "the end".into(),
        }
    }
}

/// Reads a condition's tokens; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ConditionError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let rest = chars.get(at..).unwrap_or(&[]);
        let (token, length) = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            'a'..='z' | 'A'..='Z' | '_' => name(rest),
            '0'..='9' => number(at, rest)?,
            '"' | '\'' => quoted(at, c, rest)?,
            _ => sign(at, rest)?,
        };
        tokens.push((at, token));
        at += length;
    }
    tokens.push((text.trim_end().chars().count(), Token::End));
    Ok(tokens)
}

fn name(rest: &[char]) -> (Token, usize) {
    let name: String =
        rest.iter().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect();
    let length = name.len();
    (Token::Name(name), length)
}

fn number(at: usize, rest: &[char]) -> Result<(Token, usize), ConditionError> {
    // An exponent's sign belongs to the number, any other one does not.
    let mut before = ' ';
    let word: String = rest
        .iter()
        .take_while(|c| {
            let is_exponent_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
            before = **c;
            c.is_ascii_alphanumeric() || **c == '.' || is_exponent_sign
        })
        .collect();
    // CEL's unsigned numbers are marked with a `u`.
    let digits = word.strip_suffix('u').filter(|digits| digits.parse::<u64>().is_ok());
    match digits.unwrap_or(&word).parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Token::Number(number), word.len())),
        _ => {
            let (message, help) = (format!("`{word}` is not a number"), Some(help(&word)));
            Err(ConditionError { offset: at, message, help })
        }
    }
}

/// What is meant by something that begins like a number.
fn help(word: &str) -> String {
    if quantity::duration_ns(word).is_ok() {
        return format!("a duration is written `duration(\"{word}\")`");
    }
    "numbers are written like `60`, `0.1` or `1e3`, without a unit".into()
}

/// A text in quotes of either kind.
fn quoted(at: usize, quote: char, rest: &[char]) -> Result<(Token, usize), ConditionError> {
    let text: String = rest.iter().skip(1).take_while(|c| **c != quote).collect();
    let length = text.chars().count();
    let error = |message: &str, help: &str| {
        let (message, help) = (message.to_owned(), Some(help.to_owned()));
        Err(ConditionError { offset: at, message, help })
    };
    if text.contains(['\\', '\n']) {
        return error("this text has a character that no text here needs", "like \"DE\"");
    }
    if rest.get(length + 1) != Some(&quote) {
        return error("this text does not end", "every quote needs another one: \"DE\"");
    }
    Ok((Token::Text(text), length + 2))
}

fn sign(at: usize, rest: &[char]) -> Result<(Token, usize), ConditionError> {
    let (first, second) = (rest.first().copied().unwrap_or(' '), rest.get(1).copied());
    let token = match (first, second) {
        ('&', Some('&')) => (Token::And, 2),
        ('|', Some('|')) => (Token::Or, 2),
        ('<', Some('=')) => (Token::Compare(Comparator::LessOrEqual), 2),
        ('>', Some('=')) => (Token::Compare(Comparator::GreaterOrEqual), 2),
        ('=', Some('=')) => (Token::Compare(Comparator::Equal), 2),
        ('!', Some('=')) => (Token::Compare(Comparator::NotEqual), 2),
        ('<', _) => (Token::Compare(Comparator::Less), 1),
        ('>', _) => (Token::Compare(Comparator::Greater), 1),
        ('!', _) => (Token::Not, 1),
        ('-', _) => (Token::Minus, 1),
        ('*', _) => (Token::Times, 1),
        (',', _) => (Token::Comma, 1),
        ('[', _) => (Token::OpenList, 1),
        (']', _) => (Token::CloseList, 1),
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        _ => {
            let help = match first {
                '&' => "did you mean `&&`?",
                '|' => "did you mean `||`?",
                '=' => "did you mean `==`?",
                '%' => "a share is a number from 0 to 1: 50 % is `0.5`",
                '+' | '/' => "a feature can be compared with a multiple of another: `2 * …`",
                _ => "compare features with numbers, and join with `&&`, `||`, `!` and parentheses",
            };
            return Err(ConditionError {
                offset: at,
                message: format!("`{first}` cannot stand in a condition"),
                help: Some(help.into()),
            });
        }
    };
    Ok(token)
}
