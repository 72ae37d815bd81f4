//! Where a setting comes from: a flag, else the environment (`ANNAL_*`), else a TOML file, else the
//! default.
//!
//! The file's keys are the names of the flags that the environment knows too, so there is one list
//! of settings and it lives with the flags. A key at the top level holds for every verb that has
//! the flag; a table named after a verb (`[serve]`) holds for that verb alone and goes first.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Command;
use toml::{Table, Value};

use super::failure::{Exit, Failure};

/// The environment's name of the file.
pub(super) const FILE_VARIABLE: &str = "ANNAL_CONFIG";

/// The file that the command line or the environment names, without reading the rest of them.
pub(super) fn file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut named = None;
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--") => break,
            Some("--config") => named = rest.next().map(PathBuf::from),
            Some(text) => {
                named = text.strip_prefix("--config=").map(PathBuf::from).or(named);
            }
            None => {}
        }
    }
    named.or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from))
}

/// Reads the file and makes its values the defaults of the flags.
pub(super) fn apply(command: Command, file: &Path) -> Result<Command, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failure,
        };
        Failure::new(
            exit,
            format!("cannot read the configuration {name}: {error}"),
        )
    })?;
    let table: Table = text.parse().map_err(|error| {
        Failure::usage(format!("the configuration {name} is not TOML: {error}"))
    })?;
    let settings = Settings::new(&command, &table)
        .map_err(|error| Failure::usage(format!("the configuration {name}: {error}")))?;
    Ok(settings.into_defaults(command))
}

/// (verb, flag, value); an empty verb stands for all.
struct Settings(Vec<(String, String, String)>);

impl Settings {
    /// Every value of the file, if some flag takes it.
    fn new(command: &Command, table: &Table) -> Result<Self, String> {
        let mut settings = Vec::new();
        for (key, value) in table {
            match value {
                Value::Table(of_verb) => {
                    let verb = command
                        .get_subcommands()
                        .find(|verb| verb.get_name() == key);
                    let verb = verb.ok_or_else(|| format!("there is no verb `{key}`"))?;
                    for (flag, value) in of_verb {
                        if !takes(verb, flag) {
                            return Err(format!("`{key}` has no setting `{flag}`"));
                        }
                        settings.push((key.clone(), flag.clone(), text(flag, value)?));
                    }
                }
                _ if command.get_subcommands().any(|verb| takes(verb, key)) => {
                    settings.push((String::new(), key.clone(), text(key, value)?));
                }
                _ => return Err(format!("there is no setting `{key}`")),
            }
        }
        Ok(Self(settings))
    }

    fn into_defaults(self, command: Command) -> Command {
        command.mut_subcommands(|verb| {
            let name = verb.get_name().to_owned();
            self.with_defaults(verb, &name)
        })
    }

    /// A verb with the values for the top-level verb of this name as defaults, and the verbs below
    /// it too.
    fn with_defaults(&self, verb: Command, name: &str) -> Command {
        let verb = verb.mut_args(|flag| {
            let known = flag.get_env().and(flag.get_long());
            match known.and_then(|known| self.value(name, known)) {
                Some(value) => flag.default_value(value),
                None => flag,
            }
        });
        verb.mut_subcommands(|below| self.with_defaults(below, name))
    }

    fn value(&self, verb: &str, flag: &str) -> Option<String> {
        let of = |wanted: &str| {
            let mut all = self.0.iter();
            all.find(|(verb, name, _)| verb == wanted && name == flag)
        };
        of(verb)
            .or_else(|| of(""))
            .map(|(_, _, value)| value.clone())
    }
}

/// Whether the verb, or one below it, has a flag of this name that the environment knows too.
fn takes(verb: &Command, name: &str) -> bool {
    let mut flags = verb.get_arguments();
    flags.any(|flag| flag.get_env().is_some() && flag.get_long() == Some(name))
        || verb.get_subcommands().any(|below| takes(below, name))
}

fn text(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(yes) => Ok(yes.to_string()),
        _ => Err(format!(
            "`{key}` takes a text, a whole number, true or false"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    fn command() -> Command {
        let flag = |name: &'static str, env: &'static str| Arg::new(name).long(name).env(env);
        let server = || flag("server", "ANNAL_TEST_SERVER").default_value("built in");
        Command::new("annal")
            .subcommand(
                Command::new("serve")
                    .arg(flag("tcp", "ANNAL_TEST_TCP"))
                    .arg(flag("insecure", "ANNAL_TEST_INSECURE").action(ArgAction::SetTrue)),
            )
            .subcommand(
                Command::new("read")
                    .arg(server())
                    .arg(Arg::new("max").long("max")),
            )
            .subcommand(Command::new("stream").subcommand(Command::new("ls").arg(server())))
    }

    fn parsed(toml: &str, line: &[&str]) -> clap::ArgMatches {
        let table = toml.parse().unwrap();
        let command = Settings::new(&command(), &table)
            .unwrap()
            .into_defaults(command());
        command.try_get_matches_from(line).unwrap()
    }

    fn server(matches: &clap::ArgMatches, path: &[&str]) -> String {
        let below = path
            .iter()
            .fold(matches, |m, verb| m.subcommand_matches(verb).unwrap());
        below.get_one::<String>("server").unwrap().clone()
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let toml = "server = 'file'\n[stream]\nserver = 'table'";
        assert_eq!(
            server(&parsed("", &["annal", "read"]), &["read"]),
            "built in"
        );
        assert_eq!(server(&parsed(toml, &["annal", "read"]), &["read"]), "file");
        let flagged = ["annal", "read", "--server", "flag"];
        assert_eq!(server(&parsed(toml, &flagged), &["read"]), "flag");
        let below = parsed(toml, &["annal", "stream", "ls"]);
        assert_eq!(server(&below, &["stream", "ls"]), "table");
    }

    #[test]
    fn a_switch_can_be_thrown_in_the_file() {
        let matches = parsed("[serve]\ninsecure = true", &["annal", "serve"]);
        let (_, serve) = matches.subcommand().unwrap();
        assert!(serve.get_flag("insecure"));
    }

    #[test]
    fn what_no_flag_takes_is_refused() {
        for (toml, message) in [
            ("sever = 'x'", "there is no setting `sever`"),
            ("max = 1", "there is no setting `max`"),
            ("[sever]", "there is no verb `sever`"),
            ("[read]\ntcp = 'x'", "`read` has no setting `tcp`"),
            ("server = []", "`server` takes a text"),
        ] {
            let refused = Settings::new(&command(), &toml.parse().unwrap())
                .err()
                .unwrap();
            assert!(refused.starts_with(message), "{refused}");
        }
    }

    #[test]
    fn the_file_is_found_before_anything_is_parsed() {
        let found = |line: &[&str]| {
            let line: Vec<OsString> = line.iter().map(OsString::from).collect();
            file(&line).map(|path| path.display().to_string())
        };
        assert_eq!(
            found(&["annal", "serve", "--config", "a"]).as_deref(),
            Some("a")
        );
        assert_eq!(
            found(&["annal", "--config=b", "serve"]).as_deref(),
            Some("b")
        );
        assert_eq!(found(&["annal", "serve", "--", "--config=b"]), None);
    }
}
