//! Aligned columns, laid out as Docker's `tabwriter` lays them out.

use std::io::{self, Write};

use tabwriter::TabWriter;

/// Docker's columns are at least ten wide, three blanks between them included.
const MIN_WIDTH: usize = 7;
const PADDING: usize = 3;

/// Writes `text` (lines of tab-separated cells) to `out` with its columns aligned.
///
/// Cells must hold no tab or line break of their own: see [`super::escape::visible`].
pub(crate) fn write_aligned(out: impl Write, text: &str) -> io::Result<()> {
    let mut writer = TabWriter::new(out).minwidth(MIN_WIDTH).padding(PADDING);
    writer.write_all(text.as_bytes())?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut out = Vec::new();
        write_aligned(&mut out, "IMAGE\tTAG\nlong-image-name\tx\n").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "IMAGE             TAG\nlong-image-name   x\n");
    }

    #[test]
    fn short_columns_have_dockers_width() {
        let mut out = Vec::new();
        write_aligned(&mut out, "A\tB\n").unwrap();
        // Ten or the content plus three: what Docker's tables look like.
        assert!(String::from_utf8(out).unwrap().starts_with("A         "), "column narrower than ten");
    }
}
