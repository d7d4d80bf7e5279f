//! Proof: what a container is really held by.
//!
//! [`probe`] is the program that runs inside a container, of any engine, and reports how isolated it is.

#![forbid(unsafe_code)]

pub mod probe;
