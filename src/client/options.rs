//! Where the server is and how to deal with it, as one text: the connection string.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::ConnectError;

/// How a client connects. From a text:
/// `annal[s]://[USER:PASSWORD@]HOST[:PORT][?OPTION=VALUE[&OPTION=VALUE..]]`, where the options are
/// `name`, `connect_timeout_ms`, `reconnect_within_ms` and `credit_bytes`.
///
/// `annals://` is the same over TLS, with the further options `tls_ca`, `tls_name` and
/// `tls_verify`. In user, password and `tls_ca`, `%40` stands for `@`, and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Who the client is; none for nobody. What it shows is readable on the way unless the
    /// connection is encrypted.
    pub login: Option<Login>,
    /// How the connection is encrypted; none if it is not.
    pub tls: Option<TlsOptions>,
    /// The server's host name or address. An IPv6 address stands in brackets in the text.
    pub host: String,
    /// The server's port. Default: 2112.
    pub port: u16,
    /// `name`: what the client calls itself in the server's log. Default: `annal`.
    pub name: String,
    /// `connect_timeout_ms`: how long one try to connect may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// `reconnect_within_ms`: how long a lost connection is tried to be made again before whoever
    /// waits for it gets an error: with pauses of 20 ms to 2 s between the tries, of which each is
    /// shortened by up to a half at random. A connection that is lost again before it has answered
    /// anything is a try that failed. The next request begins anew. Default: 60 s.
    pub reconnect_within: Duration,
    /// `credit_bytes`: how many bytes of events each read and each subscription may have on the
    /// way, and so in this client's memory; at least 1. Default: 2 MiB.
    pub credit_bytes: u64,
}

/// A user and his password. Debug output does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// His password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How a connection is encrypted, and with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// `tls_ca`: a PEM file of those who may have signed the server's certificate. Default: those
    /// whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// `tls_name`: the name that the certificate is for. Default: the host.
    pub server_name: Option<String>,
    /// `tls_verify`: whether the certificate is looked at. Without that nobody knows who answers.
    /// Default: `true`.
    pub verify: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            server_name: None,
            verify: true,
        }
    }
}

impl ClientOptions {
    /// The port of a server that does not say another one.
    pub const PORT: u16 = 2112;

    /// Options for a server.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            login: None,
            tls: None,
            host: host.into(),
            port,
            name: "annal".into(),
            connect_timeout: Duration::from_secs(5),
            reconnect_within: Duration::from_secs(60),
            credit_bytes: 2 * 1024 * 1024,
        }
    }

    /// The address as text, `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{name}={value}: this is not a number"))
        };
        match name {
            "name" if value.len() <= 256 => self.name = value.to_owned(),
            "name" => return Err("a name has at most 256 bytes".into()),
            "connect_timeout_ms" => self.connect_timeout = Duration::from_millis(number()?),
            "reconnect_within_ms" => self.reconnect_within = Duration::from_millis(number()?),
            "credit_bytes" => self.credit_bytes = number()?.max(1),
            "tls_ca" => self.tls()?.ca_file = Some(decoded(value)?.into()),
            "tls_name" => self.tls()?.server_name = Some(decoded(value)?),
            "tls_verify" => {
                self.tls()?.verify = value
                    .parse()
                    .map_err(|_| format!("{name}={value}: write true or false"))?;
            }
            _ => {
                return Err(format!(
                    "there is no option {name:?}; there are name, connect_timeout_ms, \
                     reconnect_within_ms, credit_bytes, tls_ca, tls_name and tls_verify"
                ));
            }
        }
        Ok(())
    }

    fn tls(&mut self) -> Result<&mut TlsOptions, &'static str> {
        self.tls
            .as_mut()
            .ok_or("an option of TLS needs an address that begins with annals://")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (rest, tls) = match (
            text.strip_prefix("annal://"),
            text.strip_prefix("annals://"),
        ) {
            (Some(rest), _) => (rest, None),
            (None, Some(rest)) => (rest, Some(TlsOptions::default())),
            (None, None) => return Err("it begins with neither annal:// nor annals://".into()),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (login, authority) = match authority.rsplit_once('@') {
            Some((login, authority)) => (Some(Login::parse(login)?), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("a bracket is not closed")?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() || host.contains(['/', '#']) {
            return Err("there is no host".into());
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port
                .parse()
                .map_err(|_| format!("{port:?} is not a port"))?,
            None if port.is_empty() => Self::PORT,
            None => return Err(format!("{port:?} is not a port")),
        };
        let mut options = Self::new(host, port);
        (options.login, options.tls) = (login, tls);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .ok_or(format!("{option:?} has no value"))?;
            options.set(name, value)?;
        }
        Ok(options)
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, String> {
        let (user, password) = text
            .split_once(':')
            .ok_or("in front of the @ stand a user, a colon and a password")?;
        Ok(Self {
            user: decoded(user)?,
            password: decoded(password)?,
        })
    }
}

/// A text with its `%XX` replaced by the bytes that they stand for.
fn decoded(text: &str) -> Result<String, String> {
    let problem = || "a % is followed by two hexadecimal digits of UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(problem)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| problem())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| problem())
}

/// An address without the password that may stand in it.
fn without_password(address: &str) -> String {
    let Some((front, host)) = address.rsplit_once('@') else {
        return address.to_owned();
    };
    let start = front.find("://").map_or(0, |start| start + 3);
    match front.get(start..).and_then(|login| login.split_once(':')) {
        Some((user, _)) => format!("{}{user}:..@{host}", front.get(..start).unwrap_or_default()),
        None => address.to_owned(),
    }
}

impl FromStr for ClientOptions {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        Self::parse(text).map_err(|problem| ConnectError::Address {
            address: without_password(text),
            problem,
        })
    }
}

impl TryFrom<&str> for ClientOptions {
    type Error = ConnectError;

    fn try_from(text: &str) -> Result<Self, ConnectError> {
        text.parse()
    }
}

impl TryFrom<&String> for ClientOptions {
    type Error = ConnectError;

    fn try_from(text: &String) -> Result<Self, ConnectError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_perhaps_a_port_and_options() {
        let parsed = |text: &str| text.parse::<ClientOptions>().unwrap();
        assert_eq!(parsed("annal://localhost").address(), "localhost:2112");
        assert_eq!(parsed("annal://127.0.0.1:1/").address(), "127.0.0.1:1");
        assert_eq!(parsed("annal://[::1]").address(), "[::1]:2112");
        assert_eq!(parsed("annal://[::1]:7").address(), "[::1]:7");
        let options = parsed("annal://h?name=me&connect_timeout_ms=7&credit_bytes=0");
        assert_eq!(options.name, "me");
        assert_eq!(options.connect_timeout, Duration::from_millis(7));
        assert_eq!(
            options.credit_bytes, 1,
            "without credit nothing would ever come"
        );
    }

    #[test]
    fn an_address_may_say_who_and_how() {
        let parsed = |text: &str| text.parse::<ClientOptions>().unwrap();
        let plain = parsed("annal://ouro:a%40b%3Ac@h:7");
        let login = plain.login.clone().unwrap();
        assert_eq!((&*login.user, &*login.password), ("ouro", "a@b:c"));
        assert_eq!((plain.address().as_str(), &plain.tls), ("h:7", &None));
        assert!(!format!("{plain:?}").contains("a@b"));
        let tls = parsed("annals://h?tls_ca=%2Fetc%2Fca.crt&tls_name=n&tls_verify=false");
        let tls = tls.tls.unwrap();
        assert_eq!(tls.ca_file.as_deref(), Some("/etc/ca.crt".as_ref()));
        assert_eq!((tls.server_name.as_deref(), tls.verify), (Some("n"), false));
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in ["annal://me:secret@", "annal://me:secret@h:x", "me:secret@h"] {
            let error = text.parse::<ClientOptions>().unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret") && shown.contains("me"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for text in [
            "",
            "localhost:2112",
            "http://localhost",
            "annal://",
            "annal://:1",
            "annal://h:",
            "annal://h:65536",
            "annal://[::1",
            "annal://[::1]x",
            "annal://me@h",
            "annal://me:%zz@h",
            "annal://me:%e@h",
            "annal://h?tls_ca=x",
            "annals://h?tls_verify=perhaps",
            "annal://h?name",
            "annal://h?colour=red",
            "annal://h?connect_timeout_ms=soon",
        ] {
            let error = text.parse::<ClientOptions>().unwrap_err();
            assert!(matches!(error, ConnectError::Address { .. }), "{text:?}");
        }
    }
}
