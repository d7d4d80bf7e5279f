//! `-v [SOURCE:]TARGET[:OPTIONS]`.

use super::{Mount, Propagation, Relabel, absolute, volume_name};
use crate::{InvalidValue, path, suggest};

const FLAG: &str = "--volume";
const FORM: &str = "write HOST:CONTAINER[:rw], NAME:CONTAINER or CONTAINER, as in /srv/data:/data:rw";

const OPTIONS: &[&str] = &[
    "ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "idmap", "noidmap", "nocopy", "z", "Z", "private",
    "rprivate", "slave", "rslave", "shared", "rshared",
];

pub(super) fn parse(text: &str, base: Option<&str>) -> Result<Mount, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(FLAG, text, reason);
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match *parts.as_slice() {
        [target] => ("", target, ""),
        // "CONTAINER:OPTIONS" can't be told from "HOST:CONTAINER" by anything but the words; Docker takes it for the latter.
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid("it has more than three parts".to_owned()).hint(FORM)),
    };
    if parts.len() > 1 && source.is_empty() {
        return Err(invalid("what is to be mounted is empty".to_owned()).hint(FORM));
    }
    let target = path::target(FLAG, text, target)?;
    let mut mount = if source.is_empty() {
        Mount::volume(None, target)
    } else if source.starts_with(['/', '.']) {
        Mount::bind(absolute(FLAG, text, source, base)?, target)
    } else {
        Mount::volume(Some(volume_name(FLAG, text, source)?), target)
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        set(&mut mount, option).ok_or_else(|| {
            let near = suggest::hint(option, OPTIONS.iter().copied());
            let hint = near.unwrap_or_else(|| format!("known are {}", OPTIONS.join(", ")));
            invalid(format!("unknown option {option:?}")).hint(hint)
        })?;
    }
    Ok(mount)
}

fn set(mount: &mut Mount, option: &str) -> Option<()> {
    match option {
        "ro" => mount.read_only = true,
        "rw" => mount.read_only = false,
        "exec" => mount.exec = true,
        "noexec" => mount.exec = false,
        "suid" => mount.suid = true,
        "nosuid" => mount.suid = false,
        "dev" => mount.dev = true,
        "nodev" => mount.dev = false,
        "idmap" => mount.idmap = true,
        "noidmap" => mount.idmap = false,
        "nocopy" => mount.copy = false,
        "z" => mount.relabel = Relabel::Shared,
        "Z" => mount.relabel = Relabel::Private,
        // Hints for Docker on other systems than Linux.
        "consistent" | "cached" | "delegated" => {}
        other => mount.propagation = Propagation::parse(other)?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::MountKind;
    use super::*;

    #[test]
    fn binds_are_read_only_unless_rw_is_written() {
        assert_eq!(parse("/srv:/data", None), Ok(Mount::bind("/srv", "/data")));
        assert!(parse("/srv:/data", None).unwrap().read_only);
        assert!(!parse("/srv:/data:rw", None).unwrap().read_only);
        assert_eq!(parse("/srv:/data:rw", None).unwrap().options(), ["rbind", "rw", "nosuid", "nodev", "rprivate"]);
    }

    #[test]
    fn volumes_are_writable_and_noexec() {
        let volume = parse("db-data:/var/lib/db", None).unwrap();
        assert_eq!(volume, Mount::volume(Some("db-data".to_owned()), "/var/lib/db"));
        assert_eq!(volume.options(), ["rbind", "rw", "noexec", "nosuid", "nodev", "rprivate"]);
        assert_eq!(parse("/cache", None).unwrap().kind, MountKind::Volume { name: None });
        assert!(parse("db:/x:exec,ro", None).unwrap().exec);
    }

    #[test]
    fn relative_sources_begin_at_the_base() {
        assert_eq!(parse("./a:/b", Some("/home/me")).unwrap().source(), Some("/home/me/./a"));
        assert_eq!(parse("../a:/b", Some("/")).unwrap().source(), Some("/../a"));
        assert!(parse("./a:/b", None).is_err());
        assert!(parse(".hidden:/b", Some("/home/me")).is_err());
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let message = |text| parse(text, None).unwrap_err().to_string();
        assert!(message("/a:/b:wr").contains("did you mean \"rw\""));
        assert!(message("/a:/b:ro:rw").contains("more than three"));
        assert!(message(":/b").contains("empty"));
        assert!(message("/a:b").contains("not absolute"));
        assert!(message("a/b:/c").contains("neither an absolute path nor a volume's name"));
        assert!(message("x:/c").contains("two or more"));
        assert!(message("/a:/proc/sys").contains("nothing can be mounted"));
        assert!(message("").contains("not absolute"));
        assert!(message("/a:/").contains("nothing can be mounted"));
    }
}
