//! How a test starts the binary, and a server of it that ends with the test.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// The binary, without an input and without the settings of whoever runs the tests.
pub(crate) fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annal"));
    let variables = std::env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("ANNAL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).args(arguments);
    command
}

/// Runs it to its end.
pub(crate) fn annal(arguments: &[&str]) -> Output {
    binary(arguments).output().unwrap()
}

/// What it has said, on both outputs.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

/// That it ended with this code; what it has said.
#[track_caller]
pub(crate) fn ends(output: &Output, code: i32) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// A running `annal serve` on free ports, that ends with the test.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) out: BufReader<ChildStdout>,
    /// Its first line.
    pub(crate) hello: Value,
    /// Where its native protocol is.
    pub(crate) address: String,
}

impl Served {
    /// Serves a folder over the native protocol alone.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::with(folder, &["--http", "none"])
    }

    /// Serves a folder with more flags.
    pub(crate) fn with(folder: &Path, more: &[&str]) -> Self {
        let mut command = binary(&["serve", "--json", "--tcp", "127.0.0.1:0", "--data"]);
        command.arg(folder).args(more);
        Self::spawn(command)
    }

    /// Starts what serves, and waits until it does.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let hello: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        let address = hello["server"].as_str().unwrap_or_default().to_owned();
        Self {
            child,
            out,
            hello,
            address,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Stops it in order; its last line.
    pub(crate) fn stop(mut self, signal: &str) -> Value {
        self.signal(signal);
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(&line).unwrap()
    }

    /// Stops it in order; everything that it has said since it began to listen.
    pub(crate) fn stop_and_hear(mut self) -> String {
        self.signal("TERM");
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        if let Some(mut err) = self.child.stderr.take() {
            err.read_to_string(&mut said).unwrap();
        }
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
