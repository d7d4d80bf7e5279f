//! From the text of a template to pieces: text, and actions as tokens with their places.

use super::{Error, Position};

/// A piece of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action { tokens: Vec<Token>, at: Position },
}

/// A word of an action and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Position,
    /// Nothing stands between this and the token before: `.State.Running` is one chain, `.State .Running` is two.
    pub(super) joined: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// `.` alone.
    Dot,
    /// `.Name`.
    Field(String),
    /// `$` (empty) or `$name`.
    Variable(String),
    /// A function or a keyword.
    Word(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Pipe,
    Open,
    Close,
    Comma,
    Declare,
    Assign,
}

/// Cuts a template into pieces.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while at < source.len() {
        let rest = &source[at..];
        let open = rest.find("{{");
        let mut text = &rest[..open.unwrap_or(rest.len())];
        if trim {
            text = text.trim_start();
        }
        let Some(open) = open else {
            push_text(&mut pieces, text);
            break;
        };
        let mut inner = at + open + 2;
        let trims = source[inner..].starts_with('-') && source[inner + 1..].starts_with(char::is_whitespace);
        if trims {
            text = text.trim_end();
            inner += 1;
        }
        push_text(&mut pieces, text);
        (at, trim) = action(source, inner, at + open, &mut pieces)?;
    }
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Reads one action up to and with its `}}`; where the text after it begins, and whether blanks there are dropped.
fn action(source: &str, inner: usize, open: usize, pieces: &mut Vec<Piece>) -> Result<(usize, bool), Error> {
    let unclosed = || Error::at(source, open, "this action is not closed: }} is missing");
    let blank = source[inner..].len() - source[inner..].trim_start().len();
    if source[inner + blank..].starts_with("/*") {
        let close = source[inner..].find("*/").map(|at| inner + at + 2).ok_or_else(unclosed)?;
        let rest = source[close..].trim_start();
        let start = source.len() - rest.len();
        return match (rest.strip_prefix("-}}"), rest.strip_prefix("}}")) {
            (Some(_), _) => Ok((start + 3, true)),
            (None, Some(_)) => Ok((start + 2, false)),
            (None, None) => Err(Error::at(source, start, "a comment must be alone in its action")),
        };
    }
    let mut tokens = Vec::new();
    let mut at = inner;
    let mut joined = false;
    loop {
        let rest = &source[at..];
        if rest.is_empty() {
            return Err(unclosed());
        }
        if rest.starts_with("}}") {
            pieces.push(Piece::Action { tokens, at: inner });
            return Ok((at + 2, false));
        }
        if rest.starts_with("-}}") && !joined {
            pieces.push(Piece::Action { tokens, at: inner });
            return Ok((at + 3, true));
        }
        if let Some(blank) = rest.chars().next().filter(|c| c.is_whitespace()) {
            at += blank.len_utf8();
            joined = false;
            continue;
        }
        let (kind, length) = token(source, at)?;
        tokens.push(Token { kind, at, joined });
        at += length;
        joined = true;
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

fn token(source: &str, at: usize) -> Result<(Kind, usize), Error> {
    let rest = &source[at..];
    let first = rest.chars().next().unwrap_or(' ');
    let second = rest.chars().nth(1).unwrap_or(' ');
    Ok(match first {
        '|' => (Kind::Pipe, 1),
        '(' => (Kind::Open, 1),
        ')' => (Kind::Close, 1),
        ',' => (Kind::Comma, 1),
        '=' => (Kind::Assign, 1),
        ':' if second == '=' => (Kind::Declare, 2),
        '$' => {
            let length = name_length(&rest[1..]);
            (Kind::Variable(rest[1..=length].to_owned()), length + 1)
        }
        '.' if second.is_ascii_digit() => return number(source, at),
        '.' => match name_length(&rest[1..]) {
            0 => (Kind::Dot, 1),
            length => (Kind::Field(rest[1..=length].to_owned()), length + 1),
        },
        '"' => return quoted(source, at),
        '`' => {
            let end =
                rest[1..].find('`').ok_or_else(|| Error::at(source, at, "this text is not closed: ` is missing"))?;
            (Kind::Text(rest[1..=end].to_owned()), end + 2)
        }
        '\'' => {
            let length = rest[1..].find('\'').map(|end| end + 2);
            let inner = length.map(|length| unescape(&rest[1..length - 1]));
            match (length, inner.flatten().as_deref().map(|text| text.chars().collect::<Vec<_>>()).as_deref()) {
                (Some(length), Some([one])) => (Kind::Integer(i64::from(u32::from(*one))), length),
                _ => {
                    return Err(Error::at(
                        source,
                        at,
                        "a character stands here between ' and '; texts stand between \" and \"",
                    ));
                }
            }
        }
        '-' | '+' | '0'..='9' => return number(source, at),
        c if is_name(c) => {
            let length = name_length(rest);
            (Kind::Word(rest[..length].to_owned()), length)
        }
        other => return Err(Error::at(source, at, format!("{other:?} means nothing here"))),
    })
}

fn number(source: &str, at: usize) -> Result<(Kind, usize), Error> {
    let rest = &source[at..];
    let sign = usize::from(rest.starts_with(['-', '+']));
    let mut length = sign;
    for c in rest[sign..].chars() {
        let exponent_sign = matches!(c, '+' | '-') && rest[..length].ends_with(['e', 'E']);
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || exponent_sign) {
            break;
        }
        length += 1;
    }
    let text = rest[..length].replace('_', "");
    let (negative, digits) =
        text.strip_prefix('-').map_or((false, text.trim_start_matches('+')), |digits| (true, digits));
    let radix = |prefix: &str, radix| {
        let digits = digits.to_ascii_lowercase();
        digits.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok())
    };
    let whole =
        digits.parse::<i64>().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    let kind = match (whole, text.parse::<f64>()) {
        (Some(number), _) => Kind::Integer(if negative { -number } else { number }),
        (None, Ok(number)) if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Kind::Float(number),
        _ => return Err(Error::at(source, at, format!("{text:?} is not a number"))),
    };
    Ok((kind, length))
}

fn quoted(source: &str, at: usize) -> Result<(Kind, usize), Error> {
    let rest = &source[at + 1..];
    let mut escaped = false;
    for (index, c) in rest.char_indices() {
        match c {
            '"' if !escaped => {
                let text = unescape(&rest[..index]).ok_or_else(|| {
                    Error::at(source, at, "there is a \\ in this text before a character that needs none")
                })?;
                return Ok((Kind::Text(text), index + 2));
            }
            '\n' => break,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Err(Error::at(source, at, "this text is not closed: \" is missing"))
}

/// Go's escapes; `None` for one that Go doesn't know.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'x' => code_point(&mut chars, 2)?,
            'u' => code_point(&mut chars, 4)?,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            other @ ('\\' | '"' | '\'') => other,
            _ => return None,
        });
    }
    Some(out)
}

fn code_point(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let hex: String = chars.by_ref().take(digits).collect();
    let code = (hex.len() == digits).then(|| u32::from_str_radix(&hex, 16).ok()).flatten()?;
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Kind> {
        match pieces(source).unwrap().remove(0) {
            Piece::Action { tokens, .. } => tokens.into_iter().map(|token| token.kind).collect(),
            Piece::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn tokens() {
        assert_eq!(kinds("{{.}}"), [Kind::Dot]);
        assert_eq!(
            kinds("{{ $x := .A.B | printf \"%s\\n\" `r` -5 1.5 0x1f 'a' }}"),
            [
                Kind::Variable("x".into()),
                Kind::Declare,
                Kind::Field("A".into()),
                Kind::Field("B".into()),
                Kind::Pipe,
                Kind::Word("printf".into()),
                Kind::Text("%s\n".into()),
                Kind::Text("r".into()),
                Kind::Integer(-5),
                Kind::Float(1.5),
                Kind::Integer(31),
                Kind::Integer(97),
            ]
        );
    }

    #[test]
    fn trimming_and_comments() {
        let text = |source| -> String {
            pieces(source)
                .unwrap()
                .into_iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text,
                    Piece::Action { .. } => "*".to_owned(),
                })
                .collect()
        };
        assert_eq!(text("a  {{- .X -}}  b"), "a*b");
        assert_eq!(text("a {{/* no }} */}} b"), "a  b");
        assert_eq!(text("a {{- /* no */ -}} b"), "ab");
        assert_eq!(text("a {{-3}} b"), "a * b");
    }

    #[test]
    fn what_is_wrong_is_located() {
        for (source, column) in
            [("ab{{.A", 2), ("{{\"x}}", 2), ("{{ # }}", 3), ("{{ 1x }}", 3), ("{{'ab'}}", 2), ("{{\"\\q\"}}", 2)]
        {
            match pieces(source) {
                Err(Error::At { caret, .. }) => assert_eq!(caret.len(), column + 1, "{source}"),
                other => panic!("{source}: {other:?}"),
            }
        }
    }
}
