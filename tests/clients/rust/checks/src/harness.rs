//! How checks are run and reported: one at a time, each with a time limit, each ending in one of
//! three outcomes. A client that panics has failed the check, and the ones behind it run.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

/// The longest a check may take.
const CHECK_WITHIN: Duration = Duration::from_secs(40);

/// How a check fails: anything.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a check returns.
pub(crate) type Checked = Result<(), Failure>;

/// The client has no such call.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) &'static str);

impl std::fmt::Display for Absent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Absent {}

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) ca_file: Option<String>,
    only: String,
    out: String,
}

impl Arguments {
    pub(crate) fn from_environment() -> Result<Self, Failure> {
        let mut arguments = Self {
            client: String::new(),
            host: "localhost".into(),
            port: 2113,
            ca_file: None,
            only: String::new(),
            out: String::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or("each option has a value")?;
            match word.as_str() {
                "--client" => arguments.client = value,
                "--host" => arguments.host = value,
                "--port" => arguments.port = value.parse()?,
                "--ca" => arguments.ca_file = Some(value),
                "--only" => arguments.only = value,
                "--out" => arguments.out = value,
                _ => return Err(format!("{word} is no option").into()),
            }
        }
        Ok(arguments)
    }
}

/// Where results go.
#[derive(Debug)]
pub(crate) struct Report {
    out: File,
    only: String,
    tls: bool,
}

impl Report {
    pub(crate) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&arguments.out)?;
        Ok(Self {
            out,
            only: arguments.only.clone(),
            tls: arguments.ca_file.is_some(),
        })
    }

    /// Runs a check and writes down how it ended.
    pub(crate) async fn run<F>(&mut self, client: &str, call: &str, check: F) -> Result<(), Failure>
    where
        F: Future<Output = Checked> + Send + 'static,
    {
        if !call.starts_with(&self.only) {
            return Ok(());
        }
        let task = tokio::spawn(check); // a panic of the client stays inside
        let stop = task.abort_handle();
        let (outcome, detail) = match tokio::time::timeout(CHECK_WITHIN, task).await {
            Ok(Ok(Ok(()))) => ("works", String::new()),
            Ok(Ok(Err(error))) if error.is::<Absent>() => ("absent", error.to_string()),
            Ok(Ok(Err(error))) => ("differs", error.to_string()),
            Ok(Err(panic)) => ("differs", panicked(panic)),
            Err(_) => ("differs", format!("no end within {CHECK_WITHIN:?}")),
        };
        stop.abort();
        if outcome == "differs" {
            eprintln!("{client} {call}: {detail}");
        }
        let mut line = json!({"client": client, "tls": self.tls, "call": call, "outcome": outcome});
        if !detail.is_empty() {
            line["detail"] = detail.chars().take(400).collect::<String>().into();
        }
        writeln!(self.out, "{line}")?;
        Ok(())
    }
}

fn panicked(panic: tokio::task::JoinError) -> String {
    let Ok(payload) = panic.try_into_panic() else {
        return "the check was cancelled".into();
    };
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
    format!("panicked: {}", text.unwrap_or_default())
}

/// Waits until `condition` yields something.
pub(crate) async fn until<T, C, F>(mut condition: C) -> Result<T, Failure>
where
    C: FnMut() -> F,
    F: Future<Output = Result<Option<T>, Failure>>,
{
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err("the condition did not come true in time".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
