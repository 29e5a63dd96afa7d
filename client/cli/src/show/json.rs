//! The answers as JSON: the very keys of the bus, so that there is no second vocabulary.
//! Must not rename, drop or add a key.

use iscsi_initiator_dbus::objects::Properties;
use iscsi_initiator_model::text::is_unsafe;
use serde_json::{Map, Number, Value};
use zbus::Variant;

/// Entries of an answer, an object each.
pub(crate) fn rows<T: Clone + Into<Variant<'static>>>(entries: &[T]) -> Vec<Value> {
    entries.iter().cloned().map(|entry| value(&entry.into())).collect()
}

/// The properties of an object, by their names.
pub(crate) fn properties(properties: &Properties) -> Value {
    let members = properties.iter().map(|(name, property)| ((*name).to_owned(), value(property)));
    Value::Object(members.collect())
}

fn value(variant: &Variant<'_>) -> Value {
    match variant {
        Variant::Bool(value) => Value::Bool(*value),
        Variant::U8(number) => (*number).into(),
        Variant::I16(number) => (*number).into(),
        Variant::U16(number) => (*number).into(),
        Variant::I32(number) => (*number).into(),
        Variant::U32(number) => (*number).into(),
        Variant::I64(number) => (*number).into(),
        Variant::U64(number) => (*number).into(),
        Variant::F64(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        Variant::Str(text) => text.as_str().into(),
        Variant::ObjectPath(path) => path.as_str().into(),
        Variant::Signature(signature) => signature.to_string().into(),
        Variant::Variant(inner) => value(inner),
        Variant::Array(array) => array.inner().iter().map(value).collect(),
        Variant::Structure(structure) => structure.fields().iter().map(value).collect(),
        Variant::Dict(dict) => {
            Value::Object(dict.iter().map(|(key, item)| (key_text(key), value(item))).collect::<Map<_, _>>())
        }
        // A descriptor means nothing to another program.
        Variant::Fd(_) => Value::Null,
    }
}

fn key_text(key: &Variant<'_>) -> String {
    match value(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The text, fit for a terminal too: what is unsafe there can only be inside a string, where JSON has a way
/// to write it that means the same.
pub(crate) fn text(value: &Value) -> String {
    safe(&format!("{value:#}"))
}

/// The same in a line.
pub(crate) fn line(value: &Value) -> String {
    safe(&value.to_string())
}

fn safe(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        if is_unsafe(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    safe
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::{
        Fault, Kind,
        results::{Login, Logout, LogoutOutcome, Path},
    };
    use serde_json::json;

    use super::*;

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_keys_are_the_contracts() {
        let login =
            Login::failed("iqn.a", "192.0.2.21:3260", &Fault::new(Kind::TimedOut, "no answer").hint("wait"));
        let logout = Logout::done("iqn.a", "192.0.2.21:3260", LogoutOutcome::LoggedOut);
        let rows = [rows(&[login]), rows(&[logout]), rows(&[Path::default()])].concat();
        assert_eq!(
            keys(&rows[0]),
            ["devices", "error", "hint", "map", "maps", "message", "outcome", "portal", "sid", "target"]
        );
        assert_eq!(keys(&rows[1]), ["error", "hint", "message", "outcome", "portal", "target"]);
        assert_eq!(keys(&rows[2]).len(), 24);
        assert!(rows[2].get("dm-state").is_some() && rows[2].get("checker-state").is_some());
        assert_eq!(rows[0]["outcome"], "failed");
        assert_eq!(rows[0]["error"], "org.cloudatlas.IscsiInitiator.Error.TimedOut");
        assert_eq!(rows[0]["devices"], json!([]));
        assert_eq!(rows[0]["sid"], 0);
    }

    #[test]
    fn numbers_stay_numbers() {
        let mut path = Path::default();
        (path.size, path.lun, path.priority) = (u64::MAX, 1 << 62, -1);
        let row = &rows(&[path])[0];
        assert_eq!(row["size"], json!(18_446_744_073_709_551_615_u64));
        assert_eq!(row["priority"], json!(-1));
    }

    #[test]
    fn the_text_is_safe_and_means_the_same() {
        let value = json!([{ "model": "\u{1b}[2J\u{9b}m\u{202e}\u{e0041}\n\"ü\\" }]);
        let text = text(&value);
        assert!(!text.chars().any(|c| is_unsafe(c) && c != '\n'), "{text:?}");
        assert!(text.contains("\\u001b[2J\\u009bm\\u202e\\udb40\\udc41\\n\\\"ü\\\\"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        let line = line(&value);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
