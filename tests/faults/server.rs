//! A server as a process of its own, to be killed, stopped and watched from outside: the binary
//! `annal serve`, or this program as a host of the same server with segments of 64 KiB, so that
//! the ends of segments are met every moment.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use annal::access::Access;
use annal::{GrpcOptions, GrpcServer, Server, ServerOptions, Store, StoreOptions};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::dice::Dice;

/// How long a store may take to open before this counts as hanging.
const OPEN_WITHIN: Duration = Duration::from_secs(300);
/// How long a server may take to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(300);

/// Which program serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `annal serve`.
    Binary,
    /// `annal serve --read-only`.
    OnlyReads,
    /// This program, with small segments; units are aligned to so many bytes.
    Host(u32),
    /// `annal serve`, as the last arguments of another command.
    Under(Vec<String>),
}

/// The binary under test: the one built with these tests, unless another one is named.
pub(crate) fn binary() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_annal"));
    std::env::var_os("ANNAL_FAULTS_BINARY").map_or_else(built, PathBuf::from)
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) native: u16,
    pub(crate) grpc: u16,
}

impl Ports {
    /// Ports that nobody else is given by the system, nor by another campaign beside this one.
    pub(crate) fn free() -> Self {
        let mut dice = Dice::new(uuid::Uuid::new_v4().as_u64_pair().0);
        loop {
            let native = u16::try_from(12_000 + 2 * dice.below(10_000)).unwrap();
            let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            let grpc = native + 1;
            if is_free(native) && is_free(grpc) {
                return Self { native, grpc };
            }
        }
    }
}

/// A process that serves, or is about to.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    log: PathBuf,
    began: Instant,
}

impl Process {
    /// Starts it, and does not wait for it. What it complains of goes to the file `log`.
    pub(crate) fn spawn(program: &Program, folder: &Path, ports: Ports, log: &Path) -> Self {
        let mut command = match program {
            Program::Host(align) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .env("ANNAL_FAULTS_HOST", folder)
                    .env("ANNAL_FAULTS_HOST_PORT", ports.native.to_string())
                    .env("ANNAL_FAULTS_HOST_GRPC_PORT", ports.grpc.to_string())
                    .env("ANNAL_FAULTS_HOST_ALIGN", align.to_string());
                command
            }
            Program::Binary => serve(Command::new(binary()), folder, ports),
            Program::OnlyReads => {
                let mut command = serve(Command::new(binary()), folder, ports);
                command.arg("--read-only");
                command
            }
            Program::Under(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).arg(binary());
                serve(command, folder, ports)
            }
        };
        let complaints = OpenOptions::new().create(true).append(true).open(log);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints.unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let out = child.stdout.take().map(BufReader::new);
        Self {
            child,
            out,
            log: log.to_owned(),
            began: Instant::now(),
        }
    }

    /// Waits until it listens. How long that took since it was started, and what it said.
    pub(crate) fn listening(&mut self) -> Result<(Duration, Value), String> {
        let Some(mut out) = self.out.take() else {
            return Err("it is listening already".to_owned());
        };
        let (said, hears) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut line = String::new();
            let _read = out.read_line(&mut line);
            let _gone = said.send(line);
            out
        });
        let Ok(line) = hears.recv_timeout(OPEN_WITHIN) else {
            return Err(format!("not open after {OPEN_WITHIN:?}"));
        };
        self.out = Some(reader.join().unwrap());
        match serde_json::from_str::<Value>(&line) {
            Ok(hello) if hello["notice"] == "listening" => Ok((self.began.elapsed(), hello)),
            _ => {
                let status = self.child.wait();
                Err(format!("it ended with {status:?}: {}", self.complaints()))
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last that it complained of.
    pub(crate) fn complaints(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success(), "SIG{name} to {id}");
    }

    /// Kills it with SIGKILL, and waits until it is gone. Says whether it was still there.
    pub(crate) fn kill(mut self) -> bool {
        let alive = matches!(self.child.try_wait(), Ok(None));
        let _gone = self.child.kill();
        let _status = self.child.wait();
        alive
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self, within: Duration) -> Result<ExitStatus, String> {
        let (said, hears) = mpsc::channel();
        let out = self.out.take();
        // Its end of the pipe closes when it is gone.
        thread::spawn(move || {
            let _rest = out.map(|out| out.lines().count());
            let _gone = said.send(());
        });
        match hears.recv_timeout(within) {
            Ok(()) => self.child.wait().map_err(|error| error.to_string()),
            Err(_) => Err(format!("it has not ended after {within:?}")),
        }
    }

    /// Stops it in order.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.signal("TERM");
        let log = self.log.clone();
        match self.ended(STOP_WITHIN)? {
            status if status.success() => Ok(()),
            status => {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                Err(format!("it stopped with {status}: {said}"))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

fn serve(mut command: Command, folder: &Path, ports: Ports) -> Command {
    for name in ["SERVER", "DATA", "TCP", "HTTP", "INSECURE", "CONFIG", "LOG"] {
        command.env_remove(format!("ANNAL_{name}"));
    }
    command
        .args(["serve", "--json", "--log", "info", "--tcp"])
        .arg(format!("127.0.0.1:{}", ports.native))
        .arg("--http")
        .arg(format!("127.0.0.1:{}", ports.grpc))
        .arg("--data")
        .arg(folder);
    command
}

/// `annal verify`: an error if it does not find everything whole.
pub(crate) fn verify(folder: &Path) -> Result<(), String> {
    let mut command = Command::new(binary());
    command.args(["verify", "--json", "--data"]).arg(folder);
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "annal verify: {} {} {}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Serves with small segments, if the environment says that this process is here for that.
pub(crate) fn host() -> Option<Result<(), String>> {
    let folder = std::env::var_os("ANNAL_FAULTS_HOST")?;
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let port = |name| u16::try_from(number(name)?).ok();
    let ports = Ports {
        native: port("ANNAL_FAULTS_HOST_PORT")?,
        grpc: port("ANNAL_FAULTS_HOST_GRPC_PORT")?,
    };
    let align = number("ANNAL_FAULTS_HOST_ALIGN")?;
    Some(serve_small(Path::new(&folder), ports, align))
}

fn serve_small(folder: &Path, ports: Ports, align: u32) -> Result<(), String> {
    let mut options = StoreOptions::default();
    options.segment_size_bytes = 64 * 1024;
    options.index_flush_events = 256;
    options.unit_align_bytes = align;
    let store = Store::open(folder, options).map_err(|error| error.to_string())?;
    let mut native = ServerOptions::default();
    native.address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.native));
    let mut grpc = GrpcOptions::default();
    grpc.addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, ports.grpc))];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let served = runtime.block_on(async {
        let mut told = signal(SignalKind::terminate()).unwrap();
        let native = Server::bind(store.clone(), native).map_err(|error| error.to_string())?;
        let access = Access::open(store.clone());
        let grpc = GrpcServer::bind_with(&access, None, grpc).map_err(|error| error.to_string())?;
        println!(
            "{{\"notice\": \"listening\", \"position\": {}}}",
            store.committed()
        );
        let (stop, stopped) = watch::channel(false);
        let stopping = || {
            let mut stopped = stopped.clone();
            async move {
                let _told = stopped.wait_for(|stopped| *stopped).await;
            }
        };
        let (native, grpc) = (native.run(stopping()), grpc.run(stopping()));
        let told = async {
            let _told = told.recv().await;
            stop.send_replace(true);
        };
        let (native, grpc, ()) = tokio::join!(native, grpc, told);
        native.map_err(|error| error.to_string())?;
        grpc.map_err(|error| error.to_string())
    });
    served.and_then(|()| store.close().map_err(|error| error.to_string()))
}
