//! Linux capabilities: all 41 of them, by name, number and danger.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::suggest;

macro_rules! capabilities {
    ($($variant:ident = $number:literal, $name:literal, $danger:expr;)*) => {
        /// A capability of capabilities(7), numbered as in `linux/capability.h`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Capability {
            $(#[doc = concat!("`CAP_", $name, "`")] $variant = $number,)*
        }

        impl Capability {
            /// Every capability, in the order of its number.
            pub const ALL: [Self; 41] = [$(Self::$variant,)*];

            /// The name as the kernel headers and OCI write it: `CAP_CHOWN`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => concat!("CAP_", $name),)* }
            }

            /// What whoever holds it can do to the host or to others, where that is more than a container's own affair.
            pub const fn danger(self) -> Option<&'static str> {
                match self { $(Self::$variant => $danger,)* }
            }
        }
    };
}

capabilities! {
    Chown = 0, "CHOWN", None;
    DacOverride = 1, "DAC_OVERRIDE", Some("ignores file permissions: reads and writes every file that it can name, those of mounted host directories included");
    DacReadSearch = 2, "DAC_READ_SEARCH", Some("reads every file and opens files by handle, outside of the root file system too (the \"shocker\" escape)");
    Fowner = 3, "FOWNER", None;
    Fsetid = 4, "FSETID", None;
    Kill = 5, "KILL", None;
    Setgid = 6, "SETGID", None;
    Setuid = 7, "SETUID", None;
    Setpcap = 8, "SETPCAP", None;
    LinuxImmutable = 9, "LINUX_IMMUTABLE", None;
    NetBindService = 10, "NET_BIND_SERVICE", None;
    NetBroadcast = 11, "NET_BROADCAST", None;
    NetAdmin = 12, "NET_ADMIN", Some("configures interfaces, routes and packet filters: reaches nf_tables, traffic control and xfrm, where most kernel escapes of recent years were");
    NetRaw = 13, "NET_RAW", Some("opens raw and packet sockets: forges ARP, DNS and IPv6 router advertisements on its networks, and reaches AF_PACKET, which has been escaped through");
    IpcLock = 14, "IPC_LOCK", Some("locks memory without limit");
    IpcOwner = 15, "IPC_OWNER", None;
    SysModule = 16, "SYS_MODULE", Some("loads kernel modules: owns the host");
    SysRawio = 17, "SYS_RAWIO", Some("reads and writes I/O ports and raw devices: owns the host");
    SysChroot = 18, "SYS_CHROOT", None;
    SysPtrace = 19, "SYS_PTRACE", Some("reads and changes the memory of every process that it can see; with the host's pid namespace, all of the host");
    SysPacct = 20, "SYS_PACCT", Some("turns process accounting on and off");
    SysAdmin = 21, "SYS_ADMIN", Some("mounts, enters namespaces, and much else: the new root; with the host's user namespace it owns the host");
    SysBoot = 22, "SYS_BOOT", Some("reboots the host or loads another kernel");
    SysNice = 23, "SYS_NICE", Some("takes the processors with real-time priorities");
    SysResource = 24, "SYS_RESOURCE", Some("overrides quotas and resource limits");
    SysTime = 25, "SYS_TIME", Some("sets the clock of the whole host: certificates, logs and tickets depend on it");
    SysTtyConfig = 26, "SYS_TTY_CONFIG", Some("hangs up and configures terminals");
    Mknod = 27, "MKNOD", Some("makes device nodes");
    Lease = 28, "LEASE", None;
    AuditWrite = 29, "AUDIT_WRITE", Some("writes records of its choice into the kernel's audit log");
    AuditControl = 30, "AUDIT_CONTROL", Some("switches the kernel's audit off");
    Setfcap = 31, "SETFCAP", None;
    MacOverride = 32, "MAC_OVERRIDE", Some("overrides mandatory access control");
    MacAdmin = 33, "MAC_ADMIN", Some("changes mandatory access control");
    Syslog = 34, "SYSLOG", Some("reads the kernel's log and the addresses in it, which exploits need");
    WakeAlarm = 35, "WAKE_ALARM", Some("wakes the host up");
    BlockSuspend = 36, "BLOCK_SUSPEND", Some("keeps the host from suspending");
    AuditRead = 37, "AUDIT_READ", Some("reads the kernel's audit log, of the whole host");
    Perfmon = 38, "PERFMON", Some("observes the whole host's performance counters, other containers' secrets with them");
    Bpf = 39, "BPF", Some("loads BPF programs into the kernel");
    CheckpointRestore = 40, "CHECKPOINT_RESTORE", Some("chooses process ids and reads the memory maps of other processes");
}

impl Capability {
    /// The name without `CAP_`, as Docker's flags take it: `CHOWN`.
    pub fn short_name(self) -> &'static str {
        self.name().trim_start_matches("CAP_")
    }

    /// The number, as in `linux/capability.h`: the bit in a set.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The capability of that number, if it is one that casemate knows.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no capability's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability {name:?}{}", .nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
pub struct UnknownCapability {
    name: String,
    nearest: Option<&'static str>,
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    /// Reads `CAP_NET_RAW`, `NET_RAW`, `net_raw`.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let short = strip_prefix_ignore_case(text, "CAP_").unwrap_or(text);
        Self::ALL.into_iter().find(|cap| cap.short_name().eq_ignore_ascii_case(short)).ok_or_else(|| {
            UnknownCapability {
                name: text.chars().take(64).collect(),
                nearest: suggest::nearest(short, Self::ALL.into_iter().map(Self::short_name)),
            }
        })
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of capabilities: the 64 bits that the kernel shows as `CapEff` and the like.
///
/// Bits of capabilities that casemate does not know are never set. In JSON it is a list of names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// The set that has none.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// The set of all 41.
    pub const fn all() -> Self {
        Self((1 << 41) - 1)
    }

    /// The set of those of the bits that are known capabilities.
    pub const fn from_bits_truncate(bits: u64) -> Self {
        Self(bits & Self::all().0)
    }

    /// The bits, as in `/proc/PID/status`.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many it has.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether `cap` is in it.
    pub const fn contains(self, cap: Capability) -> bool {
        self.0 & (1 << cap.number()) != 0
    }

    /// Puts `cap` into it.
    pub fn insert(&mut self, cap: Capability) {
        self.0 |= 1 << cap.number();
    }

    /// Takes `cap` out of it.
    pub fn remove(&mut self, cap: Capability) {
        self.0 &= !(1 << cap.number());
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |&cap| self.contains(cap))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Capability::name)).finish()
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(caps: I) -> Self {
        let mut set = Self::empty();
        caps.into_iter().for_each(|cap| set.insert(cap));
        set
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Capability>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (index, cap) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(cap.number()), index);
            assert_eq!(Capability::from_number(cap.number()), Some(cap));
        }
        assert_eq!(Capability::from_number(41), None);
        assert_eq!(Capability::NetRaw.number(), 13);
        assert_eq!(Capability::SysAdmin.number(), 21);
        assert_eq!(Capability::CheckpointRestore.number(), 40);
    }

    #[test]
    fn names_are_read_with_and_without_the_prefix_in_any_case() {
        for text in ["CAP_NET_RAW", "NET_RAW", "net_raw", "cap_Net_Raw"] {
            assert_eq!(text.parse(), Ok(Capability::NetRaw), "{text}");
        }
        let error = "SYS_ADMNI".parse::<Capability>().unwrap_err();
        assert_eq!(error.to_string(), "unknown capability \"SYS_ADMNI\"; did you mean SYS_ADMIN?");
        assert!("".parse::<Capability>().is_err());
        assert!("CAP_".parse::<Capability>().is_err());
        assert!("CAP_ü".parse::<Capability>().is_err());
        assert!("CAÜ".parse::<Capability>().is_err());
        assert!("0".parse::<Capability>().is_err());
    }

    #[test]
    fn docker_defaults_have_the_bits_that_are_measured_in_its_containers() {
        let names = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";
        let set: CapabilitySet = names.split(' ').map(|name| name.parse::<Capability>().unwrap()).collect();
        assert_eq!(set.bits(), 0xa804_25fb);
    }

    #[test]
    fn sets_insert_and_remove() {
        let mut set = CapabilitySet::empty();
        set.insert(Capability::Bpf);
        set.insert(Capability::Chown);
        assert!(set.contains(Capability::Bpf));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Capability::Chown, Capability::Bpf]);
        set.remove(Capability::Bpf);
        assert_eq!(set.bits(), 1);
        assert_eq!(CapabilitySet::all().len(), 41);
        assert_eq!(CapabilitySet::from_bits_truncate(u64::MAX), CapabilitySet::all());
    }

    #[test]
    fn a_set_is_a_list_of_names_in_json() {
        let set: CapabilitySet = [Capability::NetRaw, Capability::Chown].into_iter().collect();
        let json = serde_json::to_string(&set).unwrap();
        assert_eq!(json, r#"["CAP_CHOWN","CAP_NET_RAW"]"#);
        assert_eq!(serde_json::from_str::<CapabilitySet>(&json).unwrap(), set);
    }
}
