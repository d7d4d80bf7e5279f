//! From pieces to a tree of nodes.

use serde_json::Value;

use super::functions;
use super::lexer::{Kind, Piece, Token, pieces};
use super::{Error, Position};
use crate::suggest;

/// Deepest nesting of blocks and parentheses: the parser and the evaluator recurse over them.
const MAX_DEPTH: usize = 64;

const KEYWORDS: [&str; 7] = ["if", "else", "end", "range", "with", "break", "continue"];

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`: printed, unless it assigns.
    Action(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    /// The variables that take the value: one, or two in `range`.
    pub(super) variables: Vec<String>,
    /// `:=` makes them, `=` changes them.
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
    pub(super) at: Position,
}

/// A value, or a function or method with its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) terms: Vec<Term>,
}

#[derive(Debug)]
pub(super) struct Term {
    pub(super) kind: TermKind,
    /// The fields that follow, each with its place.
    pub(super) fields: Vec<(String, Position)>,
    pub(super) at: Position,
}

#[derive(Debug)]
pub(super) enum TermKind {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Group(Pipeline),
}

/// Parses a template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>, Error> {
    let mut parser =
        Parser { source, pieces: pieces(source)?.into_iter(), scopes: vec![vec![String::new()]], depth: 0, loops: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        Ending::Source => Ok(nodes),
        Ending::End(at) => Err(Error::at(source, at, "there is nothing here that this could end")),
        Ending::Else(at, _) => Err(Error::at(source, at, "this else belongs to no if, with or range")),
    }
}

struct Parser<'a> {
    source: &'a str,
    pieces: std::vec::IntoIter<Piece>,
    /// The variables that are known, by block.
    scopes: Vec<Vec<String>>,
    depth: usize,
    loops: usize,
}

/// What ended a block.
enum Ending {
    Source,
    End(Position),
    /// With what follows the word.
    Else(Position, Vec<Token>),
}

impl Parser<'_> {
    fn error(&self, at: Position, message: impl Into<String>) -> Error {
        Error::at(self.source, at, message)
    }

    fn block(&mut self) -> Result<(Vec<Node>, Ending), Error> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action { mut tokens, at } => {
                    let keyword = match tokens.first() {
                        Some(Token { kind: Kind::Word(word), .. }) if KEYWORDS.contains(&word.as_str()) => {
                            Some(word.clone())
                        }
                        _ => None,
                    };
                    let Some(keyword) = keyword else {
                        nodes.push(Node::Action(self.pipeline_of(&tokens, at)?));
                        continue;
                    };
                    let first = tokens.remove(0).at;
                    match keyword.as_str() {
                        "end" => return Ok((nodes, Ending::End(first))),
                        "else" => return Ok((nodes, Ending::Else(first, tokens))),
                        "break" | "continue" if self.loops == 0 => {
                            return Err(self.error(first, format!("{keyword} stands in a range only")));
                        }
                        "break" => nodes.push(Node::Break),
                        "continue" => nodes.push(Node::Continue),
                        _ => nodes.push(self.control(&keyword, &tokens, first)?),
                    }
                }
            }
        }
        Ok((nodes, Ending::Source))
    }

    /// `if`, `with` and `range` with all that belongs to them.
    fn control(&mut self, keyword: &str, tokens: &[Token], at: Position) -> Result<Node, Error> {
        self.enter(at)?;
        self.scopes.push(Vec::new());
        let pipeline = self.pipeline_of(tokens, at)?;
        if pipeline.variables.len() > 1 && keyword != "range" {
            return Err(self.error(at, format!("{keyword} takes one variable")));
        }
        let is_loop = usize::from(keyword == "range");
        self.loops += is_loop;
        self.scopes.push(Vec::new());
        let (then, ending) = self.block()?;
        self.loops -= is_loop;
        self.scopes.pop();
        let otherwise = match ending {
            Ending::End(_) => Vec::new(),
            Ending::Source => return Err(self.error(at, format!("this {keyword} has no end"))),
            Ending::Else(_, rest) => self.otherwise(keyword, at, rest)?,
        };
        self.scopes.pop();
        self.depth -= 1;
        Ok(match keyword {
            "if" => Node::If { condition: pipeline, then, otherwise },
            "with" => Node::With { value: pipeline, then, otherwise },
            _ => Node::Range { over: pipeline, body: then, otherwise },
        })
    }

    fn otherwise(&mut self, keyword: &str, at: Position, mut rest: Vec<Token>) -> Result<Vec<Node>, Error> {
        if rest.is_empty() {
            self.scopes.push(Vec::new());
            let (nodes, ending) = self.block()?;
            self.scopes.pop();
            return match ending {
                Ending::End(_) => Ok(nodes),
                Ending::Source => Err(self.error(at, format!("this {keyword} has no end"))),
                Ending::Else(again, _) => Err(self.error(again, "there was an else already")),
            };
        }
        // `else if` and `else with` share the end of what they belong to.
        let next = rest.remove(0);
        match &next.kind {
            Kind::Word(word) if matches!(word.as_str(), "if" | "with") && keyword != "range" => {
                Ok(vec![self.control(word, &rest, next.at)?])
            }
            _ => Err(self.error(next.at, format!("nothing of this kind follows the else of {keyword}"))),
        }
    }

    fn enter(&mut self, at: Position) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(at, format!("this is nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn pipeline_of(&mut self, tokens: &[Token], at: Position) -> Result<Pipeline, Error> {
        let mut cursor = Cursor { tokens, next: 0, end: tokens.last().map_or(at, |token| token.at) };
        let pipeline = self.pipeline(&mut cursor, at)?;
        match cursor.peek() {
            None => Ok(pipeline),
            Some(token) => Err(self.error(token.at, "nothing is open here that this could close")),
        }
    }

    fn pipeline(&mut self, cursor: &mut Cursor<'_>, at: Position) -> Result<Pipeline, Error> {
        let (variables, declares) = self.assignment(cursor)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(cursor)?;
            if command.terms.is_empty() {
                let place = cursor.peek().map_or(cursor.end, |token| token.at);
                return Err(self.error(place, "a value or a function is missing here"));
            }
            if let (false, Some(term)) = (commands.is_empty(), command.terms.first())
                && !matches!(term.kind, TermKind::Function(_))
                && term.fields.is_empty()
            {
                return Err(self.error(term.at, "a function follows |, for the value to go into"));
            }
            commands.push(command);
            if !cursor.take(&Kind::Pipe) {
                break;
            }
        }
        if declares && let Some(scope) = self.scopes.last_mut() {
            scope.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, declares, commands, at })
    }

    /// `$x :=`, `$i, $x :=` or `$x =` at the beginning of a pipeline.
    fn assignment(&mut self, cursor: &mut Cursor<'_>) -> Result<(Vec<String>, bool), Error> {
        let kind = |at: usize| cursor.tokens.get(cursor.next + at).map(|token| &token.kind);
        let (names, operator) = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(a)), Some(operator @ (Kind::Declare | Kind::Assign)), _, _) => {
                (vec![a.clone()], operator)
            }
            (
                Some(Kind::Variable(a)),
                Some(Kind::Comma),
                Some(Kind::Variable(b)),
                Some(operator @ (Kind::Declare | Kind::Assign)),
            ) => (vec![a.clone(), b.clone()], operator),
            _ => return Ok((Vec::new(), false)),
        };
        let declares = *operator == Kind::Declare;
        if !declares && let Some(unknown) = names.iter().find(|name| !self.knows(name)) {
            return Err(
                self.error(cursor.tokens[cursor.next].at, format!("there is no variable ${unknown}; := makes one"))
            );
        }
        cursor.next += names.len() * 2;
        Ok((names, declares))
    }

    fn knows(&self, name: &str) -> bool {
        self.scopes.iter().flatten().any(|known| known == name)
    }

    fn command(&mut self, cursor: &mut Cursor<'_>) -> Result<Command, Error> {
        let mut terms = Vec::new();
        while let Some(token) = cursor.peek() {
            if matches!(token.kind, Kind::Pipe | Kind::Close) {
                break;
            }
            let term = self.term(cursor)?;
            if !terms.is_empty() && matches!(&term.kind, TermKind::Function(name) if !functions::takes_nothing(name)) {
                return Err(self.error(term.at, "a function with arguments stands in parentheses here"));
            }
            terms.push(term);
        }
        Ok(Command { terms })
    }

    fn term(&mut self, cursor: &mut Cursor<'_>) -> Result<Term, Error> {
        let Some(token) = cursor.advance() else {
            return Err(self.error(cursor.end, "a value is missing here"));
        };
        let at = token.at;
        let mut fields = Vec::new();
        let kind = match &token.kind {
            Kind::Dot => TermKind::Dot,
            Kind::Field(name) => {
                fields.push((name.clone(), at + 1));
                TermKind::Dot
            }
            Kind::Variable(name) if self.knows(name) => TermKind::Variable(name.clone()),
            Kind::Variable(name) => {
                let known: Vec<&str> = self.scopes.iter().flatten().map(String::as_str).collect();
                let hint =
                    suggest::nearest(name, known).map_or(String::new(), |near| format!("; did you mean ${near}?"));
                return Err(self.error(at, format!("there is no variable ${name}{hint}")));
            }
            Kind::Text(text) => TermKind::Literal(Value::from(text.as_str())),
            Kind::Integer(number) => TermKind::Literal(Value::from(*number)),
            Kind::Float(number) => TermKind::Literal(Value::from(*number)),
            Kind::Word(word) => self.word(word, at)?,
            Kind::Open => {
                self.enter(at)?;
                let inner = self.pipeline(cursor, at)?;
                self.depth -= 1;
                if !cursor.take(&Kind::Close) {
                    return Err(self.error(at, "this parenthesis is not closed"));
                }
                TermKind::Group(inner)
            }
            Kind::Pipe | Kind::Close | Kind::Comma | Kind::Declare | Kind::Assign => {
                return Err(self.error(at, "a value stands here, and this is none"));
            }
        };
        while let Some(Token { kind: Kind::Field(name), at, joined: true }) = cursor.peek() {
            fields.push((name.clone(), at + 1));
            cursor.next += 1;
        }
        if let Some(Token { kind: Kind::Dot, at, joined: true }) = cursor.peek() {
            return Err(self.error(*at, "a name follows the point"));
        }
        Ok(Term { kind, fields, at })
    }

    fn word(&self, word: &str, at: Position) -> Result<TermKind, Error> {
        Ok(match word {
            "true" => TermKind::Literal(Value::Bool(true)),
            "false" => TermKind::Literal(Value::Bool(false)),
            "nil" => TermKind::Literal(Value::Null),
            "define" | "template" | "block" => {
                return Err(self.error(at, format!("{word}: a format has no templates inside it")));
            }
            name if functions::exists(name) => TermKind::Function(name.to_owned()),
            other => {
                let hint = suggest::hint(other, functions::names());
                return Err(self.error(at, format!("there is no function \"{other}\"{hint}")));
            }
        })
    }
}

/// Where the parser is in the tokens of an action.
struct Cursor<'a> {
    tokens: &'a [Token],
    next: usize,
    end: Position,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next)
    }

    fn advance(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    fn take(&mut self, kind: &Kind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == *kind);
        self.next += usize::from(found);
        found
    }
}
