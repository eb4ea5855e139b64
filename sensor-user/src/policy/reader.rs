//! Typed reads from the tree. Each says what was expected where it finds something else, and goes
//! on, so that one run finds every mistake.

use std::collections::HashMap;

use super::{
    diagnostic::{Report, Span},
    form::{Form, Need, Shape},
    suggest,
    tree::{Key, Node, Value},
};

/// Something as typed, and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Typed<T> {
    pub(super) value: T,
    pub(super) at: Span,
}

/// A list, of which items that were wrong are left out.
#[derive(Debug, Default)]
pub(super) struct TypedList<T> {
    pub(super) items: Vec<T>,
    /// Whether nothing was typed.
    pub(super) is_empty: bool,
}

impl<T> TypedList<T> {
    /// Reads every item of a list that may be missing.
    pub(super) fn read<'n>(
        report: &mut Report<'_>,
        node: Option<&'n Node>,
        what: &str,
        read: impl Fn(&mut Report<'_>, &'n Node) -> Option<T>,
    ) -> Self {
        let nodes = node.map_or(&[][..], |node| list(report, node, what));
        let items = nodes.iter().filter_map(|item| read(report, item)).collect();
        let is_empty =
            node.is_none_or(|node| matches!(&node.value, Value::List(v) if v.is_empty()));
        Self { items, is_empty }
    }
}

/// The entries of a mapping whose field names are known.
pub(super) struct Fields<'n> {
    pub(super) at: Span,
    form: &'static Form,
    entries: Vec<(&'n Key, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// Reads a mapping; fields that it does not have, or that are given twice, and fields that are
    /// missing are mistakes.
    pub(super) fn read(
        report: &mut Report<'_>,
        node: &'n Node,
        form: &'static Form,
    ) -> Option<Self> {
        let entries = entries(report, node, form.what)?;
        for (key, _) in &entries {
            match form.field(&key.name).map(|field| field.need) {
                Some(Need::Refused(message, help)) => {
                    report.error(key.at, message, Some(help.to_owned()));
                }
                Some(_) => {}
                None => {
                    let help = suggest::help(&key.name, &form.names());
                    let message = format!("{} has no field `{}`", form.what, key.name);
                    report.error(key.at, message, help);
                }
            }
        }
        let fields = Self { at: node.at, form, entries };
        for field in form.fields {
            let (Need::Required(example) | Need::Somewhere(example)) = field.need else { continue };
            if fields.get(field.name).is_none() {
                let message = format!("{} needs `{}`", form.what, field.name);
                report.error(fields.at, message, Some(example.to_owned()));
            }
        }
        Some(fields)
    }

    /// The value of a field. A field without a value (`tcp:`) counts as not there.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (!matches!(node.value, Value::Null)).then_some(*node)
    }

    /// A text.
    pub(super) fn text(&self, report: &mut Report<'_>, name: &str) -> Option<Typed<String>> {
        let (node, shape) = self.with_shape(name)?;
        text(report, node, shape.what())
    }

    /// A text that nothing depends on.
    pub(super) fn note(&self, report: &mut Report<'_>, name: &str) -> Option<String> {
        self.text(report, name).map(|typed| typed.value)
    }

    /// A name.
    pub(super) fn name(&self, report: &mut Report<'_>, field: &str) -> Option<Typed<String>> {
        let (node, shape) = self.with_shape(field)?;
        name(report, node, shape.what())
    }

    /// A whole number.
    pub(super) fn whole(&self, report: &mut Report<'_>, name: &str) -> Option<Typed<i64>> {
        let (node, shape) = self.with_shape(name)?;
        whole(report, node, shape)
    }

    /// One of the words of the field's shape.
    pub(super) fn word<T: Copy>(
        &self,
        report: &mut Report<'_>,
        name: &str,
        words: &[(&str, T)],
    ) -> Option<Typed<T>> {
        let (node, shape) = self.with_shape(name)?;
        keyword(report, node, shape.what(), words)
    }

    /// A text that is read as something.
    pub(super) fn quantity<T>(
        &self,
        report: &mut Report<'_>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Typed<T>> {
        let (node, shape) = self.with_shape(name)?;
        quantity(report, node, shape.what(), parse)
    }

    /// A list, each item read with the shape that it has.
    pub(super) fn list<T>(
        &self,
        report: &mut Report<'_>,
        name: &str,
        read: impl Fn(&mut Report<'_>, &'n Node, &'static Shape) -> Option<T>,
    ) -> TypedList<T> {
        let found = self.with_shape(name);
        let Some((node, Shape::List(what, item))) = found else {
            return TypedList { items: Vec::new(), is_empty: found.is_none() };
        };
        TypedList::read(report, Some(node), what, |report, node| read(report, node, item))
    }

    /// A mapping whose keys are names that the author chooses.
    pub(super) fn named(
        &self,
        report: &mut Report<'_>,
        name: &str,
    ) -> Vec<(Typed<String>, &'n Node)> {
        let Some((node, Shape::Named(what, _))) = self.with_shape(name) else { return Vec::new() };
        named(report, node, what)
    }

    /// The same, with the shape of the values.
    pub(super) fn shaped(
        &self,
        report: &mut Report<'_>,
        name: &str,
    ) -> Vec<(Typed<String>, &'n Node, &'static Shape)> {
        let Some((_, Shape::Named(_, shape))) = self.with_shape(name) else { return Vec::new() };
        let entries = self.named(report, name).into_iter();
        entries.map(|(name, node)| (name, node, *shape)).collect()
    }

    fn with_shape(&self, name: &str) -> Option<(&'n Node, &'static Shape)> {
        let field = self.form.field(name);
        debug_assert!(field.is_some(), "{} has no `{name}` to read", self.form.what);
        Some((self.get(name)?, &field?.shape))
    }
}

/// The entries of a mapping; a key given twice is a mistake.
pub(super) fn entries<'n>(
    report: &mut Report<'_>,
    node: &'n Node,
    what: &str,
) -> Option<Vec<(&'n Key, &'n Node)>> {
    let Value::Map(pairs) = &node.value else {
        unexpected(report, node, &format!("{what} as a mapping"));
        return None;
    };
    let mut places: HashMap<&str, Span> = HashMap::with_capacity(pairs.len());
    let mut seen: Vec<(&Key, &Node)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        if let Some(first) = places.get(key.name.as_str()) {
            let place = report.place(*first, key.at);
            let help = Some(format!("the first one is on {place}; keep one of them"));
            report.error(key.at, format!("`{}` is given twice", key.name), help);
        } else {
            places.insert(&key.name, key.at);
            seen.push((key, value));
        }
    }
    Some(seen)
}

/// A mapping whose keys are names that the author chooses.
pub(super) fn named<'n>(
    report: &mut Report<'_>,
    node: &'n Node,
    what: &str,
) -> Vec<(Typed<String>, &'n Node)> {
    entries(report, node, what)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(key, value)| {
            let name = Typed { value: key.name.clone(), at: key.at };
            name_is_valid(report, &name).then_some((name, value))
        })
        .collect()
}

fn name_is_valid(report: &mut Report<'_>, name: &Typed<String>) -> bool {
    let valid = !name.value.is_empty()
        && name.value.len() <= 64
        && name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !valid {
        let help = Some("letters, digits, `-` and `_`, at most 64".to_owned());
        report.error(name.at, format!("`{}` cannot be a name", name.value), help);
    }
    valid
}

/// A name, as a value.
pub(super) fn name(report: &mut Report<'_>, node: &Node, what: &str) -> Option<Typed<String>> {
    let name = text(report, node, what)?;
    name_is_valid(report, &name).then_some(name)
}

/// The items of a list.
pub(super) fn list<'n>(report: &mut Report<'_>, node: &'n Node, what: &str) -> &'n [Node] {
    if let Value::List(items) = &node.value {
        items
    } else {
        unexpected(report, node, &format!("a list of {what}"));
        &[]
    }
}

/// A text.
pub(super) fn text(report: &mut Report<'_>, node: &Node, what: &str) -> Option<Typed<String>> {
    if let Value::Text(value) = &node.value {
        Some(Typed { value: value.clone(), at: node.at })
    } else {
        unexpected(report, node, what);
        None
    }
}

/// A whole number within the limits of its shape.
pub(super) fn whole(
    report: &mut Report<'_>,
    node: &Node,
    shape: &'static Shape,
) -> Option<Typed<i64>> {
    let Shape::Whole(what, low, high) = shape else { return None };
    match node.value {
        Value::Int(value) if (*low..=*high).contains(&value) => Some(Typed { value, at: node.at }),
        _ => {
            unexpected(report, node, &format!("{what}, {low} to {high}"));
            None
        }
    }
}

/// A quantity written as text, read by `parse`, whose error says what would be right.
pub(super) fn quantity<T>(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Typed<T>> {
    let found = match &node.value {
        Value::Text(text) => text.clone(),
        // `for: 10` reaches us as a number; the message then says that the unit is missing.
        Value::Int(number) => number.to_string(),
        _ => {
            unexpected(report, node, what);
            return None;
        }
    };
    match parse(&found) {
        Ok(value) => Some(Typed { value, at: node.at }),
        Err(help) => {
            report.error(node.at, format!("`{found}` is not {what}"), Some(help));
            None
        }
    }
}

/// One word of a closed set.
pub(super) fn keyword<T: Copy>(
    report: &mut Report<'_>,
    node: &Node,
    what: &str,
    words: &[(&str, T)],
) -> Option<Typed<T>> {
    let typed = match &node.value {
        Value::Text(text) => text.as_str(),
        // YAML 1.1 reads `off` and `on` as booleans.
        Value::Bool(false) => "off",
        Value::Bool(true) => "on",
        _ => "",
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == typed) {
        return Some(Typed { value: *value, at: node.at });
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let found = node.value.describe();
    report.error(node.at, format!("expected {what}, found {found}"), suggest::help(typed, &known));
    None
}

fn unexpected(report: &mut Report<'_>, node: &Node, expected: &str) {
    report.error(node.at, format!("expected {expected}, found {}", node.value.describe()), None);
}
