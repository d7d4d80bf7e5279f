//! Conditions on arguments, and their comparison by words of 32 bits, which is what a filter can load.

use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator};

use super::graph::{Comparison, Graph, NodeId, Word};
use crate::error::Error;

/// How an argument is compared; all comparisons are of 64 bits, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Equal to the datum, both after this mask.
    Masked(u64),
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, 0 to 5.
    pub(super) index: u8,
    pub(super) operator: Operator,
    /// What it is compared with.
    pub(super) datum: u64,
}

impl Condition {
    /// # Errors
    /// An argument that no system call has; `field` is where the condition is written.
    pub(super) fn new(arg: &LinuxSeccompArg, field: impl Fn() -> String) -> Result<Self, Error> {
        let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6).ok_or_else(|| {
            Error::field(&format!("{}.index", field()), format!("{}: a system call has arguments 0 to 5", arg.index()))
        })?;
        let (operator, datum) = match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => (Operator::NotEqual, arg.value()),
            LinuxSeccompOperator::ScmpCmpLt => (Operator::Less, arg.value()),
            LinuxSeccompOperator::ScmpCmpLe => (Operator::LessOrEqual, arg.value()),
            LinuxSeccompOperator::ScmpCmpEq => (Operator::Equal, arg.value()),
            LinuxSeccompOperator::ScmpCmpGe => (Operator::GreaterOrEqual, arg.value()),
            LinuxSeccompOperator::ScmpCmpGt => (Operator::Greater, arg.value()),
            LinuxSeccompOperator::ScmpCmpMaskedEq => (Operator::Masked(arg.value()), arg.value_two().unwrap_or(0)),
        };
        Ok(Self { index, operator, datum })
    }

    /// The tests that lead to `holds` or `fails`. Arguments have 32 bits unless they are `wide`.
    pub(super) fn tests(self, graph: &mut Graph, wide: bool, holds: NodeId, fails: NodeId) -> NodeId {
        let of = Self { datum: if wide { self.datum } else { narrowed(self.datum) }, ..self };
        match of.operator {
            Operator::Equal => of.equal(graph, u64::MAX, wide, holds, fails),
            Operator::NotEqual => of.equal(graph, u64::MAX, wide, fails, holds),
            // Bits of the datum outside of the mask count as little as those of the argument, as in libseccomp.
            Operator::Masked(mask) => Self { datum: of.datum & mask, ..of }.equal(graph, mask, wide, holds, fails),
            Operator::Greater => of.above(graph, Comparison::Greater, wide, holds, fails),
            Operator::GreaterOrEqual => of.above(graph, Comparison::GreaterOrEqual, wide, holds, fails),
            Operator::Less => of.above(graph, Comparison::GreaterOrEqual, wide, fails, holds),
            Operator::LessOrEqual => of.above(graph, Comparison::Greater, wide, fails, holds),
        }
    }

    fn equal(self, graph: &mut Graph, mask: u64, wide: bool, holds: NodeId, fails: NodeId) -> NodeId {
        let (high, low) = words(self.datum);
        let (high_mask, low_mask) = words(mask);
        let lower = graph.test(Word::low(self.index), low_mask, Comparison::Equal, low, holds, fails);
        if wide {
            graph.test(Word::high(self.index), high_mask, Comparison::Equal, high, lower, fails)
        } else if high == 0 {
            lower
        } else {
            fails
        }
    }

    fn above(self, graph: &mut Graph, how: Comparison, wide: bool, holds: NodeId, fails: NodeId) -> NodeId {
        let (high, low) = words(self.datum);
        let lower = graph.test(Word::low(self.index), u32::MAX, how, low, holds, fails);
        if wide {
            let word = Word::high(self.index);
            let same = graph.test(word, u32::MAX, Comparison::Equal, high, lower, fails);
            graph.test(word, u32::MAX, Comparison::Greater, high, holds, same)
        } else if high == 0 {
            lower
        } else {
            fails
        }
    }
}

/// On an architecture of 32 bits a negative number is written with 64 all the same, by whoever thinks of an `int`; what else
/// is above 32 bits is no value that an argument there has.
fn narrowed(datum: u64) -> u64 {
    const SIGN: u64 = 0xffff_ffff_8000_0000;
    if datum & SIGN == SIGN { datum & 0xffff_ffff } else { datum }
}

fn words(datum: u64) -> (u32, u32) {
    let word = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(u32::MAX);
    (word(datum >> 32), word(datum))
}
