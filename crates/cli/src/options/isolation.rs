//! Flags that open a container: namespaces, capabilities, security options, devices.

use clap::Args;

/// The flags, in Docker's words; what they mean is `casemate_posture`'s to say.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct Isolation {
    /// Allow a relaxation that the host's policy refuses, for this container only (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) allow: Vec<String>,
    /// Give a capability; none is given by default (repeatable)
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away again, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) cap_drop: Vec<String>,
    /// seccomp=FILE|unconfined, no-new-privileges=BOOL, …
    #[arg(long, value_name = "OPTION")]
    pub(crate) security_opt: Vec<String>,
    /// Network: none (the default), host or container:NAME
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    pub(crate) network: Option<String>,
    /// Process ids: private (the default), host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub(crate) pid: Option<String>,
    /// System V IPC and /dev/shm: private (the default), shareable, none, host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub(crate) ipc: Option<String>,
    /// Host and domain name: private (the default), host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub(crate) uts: Option<String>,
    /// User ids: private (the default), host or container:NAME
    #[arg(long, value_name = "MODE")]
    pub(crate) userns: Option<String>,
    /// Map ids to the subordinate ids of this user of the host (/etc/subuid, /etc/subgid)
    #[arg(long, value_name = "USER")]
    pub(crate) userns_remap: Option<String>,
    /// Control groups: private (the default) or host
    #[arg(long, value_name = "MODE")]
    pub(crate) cgroupns: Option<String>,
    /// Clocks: host (the default) or private
    #[arg(long, value_name = "MODE")]
    pub(crate) timens: Option<String>,
    /// Make a device of the host usable inside: HOST[:CONTAINER[:rwm]] (repeatable)
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Vec<String>,
    /// Allow a class of devices in the control group: "c 10:200 rw" (repeatable)
    #[arg(long, value_name = "RULE")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Set a kernel parameter of the container's namespaces (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) sysctl: Vec<String>,
    /// Make the container's process a member of another group (repeatable)
    #[arg(long, value_name = "GROUP")]
    pub(crate) group_add: Vec<String>,
    /// Put the container's control group under this one
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,
    /// Give the container every right of root on the host; refused without --allow privileged
    #[arg(long)]
    pub(crate) privileged: bool,
}
