//! Recursive descent over a condition's tokens. Its depth is bounded, because policy files are typed
//! by people and must not be able to end the daemon.
//!
//! ```text
//! any        = all { "||" all }
//! all        = negation { "&&" negation }
//! negation   = "!" negation | "(" any ")" | comparison
//! comparison = operand ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) operand
//! operand    = name | [ "-" ] number
//! ```
//!
//! In CEL `!` binds more tightly than a comparison, so what it negates must be in parentheses.

use super::{
    Condition, ConditionError,
    check::{Check, Operand},
    lex::{Token, tokens},
};
use crate::score::registry::Registry;

/// Longest condition that is read, in bytes.
const LONGEST: usize = 4096;

/// How deep parentheses and negations may nest.
const DEEPEST: usize = 32;

/// An example, for help lines.
pub(super) const EXAMPLE: &str = "compare a feature with a number: `source.connections_10s >= 60`";

/// Parses and checks a condition.
pub(super) fn parse(text: &str, features: &Registry) -> Result<Condition, Vec<ConditionError>> {
    if text.len() > LONGEST {
        let message = format!("a condition has at most {LONGEST} bytes");
        let help = Some("split the rule in two; their points add up".to_owned());
        return Err(vec![ConditionError { offset: 0, message, help }]);
    }
    let tokens = tokens(text).map_err(|error| vec![error])?;
    let mut parser = Parser { tokens, next: 0, depth: 0, check: Check::new(features) };
    let condition = parser.any().and_then(|condition| {
        parser.end()?;
        Ok(condition)
    });
    let mut errors = parser.check.into_errors();
    match condition {
        Ok(Some(condition)) if errors.is_empty() => Ok(condition),
        Ok(_) => Err(errors),
        Err(error) => {
            errors.push(error);
            Err(errors)
        }
    }
}

/// A condition; `None` if it has a mistake that was noted, and reading can go on.
type Parsed = Result<Option<Condition>, ConditionError>;

struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    check: Check<'a>,
}

impl Parser<'_> {
    fn any(&mut self) -> Parsed {
        self.joined(&Token::Or, Self::all, Condition::Any)
    }

    fn all(&mut self) -> Parsed {
        self.joined(&Token::And, Self::negation, Condition::All)
    }

    fn joined(
        &mut self,
        by: &Token,
        part: fn(&mut Self) -> Parsed,
        join: fn(Vec<Condition>) -> Condition,
    ) -> Parsed {
        let first = part(self)?;
        if self.peek() != by {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.peek() == by {
            self.take();
            parts.push(part(self)?);
        }
        Ok(parts.into_iter().collect::<Option<Vec<_>>>().map(join))
    }

    fn negation(&mut self) -> Parsed {
        match self.peek() {
            Token::Not => {
                self.deeper()?;
                self.take();
                if !matches!(self.peek(), Token::Not | Token::Open) {
                    return self
                        .fail("`!` negates only what is in parentheses", "`!(source.age < 60)`");
                }
                let inner = self.negation()?;
                self.depth -= 1;
                Ok(inner.map(|inner| Condition::Not(Box::new(inner))))
            }
            Token::Open => {
                self.deeper()?;
                self.take();
                let inner = self.any()?;
                if *self.peek() != Token::Close {
                    let found = self.peek().describe();
                    let message = format!("expected `)`, `&&` or `||`, found {found}");
                    return self.fail(message, "every `(` needs its `)`");
                }
                self.take();
                self.depth -= 1;
                Ok(inner)
            }
            _ => self.comparison(),
        }
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.operand()?;
        let Token::Compare(comparator) = *self.peek() else {
            let found = self.peek().describe();
            if *self.peek() == Token::Open {
                return self.fail("functions are not supported", EXAMPLE);
            }
            return self.fail(format!("expected a comparison, found {found}"), EXAMPLE);
        };
        self.take();
        let right = self.operand()?;
        if matches!(self.peek(), Token::Compare(_)) {
            return self.fail("comparisons cannot be chained", "join two with `&&`");
        }
        Ok(self.check.comparison(left, comparator, right))
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        let at = self.at();
        let negative = *self.peek() == Token::Minus;
        if negative {
            self.take();
        }
        match self.peek().clone() {
            Token::Number(number) => {
                self.take();
                Ok(Operand::Number { at, number: if negative { -number } else { number } })
            }
            Token::Name(name) if !negative => {
                self.take();
                Ok(Operand::Name { at, name })
            }
            Token::End => self.fail("the condition ends too early", EXAMPLE),
            other => {
                let message = format!("expected a feature or a number, found {}", other.describe());
                self.fail(message, EXAMPLE)
            }
        }
    }

    fn end(&self) -> Result<(), ConditionError> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Close => self.fail("this `)` has no `(`", "every `)` needs its `(`"),
            other => {
                let message = format!("expected `&&` or `||`, found {}", other.describe());
                self.fail(message, "join comparisons with `&&` or `||`")
            }
        }
    }

    fn deeper(&mut self) -> Result<(), ConditionError> {
        self.depth += 1;
        if self.depth <= DEEPEST {
            return Ok(());
        }
        self.fail(
            format!("parentheses and `!` nest at most {DEEPEST} deep"),
            "split the rule in two; their points add up",
        )
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        let token = self.tokens.get(self.next).or(self.tokens.last());
        token.map_or(0, |(at, _)| *at)
    }

    fn take(&mut self) {
        self.next += 1;
    }

    fn fail<T>(&self, message: impl Into<String>, help: &str) -> Result<T, ConditionError> {
        Err(ConditionError { offset: self.at(), message: message.into(), help: Some(help.into()) })
    }
}
