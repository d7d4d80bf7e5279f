//! A filter as a graph: tests of words, and the actions they lead to. What is the same is there once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A word of what the kernel shows a filter (`struct seccomp_data`), by its offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Word(u32);

impl Word {
    pub(super) const NUMBER: Self = Self(0);
    pub(super) const ARCHITECTURE: Self = Self(4);
    const ARGUMENTS: u32 = 16;
    /// How many words the arguments have.
    pub(super) const OF_ARGUMENTS: usize = 12;

    /// The lower half of an argument. seccomp_data is in the byte order of the machine.
    pub(super) fn low(argument: u8) -> Self {
        Self(Self::ARGUMENTS + 8 * u32::from(argument) + if cfg!(target_endian = "little") { 0 } else { 4 })
    }

    /// The upper half of an argument.
    pub(super) fn high(argument: u8) -> Self {
        Self(Self::low(argument).0 ^ 4)
    }

    pub(super) fn offset(self) -> u32 {
        self.0
    }

    /// Its place among the words of the arguments, if it is one.
    pub(super) fn of_arguments(self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(Self::ARGUMENTS)? / 4).ok()
    }
}

/// How a word is compared, unsigned: what classic BPF has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    /// It has one of the operand's bits.
    AnyBit,
}

/// A question about a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) word: Word,
    /// The bits that are looked at.
    pub(super) mask: u32,
    pub(super) comparison: Comparison,
    pub(super) operand: u32,
}

impl Question {
    /// The answer for a value of the word.
    pub(super) fn answer(self, value: u32) -> bool {
        let value = value & self.mask;
        match self.comparison {
            Comparison::Equal => value == self.operand,
            Comparison::Greater => value > self.operand,
            Comparison::GreaterOrEqual => value >= self.operand,
            Comparison::AnyBit => value & self.operand != 0,
        }
    }
}

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Return(u32),
    Test { question: Question, holds: NodeId, fails: NodeId },
}

/// Nodes; each is made after those it leads to, so there is no cycle.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Node, NodeId, BuildHasherDefault<Mix>>,
}

impl Graph {
    pub(super) fn returning(&mut self, action: u32) -> NodeId {
        self.node(Node::Return(action))
    }

    /// The cheapest node that asks whether the word, masked, compares so. It may be one of the two it would lead to.
    pub(super) fn test(
        &mut self,
        word: Word,
        mask: u32,
        comparison: Comparison,
        operand: u32,
        holds: NodeId,
        fails: NodeId,
    ) -> NodeId {
        use Comparison::{AnyBit, Equal, Greater, GreaterOrEqual};
        let ask = |comparison, operand| Question { word, mask, comparison, operand };
        let (question, holds, fails) = match (comparison, operand) {
            _ if holds == fails => return holds,
            (Greater, u32::MAX) => return fails,
            (GreaterOrEqual, 0) => return holds,
            (Equal, _) if operand & !mask != 0 => return fails,
            (Equal, 0) if mask == 0 => return holds,
            (Greater, 0) | (GreaterOrEqual, 1) => (ask(Equal, 0), fails, holds),
            (Greater, 0xffff_fffe) | (GreaterOrEqual, u32::MAX) => (ask(Equal, u32::MAX), holds, fails),
            // One instruction, and the word stays as it is for the next test.
            (Equal, 0) if mask != u32::MAX => {
                (Question { word, mask: u32::MAX, comparison: AnyBit, operand: mask }, fails, holds)
            }
            (Equal, bit) if mask == bit && bit.is_power_of_two() => {
                (Question { word, mask: u32::MAX, comparison: AnyBit, operand: bit }, holds, fails)
            }
            _ => (ask(comparison, operand), holds, fails),
        };
        self.node(Node::Test { question, holds, fails })
    }

    fn node(&mut self, node: Node) -> NodeId {
        let next = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let id = *self.known.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }

    pub(super) fn get(&self, id: NodeId) -> Node {
        self.nodes[id.index()]
    }

    /// Leads a node elsewhere. From then on equal nodes are not found any more.
    pub(super) fn lead(&mut self, id: NodeId, to_holds: NodeId, to_fails: NodeId) {
        if let Node::Test { holds, fails, .. } = &mut self.nodes[id.index()] {
            (*holds, *fails) = (to_holds, to_fails);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All that can be reached, each after those it leads to.
    pub(super) fn bottom_up(&self, root: NodeId) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut seen = vec![false; self.nodes.len()];
        // A node is met twice: its successors are put on top of it, and it is done when it is on top again.
        let mut open = vec![(root, false)];
        while let Some((id, done)) = open.pop() {
            if done {
                order.push(id);
            } else if !std::mem::replace(&mut seen[id.index()], true) {
                open.push((id, true));
                if let Node::Test { holds, fails, .. } = self.get(id) {
                    open.extend([(holds, false), (fails, false)]);
                }
            }
        }
        order
    }
}

/// A hash of the few words that a node is. A profile that makes nodes collide makes its own start slow, and no other's.
#[derive(Clone, Copy, Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}
