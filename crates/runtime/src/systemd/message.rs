//! Messages of D-Bus as bytes: what the specification calls its wire format, for the types that are used here.
//!
//! What is read comes from a bus that other users talk on: lengths, nesting and the size of a message are bounded, and
//! everything that is not well-formed is refused.

use std::fmt;

use super::signature::{self, Type};

/// The largest message that is read. systemd answers in a few hundred bytes.
const LARGEST: usize = 1 << 20;
/// How deep values may lie in each other; the specification allows 32 each of arrays and structures.
const DEEPEST: usize = 32;

/// A value, with its type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    Path(String),
    Signature(String),
    /// The signature of an element, and the elements.
    Array(String, Vec<Value>),
    /// A structure; as an element of an array also an entry of a dictionary.
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    pub(crate) fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".into(),
            Self::Bool(_) => "b".into(),
            Self::Int16(_) => "n".into(),
            Self::Uint16(_) => "q".into(),
            Self::Int32(_) => "i".into(),
            Self::Uint32(_) => "u".into(),
            Self::Int64(_) => "x".into(),
            Self::Uint64(_) => "t".into(),
            Self::Double(_) => "d".into(),
            Self::String(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::Signature(_) => "g".into(),
            Self::Array(element, _) => format!("a{element}"),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
            Self::Variant(_) => "v".into(),
        }
    }
}

/// What makes bytes no message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed D-Bus message: {}", self.0)
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Reply,
    Error,
    Signal,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) serial: u32,
    pub(crate) path: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) member: Option<String>,
    pub(crate) error_name: Option<String>,
    pub(crate) reply_serial: Option<u32>,
    pub(crate) destination: Option<String>,
    pub(crate) sender: Option<String>,
    pub(crate) body: Vec<Value>,
}

impl Message {
    pub(crate) fn new(kind: Kind, serial: u32) -> Self {
        Self {
            kind,
            serial,
            path: None,
            interface: None,
            member: None,
            error_name: None,
            reply_serial: None,
            destination: None,
            sender: None,
            body: Vec::new(),
        }
    }

    /// The message as it is sent, in little endian.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut body = Writer::default();
        for value in &self.body {
            body.value(value);
        }
        let signature: String = self.body.iter().map(Value::signature).collect();
        let text =
            |code: u8, value: &Option<String>, of: fn(String) -> Value| value.clone().map(|value| (code, of(value)));
        let fields = [
            text(1, &self.path, Value::Path),
            text(2, &self.interface, Value::String),
            text(3, &self.member, Value::String),
            text(4, &self.error_name, Value::String),
            self.reply_serial.map(|serial| (5, Value::Uint32(serial))),
            text(6, &self.destination, Value::String),
            (!signature.is_empty()).then_some((8, Value::Signature(signature))),
        ];
        let field = |(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let fields = Value::Array("(yv)".into(), fields.into_iter().flatten().map(field).collect());
        let kind = match self.kind {
            Kind::Call => 1,
            Kind::Reply => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let mut message = Writer::default();
        message.bytes.extend([b'l', kind, 0, 1]);
        message.number(body.bytes.len());
        message.bytes.extend(self.serial.to_le_bytes());
        message.value(&fields);
        message.align(8);
        message.bytes.extend(body.bytes);
        message.bytes
    }

    /// How long the message is that starts with these 16 bytes.
    pub(crate) fn length(start: &[u8; 16]) -> Result<usize> {
        let mut reader = Reader::start(start)?;
        reader.at = 4;
        let body = reader.u32()? as usize;
        reader.at = 12;
        let fields = reader.u32()? as usize;
        let length = fields.checked_next_multiple_of(8).and_then(|fields| fields.checked_add(16)?.checked_add(body));
        length.filter(|length| *length <= LARGEST).ok_or(Malformed("too long"))
    }

    /// Reads a whole message.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let start: &[u8; 16] = bytes.first_chunk().ok_or(Malformed("too short"))?;
        if Self::length(start)? != bytes.len() {
            return Err(Malformed("of another length than it says"));
        }
        let mut reader = Reader::start(bytes)?;
        let kind = match bytes.get(1) {
            Some(1) => Kind::Call,
            Some(2) => Kind::Reply,
            Some(3) => Kind::Error,
            Some(4) => Kind::Signal,
            _ => return Err(Malformed("of an unknown type")),
        };
        if bytes.get(3) != Some(&1) {
            return Err(Malformed("of another version of the protocol"));
        }
        reader.at = 8;
        let mut message = Self::new(kind, reader.u32()?);
        let fields = reader.values("a(yv)")?;
        let signature = message.take_fields(fields)?;
        reader.align(8)?;
        message.body = reader.values(&signature)?;
        if reader.at != bytes.len() {
            return Err(Malformed("a body longer than its signature"));
        }
        Ok(message)
    }

    /// Takes the fields of a header that are known, and returns the signature of the body.
    fn take_fields(&mut self, fields: Vec<Value>) -> Result<String> {
        let mut signature = String::new();
        let Some(Value::Array(_, fields)) = fields.into_iter().next() else {
            return Err(Malformed("no fields"));
        };
        for field in fields {
            let Value::Struct(parts) = field else { continue };
            let [Value::Byte(code), Value::Variant(value)] = parts.as_slice() else { continue };
            match (code, value.as_ref()) {
                (1, Value::Path(text)) => self.path = Some(text.clone()),
                (2, Value::String(text)) => self.interface = Some(text.clone()),
                (3, Value::String(text)) => self.member = Some(text.clone()),
                (4, Value::String(text)) => self.error_name = Some(text.clone()),
                (5, Value::Uint32(serial)) => self.reply_serial = Some(*serial),
                (6, Value::String(text)) => self.destination = Some(text.clone()),
                (7, Value::String(text)) => self.sender = Some(text.clone()),
                (8, Value::Signature(text)) => signature.clone_from(text),
                (1..=8, _) => return Err(Malformed("a header field of a wrong type")),
                // The specification: unknown fields are passed over.
                _ => {}
            }
        }
        Ok(signature)
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    /// A length. No message that is written here comes near the largest.
    fn number(&mut self, length: usize) {
        self.align(4);
        self.bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn aligned(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.bytes.extend(bytes);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(number) => self.bytes.push(*number),
            Value::Bool(truth) => self.aligned(&u32::from(*truth).to_le_bytes()),
            Value::Int16(number) => self.aligned(&number.to_le_bytes()),
            Value::Uint16(number) => self.aligned(&number.to_le_bytes()),
            Value::Int32(number) => self.aligned(&number.to_le_bytes()),
            Value::Uint32(number) => self.aligned(&number.to_le_bytes()),
            Value::Int64(number) => self.aligned(&number.to_le_bytes()),
            Value::Uint64(number) => self.aligned(&number.to_le_bytes()),
            Value::Double(number) => self.aligned(&number.to_le_bytes()),
            Value::String(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Array(element, values) => {
                self.number(0);
                let place = self.bytes.len() - 4;
                // The padding before the first element does not count, and is there without one, too.
                self.align(signature::alignment(element));
                let start = self.bytes.len();
                for value in values {
                    self.value(value);
                }
                let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
                self.bytes[place..place + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Struct(fields) => {
                self.align(8);
                for value in fields {
                    self.value(value);
                }
            }
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    fn start(bytes: &'a [u8]) -> Result<Self> {
        let little = match bytes.first() {
            Some(b'l') => true,
            Some(b'B') => false,
            _ => return Err(Malformed("of an unknown byte order")),
        };
        Ok(Self { bytes, at: 0, little })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).ok_or(Malformed("too long"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("shorter than what is in it"))?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<()> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        if padding.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Malformed("padding that is not zero")) }
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        self.align(LENGTH)?;
        let mut bytes = [0; LENGTH];
        bytes.copy_from_slice(self.take(LENGTH)?);
        if !self.little {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("a string that is not UTF-8"))?;
        if text.contains('\0') || self.take(1)? != [0] {
            return Err(Malformed("a string that does not end where it says"));
        }
        Ok(text.to_owned())
    }

    fn values(&mut self, signature: &str) -> Result<Vec<Value>> {
        signature::parse(signature)?.iter().map(|of| self.value(of, 0)).collect()
    }

    fn value(&mut self, of: &Type, depth: usize) -> Result<Value> {
        if depth > DEEPEST {
            return Err(Malformed("values too deep in each other"));
        }
        Ok(match of {
            Type::Basic(letter) => self.basic(*letter)?,
            Type::Variant => {
                let length = self.take(1)?[0];
                let signature = self.text(usize::from(length))?;
                let types = signature::parse(&signature)?;
                let [of] = types.as_slice() else { return Err(Malformed("a variant of not just one type")) };
                Value::Variant(Box::new(self.value(of, depth + 1)?))
            }
            Type::Struct(types) => {
                self.align(8)?;
                let fields = types.iter().map(|of| self.value(of, depth + 1)).collect::<Result<_>>()?;
                Value::Struct(fields)
            }
            Type::Array(element) => {
                let length = self.u32()? as usize;
                let signature = element.signature();
                self.align(signature::alignment(&signature))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
                let end = end.ok_or(Malformed("an array longer than the message"))?;
                let mut values = Vec::new();
                // Each element takes at least a byte.
                while self.at < end {
                    values.push(self.value(element, depth + 1)?);
                }
                if self.at != end {
                    return Err(Malformed("an array that ends within an element"));
                }
                Value::Array(signature, values)
            }
        })
    }

    fn basic(&mut self, letter: u8) -> Result<Value> {
        Ok(match letter {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Malformed("neither true nor false")),
            },
            b'n' => Value::Int16(i16::from_le_bytes(self.array()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.array()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.array()?)),
            b'u' | b'h' => Value::Uint32(self.u32()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.array()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.array()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.array()?)),
            b's' | b'o' => {
                let length = self.u32()? as usize;
                let text = self.text(length)?;
                if letter == b's' { Value::String(text) } else { Value::Path(text) }
            }
            b'g' => {
                let length = self.take(1)?[0];
                Value::Signature(self.text(usize::from(length))?)
            }
            _ => return Err(Malformed("an unknown type")),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Message {
        Message {
            path: Some("/org/freedesktop/systemd1".into()),
            interface: Some("org.freedesktop.systemd1.Manager".into()),
            member: Some("StartTransientUnit".into()),
            destination: Some("org.freedesktop.systemd1".into()),
            body: vec![
                Value::String("a.scope".into()),
                Value::Array(
                    "(sv)".into(),
                    vec![
                        Value::Struct(vec![
                            Value::String("PIDs".into()),
                            Value::Variant(Box::new(Value::Array("u".into(), vec![Value::Uint32(7)]))),
                        ]),
                        Value::Struct(vec![
                            Value::String("MemoryMax".into()),
                            Value::Variant(Box::new(Value::Uint64(u64::MAX))),
                        ]),
                        Value::Struct(vec![
                            Value::String("DeviceAllow".into()),
                            Value::Variant(Box::new(Value::Array("(ss)".into(), Vec::new()))),
                        ]),
                    ],
                ),
                Value::Bool(true),
                Value::Double(0.5),
            ],
            ..Message::new(Kind::Call, 3)
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().to_bytes();
        assert_eq!(Message::length(bytes.first_chunk().unwrap()), Ok(bytes.len()));
        assert_eq!(Message::parse(&bytes).unwrap(), sample());
    }

    /// The example of the specification's section on marshaling: one array of 64-bit numbers with the value 5.
    #[test]
    fn an_array_is_padded_before_its_first_element() {
        let mut writer = Writer::default();
        writer.value(&Value::Array("x".into(), vec![Value::Int64(5)]));
        assert_eq!(writer.bytes, [8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn big_endian_is_read() {
        let bytes = [
            b'B', 2, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 15, 5, 1, b'u', 0, 0, 0, 0, 3, 8, 1, b'g', 0, 1, b'u', 0,
            0, 0, 0, 1, 0,
        ];
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.serial, message.reply_serial), (9, Some(3)));
        assert_eq!(message.body, [Value::Uint32(256)]);
    }

    #[test]
    fn lengths_are_bounded() {
        let mut bytes = sample().to_bytes();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Message::length(bytes.first_chunk().unwrap()).is_err());
        let mut deep = Message::new(Kind::Signal, 1);
        let mut value = Value::Byte(0);
        for _ in 0..40 {
            value = Value::Variant(Box::new(value));
        }
        deep.body = vec![value];
        assert_eq!(Message::parse(&deep.to_bytes()), Err(Malformed("values too deep in each other")));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn no_damage_does_harm(place in 0_usize..300, byte: u8, cut in 0_usize..300) {
            let mut bytes = sample().to_bytes();
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = Message::parse(&bytes);
            bytes.truncate(cut);
            let _ = Message::parse(&bytes);
        }
    }
}
