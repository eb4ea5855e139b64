//! Words and signs of a condition, each with its place.

use super::{Comparator, ConditionError};

/// A word or sign.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token {
    /// `source.age`
    Name(String),
    /// `60`, `0.1`, `1e3`, `5u`
    Number(f64),
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
            Self::Compare(comparator) => format!("`{}`", comparator.sign()),
            Self::And => "`&&`".into(),
            Self::Or => "`||`".into(),
            Self::Not => "`!`".into(),
            Self::Minus => "`-`".into(),
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
        _ => Err(ConditionError {
            offset: at,
            message: format!("`{word}` is not a number"),
            help: Some("numbers are written like `60`, `0.1` or `1e3`, without a unit".into()),
        }),
    }
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
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        _ => {
            let help = match first {
                '&' => "did you mean `&&`?",
                '|' => "did you mean `||`?",
                '=' => "did you mean `==`?",
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
