//! `--mount type=…,source=…,target=…`.

use super::{Asked, Mount, Propagation, absolute, volume_name};
use crate::tmpfs::{self, Tmpfs};
use crate::{InvalidValue, bytes, path, suggest};

const FLAG: &str = "--mount";
const FORM: &str = "write type=bind,source=HOST,target=CONTAINER[,rw], as in type=bind,source=/srv,target=/data";

const KEYS: &[&str] = &[
    "type",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "rw",
    "exec",
    "suid",
    "dev",
    "idmap",
    "bind-propagation",
    "bind-nonrecursive",
    "bind-recursive",
    "volume-nocopy",
    "tmpfs-size",
    "tmpfs-mode",
    "consistency",
];

/// The fields as written, before it is known what they are about.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<&'a str>,
    source: Option<&'a str>,
    target: Option<&'a str>,
    read_only: Option<bool>,
    exec: Option<bool>,
    suid: Option<bool>,
    dev: Option<bool>,
    idmap: Option<bool>,
    propagation: Option<Propagation>,
    recursive: Option<bool>,
    copy: Option<bool>,
    /// 0: unbounded.
    size: Option<u64>,
    mode: Option<u32>,
}

pub(super) fn parse(text: &str, base: Option<&str>) -> Result<Asked, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(FLAG, text, reason);
    let parts = split(text).ok_or_else(|| invalid("a quotation mark is not closed".to_owned()))?;
    let mut fields = Fields::default();
    for part in &parts {
        let (key, value) = part.split_once('=').map_or((part.as_str(), None), |(key, value)| (key, Some(value)));
        fields.set(text, key, value)?;
    }
    let target = fields.target.ok_or_else(|| invalid("there is no target".to_owned()).hint(FORM))?;
    let target = path::target(FLAG, text, target)?;
    match fields.kind.unwrap_or("volume") {
        "tmpfs" => fields.into_tmpfs(text, target).map(Asked::Tmpfs),
        "bind" => {
            let source = fields.source.ok_or_else(|| invalid("there is no source".to_owned()).hint(FORM))?;
            let mount = Mount::bind(absolute(FLAG, text, source, base)?, target);
            fields.into_mount(text, mount).map(Asked::Mount)
        }
        "volume" => {
            let name = match fields.source {
                None | Some("") => None,
                Some(path) if path.starts_with('/') => {
                    return Err(invalid(format!("{path:?} is a path, not a volume's name")).hint("write type=bind"));
                }
                Some(name) => Some(volume_name(FLAG, text, name)?),
            };
            fields.into_mount(text, Mount::volume(name, target)).map(Asked::Mount)
        }
        other => {
            let near = suggest::hint(other, ["bind", "volume", "tmpfs"]);
            Err(invalid(format!("unknown type {other:?}"))
                .hint(near.unwrap_or_else(|| "known are bind, volume, tmpfs".to_owned())))
        }
    }
}

impl<'a> Fields<'a> {
    fn set(&mut self, text: &str, key: &str, value: Option<&'a str>) -> Result<(), InvalidValue> {
        let invalid = |reason: String| InvalidValue::new(FLAG, text, reason);
        let word = || value.ok_or_else(|| invalid(format!("{key} has no value")).hint(FORM));
        let switch = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(invalid(format!("{key}={other} is neither true nor false"))),
        };
        match key {
            "type" => self.kind = Some(word()?),
            "source" | "src" => self.source = Some(word()?),
            "target" | "dst" | "destination" => self.target = Some(word()?),
            "readonly" | "ro" => self.read_only = Some(switch()?),
            "rw" => self.read_only = Some(!switch()?),
            "exec" => self.exec = Some(switch()?),
            "suid" => self.suid = Some(switch()?),
            "dev" => self.dev = Some(switch()?),
            "idmap" => self.idmap = Some(switch()?),
            "bind-propagation" => {
                let name = word()?;
                let names = Propagation::ALL.map(Propagation::name);
                let unknown = || {
                    let hint = suggest::hint(name, names).unwrap_or_else(|| format!("known are {}", names.join(", ")));
                    invalid(format!("unknown propagation {name:?}")).hint(hint)
                };
                self.propagation = Some(Propagation::parse(name).ok_or_else(unknown)?);
            }
            "bind-nonrecursive" => self.recursive = Some(!switch()?),
            // Read-only mounts are so all the way down; "writable" would open what is beneath.
            "bind-recursive" => match word()? {
                "enabled" | "readonly" => self.recursive = Some(true),
                "disabled" => self.recursive = Some(false),
                other => {
                    return Err(invalid(format!("bind-recursive={other} is not known"))
                        .hint("write enabled, disabled or readonly"));
                }
            },
            "volume-nocopy" => self.copy = Some(!switch()?),
            "tmpfs-size" => self.size = Some(bytes::parse(FLAG, word()?)?),
            "tmpfs-mode" => self.mode = Some(tmpfs::mode(FLAG, text, word()?)?),
            // A hint for Docker on other systems than Linux.
            "consistency" => {}
            other => {
                let near = suggest::hint(other, KEYS.iter().copied());
                let hint = near.unwrap_or_else(|| format!("known are {}", KEYS.join(", ")));
                return Err(invalid(format!("unknown key {other:?}")).hint(hint));
            }
        }
        Ok(())
    }

    fn into_mount(self, text: &str, mount: Mount) -> Result<Mount, InvalidValue> {
        let refuse = |given: bool, key: &str| {
            given
                .then(|| InvalidValue::new(FLAG, text, format!("{key} does not go with this type")))
                .map_or(Ok(()), Err)
        };
        refuse(self.size.is_some(), "tmpfs-size")?;
        refuse(self.mode.is_some(), "tmpfs-mode")?;
        let bind = mount.source().is_some();
        refuse(bind && self.copy.is_some(), "volume-nocopy")?;
        refuse(!bind && self.propagation.is_some(), "bind-propagation")?;
        refuse(!bind && self.recursive.is_some(), "bind-recursive")?;
        Ok(Mount {
            read_only: self.read_only.unwrap_or(mount.read_only),
            exec: self.exec.unwrap_or(mount.exec),
            suid: self.suid.unwrap_or(mount.suid),
            dev: self.dev.unwrap_or(mount.dev),
            idmap: self.idmap.unwrap_or(mount.idmap),
            propagation: self.propagation.unwrap_or(mount.propagation),
            recursive: self.recursive.unwrap_or(mount.recursive),
            copy: self.copy.unwrap_or(mount.copy),
            ..mount
        })
    }

    fn into_tmpfs(self, text: &str, target: String) -> Result<Tmpfs, InvalidValue> {
        let out_of_place = [
            (self.source.is_some(), "source"),
            (self.copy.is_some(), "volume-nocopy"),
            (self.propagation.is_some(), "bind-propagation"),
            (self.recursive.is_some(), "bind-recursive"),
            (self.idmap.is_some(), "idmap"),
        ];
        if let Some((_, key)) = out_of_place.into_iter().find(|(given, _)| *given) {
            return Err(InvalidValue::new(FLAG, text, format!("{key} does not go with type=tmpfs")));
        }
        let tmpfs = Tmpfs::new(target);
        Ok(Tmpfs {
            size: self.size.map_or(tmpfs.size, |size| (size > 0).then_some(size)),
            mode: self.mode.unwrap_or(tmpfs.mode),
            read_only: self.read_only.unwrap_or(false),
            exec: self.exec.unwrap_or(false),
            suid: self.suid.unwrap_or(false),
            dev: self.dev.unwrap_or(false),
            ..tmpfs
        })
    }
}

/// The fields of a line of comma-separated values, where a field in quotation marks may have commas in it and `""` is one mark.
/// `None` where a quotation mark is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(text: &str) -> Mount {
        match parse(text, None).unwrap() {
            Asked::Mount(mount) => mount,
            Asked::Tmpfs(tmpfs) => panic!("{tmpfs:?}"),
        }
    }

    #[test]
    fn binds_are_read_only_unless_asked() {
        assert_eq!(mount("type=bind,source=/srv,target=/data"), Mount::bind("/srv", "/data"));
        assert!(!mount("type=bind,src=/srv,dst=/data,rw").read_only);
        assert!(!mount("type=bind,src=/srv,dst=/data,readonly=false").read_only);
        assert!(mount("type=bind,src=/srv,dst=/data,readonly").read_only);
        assert_eq!(mount("type=bind,src=/srv,dst=/data,bind-propagation=rslave").propagation, Propagation::Rslave);
        assert_eq!(mount(r#"type=bind,"src=/a,b",dst=/data"#).source(), Some("/a,b"));
        assert_eq!(mount(r#"type=bind,"src=/a""b",dst=/data"#).source(), Some("/a\"b"));
    }

    #[test]
    fn volumes_are_the_default_type() {
        assert_eq!(mount("source=db,target=/data"), Mount::volume(Some("db".to_owned()), "/data"));
        assert_eq!(mount("target=/data"), Mount::volume(None, "/data"));
        assert!(!mount("target=/data,volume-nocopy").copy);
    }

    #[test]
    fn tmpfs_is_not_a_mount_of_something() {
        let Asked::Tmpfs(tmpfs) = parse("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=700", None).unwrap() else {
            panic!()
        };
        assert_eq!(tmpfs, Tmpfs { size: Some(1 << 20), mode: 0o700, ..Tmpfs::new("/x") });
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let message = |text| parse(text, None).unwrap_err().to_string();
        assert!(message("type=bind,target=/x").contains("no source"));
        assert!(message("type=bind,source=/x").contains("no target"));
        assert!(message("type=bnid,source=/x,target=/y").contains("did you mean \"bind\""));
        assert!(message("typ=bind").contains("did you mean \"type\""));
        assert!(message("source=/x,target=/y").contains("write type=bind"));
        assert!(message("type=tmpfs,source=a,target=/y").contains("source does not go"));
        assert!(message("type=bind,source=/x,target=/y,tmpfs-size=1").contains("does not go"));
        assert!(message("type=bind,source=/x,target=/y,ro=maybe").contains("neither true nor false"));
        assert!(message("\"type=bind").contains("not closed"));
        assert!(message("").contains("unknown key"));
        assert!(message("type=bind,source=x,target=/y").contains("not absolute"));
        assert!(message("target=/y,volume-driver=nfs").contains("unknown key"));
    }
}
