//! The Unix sockets: who may talk to them, and what happens to one that was left behind.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    os::unix::net::UnixListener as BoundListener,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::serve::Listener;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

use super::{command::Commander, control, lookup::Lookup};
use crate::system::group;

/// Mode of the run directory while it is made: its group may look, others may not.
const DIRECTORY_MODE: u32 = 0o750;
/// Where applications have a group of their own, they must be able to pass through, to their own
/// sockets; what is in the directory they cannot see.
const PASSAGE_MODE: u32 = 0o751;
/// Mode of the control socket where there is no group for it.
const OWN_MODE: u32 = 0o600;
/// Mode of a socket that its group may use.
const GROUP_MODE: u32 = 0o660;

/// A socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {operation} {}: {source}; give a directory that this user may write with --run-dir",
    path.display()
)]
pub struct ServerError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// A Unix socket that listens; its file goes when this does. Not yet tied to a runtime: it is
/// bound where the daemon starts, and served by a thread of its own.
#[derive(Debug)]
pub struct BoundSocket {
    listener: BoundListener,
    file: SocketFile,
}

/// The file of a socket.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl BoundSocket {
    /// Makes the socket, and its directory if that is missing. Call it only while holding the
    /// daemon's lock: a socket that is already there is then nobody's, and is replaced.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, ServerError> {
        Self::bind_for(path, mode, None)
    }

    /// The same, for the members of a group.
    pub fn bind_for(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, ServerError> {
        let failed = |operation| move |source| ServerError { operation, path: path.into(), source };
        if let Some(directory) = path.parent() {
            make_directory(directory).map_err(failed("create the directory of"))?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the old socket")(error));
            }
            _ => {}
        }
        let listener = BoundListener::bind(path).map_err(failed("listen on"))?;
        let file = SocketFile(path.into());
        listener.set_nonblocking(true).map_err(failed("set options of"))?;
        // First the group: there must be no moment at which another one may use it.
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(failed("give the group"))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(failed("set permissions of"))?;
        Ok(Self { listener, file })
    }

    /// The same, for the group of applications.
    pub fn for_applications(path: &Path, mode: u32) -> Result<Self, ServerError> {
        let socket = Self::bind(path, mode)?;
        give_to_applications(path).map_err(|source| {
            let operation = "give to the group weir-apps";
            ServerError { operation, path: path.into(), source }
        })?;
        Ok(socket)
    }

    /// Ties it to the runtime that it is called in.
    pub fn open(self) -> io::Result<OpenSocket> {
        Ok(OpenSocket { listener: UnixListener::from_std(self.listener)?, _file: self.file })
    }
}

/// A Unix socket that accepts.
#[derive(Debug)]
pub struct OpenSocket {
    listener: UnixListener,
    _file: SocketFile,
}

impl Listener for OpenSocket {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        Listener::accept(&mut self.listener).await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing depends on it: the next daemon replaces a socket that is left behind.
        let _ = fs::remove_file(&self.0);
    }
}

/// The control socket; its file goes when this does.
#[derive(Debug)]
pub struct Server {
    socket: BoundSocket,
    /// Whose members may use it, beside root and the daemon's user.
    operators: Option<u32>,
}

impl Server {
    /// Makes the socket, for the group `weir` where there is one. Call it only while holding the daemon's
    /// lock.
    pub fn bind(path: &Path) -> Result<Self, ServerError> {
        Self::bind_for(path, group::id(group::OPERATORS))
    }

    fn bind_for(path: &Path, operators: Option<u32>) -> Result<Self, ServerError> {
        if operators.is_some() {
            match BoundSocket::bind_for(path, GROUP_MODE, operators) {
                Ok(socket) => return Ok(Self { socket, operators }),
                Err(error) => tracing::warn!(
                    "{error}; only root and the daemon's user may use it, until the daemon runs as root \
                     or as a member of that group"
                ),
            }
        }
        Ok(Self { socket: BoundSocket::bind(path, OWN_MODE)?, operators: None })
    }

    /// Answers clients until the runtime ends.
    pub async fn serve(self, commander: Commander, lookup: Arc<Lookup>) -> io::Result<()> {
        control::serve(self.socket.open()?, self.operators, commander, lookup).await;
        Ok(())
    }
}

/// Gives a socket that applications use to their group; where there is none, it stays with the group of
/// the daemon.
pub fn give_to_applications(path: &Path) -> io::Result<()> {
    let Some(group) = group::id(group::APPLICATIONS) else { return Ok(()) };
    chown(path, None, Some(group))
}

/// Makes the run directory, readable by nobody else.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)
}

/// Lets operators look into the run directory, and applications pass through it, where there are groups
/// for them.
pub fn open_directory(path: &Path) -> io::Result<()> {
    if let Some(operators) = group::id(group::OPERATORS)
        && let Err(error) = chown(path, None, Some(operators))
    {
        tracing::warn!("cannot give {} to the group weir: {error}", path.display());
    }
    let has_applications = group::id(group::APPLICATIONS).is_some();
    let mode = if has_applications { PASSAGE_MODE } else { DIRECTORY_MODE };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Instant};

    use super::*;
    use crate::api::{
        client::{Client, ClientError},
        command::{self, Command, Commands, Unblock},
        message::{
            BlockQuery, Blocked, Cause, Decisions, DecisionsQuery, Failure, FailureKind, Forgot,
            Labelled, Labels, ModeReport, OperatorAction, Readiness, Reason, Rotated, UnblockQuery,
            Unblocked, Verdicts, VerdictsQuery,
        },
    };

    /// A loop that answers with what it was asked.
    async fn echo(mut commands: Commands) {
        while let Some((command, _)) = commands.recv().await {
            match command {
                Command::Status(reply) => {
                    let failure = Failure::new(FailureKind::Internal, "cannot read TALLY: boom");
                    let _ = reply.send(Err(failure));
                }
                Command::Ready(reply) => {
                    let reason = Reason::fails(Cause::KillSwitch, "on");
                    let _ = reply.send(Ok(Readiness::of(vec![reason])));
                }
                Command::Gates(_, reply) => drop(reply.send(Ok(Default::default()))),
                Command::Promote(_, reply) | Command::RollBack(_, reply) => {
                    drop(reply.send(Err(Failure::new(FailureKind::Refused, "no"))));
                }
                Command::Mode(reply) | Command::SwitchMode(_, reply) => {
                    let _ = reply.send(Ok(ModeReport::default()));
                }
                Command::Metrics(reply) => {
                    let _ = reply.send(Ok("# EOF\n".into()));
                }
                Command::Verdicts(address, reply) => {
                    assert_eq!(address, Some(IpAddr::from([192, 0, 2, 7])));
                    let _ = reply.send(Ok(Verdicts::default()));
                }
                Command::Decisions(limit, reply) => {
                    let made = limit.unwrap_or_default() as u64;
                    let _ = reply.send(Ok(Decisions { decisions: Vec::new(), made }));
                }
                Command::Explain(query, reply) => {
                    let failure = Failure::new(FailureKind::BadRequest, format!("{query:?}"));
                    let _ = reply.send(Err(failure));
                }
                Command::Label(list, reply) => {
                    let _ = reply.send(Ok(Labelled { labels: list.len(), ..Labelled::default() }));
                }
                Command::Labels(_, reply) => {
                    let _ = reply.send(Ok(Labels::default()));
                }
                Command::Brake(reply) | Command::ResetBrake(reply) => {
                    let failure = Failure::new(FailureKind::Refused, "the breaker is closed");
                    let _ = reply.send(Err(failure));
                }
                Command::Audit { now, reply } => {
                    let failure = Failure::new(FailureKind::Internal, format!("{now}"));
                    let _ = reply.send(Err(failure));
                }
                Command::Block(block, reply) => {
                    let notes =
                        vec![format!("{} {:?} {:?}", block.reason, block.action, block.term)];
                    let entries = block.list.len();
                    let _ = reply.send(Ok(Blocked { entries, notes, ..Blocked::default() }));
                }
                Command::TurnedAway(_) => {}
                Command::Unblock(unblock, reply) => {
                    let removed = match unblock {
                        Unblock::All => 1000,
                        Unblock::These { list, .. } => list.len(),
                    };
                    let _ = reply.send(Ok(Unblocked { removed, ..Unblocked::default() }));
                }
                Command::Forget { list, unblock, reply } => {
                    let unblocked = usize::from(unblock);
                    let records = list.len();
                    let _ = reply.send(Ok(Forgot { records, unblocked, ..Forgot::default() }));
                }
                Command::RotateKey(key, reply) => {
                    let _ = reply.send(Ok(Rotated { new: format!("{key:?}") }));
                }
            }
        }
    }

    /// Runs `test` against a server in a directory of its own.
    fn with_server(name: &str, test: impl AsyncFnOnce(Client)) {
        let directory = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
        let socket = directory.join("run").join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (commander, commands) = command::channel();
            let server = Server::bind(&socket).unwrap();
            let lookup = Arc::default();
            let serving = tokio::spawn(server.serve(commander, lookup));
            let answering = tokio::spawn(echo(commands));
            test(Client::new(&socket)).await;
            serving.abort();
            answering.abort();
        });
        fs::remove_dir_all(&directory).unwrap();
    }

    fn block_query() -> BlockQuery {
        BlockQuery {
            for_s: Some(600),
            reason: "ticket 4711 & more = ä".into(),
            action: OperatorAction::Reject,
            ..BlockQuery::default()
        }
    }

    #[test]
    fn questions_and_answers_go_both_ways() {
        with_server("both-ways", async |client| {
            let asked = VerdictsQuery { address: Some([192, 0, 2, 7].into()) };
            assert_eq!(client.verdicts(&asked).await.unwrap(), Verdicts::default());
            let decisions = client.decisions(&DecisionsQuery { limit: Some(7) }).await.unwrap();
            assert_eq!(decisions.made, 7);
            let blocked = client.block(&block_query(), "192.0.2.1\n".into()).await.unwrap();
            assert_eq!(blocked.notes, ["ticket 4711 & more = ä Reject Some(600s)"]);
            let all = client
                .unblock(&UnblockQuery { all: true, ..UnblockQuery::default() }, "".into())
                .await
                .unwrap();
            assert_eq!(all.removed, 1000);
            let error = client.status().await.unwrap_err();
            assert_eq!(error.to_string(), "cannot read TALLY: boom");
            // Not ready comes with another status, and is an answer all the same.
            assert_eq!(client.ready().await.unwrap().reasons[0].name, Cause::KillSwitch);
            assert_eq!(client.metrics().await.unwrap(), "# EOF\n");
        });
    }

    #[test]
    fn a_bad_list_never_reaches_the_loop() {
        with_server("bad-list", async |client| {
            let list = "192.0.2.1\nrubbish\n";
            let error = client.block(&block_query(), list.into()).await.unwrap_err();
            let ClientError::Failed(failure) = error else { panic!("{error}") };
            assert_eq!((failure.kind, failure.lines[0].line), (FailureKind::BadList, 2));
            let error = client.unblock(&UnblockQuery::default(), "# nobody\n".into()).await;
            assert!(error.unwrap_err().to_string().contains("no address, prefix or fingerprint"));
        });
    }

    #[test]
    fn a_hundred_thousand_lines_arrive_whole() {
        with_server("bulk", async |client| {
            let list: String = (0..100_000u32)
                .map(|n| format!("{}\n", std::net::Ipv4Addr::from(0x0a00_0000 + n)))
                .collect();
            let begun = Instant::now();
            let blocked = client.block(&block_query(), list.into()).await.unwrap();
            eprintln!("100,000 lines over the socket: {:?}", begun.elapsed());
            assert_eq!(blocked.entries, 100_000);
        });
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_a_missing_one_is_explained() {
        let directory = std::env::temp_dir().join(format!("weir-stale-{}", std::process::id()));
        let socket = directory.join("control.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            make_directory(&directory).unwrap();
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
            let client = Client::new(&socket);
            for _ in 0..2 {
                // First the stale socket, then none at all.
                let error = client.status().await.unwrap_err().to_string();
                assert!(error.contains("no daemon answers at"), "{error}");
                assert!(error.contains("weir run"), "{error}");
                let server = Server::bind(&socket).unwrap();
                let mode = fs::metadata(&socket).unwrap().permissions().mode();
                let wanted = server.operators.map_or(OWN_MODE, |_| GROUP_MODE);
                assert_eq!(mode & 0o777, wanted);
                drop(server);
                assert!(!socket.exists(), "the file goes with the server");
            }
        });
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o007, 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
