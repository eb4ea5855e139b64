//! YAML as a tree in which every key and value knows where it stands.
//!
//! The tree is built first and checked afterwards, so that one run reports every mistake, each
//! with its place, and not only the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Error, Location, Spanned};

use super::diagnostic::{Report, Span};

/// How deep collections may nest: twice what the deepest field needs, and little enough for the
/// stack of any thread.
const DEEPEST: usize = 16;

/// Most documents of a file.
const MOST_DOCUMENTS: usize = 1024;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Span,
    /// Where it is written, if an alias stands for it.
    written: Span,
    pub(super) value: Value,
}

/// A key and its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) at: Span,
    written: Span,
    pub(super) name: String,
}

/// What YAML can say.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

impl Node {
    /// What it says, without places.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect()
            }
        }
    }
}

impl Value {
    /// What it is, for "expected …, found …".
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Int(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(value) => format!("`{value}`"),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a mapping".into(),
        }
    }
}

/// Reads all documents of a file; `None` if it is not YAML, which the report then says.
pub(super) fn parse(report: &mut Report<'_>, file: u16) -> Option<Vec<Node>> {
    let whole = Span { file, ..Span::default() };
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_documents: MOST_DOCUMENTS,
        },
    };
    match serde_saphyr::from_multiple_with_options::<Spanned<Value>>(report.text(whole), options) {
        Ok(documents) => {
            let mut documents: Vec<Node> = documents.into_iter().map(Node::from).collect();
            let mut place = |at, written| report.add_alias(at, written);
            documents.iter_mut().for_each(|document| document.place(file, false, &mut place));
            Some(documents)
        }
        Err(error) => {
            let at = error.location().map(|location| span(&location)).unwrap_or_default();
            let at = Span { file, ..at };
            let help = is_wildcard(report.text(at), at).then(|| {
                "a `*` at the beginning means something else in YAML: put the name in quotes, \
                 \"*.example.com\""
                    .to_owned()
            });
            report.error(at, message(&error), help);
            None
        }
    }
}

/// Whether a name that begins with `*` stands at a place without quotes.
fn is_wildcard(text: &str, at: Span) -> bool {
    let line = (at.line as usize).checked_sub(1).and_then(|index| text.lines().nth(index));
    line.is_some_and(|line| {
        let mut before = ' ';
        line.char_indices().any(|(index, c)| {
            let begins = matches!(before, ' ' | '[' | ',') && c == '*';
            before = c;
            begins && line.get(index..).is_some_and(|rest| rest.starts_with("*."))
        })
    })
}

/// The message without the place, which the diagnostic shows in its own way.
fn message(error: &Error) -> String {
    let text = error.without_snippet().to_string();
    let bare = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    format!("not valid YAML: {bare}")
}

fn span(location: &Location) -> Span {
    let bytes = location.span();
    let index = |offset: Option<u64>| offset.and_then(|o| usize::try_from(o).ok()).unwrap_or(0);
    Span {
        file: 0,
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
        start: index(bytes.byte_offset()),
        len: index(bytes.byte_len()),
    }
}

impl Node {
    /// Says of everything in it which file it stands in. An alias stands where it is used, and what
    /// is inside of what it stands for where it is written.
    fn place(&mut self, file: u16, is_inside: bool, alias: &mut dyn FnMut(Span, Span)) {
        self.at.file = file;
        self.written.file = file;
        let is_alias = self.at != self.written;
        if is_inside {
            self.at = self.written;
        } else if is_alias {
            alias(self.at, self.written);
        }
        match &mut self.value {
            Value::List(items) => {
                items.iter_mut().for_each(|item| item.place(file, is_inside || is_alias, alias));
            }
            Value::Map(entries) => {
                for (key, value) in entries {
                    key.at.file = file;
                    key.written.file = file;
                    if is_inside || is_alias {
                        key.at = key.written;
                    }
                    value.place(file, is_inside || is_alias, alias);
                }
            }
            _ => {}
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        let (at, written) = (span(&spanned.referenced), span(&spanned.defined));
        Self { at, written, value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Spanned<String>, Spanned<Value>>()? {
            let (at, written) = (span(&key.referenced), span(&key.defined));
            entries.push((Key { at, written, name: key.value }, value.into()));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = "kind: Site\nlist:\n  - {at: 30}\n---\nkind: Policy\n";
        let mut report = Report::new("x", text);
        let documents = parse(&mut report, 0).unwrap();
        assert_eq!(documents.len(), 2);
        let Value::Map(entries) = &documents[0].value else { panic!() };
        let (key, value) = &entries[1];
        assert_eq!((key.at.line, key.at.column), (2, 1));
        let Value::List(items) = &value.value else { panic!() };
        let Value::Map(step) = &items[0].value else { panic!() };
        assert_eq!((step[0].1.at.line, step[0].1.at.column), (3, 10));
        assert_eq!(&text[step[0].1.at.start..][..step[0].1.at.len], "30");
    }

    #[test]
    fn broken_yaml_is_reported_with_its_place() {
        let mut report = Report::new("x", "a: [1,\nb: 2\n");
        assert!(parse(&mut report, 0).is_none());
        let errors = report.finish().unwrap_err();
        assert_eq!((errors.diagnostics[0].line, errors.diagnostics[0].column), (1, 4));
        assert!(errors.diagnostics[0].message.starts_with("not valid YAML: unclosed bracket"));
    }
}
