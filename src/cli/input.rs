//! Where lines come from: a file or the standard input, plain or compressed with gzip or zstd,
//! which the first bytes tell.
//!
//! Reading is streaming: memory is bounded by the longest line, and that by a limit.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use thiserror::Error;

use super::ndjson::BadLine;
use crate::format::record::PAYLOAD_LEN_BYTES_MAX;

/// The longest line, in bytes: the largest event has room in it, in base64 too.
pub const LINE_LEN_BYTES_MAX: usize = 22 * 1024 * 1024;
const _: () = assert!(PAYLOAD_LEN_BYTES_MAX / 3 * 4 + 64 * 1024 < LINE_LEN_BYTES_MAX);
const BLOCK_LEN_BYTES: usize = 256 * 1024;

/// Why there is no next line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file cannot be opened.
    #[error("cannot open {name}: {source}")]
    Open {
        /// The file.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// The bytes cannot be read or decompressed.
    #[error("cannot read on after line {line}: {source}")]
    Read {
        /// The last line that was read, from 1.
        line: u64,
        /// What the system or the decompression says.
        source: io::Error,
    },
    /// A line goes on beyond the limit.
    #[error(
        "line {0} is longer than {LINE_LEN_BYTES_MAX} bytes: is this a file with one event a line?"
    )]
    LineTooLong(u64),
    /// A line is not an event.
    #[error(transparent)]
    BadLine(#[from] BadLine),
    /// Lines that belong together are more than one append takes.
    #[error(
        "lines {first_line} to {last_line} all have {value} at {pointer}, and one append takes at \
         most {events_max} events and {len_bytes_max} bytes: leave out --atomic-by, or choose a \
         value that changes more often"
    )]
    GroupTooLarge {
        /// The first line of the group, from 1.
        first_line: u64,
        /// The line that is too much.
        last_line: u64,
        /// What they have in common, as JSON, shortened.
        value: String,
        /// Where they have it.
        pointer: String,
        /// The most events of an append.
        events_max: usize,
        /// The most bytes of an append.
        len_bytes_max: usize,
    },
}

/// How far an input has been read; cheap to clone, for a progress bar.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The length of the whole input in bytes, compressed if it is; none for the standard input.
    pub len_bytes: Option<u64>,
    consumed: Arc<AtomicU64>,
}

impl Progress {
    /// Bytes taken from the file so far, compressed if it is.
    #[must_use]
    pub fn consumed_bytes(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }
}

/// The lines of an input with their numbers from 1, without their line ends. Lines of nothing but
/// spaces are counted and left out.
pub struct Lines {
    source: Box<dyn Read + Send>,
    progress: Progress,
    /// Read and not given out. `buffer[..searched]` has no line end.
    buffer: BytesMut,
    searched: usize,
    /// The last line that was given out, from 1.
    line: u64,
    ended: bool,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Lines");
        shown
            .field("line", &self.line)
            .field("progress", &self.progress);
        shown.finish_non_exhaustive()
    }
}

impl Lines {
    /// Opens a file, or the standard input if the path is `-`.
    ///
    /// # Errors
    /// [`InputError::Open`], and [`InputError::Read`] if the first bytes cannot be read.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        if path == Path::new("-") {
            return Self::from_reader(io::stdin(), None);
        }
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        match opened {
            Ok((metadata, file)) => Self::from_reader(file, Some(metadata.len())),
            Err(source) => Err(InputError::Open {
                name: path.display().to_string(),
                source,
            }),
        }
    }

    /// The lines of any source of bytes, of this length if it is known.
    ///
    /// # Errors
    /// [`InputError::Read`] if the first bytes cannot be read.
    pub fn from_reader(
        source: impl Read + Send + 'static,
        len_bytes: Option<u64>,
    ) -> Result<Self, InputError> {
        let progress = Progress {
            len_bytes,
            consumed: Arc::default(),
        };
        let counted = Counted {
            source,
            consumed: Arc::clone(&progress.consumed),
        };
        let source =
            decompressed(counted).map_err(|source| InputError::Read { line: 0, source })?;
        Ok(Self {
            source,
            progress,
            buffer: BytesMut::new(),
            searched: 0,
            line: 0,
            ended: false,
        })
    }

    /// How far the input has been read, now and later.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The next line, empty ones too.
    fn next_line(&mut self) -> Result<Option<Bytes>, InputError> {
        loop {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let mut line = self.buffer.split_to(self.searched + at + 1);
                line.truncate(self.searched + at);
                self.searched = 0;
                return self.give(line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_LEN_BYTES_MAX {
                return Err(InputError::LineTooLong(self.line + 1));
            }
            if self.ended || self.fill()? == 0 {
                self.ended = true;
                self.searched = 0;
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => {
                        let line = self.buffer.split();
                        self.give(line).map(Some)
                    }
                };
            }
        }
    }

    fn give(&mut self, line: BytesMut) -> Result<Bytes, InputError> {
        self.line += 1;
        match line.len() {
            0..=LINE_LEN_BYTES_MAX => Ok(line.freeze()),
            _ => Err(InputError::LineTooLong(self.line)),
        }
    }

    /// Reads once; 0 at the end.
    fn fill(&mut self) -> Result<usize, InputError> {
        let len = self.buffer.len();
        self.buffer.resize(len + BLOCK_LEN_BYTES, 0);
        let (_, space) = self.buffer.split_at_mut(len);
        let read = loop {
            match self.source.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer
            .truncate(len + read.as_ref().map_or(0, |read| *read));
        read.map_err(|source| InputError::Read {
            line: self.line,
            source,
        })
    }
}

impl Iterator for Lines {
    type Item = Result<(u64, Bytes), InputError>;

    /// Ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line() {
                Ok(Some(line)) if line.trim_ascii().is_empty() => {}
                Ok(Some(line)) => return Some(Ok((self.line, line))),
                Ok(None) => return None,
                Err(error) => {
                    self.ended = true;
                    self.buffer.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

/// What the bytes are once they are decompressed, if their first bytes say that they have to be.
fn decompressed(mut source: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    source.by_ref().take(4).read_to_end(&mut head)?;
    let magic = head.clone();
    let whole = BufReader::with_capacity(BLOCK_LEN_BYTES, Cursor::new(head).chain(source));
    Ok(match *magic {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
        // A frame, or a frame to skip, which some compressors put in front.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(zstd::Decoder::with_buffer(whole)?)
        }
        _ => Box::new(whole),
    })
}

/// Counts what is taken from a source.
struct Counted<R> {
    source: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(space)?;
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        self.consumed.fetch_add(count, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8]) -> Vec<Result<(u64, Bytes), InputError>> {
        let len_bytes = u64::try_from(bytes.len()).unwrap();
        let lines = Lines::from_reader(Cursor::new(bytes.to_vec()), Some(len_bytes)).unwrap();
        lines.collect()
    }

    fn texts(bytes: &[u8]) -> Vec<(u64, String)> {
        let text = |line: Result<(u64, Bytes), InputError>| {
            let (number, line) = line.unwrap();
            (number, String::from_utf8(line.to_vec()).unwrap())
        };
        lines(bytes).into_iter().map(text).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_left_out() {
        let expected = vec![(1, "a".to_string()), (3, "b\r".into()), (5, "c".into())];
        assert_eq!(texts(b"a\n\nb\r\n  \r\nc"), expected);
        assert_eq!(texts(b"a\n\nb\r\n  \r\nc\n"), expected);
        assert_eq!(texts(b""), vec![]);
        assert_eq!(texts(b"\n"), vec![]);
    }

    #[test]
    fn compressed_input_is_told_by_its_first_bytes() {
        let long = "x".repeat(3 * BLOCK_LEN_BYTES);
        let plain = format!("a\n{long}\n\nb\n");
        let expected = vec![(1, "a".to_string()), (2, long), (4, "b".into())];
        let plain = plain.as_bytes();
        assert_eq!(texts(plain), expected);
        assert_eq!(texts(&gzip(plain)), expected);
        assert_eq!(texts(&zstd(plain)), expected);
        // What `cat a.zst b.zst` makes, and a frame to skip in front.
        let (first, second) = plain.split_at(1_000);
        assert_eq!(texts(&[gzip(first), gzip(second)].concat()), expected);
        assert_eq!(texts(&[zstd(first), zstd(second)].concat()), expected);
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9];
        assert_eq!(texts(&[&skipped, &*zstd(plain)].concat()), expected);
    }

    #[test]
    fn compressed_input_that_is_cut_off_is_an_error_behind_its_whole_lines() {
        for packed in [gzip(b"first\nsecond\n"), zstd(b"first\nsecond\n")] {
            let cut = lines(&packed[..packed.len() - 2]);
            assert!(
                matches!(cut.last(), Some(Err(InputError::Read { .. }))),
                "{cut:?}"
            );
        }
    }

    #[test]
    fn a_line_ends_within_the_limit() {
        for end in ["", "\n", "\nrest"] {
            let longest = "x".repeat(LINE_LEN_BYTES_MAX);
            assert!(
                lines(format!("a\n{longest}{end}").as_bytes())
                    .iter()
                    .all(Result::is_ok)
            );
            let found = lines(format!("a\n{longest}x{end}").as_bytes());
            assert!(matches!(
                found[..],
                [Ok(_), Err(InputError::LineTooLong(2))]
            ));
        }
    }

    #[test]
    fn progress_counts_the_compressed_bytes() {
        let packed = zstd(b"first\nsecond\n");
        let len_bytes = u64::try_from(packed.len()).unwrap();
        let mut lines = Lines::from_reader(Cursor::new(packed), Some(len_bytes)).unwrap();
        let progress = lines.progress();
        assert!(lines.by_ref().all(|line| line.is_ok()));
        assert_eq!(progress.consumed_bytes(), len_bytes);
        assert_eq!(progress.len_bytes, Some(len_bytes));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Lines::open(Path::new("no-such-file.ndjson")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot open no-such-file.ndjson: ")
        );
    }
}
