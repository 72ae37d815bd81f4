//! Regular expressions: linear time where that is possible, a bounded number of steps where not.

use thiserror::Error;

/// A regular expression that searches anywhere in a text.
///
/// What the `regex` crate takes is searched in time linear in the text. What needs look-around or
/// back-references, as EventStoreDB's filters may, is searched by backtracking, for at most
/// [`Self::STEPS_MAX`] steps in one text. A text that takes more is an error, not a mismatch:
/// whoever asks is told, and no event is left out in silence.
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
    /// The most steps back that the search in one text may take.
    pub const STEPS_MAX: usize = 100_000;
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
        let backtracking = fancy_regex::RegexBuilder::new(pattern)
            .backtrack_limit(Self::STEPS_MAX)
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
    /// The text took more than [`Self::STEPS_MAX`] steps.
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
