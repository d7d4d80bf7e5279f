//! A profile's rules, and what they come to on the numbers of one architecture.

use casemate_posture::seccomp::Arch;
use casemate_posture::syscalls::{self, Name};
use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use super::action;
use super::condition::{Condition, Operator};
use super::graph::{Graph, NodeId};
use crate::error::Error;

/// What happens to the calls of some names, if all conditions hold.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    pub(super) names: Vec<Name<'a>>,
    pub(super) conditions: Vec<Condition>,
    pub(super) action: u32,
}

/// More than any filter has room for, and few enough to count them in a [`Claim`].
const MOST_RULES: usize = 1 << 20;

/// Reads the rules of a profile, in their order.
///
/// # Errors
/// A field that is wrong.
pub(super) fn read(profile: &LinuxSeccomp) -> Result<Vec<Rule<'_>>, Error> {
    let list = profile.syscalls().as_deref().unwrap_or_default();
    let mut rules = Vec::with_capacity(list.len());
    for (place, rule) in list.iter().enumerate() {
        read_rule(&mut rules, rule, &|| format!("linux.seccomp.syscalls[{place}]"))?;
    }
    if rules.len() > MOST_RULES {
        let why = format!("{} rules; at most {MOST_RULES} are read", rules.len());
        return Err(Error::field("linux.seccomp.syscalls", why));
    }
    Ok(rules)
}

fn read_rule<'a>(rules: &mut Vec<Rule<'a>>, rule: &'a LinuxSyscall, field: &dyn Fn() -> String) -> Result<(), Error> {
    let names = rule.names();
    if names.is_empty() {
        return Err(Error::field(&format!("{}.names", field()), "a rule needs at least one system call"));
    }
    if names.iter().any(String::is_empty) {
        return Err(Error::field(&format!("{}.names", field()), "\"\" is no name of a system call"));
    }
    let action = action::value(rule.action(), rule.errno_ret(), || format!("{}.errnoRet", field()))?;
    let args = rule.args().as_deref().unwrap_or_default();
    let mut conditions = Vec::with_capacity(args.len());
    for (place, arg) in args.iter().enumerate() {
        conditions.push(Condition::new(arg, || format!("{}.args[{place}]", field()))?);
    }
    // Several conditions on one argument are alternatives, and then all of the rule's are: as runc and crun have it.
    let repeated = |(at, one): (usize, &Condition)| conditions[..at].iter().any(|other| other.index == one.index);
    let names: Vec<Name<'a>> = names.iter().map(|name| Name::new(name)).collect();
    if conditions.iter().enumerate().any(repeated) {
        rules.extend(conditions.into_iter().map(|one| Rule { names: names.clone(), conditions: vec![one], action }));
    } else {
        // In their order, so that rules share what they have in common.
        conditions.sort_by_key(|condition| condition.index);
        rules.push(Rule { names, conditions, action });
    }
    Ok(())
}

/// One rule for one number. They sort by number, and then so that the first whose conditions hold decides: the strictest; of
/// those equally strict one without conditions, as it holds whenever another does; then the profile's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim(u64);

impl Claim {
    const RULE_BITS: u32 = 28;

    fn new(number: u32, leniency: u8, conditional: bool, rule: u32) -> Self {
        let order = u64::from(leniency) << 1 | u64::from(conditional);
        Self(u64::from(number) << 32 | order << Self::RULE_BITS | u64::from(rule))
    }

    fn number(self) -> u32 {
        u32::try_from(self.0 >> 32).unwrap_or(u32::MAX)
    }

    fn conditional(self) -> bool {
        self.0 >> Self::RULE_BITS & 1 == 1
    }

    fn rule(self) -> usize {
        (self.0 & ((1 << Self::RULE_BITS) - 1)) as usize
    }
}

/// A rule for one of the calls that share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SharedClaim {
    number: u32,
    call: u32,
    leniency: u8,
    conditional: bool,
    rule: u32,
    mask: u32,
}

/// What is decided on the numbers that rules name, in their order. `default` is what happens where no rule holds.
pub(super) fn decide(graph: &mut Graph, arch: Arch, rules: &[Rule<'_>], default: u32) -> Vec<(u32, NodeId)> {
    let mut claims = Vec::with_capacity(rules.iter().map(|rule| rule.names.len()).sum());
    let mut shared = Vec::new();
    for (index, rule) in (0..).zip(rules) {
        let (leniency, conditional) = (action::leniency(rule.action), !rule.conditions.is_empty());
        for name in &rule.names {
            // Names that this architecture does not have are passed over: profiles list those of all.
            if let Some(number) = syscalls::number_of(arch, name) {
                claims.push(Claim::new(number, leniency, conditional, index));
            }
            if let Some(one) = syscalls::multiplexed(arch, name) {
                let (number, call, mask) = (one.number, one.call, one.mask);
                shared.push(SharedClaim { number, call, leniency, conditional, rule: index, mask });
            }
        }
    }
    claims.sort_unstable();
    shared.sort_unstable();
    let next = u32::try_from(rules.len()).unwrap_or(u32::MAX);
    let derived = derived(&shared, &claims, rules, default);
    for (index, (number, rule)) in (next..).zip(&derived) {
        claims.push(Claim::new(*number, action::leniency(rule.action), true, index));
    }
    if !derived.is_empty() {
        claims.sort_unstable();
    }
    let rule_of = |claim: &Claim| rules.get(claim.rule()).unwrap_or_else(|| &derived[claim.rule() - rules.len()].1);
    let wide = !matches!(arch, Arch::X86 | Arch::Arm);
    let mut decisions = Vec::with_capacity(claims.len());
    for group in claims.chunk_by(|one, other| one.number() == other.number()) {
        let decision = decision(graph, group.iter().map(rule_of), default, wide);
        decisions.push((group[0].number(), decision));
    }
    decisions
}

/// The first rule that holds decides; one without conditions always does.
fn decision<'a>(graph: &mut Graph, rules: impl Iterator<Item = &'a Rule<'a>>, default: u32, wide: bool) -> NodeId {
    let mut conditional = Vec::new();
    let mut otherwise = default;
    for rule in rules {
        if rule.conditions.is_empty() {
            otherwise = rule.action;
            break;
        }
        conditional.push(rule);
    }
    let mut node = graph.returning(otherwise);
    for rule in conditional.iter().rev() {
        let (fails, mut holds) = (node, graph.returning(rule.action));
        for condition in rule.conditions.iter().rev() {
            holds = condition.tests(graph, wide, holds, fails);
        }
        node = holds;
    }
    node
}

/// Rules for the numbers that several calls share, from those for the calls.
///
/// Where all that the rules can come to for a call is the same, that is said for the shared number too. Where it depends on
/// arguments, which are out of sight there, the strictest of it is; unless the profile speaks of the shared number in
/// so many words (names `socketcall` or `ipc` without conditions): then it is left at that.
fn derived<'a>(shared: &[SharedClaim], claims: &[Claim], rules: &[Rule<'_>], default: u32) -> Vec<(u32, Rule<'a>)> {
    let mut derived = Vec::new();
    for group in shared.chunk_by(|one, other| (one.number, one.call) == (other.number, other.call)) {
        let first = group[0];
        // What may be decided: by the conditional rules, up to the first that always holds, or the default.
        let always = group.iter().position(|claim| !claim.conditional);
        let otherwise = always.map_or(default, |at| rules[group[at].rule as usize].action);
        let conditional = &group[..always.unwrap_or(group.len())];
        let mut strictest = otherwise;
        let mut depends = false;
        for claim in conditional {
            let action = rules[claim.rule as usize].action;
            depends |= action != otherwise;
            if claim.leniency < action::leniency(strictest) {
                strictest = action;
            }
        }
        let spoken_of = claims.iter().any(|claim| claim.number() == first.number && !claim.conditional());
        if depends && spoken_of {
            continue;
        }
        let operator = if first.mask == u32::MAX { Operator::Equal } else { Operator::Masked(first.mask.into()) };
        let condition = Condition { index: 0, operator, datum: first.call.into() };
        derived.push((first.number, Rule { names: Vec::new(), conditions: vec![condition], action: strictest }));
    }
    derived
}
