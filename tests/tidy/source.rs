//! A source file as the rules see it: its text, and its code without comments and literals.

/// A file of the repository.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with a blank for every character of a comment, a string or a character literal;
    /// quotes and line ends stay.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_string(),
            text: text.to_string(),
            code: blank(text),
        }
    }

    /// The folder of `src/` that the file belongs to, or is the root of.
    pub(crate) fn layer(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        match inside.split_once('/') {
            Some((layer, _)) => Some(layer),
            None => inside
                .strip_suffix(".rs")
                .filter(|name| !matches!(*name, "lib" | "main")),
        }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A finding at a byte of the text or the code, which have the same line ends.
    pub(crate) fn finding(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// Where `needle` stands in `text` by itself, not as a part of a longer name: line from 1, and the
/// text behind it.
pub(crate) fn occurrences<'a>(
    text: &'a str,
    needle: &'a str,
) -> impl Iterator<Item = (usize, &'a str)> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(needle).filter_map(move |(at, _)| {
        let (before, behind) = (&text[..at], &text[at + needle.len()..]);
        let joined_before = needle.starts_with(in_name) && before.ends_with(in_name);
        let joined_behind = needle.ends_with(in_name) && behind.starts_with(in_name);
        let line = before.matches('\n').count() + 1;
        (!joined_before && !joined_behind).then_some((line, behind))
    })
}

fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let plain = (first.len_utf8(), first.len_utf8());
        let (kept, skipped) = literal_or_comment(rest, in_name).unwrap_or(plain);
        code.push_str(&rest[..kept]);
        code.extend(rest[kept..skipped].chars().map(|c| match c {
            '\n' | '"' => c,
            _ => ' ',
        }));
        rest = &rest[skipped..];
    }
    code
}

/// If a comment or a literal begins here, which a raw string does not within a name: the bytes of
/// it to keep, and its length in bytes.
fn literal_or_comment(rest: &str, in_name: bool) -> Option<(usize, usize)> {
    let up_to = |from: usize, end: &str| {
        let found = rest[from..].find(end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    let raw = rest.trim_start_matches('b').strip_prefix('r');
    let hashes = raw.map_or(0, |raw| raw.len() - raw.trim_start_matches('#').len());
    if rest.starts_with("//") {
        return Some((0, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((0, up_to(2, "*/")));
    }
    if let Some(raw) = raw.filter(|raw| !in_name && raw[hashes..].starts_with('"')) {
        let open = rest.len() - raw.len() + hashes + 1;
        return Some((open, up_to(open, &format!("\"{}", "#".repeat(hashes)))));
    }
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut inside = rest.char_indices().skip(1);
    if quote == '\'' {
        // A lifetime has no quote behind its first character.
        let mut ahead = inside.clone();
        let escaped = ahead.next()?.1 == '\\';
        if !escaped && ahead.next()?.1 != '\'' {
            return None;
        }
    }
    while let Some((at, c)) = inside.next() {
        match c {
            '\\' => {
                inside.next();
            }
            _ if c == quote => return Some((1, at + 1)),
            _ => {}
        }
    }
    Some((1, rest.len()))
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a // b \"\n/* c */ 'd' 'life: \"e\\\"f\" g r#\"h\"i\"# b\"j\" attr\"k\" '\\'' l";
    let source = Source::new("src/x.rs", text);
    let names: Vec<&str> = source
        .code
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(names, ["a", "life", "g", "r", "b", "attr", "l"]);
}
