//! A tree of nodes over a value.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::functions::{self, is_true};
use super::parser::{Command, Node, Pipeline, Term, TermKind};
use super::{Error, LABEL_MAP, Position};
use crate::suggest;

/// More than any list is long; a `range` over a number could otherwise run for ever.
const MAX_STEPS: usize = 1_000_000;
/// More than any screen takes.
const MAX_OUTPUT: usize = 64 << 20;

/// Executes a template.
pub(super) fn run(source: &str, nodes: &[Node], data: &Value) -> Result<String, Error> {
    let mut evaluator = Evaluator { source, root: data, variables: Vec::new(), out: String::new(), steps: 0 };
    evaluator.block(nodes, data)?;
    Ok(evaluator.out)
}

struct Evaluator<'a> {
    source: &'a str,
    root: &'a Value,
    variables: Vec<(String, Value)>,
    out: String,
    steps: usize,
}

/// How a block ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl Evaluator<'_> {
    fn error(&self, at: Position, message: impl Into<String>) -> Error {
        Error::at(self.source, at, message)
    }

    fn block(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Error> {
        let known = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(known);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Error> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&functions::show(&value));
                }
                if self.out.len() > MAX_OUTPUT {
                    return Err(self.error(pipeline.at, "the output grows beyond 64 MiB"));
                }
            }
            Node::If { condition, then, otherwise } => {
                let known = self.variables.len();
                let chosen = if is_true(&self.pipeline(condition, dot)?) { then } else { otherwise };
                let flow = self.block(chosen, dot);
                self.variables.truncate(known);
                return flow;
            }
            Node::With { value, then, otherwise } => {
                let known = self.variables.len();
                let inner = self.pipeline(value, dot)?;
                let flow = if is_true(&inner) { self.block(then, &inner) } else { self.block(otherwise, dot) };
                self.variables.truncate(known);
                return flow;
            }
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(&mut self, over: &Pipeline, body: &[Node], otherwise: &[Node], dot: &Value) -> Result<Flow, Error> {
        let known = self.variables.len();
        let value = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Array(list) => {
                list.into_iter().enumerate().map(|(index, item)| (Value::from(index), item)).collect()
            }
            Value::Object(map) => map
                .into_iter()
                .filter(|(key, _)| key != LABEL_MAP)
                .map(|(key, item)| (Value::from(key), item))
                .collect(),
            Value::Null => Vec::new(),
            Value::Number(number) if number.as_u64().is_some_and(|n| n <= MAX_STEPS as u64) => {
                (0..number.as_u64().unwrap_or(0)).map(|n| (Value::from(n), Value::from(n))).collect()
            }
            other => {
                return Err(self.error(
                    over.at,
                    format!("range goes over lists and objects, and this is {}", functions::kind(&other)),
                ));
            }
        };
        if items.is_empty() {
            return self.block(otherwise, dot);
        }
        for (key, item) in items {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(self.error(over.at, "more than a million iterations"));
            }
            match over.variables.as_slice() {
                [one] => self.set(one, item.clone(), over.declares),
                [first, second] => {
                    self.set(first, key, over.declares);
                    self.set(second, item.clone(), over.declares);
                }
                _ => {}
            }
            let flow = self.block(body, &item)?;
            if over.declares {
                self.variables.truncate(known);
            }
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(known);
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Value, declares: bool) {
        if !declares && let Some(found) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            found.1 = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let value = self.commands(pipeline, dot)?;
        if let Some(name) = pipeline.variables.first() {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Error> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value, Error> {
        let Some((first, rest)) = command.terms.split_first() else { return Ok(Value::Null) };
        if let TermKind::Function(name) = &first.kind {
            if matches!(name.as_str(), "and" | "or") {
                return self.decide(name == "and", rest, dot, piped, first.at);
            }
            let mut arguments = rest.iter().map(|term| self.term(term, dot)).collect::<Result<Vec<_>, _>>()?;
            arguments.extend(piped);
            let result = functions::call(name, &arguments).map_err(|why| self.error(first.at, why))?;
            return self.fields(result, &first.fields);
        }
        if let Some(((method, _), before)) = first.fields.split_last()
            && method == "Label"
            && (!rest.is_empty() || piped.is_some())
        {
            // Only rows have labels, and a row is reached from the dot or from $; a copy would not have them.
            let holder = match &first.kind {
                TermKind::Dot => self.look(dot, before)?.clone(),
                TermKind::Variable(name) if name.is_empty() => self.look(self.root, before)?.clone(),
                _ => self.term_to(first, before, dot)?,
            };
            let key = match rest.first() {
                Some(term) => Some(self.term(term, dot)?),
                None => piped,
            };
            return self.label(&holder, key.as_ref(), first.at);
        }
        if let Some(argument) = rest.first() {
            return Err(self.error(argument.at, "the value before this is no function, and takes no arguments"));
        }
        if piped.is_some() {
            return Err(self.error(first.at, "a function follows |, for the value to go into"));
        }
        self.term(first, dot)
    }

    /// `and` and `or`: the arguments after the one that decides are not looked at.
    fn decide(
        &mut self,
        and: bool,
        rest: &[Term],
        dot: &Value,
        piped: Option<Value>,
        at: Position,
    ) -> Result<Value, Error> {
        let mut last = None;
        for term in rest {
            let value = self.term(term, dot)?;
            if is_true(&value) != and {
                return Ok(value);
            }
            last = Some(value);
        }
        let name = if and { "and" } else { "or" };
        piped.or(last).ok_or_else(|| self.error(at, format!("{name} takes at least one value")))
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, Error> {
        self.term_to(term, &term.fields, dot)
    }

    fn term_to(&mut self, term: &Term, fields: &[(String, Position)], dot: &Value) -> Result<Value, Error> {
        let value = match &term.kind {
            // Looking into the dot without copying it first: it may be a whole document.
            TermKind::Dot => return self.fields_of(dot, fields),
            TermKind::Variable(name) if name.is_empty() => return self.fields_of(self.root, fields),
            TermKind::Variable(name) => self
                .variables
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map_or(Value::Null, |(_, value)| value.clone()),
            TermKind::Literal(value) => value.clone(),
            TermKind::Function(name) => functions::call(name, &[]).map_err(|why| self.error(term.at, why))?,
            TermKind::Group(pipeline) => self.pipeline(pipeline, dot)?,
        };
        self.fields(value, fields)
    }

    fn fields(&self, value: Value, fields: &[(String, Position)]) -> Result<Value, Error> {
        if fields.is_empty() { Ok(value) } else { self.fields_of(&value, fields) }
    }

    fn fields_of(&self, value: &Value, fields: &[(String, Position)]) -> Result<Value, Error> {
        self.look(value, fields).map(public)
    }

    fn look<'v>(&self, mut value: &'v Value, fields: &[(String, Position)]) -> Result<&'v Value, Error> {
        for (name, at) in fields {
            value = match value {
                Value::Object(map) if name == "Label" && map.contains_key(LABEL_MAP) => {
                    return Err(self.error(*at, "Label takes the label's name in quotes: .Label \"name\""));
                }
                Value::Object(map) => map.get(name).ok_or_else(|| self.no_field(map, name, *at))?,
                Value::Null => {
                    return Err(self
                        .error(*at, format!("there is no field \"{name}\" here: what is before it is empty (null)")));
                }
                other => {
                    return Err(self.error(*at, format!("there is no field \"{name}\" in {}", functions::kind(other))));
                }
            };
        }
        Ok(value)
    }

    fn label(&self, holder: &Value, key: Option<&Value>, at: Position) -> Result<Value, Error> {
        let Some(Value::Object(labels)) = holder.get(LABEL_MAP) else {
            return Err(self.error(
                at,
                "there is no method Label here; labels are in .Config.Labels: {{index .Config.Labels \"name\"}}",
            ));
        };
        match key {
            Some(Value::String(key)) => Ok(labels.get(key).cloned().unwrap_or_else(|| Value::from(""))),
            _ => Err(self.error(at, "Label takes the label's name in quotes: .Label \"name\"")),
        }
    }

    fn no_field(&self, map: &Map<String, Value>, name: &str, at: Position) -> Error {
        let mut message = format!("there is no field \"{name}\" here");
        let here = || map.keys().filter(|key| *key != LABEL_MAP).map(String::as_str);
        let nearest = here().find(|key| key.eq_ignore_ascii_case(name)).or_else(|| suggest::nearest(name, here()));
        let elsewhere = find_path(self.root, name, "", 0);
        match (nearest, elsewhere) {
            (Some(near), _) => {
                let _ = write!(message, "; did you mean {near}?");
            }
            (None, Some(path)) => {
                let _ = write!(message, "; did you mean {path}?");
            }
            (None, None) => {
                let known: Vec<&str> = here().take(60).collect();
                let _ = write!(message, "; fields here: {}", super::super::escape::visible(&known.join(" ")));
            }
        }
        match self.error(at, message) {
            Error::At { message, line, caret, .. } => Error::At { message, line, caret, no_field: true },
            other @ Error::TooLong => other,
        }
    }
}

/// A copy without what templates are not shown.
fn public(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.contains_key(LABEL_MAP) => Value::Object(
            map.iter().filter(|(key, _)| *key != LABEL_MAP).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        other => other.clone(),
    }
}

/// Where in the document, not too deep, a field of this name is.
fn find_path(value: &Value, name: &str, prefix: &str, depth: usize) -> Option<String> {
    let Value::Object(map) = value else { return None };
    if let Some(key) = map.keys().find(|key| key.eq_ignore_ascii_case(name)) {
        return Some(format!("{prefix}.{key}"));
    }
    // Free keys (labels, ports) are below the third level: they are data, not fields.
    if depth >= 2 {
        return None;
    }
    map.iter().find_map(|(key, inner)| find_path(inner, name, &format!("{prefix}.{key}"), depth + 1))
}
