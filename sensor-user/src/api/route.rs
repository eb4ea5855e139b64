//! Paths, queries and bodies to commands; answers to JSON.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http_body_util::{BodyExt, Limited};

use super::{
    LARGEST_LIST_BYTES,
    block_list::{BlockList, ListReader},
    command::{Block, Command, Commander, Unblock},
    lookup::Lookup,
    message::{
        AuditQuery, AuditReport, BlockQuery, Blocked, BrakeStatus, Cause, Decisions,
        DecisionsQuery, ExplainQuery, Explanation, Failure, FailureKind, ForgetQuery, Forgot,
        Gates, GatesQuery, Labelled, Labels, LabelsQuery, ModeReport, PromoteQuery, Readiness,
        Reason, RollbackQuery, RotateQuery, Rotated, StageMoved, Status, SwitchQuery, UnblockQuery,
        Unblocked, Verdicts, VerdictsQuery,
    },
    path,
};
use crate::export::metrics;

/// New connections a second of a limit that names none.
const LIMIT_PER_S: u32 = 1;

/// Largest list of labels that one request may carry.
const LARGEST_LABELS_BYTES: usize = 8 << 20;

/// The API as a service.
pub(super) fn router(commander: Commander, lookup: Arc<Lookup>) -> Router {
    let look = async move |request: Request| lookup.answer(&request).map(Body::new);
    Router::new()
        .route(path::VERDICT, get(look.clone()))
        .route(&format!("{}{{*rest}}", path::CHECK), any(look))
        .route(path::STATUS, get(status))
        .route(path::READY, get(ready))
        .route(path::METRICS, get(metrics))
        .route(path::VERDICTS, get(verdicts))
        .route(path::DECISIONS, get(decisions))
        .route(path::EXPLAIN, get(explain))
        .route(path::LABEL, post(label))
        .route(path::LABELS, get(labels))
        .route(path::BRAKE, get(brake))
        .route(path::RESET_BRAKE, post(reset_brake))
        .route(path::FORGET, post(forget))
        .route(path::ROTATE_KEY, post(rotate_key))
        .route(path::MODE, get(mode).post(switch_mode))
        .route(path::AUDIT, get(audit))
        .route(path::GATES, get(gates))
        .route(path::PROMOTE, post(promote))
        .route(path::ROLLBACK, post(roll_back))
        .route(path::BLOCK, post(block))
        .route(path::UNBLOCK, post(unblock))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(commander)
}

type Answer<T> = Result<Json<T>, Failure>;
type Parsed<T> = Result<Query<T>, QueryRejection>;

async fn status(State(commander): State<Commander>) -> Answer<Status> {
    commander.ask(Command::Status).await.map(Json)
}

/// Longer than a batch of events or a large list takes; whoever probes gives up about then.
const LOOP_PATIENCE: Duration = Duration::from_secs(5);

async fn ready(
    State(commander): State<Commander>,
) -> Result<(StatusCode, Json<Readiness>), Failure> {
    let asked = tokio::time::timeout(LOOP_PATIENCE, commander.ask(Command::Ready)).await;
    let readiness = match asked {
        Ok(answer) => answer?,
        Err(_) => {
            let text = "the daemon's loop did not answer in 5 s; verdicts go on in the kernel";
            Readiness::of(vec![Reason::fails(Cause::LoopSilent, text)])
        }
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(readiness)))
}

async fn metrics(State(commander): State<Commander>) -> Result<Response, Failure> {
    let page = commander.ask(Command::Metrics).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response())
}

async fn mode(State(commander): State<Commander>) -> Answer<ModeReport> {
    commander.ask(Command::Mode).await.map(Json)
}

async fn switch_mode(
    State(commander): State<Commander>,
    query: Parsed<SwitchQuery>,
) -> Answer<ModeReport> {
    let Query(query) = query?;
    commander.ask(|reply| Command::SwitchMode(query, reply)).await.map(Json)
}

async fn verdicts(
    State(commander): State<Commander>,
    query: Parsed<VerdictsQuery>,
) -> Answer<Verdicts> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Verdicts(query.address, reply)).await.map(Json)
}

async fn decisions(
    State(commander): State<Commander>,
    query: Parsed<DecisionsQuery>,
) -> Answer<Decisions> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Decisions(query.limit, reply)).await.map(Json)
}

async fn explain(
    State(commander): State<Commander>,
    query: Parsed<ExplainQuery>,
) -> Answer<Explanation> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Explain(query, reply)).await.map(Json)
}

async fn label(State(commander): State<Commander>, body: Body) -> Answer<Labelled> {
    let body = Limited::new(body, LARGEST_LABELS_BYTES).collect().await.map_err(|error| {
        let message = format!(
            "cannot read the labels: {error}; at most {} MiB go in one request",
            LARGEST_LABELS_BYTES >> 20
        );
        Failure::new(FailureKind::BadRequest, message)
    })?;
    let list = crate::label::parse(&String::from_utf8_lossy(&body.to_bytes()))?;
    commander.ask(|reply| Command::Label(list, reply)).await.map(Json)
}

async fn labels(State(commander): State<Commander>, query: Parsed<LabelsQuery>) -> Answer<Labels> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Labels(query, reply)).await.map(Json)
}

async fn brake(State(commander): State<Commander>) -> Answer<BrakeStatus> {
    commander.ask(Command::Brake).await.map(Json)
}

async fn reset_brake(State(commander): State<Commander>) -> Answer<BrakeStatus> {
    commander.ask(Command::ResetBrake).await.map(Json)
}

async fn forget(
    State(commander): State<Commander>,
    query: Parsed<ForgetQuery>,
    body: Body,
) -> Answer<Forgot> {
    let Query(query) = query?;
    let list = list(body).await?;
    let unblock = query.unblock;
    commander.ask(|reply| Command::Forget { list, unblock, reply }).await.map(Json)
}

async fn rotate_key(
    State(commander): State<Commander>,
    query: Parsed<RotateQuery>,
) -> Answer<Rotated> {
    let Query(query) = query?;
    commander.ask(|reply| Command::RotateKey(query.key, reply)).await.map(Json)
}

async fn audit(
    State(commander): State<Commander>,
    query: Parsed<AuditQuery>,
) -> Answer<AuditReport> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Audit { now: query.now, reply }).await.map(Json)
}

async fn gates(State(commander): State<Commander>, query: Parsed<GatesQuery>) -> Answer<Gates> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Gates(query, reply)).await.map(Json)
}

async fn promote(
    State(commander): State<Commander>,
    query: Parsed<PromoteQuery>,
) -> Answer<StageMoved> {
    let Query(query) = query?;
    commander.ask(|reply| Command::Promote(query, reply)).await.map(Json)
}

async fn roll_back(
    State(commander): State<Commander>,
    query: Parsed<RollbackQuery>,
) -> Answer<StageMoved> {
    let Query(query) = query?;
    commander.ask(|reply| Command::RollBack(query, reply)).await.map(Json)
}

async fn block(
    State(commander): State<Commander>,
    query: Parsed<BlockQuery>,
    body: Body,
) -> Answer<Blocked> {
    let Query(query) = query?;
    if query.for_s == Some(0) {
        return Err(Failure::new(FailureKind::BadRequest, "a term of 0 s blocks nobody"));
    }
    if query.rate_per_s == Some(0) {
        return Err(Failure::new(
            FailureKind::BadRequest,
            "a limit of 0 connections a second is a drop: ask for that",
        ));
    }
    let block = Block {
        list: list(body).await?,
        stable: query.stable,
        term: query.for_s.map(Duration::from_secs),
        reason: query.reason,
        action: query.action,
        service: query.service,
        observe: query.observe,
        rate_per_s: query.rate_per_s.unwrap_or(LIMIT_PER_S),
        heartbeat: query.heartbeat_s.map(Duration::from_secs),
        operator: query.operator,
    };
    commander.ask(|reply| Command::Block(block, reply)).await.map(Json)
}

async fn unblock(
    State(commander): State<Commander>,
    query: Parsed<UnblockQuery>,
    body: Body,
) -> Answer<Unblocked> {
    let Query(query) = query?;
    let unblock = if query.all {
        Unblock::All
    } else {
        Unblock::These { list: list(body).await?, stable: query.stable }
    };
    commander.ask(|reply| Command::Unblock(unblock, reply)).await.map(Json)
}

async fn unknown() -> (StatusCode, Json<Failure>) {
    let message = "no such operation; see GET /v1/status, /v1/ready, /metrics, /v1/verdicts, /v1/decisions, /v1/explain, /v1/audit, \
                   /v1/verdict, /v1/mode, /v1/gates and \
                   POST /v1/block, /v1/unblock, /v1/promote, /v1/rollback, /v1/mode, /v1/forget, /v1/journal/rotate-key";
    (StatusCode::NOT_FOUND, Json(Failure::new(FailureKind::BadRequest, message)))
}

/// The list in a body, parsed as it arrives.
async fn list(body: Body) -> Result<BlockList, Failure> {
    let mut body = Limited::new(body, LARGEST_LIST_BYTES);
    let mut list = ListReader::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!(
                "cannot read the list: {error}; at most {} MiB go in one request",
                LARGEST_LIST_BYTES >> 20
            );
            Failure::new(FailureKind::BadRequest, message)
        })?;
        if let Ok(text) = frame.into_data() {
            list.push(&text);
        }
    }
    let list = list.finish()?;
    if list.is_empty() {
        return Err(Failure::new(
            FailureKind::BadRequest,
            "the list has no address, prefix or fingerprint in it",
        ));
    }
    Ok(list)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.kind {
            FailureKind::BadList | FailureKind::BadRequest => StatusCode::BAD_REQUEST,
            FailureKind::Refused => StatusCode::CONFLICT,
            FailureKind::Full => StatusCode::INSUFFICIENT_STORAGE,
            FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            FailureKind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, Json(self)).into_response()
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(FailureKind::BadRequest, rejection.body_text())
    }
}
