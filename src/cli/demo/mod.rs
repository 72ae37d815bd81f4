//! `annal demo`: a git history becomes events, and a projection follows them live.
//!
//! The same way that any program would go: commits are appended through a server, each as one
//! atomic append over the stream of the repository and the streams of its files; beside that, a
//! subscription feeds a read model, which is drawn as it grows.

mod history;
mod projection;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use console::Term;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::failure::{Exit, Failure};
use super::output::{Output, count, duration, faint, grouped, rate, strong};
use super::serve::Temporary;
use super::target::{Feed, Make, Seen, Sending, Target, TargetArgs};
use crate::model::{EventFilter, FilterTarget, Position, Source, SubscribeFrom};
use history::History;
use projection::Projection;

/// Turn a git history into events and watch a projection follow them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --server, it starts a server of its own on a free port of this machine, with a
folder that it removes at the end. Where there is no repository, it makes up a history.

Examples:
  annal demo
  annal demo ~/src/linux --commits 50000
  annal demo --server annal://127.0.0.1:2112      and look around afterwards
  annal demo --json")]
pub(super) struct Args {
    /// The repository: a folder in it
    #[arg(default_value = ".")]
    repository: PathBuf,
    /// How many of the last commits to take
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    commits: u64,
    /// The server to use, annal://HOST:PORT; without it, one of its own
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,
}

/// Appends that are on their way at once.
const ON_THEIR_WAY_MAX: usize = 256;
/// How often the picture is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Runs the demo to its end.
pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let history = History::open(&args.repository, args.commits)?;
    let own = match args.server {
        Some(_) => None,
        None => Some(Temporary::start().await?),
    };
    let server = args.server.or_else(|| own.as_ref().map(Temporary::address));
    let target = Target::open(&TargetArgs::of_server(server), Make::No).await?;
    output.say(introduction(&history, own.as_ref()))?;
    let done = tell(history, &target, output).await;
    target.close().await?;
    if let Some(own) = own {
        own.stop().await?;
    }
    done
}

fn introduction(history: &History, own: Option<&Temporary>) -> String {
    let through = match own {
        Some(own) => format!("a server started on {}", own.address()),
        None => "the given server".to_owned(),
    };
    let source = match history.is_generated() {
        true => "There is no git repository here, so the history is made up".to_owned(),
        false => format!("The git history of {}", strong(history.name())),
    };
    format!(
        "{source}: {}.\nEach becomes one atomic append,\nthrough {through}.\n",
        count(history.commits(), "commit"),
    )
}

/// What the appending side has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    commits: u64,
    events: u64,
    /// Behind the last event, when everything is told.
    end: Option<Position>,
    took: Duration,
}

async fn tell(history: History, target: &Target, output: Output) -> Result<(), Failure> {
    let prefixes = [
        format!("repo-{}", history.name()),
        format!("file-{}/", history.name()),
    ];
    let filter = EventFilter::prefixes(FilterTarget::Stream, prefixes).map_err(Failure::usage)?;
    let feed = target
        .subscribe(Source::Filtered(filter), SubscribeFrom::Start)
        .await?;
    let commits = history.commits();
    let (news, told) = watch::channel(Told::default());
    let started = Instant::now();
    let appending = append_all(history, target, started, news);
    let following = follow(feed, told, commits, output);
    let (appended, followed) = tokio::join!(appending, following);
    let (told, (projection, caught_up)) = (appended?, followed?);
    let behind = caught_up.saturating_duration_since(started + told.took);
    let text = format!(
        "{} of {} in {}: {} events a second,\n\
         each append on the disk before it was answered.\n\
         The projection had everything {} after the last answer.",
        count(told.events, "event"),
        count(told.commits, "commit"),
        duration(told.took),
        grouped(rate(told.events, told.took)),
        duration(behind),
    );
    let mut json = json!({
        "commits": told.commits,
        "events": told.events,
        "seconds": told.took.as_secs_f64(),
        "events_per_second": rate(told.events, told.took),
        "projection_behind_ms": behind.as_secs_f64() * 1e3,
    });
    if let Value::Object(fields) = &mut json {
        fields.insert("projection".to_owned(), projection.as_json());
    }
    output.result(&text, &json)
}

/// Appends every commit, many at a time and in order.
async fn append_all(
    mut history: History,
    target: &Target,
    started: Instant,
    news: watch::Sender<Told>,
) -> Result<Told, Failure> {
    let mut told = Told::default();
    let mut end = Position::START;
    let mut on_their_way: VecDeque<(Sending, u64)> = VecDeque::new();
    loop {
        let next = history.next_append()?;
        let room = if next.is_some() { ON_THEIR_WAY_MAX } else { 1 };
        while on_their_way.len() >= room {
            let Some((sending, events)) = on_their_way.pop_front() else {
                break;
            };
            let receipt = sending.await?;
            end = end.max(receipt.last.unwrap_or(receipt.first).next());
            told.commits += 1;
            told.events += events;
            news.send_replace(told);
        }
        let Some((append, events)) = next else { break };
        on_their_way.push_back((target.send(append), events));
        tokio::task::yield_now().await;
    }
    told.took = started.elapsed();
    told.end = Some(end);
    news.send_replace(told);
    Ok(told)
}

/// Folds what comes into the projection and draws it, until it has seen everything.
async fn follow(
    mut feed: Feed,
    mut told: watch::Receiver<Told>,
    commits: u64,
    output: Output,
) -> Result<(Projection, Instant), Failure> {
    let mut projection = Projection::default();
    let mut picture = Picture {
        term: Term::stdout(),
        lines: 0,
    };
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    let mut seen = Position::START;
    while told.borrow().end.is_none_or(|end| seen < end) {
        let next = tokio::select! {
            next = feed.next() => next?,
            changed = told.changed() => match changed {
                Ok(()) => continue,
                Err(_) if told.borrow().end.is_none() => {
                    return Err(Failure::new(Exit::Failure, "the appends ended early"));
                }
                Err(_) => feed.next().await?,
            },
            _ = ticks.tick(), if output.is_terminal() => {
                picture.draw(&projection.draw(told.borrow().commits, commits))?;
                continue;
            }
        };
        match next {
            Seen::Events(events) => {
                events.iter().for_each(|event| projection.apply(event));
                seen = events.last().map_or(seen, |event| event.position.next());
            }
            Seen::Notice { position, .. } => seen = seen.max(position),
            Seen::Ended(why) => return Err(why),
        }
    }
    let caught_up = Instant::now();
    let all = projection.draw(told.borrow().commits, commits);
    match output.is_terminal() {
        true => picture.draw(&all)?,
        false => all.iter().try_for_each(|line| output.say(line))?,
    }
    output.say(faint(""))?;
    Ok((projection, caught_up))
}

/// Lines that are drawn over and over at the same place.
struct Picture {
    term: Term,
    lines: usize,
}

impl Picture {
    fn draw(&mut self, lines: &[String]) -> Result<(), Failure> {
        self.term.clear_last_lines(self.lines)?;
        self.lines = lines.len();
        Ok(lines
            .iter()
            .try_for_each(|line| self.term.write_line(line))?)
    }
}
