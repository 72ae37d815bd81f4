//! Stands in for the crate `testcontainers` in suites that are published for it: the same names,
//! but a container is a process that `SERVER_START` names, a script that is given `SERVER_PORT`,
//! `SERVER_DATA` and `SERVER_TLS` (`true` or `false`) and becomes the server. It ends when its
//! container is stopped or dropped. Only what those suites call is here.

use std::borrow::Cow;
use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

pub mod core {
    //! What describes an image.

    /// A port inside the container. Whatever it is, the server listens on one port outside.
    #[derive(Debug, Clone, Copy)]
    pub enum ContainerPort {
        /// A TCP port.
        Tcp(u16),
    }

    /// A folder or a volume, and where a container sees it.
    #[derive(Debug, Clone)]
    pub struct Mount {
        pub(crate) source: String,
        pub(crate) target: String,
    }

    impl Mount {
        /// `source` outside, `target` inside.
        pub fn bind_mount(source: impl Into<String>, target: impl Into<String>) -> Self {
            Self {
                source: source.into(),
                target: target.into(),
            }
        }
    }

    /// When a container counts as started. Suites ask the server itself, so nothing is kept.
    #[derive(Debug, Clone)]
    pub struct WaitFor;

    impl WaitFor {
        /// Started when the server wrote `_message`.
        pub fn message_on_stdout(_message: impl AsRef<[u8]>) -> Self {
            Self
        }
    }
}

pub mod runners {
    //! What starts a container.

    use super::{ContainerAsync, ContainerRequest, Error, Image, start};

    /// Starts an image.
    pub trait AsyncRunner<I: Image> {
        /// Starts it; that it answers is for the caller to find out.
        fn start(self) -> impl Future<Output = Result<ContainerAsync, Error>> + Send;
    }

    impl<I: Image, R: Into<ContainerRequest<I>> + Send> AsyncRunner<I> for R {
        async fn start(self) -> Result<ContainerAsync, Error> {
            start(&self.into())
        }
    }
}

use crate::core::{ContainerPort, Mount, WaitFor};

/// Where a server keeps its data, as an image of it says.
const DATA_INSIDE: &str = "/var/lib/eventstore";

/// How often to look whether a server has ended that was asked to: for ten seconds.
const STOP_TRIES: u32 = 200;

/// Why a container did not start.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What a container is made from.
pub trait Image: Sized + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;
    /// Its version.
    fn tag(&self) -> &str;
    /// When its container counts as started.
    fn ready_conditions(&self) -> Vec<WaitFor>;
    /// The environment of its container.
    fn env_vars(
        &self,
    ) -> impl IntoIterator<Item = (impl Into<Cow<'_, str>>, impl Into<Cow<'_, str>>)> {
        Vec::<(String, String)>::new()
    }
    /// What its container sees of the outside.
    fn mounts(&self) -> impl IntoIterator<Item = &Mount> {
        std::iter::empty()
    }
    /// The ports its container opens.
    fn expose_ports(&self) -> &[ContainerPort] {
        &[]
    }
}

/// An image and the port it shall have outside, if the suite insists on one.
#[derive(Debug)]
pub struct ContainerRequest<I> {
    image: I,
    port: Option<u16>,
}

impl<I: Image> From<I> for ContainerRequest<I> {
    fn from(image: I) -> Self {
        Self { image, port: None }
    }
}

/// What a suite adds to an image.
pub trait ImageExt<I: Image> {
    /// The port of the container outside.
    fn with_mapped_port(self, outside: u16, inside: ContainerPort) -> ContainerRequest<I>;
}

impl<I: Image, R: Into<ContainerRequest<I>>> ImageExt<I> for R {
    fn with_mapped_port(self, outside: u16, _inside: ContainerPort) -> ContainerRequest<I> {
        ContainerRequest {
            port: Some(outside),
            ..self.into()
        }
    }
}

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct ContainerAsync {
    server: Mutex<Child>,
    port: u16,
}

impl ContainerAsync {
    /// The port of the container outside.
    pub async fn get_host_port_ipv4(&self, _inside: u16) -> Result<u16, Error> {
        Ok(self.port)
    }

    /// Asks the server to end, and makes it end if it does not.
    pub async fn stop(&self) -> Result<(), Error> {
        let id = self.lock()?.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        for _ in 0..STOP_TRIES {
            if self.lock()?.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.kill()
    }

    fn lock(&self) -> Result<MutexGuard<'_, Child>, Error> {
        self.server.lock().map_err(|error| Error(error.to_string()))
    }

    fn kill(&self) -> Result<(), Error> {
        let mut server = self.lock()?;
        server.kill()?; // nothing happens if it already ended
        server.wait()?;
        Ok(())
    }
}

impl Drop for ContainerAsync {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("a server may still run: {error}");
        }
    }
}

fn start<I: Image>(request: &ContainerRequest<I>) -> Result<ContainerAsync, Error> {
    let script = std::env::var("SERVER_START")
        .map_err(|_| Error("SERVER_START names no script that starts a server".into()))?;
    let port = match request.port {
        Some(port) => port,
        None => TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
    };
    let data = data_folder(&request.image, port);
    std::fs::create_dir_all(&data)?;
    let server = Command::new(script)
        .env("SERVER_PORT", port.to_string())
        .env("SERVER_DATA", &data)
        .env("SERVER_TLS", (!is_insecure(&request.image)).to_string())
        .stdin(Stdio::null())
        .spawn()?;
    Ok(ContainerAsync {
        server: Mutex::new(server),
        port,
    })
}

fn is_insecure<I: Image>(image: &I) -> bool {
    image.env_vars().into_iter().any(|(name, value)| {
        let (name, value): (Cow<'_, str>, Cow<'_, str>) = (name.into(), value.into());
        name == "EVENTSTORE_INSECURE" && value == "true"
    })
}

/// A volume outlives its container and is found again by its name; other data is of one container.
fn data_folder<I: Image>(image: &I, port: u16) -> PathBuf {
    let root = std::env::var_os("SERVER_FOLDERS")
        .map_or_else(std::env::temp_dir, |root| Path::new(&root).to_path_buf());
    let mut mounts = image.mounts().into_iter();
    match mounts.find(|mount| mount.target == DATA_INSIDE) {
        Some(volume) => root.join(volume.source.replace('/', "_")),
        None => root.join(format!("container-{}-{port}", std::process::id())),
    }
}
