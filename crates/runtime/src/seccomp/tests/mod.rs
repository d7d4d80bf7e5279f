//! What is compiled, run in an interpreter of classic BPF, against what the profile says in so many words.

mod agreement;
mod calls;
mod cost;
mod fields;
mod machine;
mod notify;
mod profiles;
mod random;
mod reference;
