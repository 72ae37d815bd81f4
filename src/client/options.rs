//! Where the server is and how to deal with it, as one text: the connection string.

use std::str::FromStr;
use std::time::Duration;

use super::ConnectError;

/// How a client connects. From a text:
/// `annal://HOST[:PORT][?OPTION=VALUE[&OPTION=VALUE..]]`, where the options are `name`,
/// `connect_timeout_ms`, `reconnect_within_ms` and `credit_bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The server's host name or address. An IPv6 address stands in brackets in the text.
    pub host: String,
    /// The server's port. Default: 2112.
    pub port: u16,
    /// `name`: what the client calls itself in the server's log. Default: `annal`.
    pub name: String,
    /// `connect_timeout_ms`: how long one try to connect may take. Default: 5 s.
    pub connect_timeout: Duration,
    /// `reconnect_within_ms`: how long a lost connection is tried to be made again before whoever
    /// waits for it gets an error. The next request begins anew. Default: 60 s.
    pub reconnect_within: Duration,
    /// `credit_bytes`: how many bytes of events each read and each subscription may have on the
    /// way, and so in this client's memory; at least 1. Default: 2 MiB.
    pub credit_bytes: u64,
}

impl ClientOptions {
    /// The port of a server that does not say another one.
    pub const PORT: u16 = 2112;

    /// Options for a server.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
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
            _ => {
                return Err(format!(
                    "there is no option {name:?}; there are name, connect_timeout_ms, \
                     reconnect_within_ms and credit_bytes"
                ));
            }
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("annal://")
            .ok_or("it does not begin with annal://")?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        if authority.contains('@') {
            return Err("users and passwords are not supported yet".into());
        }
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
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .ok_or(format!("{option:?} has no value"))?;
            options.set(name, value)?;
        }
        Ok(options)
    }
}

impl FromStr for ClientOptions {
    type Err = ConnectError;

    fn from_str(text: &str) -> Result<Self, ConnectError> {
        Self::parse(text).map_err(|problem| ConnectError::Address {
            address: text.to_owned(),
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
            "annal://me:secret@h",
            "annal://h?name",
            "annal://h?colour=red",
            "annal://h?connect_timeout_ms=soon",
        ] {
            let error = text.parse::<ClientOptions>().unwrap_err();
            assert!(matches!(error, ConnectError::Address { .. }), "{text:?}");
        }
    }
}
