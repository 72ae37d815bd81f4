//! Values out of an input: however short it is, there always is a next one.

/// What is left of an input.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; 0 at the end.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The next eight bytes as a number; zeros stand behind the end.
    pub fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, at| number | u64::from(self.byte()) << (8 * at))
    }

    /// The next bytes up to a 0, which is passed over.
    pub fn part(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let (part, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        part
    }

    /// The same as a text, if it is one.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.part()).ok()
    }
}

/// An input whose [`Input::part`]s are these.
#[must_use]
pub fn of_parts(parts: &[&str]) -> Vec<u8> {
    parts.join("\0").into_bytes()
}
