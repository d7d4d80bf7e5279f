//! Lists (`ps`, `images`): Docker's tables, `-q`, `--format json`, `--format 'table …'` and templates.

use std::io::IsTerminal;

use serde_json::{Map, Value};

use super::template::{LABEL_MAP, Template};
use super::{escape, print, table};
use crate::failure::Failure;

/// A placeholder of a list and the heading that its column gets.
pub(crate) struct Field {
    /// The name in templates: `.Names`.
    pub(crate) name: &'static str,
    /// The heading in tables: `NAMES`.
    pub(crate) heading: &'static str,
}

/// The placeholders of one kind of list.
pub(crate) struct Listing {
    /// Every placeholder.
    pub(crate) fields: &'static [Field],
    /// The table that is printed when nothing else is asked for: a template without the word `table`.
    pub(crate) table: &'static str,
    /// The placeholder that `-q` prints.
    pub(crate) quiet: &'static str,
}

impl Listing {
    /// Prints the rows.
    ///
    /// # Errors
    /// A template that doesn't parse or names a placeholder that the list doesn't have, even when there are no rows.
    pub(crate) fn show(&self, rows: &[Map<String, Value>], format: Option<&str>, quiet: bool) -> Result<(), Failure> {
        print(&self.render(rows, format, quiet, std::io::stdout().is_terminal())?)
    }

    fn render(
        &self,
        rows: &[Map<String, Value>],
        format: Option<&str>,
        quiet: bool,
        terminal: bool,
    ) -> Result<String, Failure> {
        match format.unwrap_or("table") {
            "table" if quiet => self.lines(rows, &format!("{{{{.{}}}}}", self.quiet), true),
            "table" => self.aligned(rows, self.table),
            "json" => Self::json(rows),
            format => match format.strip_prefix("table ") {
                Some(template) => self.aligned(rows, template),
                None => self.lines(rows, format, terminal),
            },
        }
    }

    fn json(rows: &[Map<String, Value>]) -> Result<String, Failure> {
        let mut out = String::new();
        for row in rows {
            let public: Map<String, Value> = row
                .iter()
                .filter(|(key, _)| *key != LABEL_MAP)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let line = serde_json::to_string(&public).map_err(|error| Failure::new(error.to_string()))?;
            out.push_str(&escape::json(line));
            out.push('\n');
        }
        Ok(out)
    }

    fn lines(&self, rows: &[Map<String, Value>], source: &str, escaped: bool) -> Result<String, Failure> {
        let template = Template::parse(source)?;
        self.check(&template)?;
        let mut out = String::new();
        for row in rows {
            out.push_str(&template.execute(&row_value(row, escaped))?);
            out.push('\n');
        }
        Ok(out)
    }

    fn aligned(&self, rows: &[Map<String, Value>], source: &str) -> Result<String, Failure> {
        let template = Template::parse(source)?;
        self.check(&template)?;
        let mut text = self.headings(source);
        text.push('\n');
        for row in rows {
            text.push_str(&template.execute(&row_value(row, true))?);
            text.push('\n');
        }
        let mut out = Vec::new();
        table::write_aligned(&mut out, &text)
            .map_err(|error| Failure::new(format!("cannot lay out the table: {error}")))?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// A template that names what doesn't exist is an error also when the list is empty.
    fn check(&self, template: &Template) -> Result<(), Failure> {
        let mut sample: Map<String, Value> =
            self.fields.iter().map(|field| (field.name.to_owned(), Value::from(""))).collect();
        sample.insert(LABEL_MAP.to_owned(), Value::Object(Map::new()));
        match template.execute(&Value::Object(sample)) {
            Err(error) if error.is_no_field() => Err(error.into()),
            // Anything else may come from the sample's empty values (`slice .ID 0 3`): the rows decide.
            _ => Ok(()),
        }
    }

    /// The heading line: the template with every action replaced by the headings of the fields that it names.
    fn headings(&self, source: &str) -> String {
        let source = source.replace("\\t", "\t").replace("\\n", "\n");
        let mut out = String::new();
        let mut rest = source.as_str();
        while let Some(open) = rest.find("{{") {
            out.push_str(&rest[..open]);
            let close = rest[open..].find("}}").map_or(rest.len(), |at| open + at + 2);
            out.push_str(&self.heading(&rest[open..close]));
            rest = &rest[close..];
        }
        out.push_str(rest);
        out
    }

    fn heading(&self, action: &str) -> String {
        if let Some((_, label)) = action.split_once(".Label \"") {
            // Docker's heading of a label's column is the label's name.
            return escape::visible(label.split('"').next().unwrap_or("")).into_owned();
        }
        let names = action.split('.').skip(1).map(|part| {
            let end = part.find(|c: char| !c.is_alphanumeric()).unwrap_or(part.len());
            &part[..end]
        });
        names
            .filter_map(|name| self.fields.iter().find(|field| field.name == name))
            .map(|field| field.heading.to_owned())
            .next()
            .unwrap_or_default()
    }
}

fn row_value(row: &Map<String, Value>, escaped: bool) -> Value {
    if !escaped {
        return Value::Object(row.clone());
    }
    let safe = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => Value::from(escape::visible(text)),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| {
                        let value = value.as_str().map_or_else(|| value.clone(), |t| Value::from(escape::visible(t)));
                        (key.clone(), value)
                    })
                    .collect(),
            ),
            other => other.clone(),
        };
        (key.clone(), value)
    };
    Value::Object(row.iter().map(safe).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LISTING: Listing = Listing {
        fields: &[
            Field { name: "ID", heading: "CONTAINER ID" },
            Field { name: "Names", heading: "NAMES" },
            Field { name: "Labels", heading: "LABELS" },
        ],
        table: "{{.ID}}\\t{{.Names}}",
        quiet: "ID",
    };

    fn rows() -> Vec<Map<String, Value>> {
        [("abc", "web"), ("def", "d\x1b[31mb")]
            .into_iter()
            .map(|(id, name)| {
                let row = json!({"ID": id, "Names": name, "Labels": "", LABEL_MAP: {"a.k": name}});
                row.as_object().unwrap().clone()
            })
            .collect()
    }

    #[test]
    fn default_table() {
        let text = LISTING.render(&rows(), None, false, true).unwrap();
        assert_eq!(text, "CONTAINER ID   NAMES\nabc            web\ndef            d\\x1b[31mb\n");
    }

    #[test]
    fn quiet_json_and_templates() {
        assert_eq!(LISTING.render(&rows(), None, true, true).unwrap(), "abc\ndef\n");
        let json = LISTING.render(&rows(), Some("json"), false, true).unwrap();
        assert_eq!(json.lines().next(), Some("{\"ID\":\"abc\",\"Labels\":\"\",\"Names\":\"web\"}"));
        let raw = LISTING.render(&rows(), Some("{{.Names}}"), false, false).unwrap();
        assert_eq!(raw, "web\nd\x1b[31mb\n");
        let shown = LISTING.render(&rows(), Some("{{.Names}}"), false, true).unwrap();
        assert_eq!(shown, "web\nd\\x1b[31mb\n");
        let table = LISTING.render(&rows(), Some("table {{.Names}}\\t{{.Label \"a.k\"}}"), false, true).unwrap();
        assert!(table.starts_with("NAMES        a.k\nweb          web\n"), "{table}");
    }

    #[test]
    fn unknown_placeholder_is_an_error_without_rows() {
        let failure = LISTING.render(&[], Some("{{.Nmaes}}"), false, true).unwrap_err();
        assert!(failure.message().contains("did you mean Names?"), "{}", failure.message());
    }
}
