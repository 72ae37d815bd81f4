//! How numbers, pictures and dumps look in the document.

use annal::format::Field;

/// A number with a comma between each three digits.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How wide a byte is drawn.
const BYTE_WIDTH: usize = 9;
const BYTES_A_LINE: usize = 8;

/// A picture, eight bytes a line. Only for structures in which no field crosses a line.
pub(crate) fn picture(fields: &[Field]) -> String {
    let rule = format!("     +{}\n", format!("{}+", "-".repeat(35)).repeat(2));
    let whole = format!("     +{}+\n", "-".repeat(BYTES_A_LINE * BYTE_WIDTH - 1));
    let mut picture = String::from("```text\n");
    let mut last = &whole;
    for field in fields {
        let width = field.len * BYTE_WIDTH - 1;
        let starts_line = field.offset.is_multiple_of(BYTES_A_LINE);
        if starts_line {
            let line = if field.len == BYTES_A_LINE {
                &whole
            } else {
                &rule
            };
            picture += if field.offset == 0 || last == &rule {
                &rule
            } else {
                line
            };
            last = line;
            picture += &format!("{:>4} |", field.offset);
        }
        picture += &format!("{:^width$}|", field.name);
        if field.end().is_multiple_of(BYTES_A_LINE) {
            picture.push('\n');
        }
    }
    picture + last + "```\n"
}

/// Bytes with a name for each stretch of them.
pub(crate) struct Dump {
    pub(crate) bytes: Vec<u8>,
    pub(crate) parts: Vec<(usize, String)>,
}

impl Dump {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let parts = Vec::new();
        Self { bytes, parts }
    }

    /// Names the next stretch.
    pub(crate) fn part(&mut self, len: usize, name: &str) {
        self.parts.push((len, name.to_owned()));
    }

    /// Names the next stretches as the fields are named.
    pub(crate) fn fields(&mut self, fields: &[Field]) {
        for field in fields {
            self.part(field.len, field.name);
        }
    }

    /// The bytes, 16 a line, each stretch on a line of its own.
    pub(crate) fn dump(&self) -> String {
        let named: usize = self.parts.iter().map(|(len, _)| len).sum();
        assert_eq!(named, self.bytes.len(), "every byte has a name");
        let mut dump = String::from("```text\n");
        let mut offset = 0;
        for (len, name) in &self.parts {
            let mut name = &**name;
            for line in self.bytes[offset..offset + len].chunks(16) {
                let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
                let text = format!("{offset:>4}  {:<47}  {name}", hex.join(" "));
                dump += text.trim_end();
                dump.push('\n');
                offset += line.len();
                name = "";
            }
        }
        dump + "```\n"
    }
}
