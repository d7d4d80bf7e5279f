//! Contenders that do the same thing in turns.

use std::time::Duration;

use crate::error::Result;
use crate::statistics::Summary;

/// One contender: a name, how often it takes part, and what it does.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) every: usize,
    pub(crate) act: Box<dyn FnMut(usize) -> Result<Duration> + 'a>,
}

impl std::fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (every {})", self.name, self.every)
    }
}

/// What came out for one contender.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    /// The measurements, or the words of the failure that ended its part.
    pub(crate) result: std::result::Result<Summary, String>,
}

/// Lets the contenders take turns for `rounds` rounds; who starts a round changes from one to the next. Two rounds go before that
/// count for nobody. A contender that fails is out.
pub(crate) fn hold(mut contenders: Vec<Contender<'_>>, rounds: usize) -> Vec<Outcome> {
    let count = contenders.len();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); count];
    let mut failures: Vec<Option<String>> = vec![None; count];
    for turn in 0..rounds + 2 {
        for place in 0..count {
            let index = (turn + place) % count;
            let contender = &mut contenders[index];
            // The rounds before count everybody in, so that nothing is cold.
            let takes_part = turn < 2 || turn % contender.every == 0;
            if failures[index].is_some() || !takes_part {
                continue;
            }
            match (contender.act)(turn) {
                Ok(time) if turn >= 2 => times[index].push(time),
                Ok(_) => {}
                Err(error) => failures[index] = Some(error.to_string()),
            }
        }
    }
    contenders
        .iter()
        .zip(times)
        .zip(failures)
        .map(|((contender, times), failure)| Outcome {
            name: contender.name,
            result: match failure {
                Some(words) => Err(words),
                None => Summary::of(&times).ok_or_else(|| "too few rounds".to_owned()),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::cell::RefCell;

    #[test]
    fn turns_alternate_and_a_failure_is_out() {
        let order = RefCell::new(Vec::new());
        let contender = |name: &'static str, every: usize| Contender {
            name,
            every,
            act: Box::new({
                let order = &order;
                move |turn| {
                    order.borrow_mut().push(name);
                    if name == "c" && turn == 3 { Err(Error::new("no")) } else { Ok(Duration::from_millis(1)) }
                }
            }),
        };
        let outcomes = hold(vec![contender("a", 1), contender("b", 4), contender("c", 1)], 4);
        assert_eq!(order.borrow()[..6], ["a", "b", "c", "b", "c", "a"]);
        assert_eq!(outcomes[0].result.as_ref().unwrap().samples, 4);
        assert_eq!(outcomes[1].result.as_ref().unwrap().samples, 1);
        assert_eq!(outcomes[2].result, Err("no".to_owned()));
    }
}
