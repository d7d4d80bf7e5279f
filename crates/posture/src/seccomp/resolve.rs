//! From a profile to the rules that hold for one container on one host.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::{Action, Arch, Arg, Condition, Flag, KernelVersion, Profile};
use crate::CapabilitySet;

/// The rules that hold for a container: what a filter is compiled from.
///
/// `Hash` and `Eq` make it the key of a cache of compiled filters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Rules {
    /// What happens to a call that no rule matches.
    pub default_action: Action,
    /// The error number of a default action of [`Action::Errno`]; `None`: EPERM.
    pub default_errno: Option<u32>,
    /// The architectures whose calls are filtered, the native one first. A call of any other kills the process.
    pub architectures: Vec<Arch>,
    /// How the filter is installed.
    pub flags: Vec<Flag>,
    /// The rules, the strictest first: the first that matches decides.
    pub rules: Vec<Rule>,
}

/// What happens to the calls of some names. Names and comparisons of the default profile are borrowed for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Rule {
    /// The calls. Some may not exist on an architecture; they are to be passed over there.
    pub names: Cow<'static, [Cow<'static, str>]>,
    /// What happens to them.
    pub action: Action,
    /// The error number of [`Action::Errno`]; `None`: EPERM.
    pub errno: Option<u32>,
    /// Comparisons that must all hold.
    pub args: Cow<'static, [Arg]>,
}

/// What rules say of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What happens to it.
    pub action: Action,
    /// The error number, where it fails.
    pub errno: Option<u32>,
}

/// What a refused call gets where nothing else is said.
const EPERM: u32 = 1;

impl Profile {
    /// The rules that hold on a host of `arch` with `kernel`, for a container whose bounding set is `caps`.
    pub fn resolve(&self, arch: Arch, caps: &CapabilitySet, kernel: (u32, u32)) -> Rules {
        let kernel = KernelVersion(kernel.0, kernel.1);
        let mut rules = Vec::with_capacity(self.syscalls.len());
        for rule in self.syscalls.iter() {
            let holds = rule.includes.is_satisfied(arch, *caps, kernel) && !rule.excludes.applies(arch, *caps, kernel);
            if !holds {
                continue;
            }
            // What has no error number is not given one: runtimes refuse that, where Docker reads over it.
            let errno = rule.action.number(rule.errno_ret);
            let one = |args| Rule { names: rule.names.clone(), action: rule.action, errno, args };
            // Docker's library takes comparisons of the same argument as alternatives, and then all of the rule's.
            if has_duplicate_index(&rule.args) {
                rules.extend(rule.args.iter().map(|arg| one(Cow::Owned(vec![*arg]))));
            } else {
                rules.push(one(rule.args.clone()));
            }
        }
        rules.sort_by_key(|rule| rule.action.leniency());
        // What is borrowed was made by the compiler: the default profile, which a test holds free of contradictions.
        if matches!(self.syscalls, Cow::Owned(_)) {
            settle(&mut rules);
        }
        Rules {
            default_action: self.default_action,
            default_errno: self.default_action.number(self.default_errno_ret),
            architectures: self.architectures_on(arch),
            flags: self.flags.to_vec(),
            rules,
        }
    }

    fn architectures_on(&self, arch: Arch) -> Vec<Arch> {
        // The native one is always filtered: without it the container's first call would kill it.
        let mut all = vec![arch];
        let mapped = self.arch_map.iter().find(|map| map.architecture == arch);
        let others = mapped.map(|map| map.sub_architectures.as_slice()).unwrap_or_default();
        for other in self.architectures.iter().chain(others) {
            if !all.contains(other) {
                all.push(*other);
            }
        }
        all
    }
}

impl Condition {
    /// Whether all that is asked is so.
    fn is_satisfied(&self, arch: Arch, caps: CapabilitySet, kernel: KernelVersion) -> bool {
        (self.arches.is_empty() || self.arches.iter().any(|name| name == arch.docker_name()))
            && self.caps.iter().all(|cap| caps.contains(*cap))
            && self.min_kernel.is_none_or(|least| kernel >= least)
    }

    /// Whether anything that is named is so.
    fn applies(&self, arch: Arch, caps: CapabilitySet, kernel: KernelVersion) -> bool {
        self.arches.iter().any(|name| name == arch.docker_name())
            || self.caps.iter().any(|cap| caps.contains(*cap))
            || self.min_kernel.is_some_and(|least| kernel >= least)
    }
}

/// Takes out what never decides: of rules without comparisons for a call all but the first (they are sorted, so it is the
/// strictest), and with it every rule with comparisons that is not stricter. What is left means the same to every compiler,
/// whether it tries rules with comparisons first, rules in their order, or the strictest first.
fn settle(rules: &mut Vec<Rule>) {
    let mut plain: HashMap<Cow<'static, str>, usize> = HashMap::new();
    for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.args.is_empty()) {
        for name in rule.names.iter() {
            plain.entry(name.clone()).or_insert(index);
        }
    }
    let actions: Vec<Action> = rules.iter().map(|rule| rule.action).collect();
    for (index, rule) in rules.iter_mut().enumerate() {
        let decides = |name: &Cow<'static, str>| match plain.get(name) {
            Some(&first) if rule.args.is_empty() => first == index,
            Some(&first) => rule.action.leniency() < actions[first].leniency(),
            None => true,
        };
        if !rule.names.iter().all(decides) {
            rule.names = rule.names.iter().filter(|name| decides(name)).cloned().collect();
        }
    }
    rules.retain(|rule| !rule.names.is_empty());
}

fn has_duplicate_index(args: &[Arg]) -> bool {
    args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|other| other.index == arg.index))
}

impl Rules {
    /// What these rules say of a call: the meaning that a compiled filter must have.
    pub fn decide(&self, name: &str, args: [u64; 6]) -> Decision {
        let matching = self.rules.iter().find(|rule| {
            rule.names.iter().any(|known| known == name)
                && rule.args.iter().all(|arg| args.get(usize::from(arg.index)).is_some_and(|value| arg.matches(*value)))
        });
        let (action, errno) =
            matching.map_or((self.default_action, self.default_errno), |rule| (rule.action, rule.errno));
        Decision { action, errno: (action == Action::Errno).then(|| errno.unwrap_or(EPERM)) }
    }
}
