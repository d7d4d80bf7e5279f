//! A connection to a D-Bus bus, or straight to systemd: calls, their replies, and signals, one after the other.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use super::message::{Kind, Message, Value};
use crate::error::Error;

/// How long systemd may take over one thing that is asked of it. It answers in milliseconds, but may be busy booting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many signals are kept that came before they were asked for.
const MOST_SIGNALS: usize = 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    signals: VecDeque<Message>,
    /// Whether there is a bus in between, which has names.
    named: bool,
}

/// Why a call did not come to a reply that says yes.
#[derive(Debug)]
pub(super) enum Refusal {
    /// An error by its D-Bus name, and its text.
    Named(String, String),
    /// The connection failed.
    Lost(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name, text) if text.is_empty() => f.write_str(name),
            Self::Named(name, text) => write!(f, "{text} ({name})"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

impl Refusal {
    /// Whether it is an error of this name, without `org.freedesktop.systemd1.`.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Named(given, _) if given.strip_prefix("org.freedesktop.systemd1.") == Some(name))
    }
}

fn lost(what: &str, error: impl std::fmt::Display) -> Refusal {
    Refusal::Lost(format!("{what}: {error}"))
}

impl Bus {
    /// Connects to the first of a list of addresses (D-Bus specification, "Server Addresses") that can be connected to.
    pub(super) fn connect(addresses: &str) -> Result<Self, Error> {
        let step = |why: &dyn std::fmt::Display| Error::step("connect to systemd", format!("{addresses}: {why}"));
        let mut failure = None;
        for address in addresses.split(';').filter(|address| !address.is_empty()) {
            match socket(address).and_then(|socket| UnixStream::connect_addr(&socket).map_err(|e| e.to_string())) {
                Ok(stream) => return Self::over(stream, true).map_err(|refusal| step(&refusal)),
                Err(error) => failure = Some(error),
            }
        }
        Err(step(&failure.unwrap_or_else(|| "no address".to_owned())))
    }

    /// Connects to a socket behind which is systemd itself.
    pub(super) fn connect_private(path: &str) -> Result<Self, Error> {
        let step = |why: &dyn std::fmt::Display| Error::step("connect to systemd", format!("{path}: {why}"));
        let stream = UnixStream::connect(path).map_err(|error| step(&error))?;
        Self::over(stream, false).map_err(|refusal| step(&refusal))
    }

    fn over(stream: UnixStream, named: bool) -> Result<Self, Refusal> {
        let mut bus = Self { stream, serial: 0, signals: VecDeque::new(), named };
        bus.authenticate()?;
        if named {
            bus.call_bus("Hello", Vec::new())?;
        }
        Ok(bus)
    }

    /// As whom the kernel says we are: in a user namespace, nobody inside knows that number.
    fn authenticate(&mut self) -> Result<(), Refusal> {
        let deadline = Instant::now() + PATIENCE;
        self.send(b"\0AUTH EXTERNAL\r\n")?;
        loop {
            let line = self.line(deadline)?;
            match line.split(' ').next() {
                Some("OK") => return self.send(b"BEGIN\r\n"),
                Some("DATA") => self.send(b"DATA\r\n")?,
                _ => return Err(lost("authenticate", format!("{line:?}"))),
            }
        }
    }

    /// A line of the authentication, without its end.
    fn line(&mut self, deadline: Instant) -> Result<String, Refusal> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() > 1024 {
                return Err(lost("authenticate", "a line without end"));
            }
            // One byte at a time: what follows is not ours to take.
            let mut byte = [0];
            self.fill(&mut byte, deadline)?;
            line.extend(byte);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|error| lost("authenticate", error))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let limited = self.stream.set_write_timeout(Some(PATIENCE));
        limited.and_then(|()| self.stream.write_all(bytes)).map_err(|error| lost("write", error))
    }

    fn fill(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<(), Refusal> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(lost("read", format!("no answer within {} seconds", PATIENCE.as_secs())));
            }
            self.stream.set_read_timeout(Some(left)).map_err(|error| lost("read", error))?;
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(lost("read", "the connection was closed")),
                Ok(length) => filled += length,
                Err(error)
                    if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(lost("read", error)),
            }
        }
        Ok(())
    }

    pub(super) fn send_message(&mut self, message: &Message) -> Result<(), Refusal> {
        self.send(&message.to_bytes())
    }

    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Message, Refusal> {
        let mut start = [0; 16];
        self.fill(&mut start, deadline)?;
        let length = Message::length(&start).map_err(|error| lost("read", error))?;
        let mut bytes = start.to_vec();
        bytes.resize(length, 0);
        self.fill(&mut bytes[16..], deadline)?;
        Message::parse(&bytes).map_err(|error| lost("read", error))
    }

    /// A message to be filled in, with the next serial number.
    pub(super) fn message(&mut self, kind: Kind) -> Message {
        // Zero is no serial number.
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        Message::new(kind, self.serial)
    }

    /// Calls a method and waits for its reply.
    pub(super) fn call(
        &mut self,
        destination: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: Vec<Value>,
    ) -> Result<Message, Refusal> {
        let call = Message {
            path: Some(path.to_owned()),
            interface: Some(interface.to_owned()),
            member: Some(member.to_owned()),
            destination: self.named.then(|| destination.to_owned()),
            body,
            ..self.message(Kind::Call)
        };
        self.send_message(&call)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(deadline)?;
            match message.kind {
                Kind::Reply if message.reply_serial == Some(call.serial) => return Ok(message),
                Kind::Error if message.reply_serial == Some(call.serial) => {
                    let text = match message.body.first() {
                        Some(Value::String(text)) => text.clone(),
                        _ => String::new(),
                    };
                    return Err(Refusal::Named(message.error_name.unwrap_or_default(), text));
                }
                Kind::Signal => self.keep(message),
                _ => {}
            }
        }
    }

    /// Calls a method of the bus itself.
    pub(super) fn call_bus(&mut self, member: &str, body: Vec<Value>) -> Result<Message, Refusal> {
        let name = "org.freedesktop.DBus";
        self.call(name, "/org/freedesktop/DBus", name, member, body)
    }

    /// Asks the bus for signals. Whoever is connected straight gets all anyway.
    pub(super) fn ask_for(&mut self, rule: &str) -> Result<(), Refusal> {
        if self.named {
            self.call_bus("AddMatch", vec![Value::String(rule.to_owned())])?;
        }
        Ok(())
    }

    fn keep(&mut self, signal: Message) {
        if self.signals.len() == MOST_SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back(signal);
    }

    /// Waits for a signal that `take` makes something of.
    pub(super) fn wait_for<T>(&mut self, take: impl Fn(&Message) -> Option<T>) -> Result<T, Refusal> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let signal = match self.signals.pop_front() {
                Some(signal) => signal,
                None => self.receive(deadline)?,
            };
            if let Some(found) = Some(&signal).filter(|signal| signal.kind == Kind::Signal).and_then(&take) {
                return Ok(found);
            }
        }
    }
}

/// The socket of an address such as `unix:path=/run/dbus/system_bus_socket,guid=…`.
fn socket(address: &str) -> Result<SocketAddr, String> {
    let (transport, rest) = address.split_once(':').ok_or("no transport")?;
    if transport != "unix" {
        return Err(format!("transport {transport:?} is not offered"));
    }
    for (key, value) in rest.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = unescape(value).ok_or_else(|| format!("{value:?} is not escaped as it should be"))?;
        let address = match key {
            "path" => SocketAddr::from_pathname(std::ffi::OsString::from_vec(value)),
            "abstract" => SocketAddr::from_abstract_name(value),
            _ => continue,
        };
        return address.map_err(|error| error.to_string());
    }
    Err("neither a path nor an abstract name".to_owned())
}

/// Undoes `%2f` and the like.
fn unescape(value: &str) -> Option<Vec<u8>> {
    let mut bytes = value.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let number = digit()? * 16 + digit()?;
            plain.push(u8::try_from(number).ok()?);
        } else {
            plain.push(byte);
        }
    }
    Some(plain)
}

/// A value of an address, escaped.
pub(super) fn escape(value: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(byte);
    value.iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02x}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let of = |address: &str| socket(address).map(|socket| format!("{socket:?}"));
        assert_eq!(of("unix:path=/run/a%20b,guid=1").unwrap(), "\"/run/a b\" (pathname)");
        assert_eq!(of("unix:abstract=x").unwrap(), "\"x\" (abstract)");
        for wrong in ["", "tcp:host=localhost", "unix:runtime=yes", "unix:path=%2", "unix:path=%zz"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        assert_eq!(unescape(&escape(b"/run/\xc3\xa4 b,c")).unwrap(), b"/run/\xc3\xa4 b,c");
    }
}
