//! A JSON object a line, as nginx writes it with `log_format … escape=json`, and as others do under
//! names that the Site maps. A name with points in it (`request.remote_ip`) is looked for as it is
//! first, then level by level.

use serde_json::Value;

use super::{
    client,
    entry::{Entry, said},
    stamp,
};
use crate::policy::signals::{LOG_FIELDS, LogField};

/// What fields are called: as the Site says, otherwise as nginx's variables are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping(Vec<(LogField, Vec<String>)>);

impl Mapping {
    /// The names of a log whose Site maps these.
    #[must_use]
    pub fn new(mapped: &[(LogField, String)]) -> Self {
        let names = LOG_FIELDS.iter().map(|(_, field)| {
            let own = mapped.iter().find(|(mapped, _)| mapped == field);
            let names = match own {
                Some((_, name)) => vec![name.clone()],
                None => defaults(*field).iter().map(|name| (*name).to_owned()).collect(),
            };
            (*field, names)
        });
        Self(names.collect())
    }

    fn find(&self, field: LogField, line: &Value) -> Option<String> {
        let (_, names) = self.0.iter().find(|(known, _)| *known == field)?;
        names.iter().find_map(|name| text(find(line, name)?))
    }
}

/// nginx's variables.
const fn defaults(field: LogField) -> &'static [&'static str] {
    match field {
        LogField::Address => &["remote_addr"],
        LogField::Port => &["remote_port"],
        LogField::Method => &["request_method"],
        LogField::Path => &["request_uri", "uri"],
        LogField::Request => &["request"],
        LogField::Status => &["status"],
        LogField::Account => &["remote_user"],
        LogField::Time => &["time_iso8601", "msec", "time_local"],
        LogField::Forwarded => &["http_x_forwarded_for", "http_forwarded"],
    }
}

/// Reads a line; `None` if it is no object.
pub(super) fn read(line: &str, mapping: Option<&Mapping>) -> Option<Entry> {
    let line: Value = serde_json::from_str(line).ok()?;
    let mapping = mapping.filter(|_| line.is_object())?;
    let find = |field| mapping.find(field, &line);
    let mut entry = Entry::default();
    if let Some(request) = find(LogField::Request) {
        entry.request(&request);
    }
    entry.method = find(LogField::Method).or(entry.method);
    entry.target = find(LogField::Path).or(entry.target);
    entry.address = find(LogField::Address).and_then(|text| client::address(&text));
    entry.port = find(LogField::Port).and_then(|text| text.parse().ok()).unwrap_or_default();
    entry.status = find(LogField::Status).and_then(|text| text.parse().ok()).unwrap_or_default();
    entry.account = find(LogField::Account);
    entry.stamp = find(LogField::Time).and_then(|text| stamp::read(&text));
    entry.forwarded = find(LogField::Forwarded);
    Some(entry)
}

fn find<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line.get(name).or_else(|| name.split('.').try_fold(line, |value, part| value.get(part)))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => said(text).map(ToOwned::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain() -> Mapping {
        Mapping::new(&[])
    }

    #[test]
    fn nginx_and_others() {
        let line = r#"{"time_iso8601":"2027-06-30T12:00:00+00:00","remote_addr":"203.0.113.7","remote_port":"4711","request":"POST /login?a=1 HTTP/2.0","status":"401","remote_user":"","http_x_forwarded_for":"-"}"#;
        let found = read(line, Some(&plain())).unwrap();
        assert_eq!(found.address, Some("203.0.113.7".parse().unwrap()));
        assert_eq!((found.port, found.status), (4711, 401));
        assert_eq!(found.method.as_deref(), Some("POST"));
        assert_eq!(found.target.as_deref(), Some("/login?a=1"));
        assert_eq!((found.account, found.forwarded), (None, None));
        assert_eq!(found.stamp.unwrap().unix_ns, 1_814_356_800_000_000_000);

        let names = [
            (LogField::Address, "request.remote_ip"),
            (LogField::Method, "request.method"),
            (LogField::Path, "request.uri"),
            (LogField::Account, "user.id"),
            (LogField::Time, "ts"),
        ];
        let mapping = Mapping::new(&names.map(|(field, name)| (field, name.to_owned())));
        let line = r#"{"ts":1814356800.25,"request":{"remote_ip":"2001:db8::7","method":"GET","uri":"/o/1"},"user.id":17,"status":404}"#;
        let found = read(line, Some(&mapping)).unwrap();
        assert_eq!(found.address, Some("2001:db8::7".parse().unwrap()));
        assert_eq!((found.method.as_deref(), found.target.as_deref()), (Some("GET"), Some("/o/1")));
        assert_eq!((found.account.as_deref(), found.status), (Some("17"), 404));
        assert_eq!(found.stamp.unwrap().unix_ns, 1_814_356_800_250_000_000);
    }

    #[test]
    fn values_of_other_kinds_are_unknown() {
        let line = r#"{"remote_addr":["203.0.113.7"],"status":{"x":1},"remote_port":99999,"request":"x","remote_user":null}"#;
        assert_eq!(read(line, Some(&plain())), Some(Entry::default()));
        for line in ["", "[]", "17", "\"x\"", "{", "null", "{\"a\":1} trailing"] {
            assert_eq!(read(line, Some(&plain())), None, "{line}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(&format!("{{\"a\":{deep}"), Some(&plain())), None);
    }

    proptest! {
        #[test]
        fn nothing_written_breaks_it(line in ".{0,200}", value in ".{0,40}") {
            let _ = read(&line, Some(&plain()));
            let line = serde_json::json!({
                "remote_addr": value, "request": value, "status": value, "msec": value,
            });
            let _ = read(&line.to_string(), Some(&plain()));
        }
    }
}
