//! `annal user`: who may use a store.

use std::io::{self, IsTerminal};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::failure::{Exit, Failure};
use super::output::{Output, faint, pad, strong};
use super::target::{Make, Target, TargetArgs};
use crate::access::{Access, AccessOptions, NewUser, Password, UserError};
use crate::client::{self, Client};
use crate::model::Timestamp;

/// List, make, change or remove users
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Ls(Ls),
    Add(Add),
    Rm(One),
    Passwd(Passwd),
    #[command(about = "Let a user in again")]
    #[command(after_help = "Examples:\n  annal user enable ouro")]
    Enable(One),
    #[command(about = "Keep a user out, at once and also on the connections that he has")]
    #[command(after_help = "Examples:\n  annal user disable ouro")]
    Disable(One),
    Group(Group),
}

/// List users
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal user ls --server annal://admin:PASSWORD@127.0.0.1:2112
  annal user ls --data ./annal-data --json         of a folder, no server running")]
pub(super) struct Ls {
    #[command(flatten)]
    target: TargetArgs,
}

/// Make a user
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The password is asked for on a terminal; otherwise it is the first line of the standard
input. A user is in the groups named: $admins may do everything, $ops keeps the server
going, and others count where the access list of a stream names them.

Examples:
  annal user add ouro --full-name 'Ouro Boros' --group readers
  annal user add robot --generate --server annal://admin:PASSWORD@127.0.0.1:2112")]
pub(super) struct Add {
    /// What he is called
    login: String,
    /// His name for people
    #[arg(long, value_name = "NAME", default_value = "")]
    full_name: String,
    /// A group that he is in
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Make up a password, and show it
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Remove a user
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal user rm ouro")]
pub(super) struct One {
    /// What he is called
    login: String,
    #[command(flatten)]
    target: TargetArgs,
}

/// Give a user another password
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The new password is asked for on a terminal; otherwise it is the first line of the
standard input. With --own the one before comes first, and nobody's leave is needed.
Connections made with the one before are allowed nothing any more.

Examples:
  annal user passwd ouro --server annal://admin:PASSWORD@127.0.0.1:2112
  annal user passwd ouro --own --server annal://ouro:PASSWORD@127.0.0.1:2112")]
pub(super) struct Passwd {
    /// What he is called
    login: String,
    /// Show the password before, instead of being an administrator
    #[arg(long)]
    own: bool,
    /// Make up a password, and show it
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Put a user into these groups, and into no others
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal user group ouro readers writers
  annal user group ouro                            takes him out of all")]
pub(super) struct Group {
    /// What he is called
    login: String,
    /// The groups
    groups: Vec<String>,
    #[command(flatten)]
    target: TargetArgs,
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        let exit = match &error {
            UserError::NotFound(_) => Exit::NotFound,
            UserError::Conflict(_) => Exit::Conflict,
            UserError::WrongPassword(_) => Exit::Denied,
            UserError::Invalid(_) => Exit::Usage,
            UserError::Busy => Exit::Unavailable,
            UserError::Store(cause) => return Self::from(cause.clone()),
        };
        Self::new(exit, error)
    }
}

/// Where users are kept: a server, or a folder whose owner may do everything.
enum Users {
    Server(Client),
    Folder(Access),
}

impl Users {
    async fn open(args: &TargetArgs) -> Result<(Self, Target), Failure> {
        let target = Target::open(args, Make::No).await?;
        let users = match &target {
            Target::Server(client) => Self::Server(client.clone()),
            Target::Folder(store) => {
                Self::Folder(Access::new(store.clone(), &AccessOptions::default()))
            }
        };
        Ok((users, target))
    }
}

/// Does what is asked, and says so.
pub(super) async fn run(verb: Verb, output: Output) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(args, output).await,
        Verb::Add(args) => add(args, output).await,
        Verb::Passwd(args) => passwd(args, output).await,
        Verb::Rm(args) => change(args, Change::Remove, output).await,
        Verb::Enable(args) => change(args, Change::Enable, output).await,
        Verb::Disable(args) => change(args, Change::Disable, output).await,
        Verb::Group(Group {
            login,
            groups,
            target,
        }) => change(One { login, target }, Change::Groups(groups), output).await,
    }
}

async fn ls(args: Ls, output: Output) -> Result<(), Failure> {
    let (users, target) = Users::open(&args.target).await?;
    let listed = match &users {
        Users::Server(client) => client.users().await?,
        Users::Folder(access) => access.users().into_iter().map(shown).collect(),
    };
    for user in &listed {
        let updated = Timestamp::from_micros(user.updated_us);
        let state = if user.disabled { "disabled" } else { "" };
        let groups = user.groups.join(" ");
        let text = format!(
            "{}  {}  {}  {}",
            strong(pad(&user.login, 16)),
            pad(&groups, 24),
            pad(&user.full_name, 24),
            faint(state)
        );
        let json = json!({
            "login": user.login,
            "full_name": user.full_name,
            "groups": user.groups,
            "disabled": user.disabled,
            "updated": updated.to_string(),
        });
        output.result(text.trim_end(), &json)?;
    }
    drop(users);
    target.close().await
}

fn shown(user: crate::access::User) -> client::User {
    client::User {
        login: user.login,
        full_name: user.full_name,
        groups: user.groups,
        disabled: user.disabled,
        created_us: user.created_us,
        updated_us: user.updated_us,
        revision: user.revision,
    }
}

async fn add(args: Add, output: Output) -> Result<(), Failure> {
    let (password, generated) = new_password(args.generate)?;
    let (users, target) = Users::open(&args.target).await?;
    let login = args.login;
    match &users {
        Users::Server(client) => {
            let text = password.reveal();
            client
                .create_user(&login, &args.full_name, args.group, text)
                .await?;
        }
        Users::Folder(access) => block_in_place(|| {
            access.create_user(NewUser {
                login: login.clone(),
                full_name: args.full_name,
                groups: args.group,
                password: password.clone(),
            })
        })?,
    }
    drop(users);
    target.close().await?;
    done(&login, "is there", generated.then_some(&password), output)
}

async fn passwd(args: Passwd, output: Output) -> Result<(), Failure> {
    let before = match args.own {
        true => Some(ask("password before: ")?),
        false => None,
    };
    let (password, generated) = new_password(args.generate)?;
    let (users, target) = Users::open(&args.target).await?;
    let login = args.login;
    match (&users, before) {
        (Users::Server(client), None) => {
            client.reset_password(&login, password.reveal()).await?;
        }
        (Users::Server(client), Some(before)) => {
            let (before, new) = (before.reveal(), password.reveal());
            client.change_password(&login, before, new).await?;
        }
        (Users::Folder(access), None) => {
            block_in_place(|| access.reset_password(&login, &password))?;
        }
        (Users::Folder(access), Some(before)) => {
            block_in_place(|| access.change_password(&login, &before, &password))?;
        }
    }
    drop(users);
    target.close().await?;
    let what = "has another password";
    done(&login, what, generated.then_some(&password), output)
}

/// What can be done with one user.
enum Change {
    Remove,
    Enable,
    Disable,
    Groups(Vec<String>),
}

async fn change(args: One, change: Change, output: Output) -> Result<(), Failure> {
    let (users, target) = Users::open(&args.target).await?;
    let login = &*args.login;
    let what = match &change {
        Change::Remove => "was removed",
        Change::Enable => "is let in",
        Change::Disable => "is kept out",
        Change::Groups(_) => "is in other groups",
    };
    match (&users, change) {
        (Users::Server(client), Change::Remove) => client.delete_user(login).await?,
        (Users::Server(client), Change::Enable) => client.enable_user(login).await?,
        (Users::Server(client), Change::Disable) => client.disable_user(login).await?,
        (Users::Server(client), Change::Groups(groups)) => {
            let name = client.user(login).await?.full_name;
            client.update_user(login, &name, groups).await?;
        }
        (Users::Folder(access), change) => block_in_place(|| match change {
            Change::Remove => access.delete_user(login),
            Change::Enable => access.enable_user(login),
            Change::Disable => access.disable_user(login),
            Change::Groups(groups) => {
                let name = access.user(login)?.full_name;
                access.update_user(login, &name, groups)
            }
        })?,
    }
    drop(users);
    target.close().await?;
    done(login, what, None, output)
}

fn done(
    login: &str,
    what: &str,
    generated: Option<&Password>,
    output: Output,
) -> Result<(), Failure> {
    let mut text = format!("{login} {what}");
    let mut json = json!({ "login": login });
    if let (Some(password), Value::Object(json)) = (generated, &mut json) {
        text.push_str(&format!("; the password is {}", password.reveal()));
        json.insert("password".into(), password.reveal().into());
    }
    output.result(&text, &json)
}

/// A new password, and whether it was made up.
fn new_password(generate: bool) -> Result<(Password, bool), Failure> {
    if generate {
        return Ok((Password::generate(), true));
    }
    let password = ask("new password: ")?;
    if io::stdin().is_terminal() && ask("the same again: ")? != password {
        return Err(Failure::usage("the two are not the same"));
    }
    Ok((password, false))
}

/// Asks on the terminal without showing what is typed; otherwise takes the next line of the input.
fn ask(what: &str) -> Result<Password, Failure> {
    let line = match io::stdin().is_terminal() {
        true => {
            let term = console::Term::stderr();
            term.write_str(what)?;
            term.read_secure_line()?
        }
        false => {
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    match line.is_empty() {
        true => Err(Failure::usage("there is no password on the standard input")
            .advise("type it on a terminal, write it to the standard input, or use --generate")),
        false => Ok(Password::new(line)),
    }
}
