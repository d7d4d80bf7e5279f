//! Tests whose answer is known from those before them are left out.

use super::graph::{Comparison, Graph, Node, NodeId, Question, Word};

/// How many answers are remembered beside what is known of a word's value: enough for any rule that a person writes.
const MOST_ANSWERS: usize = 32;

/// What is known of the arguments at a place of the graph, whichever way led there.
#[derive(Clone, Debug)]
struct Known {
    /// The smallest and the largest value that each word can have.
    between: [(u32, u32); Word::OF_ARGUMENTS],
    /// Answers that this does not say.
    answers: Vec<(Question, bool)>,
}

impl Known {
    fn nothing() -> Self {
        Self { between: [(0, u32::MAX); Word::OF_ARGUMENTS], answers: Vec::new() }
    }

    fn answer(&self, question: Question) -> Option<bool> {
        let (least, most) = self.between[question.word.of_arguments()?];
        if least == most {
            return Some(question.answer(least));
        }
        if let Some((_, answer)) = self.answers.iter().find(|(known, _)| *known == question) {
            return Some(*answer);
        }
        if question.mask != u32::MAX {
            return None;
        }
        let operand = question.operand;
        match question.comparison {
            Comparison::Equal if operand < least || operand > most => Some(false),
            Comparison::Greater if least > operand => Some(true),
            Comparison::Greater if most <= operand => Some(false),
            Comparison::GreaterOrEqual if least >= operand => Some(true),
            Comparison::GreaterOrEqual if most < operand => Some(false),
            _ => None,
        }
    }

    /// Learns an answer that was open until now.
    fn learn(&mut self, question: Question, answer: bool) {
        let Some(place) = question.word.of_arguments() else { return };
        let (least, most) = &mut self.between[place];
        let operand = question.operand;
        let whole = question.mask == u32::MAX;
        match (question.comparison, answer) {
            (Comparison::Equal, true) if whole => (*least, *most) = (operand, operand),
            // Neither wraps: the answer was open, so there is a value on either side.
            (Comparison::Greater, true) => *least = operand.saturating_add(1),
            (Comparison::Greater, false) => *most = operand,
            (Comparison::GreaterOrEqual, true) => *least = operand,
            (Comparison::GreaterOrEqual, false) => *most = operand.saturating_sub(1),
            (Comparison::Equal, false) if whole && operand == *least => *least = operand.saturating_add(1),
            (Comparison::Equal, false) if whole && operand == *most => *most = operand.saturating_sub(1),
            _ if self.answers.len() < MOST_ANSWERS => self.answers.push((question, answer)),
            _ => {}
        }
    }

    /// Keeps what both know.
    fn meet(&mut self, other: &Self) {
        for (own, others) in self.between.iter_mut().zip(other.between) {
            *own = (own.0.min(others.0), own.1.max(others.1));
        }
        self.answers.retain(|answer| other.answers.contains(answer));
    }
}

/// A node of the graph, on the way down.
#[derive(Clone, Debug)]
enum Place {
    /// Nothing led to it until now.
    Unreached,
    NothingKnown,
    Known(Box<Known>),
}

/// Leads every node past the tests below it whose answer is known there, or does not matter. Returns the root of what is left.
pub(super) fn skip_known(graph: &mut Graph, root: NodeId) -> NodeId {
    let order = graph.bottom_up(root);
    let mut at: Vec<Place> = vec![Place::Unreached; graph.len()];
    at[root.index()] = Place::NothingKnown;
    for id in order.into_iter().rev() {
        let Node::Test { question, holds, fails } = graph.get(id) else { continue };
        let known = match std::mem::replace(&mut at[id.index()], Place::Unreached) {
            // Nothing leads here any more.
            Place::Unreached => continue,
            // Architectures and numbers are asked once on each way as it is.
            Place::NothingKnown if question.word.of_arguments().is_none() => {
                (at[holds.index()], at[fails.index()]) = (Place::NothingKnown, Place::NothingKnown);
                continue;
            }
            Place::NothingKnown => Box::new(Known::nothing()),
            Place::Known(known) => known,
        };
        let mut lead = |mut to: NodeId, answer: bool| {
            let mut known = known.clone();
            known.learn(question, answer);
            while let Node::Test { question, holds, fails } = graph.get(to) {
                match known.answer(question) {
                    Some(true) => to = holds,
                    Some(false) => to = fails,
                    None => break,
                }
            }
            // All that lead to a node come before it in this order, those that are led past others too.
            match &mut at[to.index()] {
                Place::Known(before) => before.meet(&known),
                Place::NothingKnown => {}
                none @ Place::Unreached => *none = Place::Known(known),
            }
            to
        };
        let (holds, fails) = (lead(holds, true), lead(fails, false));
        graph.lead(id, holds, fails);
    }
    for id in graph.bottom_up(root) {
        if let Node::Test { holds, fails, .. } = graph.get(id) {
            graph.lead(id, past_indifferent(graph, holds), past_indifferent(graph, fails));
        }
    }
    past_indifferent(graph, root)
}

/// Where a test leads whose answer makes no difference.
fn past_indifferent(graph: &Graph, id: NodeId) -> NodeId {
    match graph.get(id) {
        Node::Test { holds, fails, .. } if holds == fails => holds,
        _ => id,
    }
}
