//! The functions of templates: Go's and Docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::format;
use crate::output::escape;

/// `(name, least arguments, most arguments)`; `and` and `or` are the evaluator's, which stops where they are decided.
const FUNCTIONS: [(&str, usize, usize); 23] = [
    ("and", 1, usize::MAX),
    ("eq", 2, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("index", 1, usize::MAX),
    ("join", 2, 2),
    ("json", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lower", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, usize::MAX),
    ("pad", 3, 3),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, 3),
    ("split", 2, 2),
    ("title", 1, 1),
    ("truncate", 2, 2),
    ("upper", 1, 1),
];

/// Longest text that one call makes.
const MAX_PAD: usize = 4096;

pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, ..)| *name)
}

/// Whether the function may stand among arguments without parentheses.
pub(super) fn takes_nothing(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, least, _)| *known == name && *least == 0)
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("there is no function \"{name}\""));
    };
    if !(*least..=*most).contains(&arguments.len()) {
        let wanted = match (least, most) {
            (least, most) if least == most => least.to_string(),
            (least, &usize::MAX) => format!("at least {least}"),
            (least, most) => format!("{least} to {most}"),
        };
        return Err(format!("{name} takes {wanted} arguments, and has {}", arguments.len()));
    }
    match (name, arguments) {
        ("not", [value]) => Ok(Value::Bool(!is_true(value))),
        ("eq", [first, rest @ ..]) => {
            for other in rest {
                if equal(first, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [a, b]) => Ok(Value::Bool(!equal(a, b)?)),
        ("lt", [a, b]) => Ok(Value::Bool(compare(a, b)? == Ordering::Less)),
        ("le", [a, b]) => Ok(Value::Bool(compare(a, b)? != Ordering::Greater)),
        ("gt", [a, b]) => Ok(Value::Bool(compare(a, b)? == Ordering::Greater)),
        ("ge", [a, b]) => Ok(Value::Bool(compare(a, b)? != Ordering::Less)),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(Value::from(print(values))),
        ("println", values) => {
            let mut text = values.iter().map(show).collect::<Vec<_>>().join(" ");
            text.push('\n');
            Ok(Value::from(text))
        }
        ("printf", [form, values @ ..]) => Ok(Value::from(format::printf(&text(name, form)?, values))),
        ("json", [value]) => {
            serde_json::to_string(value).map(|text| Value::from(escape::json(text))).map_err(|error| error.to_string())
        }
        ("upper", [value]) => Ok(Value::from(text(name, value)?.to_uppercase())),
        ("lower", [value]) => Ok(Value::from(text(name, value)?.to_lowercase())),
        ("title", [value]) => Ok(Value::from(title(&text(name, value)?))),
        ("split", [value, separator]) => {
            let (value, separator) = (text(name, value)?, text(name, separator)?);
            Ok(value.split(separator.as_str()).map(Value::from).collect())
        }
        ("join", [list, separator]) => {
            let parts: Vec<String> = match list {
                Value::Array(list) => list.iter().map(show).collect(),
                Value::Null => Vec::new(),
                other => return Err(format!("join takes a list and a separator, and has {}", kind(other))),
            };
            Ok(Value::from(parts.join(&text(name, separator)?)))
        }
        ("truncate", [value, length]) => {
            let length = count(name, length)?;
            Ok(Value::from(text(name, value)?.chars().take(length).collect::<String>()))
        }
        ("pad", [value, before, after]) => {
            let (value, before, after) = (text(name, value)?, count(name, before)?, count(name, after)?);
            if value.is_empty() {
                return Ok(Value::from(""));
            }
            let spaces = |n: usize| " ".repeat(n.min(MAX_PAD));
            Ok(Value::from(format!("{}{value}{}", spaces(before), spaces(after))))
        }
        _ => Err(format!("{name} can't be called here")),
    }
}

/// Go's truth: everything but false, zero, nothing and what is empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// As Go prints a value: `[a b]`, `map[k:v]`, `<no value>`.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", show(value))).collect();
            format!("map[{}]", members.join(" "))
        }
    }
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn text(function: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{function} takes a text, and has {}", kind(other))),
    }
}

fn count(function: &str, value: &Value) -> Result<usize, String> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| format!("{function} takes a whole number, and has {}", kind(value)))
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("lists and objects can't be compared".to_owned())
        }
        _ => Ok(compare(a, b)? == Ordering::Equal),
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    let unlike = || format!("{} and {} can't be compared", kind(a), kind(b));
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64(), x.as_u64(), y.as_u64()) {
            (Some(x), Some(y), ..) => Ok(x.cmp(&y)),
            (_, _, Some(x), Some(y)) => Ok(x.cmp(&y)),
            _ => x.as_f64().partial_cmp(&y.as_f64()).ok_or_else(unlike),
        },
        _ => Err(unlike()),
    }
}

fn length(value: &Value) -> Result<Value, String> {
    Ok(Value::from(match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        // Go's nil lists and maps have no length but 0.
        Value::Null => 0,
        other => return Err(format!("len takes a text, a list or an object, and has {}", kind(other))),
    }))
}

fn index(value: &Value, key: &Value) -> Result<Value, String> {
    match (value, key) {
        (Value::Object(map), Value::String(key)) => Ok(map.get(key).cloned().unwrap_or_else(|| absent(map))),
        (Value::Null, _) => Ok(Value::Null),
        (Value::Array(list), Value::Number(_)) => {
            let at = count("index", key)?;
            list.get(at).cloned().ok_or_else(|| format!("there is no element {at}: the list has {}", list.len()))
        }
        (Value::Object(_), _) => Err(format!("an object has names for index, and this is {}", kind(key))),
        (Value::Array(_), _) => Err(format!("a list has numbers for index, and this is {}", kind(key))),
        (other, _) => Err(format!("index takes a list or an object, and has {}", kind(other))),
    }
}

/// Go answers with the zero value of the map's type: an empty text where all members are texts (labels).
fn absent(map: &serde_json::Map<String, Value>) -> Value {
    if map.values().all(Value::is_string) { Value::from("") } else { Value::Null }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        other => return Err(format!("slice takes a text or a list, and has {}", kind(other))),
    };
    let from = bounds.first().map_or(Ok(0), |bound| count("slice", bound))?;
    let to = bounds.get(1).map_or(Ok(length), |bound| count("slice", bound))?;
    let outside = || format!("slice {from} to {to} is not within the length {length}");
    match value {
        Value::String(text) => text.get(from..to).map(Value::from).ok_or_else(outside),
        Value::Array(list) => list.get(from..to).map(|part| Value::from(part.to_vec())).ok_or_else(outside),
        _ => Err(outside()),
    }
}

/// Go's `print`: a blank between two values when neither is a text.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&show(value));
    }
    out
}

fn title(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    let mut start = true;
    for c in words.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = c.is_whitespace();
    }
    out
}
