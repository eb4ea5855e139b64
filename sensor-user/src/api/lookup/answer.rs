//! What is told: a status for proxies that know no more, headers for those that do, JSON for people.
//!
//! | status | meaning |
//! | --- | --- |
//! | 200 | go on |
//! | 401 | challenge: the verdict is `mark` |
//! | 429 | over the rate of a `limit`; 403 for nginx's `auth_request` |
//! | 403 | refuse: `reject` or `drop` |
//! | 400 | the question is not understood: a mistake in the proxy's configuration |

use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use weir_common::abi::{Action, Mode, time::SECOND_NS};

use super::question::{Misunderstood, Question};
use crate::{
    api::message::{Asker, Failure, FailureKind, LookupAnswer},
    enforce::{
        ledger::{Origin, Posted},
        names,
    },
    system::clock,
};

const ACTION: HeaderName = HeaderName::from_static("x-weir-action");
const WOULD: HeaderName = HeaderName::from_static("x-weir-would");
const SCORE: HeaderName = HeaderName::from_static("x-weir-score");
const DECISION: HeaderName = HeaderName::from_static("x-weir-decision");
const MODE: HeaderName = HeaderName::from_static("x-weir-mode");
const POLICY: HeaderName = HeaderName::from_static("x-weir-policy");

/// What to do with a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    /// How far enforcement goes.
    pub(super) ceiling: Mode,
    /// What acts.
    pub(super) held: Option<Posted>,
    /// What would act, if more than observed.
    pub(super) would: Option<Posted>,
    /// Over a limit: when to come again, in nanoseconds.
    pub(super) retry_ns: Option<u64>,
}

impl Ruling {
    pub(super) const fn new(ceiling: Mode, held: Option<Posted>, would: Option<Posted>) -> Self {
        Self { ceiling, held, would, retry_ns: None }
    }

    /// What to do.
    fn action(&self) -> Action {
        self.held.as_ref().map_or(Action::Allow, |held| held.meaning.action)
    }

    /// What it would be.
    fn would(&self) -> Option<Action> {
        let would = self.would.as_ref()?.meaning.action;
        (would != Action::Allow).then_some(would)
    }

    /// The verdict that is told about: what acts, or what would.
    fn told(&self) -> Option<&Posted> {
        self.held.as_ref().or(self.would.as_ref())
    }

    /// How far enforcement goes for this client.
    fn mode(&self) -> Mode {
        if self.held.is_none() && self.would.is_some() { Mode::Observe } else { self.ceiling }
    }

    /// The answer in a number.
    pub(super) fn status(&self, asker: Option<Asker>) -> StatusCode {
        match (self.action(), self.retry_ns, asker) {
            (Action::Allow, ..) | (Action::Limit, None, _) => StatusCode::OK,
            (Action::Mark, ..) => StatusCode::UNAUTHORIZED,
            (Action::Limit, Some(_), None) => StatusCode::TOO_MANY_REQUESTS,
            (Action::Limit, Some(_), Some(Asker::Nginx)) | (Action::Reject | Action::Drop, ..) => {
                StatusCode::FORBIDDEN
            }
        }
    }

    /// The answer in words.
    fn told_to(&self, question: &Question) -> LookupAnswer {
        let told = self.told();
        let decided = told.and_then(|told| told.decided.as_ref());
        LookupAnswer {
            address: question.address,
            service: question.service.clone(),
            action: names::action_name(self.action()).into(),
            would: self.would().map(|would| names::action_name(would).into()),
            mode: names::mode_name(self.mode()).into(),
            score: decided.map(|decided| decided.score),
            decision: decided.map(|decided| decided.id.to_string()),
            policy: told.and_then(|told| match &told.meaning.origin {
                Origin::Policy { name, .. } => Some(name.to_string()),
                Origin::Operator | Origin::Guard => None,
            }),
            reason: told.map(|told| told.meaning.reason.to_string()),
            until: told
                .filter(|told| told.until_ns != u64::MAX)
                .map(|told| clock::wall_text(told.until_ns)),
        }
    }

    pub(super) fn respond(&self, question: &Question) -> Response<Full<Bytes>> {
        let told = self.told_to(question);
        let mut response = json(self.status(question.asker), &told);
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: Option<&str>| {
            // Names of policies and ids are letters, digits, `-` and `_`.
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        };
        set(ACTION, Some(&told.action));
        set(WOULD, told.would.as_deref());
        set(MODE, Some(&told.mode));
        set(SCORE, told.score.map(|score| score.to_string()).as_deref());
        set(DECISION, told.decision.as_deref());
        set(POLICY, told.policy.as_deref());
        let retry_s = self.retry_ns.map(|ns| ns.div_ceil(SECOND_NS).to_string());
        set(header::RETRY_AFTER, retry_s.as_deref());
        response
    }
}

/// The answer to what is no question.
pub(super) fn refuse(reason: &Misunderstood) -> Response<Full<Bytes>> {
    json(StatusCode::BAD_REQUEST, &Failure::new(FailureKind::BadRequest, reason.to_string()))
}

fn json(status: StatusCode, told: &impl serde::Serialize) -> Response<Full<Bytes>> {
    // What is told is made of texts and numbers, which JSON always has a form for.
    let mut text = serde_json::to_vec(told).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
