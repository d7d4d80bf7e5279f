//! Every kind of relaxation. `docs/relaxations.md` is the same list for people; a test holds the two together.

use super::Kind;

macro_rules! kinds {
    ($($constant:ident: $name:literal, $flag:literal, [$($check:literal)*], $refused:literal, $risk:literal;)*) => {
        $(pub(crate) const $constant: Kind =
            Kind { name: $name, flag: $flag, risk: $risk, checks: &[$($check),*], refused: $refused };)*

        /// Every kind of relaxation.
        pub const KINDS: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    PRIVILEGED: "privileged", "--privileged", ["5.5" "5.4" "5.22" "5.31" "R1" "R2" "R7" "R8"], true,
        "it is root on the host: every capability, every device, no filter, the host's user namespace";
    HOST_PID: "host-pid", "--pid=host", ["5.16" "R6"], true,
        "it sees every process of the host, and can signal those of its own ids";
    HOST_IPC: "host-ipc", "--ipc=host", ["5.17" "R6"], true,
        "it reads and writes the shared memory and semaphores of the host's processes";
    HOST_UTS: "host-uts", "--uts=host", ["5.21" "R6"], true,
        "it has the host's name, and with CAP_SYS_ADMIN changes it";
    HOST_NETWORK: "host-network", "--network=host", ["5.10" "R4"], true,
        "it reaches every service of the host, loopback and abstract Unix sockets included, and listens on the host's addresses";
    HOST_USERNS: "host-userns", "--userns=host", ["5.31" "2.9" "R7"], true,
        "its root is the host's root: whatever gets out of the container owns the host";
    HOST_CGROUPNS: "host-cgroupns", "--cgroupns=host", ["5.25" "R9"], true,
        "it sees the host's tree of control groups, with the names of all other containers";
    SENSITIVE_MOUNT: "sensitive-mount", "-v / --mount", ["5.6" "R1" "R15"], true,
        "it reads, and if the mount is writable changes, what the host itself runs on";
    ENGINE_SOCKET: "engine-socket", "-v / --mount", ["5.32" "R1"], true,
        "whoever can talk to a container engine is root on the host, even over a read-only mount";
    ENGINE_STATE: "engine-state", "-v / --mount", ["5.6" "R1" "R15"], true,
        "it reads the files and secrets of all containers, and if the mount is writable is root on the host";
    HOST_DEVICE: "host-device", "--device / --device-cgroup-rule", ["5.18" "R2"], true,
        "it has a device that gives the host's memory, disks or input away";
    CGROUP_PARENT: "cgroup-parent", "--cgroup-parent", ["5.25" "R9"], true,
        "it is limited as, and with, whatever else is in that control group";

    SHARED_PID: "shared-pid", "--pid=container:NAME", ["R6"], false,
        "it sees another container's processes, and can signal those of its own ids";
    SHARED_IPC: "shared-ipc", "--ipc=container:NAME", ["R6"], false,
        "it reads and writes another container's shared memory and semaphores";
    SHAREABLE_IPC: "shareable-ipc", "--ipc=shareable", ["R6"], false,
        "other containers may read and write its shared memory and semaphores";
    SHARED_UTS: "shared-uts", "--uts=container:NAME", ["R6"], false,
        "it has another container's host name";
    SHARED_NETWORK: "shared-network", "--network=container:NAME", ["R5"], false,
        "it reaches everything that listens in another container, loopback included";
    SHARED_USERNS: "shared-userns", "--userns=container:NAME", ["R7-"], false,
        "it has the same ids as another container: what belongs to one belongs to both";
    REMAPPED_USERNS: "remapped-userns", "--userns-remap", ["R7-"], false,
        "it has the same ids as all other containers of that user: what belongs to one belongs to all";
    SHARED_CGROUPNS: "shared-cgroupns", "--cgroupns=container:NAME", ["R9"], false,
        "it sees another container's control groups";
    CAP_ADD: "cap-add", "--cap-add", ["5.4" "R8" "R8-"], false,
        "its processes have a capability";
    NEW_PRIVILEGES: "new-privileges", "--security-opt no-new-privileges=false", ["5.26"], false,
        "set-user-id programs in the image give their owner's power to whoever runs them";
    SECCOMP_UNCONFINED: "seccomp-unconfined", "--security-opt seccomp=unconfined", ["5.22"], false,
        "every system call of the kernel can be tried, those that escapes were built from included";
    SECCOMP_PROFILE: "seccomp-profile", "--security-opt seccomp=FILE", [], false,
        "its system calls are filtered by a profile that casemate has not judged";
    APPARMOR_UNCONFINED: "apparmor-unconfined", "--security-opt apparmor=unconfined", ["5.2"], false,
        "AppArmor does not stand behind the other walls";
    LABEL_DISABLED: "label-disabled", "--security-opt label=disable", ["5.3"], false,
        "SELinux does not stand behind the other walls";
    WRITABLE_ROOT: "writable-root", "--read-only=false", ["5.13" "R12"], false,
        "whoever gets in can change its programs and stay";
    TMPFS_EXEC: "tmpfs-exec", "--tmpfs PATH:exec", ["R13"], false,
        "whoever gets in can bring programs and run them";
    TMPFS_SUID: "tmpfs-suid", "--tmpfs PATH:suid", ["R13"], false,
        "set-user-id bits count on it";
    TMPFS_DEV: "tmpfs-dev", "--tmpfs PATH:dev", ["R13"], false,
        "device nodes work on it";
    TMPFS_SIZE: "tmpfs-size", "--tmpfs PATH:size=", ["R13"], false,
        "it holds more than the default, or has no bound but the memory limit";
    BIND_MOUNT: "bind-mount", "-v / --mount", ["R15"], false,
        "it reads files of the host";
    WRITABLE_BIND: "writable-bind", "-v HOST:CONTAINER:rw", ["R14" "R15"], false,
        "it changes files of the host, and can fill its disk";
    VOLUME: "volume", "-v NAME:CONTAINER", ["R14"], false,
        "what it writes outlives it, and can fill the disk that volumes are on";
    MOUNT_EXEC: "mount-exec", "-v NAME:CONTAINER:exec", ["R14"], false,
        "whoever gets in can bring programs, run them and stay";
    MOUNT_SUID: "mount-suid", "-v …:suid", ["R14"], false,
        "set-user-id bits count on it";
    MOUNT_DEV: "mount-dev", "-v …:dev", ["R2"], false,
        "device nodes work on it";
    MOUNT_PROPAGATION: "mount-propagation", "--mount bind-propagation=", ["5.20"], false,
        "what is mounted later on one side appears on the other";
    MOUNT_UNMAPPED: "mount-unmapped", "-v …:noidmap", ["R7"], false,
        "ids on it are the host's";
    DEVICE: "device", "--device", ["5.18" "R2"], false,
        "it talks to a device of the host and the driver behind it";
    DEVICE_RULE: "device-cgroup-rule", "--device-cgroup-rule", ["5.18" "R2"], false,
        "it may use devices whose nodes it comes by";
    UNMASKED_PATHS: "unmasked-paths", "--security-opt systempaths=unconfined", ["R1"], false,
        "it reads what the kernel tells of the host's hardware, memory and timing";
    WRITABLE_PATHS: "writable-system-paths", "--security-opt systempaths=unconfined", ["R1"], false,
        "it can try to write the kernel's settings";
    SYSCTL: "sysctl", "--sysctl", [], false,
        "a kernel setting of its namespaces is not the kernel's default";
    GROUP_ADD: "group-add", "--group-add", [], false,
        "it opens what is a further group's";
    MEMORY: "memory", "--memory", ["5.11" "R10"], false,
        "it can use more memory than the default, or all of the host's";
    MEMORY_SWAP: "memory-swap", "--memory-swap", ["R10"], false,
        "it can fill the host's swap, and slow everything that is in it";
    MEMORY_RESERVATION: "memory-reservation", "--memory-reservation", [], false,
        "when the host is short of memory it keeps its own and others give";
    OOM_KILL_DISABLE: "oom-kill-disable", "--oom-kill-disable", ["R10"], false,
        "when its memory is used up it hangs instead of dying";
    OOM_SCORE_ADJ: "oom-score-adj", "--oom-score-adj", ["R10"], false,
        "when the host is short of memory others are killed rather than it";
    PIDS_LIMIT: "pids-limit", "--pids-limit", ["5.29"], false,
        "it can start more processes than the default; without a limit, as many as bring the host down";
    CPU_UNLIMITED: "cpu-unlimited", "--cpu-quota=-1", ["5.12" "R11"], false,
        "it can take all processors of the host";
    CPU_SHARES: "cpu-shares", "--cpu-shares", ["R11"], false,
        "it is served before other containers";
    BLKIO_WEIGHT: "blkio-weight", "--blkio-weight", [], false,
        "its disk accesses are served before those of other containers";
    ULIMIT: "ulimit", "--ulimit", ["5.19"], false,
        "each of its processes can use more than the default";
    SHM_SIZE: "shm-size", "--shm-size", [], false,
        "its shared memory holds more than the default";
}
