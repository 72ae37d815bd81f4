//! Who may talk to `annal serve`, and whether what they say is encrypted: the flags, the users'
//! first passwords, and a certificate that stays fresh.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, block_in_place, spawn_blocking};

use super::failure::{Exit, Failure};
use crate::access::{Access, AccessMode, AccessOptions, FirstUser, Password};
use crate::engine::Store;
use crate::tls::{Reload, ServerCertificate, TlsError};

/// The environment's names of the first passwords. They are no flags: everybody on the machine can
/// read the flags of a process.
const ADMIN_PASSWORD: &str = "ANNAL_ADMIN_PASSWORD";
const OPS_PASSWORD: &str = "ANNAL_OPS_PASSWORD";
/// The password that the test suites of EventStoreDB's clients expect.
const COMPAT_PASSWORD: &str = "changeit";

/// The flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Security")]
pub(super) struct SecurityArgs {
    /// Ask everybody for a user and a password, and check what he may do
    #[arg(long, env = "ANNAL_USERS",
        value_parser = clap::builder::BoolishValueParser::new())]
    users: bool,
    /// Encrypt all connections with this certificate (PEM, with its issuers behind it)
    #[arg(long, value_name = "FILE", env = "ANNAL_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "ANNAL_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Let EventStoreDB's clients show a certificate of an issuer in this file (PEM) instead of a
    /// password: its common name is the user
    #[arg(long, value_name = "FILE", env = "ANNAL_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
    /// Give the first users `admin` and `ops` the password `changeit`, for test suites of clients
    #[arg(long, env = "ANNAL_COMPAT_DEFAULT_ADMIN",
        value_parser = clap::builder::BoolishValueParser::new())]
    compat_default_admin: bool,
    /// Listen where other machines can reach it, even without encryption or without users
    #[arg(long, env = "ANNAL_INSECURE",
        value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) insecure: bool,
}

/// What the flags come to for one store.
pub(super) struct Security {
    pub(super) access: Access,
    pub(super) certificate: Option<ServerCertificate>,
    /// Users that were made now.
    first: Vec<FirstUser>,
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        let exit = match &error {
            TlsError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            _ => Exit::Failure,
        };
        Self::new(exit, error).advise("annal cert dev makes a certificate to try it with")
    }
}

impl SecurityArgs {
    /// Refuses, before anything is opened, addresses that others can reach without encryption and
    /// users, and flags that do not go together.
    pub(super) fn check<E: Into<Failure>>(
        &self,
        addresses: &[SocketAddr],
        insecure: impl FnOnce(SocketAddr) -> E,
    ) -> Result<(), Failure> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            let message = "--tls-cert and --tls-key go together";
            return Err(Failure::usage(message));
        }
        if self.tls_client_ca.is_some() && !(self.users && self.tls_cert.is_some()) {
            let message = "--tls-client-ca needs --users, --tls-cert and --tls-key";
            return Err(Failure::usage(message));
        }
        if self.compat_default_admin && !self.users {
            return Err(Failure::usage("--compat-default-admin needs --users"));
        }
        let safe = self.insecure || (self.users && self.tls_cert.is_some());
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(address) if !safe => Err(insecure(*address).into()),
            _ => Ok(()),
        }
    }

    fn certificate(&self) -> Result<Option<ServerCertificate>, Failure> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let certificate = ServerCertificate::load(certificate, key)?;
                Ok(Some(match &self.tls_client_ca {
                    Some(issuers) => certificate.asking_clients(issuers)?,
                    None => certificate,
                }))
            }
            _ => Ok(None),
        }
    }

    /// Loads the certificate, and makes the first users of a store that has none.
    pub(super) fn open(&self, store: &Store) -> Result<Security, Failure> {
        let certificate = self.certificate()?;
        if !self.users {
            return Ok(Security {
                access: Access::open(store.clone()),
                certificate,
                first: Vec::new(),
            });
        }
        let options = AccessOptions {
            mode: AccessMode::Users,
            ..AccessOptions::default()
        };
        let access = Access::new(store.clone(), &options);
        let given = |variable: &str| {
            let given = std::env::var(variable).ok().filter(|text| !text.is_empty());
            let compat = self
                .compat_default_admin
                .then(|| COMPAT_PASSWORD.to_owned());
            given.or(compat).map(Password::new)
        };
        let (admin, ops) = (given(ADMIN_PASSWORD), given(OPS_PASSWORD));
        let first = block_in_place(|| access.create_first_users(admin, ops))?;
        Ok(Security {
            access,
            certificate,
            first,
        })
    }
}

impl Security {
    /// How an address of the native protocol begins.
    pub(super) fn scheme(&self) -> &'static str {
        match &self.certificate {
            Some(_) => "annals",
            None => "annal",
        }
    }

    /// Where a client goes, with what it has to show.
    pub(super) fn address(&self, scheme: &str, address: impl std::fmt::Display) -> String {
        let login = match self.access.is_open() {
            true => "",
            false => "USER:PASSWORD@",
        };
        format!("{scheme}://{login}{address}")
    }

    /// Whether clients have to be told more than an address.
    pub(super) fn is_plain(&self) -> bool {
        self.access.is_open() && self.certificate.is_none()
    }

    /// The passwords that were generated, which are shown this one time.
    pub(super) fn first_users(&self) -> String {
        let shown = self.first.iter().filter_map(|user| {
            let password = user.generated.as_ref()?;
            Some(format!(
                "  user     {}, password {}\n",
                user.login,
                password.reveal()
            ))
        });
        let shown: String = shown.collect();
        match shown.is_empty() {
            true => shown,
            false => format!("{shown}           (keep them: they are not shown again)\n"),
        }
    }

    /// The same for programs.
    pub(super) fn first_users_json(&self) -> Value {
        let shown = self.first.iter().map(|user| {
            let password = user.generated.as_ref().map(Password::reveal);
            json!({ "login": user.login, "password": password })
        });
        shown.collect()
    }

    /// Looks from time to time, and at each SIGHUP, whether the certificate was replaced.
    pub(super) fn keep_fresh(&self) -> Result<Option<Fresh>, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let Some(certificate) = self.certificate.clone() else {
            return Ok(None);
        };
        let mut hangup = signal(SignalKind::hangup())?;
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    _ = hangup.recv() => {}
                    _ = ticks.tick() => {}
                }
                let certificate = certificate.clone();
                match spawn_blocking(move || certificate.reload()).await {
                    Ok(Ok(Reload::Replaced)) => tracing::info!("the certificate was replaced"),
                    Ok(Err(error)) => {
                        tracing::error!(%error, "the certificate stays as it was");
                    }
                    Ok(Ok(Reload::Unchanged)) | Err(_) => {}
                }
            }
        });
        Ok(Some(Fresh(task)))
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Looks after a certificate as long as it lives.
pub(super) struct Fresh(JoinHandle<()>);

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A path as it is written behind `tls_ca=`.
pub(super) fn as_option(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let mut out = String::new();
    for c in text.chars() {
        match plain(c) {
            true => out.push(c),
            false => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    out
}
