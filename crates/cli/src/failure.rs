//! How a command fails: a message for people and an exit code for scripts (Docker's codes).

/// The command line itself is wrong, or (for `run`, `create`, `start`, `exec`) the engine could not do its part.
pub(crate) const ENGINE_CODE: u8 = 125;

/// A failure that ends the command.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// The exit code of the commands that end with a container's: those reserve 125 to 127 for failures of ours.
    start_code: u8,
    message: String,
    /// The message says that the command line is wrong: the way to the help is shown.
    usage: bool,
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, start_code: ENGINE_CODE, message: message.into(), usage: false }
    }

    /// The command line is wrong: exit code 125, as Docker's.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: ENGINE_CODE, start_code: ENGINE_CODE, message: message.into(), usage: true }
    }

    /// An exit code without words: they were said already.
    pub(crate) fn quiet(code: u8) -> Self {
        Self { code, start_code: code, message: String::new(), usage: false }
    }

    /// The same failure with another exit code, whatever the command.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self.start_code = code;
        self
    }

    /// The failure of a command that ends with a container's exit code: 126 and 127 for programs that can't be executed
    /// or don't exist, 125 for all else.
    #[must_use]
    pub(crate) fn of_start(mut self) -> Self {
        self.code = self.start_code;
        self
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What happened, empty when it has been said.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the command line was wrong.
    pub(crate) fn is_usage(&self) -> bool {
        self.usage
    }

    /// A failure from an error and everything that caused it, each cause said once.
    pub(crate) fn from_error(error: &dyn std::error::Error) -> Self {
        Self::new(chain(error))
    }
}

/// An error and its causes in one line; a cause that the error's own text already includes is not repeated.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl From<crate::output::template::Error> for Failure {
    fn from(error: crate::output::template::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<casemate_engine::Error> for Failure {
    fn from(error: casemate_engine::Error) -> Self {
        let start_code = error.kind().exit_code();
        Self { start_code, ..Self::from_error(&error) }
    }
}

impl From<casemate_image::Error> for Failure {
    fn from(error: casemate_image::Error) -> Self {
        Self::from_error(&error)
    }
}

impl From<casemate_image::InvalidReference> for Failure {
    fn from(error: casemate_image::InvalidReference) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<casemate_image::InvalidChange> for Failure {
    fn from(error: casemate_image::InvalidChange) -> Self {
        Self::usage(format!("--change: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);
    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn causes_are_said_once() {
        assert_eq!(chain(&Outer(Inner)), "outer: inner");
    }
}
