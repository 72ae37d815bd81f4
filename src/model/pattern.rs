//! Regular expressions: linear time where that is possible, a bounded number of steps where not.

use fancy_regex::Expr;
use thiserror::Error;

use super::StreamName;

/// A regular expression that searches anywhere in a text.
///
/// What the `regex` crate takes is searched in time linear in the text. What needs look-around or
/// back-references, as EventStoreDB's filters may, is searched by backtracking, which tries no more
/// than [`Self::TRIES_MAX`] ways through one text; and a pattern whose repetitions make a single
/// way too long is refused. A text that takes more is an error, not a mismatch: whoever asks is
/// told, and no event is left out in silence.
#[derive(Clone)]
pub struct Pattern(Engine);

#[derive(Clone)]
enum Engine {
    Linear(regex::Regex),
    Backtracking(fancy_regex::Regex),
}

/// A text took more steps than a pattern may.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the pattern {pattern:?} takes too many steps on the text {text:?}")]
pub struct PatternTooCostly {
    /// The pattern.
    pub pattern: String,
    /// The text.
    pub text: String,
}

impl Pattern {
    /// The most ways through one text that a search may try.
    pub const TRIES_MAX: usize = 20_000;
    /// The most steps that one way may take, about: beside look-around and back-references, how
    /// often the innermost parts are repeated.
    const WAY_STEPS_MAX: usize = 10_000;
    const COMPILED_BYTES_MAX: usize = 1 << 20;

    /// Compiles an expression; the error says what is wrong with it.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let linear = regex::RegexBuilder::new(pattern)
            .size_limit(Self::COMPILED_BYTES_MAX)
            .dfa_size_limit(Self::COMPILED_BYTES_MAX)
            .build();
        let refused = match linear {
            Ok(regex) => return Ok(Self(Engine::Linear(regex))),
            Err(error @ regex::Error::Syntax(_)) => error.to_string(),
            Err(error) => return Err(error.to_string()),
        };
        let tree = Expr::parse_tree(pattern).map_err(|_| refused.clone())?;
        // It may ask for a group that the pattern does not have, and the library does not notice.
        if holds(&tree.expr, &|part| {
            matches!(
                part,
                Expr::Conditional { .. } | Expr::BackrefExistsCondition { .. }
            )
        }) {
            return Err("it uses conditions, which are not supported".to_owned());
        }
        let linear_parts = !holds(&tree.expr, &|part| matches!(part, Expr::Backref { .. }));
        let steps = way_steps(&tree.expr, linear_parts, false);
        if steps.is_none_or(|steps| steps > Self::WAY_STEPS_MAX) {
            return Err("it repeats too much, or uses what is not supported".to_owned());
        }
        let backtracking = fancy_regex::RegexBuilder::new(pattern)
            .backtrack_limit(Self::TRIES_MAX)
            .delegate_size_limit(Self::COMPILED_BYTES_MAX)
            .delegate_dfa_size_limit(Self::COMPILED_BYTES_MAX)
            .build();
        // What neither takes, the first explains better.
        backtracking
            .map(|regex| Self(Engine::Backtracking(regex)))
            .map_err(|_| refused)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Engine::Linear(regex) => regex.as_str(),
            Engine::Backtracking(regex) => regex.as_str(),
        }
    }

    /// Whether it is found in a text.
    ///
    /// # Errors
    /// There are more than [`Self::TRIES_MAX`] ways to try.
    pub fn is_match(&self, text: &str) -> Result<bool, PatternTooCostly> {
        match &self.0 {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).map_err(|_| PatternTooCostly {
                pattern: regex.as_str().to_owned(),
                text: text.to_owned(),
            }),
        }
    }
}

fn holds(part: &Expr, what: &dyn Fn(&Expr) -> bool) -> bool {
    what(part) || part.children_iter().any(|child| holds(child, what))
}

fn looks_around(part: &Expr) -> bool {
    matches!(part, Expr::LookAround(..) | Expr::AtomicGroup(_))
}

/// How many steps one way through an expression takes, at most, about; none if that cannot be
/// said, because the expression calls itself or the like. Failures are counted while searching,
/// steps between them are not, so they must be few. What is linear by itself counts once.
/// `is_atomic`: inside of what forgets the other ways when it has found one.
fn way_steps(part: &Expr, linear_parts: bool, is_atomic: bool) -> Option<usize> {
    match part {
        Expr::SubroutineCall(_)
        | Expr::BackrefWithRelativeRecursionLevel { .. }
        | Expr::BackrefExistsCondition { .. }
        | Expr::BacktrackingControlVerb(_)
        | Expr::Absent(_)
        | Expr::AstNode(..)
        | Expr::DefineGroup { .. }
        | Expr::Conditional { .. } => return None,
        part if linear_parts && !holds(part, &looks_around) => return Some(1),
        _ => {}
    }
    let is_atomic = is_atomic || looks_around(part);
    let mut children = part.children_iter();
    let sum = children.try_fold(1usize, |sum, child| {
        Some(sum.saturating_add(way_steps(child, linear_parts, is_atomic)?))
    })?;
    let times = match part {
        // Without an upper bound each turn takes at least a byte of a name.
        Expr::Repeat { hi, .. } if is_atomic => (*hi).min(StreamName::LEN_BYTES_MAX),
        Expr::Repeat { lo, .. } => *lo,
        _ => 1,
    };
    Some(sum.saturating_mul(times.max(1)))
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().is_match(text).unwrap()
    }

    #[test]
    fn look_around_and_back_references_are_understood() {
        let user_events = r"^(?!(\$.+$|PersistentConfig\d+$|Result$))";
        assert!(found(user_events, "OrderPlaced"));
        assert!(found(user_events, "Results"));
        assert!(!found(user_events, "Result"));
        assert!(!found(user_events, "$metadata"));
        assert!(found(r"(?<=order-)\d", "an order-1"));
        assert!(found(r"(a|b)\1", "xbb") && !found(r"(a|b)\1", "ab"));
        assert!(found(r"(?<q>a|b)\k<q>", "xbb"));
        let uuid = r"^(?!.*-(?=[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}))";
        assert!(found(uuid, "order-1") && !found(uuid, "order-01234567-89ab-0123456789ab"));
        // The longest name does not take too many tries.
        assert!(!found(r"(?!x)order(?<!x)-(?=9)", &"orde".repeat(256)));
    }

    #[test]
    fn a_text_that_takes_too_many_steps_is_an_error_and_soon() {
        let pattern = Pattern::new(r"(?=a)(a|aa|a?)+(?!.)b").unwrap();
        let text = "a".repeat(1_000);
        let started = std::time::Instant::now();
        let error = pattern.is_match(&text).unwrap_err();
        assert_eq!(
            (error.pattern.as_str(), error.text),
            (pattern.as_str(), text)
        );
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }

    /// No way fails here, so nothing but the number of steps bounds it.
    #[test]
    fn what_repeats_without_end_is_refused() {
        for pattern in [
            r"(?:(?:(?:(?:(?=a)()){50}){50}){50}){50}",
            r"(?:(?:(?:(?=a)\b*){90}){90}){90}",
            r"(?:(?>(?:(?=a)()){0,500})){500}",
            r"(?=(?:(?:(?=a)()){0,200}){0,200})",
            r"(a)(?:(?:(?:(?:\1?){50}){50}){50}){50}",
            r"(?=a)(\((?1)*\))",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn what_is_too_large_or_no_expression_is_refused() {
        for pattern in [
            "(",
            "(?!x",
            "(a{1000}){1000}",
            r"(?!x)(a{1000}){1000}",
            r"\2(a)",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
