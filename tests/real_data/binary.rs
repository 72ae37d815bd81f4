//! The binary, as its users run it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::answers::{self, Answers};

/// The command without anything that the environment says.
pub(crate) fn annal() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annal"));
    command.stdin(Stdio::null());
    for name in ["SERVER", "DATA", "TCP", "INSECURE", "CONFIG", "LOG"] {
        command.env_remove(format!("ANNAL_{name}"));
    }
    command
}

/// A folder on the disk that the build is on, which holds files for real.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The import of a data set: of `git-histories`, each commit is one append.
pub(crate) fn import(answers: &Answers, server: &str) -> Command {
    let mut command = annal();
    command.arg("import").arg(answers.ndjson());
    command.args(["--server", server, "--json"]);
    if answers.value["dataset"] == "git-histories" {
        command.args(["--atomic-by", "/metadata/commit"]);
    }
    command
}

/// Imports, and gives what the verb says of it.
pub(crate) fn imported(answers: &Answers, server: &str) -> Value {
    let output = import(answers, server).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The SHA-256 of what an export from a folder writes.
pub(crate) fn exported_sha256(folder: &Path) -> String {
    let mut command = annal();
    command.args(["export", "-", "--data"]).arg(folder);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = child.stdout.take().unwrap();
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match lines.read(&mut piece).unwrap() {
            0 => break,
            len => hash.update(&piece[..len]),
        }
    }
    assert!(child.wait().unwrap().success());
    answers::hex(hash)
}

/// A running `annal serve`. Dropping it kills it.
pub(crate) struct Served {
    child: Child,
    pub(crate) url: String,
    /// The line that says that it listens.
    pub(crate) hello: Value,
}

impl Served {
    /// Starts it and returns when it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut command = annal();
        command.args([
            "serve",
            "--tcp",
            "127.0.0.1:0",
            "--http",
            "none",
            "--json",
            "--data",
        ]);
        command.arg(folder).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.as_mut().unwrap());
        out.read_line(&mut line).unwrap();
        let hello: Value = serde_json::from_str(&line).unwrap();
        let url = hello["server"].as_str().unwrap().to_owned();
        Self { child, url, hello }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it as Ctrl-C does.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        // It says that it has stopped, and somebody has to listen.
        let mut rest = String::new();
        let out = self.child.stdout.as_mut().unwrap();
        out.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // What was stopped cannot be killed, and need not be.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
