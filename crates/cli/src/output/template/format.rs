//! `printf`, as Go's `fmt` formats text, numbers and truth.

use std::fmt::Write as _;

use serde_json::Value;

use super::functions::show;

/// Widest field and longest fraction.
const MAX_WIDTH: usize = 4096;

#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats. What doesn't fit is shown as Go shows it: `%!d(string=x)`, `%!s(MISSING)`, `%!(EXTRA …)`.
pub(super) fn printf(form: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = form.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '0' => spec.zero = true,
                _ => spec.sharp = true,
            }
        }
        let mut number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                return values.next().and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            }
            let mut found = None;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                let digit = digit.to_digit(10).unwrap_or(0) as usize;
                found = Some((found.unwrap_or(0_usize) * 10 + digit).min(MAX_WIDTH));
            }
            found
        };
        spec.width = number(&mut chars).map(|width| width.min(MAX_WIDTH));
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars).unwrap_or(0).min(MAX_WIDTH));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match values.next() {
                None => {
                    let _ = write!(out, "%!{verb}(MISSING)");
                }
                Some(value) => out.push_str(&one(verb, spec, value)),
            },
        }
    }
    let extra: Vec<String> = values.map(|value| format!("{}={}", go_type(value), show(value))).collect();
    if !extra.is_empty() {
        let _ = write!(out, "%!(EXTRA {})", extra.join(", "));
    }
    out
}

fn one(verb: char, spec: Spec, value: &Value) -> String {
    let cut = |text: &str| spec.precision.map_or_else(|| text.to_owned(), |n| text.chars().take(n).collect());
    let body = match (verb, value) {
        ('v', Value::Number(number)) => return numeric(spec, &number.to_string()),
        ('v', value) => show(value),
        ('s', Value::String(text)) => cut(text),
        ('s', Value::Array(_) | Value::Object(_)) => show(value),
        ('q', Value::String(text)) => format!("{:?}", cut(text)),
        ('x', Value::String(text)) => hex(text),
        ('X', Value::String(text)) => hex(text).to_uppercase(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('d' | 'x' | 'X' | 'o' | 'b' | 'c' | 'U', Value::Number(number)) if !number.is_f64() => {
            return integer(verb, spec, number);
        }
        ('f' | 'F' | 'e' | 'g', Value::Number(number)) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            let text = match (verb, spec.precision) {
                ('e', precision) => exponent(float, precision.unwrap_or(6)),
                ('g', None) => float.to_string(),
                (_, precision) => format!("{float:.*}", precision.unwrap_or(6)),
            };
            return numeric(spec, &text);
        }
        (verb, value) => format!("%!{verb}({}={})", go_type(value), show(value)),
    };
    pad(spec, body)
}

/// The bytes of a text in hexadecimal.
fn hex(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn integer(verb: char, spec: Spec, number: &serde_json::Number) -> String {
    let negative = number.as_i64().is_some_and(|n| n < 0);
    let size = number.as_u64().unwrap_or_else(|| number.as_i64().unwrap_or_default().unsigned_abs());
    let prefix = |text: &'static str| if spec.sharp { text } else { "" };
    let digits = match verb {
        'x' => format!("{}{size:x}", prefix("0x")),
        'X' => format!("{}{size:X}", prefix("0X")),
        'o' => format!("{}{size:o}", prefix("0")),
        'b' => format!("{}{size:b}", prefix("0b")),
        'U' => format!("U+{size:04X}"),
        'c' => {
            let c = u32::try_from(size).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            return pad(spec, c.to_string());
        }
        _ => size.to_string(),
    };
    let digits = spec.precision.map_or(digits.clone(), |least| format!("{digits:0>least$}"));
    numeric(spec, &if negative { format!("-{digits}") } else { digits })
}

/// Sign and width of a number.
fn numeric(spec: Spec, text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None if spec.plus => ("+", text),
        None if spec.space => (" ", text),
        None => ("", text),
    };
    match spec.width {
        Some(width) if spec.zero && !spec.left => {
            format!("{sign}{digits:0>width$}", width = width.saturating_sub(sign.len()))
        }
        _ => pad(spec, format!("{sign}{digits}")),
    }
}

fn pad(spec: Spec, text: String) -> String {
    match spec.width {
        None => text,
        Some(width) if spec.left => format!("{text:<width$}"),
        Some(width) => format!("{text:>width$}"),
    }
}

/// Go writes at least two digits of exponent, and its sign.
fn exponent(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn gos_forms() {
        let cases = [
            ("%-5s|%5s|%.2s", json!(["ab", "cd", "xyz"]), "ab   |   cd|xy"),
            ("%03d %+d %x %#x %c %v", json!([7, 7, 255, 255, 97, -3]), "007 +7 ff 0xff a -3"),
            ("%q %t %%", json!(["a\"b", true]), "\"a\\\"b\" true %"),
            ("%.1f %8.2f %e", json!([1.25, 3.5, 1500.0]), "1.2     3.50 1.500000e+03"),
            ("%*d|%-*d|", json!([4, 1, 3, 2]), "   1|2  |"),
            ("%d %s", json!(["x"]), "%!d(string=x) %!s(MISSING)"),
            ("%s", json!(["a", 1]), "a%!(EXTRA int=1)"),
            ("%v %v", json!([["a", 1], {"k": true}]), "[a 1] map[k:true]"),
            ("%", json!([]), "%!(NOVERB)"),
        ];
        for (form, values, wanted) in cases {
            assert_eq!(printf(form, values.as_array().unwrap()), wanted, "{form}");
        }
    }

    #[test]
    fn widths_are_bounded() {
        assert_eq!(printf("%99999999d", &[json!(1)]).len(), MAX_WIDTH);
    }
}
