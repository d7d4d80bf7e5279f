//! Documents (`inspect`, `info`, `version`): JSON as Docker lays it out, or a template over it.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::template::Template;
use super::{escape, print};
use crate::failure::Failure;

/// Prints a list of objects: an indented array without a format, a line each with one.
pub(crate) fn show_all(documents: &[Value], format: Option<&str>) -> Result<(), Failure> {
    match format {
        None => print(&pretty(&Value::from(documents.to_vec()))?),
        Some("json") => print(&compact(&Value::from(documents.to_vec()))?),
        Some(template) => {
            let template = Template::parse(template)?;
            documents.iter().try_for_each(|document| {
                let text = template.execute(document)?;
                print(&format!("{}\n", escape::lines(&text)))
            })
        }
    }
}

/// Prints one object through a format: `json` or a template.
pub(crate) fn show(document: &Value, format: &str) -> Result<(), Failure> {
    match format {
        "json" => print(&compact(document)?),
        template => {
            let text = Template::parse(template)?.execute(document)?;
            print(&format!("{}\n", escape::lines(&text)))
        }
    }
}

fn compact(value: &Value) -> Result<String, Failure> {
    let mut text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    text.push('\n');
    Ok(escape::json(text))
}

/// Four spaces, as Docker.
fn pretty(value: &Value) -> Result<String, Failure> {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    "));
    value.serialize(&mut serializer).map_err(|error| Failure::new(error.to_string()))?;
    out.push(b'\n');
    Ok(escape::json(String::from_utf8_lossy(&out).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn layout_is_dockers() {
        let text = pretty(&json!([{"Id": "x", "Cmd": []}])).unwrap();
        assert_eq!(text, "[\n    {\n        \"Cmd\": [],\n        \"Id\": \"x\"\n    }\n]\n");
    }
}
