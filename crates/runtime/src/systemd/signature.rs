//! Signatures: the types of values, as D-Bus writes them.

use super::message::Malformed;

/// The longest signature, and how deep types may lie in each other (specification, "Valid Signatures").
const LONGEST: usize = 255;
const DEEPEST: usize = 32;

/// One complete type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Basic(u8),
    Variant,
    Array(Box<Type>),
    /// A structure, or an entry of a dictionary.
    Struct(Vec<Type>),
}

impl Type {
    pub(super) fn signature(&self) -> String {
        match self {
            Self::Basic(letter) => char::from(*letter).to_string(),
            Self::Variant => "v".into(),
            Self::Array(element) => format!("a{}", element.signature()),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
        }
    }
}

/// The types of a signature.
pub(super) fn parse(signature: &str) -> Result<Vec<Type>, Malformed> {
    if signature.len() > LONGEST {
        return Err(Malformed("a signature that is too long"));
    }
    let mut rest = signature.as_bytes();
    let mut types = Vec::new();
    while !rest.is_empty() {
        let (of, after) = one(rest, 0)?;
        types.push(of);
        rest = after;
    }
    Ok(types)
}

fn one(text: &[u8], depth: usize) -> Result<(Type, &[u8]), Malformed> {
    if depth > DEEPEST {
        return Err(Malformed("types too deep in each other"));
    }
    match text.split_first() {
        Some((b'v', rest)) => Ok((Type::Variant, rest)),
        Some((b'a', rest)) => {
            let (element, rest) = one(rest, depth + 1)?;
            Ok((Type::Array(Box::new(element)), rest))
        }
        Some((open @ (b'(' | b'{'), mut rest)) => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut fields = Vec::new();
            loop {
                match rest.split_first() {
                    Some((letter, after)) if *letter == close && !fields.is_empty() => {
                        return Ok((Type::Struct(fields), after));
                    }
                    _ => {
                        let (field, after) = one(rest, depth + 1)?;
                        fields.push(field);
                        rest = after;
                    }
                }
            }
        }
        Some((letter, rest)) if b"ybnqiuxtdsogh".contains(letter) => Ok((Type::Basic(*letter), rest)),
        _ => Err(Malformed("a signature of unknown types")),
    }
}

/// To which multiple of bytes a value of a type starts.
pub(super) fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        let types = parse("sa(sv)a{sv}u").unwrap();
        let text: Vec<String> = types.iter().map(Type::signature).collect();
        assert_eq!(text, ["s", "a(sv)", "a(sv)", "u"]);
        for wrong in ["a", "(", "()", "(s", "s)", "z", "a{s", &"a".repeat(40), &"s".repeat(256)] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
