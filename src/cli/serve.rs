//! `annal serve`: a store behind a native TCP server, and behind a gRPC and HTTP server beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::descriptors;
use super::failure::{Exit, Failure};
use super::output::{Output, faint, strong};
use super::secure::{Security, SecurityArgs};
use super::target::{Make, open_folder};
use crate::engine::{Store, StoreOptions};
use crate::grpc::{GrpcError, GrpcOptions, GrpcServer};
use crate::server::{ServeError, Server, ServerOptions};

/// Start a server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ctrl-C or SIGTERM stops it: what was accepted is finished first. With --json, one line says
that it listens and where, and one that it has stopped. Port 0 takes a free one.

Examples:
  annal serve
  annal serve --data /var/lib/annal --tcp 127.0.0.1:7000 --http none
  annal serve --read-only --data /mnt/backup
  ANNAL_DATA=/data annal serve
  annal serve --config annal.toml")]
pub(super) struct Args {
    /// The store's folder; it is made if it is not there
    #[arg(
        long,
        value_name = "DIR",
        env = "ANNAL_DATA",
        default_value = "./annal-data"
    )]
    data: PathBuf,
    /// Where to listen
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "ANNAL_TCP",
        default_value = "127.0.0.1:2112"
    )]
    tcp: SocketAddr,
    /// Where to listen for EventStoreDB's clients (gRPC) and for HTTP: addresses, or none
    #[arg(
        long,
        value_name = "ADDRESSES",
        env = "ANNAL_HTTP",
        default_value = "127.0.0.1:2113,[::1]:2113"
    )]
    http: Addresses,
    /// Only read the folder: nothing in it is changed, and appends are refused. A damaged store is
    /// served as far as it is sound
    #[arg(long, env = "ANNAL_READ_ONLY")]
    read_only: bool,
    #[command(flatten)]
    security: SecurityArgs,
    /// What to write to the standard error beside that: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "ANNAL_LOG", default_value = "warn")]
    log: tracing_subscriber::filter::LevelFilter,
}

/// Addresses between commas; `none` is no address.
#[derive(Clone, Debug)]
struct Addresses(Vec<SocketAddr>);

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let address = |text: &str| {
            let text = text.trim();
            text.parse()
                .map_err(|_| format!("{text:?} is not an address like 127.0.0.1:2113"))
        };
        text.split(',')
            .map(address)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match &error {
            ServeError::Insecure(_) => Self::usage(error),
            ServeError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Self::new(Exit::Unavailable, error)
                    .advise("another server may be running: annal status; or choose another --tcp")
            }
            _ => Self::new(Exit::Failure, error),
        }
    }
}

impl From<GrpcError> for Failure {
    fn from(error: GrpcError) -> Self {
        match &error {
            GrpcError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Self::new(Exit::Unavailable, error)
                    .advise("another server may be running; or choose another --http, or none")
            }
            GrpcError::Listen { .. } => Self::new(Exit::Failure, error),
            _ => Self::usage(error),
        }
    }
}

/// Serves until it is told to stop.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    args.security.check(&[args.tcp], ServeError::Insecure)?;
    args.security.check(&args.http.0, GrpcError::Insecure)?;
    tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(std::io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .init();
    let stop = Stop::listen()?;
    let make = match args.read_only {
        true => Make::ReadOnly,
        false => Make::Yes,
    };
    let store = open_folder(&args.data, make)?;
    let security = args.security.open(&store)?;
    let _fresh = security.keep_fresh()?;
    let fronts = if args.http.0.is_empty() { 1 } else { 2 };
    let files_of_store = store.options().open_files_max;
    let connections = |wanted| descriptors::connections_max(fronts, wanted, files_of_store);
    let defaults = (ServerOptions::default(), GrpcOptions::default());
    let options = ServerOptions {
        address: args.tcp,
        insecure: args.security.insecure,
        connections_max: connections(defaults.0.connections_max),
        ..defaults.0
    };
    let (access, certificate) = (&security.access, security.certificate.as_ref());
    let native = Server::bind_with(access, certificate, options)?;
    let http = match args.http.0.is_empty() {
        true => None,
        false => Some(GrpcServer::bind_with(
            access,
            certificate,
            GrpcOptions {
                addresses: args.http.0,
                insecure: args.security.insecure,
                connections_max: connections(defaults.1.connections_max),
                ..defaults.1
            },
        )?),
    };
    let fronts = Fronts { native, http };
    announce(&args.data, &security, &fronts, output)?;
    fronts.run(stop.wait()).await?;
    let end = store.committed();
    block_in_place(|| store.close())?;
    let text = format!("stopped in order at position {end}");
    output.result(&text, &json!({ "notice": "stopped", "position": end.0 }))
}

/// The servers in front of one store.
struct Fronts {
    native: Server,
    http: Option<GrpcServer>,
}

impl Fronts {
    fn http(&self) -> Vec<String> {
        let addresses = self.http.iter().flat_map(GrpcServer::local_addrs);
        addresses.map(|address| address.to_string()).collect()
    }

    /// Runs all until `stop` is ready or one fails; each finishes what it has accepted.
    async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        let stopping = CancellationToken::new();
        let native = async {
            let ended = self.native.run(stopping.cancelled()).await;
            stopping.cancel();
            ended.map_err(Failure::from)
        };
        let http = async {
            let Some(server) = self.http else {
                return Ok(());
            };
            let ended = server.run(stopping.cancelled()).await;
            stopping.cancel();
            ended.map_err(Failure::from)
        };
        let told = async {
            tokio::select! {
                () = stop => stopping.cancel(),
                () = stopping.cancelled() => {}
            }
        };
        let (native, http, ()) = tokio::join!(native, http, told);
        native.and(http)
    }
}

fn announce(
    folder: &Path,
    security: &Security,
    fronts: &Fronts,
    output: Output,
) -> Result<(), Failure> {
    let store = security.access.store();
    let (address, http) = (fronts.native.local_addr(), fronts.http());
    let recovery = store.recovery();
    let shown = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let native = security.address(security.scheme(), address);
    let server = match address.port() {
        2112 if address.ip().is_loopback() && security.is_plain() => String::new(),
        _ => format!(" --server {native}"),
    };
    let mut text = format!(
        "{} {}\n\n  folder   {}\n  address  {native}\n",
        strong("annal"),
        env!("CARGO_PKG_VERSION"),
        shown.display(),
    );
    if let Some(first) = http.first() {
        let encrypted = security.certificate.is_some();
        let clients = security.address("esdb", first);
        text.push_str(&format!("  clients  {clients}?tls={encrypted}\n"));
        let scheme = if encrypted { "https" } else { "http" };
        text.push_str(&format!("  http     {scheme}://{first}\n"));
    }
    text.push_str(&format!("  events   {}\n", store.committed()));
    if store.is_read_only() {
        text.push_str("  writing  no: --read-only\n");
    }
    text.push_str(&security.first_users());
    if !recovery.created && !recovery.clean_stop {
        text.push_str(&format!("\n{recovery}\n"));
    }
    text.push_str(&format!(
        "\n{}\n  annal append order-1 --type Placed '{{\"total\": 12}}'{server}\n  \
         annal read order-1{server}\n  annal tail --all{server}\n\n{}",
        faint("in another terminal:"),
        faint("Ctrl-C stops it"),
    ));
    let json = json!({
        "notice": "listening",
        "tcp": address.to_string(),
        "http": http,
        "server": format!("{}://{address}", security.scheme()),
        "users": !security.access.is_open(),
        "first_users": security.first_users_json(),
        "data": shown.display().to_string(),
        "position": store.committed().0,
        "read_only": store.is_read_only(),
        "created": recovery.created,
        "clean_stop": recovery.clean_stop,
        "recovery": recovery.to_string(),
    });
    output.result(&text, &json)
}

/// SIGINT and SIGTERM, heard from the moment it is made.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A server of this process, on a free port of this machine and in a folder that goes with it.
pub(super) struct Temporary {
    folder: PathBuf,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
    store: Store,
}

impl Temporary {
    /// Starts it.
    pub(super) async fn start() -> Result<Self, Failure> {
        let name = format!("annal-demo-{}", Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        let store = block_in_place(|| Store::open(&folder, StoreOptions::default()))?;
        let mut options = ServerOptions::default();
        options.address.set_port(0);
        let server = Server::bind(store.clone(), options)?;
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            // Whoever goes away without a word wants it stopped too.
            let _word = stopped.await;
        }));
        Ok(Self {
            folder,
            address,
            stop,
            running,
            store,
        })
    }

    /// Where it listens, as a client takes it.
    pub(super) fn address(&self) -> String {
        format!("annal://{}", self.address)
    }

    /// Stops it and removes the folder.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let _listening = self.stop.send(());
        let ended = self.running.await;
        let closed = block_in_place(|| self.store.close());
        std::fs::remove_dir_all(&self.folder)?;
        ended.map_err(|error| Failure::new(Exit::Failure, error))??;
        Ok(closed?)
    }
}
