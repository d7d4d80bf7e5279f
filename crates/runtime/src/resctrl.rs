//! Shares of processor caches and memory bandwidth (`linux.intelRdt`), through the kernel's `resctrl` file system.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Linux;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Step};

const USUAL_PLACE: &str = "/sys/fs/resctrl";
/// `RDTGROUP_SUPER_MAGIC` of `statfs(2)`.
const RDTGROUP_MAGIC: u32 = 0x0765_5821;

/// What a container is to have.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the file system is mounted.
    root: PathBuf,
    /// The class of service, whose directory is the root's for `/`.
    group: PathBuf,
    /// Whether the class is the container's own, and goes with it.
    own: bool,
    /// Lines to write, in this order.
    schemata: Vec<String>,
    /// A monitoring group of the container's own.
    monitoring: Option<PathBuf>,
}

/// What was made for a container, to be removed when it is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitoring: Option<PathBuf>,
}

/// Checks `linux.intelRdt` for a container.
pub(crate) fn plan(linux: &Linux, id: &str) -> Result<Option<Plan>, Error> {
    if linux.intel_rdt().is_none() {
        return Ok(None);
    }
    let root = mount_point().ok_or_else(|| Error::field("linux.intelRdt", "no resctrl file system is mounted"))?;
    plan_in(root, linux, id)
}

fn plan_in(root: PathBuf, linux: &Linux, id: &str) -> Result<Option<Plan>, Error> {
    let Some(rdt) = linux.intel_rdt() else {
        return Ok(None);
    };
    let class = rdt.clos_id().as_deref().filter(|class| !class.is_empty());
    let group = match class {
        Some("/") => root.clone(),
        Some(name) => root.join(plain_name("linux.intelRdt.closID", name)?),
        None => root.join(plain_name("linux.intelRdt: the container's id", id)?),
    };
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let (cache, bandwidth) = (given(rdt.l3_cache_schema()), given(rdt.mem_bw_schema()));
    if let Some(line) = bandwidth.as_ref().filter(|line| !line.starts_with("MB:")) {
        return Err(Error::field("linux.intelRdt.memBwSchema", format!("{line:?} does not start with \"MB:\"")));
    }
    let lines = rdt.schemata().clone().unwrap_or_default();
    let named = [("l3CacheSchema", cache.as_ref()), ("memBwSchema", bandwidth.as_ref())];
    let all = named.iter().filter_map(|(name, line)| Some((*name, (*line)?)));
    for (name, line) in all.chain(lines.iter().map(|line| ("schemata", line))) {
        if line.contains(['\n', '\0']) {
            return Err(Error::field(&format!("linux.intelRdt.{name}"), format!("{line:?} is more than one line")));
        }
    }
    let schemata: Vec<String> = cache.iter().chain(&bandwidth).chain(&lines).cloned().collect();
    if class.is_some() {
        match (group.is_dir(), schemata.is_empty()) {
            (false, true) => {
                let why = format!("{group:?} does not exist, and no schema says what to make it of");
                return Err(Error::field("linux.intelRdt.closID", why));
            }
            (true, false) => require_same(&group, &[("l3CacheSchema", &cache), ("memBwSchema", &bandwidth)])?,
            _ => {}
        }
    }
    let monitoring = if rdt.enable_monitoring().unwrap_or(false) {
        Some(group.join("mon_groups").join(plain_name("linux.intelRdt: the container's id", id)?))
    } else {
        None
    };
    Ok(Some(Plan { root, group, own: class.is_none(), schemata, monitoring }))
}

/// A name of a directory: not a path, and none of those that the kernel has there.
fn plain_name<'a>(field: &str, name: &'a str) -> Result<&'a str, Error> {
    let taken = ["", ".", "..", "info", "mon_groups", "mon_data"];
    if taken.contains(&name) || name.contains(['/', '\0', '\n']) {
        return Err(Error::field(field, format!("{name:?} is not the name of a class of service")));
    }
    Ok(name)
}

fn mount_point() -> Option<PathBuf> {
    let usual = rustix::fs::statfs(USUAL_PLACE).is_ok_and(|stat| u32::try_from(stat.f_type) == Ok(RDTGROUP_MAGIC));
    if usual {
        return Some(PathBuf::from(USUAL_PLACE));
    }
    mount_point_of(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The first place in a `mountinfo` (`proc_pid_mountinfo(5)`) where the file system is mounted.
fn mount_point_of(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        // One with a space in its name is not looked for: it would be written as \040.
        let place = mount.split(' ').nth(4).filter(|place| !place.contains('\\'))?;
        file_system.starts_with("resctrl ").then(|| PathBuf::from(place))
    })
}

/// A class that exists already must be what the specification says.
fn require_same(group: &Path, wanted: &[(&str, &Option<String>)]) -> Result<(), Error> {
    let file = group.join("schemata");
    for (name, line) in wanted.iter().filter_map(|(name, line)| Some((name, line.as_ref()?))) {
        let present = fs::read_to_string(&file).step(&format!("linux.intelRdt: read {file:?}"))?;
        if !says(&present, line) {
            let why = format!("{line:?}, but the class that exists has {:?}", present.trim());
            return Err(Error::field(&format!("linux.intelRdt.{name}"), why));
        }
    }
    Ok(())
}

/// Whether a `schemata` file says what a line does: for the same resource, of each domain, the same value.
fn says(schemata: &str, line: &str) -> bool {
    let Some((resource, wanted)) = parse(line) else {
        return false;
    };
    let same = |(known, values): (&str, Vec<(&str, &str)>)| {
        known == resource && wanted.iter().all(|domain| values.contains(domain))
    };
    schemata.lines().filter_map(parse).any(same)
}

/// `L3:0=00ff;1=f` as `("L3", [("0", "ff"), ("1", "f")])`.
fn parse(line: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let domains = domains.split(';').map(|domain| domain.split_once('='));
    let list = domains.map(|pair| pair.map(|(id, value)| (number(id), number(value)))).collect::<Option<Vec<_>>>()?;
    Some((resource.trim(), list))
}

/// A number, decimal or hexadecimal, without the zeros before it.
fn number(text: &str) -> &str {
    let text = text.trim();
    let digits = text.trim_start_matches('0');
    if digits.is_empty() && !text.is_empty() { "0" } else { digits }
}

/// Puts a process into its class of service, and into its monitoring group. On failure nothing that was made is left.
pub(crate) fn apply(plan: Option<&Plan>, pid: u32) -> Result<Made, Error> {
    let mut made = Made::default();
    let Some(plan) = plan else {
        return Ok(made);
    };
    match fill(plan, pid, &mut made) {
        Ok(()) => {
            if !plan.own {
                // A class that the specification names may be shared with others by now: it stays.
                made.group = None;
            }
            Ok(made)
        }
        Err(error) => {
            let mut text = error.to_string();
            if let Ok(status) = fs::read_to_string(plan.root.join("info/last_cmd_status")) {
                // Writing to a String cannot fail.
                let _ = write!(text, " ({})", status.trim());
            }
            // The first error is the one to tell.
            let _ = remove(&made);
            Err(Error::step("linux.intelRdt", text))
        }
    }
}

fn fill(plan: &Plan, pid: u32, made: &mut Made) -> Result<(), Error> {
    if make(&plan.group)? {
        made.group = Some(plan.group.clone());
    }
    if !plan.schemata.is_empty() {
        write(&plan.group.join("schemata"), &(plan.schemata.join("\n") + "\n"))?;
    }
    write(&plan.group.join("tasks"), &pid.to_string())?;
    if let Some(monitoring) = &plan.monitoring {
        if make(monitoring)? {
            made.monitoring = Some(monitoring.clone());
        }
        write(&monitoring.join("tasks"), &pid.to_string())?;
    }
    Ok(())
}

fn make(directory: &Path) -> Result<bool, Error> {
    match fs::create_dir(directory) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::step(format!("make {directory:?}"), error)),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    let written = fs::File::options()
        .write(true)
        .open(file)
        .and_then(|mut open| io::Write::write_all(&mut open, text.as_bytes()));
    written.step(&format!("write {text:?} to {file:?}"))
}

/// Removes what was made for a container, whose processes are gone. What is gone already is no error.
pub(crate) fn remove(made: &Made) -> Result<(), Error> {
    for directory in made.monitoring.iter().chain(&made.group) {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::step(format!("linux.intelRdt: remove {directory:?}"), error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(text: &str) -> Linux {
        serde_json::from_str(&format!(r#"{{"intelRdt":{{{text}}}}}"#)).unwrap()
    }

    struct Dir(PathBuf);
    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("casemate-resctrl-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("class")).unwrap();
            for file in ["tasks", "class/tasks", "class/schemata"] {
                fs::write(path.join(file), "").unwrap();
            }
            Self(path)
        }
        fn plan(&self, text: &str) -> Result<Plan, Error> {
            Ok(plan_in(self.0.clone(), &linux(text), "the-id")?.unwrap())
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn without_the_file_system_it_is_refused() {
        assert!(plan(&Linux::default(), "id").unwrap().is_none());
        if mount_point().is_none() {
            let error = plan(&linux(""), "id").unwrap_err().to_string();
            assert_eq!(error, "linux.intelRdt: no resctrl file system is mounted");
        }
    }

    #[test]
    fn names_and_lines_are_checked() {
        let dir = Dir::new("names");
        for (wrong, field) in [
            (r#""closID":"..""#, "closID"),
            (r#""closID":"a/b""#, "closID"),
            (r#""closID":"info""#, "closID"),
            (r#""closID":"missing""#, "closID"),
            (r#""memBwSchema":"L3:0=f""#, "memBwSchema"),
            (r#""l3CacheSchema":"L3:0=f\nMB:0=10""#, "l3CacheSchema"),
            (r#""schemata":["L3:0=f","a\nb"]"#, "schemata"),
        ] {
            let error = dir.plan(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.intelRdt.{field}: ")), "{wrong}: {error}");
        }
        assert_eq!(dir.plan(r#""closID":"/""#).unwrap().group, dir.0);
    }

    #[test]
    fn a_class_that_exists_must_say_the_same() {
        let dir = Dir::new("same");
        fs::write(dir.0.join("class/schemata"), "    MB:0= 10;1=100\n    L3:0=00ff;1=f\n").unwrap();
        assert!(dir.plan(r#""closID":"class","l3CacheSchema":"L3:1=0f;0=ff""#).is_ok());
        assert!(dir.plan(r#""closID":"class","l3CacheSchema":"L3:0=ff","memBwSchema":"MB:1=100""#).is_ok());
        let error = dir.plan(r#""closID":"class","l3CacheSchema":"L3:0=7f""#).unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt.l3CacheSchema: "), "{error}");
        assert_eq!(parse("L3:0=0"), Some(("L3", vec![("0", "0")])));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_named_class_gets_the_process_and_stays() {
        let dir = Dir::new("named");
        let plan = dir.plan(r#""closID":"class","schemata":["L3:0=f","MB:0=20"]"#).unwrap();
        let made = apply(Some(&plan), 4711).unwrap();
        assert_eq!(made, Made::default());
        assert_eq!(fs::read_to_string(dir.0.join("class/schemata")).unwrap(), "L3:0=f\nMB:0=20\n");
        assert_eq!(fs::read_to_string(dir.0.join("class/tasks")).unwrap(), "4711");
    }

    #[test]
    fn what_could_not_be_filled_is_removed() {
        // A directory of an ordinary file system has no "tasks" in it when it is made.
        let dir = Dir::new("own");
        let plan = dir.plan(r#""enableMonitoring":true"#).unwrap();
        assert_eq!(plan.monitoring.as_deref(), Some(dir.0.join("the-id/mon_groups/the-id").as_path()));
        let error = apply(Some(&plan), 4711).unwrap_err().to_string();
        assert!(error.starts_with("linux.intelRdt: write \"4711\""), "{error}");
        assert!(!dir.0.join("the-id").exists());
        assert!(remove(&Made { group: Some(dir.0.join("the-id")), monitoring: None }).is_ok());
    }

    #[test]
    fn the_mount_is_found_wherever_it_is() {
        let text = "22 1 0:21 / /proc rw - proc proc rw\n40 22 0:30 / /mnt/rdt rw shared:1 - resctrl resctrl rw\n";
        assert_eq!(mount_point_of(text), Some(PathBuf::from("/mnt/rdt")));
        assert_eq!(mount_point_of("22 1 0:21 / /proc rw - proc resctrl rw\n"), None);
    }
}
