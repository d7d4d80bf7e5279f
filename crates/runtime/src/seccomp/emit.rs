//! From the graph to instructions, written from the last to the first: a filter only jumps forward, so what a test leads to is
//! there when the test is written.

use casemate_kernel::seccomp::Instruction;

use super::graph::{Comparison, Graph, Node, NodeId, Question, Word};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// How far a conditional jump is let go; it reaches 255 instructions, and a few may still come in between.
const REACH: usize = 250;

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

/// What the accumulator holds: a word, and the bits of it that were left.
type Accumulator = Option<(Word, u32)>;

/// Where a node is entered, by what still has to be done there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// The word is loaded.
    Load,
    /// The word is in the accumulator, whole.
    Mask,
    /// The accumulator is ready.
    Ready,
}

fn entry(question: Question, accumulator: Accumulator) -> Entry {
    match accumulator {
        Some((word, mask)) if word == question.word && mask == question.mask => Entry::Ready,
        Some((word, u32::MAX)) if word == question.word => Entry::Mask,
        _ => Entry::Load,
    }
}

/// The program that a graph is.
pub(super) fn program(graph: &Graph, root: NodeId) -> Vec<Instruction> {
    let order = graph.bottom_up(root);
    let mut writer = Writer {
        reversed: Vec::with_capacity(order.len() * 2),
        places: vec![[None; 3]; graph.len()],
        entered: vec![[false; 3]; graph.len()],
    };
    writer.enter(graph, root, None);
    for id in &order {
        if let Node::Test { question, holds, fails } = graph.get(*id) {
            let left = Some((question.word, question.mask));
            writer.enter(graph, holds, left);
            writer.enter(graph, fails, left);
        }
    }
    for id in order {
        writer.write(graph, id);
    }
    if let Node::Return(_) = graph.get(root) {
        writer.bring_near(graph, root, Entry::Ready);
    }
    writer.reversed.reverse();
    writer.reversed
}

struct Writer {
    /// The program, the last instruction first.
    reversed: Vec<Instruction>,
    /// The nearest place of each entry of each node, counted from the end.
    places: Vec<[Option<usize>; 3]>,
    /// Which entries are used.
    entered: Vec<[bool; 3]>,
}

impl Writer {
    /// Which entry of a node is used by whoever leaves this in the accumulator.
    fn entry(graph: &Graph, id: NodeId, accumulator: Accumulator) -> Entry {
        match graph.get(id) {
            Node::Return(_) => Entry::Ready,
            Node::Test { question, .. } => entry(question, accumulator),
        }
    }

    fn enter(&mut self, graph: &Graph, id: NodeId, accumulator: Accumulator) {
        self.entered[id.index()][Self::entry(graph, id, accumulator) as usize] = true;
    }

    fn write(&mut self, graph: &Graph, id: NodeId) {
        // What is returned is put where it is asked for.
        let Node::Test { question, holds, fails } = graph.get(id) else { return };
        let left = Some((question.word, question.mask));
        let targets = [holds, fails].map(|to| (to, Self::entry(graph, to, left)));
        // Bringing one near moves the other away, by one instruction.
        for (to, entry) in targets {
            self.bring_near(graph, to, entry);
        }
        let [jump_true, jump_false] = targets.map(|(to, entry)| self.distance(to, entry));
        let code = match question.comparison {
            Comparison::Equal => JUMP_IF_EQUAL,
            Comparison::Greater => JUMP_IF_GREATER,
            Comparison::GreaterOrEqual => JUMP_IF_GREATER_OR_EQUAL,
            Comparison::AnyBit => JUMP_IF_ANY_BIT,
        };
        let near = |distance| u8::try_from(distance).unwrap_or(u8::MAX);
        let jump =
            Instruction { code, jump_true: near(jump_true), jump_false: near(jump_false), operand: question.operand };
        self.put(id, Entry::Ready, jump);
        let [load, mask, _] = self.entered[id.index()];
        if question.mask != u32::MAX && (load || mask) {
            self.put(id, Entry::Mask, plain(AND, question.mask));
        }
        if load {
            self.put(id, Entry::Load, plain(LOAD, question.word.offset()));
        }
    }

    fn put(&mut self, id: NodeId, entry: Entry, instruction: Instruction) {
        self.places[id.index()][entry as usize] = Some(self.reversed.len());
        self.reversed.push(instruction);
    }

    /// How many instructions the next one would have to skip. Nodes are written after those they lead to, each with the
    /// entries that are used.
    fn distance(&self, id: NodeId, entry: Entry) -> usize {
        self.places[id.index()][entry as usize].map_or(usize::MAX, |place| self.reversed.len() - place - 1)
    }

    /// Puts a copy of what is returned, or a jump to it, where a conditional jump reaches it.
    fn bring_near(&mut self, graph: &Graph, id: NodeId, entry: Entry) {
        let distance = self.distance(id, entry);
        if distance <= REACH {
            return;
        }
        let near = match graph.get(id) {
            Node::Return(action) => plain(RETURN, action),
            Node::Test { .. } => plain(JUMP, u32::try_from(distance).unwrap_or(u32::MAX)),
        };
        self.put(id, entry, near);
    }
}
