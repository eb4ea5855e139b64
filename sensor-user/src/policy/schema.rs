//! The JSON Schema of policy files, for editors. Made of the same forms that the reader uses; what
//! only makes sense together (names that are referred to, conditions, ladders that rise) is for
//! `weir check` to say.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::form::{Field, Form, Need, POLICY, Quantity, SITE, Shape};
use crate::score::owasp::THREATS;

/// The schema of one document. Draft 7, which editors know.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = BTreeMap::new();
    define(&SITE, &mut definitions);
    define(&POLICY, &mut definitions);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Weir policy",
        "description": "A document of a policy file: `kind: Site` or `kind: Policy`.",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": ["Site", "Policy"]}},
        "if": {"properties": {"kind": {"const": "Site"}}},
        "then": reference(&SITE),
        "else": reference(&POLICY),
        "definitions": definitions,
    })
}

fn reference(form: &Form) -> Value {
    json!({"$ref": format!("#/definitions/{}", form.id)})
}

/// Adds the definition of a form, and of those inside.
fn define(form: &'static Form, definitions: &mut BTreeMap<&'static str, Value>) {
    if definitions.contains_key(form.id) {
        return;
    }
    definitions.insert(form.id, Value::Null);
    let usable = || form.fields.iter().filter(|field| !matches!(field.need, Need::Refused(..)));
    let properties: Map<String, Value> =
        usable().map(|field| (field.name.to_owned(), property(field, definitions))).collect();
    let required: Vec<&str> = usable()
        .filter(|field| matches!(field.need, Need::Required(_)))
        .map(|field| field.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "description": form.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    definitions.insert(form.id, schema);
}

fn property(field: &Field, definitions: &mut BTreeMap<&'static str, Value>) -> Value {
    let mut schema = match field.name {
        "owasp" => {
            let ids: Vec<&str> = THREATS.iter().map(|threat| threat.id).collect();
            json!({"type": "array", "items": {"enum": ids}})
        }
        _ => of(&field.shape, definitions),
    };
    if !matches!(field.need, Need::Required(_)) {
        // A field without a value counts as not there.
        schema = json!({"anyOf": [schema, {"type": "null"}]});
    } else if matches!(field.shape, Shape::Form(_)) {
        // Beside a bare reference nothing else counts.
        schema = json!({"allOf": [schema]});
    }
    set(&mut schema, "description", json!(field.about));
    schema
}

fn of(shape: &Shape, definitions: &mut BTreeMap<&'static str, Value>) -> Value {
    match shape {
        Shape::Text(_) => json!({"type": "string"}),
        Shape::Name(_) => json!({"type": "string", "pattern": NAME}),
        Shape::Switch(_) => json!({"type": "boolean"}),
        Shape::Whole(_, low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Shape::Word(_, words) => json!({"enum": words()}),
        Shape::Quantity(Quantity { pattern, examples, or_number, .. }) => {
            let types = if *or_number { json!(["string", "integer"]) } else { json!("string") };
            json!({"type": types, "pattern": pattern, "examples": examples})
        }
        Shape::List(_, item) => json!({"type": "array", "items": of(item, definitions)}),
        Shape::OneOrMore(item) => {
            let item = of(item, definitions);
            json!({"anyOf": [item, {"type": "array", "items": item}]})
        }
        Shape::Named(_, value) => json!({
            "type": "object",
            "propertyNames": {"pattern": NAME},
            "additionalProperties": of(value, definitions),
        }),
        Shape::Keyed(_, names, value) => json!({
            "type": "object",
            "propertyNames": {"enum": names()},
            "additionalProperties": of(value, definitions),
        }),
        Shape::Form(form) => {
            define(form, definitions);
            reference(form)
        }
        Shape::Either(first, second) => {
            json!({"anyOf": [of(first, definitions), of(second, definitions)]})
        }
    }
}

/// What names are made of.
const NAME: &str = "^[A-Za-z0-9_-]{1,64}$";

fn set(schema: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = schema {
        object.insert(key.to_owned(), value);
    }
}
