//! The attack corpus: published escapes and abuses, made for real against the built binary.
//!
//! Each module has a table of what it attempts; `docs/attacks.md` is made from the tables, and a test holds it against them.
#![forbid(unsafe_code)]

mod archives;
mod calls;
mod documents;
mod exhaust;
mod hooks;
mod host;
mod identity;
mod joining;
mod missing;
mod mounts;
mod procfs;
mod program;
mod race;
mod table;
mod terminal;
mod ways;
