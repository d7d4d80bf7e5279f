//! System call filters: from a specification's profile to classic BPF, and to the one who is notified.
//!
//! What a profile comes to, where the specification leaves it open, is said in `docs/seccomp.md`. The way there:
//! [`rules`] reads the profile and finds what is decided on each number; [`condition`] turns conditions into tests;
//! [`tree`] folds neighbouring numbers on which the same is decided into ranges and searches those; [`known`] leaves out tests
//! whose answer is known; [`emit`] writes what is left as instructions.

mod action;
mod condition;
mod emit;
pub mod features;
mod flags;
mod graph;
mod known;
pub mod notify;
mod rules;
mod specification;
#[cfg(test)]
mod tests;
mod tree;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use casemate_kernel::seccomp::{Instruction, MAX_INSTRUCTIONS};
use casemate_posture::seccomp::Arch;
use casemate_posture::syscalls;
use oci_spec::runtime::{Arch as OciArch, LinuxSeccomp};

use crate::error::{Error, Step};
pub use specification::specification;

use graph::{Comparison, Graph, NodeId, Word};
use rules::Rule;

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Whom the calls are notified to that the filter leaves to another process; `None` when there are none.
    pub listener: Option<Listener>,
}

/// Who is notified (`linux.seccomp.listenerPath`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its Unix socket, on the host.
    pub path: PathBuf,
    /// What it is told beside the state of the container, as written in the specification.
    pub metadata: Option<String>,
}

impl Filter {
    /// Puts the filter on the calling thread, for good, and on all that it starts. Returns the descriptor on which calls are
    /// notified, closed on exec, if the filter has a [`Listener`].
    ///
    /// # Errors
    /// When the kernel does not take it: without no-new-privileges it asks for `CAP_SYS_ADMIN`.
    pub fn install(&self) -> Result<Option<OwnedFd>, Error> {
        casemate_kernel::seccomp::install(&self.program, self.flags).step("linux.seccomp")
    }
}

/// The bit that marks a call of x32 (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;
/// `syscall(-1)`: no call, but what a tracer makes of one that it takes back.
const NO_CALL: u32 = u32::MAX;

/// The calls that programs make all the time, or that a kernel can't decide on without running the filter, because
/// profiles often look at their arguments.
const HOT: &[&str] = &[
    "clone",
    "close",
    "epoll_pwait",
    "epoll_wait",
    "fstat",
    "futex",
    "ioctl",
    "lseek",
    "mmap",
    "newfstatat",
    "openat",
    "poll",
    "ppoll",
    "read",
    "recvfrom",
    "recvmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "socket",
    "write",
];

/// Compiles a profile for this machine.
///
/// Names that an architecture does not have are passed over. Calls of architectures that the profile does not name kill
/// the process, x32 on x86_64 included; the machine's own is always among them. Of several rules that hold for a call the
/// strictest decides.
///
/// # Errors
/// A field that is wrong, a flag or notification that this kernel does not offer, or a filter longer than it takes (4096).
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, Error> {
    let native = Arch::native().ok_or_else(unknown_processor)?;
    let filter = compile_for(profile, native)?;
    flags::check(filter.flags)?;
    Ok(filter)
}

fn unknown_processor() -> Error {
    Error::field("linux.seccomp", "this processor's system calls are not known")
}

/// As [`compile`], for a machine of another architecture, and without asking this one's kernel for what it offers.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, native: Arch) -> Result<Filter, Error> {
    if !matches!(native, Arch::X86_64 | Arch::Aarch64) {
        return Err(unknown_processor());
    }
    let default = action::value(profile.default_action(), profile.default_errno_ret(), || {
        "linux.seccomp.defaultErrnoRet".to_owned()
    })?;
    let rules = rules::read(profile)?;
    let listener = notify::listener(profile, &rules, default)?;
    let flags = flags::bits(profile, listener.is_some());
    let mut graph = Graph::default();
    let root = graph_of(&mut graph, native, profile.architectures().as_deref().unwrap_or_default(), &rules, default);
    let root = known::skip_known(&mut graph, root);
    let program = emit::program(&graph, root);
    if program.len() > MAX_INSTRUCTIONS {
        let why = format!("{} instructions; the kernel takes {MAX_INSTRUCTIONS}", program.len());
        return Err(Error::field("linux.seccomp.syscalls", why));
    }
    Ok(Filter { program, flags, listener })
}

/// Which architecture, then that one's tree; others are killed.
fn graph_of(graph: &mut Graph, native: Arch, listed: &[OciArch], rules: &[Rule<'_>], default: u32) -> NodeId {
    let also = |arch: OciArch| listed.contains(&arch);
    let mut node = graph.returning(action::KILL_PROCESS);
    // Asked from the last to the first: the machine's own comes first. Other machines' calls never come up here.
    if native == Arch::Aarch64 {
        if also(OciArch::ScmpArchArm) {
            node = one_architecture(graph, AUDIT_ARM, &[Arch::Arm], rules, default, node);
        }
        return one_architecture(graph, AUDIT_AARCH64, &[Arch::Aarch64], rules, default, node);
    }
    if also(OciArch::ScmpArchX86) {
        node = one_architecture(graph, AUDIT_I386, &[Arch::X86], rules, default, node);
    }
    let both: &[Arch] = if also(OciArch::ScmpArchX32) { &[Arch::X86_64, Arch::X32] } else { &[Arch::X86_64] };
    one_architecture(graph, AUDIT_X86_64, both, rules, default, node)
}

const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_X86_64: u32 = 0xC000_003E;
const AUDIT_ARM: u32 = 0x4000_0028;
const AUDIT_AARCH64: u32 = 0xC000_00B7;

/// Asks for an architecture (`AUDIT_ARCH_*`), and then for the numbers of its tables.
fn one_architecture(
    graph: &mut Graph,
    audit: u32,
    tables: &[Arch],
    rules: &[Rule<'_>],
    default: u32,
    others: NodeId,
) -> NodeId {
    let mut line = tree::Line::default();
    let mut hot = Vec::with_capacity(HOT.len() * tables.len());
    for &arch in tables {
        let last = if audit == AUDIT_X86_64 && arch != Arch::X32 { X32_BIT - 1 } else { NO_CALL };
        let otherwise = graph.returning(default);
        let decisions = rules::decide(graph, arch, rules, default);
        for &(number, decision) in &decisions {
            if let Some(before) = number.checked_sub(1) {
                line.up_to(before, otherwise);
            }
            line.up_to(number, decision);
        }
        // What is above all that the profile knows is newer than it.
        let newer = if decisions.is_empty() { otherwise } else { graph.returning(action::newer(default)) };
        line.up_to(last, newer);
        if last != NO_CALL && !tables.contains(&Arch::X32) {
            let kill = graph.returning(action::KILL_PROCESS);
            line.up_to(NO_CALL - 1, kill);
            line.up_to(NO_CALL, newer);
        }
        hot.extend(HOT.iter().filter_map(|name| syscalls::number(arch, name)));
    }
    let tree = line.tree(graph, &hot);
    graph.test(Word::ARCHITECTURE, u32::MAX, Comparison::Equal, audit, tree, others)
}
