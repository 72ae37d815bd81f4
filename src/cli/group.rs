//! `annal group`: consumer groups, and being a member of one.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::output::{EventLines, Output, faint, pad, strong};
use super::target::{Make, Target, TargetArgs};
use super::values;
use crate::client::{Delivery, Group, GroupError, GroupPlace, Groups, NackAction};
use crate::model::{
    EventFilter, FilterTarget, GroupName, GroupSettings, GroupSource, GroupStart, GroupStrategy,
    Position, Revision,
};
use crate::protocol::WireError;

/// List, make, show, replay or remove consumer groups, or be a member of one
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Ls(Ls),
    Create(Create),
    Show(One),
    #[command(about = "Remove a consumer group and what it has parked")]
    #[command(after_help = "Examples:\n  annal group rm order-1 billing")]
    Rm(One),
    Replay(Replay),
    Consume(Consume),
}

/// List consumer groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal group ls
  annal group ls '$all' --json")]
pub(super) struct Ls {
    /// Only those of this stream, or of $all
    source: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Make a consumer group
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An event goes to one member of the group. With the strategy Ordered, the next event of its
stream goes out when it was acknowledged, and when it is parked the rest of its stream is
parked behind it.

Examples:
  annal group create order-1 billing
  annal group create '$ce-order' billing --resolve-links --strategy Pinned --from end
  annal group create '$all' audit --prefix order- --strategy Ordered --retries 3")]
pub(super) struct Create {
    #[command(flatten)]
    which: Which,
    /// Where to begin: start, end, a revision of the stream, or a position of $all; included
    #[arg(long, value_name = "PLACE", default_value = "start")]
    from: String,
    /// Of $all, only streams whose names begin with this text; may be repeated
    #[arg(long, value_name = "TEXT")]
    prefix: Vec<String>,
    /// Which member gets which event
    #[arg(long, value_name = "NAME", default_value = "RoundRobin", value_parser = strategy)]
    strategy: GroupStrategy,
    /// Deliver what a link points to, beside the link
    #[arg(long)]
    resolve_links: bool,
    /// How often an event is delivered again until it is parked
    #[arg(long, value_name = "N", default_value_t = 10)]
    retries: u32,
    /// How many seconds a member may take for an event
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
    #[command(flatten)]
    target: TargetArgs,
}

/// Which group.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The stream, or $all
    #[arg(value_parser = source)]
    source: GroupSource,
    /// The group
    #[arg(value_parser = group)]
    group: GroupName,
}

/// Show a consumer group: where it is, and what it waits for
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal group show order-1 billing
  annal group show '$all' audit --json")]
pub(super) struct One {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    target: TargetArgs,
}

/// Deliver again what a consumer group has parked
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annal group replay order-1 billing
  annal group replay order-1 billing --before 10   only the first ten of the parked stream")]
pub(super) struct Replay {
    #[command(flatten)]
    which: Which,
    /// Stop in front of this revision of the parked stream
    #[arg(long, value_name = "REVISION")]
    before: Option<u64>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Take events of a consumer group, print them, and acknowledge them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Goes on until Ctrl-C. An event is acknowledged when it was printed.

Examples:
  annal group consume order-1 billing
  annal group consume order-1 billing --max 10 --json
  annal group consume '$all' audit --refuse park --max 1   parks the next event")]
pub(super) struct Consume {
    #[command(flatten)]
    which: Which,
    /// End after this many events
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// How many events are taken before the first is acknowledged
    #[arg(long, value_name = "N", default_value_t = 10)]
    credit: u32,
    /// Do not acknowledge events, but refuse them
    #[arg(long, value_name = "HOW")]
    refuse: Option<Refusal>,
    #[command(flatten)]
    target: TargetArgs,
}

/// What becomes of a refused event.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Refusal {
    /// It is parked
    Park,
    /// It is delivered again
    Retry,
    /// It is left out
    Skip,
}

fn source(text: &str) -> Result<GroupSource, String> {
    match text {
        "$all" => Ok(GroupSource::ALL),
        stream => values::stream(stream).map(GroupSource::Stream),
    }
}

fn group(text: &str) -> Result<GroupName, String> {
    GroupName::new(text.to_owned()).map_err(|error| error.to_string())
}

fn strategy(text: &str) -> Result<GroupStrategy, String> {
    GroupStrategy::of_name(text).map_err(|error| error.to_string())
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        let exit = match &error {
            GroupError::NotFound { .. } => Exit::NotFound,
            GroupError::Exists { .. } | GroupError::ReplayRunning => Exit::Conflict,
            GroupError::Denied(_) => Exit::Denied,
            GroupError::Invalid(_) => Exit::Usage,
            GroupError::Connection(error) => return Self::from(error.clone()),
            GroupError::Server(WireError::Storage { kind, .. }) => (*kind).into(),
            GroupError::Dropped(_) | GroupError::Unknown | GroupError::Server(_) => Exit::Failure,
        };
        Self::new(exit, error)
    }
}

/// The groups of a server. Members come and go over connections, so a folder has none.
async fn open(args: &TargetArgs) -> Result<Groups, Failure> {
    match Target::open(args, Make::No).await? {
        Target::Server(client) => Ok(client.groups()),
        Target::Folder(_) => Err(Failure::usage(
            "consumer groups are looked after by a server",
        )),
    }
}

/// Does what is asked.
pub(super) async fn run(verb: Verb, output: Output) -> Result<(), Failure> {
    match verb {
        Verb::Ls(args) => ls(args, output).await,
        Verb::Create(args) => create(args, output).await,
        Verb::Show(args) => show(args, output).await,
        Verb::Rm(One { which, target }) => {
            let groups = open(&target).await?;
            groups.delete(&which.source, &which.group).await?;
            done(&which, "was removed", output)
        }
        Verb::Replay(args) => {
            let groups = open(&args.target).await?;
            let Which { source, group } = &args.which;
            let before = args.before.map(Revision);
            groups.replay_parked(source, group, before).await?;
            done(&args.which, "delivers again what it has parked", output)
        }
        Verb::Consume(args) => consume(args, output).await,
    }
}

fn done(which: &Which, what: &str, output: Output) -> Result<(), Failure> {
    let (source, group) = (which.source.to_string(), which.group.to_string());
    let text = format!("{source} {group} {what}");
    output.result(&text, &json!({"source": source, "group": group}))
}

async fn ls(args: Ls, output: Output) -> Result<(), Failure> {
    let groups = open(&args.target).await?;
    let of = args.source.as_deref().map(source).transpose();
    let of = of.map_err(Failure::usage)?;
    for group in groups.list(of.as_ref()).await? {
        let figure = |name: &str| group.figure(name).unwrap_or(0);
        let text = format!(
            "{}  {}  {}  {}",
            strong(pad(group.name.as_str(), 20)),
            pad(group.source.as_str(), 24),
            pad(&group.status, 12),
            faint(format!(
                "{} members, {} in flight, {} parked",
                group.members.len(),
                figure("in_flight_count"),
                figure("parked_count"),
            ))
        );
        output.result(text.trim_end(), &described(&group))?;
    }
    Ok(())
}

async fn create(args: Create, output: Output) -> Result<(), Failure> {
    let Which { source, group } = &args.which;
    let mut source = source.clone();
    if !args.prefix.is_empty() {
        let GroupSource::All { filter } = &mut source else {
            return Err(Failure::usage("--prefix chooses streams of $all"));
        };
        let chosen = EventFilter::prefixes(FilterTarget::Stream, args.prefix.clone());
        *filter = Some(chosen.map_err(Failure::usage)?);
    }
    let start = match (&*args.from, args.from.parse(), &source) {
        ("start", ..) => GroupStart::Start,
        ("end", ..) => GroupStart::End,
        (_, Ok(number), GroupSource::Stream(_)) => GroupStart::Revision(Revision(number)),
        (_, Ok(number), GroupSource::All { .. }) => GroupStart::Position(Position(number)),
        (text, Err(_), _) => {
            let problem = format!("--from {text:?} is not start, end or a number");
            return Err(Failure::usage(problem));
        }
    };
    let settings = GroupSettings {
        strategy: args.strategy,
        resolve_links: args.resolve_links,
        max_retry_count: args.retries,
        message_timeout: std::time::Duration::from_secs(args.timeout.into()),
        ..GroupSettings::default()
    };
    let groups = open(&args.target).await?;
    groups.create(&source, group, &settings, start).await?;
    done(&args.which, "is there", output)
}

async fn show(args: One, output: Output) -> Result<(), Failure> {
    let groups = open(&args.target).await?;
    let group = groups
        .describe(&args.which.source, &args.which.group)
        .await?;
    let mut lines = vec![
        format!("{} of {}", strong(group.name.as_str()), group.source),
        format!("status             {}", group.status),
        format!("strategy           {}", group.settings.strategy.as_str()),
    ];
    let places = [
        ("last known", group.last_known),
        ("last delivered", group.last_delivered),
        ("last acknowledged", group.last_acknowledged),
        ("checkpoint", group.last_checkpoint),
    ];
    for (name, place) in places {
        let text = match place {
            None => "-".to_owned(),
            Some(place) => match place.revision {
                Some(revision) => format!("revision {revision}, position {}", place.position),
                None => format!("position {}", place.position),
            },
        };
        lines.push(format!("{} {text}", pad(name, 18)));
    }
    if let Some(oldest) = &group.oldest_in_flight {
        lines.push(format!(
            "oldest in flight   {} {} at {:?}, since {}, delivered before {} times",
            oldest.stream,
            oldest.revision,
            oldest.connection_name,
            crate::model::Timestamp::from_micros(oldest.since_us),
            oldest.retry_count,
        ));
    }
    lines.extend(
        group
            .failure
            .iter()
            .map(|why| format!("failure            {why}")),
    );
    let figures = group.figures.iter();
    lines.extend(figures.map(|(name, value)| format!("{} {value}", pad(name, 18))));
    for member in &group.members {
        let (name, from) = (&member.connection_name, &member.from);
        lines.push(format!(
            "member             {} {name} {from}",
            member.principal
        ));
    }
    output.result(&lines.join("\n"), &described(&group))
}

fn described(group: &Group) -> Value {
    let place = |place: &GroupPlace| {
        let GroupPlace { position, revision } = place;
        json!({"position": position, "revision": revision})
    };
    let named = |figures: &[(String, u64)]| {
        let figures = figures.iter();
        let figures = figures.map(|(name, value)| (name.clone(), json!(value)));
        Value::Object(figures.collect())
    };
    let members = group.members.iter().map(|member| {
        json!({
            "principal": member.principal,
            "connection_name": member.connection_name,
            "from": member.from,
            "figures": named(&member.figures),
        })
    });
    json!({
        "source": group.source.as_str(),
        "group": group.name.as_str(),
        "strategy": group.settings.strategy.as_str(),
        "status": group.status,
        "last_known": group.last_known.as_ref().map(place),
        "last_delivered": group.last_delivered.as_ref().map(place),
        "last_acknowledged": group.last_acknowledged.as_ref().map(place),
        "last_checkpoint": group.last_checkpoint.as_ref().map(place),
        "oldest_in_flight": group.oldest_in_flight.as_ref().map(|oldest| json!({
            "stream": oldest.stream,
            "revision": oldest.revision,
            "position": oldest.position,
            "retry_count": oldest.retry_count,
            "connection_name": oldest.connection_name,
            "since_us": oldest.since_us,
        })),
        "failure": group.failure,
        "figures": named(&group.figures),
        "members": members.collect::<Vec<_>>(),
    })
}

async fn consume(args: Consume, output: Output) -> Result<(), Failure> {
    let groups = open(&args.target).await?;
    let Which { source, group } = &args.which;
    let mut member = groups.join(source, group, args.credit).await?;
    let mut lines = EventLines::new(output);
    let mut left = args.max.unwrap_or(u64::MAX);
    while left > 0 {
        let delivery: Delivery = tokio::select! {
            next = member.next() => next?,
            _ = tokio::signal::ctrl_c() => break,
        };
        // A link to what is gone is shown as the link.
        if let Some(event) = delivery.event.as_ref().or(delivery.link.as_ref()) {
            lines.event(event)?;
            lines.flush()?;
        }
        match args.refuse {
            None => member.ack(&[&delivery]),
            Some(how) => {
                let action = match how {
                    Refusal::Park => NackAction::Park,
                    Refusal::Retry => NackAction::Retry,
                    Refusal::Skip => NackAction::Skip,
                };
                member.nack(&[&delivery], action, "refused on the command line");
            }
        }
        left -= 1;
    }
    // The server hears of the last acknowledgements before it answers this.
    drop(groups.describe(source, group).await?);
    Ok(())
}
