//! Recursive descent over a condition's tokens. Its depth is bounded, because policy files are typed
//! by people and must not be able to end the daemon.
//!
//! ```text
//! any        = all { "||" all }
//! all        = negation { "&&" negation }
//! negation   = "!" negation | "(" any ")" | comparison
//! comparison = operand ( ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) operand | "in" list )
//! operand    = name [ "*" number ] | number "*" name | literal
//! literal    = [ "-" ] number | text | "duration" "(" text ")"
//! list       = "[" [ literal { "," literal } ] "]"
//! ```
//!
//! In CEL `!` binds more tightly than a comparison, so what it negates must be in parentheses.

use weir_common::abi::time::SECOND_NS;

use super::{
    Condition, ConditionError,
    check::Check,
    lex::{Token, tokens},
    operand::{Literal, LiteralValue, Operand},
};
use crate::{policy::quantity, score::registry::Registry};

/// Longest condition that is read, in bytes.
const LONGEST: usize = 4096;

/// How deep parentheses and negations may nest.
const DEEPEST: usize = 32;

/// An example, for help lines.
pub(super) const EXAMPLE: &str = "compare a feature with a number: `source.connections_10s >= 60`";

const MULTIPLE: &str = "like `source.connections_10s > 0.5 * source.connections_60s`";

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
        let comparator = match self.peek() {
            Token::Compare(comparator) => *comparator,
            Token::Name(word) if word == "in" => return self.list(left),
            Token::Open => return self.fail("functions are not supported", EXAMPLE),
            other => {
                let message = format!("expected a comparison, found {}", other.describe());
                return self.fail(message, EXAMPLE);
            }
        };
        self.take();
        let right = self.operand()?;
        if matches!(self.peek(), Token::Compare(_)) {
            return self.fail("comparisons cannot be chained", "join two with `&&`");
        }
        Ok(self.check.comparison(left, comparator, right))
    }

    /// `in [ literal { "," literal } ]`
    fn list(&mut self, left: Operand) -> Parsed {
        self.take();
        let at = self.at();
        if *self.peek() != Token::OpenList {
            let message = format!("expected a list, found {}", self.peek().describe());
            return self.fail(message, "`source.country in [\"DE\", \"FR\"]`");
        }
        self.take();
        let mut items = Vec::new();
        while *self.peek() != Token::CloseList {
            if let Operand::Literal(literal) = self.operand()? {
                items.push(literal);
            } else {
                return self.fail_before("a list has numbers or texts", "`[\"DE\", \"FR\"]`");
            }
            match self.peek() {
                Token::Comma => self.take(),
                Token::CloseList => {}
                other => {
                    let message = format!("expected `,` or `]`, found {}", other.describe());
                    return self.fail(message, "every `[` needs its `]`");
                }
            }
        }
        self.take();
        Ok(self.check.list(left, &items, at))
    }

    fn operand(&mut self) -> Result<Operand, ConditionError> {
        let at = self.at();
        let negative = *self.peek() == Token::Minus;
        if negative {
            self.take();
        }
        let literal = |value| Ok(Operand::Literal(Literal { at, value }));
        match self.peek().clone() {
            Token::Number(number) => {
                self.take();
                if *self.peek() == Token::Times {
                    self.take();
                    return self.multiple(if negative { -number } else { number }, at);
                }
                literal(LiteralValue::Number(if negative { -number } else { number }))
            }
            Token::Text(text) if !negative => {
                self.take();
                literal(LiteralValue::Text(text))
            }
            Token::Name(name) if !negative => {
                self.take();
                match self.peek() {
                    Token::Open if name == "duration" => self.duration(at),
                    Token::Times => {
                        self.take();
                        let factor_at = self.at();
                        let Token::Number(factor) = *self.peek() else {
                            return self.fail("expected a number after `*`", MULTIPLE);
                        };
                        self.take();
                        self.times(factor, factor_at, at, name)
                    }
                    _ => Ok(Operand::Name { at, name, factor: 1.0 }),
                }
            }
            Token::End => self.fail("the condition ends too early", EXAMPLE),
            other => {
                let message = format!("expected a feature or a number, found {}", other.describe());
                self.fail(message, EXAMPLE)
            }
        }
    }

    /// The feature after `4 *`.
    fn multiple(&mut self, factor: f64, factor_at: usize) -> Result<Operand, ConditionError> {
        let at = self.at();
        let Token::Name(name) = self.peek().clone() else {
            return self.fail("expected a feature after `*`", MULTIPLE);
        };
        self.take();
        self.times(factor, factor_at, at, name)
    }

    fn times(
        &self,
        factor: f64,
        factor_at: usize,
        at: usize,
        name: String,
    ) -> Result<Operand, ConditionError> {
        if factor > 0.0 {
            return Ok(Operand::Name { at, name, factor });
        }
        let message = "a feature is multiplied with more than nothing".to_owned();
        Err(ConditionError { offset: factor_at, message, help: Some(MULTIPLE.into()) })
    }

    /// `("5m")` after `duration`.
    fn duration(&mut self, at: usize) -> Result<Operand, ConditionError> {
        const WRITTEN: &str = "a duration is written `duration(\"5m\")`";
        self.take();
        let text_at = self.at();
        let Token::Text(text) = self.peek().clone() else {
            return self.fail("expected a text in quotes", WRITTEN);
        };
        self.take();
        if *self.peek() != Token::Close {
            let message = format!("expected `)`, found {}", self.peek().describe());
            return self.fail(message, WRITTEN);
        }
        self.take();
        match quantity::duration_ns(&text) {
            Ok(ns) => {
                let value = LiteralValue::Seconds(ns as f64 / SECOND_NS as f64);
                Ok(Operand::Literal(Literal { at, value }))
            }
            Err(help) => {
                let message = format!("`{text}` is not a duration");
                Err(ConditionError { offset: text_at + 1, message, help: Some(help) })
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

    /// The same, at the token before.
    fn fail_before<T>(&mut self, message: &str, help: &str) -> Result<T, ConditionError> {
        self.next = self.next.saturating_sub(1);
        self.fail(message, help)
    }

    fn fail<T>(&self, message: impl Into<String>, help: &str) -> Result<T, ConditionError> {
        Err(ConditionError { offset: self.at(), message: message.into(), help: Some(help.into()) })
    }
}
