//! "Did you mean": the nearest of the known names.

pub(crate) use casemate_posture::suggest::nearest;

/// `; did you mean "x"?`, or nothing.
pub(crate) fn hint<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or(String::new(), |name| format!("; did you mean \"{name}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_was_meant() {
        let commands = ["run", "rm", "rmi", "ps", "images", "inspect", "logs"];
        assert_eq!(hint("imagse", commands), "; did you mean \"images\"?");
        assert_eq!(hint("insepct", commands), "; did you mean \"inspect\"?");
        assert_eq!(hint("xyzzy", commands), "");
    }
}
