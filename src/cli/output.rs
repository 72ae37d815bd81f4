//! What the verbs show: calm, aligned text for people, or lines of JSON for programs.
//!
//! Results go to the standard output; progress, notes and errors to the standard error. Colours,
//! redrawing and cutting to the width of the screen happen only on a terminal, and colours not if
//! `NO_COLOR` is set.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use console::{StyledObject, Term, measure_text_width, pad_str, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::failure::Failure;
use super::ndjson;
use crate::model::{ContentType, RecordedEvent};

/// How to speak to whoever called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// Lines of JSON instead of text.
    pub(super) json: bool,
    /// The columns of the terminal, if the standard output is one.
    columns: Option<usize>,
}

impl Output {
    /// Looks at the standard output.
    pub(super) fn new(json: bool) -> Self {
        let term = Term::stdout();
        let columns = (term.is_term() && !json).then(|| usize::from(term.size().1).max(40));
        Self { json, columns }
    }

    /// Whether a person looks on.
    pub(super) fn is_terminal(self) -> bool {
        self.columns.is_some()
    }

    /// The columns to stay within; plenty if nobody looks on.
    pub(super) fn columns(self) -> usize {
        self.columns.unwrap_or(usize::MAX)
    }

    /// Prints a result in the form that was asked for.
    pub(super) fn result(self, text: &str, json: &Value) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{json}")?,
            false => writeln!(out, "{text}")?,
        }
        Ok(out.flush()?)
    }

    /// Prints a line for people; nothing under `--json`.
    pub(super) fn say(self, text: impl std::fmt::Display) -> Result<(), Failure> {
        if !self.json {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}")?;
            out.flush()?;
        }
        Ok(())
    }

    /// A bar on the standard error for work of this size, or a counter if the size is not known.
    /// It shows rate and time left, and it is not shown unless somebody looks on.
    pub(super) fn progress(self, what: &str, size: Option<u64>, unit: Unit) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(size, target);
        let template = match (size.is_some(), unit) {
            (true, Unit::Events) => {
                "{prefix}  {bar:24}  {percent:>3}%  {human_pos} events  {per_sec}  {eta} left"
            }
            (true, Unit::Bytes) => "{prefix}  {bar:24}  {percent:>3}%  {msg}  {eta} left",
            (false, _) => "{prefix}  {spinner}  {msg}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template)
            .expect("the templates are constants that a test makes")
            .progress_chars("=> ")
            .tick_chars("|/-\\ ");
        bar.set_style(style);
        bar.set_prefix(what.to_owned());
        bar
    }
}

/// What a progress bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Events.
    Events,
    /// Bytes of input; a message says what they were.
    Bytes,
}

/// What is not the news: dim on a terminal.
pub(super) fn faint<D>(text: D) -> StyledObject<D> {
    console::style(text).dim()
}

/// What to look at first: bold on a terminal.
pub(super) fn strong<D>(text: D) -> StyledObject<D> {
    console::style(text).bold()
}

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun, in the plural unless it is one.
pub(super) fn count(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", grouped(number)),
    }
}

/// A length in bytes in three or four digits.
pub(super) fn bytes(number: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut tenths = number.saturating_mul(10) / 1024;
    let mut units = units.iter().peekable();
    while let Some(unit) = units.next() {
        if tenths < 10_240 || units.peek().is_none() {
            return match tenths {
                0..1000 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
                _ => format!("{} {unit}", tenths / 10),
            };
        }
        tenths /= 1024;
    }
    format!("{number} B")
}

/// A duration in at most four digits.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0 if time.as_millis() < 1 => format!("{} us", time.as_micros()),
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60),
        seconds => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// How many a second, whole.
pub(super) fn rate(count: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    let scaled = u128::from(count) * 1_000_000 / micros;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Writes events line by line, aligned as they come.
pub(super) struct EventLines {
    output: Output,
    out: BufWriter<io::Stdout>,
    line: Vec<u8>,
    position_width: usize,
    place_width: usize,
    type_width: usize,
}

/// Columns grow to the longest entry so far, up to here.
const PLACE_WIDTH_MAX: usize = 32;
const TYPE_WIDTH_MAX: usize = 24;

impl EventLines {
    /// Writes to the standard output.
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            out: BufWriter::with_capacity(64 * 1024, io::stdout()),
            line: Vec::new(),
            position_width: 4,
            place_width: 8,
            type_width: 8,
        }
    }

    /// Writes one event; it is seen after [`Self::flush`] at the latest.
    pub(super) fn event(&mut self, event: &RecordedEvent) -> Result<(), Failure> {
        if self.output.json {
            self.line.clear();
            ndjson::write_recorded(event, &mut self.line);
            return Ok(self.out.write_all(&self.line)?);
        }
        let position = event.position.to_string();
        let place = format!("{}@{}", event.stream, event.revision);
        let place = match self.output.columns {
            Some(columns) => shortened(&place, (columns / 3).min(PLACE_WIDTH_MAX)),
            None => place,
        };
        let widen =
            |width: usize, text: &str, max: usize| width.max(measure_text_width(text).min(max));
        self.position_width = widen(self.position_width, &position, usize::MAX);
        self.place_width = widen(self.place_width, &place, PLACE_WIDTH_MAX);
        self.type_width = widen(self.type_width, &event.event_type, TYPE_WIDTH_MAX);
        let created = event.created.to_string();
        let second = created.get(..19).unwrap_or(&created).replace('T', " ");
        let place = pad(&place, self.place_width);
        let event_type = pad(&event.event_type, self.type_width);
        let taken = self.position_width
            + 2
            + 19
            + 2
            + measure_text_width(&place)
            + 2
            + measure_text_width(&event_type)
            + 2;
        let room = self.output.columns().saturating_sub(taken).max(8);
        let data = excerpt(event);
        let data = truncate_str(&data, room, "..");
        writeln!(
            self.out,
            "{:>width$}  {}  {place}  {}  {data}",
            faint(position),
            faint(second),
            strong(event_type),
            width = self.position_width,
        )?;
        Ok(())
    }

    /// Writes a line of JSON that is not an event; nothing for people.
    pub(super) fn note(&mut self, json: &Value) -> Result<(), Failure> {
        if self.output.json {
            writeln!(self.out, "{json}")?;
        }
        Ok(())
    }

    /// Shows what was written.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// A text filled up with spaces to a width of the screen.
pub(super) fn pad(text: &str, width: usize) -> String {
    pad_str(text, width, console::Alignment::Left, None).into_owned()
}

/// A text within a width of the screen: of a longer one, the beginning and the end.
fn shortened(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let head = truncate_str(text, width / 2 - 1, "");
    let mut tail = String::new();
    let room = width.saturating_sub(measure_text_width(&head) + 2);
    for letter in text.chars().rev() {
        tail.insert(0, letter);
        if measure_text_width(&tail) > room {
            tail.remove(0);
            break;
        }
    }
    format!("{head}..{tail}")
}

/// The data as one line of text.
fn excerpt(event: &RecordedEvent) -> String {
    match (&event.content_type, std::str::from_utf8(&event.data)) {
        (ContentType::Binary, _) | (_, Err(_)) => {
            format!(
                "({})",
                bytes(u64::try_from(event.data.len()).unwrap_or(u64::MAX))
            )
        }
        (_, Ok(text)) => text.replace(char::is_control, " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0, 999, 1_000, 1_266_495].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "1,266,495"]);
        assert_eq!(
            [count(1, "event"), count(2_000, "event")],
            ["1 event", "2,000 events"]
        );
        let lengths = [0, 1023, 1024, 1536, 363_787_103, 5 << 30, u64::MAX].map(bytes);
        let expected = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "346 MiB", "5.0 GiB"];
        assert_eq!(lengths[..6], expected);
        let times = [12, 12_000, 1_500_000, 75_000_000, 3_700_000_000]
            .map(|us| duration(Duration::from_micros(us)));
        assert_eq!(
            times,
            ["12 us", "12 ms", "1.5 s", "1 min 15 s", "1 h 01 min"]
        );
    }

    #[test]
    fn a_long_text_keeps_both_its_ends() {
        assert_eq!(shortened("order-1@0", 12), "order-1@0");
        assert_eq!(shortened("file-rails/CHANGELOG@17", 12), "file-..OG@17");
        let wide = shortened(&"\u{65e5}".repeat(20), 11);
        assert!(measure_text_width(&wide) <= 11, "{wide}");
    }

    #[test]
    fn a_rate_is_a_count_a_second() {
        assert_eq!(rate(1_000, Duration::from_millis(500)), 2_000);
        assert_eq!(rate(5, Duration::ZERO), 5_000_000);
    }
}
