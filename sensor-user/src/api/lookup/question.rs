//! What is asked, and of whom.
//!
//! The address decides whom a verdict hits, so a client must never choose it. A proxy writes it into
//! the query itself, or into a header that the Site names; where a proxy appends the client's own
//! path and query to ours (Envoy), the query says nothing.

use std::net::{IpAddr, SocketAddr};

use hyper::{HeaderMap, Method, Request};

use crate::api::{
    message::{Asker, LookupQuery},
    path,
};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The client.
    pub(super) address: IpAddr,
    /// The service.
    pub(super) service: Option<String>,
    /// Who asks.
    pub(super) asker: Option<Asker>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misunderstood {
    /// Another path or method.
    #[error(
        "no such question; ask GET /v1/verdict?address=192.0.2.7&service=shop, or /v1/check/shop with \
         the client in the header that the policy's `lookup.header` names"
    )]
    NoSuchQuestion,
    /// The query does not say what it should.
    #[error("cannot read the query: {0}; it takes `address`, `service` and `for=nginx`")]
    Query(String),
    /// Nothing says who the client is.
    #[error(
        "no client: say `?address=…`, or name the header that has it in the policy's `lookup.header`"
    )]
    NoAddress,
    /// The header is missing.
    #[error("no client: there is no header `{0}`; the proxy must set it")]
    NoHeader(String),
    /// The header has something else in it.
    #[error("no client: the header `{header}` has no address in it but `{text}`")]
    NotAnAddress {
        /// Its name.
        header: String,
        /// What it has.
        text: String,
    },
    /// The service is none of the policy's.
    #[error("the policy has no service `{name}`; it has: {known}")]
    NoSuchService {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl Question {
    /// Reads a request. `header`, in lower case, is where the Site says that clients' addresses are.
    pub(super) fn read<B>(
        request: &Request<B>,
        header: Option<&str>,
    ) -> Result<Self, Misunderstood> {
        let of_header = || {
            let name = header.ok_or(Misunderstood::NoAddress)?;
            client(request.headers(), name)
        };
        let asked = request.uri().path();
        if asked == path::VERDICT && matches!(*request.method(), Method::GET | Method::HEAD) {
            let query = request.uri().query().unwrap_or_default();
            let query: LookupQuery = serde_urlencoded::from_str(query)
                .map_err(|error| Misunderstood::Query(error.to_string()))?;
            let address = query.address.map_or_else(of_header, Ok)?.to_canonical();
            return Ok(Self { address, service: query.service, asker: query.asker });
        }
        // Behind the service comes the client's own path, of whatever method and with any query.
        let rest = asked.strip_prefix(path::CHECK).ok_or(Misunderstood::NoSuchQuestion)?;
        let service = rest.split('/').next().filter(|service| !service.is_empty());
        let service = service.ok_or(Misunderstood::NoSuchQuestion)?.to_owned();
        Ok(Self { address: of_header()?.to_canonical(), service: Some(service), asker: None })
    }
}

/// The client that a header names. Of a list it is the last, which the proxy itself put there:
/// what stands before can be the client's own invention.
fn client(headers: &HeaderMap, name: &str) -> Result<IpAddr, Misunderstood> {
    let value = headers.get_all(name).iter().next_back();
    let value = value.ok_or_else(|| Misunderstood::NoHeader(name.to_owned()))?;
    let text = String::from_utf8_lossy(value.as_bytes());
    let last = text.rsplit(',').next().unwrap_or_default().trim();
    let bare = last.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(last);
    let with_port = || last.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).map_err(|_| Misunderstood::NotAnAddress {
        header: name.to_owned(),
        // Long ones are cut: they come from outside.
        text: last.chars().take(64).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str, headers: &[(&str, &str)], header: Option<&str>) -> Result<Question, String> {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        Question::read(&request, header).map_err(|error| error.to_string())
    }

    fn address(line: &str, headers: &[(&str, &str)], header: Option<&str>) -> String {
        match ask(line, headers, header) {
            Ok(question) => question.address.to_string(),
            Err(error) => error,
        }
    }

    #[test]
    fn the_query_names_client_and_service() {
        let question =
            ask("GET /v1/verdict?address=%3A%3Affff%3A192.0.2.7&service=shop&for=nginx", &[], None);
        assert_eq!(
            question.unwrap(),
            Question {
                address: "192.0.2.7".parse().unwrap(),
                service: Some("shop".into()),
                asker: Some(Asker::Nginx)
            }
        );
        assert_eq!(address("GET /v1/verdict?address=2001:db8::7", &[], None), "2001:db8::7");
        for wrong in [
            "GET /v1/verdict?adress=192.0.2.7",
            "GET /v1/verdict?address=192.0.2.7&address=192.0.2.8",
            "GET /v1/verdict?address=somebody",
            "GET /v1/verdict?address=192.0.2.7&for=apache",
        ] {
            assert!(address(wrong, &[], None).contains("cannot read the query"), "{wrong}");
        }
        for wrong in ["POST /v1/verdict?address=192.0.2.7", "GET /v1/status", "GET /v1/check/"] {
            assert!(address(wrong, &[], None).contains("no such question"), "{wrong}");
        }
        assert!(address("GET /v1/verdict", &[], None).contains("no client"));
    }

    #[test]
    fn a_header_is_read_only_if_the_site_names_it() {
        let set = [("X-Real-IP", "192.0.2.7")];
        assert_eq!(address("GET /v1/verdict", &set, Some("x-real-ip")), "192.0.2.7");
        assert!(address("GET /v1/verdict", &set, None).contains("no client"));
        assert!(address("GET /v1/verdict", &[], Some("x-real-ip")).contains("no header"));
        // The proxy's own word counts more.
        let asked = "GET /v1/verdict?address=192.0.2.9";
        assert_eq!(address(asked, &set, Some("x-real-ip")), "192.0.2.9");
    }

    #[test]
    fn of_a_list_the_last_counts_with_or_without_port() {
        let of = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
            address("GET /v1/verdict", &headers, Some("x-forwarded-for"))
        };
        assert_eq!(of(&["10.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(of(&["10.0.0.1", "192.0.2.7:4711"]), "192.0.2.7");
        assert_eq!(of(&["[2001:db8::7]:443"]), "2001:db8::7");
        assert_eq!(of(&["[2001:db8::7]"]), "2001:db8::7");
        for wrong in ["", "unknown", "192.0.2.7,", "192.0.2.7 x"] {
            assert!(of(&[wrong]).contains("no address in it"), "{wrong}");
        }
        assert!(of(&[&"9".repeat(9999)]).len() < 200);
    }

    #[test]
    fn what_a_client_put_into_its_own_path_and_query_says_nothing() {
        let set = [("x-real-ip", "192.0.2.7")];
        let asked = "POST /v1/check/shop/v1/verdict/..?address=192.0.2.1&service=other";
        let question = ask(asked, &set, Some("x-real-ip")).unwrap();
        assert_eq!(question.address.to_string(), "192.0.2.7");
        assert_eq!(question.service.as_deref(), Some("shop"));
        assert!(ask("GET /v1/check/shop", &set, None).unwrap_err().contains("lookup.header"));
    }
}
