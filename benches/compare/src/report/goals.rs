//! Where Annal wants to stand, and whether it does.

use super::rows::Better;
use super::summary::{LIMIT, Line, OURS, RAW_LOG};
use super::table::{Table, number};

/// What a row is held against.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// So many times as good as another.
    Times(&'static str, f64),
    /// At least, or at most.
    Value(f64),
}

use Against::{Times, Value};

const GOALS: &[(&str, &[Against])] = &[
    (
        "A1",
        &[
            Times(LIMIT, 0.9),
            Times("PostgreSQL", 1.0),
            Times("UmaDB", 3.0),
        ],
    ),
    (
        "A64",
        &[Times(LIMIT, 0.75), Times("Redis", 2.0), Times("UmaDB", 6.0)],
    ),
    ("A64 p99", &[Value(2_000.0)]),
    ("AP", &[Times("Redis", 6.0)]),
    ("B1", &[Times("PostgreSQL", 2.0)]),
    ("B8", &[Times("UmaDB", 4.0)]),
    ("L", &[Times("UmaDB", 2.0)]),
    ("C", &[Times("Redis", 2.0)]),
    ("D", &[Times("Redis", 3.0), Times("UmaDB", 6.0)]),
    ("E p50", &[Times("Redis", 1.0)]),
    ("E p99", &[Times("Redis", 1.0)]),
    ("F1", &[Value(40.0)]),
    ("F1 many", &[Value(160.0)]),
    ("F2", &[Value(310.0)]),
    ("G clean", &[Value(20.0)]),
    ("G killed", &[Value(300.0)]),
    ("M share", &[Value(0.6)]),
    ("M p99", &[Value(5_000.0)]),
    ("S share", &[Value(0.8)]),
    ("S missing", &[Value(0.0)]),
    ("S all", &[Value(0.0)]),
    ("R 1", &[Times(RAW_LOG, 0.9)]),
    ("R 64", &[Times(RAW_LOG, 0.8)]),
    ("R 1000", &[Times(RAW_LOG, 0.6)]),
];

/// The goals of the rows that were measured.
pub fn table(lines: &[Line]) -> Table {
    let mut table = Table::new(4, ["goal", "at least", "measured", "reached"]);
    for line in lines {
        let goals = GOALS.iter().filter(|(id, _)| *id == line.row.id);
        for goal in goals.flat_map(|(_, goals)| *goals) {
            if let Some([wanted, found, reached]) = judge(line, *goal) {
                table.row(vec![line.row.id.to_owned(), wanted, found, reached]);
            }
        }
    }
    table
}

fn judge(line: &Line, goal: Against) -> Option<[String; 3]> {
    let said = |reached: bool| if reached { "yes" } else { "NO" }.to_owned();
    match goal {
        Times(other, factor) => {
            let ahead = line.ahead_of(other)?;
            let wanted = format!("{} x {other}", number(factor));
            Some([wanted, ahead.text(), said(ahead.median >= factor)])
        }
        Value(value) => {
            let found = line.cells.get(OURS)?.median()?;
            let reached = match line.row.better {
                Better::Higher => found >= value,
                Better::Lower => found <= value,
            };
            let most = if line.row.better == Better::Lower {
                "at most "
            } else {
                ""
            };
            Some([
                format!("{most}{}", number(value)),
                number(found),
                said(reached),
            ])
        }
    }
}
