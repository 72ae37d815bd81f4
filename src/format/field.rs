//! Fields of fixed structures: each is declared once, and offsets follow from the one before.

use std::fmt::Write;

/// One field of a fixed structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it is called in the documents.
    pub name: &'static str,
    /// Where it begins, in bytes from the start of the structure.
    pub offset: usize,
    /// How long it is, in bytes.
    pub len: usize,
}

impl Field {
    /// The field a structure begins with.
    #[must_use]
    pub const fn first(name: &'static str, len: usize) -> Self {
        Self {
            name,
            offset: 0,
            len,
        }
    }

    /// The field behind this one.
    #[must_use]
    pub const fn then(self, name: &'static str, len: usize) -> Self {
        Self {
            name,
            offset: self.end(),
            len,
        }
    }

    /// Where the field ends.
    #[must_use]
    pub const fn end(self) -> usize {
        self.offset + self.len
    }
}

/// The table that stands in the documents: offset, length and name of each field.
#[must_use]
pub fn markdown_table(fields: &[Field]) -> String {
    let mut table = String::from("| offset | bytes | field |\n| ---: | ---: | --- |\n");
    for field in fields {
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            table,
            "| {} | {} | {} |",
            field.offset, field.len, field.name
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_from_lengths() {
        let first = Field::first("length", 4);
        let second = first.then("kind", 1);
        assert_eq!((second.offset, second.end()), (4, 5));
        let table = markdown_table(&[first, second]);
        assert!(table.ends_with("| 0 | 4 | length |\n| 4 | 1 | kind |\n"));
    }
}
