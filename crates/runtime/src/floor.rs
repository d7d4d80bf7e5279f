//! The posture's floor, applied to a specification that another engine made: what it has too much of is taken away, what
//! can't be taken away without making another container of it is refused. Both are said.

use std::path::Path;

use casemate_kernel::namespace;
use casemate_posture::floor::{self, BindMount};
use casemate_posture::seccomp::Arch;
use casemate_posture::{CapabilitySet, SeccompChoice, path};
use oci_spec::runtime::{
    Capabilities, Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxPidsBuilder, Process, Spec,
};

use crate::error::{Error, Step};
use crate::seccomp::{self, Filter};

/// What was taken away, one sentence each.
pub(crate) type Taken = Vec<String>;

/// Applies the floor to a specification.
///
/// # Errors
/// [`Kind::Invalid`](crate::Kind::Invalid), naming the field that the container can't be made with.
pub(crate) fn apply(spec: &mut Spec) -> Result<Taken, Error> {
    let mut taken = Taken::new();
    if let Some(process) = spec.process_mut() {
        apply_to_process(process, &mut taken);
    }
    let mut linux = spec.linux().clone().unwrap_or_default();
    namespaces(&mut linux, &mut taken)?;
    resources(&mut linux, &mut taken)?;
    paths(&mut linux, &mut taken);
    if let Some(propagation) = linux.rootfs_propagation().clone().filter(|word| word.ends_with("shared")) {
        linux.set_rootfs_propagation(Some("rslave".to_owned()));
        taken.push(format!("linux.rootfsPropagation: {propagation} is slave: the host sees no mount of the container"));
    }
    spec.set_linux(Some(linux));
    mounts(spec, &mut taken)?;
    Ok(taken)
}

/// Applies the floor to a process, the first or one that joins.
pub(crate) fn apply_to_process(process: &mut Process, taken: &mut Taken) {
    if process.no_new_privileges() != Some(true) {
        process.set_no_new_privileges(Some(true));
        taken.push("process.noNewPrivileges: set".to_owned());
    }
    if let Some(score) = process.oom_score_adj().filter(|score| *score < 0) {
        process.set_oom_score_adj(Some(0));
        taken.push(format!("process.oomScoreAdj: {score} is 0: others are not killed in its place"));
    }
    if let Some(sets) = process.capabilities().clone() {
        process.set_capabilities(Some(fewer(&sets, taken)));
    }
}

fn fewer(sets: &LinuxCapabilities, taken: &mut Taken) -> LinuxCapabilities {
    let allowed = |capability: &oci_spec::runtime::Capability| {
        capability.to_string().parse().is_ok_and(|known| floor::CAPABILITIES.contains(&known))
    };
    let mut gone: Vec<String> = Vec::new();
    let mut keep = |set: &Option<Capabilities>| -> Option<Capabilities> {
        let set = set.as_ref()?;
        gone.extend(set.iter().filter(|capability| !allowed(capability)).map(|capability| format!("CAP_{capability}")));
        Some(set.iter().filter(|capability| allowed(capability)).copied().collect())
    };
    let mut fewer = LinuxCapabilities::default();
    fewer.set_bounding(keep(sets.bounding()));
    fewer.set_effective(keep(sets.effective()));
    fewer.set_permitted(keep(sets.permitted()));
    fewer.set_inheritable(keep(sets.inheritable()));
    fewer.set_ambient(keep(sets.ambient()));
    gone.sort();
    gone.dedup();
    if !gone.is_empty() {
        taken.push(format!("process.capabilities: without {}", gone.join(", ")));
    }
    fewer
}

/// The namespaces without which a container is part of the host.
const OWN: [(LinuxNamespaceType, &str); 5] = [
    (LinuxNamespaceType::Pid, "pid"),
    (LinuxNamespaceType::Network, "network"),
    (LinuxNamespaceType::Ipc, "ipc"),
    (LinuxNamespaceType::Uts, "uts"),
    (LinuxNamespaceType::Mount, "mount"),
];

fn namespaces(linux: &mut Linux, taken: &mut Taken) -> Result<(), Error> {
    let mut list = linux.namespaces().clone().unwrap_or_default();
    for (kind, name) in OWN {
        if !list.iter().any(|namespace| namespace.typ() == kind) {
            return Err(Error::field("linux.namespaces", format!("the host's {name} namespace is not shared")));
        }
    }
    for (index, namespace) in list.iter().enumerate() {
        let Some(path) = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) else { continue };
        // The namespace of another container, of a pod, is joined; the host's is not.
        if is_the_hosts(namespace.typ(), path)? {
            let why = format!("{path:?} is the host's {} namespace, which is not shared", namespace.typ());
            return Err(Error::field(&format!("linux.namespaces[{index}].path"), why));
        }
    }
    if !list.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::Cgroup) {
        let own = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Cgroup).build();
        list.push(own.step("linux.namespaces")?);
        linux.set_namespaces(Some(list));
        taken.push("linux.namespaces: a cgroup namespace of its own".to_owned());
    }
    Ok(())
}

fn is_the_hosts(kind: LinuxNamespaceType, path: &Path) -> Result<bool, Error> {
    let name = match kind {
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Time => "time",
    };
    // The runtime runs on the host. What is no namespace is refused elsewhere, by name.
    let Ok(theirs) = namespace::open_file(path) else { return Ok(false) };
    let ours = namespace::open_of_process(std::process::id(), name).step("linux.namespaces")?;
    namespace::same(theirs, ours).step("linux.namespaces")
}

fn resources(linux: &mut Linux, taken: &mut Taken) -> Result<(), Error> {
    let mut resources = linux.resources().clone().unwrap_or_default();
    let limit = resources.pids().as_ref().map_or(-1, oci_spec::runtime::LinuxPids::limit);
    if limit < 0 {
        let pids = LinuxPidsBuilder::default().limit(floor::PIDS).build().step("linux.resources.pids")?;
        resources.set_pids(Some(pids));
        taken.push(format!("linux.resources.pids: at most {}", floor::PIDS));
    }
    let rules = resources.devices().clone().unwrap_or_default();
    let everything = rules.iter().any(allows_all);
    let denied = rules.iter().any(|rule| !rule.allow() && is_all(rule));
    if everything || !denied {
        let mut fewer: Vec<LinuxDeviceCgroup> = vec![LinuxDeviceCgroup::default()];
        if let Some(deny) = fewer.first_mut() {
            deny.set_allow(false);
            deny.set_access(Some("rwm".to_owned()));
        }
        if !everything {
            fewer.extend(rules);
        }
        resources.set_devices(Some(fewer));
        taken.push("linux.resources.devices: those that every container has".to_owned());
    }
    if everything && linux.devices().as_ref().is_some_and(|devices| !devices.is_empty()) {
        let count = linux.devices().as_ref().map_or(0, Vec::len);
        linux.set_devices(None);
        taken.push(format!("linux.devices: without {count} devices of the host"));
    }
    linux.set_resources(Some(resources));
    Ok(())
}

fn is_all(rule: &LinuxDeviceCgroup) -> bool {
    let any = |number: Option<i64>| number.is_none_or(|number| number < 0);
    rule.typ().is_none_or(|kind| kind == oci_spec::runtime::LinuxDeviceType::A)
        && any(rule.major())
        && any(rule.minor())
}

fn allows_all(rule: &LinuxDeviceCgroup) -> bool {
    rule.allow() && is_all(rule)
}

fn paths(linux: &mut Linux, taken: &mut Taken) {
    let (masked, added) = with(linux.masked_paths().clone(), path::MASKED);
    linux.set_masked_paths(Some(masked));
    let (read_only, also) = with(linux.readonly_paths().clone(), path::READ_ONLY);
    linux.set_readonly_paths(Some(read_only));
    if added + also > 0 {
        taken.push(format!("linux.maskedPaths, linux.readonlyPaths: {} more", added + also));
    }
}

/// A list with what is missing in it, and how much that was. A pattern is the posture's own, for its engine.
fn with(given: Option<Vec<String>>, wanted: &[&str]) -> (Vec<String>, usize) {
    let mut list = given.unwrap_or_default();
    let before = list.len();
    for path in wanted.iter().filter(|path| !path.contains('*')) {
        if !list.iter().any(|known| known == path) {
            list.push((*path).to_owned());
        }
    }
    let added = list.len() - before;
    (list, added)
}

fn mounts(spec: &mut Spec, taken: &mut Taken) -> Result<(), Error> {
    for (index, mount) in spec.mounts_mut().iter_mut().flatten().enumerate() {
        let mut options = mount.options().clone().unwrap_or_default();
        let kind = mount.typ().clone().unwrap_or_default();
        let field = format!("mounts[{index}]");
        let writable = |options: &[String]| {
            options.iter().rev().find_map(|option| match option.as_str() {
                "ro" => Some(false),
                "rw" => Some(true),
                _ => None,
            }) != Some(false)
        };
        if matches!(kind.as_str(), "sysfs" | "cgroup" | "cgroup2") && writable(&options) {
            options.push("ro".to_owned());
            taken.push(format!("{field}: {kind} is read-only"));
        }
        let bind = kind == "bind" || options.iter().any(|option| option == "bind" || option == "rbind");
        if bind && let Some(source) = mount.source() {
            // As it is now: what it is when it is mounted is looked at by descriptor, and its words don't matter then.
            let resolved = std::fs::canonicalize(source).unwrap_or_else(|_| source.clone());
            let decision = floor::bind_mount(&resolved.to_string_lossy(), &mount.destination().to_string_lossy());
            match decision {
                BindMount::Kept => {}
                BindMount::ReadOnly(why) => {
                    for option in ["ro", "rro", "nosuid", "nodev"] {
                        options.push(option.to_owned());
                    }
                    taken.push(format!("{field}: {source:?} is read-only ({why})"));
                }
                BindMount::Refused(why) => {
                    return Err(Error::field(&format!("{field}.source"), format!("{source:?}: {why}")));
                }
            }
        }
        if let Some(shared) = options.iter_mut().find(|option| matches!(option.as_str(), "shared" | "rshared")) {
            "rslave".clone_into(shared);
            taken.push(format!("{field}: the host sees no mount of the container"));
        }
        mount.set_options(Some(options));
    }
    Ok(())
}

/// The posture's own filter, which holds below whatever filter the engine gives: the stricter of the two decides.
pub(crate) fn filter() -> Result<Filter, Error> {
    let field = "linux.seccomp";
    let arch = Arch::native().ok_or_else(|| Error::field(field, "this processor's system calls are not known"))?;
    let capabilities: CapabilitySet = floor::capabilities();
    let rules = SeccompChoice::Default
        .resolve(arch, &capabilities, casemate_kernel::process::kernel_version())
        .ok_or_else(|| Error::field(field, "there is no filter"))?;
    seccomp::compile(&seccomp::specification(&rules)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        serde_json::from_str(json).unwrap()
    }

    const NAMESPACES: &str = r#"[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"}]"#;

    fn with_linux(rest: &str) -> Spec {
        spec(&format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"rootfs"}},"process":{{"cwd":"/","user":{{"uid":0,"gid":0}},"args":["sh"],
            "capabilities":{{"bounding":["CAP_CHOWN","CAP_SYS_ADMIN"],"effective":["CAP_SYS_ADMIN"]}}}},
            "linux":{{"namespaces":{NAMESPACES}{rest}}}}}"#
        ))
    }

    #[test]
    fn what_is_too_much_is_taken_and_said() {
        let mut given = with_linux(r#","resources":{"devices":[{"allow":true,"access":"rwm"}]}"#);
        let taken = apply(&mut given).unwrap().join("\n");
        for part in ["CAP_SYS_ADMIN", "noNewPrivileges", "pids", "devices", "maskedPaths", "cgroup namespace"] {
            assert!(taken.contains(part), "{part} in {taken}");
        }
        let process = given.process().as_ref().unwrap();
        assert_eq!(process.no_new_privileges(), Some(true));
        let sets = process.capabilities().as_ref().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 1, "CAP_CHOWN stays");
        assert!(sets.effective().as_ref().unwrap().is_empty());
        let rules = given.linux().as_ref().unwrap().resources().as_ref().unwrap().devices().clone().unwrap();
        assert!(!rules.iter().any(allows_all));
        assert!(apply(&mut given).unwrap().is_empty(), "once is enough");
    }

    #[test]
    fn the_hosts_namespaces_and_sockets_are_refused() {
        let mut host = spec(
            r#"{"ociVersion":"1.3.0","process":{"cwd":"/","user":{"uid":0,"gid":0}},"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#,
        );
        let error = apply(&mut host).unwrap_err().to_string();
        assert!(error.starts_with("linux.namespaces: the host's network"), "{error}");
        let joined = NAMESPACES.replace(r#"{"type":"pid"}"#, r#"{"type":"pid","path":"/proc/self/ns/pid"}"#);
        let mut host = spec(&format!(
            r#"{{"ociVersion":"1.3.0","process":{{"cwd":"/","user":{{"uid":0,"gid":0}}}},"linux":{{"namespaces":{joined}}}}}"#
        ));
        assert!(apply(&mut host).unwrap_err().to_string().starts_with("linux.namespaces[0].path: "));
        let mut given = with_linux("");
        given.set_mounts(Some(vec![
            serde_json::from_str(r#"{"destination":"/s","source":"/run/docker.sock","options":["bind"]}"#).unwrap(),
        ]));
        assert!(apply(&mut given).unwrap_err().to_string().starts_with("mounts[0].source: "));
    }

    #[test]
    fn the_hosts_directories_are_read_only() {
        let mut given = with_linux("");
        given.set_mounts(Some(vec![
            serde_json::from_str(r#"{"destination":"/e","source":"/etc","options":["rbind","rw"]}"#).unwrap(),
            serde_json::from_str(r#"{"destination":"/d","source":"/srv/data","options":["rbind","rw"]}"#).unwrap(),
        ]));
        apply(&mut given).unwrap();
        let options = |index: usize| given.mounts().as_ref().unwrap()[index].options().clone().unwrap();
        assert!(options(0).contains(&"rro".to_owned()));
        assert_eq!(options(1), ["rbind", "rw"]);
    }

    #[test]
    fn there_is_a_filter() {
        assert!(!filter().unwrap().program.is_empty());
    }
}
