//! From decisions on numbers to a search tree.

use super::graph::{Comparison, Graph, NodeId, Word};

/// How many comparisons more than a balanced tree's a number may cost, so that what is called often costs fewer.
const SLACK: u32 = 2;
/// How many plain ranges a call that is made often counts for.
const WEIGHT_OF_HOT: u32 = 8;
/// How many single numbers may be told from the rest of their range one after the other. Two cost no more comparisons than
/// the tree would, and save every other instruction.
const MOST_EXCEPTIONS: usize = 2;

/// Neighbouring numbers on which the same is decided.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: u32,
    to: u32,
    decision: NodeId,
    weight: u32,
}

/// The whole line of numbers, from 0 up, as ranges.
#[derive(Debug, Default)]
pub(super) struct Line {
    ranges: Vec<Range>,
}

impl Line {
    /// Says what is decided from the end of what was said so far up to `to`. Less than that is passed over.
    pub(super) fn up_to(&mut self, to: u32, decision: NodeId) {
        let from = match self.ranges.last_mut() {
            Some(last) if last.to >= to => return,
            Some(last) if last.decision == decision => {
                last.to = to;
                return;
            }
            Some(last) => last.to + 1,
            None => 0,
        };
        self.ranges.push(Range { from, to, decision, weight: 1 });
    }

    /// The tree that finds the decision on a number in at most ⌈log2 ranges⌉ + 2 comparisons; in fewer where `hot` numbers are.
    pub(super) fn tree(mut self, graph: &mut Graph, hot: &[u32]) -> NodeId {
        for number in hot {
            let at = self.ranges.partition_point(|range| range.to < *number);
            if let Some(range) = self.ranges.get_mut(at) {
                range.weight += WEIGHT_OF_HOT;
            }
        }
        subtree(graph, &self.ranges, depth(self.ranges.len()) + SLACK)
    }
}

/// ⌈log2 n⌉: the depth of a balanced tree.
fn depth(ranges: usize) -> u32 {
    ranges.next_power_of_two().trailing_zeros()
}

fn subtree(graph: &mut Graph, ranges: &[Range], budget: u32) -> NodeId {
    if let [one] = ranges {
        return one.decision;
    }
    if let Some(node) = exceptions(graph, ranges) {
        return node;
    }
    let (low, high) = ranges.split_at(middle(ranges, budget));
    let pivot = high[0].from;
    let low = subtree(graph, low, budget.saturating_sub(1));
    let high = subtree(graph, high, budget.saturating_sub(1));
    graph.test(Word::NUMBER, u32::MAX, Comparison::GreaterOrEqual, pivot, high, low)
}

/// Where both sides weigh most nearly the same, and neither is deeper than the budget.
fn middle(ranges: &[Range], budget: u32) -> usize {
    let whole: u32 = ranges.iter().map(|range| range.weight).sum();
    let mut best = (u32::MAX, ranges.len() / 2);
    let mut below = 0_u32;
    for (at, range) in ranges.iter().enumerate() {
        let fits = at > 0 && depth(at).max(depth(ranges.len() - at)) < budget;
        let difference = (2 * below).abs_diff(whole);
        if fits && difference < best.0 {
            best = (difference, at);
        }
        below += range.weight;
    }
    best.1
}

/// One decision but for a few single numbers: those are told by equality.
fn exceptions(graph: &mut Graph, ranges: &[Range]) -> Option<NodeId> {
    if !(3..=2 * MOST_EXCEPTIONS + 1).contains(&ranges.len()) {
        return None;
    }
    let rule = ranges[..2].iter().map(|range| range.decision).find(|rule| {
        let mut others = ranges.iter().filter(|range| range.decision != *rule);
        others.clone().count() <= MOST_EXCEPTIONS && others.all(|range| range.from == range.to)
    })?;
    let others = ranges.iter().filter(|range| range.decision != rule);
    Some(others.rev().fold(rule, |rest, range| {
        graph.test(Word::NUMBER, u32::MAX, Comparison::Equal, range.from, range.decision, rest)
    }))
}
