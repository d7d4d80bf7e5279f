//! Whether the container's user owns its control group (`config-linux.md`, "Cgroup ownership").

use std::path::Path;

use casemate_kernel::mount::Attributes;
use casemate_kernel::namespace::Namespaces;

use crate::plan::{MountKind, Plan};

/// The user of the host that the group is to belong to: the container's, when it sees the group as the root of its own
/// hierarchy, may write there, and is nobody on the host but this container's user.
pub(super) fn owner(plan: &Plan) -> Option<u32> {
    let writable = plan.mounts.iter().any(|mount| {
        matches!(mount.kind, MountKind::Cgroup)
            && mount.destination == Path::new("/sys/fs/cgroup")
            && !mount.set.contains(Attributes::READ_ONLY)
    });
    let own = plan.new.contains(Namespaces::USER) && plan.new.contains(Namespaces::CGROUP);
    if !own || !writable {
        return None;
    }
    let user = plan.process.uid;
    plan.uids.iter().find_map(|map| {
        let offset = user.checked_sub(map.inside).filter(|offset| *offset < map.count)?;
        map.outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(namespaces: &str, options: &str, uid: u32) -> Plan {
        let maps = if namespaces.contains("user") {
            r#""uidMappings":[{"containerID":0,"hostID":100000,"size":1000}],
               "gidMappings":[{"containerID":0,"hostID":100000,"size":1000}],"#
        } else {
            ""
        };
        let json = format!(
            r#"{{"ociVersion":"1.0.0","root":{{"path":"rootfs"}},
                "process":{{"user":{{"uid":{uid},"gid":0}},"cwd":"/","args":["true"]}},
                "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":[{options}]}}],
                "linux":{{{maps}"namespaces":[{namespaces}]}}}}"#
        );
        Plan::new("test", &serde_json::from_str(&json).unwrap()).unwrap()
    }

    #[test]
    fn only_a_container_of_its_own_owns_what_it_may_write() {
        let all = r#"{"type":"mount"},{"type":"user"},{"type":"cgroup"}"#;
        assert_eq!(owner(&plan(all, r#""nosuid""#, 0)), Some(100_000));
        assert_eq!(owner(&plan(all, r#""rw""#, 7)), Some(100_007));
        assert_eq!(owner(&plan(all, r#""ro""#, 0)), None);
        assert_eq!(owner(&plan(r#"{"type":"mount"},{"type":"user"}"#, r#""rw""#, 0)), None);
        assert_eq!(owner(&plan(r#"{"type":"mount"},{"type":"cgroup"}"#, r#""rw""#, 0)), None);
    }
}
