//! Control groups that systemd makes: the driver behind `--systemd-cgroup`.
//!
//! A container is a scope: a unit around processes that somebody else started, delegated to that somebody
//! (`org.freedesktop.systemd1(5)`, `systemd.scope(5)`). systemd is talked to over D-Bus, in a few messages; a connection is
//! made for what is to be done and closed after it.

mod annotations;
mod bus;
mod message;
mod name;
mod properties;
mod signature;

use std::os::unix::ffi::OsStrExt as _;

use bus::{Bus, Refusal};
use message::{Kind, Message};

pub(crate) use annotations::PREFIX as PROPERTY_ANNOTATION;
pub(crate) use annotations::properties as annotated_properties;
pub(crate) use message::Value;
pub(crate) use name::{ScopeName, slice_path};
pub(crate) use properties::{Property, Target, of_devices, of_limits};

use crate::error::Error;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOBS: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// A connection to systemd.
#[derive(Debug)]
pub(crate) struct Manager {
    bus: Bus,
}

impl Manager {
    /// Connects to the system's manager, or to the calling user's own.
    pub(crate) fn connect(user: bool) -> Result<Self, Error> {
        let (addresses, private) = if user { user_addresses()? } else { system_addresses() };
        let bus = Bus::connect(&addresses).or_else(|error| {
            // A system without a bus: systemd listens itself, to its own user.
            Bus::connect_private(&private).map_err(|_| error)
        })?;
        Ok(Self { bus })
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> Result<Message, Refusal> {
        self.bus.call(SYSTEMD, PATH, MANAGER, member, body)
    }

    /// The number of systemd's version.
    pub(crate) fn version(&mut self) -> Result<u32, Error> {
        // "252.39-1~deb12u2", "v245.4".
        let text = self.property("Version")?;
        let digits: String = text.trim_start_matches('v').chars().take_while(char::is_ascii_digit).collect();
        digits.parse().map_err(|_| Error::step("ask systemd for its version", format!("{text:?}")))
    }

    /// The manager's own control group: that of the system's is the root, `""`.
    pub(crate) fn control_group(&mut self) -> Result<String, Error> {
        Ok(self.property("ControlGroup")?.trim_end_matches('/').to_owned())
    }

    fn property(&mut self, name: &str) -> Result<String, Error> {
        let step = format!("ask systemd for its {name}");
        let body = vec![Value::String(MANAGER.into()), Value::String(name.into())];
        let reply = self.bus.call(SYSTEMD, PATH, "org.freedesktop.DBus.Properties", "Get", body);
        let reply = reply.map_err(|refusal| Error::step(&step, refusal))?;
        match reply.body.as_slice() {
            [Value::Variant(value)] => match value.as_ref() {
                Value::String(text) => Ok(text.clone()),
                other => Err(Error::step(step, format!("{other:?}"))),
            },
            other => Err(Error::step(step, format!("{other:?}"))),
        }
    }

    /// Makes a scope and returns when the processes it is made around are in it.
    pub(crate) fn start_scope(&mut self, scope: &str, properties: &[Property]) -> Result<(), Error> {
        let step = format!("start {scope} by systemd");
        let body = vec![
            Value::String(scope.to_owned()),
            Value::String("replace".into()),
            Value::Array("(sv)".into(), properties.iter().map(property).collect()),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let started = match self.job("StartTransientUnit", body.clone()) {
            // One of that name failed earlier and is kept for somebody to look at.
            Err(refusal) if refusal.is("UnitExists") => {
                let _ = self.forget(scope);
                self.job("StartTransientUnit", body)
            }
            started => started,
        };
        match started {
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => {
                let _ = self.forget(scope);
                Err(Error::step(step, format!("the job came to {result:?}")))
            }
            Err(refusal) => Err(Error::step(step, refusal)),
        }
    }

    /// Changes properties of a scope until it ends.
    pub(crate) fn set_properties(&mut self, scope: &str, properties: &[Property]) -> Result<(), Error> {
        if properties.is_empty() {
            return Ok(());
        }
        let body = vec![
            Value::String(scope.to_owned()),
            Value::Bool(true),
            Value::Array("(sv)".into(), properties.iter().map(property).collect()),
        ];
        let set = self.call("SetUnitProperties", body).map(|_| ());
        set.map_err(|refusal| Error::step(format!("set properties of {scope}"), refusal))
    }

    /// Ends a scope, if it is still there, and returns when it is gone.
    pub(crate) fn stop(&mut self, scope: &str) -> Result<(), Error> {
        let body = vec![Value::String(scope.to_owned()), Value::String("replace".into())];
        let stopped = match self.job("StopUnit", body) {
            Err(refusal) if refusal.is("NoSuchUnit") => Ok(()),
            Ok(result) if result == "done" => Ok(()),
            Ok(result) => Err(Error::step(format!("stop {scope}"), format!("the job came to {result:?}"))),
            Err(refusal) => Err(Error::step(format!("stop {scope}"), refusal)),
        };
        // One that failed (a process of it was killed for lack of memory, say) would be kept.
        let _ = self.forget(scope);
        stopped
    }

    /// Lets go of a scope that is kept because it failed.
    pub(crate) fn forget(&mut self, scope: &str) -> Result<(), Error> {
        match self.call("ResetFailedUnit", vec![Value::String(scope.to_owned())]) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is("NoSuchUnit") => Ok(()),
            Err(refusal) => Err(Error::step(format!("reset {scope}"), refusal)),
        }
    }

    /// Calls a method that makes a job, and waits for the job's end: how it came out.
    fn job(&mut self, member: &str, body: Vec<Value>) -> Result<String, Refusal> {
        self.bus.ask_for(JOBS)?;
        // Without somebody who asked, systemd does not say what becomes of jobs.
        match self.call("Subscribe", Vec::new()) {
            Err(refusal) if !refusal.is("AlreadySubscribed") => return Err(refusal),
            _ => {}
        }
        let reply = self.call(member, body)?;
        let Some(Value::Path(job)) = reply.body.first() else {
            return Err(Refusal::Lost(format!("{member}: no job in the reply {:?}", reply.body)));
        };
        self.bus.wait_for(|signal| result_of(signal, job, reply.sender.as_deref()))
    }
}

/// How a job came out, if that is what a signal says. Anybody on the bus can send a signal like it; only whom the call was
/// answered by is believed.
fn result_of(signal: &Message, job: &str, sender: Option<&str>) -> Option<String> {
    let is_it = signal.kind == Kind::Signal
        && signal.interface.as_deref() == Some(MANAGER)
        && signal.member.as_deref() == Some("JobRemoved")
        && signal.sender.as_deref() == sender;
    match signal.body.as_slice() {
        [_, Value::Path(of), _, Value::String(result), ..] if is_it && of == job => Some(result.clone()),
        _ => None,
    }
}

fn property((name, value): &Property) -> Value {
    Value::Struct(vec![Value::String(name.clone()), Value::Variant(Box::new(value.clone()))])
}

/// Where the system's bus is, and where its systemd listens itself.
fn system_addresses() -> (String, String) {
    let default = || "unix:path=/run/dbus/system_bus_socket".to_owned();
    (std::env::var("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|_| default()), "/run/systemd/private".to_owned())
}

/// Where the calling user's bus is, and where their systemd listens itself.
fn user_addresses() -> Result<(String, String), Error> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR");
    let private = runtime.as_ref().map(|directory| format!("{}/systemd/private", directory.to_string_lossy()));
    let bus = runtime.map(|directory| format!("unix:path={}/bus", bus::escape(directory.as_bytes())));
    let address = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok().or(bus).ok_or_else(|| {
        Error::step(
            "connect to systemd",
            "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR says where the user's is",
        )
    })?;
    Ok((address, private.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
