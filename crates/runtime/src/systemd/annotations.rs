//! Properties of a unit that annotations of the specification ask for: `org.systemd.property.CollectMode`.
//!
//! Engines write the values as GVariant text does, the notation of `gdbus` and of crun and runc.

use std::collections::HashMap;

use super::message::Value;
use super::properties::Property;
use crate::error::Error;

/// What such an annotation begins with.
pub(crate) const PREFIX: &str = "org.systemd.property.";

/// The properties that annotations ask for, in the order of their names.
pub(crate) fn properties(annotations: &HashMap<String, String>) -> Result<Vec<Property>, Error> {
    let mut list = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let field = format!("annotations[{key:?}]");
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(Error::field(&field, "no name of a property"));
        }
        let value = parse(text)
            .ok_or_else(|| Error::field(&field, format!("{text:?} is no value such as 'text' or uint64 5")))?;
        list.push(in_microseconds(name, value).ok_or_else(|| Error::field(&field, format!("{text:?} is no time")))?);
    }
    list.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(list)
}

/// Names such as `TimeoutStopSec` are written in seconds and are microseconds on the bus.
fn in_microseconds(name: &str, value: Value) -> Option<Property> {
    let Some(stem) = name.strip_suffix("Sec").filter(|stem| stem.ends_with(|letter: char| letter.is_ascii_lowercase()))
    else {
        return Some((name.to_owned(), value));
    };
    let seconds = match value {
        Value::Byte(number) => u64::from(number),
        Value::Uint16(number) => u64::from(number),
        Value::Uint32(number) => u64::from(number),
        Value::Uint64(number) => number,
        Value::Int16(number) => u64::try_from(number).ok()?,
        Value::Int32(number) => u64::try_from(number).ok()?,
        Value::Int64(number) => u64::try_from(number).ok()?,
        Value::Double(seconds) if (0.0..1e12).contains(&seconds) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // Positive, and far from the largest number.
            let microseconds = (seconds * 1e6) as u64;
            return Some((format!("{stem}USec"), Value::Uint64(microseconds)));
        }
        _ => return None,
    };
    Some((format!("{stem}USec"), Value::Uint64(seconds.checked_mul(1_000_000)?)))
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if text.starts_with(['\'', '"']) {
        return typed("string", text);
    }
    if let Some(inner) = text.strip_prefix('[') {
        return strings(inner.strip_suffix(']')?);
    }
    if let Some((keyword, value)) = text.split_once(' ') {
        return typed(keyword, value.trim());
    }
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ if text.contains(['.', 'e']) => typed("double", text),
        // A number without a type.
        _ => typed("int32", text),
    }
}

fn typed(keyword: &str, text: &str) -> Option<Value> {
    match keyword {
        "byte" => text.parse().ok().map(Value::Byte),
        "int16" => text.parse().ok().map(Value::Int16),
        "uint16" => text.parse().ok().map(Value::Uint16),
        "int32" => text.parse().ok().map(Value::Int32),
        "uint32" => text.parse().ok().map(Value::Uint32),
        "int64" => text.parse().ok().map(Value::Int64),
        "uint64" => text.parse().ok().map(Value::Uint64),
        "double" => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double),
        "boolean" => text.parse().ok().map(Value::Bool),
        "string" => string(text).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| Value::String(text)),
        "objectpath" => string(text).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| Value::Path(text)),
        "@as" => strings(text.strip_prefix('[')?.strip_suffix(']')?),
        _ => None,
    }
}

/// What is between the brackets of an array of strings.
fn strings(mut text: &str) -> Option<Value> {
    let mut list = Vec::new();
    text = text.trim();
    while !text.is_empty() {
        let (one, rest) = string(text)?;
        list.push(Value::String(one));
        text = rest.trim_start();
        if let Some(rest) = text.strip_prefix(',') {
            text = rest.trim_start();
        } else if !text.is_empty() {
            return None;
        }
    }
    Some(Value::Array("s".into(), list))
}

/// A string in quotes at the start, and what comes after it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next().filter(|(_, quote)| matches!(quote, '\'' | '"'))?;
    let mut string = String::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next()?.1 {
                'n' => string.push('\n'),
                't' => string.push('\t'),
                escaped @ ('\\' | '\'' | '"') => string.push(escaped),
                _ => return None,
            },
            '\0' => return None,
            letter if letter == quote => return Some((string, &text[at + 1..])),
            letter => string.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property(name: &str, text: &str) -> Result<Vec<Property>, Error> {
        properties(&HashMap::from([(format!("{PREFIX}{name}"), text.to_owned()), ("other".to_owned(), "x".to_owned())]))
    }

    #[test]
    fn values_are_read_as_engines_write_them() {
        let value = |name: &str, text: &str| property(name, text).unwrap().remove(0);
        let text = |text: &str| Value::String(text.to_owned());
        assert_eq!(value("CollectMode", "'inactive-or-failed'"), ("CollectMode".into(), text("inactive-or-failed")));
        assert_eq!(value("Description", r#""a \"b\"""#).1, text("a \"b\""));
        assert_eq!(value("Delegate", "true").1, Value::Bool(true));
        assert_eq!(value("MemoryMax", "uint64 512").1, Value::Uint64(512));
        assert_eq!(value("Nice", "-5").1, Value::Int32(-5));
        assert_eq!(
            value("Before", "['a.service', 'b.service']").1,
            Value::Array("s".into(), vec![text("a.service"), text("b.service")])
        );
        assert_eq!(value("After", "@as []").1, Value::Array("s".into(), vec![]));
        assert_eq!(value("TimeoutStopSec", "uint64 5"), ("TimeoutStopUSec".into(), Value::Uint64(5_000_000)));
        assert_eq!(value("TimeoutStopSec", "0.5"), ("TimeoutStopUSec".into(), Value::Uint64(500_000)));
        assert_eq!(value("TimeoutStopUSec", "uint64 5"), ("TimeoutStopUSec".into(), Value::Uint64(5)));
    }

    #[test]
    fn other_values_are_refused_by_name() {
        for (name, text) in [
            ("a-b", "true"),
            ("Description", "unquoted"),
            ("Description", "'open"),
            ("Before", "['a' 'b']"),
            ("TimeoutStopSec", "'soon'"),
            ("TimeoutStopSec", "-5"),
        ] {
            let error = property(name, text).unwrap_err().to_string();
            assert!(error.starts_with("annotations["), "{error}");
        }
    }
}
